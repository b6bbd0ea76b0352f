"""Work divided among processes that end when they should: with the work, however it ends, and with their parent."""

import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Any, TypeVar

from tallycell.errors import TallycellError
from tallycell.wording import one_line

Job = TypeVar("Job")
Answer = TypeVar("Answer")

SECONDS_TO_END = 5.0  # for a process whose pipe has closed to have ended


def run_in_processes(
    work: Callable[[Job], Answer], jobs: Sequence[Job], processes: int, *, late: Callable[[], bool]
) -> Generator[Answer, None, None]:
    """Do jobs in processes, and give the answers as they come.

    Whatever ends this, be it an error, Ctrl-C or the generator's ``close``, kills the processes, and with them what
    they are at. Should this process itself be killed, they end by themselves.

    Parameters
    ----------
    work
        What is done with a job. It is sent to the processes, so it is a function of a module.
    jobs
        What is to be done, in order. How one is written says in an error which it was.
    processes
        How many work at the same time.
    late
        Whether nothing new is to begin.

    Raises
    ------
    TallycellError
        If a process ends before it has answered.
    Exception
        Whatever the work raises; the answers that came with it are given before.
    """
    left, idle = deque(jobs), list[_Worker]()
    started: list[_Worker] = []
    try:
        while True:
            while left and len(started) - len(idle) < processes and not late():
                if not idle:
                    started.append(_start())
                    idle.append(started[-1])
                idle[-1].give(work, left.popleft())
                idle.pop()
            busy = {worker.pipe: worker for worker in started if worker not in idle}
            if not busy:
                return
            errors = []
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]  # what is given back is what was waited for
                done, answer = worker.answer()
                idle.append(worker)
                if done:
                    yield answer
                else:
                    errors.append(answer)
            if errors:
                raise errors[0]
    finally:
        for worker in started:
            worker.process.kill()
        for worker in started:
            worker.process.join()
            worker.pipe.close()


@dataclass(eq=False)
class _Worker:
    """A process as its parent sees it."""

    process: SpawnProcess
    pipe: Connection
    job: Any = None

    def give(self, work: Callable[[Any], Any], job: object) -> None:
        self.job = job
        content = pickle.dumps((work, job))
        try:
            self.pipe.send_bytes(content)
        except OSError:
            raise self._died() from None

    def answer(self) -> tuple[bool, Any]:
        """Give whether the work was done, and the answer or the exception."""
        try:
            content = self.pipe.recv_bytes()
        except (EOFError, OSError):
            return False, self._died()
        done, answer = pickle.loads(content)
        return done, answer

    def _died(self) -> TallycellError:
        self.process.join(SECONDS_TO_END)
        code = self.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        return TallycellError(
            f"the process for {self.job} ended before it was done ({how}); what came before is kept. Where memory is "
            "short, the system does so: run it again, with fewer processes or more memory"
        )


def _start() -> _Worker:
    # A forked child of a process that has used torch's threads may wait for ever: each is a new one.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    with _interrupts_held():
        process.start()
    theirs.close()  # so that ours ends with the process
    return _Worker(process, ours)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back: a process that begins now never sees it, and prints nothing about it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it lets signals through when it begins: better before
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---- in the process --------------------------------------------------------------------------------------------------


def _serve(pipe: Connection) -> None:
    """Do what comes through the pipe, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is sent to all: the parent ends this process
    Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            pipe.send_bytes(_answer_to(pipe.recv_bytes()))
        except (EOFError, OSError):  # nobody is there any more
            return


def _answer_to(content: bytes) -> bytes:
    try:
        work, job = pickle.loads(content)
        return pickle.dumps((True, work(job)))
    except Exception as error:  # whatever it is, it is raised again in the parent
        return pickle.dumps((False, _portable(error)))


def _portable(error: Exception) -> Exception:
    """Give an exception that arrives: not each can be sent, and none takes along where it was raised."""
    where = "".join(traceback.format_exception(error))
    try:
        sent: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # that of a library can be anything
        sent = RuntimeError(f"{type(error).__name__}: {one_line(error)}")
    sent.add_note(where)
    return sent


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
