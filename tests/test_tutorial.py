"""The tutorial runs as it stands, and what it says of its figures is what it prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.py"


@pytest.fixture(scope="module")
def printed():
    done = subprocess.run([sys.executable, "-W", "error", PAGE], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tutorial_finds_the_bracket_counter_and_what_it_is_for(printed):
    assert "Counts up by 1 at '(' and '[' and down by 0.97 at ')' and ']'" in printed
    free, without = map(float, re.search(r"takes ([\d.]+) bits; .* it takes ([\d.]+)", printed).groups())
    assert without > free + 3
    assert re.search(r"unit 0.27 +\+\d", printed[printed.index("Units that hold it:") :]).start() < 60


def test_its_compiled_network_is_right_as_far_as_it_is_proved(printed):
    assert "exhaustive  all strings of up to 10 symbols: they agree on 2,046 of 2,046" in printed
    assert "strings of up to 16,678,912 symbols (float32)" in printed
    assert printed.rstrip().endswith("no difference was seen")
