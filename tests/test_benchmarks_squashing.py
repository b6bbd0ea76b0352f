"""The networks, the judging and the slopes of ``python -m benchmarks squashing``."""

import argparse
import contextlib
import io
import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import tallycell as tc
from tallycell import activations
from tallycell.kernels.cpu import readiness
from tallycell.learning.languages import language
from tallycell.learning.settings import SETTINGS
from tallycell.machine.compiling.compilation import compile_machine
from tallycell.parameters import LSTMParameters
from tallycell.reading.saturation import read_saturation

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks are not installed; they run from the repository

from benchmarks import __main__, squashing, squashing_characters, squashing_limits, squashing_networks  # noqa: E402
from benchmarks.squashing_networks import Choice, Recipe, SideBySide  # noqa: E402

CLASSICAL = Choice("sigmoid", "tanh", "tanh")
ANBN = language("anbn")
ROUNDING = 1e-5  # of float32, over a few dozen steps
TORCH = {
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "softsign_gate": lambda x: (1 + torch.nn.functional.softsign(x)) / 2,
    "tanh": torch.tanh,
    "hard_tanh": torch.nn.functional.hardtanh,
    "softsign": torch.nn.functional.softsign,
}


def side_by_side(choice=CLASSICAL, seeds=(0, 1), steps=0, hidden=3, *, pressed=False):
    nets = SideBySide(ANBN, hidden, choice, seeds)
    batches = squashing_networks.strings_to_learn(ANBN, steps)
    squashing_networks.train_side_by_side(nets, batches, Recipe(steps, pressed))
    return nets


def states(net, codes):
    h = tc.record_trace(net, net.inputs[codes.T])["h"].squeeze(["layer", "direction"])
    return h.transpose("time", "sequence", ...).to_numpy()


# The whole command


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """In this process, with fewer characters to read; the cores it takes, and the functions it names, would last."""
    folder, printed = tmp_path_factory.mktemp("squashing"), io.StringIO()
    words = ["benchmarks", "squashing", "--quick", "--json", folder / "kept.json", "--picture", folder / "picture.png"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("default")  # as in a process of its own
        patch.setattr(activations, "_FAMILIES", dict(activations._FAMILIES))
        patch.setattr(squashing, "use_threads", lambda _: None)
        patch.setattr(readiness, "_seconds_spent", {})
        patch.setattr(readiness, "COMPILING_TAKES", math.inf)  # so short a run does not pay for it
        patch.setattr(squashing_characters, "OF_A_MODULE", 300)
        patch.setattr(squashing_characters, "READ", 200)
        patch.setattr(sys, "argv", list(map(str, words)))
        __main__.main()
    return json.loads((folder / "kept.json").read_text())["figures"], printed.getvalue(), folder


def test_there_is_a_row_for_each_task_recipe_choice_and_forget_gate(quick):
    figures, _, _ = quick
    names = [Choice(*names).name for names in squashing.CHOICES]
    found = [(row["task"], row["pressed"], row["functions"], row["forget_gate"]) for row in figures["rows"]]
    of_languages = [
        (task, pressed, name, forget)
        for task in ("anbn", "dyck-1", "tomita-4")
        for pressed in (False, True)
        for name in names
        for forget in (True, False)
    ]
    assert found == [
        *of_languages,
        *(("characters", False, name, forget) for name in names for forget in (True, False)),
    ]


def test_every_seed_is_told(quick):
    figures, printed, _ = quick
    for row in figures["rows"]:
        seeds = 1 if row["task"] == "characters" else squashing.QUICK_SEEDS
        lists = [values for values in row.values() if isinstance(values, list)]
        assert lists
        assert all(len(values) == seeds for values in lists)
    assert all(table in printed for table in squashing.tables(figures))


def test_the_picture_is_drawn_and_kept_figures_draw_the_same(quick, monkeypatch):
    figures, _, folder = quick
    monkeypatch.setattr(squashing, "use_threads", lambda _: None)  # which would last beyond this test
    asked = argparse.Namespace(quick=False, kept=folder / "kept.json", picture=folder / "again.png")
    assert squashing.run(asked) == figures
    assert asked.picture.read_bytes() == (folder / "picture.png").read_bytes()


def test_first_failures_tell_not_learned_from_none_found():
    row = {"learned": [True, False, True], "first_failure": [40, 0, None]}
    assert squashing.failures_of(row) == "40 – ∞"


# Near the limits


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("near", ["0.1", "0.01"])
def test_slopes_near_a_limit_are_those_of_autograd(name, near):
    row = squashing_limits.row_of(name, squashing_limits.APPROACHES[name])
    x = torch.tensor(row[f"x_at_{near}"], dtype=torch.float64, requires_grad=True)
    y = TORCH[name](x)
    assert y.item() == pytest.approx(1 - float(near), abs=1e-12)
    (slope,) = torch.autograd.grad(y, x)
    assert row[f"slope_at_{near}"] == pytest.approx(slope.item(), rel=1e-9)


@pytest.mark.parametrize("name", [*TORCH, "sine"])
def test_slopes_at_0_are_those_of_autograd(name):
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad({**TORCH, "sine": torch.sin}[name](x), x)
    assert squashing_limits.SLOPES_AT_0[name] == pytest.approx(slope.item(), abs=1e-12)


@pytest.mark.parametrize("name", TORCH)
def test_the_limit_itself_is_reached_about_there_in_torch_too(name):
    row = squashing_limits.row_of(name, None)
    there = torch.tensor(row["right_limit_from"], dtype=torch.float32)
    assert TORCH[name](1.5 * there) == 1
    assert TORCH[name](0.5 * there) < 1


def test_at_the_limit_itself_hard_functions_have_no_slope_and_softer_ones_had_some():
    for name in ("hard_sigmoid", "hard_tanh"):
        x = torch.tensor(3.0, requires_grad=True)
        TORCH[name](x).backward()
        assert x.grad == 0
    x = torch.tensor(3.0, requires_grad=True)
    torch.sigmoid(x).backward()
    assert x.grad > 0


def test_a_forget_gate_keeps_its_power_of_the_steps():
    row = squashing_limits.row_of("sigmoid", None)
    cell = torch.ones(())
    for _ in range(100):
        cell = cell * torch.sigmoid(torch.tensor(5.0))
    assert row["kept_at_5"] == pytest.approx(cell.item(), rel=1e-5)
    assert squashing_limits.row_of("hard_sigmoid", None)["kept_at_5"] == 1


# Networks side by side


def test_each_network_by_itself_does_what_it_does_beside_the_others():
    nets = side_by_side(Choice("hard_sigmoid", "sine", "relu"), steps=2, pressed=True)
    codes = ANBN.draw(np.random.default_rng(5), 4).codes
    together = nets.states(torch.from_numpy(codes).T.long(), slope=8.0).detach().numpy()
    for place in range(4):
        alone = states(nets.network(place, 8.0), codes)
        np.testing.assert_allclose(together[:, :, place], alone, atol=ROUNDING)


def test_losses_are_those_of_torchs_own_lstm():
    nets = side_by_side()
    sample = ANBN.draw(np.random.default_rng(5), 6)
    net = nets.network(0)
    lstm = torch.nn.LSTM(2, 3)
    lstm.load_state_dict({name: torch.tensor(weight) for name, weight in net.parameters.weights.items()})
    h, _ = lstm(torch.nn.functional.one_hot(torch.from_numpy(sample.codes).T.long(), 2).float())
    logits = (h @ torch.tensor(net.readout_weight).T + torch.tensor(net.readout_bias)).transpose(0, 1)
    right = torch.from_numpy(sample.targets)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, right, reduction="none").sum(-1)
    expected = each[torch.from_numpy(sample.mask)].mean()
    assert nets.losses(sample)[0].item() == pytest.approx(expected.item(), rel=ROUNDING)


def test_no_network_learns_from_another():
    alone, beside = side_by_side(seeds=(1,), steps=4), side_by_side(seeds=(0, 1, 2), steps=4)
    for mine, theirs in ((0, 1), (1, 4)):  # with a forget gate, without
        for name in squashing_networks.NAMES:
            np.testing.assert_allclose(
                getattr(alone, name)[mine].detach(), getattr(beside, name)[theirs].detach(), rtol=1e-3, atol=1e-4
            )


def test_every_choice_begins_with_the_same_weights():
    one, other = side_by_side(), side_by_side(Choice("hard_sigmoid", "hard_tanh", "hard_tanh"))
    assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in squashing_networks.NAMES)


def test_forget_gates_begin_as_the_scoreboards_do():
    torch.manual_seed(1)
    drawn = torch.nn.LSTM(2, 3)
    expected = (drawn.bias_ih_l0 + drawn.bias_hh_l0).view(4, 3) + torch.tensor([0.0, SETTINGS.forget_bias, 0, 0])[
        :, None
    ]
    np.testing.assert_allclose(side_by_side().bias[1].detach(), expected.detach(), atol=1e-6)


@pytest.mark.parametrize("names", squashing.CHOICES)
def test_without_a_forget_gate_is_the_cell_of_1997_after_training_too(names):
    choice = Choice(*names)
    net = side_by_side(choice, seeds=(0,), steps=2).network(1)
    none = LSTMParameters(net.parameters.weights, (choice.activations,), forget_gate="none")
    x = np.eye(2, dtype=np.float32)[ANBN.member(9)]
    ours, theirs = tc.record_trace(net, x), tc.record_trace(none, x)
    assert (ours["f"] == 1).all()
    np.testing.assert_allclose(ours["h"], theirs["h"], atol=ROUNDING)


def test_a_network_beyond_all_bounds_is_lost_and_disturbs_no_other():
    choice = Choice("sigmoid", "relu", "relu")
    nets, undisturbed = side_by_side(choice), side_by_side(choice)
    with torch.no_grad():
        nets.bias[0] += 1e38  # its states are infinite soon, and 0 times that is no number
    sample = ANBN.draw(np.random.default_rng(0), 8)
    losses, expected = nets.losses(sample), undisturbed.losses(sample)
    assert nets.lost.tolist() == [True, False, False, False]
    np.testing.assert_allclose(losses[1:].detach(), expected[1:].detach(), rtol=ROUNDING)
    assert nets.network(0) is None


def test_a_network_within_bounds_is_not_lost():
    nets = side_by_side(Choice("sigmoid", "relu", "relu"))
    with torch.no_grad():
        nets.bias[0, 2] += 1000.0  # writes a thousand a step
    nets.losses(ANBN.draw(np.random.default_rng(0), 8))
    assert not nets.lost.any()


# Judging


def test_a_network_that_is_right_on_all_strings_has_learned_and_a_near_miss_has_not():
    judged = squashing_networks.strings_to_judge(ANBN)
    net = compile_machine(ANBN.machine)
    assert net.outputs == ANBN.outputs
    assert squashing_networks.is_right(net, judged)
    longest = judged.lengths.argmax()
    judged.targets[longest, judged.lengths[longest] - 1] = 1 - judged.targets[longest, judged.lengths[longest] - 1]
    assert not squashing_networks.is_right(net, judged)


@pytest.mark.parametrize("names", [("sigmoid", "tanh", "tanh"), ("hard_sigmoid", "hard_tanh", "hard_tanh")])
def test_shares_at_limits_are_those_of_torchs_gates(names):
    nets = side_by_side(Choice(*names), seeds=(0,))
    sample = ANBN.draw(np.random.default_rng(1), 20)
    slope = 20.0
    with_gate, without = squashing_networks.shares_at_limits(nets, sample, slope)
    within = torch.from_numpy(np.arange(sample.codes.shape[1]) < sample.lengths[:, None]).T
    lstm = tc.LSTM.from_parameters(nets.network(0, slope).parameters)
    x = torch.nn.functional.one_hot(torch.from_numpy(sample.codes).T.long(), 2).float()
    _, _, gates = lstm.traced(x)
    values = torch.cat([getattr(gates, name)[0][0].detach()[within] for name in "ifo"])
    near = ((values < 0.1) | (values > 0.9)).float().mean().item()
    assert with_gate["saturated"] == pytest.approx(near, abs=1e-3)
    assert with_gate["at_limit"] == pytest.approx(((values == 0) | (values == 1)).float().mean().item(), abs=1e-3)
    assert without["at_limit"] < 1  # the gate that is always open does not count


# Characters


def test_a_model_that_knows_nothing_needs_the_logarithm_of_its_alphabet():
    model = squashing_characters.CharacterModel(8, 4, CLASSICAL, forget=True)
    with torch.no_grad():
        model.readout.weight.zero_()
        model.readout.bias.zero_()
    modules = (torch.tensor([1, 2, 3, 4]), torch.tensor([5, 6]))
    assert squashing_characters.bits_a_character(model, modules) == pytest.approx(math.log2(8), rel=1e-6)


def test_a_character_model_learns_and_its_open_forget_gate_stays_open():
    torch.manual_seed(0)
    model = squashing_characters.CharacterModel(3, 8, CLASSICAL, forget=False)
    streams = torch.tensor([[0, 1, 2] * 100] * squashing_characters.STREAMS)
    assert squashing_characters.train_characters(model, streams, 40)
    assert squashing_characters.bits_a_character(model, (streams[0],)) < 1.2  # who guesses needs log2(3) = 1.58
    x = np.eye(3, dtype=np.float32)[streams[0, :50].numpy()]
    assert (tc.record_trace(model.lstm.to_parameters(), x)["f"] == 1).all()


def test_a_loss_that_is_no_number_ends_the_training():
    model = squashing_characters.CharacterModel(3, 4, CLASSICAL, forget=True)
    with torch.no_grad():
        model.readout.bias[0] = math.nan
    streams = torch.zeros(2, 200, dtype=torch.long)
    assert not squashing_characters.train_characters(model, streams, 1)


def test_shares_of_a_trace_leave_the_forget_gate_out_where_there_is_none():
    weights = {"weight_ih_l0": np.zeros((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    weights["bias_ih_l0"], weights["bias_hh_l0"] = np.array([0.0, 100, 0, 0]), np.zeros(4)
    chosen = Choice("hard_sigmoid", "tanh", "tanh").activations
    trace = tc.record_trace(LSTMParameters(weights, (chosen,)), np.zeros((3, 1)))
    read = read_saturation(trace)
    assert squashing_networks.shares_of(trace, read, chosen.gate, forget=True) == pytest.approx(
        {"saturated": 1 / 3, "at_limit": 1 / 3}
    )
    assert squashing_networks.shares_of(trace, read, chosen.gate, forget=False) == {"saturated": 0.0, "at_limit": 0.0}
