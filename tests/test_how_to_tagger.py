"""The page about one's own tagger says what its network does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "my_own_tagger.py"
FLAG = r"""Flag \((-?[\d.]+) or (-?[\d.]+)\): set at 'not' and "n't"; cleared at '\.'; forgets within \d+ steps"""


@pytest.fixture(scope="module")
def printed():
    done = subprocess.run([sys.executable, "-W", "error", PAGE], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


def percentages(line):
    return [float(number) for number in re.findall(r"([\d.]+)%", line)]


def the_line(printed, begin):
    (line,) = [line for line in printed.splitlines() if line.startswith(begin)]
    return line


def test_the_tagger_is_right_on_what_it_never_saw(printed):
    assert percentages(the_line(printed, "right tags of opinion words never seen"))[0] > 99
    assert "{'layer': 2, 'direction': 2, 'sequence': 80, 'time': 40, 'unit': 8}" in printed


def test_its_negation_cells_are_called_flags_and_read_forwards(printed):
    found = re.findall(rf"^(\d\.\d+r?)  {FLAG}", printed[: printed.index("over one text:")], re.MULTILINE)
    assert len(found) >= 2
    assert not any(label.endswith("r") for label, _, _ in found)
    for _, resting, other in found:
        assert abs(float(other)) > abs(float(resting))
    assert re.search(r"follows negation \(r = [+-]0\.9\d", printed)


def test_the_flag_is_up_from_the_negation_to_the_full_stop(printed):
    (_, cells) = re.search(r"^Unit (\S+) over one text:\n(.*)$", printed, re.MULTILINE).groups()
    steps = re.findall(r"(\S+) ([+-]\d\.\d)(?: |$)", cells)
    negated, inside, outside = False, [], []
    for word, value in steps:
        negated = word != "." and (negated or word in ("not", "n't"))
        (inside if negated else outside).append(abs(float(value)))
    assert len(inside) >= 5
    assert min(inside) > max(outside) + 0.5


def test_without_its_flags_the_tagger_ignores_negations(printed):
    assert min(percentages(the_line(printed, "without nothing"))) > 99
    behind, elsewhere = percentages(the_line(printed, "without the flags"))
    assert behind < 15
    assert elsewhere > 90
    behind, elsewhere = percentages(the_line(printed, "without as many others"))
    assert behind > 85
    assert elsewhere < behind


def test_the_files_alone_give_the_same_flag(printed):
    files = printed[printed.index("$ tallycell inspect") : printed.index("right tags: ")]
    assert "lstm  LSTM of 8 units, 2 layers, both directions" in files
    assert re.search(r"""Flag \([^)]*\):\s+set\s+at\s+'not'\s+and\s+"n't";\s+cleared\s+at\s+'\.'""", files)


def test_trained_as_usual_it_is_as_good_and_its_negation_cells_are_no_flags(printed):
    usual = printed[printed.index("right tags: ") :]
    assert percentages(the_line(usual, "right tags: "))[0] > 99
    _, *closest = usual[usual.index("The two that follow") :].splitlines()
    assert len(closest) == 2
    for sentence in closest:
        assert re.match(r"\d\.\d+  (?!Flag)", sentence)
        assert re.search(r"follows negation \(r = [+-]0\.[89]", sentence)
        assert float(re.search(r"forgets within ([\d.]+) step", sentence)[1]) < 8  # a flag's: 13 or more


def test_a_flag_matters_most_by_what_it_knows_and_another_unit_by_its_level(printed):
    part = printed[printed.index("matters most: held at its mean") : printed.index("$ tallycell inspect")]
    rows = {row[0]: (float(row[1]), float(row[2])) for row in re.findall(r"^ +(\d\.\dr?) +(\S+) +(\S+)", part, re.M)}
    foremost, second = list(rows)[:2]
    assert rows[foremost][0] > 5 * rows[second][0] > 0
    assert re.search(rf"^{foremost}  {FLAG}", part, re.MULTILINE)
