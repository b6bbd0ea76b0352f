"""Hold a gate of one unit and compare with the free run: what becomes of its cell, and of what the model says."""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tallycell.effect.outputs import Readout, read_readout
from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.names import STEP_VARIABLES
from tallycell.trace import Hold, Record, record_trace
from tallycell.view.head import h_of, name_of
from tallycell.view.header import strict
from tallycell.view.lives import Lives
from tallycell.view.packing import life_bytes
from tallycell.wording import quoted

TOP = 8  # steps, and outputs, that are named


@dataclass(frozen=True, eq=False)
class Holding:
    """A model with what it reads, ready to be run again.

    Attributes
    ----------
    model, given
        As :func:`tallycell.record_trace` takes them.
    lives
        The free run.
    """

    model: object
    given: Input
    lives: Lives

    def hold(self, wish: object) -> bytes:
        """Run the model with one gate held.

        Parameters
        ----------
        wish
            A mapping: ``unit`` its label, ``gate`` a letter, ``value`` a number or ``"mean"``; ``from`` and ``to``, the
            first step and the one behind the last, of all sequences laid end to end; all steps if not there.

        Returns
        -------
        bytes
            The length of a JSON text (4 bytes, the lowest first), the text, the arrays of the unit as the page takes
            them, and by how much what the model says has moved at each step, float32.

        Raises
        ------
        InputError
            If the wish is none, or names what is not there.
        """
        hold, label, span = self._read(wish)
        held = Lives(record_trace(self.model, self.given, record=Record(("i", "f", "g", "o", "c", "h")), hold=hold))
        moved, said = self._compare(held, span)
        summary = strict({"label": label, "moved": moved is not None, **said})
        text = json.dumps(summary, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)  # so that the numbers behind it begin where numbers may
        arrays = life_bytes({name: held[label][name] for name in (*self.lives.names, "c_0")})
        return struct.pack("<I", len(text)) + text + arrays + (b"" if moved is None else moved.astype("<f4").tobytes())

    def _read(self, wish: object) -> tuple[Hold, str, slice]:
        if not isinstance(wish, Mapping):
            raise InputError("expected an object with unit, gate and value")
        label, gate, value = (wish.get(name) for name in ("unit", "gate", "value"))
        if not isinstance(label, str) or label not in self.lives.places:
            raise InputError(f"there is no unit {quoted(label)} here")
        if gate not in STEP_VARIABLES:
            raise InputError(f"cannot hold {quoted(gate)}; what can be held is {', '.join(STEP_VARIABLES)}")
        if value != "mean" and not _is_number(value):
            raise InputError(f"cannot hold {gate} at {quoted(value)}; give a number, or 'mean'")
        steps = [wish.get("from", 0), wish.get("to", self.lives.steps)]
        if not all(isinstance(one, int) and not isinstance(one, bool) for one in steps):
            raise InputError(f"steps go from {quoted(steps[0])} to {quoted(steps[1])}; give two whole numbers")
        if not 0 <= steps[0] < steps[1] <= self.lives.steps:
            raise InputError(f"there are {self.lives.steps:,} steps; none from {steps[0]} to {steps[1]}")
        layer, direction, unit = self.lives.places[label]
        trace = self.lives.trace
        number, way = int(trace["layer"].values[layer]), str(trace["direction"].values[direction])
        own = int(trace["unit"].values[unit])
        span = slice(*steps)
        return Hold(gate, self._value(value, span), number, [own], direction=way), label, span

    def _value(self, value: Any, span: slice) -> Any:
        """Give a value for all steps, or one for each, NaN where the unit is free."""
        if (span.start, span.stop) == (0, self.lives.steps):
            return value
        if value == "mean":
            raise InputError("at its mean a gate is held at all steps; leave from and to out, or give a number")
        sequence, position = self.lives.order
        sizes = self.lives.trace.sizes
        values = np.full((sizes["sequence"], sizes["time"]), np.nan)
        values[sequence[span], position[span]] = value
        return values

    def _compare(self, held: Lives, span: slice) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Say how what the model says has moved, from the first held step on."""
        try:
            readout = read_readout(self.model, self.given.lstm)
        except InputError:
            return None, {"said": "No linear layer behind this LSTM is known, so what its outputs do is not known."}
        free, now = h_of(readout, self.lives), h_of(readout, held)
        if free is None or now is None:
            return None, {"said": "The trace does not hold the h of all units, so what the outputs do is not known."}
        return _moved(readout, free, now, span)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _moved(readout: Readout, free: np.ndarray, held: np.ndarray, span: slice) -> tuple[np.ndarray, dict[str, Any]]:
    steps = free.shape[1]
    moved, changed = np.zeros(steps), np.zeros(steps, bool)
    pushed = np.zeros(len(readout))
    first = np.zeros((2, steps), np.int64)
    at_once = max(1, 4_000_000 // len(readout))
    for begin in range(0, steps, at_once):
        some = slice(begin, begin + at_once)
        before, after = readout.logits(free[:, some]), readout.logits(held[:, some])
        moved[some] = np.sqrt(np.mean((after - before) ** 2, axis=1))
        first[:, some] = before.argmax(1), after.argmax(1)
        changed[some] = before.argmax(1) != after.argmax(1)
        pushed += (after - before).sum(0, dtype=np.float64)
    held_steps = span.stop - span.start
    top = [int(k) for k in np.argsort(-moved)[:TOP] if moved[k] > 0]
    order = np.argsort(-np.abs(pushed))[:TOP].tolist()
    return moved, {
        "said": _say(int(changed.sum()), int(changed[span].sum()), held_steps, len(readout)),
        "top": [
            {"step": k, "moved": float(moved[k]), "before": name_of(readout, first[0, k]),
             "after": name_of(readout, first[1, k])}
            for k in top
        ],
        "pushed": [{"output": name_of(readout, k), "by": float(pushed[k] / steps)} for k in order if pushed[k]],
    }  # fmt: skip


def _say(changed: int, inside: int, steps: int, outputs: int) -> str:
    if outputs == 1:
        return "The output moves as is drawn."
    if not changed:
        return "The model's first choice changes nowhere."
    rest = f", and at {changed - inside:,} others" if changed > inside else ""
    return f"The model's first choice changes at {inside:,} of the {steps:,} steps that are held{rest}."
