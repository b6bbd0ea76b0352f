import subprocess
import sys

import numpy as np
import pytest

import tallycell as tc
from compiled_once import network_of
from tallycell.errors import ParameterError
from tallycell.learning.languages import language
from tallycell.machine.checking.network_runner import NetworkRunner

torch = pytest.importorskip("torch")

from tallycell.learning.trainable import Trainable, symbol_losses  # noqa: E402  needs torch


def network(name="anbn", hidden=3, seed=0, **options):
    torch.manual_seed(seed)
    return Trainable.of(language(name), hidden=hidden, **options)


@pytest.mark.parametrize("name", ["anbn", "anbn-sampled", "cycle-navigation", "shuffle-2"])
@pytest.mark.parametrize("options", [{}, {"layers": 2}, {"dtype": torch.float64}])
def test_frozen_it_decides_and_computes_the_same(name, options):
    net, of = network(name, hidden=7, **options), language(name)
    sample = of.draw(np.random.default_rng(0), 30)
    with torch.no_grad():
        logits = net(sample.codes).numpy()
    frozen = net.freeze()
    chosen, _ = NetworkRunner(frozen).run(sample.codes.astype(np.int64))
    ours = logits > 0 if of.decision == "threshold" else logits.argmax(-1)[..., None] == np.arange(len(of.outputs))
    np.testing.assert_array_equal(chosen, ours)
    assert (frozen.alphabet, frozen.outputs, frozen.decision) == (of.alphabet, of.outputs, of.decision)
    trace = tc.record_trace(frozen.parameters, frozen.inputs[sample.codes.T])
    h = trace["h"].isel(layer=-1, direction=0).transpose("sequence", "time", "unit").to_numpy()
    np.testing.assert_allclose(
        frozen.logits(h), logits, atol=1e-6 if net.readout.weight.dtype == torch.float32 else 1e-13
    )


def test_a_frozen_network_does_not_change_with_training():
    net = network()
    frozen = net.freeze()
    before = frozen.readout_weight.copy(), frozen.parameters.weights["weight_ih_l0"].copy()
    with torch.no_grad():
        for weight in net.parameters():
            weight += 1
    np.testing.assert_array_equal(frozen.readout_weight, before[0])
    np.testing.assert_array_equal(frozen.parameters.weights["weight_ih_l0"], before[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_a_recogniser_and_back_is_the_same_recogniser(dtype):
    net = network_of("anbncn", dtype)
    assert Trainable.from_recogniser(net).freeze() == net


def test_two_layers_come_back_as_they_went():
    frozen = network("dyck-1", hidden=4, layers=2).freeze()
    assert Trainable.from_recogniser(frozen).freeze() == frozen


def test_a_recogniser_that_starts_elsewhere_is_refused():
    net = network_of("anbn")
    started = tc.Recogniser(
        net.alphabet, net.inputs, net.parameters, net.readout_weight, net.readout_bias, net.outputs, net.decision,
        c_0=np.ones((1, net.parameters.hidden_size)),
    )  # fmt: skip
    with pytest.raises(ParameterError, match="has an initial state, a projection or a second direction; Trainable has"):
        Trainable.from_recogniser(started)


def test_the_loss_of_a_threshold_is_binary_cross_entropy_summed_over_outputs():
    logits = torch.tensor([[0.0, 2.0], [-1.0, 3.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    p = 1 / (1 + np.exp(-logits.numpy()))
    expected = [-np.log(p[0, 0]) - np.log(1 - p[0, 1]), -np.log(1 - p[1, 0]) - np.log(p[1, 1])]
    np.testing.assert_allclose(symbol_losses(logits, targets, "threshold"), expected)


def test_the_loss_of_an_argmax_is_the_surprise_at_the_right_output():
    logits = torch.tensor([[0.0, 2.0, 1.0]], dtype=torch.float64)
    targets = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    expected = np.log(np.exp(0) + np.exp(2) + np.exp(1)) - 1
    np.testing.assert_allclose(symbol_losses(logits, targets, "argmax"), [expected])


def test_the_loss_counts_under_the_mask_alone():
    of = language("parity")
    sample = of.draw(np.random.default_rng(0), 6)
    net = network("parity")
    logits = net(sample.codes)
    elsewhere = torch.from_numpy(~sample.mask)
    changed = logits + 100 * elsewhere[..., None]
    assert net.loss(sample, changed).item() == net.loss(sample, logits).item() == net.loss(sample).item()
    there = logits + 1.0 * torch.from_numpy(sample.mask)[..., None]
    assert net.loss(sample, there).item() != net.loss(sample).item()


def test_every_weight_learns_and_the_inputs_do_not():
    net = network("anbncn")
    net.loss(language("anbncn").draw(np.random.default_rng(0), 8)).backward()
    names = {name for name, _ in net.named_parameters()}
    assert names == {f"lstm.{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")} | {
        "readout.weight", "readout.bias",
    }  # fmt: skip
    assert all(weight.grad.abs().sum() > 0 for weight in net.parameters())
    assert torch.equal(net.inputs, torch.eye(3))


def test_plain_descent_lowers_the_loss():
    of, net = language("anbn"), network(hidden=4)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    source = of.source(np.random.default_rng(0))
    test = of.draw(np.random.default_rng(1), 50)
    before = net.loss(test).item()
    for _ in range(100):
        optimiser.zero_grad()
        net.loss(source.draw(16)).backward()
        optimiser.step()
    assert net.loss(test).item() < before / 2


@pytest.mark.parametrize("name", ["anbn", "dyck-1", "anbncn"])
def test_a_compiled_machine_decides_as_the_targets_say(name):
    net = Trainable.from_recogniser(network_of(name))
    sample = language(name).draw(np.random.default_rng(0), 20)
    with torch.no_grad():
        chosen = net(sample.codes).numpy() > 0
    np.testing.assert_array_equal(chosen[sample.determined], sample.targets[sample.determined] > 0)


def test_languages_need_no_torch_and_trainable_says_what_to_install():
    code = """
import sys
sys.modules["torch"] = None
from tallycell.learning.languages import language
language("anbn")
try:
    import tallycell.learning.trainable
except ImportError as missing:
    print(missing)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'tallycell[torch]'" in run.stdout
