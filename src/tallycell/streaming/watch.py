"""A check that a state which should live does live.

Programs that listen have shipped with one of two mistakes, and nobody heard it, for each single step looks right:
the state is reset at every call, or the old one is fed back at every call. Both look the same from outside: one and the
same state is given again and again, while each call returns another.
"""

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tallycell.errors import InputError
from tallycell.streaming.state import LSTMState

PATIENCE = 20  # calls; a new utterance resets once, and twenty utterances of one step are none


class StateWarning(UserWarning):
    """A state that should live from call to call does not."""


class StateWatch:
    """Watch one live stream; warn once if its state does not live.

    Give it to :func:`~tallycell.streaming.step` as ``watch=``, or call :meth:`observe` in any other program that
    carries a state. It warns when, bit for bit and without another in between,

    - one and the same state was given in at least ``patience`` calls, although in as many calls but one another was
      returned and dropped (a part counts alone: c of layer 0 may be reset while h is carried); or
    - with ``x`` given to :meth:`observe`: each of ``patience`` calls returned the state that it was given, although
      each had another input than the call before: the model does not hand out its new state.

    It keeps silent when a state is reset now and then, settles (digital silence brings an LSTM to a state that
    returns itself), or is given again because the model returned it. One watch is for one stream: many candidates
    tried from one state are no mistake, and not to be watched.

    Parameters
    ----------
    patience
        How many calls; at least 2.

    Raises
    ------
    InputError
        If ``patience`` is not a whole number of at least 2.

    Examples
    --------
    >>> watch, zeros = StateWatch(patience=3), np.zeros(2)
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     warnings.simplefilter("always")
    ...     for x in range(3):
    ...         watch.observe(zeros, zeros + x + 1)
    >>> print(seen[0].message)
    the state that was given was the same zeros in the last 3 calls (state), of which 2 or more returned another one
    that was not given to the next: is it reset at every call? Give each call the state that the last one returned
    """

    def __init__(self, patience: int = PATIENCE) -> None:
        if not isinstance(patience, int) or patience < 2:
            raise InputError(f"patience is {patience!r}; expected a whole number of calls, at least 2")
        self.patience = patience
        self.warned = False
        self._given: dict[str, bytes] = {}
        self._dropped: dict[str, int] = {}  # by part: results not passed on while the same was given
        self._same: dict[str, int] = {}  # by part: calls in a row that were given the same
        self._ignored: set[str] = set()  # parts of which the last call returned another than it was given
        self._x: bytes | None = None
        self._unmoved = 0

    def observe(self, given: Any, returned: Any, *, x: Any = None, stacklevel: int = 2) -> None:
        """See one call of a model: the state that it was given and the one that it returned.

        Call it before the next call overwrites either.

        Parameters
        ----------
        given, returned
            An ``LSTMState``, an array or tensor, or a tuple of them such as ``(h, c)``. Of arrays with three
            dimensions each layer (the first one) is a part of its own.
        x
            The input of this call. Only for models that might return the state they were given: an LSTM with gates
            that saturate exactly may rightly hold its state for long.
        stacklevel
            Whose line the warning names, as in ``warnings.warn``.

        Warns
        -----
        StateWarning
            Once, if the state does not live.
        """
        if self.warned:
            return
        before, after = dict(_parts(given)), dict(_parts(returned))
        for part, value in before.items():
            same = value == self._given.get(part)
            self._same[part] = self._same.get(part, 0) + 1 if same else 1
            self._dropped[part] = self._dropped.get(part, 0) + (part in self._ignored) if same else 0
        self._ignored = {part for part in before if before[part] != after.get(part)}
        self._given = before
        if x is not None:
            read = _bits(x)
            moved = before != after
            self._unmoved = 0 if moved else self._unmoved + (read != self._x)
            self._x = read
        if text := self._finding():
            self.warned = True
            warnings.warn(text, StateWarning, stacklevel=stacklevel)

    def _finding(self) -> str | None:
        """Say what is wrong, if anything is."""
        stuck = [part for part, dropped in self._dropped.items() if dropped + 1 >= self.patience]
        if stuck:
            calls, dropped = min(self._same[part] for part in stuck), min(self._dropped[part] for part in stuck)
            zeros = not any(any(self._given[part]) for part in stuck)
            what, guess = ("the same zeros", "reset") if zeros else ("the same, bit for bit,", "the old one fed back")
            return (
                f"the state that was given was {what} in the last {calls} calls ({', '.join(stuck)}), of which "
                f"{dropped} or more returned another one that was not given to the next: is it {guess} at every call? "
                "Give each call the state that the last one returned"
            )
        if self._unmoved >= self.patience:
            return (
                f"the state that was returned is, bit for bit, the one that was given, in {self._unmoved} calls with "
                "changing input: does the model hand out its new state, or the old one?"
            )
        return None


def _parts(state: Any, name: str = "state") -> Iterator[tuple[str, bytes]]:
    """Parts of a state by name, as the bits they are: a copy, for buffers are written over."""
    if isinstance(state, LSTMState):
        state = (state.h, state.c)
    if isinstance(state, tuple | list):
        names = "hc" if len(state) == 2 else [f"{name} {k}" for k in range(len(state))]
        for letter, one in zip(names, state, strict=True):
            yield from _parts(one, letter)
    elif getattr(state, "ndim", 0) == 3:
        for k, layer in enumerate(state):
            yield f"{name} of layer {k}", _bits(layer)
    else:
        yield name, _bits(state)


def _bits(values: Any) -> bytes:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        values = values.detach().cpu().reshape(-1).view(torch.uint8).numpy()  # bits, of bfloat16 too
    return np.asarray(values).tobytes()
