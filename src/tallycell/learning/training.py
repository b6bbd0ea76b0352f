"""Training: small networks that learn to count from short strings, so that their gates can be snapped.

What is done, the same for every language:

1. A round of networks, drawn as torch draws them, is trained side by side by Adam (:mod:`~.population`).
2. Noise is added to every pre-activation, and the gates' slope grows: a gate that is to say the same in spite of the
   noise has to go to a limit, and a cell that is to be read at the end has to move in equal steps. Where cells are
   exposed, their slope is drawn anew for each step: they have to be read by their signs. Towards the end the noise
   stops, so that the last mistakes stand out.
3. Strings are short at first.
4. Each network of the round is judged on strings of its training alone: snapped, on how many of them does it decide
   wrongly? The best few are hardened, if they are wrong on hardly any. If none of these is right on all, another round
   begins, as long as the budget lasts.

No weight, mask or gate is taken from the language, and no string that is longer than those to learn from is read.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tallycell.errors import InputError
from tallycell.files import require_place
from tallycell.learning.checkpoint import (
    Identity,
    load_checkpoint,
    no_checkpoint,
    require_others,
    require_tensors,
    save_checkpoint,
)
from tallycell.learning.languages import Language, Sample
from tallycell.learning.population import Population
from tallycell.learning.selection import harden_on, judge_snapped
from tallycell.learning.settings import SETTINGS, Settings
from tallycell.learning.trainable import Trainable
from tallycell.machine.hardening import Hardened
from tallycell.recogniser import Recogniser
from tallycell.wording import one_line

BUDGET = 64  # networks
NOISE_POOL = 1 << 22  # numbers drawn once; each step takes a stretch of them
SECONDS_BETWEEN_CHECKPOINTS = 10.0
SMOOTHING = 0.97  # of the losses by which networks are compared


@dataclass(frozen=True)
class Progress:
    """How far training is.

    Attributes
    ----------
    runs
        Networks that were trained before this round.
    step, steps
        Steps of this round done, and of each round.
    loss
        The least of this round's networks, in nats a symbol.
    """

    runs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gave.

    Attributes
    ----------
    network
        The best network: of those that were hardened, and else of all, the one which, snapped, is wrong on the fewest
        training strings; then the one with the fewest units hardened, the fewest situations, and the least loss.
    hardened
        The network hardened for strings like those to learn from (:func:`~.selection.harden_on`); None if it cannot be.
    first
        The network of the first run, whether or not it is any good.
    judged
        The training strings that networks were judged on, and that machines were read from first.
    checked
        More of them, on which hardened networks were to be right.
    losses
        Training loss of each run at its end, noise and slope included, in nats a symbol that counts.
    snapped_errors
        Share of the training strings on which each run's network, snapped, is wrong.
    situations
        How many different h each run's network, snapped, has on them.
    hardened_units
        How many units each run's network has when hardened; infinite where it was not tried, or in vain.
    chosen
        Which run the network is of.
    steps
        Steps of each run.
    seconds
        Processor time of all runs.
    """

    network: Recogniser
    hardened: Hardened | None
    first: Recogniser
    judged: Sample
    checked: Sample
    losses: Float[np.ndarray, " run"]
    snapped_errors: Float[np.ndarray, " run"]
    situations: Int[np.ndarray, " run"]
    hardened_units: Float[np.ndarray, " run"]
    chosen: int
    steps: int
    seconds: float

    @property
    def runs(self) -> int:
        """Number of networks that were trained."""
        return len(self.losses)

    @property
    def loss(self) -> float:
        """Training loss of the network."""
        return float(self.losses[self.chosen])

    @property
    def exact_in_training(self) -> bool:
        """Whether the network, snapped, is right on all strings it was judged on."""
        return bool(self.snapped_errors[self.chosen] == 0)


def train(
    language: Language,
    *,
    hidden: int,
    seed: int = 0,
    budget: int = BUDGET,
    settings: Settings = SETTINGS,
    checkpoint: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train networks on a language until one of them, hardened, makes no error on training strings.

    On one thread (``torch.set_num_threads(1)``) the seed determines the result.

    Parameters
    ----------
    language
        What is to be learned; its protocol says from which strings.
    hidden
        Number of units.
    seed
        Of weights, strings and noise.
    budget
        The most networks to train; whole rounds are trained, at least one.
    settings
        Numbers of the recipe.
    checkpoint
        File to go on from if it is there, written every ten seconds. It stays at the end, so that nothing is lost if
        the result cannot be saved: delete it (:func:`~.checkpoint.delete_checkpoint`) once that is. Called with it
        again, training does its last seconds anew, and gives the same.
    on_progress
        Called after every step.

    Raises
    ------
    InputError
        If there is nothing to train, the checkpoint is none or of another training, or it cannot be written.

    Examples
    --------
    >>> from tallycell.learning.languages import language
    >>> trained = train(language("parity"), hidden=2, budget=4, settings=Settings(together=4, steps=10))
    >>> trained.runs, len(trained.network.alphabet)
    (4, 2)
    """
    for name, value in (("hidden", hidden), ("budget", budget)):
        if value < 1:
            raise InputError(f"{name} is {value}; train with at least 1")
    begin, saved = time.process_time(), time.monotonic()
    identity = Identity(language.name, hidden, seed, settings)
    training = _Training(language, hidden, seed, settings)
    if checkpoint is not None:
        if checkpoint.exists():
            _go_on(training, checkpoint, identity)
        require_place(checkpoint)
    before = training.seconds
    while True:
        while training.step < settings.steps:
            loss = training.take_step()
            training.seconds = before + time.process_time() - begin
            if on_progress is not None:
                on_progress(Progress(len(training.losses), training.step, settings.steps, loss))
            if checkpoint is not None and time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
                save_checkpoint(checkpoint, identity, *training.state())
                saved = time.monotonic()
        training.judge()
        if training.succeeded or len(training.losses) >= budget:
            break
        training.begin_round()
    training.seconds = before + time.process_time() - begin
    return training.result()


def _go_on(training: "_Training", checkpoint: Path, identity: Identity) -> None:
    tensors, others = load_checkpoint(checkpoint, identity)
    try:
        training.restore(tensors, others)
    except (ValueError, KeyError, TypeError, RuntimeError, OverflowError) as reason:
        # The last four are of NumPy and torch, about the states of their generators.
        raise no_checkpoint(checkpoint, one_line(reason)) from None


class _Training:
    """All that changes during training."""

    def __init__(self, language: Language, hidden: int, seed: int, settings: Settings) -> None:
        self.language, self.hidden, self.settings = language, hidden, settings
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.noise = torch.randn(NOISE_POOL, generator=self.generator) * settings.noise
        self.source = language.source(self.rng)
        self.judged = self.source.fixed or self.source.draw(settings.judged_on)
        # Drawn apart, so that what is learned does not depend on how many there are.
        others = language.source(np.random.default_rng((seed, 1)))
        self.checked = self.source.fixed or others.draw(settings.checked_on)
        self.longest = int(self.judged.lengths.max())
        self.losses: list[float] = []
        self.errors: list[float] = []
        self.situations: list[int] = []
        self.units: list[float] = []
        self.kept: dict[str, Tensor] = {}  # weights of the best network and of the first
        self.hardened: Hardened | None = None  # of the best network
        self.seconds = 0.0
        self.begin_round()

    def begin_round(self) -> None:
        """Draw new networks."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=self.generator)))
            members = [Trainable.of(self.language, hidden=self.hidden) for _ in range(self.settings.together)]
        for member in members:
            with torch.no_grad():
                bias = dict(member.named_parameters())["lstm.bias_ih_l0"]
                bias[self.hidden : 2 * self.hidden] += self.settings.forget_bias
        self.population = Population(members)
        self.optimiser = torch.optim.Adam(self.population.parameters(), betas=(0.9, 0.99))
        self.average = torch.full((len(members),), math.nan)
        self.step = 0

    def take_step(self) -> float:
        """Train on one batch; give the least loss."""
        settings, done = self.settings, self.step / self.settings.steps
        longest = settings.longest_at(done, self.longest, only_last=self.language.only_last)
        count = settings.batch * self.longest // (longest or self.longest)
        sample = self.source.draw(count, longest=longest)
        noise = self._noise(sample.codes.shape[1], sample.codes.shape[0]) if done < settings.noise_until else None
        cell_slope = settings.cell_slope_at(done, float(torch.rand((), generator=self.generator)))
        losses = self.population.losses(sample, slope=settings.slope_at(done), cell_slope=cell_slope, noise=noise)
        self.optimiser.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        self.population.clip_gradients(settings.longest_gradient)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate_at(done)
        self.optimiser.step()
        now = losses.detach()
        self.average = now if self.step == 0 else SMOOTHING * self.average + (1 - SMOOTHING) * now
        self.step += 1
        return float(self.average.min())

    def judge(self) -> None:
        """Note how good this round's networks are, and keep the best so far."""
        rows, before = self.population.weights.detach(), len(self.losses)
        for loss, row in zip(self.average.tolist(), rows, strict=True):
            found = judge_snapped(self._network(row), self.judged)
            self.losses.append(loss)
            self.errors.append(found.errors)
            self.situations.append(found.situations)
            self.units.append(math.inf)
        learned = [run for run in range(before, len(self.losses)) if self.errors[run] <= self.settings.nearly]
        for run in sorted(learned, key=self._rank)[: self.settings.hardened]:
            hardened = harden_on(self._network(rows[run - before]), self.judged, self.checked)
            if hardened is None:
                continue
            self.units[run] = float(hardened.net.parameters.hidden_size)
            if self.best == run:
                self.hardened = hardened
            if self.units[run] <= self.hidden:
                break
        if before == 0:
            self.kept["first"] = rows[0].clone()
        if self.best >= before:
            self.kept["best"] = rows[self.best - before].clone()

    def _rank(self, run: int) -> tuple[float, ...]:
        return math.isinf(self.units[run]), self.errors[run], self.units[run], self.situations[run], self.losses[run]

    @property
    def best(self) -> int:
        """Give the best run so far; of equals the first."""
        return min(range(len(self.losses)), key=self._rank)

    @property
    def succeeded(self) -> bool:
        """Whether a network so far, hardened, is right on all strings it was judged on."""
        return math.isfinite(self.units[self.best])

    def result(self) -> Trained:
        """Give what was found."""
        network = self._network(self.kept["best"])
        return Trained(
            network=network,
            hardened=self.hardened,
            first=self._network(self.kept["first"]),
            judged=self.judged,
            checked=self.checked,
            losses=np.array(self.losses),
            snapped_errors=np.array(self.errors),
            situations=np.array(self.situations),
            hardened_units=np.array(self.units),
            chosen=self.best,
            steps=self.settings.steps,
            seconds=self.seconds,
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give all that changes, as tensors and as what JSON can hold."""
        tensors = {"weights": self.population.weights.detach(), "average": self.average}
        tensors |= {"generator": self.generator.get_state(), **self.kept}
        moments = self.optimiser.state_dict()["state"].get(0, {})
        tensors |= {f"adam.{name}": torch.as_tensor(value) for name, value in moments.items()}
        others = {
            "step": self.step, "losses": self.losses, "errors": self.errors, "situations": self.situations,
            "units": self.units, "seconds": self.seconds, "rng": self.rng.bit_generator.state,
        }  # fmt: skip
        return tensors, others

    def restore(self, tensors: dict[str, Tensor], others: dict[str, Any]) -> None:
        """Go back to a state.

        Raises
        ------
        ValueError
            If it is none of this training. NumPy and torch raise others, if that of a generator is none.
        """
        require_others(others, self.settings)
        require_tensors(tensors, self._tensors_after(others["step"], len(others["losses"])))
        self.kept = {name: tensors[name] for name in ("first", "best") if name in tensors}
        self.step, self.seconds = others["step"], others["seconds"]
        self.losses, self.errors = others["losses"], others["errors"]
        self.situations, self.units = others["situations"], others["units"]
        self.average = tensors["average"]
        with torch.no_grad():
            self.population.weights.copy_(tensors["weights"])
        optimiser = self.optimiser.state_dict()
        moments = {name.removeprefix("adam."): t for name, t in tensors.items() if name.startswith("adam.")}
        optimiser["state"] = {0: moments} if moments else {}
        self.optimiser.load_state_dict(optimiser)
        # Last: all that draws numbers comes before.
        self.generator.set_state(tensors["generator"])
        self.rng.bit_generator.state = others["rng"]

    def _tensors_after(self, step: int, runs: int) -> dict[str, Tensor]:
        """Give tensors such as a state has after a step of a round, and runs before that."""
        weights = self.population.weights.detach()
        tensors = {"weights": weights, "average": self.average, "generator": self.generator.get_state()}
        if step > 0:
            tensors |= {"adam.step": torch.zeros(()), "adam.exp_avg": weights, "adam.exp_avg_sq": weights}
        return tensors | dict.fromkeys(("first", "best") if runs > 0 else (), weights[0])

    def _noise(self, time: int, sequences: int) -> Tensor:
        shape = (time, sequences, self.population.noises)
        size = math.prod(shape)
        begin = int(torch.randint(NOISE_POOL - size, (), generator=self.generator))
        return self.noise[begin : begin + size].view(shape)

    def _network(self, weights: Float[Tensor, " weight"]) -> Recogniser:
        return self.population.alone(weights, self.settings.slope).freeze()
