"""Train a few small networks that count, and one that cannot: what tests of extraction read.

    python examples/counting/train_small_networks.py FOLDER

Each learns, after every symbol, which symbols may follow ("accept": whether the string may end). All but the last two
are trained so that their gates saturate: noise on the pre-activations, and a slope in the activations that grows from
1 to 5 and is multiplied into the weights at the end. One core, seeds fixed; the log is ``training_log.txt``.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import tallycell as tc

Example = tuple[str, list[str]]  # a string, and after each symbol what may follow
NOISE, LAST_SLOPE, BATCH, LEARNING_RATE = 0.3, 5.0, 24, 2e-2


def anbn(rng: np.random.Generator) -> Example:
    n = int(rng.geometric(0.3))
    return "a" * n + "b" * n, ["ab"] * n + ["b"] * (n - 1) + ["."]


def anbncn(rng: np.random.Generator) -> Example:
    n = min(int(rng.geometric(0.2)), 20)
    return "a" * n + "b" * n + "c" * n, ["ab"] * n + ["b"] * (n - 1) + ["c"] * n + ["."]


def dyck_1(rng: np.random.Generator) -> Example:
    return _brackets(rng, "()", length=int(rng.integers(2, 31)))


def dyck_2(rng: np.random.Generator) -> Example:
    return _brackets(rng, "()[]", length=int(rng.integers(2, 25)))


def _brackets(rng: np.random.Generator, brackets: str, length: int) -> Example:
    opening, closing = brackets[::2], brackets[1::2]
    text, stack, legal = "", "", []
    while len(text) < length:
        if not stack or rng.random() < 0.5:
            text += opening[rng.integers(len(opening))]
            stack += text[-1]
        else:
            text += closing[opening.index(stack[-1])]
            stack = stack[:-1]
        legal.append(opening + (closing[opening.index(stack[-1])] if stack else "."))
    return text, legal


@dataclass(frozen=True)
class Task:
    """What is learned, by what network, how."""

    draw: Callable[[np.random.Generator], Example]
    alphabet: str
    units: int
    steps: int
    seed: int
    saturate: bool = True


TASKS = {
    "anbn": Task(anbn, "ab", units=3, steps=1200, seed=0),
    "dyck-1": Task(dyck_1, "()", units=2, steps=1200, seed=0),
    "anbncn": Task(anbncn, "abc", units=6, steps=2000, seed=4),
    "anbn-plain": Task(anbn, "ab", units=2, steps=1500, seed=0, saturate=False),
    "dyck-2": Task(dyck_2, "()[]", units=8, steps=1500, seed=0, saturate=False),
}


class Counter(torch.nn.Module):
    """An LSTM whose activations have a slope, and a linear readout."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        symbols = len(task.alphabet)
        self.units = task.units
        self.gates = torch.nn.Linear(symbols + task.units, 4 * task.units)
        self.readout = torch.nn.Linear(task.units, symbols + 1)
        torch.nn.init.uniform_(self.gates.weight, -0.5, 0.5)
        with torch.no_grad():
            self.gates.bias[task.units : 2 * task.units] = 1.0

    def forward(self, x: torch.Tensor, slope: float, noise: float) -> torch.Tensor:
        h = c = x.new_zeros(x.shape[1], self.units)
        said = []
        for symbol in x:
            pre = self.gates(torch.cat([symbol, h], dim=1))
            i, f, g, o = (slope * (pre + noise * torch.randn_like(pre))).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            said.append(self.readout(h))
        return torch.stack(said)


def train(task: Task) -> tuple[Counter, float]:
    """Train one network; give it and the mean loss of the last hundred steps."""
    torch.manual_seed(task.seed)
    rng = np.random.default_rng(task.seed)
    network, losses = Counter(task), []
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for step in range(task.steps):
        done = step / task.steps
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 if done < 0.3 else 0.3 if done < 0.75 else 0.1)
        x, y, within = batch(task, rng)
        slope, noise = (1 + (LAST_SLOPE - 1) * done, NOISE) if task.saturate else (1.0, 0.0)
        logits = network(x, slope, noise)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
        loss = (loss * within).sum() / within.sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    return network, float(np.mean(losses[-100:]))


def batch(task: Task, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One-hot symbols, what may follow, and which steps are within their string, (time, sequence, ...)."""
    examples = [task.draw(rng) for _ in range(BATCH)]
    outputs = task.alphabet + "."
    shape = max(len(text) for text, _ in examples), BATCH
    x, y = torch.zeros(*shape, len(task.alphabet)), torch.zeros(*shape, len(outputs))
    within = torch.zeros(*shape, 1)
    for column, (text, legal) in enumerate(examples):
        within[: len(text), column] = 1
        for time_step, (symbol, following) in enumerate(zip(text, legal, strict=True)):
            x[time_step, column, task.alphabet.index(symbol)] = 1
            for one in following:
                y[time_step, column, outputs.index(one)] = 1
    return x, y, within


def freeze(task: Task, network: Counter) -> tc.Recogniser:
    """Multiply the slope into the weights; what is left is a plain LSTM."""
    slope = LAST_SLOPE if task.saturate else 1.0
    weight = slope * network.gates.weight.detach().numpy()
    symbols = len(task.alphabet)
    parameters = tc.LSTMParameters(
        {
            "weight_ih_l0": weight[:, :symbols],
            "weight_hh_l0": weight[:, symbols:],
            "bias_ih_l0": slope * network.gates.bias.detach().numpy(),
            "bias_hh_l0": np.zeros(len(weight), np.float32),
        }
    )
    readout = network.readout
    return tc.Recogniser(
        tuple(task.alphabet),
        np.eye(symbols),
        parameters,
        readout.weight.detach().numpy(),
        readout.bias.detach().numpy(),
        (*task.alphabet, "accept"),
        "threshold",
    )


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, task in TASKS.items():
        start = time.perf_counter()
        network, loss = train(task)
        tc.save(freeze(task, network), folder / f"{name}.safetensors")
        how = "slope and noise" if task.saturate else "plain"
        lines.append(
            f"{name}: {task.units} units, seed {task.seed}, {task.steps} steps of {BATCH} strings, {how}, "
            f"mean loss of the last 100 steps {loss:.4f}, {time.perf_counter() - start:.0f} s"
        )
        print(lines[-1], flush=True)
    head = f"examples/counting/train_small_networks.py, torch {torch.__version__}, one thread"
    (folder / "training_log.txt").write_text("\n".join([head, *lines, ""]))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "networks"))
