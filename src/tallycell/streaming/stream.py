"""One time step a call, from a state that is kept.

:func:`step` is a function: state in, state out. :class:`Stream` keeps the state itself and does least at each call.
Both read a single time step, ``(feature,)`` of one sequence or ``(sequence, feature)``; :func:`steps` and
:meth:`Stream.steps` read several, ``(time, feature)`` or ``(time, sequence, feature)``.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from tallycell.equations import lstm_step, project_input
from tallycell.errors import InputError
from tallycell.html_table import html_table
from tallycell.parameters import LayerParameters, LSTMParameters
from tallycell.streaming.inputs import Array, read_array, require_shape, wrapped
from tallycell.streaming.state import LSTMState, owned_state, require_one_direction, require_state, sequence_numbers
from tallycell.streaming.watch import PATIENCE, StateWarning, StateWatch

_LAYERS, _STEPPERS = "_streamed_layers", "_streamed_steppers"


def step(
    parameters: LSTMParameters, x: Array, state: LSTMState, *, watch: StateWatch | None = None
) -> tuple[Array, LSTMState]:
    """Take one time step.

    Parameters
    ----------
    parameters
        The LSTM, of one direction.
    x
        One time step, (feature,) of one sequence or (sequence, feature); floats or integers, brought to the dtype of
        the weights. A CPU tensor is read where it stands.
    state
        ``LSTMState.zeros(parameters, sequences)`` at the start, then what the last call returned. It is not touched.
    watch
        Warns if the state does not live; see :class:`~tallycell.streaming.StateWatch`.

    Returns
    -------
    h
        Of the last layer, (hidden,) or (sequence, hidden), as ``x`` was given; a tensor if ``x`` is one.
    state
        To give to the next call.

    Raises
    ------
    ParameterError
        If the LSTM is bidirectional.
    InputError
        If x or the state does not fit the LSTM, or x has NaN or infinite values.

    Examples
    --------
    >>> ones = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.ones((4, 1))}
    >>> parameters = LSTMParameters(ones)
    >>> state = LSTMState.zeros(parameters)
    >>> for x in (1.0, 1.0):
    ...     h, state = step(parameters, np.array([x]), state)
    ...     print(h.round(3))
    [0.37]
    [0.651]
    """
    return _take(parameters, x, state, watch, dims=1)


def steps(
    parameters: LSTMParameters, x: Array, state: LSTMState, *, watch: StateWatch | None = None
) -> tuple[Array, LSTMState]:
    """Take a few time steps: the same numbers, bit for bit, as that many calls of :func:`step`.

    For whole sequences ``record_trace`` and ``LSTM`` are made.

    Parameters
    ----------
    parameters, state, watch
        As in :func:`step`.
    x
        (time, feature) of one sequence, or (time, sequence, feature).

    Returns
    -------
    h
        Of the last layer at each time step, (time, hidden) or (time, sequence, hidden).
    state
        After the last step.

    Raises
    ------
    ParameterError, InputError
        As in :func:`step`.

    Examples
    --------
    >>> ones = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.ones((4, 1))}
    >>> parameters = LSTMParameters(ones)
    >>> h, state = steps(parameters, np.array([[1.0], [1.0]]), LSTMState.zeros(parameters))
    >>> h[:, 0].round(3), state.c[0, 0].round(3)
    (array([0.37 , 0.651]), array([1.144]))
    """
    return _take(parameters, x, state, watch, dims=2)


def _take(
    parameters: LSTMParameters, x: Array, state: LSTMState, watch: StateWatch | None, *, dims: int
) -> tuple[Array, LSTMState]:
    """Take the one step (``dims`` 1) or the steps (2) of x; ``dims`` is how many dimensions a single sequence has."""
    layers = layers_of(parameters)
    state = require_state(state, layers)
    values, is_tensor = read_array(x, parameters.dtype)
    require_shape(values, dims, state.sequences, parameters.input_size)
    h, c = state.h.copy(), state.c.copy()
    take = advance_one if dims == 1 else advance_all
    with lent_steppers(parameters, state.sequences) as steppers:
        out = take(steppers, values, h, c)
    after = owned_state(h, c)
    if watch is not None:
        watch.observe(state, after, stacklevel=4)
    return wrapped(out, is_tensor), after


class Stream:
    """An LSTM that listens: it keeps its state, and what can be prepared is prepared once.

    One stream is for one thread at a time; many streams may share their parameters.

    Parameters
    ----------
    parameters
        The LSTM, of one direction.
    sequences
        How many sequences run side by side.
    start
        State of one sequence, in which each begins and to which a reset returns; zeros if None.

    Raises
    ------
    ParameterError
        If the LSTM is bidirectional.
    InputError
        If ``start`` does not fit the LSTM, or is of several sequences.

    Examples
    --------
    >>> ones = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.ones((4, 1))}
    >>> stream = Stream(LSTMParameters(ones))
    >>> stream(np.array([1.0])).round(3), stream(np.array([1.0])).round(3)
    (array([0.37]), array([0.651]))
    >>> stream.reset()
    >>> stream.steps(np.array([[1.0], [1.0]])).round(3)
    array([[0.37 ],
           [0.651]])
    """

    def __init__(self, parameters: LSTMParameters, sequences: int = 1, *, start: LSTMState | None = None) -> None:
        begin = LSTMState.zeros(parameters, sequences)
        self.parameters = parameters
        self.sequences = sequences
        self._layers = layers_of(parameters)
        self._steppers = new_steppers(self._layers, sequences)
        if start is not None and require_state(start, self._layers).sequences != 1:
            raise InputError(f"start is of {start.sequences} sequences; give one, in which every sequence begins")
        self._start = start or LSTMState.zeros(parameters)
        self._dtype = parameters.dtype
        self._shape = (sequences, parameters.input_size)
        self._shapes = (self._shape, self._shape[1:]) if sequences == 1 else (self._shape,)
        self._h, self._c = begin.h.copy(), begin.c.copy()
        self._h[:], self._c[:] = self._start.h, self._start.c
        self._taken = 0  # time steps
        self._reset_at = np.zeros(sequences, np.int64)  # time step of each sequence's last reset
        self._in_a_row = np.zeros(sequences, np.int64)  # resets with one time step between
        self._warned = False

    def __repr__(self) -> str:
        return f"Stream({self.parameters!r}, sequences={self.sequences})"

    def _repr_html_(self) -> str:
        rows = (("LSTM", repr(self.parameters)), ("sequences", f"{self.sequences:,}"), ("state", repr(self.state)))
        return html_table("Stream, one time step a call", rows)

    def __call__(self, x: Array) -> Array:
        """Take one time step; ``x`` and what is returned are as in :func:`step`, the state is the stream's.

        Raises
        ------
        InputError
            If x does not fit, or has NaN or infinite values; the state is as it was.
        """
        values, is_tensor = read_array(x, self._dtype)
        if values.shape not in self._shapes:
            require_shape(values, 1, *self._shape)
        out = advance_one(self._steppers, values, self._h, self._c)
        self._taken += 1
        return wrapped(out, is_tensor)

    def steps(self, x: Array) -> Array:
        """Take a few time steps; ``x`` and what is returned are as in :func:`steps`, the state is the stream's.

        Raises
        ------
        InputError
            If x does not fit, or has NaN or infinite values; the state is as it was.
        """
        values, is_tensor = read_array(x, self._dtype)
        require_shape(values, 2, *self._shape)
        out = advance_all(self._steppers, values, self._h, self._c)
        self._taken += len(values)
        return wrapped(out, is_tensor)

    @property
    def state(self) -> LSTMState:
        """A copy of the state as it is now; assigning one, such as a loaded one, goes on from there.

        Assigning raises InputError if it is another network's, or of another number of sequences.
        """
        return owned_state(self._h.copy(), self._c.copy())

    @state.setter
    def state(self, state: LSTMState) -> None:
        if require_state(state, self._layers).sequences != self.sequences:
            raise InputError(f"the state is of {state.sequences} sequences, the stream of {self.sequences}")
        self._h[:], self._c[:] = state.h, state.c

    def reset(self, sequences: Sequence[int] | None = None) -> None:
        """Return to the start, in all sequences or in the chosen ones: at the start of a new utterance, say.

        Raises
        ------
        InputError
            If there is no such sequence.

        Warns
        -----
        StateWarning
            Once, if a sequence is reset after each single time step, twenty times in a row: such a network remembers
            nothing. Sequences of several steps may be reset between as often as there are.
        """
        rows = sequence_numbers(sequences, self.sequences)
        self._h[:, rows], self._c[:, rows] = self._start.h, self._start.c
        apart = self._taken - self._reset_at[rows]  # 0 if nothing was read since
        self._in_a_row[rows] = np.where(apart <= 1, self._in_a_row[rows] + apart, 0)
        self._reset_at[rows] = self._taken
        if not self._warned and self._in_a_row.max() >= PATIENCE:
            self._warned = True
            warnings.warn(
                f"sequence {self._in_a_row.argmax()} of this stream was reset after each of the last {PATIENCE} time "
                "steps, so that nothing is remembered; reset once, at the start of a new sequence",
                StateWarning,
                stacklevel=2,
            )


def layers_of(parameters: LSTMParameters) -> tuple[LayerParameters, ...]:
    """Layers of an LSTM of one direction, made once for each ``parameters``.

    Raises
    ------
    InputError, ParameterError
        If these are not the parameters of such an LSTM.
    """
    require_one_direction(parameters)
    kept = vars(parameters)  # where cached_property would put them; parameters never change
    if _LAYERS not in kept:
        kept[_LAYERS] = tuple(parameters.layer(k) for k in range(parameters.num_layers))
    found: tuple[LayerParameters, ...] = kept[_LAYERS]
    return found


TakeStep = Callable[[np.ndarray, np.ndarray, np.ndarray], None]  # x, and h and c of a layer, written over


def new_steppers(layers: tuple[LayerParameters, ...], sequences: int) -> tuple[TakeStep, ...]:
    """Prepare single steps of each layer: on the vector kernel where it can, else by the equations."""
    return tuple(_stepper(layer, sequences) for layer in layers)


def _stepper(layer: LayerParameters, sequences: int) -> TakeStep:
    from tallycell.kernels import cpu  # loads Numba, which only streaming needs and not its import

    ready = cpu.is_ready(cpu.host_format(str(layer.weight_ih.dtype)), cpu.slots_of(layer.activations))
    if ready and cpu.unsupported(layer) is None:
        return cpu.OneStep(layer, sequences)

    def take(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> None:
        done = lstm_step(layer, project_input(layer, x), h, c)
        h[...], c[...] = done.h, done.c

    return take


@contextmanager
def lent_steppers(parameters: LSTMParameters, sequences: int) -> Iterator[tuple[TakeStep, ...]]:
    """Lend steppers that nobody else uses in the meantime; they wait beside the parameters for the next call."""
    waiting: list[tuple[TakeStep, ...]] = vars(parameters).setdefault(_STEPPERS, {}).setdefault(sequences, [])
    # Taking from a list and adding to it are single operations: two threads never get the same.
    steppers = waiting.pop() if waiting else new_steppers(layers_of(parameters), sequences)
    try:
        yield steppers
    finally:
        waiting.append(steppers)


def advance(steppers: tuple[TakeStep, ...], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> None:
    """Take one time step in place: x is (sequence, feature), h and c (layer, sequence, ·) are written over."""
    for k, take in enumerate(steppers):
        here = h[k]
        take(x, here, c[k])
        x = here


def advance_one(steppers: tuple[TakeStep, ...], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Take the single time step x in place; give a copy of h of the last layer, in the shape of x."""
    advance(steppers, x if x.ndim == 2 else x[None], h, c)
    out: np.ndarray = h[-1].copy() if x.ndim == 2 else h[-1, 0].copy()
    return out


def advance_all(steppers: tuple[TakeStep, ...], x: np.ndarray, h: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Take all time steps of x in place; give h of the last layer at each, in the shape of x."""
    out = np.empty((len(x), *h.shape[1:]), h.dtype)
    for t, now in enumerate(x.reshape(len(x), h.shape[1], x.shape[-1])):
        advance(steppers, now, h, c)
        out[t] = h[-1]
    return out if x.ndim == 3 else out[:, 0]
