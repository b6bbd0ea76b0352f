"""No proof fails under hostile arithmetic; and the attack would see one that does."""

import os
from dataclasses import replace

import numpy as np
import pytest

import fuzz_proofs
from fuzz_proofs import CONTRACTS, ROWS, Hostile, attack, attack_all, draw, draw_by_hand, draw_strings, says
from tallycell.machine.proving import edge_steps, proof

NETWORKS = int(os.environ.get("TALLYCELL_FUZZ_PROOFS", "60"))  # each runs 48 strings, each in arithmetic of its own
PARTS = 2


@pytest.mark.parametrize("part", range(PARTS))
def test_no_difference_is_seen_where_agreement_was_proved(part):
    kinds, wrong = attack_all(part * (NETWORKS // PARTS), NETWORKS // PARTS)
    assert wrong == []
    # Of both kinds there are many, or nothing was tried.
    assert kinds["proved as far as strings go"] > NETWORKS // PARTS // 4
    assert kinds["not proved, and seen to differ"] > NETWORKS // PARTS // 8


@pytest.mark.parametrize(("module", "seed"), [(proof, 873), (edge_steps, 205)], ids=["readout", "pre-activations"])
def test_the_attack_finds_a_proof_that_forgets_rounding(monkeypatch, module, seed):
    assert not attack(seed).wrong
    monkeypatch.setattr(module, "gamma", lambda terms, unit: 0.0)
    assert attack(seed).wrong


def test_the_attack_finds_a_proof_that_forgets_infinity(monkeypatch):
    assert not attack(476).wrong
    monkeypatch.setattr(fuzz_proofs, "too_large", lambda *_: None)
    assert attack(476).wrong


def test_the_interpreter_says_what_the_machine_says():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        machine = draw(rng).machine
        codes = draw_strings(rng, len(machine.alphabet), 12)[::5]
        for row, chosen in zip(codes, says(machine, codes), strict=True):
            for t in range(12):
                said = machine.says(machine.run([machine.alphabet[k] for k in row[: t + 1]]))
                assert tuple(np.array(machine.outputs)[chosen[t]]) == tuple(said)


def test_the_hostile_lstm_is_an_lstm():
    """With weights of a size at which no rounding decides, it chooses as torch does."""
    torch = pytest.importorskip("torch")
    for seed in range(8):
        rng = np.random.default_rng(seed)
        _, net = draw_by_hand(rng, "float64")
        weights = {name: rng.normal(size=weight.shape) for name, weight in net.parameters.weights.items()}
        readout = rng.normal(size=net.readout_weight.shape)
        parameters = replace(net.parameters, weights=weights)
        net = replace(net, parameters=parameters, readout_weight=readout, readout_bias=np.zeros(len(readout)))
        module = torch.nn.LSTM(parameters.input_size, parameters.hidden_size, dtype=torch.float64, batch_first=True)
        module.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
        codes = draw_strings(rng, len(net.alphabet), 9)
        h, _ = module(torch.from_numpy(net.inputs[codes]))
        logits = h.detach().numpy() @ readout.T
        right = logits > 0 if net.decision == "threshold" else logits == logits.max(-1, keepdims=True)
        assert (Hostile(net, rng, ROWS).run(codes)[0] == right).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hostile_activations_lie_within_the_contract(dtype):
    rng = np.random.default_rng(0)
    _, net = draw_by_hand(rng, dtype)
    hostile, bound = Hostile(net, rng, 1), CONTRACTS[dtype]
    x = (rng.normal(size=100_000) * 15).astype(dtype)
    off, wide = rng.integers(-3, 4, size=len(x)), x.astype(np.longdouble)
    sigmoid, tanh = hostile._sigmoid(x, off), hostile._tanh(x, off)
    for found, exact, ulp in (
        (sigmoid, 1 / (1 + np.exp(-wide)), bound.sigmoid_ulp),
        (tanh, np.tanh(wide), bound.tanh_ulp),
    ):
        error = np.abs(found - exact) / np.spacing(np.abs(exact).astype(dtype))
        assert 0.6 * ulp < error.max() <= ulp
    assert (sigmoid[x >= bound.sigmoid_one] == 1).all()
    assert (np.abs(tanh[np.abs(x) >= bound.tanh_one]) == 1).all()
