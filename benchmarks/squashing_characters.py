"""Small character models with other squashing functions, by the recipe of the shipped one."""

import math
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import tallycell as tc
from benchmarks.squashing_networks import FORGET, Choice, open_forget_gate, shares_of, torch_lstm
from tallycell.parameters import LSTMParameters
from tallycell.reading.saturation import read_saturation
from tallycell.recogniser import Recogniser

EXAMPLE = Path(__file__).parent.parent / "examples" / "stdlib_character_model"
PEAK_LEARNING_RATE, WARMING, LONGEST_GRADIENT = 6e-3, 0.1, 1.0  # the recipe's
STREAMS, STEPS = 16, 80  # half of the recipe's each, since there is less text
OF_A_MODULE = 5000  # characters of a held-out module that are read
READ = 2000  # characters of which the gates are read
ORDER = 0  # seed of the order of modules, the same for all


@dataclass(frozen=True)
class Size:
    """How small: characters to learn from and how often, held-out modules, units."""

    characters: int = 300_000
    epochs: int = 2
    held_out: int = 12
    hidden: int = 64


@dataclass(frozen=True)
class Text:
    """Characters to learn from, in streams, and held-out modules, as numbers."""

    alphabet: tuple[str, ...]
    streams: Tensor  # (stream, step)
    held_out: tuple[Tensor, ...]


def open_text(size: Size) -> Text:
    """Give whole modules of this Python's own standard library; what is held out is decided as for the shipped model.

    Modules come in an order drawn once, until there are enough characters. A character that the text to learn from
    holds fewer than 10 times is unknown.
    """
    sys.path.insert(0, str(EXAMPLE))
    try:
        from corpus import is_left_out, split_of
    finally:
        sys.path.remove(str(EXAMPLE))
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.py"))
    paths = [path for path in paths if not is_left_out(path)]
    texts: dict[str, list[str]] = {"training": [], "held_out": []}
    for k in np.random.default_rng(ORDER).permutation(len(paths)).tolist():
        there = texts[split_of(paths[k])]
        enough = sum(map(len, there)) >= size.characters if there is texts["training"] else len(there) >= size.held_out
        text = "" if enough else (root / paths[k]).read_text(encoding="utf-8", errors="replace")
        if len(text) > 1:
            there.append(text)
    learned = "".join(texts["training"])[: size.characters]
    alphabet = ("<unknown>", *sorted(letter for letter in set(learned) if learned.count(letter) >= 10))
    numbers = {letter: k for k, letter in enumerate(alphabet)}

    def encoded(text: str) -> Tensor:
        return torch.tensor([numbers.get(letter, 0) for letter in text])

    usable = len(learned) // STREAMS * STREAMS
    streams = encoded(learned[:usable]).view(STREAMS, -1)
    return Text(alphabet, streams, tuple(encoded(text[:OF_A_MODULE]) for text in texts["held_out"]))


class CharacterModel(nn.Module):
    """One-hot characters, one LSTM layer, a linear readout of the next character; weights as torch draws them."""

    def __init__(self, symbols: int, hidden: int, choice: Choice, *, forget: bool) -> None:
        super().__init__()
        self.lstm = torch_lstm(symbols, hidden, choice, batch_first=True)
        self.readout = nn.Linear(hidden, symbols)
        self.choice = choice
        if not forget:
            f = slice(FORGET * hidden, (FORGET + 1) * hidden)
            open_forget_gate(self.lstm.weight_ih_l0[f], self.lstm.weight_hh_l0[f], self.lstm.bias_ih_l0[f])

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits of the next character, and the state."""
        h, state = self.lstm(functional.one_hot(tokens, self.lstm.input_size).float(), state)
        return self.readout(h), state


def train_characters(model: CharacterModel, streams: Tensor, epochs: int) -> bool:
    """Train with the state carried on, cut off every few steps; whether the loss stayed a number."""
    optimiser = torch.optim.Adam(model.parameters(), lr=PEAK_LEARNING_RATE)
    begins = range(0, streams.shape[1] - STEPS, STEPS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, total_steps=epochs * len(begins) + 1, pct_start=WARMING
    )
    for _ in range(epochs):
        state = None
        for begin in begins:
            chunk = streams[:, begin : begin + STEPS + 1]
            logits, state = model(chunk[:, :-1], state)
            state = tuple(part.detach() for part in state)
            loss = functional.cross_entropy(logits.flatten(0, 1), chunk[:, 1:].flatten())
            optimiser.zero_grad()
            loss.backward()
            length = nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
            if not (math.isfinite(loss.item()) and math.isfinite(length.item())):
                return False
            optimiser.step()
            schedule.step()
    return True


@torch.no_grad()
def bits_a_character(model: CharacterModel, modules: Sequence[Tensor]) -> float:
    """Mean over the characters of modules, each read from the zero state; its first character is given."""
    bits, characters = 0.0, 0
    for tokens in modules:
        logits, _ = model(tokens[None, :-1])
        bits += functional.cross_entropy(logits[0], tokens[1:], reduction="sum").item() / math.log(2)
        characters += len(tokens) - 1
    return bits / characters


def judge_characters(model: CharacterModel, text: Text, *, forget: bool) -> dict[str, float]:
    """Bits a character on held-out modules, how binary the gates are there, and how large the cells get."""
    weights = {name: weight.detach().numpy() for name, weight in model.lstm.named_parameters()}
    net = Recogniser(
        text.alphabet, np.eye(len(text.alphabet), dtype=np.float32),
        LSTMParameters(weights, (model.choice.activations,)),
        model.readout.weight.detach().numpy(), model.readout.bias.detach().numpy(), text.alphabet,
        unknown=text.alphabet[0],
    )  # fmt: skip
    longest = max(text.held_out, key=len)[:READ]
    trace = tc.record_trace(net, net.inputs[longest.numpy()[:, np.newaxis]])
    shares = shares_of(trace, read_saturation(trace), model.choice.activations.gate, forget=forget)
    largest = float(np.abs(trace["c"].to_numpy()).max())
    return {"bits": bits_a_character(model, text.held_out), **shares, "largest_cell": largest}


def run_characters(text: Text, choice: Choice, size: Size, seed: int, *, forget: bool) -> dict[str, Any]:
    """Train and judge one model."""
    torch.manual_seed(seed)
    model = CharacterModel(len(text.alphabet), size.hidden, choice, forget=forget)
    if not train_characters(model, text.streams, size.epochs):
        return {"bits": None, "saturated": None, "at_limit": None, "largest_cell": None}
    return judge_characters(model, text, forget=forget)
