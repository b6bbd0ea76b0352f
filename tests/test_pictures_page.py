"""The page of pictures draws every picture that it shows, and two others are there already."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the page draws")

DOCS = Path(__file__).parent.parent / "docs"
ELSEWHERE = {"pictures/bracket_counter.png", "pictures/scoreboard.png"}  # by commands that the page names


def test_the_page_draws_what_it_shows(tmp_path):
    page = shutil.copy(DOCS / "pictures_of_an_lstm.py", tmp_path)
    (tmp_path / "pictures").mkdir()
    done = subprocess.run([sys.executable, "-W", "error", page], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shown = set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", Path(page).read_text(encoding="utf-8")))
    drawn = {f"pictures/{file.name}" for file in (tmp_path / "pictures").iterdir()}
    assert shown == drawn | ELSEWHERE
    assert all((DOCS / name).is_file() for name in shown)
