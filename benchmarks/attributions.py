"""One decision of an LSTM, the number that is measured of it, and the methods that say which steps it comes from.

Every method gives a score a step: above 0 where the step speaks for the decision. Measured is the logarithm of the
probability of what was decided (softmax, or sigmoid), or the number itself. Methods that explain any function explain
that. The account and its kin explain what is linear in what is shown of h: the logit alone, or the logit less those of
the other outputs, each by its probability, which is the slope of that logarithm. Two runs and contextual decomposition
know no relu in front of the linear layer: they take it as it stood in the free run, open or shut.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from benchmarks.decompositions import between_two_runs, contextual_decomposition
from tallycell.activations import activation
from tallycell.effect.account import explain_output
from tallycell.effect.counterfactual import Way, counterfactual_steps
from tallycell.loaders.loaded_model import Head, LoadedModel
from tallycell.parameters import LSTMParameters

Kind = Literal["softmax", "sigmoid", "number"]
Row = Literal["alone", "against"]  # of what is linear in what is shown: the logit alone, or less those of the others
BITS = 1 / np.log(2)
PATH = 50  # points between the baseline and the input, as captum has them by default


@dataclass(frozen=True, eq=False)
class Network:
    """An LSTM and the linear layer that reads it.

    Attributes
    ----------
    parameters
        The LSTM: sigmoid and tanh, without projection.
    weight, bias
        Of the linear layer, (output, hidden) and (output,).
    kind
        What its outputs are.
    relu
        Whether h passes a ReLU before the linear layer.
    """

    parameters: LSTMParameters
    weight: Float[np.ndarray, "output hidden"]
    bias: Float[np.ndarray, " output"]
    kind: Kind
    relu: bool = False

    @cached_property
    def lstm(self) -> Any:
        """The same in torch, in float64."""
        import torch

        p = self.parameters
        lstm = torch.nn.LSTM(
            p.input_size, p.hidden_size, p.num_layers, bidirectional=p.bidirectional, batch_first=True,
            bias="bias_ih_l0" in p.weights,
        ).double()  # fmt: skip
        lstm.load_state_dict({name: torch.tensor(np.asarray(value, np.float64)) for name, value in p.weights.items()})
        return lstm.requires_grad_(False)

    def read_of(self, x: Any) -> Any:
        """What the linear layer reads, (sequence, time, hidden), of a tensor (sequence, time, feature)."""
        h = self.lstm(x)[0]
        return h.relu() if self.relu else h

    def logits(self, x: Any) -> Any:
        """Outputs of each step, (sequence, time, output), of a tensor."""
        import torch

        return self.read_of(x) @ torch.tensor(self.weight).double().T + torch.tensor(self.bias).double()


@dataclass(frozen=True, eq=False)
class Decision:
    """One output of a network at one step of a sequence.

    Attributes
    ----------
    network
        Whose.
    x
        The sequence, in float64.
    step, output
        Which.
    """

    network: Network
    x: Float[np.ndarray, "time feature"]
    step: int
    output: int

    @cached_property
    def sign(self) -> float:
        """-1 for an output of a sigmoid that is decided against."""
        return -1.0 if self.network.kind == "sigmoid" and self.logits[self.output] < 0 else 1.0

    @cached_property
    def logits(self) -> np.ndarray:
        """All outputs at the step."""
        import torch

        return self.network.logits(torch.tensor(self.x)[None])[0, self.step].numpy()

    def measure(self, x: Any) -> Any:
        """Measure the decision on other inputs, a tensor (sequence, time, feature): bits, or the number."""
        from torch.nn.functional import logsigmoid

        logits = self.network.logits(x)[:, self.step]
        if self.network.kind == "softmax":
            return logits.log_softmax(-1)[:, self.output] * BITS
        one = logits[:, self.output]
        return logsigmoid(self.sign * one) * BITS if self.network.kind == "sigmoid" else one

    @cached_property
    def alone(self) -> np.ndarray:
        """What the logit alone reads of what is shown, (hidden,), with the sign of what was decided."""
        return self.sign * self.network.weight[self.output].astype(np.float64)

    @cached_property
    def against(self) -> np.ndarray:
        """What the logit less those of the others, each by its probability, reads of what is shown."""
        if self.network.kind != "softmax":
            return self.alone
        shares = np.exp(self.logits - self.logits.max())
        return self.network.weight[self.output] - shares / shares.sum() @ self.network.weight.astype(np.float64)

    @cached_property
    def against_of_h(self) -> np.ndarray:
        """What ``against`` reads of h itself, with relu as it stood: nothing where it was shut."""
        import torch

        if not self.network.relu:
            return self.against
        return self.against * (self.network.read_of(torch.tensor(self.x)[None])[0, self.step].numpy() > 0)


Method = Callable[[Decision], Float[np.ndarray, " time"]]


def account(decision: Decision, row: Row) -> np.ndarray:
    """What each step wrote, as far as it was kept and shown: the account, summed over units."""
    model = _model(decision, getattr(decision, row))
    return _on_all_steps(decision, explain_output(model, _x(decision), decision.step, 0).by_step())


@lru_cache(maxsize=8)
def counterfactual(decision: Decision, row: Row, way: Way = "write") -> np.ndarray:
    """What the output loses without each step."""
    if row == "against" and decision.against is decision.alone:
        return counterfactual(decision, "alone", way)
    model = _model(decision, getattr(decision, row))
    return -_on_all_steps(decision, counterfactual_steps(model, _x(decision), decision.step, 0, without=way))


def _model(decision: Decision, row: np.ndarray) -> LoadedModel:
    shown = activation("relu" if decision.network.relu else "identity")
    return LoadedModel({"": decision.network.parameters}, Path("network"), head=Head(row[np.newaxis], shown=shown))


def _x(decision: Decision) -> np.ndarray:
    return decision.x.astype(decision.network.parameters.dtype)


def _on_all_steps(decision: Decision, entries: Any) -> np.ndarray:
    """Steps behind the decision have no part in it."""
    scores = np.zeros(len(decision.x))
    scores[: len(entries)] = entries.to_numpy()
    return scores


def gradient_times_input(decision: Decision) -> np.ndarray:
    import torch

    x = torch.tensor(decision.x)[None].requires_grad_()
    (slope,) = torch.autograd.grad(decision.measure(x).sum(), x)
    return (slope * x).detach().sum(-1)[0].numpy()


def integrated_gradients(decision: Decision, baseline: np.ndarray) -> np.ndarray:
    """Captum's, from a baseline, (feature,), at every step."""
    import torch
    from captum.attr import IntegratedGradients

    x = torch.tensor(decision.x)[None]
    there = torch.tensor(baseline).expand_as(x)
    found = IntegratedGradients(decision.measure).attribute(x, baselines=there, n_steps=PATH)
    return found.detach().sum(-1)[0].numpy()


def occlusion(decision: Decision) -> np.ndarray:
    """Captum's: each step by itself replaced with zeros."""
    import torch
    from captum.attr import Occlusion

    x = torch.tensor(decision.x)[None]
    with torch.no_grad():
        found = Occlusion(decision.measure).attribute(
            x, sliding_window_shapes=(1, x.shape[2]), baselines=0, perturbations_per_eval=x.shape[1]
        )
    return found[0, :, 0].numpy()


def decomposition(decision: Decision) -> np.ndarray:
    return contextual_decomposition(decision.network.parameters, decision.x, decision.against_of_h, decision.step)[0]


def two_runs(decision: Decision, baseline: np.ndarray, *, gates: bool = True) -> np.ndarray:
    there, p = np.broadcast_to(baseline, decision.x.shape), decision.network.parameters
    return between_two_runs(p, decision.x, there, decision.against_of_h, decision.step, gates=gates)


def methods(seed: int) -> Mapping[str, Method]:
    """All methods, by name."""
    rng = np.random.default_rng(seed)
    zeros, mean = (lambda one: np.zeros(one.x.shape[1])), (lambda one: one.x.mean(0))
    return {
        "account": lambda one: account(one, "alone"),
        "account against others": lambda one: account(one, "against"),
        "counterfactual": lambda one: counterfactual(one, "alone"),
        "counterfactual against others": lambda one: counterfactual(one, "against"),
        "counterfactual (mean) against others": lambda one: counterfactual(one, "against", "mean"),
        "two runs (zeros)": lambda one: two_runs(one, zeros(one)),
        "two runs (zeros) without gates": lambda one: two_runs(one, zeros(one), gates=False),
        "two runs (mean)": lambda one: two_runs(one, mean(one)),
        "gradient x input": gradient_times_input,
        "integrated gradients (zeros)": lambda one: integrated_gradients(one, zeros(one)),
        "integrated gradients (mean)": lambda one: integrated_gradients(one, mean(one)),
        "occlusion": occlusion,
        "contextual decomposition": decomposition,
        "random": lambda one: rng.standard_normal(len(one.x)),
    }
