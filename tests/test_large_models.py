"""Files of thousands of LSTMs are read in seconds: whatever is done is done once for each.

The LSTMs are of one unit and one feature, so that what takes time is the work for each of them and not for its weights.
TALLYCELL_MANY says how many there are (20000 take some twenty seconds in the slowest format, Keras).
"""

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tallycell.loaders import load

COUNT = int(os.environ.get("TALLYCELL_MANY", "1000"))
SECONDS = 15 + COUNT // 400  # for writing and reading, on a machine that others use too
KERNEL, RECURRENT = np.ones((4, 1), np.float32), np.zeros((4, 1), np.float32)
TORCH = {"weight_ih_l0": KERNEL, "weight_hh_l0": RECURRENT}


def torch_names(count: int) -> dict[str, np.ndarray]:
    return {f"rnn.{k}.{name}": x for k in range(count) for name, x in TORCH.items()}


# --- formats under PyTorch's names


def write_safetensors(folder: Path, count: int, dtype: str = "F32", size: int = 4) -> Path:
    """By hand: tensors of one shape, one behind the other."""
    entries, end = {}, 0
    for k in range(count):
        for name in TORCH:
            entries[f"rnn.{k}.{name}"] = {"dtype": dtype, "shape": [4, 1], "data_offsets": [end, end + 4 * size]}
            end += 4 * size
    header = json.dumps(entries).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(end))
    return path


def write_bfloat16(folder: Path, count: int) -> Path:
    return write_safetensors(folder, count, "BF16", 2)


def write_npz(folder: Path, count: int) -> Path:
    path, array = folder / "model.npz", io.BytesIO()
    np.save(array, KERNEL)
    with zipfile.ZipFile(path, "w") as archive:
        for name in torch_names(count):
            archive.writestr(f"{name}.npy", array.getvalue())
    return path


def write_keras_npz(folder: Path, count: int) -> Path:
    path = folder / "keras.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for kind in ("kernel", "recurrent_kernel"):
            array = io.BytesIO()
            np.save(array, KERNEL.T)
            for k in range(count):
                archive.writestr(f"lstm_{k}/{kind}.npy", array.getvalue())
    return path


def write_state_dict(folder: Path, count: int, **options: bool) -> Path:
    torch = pytest.importorskip("torch")
    shared = {name: torch.from_numpy(x) for name, x in TORCH.items()}
    state = {f"rnn.{k}.{name}": x for k in range(count) for name, x in shared.items()}
    torch.save(state, folder / "model.pt", **options)
    return folder / "model.pt"


def write_old_state_dict(folder: Path, count: int) -> Path:
    return write_state_dict(folder, count, _use_new_zipfile_serialization=False)


def write_torchscript(folder: Path, count: int) -> Path:
    """What torch.jit.save writes, as far as it is read: a pickle of modules over one storage."""
    torch = pytest.importorskip("torch")
    storage = object()

    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (storage, 0, (4, 1), (1, 1), False, {})

    class Pickler(pickle._Pickler):  # the one in Python, which pickles classes that cannot be imported
        def persistent_id(self, one: object) -> object:
            return ("storage", torch.FloatStorage, "0", "cpu", 4) if one is storage else None

        def save_global(self, one: Any, name: str | None = None) -> None:
            self.write(b"c" + f"{one.__module__}\n{one.__qualname__}\n".encode())
            self.memoize(one)

    def module(kind: str) -> Any:
        made = type(kind, (), {})
        made.__module__, made.__qualname__ = "__torch__", kind
        return made()

    root = module("Model")
    for k in range(count):
        lstm = module("LSTM")
        lstm.__dict__.update({name: Tensor() for name in TORCH})
        setattr(root, f"rnn{k}", lstm)
    content = io.BytesIO()
    Pickler(content, protocol=2).dump(root)
    path = folder / "script.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", content.getvalue())
        archive.writestr("model/constants.pkl", b"\x80\x02).")
        archive.writestr("model/data/0", bytes(16))
    return path


def write_torch_export(folder: Path, count: int) -> Path:
    meta = {"dtype": 7, "sizes": [{"as_int": 4}, {"as_int": 1}], "strides": [{"as_int": 1}, {"as_int": 1}],
            "storage_offset": {"as_int": 0}, "layout": 7}  # fmt: skip
    names = [f"rnn.{k}.{name}" for k in range(count) for name in TORCH]
    config = {name: {"path_name": f"weight_{k}", "use_pickle": False, "tensor_meta": meta}
              for k, name in enumerate(names)}  # fmt: skip
    path = folder / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data/weights/model_weights_config.json", json.dumps({"config": config}))
        for k in range(len(names)):
            archive.writestr(f"model/data/weights/weight_{k}", bytes(16))
    return path


def write_json(folder: Path, count: int) -> Path:
    state = {f"rnn.{k}.{name}": x.tolist() for k in range(count) for name, x in TORCH.items()}
    (folder / "model.json").write_text(json.dumps({"state_dict": state}))
    return folder / "model.json"


# --- formats under Keras' and TensorFlow's


def write_json_layers(folder: Path, count: int) -> Path:
    layer = {"type": "lstm", "activation": "tanh", "weights": [KERNEL.T.tolist(), RECURRENT.T.tolist(), [0] * 4]}
    (folder / "layers.json").write_text(json.dumps({"layers": [layer] * count}))
    return folder / "layers.json"


def write_raw(folder: Path, count: int) -> Path:
    target = folder / "raw"
    target.mkdir()
    np.ones((2, 4), np.float32).tofile(target / "kernel")
    np.zeros(4, np.float32).tofile(target / "bias")
    shapes = {"kernel": [2, 4], "bias": [4]}
    manifest = {f"rnn_{k}/lstm_cell/{name}": {"filename": name, "shape": shape}
                for k in range(count) for name, shape in shapes.items()}  # fmt: skip
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def keras_config(count: int, name: str = "model") -> str:
    layers = [{"class_name": "LSTM", "config": {"name": f"lstm_{k}", "units": 1}} for k in range(count)]
    return json.dumps({"class_name": "Sequential", "config": {"name": name, "layers": layers}})


def write_hdf5(path: Path, places: Sequence[str], kinds: tuple[str, str], **attributes: Any) -> Path:
    """Kernels and recurrent kernels in folders; one dataset of each stands at all places."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs.update(attributes)
        made = [
            file.create_dataset(f"{places[0]}/{kind}", data=x)
            for kind, x in zip(kinds, (KERNEL.T, RECURRENT.T), strict=True)
        ]
        links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        links.set_create_intermediate_group(True)
        for place in places[1:]:
            for kind, dataset in zip(kinds, made, strict=True):
                file.id.links.create_hard(f"{place}/{kind}".encode(), file.id, dataset.name.encode(), lcpl=links)
    return path


KERAS_2, KERAS_3 = ("kernel:0", "recurrent_kernel:0"), ("0", "1")


def keras_3_places(count: int) -> list[str]:
    return ["layers/lstm/cell/vars", *(f"layers/lstm_{k}/cell/vars" for k in range(1, count))]


def write_keras_h5(folder: Path, count: int) -> Path:
    places = [f"model_weights/lstm_{k}" for k in range(count)]
    stated = {"model_config": keras_config(count), "keras_version": b"2.4.0"}
    return write_hdf5(folder / "model.h5", places, KERAS_2, **stated)


def write_keras_h5_weights(folder: Path, count: int) -> Path:
    return write_hdf5(folder / "model.h5", [f"lstm_{k}/lstm_cell" for k in range(count)], KERAS_2)


def write_keras_h5_nested(folder: Path, count: int) -> Path:
    """All layers in one model inside the model, so that their weights stand in one folder."""
    places = [f"model_weights/inner/lstm_{k}" for k in range(count)]
    config = {
        "class_name": "Sequential",
        "config": {"name": "model", "layers": [json.loads(keras_config(count, "inner"))]},
    }
    return write_hdf5(folder / "model.h5", places, KERAS_2, model_config=json.dumps(config), keras_version=b"2.4.0")


def write_keras_weights(folder: Path, count: int) -> Path:
    return write_hdf5(folder / "model.weights.h5", keras_3_places(count), KERAS_3)


def write_keras(folder: Path, count: int) -> Path:
    weights = write_keras_weights(folder, count)
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        archive.writestr("config.json", keras_config(count))
        archive.write(weights, "model.weights.h5")
    return folder / "model.keras"


# --- graphs


def write_onnx(folder: Path, count: int, chained: bool = False, named: bool = True) -> Path:
    """Every node has weights of its own; chained, it reads through a Squeeze what the one before made."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    nodes, weights, x = [], [], "x"
    for k in range(count):
        for name in ("W", "R"):
            tensor = numpy_helper.from_array(KERNEL[None], f"{name}{k}")
            weights.append(tensor)
        nodes.append(helper.make_node("LSTM", [x, f"W{k}", f"R{k}"], [f"y{k}"], f"rnn{k}" if named else "rnn"))
        if chained:
            x = f"x{k}"
            nodes.append(helper.make_node("Squeeze", [f"y{k}"], [x]))
    inputs = [helper.make_tensor_value_info("x", 1, ["time", 1, 1])]
    graph = helper.make_graph(nodes, "graph", inputs, [onnx.ValueInfoProto(name="y0")], weights)
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)]).SerializeToString())
    return path


def write_onnx_chain(folder: Path, count: int) -> Path:
    return write_onnx(folder, count, chained=True)


def write_onnx_same_names(folder: Path, count: int) -> Path:
    return write_onnx(folder, count, named=False)


def write_onnx_taken_apart(folder: Path, count: int) -> Path:
    """A chain of steps, each of weights of its own: only where its h comes from tells which are which."""
    onnx = pytest.importorskip("onnx")
    from onnx_models import graph_of, model_of, step_nodes, torch_weights, value

    one = torch_weights(hidden=1, features=1)
    tensors = {"A": one["weight_ih_l0"].T.copy(), "B": one["weight_hh_l0"].T.copy(), "a": one["bias_ih_l0"]}
    nodes, weights, h, c = [], {}, "h", "c"
    for k in range(count):
        step = step_nodes(one, "x", h, c, prefix=f"s{k}_", gemm=False)
        for node in step:
            node.input[:] = [f"{name}{k}" if name in tensors else name for name in node.input]
        nodes += step
        weights |= {f"{name}{k}": x for name, x in tensors.items()}
        h, c = f"s{k}_h_n", f"s{k}_c_n"
    inputs = [value(name, "n", 1) for name in "xhc"]
    path = folder / "model.onnx"
    path.write_bytes(model_of(graph_of(nodes, inputs, [h], weights=weights)).SerializeToString())
    assert onnx
    return path


def write_tflite(folder: Path, count: int, names: Sequence[str] = ()) -> Path:
    """All operators read the same weights, and have outputs of one name if none are given."""
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("flatbuffers")
    from test_tflite_loader import ORDER, Model, schema

    model = Model()
    x = model.tensor("x", (1, 2, 1))
    numbers = [-1 if name.startswith(("cell_to", "projection")) else
               model.constant(name, np.zeros((1,) if name.endswith("bias") else (1, 1), np.float32))
               for name in ORDER]  # fmt: skip
    inputs = np.array([x, *numbers, *(model.tensor(name, (1, 1), state=True) for name in "hc"), *[-1] * 4], np.int32)
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction = schema.ActivationFunctionType.TANH
    for k in range(count):
        y = np.array([model.tensor(names[k] if names else "y", (1, 2, 1))], np.int32)
        model.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, y, options, "UnidirectionalSequenceLSTMOptions")
    del model.model.operatorCodes[1:]
    for one in model.graph.operators:
        one.opcodeIndex = 0
    return model.write(folder / "model.tflite", [x], [x + 1])


WRITERS: dict[str, Callable[[Path, int], Path]] = {
    "safetensors": write_safetensors,
    "safetensors in bfloat16": write_bfloat16,
    "npz": write_npz,
    "npz of Keras": write_keras_npz,
    "state_dict": write_state_dict,
    "old state_dict": write_old_state_dict,
    "TorchScript": write_torchscript,
    "torch.export": write_torch_export,
    "JSON": write_json,
    "JSON layers": write_json_layers,
    "raw tensors": write_raw,
    "Keras h5": write_keras_h5,
    "Keras h5 nested": write_keras_h5_nested,
    "Keras h5 without configuration": write_keras_h5_weights,
    "Keras weights": write_keras_weights,
    "Keras": write_keras,
    "ONNX": write_onnx,
    "ONNX chained": write_onnx_chain,
    "ONNX of one name": write_onnx_same_names,
    "ONNX taken apart": write_onnx_taken_apart,
    "TFLite": write_tflite,
}


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("name", WRITERS)
def test_thousands_of_lstms_are_read_in_seconds(tmp_path, name):
    model = load(WRITERS[name](tmp_path, COUNT), forget_bias=1.0)
    assert len(model) + len(model.refused) == COUNT
    assert len(model.refused) <= (name == "ONNX taken apart")  # of the first step nobody knows which weights act on h
    assert len(repr(model)) < 3_000
    assert f"and {len(model) - 8:,} more" in repr(model)


@pytest.mark.parametrize("name", WRITERS)
def test_twice_as_many_lstms_take_twice_as_many_calls(tmp_path, name):
    """Calls of functions, whose number does not depend on how busy the machine is."""
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    few, many = (WRITERS[name](tmp_path / folder, count) for folder, count in (("few", 150), ("many", 300)))
    load(few, forget_bias=1.0)  # what is imported and filled once is not counted
    assert calls_of(lambda: load(many, forget_bias=1.0)) < 2.2 * calls_of(lambda: load(few, forget_bias=1.0))


def calls_of(action: Callable[[], object]) -> int:
    counted = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(before)
    return counted
