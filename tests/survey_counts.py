"""A small measure for tests: how often each unit resets, moves up and down, and float sums of its cell.

In a module of its own, as workers in processes of their own have to import it.
"""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tallycell as tc
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


def save_recogniser(path, seed=0, units=5, alphabet=("a", "b", "(", ")", " ", "\n", "é", "<unk>"), unknown="<unk>"):
    """Write a small network with weights by chance, whose cells are moved by every symbol."""
    draw = np.random.default_rng(seed)
    shapes = {"weight_ih_l0": (4 * units, len(alphabet)), "weight_hh_l0": (4 * units, units)}
    weights = {name: draw.normal(0, 1.5, shape).astype(np.float32) for name, shape in shapes.items()}
    network = tc.Recogniser(
        alphabet, np.eye(len(alphabet), dtype=np.float32), tc.LSTMParameters(weights),
        np.ones((2, units)), np.zeros(2), ("no", "yes"), unknown=unknown,
    )  # fmt: skip
    tc.save(network, path)
    return path


def write_texts(folder, count=12, seed=0, symbols="ab() \n\r\né–", most=900):
    """Write texts of different lengths, with ends of lines and characters of several bytes."""
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        text = "".join(draw.choice(list(symbols), int(draw.integers(1, most))))
        (folder / f"{k:03d}.txt").write_bytes(text.encode())
    return folder
