"""Train twenty LSTMs to count as most people would, and say which of them tallycell makes exact.

    python examples/counting/train_plain_networks.py FOLDER [--harden]

Ten units, ``torch.nn.LSTM``, Adam, cross-entropy on the next symbol; no noise, no slope in the activations, nothing
that presses gates to 0 and 1. Eight networks learn a^n b^n and six a^n b^n c^n, n to 100, short ones more often; six
learn Dyck-1, words of up to 100 brackets and what closes them. What a network says after a symbol is what may follow:
the symbols whose probability is above 0.005; for the odd seeds of the first two languages, the likeliest one (balanced
brackets hardly ever end there). Seeds are fixed, one thread each; the log is ``train_log.txt``. Such networks are
not exact: their steps are unequal, their cells sag.

With ``--harden`` nothing is trained: each network in the folder is hardened, told that its symbols come in order (of
brackets, given 300 words), and the first failure is searched to n = 1,000,000, before and after.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

import tallycell as tc
from tallycell.errors import TallycellError
from tallycell.learning.languages import language
from tallycell.machine.checking.deciding import Decider
from tallycell.machine.checking.language_search import search_first_failure
from tallycell.machine.checking.network_runner import NetworkRunner

UNITS, BATCH, LEARNING_RATE, STEPS = 10, 16, 1e-2, 4000
LONGEST = 100
FARTHEST = 1_000_000
ORDERS = {"anbn": "ab", "anbncn": "abc"}
# What a network is meant to read: the symbols in their order.
IN_ORDER = {
    "anbn": """
        alphabet a b
        state start:
          on a -> first
        state first:
          on a -> first
          on b -> second
        state second:
          on b -> second
        accept
        otherwise fail""",
    "anbncn": """
        alphabet a b c
        state start:
          on a -> first
        state first:
          on a -> first
          on b -> second
        state second:
          on b -> second
          on c -> third
        state third:
          on c -> third
        accept
        otherwise fail""",
}


@dataclass(frozen=True)
class Task:
    """What one network learns."""

    language: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.language}-{self.seed}"

    @property
    def alphabet(self) -> str:
        return ORDERS.get(self.language, "()")

    @property
    def decision(self) -> str:
        return "argmax" if self.seed % 2 and self.language in ORDERS else "softmax above 0.005"


TASKS = [Task(name, seed) for name, seeds in (("anbn", 8), ("anbncn", 6), ("dyck-1", 6)) for seed in range(seeds)]


class Model(torch.nn.Module):
    """The next symbol, or the end, after each symbol."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(symbols, UNITS, batch_first=True)
        self.out = torch.nn.Linear(UNITS, symbols + 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(x)[0])


def words(task: Task, rng: np.random.Generator) -> Iterator[str]:
    """Draw words of a language without end."""
    while True:
        if task.language in ORDERS:
            n = 1 + int((LONGEST - 1) * rng.random() ** 3)
            yield "".join(symbol * n for symbol in task.alphabet)
            continue
        text, depth = "", 0
        opens = rng.uniform(0.3, 0.6)
        while len(text) < LONGEST and (not text or depth or rng.random() < 0.9):
            text += "(" if depth == 0 or rng.random() < opens else ")"
            depth += 1 if text[-1] == "(" else -1
        yield text + ")" * depth


def train(task: Task, folder: Path) -> str:
    """Train one network, write it, and say how."""
    torch.set_num_threads(1)
    torch.manual_seed(task.seed)
    drawn = words(task, np.random.default_rng(task.seed))
    symbols, start = len(task.alphabet), time.perf_counter()
    model, losses = Model(symbols), []
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        texts = [next(drawn) for _ in range(BATCH)]
        x = torch.zeros(BATCH, max(map(len, texts)), symbols)
        following = torch.full(x.shape[:2], -100)  # which cross_entropy leaves out
        for row, text in enumerate(texts):
            codes = torch.tensor([task.alphabet.index(symbol) for symbol in text])
            x[row, torch.arange(len(codes)), codes] = 1
            following[row, : len(codes)] = torch.cat([codes[1:], torch.tensor([symbols])])
        loss = torch.nn.functional.cross_entropy(model(x).flatten(0, 1), following.flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    strings = [next(drawn) for _ in range(200)]
    net = tc.Recogniser.from_torch(
        model, alphabet=task.alphabet, outputs=(*task.alphabet, "accept"), decision=task.decision, strings=strings
    )
    tc.save(net, folder / f"{task.name}.safetensors")
    return (
        f"{task.name}: {UNITS} units, {STEPS} steps of {BATCH} strings, {task.decision}, mean loss of the last 100 "
        f"steps {np.mean(losses[-100:]):.4f}, {time.perf_counter() - start:.0f} s"
    )


def harden(task: Task, folder: Path) -> str:
    """Harden one network and say how far what comes out is right, or why there is none."""
    net = tc.load(folder / f"{task.name}.safetensors").recogniser
    assert net is not None
    start, before = time.perf_counter(), first_failure(task, NetworkRunner(net))
    try:
        drawn = words(task, np.random.default_rng(1000 + task.seed))
        inputs = tc.parse(IN_ORDER[task.language]) if task.language in IN_ORDER else list(islice(drawn, 300))
        hardened = tc.harden(net, inputs)
    except TallycellError as refusal:
        after = f"refused: {str(refusal).splitlines()[0][:160]}"
    else:
        machine = hardened.extraction.machine
        after = (
            f"hardened {first_failure(task, NetworkRunner(hardened.net))}, {len(machine.states)} states, "
            f"{len(machine.counters)} counters, horizon {tc.counting_horizon(machine, hardened.net).symbols:,}"
        )
    return f"{task.name}: first failure trained {before}, {after}; {time.perf_counter() - start:.0f} s"


def first_failure(task: Task, decider: Decider) -> str:
    """Give the first failure in n: of the likeliest symbol alone, where only one is right."""
    known = language(task.language)
    truth = replace(known.truth, sampled=task.decision == "argmax")
    found = search_first_failure(decider, truth, lambda n: [(symbol, n) for symbol in task.alphabet], FARTHEST)
    return f"none to {found.searched:,}" if found.n is None else f"{found.n:,} ({found.kind})"


def main(folder: Path, work: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = train if work == "train" else harden
    lines = [f"examples/counting/train_plain_networks.py, torch {torch.__version__}, one thread a network"]
    with ProcessPoolExecutor(2) as pool:
        for line in pool.map(done, TASKS, [folder] * len(TASKS)):
            lines.append(line)
            print(line, flush=True)
    (folder / f"{work}_log.txt").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "networks"), "harden" if "--harden" in sys.argv else "train")
