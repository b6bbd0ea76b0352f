"""When the LSTMs of an ONNX graph run, held against what ONNX Runtime runs, and in words."""

import json

import numpy as np
import pytest

from loader_cases import line_of
from onnx_models import (
    FEATURES,
    HIDDEN,
    graph_of,
    lstm_node,
    model_of,
    onnx,
    operator_weights,
    torch_weights,
    value,
    write,
)  # fmt: skip
from tallycell.errors import InputError
from tallycell.loaders import load

helper = onnx.helper
node = helper.make_node


def branch(side: str, seed: int, inner=()) -> object:
    lstm = lstm_node("rnn", prefix=side)
    return graph_of([*inner, lstm], [], [f"{side}h_n"], weights=operator_weights(torch_weights(seed), side), name=side)


def model_asking(nodes, inputs, constants=None, condition="condition"):
    """An LSTM in each branch of an If on a condition that the nodes make."""
    choice = node("If", [condition], ["h"], "choice", then_branch=branch("then", 0), else_branch=branch("else", 1))
    x = value("x", "time", "sequence", FEATURES)
    return model_of(graph_of([*nodes, choice], [x, *inputs], ["h"], weights=constants or {}))


def cases_of(path) -> list[str | None]:
    return [place.when for place in load(path).places.values()]


RATE = value("sr", dtype=7)
NUMBER = {"most": np.array(16000, np.int64)}
ASKED = {
    "Equal": ("equals", "does not equal", np.equal),
    "Less": ("is less than", "is at least", np.less),
    "Greater": ("is more than", "is at most", np.greater),
    "LessOrEqual": ("is at most", "is more than", np.less_equal),
    "GreaterOrEqual": ("is at least", "is less than", np.greater_equal),
}


@pytest.mark.parametrize("operator", ASKED)
@pytest.mark.parametrize("negated", [False, True])
def test_the_words_hold_where_the_runtime_takes_the_branch(tmp_path, operator, negated):
    runtime = pytest.importorskip("onnxruntime")
    nodes = [node(operator, ["sr", "most"], ["asked"])]
    nodes += [node("Not", ["asked"], ["condition"])] if negated else []
    path = write(tmp_path, model_asking(nodes, [RATE], NUMBER, "condition" if negated else "asked"))
    holds, fails, compare = ASKED[operator]
    said = cases_of(path)
    assert said == [f"if 'sr' {words} 16000" for words in ((fails, holds) if negated else (holds, fails))]
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(3, 1, FEATURES)).astype(np.float32)
    alone = [h_of(runtime, tmp_path, x, seed) for seed in (0, 1)]
    for rate in (8_000, 16_000, 24_000):
        (h,) = session.run(["h"], {"x": x, "sr": np.array(rate)})
        runs_then = compare(rate, 16_000) != negated
        np.testing.assert_array_equal(h, alone[0 if runs_then else 1])


def h_of(runtime, tmp_path, x, seed):
    """What one LSTM alone gives."""
    graph = graph_of([lstm_node()], [value("x", "time", "sequence", FEATURES)], ["h_n"],
                     weights=operator_weights(torch_weights(seed)))  # fmt: skip
    session = runtime.InferenceSession(write(tmp_path, model_of(graph), f"{seed}.onnx"),
                                       providers=["CPUExecutionProvider"])  # fmt: skip
    return session.run(["h_n"], {"x": x})[0]


@pytest.mark.parametrize(
    ("nodes", "inputs", "constants", "said"),
    [
        ([], [value("condition", dtype=9)], {}, ("'condition' is not 0", "'condition' is 0")),
        ([node("Cast", ["n"], ["condition"], to=9)], [value("n", dtype=7)], {}, ("'n' is not 0", "'n' is 0")),
        (
            [
                node("Shape", ["state"], ["s"]),
                node("Gather", ["s", "k"], ["n"]),
                node("Cast", ["n"], ["condition"], to=9),
            ],
            [value("state", "layer", "sequence")],
            {"k": np.array(1)},
            ("size 1 of 'state' is not 0", "size 1 of 'state' is 0"),
        ),
        (
            [node("Equal", ["a", "b"], ["c"]), node("Identity", ["c"], ["condition"])],
            [value("a", dtype=7), value("b", dtype=7)],
            {},
            ("'a' equals 'b'", "'a' does not equal 'b'"),
        ),
        (
            [node("And", ["a", "b"], ["condition"])],
            [value("a", dtype=9), value("b", dtype=9)],
            {},
            ("a condition on 'a', 'b' holds", "a condition on 'a', 'b' does not hold"),
        ),
        (
            [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Less", ["s", "most"], ["condition"])],
            [],
            {"most": np.array(0, np.float32)},
            ("a condition on 'x' holds", "a condition on 'x' does not hold"),
        ),
    ],
)
def test_a_condition_is_said_as_shortly_as_it_can_be(tmp_path, nodes, inputs, constants, said):
    assert cases_of(write(tmp_path, model_asking(nodes, inputs, constants))) == [f"if {one}" for one in said]


def test_a_condition_that_is_constant_is_none(tmp_path):
    path = write(tmp_path, model_asking([], [], {"condition": np.array(True)}))
    assert cases_of(path) == [None, "if its condition holds, which it never does"]


def test_a_constant_that_is_damaged_takes_no_lstm_with_it(tmp_path):
    model = model_asking([node("Equal", ["sr", "most"], ["condition"])], [RATE], NUMBER)
    damaged = next(one for one in model.graph.initializer if one.name == "most")
    damaged.raw_data = b"123"
    said = ["if the condition of 'choice' holds", "if the condition of 'choice' does not hold"]
    assert cases_of(write(tmp_path, model)) == said


def test_conditions_around_each_other_stand_from_the_outside_in(tmp_path):
    inside = node("If", ["b"], ["h"], "inner", then_branch=branch("one", 0), else_branch=branch("two", 1))
    outer = node("If", ["a"], ["h"], "outer", then_branch=graph_of([inside], [], ["h"], name="t"),
                 else_branch=branch("three", 2))  # fmt: skip
    inputs = [value("x", "time", "sequence", FEATURES), value("a", dtype=9), value("b", dtype=9)]
    path = write(tmp_path, model_of(graph_of([outer], inputs, ["h"])))
    assert cases_of(path) == ["if 'a' is not 0 and 'b' is not 0", "if 'a' is not 0 and 'b' is 0", "if 'a' is 0"]
    text = line_of(lambda: load(path).lstm, InputError)
    assert "(if 'a' is not 0 and 'b' is 0), " in text


def test_what_runs_in_every_case_has_none_and_says_its_order(tmp_path, run):
    weights = operator_weights(torch_weights()) | operator_weights(torch_weights(1, features=HIDDEN), "second")
    nodes = [lstm_node("a"), node("Squeeze", ["y", "one"], ["between"]), lstm_node("b", x="between", prefix="second")]
    graph = graph_of(nodes, [value("x", "time", "sequence", FEATURES)], ["secondh_n"],
                     weights=weights | {"one": np.array([1])})  # fmt: skip
    path = write(tmp_path, model_of(graph))
    assert cases_of(path) == [None, None]
    assert load(path).order_in_words() == ("first 'a', then 'b'",)
    assert "first 'a', then 'b'" in run("inspect", path)[1]
    assert json.loads(run("inspect", path, "--json")[1])["in_order"] is True


def test_inspect_and_errors_say_when_silero_runs_which(pypi_model, run):
    path = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data" / "silero_vad.onnx"
    said = [f"if 'sr' {rate} 16000 and size 0 of 'state' {state} 0"
            for rate in ("equals", "does not equal") for state in ("is not", "is")]  # fmt: skip
    assert cases_of(path) == said
    status, out, _ = run("inspect", path)
    assert status == 0
    assert all(f"runs {one}" in out for one in said)
    told = json.loads(run("inspect", path, "--json")[1])
    assert [one["when"] for one in told["lstms"]] == said
    assert f"rnn/LSTM' ({said[0]}), " in line_of(lambda: load(path).lstm, InputError)
