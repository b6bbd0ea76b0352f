"""Roles: how many units of some models have each, beside what networks of their shape that learned nothing have."""

import argparse
import json
import os
import time
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

import tallycell as tc
import tallycell.loaders

HELP = "roles of the units of the shipped model, silero-vad and uzmorph-nn, beside nothing learned"
PROJECT = Path(__file__).parent.parent
MODELS = Path(os.environ.get("TALLYCELL_MODELS", Path.home() / ".cache" / "tallycell" / "models"))
SILERO = MODELS / "silero-vad-6.2.3" / "silero_vad" / "data" / "silero_vad.onnx"
UZMORPH = MODELS / "uzmorph-nn-0.1.0" / "uzmorph_nn" / "data"
WORDS = [
    "kitob",
    "kitoblar",
    "kitoblarim",
    "kitoblarimiz",
    "kitoblarimizda",
    "maktab",
    "maktabda",
    "maktabdan",
    "maktabga",
    "bola",
    "bolalar",
    "bolalarning",
    "bolalarga",
    "uy",
    "uylar",
    "uyda",
    "uydan",
    "uyga",
    "ishlamoq",
    "ishladi",
    "ishladim",
    "ishlaymiz",
    "ishlayapti",
    "boradi",
    "bordi",
    "bormoqda",
    "kelganman",
    "kelgan",
    "keldik",
    "yozdi",
    "yozmoq",
    "yozuvchi",
    "katta",
    "kattaroq",
    "yaxshi",
    "yaxshiroq",
    "men",
    "sen",
    "biz",
    "siz",
    "ular",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", choices=("shipped", "silero", "uzmorph"), help="only this model")


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Read each model, and three shuffled ones of its shape."""
    figures = []
    for name, model, given in opened(arguments.only):
        began = time.perf_counter()
        trace = tc.record_trace(model, given)
        recorded = time.perf_counter()
        if not given.legible or given.tokens is not None:
            trace = trace.drop_vars("x")
        reading = tc.read_units(trace, given, model=model)
        read = time.perf_counter()
        nothing = reading.nothing_learned
        assert nothing is not None  # there is a model
        seconds = f"recorded in {recorded - began:.1f} s, read in {read - recorded:.1f} s"
        print(f"\n{name}: {len(reading.units)} units; {seconds}")
        print(f"  {'role':<18}{'units':>6}{'share':>8}{'nothing learned':>18}")
        for role, count in reading.roles().items():
            if count or nothing.roles[role]:
                print(f"  {role:<18}{count:>6}{count / len(reading.units):>8.0%}{nothing.roles[role]:>18.0%}")
        figures.append({"model": name, "roles": reading.roles(), "nothing_learned": dict(nothing.roles)})
    return figures


def opened(only: str | None) -> Iterator[tuple[str, Any, tc.Input]]:
    """Open the models that are there, each with something to read."""
    if only in (None, "shipped"):
        shipped = files("tallycell") / "shipped"
        with as_file(shipped / "stdlib_characters.safetensors") as path:
            model = tc.load(path)
        yield "shipped model", model, tc.open_text(model, (shipped / "sample.txt").read_text(encoding="utf-8"))
    if only in (None, "silero"):
        if SILERO.is_file():
            model = tc.load(SILERO)
            yield "silero-vad 6.2.3", model, tc.open_audio(model, PROJECT / "tests" / "data" / "demo-abouttotry.wav")
        else:
            print(f"\nsilero-vad is left out: {SILERO} is not there")
    if only in (None, "uzmorph"):
        if (UZMORPH / "morph_bilstm.pth").is_file():
            model = tc.load(UZMORPH / "morph_bilstm.pth")
            yield "uzmorph-nn 0.1.0", model, one_word_a_sequence(model)
        else:
            print(f"\nuzmorph-nn is left out: {UZMORPH} is not there")


def one_word_a_sequence(model: tc.loaders.LoadedModel) -> tc.Input:
    """300 words, each read from its own start as the package does."""
    numbers = json.loads((UZMORPH / "char_vocab.json").read_text(encoding="utf-8"))
    words = np.random.default_rng(0).choice(WORDS, 300).tolist()
    lengths = np.array([len(word) for word in words])
    x = np.zeros((int(lengths.max()), len(words), model.embedding.shape[1]), np.float32)
    for k, word in enumerate(words):
        x[: len(word), k] = model.embedding[[numbers[letter] for letter in word]]
    return tc.Input(x, "words", "300 Uzbek words", tokens=[list(word) for word in words], lengths=lengths)
