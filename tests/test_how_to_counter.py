"""The page about one's own trained counter says what its networks do."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "my_own_trained_counter.py"


@pytest.fixture(scope="module")
def printed():
    done = subprocess.run([sys.executable, "-W", "error", PAGE], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_trained_network_is_a_machine_of_one_counter(printed):
    assert printed.startswith("Recogniser(2 symbols, LSTMParameters(input_size=4, hidden_size=3")
    assert "\nexact: a machine of 1 state and 1 counter decides as the network" in printed
    assert "\non )  depth > 0   depth -1\n" in printed
    assert "\naccept when depth <= 0\n" in printed


def test_as_it_was_trained_it_fails_on_deep_strings_and_hardened_it_is_proved(printed):
    trained = re.search(r"the trained network may end after \[(.*)\] symbols; right is only after all 100,000", printed)
    assert trained is not None
    assert trained[1] != "100000"
    assert "the hardened network may end after [100000] symbols" in printed
    assert "the units of the old network: True" in printed
    assert "on strings of up to 16,678,912 symbols (float32)" in printed


def test_the_files_alone_give_the_same_answer(printed):
    assert "\n# exact: a machine of 1 state and 1 counter decides as the network" in printed
    assert "\n# agree: 300 of 300 strings (100%)" in printed


def test_a_network_that_learned_too_little_is_told_so_and_not_hardened(printed):
    last = printed[printed.index("\nnot exact: ") :]
    assert [line.partition(":")[0] for line in last.strip().splitlines()[:5]] == [
        "not exact", "on", "agree", "breaks", "try",
    ]  # fmt: skip
    assert "harden: the network is not hardened, as no counter machine was found that decides as it does" in last
