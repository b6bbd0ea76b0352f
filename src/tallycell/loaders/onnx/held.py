"""Holds inside somebody's ONNX model: what becomes of its outputs when gates or states of its LSTMs are held.

What feeds an LSTM runs in ONNX Runtime, the LSTM with its holds on our kernel, and what follows in ONNX Runtime again.
The model is changed in memory only; the file stays as it is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from tallycell.errors import InputError
from tallycell.kernels.hold import Hold, held_values, read_holds
from tallycell.kernels.stack import StackInput, run_stack, with_means
from tallycell.loaders.onnx.calls import Call, Tapped, chains, join
from tallycell.loaders.onnx.operator import QUANTISED
from tallycell.loaders.onnx.sites import Found, open_lstms
from tallycell.loaders.onnx.wiring import Feeds, Results, Session, Wire, calls_of, choose, its_own, wires_of
from tallycell.names import DIRECTIONS, SEQUENCE, TIME, UNIT
from tallycell.parameters import LSTMParameters
from tallycell.wording import listed, quoted

Holds = Hold | Iterable[Hold]


@dataclass(frozen=True, eq=False)
class HeldRun:
    """What an ONNX model gave while its LSTMs were held.

    Attributes
    ----------
    outputs
        The model's own outputs by name, (call, ...): those of all calls stacked; a tuple of them, one a call, where
        their shapes differ.
    lstms
        What each held LSTM read, and made under its holds, by path, as :func:`tallycell.tap` gives it.

    Examples
    --------
    >>> run = HeldRun({"speech": np.array([[0.1], [0.9]])}, {})
    >>> run.outputs["speech"].shape
    (2, 1)
    """

    outputs: Mapping[str, Any]
    lstms: Mapping[str, Tapped]


def run_with_holds(
    path: str | PathLike[str],
    feeds: Feeds | Iterable[Feeds],
    hold: Holds | Mapping[str, Holds] = (),
    *,
    carry: Mapping[str, str] | None = None,
) -> HeldRun:
    """Run an ONNX model on real input while gates or states of its LSTMs are held.

    The LSTMs that are held run on the kernel of tallycell; all else is done by ONNX Runtime. A model is run once for
    each place where a held LSTM stands and once more, in each call, and once as it is.

    Parameters
    ----------
    path
        The model's file, which is not changed.
    feeds
        The model's inputs by name, for one call; or any number of such, one call after the other.
    hold
        Holds of the only LSTM that runs on these feeds; or, by path of the LSTM, as :func:`tallycell.load` gives it,
        its own. An LSTM that is named without holds runs on our kernel all the same. Layers that are nodes of their own
        are LSTMs of their own here, each with one layer, 0.

        Steps are those of what :func:`tallycell.tap` gives: they count on over the calls that follow each other in
        time, because each starts from the states in which the one before left the LSTM. A call that starts anew is a
        further sequence, whose steps count from 0. A node of direction ``reverse`` is one direction, forward, and its
        step 0 is the one that it reads first. A hold at the mean takes each unit's mean over the run in which nothing
        is held.
    carry
        From the name of a state input to that of the output which feeds it in the next call. The first call takes it
        from its feeds.

    Returns
    -------
    HeldRun
        The model's outputs, and what the LSTMs read and made. The trace under the holds is
        ``record_trace(model[path], lstm.x, lstm.state, lengths=lstm.lengths, hold=holds)``.

    Raises
    ------
    MissingExtraError
        If onnx or onnxruntime is not installed.
    FormatError
        If the file is damaged, or holds no LSTM that can be read.
    InputError
        If the model does not run on these feeds, or several LSTMs do and none is named; if an LSTM is not there, did
        not run, runs inside a loop, or is a DynamicQuantizeLSTM, which rounds what it reads as it runs; if a hold does
        not fit; if the model takes another way under the holds, so that the LSTM is called otherwise.

    Examples
    --------
    ::

        run = tc.run_with_holds("detector.onnx", calls, tc.Hold("c", 0.0, units=[27]), carry={"state": "stateN"})
        run.outputs["output"]  # the probability of speech without unit 27, (call, 1, 1)
    """
    source = Path(path)
    calls = [feeds] if isinstance(feeds, Mapping) else list(feeds)
    named: dict[str, tuple[Hold, ...]] | None = None
    of_the_only: tuple[Hold, ...] = ()
    if isinstance(hold, Mapping):
        named = {name: read_holds(one) for name, one in hold.items()}
    else:
        of_the_only = read_holds(hold)
    model, _, found = open_lstms(source)
    chosen = choose(found, named, source) if named != {} else {}
    wires = wires_of(model, chosen, switched=True)
    session, carried = Session(model), carry or {}
    free = calls_of(session, wires, calls, carried)
    ran = {name: one for name, one in chosen.items() if id(one) in free}
    if named is None and len(ran) != 1:
        raise InputError(_which_of(ran, source))
    if missing := [name for name in named or () if name not in ran]:
        raise InputError(f"the LSTM at {quoted(missing[0])} did not run: these feeds hold no call that reaches it")
    plans = {
        id(one): Plan.of(name, one, of_the_only if named is None else named[name], free[id(one)])
        for name, one in ran.items()
    }
    results = list(session.calls(calls, carried, lambda given: _run_held(session, wires, plans, given)))
    lstms = {name: plans[id(one)].made() for name, one in ran.items()}
    return HeldRun({name: _stacked([one[name] for one in results]) for name in session.outputs}, lstms)


def _which_of(ran: Mapping[str, Found], source: Path) -> str:
    if not ran:
        return f"no LSTM of {source} ran: feeds holds no call, or the calls are without steps"
    return f"{len(ran)} LSTMs of {source} ran, at {listed(ran)}; say which is held: hold={{{next(iter(ran))!r}: holds}}"


def _run_held(session: Session, wires: list[Wire], plans: Mapping[int, "Plan"], given: dict[str, Any]) -> Results:
    """Run one call: up to each place where a held LSTM stands, and from what our kernel makes of it, on."""
    given = given | its_own(wires)
    results = session.run(given)
    for wire in wires:
        plan = plans.get(id(wire.found))
        call = wire.call(results) if plan is not None else None
        if plan is not None and call is not None:
            given |= wire.instead(plan.run(call), results)
            results = session.run(given)
    return results


def _stacked(results: list[Any]) -> Any:
    shapes = {np.shape(one) if isinstance(one, np.ndarray) else None for one in results}
    return np.stack(results) if len(shapes) == 1 and None not in shapes else tuple(results)


@dataclass(frozen=True, eq=False)
class Plan:
    """What one LSTM is held at in each of its calls, and what it has made of them so far.

    Attributes
    ----------
    name, parameters
        The LSTM.
    held
        By direction and letter, values over all steps and sequences, (time, unit) or (time, sequence, unit).
    places
        For each call to come, the steps and the sequences that it stands for.
    sizes
        How many calls each chain has in which they follow each other in time.
    calls
        Those that were run.
    """

    name: str
    parameters: LSTMParameters
    held: Mapping[tuple[str, str], np.ndarray]
    places: tuple[tuple[slice, slice], ...]
    sizes: tuple[int, ...]
    calls: list[Call]

    @classmethod
    def of(cls, name: str, found: Found, holds: tuple[Hold, ...], free: list[Call]) -> "Plan":
        """Work out from the free run which values each call is held at.

        Raises
        ------
        InputError
            If a hold does not fit the LSTM or what it read, or the LSTM rounds what it reads as it runs.
        """
        assert isinstance(found.parameters, LSTMParameters)
        if found.place.operator == QUANTISED:
            raise InputError(
                f"the LSTM at {quoted(name)} is a {QUANTISED}, which rounds what it reads to 8 bits as it runs; our "
                "kernel does not, so that it cannot take its place: hold units of the model before it was quantised"
            )
        parts = chains(free)
        places, sequence = [], 0
        for chain in parts:
            step, width = 0, chain[0].x.shape[1]
            for call in chain:
                places.append((slice(step, step + len(call.x)), slice(sequence, sequence + width)))
                step += len(call.x)
            sequence += width
        return cls(
            name, found.parameters, _held(found.parameters, holds, join(parts)), tuple(places),
            tuple(map(len, parts)), [],
        )  # fmt: skip

    def run(self, call: Call) -> Call:
        """Run one call on the kernel, held; keep and give what it makes.

        Raises
        ------
        InputError
            If the call is not the one of the free run.
        """
        number = len(self.calls)
        expected = self.places[number] if number < len(self.places) else (slice(0, 0), slice(0, 0))
        if call.x.shape[:2] != tuple(one.stop - one.start for one in expected):
            raise InputError(self._takes_another_way())
        holds = list(self._holds(*expected))
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is the model's to tell
            (steps,) = run_stack(self.parameters, _as_input(call, self.parameters), holds=holds)
        y = np.concatenate([one.h for one in steps], axis=-1)
        if call.lengths is not None:  # the runtime gives zeros beyond the end of a sequence
            y = np.where(np.arange(len(y))[:, np.newaxis, np.newaxis] < call.lengths[:, np.newaxis], y, 0)
        made = replace(call, y=y, h_n=np.stack([one.h_n for one in steps]), c_n=np.stack([one.c_n for one in steps]))
        self.calls.append(made)
        return made

    def made(self) -> Tapped:
        """Join what was made in all calls.

        Raises
        ------
        InputError
            If there were fewer calls than in the free run.
        """
        if len(self.calls) != len(self.places):
            raise InputError(self._takes_another_way())
        left = iter(self.calls)
        return join([[next(left) for _ in range(size)] for size in self.sizes])

    def _holds(self, steps: slice, sequences: slice) -> Iterator[Hold]:
        for (letter, direction), values in self.held.items():
            differ = values.ndim == 3
            some = values[steps, sequences] if differ else values[steps]
            if not np.isnan(some).all():
                dims = (TIME, SEQUENCE, UNIT) if differ else (TIME, UNIT)
                yield Hold(letter, xr.DataArray(some, dims=dims), direction=direction)

    def _takes_another_way(self) -> str:
        return (
            f"the LSTM at {quoted(self.name)} is called otherwise once it is held: the model takes another way, so "
            "that the steps of the holds have no meaning; hold it in calls that the hold does not change"
        )


def _as_input(call: Call | Tapped, parameters: LSTMParameters) -> StackInput:
    x, h_0, c_0 = (np.ascontiguousarray(one, parameters.dtype) for one in (call.x, call.h_0, call.c_0))
    return StackInput(x, h_0, c_0, None if call.lengths is None else call.lengths.astype(np.int64))


def _held(parameters: LSTMParameters, holds: tuple[Hold, ...], read: Tapped) -> dict[tuple[str, str], np.ndarray]:
    """Give by letter and direction what is held over all that an LSTM reads, (time, unit) or (time, sequence, unit)."""
    time, sequences, _ = read.x.shape
    meant = with_means(holds, parameters, _as_input(read, parameters))
    found = {}
    for number, direction in enumerate(DIRECTIONS):
        for letter, values in held_values(meant, parameters, 0, number, time, sequences).items():
            found[letter, direction] = values
    return found
