"""A bundle: a reading with the trace it was made of and all that is known beside it, as a page takes it.

It is named arrays of numbers with a header in JSON, which has a version: what a page draws it computes from these, and
nothing else. The arrays of a unit are made when they are asked for, since all of them together are as large as a trace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

import tallycell
from tallycell.effect.effects import Effects
from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.machine import CounterMachine
from tallycell.memory import require_memory
from tallycell.names import DIRECTION, LAYER, SEQUENCE, UNIT
from tallycell.reading.cells import require_readable
from tallycell.reading.known import Known, read_known
from tallycell.reading.reading import Reading
from tallycell.trace.times import times_of
from tallycell.view.head import what_it_says
from tallycell.view.header import reading_header, strict, symbols_of, trace_header, unit_headers
from tallycell.view.lives import Lives, look_at_all
from tallycell.view.machine_header import machine_header
from tallycell.wording import listed

FORMAT, VERSION = "tallycell bundle", 1
MOST_SERIES = 40  # quantities and features: a page shows no more


@dataclass(frozen=True, eq=False, repr=False)
class Bundle:
    """What a page shows.

    Attributes
    ----------
    header
        Strict JSON: ``format`` and ``version``; what the network is, how binary, its roles and units; what was read.
        Every text in it is fit to be shown in one line.
    arrays
        By name, what all views need: ``symbol`` and ``time`` (step), ``series/N`` (step), ``overview`` (unit, column),
        ``on`` (unit, step / 4), and those of :class:`~tallycell.view.head.Said`. The steps of all sequences stand end
        to end.
    units
        By label the arrays of a unit: see :class:`~tallycell.view.lives.Lives`.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    units: Mapping[str, Mapping[str, np.ndarray]]

    @property
    def start(self) -> np.ndarray:
        """First step of each sequence, and the number of all steps."""
        lengths = [one["length"] for one in self.header["sequences"]]
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def __repr__(self) -> str:
        steps = int(self.start[-1])
        return f"Bundle({len(self.units):,} units over {steps:,} steps; {', '.join(self.arrays)})"


def bundle_of(
    trace: xr.Dataset,
    reading: Reading,
    given: Any = None,
    *,
    quantities: Any = None,
    model: object = None,
    effects: Effects | None = None,
    about: Sequence[str] = (),
) -> Bundle:
    """Bring together what a page shows.

    Parameters
    ----------
    trace
        With i, f, g and c of every step; with o, what is shown is in the page too, and with h what the model says.
    reading
        Of the units of this trace.
    given, quantities
        What was read and is known of it, as :func:`tallycell.read_units` takes them.
    model
        What was traced. With it the page accounts for its outputs, where a linear layer reads the last LSTM.
    effects
        What the outputs lose without each unit.
    about
        What the network is, in a few lines; the first is its title. If there are none, its sizes are said.

    Returns
    -------
    Bundle

    Raises
    ------
    TraceError, InputError
        If the trace lacks what a reading needs, does not hold the units of the reading, or what was read does not fit.

    Examples
    --------
    >>> import tallycell as tc
    >>> big = 100.0
    >>> parameters = tc.LSTMParameters({
    ...     "weight_ih_l0": np.array([[0, 0], [0, 0], [big, -big], [0, 0]]), "weight_hh_l0": np.zeros((4, 1)),
    ...     "bias_ih_l0": np.array([big, big, 0, big]), "bias_hh_l0": np.zeros(4)})
    >>> text = "(()(()))()" * 30
    >>> trace = tc.record_trace(parameters, np.array([[one == "(", one == ")"] for one in text], dtype=float))
    >>> bundle = bundle_of(trace, tc.read_units(trace, text), text)
    >>> bundle.header["units"][0]["role"], bundle.header["symbols"]["shown"]
    ('counter', ['(', ')'])
    >>> bundle.units["0.0"]["c"][:4].tolist()
    [1.0, 2.0, 1.0, 2.0]
    """
    known = read_known(trace, given, quantities, None)
    lives = Lives(_loaded(known.trace))
    labels = [unit.label for unit in reading.units]
    if labels != list(lives):
        raise InputError(
            f"the reading is of the units {listed(labels)}, and the trace has {listed(lives)}; give the trace that "
            "was read"
        )
    lstm = given.lstm if isinstance(given, Input) else None
    said = None if model is None else what_it_says(model, lives, lstm)
    coarse = look_at_all(lives)
    arrays: dict[str, np.ndarray] = {"overview": coarse.overview, "on": coarse.on}
    header: dict[str, Any] = {
        "format": FORMAT, "version": VERSION, "tallycell_version": tallycell.__version__,
        "about": list(about) or [_sizes(lives)], "lives": list(lives.names), "sequences": _sequences(lives),
        "columns": coarse.overview.shape[1], **trace_header(lives), **reading_header(reading, effects),
        "units": unit_headers(reading, coarse.scale, effects), "symbols": None, "time": None,
        "head": None if said is None else said.header,
    }  # fmt: skip
    if known.tokens is not None:
        header["symbols"], arrays["symbol"] = symbols_of(known.tokens)
    times = _times(lives)
    if times is not None:
        header["time"], arrays["time"] = times
    header["series"], series = _series(known, lives)
    arrays |= series if said is None else series | dict(said.arrays)
    return Bundle(strict(header), arrays, lives)


def with_machine(bundle: Bundle, machine: CounterMachine) -> Bundle:
    """Put a counter machine that does the same beside."""
    return replace(bundle, header=dict(bundle.header) | {"machine": machine_header(machine)})


def _loaded(trace: xr.Dataset) -> xr.Dataset:
    """Have what the page needs in memory, once: a store would be opened for each unit."""
    require_readable(trace)
    names = [name for name in ("i", "f", "g", "o", "c", "h", "x", "h_0", "c_0", "length") if name in trace]
    needed = trace[names]
    require_memory(2 * needed.nbytes, f"showing a trace of {trace.sizes[UNIT]:,} units needs")
    return needed.load()


def _sizes(lives: Lives) -> str:
    sizes = lives.trace.sizes
    layers = f"{sizes[LAYER]} layer{'s' if sizes[LAYER] > 1 else ''}"
    directions = "both directions" if sizes[DIRECTION] > 1 else "one direction"
    return f"LSTM of {sizes[UNIT]:,} units, {layers}, {directions}"


def _sequences(lives: Lives) -> list[dict[str, Any]]:
    names, lengths = lives.trace[SEQUENCE].to_numpy(), lives.trace["length"].to_numpy()
    return [
        {"name": str(name), "length": length} for name, length in zip(names, lengths.tolist(), strict=True)
    ]  # fmt: skip


def _times(lives: Lives) -> tuple[str, np.ndarray] | None:
    """Give the time of each step: dates as milliseconds since 1970, or seconds."""
    times = times_of(lives.trace)
    if times is None:
        return None
    sequence, position = lives.order
    values = times.to_numpy()
    own = values[position] if values.ndim == 1 else values[sequence, position]
    if own.dtype.kind == "M":
        return "date", own.astype("datetime64[ms]").astype("<f8")
    return str(times.attrs.get("units", "s")), own.astype("<f8")


def _series(known: Known, lives: Lives) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Give known quantities, then input features, by step."""
    sequence, position = lives.order
    found = [
        ({"name": name, "units": known.units.get(name, ""), "known": True}, values[sequence, position])
        for name, values in known.quantities.items()
    ]
    features = known.features("forward") if known.tokens is None else None
    if features is not None:
        for name, units, values in zip(features.names, features.units, features.values, strict=True):
            found.append(({"name": name, "units": units, "known": False}, values))
    some = found[:MOST_SERIES]
    return [about for about, _ in some], {f"series/{k}": v.astype("<f4") for k, (_, v) in enumerate(some)}
