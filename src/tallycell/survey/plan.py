"""The plan of a survey: which sequences there are, in which blocks and tasks, fixed before anything is computed."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int

from tallycell.errors import FormatError, InputError
from tallycell.names import STEP_VARIABLES
from tallycell.reading.cells import MOST_FITTED
from tallycell.wording import listed, one_line, quoted, shown

BLOCK = 64  # sequences that are recorded together
STEPS = 1_000  # of a sequence: what is longer is cut
TASK = 5_000_000  # steps between two files of sums: some minutes of work, and a few thousand files for 10^10 steps
FITTED = MOST_FITTED  # steps that levels are fitted on, as many as read_units looks at of either half
PADDED = 4 * FITTED  # of the fitted sequences, the short ones padded to the longest


@dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus, and the sequences that it is.

    Attributes
    ----------
    path
        Absolute, as the workers open it.
    kind
        ``"text"`` or ``"table"``.
    size, sha256
        Bytes and their hash; of a folder (Zarr) those of all files in it.
    sequences, steps
        Sequences side by side in it, and the steps of each; of a text 1 and its bytes.
    """

    path: str
    kind: str
    size: int
    sha256: str
    sequences: int
    steps: int


@dataclass(frozen=True)
class Opened:
    """How model and corpus are opened, by everyone in the same way.

    Attributes
    ----------
    model
        Path of the model's file.
    lstm, forget_bias, trust_pickle, trust_code
        As :func:`tallycell.load` and ``open_text`` take them.
    vocabulary, scaling, time
        As ``open_text`` and ``open_table`` take them; files by their path.
    """

    model: str
    lstm: str | None = None
    vocabulary: str | None = None
    scaling: str | None = None
    time: str | None = None
    forget_bias: float | None = None
    trust_pickle: bool = False
    trust_code: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that the result of a survey depends on, so that whoever has the same plan gets the same bits.

    Attributes
    ----------
    opened
        How model and corpus are opened.
    weights, symbols, kernel
        Hashes of the model and its vocabulary, and what its bits depend on in a process.
    measure
        What is summed.
    block, steps, task
        Sequences of a block; steps at which a sequence is cut; steps of a task, about.
    files
        The corpus, in order.
    passed_over
        Paths that could not be read, each with the reason; only where that was allowed.
    keep
        Gates and states whose values at every step are kept as well: any of ``i f g o c h``.

    Raises
    ------
    InputError
        If a size is not positive, something else is to be kept, or there are not two sequences: one to fit levels on,
        one to test them on.

    Examples
    --------
    >>> files = (CorpusFile("/a.txt", "text", 2500, "0a", 1, 2500), CorpusFile("/b.txt", "text", 300, "0b", 1, 300))
    >>> plan = Plan(Opened("/m.pt"), "0c", "", "kernel", "counts", files=files, block=2)
    >>> plan.lengths.tolist(), plan.fitted.tolist(), plan.blocks
    ([1000, 1000, 500, 300], [1, 3], 1)
    >>> [plan.block_of(k).tolist() for k in plan.blocks_of(0)]
    [[0, 2]]
    >>> Plan.from_json(plan.to_json()) == plan
    True
    """

    opened: Opened
    weights: str
    symbols: str
    kernel: str
    measure: str
    files: tuple[CorpusFile, ...]
    passed_over: tuple[tuple[str, str], ...] = ()
    block: int = BLOCK
    steps: int = STEPS
    task: int = TASK
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := [name for name in self.keep if name not in STEP_VARIABLES]:
            raise InputError(f"cannot keep {listed(unknown)}; known are {listed(STEP_VARIABLES)}")
        for name in ("block", "steps", "task"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {quoted(getattr(self, name))}; expected a positive whole number")
        if len(self.lengths) < 2:
            count = f"{len(self.lengths)} sequence{'' if len(self.lengths) == 1 else 's'} of at most {self.steps:,}"
            raise InputError(
                f"the corpus is {count} steps; a survey fits on some sequences and tests on others, so it needs two at "
                "least: give more, cut them shorter (--steps), or use tallycell read"
            )

    @property
    def kind(self) -> str:
        """Of all files: ``"text"`` or ``"table"``."""
        return self.files[0].kind

    # ---- sequences --------------------------------------------------------------------------------------------------

    @cached_property
    def lengths(self) -> Int[np.ndarray, " sequence"]:
        """Steps of each sequence of the corpus, after cutting; of a text its bytes."""
        found = []
        for file in self.files:
            whole, rest = divmod(file.steps, self.steps)
            pieces = np.array([self.steps] * whole + [rest] * (rest > 0), dtype=np.int64)
            found.append(np.tile(pieces, file.sequences))
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    @cached_property
    def _firsts(self) -> Int[np.ndarray, " file+1"]:
        """Number of the first sequence of each file, and of all."""
        return np.concatenate([[0], np.cumsum([file.sequences * -(-file.steps // self.steps) for file in self.files])])

    def place_of(self, sequence: int) -> tuple[CorpusFile, int, int]:
        """Give the file of a sequence, which sequence of the file it is cut from, and its first step in it."""
        number = int(np.searchsorted(self._firsts, sequence, side="right")) - 1
        file = self.files[number]
        column, piece = divmod(sequence - int(self._firsts[number]), -(-file.steps // self.steps))
        return file, column, piece * self.steps

    @cached_property
    def fitted(self) -> Int[np.ndarray, " fitted"]:
        """Sequences that levels are fitted on: spread evenly, some 25,000 steps, at most half of the corpus."""
        total, count = int(self.lengths.sum()), len(self.lengths)
        most = min(FITTED * count // total, PADDED // int(self.lengths.max()), count // 2)
        chosen = max(1, most)
        return (2 * np.arange(chosen) + 1) * count // (2 * chosen)

    @cached_property
    def tested(self) -> Int[np.ndarray, " tested"]:
        """All other sequences: what is quoted comes from them."""
        return np.delete(np.arange(len(self.lengths)), self.fitted)

    # ---- blocks and tasks -------------------------------------------------------------------------------------------

    @property
    def blocks(self) -> int:
        """Number of the blocks that are tested on."""
        return -(-len(self.tested) // self.block)

    def block_of(self, number: int) -> Int[np.ndarray, " sequence"]:
        """Give the sequences of a block."""
        return self.tested[number * self.block : (number + 1) * self.block]

    @cached_property
    def _first_blocks(self) -> Int[np.ndarray, " task+1"]:
        """First block of each task, and the number of all: a task ends with the block that fills it."""
        steps = np.add.reduceat(self.lengths[self.tested], np.arange(0, len(self.tested), self.block))
        tasks = (np.cumsum(steps) - steps) // self.task
        return np.concatenate([np.flatnonzero(np.diff(tasks, prepend=-1)), [self.blocks]])

    @property
    def tasks(self) -> int:
        """Number of the tasks."""
        return len(self._first_blocks) - 1

    def blocks_of(self, task: int) -> range:
        """Give the blocks of a task, in the order in which they are summed."""
        return range(int(self._first_blocks[task]), int(self._first_blocks[task + 1]))

    def steps_of(self, task: int) -> int:
        """Count the steps of a task; those of a text by its bytes."""
        blocks = self.blocks_of(task)
        return int(self.lengths[self.tested[blocks.start * self.block : blocks.stop * self.block]].sum())

    # ---- on disk ----------------------------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything above: results of another plan have another."""
        return hashlib.sha256(self._written().encode()).hexdigest()

    def _written(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def to_json(self) -> str:
        """Write the plan, one way only."""
        return json.dumps({"fingerprint": self.fingerprint, "plan": asdict(self)}, sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read a plan that :meth:`to_json` wrote.

        Raises
        ------
        FormatError
            If it is none, or something in it was changed.
        """
        try:
            held = json.loads(text)
            values = dict(held["plan"])
            values["opened"] = Opened(**values["opened"])
            values["files"] = tuple(CorpusFile(**one) for one in values["files"])
            values["passed_over"] = tuple((path, reason) for path, reason in values["passed_over"])
            values["keep"] = tuple(values["keep"])
            plan = cls(**values)
            if held["fingerprint"] != plan.fingerprint:
                raise ValueError("its fingerprint is another")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(f"no plan of a survey: {one_line(error)}") from None
        return plan

    def difference_from(self, other: "Plan") -> str:
        """Name the first thing in which another plan differs; empty if nothing does.

        Examples
        --------
        >>> one, other = (CorpusFile(f"/{name}.txt", "text", 9, "0a", 1, 9) for name in "ab")
        >>> plan = Plan(Opened("/m.pt"), "0c", "", "kernel", "counts", files=(one, other))
        >>> plan.difference_from(Plan(Opened("/m.pt"), "0d", "", "kernel", "counts", files=(one, other)))
        "weights '0c' and not '0d'"
        """
        for one in fields(Plan):
            ours, theirs = getattr(self, one.name), getattr(other, one.name)
            if ours == theirs:
                continue
            if one.name == "opened":
                return _first_difference(asdict(ours), asdict(theirs))
            if one.name == "files":
                return _difference_of_files(ours, theirs)
            if one.name == "passed_over":
                return _difference_of_passed_over(dict(ours), dict(theirs))
            return f"{one.name} {quoted(ours)} and not {quoted(theirs)}"
        return ""


def _first_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    return next(f"{key} {quoted(ours[key])} and not {quoted(theirs[key])}" for key in ours if ours[key] != theirs[key])


def _difference_of_files(ours: tuple[CorpusFile, ...], theirs: tuple[CorpusFile, ...]) -> str:
    here, there = ({file.path: file for file in files} for files in (ours, theirs))
    for path, file in here.items():
        if path not in there:
            return f"the file {shown(path)}, which is not in the other"
        if file != there[path]:
            return f"another content of {shown(path)}"
    for path in there:
        if path not in here:
            return f"no file {shown(path)}, which is in the other"
    return "the same files in another order"


def _difference_of_passed_over(ours: dict[str, str], theirs: dict[str, str]) -> str:
    path = next((one for one in (*ours, *theirs) if ours.get(one) != theirs.get(one)), "")
    return f"{shown(path)} {'passed over: ' + ours[path] if path in ours else 'not passed over'}"
