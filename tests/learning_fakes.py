"""Networks that stand for trained ones: compiled machines, and the same with forget gates that leak."""

from dataclasses import replace

import numpy as np

import tallycell as tc
from compiled_once import network_for
from tallycell.learning.scoring import Trained
from tallycell.parameters import LSTMParameters


def exact(language):
    """A network that decides as the language's machine, float32; for learning from sampled symbols by argmax."""
    # Where one symbol may follow, its logit alone is above 0.
    net = network_for(language.machine)
    keep = [net.outputs.index(output) for output in language.outputs]
    weight, bias = net.readout_weight[keep], net.readout_bias[keep]
    return replace(
        net, readout_weight=weight, readout_bias=bias, outputs=language.outputs, decision=language.decision
    )  # fmt: skip


def leaky(language, closed=0.4):
    """The same, but the pre-activations of its forget gates are so much smaller that a kept cell shrinks."""
    net = exact(language)
    p = net.parameters
    rows = slice(p.hidden_size, 2 * p.hidden_size)
    weights = {name: np.array(weight) for name, weight in p.weights.items()}
    for weight in weights.values():
        weight[rows] *= closed
    return replace(net, parameters=LSTMParameters(weights))


def untrained(language, hidden):
    """A network of random weights."""
    rng = np.random.default_rng(0)
    weights = {
        "weight_ih_l0": rng.normal(size=(4 * hidden, len(language.alphabet))).astype(np.float32),
        "weight_hh_l0": rng.normal(size=(4 * hidden, hidden)).astype(np.float32),
    }
    readout = rng.normal(size=(len(language.outputs), hidden))
    return tc.Recogniser(
        language.alphabet, np.eye(len(language.alphabet)), LSTMParameters(weights), readout,
        np.zeros(len(language.outputs)), language.outputs, language.decision,
    )  # fmt: skip


def train_exact(row, seed):
    """Stand in for training: exact at once."""
    return Trained(exact(row.language), runs=1, seconds=0.5 + seed, loss=0.01)


def train_now_and_then(row, seed):
    """Stand in for training: of every third seed the second run leaks, the first had learned nothing."""
    if seed % 3 == 2:
        first = untrained(row.language, row.hidden)
        return Trained(leaky(row.language), runs=2, seconds=2.0, loss=0.2, first=first)
    return train_exact(row, seed)
