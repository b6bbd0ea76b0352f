"""What a child process of ``fuzzing`` does: it makes damaged files, opens them and sees what comes."""

import faulthandler
import json
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

import fuzz_checks as checks
from fuzz_damage import damage
from fuzz_kinds import KINDS, Kind
from fuzz_special import open_special, special_files
from fuzz_words import Names

MOST_SECONDS = 20  # for one file
MOST_SECONDS_AT_FIRST = 240  # with all libraries imported, and kernels compiled
LINES_OF_A_TRACEBACK = 8


@dataclass(frozen=True)
class Failure:
    """A file that gave something else than a result or a clean line."""

    kind: str
    seed: int
    number: int | None  # None for a special file
    what: str
    kept: str = ""

    def __str__(self) -> str:
        if self.number is None:
            return f"{self.kind}: {self.what}"
        again = f"--kinds {self.kind!r} --seed {self.seed} --first {self.number} --count 1"
        return f"{self.kind}, number {self.number} ({again}), kept as {self.kept}:\n{self.what}"


@dataclass
class Outcome:
    """What came of the files of one kind.

    Attributes
    ----------
    kind
        Which.
    results, clean_lines, failures
        How many gave a result, how many one clean line, and those that gave anything else.
    slowest, grown
        Seconds for the slowest, and MiB that memory grew by at most.
    """

    kind: str
    results: int = 0
    clean_lines: int = 0
    failures: list[Failure] = field(default_factory=list)
    slowest: float = 0.0
    grown: float = 0.0

    @classmethod
    def from_json(cls, line: str) -> "Outcome":
        fields = json.loads(line)
        return cls(**fields | {"failures": [Failure(**one) for one in fields["failures"]]})

    @property
    def files(self) -> int:
        """How many damaged files there were."""
        return self.results + self.clean_lines + sum(failure.number is not None for failure in self.failures)

    def add(self, other: "Outcome") -> None:
        """Count another round too."""
        self.results += other.results
        self.clean_lines += other.clean_lines
        self.failures += other.failures
        self.slowest, self.grown = max(self.slowest, other.slowest), max(self.grown, other.grown)


@dataclass(frozen=True)
class Task:
    """What one child process does.

    Attributes
    ----------
    numbers
        By kind the files that are opened, from the first number to before the last.
    seed
        Of the damage.
    folder
        Where what fails is kept.
    seconds
        For each kind; what is not done then is left out.
    special
        Whether special files are opened first.
    """

    numbers: dict[str, tuple[int, int]]
    seed: int
    folder: str
    seconds: float = 1e9
    special: bool = True

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def work(task: Task, working: Path) -> None:
    """Open the files of a task in a folder, and print the outcome of each kind as a line of JSON."""
    outcomes = {name: Outcome(name) for name in task.numbers}
    sound = {name: working / str(k) / KINDS[name].file for k, name in enumerate(outcomes)}
    for name, path in sound.items():
        _, why = try_to(lambda name=name, path=path: make_sound(KINDS[name], path), MOST_SECONDS_AT_FIRST)
        if why:
            outcomes[name].failures.append(Failure(name, task.seed, None, why))
    checks.limit_memory()
    for name, outcome in outcomes.items():
        if not outcome.failures:
            if task.special:
                open_specials(outcome, sound[name], task, working / "now")
            open_damaged(outcome, sound[name], task, working / "now")
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()


def make_sound(kind: Kind, path: Path) -> None:
    """Make a file as it should be, and see that it is read, or refused as it should be."""
    from tallycell.errors import TallycellError
    from tallycell.loaders.formats import recognise

    path.parent.mkdir()
    kind.make(path, Names())
    if kind.format is not None:
        assert recognise(path) == kind.format, f"{kind.file} is of the format {recognise(path)}"
    tried, said = path.with_name(f"tried{path.suffix}"), None  # what opens a checkpoint takes it away
    copy(path, tried)
    try:
        with checks.no_warnings():
            checks.check_printed(kind.open(tried))
    except TallycellError as error:
        said = str(error)
    if kind.refusal is None:
        assert said is None, f"{kind.file} as it should be must be read: {said}"
    else:
        assert kind.refusal in str(said), f"{kind.file} as it should be must be refused: {said}"
    remove(tried)


def open_specials(outcome: Outcome, sound: Path, task: Task, now: Path) -> None:
    """Open what is no regular file in the place of a kind's files."""
    name = outcome.kind
    for what, path, refused in special_files(KINDS[name], sound):
        note(now, outcome, None, what)
        _, why = try_to(lambda path=path, refused=refused: open_special(KINDS[name], path, refused=refused))
        if why:
            outcome.failures.append(Failure(name, task.seed, None, f"{what}:\n{why}"))


def note(now: Path, outcome: Outcome, number: int | None, file: str) -> None:
    """Write down what is being opened, and what came so far, for whoever finds this process dead."""
    now.write_text(json.dumps({"number": number, "file": file, "outcome": json.dumps(asdict(outcome))}))


def open_damaged(outcome: Outcome, sound: Path, task: Task, now: Path) -> None:
    """Open the damaged files of one kind."""
    name, until, before = outcome.kind, time.monotonic() + task.seconds, checks.taken()
    for number in range(*task.numbers[name]):
        if time.monotonic() > until:
            break
        file = make_damaged(KINDS[name], sound, task.seed, number)
        note(now, outcome, number, str(file))
        began = time.perf_counter()
        came, why = try_to(lambda file=file, before=before: open_one(KINDS[name], file, before))
        outcome.slowest = max(outcome.slowest, time.perf_counter() - began)
        outcome.grown = max(outcome.grown, checks.most_taken() - before)
        outcome.results += came == "result"
        outcome.clean_lines += came == "clean line"
        if why:
            outcome.failures.append(Failure(name, task.seed, number, why, keep(file, task, name, number)))
            before = checks.taken()
        remove(file)


def make_damaged(kind: Kind, sound: Path, seed: int, number: int) -> Path:
    """Make the file of a number: the sound one damaged, or one with nasty names, damaged or whole."""
    rng = np.random.default_rng([seed, number])
    source, whole, called = sound, False, "damaged"
    if rng.random() < 0.4:
        source, whole = sound.with_name(f"named{sound.suffix}"), rng.random() < 0.5
        remove(source)
        kind.make(source, Names(rng))
    if rng.random() < 0.1:
        called = Names(rng).of_file(called)
    file = sound.with_name(f"{called}{sound.suffix}")
    if whole:
        copy(source, file)
    else:
        damage(source, file, rng)
    return file


def try_to(act: Callable[[], str | None], most: float = MOST_SECONDS) -> tuple[str | None, str]:
    """Do something for so long at most; give what came of it, or else what went wrong."""
    faulthandler.dump_traceback_later(most, exit=True)
    try:
        return act(), ""
    except KeyboardInterrupt:
        raise
    except BaseException:  # some libraries raise what is no Exception
        return None, "\n".join(traceback.format_exc().splitlines()[-LINES_OF_A_TRACEBACK:])
    finally:
        faulthandler.cancel_dump_traceback_later()


def open_one(kind: Kind, file: Path, before: float) -> Literal["result", "clean line"]:
    """Open a file, and check what is said about it."""
    from tallycell.errors import TallycellError

    try:
        with checks.no_warnings():
            printed = kind.open(file)
    except TallycellError as error:
        checks.check_error(str(error))
        came = "clean line"
    else:
        checks.check_printed(printed)
        came = "result"
    grown = checks.most_taken() - before
    assert grown < checks.MOST_GROWN, f"memory grew by {grown:.0f} MiB"
    return came


# ---- files -----------------------------------------------------------------------------------------------------------


def keep(file: Path, task: Task, name: str, number: int | None) -> str:
    """Copy a file that failed to where it stays."""
    kept = Path(task.folder, f"{name}, seed {task.seed}, number {number}{file.suffix}")
    if number is not None and file.exists():
        remove(kept)
        copy(file, kept)
    return str(kept)


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    faulthandler.enable()
    given = json.loads(sys.argv[1])
    work(Task(**given), Path(sys.argv[2]))
