"""Taps: what the LSTMs of somebody's ONNX model read while it runs."""

from collections.abc import Iterator
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
    torch_weights,
    value,
    write,
)
from tallycell.errors import FormatError, InputError
from tallycell.loaders.onnx.calls import Tapped
from tallycell.loaders.onnx.tap import tap
from test_onnx_loader import external_model, unrolled

runtime = pytest.importorskip("onnxruntime")

TOLERANCE = 1e-5  # two float32 programs, sums in another order


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def traced(parameters: tc.LSTMParameters, tapped: Tapped) -> np.ndarray:
    """h of the trace of what was tapped, laid out as y."""
    trace = tc.record_trace(parameters, tapped.x, tapped.state, lengths=tapped.lengths)
    h = trace.h.isel(layer=-1).transpose("time", "sequence", "direction", "unit").values
    return h.reshape(*h.shape[:2], -1)


def difference(parameters: tc.LSTMParameters, tapped: Tapped) -> float:
    ours = traced(parameters, tapped)
    if tapped.lengths is not None:  # beyond the lengths ours is NaN
        beyond = np.arange(len(ours))[:, None] >= tapped.lengths
        assert np.isnan(ours[beyond]).all()
        ours = np.where(beyond[..., None], tapped.y, ours)
    return float(np.abs(ours - tapped.y).max())


def test_the_taps_of_a_plain_model_are_its_inputs_and_outputs(tmp_path):
    model, parameters = plain_model()
    path = write(tmp_path, model)
    before, x = path.read_bytes(), draw(6, 2, FEATURES)
    tapped = tap(path, {"x": x})["rnn"]
    assert np.array_equal(tapped.x, x)
    assert tapped.lengths is None
    assert [state.tolist() for state in tapped.state] == [np.zeros((1, 2, HIDDEN)).tolist()] * 2
    (theirs,) = runtime.InferenceSession(before).run(None, {"x": x})
    assert np.array_equal(tapped.y, theirs[:, 0])
    assert difference(parameters, tapped) <= TOLERANCE
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]


def test_only_the_branch_that_was_taken_has_taps(tmp_path):
    model, first, second = branching_model()
    path = write(tmp_path, model)
    feeds = {"x": draw(5, 2, FEATURES), "h": draw(1, 2, HIDDEN, seed=1), "c": draw(1, 2, HIDDEN, seed=2)}
    for which, name, parameters in ((True, "then", first), (False, "else", second)):
        tapped = tap(path, feeds | {"which": np.array(which)})
        assert list(tapped) == [f"choice/{name}_branch/rnn"]
        (one,) = tapped.values()
        assert np.array_equal(one.x, feeds["x"])
        assert np.array_equal(one.h_0, feeds["h"])
        assert np.array_equal(one.c_0, feeds["c"])
        assert difference(parameters, one) <= TOLERANCE
    with pytest.raises(InputError, match="'choice/else_branch/rnn' did not run: it stands in a branch that"):
        tap(path, feeds | {"which": np.array(True)}, lstm="choice/else_branch/rnn")


def test_branches_in_branches_are_reached(tmp_path):
    inner, first, _ = branching_model()
    del inner.graph.input[:]
    made = ["y", "h_n", "c_n"]
    other = graph_of([helper.make_node("Identity", ["x"], [f"{name}2"]) for name in made], [], [f"{n}2" for n in made])
    outer = helper.make_node(
        "If", ["deep"], [f"{n}3" for n in made], "outer", then_branch=inner.graph, else_branch=other
    )
    inputs = [value("x", "time", "sequence", FEATURES), value("which", dtype=9), value("deep", dtype=9)]
    inputs += [value(name, 1, "sequence", HIDDEN) for name in "hc"]
    path = write(tmp_path, model_of(graph_of([outer], inputs, ["y3"])))
    feeds = {"x": draw(5, 2, FEATURES), "h": draw(1, 2, HIDDEN), "c": draw(1, 2, HIDDEN), "which": np.array(True)}
    (name, one), = tap(path, feeds | {"deep": np.array(True)}).items()  # fmt: skip
    assert name == "outer/then_branch/choice/then_branch/rnn"
    assert difference(first, one) <= TOLERANCE
    with pytest.raises(InputError, match=r"no LSTM of .* ran"):
        tap(path, feeds | {"deep": np.array(False)})


def test_an_lstm_inside_a_loop_is_refused(tmp_path):
    ints = helper.make_node("Constant", [], ["more"], value=onnx.numpy_helper.from_array(np.array(True)))
    body = graph_of(
        [ints, lstm_node(prefix="b")], [value("k", dtype=7), value("go", dtype=9)],
        [value("more", dtype=9), "by"], weights=operator_weights(torch_weights(), "b"),
    )  # fmt: skip
    loop = helper.make_node("Loop", ["times", ""], ["y"], "again", body=body)
    inputs = [value("x", "time", "sequence", FEATURES)]
    path = write(tmp_path, model_of(graph_of([loop], inputs, weights={"times": np.array(2)})))
    assert list(tc.load(path)) == ["rnn"]
    with pytest.raises(InputError, match="'rnn' run inside a loop, and only branches"):
        tap(path, {"x": draw(3, 1, FEATURES)})


def stateful_model() -> tuple[Any, tc.LSTMParameters]:
    """x and states in, states out."""
    node = lstm_node(inputs=["x", "W", "R", "B", "", "h", "c"])
    states = [value(name, 1, "sequence", HIDDEN) for name in "hc"]
    inputs = [value("x", "time", "sequence", FEATURES), *states]
    weights = torch_weights()
    graph = graph_of([node], inputs, ["y", "h_n", "c_n"], weights=operator_weights(weights))
    return model_of(graph), tc.LSTMParameters(weights)


def test_calls_whose_states_carry_over_follow_each_other_in_time(tmp_path):
    model, parameters = stateful_model()
    path, x = write(tmp_path, model), draw(12, 2, FEATURES)
    start = {"h": draw(1, 2, HIDDEN, seed=1), "c": draw(1, 2, HIDDEN, seed=2)}
    feeds = ({"x": x[k : k + 4], **start} for k in (0, 4, 8))
    tapped = tap(path, feeds, carry={"h": "h_n", "c": "c_n"})["rnn"]
    assert np.array_equal(tapped.x, x)
    assert np.array_equal(tapped.h_0, start["h"])
    assert tapped.lengths is None
    whole = tap(path, {"x": x, **start})["rnn"]
    assert np.array_equal(tapped.y, whole.y)
    assert difference(parameters, tapped) <= TOLERANCE


@pytest.mark.parametrize("carried", ["h", "c"])
def test_calls_go_on_only_if_both_states_do(tmp_path, carried):
    path, x = write(tmp_path, stateful_model()[0]), draw(3, 1, FEATURES)
    start = {"h": draw(1, 1, HIDDEN, seed=1), "c": draw(1, 1, HIDDEN, seed=2)}
    tapped = tap(path, [{"x": x, **start}] * 2, carry={carried: f"{carried}_n"})["rnn"]
    assert tapped.x.shape == (3, 2, FEATURES)


def test_calls_that_start_anew_are_further_sequences_with_their_lengths(tmp_path):
    model, parameters = plain_model()
    path = write(tmp_path, model)
    calls = [draw(5, 1, FEATURES, seed=1), draw(3, 2, FEATURES, seed=2), draw(5, 1, FEATURES, seed=3)]
    tapped = tap(path, [{"x": x} for x in calls])["rnn"]
    assert tapped.x.shape == (5, 4, FEATURES)
    assert tapped.lengths.tolist() == [5, 3, 3, 5]
    assert np.array_equal(tapped.x[:3, 1:3], calls[1])
    assert difference(parameters, tapped) <= TOLERANCE
    assert tap(path, [{"x": calls[0]}, {"x": calls[2]}])["rnn"].lengths is None


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_directions_and_lengths_come_out_so_that_the_trace_meets_y(tmp_path, direction):
    weights = [operator_weights(torch_weights(k)) for k in range(2 if direction == "bidirectional" else 1)]
    stacked = {name: np.concatenate([one[name] for one in weights]) for name in "WRB"}
    node = lstm_node(inputs=["x", "W", "R", "B", "steps"], outputs=["y"], direction=direction)
    inputs = [value("x", "time", "sequence", FEATURES), value("steps", "sequence", dtype=6)]
    path = write(tmp_path, model_of(graph_of([node], inputs, weights=stacked)))
    x, steps = draw(6, 3, FEATURES), np.array([6, 2, 4], np.int32)
    tapped = tap(path, {"x": x, "steps": steps})["rnn"]
    assert tapped.lengths.tolist() == [6, 2, 4]
    model = tc.load(path)
    assert difference(model["rnn"], tapped) <= TOLERANCE
    read = tapped.x[:2, 1][::-1] if model.places["rnn"].reverse else tapped.x[:2, 1]
    assert np.array_equal(read, x[:2, 1])


def test_an_unrolled_lstm_has_one_tap_of_all_its_steps(tmp_path):
    path, x = write(tmp_path, unrolled()), draw(3, 2, HIDDEN)
    (name, tapped), = tap(path, {"x": x}).items()  # fmt: skip
    assert np.array_equal(tapped.x, x)
    assert tapped.h_0.shape == tapped.c_0.shape == (1, 2, HIDDEN)
    assert difference(tc.load(path)[name], tapped) <= TOLERANCE


def test_external_data_is_read_from_the_models_folder_and_nothing_is_written_there(tmp_path):
    path, _ = external_model(tmp_path)
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    tapped = tap(path, {"x": draw(4, 1, FEATURES)})["rnn"]
    assert difference(tc.LSTMParameters(torch_weights()), tapped) <= TOLERANCE
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_only_the_lstm_that_is_asked_for_is_tapped(tmp_path):
    layers = tc.LSTMParameters(
        torch_weights() | {n.replace("l0", "l1"): w for n, w in torch_weights(5, features=3).items()}
    )
    tc.to_onnx(layers, tmp_path / "two.onnx")
    zeros = np.zeros((2, 1, HIDDEN), np.float32)
    feeds = {"input": draw(4, 1, FEATURES), "h_0": zeros, "c_0": zeros}
    both = tap(tmp_path / "two.onnx", feeds)
    assert list(both) == ["lstm_l0", "lstm_l1"]
    assert np.array_equal(both["lstm_l1"].x, both["lstm_l0"].y)
    assert list(tap(tmp_path / "two.onnx", feeds, lstm="lstm_l1")) == ["lstm_l1"]


def test_what_does_not_fit_is_said(tmp_path):
    path = write(tmp_path, plain_model()[0])
    x = draw(4, 1, FEATURES)
    with pytest.raises(InputError, match=r"no LSTM at 'gru' can be reached; .* has them at 'rnn'"):
        tap(path, {"x": x}, lstm="gru")
    with pytest.raises(InputError, match=r"cannot carry 'h_n' over to 'h': .* has the inputs 'x' and the outputs 'y'"):
        tap(path, {"x": x}, carry={"h": "h_n"})
    with pytest.raises(InputError, match=r"ONNX Runtime cannot run .* on these feeds"):
        tap(path, {"x": x[0]})
    with pytest.raises(InputError, match=r"no LSTM of .* ran: feeds holds no call"):
        tap(path, [])
    with pytest.raises(FormatError, match="there is no file"):
        tap(tmp_path / "none.onnx", {"x": x})


def chunks(audio: np.ndarray, rate: int, *, with_rate: bool) -> Iterator[dict[str, np.ndarray]]:
    """Calls as the package silero-vad makes them: each chunk with the end of the one before."""
    size, context = (512, 64) if rate == 16000 else (256, 32)
    padded = np.concatenate([np.zeros(context, np.float32), audio])
    for start in range(0, len(audio) - size + 1, size):
        state = np.zeros((2, 1, 128), np.float32)
        rates = {"sr": np.array(rate)} if with_rate else {}
        yield {"input": padded[None, start : start + size + context], "state": state, **rates}


@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "rate", "path"),
    [
        ("silero_vad", 16000, "If_0_then_branch__Inline_0__/decoder/rnn/LSTM"),
        ("silero_vad", 8000, "If_0_else_branch__Inline_0__/decoder/rnn/LSTM"),
        ("silero_vad_16k_op15", 16000, "model/decoder/rnn/LSTM"),
        ("silero_vad_half", 16000, "decoder/rnn/LSTM"),
        ("silero_vad_op18_ifless", 16000, "model.decoder.rnn"),
        ("silero_vad_op18_ifless", 8000, "model_8k.decoder.rnn"),
        ("silero_vad_openvino_16k", 16000, "F2::If_0_then_branch__Inline_0__/decoder/rnn/LSTM"),
    ],
)
def test_the_trace_of_silero_on_its_real_inputs_meets_its_own_output(pypi_model, name, rate, path):
    from parity import record_parity

    file: Path = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data" / f"{name}.onnx"
    seconds = np.arange(rate) / rate
    audio = 0.3 * np.sin(2 * np.pi * (200 * seconds + 400 * seconds**2)) + 0.05 * draw(rate)
    with_rate = any(one.name == "sr" for one in runtime.InferenceSession(file).get_inputs())
    tapped = tap(file, chunks(audio.astype(np.float32), rate, with_rate=with_rate), carry={"state": "stateN"})
    assert list(tapped) == [path]
    assert tapped[path].x.shape == (rate // (512 if rate == 16000 else 256), 1, 128)  # one sequence: the states carry
    worst = difference(tc.load(file)[path], tapped[path])
    record_parity(f"silero-vad 6.2.3 {name}, {rate} Hz", "ONNX", "ONNX Runtime, tapped", worst)
    assert worst <= TOLERANCE
