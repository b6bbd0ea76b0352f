"""How an ONNX model takes sound: which input is for samples, how they are cut, and what is carried between its calls.

The rules, which hold for silero-vad's files and for what is exported as they are:

- the first input of floats that is (sample,), (batch, sample) or (batch, 1, sample) takes the samples; a width under
  5 ms is none of sound;
- an input of whole numbers takes the rate, if its name says so (``sr``, ``sample_rate``, ...);
- all other inputs of floats are states: zeros at first, then the output of like shape, of like name where there are
  several;
- with states, a call takes a chunk of 32 ms behind the last 4 ms of the chunk before; without, all there is. A width
  that the file fixes goes before: it is the chunk, unless it is 36 ms, which is both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError
from tallycell.wording import quoted

if TYPE_CHECKING:
    from onnx import ValueInfoProto

DEFAULT_RATE = 16_000
CHUNK, CONTEXT = 32, 4  # milliseconds
SHORTEST = 5  # milliseconds: an input that is narrower takes features, not samples
RATE_NAMES = ("sr", "rate", "sample_rate", "samplerate", "sampling_rate", "fs")
FLOATS: dict[int, np.dtype] = {
    1: np.dtype(np.float32),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
}  # by ONNX's numbers
INTEGERS: dict[int, np.dtype] = {6: np.dtype(np.int32), 7: np.dtype(np.int64)}


@dataclass(frozen=True)
class Cutting:
    """How a sound is wished to be cut for a model; what is None is the model's or the usual.

    Attributes
    ----------
    rate
        Samples a second that the model was made for.
    chunk
        New samples in each call.
    context
        Samples of the chunk before that each call begins with.

    Raises
    ------
    InputError
        If a number is too small.
    """

    rate: int | None = None
    chunk: int | None = None
    context: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("rate", 1), ("chunk", 1), ("context", 0)):
            if (value := getattr(self, name)) is not None and value < least:
                raise InputError(f"{name} is {value}; expected at least {least}")


@dataclass(frozen=True)
class Port:
    """An input or output of a model.

    Attributes
    ----------
    name
        What the file calls it.
    dtype
        What it holds; None if neither floats nor whole numbers.
    shape
        Its dimensions, None where one is free.
    """

    name: str
    dtype: np.dtype | None
    shape: tuple[int | None, ...]

    def fits(self, other: "Port") -> bool:
        """Whether the shapes are alike wherever both are known."""
        return len(self.shape) == len(other.shape) and all(
            None in (a, b) or a == b for a, b in zip(self.shape, other.shape, strict=True)
        )


@dataclass(frozen=True, eq=False)
class FrontEnd:
    """A plan for feeding sound to a model.

    Attributes
    ----------
    samples
        The input that takes them.
    rate
        Samples a second.
    chunk
        New samples a step; None if all go in one step.
    context
        Samples of the chunk before that stand in front of each.
    constants
        What each call is given besides, by input: the rate.
    states
        Zeros, by input, for the first call; what is carried goes before.
    carry
        From the input of a state to the output that it continues with.
    """

    samples: Port
    rate: int
    chunk: int | None
    context: int
    constants: Mapping[str, np.ndarray]
    states: Mapping[str, np.ndarray]
    carry: Mapping[str, str]

    def feeds(self, samples: Float[np.ndarray, " sample"]) -> Iterator[dict[str, np.ndarray]]:
        """Cut a sound, padded with silence to whole chunks, into what each call is given."""
        assert self.samples.dtype is not None  # plan_front_end chose an input of floats
        sound = samples.astype(self.samples.dtype)
        if self.chunk is None:
            yield {self.samples.name: self._shaped(sound), **self.constants, **self.states}
            return
        steps = self.steps(len(sound))
        padded = np.pad(sound, (self.context, steps * self.chunk - len(sound)))
        width = self.context + self.chunk
        rows = np.lib.stride_tricks.sliding_window_view(padded, width)[:: self.chunk][:steps]
        for row in rows:
            yield {self.samples.name: self._shaped(row), **self.constants, **self.states}

    def steps(self, samples: int) -> int:
        """Chunks that a sound of so many samples makes."""
        return 1 if self.chunk is None else -(-samples // self.chunk)

    def _shaped(self, row: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(row.reshape((1,) * (len(self.samples.shape) - 1) + (-1,)))


def plan_front_end(path: Path, cutting: Cutting) -> FrontEnd:
    """Find out how a model takes sound.

    Raises
    ------
    InputError
        If it has no input for samples, or another input that is not known, or a chunk and a context are asked for that
        do not make the width of its input.
    """
    inputs, outputs = ports_of(path)
    rate = cutting.rate or DEFAULT_RATE
    samples = next((port for port in inputs if _takes_samples(port, rate)), None)
    if samples is None:
        shapes = "; ".join(f"{port.name} {list(port.shape)}" for port in inputs) or "(none)"
        raise InputError(
            f"{path.name} has no input for samples, (batch, sample), but {shapes}: give the "
            "input of its LSTM as an array (--array)"
        )
    constants: dict[str, np.ndarray] = {}
    states: dict[str, np.ndarray] = {}
    carry: dict[str, str] = {}
    for port in inputs:
        if port is samples:
            continue
        if port.dtype in INTEGERS.values() and port.name.lower() in RATE_NAMES:
            constants[port.name] = np.full([size or 1 for size in port.shape], rate, port.dtype)
        elif port.dtype in FLOATS.values():
            carry[port.name] = _continuation(port, outputs, carry, path).name
            states[port.name] = np.zeros([size or 1 for size in port.shape], port.dtype)
        else:
            raise InputError(
                f"the input {quoted(port.name)} of {path.name} is neither samples, rate nor state; give the "
                "input of its LSTM as an array (--array)"
            )
    chunk, context = _cut(samples.shape[-1], rate, cutting, has_states=bool(states))
    return FrontEnd(samples, rate, chunk, context, constants, states, carry)


def ports_of(path: Path) -> tuple[list[Port], list[Port]]:
    """Give inputs and outputs of an ONNX model; what has a constant value is no input."""
    from tallycell.loaders.onnx.graph import parse

    model = parse(path)
    graph = model.proto.graph
    inputs = [_port(value) for value in graph.input if value.name in model.root.inputs]
    return inputs, [_port(value) for value in graph.output]


def _port(value: "ValueInfoProto") -> Port:
    tensor = value.type.tensor_type
    dtype = (FLOATS | INTEGERS).get(tensor.elem_type)
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    return Port(value.name, dtype, shape)


def _takes_samples(port: Port, rate: int) -> bool:
    if port.dtype not in FLOATS.values() or not 1 <= len(port.shape) <= 3 or port.shape[1:-1] not in ((), (1,)):
        return False
    width = port.shape[-1]
    return width is None or width * 1000 >= SHORTEST * rate


def _continuation(state: Port, outputs: list[Port], taken: Mapping[str, str], path: Path) -> Port:
    """Output that a state continues with: the one of like shape, of like name where there are several."""
    free = [port for port in outputs if port.name not in taken.values()]
    alike = [port for port in free if port.dtype == state.dtype and state.fits(port)]
    if not alike:
        raise InputError(
            f"{path.name} has an input {quoted(state.name)} {list(state.shape)} and no output of its shape to carry "
            "into it; give the input of its LSTM as an array (--array)"
        )
    return next((port for port in alike if port.name.startswith(state.name)), alike[0])


def _cut(width: int | None, rate: int, cutting: Cutting, *, has_states: bool) -> tuple[int | None, int]:
    """Tell the new samples a step, and those of the chunk before in front of them."""
    usual, before = rate * CHUNK // 1000, rate * CONTEXT // 1000
    if width is None:
        chunk = cutting.chunk or (usual if has_states else None)
        return chunk, cutting.context if cutting.context is not None else before if chunk and has_states else 0
    context = cutting.context
    if context is None:
        context = width - cutting.chunk if cutting.chunk else before if width == usual + before else 0
    chunk = cutting.chunk or width - context
    if context < 0 or chunk < 1 or context + chunk != width:
        raise InputError(f"the model takes {width} samples a call, not {chunk} new ones behind {context} old ones")
    return chunk, context


def own_output(
    path: Path, front_end: FrontEnd, samples: Float[np.ndarray, " sample"]
) -> Float[np.ndarray, " step"] | None:
    """Run a model on a sound and give its own output at each step; None where it has none that is a single number."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [one.name for one in session.get_outputs()]
    found: list[np.ndarray] = []
    carried: dict[str, np.ndarray] = {}
    for feed in front_end.feeds(samples):
        results = dict(zip(outputs, session.run(None, feed | carried), strict=True))
        carried = {state: results[made] for state, made in front_end.carry.items()}
        own = [results[name] for name in outputs if name not in front_end.carry.values() and results[name].size == 1]
        if not own or own[0].dtype.kind != "f":
            return None
        found.append(own[0].ravel())
    return np.concatenate(found)
