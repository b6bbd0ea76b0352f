"""A small measure for tests: how often each unit resets, moves up and down, and float sums of its cell.

In a module of its own, as workers in processes of their own have to import it.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tallycell.reading.events import read_events


@dataclass(frozen=True)
class Counts:
    """Exact counts of events and float sums about a fitted mean.

    ``trouble`` names a folder: what a block does there is said by files in it, each of which is used up once.
    """

    name: str = "counts 1"
    trouble: str = ""

    def fit(self, recorded):
        return {"mean": _rows(recorded, "c").mean(axis=0)}

    def sum(self, recorded, levels, *, tested):
        if tested and self.trouble:
            _cause(Path(self.trouble))
        events = read_events(recorded.trace)
        counts = {}
        for name in ("forget", "write", "expose"):
            codes = events[name].to_numpy().reshape(-1, events[name].shape[-1])
            counts[name] = np.stack([(codes == code).sum(axis=0) for code in range(-1, 4)])
        c = _rows(recorded, "c") - levels["mean"]
        return counts | {"c": c.sum(axis=0), "cc": (c * c).sum(axis=0), "steps": np.array(len(c))}

    def add(self, one, other):
        return {name: one[name] + other[name] for name in one}


def _rows(recorded, name):
    rows = recorded.trace[name].transpose(..., "unit").to_numpy().astype(np.float64)
    rows = rows.reshape(-1, rows.shape[-1])
    return rows[~np.isnan(rows).any(axis=1)]


def _cause(trouble):
    (trouble / f"block-{os.getpid()}-{time.monotonic_ns()}").touch()
    if len(list(trouble.glob("block-*"))) < 3:
        return
    for name, cause in (("die", lambda: os.kill(os.getpid(), signal.SIGKILL)), ("wait", lambda: time.sleep(60))):
        try:
            (trouble / name).unlink()
        except FileNotFoundError:
            continue
        (trouble / f"{name}-done").touch()
        cause()
