"""The graph of a TFLite file, read with the schema's own classes and checked before anything is believed.

The classes that flatc writes trust every offset and length of the file. What they raise on a damaged one is caught
here, and what would make them slow is counted beforehand.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tallycell.errors import FormatError, MissingExtraError, TallycellError
from tallycell.loaders.shapes import check_shape
from tallycell.loaders.tensors import MOST_BYTES, check_size, check_unfolding, widen
from tallycell.wording import one_line, quoted

_DTYPES = {"FLOAT32": "f4", "FLOAT64": "f8", "FLOAT16": "f2", "INT8": "i1", "UINT8": "u1", "INT16": "i2", "INT32": "i4"}
_OPTIONS = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "BidirectionalSequenceLSTMOptions",
    "LSTM": "LSTMOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
}
_OPTION_NAMES = ("FusedActivationFunction", "CellClip", "ProjClip", "KernelType", "DiagonalRecurrentTensors")
_EXTERNAL = 1  # an offset above it says that the values stand behind the flatbuffer


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor, as the file states it.

    Attributes
    ----------
    name, shape
        As stated.
    kind
        Its type by the schema's name: ``"FLOAT32"``, ``"INT8"``.
    content
        Its bytes; empty if it is computed.
    scale, zero_point, axis
        Of its quantisation; empty if it has none. ``axis`` is the dimension along which there are several scales.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    content: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    is_sparse: bool

    @property
    def dtype(self) -> str:
        """Its type by NumPy's name."""
        return self.kind.lower()

    @property
    def count(self) -> int:
        """How many values of it stand in the file, whatever its shape says."""
        return len(self.content) // np.dtype(_DTYPES.get(self.kind, "i1")).itemsize

    def values(self) -> Float[np.ndarray, "..."]:
        """Give its values as floats: ``scale * (stored - zero_point)`` where it is quantised.

        Raises
        ------
        FormatError
            If it has no values of its own, is sparse, or of a type that weights do not have.
        """
        if self.is_sparse or self.kind not in _DTYPES:
            how = "packed as sparse" if self.is_sparse else f"of type {self.kind}"
            raise FormatError(f"its tensor {quoted(self.name)} is {how}, which is not read")
        dtype = np.dtype(_DTYPES[self.kind]).newbyteorder("<")
        check_shape(self.shape, f"its tensor {quoted(self.name)}")
        check_size(self.shape, dtype.itemsize, len(self.content), f"its tensor {quoted(self.name)}")
        stored = np.frombuffer(self.content.tobytes(), dtype).reshape(self.shape)
        if dtype.kind == "f":
            return widen(stored)
        if not self.scale.size or self.zero_point.size not in (0, 1, self.scale.size):
            raise FormatError(f"its tensor {quoted(self.name)} is {self.dtype} without a scale")
        zero = self.zero_point if self.zero_point.size else np.zeros(1, np.int64)
        if dtype.kind == "u" and not zero.any():
            stored = stored.view(np.int8)  # as the first converters with int8 weights wrote them
        along = [1] * len(self.shape)
        if self.scale.size > 1:
            if not 0 <= self.axis < len(along) or self.scale.size != self.shape[self.axis]:
                raise FormatError(
                    f"its tensor {quoted(self.name)} has {self.scale.size} scales for the shape {quoted(self.shape)}"
                )
            along[self.axis] = -1
        offset = zero.astype(np.float64).reshape(along if zero.size > 1 else [1] * len(along))
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as a weight that is not finite
            values: np.ndarray = (stored - offset) * self.scale.reshape(along)
            return values.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator: what it is called, the numbers of its tensors (-1 for none), and its options by name."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]

    def input(self, k: int) -> int:
        """Give the number of the tensor that it reads in a place; -1 where it reads none there."""
        return self.inputs[k] if k < len(self.inputs) else -1

    @property
    def output(self) -> int:
        """Number of the first tensor that it gives; -1 if it gives none."""
        return self.outputs[0] if self.outputs else -1


@dataclass(frozen=True, eq=False)
class Graph:
    """One graph of a file: its tensors by number, its operators in order of execution, the numbers of its inputs."""

    tensors: Sequence[Tensor]
    operators: Sequence[Operator]
    inputs: frozenset[int]

    @cached_property
    def makers(self) -> dict[int, Operator]:
        """From the number of each tensor that the graph computes to the operator that does."""
        return {number: one for one in self.operators for number in one.outputs}

    def tensor(self, number: int) -> Tensor | None:
        """Give a tensor by its number; None for -1, which stands for no tensor."""
        return self.tensors[number] if number >= 0 else None

    def stored(self, number: int) -> Tensor | None:
        """Give a tensor, or the narrower one that it is widened from; None for no tensor."""
        tensor, maker = self.tensor(number), self.makers.get(number)
        if tensor is not None and not tensor.content.size and maker and maker.name == "DEQUANTIZE":
            return self.tensor(maker.input(0)) or tensor
        return tensor

    def constant(self, number: int) -> Tensor | None:
        """Give a tensor whose values stand in the file, as they are or narrowed to be widened; None for no tensor."""
        tensor = self.stored(number)
        if tensor is not None and not tensor.content.size:
            raise FormatError(f"its tensor {quoted(tensor.name)} is computed by the graph, not stored")
        return tensor


def read_graphs(path: Path) -> list[Graph]:
    """Read the graphs of a TFLite file.

    Raises
    ------
    MissingExtraError
        If ai-edge-litert is not installed.
    FormatError
        If the file is damaged or cut short.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        raise MissingExtraError("ai-edge-litert", "tflite") from None
    check_unfolding(path.stat().st_size, MOST_BYTES, path)
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise FormatError(f"{path} is no TFLite file: it lacks the mark TFL3")
    with _errors_of_flatbuffers(path):
        return list(_Reader(schema, content, path).graphs())


@contextmanager
def _errors_of_flatbuffers(path: Path) -> Iterator[None]:
    try:
        yield
    except (TallycellError, AssertionError):
        raise
    except Exception as error:  # of struct, NumPy, flatbuffers, on offsets that lead nowhere
        raise FormatError(f"{path} cannot be read as TFLite: {one_line(error)}") from None


class _Reader:
    """Walks through the flatbuffer and counts what it visits, so that tables that share parts cannot keep it long."""

    def __init__(self, schema: Any, content: bytes, path: Path) -> None:
        self._schema, self._content, self._path = schema, content, path
        self._model = schema.Model.GetRootAs(content, 0)
        self._left = len(content)  # an element of a vector of tables takes four bytes, and what is in it more
        self._kinds = _names(schema.TensorType)
        self._operators = _names(schema.BuiltinOperator)

    def graphs(self) -> Iterator[Graph]:
        model = self._model
        codes = [self._code(model.OperatorCodes(k)) for k in self._count(model.OperatorCodesLength())]
        for k in self._count(model.SubgraphsLength()):
            graph = model.Subgraphs(k)
            tensors = [self._tensor(graph.Tensors(j)) for j in self._count(graph.TensorsLength())]
            operators = [self._operator(graph.Operators(j), codes) for j in self._count(graph.OperatorsLength())]
            numbers = {number for one in operators for number in (*one.inputs, *one.outputs)}
            if not all(-1 <= number < len(tensors) for number in numbers):  # -1: none
                raise FormatError(f"{self._path} names a tensor that is not there; it is damaged")
            if any(-1 in one.outputs for one in operators):
                raise FormatError(f"{self._path} has an operator whose output is no tensor; it is damaged")
            yield Graph(tensors, operators, frozenset(self._numbers(graph.InputsAsNumpy())))

    def _count(self, length: int) -> range:
        self._left -= 4 * length
        if self._left < 0:
            raise FormatError(f"{self._path} promises more parts than it has bytes for; it is damaged")
        return range(length)

    def _numbers(self, vector: Any) -> tuple[int, ...]:
        if not isinstance(vector, np.ndarray):  # 0 stands for an absent vector
            return ()
        self._count(len(vector))
        return tuple(vector.tolist())

    def _vector(self, vector: Any) -> np.ndarray:
        return vector if isinstance(vector, np.ndarray) else np.zeros(0, np.uint8)

    def _code(self, code: Any) -> str:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = (code.CustomCode() or b"").decode("utf-8", "replace")
        return custom if custom else self._operators.get(number, f"operator {number}")

    def _tensor(self, tensor: Any) -> Tensor:
        quantisation = tensor.Quantization()
        scale, zero_point, axis = np.zeros(0), np.zeros(0), 0
        if quantisation is not None:
            scale, zero_point = map(self._vector, (quantisation.ScaleAsNumpy(), quantisation.ZeroPointAsNumpy()))
            axis = quantisation.QuantizedDimension()
        return Tensor(
            (tensor.Name() or b"").decode("utf-8", "replace"),
            self._numbers(tensor.ShapeAsNumpy()),
            self._kinds.get(tensor.Type(), "unknown"),
            self._bytes(tensor.Buffer()),
            scale,
            zero_point,
            axis,
            tensor.Sparsity() is not None,
        )

    def _bytes(self, number: int) -> np.ndarray:
        if not 0 <= number < self._model.BuffersLength():
            raise FormatError(f"{self._path} names a buffer that is not there; it is damaged")
        buffer = self._model.Buffers(number)
        offset, size = buffer.Offset(), buffer.Size()
        if offset > _EXTERNAL:
            if offset + size > len(self._content):
                raise FormatError(f"{self._path} is cut short: a buffer lies beyond its end")
            return np.frombuffer(self._content, np.uint8, size, offset)
        return self._vector(buffer.DataAsNumpy())

    def _operator(self, operator: Any, codes: Sequence[str]) -> Operator:
        name = codes[operator.OpcodeIndex()]
        options: dict[str, Any] = {}
        table = operator.BuiltinOptions()
        if name in _OPTIONS and table is not None:
            kind = getattr(self._schema, _OPTIONS[name])
            if operator.BuiltinOptionsType() != getattr(self._schema.BuiltinOptions, _OPTIONS[name]):
                raise FormatError(f"{self._path}: the options of {name} are another operator's; it is damaged")
            read = kind()
            read.Init(table.Bytes, table.Pos)
            options = {one: getattr(read, one)() for one in _OPTION_NAMES if hasattr(read, one)}
        return Operator(
            name, self._numbers(operator.InputsAsNumpy()), self._numbers(operator.OutputsAsNumpy()), options
        )


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}
