"""The page about a voice detector's state says what silero-vad does under three callers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "is_the_detectors_state_alive.py"

pytestmark = pytest.mark.models


def run_page(models):
    environment = os.environ | {"TALLYCELL_MODELS": str(models)}
    return subprocess.run([sys.executable, "-W", "error", PAGE], capture_output=True, encoding="utf-8", env=environment)


@pytest.fixture(scope="module")
def printed(pypi_model):
    done = run_page(pypi_model("silero-vad", "6.2.3").parent)
    if "skipped: " in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


def after(printed, heading):
    return printed.split(heading)[1]


def test_a_healthy_detector_remembers_for_parts_of_a_second_and_for_seconds(printed):
    assert "demo-abouttotry.wav': 15.2 s of sound at 16,000 Hz, 475 steps of 0.032 s" in printed
    half, quarter = memories(printed)[0]
    assert half == pytest.approx(0.074, abs=0.02)
    assert quarter == pytest.approx(0.76, abs=0.15)
    assert re.search(r"forgets within 1\.[5-7] s", printed)
    assert re.search(r"0\.59  follows model output \(r = -0\.9[4-8]\)", printed)


def test_only_the_reset_is_a_state_that_does_not_live(printed):
    said = dict(
        re.findall(r"^([a-z ]+): (StateWatch says nothing|the state that was given .*)$", printed, re.MULTILINE)
    )
    assert said["right"] == said["without the context"] == "StateWatch says nothing"
    assert "the same zeros in the last 20 calls (h, c)" in said["reset at each call"]
    assert "is it reset at every call?" in said["reset at each call"]


def test_both_mistakes_spoil_the_output(printed):
    rows = re.findall(r"^(.{20})  +(\d+)% +(\d+) +(\d+)% +([\d.]+)$", printed, re.MULTILINE)
    speech, changes, same, size = ({row[0].strip(): float(row[k]) for row in rows} for k in range(1, 5))
    right, reset, deaf = "right", "reset at each call", "without the context"
    assert speech[right] > 90
    assert speech[reset] == pytest.approx(48, abs=5)
    assert speech[deaf] < 2
    assert changes[reset] > 5 * changes[right]
    assert same[reset] < 70
    assert size[deaf] > 10 * size[right]


def test_the_reading_tells_a_state_that_is_reset_and_one_that_is_stuck(printed):
    readings = after(printed, "size of a cell")
    assert re.search(r"^reset: 128 memoryless$", readings, re.MULTILINE)
    assert memories(readings)[1][1] > 10
    stuck = re.search(r"^without context: .*?(\d+) unknown", readings, re.MULTILINE)
    assert int(stuck[1]) > 64


def test_the_unit_that_matters_most_is_one_that_is_never_shown(printed):
    rows = dict(re.findall(r"^ *(0\.\d+) +(0\.\d+)(?: .*)?$", after(printed, "held at 0\n"), re.MULTILINE))
    assert next(iter(rows)) == "0.120"
    assert float(rows["0.120"]) == pytest.approx(0.0088, abs=0.001)
    pattern = r"^without 0\.(\d+): the probability changes by ([\d.]+) on average, .*relu shows ([\d.]+) of it$"
    held = {unit: (float(change), float(shown)) for unit, change, shown in re.findall(pattern, printed, re.MULTILINE)}
    assert held["120"][1] == 0
    assert held["120"][0] > 0.005
    assert held["85"][1] > 0.5


def memories(printed):
    pattern = r"Half of the units forget within ([\d.]+) s; a quarter remember longer than ([\d.]+) s"
    return [(float(half), float(quarter)) for half, quarter in re.findall(pattern, printed)]


def test_the_page_says_what_it_lacks(tmp_path):
    done = run_page(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"skipped: there is no {tmp_path}")
