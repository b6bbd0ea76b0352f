"""The page about another gated cell: the LSTM that it trains counts, and the GRU does not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "another_gated_cell.py"
COUNTS = r"Counts up by ([\d.]+) at 'a' and down by ([\d.]+) at 'b'; forgets\s+within (\d+) steps"


@pytest.fixture(scope="module")
def printed():
    done = subprocess.run([sys.executable, "-W", "error", PAGE], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_the_lstm_has_a_cell_that_counts_both_symbols(printed):
    of_gru, of_lstm = printed.split("How binary its gates are")[1:]
    (up, down, memory), *_ = re.findall(COUNTS, of_lstm)
    assert up == down
    assert int(memory) > 50
    assert not re.findall(COUNTS, of_gru)
    assert "numbers" in of_gru


def test_both_learn_the_strings_they_saw_and_the_cell_of_the_gru_never_leaves_its_range(printed):
    right = dict(re.findall(r"(LSTM|GRU) ([\d.]+)%", printed.splitlines()[0]))
    assert min(float(share) for share in right.values()) > 95
    largest = dict(re.findall(r"(LSTM|GRU): the largest cell is ([\d.]+)", printed))
    assert float(largest["LSTM"]) > 5
    assert float(largest["GRU"]) <= 1
