import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "annotated_lstm.py"


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    pytest.importorskip("matplotlib", reason="the page draws")
    page = shutil.copy(PAGE, tmp_path_factory.mktemp("docs"))  # its pictures stand beside it
    (Path(page).parent / "pictures").mkdir()
    done = subprocess.run([sys.executable, "-W", "error", page], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_annotated_unit_counts_bracket_depth(printed):
    rows = printed.splitlines()
    symbols = next(k for k, row in enumerate(rows) if row.split() == list("(x(x)?)?;((?"))
    by_letter = {row.split()[0]: row.split()[1:] for row in rows[symbols + 1 : symbols + 7]}
    assert [float(value) for value in by_letter["f"]] == [1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1]
    assert [float(value) for value in by_letter["c"]] == [1, 1, 2, 2, 1, 1, 0, 0, 0, 1, 2, 2]
    assert [float(value) for value in by_letter["h"]] == [0, 0, 0, 0, 0, 0.76, 0, 0, 0, 0, 0, 0.96]


def test_the_annotated_recogniser_decides_every_string_rightly(printed):
    assert "8190 strings, 0 decided wrongly" in printed
    assert "n = 1000: member True, one b more False, one b fewer False" in printed


def test_the_annotated_unit_is_read_as_what_it_was_made_for(printed):
    assert "Counts up by 1 at '(' and down by 1 at ')'; reset at ';'; forgets within 35 steps; shown at '?'." in printed
