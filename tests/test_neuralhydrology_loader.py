"""Run folders of NeuralHydrology: a real one against torch and its own scaler, small ones for each rule."""

import csv
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from xarray import DataArray

import tallycell
from loader_cases import flipped, line_of, load_or_line
from tallycell.errors import FormatError
from tallycell.loaders import load
from tallycell.loaders.formats import recognise

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
nn = torch.nn

REAL = "models/neuralhydrology-run/nh_AORC_hourly_2801_191806"
CONFIG = {
    "model": "cudalstm", "head": "regression", "output_activation": "linear", "dataset": "camels_us",
    "dynamic_inputs": ["snow", "rain"], "static_attributes": ["slope", "Area"], "hydroatlas_attributes": ["karst"],
    "evolving_attributes": ["year", "lake"], "target_variables": ["flow"],
}  # fmt: skip
# Attributes in the order that pandas sorts them in, capitals first; the others as they stand.
FEATURES = ("snow", "rain", "Area", "karst", "slope", "year", "lake")


class CudaLSTM(nn.Module):
    """The parts of NeuralHydrology's model under their names."""

    def __init__(self, features: int, hidden: int = 4) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden)
        self.head = nn.Module()
        self.head.net = nn.Sequential(nn.Linear(hidden, 1))

    def forward(self, x):
        h, _ = self.lstm(x)
        return h, self.head.net(h)


def scaler_of(names=FEATURES, targets=("flow",)) -> dict:
    """The scaler as a run writes it: attributes as pandas gives them, series as xarray does."""
    attributes = [name for name in names if name in ("Area", "karst", "slope")]
    series = [name for name in (*names, *targets) if name not in attributes]
    center, spread = ({name: base + k for k, name in enumerate(names)} | {"flow": base} for base in (10.0, 2.0))

    def dataset(of: dict) -> dict:
        variables = {name: {"dims": [], "attrs": {}, "data": of[name]} for name in series}
        return {"coords": {}, "attrs": {}, "dims": {}, "data_vars": variables}

    return {
        "attribute_means": {name: center[name] for name in attributes},
        "attribute_stds": {name: spread[name] for name in attributes},
        "xarray_feature_scale": dataset(spread),
        "xarray_feature_center": dataset(center),
    }


def write_run(folder: Path, config=(), *, scaler=..., model=None, epochs=(9,)) -> Path:
    """A run folder; what is None is left out."""
    (folder / "train_data").mkdir(parents=True)
    stated = CONFIG | dict(config)
    (folder / "config.yml").write_text(yaml.safe_dump({key: one for key, one in stated.items() if one is not None}))
    if scaler is not None:
        content = scaler_of() if scaler is ... else scaler
        (folder / "train_data/train_data_scaler.yml").write_text(yaml.safe_dump(content))
    for epoch in epochs:
        torch.manual_seed(epoch)
        made = CudaLSTM(len(FEATURES)) if model is None else model
        torch.save(made.state_dict(), folder / f"model_epoch{epoch:03d}.pt")
    return folder


def error_of(folder: Path) -> str:
    text = line_of(lambda: load(folder), FormatError)
    assert text.isprintable()
    return text


# ---- a real run


def test_the_month_of_a_real_run_is_what_torch_makes_of_it(third_party):
    folder = third_party / REAL
    loaded = load(folder)
    state = torch.load(folder / "model_epoch009.pt", weights_only=True, map_location="cpu")
    lstm, head = nn.LSTM(4, 126), nn.Linear(126, 1)
    lstm.load_state_dict({name.removeprefix("lstm."): x for name, x in state.items() if name.startswith("lstm.")})
    head.load_state_dict({"weight": state["head.net.0.weight"], "bias": state["head.net.0.bias"]})
    scaler = yaml.safe_load((folder / "train_data/train_data_scaler.yml").read_text())

    with (folder.parent / "aorc_hourly_cat-67_2015-12.csv").open() as file:
        rows = list(csv.DictReader(file))
    raw = {name: np.array([float(row[name]) for row in rows]) for name in ("APCP_surface", "TMP_2maboveground")}
    raw |= {"elev_mean": np.full(len(rows), 300.0), "slope_mean": np.full(len(rows), 20.0)}
    center = {name: one["data"] for name, one in scaler["xarray_feature_center"]["data_vars"].items()}
    spread = {name: one["data"] for name, one in scaler["xarray_feature_scale"]["data_vars"].items()}
    center, spread = center | scaler["attribute_means"], spread | scaler["attribute_stds"]
    order = ("APCP_surface", "TMP_2maboveground", "elev_mean", "slope_mean")
    by_hand = np.stack([(raw[name] - center[name]) / spread[name] for name in order], axis=-1).astype(np.float32)
    with torch.no_grad():
        theirs, _ = lstm(torch.from_numpy(by_hand)[:, None])
        flow = head(theirs)[:, 0].numpy()

    assert loaded.features == order
    assert loaded.static == ("elev_mean", "slope_mean")
    assert loaded.step == "1h"
    assert not loaded.notes
    x = np.stack([raw[name] for name in loaded.features], axis=-1)
    ours = loaded.scaling.scaled(DataArray(x, dims=("time", "feature"), coords={"feature": list(loaded.features)}))
    h = tallycell.record_trace(loaded.lstm, ours.to_numpy().astype(np.float32))["h"]
    h = h.isel(layer=0, direction=0, sequence=0).transpose("time", "unit").to_numpy()
    # Two runtimes in float32 over 720 steps.
    np.testing.assert_allclose(h, theirs[:, 0].numpy(), atol=1e-5)
    np.testing.assert_allclose(h @ loaded.head.weight.T + loaded.head.bias, flow, atol=1e-4)
    assert len(rows) == 720


def test_inspect_names_what_a_real_run_reads(third_party, run):
    status, out, err = run("inspect", third_party / REAL)
    assert (status, err) == (0, "")
    words = " ".join(out.split())
    assert "nh_AORC_hourly_2801_191806: NeuralHydrology, 1 LSTM" in words
    assert (
        "features: APCP_surface, TMP_2maboveground, elev_mean, slope_mean; static: 'elev_mean', 'slope_mean'" in words
    )
    assert "scaling: TMP_2maboveground less 284.621, divided by 45.7672" in words
    assert "a step is 1h long" in words


# ---- small runs


def test_a_small_run_is_read_whole(tmp_path):
    loaded = load(write_run(tmp_path / "run", {"output_activation": "softplus"}))
    assert recognise(tmp_path / "run") == "NeuralHydrology"
    assert loaded.source == tmp_path / "run"
    assert list(loaded) == ["lstm"]
    assert (loaded.features, loaded.static) == (FEATURES, ("Area", "karst", "slope"))
    assert loaded.scaling.center == {name: 10.0 + k for k, name in enumerate(FEATURES)} | {"flow": 10.0}
    assert loaded.scaling.spread == {name: 2.0 + k for k, name in enumerate(FEATURES)} | {"flow": 2.0}
    assert (loaded.embedding, loaded.head.activation, loaded.step, loaded.notes) == (None, "softplus", "1D", ())
    torch.manual_seed(9)
    theirs = CudaLSTM(len(FEATURES))
    x = np.random.default_rng(0).normal(size=(30, len(FEATURES))).astype(np.float32)
    h = tallycell.record_trace(loaded.lstm, x)["h"].isel(layer=0, direction=0, sequence=0).transpose("time", "unit")
    with torch.no_grad():
        expected, flow = theirs(torch.from_numpy(x)[:, None])
    # Two runtimes in float32.
    np.testing.assert_allclose(h, expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(h.to_numpy() @ loaded.head.weight.T + loaded.head.bias, flow[:, 0], atol=1e-5)


def test_the_newest_epoch_counts_by_number_not_by_name(tmp_path):
    folder = write_run(tmp_path / "run", epochs=(999, 1000))
    (folder / "optimizer_state_epoch020.pt").touch()
    torch.manual_seed(1000)
    expected = CudaLSTM(len(FEATURES)).lstm.weight_hh_l0.detach().numpy()
    np.testing.assert_array_equal(load(folder).lstm.weights["weight_hh_l0"], expected)


def test_the_cell_of_a_customlstm_goes_by_its_own_names(tmp_path):
    cell = nn.LSTMCell(len(FEATURES), 4)
    model = nn.Module()
    model.cell = nn.Module()
    for name, weight in cell.named_parameters():
        setattr(model.cell, name.replace("weight", "w").replace("bias", "b"), weight)
    loaded = load(write_run(tmp_path / "run", {"model": "customlstm"}, model=model))
    assert list(loaded) == ["cell"]
    assert loaded.places["cell"].operator == "LSTMCell"
    assert loaded.features == FEATURES
    x = torch.randn(1, len(FEATURES))
    trace = tallycell.record_trace(loaded.lstm, x.numpy())
    np.testing.assert_allclose(trace["c"].to_numpy().ravel(), cell(x)[1].detach().numpy().ravel(), atol=1e-6)


def test_keys_of_older_versions_mean_the_same(tmp_path):
    older = {"static_attributes": None, "camels_attributes": ["slope", "Area"], "evolving_attributes": None,
             "static_inputs": ["year", "lake"]}  # fmt: skip
    scaler = scaler_of()
    names = {"attribute_means": "camels_attr_means", "attribute_stds": "camels_attr_stds",
             "xarray_feature_scale": "xarray_stds", "xarray_feature_center": "xarray_means"}  # fmt: skip
    loaded = load(write_run(tmp_path / "run", older, scaler={names[key]: one for key, one in scaler.items()}))
    assert loaded.features == FEATURES
    assert loaded.scaling.center["slope"] == 14.0


def test_inputs_in_groups_are_named_one_after_the_other(tmp_path):
    loaded = load(write_run(tmp_path / "run", {"dynamic_inputs": [["snow"], ["rain"]]}))
    assert loaded.features == FEATURES


@pytest.mark.parametrize(
    ("config", "step"),
    [
        ({"use_frequencies": ["1H"]}, "1h"),
        ({"use_frequencies": ["3h"]}, "3h"),
        ({"use_frequencies": "D"}, "1D"),
        ({"dynamic_inputs": {"15T": ["snow", "rain"]}}, "15min"),
        ({"use_frequencies": ["1D", "1h"]}, None),
        ({"use_frequencies": ["every day"]}, None),
        ({"dataset": "hourly_camels_us"}, "1h"),
        ({"dataset": "generic"}, None),
        ({"dataset": None}, None),
    ],
)
def test_a_step_is_as_long_as_the_config_says(tmp_path, config, step):
    assert load(write_run(tmp_path / "run", config)).step == step


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"statics_embedding": {"type": "fc", "hiddens": [3]}},
            "the static attributes go through a network of their own",
        ),
        ({"dynamics_embedding": {"hiddens": [3]}}, "the dynamic inputs go through a network of their own first"),
        ({"model": "embcudalstm", "embedding_hiddens": [3]}, "the attributes go through a network of their own first"),
        ({"use_basin_id_encoding": True}, "a code of the basin stands among them"),
        ({"nan_handling_method": "masked_mean"}, "gaps in the inputs are filled by a layer in front"),
        ({"model": "arlstm"}, "the model 'arlstm' arranges its inputs in its own way"),
        ({"model": "mtslstm"}, "the model 'mtslstm' arranges its inputs in its own way"),
        ({"dynamic_inputs": {"1D": ["rain"], "1h": ["rain"]}}, "the run has inputs of several frequencies"),
        ({"head": "umal"}, "a number that the head draws stands among them"),
    ],
)
def test_what_stands_between_inputs_and_lstm_leaves_them_without_names(tmp_path, config, reason):
    loaded = load(write_run(tmp_path / "run", config))
    assert (loaded.features, loaded.static) == (None, ())
    assert loaded.notes == (loaded.notes[0],)
    assert f"what the LSTM reads has no names: {reason}" in loaded.notes[0]
    assert loaded.scaling.center["rain"] == 11.0  # of all that the scaler names
    assert (loaded.head is None) == (config.get("head") == "umal")


def test_the_old_cudalstm_passed_over_its_embedding(tmp_path):
    assert load(write_run(tmp_path / "run", {"embedding_hiddens": [3]})).features == FEATURES


def test_a_scaler_in_a_pickle_stays_closed(tmp_path):
    folder = write_run(tmp_path / "run", scaler=None)

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "opened"),)

    (folder / "train_data/train_data_scaler.p").write_bytes(pickle.dumps(Trap()))
    loaded = load(folder)
    assert loaded.scaling is None
    assert loaded.features == FEATURES
    assert "train_data_scaler.p is a pickle, and opening it would run code from the file" in loaded.notes[0]
    assert not (tmp_path / "opened").exists()


def test_a_run_without_a_scaler_says_so(tmp_path):
    loaded = load(write_run(tmp_path / "run", scaler=None))
    assert loaded.notes == ("how the inputs were scaled is not known: there is no train_data/train_data_scaler.yml",)


# ---- what is refused


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"model": "ealstm"}, "is a run of the model ealstm, whose input gate is computed once"),
        ({"model": "MCLSTM"}, "is a run of the model mclstm, which moves mass between its cells"),
        ({"model": None}, "has None as its model; expected its name, such as model: cudalstm"),
        ({"model": ["a"]}, "has a list as its model"),
        ({"dynamic_inputs": None}, "names no dynamic_inputs; expected the columns that the run was trained on"),
        ({"dynamic_inputs": {}}, "names no dynamic_inputs"),
        ({"dynamic_inputs": ["snow"]}, "names 6 inputs ('snow', 'Area', 'karst', 'slope', 'year', 'lake') and the LSTM "
                                       "reads 7; expected the config of the run that wrote the weights"),
        ({"dynamic_inputs": ["snow", False]}, "has False among its dynamic_inputs; expected names of columns"),
        ({"static_attributes": {"a": 1}}, "has a dict among its static_attributes"),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_is_one_line(tmp_path, config, text):
    assert text in error_of(write_run(tmp_path / "run", config))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("- a\n- b", "holds a YAML list, expected a mapping, as in the config.yml of a run of NeuralHydrology"),
        ("", "holds a YAML NoneType, expected a mapping"),
        ("a: [1", "cannot be read as YAML: "),
        ("a: " + 60 * "[" + 60 * "]", "cannot be read as YAML: it is nested too deeply"),
        ("a: &a {b: 1}\nc:\n  <<: *a", "it has a merge key (<<); write the keys out"),
        ("model: !!python/object/apply:os.getcwd []", "could not determine a constructor for the tag"),
        ("a: 2001-99-99", "month must be in 1..12"),
        ("? [a]\n: 1", "cannot be read as YAML: "),
        ("a: " + "9" * 5000, "cannot be read as YAML: "),
        ("a: b\n" * 30_000, "has 150000 bytes; expected the config.yml of a run of NeuralHydrology, of at most 131072"),
    ],
)
def test_a_config_that_is_no_plain_mapping_is_one_line(tmp_path, content, text):
    folder = write_run(tmp_path / "run")
    (folder / "config.yml").write_text(content)
    assert text in error_of(folder)


def test_a_missing_part_is_named(tmp_path):
    without = write_run(tmp_path / "without", epochs=())
    assert "is a run folder of NeuralHydrology without weights; put a model_epochNNN.pt of the run" in error_of(without)
    folder = write_run(tmp_path / "run")
    (folder / "config.yml").unlink()
    assert recognise(folder) == "NeuralHydrology"
    assert f"there is no file {folder / 'config.yml'}; give the path of the config.yml of a run" in error_of(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    assert recognise(folder) == "raw tensors"
    assert "or a run folder of NeuralHydrology, with its config.yml" in error_of(folder)
    (folder / "config.yml").write_text("a: 1")
    (folder / "manifest.json").write_text("{}")
    assert recognise(folder) == "raw tensors"


def test_weights_that_are_none_are_one_line(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "model_epoch012.pt").mkdir()
    assert "model_epoch012.pt is a directory; give the file inside it" in error_of(folder)
    (folder / "model_epoch012.pt").rmdir()
    torch.save([1, 2], folder / "model_epoch010.pt")
    assert "model_epoch010.pt holds a list, expected a state_dict" in error_of(folder)
    torch.save(
        {"gru.weight_ih_l0": torch.zeros(12, 3), "gru.weight_hh_l0": torch.zeros(12, 4)}, folder / "model_epoch011.pt"
    )
    assert "model_epoch011.pt holds no LSTM" in error_of(folder)


def without(scaler: dict, name: str) -> dict:
    scaler["xarray_feature_scale"]["data_vars"].pop(name)
    return scaler


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda one: without(one, "rain"), "has no center and scale for 'rain', which the config names; expected the "
                                           "scaler that the run wrote, it has them for 'Area', 'flow', "),
        (lambda one: one | {"attribute_means": [1]}, "attribute_means is a list; expected a mapping by name"),
        (lambda one: one | {"xarray_feature_scale": {"data_vars": 3}}, "data_vars of xarray_feature_scale is 3"),
        (lambda one: one | {"attribute_stds": {"slope": "steep"}}, "has 'steep' for 'slope'; expected a number"),
        (lambda one: one | {"attribute_stds": {"slope": True}}, "has True for 'slope'; expected a number under a name"),
        (lambda one: one | {"attribute_stds": {"slope": 10**400}}, "expected a number under a name"),
        (lambda one: one | {"attribute_stds": {"Area": 0.0, "karst": 1, "slope": 1}}, "the scaling of 'Area' is "),
        (lambda one: one | {"attribute_means": {"Area": np.inf, "karst": 1, "slope": 1}}, "has inf for 'Area'; "),
        (lambda one: one | {"attribute_means": {"Area": np.nan, "karst": 1, "slope": 1}}, "expected finite numbers"),
    ],
)  # fmt: skip
def test_a_scaler_that_does_not_fit_is_one_line(tmp_path, change, text):
    assert text in error_of(write_run(tmp_path / "run", scaler=change(scaler_of())))


def test_names_that_do_harm_do_not_get_through(tmp_path, run):
    nasty = "\x1b[2Jrain"
    scaler = yaml.safe_load(yaml.safe_dump(scaler_of()).replace("rain", "evil"))
    for key in ("xarray_feature_scale", "xarray_feature_center"):
        scaler[key]["data_vars"][nasty] = scaler[key]["data_vars"].pop("evil")
    folder = write_run(tmp_path / "run", {"dynamic_inputs": ["snow", nasty]}, scaler=scaler)
    assert load(folder).features[1] == nasty
    _, out, err = run("inspect", folder)
    assert "\x1b" not in out + err
    assert "features: snow, \\x1b[2Jrain" in out
    assert "\x1b" not in load(folder)._repr_html_()


def test_bits_that_are_turned_make_a_result_or_one_line(tmp_path):
    folder = write_run(tmp_path / "run")
    for name in ("config.yml", "train_data/train_data_scaler.yml"):
        whole = (folder / name).read_bytes()
        for damaged in flipped(whole, 40):
            (folder / name).write_bytes(damaged)
            result = load_or_line(folder)
            assert not isinstance(result, str) or result.isprintable()
        (folder / name).write_bytes(whole)


def test_a_loaded_run_comes_back_from_a_pickle_of_ours(tmp_path):
    loaded = load(write_run(tmp_path / "run"))
    twin = pickle.loads(pickle.dumps(loaded))
    assert (twin.features, twin.static, twin.step, twin.notes) == (FEATURES, loaded.static, "1D", ())
    assert twin.scaling.center == loaded.scaling.center
