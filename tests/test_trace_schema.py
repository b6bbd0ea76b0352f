"""The schema: what record_trace writes passes, each kind of fault is named, activations survive as attributes."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from tallycell.activations import Activation, activation, activation_names
from tallycell.errors import ActivationError, TraceError
from tallycell.parameters import Activations, LSTMParameters
from tallycell.trace import Record, activations_of, record_trace, validate_trace
from tallycell.trace.schema import ALWAYS, LONG_NAMES, RECORDED, upgraded, whole

TIME, SEQUENCES, FEATURES, UNITS = 5, 3, 2, 4
EVERYTHING = Record((*"ifgoch", "i_pre", "f_pre", "g_pre", "o_pre", "x"))


def parameters(dtype="float64", *, directions=2, projection=0, scale=1.0, **options):
    rng = np.random.default_rng(0)
    hidden = projection or UNITS
    shapes = {"weight_ih": (4 * UNITS, FEATURES), "weight_hh": (4 * UNITS, hidden)}
    shapes |= {"weight_hr": (projection, UNITS)} if projection else {}
    weights = {
        f"{kind}_l0{suffix}": (rng.normal(size=shape) * scale).astype(dtype)
        for suffix in ("", "_reverse")[:directions]
        for kind, shape in shapes.items()
    }
    return LSTMParameters(weights, **options)


def make_trace(lengths=(5, 2, 4), **options):
    x = np.random.default_rng(1).normal(size=(TIME, SEQUENCES, FEATURES))
    return record_trace(parameters(**options), x, lengths=lengths, record=EVERYTHING)


def with_value(name, value, **where):
    trace = make_trace()
    trace[name].loc[where] = value
    return trace


def with_attrs(**attrs):
    trace = make_trace().assign_attrs(attrs)
    trace.attrs = {name: value for name, value in trace.attrs.items() if value is not None}
    return trace


@pytest.mark.parametrize("forget_gate", ["own", "coupled", "none"])
@pytest.mark.parametrize("name", activation_names())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_activation_in_every_slot_gives_a_valid_trace(name, forget_gate, dtype):
    # Gates driven to their limits: rounding must not put them outside their range.
    slots = Activations(activation(name), activation(name), activation(name))
    options = {"activations": slots, "forget_gate": forget_gate, "clip_cell": 3.0, "clip_pre": 50.0}
    validate_trace(make_trace(dtype=dtype, scale=100.0, **options))


def test_dimensions_go_by_name_and_any_recorded_variable_may_be_absent():
    trace = make_trace(projection=3)
    validate_trace(trace.transpose("time", ...))
    for name in RECORDED:
        validate_trace(trace.drop_vars(name))
    validate_trace(trace.isel(sequence=[2], time=[1, 4], unit=[3, 1], direction=[1]))
    validate_trace(trace.assign(note=("time", np.zeros(TIME, int))))


FAULTS = [
    (lambda: xr.Dataset(), "the dataset has no attribute schema_version, so it is not a trace; record_trace makes one"),
    (lambda: with_attrs(schema_version="3"), "the trace has schema_version '3', this tallycell reads '2'; use the"),
    (lambda: with_attrs(activations=None), "the trace has no attribute activations; the schema requires it"),
    (lambda: with_attrs(forget_gate=None, tallycell_version=None), "has no attribute tallycell_version, forget_gate"),
    (lambda: with_attrs(forget_gate="open"), "attribute forget_gate is 'open'; it is one of 'own', 'coupled', 'none'"),
    (lambda: with_attrs(clip_cell=-1.0), "attribute clip_cell is -1.0; expected a positive number, or no such"),
    (lambda: with_attrs(clip_pre="much"), "attribute clip_pre is 'much'; expected a positive number"),
    (lambda: with_attrs(activations="sigmoid"), "attribute activations of the trace is 'sigmoid'; expected JSON"),
    (lambda: with_attrs(activations="[{}, {}]"), "attribute activations of the trace is not as the schema says"),
    (lambda: with_attrs(activations="[]"), "the trace has activations for 0 directions, counted from 0; got 0"),
    (lambda: with_attrs(holds="[1]"), "attribute holds of the trace is not as the schema says"),
    (lambda: make_trace().drop_vars(["c_0", "length"]), "the trace has no variable c_0, length; the schema"),
    (lambda: make_trace().isel(layer=0), r"variable i has dimensions \(direction, sequence, time, unit\), expected "
                                         r"\(layer, direction, sequence, time, unit\) in any order"),
    (lambda: make_trace().rename(unit="neuron"), r"variable i has dimensions \(layer, direction, sequence, time, neur"),
    (lambda: make_trace(projection=3).drop_dims("unit").merge(make_trace()[["c_0"]]).assign(h=make_trace().h),
     r"variable h has dimensions \(.*unit\), expected \(layer, direction, sequence, time, projection\)"),
    (lambda: make_trace().assign(x=make_trace().c), r"variable x has .* expected \(sequence, time, feature\)"),
    (lambda: make_trace(None).astype("int64"), "variable i has dtype int64, expected float32 or float64"),
    (lambda: make_trace().astype("float64", keep_attrs=True), "variable length has dtype float64, expected int64"),
    (lambda: make_trace().assign(c=make_trace().c.drop_attrs()), "variable c has no attribute long_name and no units"),
    (lambda: make_trace().drop_vars("time"), "dimension time has no coordinate; the schema requires one"),
    (lambda: make_trace().isel(unit=[]), "dimension unit is empty; a trace has at least one of each"),
    (lambda: make_trace().assign_coords(unit=[0.0, 1.0, 2.0, 3.5]),
     r"coordinate unit has the values \[0.0, 1.0, 2.0, 3.5\]; expected integers, each once"),
    (lambda: make_trace().isel(unit=[1, 1]), r"coordinate unit has the values \[1, 1\]; expected integers, each once"),
    (lambda: make_trace().isel(time=[2, 0]), r"coordinate step has the values \[2, 0\]; expected integers from 0, ris"),
    (lambda: make_trace().drop_vars("step"), "dimension time has no coordinate step beside it; the schema requires o"),
    (lambda: make_trace().assign_coords(direction=["left", "right"]),
     r"coordinate direction has the values \['left', 'right'\]; expected forward and reverse"),
    (lambda: make_trace(directions=1).assign_coords(direction=["reverse"]), "activations for 1 directions, .* got 1"),
    (lambda: with_value("length", -1, sequence=1), r"variable length has the values \[5, -1, 4\]; expected at least 0"),
    (lambda: with_value("o", 1.001, layer=0, direction="reverse", sequence=2, time=3, unit=1),
     "variable o is 1.001 at layer 0, direction reverse, sequence 2, time 3, unit 1, outside its range from 0 to 1"),
    (lambda: with_value("g", -2, sequence=0, time=0), "variable g is -2 at .*, outside its range from -1 to 1"),
    (lambda: with_value("c", np.nan, layer=0, direction="forward", sequence=0, time=4, unit=0),
     "variable c is nan at layer 0, direction forward, sequence 0, time 4, unit 0, inside its sequence, where it must"),
    (lambda: with_value("i_pre", 0, sequence=1, time=2, unit=0),
     "variable i_pre is 0 at .* sequence 1, time 2, unit 0, beyond the length of its sequence, where it must be NaN"),
    (lambda: with_value("x", 0.5, sequence=1, time=4), "variable x is 0.5 at sequence 1, time 4, feature 0, beyond"),
    (lambda: with_value("length", 3, sequence=1), "variable i is nan at .* sequence 1, time 2, unit 0, inside its seq"),
    (lambda: with_value("h_0", np.nan, unit=2), "variable h_0 is nan at .* unit 2, inside its sequence"),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "text"), FAULTS)
def test_each_kind_of_fault_is_named_in_one_line(broken, text):
    with pytest.raises(TraceError, match=text) as caught:
        validate_trace(broken())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gate_may_leave_its_range_by_rounding_only(dtype):
    trace, eps = make_trace(dtype=dtype), np.finfo(dtype).eps
    trace.o[0, 0, 0, 0, 0], trace.o[0, 0, 0, 1, 0] = 1 + 4 * eps, -4 * eps
    validate_trace(trace)
    for beyond in (1 + 32 * eps, -32 * eps):
        trace.o[0, 0, 0, 0, 0] = beyond
        with pytest.raises(TraceError, match="outside its range from 0 to 1"):
            validate_trace(trace)


def test_attributes_are_checked_where_values_are_not():
    with pytest.raises(TraceError, match="the trace has activations for 0 directions, counted from 0; got 0"):
        validate_trace(make_trace().chunk().assign_attrs(activations="[]"))


def test_a_full_trace_with_nan_inside_is_refused():
    # Without padding the check takes a shorter way.
    trace = make_trace(lengths=None)
    validate_trace(trace)
    trace.h[0, 1, 2, 3, 0] = np.nan
    with pytest.raises(TraceError, match=r"variable h is nan at .* sequence 2, time 3, unit 0, inside its sequence"):
        validate_trace(trace)


def test_a_coupled_or_absent_forget_gate_has_its_own_range():
    # softsign lies in (-1, 1), so f = 1 - i lies in (0, 2).
    slots = Activations(gate=activation("softsign"))
    coupled = make_trace(forget_gate="coupled", activations=slots, scale=9.0)
    assert coupled.f.max() > 1.5
    validate_trace(coupled)
    coupled.f[0, 0, 0, 0, 0] = 2.1
    with pytest.raises(TraceError, match=r"variable f is 2.1 at .* outside its range from 0 to 2"):
        validate_trace(coupled)
    absent = make_trace(forget_gate="none")
    absent.f[0, 0, 0, 0, 0] = 0.5
    with pytest.raises(TraceError, match=r"variable f is 0.5 at .* outside its range from 1 to 1"):
        validate_trace(absent)


def test_values_behind_dask_are_not_computed():
    def explode(block):
        pytest.fail("a value was computed")

    trace = make_trace()
    lazy = trace.assign({name: trace[name].chunk() for name in RECORDED})
    lazy = lazy.assign({name: xr.apply_ufunc(explode, lazy[name], dask="parallelized", output_dtypes=[float],
                                             keep_attrs=True) for name in RECORDED})  # fmt: skip
    validate_trace(lazy)


@pytest.mark.parametrize("name", activation_names())
def test_activations_are_rebuilt_from_attributes(name):
    slots = (Activations(hidden=activation(name)), Activations(gate=activation(name), cell=activation(name)))
    trace = make_trace(activations=slots)
    for direction, expected in enumerate(slots):
        assert activations_of(trace, direction) == expected


@given(st.floats(0.01, 5), st.floats(-5, 5))
def test_constants_survive_exactly(alpha, beta):
    slots = Activations(
        activation("hard_sigmoid", alpha=alpha, beta=beta), activation("affine", alpha=alpha, beta=beta)
    )
    trace = record_trace(parameters(directions=1, activations=slots), np.zeros((1, FEATURES)))
    assert activations_of(trace, 0) == slots


def test_attributes_are_strict_json():
    def refuse(word):
        pytest.fail(f"{word} is not strict JSON")

    trace = make_trace(activations=Activations(activation("relu"), activation("sine"), activation("identity")))
    (forward, reverse) = json.loads(trace.attrs["activations"], parse_constant=refuse)
    assert forward == reverse
    assert forward["gate"] == {"name": "relu", "constants": {}, "range": [0.0, "inf"], "left": 0.0, "right": "inf"}
    assert forward["cell"]["left"] == "nan"
    assert forward["hidden"]["range"] == ["-inf", "inf"]


def test_an_activation_unknown_here_keeps_range_and_limits_and_refuses_values():
    mine = Activation("step_of_mine", np.tanh, lambda x, y: 1 - y * y, (-1.0, 1.0), left=-1.0, right=math.nan)
    silent = Activation("silent", np.sin, lambda x, y: np.cos(x))
    trace = make_trace(activations=Activations(cell=mine, hidden=silent))
    validate_trace(trace)
    found = activations_of(trace, 1)
    assert (found.cell.name, found.cell.range, found.cell.left) == ("step_of_mine", (-1.0, 1.0), -1.0)
    assert math.isnan(found.cell.right)
    assert found.hidden.range == (-math.inf, math.inf)
    assert found.cell.saturated_left(np.array([-0.9, 0.9])).tolist() == [True, False]
    with pytest.raises(ActivationError, match="knows range and limits of activation 'step_of_mine' but not its values"):
        found.cell(np.zeros(2))
    with pytest.raises(ActivationError, match="register_activation it in this process"):
        found.cell.derivative(np.zeros(2), np.zeros(2))
    with pytest.raises(ActivationError, match="does not state its left and right limit"):
        found.hidden.require_limits()


def test_an_activation_that_means_something_else_here_is_not_taken_for_the_traces():
    other = Activation("tanh", lambda x: 2 * np.tanh(x), lambda x, y: 2 - y * y / 2, (-2.0, 2.0), -2.0, 2.0)
    found = activations_of(make_trace(activations=Activations(cell=other)), 0)
    assert found.cell.range == (-2.0, 2.0)
    with pytest.raises(ActivationError, match="not its values"):
        found.cell(np.zeros(2))


@pytest.mark.parametrize("direction", [-1, 2])
def test_a_direction_that_is_not_there_is_refused(direction):
    with pytest.raises(TraceError, match=f"activations for 2 directions, counted from 0; got {direction}"):
        activations_of(make_trace(), direction)


def test_the_written_schema_names_every_variable_attribute_and_version():
    text = (Path(__file__).parent.parent / "docs" / "schema.md").read_text(encoding="utf-8")
    trace = make_trace(projection=3, clip_pre=5.0, clip_cell=3.0)
    assert f"version {trace.attrs['schema_version']}" in text
    for name in (*RECORDED, *ALWAYS, *trace.dims, *trace.attrs, "holds", "step"):
        assert f"`{name}`" in text, name
    for name in (*RECORDED, *ALWAYS):
        assert LONG_NAMES[name] in text


def test_the_example_of_the_written_schema_runs(tmp_path, monkeypatch):
    text = (Path(__file__).parent.parent / "docs" / "schema.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(example, names)
    assert names["trace"].length.values.tolist() == [5, 3]
    assert (tmp_path / "trace.zarr" / "zarr.json").is_file()


def test_a_trace_of_version_1_is_read_as_one_of_this_version():
    days = np.array(["2001-03-01", "2001-03-02", "2001-03-03"], "datetime64[ns]")
    x = xr.DataArray(np.ones((3, 2)), dims=("time", "feature"), coords={"time": days})
    new = record_trace(LSTMParameters({"weight_ih_l0": np.ones((4, 2)), "weight_hh_l0": np.zeros((4, 1))}), x)
    old = new.drop_vars(["time", "step"]).assign_coords(time=np.arange(3), input_time=("time", days))
    old = old.assign_attrs(schema_version="1")
    validate_trace(old)
    xr.testing.assert_identical(upgraded(old), new)
    without = upgraded(old.drop_vars("input_time"))
    assert without.time.values.tolist() == without.step.values.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "chosen", [{"sequence": 1}, {"layer": 0}, {"sequence": 0, "unit": 2}, {"direction": "reverse"}]
)
@pytest.mark.parametrize("projection", [0, 3])
def test_what_was_chosen_is_a_dimension_again(chosen, projection):
    trace = make_trace(projection=projection)
    validate_trace(whole(trace.sel(chosen)))
    lists = {dim: [label] for dim, label in chosen.items()}
    xr.testing.assert_equal(whole(trace.sel(chosen)), trace.sel(lists))
    assert whole(trace) is trace
