"""Holds inside ONNX models: against ONNX Runtime on the untouched model, and on models whose weights hold the gate."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tallycell as tc
from onnx_models import (
    FEATURES,
    HIDDEN,
    branching_model,
    graph_of,
    helper,
    lstm_node,
    model_of,
    onnx,
    operator_weights,
    plain_model,
    step_nodes,
    step_weights,
    torch_weights,
    value,
    write,
)
from tallycell.errors import InputError
from tallycell.loaders.onnx.held import HeldRun, run_with_holds
from tallycell.opening import read_wav
from tallycell.opening.front_end import Cutting, plan_front_end
from test_onnx_loader import quantised_model, unrolled

runtime = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-5  # two float32 programs, sums in another order
SOUND = Path(__file__).parent / "data" / "demo-abouttotry.wav"
ROWS = "iofg"  # ONNX's order of the gates
BEYOND = 1e6  # a pre-activation whose sigmoid is exactly 0 or 1


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def by_the_runtime(
    path: Path | bytes, calls: list[dict[str, Any]], carry: dict[str, str] | None = None
) -> dict[str, np.ndarray]:
    """Outputs of ONNX Runtime alone, call by call."""
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(path, options)
    names, carried, found = [one.name for one in session.get_outputs()], {}, []
    for one in calls:
        results = dict(zip(names, session.run(None, one | carried), strict=True))
        carried = {state: results[made] for state, made in (carry or {}).items()}
        found.append(results)
    return {name: np.stack([one[name] for one in found]) for name in names}


def assert_same_outputs(run: HeldRun, theirs: dict[str, np.ndarray]) -> None:
    assert run.outputs.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert run.outputs[name].shape == expected.shape
        assert (np.abs(run.outputs[name] - expected) <= TOLERANCE * np.maximum(1, np.abs(expected).max())).all()


def saturated(weights: dict[str, np.ndarray], gate: str, unit: int, to: int, directions: int = 1) -> dict[str, Any]:
    """Weights of the operator LSTM whose gate of a unit is at its end, whatever it reads."""
    changed = {name: w.copy() for name, w in weights.items()}
    for name in ("W", "R", "B"):
        for key in (one for one in changed if one.endswith(name)):
            hidden = changed[key].shape[1] // (8 if name == "B" else 4)
            row = ROWS.index(gate) * hidden + unit
            changed[key][:directions, row] = 0
            if name == "B":
                changed[key][:directions, row + 4 * hidden] = 0
                changed[key][:directions, row] = BEYOND if to else -BEYOND
    return changed


def around(direction: str = "forward", *, states: bool = False, lengths: bool = False) -> Callable[..., Any]:
    """Make a model around an LSTM: something in front of it, something behind, its states."""
    both = 2 if direction == "bidirectional" else 1

    def make(weights: dict[str, np.ndarray]) -> Any:
        inputs = ["seen", "W", "R", "B", "steps" if lengths else "", *(["h", "c"] if states else [])]
        nodes = [
            helper.make_node("Mul", ["x", "two"], ["seen"]),
            lstm_node(inputs=inputs, outputs=["all", "h_n", "c_n"], direction=direction),
            helper.make_node("ReduceSum", ["all", "last"], ["y"], keepdims=0),
        ]
        given = [value("x", "time", "sequence", FEATURES)]
        given += [value(name, both, "sequence", HIDDEN) for name in "hc" if states]
        given += [value("steps", "sequence", dtype=6)] if lengths else []
        constants = {"two": np.array(2, np.float32), "last": np.array([3])}
        return model_of(graph_of(nodes, given, ["y", "h_n", "c_n"], weights=weights | constants))

    return make


def stacked_weights(directions: int) -> dict[str, np.ndarray]:
    one = [operator_weights(torch_weights(k)) for k in range(directions)]
    return {name: np.concatenate([w[name] for w in one]) for name in "WRB"}


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("hold", [None, ("o", 0), ("f", 1), ("i", 0)])
def test_a_held_gate_gives_what_the_runtime_gives_where_its_weights_saturate_it(
    tmp_path, direction, states, lengths, hold
):
    both = 2 if direction == "bidirectional" else 1
    make, weights = around(direction, states=states, lengths=lengths), stacked_weights(both)
    feeds: dict[str, Any] = {"x": draw(6, 3, FEATURES)}
    feeds |= {name: draw(both, 3, HIDDEN, seed=k) for k, name in enumerate("hc") if states}
    feeds |= {"steps": np.array([6, 2, 4], np.int32)} if lengths else {}
    path = write(tmp_path, make(weights))
    before = path.read_bytes()
    if hold is None:
        run = run_with_holds(path, feeds)
        assert_same_outputs(run, by_the_runtime(path, [feeds]))
    else:
        run = run_with_holds(path, feeds, tc.Hold(hold[0], float(hold[1]), units=[1]))
        changed = make(saturated(weights, *((hold[0], 1, hold[1]))))
        assert_same_outputs(run, by_the_runtime(changed.SerializeToString(), [feeds]))
    assert path.read_bytes() == before
    assert list(run.lstms) == ["rnn"]


def test_both_directions_are_held_each_by_itself(tmp_path):
    make, weights = around("bidirectional"), stacked_weights(2)
    path, feeds = write(tmp_path, make(weights)), {"x": draw(6, 3, FEATURES)}
    run = run_with_holds(path, feeds, tc.Hold("o", 0.0, units=[1], direction="reverse"))
    changed = {name: w.copy() for name, w in weights.items()}
    only = saturated({name: w[1:] for name, w in weights.items()}, "o", 1, 0)
    changed = {name: np.concatenate([w[:1], only[name]]) for name, w in weights.items()}
    assert_same_outputs(run, by_the_runtime(make(changed).SerializeToString(), [feeds]))


@pytest.mark.parametrize("hold", [(), tc.Hold("c", 0.5, units=[0, 2]), tc.Hold("h", "mean"), tc.Hold("g", 1.0)])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_the_trace_under_the_holds_is_what_the_lstm_made(tmp_path, direction, hold):
    path = write(tmp_path, around(direction, lengths=True)(stacked_weights(2 if direction == "bidirectional" else 1)))
    one = run_with_holds(path, {"x": draw(6, 2, FEATURES), "steps": np.array([6, 4], np.int32)}, hold).lstms["rnn"]
    trace = tc.record_trace(tc.load(path)["rnn"], one.x, one.state, lengths=one.lengths, hold=hold)
    h = trace.h.isel(layer=0).transpose("time", "sequence", "direction", "unit").values.reshape(one.y.shape)
    assert np.array_equal(np.nan_to_num(h), one.y)


def chunks_of(x: np.ndarray, size: int, **start: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [{"x": x[k : k + size], **start} for k in range(0, len(x), size)]


CARRY = {"h": "h_n", "c": "c_n"}
ZEROS = {name: np.zeros((1, 2, HIDDEN), np.float32) for name in "hc"}


def test_steps_count_on_over_calls_that_follow_each_other(tmp_path):
    path, x = write(tmp_path, around(states=True)(stacked_weights(1))), draw(12, 2, FEATURES)
    patched = np.linspace(-1, 1, 5)
    holds = [tc.Hold("f", 0.0, units=[1], steps=[7]), tc.Hold("c", patched, units=[0], steps=slice(-5, None))]
    whole = run_with_holds(path, {"x": x, **ZEROS}, holds)
    in_calls = run_with_holds(path, chunks_of(x, 4, **ZEROS), holds, carry=CARRY)
    assert np.allclose(np.concatenate(in_calls.outputs["y"]), whole.outputs["y"][0], atol=TOLERANCE)
    assert np.array_equal(in_calls.lstms["rnn"].x, whole.lstms["rnn"].x)
    assert in_calls.lstms["rnn"].lengths is None
    assert not np.allclose(whole.outputs["y"], by_the_runtime(path, [{"x": x, **ZEROS}])["y"], atol=1e-3)


def test_a_call_that_starts_anew_is_a_sequence_whose_steps_count_from_0(tmp_path):
    path, x = write(tmp_path, around(states=True)(stacked_weights(1))), draw(12, 2, FEATURES)
    hold = tc.Hold("i", 0.0, steps=[1])
    run = run_with_holds(path, chunks_of(x, 4, **ZEROS), hold)
    assert run.lstms["rnn"].x.shape == (4, 6, FEATURES)
    for number, call in enumerate(chunks_of(x, 4, **ZEROS)):
        assert np.array_equal(run_with_holds(path, call, hold).outputs["y"][0], run.outputs["y"][number])


def test_a_hold_by_sequence_counts_those_of_all_calls_that_start_anew(tmp_path):
    path, x = write(tmp_path, around(states=True)(stacked_weights(1))), draw(12, 2, FEATURES)
    levels = np.linspace(-0.8, 0.8, 6)  # 3 calls of 2 sequences
    values = np.repeat(levels[:, np.newaxis], 4, axis=1)
    run = run_with_holds(path, chunks_of(x, 4, **ZEROS), tc.Hold("h", values, units=[1]))
    assert np.allclose(run.lstms["rnn"].y[..., 1], levels, atol=TOLERANCE)
    assert np.allclose(run.outputs["h_n"][:, 0, :, 1], levels.reshape(3, 2), atol=TOLERANCE)


def test_a_hold_may_differ_by_sequence(tmp_path):
    path, x = write(tmp_path, around(states=True)(stacked_weights(1))), draw(8, 2, FEATURES)
    values = np.array([[np.nan] * 8, [0.3] * 8])
    run = run_with_holds(path, chunks_of(x, 4, **ZEROS), tc.Hold("c", values, units=[1], steps=slice(8)), carry=CARRY)
    free = run_with_holds(path, chunks_of(x, 4, **ZEROS), carry=CARRY)
    held = run_with_holds(path, chunks_of(x, 4, **ZEROS), tc.Hold("c", 0.3, units=[1]), carry=CARRY)
    y, alone, every = (np.concatenate(one.outputs["y"]) for one in (run, free, held))  # (time, direction, sequence)
    assert np.allclose(y[:, :, 0], alone[:, :, 0], atol=TOLERANCE)
    assert np.allclose(y[:, :, 1], every[:, :, 1], atol=TOLERANCE)
    assert not np.allclose(alone, every, atol=1e-3)
    with pytest.raises(InputError, match="has values for 3 sequences, and 2 are held; give one for each"):
        run_with_holds(path, {"x": x, **ZEROS}, tc.Hold("c", np.zeros((3, 8)), units=[1]))


def test_the_mean_is_that_of_the_free_run_over_all_calls(tmp_path):
    path, x = write(tmp_path, around(states=True)(stacked_weights(1))), draw(12, 2, FEATURES)
    calls = chunks_of(x, 4, **ZEROS)
    tapped = tc.tap(path, calls, carry=CARRY)["rnn"]
    cells = tc.record_trace(tc.load(path)["rnn"], tapped.x, tapped.state).c.isel(layer=0, direction=0)
    mean = float(cells.sel(unit=2).mean(dtype="float64"))
    by_name = run_with_holds(path, calls, tc.Hold("c", "mean", units=[2]), carry=CARRY)
    by_number = run_with_holds(path, calls, tc.Hold("c", mean, units=[2]), carry=CARRY)
    assert np.array_equal(by_name.outputs["y"], by_number.outputs["y"])


def test_only_the_branch_that_is_taken_is_held(tmp_path):
    model, *_ = branching_model()
    path = write(tmp_path, model)
    feeds = {"x": draw(5, 2, FEATURES), "h": draw(1, 2, HIDDEN, seed=1), "c": draw(1, 2, HIDDEN, seed=2)}
    for which, side in ((True, "then"), (False, "else")):
        call = feeds | {"which": np.array(which)}
        assert_same_outputs(run_with_holds(path, call), by_the_runtime(path, [call]))
        run = run_with_holds(path, call, tc.Hold("o", 0.0, units=[0]))
        assert list(run.lstms) == [f"choice/{side}_branch/rnn"]
        changed, *_ = branching_model()
        for attribute in changed.graph.node[0].attribute:
            weights = {one.name: onnx.numpy_helper.to_array(one) for one in attribute.g.initializer}
            del attribute.g.initializer[:]
            for name, w in saturated(weights, "o", 0, 0).items():
                attribute.g.initializer.append(onnx.numpy_helper.from_array(w, name))
        assert_same_outputs(run, by_the_runtime(changed.SerializeToString(), [call]))
    with pytest.raises(InputError, match="'choice/else_branch/rnn' did not run: these feeds hold no call that reaches"):
        run_with_holds(path, feeds | {"which": np.array(True)}, {"choice/else_branch/rnn": ()})


def test_an_lstm_that_was_taken_apart_is_held_in_all_its_steps(tmp_path):
    path, x = write(tmp_path, unrolled()), draw(3, 2, HIDDEN)
    free = run_with_holds(path, {"x": x})
    assert_same_outputs(free, by_the_runtime(path, [{"x": x}]))
    (name,) = free.lstms
    parameters = tc.load(path)[name]
    hold = [tc.Hold("c", 0.25, units=[1], steps=[1]), tc.Hold("o", 0.0, units=[0])]
    held = run_with_holds(path, {"x": x}, hold)
    trace = tc.record_trace(parameters, x, hold=hold)
    assert np.allclose(trace.h.values[0, 0].swapaxes(0, 1), held.lstms[name].y, atol=TOLERANCE)
    last = np.allclose(trace.h.values[0, 0, :, -1], next(iter(held.outputs.values()))[0], atol=TOLERANCE)
    assert last, "the output of the model is h of the last step"


def two_layers(folder: Path) -> tuple[Path, dict[str, np.ndarray]]:
    layers = torch_weights() | {n.replace("l0", "l1"): w for n, w in torch_weights(5, features=HIDDEN).items()}
    tc.to_onnx(tc.LSTMParameters(layers), folder / "two.onnx")
    zeros = np.zeros((2, 1, HIDDEN), np.float32)
    return folder / "two.onnx", {"input": draw(4, 1, FEATURES), "h_0": zeros, "c_0": zeros}


def test_layers_that_are_nodes_are_held_by_path_and_what_follows_reads_what_was_held(tmp_path):
    path, feeds = two_layers(tmp_path)
    both = [tc.Hold("o", 0.0, units=[0]), tc.Hold("f", 1.0, units=[2], layer=1)]
    trace = tc.record_trace(tc.LSTMParameters(_both_layers(path)), feeds["input"], hold=both)
    held = {"lstm_l0": tc.Hold("o", 0.0, units=[0]), "lstm_l1": [tc.Hold("f", 1.0, units=[2])]}
    run = run_with_holds(path, feeds, held)
    assert list(run.lstms) == ["lstm_l0", "lstm_l1"]
    assert np.array_equal(run.lstms["lstm_l0"].y, run.lstms["lstm_l1"].x)
    assert np.allclose(trace.h.values[1, 0, 0], run.outputs["output"][0, :, 0], atol=TOLERANCE)
    below = run_with_holds(path, feeds, {"lstm_l0": tc.Hold("o", 0.0, units=[0])})
    trace = tc.record_trace(tc.LSTMParameters(_both_layers(path)), feeds["input"], hold=both[0])
    assert np.allclose(trace.h.values[1, 0, 0], below.outputs["output"][0, :, 0], atol=TOLERANCE)
    with pytest.raises(InputError, match=r"2 LSTMs of .* ran, at 'lstm_l0', 'lstm_l1'; say which is held: hold=\{"):
        run_with_holds(path, feeds, tc.Hold("o", 0.0))


def _both_layers(path: Path) -> dict[str, np.ndarray]:
    model = tc.load(path)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {f"{n}_l{k}": model[f"lstm_l{k}"].weights[f"{n}_l0"] for k in (0, 1) for n in names}


def test_outputs_whose_shapes_differ_are_one_a_call(tmp_path):
    path = write(tmp_path, plain_model()[0])
    run = run_with_holds(path, [{"x": draw(5, 1, FEATURES)}, {"x": draw(3, 1, FEATURES)}])
    assert [one.shape for one in run.outputs["y"]] == [(5, 1, 1, HIDDEN), (3, 1, 1, HIDDEN)]
    assert run.lstms["rnn"].lengths.tolist() == [5, 3]


def test_a_model_in_float64_is_held_in_float64(tmp_path):
    weights = {name: w.astype(np.float64) for name, w in torch_weights(3, features=FEATURES).items()}
    nodes = step_nodes(weights, "x", "h", "c")
    inputs = [value("x", "sequence", FEATURES, dtype=11), *(value(n, "sequence", HIDDEN, dtype=11) for n in "hc")]
    path = write(tmp_path, model_of(graph_of(nodes, inputs, ["h_n", "c_n"], weights=step_weights(weights))))
    calls = [{"x": draw(2, FEATURES, seed=k).astype(np.float64), **_states64()} for k in range(3)]
    run = run_with_holds(path, calls, carry=CARRY)
    theirs = by_the_runtime(path, calls, CARRY)
    assert run.outputs["h_n"].dtype == np.float64
    assert np.abs(run.outputs["h_n"] - theirs["h_n"]).max() <= 1e-12  # float64


def _states64() -> dict[str, np.ndarray]:
    return {name: np.zeros((2, HIDDEN)) for name in "hc"}


def test_a_model_that_takes_another_way_once_it_is_held_is_refused(tmp_path):
    weights = operator_weights(torch_weights())
    again = graph_of([lstm_node("again", prefix="b", inputs=["x", "W", "R", "B"])], [], ["by"])
    other = graph_of([helper.make_node("Identity", ["y"], ["ny"])], [], ["ny"])
    nodes = [
        lstm_node("first"),
        helper.make_node("ReduceMax", ["h_n"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "half"], ["is_high"]),
        helper.make_node("If", ["is_high"], ["z"], "choice", then_branch=again, else_branch=other),
    ]
    x = value("x", "time", "sequence", FEATURES)
    constants = weights | {"half": np.array(-0.95, np.float32)}
    path = write(tmp_path, model_of(graph_of(nodes, [x], ["z"], weights=constants)))
    feeds, low = {"x": draw(4, 1, FEATURES)}, tc.Hold("h", -0.99)
    assert list(run_with_holds(path, feeds, {"first": (), "again": ()}).lstms) == ["first", "again"]
    assert run_with_holds(path, feeds, {"first": low}).outputs["z"].max() == np.float32(-0.99)
    with pytest.raises(InputError, match="the LSTM at 'again' is called otherwise once it is held: the model takes an"):
        run_with_holds(path, feeds, {"first": low, "again": ()})
    with pytest.raises(InputError, match="no LSTM at 'third' can be reached"):
        run_with_holds(path, feeds, {"third": ()})


def test_what_does_not_fit_is_said(tmp_path):
    path, x = write(tmp_path, plain_model()[0]), {"x": draw(4, 1, FEATURES)}
    with pytest.raises(InputError, match=r"no LSTM of .* ran: feeds holds no call"):
        run_with_holds(path, [])
    with pytest.raises(InputError, match=r"names layer 1; the LSTM has 1, counted from 0"):
        run_with_holds(path, x, tc.Hold("c", 0.0, layer=1))
    for value_held in (0.0, "mean"):
        with pytest.raises(InputError, match=r"names the reverse direction; the LSTM reads forward only"):
            run_with_holds(path, x, tc.Hold("c", value_held, direction="reverse"))
        with pytest.raises(InputError, match=r"names unit 9; there are 3, counted from 0"):
            run_with_holds(path, x, tc.Hold("c", value_held, units=[9]))
    with pytest.raises(InputError, match=r"names step 4; there are 4, counted from 0"):
        run_with_holds(path, x, tc.Hold("c", 0.0, steps=[4]))
    with pytest.raises(InputError, match=r"cannot carry 'h_n' over to 'h'"):
        run_with_holds(path, x, carry={"h": "h_n"})


def test_what_our_kernel_cannot_stand_in_for_is_refused_by_name(tmp_path):
    _, path = quantised_model(tmp_path)
    x = {"input": draw(4, 1, 5), "h_0": np.zeros((2, 1, 8), np.float32), "c_0": np.zeros((2, 1, 8), np.float32)}
    with pytest.raises(InputError, match="is a DynamicQuantizeLSTM, which rounds what it reads to 8 bits as it runs"):
        run_with_holds(path, x)
    batch_first = plain_model()[0]
    batch_first.graph.node[0].attribute.append(helper.make_attribute("layout", 1))
    with pytest.raises(InputError, match=r"ONNX Runtime does not take .*[Bb]atchwise"):
        run_with_holds(write(tmp_path, batch_first), {"x": draw(4, 1, FEATURES)})


# ---- silero-vad ------------------------------------------------------------------------------------------------------


def silero_calls(path: Path, rate: int, most: int = 150) -> tuple[list[dict[str, np.ndarray]], dict[str, str]]:
    front_end = plan_front_end(path, Cutting(rate=rate))
    return list(front_end.feeds(read_wav(SOUND).at_rate(rate).samples))[:most], dict(front_end.carry)


@pytest.mark.models
@pytest.mark.parametrize("rate", [16_000, 8_000])
@pytest.mark.parametrize(
    "name",
    ["silero_vad", "silero_vad_16k_op15", "silero_vad_half", "silero_vad_op18_ifless", "silero_vad_openvino_16k"],
)
def test_silero_without_holds_says_what_it_says(pypi_model, name, rate):
    path = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data" / f"{name}.onnx"
    calls, carry = silero_calls(path, rate)
    assert_same_outputs(run_with_holds(path, calls, carry=carry), by_the_runtime(path, calls, carry))


@pytest.mark.models
@pytest.mark.parametrize("hold", [("o", 0), ("f", 1)])
def test_the_probability_of_speech_under_a_hold_is_that_of_silero_with_other_weights(pypi_model, hold):
    path = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data" / "silero_vad_op18_ifless.onnx"
    calls, carry = silero_calls(path, 16_000)
    unit, (gate, to) = 44, hold
    model = onnx.load(path)
    weights = {one.name: one for one in _initialisers(model.graph)}
    for kind in ("ih", "hh"):  # torch's order in this file
        for what in ("weight", "bias"):
            (name,) = [n for n in weights if n.startswith("model.") and n.endswith(f"rnn.{what}_{kind}")]
            array = onnx.numpy_helper.to_array(weights[name]).copy()
            array["ifgo".index(gate) * 128 + unit] = (
                (BEYOND if to else -BEYOND) if (what, kind) == ("bias", "ih") else 0
            )
            weights[name].CopyFrom(onnx.numpy_helper.from_array(array, name))
    theirs = by_the_runtime(model.SerializeToString(), calls, carry)
    run = run_with_holds(path, calls, tc.Hold(gate, float(to), units=[unit]), carry=carry)
    assert_same_outputs(run, theirs)
    free = by_the_runtime(path, calls, carry)["output"]
    assert np.abs(free - run.outputs["output"]).max() > 1e-3  # the hold is felt


def _initialisers(graph: Any) -> list[Any]:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [*graph.initializer, *(one for held in inner for one in _initialisers(held))]
