"""What tallycell reads beside models: inputs, machines, strings, results, checkpoints, states, traces.

Of each a small one, written at a path with given names, and its opening.
"""

import csv
import json
import logging
import wave
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fuzz_checks import Printed
from fuzz_damage import LONGEST_ENTRY_NAME
from fuzz_words import Names, spoil_words

# ---- inputs of models ------------------------------------------------------------------------------------------------


def make_csv(path: Path, names: Names) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(names.free, ("speed", "height", "width")))
        writer.writerows(np.random.default_rng(0).normal(size=(6, 3)).round(3).tolist())


def make_array(path: Path, _: Names) -> None:
    np.save(path, np.random.default_rng(0).normal(size=(6, 3)))


def make_arrays(path: Path, names: Names) -> None:
    other = names.without("\0", LONGEST_ENTRY_NAME).free("other")
    np.savez_compressed(path, **{names.known("x"): np.ones((6, 3)), other: np.ones(2)})


def open_array(path: Path) -> Printed:
    """Read an array; where its features have names, have them printed as what triggers a unit."""
    from tallycell.opening import read_table

    read = read_table(path)
    if "feature" not in getattr(read, "coords", ()) or read.shape[1] != 3:
        return Printed()
    return Printed(pages=[printed_by("read", own_model(), "--array", path)])


def make_wav(path: Path, _: Names) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.arange(400, dtype="<i2").tobytes())


def open_wav(path: Path) -> Printed:
    from tallycell.opening.sound import read_wav

    assert np.isfinite(read_wav(path).at_rate(16_000).samples).all(), "samples not finite"
    return Printed()


def make_text(path: Path, names: Names) -> None:
    path.write_bytes("".join(names.free(symbol) for symbol in "(())()").encode())


def open_text(path: Path) -> Printed:
    """Read a text with a model that has no symbol for those that it does not know."""
    from tallycell.loaders import load
    from tallycell.opening import open_text

    open_text(load(own_model()), path)
    return Printed()


def make_vocabulary(path: Path, names: Names) -> None:
    """A list of symbols, or the mapping between them and their numbers, with the names that are given."""
    names = names.in_json() if path.suffix == ".json" else names
    words = [names.free(word) for word in ("the", "cat", "<unk>")]
    if path.suffix == ".json":
        path.write_text(json.dumps({word: k for k, word in enumerate(words)}))
    else:
        path.write_bytes("\n".join(words).encode())


def make_tokenizer(path: Path, names: Names) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1, "cat": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    held = json.loads(made.to_str())
    path.write_text(json.dumps(spoil_words(held, names.known) if names.nasty else held))


def open_vocabulary(path: Path) -> Printed:
    """Read a vocabulary, cut a text by it, and have it printed."""
    from tallycell.opening import read_vocabulary

    vocabulary = read_vocabulary(path)
    vocabulary.cut("the cat, the dog")
    return Printed(pages=[repr(vocabulary)])


def make_strings(path: Path, names: Names) -> None:
    path.write_bytes("\n".join(map(names.free, ("()", "(())", ")("))).encode())


def open_strings(path: Path) -> Printed:
    from tallycell.cli.machine_files import read_sample

    read_sample(path, recogniser())
    return Printed()


@cache
def recogniser() -> Any:
    from tallycell.parameters import LSTMParameters
    from tallycell.recogniser import Recogniser

    rng = np.random.default_rng(0)
    lstm = LSTMParameters({"weight_ih_l0": rng.normal(size=(8, 3)), "weight_hh_l0": rng.normal(size=(8, 2))})
    return Recogniser(("(", ")"), np.eye(2, 3), lstm, rng.normal(size=(2, 2)), np.zeros(2), ("no", "yes"))


@cache
def own_model() -> Path:
    """Write the recogniser to a file, which stays as long as the process."""
    import atexit
    import shutil
    import tempfile

    from tallycell.loaders import save

    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    save(recogniser(), Path(folder, "own.safetensors"))
    return Path(folder, "own.safetensors")


def printed_by(*words: str | Path) -> str:
    """Run a command and give what it prints; its error is raised as it was."""
    from typer.testing import CliRunner

    from tallycell.cli.commands import app

    return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False).output


# ---- recognisers, for the commands that read machines from them ------------------------------------------------------


def make_recogniser(path: Path, names: Names) -> None:
    """A network that counts and forgets, so that there is a difference to tell of; its symbols and outputs named."""
    from dataclasses import replace

    from tallycell.loaders import save
    from tallycell.machine.compiling.compilation import compile_machine
    from tallycell.machine.shipped import shipped_machine
    from tallycell.parameters import LSTMParameters

    net = compile_machine(shipped_machine("dyck-1"))
    p = net.parameters
    leaking = {name: np.array(weight) for name, weight in p.weights.items()}
    for weight in leaking.values():
        weight[p.hidden_size : 2 * p.hidden_size] *= 0.2
    words = {"alphabet": tuple(map(names.free, net.alphabet)), "outputs": tuple(map(names.free, net.outputs))}
    save(replace(net, parameters=LSTMParameters(leaking), **words), path)


def open_recogniser(path: Path) -> Printed:
    """Read a machine from it, and compare the two."""
    machine = path.with_name("machine.json")
    program = printed_by("extract", path, "--output", machine, "--anyway")
    compared = ("check", machine, path, "--length", "3", "--samples", "5", "--longest", "20")
    return Printed(
        pages=[printed_by("inspect", path), printed_by(*compared)],
        listings=[program],
        data=[printed_by("inspect", path, "--json"), printed_by(*compared, "--json")],
    )


# ---- counter machines ------------------------------------------------------------------------------------------------


def make_notation(path: Path, names: Names) -> None:
    free = {name: json.dumps(names.in_json().free(name)) for name in ("open", "close", "depth", "low", "high", "deep")}
    text = (
        "alphabet {open} {close}\ncounter {depth}\n"
        "state {low}:\n  on {open} {depth} +1 -> {high}\n  on {close} fail\n"
        "state {high}:\n  on {open} {depth} +1\n  on {close} {depth} > 1 {depth} -1\n"
        "  on {close} {depth} = 1 {depth} -1 -> {low}\n"
        "accept when {depth} = 0\ntag {deep} when {depth} > 1\notherwise fail\n"
    )
    path.write_text(text.format(**free))


def make_machine_in_json(path: Path, names: Names) -> None:
    from tallycell.machine.notation.interchange import to_json
    from tallycell.machine.shipped import shipped_machine

    fields, names = json.loads(to_json(shipped_machine("dyck-1"))), names.in_json()
    for part in ("alphabet", "states", "counters"):
        fields[part] = [names.free(name) for name in fields[part]]
    path.write_text(json.dumps(spoil_words(fields, names.known)))


def open_machine(path: Path) -> Printed:
    """Read a machine, write it in each form, and run it."""
    from tallycell.cli import machine_runs
    from tallycell.cli.machine_files import GivenString
    from tallycell.cli.terminal import json_text
    from tallycell.machine.notation.file import read_machine
    from tallycell.machine.notation.interchange import to_dot, to_json
    from tallycell.machine.notation.text import format_machine
    from tallycell.machine.running.export import to_c, to_python

    machine, remarks = read_machine(path)
    first = machine.alphabet[0]
    strings = [GivenString("".join(symbols), symbols) for symbols in ([], [first], [first, machine.alphabet[-1]] * 3)]
    last = machine_runs.run_strings(machine, strings, lambda *_: None)
    return Printed(
        pages=[machine_runs.to_text(machine, strings, last), *machine_runs.steps_to_text(machine, strings), *remarks],
        listings=[format_machine(machine), to_dot(machine), to_c(machine), to_python(machine)],
        data=[to_json(machine), json_text(machine_runs.as_object(machine, strings, last, steps=True))],
    )


# ---- what learning and streaming keep --------------------------------------------------------------------------------


def make_results(path: Path, names: Names) -> None:
    """One of our own results of each measure, with its words."""
    ours = map(json.loads, (Path(__file__).parents[1] / "docs" / "scoreboard.jsonl").read_text().splitlines())
    by_row = {result["row"]: result for result in ours}
    lines = []
    for row in ("1", "6"):
        words = {key: names.in_json().free(value) for key, value in by_row[row].items() if key == "machine"}
        lines.append(json.dumps(spoil_words(by_row[row] | words, names.known)) + "\n")
    path.write_text("".join(lines))


def open_results(path: Path) -> Printed:
    """Read results, and make the page of them."""
    from tallycell.learning.scoreboard import make_page

    page = path.with_name("page.md")
    make_page(path, page, plot=False)
    return Printed(listings=[page.read_text()])


def train_a_little(checkpoint: Path, progress: Any = None) -> None:
    """Train as little as can be, on from a checkpoint if it is there."""
    import torch

    from tallycell.learning.languages import language
    from tallycell.learning.settings import Settings
    from tallycell.learning.training import train

    torch.set_num_threads(1)
    little = Settings(together=2, steps=2, judged_on=5, checked_on=5)
    train(language("parity"), hidden=2, budget=2, settings=little, checkpoint=checkpoint, on_progress=progress)


class Interrupted(Exception):  # noqa: N818, as it is none
    """Somebody stops a training."""


def make_checkpoint(path: Path, names: Names) -> None:
    """Interrupt a training; with nasty names, in the words of its checkpoint."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    if not path.with_name("sound").exists():
        interrupt_training(path.with_name("sound"))
    sound = path.with_name("sound")
    with safe_open(sound, "pt") as file:
        words = {key: json.loads(text) for key, text in file.metadata().items()}
    tensors = {names.known(name): x for name, x in load_file(sound).items()}
    save_file(tensors, path, {key: json.dumps(spoil_words(one, names.known)) for key, one in words.items()})


def interrupt_training(checkpoint: Path) -> None:
    from tallycell.learning import training

    def stop(progress: Any) -> None:
        if progress.step == 2:
            raise Interrupted

    training.SECONDS_BETWEEN_CHECKPOINTS = -1
    try:
        train_a_little(checkpoint, stop)
    except Interrupted:
        return


def open_checkpoint(path: Path) -> Printed:
    train_a_little(path)
    return Printed()


def make_state(path: Path, names: Names) -> None:
    from safetensors.numpy import save_file

    about = {"version": 1, names.known("format"): names.known("lstm_state")}
    tensors = {names.known(name): np.ones((1, 2, 3), np.float32) for name in "hc"}
    save_file(tensors, path, {"tallycell": json.dumps(about), names.free("made by"): names.free("nobody")})


def open_state(path: Path) -> Printed:
    from tallycell.streaming import LSTMState

    return Printed(pages=[repr(LSTMState.load(path))])


def make_trace(path: Path, names: Names) -> None:
    import xarray as xr

    from tallycell.parameters import LSTMParameters
    from tallycell.trace import record_trace, save_trace

    lstm = LSTMParameters({"weight_ih_l0": np.ones((8, 2)), "weight_hh_l0": np.zeros((8, 2))})
    labels = {"sequence": [names.without("\0").free("ann"), "bo"], "feature": [names.free("red"), "blue"]}
    x = xr.DataArray(np.ones((3, 2, 2)), dims=("time", "sequence", "feature"), coords=labels)
    save_trace(record_trace(lstm, x), path)
    if names.nasty:
        for file in sorted(path.rglob("zarr.json")):
            file.write_text(json.dumps(spoil_words(json.loads(file.read_text()), names.known)))


def open_trace(path: Path) -> Printed:
    from tallycell.trace import open_trace

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # zarr forgets what failed, and asyncio says so
    open_trace(path)
    return Printed()
