"""The models whose decisions are explained: the shipped one, those of two how-to pages, and silero-vad."""

import contextlib
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

import tallycell as tc
from benchmarks.attributions import Decision, Kind, Network
from tallycell.activations import activation
from tallycell.loaders.loaded_model import Head
from tallycell.parameters import LSTMParameters

PROJECT = Path(__file__).parent.parent
PAGES = PROJECT / "docs" / "how-to"
MODELS = Path(os.environ.get("TALLYCELL_MODELS", Path.home() / ".cache" / "tallycell" / "models"))
SILERO = MODELS / "silero-vad-6.2.3" / "silero_vad" / "data" / "silero_vad.onnx"
CHARACTERS, DAYS, CALLS = 100, 365, 100  # steps that are read before a decision


class MissingError(Exception):
    """A model is not there; the text says why."""


@dataclass(frozen=True)
class Subject:
    """A model with decisions to explain.

    Attributes
    ----------
    name
        What the tables call it.
    unit
        Of what is measured.
    about
        What is decided, and what stands in the place of a step that is taken out.
    decisions
        Drawn with a seed.
    """

    name: str
    unit: str
    about: str
    decisions: tuple[Decision, ...]


def run_page(name: str, heading: str) -> dict[str, Any]:
    """Run a how-to page up to one of its headings, and give its names.

    Raises
    ------
    MissingError
        If the page lacks its data.
    """
    path = PAGES / name
    source, found, _ = path.read_text(encoding="utf-8").partition(f"# ## {heading}\n")
    if not found:
        raise ValueError(f"{path} has no heading {heading!r}")
    names: dict[str, Any] = {"__file__": str(path), "__name__": name}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(source, path, "exec"), names)
    except SystemExit as stopped:
        raise MissingError(str(stopped)) from None
    return names


def character_model(count: int, rng: np.random.Generator) -> Subject:
    shipped = files("tallycell") / "shipped"
    with as_file(shipped / "stdlib_characters.safetensors") as path:
        model = tc.load(path)
    network = model.recogniser
    assert network is not None
    given = np.asarray(tc.open_text(model, (shipped / "sample.txt").read_text(encoding="utf-8")).x, np.float64)
    one = Network(network.parameters, network.readout_weight, network.readout_bias, "softmax")
    ends = rng.choice(np.arange(CHARACTERS, len(given)), count, replace=False)
    about = f"the likeliest next character, after {CHARACTERS} characters; no character in the place of one"
    return Subject("characters", "bits", about, tuple(_largest(one, given[e - CHARACTERS : e]) for e in ends))


def tagger(count: int, rng: np.random.Generator) -> Subject:
    page = run_page("my_own_tagger.py", "Record it while it runs")
    model, decisions = page["model"], []
    found = tc.load(model)
    one = _network(found.lstm, found.head, "softmax")
    while len(decisions) < count:
        words = page["write_words"](rng, rng.integers(25, 41))
        opinions = np.flatnonzero(page["tag"](words))
        x = model.embedding.weight.detach().numpy().astype(np.float64)[page["to_numbers"](words)]
        decisions += [_largest(one, x, int(k)) for k in rng.permutation(opinions)[:1]]
    return Subject("tagger", "bits", "the tag of an opinion word; zeros in the place of a word", tuple(decisions))


def hydrology(count: int, rng: np.random.Generator) -> Subject:
    page = run_page("which_cell_is_the_snow.py", "Ask it")
    weather = page["x"].to_numpy().astype(np.float64)
    found = tc.load(page["model"])
    one = _network(found.lstm, found.head, "number")
    ends = zip(rng.integers(len(weather), size=count), rng.integers(DAYS, weather.shape[1], count), strict=True)
    decisions = tuple(Decision(one, weather[basin, day - DAYS + 1 : day + 1], DAYS - 1, 0) for basin, day in ends)
    return Subject("hydrology", "mm/day", f"discharge after {DAYS} days; mean weather in the place of a day", decisions)


def silero(count: int, rng: np.random.Generator) -> Subject:
    if not SILERO.is_file():
        raise MissingError(f"there is no {SILERO}; unpack the package silero-vad 6.2.3 as silero-vad-6.2.3 in {MODELS}")
    model = tc.load(SILERO)
    given = tc.open_audio(model, PROJECT / "tests" / "data" / "demo-abouttotry.wav")
    x = np.asarray(given.x, np.float64).reshape(len(given.x), -1)
    one = _network(model[given.lstm], model.head_of(given.lstm), "sigmoid")
    decisions = tuple(_largest(one, x[e - CALLS : e]) for e in rng.choice(np.arange(CALLS, len(x)), count, False))
    return Subject("silero", "bits", f"speech or none after {CALLS} calls; zeros in the place of a call", decisions)


SUBJECTS: Mapping[str, Callable[[int, np.random.Generator], Subject]] = {
    "characters": character_model,
    "tagger": tagger,
    "hydrology": hydrology,
    "silero": silero,
}


def _largest(network: Network, x: np.ndarray, step: int | None = None) -> Decision:
    step = len(x) - 1 if step is None else step
    return Decision(network, x, step, int(Decision(network, x, step, 0).logits.argmax()))


def _network(parameters: LSTMParameters, head: Head | None, kind: Kind) -> Network:
    assert head is not None
    assert head.bias is not None
    return Network(parameters, head.weight, head.bias, kind, relu=head.shown == activation("relu"))
