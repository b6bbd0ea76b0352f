import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_benchmarks(*arguments):
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_import_benchmark_keeps_its_runs_and_the_machine(tmp_path):
    file = tmp_path / "import.json"
    done = run_benchmarks("import", "--runs", 3, "--json", file)
    assert done.returncode == 0, done.stderr
    assert "median of 3, target under 0.6 s" in done.stdout
    kept = json.loads(file.read_text())
    assert kept["machine"]["processor"] in done.stdout
    assert kept["machine"]["versions"]["numpy"]
    for name in ("import tallycell", "nothing"):
        runs = kept["figures"]["runs_s"][name]
        assert len(runs) == 3
        assert kept["figures"]["median_s"][name] == pytest.approx(sorted(runs)[1])


def test_an_unknown_benchmark_is_refused():
    done = run_benchmarks("nonsense")
    assert done.returncode == 2
    assert "invalid choice: 'nonsense'" in done.stderr
