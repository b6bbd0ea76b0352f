"""TorchScript and torch.export: the tensors of the archive, and none of its code."""

import io
import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loader_cases import cut, flipped, line_of, load_or_line
from parity import record_parity, run_lstm
from tallycell.errors import FormatError, MissingExtraError
from tallycell.loaders import load
from tallycell.loaders.formats import recognise
from tallycell.loaders.stored_tensor import View
from tallycell.loaders.torch.inert_pickle import Instance, Name, read_pickle
from tallycell.parameters import LSTMParameters

torch = pytest.importorskip("torch")
nn = torch.nn


class Model(nn.Module):
    """Every kind of LSTM that an archive may hold, with layers around them."""

    def __init__(self):
        super().__init__()
        self.symbols = nn.Embedding(7, 3)
        self.lstm = nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True)
        self.gru = nn.GRUCell(8, 8)
        self.cell = nn.LSTMCell(8, 5)
        self.head = nn.Linear(5, 2)

    def forward(self, x):
        output, _ = self.lstm(self.symbols(x))
        h, _ = self.cell(self.gru(output[:, 0]))
        return self.head(h)


def of(module) -> LSTMParameters:
    state = {name if "_l" in name else f"{name}_l0": x.float().numpy() for name, x in module.state_dict().items()}
    return LSTMParameters(state)


def assert_holds(loaded, model):
    assert dict(loaded) == {"lstm": of(model.lstm), "cell": of(model.cell)}
    assert [place.operator for place in loaded.places.values()] == ["LSTM", "LSTMCell"]
    np.testing.assert_array_equal(loaded.embedding, model.symbols.weight.detach().float().numpy())
    np.testing.assert_array_equal(loaded.head.weight, model.head.weight.detach().float().numpy())


X = torch.zeros(2, 6, dtype=torch.long)


def script(model, path):
    torch.jit.script(model).save(path)


def trace(model, path):
    torch.jit.trace(model, (X,)).save(path)


def export(model, path):
    torch.export.save(torch.export.export(model, (X,)), path)


def export_as(layout: str) -> Callable:
    """torch.export as older versions of torch laid it out; torch still opens these."""

    def write(model, path):
        serialize = pytest.importorskip("torch._export.serde.serialize").serialize
        artifact = serialize(torch.export.export(model, (X,)))
        if layout == "2.7":
            version = ".".join(map(str, pytest.importorskip("torch._export.serde.schema").SCHEMA_VERSION))
            entries = {
                "version": version, "serialized_exported_program.json": artifact.exported_program,
                "serialized_state_dict.pt": artifact.state_dict, "serialized_constants.pt": artifact.constants,
                "serialized_example_inputs.pt": artifact.example_inputs,
            }  # fmt: skip
        else:
            entries = {
                "m/archive_format": "pt2", "m/archive_version": "0", "m/byteorder": "little", "m/.data/version": "6",
                "m/models/model.json": artifact.exported_program, "m/data/weights/model.pt": artifact.state_dict,
                "m/data/constants/model.pt": artifact.constants,
                "m/data/sample_inputs/model.pt": artifact.example_inputs,
            }  # fmt: skip
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)

    return write


WRITERS = {
    "script": script,
    "trace": trace,
    "export": export,
    "older export": export_as("older"),
    "export of torch 2.7": export_as("2.7"),
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> tuple[Model, dict[str, Path]]:
    folder = tmp_path_factory.mktemp("archives")
    model = Model().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript old, and says more about exporting an LSTM
        for name, write in WRITERS.items():
            write(model, folder / name.replace(" ", "_"))
    return model, {name: folder / name.replace(" ", "_") for name in WRITERS}


def rewrite(source: Path, target: Path, **changes: "Callable[[bytes], bytes] | bytes | None") -> Path:
    """Copy an archive with some entries (``data__0`` for ``data/0``) changed, replaced or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            inside = entry.partition("/")[2].replace("/", "__").replace(".", "_")
            change = changes.get(inside, old.read(entry))
            if change is not None:
                new.writestr(entry, change(old.read(entry)) if callable(change) else change)
    return target


# --- what is read


@pytest.mark.parametrize("name", WRITERS)
def test_every_lstm_of_an_archive_is_read_by_its_path(archives, name):
    model, paths = archives
    assert_holds(load(paths[name]), model)


@pytest.mark.parametrize("name", WRITERS)
def test_torch_opens_the_archive_only_where_its_code_is_trusted(archives, monkeypatch, name):
    model, paths = archives
    opened = []
    for module, function in ((torch.jit, "load"), (torch.export, "load")):
        theirs = getattr(module, function)
        spy = lambda *args, theirs=theirs, **kwargs: (opened.append(1), theirs(*args, **kwargs))[1]  # noqa: E731
        monkeypatch.setattr(module, function, spy)
    load(paths[name])
    assert not opened
    assert_holds(load(paths[name], trust_code=True), model)
    assert opened == [1]


@pytest.mark.parametrize("name", ["script", "trace", "export"])
def test_archives_are_read_without_torch(archives, name):
    _, paths = archives
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom tallycell.loaders import load\n"
        f"print(list(load({str(paths[name])!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['lstm', 'cell']"


def test_without_torch_its_older_exports_and_trusted_code_ask_for_it(archives, monkeypatch):
    _, paths = archives
    monkeypatch.setitem(sys.modules, "torch", None)
    for options in ({"older export": {}}, {"export of torch 2.7": {}}, {"script": {"trust_code": True}}):
        for name, given in options.items():
            text = line_of(lambda: load(paths[name], **given), MissingExtraError)  # noqa: B023
            assert "pip install 'tallycell[torch]'" in text


@pytest.mark.parametrize("write", [script, export])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats_are_read_and_said(tmp_path, write, dtype):
    model = nn.Sequential(nn.LSTMCell(3, 2)).to(getattr(torch, dtype))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if write is script:
            script(model, tmp_path / "model")
        else:
            program = torch.export.export(model, (torch.zeros(1, 3, dtype=getattr(torch, dtype)),))
            torch.export.save(program, tmp_path / "model")
    loaded = load(tmp_path / "model")
    weights = {f"{name}_l0": x.detach() for name, x in model[0].state_dict().items()}
    wide = {name: (x if dtype == "float64" else x.float()).numpy() for name, x in weights.items()}
    assert loaded.lstm == LSTMParameters(wide)
    assert loaded.places["0"].stored_as == (None if dtype == "float64" else dtype)


@pytest.mark.parametrize("write", [script, export])
def test_views_of_a_larger_storage_are_read(tmp_path, write):
    cell = nn.LSTMCell(3, 2).eval()
    with torch.no_grad():
        cell.weight_ih = nn.Parameter(torch.randn(5, 9)[1:4, 1:].T)  # strided, with an offset
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if write is script:
            script(cell, tmp_path / "model")
        else:
            torch.export.save(torch.export.export(cell, (torch.zeros(1, 3),)), tmp_path / "model")
    assert load(tmp_path / "model").lstm == of(cell)


def test_a_byte_order_other_than_the_machines_is_turned(archives, tmp_path):
    model, paths = archives
    turned = {}
    with zipfile.ZipFile(paths["script"]) as archive:
        for entry in archive.namelist():
            inside = entry.partition("/")[2]
            if inside.startswith("data/"):
                turned[inside.replace("/", "__")] = np.frombuffer(archive.read(entry), "<f4").astype(">f4").tobytes()
    assert_holds(load(rewrite(paths["script"], tmp_path / "big", byteorder=b"big", **turned)), model)
    text = line_of(lambda: load(rewrite(paths["script"], tmp_path / "odd", byteorder=b"middle")), FormatError)
    assert "its byte order is b'middle', expected little or big" in text


def test_a_module_that_a_pickle_shows_under_2_to_the_60_paths_is_read_once(archives, tmp_path):
    def module(inside: bytes) -> bytes:
        return b"c__torch__\nM\n)\x81}(" + inside + b"ub"

    def text(name: str) -> bytes:
        return b"X" + len(name).to_bytes(4, "little") + name.encode()

    content = b"N"
    for depth in range(60):
        put, get = b"r" + depth.to_bytes(4, "little"), b"j" + depth.to_bytes(4, "little")
        content = module(text("a") + content + put + text("b") + get)
    path = rewrite(archives[1]["script"], tmp_path / "wide", data_pkl=b"\x80\x02" + content + b".")
    assert "holds no LSTM" in line_of(lambda: load(path), FormatError)


@pytest.mark.parametrize("name", ["weights", "data", "weights.pt", "constants"])
def test_the_name_of_a_file_does_not_change_its_format(tmp_path, name):
    torch.save(nn.LSTM(3, 2).state_dict(), tmp_path / name)
    assert recognise(tmp_path / name) == "torch state_dict"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script(nn.LSTMCell(3, 2), tmp_path / name)
    assert recognise(tmp_path / name) == "TorchScript"


# --- what is refused


def test_a_frozen_archive_is_refused_with_the_reason(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.freeze(torch.jit.script(Model().eval())).save(tmp_path / "frozen")
    assert "holds its weights as constants of its code, as torch.jit.freeze makes them" in line_of(
        lambda: load(tmp_path / "frozen"), FormatError
    )


def config_with(change: Callable[[dict], object]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        config = json.loads(content)
        replaced = change(config["config"]["cell.weight_ih"])
        return json.dumps(config if replaced is None else replaced).encode()

    return changed


CELL = "LSTM at 'cell'"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda weight: weight.update(use_pickle=True),
            "cell.weight_ih is stored as a pickle, and opening it would",
        ),
        (lambda weight: weight.update(tensor_meta=None), "cell.weight_ih is stored as a pickle"),
        (lambda weight: weight["tensor_meta"].update(dtype=2), "weight_ih_l0 is of dtype int8, expected float32"),
        (lambda weight: weight["tensor_meta"].update(dtype=29), "weight_ih_l0 is of dtype number 29"),
        (lambda weight: weight["tensor_meta"].update(layout=2), "weight_ih_l0 is of dtype a layout that is not dense"),
        (lambda weight: weight.update(path_name="../../secret"), "has no entry 'data/weights/../../secret'"),
        (lambda weight: weight["tensor_meta"].update(storage_offset={"as_int": 1}), "does not lie in its storage"),
        (
            lambda weight: weight["tensor_meta"].update(sizes=[{"as_int": 10**6}] * 2, strides=[{"as_int": 0}] * 2),
            "does not lie in its storage of 160 elements as a plain dense tensor",
        ),
    ],
)
def test_a_weight_of_an_export_that_is_not_plain_is_refused_by_name(archives, tmp_path, change, text):
    changed = {"data__weights__model_weights_config_json": config_with(change)}
    model = load(rewrite(archives[1]["export"], tmp_path / "changed", **changed))
    assert list(model) == ["lstm"]
    assert text in model.refused["cell"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda weight: weight["tensor_meta"].update(sizes=[{"as_expr": "s0"}]), "expected whole numbers"),
        (
            lambda weight: weight["tensor_meta"].update(strides=[{"as_int": -1}, 1]),
            "expected whole numbers",
        ),
        (lambda weight: weight["tensor_meta"].update(strides=[{"as_int": 1}]), "expected whole numbers"),
        (lambda weight: weight.update(path_name=3), "expected an object with a path_name"),
        (lambda _: {"config": []}, "has no object config"),
        (lambda _: [], "has no object config"),
        (lambda _: {"config": {"a": []}}, "a is described by a list, expected an object with a path_name"),
    ],
)
def test_a_config_of_an_export_that_is_damaged_is_one_line(archives, tmp_path, change, text):
    changed = {"data__weights__model_weights_config_json": config_with(change)}
    path = rewrite(archives[1]["export"], tmp_path / "changed", **changed)
    assert text in line_of(lambda: load(path), FormatError)


def test_a_storage_of_another_size_than_the_pickle_says_is_refused_by_name(archives, tmp_path):
    with zipfile.ZipFile(archives[1]["script"]) as archive:
        sizes = {info.filename.partition("/")[2]: info.file_size for info in archive.infolist()}
    (cell,) = (name for name, size in sizes.items() if size == 4 * 20 * 8 and name.startswith("data/"))
    longer = {cell.replace("/", "__"): bytes(4 * 20 * 8 + 4)}
    model = load(rewrite(archives[1]["script"], tmp_path / "longer", **longer))
    assert list(model) == ["lstm"]
    assert "cell.weight_ih should have 640 bytes, the file has 644" in model.refused["cell"]


def test_an_archive_without_its_config_or_pickle_is_one_line(archives, tmp_path):
    no_config = {"data__weights__model_weights_config_json": None}
    text = line_of(lambda: load(rewrite(archives[1]["export"], tmp_path / "a", **no_config)), FormatError)
    assert "without a config of its weights" in text
    not_json = {"data__weights__model_weights_config_json": b"{"}
    text = line_of(lambda: load(rewrite(archives[1]["export"], tmp_path / "b", **not_json)), FormatError)
    assert "is not JSON" in text
    text = line_of(lambda: load(rewrite(archives[1]["script"], tmp_path / "c", data_pkl=None)), FormatError)
    assert "has no entry 'data.pkl'" in text


@pytest.mark.parametrize("name", ["script", "export", "export of torch 2.7"])
def test_an_archive_cut_short_is_one_line(archives, tmp_path, name):
    content, path = archives[1][name].read_bytes(), tmp_path / "cut"
    for part in cut(content, 100):
        path.write_bytes(part)
        line_of(lambda: load(path), FormatError)


@pytest.mark.parametrize("name", ["script", "export", "export of torch 2.7"])
def test_a_flipped_bit_gives_lstms_or_one_line(archives, tmp_path, name):
    path = tmp_path / "flipped"
    for damaged in flipped(archives[1][name].read_bytes(), 300):
        path.write_bytes(damaged)
        model = load_or_line(path)
        assert not isinstance(model, str) or len(model.splitlines()) == 1


def test_a_flipped_byte_of_the_pickle_inside_gives_lstms_or_one_line(archives, tmp_path):
    # Behind the checksum of the zip, which would notice the others.
    with zipfile.ZipFile(archives[1]["script"]) as archive:
        (name,) = (entry for entry in archive.namelist() if entry.endswith("/data.pkl"))
        content = archive.read(name)
    refused = 0
    for damaged in flipped(content, 400):
        model = load_or_line(rewrite(archives[1]["script"], tmp_path / "flipped", data_pkl=damaged))
        assert not isinstance(model, str) or len(model.splitlines()) == 1
        refused += isinstance(model, str)
    assert 40 < refused < 400


# --- the pickle that runs nothing


def read(content: bytes) -> object:
    return read_pickle(io.BytesIO(content), "x.pkl")[0]


def test_a_pickle_is_read_and_nothing_of_it_runs(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "marker"),)

    content = read(pickle.dumps({"a": Evil(), "b": [1, (2.5, None, True)]}, protocol=2))
    assert content["b"] == [1, (2.5, None, True)]
    assert isinstance(content["a"], Instance)
    assert content["a"].maker == Name("posix mkdir")
    assert content["a"].arguments == (str(tmp_path / "marker"),)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is a damaged pickle: "),
        (b"\x80\x02", "is a damaged pickle: "),
        (b".", "is a damaged pickle: pop from empty list"),
        (b"\x80\x02h\x07.", "is a damaged pickle: 7"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "is a damaged pickle: expected 2147483647 bytes"),
        (b"\x80\x02}X\x01\x00\x00\x00au.", "is a damaged pickle: pop from empty list"),
        (b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "is a damaged pickle: expected 9223372036854775807 bytes"),
        (b"\x80\x02cos\nmkdir\n\x85\x93.", "the instruction STACK_GLOBAL, which torch does not write"),
    ],
)  # fmt: skip
def test_a_damaged_pickle_is_one_line(content, text):
    assert text in line_of(lambda: read(content), FormatError)


def test_a_pickle_cannot_take_memory_or_crash():
    assert read(b"\x80\x02K\x01r\xff\xff\xff\xffj\xff\xff\xff\xff.") == 1  # remembered as number 2^32 - 1
    deep = b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s."  # a tuple in a tuple in a tuple ... as a key
    assert read(deep) == {}


@pytest.mark.parametrize(
    ("size", "strides", "offset"),
    [((3,), (2,), 0), ((2, 2), (2, 1), 1), ((10**12,), (0,), 0), ((5,), (1,), 10**30), ((0, 10**30), (1, 1), 0)],
)
def test_a_view_stays_inside_its_storage(size, strides, offset):
    text = line_of(lambda: View(size, strides, offset).of(bytes(16), "float32", "<", "w"), FormatError)
    assert "does not lie in its storage of 4 elements" in text


def test_a_stride_that_leads_nowhere_does_no_harm():
    assert View((1, 2), (10**30, 1)).of(bytes(16), "float32", "<", "w").shape == (1, 2)


def test_a_storage_that_ends_inside_a_number_is_refused():
    text = line_of(lambda: View((1,), (1,)).of(bytes(15), "float32", "<", "w"), FormatError)
    assert "its storage of 15 bytes does not divide into" in text


# --- other people's models


@pytest.mark.models
def test_silero_vad_as_torchscript_has_the_weights_of_the_onnx_file(pypi_model, third_party):
    onnx = pytest.importorskip("onnx")
    data = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data"
    model = load(data / "silero_vad.jit")
    assert list(model) == ["_model.decoder.rnn", "_model_8k.decoder.rnn"]
    assert {place.operator for place in model.places.values()} == {"LSTMCell"}
    graph = onnx.load(data / "silero_vad_16k_sequence.onnx").graph
    (node,) = (node for node in graph.node if node.op_type == "LSTM")
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    ours = model["_model.decoder.rnn"]
    for kind, theirs in zip(("weight_ih", "weight_hh"), node.input[1:3], strict=True):
        i, o, f, g = np.split(arrays[theirs][0], 4)
        np.testing.assert_array_equal(ours.weights[f"{kind}_l0"], np.concatenate([i, f, g, o]))
    biases = np.split(arrays[node.input[3]][0], 8)
    for kind, (i, o, f, g) in (("bias_ih", biases[:4]), ("bias_hh", biases[4:])):
        np.testing.assert_array_equal(ours.weights[f"{kind}_l0"], np.concatenate([i, f, g, o]))
    golden = np.load(third_party / "golden" / "silero_16k_sequence_0.npz")
    difference = float(np.abs(run_lstm(ours, golden["x"]) - golden["y"]).max())
    record_parity("silero-vad 6.2.3, 16 kHz", "TorchScript", "onnxruntime, the same weights", difference)
    assert difference < 1e-5  # float32, summed in another order
