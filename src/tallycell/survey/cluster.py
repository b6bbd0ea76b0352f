"""Tasks on the processes of a dask cluster: the only module that knows dask.

A few tasks a worker are in flight, so that a scheduler never holds more than it must. It may forget them all: whatever
has a receipt is done, and everything else is asked for again. What a worker is sent is trusted by it, as dask sends
pickles: scheduler, workers and client are one's own.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tallycell.errors import InputError, MissingExtraError, TallycellError
from tallycell.survey.store import Receipt
from tallycell.survey.tasks import Order, fill
from tallycell.wording import one_line, quoted

if TYPE_CHECKING:
    from distributed import Client, Future

AT_ONCE = 2  # tasks in flight for each worker: one that runs, one that waits
ATTEMPTS = 3  # of a task that an unknown error ends, before it is the survey's
LOOKS = 0.5  # seconds between two looks at what is done
PATIENCE = 600.0  # seconds that one waits for a scheduler that does not answer


class _LostError(Exception):
    """The scheduler is gone, and with it what it knew."""


@dataclass(frozen=True)
class Cluster:
    """A dask cluster: one of worker processes on this machine, or one that others have started.

    Attributes
    ----------
    workers
        Processes to start here; None where a scheduler's are used.
    scheduler
        Address of a scheduler, such as ``"tcp://node7:8786"`` or ``"tls://node7:8786"``. Certificates are those of
        dask's own configuration.
    told
        Called with what somebody who waits should know: the dashboard's address, a scheduler that does not answer.
    patience
        Seconds to wait for a scheduler that does not answer.

    Raises
    ------
    InputError
        If both or none of the two are given, or the number of workers is not positive.
    MissingExtraError
        If distributed is not installed.

    Examples
    --------
    >>> Cluster(workers=0)
    Traceback (most recent call last):
    tallycell.errors.InputError: got 0 workers; expected at least 1
    """

    workers: int | None = None
    scheduler: str | None = None
    told: Callable[[str], None] = lambda _: None
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        if (self.workers is None) == (self.scheduler is None):
            raise InputError("got both workers and a scheduler, or neither; give one of the two")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"got {self.workers} workers; expected at least 1")
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise MissingExtraError("distributed", "survey") from None

    def __call__(self, orders: Sequence[Order]) -> Iterator[Receipt]:
        """Do tasks in any order, and give the receipt of each.

        Raises
        ------
        InputError, FormatError
            As :func:`~tallycell.survey.tasks.fill`; InputError also if the scheduler does not answer for long, or a
            task ends every worker that it is given to.
        """
        waiting = {order.task: order for order in orders}
        failures: Counter[int] = Counter()
        while waiting:
            with self._client() as client, suppress(_LostError):
                for receipt in _results(client, list(waiting.values()), failures):
                    del waiting[int(receipt.work)]
                    yield receipt
            if waiting:
                self.told(f"the scheduler is gone; {len(waiting):,} tasks are asked for again")

    @contextmanager
    def _client(self) -> "Iterator[Client]":
        if self.scheduler is None:
            with self._own_cluster() as client:
                yield client
            return
        client = self._joined(self.scheduler)
        try:
            self._tell_dashboard(client)
            yield client
        finally:
            _close(client)

    @contextmanager
    def _own_cluster(self) -> "Iterator[Client]":
        """Start workers by spawn, one thread each: a fork would inherit half of the threads' state."""
        import dask
        from distributed import Client, LocalCluster

        calm = {
            "distributed.worker.multiprocessing-method": "spawn",
            "distributed.admin.log-format": "%(message)s",
        }
        with (
            dask.config.set(calm),
            LocalCluster(
                n_workers=self.workers, threads_per_worker=1, processes=True, host="127.0.0.1",
                dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):  # fmt: skip
            self._tell_dashboard(client)
            yield client

    def _joined(self, address: str) -> "Client":
        """Connect to a scheduler; one that is started anew has the time for it."""
        from distributed import Client

        until, told = time.monotonic() + self.patience, False
        while True:
            try:
                return Client(address, timeout=min(10.0, self.patience), set_as_default=False)
            except ValueError as error:  # no address
                raise InputError(
                    f"{quoted(address)} is no address of a scheduler ({one_line(error)}); expected tcp://HOST:PORT"
                ) from None
            except (OSError, TimeoutError) as error:
                if time.monotonic() >= until:
                    raise InputError(
                        f"no scheduler answers at {quoted(address)} ({one_line(error)}); start it (dask scheduler) and "
                        "repeat the command: what is done is kept"
                    ) from None
                if not told:
                    self.told(f"no scheduler answers at {address}: waiting for it, at most {self.patience:.0f} s")
                    told = True
                time.sleep(LOOKS)

    def _tell_dashboard(self, client: "Client") -> None:
        from importlib.util import find_spec

        count = len(client.nthreads())
        where = f"; dashboard at {client.dashboard_link}" if find_spec("bokeh") is not None else ""
        self.told(f"{count} worker{'' if count == 1 else 's'} at {client.scheduler.address}{where}")


def _results(client: "Client", orders: Sequence[Order], failures: Counter[int]) -> Iterator[Receipt]:
    """Keep a few tasks a worker in flight until all are done."""
    waiting = deque(orders)
    flying: dict[Future, Order] = {}
    while waiting or flying:
        room = AT_ONCE * max(1, _or_lost(lambda: len(client.nthreads()))) - len(flying)
        for _ in range(min(room, len(waiting))):
            order = waiting.popleft()
            # Not pure: a scheduler would give an old error again, or what another folder's task gave.
            flying[_or_lost(partial(client.submit, fill, order, pure=False))] = order
        _or_lost(partial(_wait, client, list(flying)))
        for future in [one for one in flying if one.status != "pending"]:
            order = flying.pop(future)
            receipt = _receipt_of(future, order, failures)
            if receipt is None:
                waiting.appendleft(order)
            else:
                yield receipt


def _receipt_of(future: "Future", order: Order, failures: Counter[int]) -> Receipt | None:
    """Give what a future holds; None where its task is to be asked for again."""
    if future.status in ("cancelled", "lost"):
        raise _LostError
    if future.status == "finished":
        found: Receipt = _or_lost(partial(future.result, timeout=30))
        return found
    error = _or_lost(partial(future.exception, timeout=30))
    if isinstance(error, TallycellError):
        raise error
    failures[order.task] += 1
    if failures[order.task] >= ATTEMPTS:
        raise InputError(
            f"task {order.task} was tried {ATTEMPTS} times and ended with {type(error).__name__}: {one_line(error)}; a "
            "worker that ends without a word mostly has too little memory (give fewer sequences a block)"
        )
    return None


def _wait(client: "Client", futures: "Sequence[Future]") -> None:
    """Wait until one is done, not for long."""
    from distributed import wait

    with client.as_current(), suppress(TimeoutError):
        wait(futures, timeout=LOOKS, return_when="FIRST_COMPLETED")


def _or_lost(ask: Callable[[], Any]) -> Any:
    """Ask the cluster; whatever a connection that breaks raises is one thing."""
    from concurrent.futures import CancelledError

    try:
        return ask()
    except (OSError, CancelledError, RuntimeError, AttributeError) as error:
        raise _LostError from error


def _close(client: "Client") -> None:
    """Close a client whose scheduler may be gone."""
    with suppress(Exception):
        client.close(timeout=2)
