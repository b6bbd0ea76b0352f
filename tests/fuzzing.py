"""Small files of each format, ways to damage them, and a process that loads them: ``test_fuzz_loaders`` runs it.

::

    python tests/fuzzing.py FORMAT COUNT SEED FOLDER

prints one JSON line: how many loads gave a model, how many a clean error, by how much the memory grew. It ends with a
traceback at the first load that does anything else; the damaged file then lies in FOLDER.
"""

import faulthandler
import importlib.util
import json
import re
import resource
import shutil
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

MOST_SECONDS = 20  # for one load
MOST_MEMORY = 4 << 30  # of address space, beyond what the libraries take
HUGE = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def keras_weights() -> list[np.ndarray]:
    own = weights()
    return [own["weight_ih_l0"].T, own["weight_hh_l0"].T, own["bias_ih_l0"]]


# --- one small file of each format: a function that writes it into a folder


def make_safetensors(folder: Path) -> Path:
    from safetensors.numpy import save_file

    save_file({f"rnn.{name}": x for name, x in weights().items()}, folder / "model.safetensors")
    return folder / "model.safetensors"


def make_own(folder: Path) -> Path:
    from tallycell.loaders import save
    from tallycell.parameters import LSTMParameters
    from tallycell.recogniser import Recogniser

    lstm = LSTMParameters(weights())
    words = {"alphabet": ("(", ")"), "outputs": ("no", "yes"), "unknown": "("}
    arrays = {"inputs": np.ones((2, 3)), "readout_weight": np.ones((2, 2)), "readout_bias": np.ones(2)}
    save(Recogniser(parameters=lstm, **words, **arrays), folder / "own.safetensors")
    return folder / "own.safetensors"


def make_npz(folder: Path) -> Path:
    np.savez(folder / "model.npz", **weights())
    return folder / "model.npz"


def make_npz_of_keras(folder: Path) -> Path:
    kinds = ("lstm/kernel", "lstm/recurrent_kernel", "lstm/bias")
    np.savez_compressed(folder / "keras.npz", **dict(zip(kinds, keras_weights(), strict=True)))
    return folder / "keras.npz"


def make_npy(folder: Path) -> Path:
    np.save(folder / "model.npy", np.array(weights()), allow_pickle=True)
    return folder / "model.npy"


def make_json(folder: Path) -> Path:
    state = {f"rec.{name}": x.tolist() for name, x in weights().items()} | {"lin.weight": [[1.0, 2.0]]}
    (folder / "model.json").write_text(json.dumps({"model_data": {"unit_type": "LSTM"}, "state_dict": state}))
    return folder / "model.json"


def make_json_layers(folder: Path) -> Path:
    lstm = {"type": "lstm", "activation": "tanh", "weights": [x.tolist() for x in keras_weights()]}
    dense = {"type": "dense", "activation": "", "weights": [[[1.0], [2.0]], [0.5]]}
    (folder / "layers.json").write_text(json.dumps({"in_shape": [None, None, 3], "layers": [lstm, dense]}))
    return folder / "layers.json"


def make_raw(folder: Path) -> Path:
    target = folder / "raw"
    target.mkdir()
    tensors = {"lstm_cell/kernel": np.ones((5, 8)), "lstm_cell/bias": np.ones(8), "embedding": np.ones((4, 3))}
    manifest = {}
    for k, (name, array) in enumerate(tensors.items()):
        array.astype(np.float32).tofile(target / f"t{k}")
        manifest[name] = {"filename": f"t{k}", "shape": list(array.shape)}
    (target / "manifest.json").write_text(json.dumps(manifest))
    (target / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "c": 2, "d": 3}))
    return target


def torch_model() -> object:
    import torch

    torch.manual_seed(0)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(5, 3)
            self.rnn = torch.nn.LSTM(3, 2)
            self.out = torch.nn.Linear(2, 5)

        def forward(self, x):
            return self.out(self.rnn(self.embedding(x))[0])

    return Model().eval()


def make_state_dict(folder: Path) -> Path:
    import torch

    torch.save({"epoch": 3, "state_dict": torch_model().state_dict()}, folder / "model.pt")
    return folder / "model.pt"


def make_old_state_dict(folder: Path) -> Path:
    import torch

    torch.save(torch_model().state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)
    return folder / "old.pt"


def make_torchscript(folder: Path) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch_model()).save(folder / "script.pt")
    return folder / "script.pt"


def make_torch_export(folder: Path) -> Path:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(torch_model(), (torch.zeros(4, 1, dtype=torch.long),))
        torch.export.save(program, folder / "model.pt2")
    return folder / "model.pt2"


def make_onnx(folder: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    own = weights()
    arrays = {
        "W": own["weight_ih_l0"][None],
        "R": own["weight_hh_l0"][None],
        "B": np.concatenate([own["bias_ih_l0"], own["bias_hh_l0"]])[None],
    }
    node = helper.make_node(
        "LSTM", ["x", *arrays], ["y"], name="rnn", hidden_size=2, activations=["Sigmoid", "Tanh", "Tanh"]
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", 1, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["time", 1, 1, 2])
    initialisers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph([node], "graph", [x], [y], initialisers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "model.onnx")
    return folder / "model.onnx"


LSTM_CONFIG = {
    "name": "lstm", "trainable": True, "dtype": "float32", "units": 2, "activation": "tanh",
    "recurrent_activation": "sigmoid", "use_bias": True, "return_sequences": True, "go_backwards": False,
    "unit_forget_bias": True, "implementation": 2, "stateful": False, "unroll": False,
}  # fmt: skip


def make_keras_h5(folder: Path) -> Path:
    import h5py

    config = {"class_name": "Sequential", "config": {"name": "sequential", "layers": [
        {"class_name": "LSTM", "config": LSTM_CONFIG | {"batch_input_shape": [None, None, 3]}},
    ]}}  # fmt: skip
    with h5py.File(folder / "model.h5", "w") as file:
        file.attrs.update({"model_config": json.dumps(config), "keras_version": b"2.4.0", "backend": b"tensorflow"})
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"lstm"]
        layer = group.create_group("lstm")
        kinds = ("kernel", "recurrent_kernel", "bias")
        layer.attrs["weight_names"] = [f"lstm/lstm_cell/{kind}:0".encode() for kind in kinds]
        for kind, array in zip(kinds, keras_weights(), strict=True):
            layer.create_dataset(f"lstm/lstm_cell/{kind}:0", data=array)
    return folder / "model.h5"


def make_keras(folder: Path) -> Path:
    import h5py

    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "sequential", "layers": [
        {"module": "keras.layers", "class_name": "LSTM", "config": LSTM_CONFIG,
         "build_config": {"input_shape": [None, None, 3]}},
    ]}}  # fmt: skip
    with h5py.File(folder / "model.weights.h5", "w") as file:
        group = file.create_group("layers/lstm/cell/vars")
        for k, array in enumerate(keras_weights()):
            group.create_dataset(str(k), data=array)
        file.create_group("layers/lstm/vars")
        file.create_group("vars")
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.5.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.write(folder / "model.weights.h5", "model.weights.h5")
    (folder / "model.weights.h5").unlink()
    return folder / "model.keras"


def make_tflite(folder: Path) -> Path:
    from test_tflite_loader import random_direction, write_lstm

    return write_lstm(folder / "model.tflite", random_direction())


# From the format to what writes it, and the library it needs.
FORMATS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "safetensors": (make_safetensors, "safetensors"),
    "own": (make_own, "safetensors"),
    "npz": (make_npz, "numpy"),
    "npz of Keras": (make_npz_of_keras, "numpy"),
    "npy": (make_npy, "numpy"),
    "JSON": (make_json, "json"),
    "JSON layers": (make_json_layers, "json"),
    "raw": (make_raw, "numpy"),
    "state_dict": (make_state_dict, "torch"),
    "old state_dict": (make_old_state_dict, "torch"),
    "TorchScript": (make_torchscript, "torch"),
    "torch.export": (make_torch_export, "torch"),
    "ONNX": (make_onnx, "onnx"),
    "Keras h5": (make_keras_h5, "h5py"),
    "Keras": (make_keras, "h5py"),
    "TFLite": (make_tflite, "ai_edge_litert"),
}


# --- damage


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three injuries."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if data:
            injury = INJURIES[rng.integers(len(INJURIES))]
            injury(data, int(rng.integers(len(data))), rng)
    return bytes(data)


def flip_bits(data: bytearray, at: int, rng: np.random.Generator) -> None:
    data[at] ^= 1 << rng.integers(8)


def truncate(data: bytearray, at: int, rng: np.random.Generator) -> None:
    del data[at:]


def delete(data: bytearray, at: int, rng: np.random.Generator) -> None:
    del data[at : at + rng.integers(1, 16)]


def splice(data: bytearray, at: int, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    data[at:at] = data[start : start + rng.integers(1, 64)]


def overwrite(data: bytearray, at: int, rng: np.random.Generator) -> None:
    noise = rng.bytes(rng.integers(1, 16))
    data[at : at + len(noise)] = noise


def set_length(data: bytearray, at: int, rng: np.random.Generator) -> None:
    width = int(rng.choice([2, 4, 8]))
    value = HUGE[rng.integers(len(HUGE))] % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.7 else "big")


def set_number(data: bytearray, at: int, rng: np.random.Generator) -> None:
    """A number in text becomes a huge, negative or broken one."""
    found = re.compile(rb"[0-9]+").search(data, at)
    if found:
        new = (b"1000000000000", b"-1", b"99999999999999999999999", b"1e400", b"null", b'"x"', b"[[[[", b"NaN")
        data[found.start() : found.end()] = new[rng.integers(len(new))]


INJURIES = (flip_bits, flip_bits, truncate, delete, splice, overwrite, set_length, set_length, set_number)


def damage(source: Path, target: Path, rng: np.random.Generator) -> None:
    """Write a damaged copy; of a folder one file is damaged, of a zip, half the time, what is in one entry."""
    if source.is_dir():
        shutil.copytree(source, target)
        files = sorted(target.iterdir())
        one = files[rng.integers(len(files))]
        one.write_bytes(mutate(one.read_bytes(), rng))
    elif zipfile.is_zipfile(source) and rng.random() < 0.7:
        with zipfile.ZipFile(source) as archive:
            entries = {one.filename: archive.read(one) for one in archive.infolist()}
        hit = list(entries)[rng.integers(len(entries))]
        entries[hit] = mutate(entries[hit], rng)
        with zipfile.ZipFile(target, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
    else:
        target.write_bytes(mutate(source.read_bytes(), rng))


# --- the loads


def run(name: str, count: int, seed: int, folder: Path) -> dict[str, object]:
    from tallycell.errors import TallycellError
    from tallycell.loaders import load

    make, _ = FORMATS[name]
    source = make(folder)
    options = {"forget_bias": 1.0, "trust_pickle": False}
    if name != "npy":  # a pickle, which is never opened
        assert load(source, **options), "the file as it was made must load"
    limit_memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: Counter[str] = Counter()
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        target = folder / f"damaged{source.suffix}"
        damage(source, target, rng)
        (folder / "number").write_text(str(number))  # for whoever finds the process dead
        faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
        try:
            model = load(target, **options)
        except TallycellError as error:
            text = str(error)
            assert len(text.splitlines()) == 1, f"number {number}: not one line: {text!r}"
            assert len(text) < 3000, f"number {number}: {len(text)} characters: {text[:500]!r}"
            outcomes["error"] += 1
        else:
            finite = all(np.isfinite(x).all() for lstm in model.values() for x in lstm.weights.values())
            assert finite, f"number {number}: weights that are not finite"
            outcomes["model"] += 1
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"model": outcomes["model"], "error": outcomes["error"], "grown_mib": grown / 1024}


def limit_memory() -> None:
    """Let no load take more than some gigabytes of address space, so that a mistake ends here and not in swap."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        used = int(pages.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, resource.RLIM_INFINITY))


def is_installed(name: str) -> bool:
    return importlib.util.find_spec(FORMATS[name][1]) is not None


if __name__ == "__main__":
    warnings.simplefilter("error")
    faulthandler.enable()
    sys.stdout.write(json.dumps(run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))) + "\n")
