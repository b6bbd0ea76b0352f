"""Networks with other squashing functions, trained side by side on one language, and judged as the scoreboard judges.

One LSTM whose recurrent weights are block-diagonal holds all networks of one choice of functions: those of every seed,
with a forget gate and without. None sees another; all read the same strings and the same noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

import tallycell as tc
from tallycell.activations import Activation, activation, activation_names, register_activation
from tallycell.learning.languages import Language, Sample
from tallycell.learning.rows import AtLengths, Reach, Row, drawn, rows
from tallycell.learning.scoring import measured
from tallycell.learning.settings import SETTINGS
from tallycell.learning.trainable import Trainable, symbol_losses
from tallycell.machine.checking.network_runner import NetworkRunner
from tallycell.parameters import Activations, LSTMParameters
from tallycell.reading.saturation import read_saturation
from tallycell.recogniser import Recogniser

OPEN = 1e9  # bias of a forget gate that is 1 whatever comes: the cell of 1997, on the kernel that trains
FAR_AWAY = 1e6  # a state this large is followed no further
SEED_OF_STRINGS, SEED_OF_JUDGED, SEED_OF_READ = 1000, 2000, 3000  # none of a network's
NAMES = ("ih", "hh", "bias", "readout", "readout_bias")
FORGET = 1  # place of f among i f g o
TOMITA_4 = Row("", "tomita-4", 4, AtLengths((2000,), (41, 100, 200, 500, 1000), drawn), "")
ROWS = (replace(rows(("1b",))[0], measure=Reach(10_000)), rows(("5b",))[0], TOMITA_4)


@dataclass(frozen=True)
class Choice:
    """Squashing functions: of the gates i, f and o; of what is written; of the cell on its way out."""

    gate: str
    cell: str
    hidden: str

    @property
    def name(self) -> str:
        """The three in one word or two."""
        return f"{self.gate}, {self.cell}" + ("" if self.cell == self.hidden else f" / {self.hidden}")

    @property
    def activations(self) -> Activations:
        """The functions themselves."""
        return Activations(squashing(self.gate), squashing(self.cell), squashing(self.hidden))


def squashing(name: str) -> Activation:
    """Give a function by its name; ``softsign_gate``, which no library has, is (1 + softsign) / 2."""
    if name == "softsign_gate" and name not in activation_names():
        register_activation(
            name,
            lambda x: 0.5 + 0.5 * x / (1.0 + np.abs(x)),
            lambda x, y: 0.5 / ((1.0 + np.abs(x)) * (1.0 + np.abs(x))),
            range=(0.0, 1.0), left=0.0, right=1.0,
        )  # fmt: skip
    return activation(name)


def torch_lstm(features: int, units: int, choice: Choice, **options: Any) -> tc.LSTM:
    """Give an LSTM with those functions."""
    chosen = choice.activations
    return tc.LSTM(features, units, gate=chosen.gate, cell=chosen.cell, hidden=chosen.hidden, **options)


@torch.no_grad()
def open_forget_gate(ih: Tensor, hh: Tensor, bias: Tensor) -> None:
    """Set a forget gate to 1 for good: at its limit it has no derivative, so that training leaves it there."""
    ih.zero_()
    hh.zero_()
    bias.fill_(OPEN)


# ---- training --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How networks are trained; all other numbers are those of the scoreboard's recipe.

    Attributes
    ----------
    steps
        Of Adam, one batch of strings each.
    pressed
        With the noise on pre-activations and the growing slope of that recipe; else with neither.
    """

    steps: int
    pressed: bool = False

    @property
    def last_slope(self) -> float:
        """Slope that stays in the weights."""
        return SETTINGS.slope_at(1.0) if self.pressed else 1.0


class SideBySide(nn.Module):
    """Networks of one language and one choice of functions, one for each seed, with a forget gate and without.

    Attributes
    ----------
    ih, hh, bias, readout, readout_bias
        Weights of all networks: (network, 4, unit, ...) in the order i f g o, and (network, output, ...). First come
        those with a forget gate of their own, a network a seed, then those without.
    lost
        Of each network, whether it was given up because its states went beyond all bounds.
    """

    def __init__(self, language: Language, hidden: int, choice: Choice, seeds: Sequence[int]) -> None:
        super().__init__()
        self.language, self.hidden, self.choice, self.seeds = language, hidden, choice, tuple(seeds)
        drawn_nets = [self._draw(seed) for seed in seeds]
        for name, parts in zip(NAMES, zip(*drawn_nets, strict=True), strict=True):
            setattr(self, name, nn.Parameter(torch.stack(parts).repeat(2, *[1] * parts[0].dim()).detach()))
        with torch.no_grad():
            self.bias[: len(seeds), FORGET] += SETTINGS.forget_bias
        open_forget_gate(*(getattr(self, name)[len(seeds) :, FORGET] for name in NAMES[:3]))
        self.lost = torch.zeros(2 * len(seeds), dtype=torch.bool)
        # Its own weights are never used; noise comes as input features.
        self._lstm = torch_lstm(len(language.alphabet) + 4 * hidden, 2 * len(seeds) * hidden, choice)
        self._lstm.requires_grad_(False)

    def _draw(self, seed: int) -> list[Tensor]:
        """Weights as torch draws them, the same for every choice of functions."""
        torch.manual_seed(seed)
        net = Trainable.of(self.language, hidden=self.hidden)
        one = net.lstm
        by_gate = (one.weight_ih_l0, one.weight_hh_l0, one.bias_ih_l0 + one.bias_hh_l0)
        parts = [weight.unflatten(0, (4, self.hidden)) for weight in by_gate]
        return [*parts, net.readout.weight, net.readout.bias]

    def states(self, codes: Tensor, slope: float = 1.0, noise: Tensor | None = None) -> Tensor:
        """h of all networks after each symbol: (time, sequence, network, unit); codes (time, sequence)."""
        x = functional.one_hot(codes, len(self.language.alphabet)).float()
        noise = x.new_zeros(*codes.shape, 4 * self.hidden) if noise is None else noise
        h, _ = functional_call(self._lstm, self.laid_out(slope, noisy=True), (torch.cat([x, noise], dim=2),))
        return h.view(*h.shape[:2], len(self.ih), self.hidden)

    def laid_out(self, slope: float, *, noisy: bool = False) -> dict[str, Tensor]:
        """Weights of the one LSTM that holds all networks; if noisy, with a feature more for each pre-activation."""
        count, units, ih = len(self.ih), self.hidden, self.ih
        if noisy:
            from_noise = torch.eye(4 * units).view(1, 4, units, 4 * units).expand(count, -1, -1, -1)
            ih = torch.cat([ih, from_noise], dim=3)
        blocks = self.hh.new_zeros(4, count, units, count, units)
        blocks.diagonal(dim1=1, dim2=3).copy_(self.hh.permute(1, 2, 3, 0))
        rows_of_all = 4 * count * units
        return {
            "weight_ih_l0": slope * ih.transpose(0, 1).reshape(rows_of_all, -1),
            "weight_hh_l0": slope * blocks.view(rows_of_all, -1),
            "bias_ih_l0": slope * self.bias.transpose(0, 1).reshape(-1),
            "bias_hh_l0": torch.zeros(rows_of_all),
        }

    def losses(self, sample: Sample, slope: float = 1.0, noise: Tensor | None = None) -> Tensor:
        """Loss of each network in nats a symbol that counts."""
        codes, mask = torch.from_numpy(sample.codes).T.long(), torch.from_numpy(sample.mask).T
        h = self.states(codes, slope, noise)
        while (gone := first_to_go(h.detach())).any():
            self.give_up(gone)
            h = self.states(codes, slope, noise)
        logits = torch.einsum("snu,nou->nso", h[mask], self.readout) + self.readout_bias[:, None]
        targets = torch.from_numpy(sample.targets).transpose(0, 1)[mask].expand(len(logits), -1, -1)
        each = symbol_losses(logits.flatten(0, 1), targets.flatten(0, 1), self.language.decision)
        return each.view(logits.shape[:2]).mean(1)

    @torch.no_grad()
    def give_up(self, gone: Tensor) -> None:
        """Stop networks for good: with weights of zero they disturb no other."""
        self.lost |= gone
        for name in NAMES:
            getattr(self, name)[gone] = 0.0

    @torch.no_grad()
    def clip_gradients(self) -> None:
        """Shorten each network's gradient as the scoreboard's recipe does; a network that is lost has none."""
        gradients = [getattr(self, name).grad for name in NAMES]
        length = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factor = (SETTINGS.longest_gradient / length).clamp(max=1.0)
        for gradient in gradients:
            gradient *= factor.view(-1, *[1] * (gradient.dim() - 1))
            gradient[self.lost] = 0.0

    def network(self, place: int, slope: float = 1.0) -> Recogniser | None:
        """Give one of the networks, the slope in its weights; None if it was lost."""
        if self.lost[place]:
            return None
        ih, hh, bias, weight, readout_bias = (getattr(self, name)[place].detach().numpy() for name in NAMES)
        weights = {"weight_ih_l0": ih, "weight_hh_l0": hh, "bias_ih_l0": bias}
        flat = {name: slope * one.reshape(4 * self.hidden, *one.shape[2:]) for name, one in weights.items()}
        flat["bias_hh_l0"] = np.zeros(4 * self.hidden, np.float32)
        parameters = LSTMParameters(flat, (self.choice.activations,))
        names = (self.language.outputs, self.language.decision)
        symbols = np.eye(len(self.language.alphabet), dtype=np.float32)
        return Recogniser(
            self.language.alphabet, symbols, parameters, weight, readout_bias, names[0], decision=names[1]
        )


def first_to_go(h: Tensor) -> Tensor:
    """Say which networks' states go beyond all bounds first; others may do so after it only because of it."""
    beyond = ~(h.abs().amax(dim=(1, 3)) <= FAR_AWAY)  # (time, network); a state that is no number is beyond, too
    return beyond[int(beyond.any(1).int().argmax())]


def strings_to_learn(language: Language, steps: int) -> list[Sample]:
    """Draw the batches of a training, the same for every choice of functions."""
    source = language.source(np.random.default_rng(SEED_OF_STRINGS))
    return [source.draw(SETTINGS.batch) for _ in range(steps)]


def train_side_by_side(nets: SideBySide, batches: Sequence[Sample], recipe: Recipe) -> None:
    """Train all networks, one step a batch."""
    generator = torch.Generator().manual_seed(SEED_OF_STRINGS)
    optimiser = torch.optim.Adam(nets.parameters(), betas=(0.9, 0.99))
    for step, sample in enumerate(batches):
        done, slope, noise = step / len(batches), 1.0, None
        if recipe.pressed:
            slope = SETTINGS.slope_at(done)
            if done < SETTINGS.noise_until:
                shape = (*sample.codes.T.shape, 4 * nets.hidden)
                noise = SETTINGS.noise * torch.randn(shape, generator=generator)
        losses = nets.losses(sample, slope, noise)
        optimiser.zero_grad()
        losses.sum().backward()
        nets.clip_gradients()
        for group in optimiser.param_groups:
            group["lr"] = SETTINGS.learning_rate_at(done)
        optimiser.step()


# ---- judging ---------------------------------------------------------------------------------------------------------


def strings_to_judge(language: Language) -> Sample:
    """Give the strings of the training length: the fixed ones, or as many new ones as a round is judged on."""
    source = language.source(np.random.default_rng(SEED_OF_STRINGS))
    others = language.source(np.random.default_rng(SEED_OF_JUDGED))
    return source.fixed or others.draw(SETTINGS.judged_on)


def judge(row: Row, nets: SideBySide, judged: Sample, slope: float = 1.0) -> list[dict[str, Any]]:
    """Say of each network whether it is right on all training strings, where it fails first, and how its gates are.

    ``first_failure`` is an n, or a length; 0 if the network was wrong on a training string, None if it failed nowhere.
    """
    sample = row.language.draw(np.random.default_rng(SEED_OF_READ), 100)
    shares = shares_at_limits(nets, sample, slope)
    said = []
    for place, of_gates in enumerate(shares):
        net = nets.network(place, slope)
        learned = net is not None and is_right(net, judged)
        first = _first_failure(row, net) if net is not None and learned else 0
        none = dict.fromkeys(of_gates)
        about = {"learned": learned, "lost": net is None, "first_failure": first}
        said.append(about | (none if net is None else of_gates))
    return said


def is_right(net: Recogniser, judged: Sample) -> bool:
    """Whether every decision on all strings is right."""
    chosen, _ = NetworkRunner(net).run(judged.codes)
    wrong = (chosen != (judged.targets > 0.5)).any(-1) & judged.mask & judged.determined
    return not wrong.any()


def _first_failure(row: Row, net: Recogniser) -> int | None:
    found = measured(row, net)
    if isinstance(row.measure, Reach):
        return found["first_failure"]
    return min((one["length"] for one in found["lengths"] if one["right"] < one["strings"]), default=None)


def shares_at_limits(nets: SideBySide, sample: Sample, slope: float) -> list[dict[str, float]]:
    """Give of each network the shares as of :func:`shares_of`; all are read in one trace."""
    weights = {name: weight.detach().numpy() for name, weight in nets.laid_out(slope).items()}
    x = np.eye(len(nets.language.alphabet), dtype=np.float32)[sample.codes.T]
    activations = nets.choice.activations
    trace = tc.record_trace(LSTMParameters(weights, (activations,)), x, lengths=sample.lengths)
    read = read_saturation(trace)  # once: it takes longer than all else
    parts = [slice(k * nets.hidden, (k + 1) * nets.hidden) for k in range(len(nets.ih))]
    return [
        shares_of(trace.isel(unit=part), read.isel(unit=part), activations.gate, forget=k < len(nets.seeds))
        for k, part in enumerate(parts)
    ]


def shares_of(trace: Any, read: Any, gate: Activation, *, forget: bool) -> dict[str, float]:
    """Share of the values of i, o and, where there is one, f that are near a limit, and that are the limit itself."""
    gates = ["i", "f", "o"] if forget else ["i", "o"]
    near = (read["left"] + read["right"]).sel(gate=gates)
    values = np.concatenate([trace[name].to_numpy().ravel() for name in gates])
    values = values[np.isfinite(values)]  # beyond the end of a string stands NaN
    exact = (values == gate.left) | (values == gate.right)
    return {"saturated": float(near.mean()), "at_limit": float(exact.mean())}
