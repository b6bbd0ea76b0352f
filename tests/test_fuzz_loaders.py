"""Damaged files of every format give a model or one clean line, in bounded memory and time.

TALLYCELL_FUZZ raises the number of damaged files of each format, TALLYCELL_FUZZ_SEED takes others.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fuzzing import FORMATS, INJURIES, is_installed

COUNT = int(os.environ.get("TALLYCELL_FUZZ", "250"))
SEED = int(os.environ.get("TALLYCELL_FUZZ_SEED", "0"))
MOST_GROWN = 300  # MiB: what a file may unfold to at least (64 MiB), some copies of it, and the libraries' own


@pytest.mark.skipif(sys.platform == "win32", reason="limits on memory are POSIX's")
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_give_a_model_or_one_clean_line(tmp_path, name):
    if not is_installed(name):
        pytest.skip(f"{FORMATS[name][1]} is not installed")
    script = Path(__file__).parent / "fuzzing.py"
    command = [sys.executable, str(script), name, str(COUNT), str(SEED), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    number = (tmp_path / "number").read_text() if (tmp_path / "number").exists() else "none"
    assert done.returncode == 0, f"ended with {done.returncode} at number {number}:\n{done.stderr[-3000:]}"
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["model"] + outcome["error"] == COUNT
    assert outcome["error"] > COUNT / 10  # most injuries are noticed
    assert outcome["grown_mib"] < MOST_GROWN


@pytest.mark.parametrize("injury", INJURIES)
def test_an_injury_changes_what_it_hits(injury):
    content = bytearray(b'{"shape": [10, 20]}' * 3)
    hurt = bytearray(content)
    injury(hurt, 5, np.random.default_rng(0))
    assert hurt != content
