"""Taps: the real inputs, states and outputs of the LSTMs in somebody's ONNX model, as ONNX Runtime runs it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from tallycell.errors import InputError
from tallycell.loaders.onnx.sites import open_lstms
from tallycell.loaders.onnx.wiring import Call, Feeds, Session, choose, wires_of
from tallycell.wording import quoted


@dataclass(frozen=True, eq=False)
class Tapped:
    """What one LSTM read and made while its model ran.

    Attributes
    ----------
    x
        What it read, (time, sequence, feature), in the order in which it read it: for a node of direction ``reverse``
        each sequence is turned, and so is ``y``, so that the node's parameters give ``y`` for ``x``.
    h_0, c_0
        The states it started from, (direction, sequence, unit).
    y
        What the runtime made of it, (time, sequence, direction * unit).
    lengths
        Steps of each sequence; None if all are full.

    Examples
    --------
    >>> one = Tapped(np.zeros((5, 1, 3)), np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), np.zeros((5, 1, 2)))
    >>> [state.shape for state in one.state]
    [(1, 1, 2), (1, 1, 2)]
    """

    x: Float[np.ndarray, "time sequence feature"]
    h_0: Float[np.ndarray, "direction sequence unit"]
    c_0: Float[np.ndarray, "direction sequence unit"]
    y: Float[np.ndarray, "time sequence direction*unit"]
    lengths: Int[np.ndarray, " sequence"] | None = None

    @property
    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """h_0 and c_0, as :func:`tallycell.record_trace` takes them."""
        return self.h_0, self.c_0


def tap(
    path: str | PathLike[str],
    feeds: Feeds | Iterable[Feeds],
    *,
    lstm: str | None = None,
    carry: Mapping[str, str] | None = None,
) -> dict[str, Tapped]:
    """Run an ONNX model on real input, and give what each of its LSTMs read and made.

    Parameters
    ----------
    path
        The model's file, which is not changed.
    feeds
        The model's inputs by name, for one call; or any number of such, one call after the other.
    lstm
        Path of the only LSTM to tap, as :func:`tallycell.load` gives it; all if None.
    carry
        From the name of a state input to that of the output which feeds it in the next call. The first call takes it
        from its feeds.

    Returns
    -------
    dict
        By the path of the LSTM, in order of execution; without those in branches that no call took. Where an LSTM
        starts from the very states in which the call before left it, the calls follow each other in time; every other
        call is a further sequence, with ``lengths`` where they differ.

    Raises
    ------
    MissingExtraError
        If onnx or onnxruntime is not installed.
    FormatError
        If the file is damaged, or holds no LSTM that can be read.
    InputError
        If the model does not run on these feeds, has no such LSTM, or that runs inside a loop.

    Examples
    --------
    ::

        tapped = tc.tap("model.onnx", {"input": audio})["decoder/rnn/LSTM"]
        trace = tc.record_trace(model["decoder/rnn/LSTM"], tapped.x, tapped.state, lengths=tapped.lengths)
    """
    source = Path(path)
    model, _, found = open_lstms(source)
    chosen = choose(found, None if lstm is None else [lstm], source)
    wires = wires_of(model, chosen)
    session = Session(model)
    calls: dict[int, list[Call]] = {}
    for results in session.calls([feeds] if isinstance(feeds, Mapping) else feeds, carry or {}):
        for wire in wires:
            call = wire.call(results)
            if call is not None:
                calls.setdefault(id(wire.found), []).append(call)
    if not calls and lstm is None:
        raise InputError(f"no LSTM of {source} ran: feeds holds no call, or the calls are without steps")
    if not calls:
        raise InputError(f"the LSTM at {quoted(lstm)} did not run: it stands in a branch that these feeds do not take")
    return {name: join(chains(calls[id(one)])) for name, one in chosen.items() if id(one) in calls}


def chains(calls: list[Call]) -> list[list[Call]]:
    """Part calls into those that follow each other in time."""
    found: list[list[Call]] = []
    for call in calls:
        if found and call.goes_on(found[-1][-1]):
            found[-1].append(call)
        else:
            found.append([call])
    return found


def join(runs: list[list[Call]]) -> Tapped:
    """Join calls: those of a chain follow each other in time; chains are further sequences."""
    xs, ys = ([np.concatenate([getattr(call, what) for call in run]) for run in runs] for what in ("x", "y"))
    h_0, c_0 = (np.concatenate([getattr(run[0], what) for run in runs], axis=1) for what in ("h_0", "c_0"))
    lengths = np.concatenate(
        [
            np.full(x.shape[1], len(x)) if run[0].lengths is None else run[0].lengths
            for x, run in zip(xs, runs, strict=True)
        ]
    )
    time = max(map(len, xs))
    is_full = all(run[0].lengths is None for run in runs) and (lengths == time).all()
    return Tapped(_side_by_side(xs, time), h_0, c_0, _side_by_side(ys, time), None if is_full else lengths)


def _side_by_side(arrays: list[np.ndarray], time: int) -> np.ndarray:
    """Sequences of different lengths beside each other, zero beyond their end."""
    padded = [np.pad(one, ((0, time - len(one)), (0, 0), (0, 0))) for one in arrays]
    return padded[0] if len(padded) == 1 else np.concatenate(padded, axis=1)
