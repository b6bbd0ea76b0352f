"""TFLite's LSTM operators: what its own runtime computes, what is refused by name, and damaged files."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from parity import record_parity
from tallycell.activations import activation
from tallycell.errors import FormatError, TallycellError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.loaders import LoadedModel, load
from tallycell.parameters import LSTMParameters

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")

CLOSE = 1e-5  # float32 in another order, and TFLite's own tanh and sigmoid
INPUTS, UNITS, TIME = 3, 4, 6
GATES = ("input", "forget", "cell", "output")
TYPES = {np.dtype(name): getattr(schema.TensorType, name.upper()) for name in
         ("float32", "float16", "int8", "uint8", "int16", "int32")}  # fmt: skip


class Model:
    """A TFLite file in the making: one graph, to which tensors and operators are added."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs, self.model.operatorCodes = 3, [self.graph], []
        self.model.buffers = [schema.BufferT()]
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, name: str, shape, values: np.ndarray | None = None, *, state=False, scale=None, axis=0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.isVariable = name, list(shape), state
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer, tensor.type = len(self.model.buffers) - 1, TYPES[values.dtype]
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = list(np.atleast_1d(scale))
            tensor.quantization.zeroPoint = [0] * np.size(scale)
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, values: np.ndarray, **options) -> int:
        return self.tensor(name, values.shape, values, **options)

    def operator(self, code: str, inputs: list[int], outputs: list[int], options=None, kind="", version=1) -> None:
        operator_code = schema.OperatorCodeT()
        operator_code.builtinCode = getattr(schema.BuiltinOperator, code)
        operator_code.deprecatedBuiltinCode = min(operator_code.builtinCode, 127)
        operator_code.version = version
        self.model.operatorCodes.append(operator_code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, outputs
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.graph.operators.append(operator)

    def write(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


def random_direction(seed=0, *, projected=0, peepholes=False, coupled=False) -> dict[str, np.ndarray]:
    """Weights of one direction by TFLite's names, in the order of its inputs."""
    rng = np.random.default_rng(seed)
    hidden = projected or UNITS
    weights = {f"input_to_{gate}": rng.normal(size=(UNITS, INPUTS)) for gate in GATES}
    weights |= {f"recurrent_to_{gate}": rng.normal(size=(UNITS, hidden)) for gate in GATES}
    weights |= {f"cell_to_{gate}": rng.normal(size=UNITS) for gate in ("input", "forget", "output") if peepholes}
    weights |= {f"{gate}_bias": rng.normal(size=UNITS) for gate in GATES}
    if projected:
        weights["projection"] = rng.normal(size=(projected, UNITS))
    if coupled:
        for name in ("input_to_input", "recurrent_to_input", "cell_to_input", "input_bias"):
            weights.pop(name, None)
    return {name: array.astype(np.float32) for name, array in weights.items()}


ORDER = (*(f"input_to_{gate}" for gate in GATES), *(f"recurrent_to_{gate}" for gate in GATES),
         *(f"cell_to_{gate}" for gate in ("input", "forget", "output")), *(f"{gate}_bias" for gate in GATES),
         "projection", "projection_bias")  # fmt: skip
Pack = Callable[[Model, str, np.ndarray], int]


def as_they_are(model: Model, name: str, array: np.ndarray) -> int:
    return model.constant(name, array)


def as_int8(model: Model, name: str, array: np.ndarray) -> int:
    """Matrices as int8 with one scale, the rest as floats: what dynamic-range quantisation leaves."""
    if array.ndim < 2:
        return model.constant(name, array)
    scale = np.abs(array).max() / 127
    return model.constant(name, np.round(array / scale).astype(np.int8), scale=scale)


def write_lstm(path: Path, weights: dict[str, np.ndarray], pack: Pack = as_they_are, **options) -> Path:
    """One UNIDIRECTIONAL_SEQUENCE_LSTM over x of shape (1, TIME, INPUTS)."""
    model = Model()
    hidden = weights["recurrent_to_cell"].shape[-1]
    x = model.tensor("x", (1, TIME, INPUTS))
    inputs = [x] + [pack(model, name, weights[name]) if name in weights else -1 for name in ORDER]
    states = [("h", hidden), ("c", UNITS)]
    inputs += [model.tensor(name, (1, size), state=True) for name, size in states]
    norms = [pack(model, name, array) for name, array in weights.items() if name.startswith("norm")]
    inputs += norms or [-1] * 4
    y = model.tensor("lstm/y", (1, TIME, hidden))
    stated = schema.UnidirectionalSequenceLSTMOptionsT()
    stated.fusedActivationFunction = schema.ActivationFunctionType.TANH
    for name, value in options.items():
        setattr(stated, name, value)
    model.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [y], stated, "UnidirectionalSequenceLSTMOptions")
    return model.write(path, [x], [y])


def run_tflite(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """What TFLite's runtime makes of x, from states of zero."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    first, *states = interpreter.get_input_details()
    interpreter.set_tensor(first["index"], x)
    for state in states:
        interpreter.set_tensor(state["index"], np.zeros(state["shape"], np.float32))
    interpreter.invoke()
    return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]


def run_ours(parameters: LSTMParameters, x: np.ndarray) -> list[np.ndarray]:
    *_, directions = run_stack(parameters, StackInput(np.ascontiguousarray(x.swapaxes(0, 1))))
    return [steps.h.swapaxes(0, 1) for steps in directions]


def some_x(seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, TIME, INPUTS)).astype(np.float32)


def error_of(path: Path) -> str:
    with pytest.raises(FormatError) as raised:
        load(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


class TestAgainstTflite:
    @pytest.mark.parametrize("coupled", [False, True])
    @pytest.mark.parametrize("peepholes", [False, True])
    @pytest.mark.parametrize("projected", [0, 2])
    def test_every_shape_of_a_float_lstm(self, tmp_path, coupled, peepholes, projected):
        weights = random_direction(projected=projected, peepholes=peepholes, coupled=coupled)
        path = write_lstm(tmp_path / "m.tflite", weights, cellClip=0.7)
        model = load(path)
        assert (model.lstm.peepholes, model.lstm.proj_size) == (peepholes, projected)
        assert model.lstm.forget_gate == ("coupled" if coupled else "own")
        assert model.lstm.clip_cell == pytest.approx(0.7)
        (y,) = run_tflite(path, some_x())
        np.testing.assert_allclose(run_ours(model.lstm, some_x())[0], y, atol=CLOSE)

    @pytest.mark.parametrize(
        ("stated", "ours"), [("TANH", "tanh"), ("RELU", "relu"), ("RELU_N1_TO_1", "hard_tanh"), ("NONE", "identity")]
    )
    def test_the_activation_is_that_of_g_and_of_c(self, tmp_path, stated, ours):
        kind = getattr(schema.ActivationFunctionType, stated)
        weights = {name: array / 4 for name, array in random_direction().items()}  # so that relu stays small
        path = write_lstm(tmp_path / "m.tflite", weights, fusedActivationFunction=kind)
        slots = load(path).lstm.slots()
        assert (slots.gate, slots.cell, slots.hidden) == (activation("sigmoid"), activation(ours), activation(ours))
        if stated in ("TANH", "RELU"):  # the runtime has no others
            (y,) = run_tflite(path, some_x())
            np.testing.assert_allclose(run_ours(load(path).lstm, some_x())[0], y, atol=CLOSE)

    def test_both_directions(self, tmp_path):
        model, directions = Model(), [random_direction(seed=1), random_direction(seed=2)]
        x = model.tensor("x", (1, TIME, INPUTS))
        inputs = [x]
        for weights in directions:
            inputs += [as_they_are(model, name, weights[name]) if name in weights else -1 for name in ORDER]
        inputs += [model.tensor(name, (1, UNITS), state=True) for name in ("h", "c", "h_back", "c_back")]
        inputs += [-1] * 9
        outputs = [model.tensor(name, (1, TIME, UNITS)) for name in ("y", "y_back")]
        options = schema.BidirectionalSequenceLSTMOptionsT()
        options.fusedActivationFunction, options.timeMajor = schema.ActivationFunctionType.TANH, False
        model.operator("BIDIRECTIONAL_SEQUENCE_LSTM", inputs, outputs, options, "BidirectionalSequenceLSTMOptions")
        path = model.write(tmp_path / "m.tflite", [x], outputs)
        loaded = load(path)
        assert loaded.lstm.bidirectional
        assert loaded.places["y"].operator == "BIDIRECTIONAL_SEQUENCE_LSTM"
        for ours, theirs in zip(run_ours(loaded.lstm, some_x()), run_tflite(path, some_x()), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=CLOSE)

    def test_int8_weights_are_floats_by_their_scale(self, tmp_path):
        weights = random_direction()
        path = write_lstm(tmp_path / "m.tflite", weights, as_int8)
        model = load(path)
        assert model.places["lstm/y"].stored_as == "int8"
        matrix = np.concatenate([weights[f"input_to_{gate}"] for gate in GATES])
        assert np.abs(model.lstm.weights["weight_ih_l0"] - matrix).max() < np.abs(matrix).max() / 127
        (y,) = run_tflite(path, some_x())
        # The runtime rounds x and h to int8 at every step as well: some hundredths on these six steps.
        np.testing.assert_allclose(run_ours(model.lstm, some_x())[0], y, atol=0.05)

    def test_the_mnist_model(self, third_party, golden):
        model = load(third_party / "models" / "tflite-micro" / "trained_lstm.tflite")
        arrays = golden("tflite_mnist_lstm")
        difference = np.abs(run_ours(model.lstm, arrays["x"])[0] - arrays["y"]).max()
        record_parity("tflite-micro trained_lstm", "TFLite", "ai-edge-litert 2.3", difference)
        assert difference < 1e-5
        assert model.head is None  # the dense layer reads all steps at once


class TestStoredForms:
    def test_old_uint8_is_int8_by_another_name(self, tmp_path):
        def as_uint8(model: Model, name: str, array: np.ndarray) -> int:
            if array.ndim < 2:
                return model.constant(name, array)
            return model.constant(name, np.round(array * 32).astype(np.int8).view(np.uint8), scale=1 / 32)

        weights = random_direction()
        model = load(write_lstm(tmp_path / "m.tflite", weights, as_uint8))
        assert model.places["lstm/y"].stored_as == "uint8"
        matrix = np.concatenate([weights[f"input_to_{gate}"] for gate in GATES])
        np.testing.assert_array_equal(model.lstm.weights["weight_ih_l0"], np.round(matrix * 32) / 32)

    def test_integers_throughout(self, tmp_path):
        def as_integers(model: Model, name: str, array: np.ndarray) -> int:
            scale, dtype = (1 / 32, np.int8) if array.ndim == 2 else (1 / 4096, np.int32)
            return model.constant(name, np.round(array / scale).astype(dtype), scale=scale)

        weights = random_direction()
        model = load(write_lstm(tmp_path / "m.tflite", weights, as_integers))
        assert model.places["lstm/y"].stored_as == "int8"
        biases = np.concatenate([weights[f"{gate}_bias"] for gate in GATES])
        np.testing.assert_array_equal(model.lstm.weights["bias_ih_l0"], np.round(biases * 4096) / 4096)

    def test_one_scale_a_row(self, tmp_path):
        scales = 2.0 ** -np.arange(UNITS)

        def by_row(model: Model, name: str, array: np.ndarray) -> int:
            if array.ndim < 2:
                return model.constant(name, array)
            return model.constant(name, np.ones(array.shape, np.int8), scale=scales)

        model = load(write_lstm(tmp_path / "m.tflite", random_direction(), by_row))
        np.testing.assert_array_equal(model.lstm.weights["weight_ih_l0"][:, 0], np.tile(scales, 4))

    def test_float16_behind_dequantize(self, tmp_path):
        def narrowed(model: Model, name: str, array: np.ndarray) -> int:
            wide = model.tensor(f"{name}/wide", array.shape)
            model.operator("DEQUANTIZE", [model.constant(name, array.astype(np.float16))], [wide])
            return wide

        weights = random_direction()
        path = write_lstm(tmp_path / "m.tflite", weights, narrowed)
        model = load(path)
        assert (model.lstm.dtype, model.places["lstm/y"].stored_as) == (np.float32, "float16")
        (y,) = run_tflite(path, some_x())
        np.testing.assert_allclose(run_ours(model.lstm, some_x())[0], y, atol=CLOSE)

    def test_diagonal_recurrent_weights(self, tmp_path):
        weights = random_direction()
        weights |= {name: array[0] for name, array in weights.items() if name.startswith("recurrent")}
        model = load(write_lstm(tmp_path / "m.tflite", weights, diagonalRecurrentTensors=True))
        np.testing.assert_array_equal(
            model.lstm.weights["weight_hh_l0"][:UNITS], np.diag(weights["recurrent_to_input"])
        )

    def test_the_first_lstm_operator(self, tmp_path):
        rng, model = np.random.default_rng(0), Model()
        joined = rng.normal(size=(4 * UNITS, INPUTS + UNITS)).astype(np.float32)
        bias = rng.normal(size=4 * UNITS).astype(np.float32)
        x, h, c = (model.tensor(name, (1, size)) for name, size in (("x", INPUTS), ("h_in", UNITS), ("c_in", UNITS)))
        inputs = [x, h, model.constant("w", joined), model.constant("b", bias), c]
        sizes = {"y": UNITS, "c_out": UNITS, "joined": INPUTS + UNITS, "gates": 4 * UNITS}
        outputs = [model.tensor(name, (1, size)) for name, size in sizes.items()]
        options = schema.LSTMOptionsT()
        options.kernelType = schema.LSTMKernelType.BASIC
        options.fusedActivationFunction = schema.ActivationFunctionType.TANH
        model.operator("LSTM", inputs, outputs, options, "LSTMOptions", version=2)
        path = model.write(tmp_path / "m.tflite", [x, h, c], outputs)
        loaded = load(path)
        assert loaded.places["y"].state_inputs == ("h_in", "c_in")
        y, *_ = run_tflite(path, some_x()[:, 0])
        np.testing.assert_allclose(run_ours(loaded.lstm, some_x()[:, :1])[0][:, 0], y, atol=CLOSE)

    def test_embedding_and_head(self, tmp_path):
        path = write_lstm(tmp_path / "m.tflite", random_direction())
        model = Model()
        model.model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        model.graph = model.model.subgraphs[0]
        table, kernel = np.ones((9, INPUTS), np.float32), np.ones((5, UNITS), np.float32)
        read = model.tensor("read", (1, TIME))
        model.operator("GATHER", [model.constant("table", table), read], [0])
        scores = model.tensor("scores", (TIME, 5))
        bias = model.constant("bias", np.zeros(5, np.float32))
        lstm_output = model.graph.outputs[0]
        options = schema.FullyConnectedOptionsT()
        inputs = [lstm_output, model.constant("kernel", kernel), bias]
        model.operator("FULLY_CONNECTED", inputs, [scores], options, "FullyConnectedOptions")
        model.operator("SOFTMAX", [scores], [model.tensor("shares", (TIME, 5))])
        loaded = load(model.write(path, [read], [scores]))
        assert loaded.embedding.shape == (9, INPUTS)
        assert (loaded.head.weight.shape, loaded.head.bias.shape, loaded.head.activation) == (
            (5, UNITS),
            (5,),
            "softmax",
        )


class TestRefusals:
    def test_layer_normalisation_is_refused_by_name(self, tmp_path):
        weights = random_direction() | {f"norm_{gate}": np.ones(UNITS, np.float32) for gate in GATES}
        assert "layer normalisation" in error_of(write_lstm(tmp_path / "m.tflite", weights))

    def test_a_projection_bias_is_refused_unless_it_is_zero(self, tmp_path):
        weights = random_direction(projected=2) | {"projection_bias": np.ones(2, np.float32)}
        assert "its projection has a bias" in error_of(write_lstm(tmp_path / "m.tflite", weights))
        weights["projection_bias"] *= 0
        assert load(write_lstm(tmp_path / "m.tflite", weights)).lstm.proj_size == 2

    def test_a_clipped_projection_is_refused_where_it_clips(self, tmp_path):
        weights = random_direction(projected=2)
        reach = float(np.abs(weights["projection"]).sum(1).max())
        assert "(proj_clip)" in error_of(write_lstm(tmp_path / "m.tflite", weights, projClip=0.9 * reach))
        assert load(write_lstm(tmp_path / "m.tflite", weights, projClip=1.1 * reach)).lstm.proj_size == 2
        assert load(write_lstm(tmp_path / "m.tflite", random_direction(), projClip=0.1)).lstm.proj_size == 0

    def test_an_unknown_activation_is_refused_by_name(self, tmp_path):
        kind = schema.ActivationFunctionType.RELU6
        assert "RELU6" in error_of(write_lstm(tmp_path / "m.tflite", random_direction(), fusedActivationFunction=kind))

    def test_weights_that_are_computed_are_refused_by_name(self, tmp_path):
        def computed(model: Model, name: str, array: np.ndarray) -> int:
            return model.tensor(name, array.shape)

        text = error_of(write_lstm(tmp_path / "m.tflite", random_direction(), computed))
        assert "'input_to_input' is computed by the graph, not stored" in text

    def test_integers_without_a_scale_are_refused(self, tmp_path):
        def unscaled(model: Model, name: str, array: np.ndarray) -> int:
            return model.constant(name, array.astype(np.int8))

        path = write_lstm(tmp_path / "m.tflite", random_direction(), unscaled)
        assert "'input_to_input' is int8 without a scale" in error_of(path)

    def test_absent_weights_are_refused(self, tmp_path):
        weights = random_direction()
        del weights["recurrent_to_cell"]
        weights = {"recurrent_to_cell": np.ones((UNITS, UNITS), np.float32)} | weights
        del weights["forget_bias"]
        assert "of its bias weights some are absent" in error_of(write_lstm(tmp_path / "m.tflite", weights))

    def test_a_model_without_an_lstm_says_what_it_has(self, tmp_path):
        model = Model()
        x, y = model.tensor("x", (1,)), model.tensor("y", (1,))
        model.operator("WHILE", [x], [y])
        text = error_of(model.write(tmp_path / "m.tflite", [x], [y]))
        assert "holds no LSTM operator; its operators are 'WHILE'" in text


class TestDamagedFiles:
    def test_a_shape_that_the_buffer_does_not_hold_is_refused(self, tmp_path):
        def promising(model: Model, name: str, array: np.ndarray) -> int:
            return model.tensor(name, (10**6, 10**6), array)

        text = error_of(write_lstm(tmp_path / "m.tflite", random_direction(), promising))
        assert "of shape (1000000, 1000000) needs 4000000000000 bytes, the file has 48" in text

        def short(model: Model, name: str, array: np.ndarray) -> int:
            return model.tensor(name, (*array.shape, 2), array)

        assert "bytes, the file has" in error_of(write_lstm(tmp_path / "m.tflite", random_direction(), short))

    def test_operators_that_share_one_tensor_cannot_unfold_without_end(self, tmp_path):
        model, weights = Model(), random_direction()
        x = model.tensor("x", (1, TIME, 20_000))
        shared = model.constant("w", np.zeros((UNITS, 20_000), np.int8), scale=1.0)
        rest = [as_they_are(model, name, weights[name]) if name in weights else -1 for name in ORDER[4:]]
        y = model.tensor("y", (1, TIME, UNITS))
        for _ in range(300):
            model.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", [x, *[shared] * 4, *rest, -1, -1], [y])
        assert "unfolds to" in error_of(model.write(tmp_path / "m.tflite", [x], [y]))

    def test_graphs_that_share_their_parts_cannot_keep_it_long(self, tmp_path):
        builder = flatbuffers.Builder(1024)
        graph = schema.SubGraphT()
        graph.tensors = [schema.TensorT() for _ in range(1000)]
        shared = graph.Pack(builder)
        schema.ModelStartSubgraphsVector(builder, 10_000)
        for _ in range(10_000):
            builder.PrependUOffsetTRelative(shared)
        graphs = builder.EndVector()
        buffer = schema.BufferT().Pack(builder)
        schema.ModelStartBuffersVector(builder, 1)
        builder.PrependUOffsetTRelative(buffer)
        buffers = builder.EndVector()
        schema.ModelStart(builder)
        schema.ModelAddSubgraphs(builder, graphs)
        schema.ModelAddBuffers(builder, buffers)
        builder.Finish(schema.ModelEnd(builder), b"TFL3")
        (tmp_path / "m.tflite").write_bytes(bytes(builder.Output()))
        assert "promises more parts than it has bytes for" in error_of(tmp_path / "m.tflite")

    def test_vectors_that_are_longer_than_the_file_are_refused_at_once(self, tmp_path):
        path = write_lstm(tmp_path / "m.tflite", random_direction())
        content = bytearray(path.read_bytes())
        count = len(schema.ModelT.InitFromPackedBuf(bytes(content), 0).subgraphs[0].tensors)
        for at in range(0, len(content) - 4, 4):  # every number that could be the count of tensors
            if content[at : at + 4] == count.to_bytes(4, "little"):
                content[at : at + 4] = (2**31).to_bytes(4, "little")
        path.write_bytes(content)
        start = time.perf_counter()
        error_of(path)
        assert time.perf_counter() - start < 2

    def test_mutations_end_in_a_model_or_in_one_line(self, tmp_path):
        path = write_lstm(tmp_path / "m.tflite", random_direction(peepholes=True, projected=2), as_int8)
        base = path.read_bytes()
        fine, lines = 0, set()
        start = time.perf_counter()
        for seed in range(400):
            chance = random.Random(seed)
            content = bytearray(base)
            for _ in range(chance.choice([1, 2, 8])):
                at = chance.randrange(len(content))
                content[at] = chance.choice([0, 1, 127, 128, 255, content[at] ^ 1 << chance.randrange(8)])
            if seed % 10 == 0:
                del content[chance.randrange(8, len(content)) :]
            path.write_bytes(content)
            try:
                load(path)
                fine += 1
            except TallycellError as error:
                lines.add(str(error).count("\n"))
        assert 0 < fine < 400
        assert lines == {0}
        assert time.perf_counter() - start < 60  # 400 openings, some milliseconds each


def test_the_loaded_model_names_what_the_operator_reads(tmp_path):
    model: LoadedModel = load(write_lstm(tmp_path / "m.tflite", random_direction()))
    place = model.places["lstm/y"]
    assert (place.operator, place.reads, place.stored_as) == ("UNIDIRECTIONAL_SEQUENCE_LSTM", "x", None)
