"""Scalings and initial states from files, in the forms in which people have them."""

import json
import pickle

import numpy as np
import pytest
import xarray as xr
import yaml

import tallycell as tc
from tallycell.errors import FormatError, InputError
from tallycell.opening.scale_file import read_scale
from tallycell.opening.state_file import read_state

MEAN, STD = {"rain": 1.5, "snow": -3.0}, {"rain": 2.0, "snow": 0.25}


def refused(call, *parts, error=InputError):
    with pytest.raises(error) as raised:
        call()
    for part in parts:
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


# ---- scalings --------------------------------------------------------------------------------------------------------


def hydrology():
    """NeuralHydrology's scaler: two datasets, as xarray writes them into a dictionary."""
    center, spread = (xr.Dataset({name: ((), value) for name, value in values.items()}) for values in (MEAN, STD))
    attributes = {"attribute_means": {"height": 700.0}, "attribute_stds": {"height": 800.0}}
    return {"xarray_feature_center": center.to_dict(), "xarray_feature_scale": spread.to_dict(), **attributes}


LISTS = {"mean": list(MEAN.values()), "std": list(STD.values())}
SCALER = {"mean_": LISTS["mean"], "scale_": LISTS["std"], "var_": [4.0, 0.0625], "feature_names_in_": list(MEAN)}
FORMS = {
    "by name": {name: {"mean": MEAN[name], "std": STD[name]} for name in MEAN},
    "by kind": {"mean": MEAN, "std": STD},
    "center and spread": {"center": MEAN, "spread": STD},
    "lists of features": LISTS | {"features": list(MEAN)},
    "lists of columns": LISTS | {"columns": list(MEAN)},
    "scikit-learn": SCALER,
    "NeuralHydrology": hydrology(),
}


@pytest.mark.parametrize("suffix", [".json", ".yml", ".yaml"])
@pytest.mark.parametrize("form", FORMS)
def test_a_scaling_is_read_in_each_form(tmp_path, form, suffix):
    path = tmp_path / f"scale{suffix}"
    path.write_text(json.dumps(FORMS[form]) if suffix == ".json" else yaml.safe_dump(FORMS[form]), encoding="utf-8")
    scaling = read_scale(path)
    assert {name: scaling.center[name] for name in MEAN} == MEAN
    assert {name: scaling.spread[name] for name in STD} == STD
    others = {"height": 700.0} if form == "NeuralHydrology" else {}
    assert dict(scaling.center) == MEAN | others


BAD = {
    "no mapping": ([1, 2], "holds [1, 2]; expected a mean and a std for each name"),
    "nothing": ({}, "holds {}; expected a mean and a std"),
    "only means": ({"mean": MEAN}, "for 'mean'; expected a mean and a std for each name"),
    "only means of a name": ({"rain": {"mean": 1.0}}, "holds {'mean': 1.0} for 'rain'; expected"),
    "a name without std": ({"mean": MEAN, "std": {"rain": 2.0}}, "only one of center and spread for 'snow'"),
    "lists without names": (LISTS, 'has lists of numbers and no names for them; add "features"'),
    "a short list": (LISTS | {"features": ["rain"]}, "has 2 numbers for the 1 names 'rain'; give one number each"),
    "a name twice": (LISTS | {"features": ["rain", "rain"]}, "has a name twice among 'rain', 'rain'"),
    "one number": ({"mean": 1.0, "std": 2.0, "features": ["rain"]}, "has 1.0 for the 1 names 'rain'"),
    "words": ({"mean": MEAN, "std": {"rain": "2", "snow": 1.0}}, "holds '2' for 'rain'; expected a number"),
    "yes": ({"mean": MEAN, "std": {"rain": True, "snow": 1.0}}, "holds True for 'rain'; expected a number"),
    "huge": ({"mean": MEAN, "std": {"rain": 10**400, "snow": 1.0}}, "for 'rain'; expected a number below 1e308"),
    "zero": (
        {"mean": MEAN, "std": {"rain": 0, "snow": 1.0}},
        "the scaling of 'rain' is center 1.5, spread 0; expected",
    ),
    "NaN": ({"mean": {"rain": float("nan")}, "std": {"rain": 1.0}}, "the scaling of 'rain' is center nan"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_scaling_is_refused(tmp_path, name):
    content, text = BAD[name]
    (tmp_path / "scale.json").write_text(json.dumps(content))
    refused(lambda: read_scale(tmp_path / "scale.json"), text)


def test_files_that_are_no_scaling_are_refused(tmp_path):
    refused(lambda: read_scale(tmp_path / "none.yml"), "there is no file", "give the path of a scaling")
    refused(lambda: read_scale(tmp_path / "x.csv"), "expected a name ending in .json, .yml, .yaml")
    bad = {
        "a.json": ("{", "cannot be read as JSON"),
        "a.yml": ("a: [", "cannot be read as YAML"),
        "object.yml": ("!!python/object/apply:os.getcwd []", "cannot be read as YAML: could not determine a constr"),
        "day.yml": ("a: 2001-99-99", "cannot be read as YAML"),
        "deep.yml": ("[" * 5000, "cannot be read as YAML: it is nested too deeply"),
        "key.yml": ("? [a]\n: 1", "cannot be read as YAML"),
        "large.yml": (" " * 5 * 10**6, "has 5000000 bytes; expected a scaling, of at most 131072"),
        "merge.yml": ("a: &a {x: 1}\nb: {<<: *a}", "cannot be read as YAML: it has a merge key (<<)"),  # these multiply
        "half.json": ('{"xarray_feature_center": {}}', "xarray_feature_center has no data_vars; expected a dataset"),
    }
    for name, (content, text) in bad.items():
        (tmp_path / name).write_text(content)
        refused(lambda name=name: read_scale(tmp_path / name), name, text, error=FormatError)


def test_the_scaler_of_a_real_run(third_party):
    found = sorted((third_party / "models").glob("neuralhydrology-run/*/train_data/train_data_scaler.yml"))
    if not found:
        pytest.skip("no run of NeuralHydrology there")
    content = yaml.safe_load(found[0].read_text())
    scaling = read_scale(found[0])
    center, spread = (xr.Dataset.from_dict(content[f"xarray_feature_{kind}"]) for kind in ("center", "scale"))
    assert {name: (scaling.center[name], scaling.spread[name]) for name in center} == {
        name: (center[name].item(), spread[name].item()) for name in center
    }
    assert scaling.center["elev_mean"] == content["attribute_means"]["elev_mean"]


# ---- states ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("h_0", "c_0"), ("h0", "c0"), ("h", "c")])
def test_states_are_those_with_which_the_trace_begins(tmp_path, names):
    h_0, c_0 = np.array([[0.5]]), np.array([[-2.0]])
    np.savez(tmp_path / "state.npz", **dict(zip(names, (h_0, c_0), strict=True)), other=np.zeros(3))
    state = read_state(tmp_path / "state.npz")
    np.testing.assert_array_equal(state, (h_0, c_0))
    lstm = tc.LSTMParameters({"weight_ih_l0": np.ones((4, 2)), "weight_hh_l0": np.ones((4, 1))})
    trace = tc.record_trace(lstm, np.ones((3, 2)), state=state)
    assert (trace.h_0.item(), trace.c_0.item()) == (0.5, -2.0)


STATES = {
    "no c_0": (dict(h_0=np.zeros((1, 2))), "holds the arrays 'h_0'; expected the states h_0 and c_0"),
    "flat": (dict(h_0=np.zeros(2), c_0=np.zeros(2)), "'h_0' has shape (2,); expected (layer * direction, unit) or"),
    "layers": (
        dict(h_0=np.zeros((1, 2)), c_0=np.zeros((2, 2))),
        "'h_0' has shape (1, 2), 'c_0' (2, 2); expected states",
    ),
    "sequences": (dict(h=np.zeros((1, 2)), c=np.zeros((1, 3, 2))), "'h' has shape (1, 2), 'c' (1, 3, 2)"),
    "NaN": (dict(h_0=np.zeros((1, 2)), c_0=np.full((1, 2), np.nan)), "'c_0' has values that are not finite numbers"),
    "words": (dict(h_0=np.full((1, 2), "a"), c_0=np.zeros((1, 2))), "'h_0' has values that are not finite numbers"),
}


@pytest.mark.parametrize("name", STATES)
def test_what_is_no_state_is_refused(tmp_path, name):
    arrays, text = STATES[name]
    np.savez(tmp_path / "state.npz", **arrays)
    refused(lambda: read_state(tmp_path / "state.npz"), "state.npz", text)


class Trap:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def test_files_that_are_no_states_are_refused(tmp_path):
    refused(lambda: read_state(tmp_path / "none.npz"), "there is no file", "an npz with h_0 and c_0")
    (tmp_path / "x.npz").write_bytes(b"PK not a zip")
    refused(lambda: read_state(tmp_path / "x.npz"), "cannot be read as NumPy's", error=FormatError)
    np.savez(tmp_path / "pickle.npz", h_0=np.array([Trap()]), c_0=np.zeros((1, 1)))
    refused(lambda: read_state(tmp_path / "pickle.npz"), "'h_0' is a pickle, which is not opened", error=FormatError)
    (tmp_path / "pickled.npz").write_bytes(pickle.dumps(Trap()))
    refused(lambda: read_state(tmp_path / "pickled.npz"), "cannot be read as NumPy's", error=FormatError)
    np.save(tmp_path / "one.npz.npy", np.zeros(3))
    refused(lambda: read_state(tmp_path / "one.npz.npy"), "cannot be read as NumPy's", error=FormatError)
