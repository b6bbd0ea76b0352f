"""Ended means ended: whatever stops the scoreboard leaves no process behind, and keeps the results that came."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

import ending_jobs
from tallycell.errors import InputError, MissingExtraError, TallycellError
from tallycell.learning.results import read_results
from tallycell.learning.rows import Reach, Row
from tallycell.learning.scoreboard import run_rows
from tallycell.learning.workers import run_in_processes

PROC = Path("/proc")
pytestmark = pytest.mark.skipif(not (PROC / "self/stat").exists(), reason="processes are looked up in /proc")

SECONDS = 5.0  # in which all have to be gone; they take about 0.1 on an idle machine
WORKERS = 2


# ---- who is there ----------------------------------------------------------------------------------------------------


def parents():
    """Parent of each process that runs; one that has ended and was not asked for yet does not."""
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    found[int(folder.name)] = int(parent)
    return found


def descendants(process):
    there, found = parents(), {process}
    while more := {one for one, parent in there.items() if parent in found} - found:
        found |= more
    return found - {process}


def workers(process):
    """Those that work, without the one that multiprocessing has for itself."""
    found = set()
    for one in descendants(process):
        with suppress(OSError):
            if b"spawn_main" in (PROC / str(one) / "cmdline").read_bytes():
                found.add(one)
    return found


def wait_until(is_so, seconds):
    until = time.monotonic() + seconds
    while not is_so() and time.monotonic() < until:
        time.sleep(0.02)
    return is_so()


def none_is_left(processes):
    return wait_until(lambda: not processes & parents().keys(), SECONDS)


# ---- the scoreboard, stopped from outside ----------------------------------------------------------------------------

SLOW = """
import time, pathlib
import learning_fakes as fakes

def train(row, seed):
    if seed > 0:
        pathlib.Path(f"begun-{seed}").touch()
        time.sleep(600)
    return fakes.train_exact(row, seed)
"""
SCRIPT = """
import pathlib, signal, sys
import slow
from tallycell.learning.rows import Reach, Row
from tallycell.learning.scoreboard import run_rows

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    row = Row("1b", "anbn", 3, Reach(100), "nothing")
    run_rows([row], pathlib.Path("board.jsonl"), trainer=slow.train, seeds=3, processes=2)
"""


@pytest.fixture
def start(tmp_path):
    """Start Python in a session of its own, as a terminal does."""
    started = []

    def call(*arguments):
        path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *map(str, arguments)]
        with (tmp_path / "said").open("wb") as said:
            started.append(
                subprocess.Popen(
                    command,
                    cwd=tmp_path,
                    env=environment,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                    # A shell has its background jobs ignore Ctrl-C, and so would this, were the tests one of them.
                    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                )
            )
        return started[-1]

    yield call
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def stopped(tmp_path, start):
    """Two seeds that are being trained, and one that is in the file."""
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "run.py").write_text(SCRIPT)
    process = start("run.py")
    both = [tmp_path / "begun-1", tmp_path / "begun-2"]
    assert wait_until(lambda: all(file.exists() for file in both), 120), (tmp_path / "said").read_text()
    there = descendants(process.pid)
    assert len(workers(process.pid)) == WORKERS
    return process, there


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_scoreboard_that_is_stopped_leaves_no_process_and_keeps_what_came(stopped, tmp_path, by):
    process, there = stopped
    if by == signal.SIGINT:
        os.killpg(process.pid, by)  # as Ctrl-C in a terminal, which goes to all
    else:
        process.send_signal(by)
    assert none_is_left(there | {process.pid})
    assert process.wait() == {signal.SIGTERM: 143}.get(by, -by)
    assert [one["seed"] for one in read_results(tmp_path / "board.jsonl")] == [0]
    said = (tmp_path / "said").read_text()
    assert said.count("Traceback") == (by == signal.SIGINT)  # the script's own
    assert "SpawnProcess" not in said


def test_a_process_that_is_killed_is_told_in_one_line_and_the_others_end(stopped, tmp_path):
    process, there = stopped
    os.kill(min(workers(process.pid)), signal.SIGKILL)
    assert none_is_left(there | {process.pid})
    assert process.wait() == 1
    *_, last = (tmp_path / "said").read_text().strip().splitlines()
    assert last.startswith("tallycell.errors.TallycellError: the process for row 1b, seed ")
    assert last.endswith(
        " ended before it was done (signal 9); what came before is kept. Where memory is short, the system does so: "
        "run it again, with fewer processes or more memory"
    )
    assert [one["seed"] for one in read_results(tmp_path / "board.jsonl")] == [0]


@pytest.mark.parametrize("moment", ["while they begin", "while they train"])
def test_ctrl_c_ends_the_command_with_all_its_processes(start, tmp_path, moment):
    pytest.importorskip("torch")
    process = start("-m", "tallycell", "scoreboard", "10d", "--results", "board.jsonl", "--page", "page.md")
    assert wait_until(lambda: len(workers(process.pid)) == WORKERS, 120), (tmp_path / "said").read_text()
    if moment == "while they train":
        time.sleep(8)  # importing torch takes some seconds
    there = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    assert none_is_left(there | {process.pid})
    assert process.wait() not in (0, -signal.SIGKILL)
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 1


# ---- the processes alone ---------------------------------------------------------------------------------------------


def run(*jobs, processes=2, late=lambda: False):
    return run_in_processes(ending_jobs.double, jobs, processes, late=late)


def own_workers():
    return workers(os.getpid())


def test_processes_do_all_jobs_each_once():
    assert sorted(run(*(("double", value) for value in range(7)))) == [0, 2, 4, 6, 8, 10, 12]
    assert list(run()) == []
    assert not own_workers()


def test_when_it_is_late_nothing_new_begins_and_what_has_begun_is_finished():
    begun = iter([False, False, True, True, True, True])
    assert sorted(run(*(("double", value) for value in range(7)), late=lambda: next(begun))) == [0, 2]


def test_ctrl_c_is_nothing_to_the_processes(capfd):
    assert list(run(("interrupt", 3), processes=1)) == [6]
    assert capfd.readouterr().err == ""


def test_who_stops_listening_ends_the_processes():
    with closing(run(("double", 1), ("sleep", 600), ("sleep", 600))) as answers:
        assert next(answers) == 2
        there = own_workers()
        assert len(there) == WORKERS
    assert not there & parents().keys()


@pytest.mark.parametrize(
    ("job", "error", "text"),
    [
        (("input", "no such input"), InputError, "no such input"),
        (("extra", 0), MissingExtraError, "pip install 'tallycell"),
        (("double", None), TypeError, "unsupported operand"),
        (("odd", "ity"), RuntimeError, "OddError: oddity"),
        (("exit", 3), TallycellError, r"the process for \('exit', 3\) ended before it was done \(exit status 3\)"),
    ],
)
def test_what_goes_wrong_in_a_process_is_raised_and_the_others_end(job, error, text):
    begin = time.monotonic()
    came = []
    with pytest.raises(error, match=text) as raised:
        came.extend(run(("double", 1), ("sleep", 600), job))
    assert not own_workers()
    assert time.monotonic() - begin < 120
    if error in (TypeError, RuntimeError):
        assert any("in double" in note for note in raised.value.__notes__)  # where it was


def test_an_error_in_a_process_keeps_the_results_before_it(tmp_path):
    row, file = Row("1b", "anbn", 3, Reach(100), "nothing"), tmp_path / "board.jsonl"
    with pytest.raises(InputError, match="seed 1 cannot be trained"):
        run_rows([row], file, trainer=ending_jobs.train_only_the_first, seeds=3, processes=1)
    assert [one["seed"] for one in read_results(file)] == [0]
    assert not own_workers()


def test_work_that_cannot_be_sent_is_an_error_and_leaves_no_process():
    with pytest.raises(AttributeError, match="pickle"):
        list(run_in_processes(lambda job: job, [1], 1, late=partial(bool, 0)))
    assert not own_workers()
