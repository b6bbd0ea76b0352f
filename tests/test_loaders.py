"""Any file through the one door: how its format is told, what a model is, and what is loaded when."""

import inspect
import pickle
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from loader_cases import a_recogniser, everything, line_of, random_weights
from tallycell.errors import FormatError, InputError
from tallycell.loaders import Head, LoadedModel, Place, load, save
from tallycell.loaders.formats import READERS, recognise
from tallycell.loaders.safetensors_file import load_safetensors
from tallycell.loaders.torch.state_dict import load_state_dict
from tallycell.parameters import LSTMParameters

# --- what a file gave


class TestLoadedModel:
    one = LSTMParameters(random_weights())
    model = LoadedModel({"encoder.lstm": one, "decoder.lstm": everything()}, Path("model.pt"))

    def test_it_is_a_mapping_from_path_to_parameters(self):
        assert dict(self.model) == {"encoder.lstm": self.one, "decoder.lstm": everything()}
        assert self.model["encoder.lstm"] is self.one
        assert "decoder.lstm" in self.model
        assert "lstm" not in self.model
        assert self.model.get("lstm") is None
        assert self.model.get("encoder.lstm") is self.one
        assert len(self.model) == 2

    def test_it_cannot_be_changed(self):
        with pytest.raises(TypeError):
            self.model.stacks["x"] = self.one
        with pytest.raises(AttributeError):
            self.model.source = Path("other")

    def test_the_only_lstm_is_an_error_where_there_are_two(self):
        text = line_of(lambda: self.model.lstm, InputError)
        assert text == "model.pt holds 2 LSTMs, at 'encoder.lstm', 'decoder.lstm'; choose one: model[path]"

    def test_a_path_that_is_not_there_is_answered_with_those_that_are(self):
        text = line_of(lambda: self.model["lstm"], InputError)
        assert text == "no LSTM at 'lstm'; model.pt has them at 'encoder.lstm', 'decoder.lstm'"

    def test_pickle_gives_it_back(self):
        twin = pickle.loads(pickle.dumps(self.model))
        assert twin == self.model
        assert twin.source == self.model.source

    def test_what_surrounds_the_lstms_is_empty_unless_it_is_told(self):
        assert (self.model.embedding, self.model.vocabulary, self.model.head) == (None, None, None)
        assert self.model.places == {"encoder.lstm": Place(), "decoder.lstm": Place()}
        assert not self.model.refused
        place = Place("Bidirectional", stored_as="float16", merge="sum")
        assert LoadedModel(self.model.stacks, Path("m"), places={"decoder.lstm": place}).places == {
            "encoder.lstm": Place(),
            "decoder.lstm": place,
        }

    def test_one_that_was_refused_answers_with_the_reason_and_counts_for_nothing(self):
        model = LoadedModel({"a": self.one}, Path("model.pt"), refused={"b": "it has layer normalisation"})
        text = line_of(lambda: model["b"], InputError)
        assert text == "the LSTM at 'b' of model.pt cannot be read: it has layer normalisation"
        assert list(model) == ["a"]
        assert model.lstm is self.one
        assert model.get("b") is None
        assert "'b' refused: it has layer normalisation" in repr(model)

    def test_pickle_gives_back_all_that_surrounds(self):
        full = LoadedModel(
            {"a": self.one}, Path("model.pt"), places={"a": Place(reads="x", state_inputs=("h", None))},
            refused={"b": "no"}, embedding=np.ones((2, 3)), vocabulary=("x", "y"), head=Head(np.ones((1, 2))),
        )  # fmt: skip
        twin = pickle.loads(pickle.dumps(full))
        assert twin.places == full.places
        assert twin.refused == full.refused
        assert twin.vocabulary == ("x", "y")
        np.testing.assert_array_equal(twin.embedding, full.embedding)
        np.testing.assert_array_equal(twin.head.weight, full.head.weight)
        with pytest.raises(TypeError):
            twin.refused["c"] = "changed"

    def test_repr_tells_paths_and_source(self):
        assert repr(LoadedModel({"": self.one}, Path("a.pt"), a_recogniser())).startswith("LoadedModel({'': LSTMParam")
        assert "source='model.pt'" in repr(self.model)


class TestWhichRunsWhen:
    one = LSTMParameters(random_weights())
    places = MappingProxyType({"a": Place(when="if 'sr' equals 16000"), "c": Place(when="if 'sr' equals 16000")})

    def of(self, *paths, **more):
        return LoadedModel(dict.fromkeys(paths, self.one), Path("m.onnx"), **more)

    def test_the_error_that_asks_to_choose_one_says_when_each_runs(self):
        text = line_of(lambda: self.of("a", "b", places=self.places).lstm, InputError)
        assert text == "m.onnx holds 2 LSTMs, at 'a' (if 'sr' equals 16000), 'b'; choose one: model[path]"
        many = self.of(*map(str, range(20)))
        assert many.paths_in_words().endswith("'6', '7', and 12 more")

    def test_those_that_run_in_the_same_case_run_one_after_the_other(self):
        model = self.of("a", "b", "c", "d", places=self.places, in_order=True)
        assert model.order_in_words() == ("if 'sr' equals 16000: first 'a', then 'c'", "first 'b', then 'd'")
        assert self.of("a", "b", places=self.places, in_order=True).order_in_words() == ()

    def test_an_order_that_is_not_known_is_not_told(self):
        assert self.of("a", "b").order_in_words() == ()


# --- how values are shown


class Page(HTMLParser):
    """What a page holds; every element has to be closed, and in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


HOSTILE = "<script>alert(1)</script>\x1b[2J&\"'"


class TestShown:
    one = LSTMParameters(random_weights())

    def test_parameters_are_a_table_of_sizes(self):
        page = Page(everything()._repr_html_())
        rows = dict(zip(*[iter([text for text in page.texts if text.strip()][1:])] * 2, strict=True))
        assert rows["inputs"] == "3"
        assert rows["units"] == "2"
        assert rows["layers"] == "2"
        assert rows["directions"] == "forward and reverse"
        assert rows["forget gate"] == "coupled"
        assert rows["activations (gate/cell/hidden)"] == "hard_sigmoid/sine/tanh, sigmoid/tanh/elu"
        assert set(page.seen) == {"table", "caption", "tr", "th", "td"}

    def test_a_model_is_a_table_and_names_do_not_get_out_of_it(self):
        places = {HOSTILE: Place(when=f"if {HOSTILE} holds")}
        model = LoadedModel(
            {HOSTILE: self.one, "b": self.one}, Path(HOSTILE), places=places, refused={"c" + HOSTILE: HOSTILE},
            embedding=np.ones((2, 3)), vocabulary=(HOSTILE, "y"), head=Head(np.ones((1, 2))), features=(HOSTILE,),
            step=HOSTILE, notes=(HOSTILE,), in_order=True,
        )  # fmt: skip
        page = model._repr_html_()
        read = Page(page)
        assert set(read.seen) == {"table", "caption", "tr", "th", "td"}
        assert all(line.isprintable() for line in page.split("\n"))
        assert "alert(1)</script>\\x1b[2J&" in "".join(read.texts)
        for word in ("2 LSTMs", "embedding", "2 symbols, 3 features each", "vocabulary", "refused: <script>", "note"):
            assert word in "".join(read.texts)

    def test_of_many_the_first_eight_are_shown_and_all_of_it_is_short(self):
        many = {f"{k}{'x' * 500}": self.one for k in range(100)}
        model = LoadedModel(many, Path("m"), refused={f"r{k}{'y' * 500}": "z" * 500 for k in range(100)}, in_order=True)
        page = Page(model._repr_html_())
        assert page.seen.count("tr") == 8 + 8 + 2
        assert "184 more" in page.texts
        assert len(repr(model)) < 3_000
        assert len(repr(model).splitlines()) == 1

    def test_all_of_a_run_is_in_its_page(self):
        model = LoadedModel(
            {"a": self.one}, Path("run"), features=("rain", "snow", "x"), step="1D", notes=("no scaler",)
        )
        texts = Page(model._repr_html_()).texts
        assert {"run: 1 LSTM", "'rain', 'snow', 'x'", "1D", "no scaler"} <= set(texts)


# --- how a format is told


def zipped(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")


STARTS = {
    b"\x40\x00\x00\x00\x00\x00\x00\x00{": "safetensors",
    b"{\x00\x00\x00\x00\x00\x00\x00{": "safetensors",  # a header of 123 bytes, which is a brace
    b'{"lstm":{"a"': "JSON",  # a brace where safetensors has one
    b"\xef\xbb\xbf\n [": "JSON",
    b'{"abTFL3": 1}': "JSON",
    b"#Parameter# /_0": "DyNet",
    b"#LookupParameter# /_0": "DyNet",
    b"\x89HDF\r\n\x1a\n": "Keras",
    b"\x1c\x00\x00\x00TFL3\x14": "TFLite",
    b"\x93NUMPY\x01\x00": "NumPy",
    b"\x80\x02\x8a\nl\xfc": "torch state_dict",
    b"\x08\x08\x12\x07pytorch": "ONNX",
}
ZIPS = {
    ("a.npy", "b.npy"): "NumPy",
    ("metadata.json", "config.json", "model.weights.h5"): "Keras",
    ("archive/data.pkl", "archive/data/0", "archive/version"): "torch state_dict",
    ("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"): "TorchScript",
    ("m/data/weights/weight_0", "m/models/model.json"): "torch.export",
}


@pytest.mark.parametrize(("start", "name"), STARTS.items())
def test_the_first_bytes_tell_the_format_whatever_the_name(tmp_path, start, name):
    (tmp_path / "model.bin").write_bytes(start)
    assert recognise(tmp_path / "model.bin") == name


@pytest.mark.parametrize(("names", "name"), ZIPS.items())
def test_what_is_in_a_zip_tells_the_format(tmp_path, names, name):
    zipped(tmp_path / "model.bin", *names)
    assert recognise(tmp_path / "model.bin") == name


def test_every_format_has_a_reader_that_takes_the_options_it_names(tmp_path):
    assert recognise(tmp_path) == "raw tensors"
    (tmp_path / "config.yml").touch()
    assert recognise(tmp_path) == "NeuralHydrology"
    told = {*STARTS.values(), *ZIPS.values(), "raw tensors", "NeuralHydrology"}
    assert told == set(READERS)
    for module, function, options in READERS.values():
        read = getattr(import_module(f"tallycell.loaders.{module}"), function)
        assert tuple(inspect.signature(read).parameters) == (
            "folder" if module in ("raw_tensors", "neuralhydrology") else "path",
            *options,
        )


# --- files that are not what they should be


def test_missing_empty_and_other_files_are_one_line(tmp_path):
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "text.pt").write_text("weight_ih_l0: 1, 2, 3")
    (tmp_path / "short").write_bytes(b"x")
    assert line_of(lambda: load(tmp_path / "no.pt"), FormatError).startswith("there is no file ")
    assert "is empty; expected a model file" in line_of(lambda: load(tmp_path / "empty.safetensors"), FormatError)
    for name in ("text.pt", "short"):
        text = line_of(lambda: load(tmp_path / name), FormatError)  # noqa: B023
        assert "is of no format that tallycell reads; those are safetensors, torch state_dict, " in text
    assert "cannot be opened" in line_of(lambda: load("a\0b"), FormatError)
    for read in (load_safetensors, load_state_dict):
        for name in ("no.pt", "", "empty.safetensors", "text.pt", "short"):
            line_of(lambda: read(tmp_path / name), FormatError)  # noqa: B023


# --- what is loaded when


def test_the_loaders_do_not_load_torch(tmp_path):
    save(a_recogniser(), tmp_path / "net.safetensors")
    code = (
        "import sys, tallycell.loaders as loaders\n"
        f"assert loaders.load({str(tmp_path / 'net.safetensors')!r}).recogniser\n"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'h5py', 'zarr', 'xarray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
