"""One small model of each format, written at a path with given names, and the opening of any of them.

What anybody may name is named by ``names.free``, so that the file stays whole; what its reader knows by heart by
``names.known``.
"""

import io
import json
import re
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from fuzz_checks import Printed
from fuzz_damage import LONGEST_ENTRY_NAME, read_zip, write_zip
from fuzz_words import Names, spoil_words

# ---- opening ---------------------------------------------------------------------------------------------------------


def open_model(path: Path) -> Printed:
    """Load a model, and print what ``tallycell inspect`` prints."""
    from rich.console import Console

    from tallycell.cli import inspect_view
    from tallycell.cli.terminal import json_text
    from tallycell.loaders import load
    from tallycell.loaders.formats import recognise

    loaded = load(path, forget_bias=1.0)
    assert all(np.isfinite(x).all() for lstm in loaded.values() for x in lstm.weights.values()), "weights not finite"
    page = io.StringIO()
    inspect_view.print_model(Console(file=page, width=110, highlight=False), loaded, recognise(path))
    return Printed(pages=[page.getvalue()], data=[json_text(inspect_view.as_object(loaded, recognise(path)))])


def open_pickle(path: Path) -> Printed:
    """Load what may be a pickle, and see that it was not opened."""
    try:
        return open_model(path)
    finally:
        assert not Trap.opened, "a pickle was opened"


def open_inside(name: str) -> Callable[[Path], Printed]:
    """Open a file of a folder."""
    return lambda folder: open_model(folder / name)


# ---- weights ---------------------------------------------------------------------------------------------------------


def weights(names: Names | None = None) -> dict[str, np.ndarray]:
    rng, names = np.random.default_rng(0), names or Names()
    shapes = {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2), "bias_ih_l0": (8,), "bias_hh_l0": (8,)}
    return {names.known(name): rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def keras_weights() -> list[np.ndarray]:
    own = weights()
    return [own["weight_ih_l0"].T, own["weight_hh_l0"].T, own["bias_ih_l0"]]


# ---- safetensors, NumPy, JSON, raw tensors ---------------------------------------------------------------------------


def make_safetensors(path: Path, names: Names) -> None:
    from safetensors.numpy import save_file

    tensors = {f"{names.free('rnn')}.{name}": x for name, x in weights(names).items()}
    vocabulary = json.dumps([names.free(symbol) for symbol in "abcd"])
    tensors[names.known("embedding.weight")] = np.ones((4, 3), np.float32)
    save_file(tensors, path, {names.known("vocab"): vocabulary})  # one entry: the library keeps several in any order


def make_own(path: Path, names: Names) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    from tallycell.loaders import save
    from tallycell.parameters import LSTMParameters
    from tallycell.recogniser import Recogniser

    symbols = tuple(map(names.free, "()"))
    arrays = {"inputs": np.ones((2, 3)), "readout_weight": np.ones((2, 2)), "readout_bias": np.ones(2)}
    outputs = tuple(map(names.free, ("no", "yes")))
    lstm = LSTMParameters(weights())
    save(Recogniser(alphabet=symbols, parameters=lstm, outputs=outputs, unknown=symbols[0], **arrays), path)
    with safe_open(path, "numpy") as file:
        words = json.loads(file.metadata()["tallycell"])
    tensors = {names.known(name): x for name, x in load_file(path).items()}
    save_file(tensors, path, {"tallycell": json.dumps(spoil_words(words, names.in_json().known))})


def make_npz(path: Path, names: Names) -> None:
    prefix = names.without("\0", LONGEST_ENTRY_NAME).free("rnn")
    tensors = {f"{prefix}.{name}": x for name, x in weights(names).items()}
    symbols = np.array([names.free(symbol) for symbol in "abcd"])
    np.savez(path, **{names.known("itos"): symbols, "embedding.weight": np.ones((4, 3), np.float32)}, **tensors)


def make_npz_of_keras(path: Path, names: Names) -> None:
    layer = names.without("\0", LONGEST_ENTRY_NAME).free("lstm")
    kinds = (f"{layer}/{names.known(kind)}" for kind in ("kernel", "recurrent_kernel", "bias"))
    np.savez_compressed(path, **dict(zip(kinds, keras_weights(), strict=True)))


class Trap:
    """What a pickle makes when it is opened."""

    opened = 0

    def __reduce__(self) -> tuple[Callable[[], int], tuple[()]]:
        return spring, ()


def spring() -> int:
    Trap.opened += 1
    return Trap.opened


def make_npy(path: Path, names: Names) -> None:
    """A pickled dict of arrays, with a trap in it; with nasty names, half of the time, a table with such columns."""
    if names.rng is not None and names.rng.random() < 0.5:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names that only newer versions of the format hold
            np.save(path, np.zeros(3, [(names.free("a"), "f4"), ("b", "i4")]))
        return
    content = {f"{names.free('rnn')}.{name}": x for name, x in weights(names).items()}
    np.save(path, np.array(content | {"trap": Trap()}), allow_pickle=True)


def make_json(path: Path, names: Names) -> None:
    prefix = names.in_json().free("rec")
    state = {f"{prefix}.{name}": x.tolist() for name, x in weights().items()} | {"lin.weight": [[1.0, 2.0]]}
    write_json(path, {"model_data": {"unit_type": "LSTM"}, "state_dict": state}, names)


def make_json_layers(path: Path, names: Names) -> None:
    lstm = {"type": "lstm", "activation": "tanh", "weights": [x.tolist() for x in keras_weights()]}
    dense = {"type": "dense", "activation": "", "weights": [[[1.0], [2.0]], [0.5]]}
    write_json(path, {"in_shape": [None, None, 3], "layers": [lstm, dense]}, names.in_json())


def make_json_recogniser(path: Path, names: Names) -> None:
    symbols = [names.in_json().free(symbol) for symbol in "()"]
    outside = {"inputs": np.ones((2, 3)), "readout_weight": np.ones((2, 2)), "readout_bias": np.ones(2)}
    arrays = {name: x.tolist() for name, x in outside.items()}
    words = {"alphabet": symbols, "outputs": [names.free("no"), names.free("yes")], "unknown": symbols[0]}
    state = {name: x.tolist() for name, x in weights().items()}
    write_json(path, {"recogniser": 1, **words, **arrays, "weights": state}, names)


def write_json(path: Path, document: object, names: Names) -> None:
    path.write_text(json.dumps(spoil_words(document, names.known)))


def make_dynet(path: Path, names: Names) -> None:
    names.nasty = "".join(names.nasty.split())
    of_x, of_h, bias, _ = weights().values()
    builder = names.free("vanilla-lstm-builder")
    arrays = {"/_0": np.ones((3, 4)), "/_1": np.ones((2, 2)), "/_2": np.ones(2)}
    arrays |= {f"/{builder}/_{k}": x for k, x in enumerate((of_x, of_h, bias))}
    lines = []
    for name, x in arrays.items():
        kind, sizes = "LookupParameter" if name == "/_0" else "Parameter", ",".join(map(str, x.shape))
        lines += [f"#{names.known(kind)}# {name} {{{sizes}}} {16 * x.size} {names.known('ZERO_GRAD')}"]
        lines += [" ".join(map(str, x.ravel(order="F").tolist()))]
    path.write_text("\n".join(lines))


def make_raw(path: Path, names: Names) -> None:
    path.mkdir()
    names.in_json()
    at = names.free("rnn")
    tensors = {f"{at}/lstm_cell/kernel": np.ones((5, 8)), f"{at}/lstm_cell/bias": np.ones(8)}
    tensors |= {f"{at}/embedding": np.ones((4, 3)), f"{at}/softmax_w": np.ones((2, 4)), f"{at}/softmax_b": np.ones(4)}
    manifest = {}
    for k, (name, array) in enumerate(tensors.items()):
        array.astype(np.float32).tofile(path / f"t{k}")
        manifest[name] = {"filename": f"t{k}", "shape": list(array.shape), "dtype": "float32"}
    write_json(path / "manifest.json", manifest, names)
    (path / "vocab.json").write_text(json.dumps({names.free(letter): k for k, letter in enumerate("abcd")}))


# ---- torch -----------------------------------------------------------------------------------------------------------


@cache
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


def named_state(names: Names) -> dict[str, object]:
    rnn = names.free("rnn")
    return {names.known(name.replace("rnn", rnn)): x for name, x in torch_model().state_dict().items()}


def make_state_dict(path: Path, names: Names) -> None:
    import torch

    vocabulary = {names.free(symbol): k for k, symbol in enumerate("abcde")}
    torch.save(
        {
            names.free("epoch"): names.free("third"),
            names.known("state_dict"): named_state(names),
            names.known("char2id"): vocabulary,
        },
        path,
    )


def make_old_state_dict(path: Path, names: Names) -> None:
    import torch

    torch.save(named_state(names), path, _use_new_zipfile_serialization=False)


@cache
def torchscript() -> bytes:
    import torch

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        torch.jit.script(torch_model()).save(f"{folder}/script.pt")
        return Path(folder, "script.pt").read_bytes()


def make_torchscript(path: Path, names: Names) -> None:
    """Names are changed in the pickle, where each has its length in front: torch takes only words."""

    def renamed(found: re.Match[bytes]) -> bytes:
        length, text = struct.unpack("<I", found[1])[0], found[2]
        name = text[:length].decode()
        new = (names.free(name) if name in ("rnn", "out", "embedding") else names.known(name)).encode()
        return b"X" + struct.pack("<I", len(new)) + new + text[length:]

    if not names.nasty:
        path.write_bytes(torchscript())
        return
    entries = read_zip(torchscript())
    (modules,) = (name for name in entries if name.endswith("/data.pkl"))
    entries[modules] = re.sub(rb"X(.\0\0\0)([a-z_0-9]+)", renamed, entries[modules], flags=re.S)
    path.write_bytes(write_zip(entries))


@cache
def exported_program() -> bytes:
    import torch

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        program = torch.export.export(torch_model(), (torch.zeros(4, 1, dtype=torch.long),))
        torch.export.save(program, f"{folder}/model.pt2")
        return Path(folder, "model.pt2").read_bytes()


def make_torch_export(path: Path, names: Names) -> None:
    """Names are changed in the config of the weights: torch takes only words."""
    if not names.nasty:
        path.write_bytes(exported_program())
        return
    entries = read_zip(exported_program())
    (config,) = (name for name in entries if name.endswith("weights_config.json"))
    stated, names = json.loads(entries[config]), names.in_json()
    stated["config"] = {name.replace("rnn", names.free("rnn")): about for name, about in stated["config"].items()}
    entries[config] = json.dumps(spoil_words(stated, names.known)).encode()
    path.write_bytes(write_zip(entries))


# ---- run folders -----------------------------------------------------------------------------------------------------


def make_run_folder(path: Path, names: Names) -> None:
    """A run of NeuralHydrology; the folder of its scaler holds another file as well."""
    import torch
    import yaml

    (path / "train_data").mkdir(parents=True)
    (path / "train_data/basins.txt").write_text("01013500")
    names = names.without("\0", LONGEST_ATTRIBUTE)
    rain, slope = names.free("rain"), names.free("slope")
    config = {
        "model": names.known("cudalstm"), "dynamic_inputs": [rain, names.free("snow")], "static_attributes": [slope],
        "head": names.known("regression"), "dataset": names.known("camels_us"),
    }  # fmt: skip
    series = {"data_vars": {name: {"dims": [], "data": 2.0} for name in (rain, names.free("snow"))}}
    scaler = {"attribute_means": {slope: 3.0}, "attribute_stds": {slope: 1.5},
              "xarray_feature_center": series, "xarray_feature_scale": series}  # fmt: skip
    for name, content in (("config.yml", config), ("train_data/train_data_scaler.yml", scaler)):
        stated = {names.known(key): one for key, one in content.items()}
        (path / name).write_text(yaml.safe_dump(stated))
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(3, 2), "head": torch.nn.Linear(2, 1)})
    torch.save({names.known(name): x for name, x in model.state_dict().items()}, path / "model_epoch030.pt")


# ---- Keras and TFLite ------------------------------------------------------------------------------------------------

LSTM_CONFIG = {
    "trainable": True, "dtype": "float32", "units": 2, "activation": "tanh", "recurrent_activation": "sigmoid",
    "use_bias": True, "return_sequences": True, "go_backwards": False, "unit_forget_bias": True, "implementation": 2,
    "stateful": False, "unroll": False,
}  # fmt: skip
BUILD_CONFIG = {"input_shape": [None, None, 3]}
LONGEST_ATTRIBUTE = 20_000  # characters; HDF5 takes some 64 KiB in all
KERAS_KINDS = ("kernel", "recurrent_kernel", "bias")


def keras_config(before: dict[str, object], lstm: dict[str, object]) -> dict[str, object]:
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": [before, lstm]}}


def make_keras_h5(path: Path, names: Names) -> None:
    import h5py

    layer = names.without("\0", LONGEST_ATTRIBUTE).free("lstm")
    words = {"name": names.free("words"), "vocabulary": [names.free("a"), names.free("b")]}
    config = keras_config(
        {"class_name": "StringLookup", "config": words},
        {"class_name": "LSTM", "config": {"name": layer, "batch_input_shape": [None, None, 3], **LSTM_CONFIG}},
    )
    config = spoil_words(config, names.known)
    paths = [f"{layer}/{names.known('lstm_cell')}/{names.known(kind)}:0" for kind in KERAS_KINDS]
    with h5py.File(path, "w") as file:
        file.attrs[names.known("model_config")] = json.dumps(config)
        file.attrs[names.known("keras_version")] = names.known("2.4.0").encode()
        group = file.create_group("model_weights")
        group.attrs[names.known("layer_names")] = [layer.encode()]
        inside = group.create_group(layer)
        inside.attrs[names.known("weight_names")] = [name.encode() for name in paths]
        for name, array in zip(paths, keras_weights(), strict=True):
            inside.create_dataset(name, data=array)


def make_keras(path: Path, names: Names) -> None:
    import h5py

    config = keras_config(
        {"class_name": "TextVectorization", "config": {"name": names.free("words")}},
        {"class_name": "LSTM", "config": {"name": names.free("lstm"), **LSTM_CONFIG}, "build_config": BUILD_CONFIG},
    )
    vocabulary = "\n".join(["", *map(names.free, ("[UNK]", "the", "cat"))]).encode()
    held, names = io.BytesIO(), names.without("\0", LONGEST_ATTRIBUTE)
    with h5py.File(held, "w") as file:  # the paths in it are made of classes, not of names
        group = file.create_group(f"layers/lstm/{names.known('cell')}/vars")
        for k, array in enumerate(keras_weights()):
            group.create_dataset(str(k), data=array)
        file.create_group("layers/lstm/vars")
        file.create_group("vars")
    entries = {"metadata.json": {"keras_version": "3.5.0"}, "config.json": config}
    with zipfile.ZipFile(path, "w") as archive:
        for name, entry in entries.items():
            archive.writestr(name, json.dumps(spoil_words(entry, names.in_json().known)))
        archive.writestr("assets/layers/text_vectorization/vocabulary.txt", vocabulary)
        archive.writestr("model.weights.h5", held.getvalue())


def make_tflite(path: Path, names: Names) -> None:
    from test_tflite_loader import flatbuffers, random_direction, schema, write_lstm

    write_lstm(path, random_direction())
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    model.description = names.free("made by nobody")
    for graph in model.subgraphs:
        graph.name = names.free("main")
        for tensor in graph.tensors:
            tensor.name = names.free(tensor.name.decode())
    for operator in model.operatorCodes:
        if names.known("operator") != "operator":
            operator.builtinCode, operator.customCode = schema.BuiltinOperator.CUSTOM, names.free("custom")
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
