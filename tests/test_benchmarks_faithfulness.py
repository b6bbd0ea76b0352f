"""The methods and measures of ``python -m benchmarks faithfulness``."""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tallycell as tc
from tallycell.machine.running.runner import Runner
from tallycell.machine.shipped import shipped_machine
from tallycell.parameters import LSTMParameters

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks are not installed; they run from the repository

from benchmarks import attributions, curves, decompositions, faithfulness, ground_truth, subjects  # noqa: E402

EXACT = 1e-12  # float64, sums of some hundred numbers of about 1
SHAPES = [
    {"num_layers": 1, "bidirectional": False},
    {"num_layers": 2, "bidirectional": False},
    {"num_layers": 2, "bidirectional": True},
]


def drawn(kind="number", *, time=7, step=None, seed=0, relu=False, **shape):
    """A random network with larger weights than usual, so that gates matter, and one decision of it."""
    torch.manual_seed(seed)
    lstm = torch.nn.LSTM(3, 5, **shape).double()
    weights = {name: 2 * weight.detach().numpy() for name, weight in lstm.named_parameters()}
    rng = np.random.default_rng(seed)
    width = 5 * (2 if shape.get("bidirectional") else 1)
    network = attributions.Network(
        LSTMParameters(weights), rng.standard_normal((4, width)), rng.standard_normal(4), kind, relu
    )
    return attributions.Decision(network, rng.standard_normal((time, 3)), time - 1 if step is None else step, 2)


def measured(decision, x):
    return float(decision.measure(torch.tensor(x)[None])[0])


def remembers_one_feature():
    """A network that adds up feature 0 for ever and shows it; feature 1 has no weight."""
    weights = {
        "weight_ih_l0": np.array([[0, 0], [0, 0], [1.0, 0], [0, 0]]),
        "weight_hh_l0": np.zeros((4, 1)),
        "bias_ih_l0": np.array([50.0, 50, 0, 50]),
        "bias_hh_l0": np.zeros(4),
    }
    x = np.array([[0, 1.0], [0, 2], [0.8, 0], [0, -1], [0, 3], [0, 1], [0, 1], [0, 2]])
    network = attributions.Network(LSTMParameters(weights), np.ones((1, 1)), np.zeros(1), "number")
    return attributions.Decision(network, x, len(x) - 1, 0)


# What is measured


def test_a_class_is_measured_in_bits_of_its_probability():
    decision = drawn("softmax")
    with torch.no_grad():
        logits = decision.network.lstm(torch.tensor(decision.x)[None])[0][0, -1].numpy() @ decision.network.weight.T
    odds = np.exp(logits + decision.network.bias)
    assert measured(decision, decision.x) == pytest.approx(np.log2(odds[2] / odds.sum()), abs=EXACT)


def test_what_a_sigmoid_decides_against_is_measured_by_the_probability_of_none():
    decisions = [drawn("sigmoid", seed=seed) for seed in range(10)]
    assert {one.sign for one in decisions} == {-1.0, 1.0}
    for one in decisions:
        assert measured(one, one.x) == pytest.approx(-np.log2(1 + np.exp(-abs(one.logits[2]))), abs=EXACT)


@pytest.mark.parametrize("relu", [False, True])
def test_the_row_against_others_is_the_slope_of_the_measure(relu):
    decision = drawn("softmax", relu=relu)
    h = decision.network.lstm(torch.tensor(decision.x)[None])[0][0, -1].detach().requires_grad_()
    shown = h.relu() if relu else 1 * h
    logits = shown @ torch.tensor(decision.network.weight).T + torch.tensor(decision.network.bias)
    of_shown, of_h = torch.autograd.grad(logits.log_softmax(-1)[2], (shown, h))
    assert decision.against == pytest.approx(of_shown.numpy(), abs=EXACT)
    assert decision.against_of_h == pytest.approx(of_h.numpy(), abs=EXACT)
    assert np.array_equal(of_shown, of_h) != relu


# The methods


@pytest.mark.parametrize("shape", SHAPES)
def test_both_decompositions_sum_to_what_they_divide(shape):
    decision = drawn(**shape, step=4)
    p, row = decision.network.parameters, decision.alone
    with torch.no_grad():
        at_x, at_zeros = (
            float(decision.network.lstm(torch.tensor(x)[None])[0][0, 4].numpy() @ row)
            for x in (decision.x, np.zeros_like(decision.x))
        )
    wanted, other = decompositions.contextual_decomposition(p, decision.x, row, 4)
    assert wanted + other == pytest.approx(np.full(7, at_x), abs=EXACT)
    entries = decompositions.between_two_runs(p, decision.x, np.zeros_like(decision.x), row, 4)
    assert entries.sum() == pytest.approx(at_x - at_zeros, abs=EXACT)
    candidates = decompositions.between_two_runs(p, decision.x, np.zeros_like(decision.x), row, 4, gates=False)
    assert abs(candidates.sum() - entries.sum()) > 0.01
    assert np.abs(entries[:5]).min() > 1e-4
    assert np.all(entries[5:] == 0) != shape["bidirectional"]


def test_contextual_decomposition_is_that_of_the_paper():
    decision = drawn()
    found, _ = decompositions.contextual_decomposition(decision.network.parameters, decision.x, decision.alone, 6)
    for phrase in range(7):
        expected = paper(decision.network.parameters.weights, decision.x, phrase) @ decision.alone
        assert found[phrase] == pytest.approx(expected, abs=EXACT)


def paper(weights, x, phrase):
    """Murdoch, Liu and Yu 2018 word by word, of one word of one sentence: h that comes of it."""
    bias = np.split(weights["bias_ih_l0"] + weights["bias_hh_l0"], 4)
    W, V = np.split(weights["weight_ih_l0"], 4), np.split(weights["weight_hh_l0"], 4)
    squash = [sigmoid, sigmoid, np.tanh, sigmoid]
    beta_c, gamma_c, beta, gamma = np.zeros((4, 5))
    for t, word in enumerate(x):
        ours, others = word * (t == phrase), word * (t != phrase)
        i, f, g, o = (
            linearised(squash[k], [V[k] @ beta + W[k] @ ours, V[k] @ gamma + W[k] @ others], bias[k]) for k in range(4)
        )
        of_beta = i[0] * g[0] + i[0] * g[2] + i[2] * g[0]
        of_gamma = i[1] * g[1] + i[0] * g[1] + i[1] * g[0] + i[1] * g[2] + i[2] * g[1]
        both = i[2] * g[2]
        new = f[0] * beta_c + f[2] * beta_c + of_beta + both * (t == phrase)
        gamma_c = f[0] * gamma_c + f[1] * gamma_c + f[1] * beta_c + f[2] * gamma_c + of_gamma + both * (t != phrase)
        beta_c = new
        parts = linearised(np.tanh, [beta_c, gamma_c], 0.0)
        beta, gamma = sum(o) * parts[0], sum(o) * parts[1]
    return beta


def linearised(squash, parts, bias):
    """What each part adds, over all orders of the parts; the bias comes first."""
    shares = [np.zeros_like(one) for one in parts]
    orders = list(itertools.permutations(range(len(parts))))
    for order in orders:
        so_far = bias
        for k in order:
            shares[k] = shares[k] + (squash(so_far + parts[k]) - squash(so_far)) / len(orders)
            so_far = so_far + parts[k]
    return [*shares, squash(bias + 0 * parts[0])]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("apart", [1e-5, 1e-9])  # by secants, and where they have no digits left
@pytest.mark.parametrize("shape", SHAPES)
def test_between_two_runs_that_are_near_stands_the_gradient(shape, apart):
    decision = drawn(**shape)
    x = torch.tensor(decision.x)[None].requires_grad_()
    (slope,) = torch.autograd.grad(decision.measure(x).sum(), x)
    moved = apart * np.random.default_rng(1).standard_normal(decision.x.shape)
    p, row = decision.network.parameters, decision.alone
    found = decompositions.between_two_runs(p, decision.x, decision.x - moved, row, 6)
    expected = (slope[0].numpy() * moved).sum(-1)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4 * apart)  # the curvature is left out


def test_integrated_gradients_are_complete():
    pytest.importorskip("captum", reason="captum is not installed: a dependency of this benchmark alone")
    decision = drawn("softmax")
    for baseline in (np.zeros(3), decision.x.mean(0)):
        lost = measured(decision, decision.x) - measured(decision, np.broadcast_to(baseline, decision.x.shape).copy())
        found = attributions.integrated_gradients(decision, baseline)
        assert found.sum() == pytest.approx(lost, abs=1e-4)  # the path has 50 points


@pytest.mark.parametrize("shape", SHAPES)
def test_occlusion_is_the_counterfactual_whose_input_is_zeros(shape):
    pytest.importorskip("captum", reason="captum is not installed: a dependency of this benchmark alone")
    decision = drawn(**shape)
    ours = attributions.counterfactual(decision, "alone", "zeros")
    found = attributions.occlusion(decision).astype(np.float64)
    assert found == pytest.approx(ours, rel=1e-5, abs=1e-7)  # captum gives float32
    assert np.abs(ours - attributions.counterfactual(decision, "alone")).max() > 0.01


@pytest.mark.parametrize("way", ["zeros", "mean"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_that_is_left_out_may_open_and_shut_relu(shape, way):
    decision = drawn(relu=True, seed=9, **shape)
    put = np.zeros(3) if way == "zeros" else decision.x.mean(0)
    without = torch.tensor(decision.x).repeat(7, 1, 1)
    without[range(7), range(7)] = torch.tensor(put)
    with torch.no_grad():
        lost = decision.logits[2] - decision.network.logits(without)[:, -1, 2].numpy()
        h = decision.network.lstm(without)[0][:, -1].numpy()
    assert attributions.counterfactual(decision, "alone", way) == pytest.approx(lost, abs=EXACT)
    opened = decision.network.read_of(torch.tensor(decision.x)[None])[0, -1].numpy() > 0
    kept_open = decision.logits[2] - decision.network.bias[2] - h @ (decision.network.weight[2] * opened)
    assert np.abs(kept_open - lost).max() > 0.01


def test_a_step_that_writes_nothing_may_open_and_shut_relu():
    for seed in range(10):
        decision = drawn("sigmoid", relu=True, seed=seed)
        lost = [decision.sign * (decision.logits[2] - writes_nothing_at(decision, step)) for step in range(7)]
        assert attributions.counterfactual(decision, "alone") == pytest.approx(np.array(lost), abs=EXACT)


def writes_nothing_at(decision, step):
    """The logit of a network of one layer behind relu, by the equations, where i is 0 at one step."""
    weights, c, h = decision.network.parameters.weights, np.zeros(5), np.zeros(5)
    for t, x in enumerate(decision.x):
        of_input = weights["weight_ih_l0"] @ x + weights["bias_ih_l0"]
        i, f, g, o = np.split(of_input + weights["weight_hh_l0"] @ h + weights["bias_hh_l0"], 4)
        c = sigmoid(f) * c + (t != step) * sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return decision.network.weight[2] @ np.maximum(h, 0) + decision.network.bias[2]


@pytest.mark.parametrize("relu", [False, True])
def test_the_account_sums_to_the_logit_without_its_bias(relu):
    decision = drawn("softmax", relu=relu)
    bias = decision.network.bias[2]
    assert attributions.account(decision, "alone").sum() == pytest.approx(decision.logits[2] - bias, abs=EXACT)


def test_every_method_names_the_only_step_that_matters():
    pytest.importorskip("captum", reason="captum is not installed: a dependency of this benchmark alone")
    decision = remembers_one_feature()
    for name, method in attributions.methods(0).items():
        if name != "random" and "mean" not in name:  # from the mean, every step takes some of feature 0 away
            assert np.abs(method(decision)).argmax() == 2, name


# The curves


def test_taking_the_only_step_that_matters_out_first_is_best_and_last_is_worst():
    decision, ties = remembers_one_feature(), np.arange(8)
    right = curves.areas(decision, 1.0 * (np.arange(8) == 2), ties)
    wrong = curves.areas(decision, 1.0 * (np.arange(8) != 2), ties)
    all_of_it = np.tanh(np.tanh(0.8))
    assert right["five out"] == pytest.approx(all_of_it)
    assert wrong["five out"] == 0
    assert right["deletion"] == pytest.approx(all_of_it * (1 - 1 / 8 / 2))  # a straight line to the first step
    assert wrong["deletion"] == pytest.approx(all_of_it / 8 / 2)
    assert right["insertion"] == pytest.approx(all_of_it / 8 / 2)
    assert wrong["insertion"] == pytest.approx(all_of_it * (1 - 1 / 8 / 2))


def test_a_number_goes_by_the_size_of_scores_and_a_class_by_their_sign():
    scores, ties = np.array([0, 0, -1, 0, 0, 0, 0, 0.5]), np.arange(8)
    decision = remembers_one_feature()
    assert curves.areas(decision, scores, ties) == pytest.approx(curves.areas(decision, -scores, ties))
    network = attributions.Network(
        decision.network.parameters, decision.network.weight, decision.network.bias, "sigmoid"
    )
    speaks = attributions.Decision(network, decision.x, 7, 0)
    against, for_it = (curves.areas(speaks, sign * scores, ties)["deletion"] for sign in (1, -1))
    assert for_it > 5 * against


def test_points_are_all_numbers_of_steps_at_first_and_the_ends():
    counts = curves.counts_of(100)
    assert counts[:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert (np.diff(counts) > 0).all()
    assert counts[-1] == 100
    assert curves.counts_of(3).tolist() == [0, 1, 2, 3]


def test_equal_scores_are_in_the_order_that_was_drawn():
    assert curves.ranked(np.array([1.0, 0, 2, 0]), np.array([0, 3, 1, 2])).tolist() == [2, 0, 3, 1]


def test_a_method_is_worse_by_more_than_chance_decision_by_decision():
    rng = np.random.default_rng(0)
    hard = 100 * rng.standard_normal(30)  # decisions differ far more than methods do
    reached = {"good": hard, "as good": hard + rng.standard_normal(30), "bad": hard - 5 + rng.standard_normal(30)}
    areas = {name: {one: values for one in curves.MEASURES} for name, values in reached.items()}
    compared = curves.Compared(subjects.Subject("model", "bits", "", ()), areas)
    assert set(compared.as_good("deletion")) == {"good", "as good"}
    assert compared.as_good("insertion") == ["bad"]  # there, less is better
    assert curves.against([compared], "bad", "good") == (
        "bad beside good: worse at model deletion, model five out; better at model insertion"
    )
    assert curves.against([compared], "as good", "good") == "as good beside good: not to be told apart"
    assert compared.error("good", "deletion") == pytest.approx(hard.std(ddof=1) / 30**0.5)


# Ground truth


@pytest.mark.parametrize(
    ("name", "text", "output", "expected"),
    [
        ("tomita-1", "1101", "accept", [0, 0, 1, 0]),  # the only 0
        ("tomita-1", "1001", "accept", [0, 0, 0, 0]),  # either 0 is enough
        ("dyck-1", "()(", ")", [1, 0, 1]),  # one bracket is open; ")" as the second would be one of "((("
        ("even-pairs", "abba", "accept", [1, 0, 0, 1]),  # the ends
        ("line-over-80", "x" * 81, "over", [1] * 81),
        ("line-over-80", "x" * 82, "over", [0] + [1] * 81),
    ],
)
def test_the_true_steps_are_those_whose_replacement_changes_the_answer(name, text, output, expected):
    machine = shipped_machine(name)
    found = ground_truth.true_steps(Runner(machine), np.array(machine.encode(text)), machine.outputs.index(output))
    assert found.astype(int).tolist() == expected


def test_the_true_steps_are_those_of_the_machine_run_symbol_by_symbol():
    machine = shipped_machine("anbmcnm")

    def says(output, codes):
        return machine.outputs[output] in machine.says(machine.run([machine.alphabet[code] for code in codes]))

    for question in ground_truth.ask("anbmcnm", 4, 0):
        codes, output = question.decision.x.argmax(1).tolist(), question.decision.output
        others = [[[*codes[:t], code, *codes[t + 1 :]] for code in range(3)] for t in range(len(codes))]
        expected = [any(says(output, one) != says(output, codes) for one in some) for some in others]
        assert expected == question.true.tolist()
        assert 0 < sum(expected) < len(codes)


def test_where_every_symbol_counts_nothing_is_asked():
    assert ground_truth.find("parity", {}, 3, 0) is None


def test_judged_are_precision_average_precision_and_what_is_seen_at_all():
    true, ties = np.array([True, False, True, False]), np.arange(4)
    assert ground_truth.judge(np.array([-3.0, 0, 2, 1]), true, ties) == (1, 1, 1)
    precision, average, seen = ground_truth.judge(np.array([4.0, 3, 1e-9, 2]), true, ties)
    assert (precision, seen) == (0.5, 0.5)
    assert average == pytest.approx((1 + 2 / 4) / 2)
    assert ground_truth.judge(np.zeros(4), true, ties)[2] == 0


def test_a_live_string_is_one_on_which_the_machine_does_not_fail():
    machine, rng = shipped_machine("anbn"), np.random.default_rng(0)
    for keep in ground_truth.KEPT:
        codes = ground_truth.live(machine, 30, keep, rng)
        assert machine.run([machine.alphabet[code] for code in codes]).state >= 0


def test_what_finds_more_than_chance_is_told_machine_by_machine():
    found = {"finds": [0.9, 0.6, 0.5], "by luck": [0.9, 0.1, 0.3], "random": [0.5, 0.2, 0.2]}
    best, better, left = faithfulness.truth_in_words(found, ["parity"])
    assert best == "average precision, mean over machines, the best first: finds 0.67, by luck 0.43, random 0.30"
    assert better == "better than chance, by two standard errors over machines: finds"
    assert left.endswith("all symbols count, or none: parity")
    assert len(faithfulness.truth_in_words({"random": [0.5]}, [])) == 1


# The models


def test_the_network_of_silero_says_what_onnx_runtime_says(pypi_model, monkeypatch):
    file = pypi_model("silero-vad", "6.2.3") / "silero_vad" / "data" / "silero_vad.onnx"
    monkeypatch.setattr(subjects, "SILERO", file)
    network = subjects.silero(1, np.random.default_rng(0)).decisions[0].network
    given = tc.open_audio(tc.load(file), ROOT / "tests" / "data" / "demo-abouttotry.wav")
    x = torch.tensor(given.x).double().reshape(1, len(given.x), -1)
    found = network.logits(x)[0, :, 0].sigmoid().numpy()
    assert found == pytest.approx(given.quantities["model output"][0], abs=1e-5)  # the file is float32


# The command


def test_a_page_that_lost_its_heading_and_a_model_that_is_not_there_are_named(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="has no heading 'Nowhere'"):
        subjects.run_page("my_own_tagger.py", "Nowhere")
    monkeypatch.setattr(subjects, "SILERO", tmp_path / "silero_vad.onnx")
    with pytest.raises(subjects.MissingError, match=r"there is no .*silero_vad.onnx; unpack the package silero-vad"):
        subjects.silero(1, np.random.default_rng(0))
    monkeypatch.setenv("TALLYCELL_TEST_DATA", str(tmp_path))
    with pytest.raises(subjects.MissingError, match=r"skipped: there is no .*set TALLYCELL_TEST_DATA"):
        subjects.hydrology(1, np.random.default_rng(0))


def test_without_captum_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setattr(faithfulness, "find_spec", lambda _name: None)
    with pytest.raises(SystemExit, match="captum is not installed; pip install --no-deps captum"):
        faithfulness.run(None)


def arguments(**changed):
    parser = argparse.ArgumentParser()
    faithfulness.add_arguments(parser)
    return argparse.Namespace(**vars(parser.parse_args([])) | changed)


def test_a_model_has_its_columns_with_standard_errors_and_one_that_is_not_there_is_told(monkeypatch, capsys):
    def small(count, rng):
        decisions = tuple(drawn("softmax", seed=int(rng.integers(1000))) for _ in range(count))
        return subjects.Subject("small", "bits", "anything", decisions)

    def lost(_count, _rng):
        raise subjects.MissingError("there is no file")

    monkeypatch.setattr(subjects, "SUBJECTS", {"small": small, "lost": lost})
    chosen = {name: attributions.methods(0)[name] for name in ("account", "two runs (zeros)", "random")}
    rows = {name: {"method": name} for name in chosen}
    answers = faithfulness.run_curves(arguments(quick=True), chosen, rows)
    assert answers[-1] == "lost is left out: there is no file"
    assert answers[0].startswith("small, deletion: ")
    assert "the account is " in answers[0]
    assert set(rows["random"]) == {"method", *(f"small, {one} (bits)" for one in curves.MEASURES)}
    assert " ± " in rows["account"]["small, deletion (bits)"]
    assert f"small: anything ({faithfulness.QUICK_DECISIONS} decisions" in capsys.readouterr().out


def test_the_command_prints_what_finds_the_true_steps_and_keeps_it(tmp_path):
    pytest.importorskip("captum", reason="captum is not installed: a dependency of this benchmark alone")
    file = tmp_path / "kept.json"
    command = [sys.executable, "-m", "benchmarks", "faithfulness", "--only", "truth", "--questions", "2"]
    command += ["--machines", "tomita-1", "parity", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "all symbols count, or none: parity" in done.stdout
    figures = json.loads(file.read_text())["figures"]
    rows = {row["method"]: row for row in figures["rows"]}
    assert rows["occlusion"]["machines, average precision"] == "1.00"
    assert {"account", "counterfactual", "integrated gradients (zeros)", "random"} <= set(rows)
    assert figures["machines"][0]["machine"] == "tomita-1"
