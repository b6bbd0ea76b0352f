"""The folder of a survey: its plan, a file of arrays and a receipt for each piece of work, and who is at work on it.

All that counts is here. A file is written beside its place, flushed and renamed; its receipt, written after it, has its
checksum and one of its own. So whatever is killed, and whenever: a receipt that holds stands for work that is done, and
everything else is done again.
"""

import hashlib
import io
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tallycell.errors import FormatError, InputError
from tallycell.files import read_text, replacing, require_folder
from tallycell.memory import say_bytes
from tallycell.survey.blocks import Arrays, Counted
from tallycell.survey.plan import Plan
from tallycell.wording import one_line, shown

PLAN, LOCK, SUMS = "plan.json", "lock", "sums"
LEVELS, FITTED = "levels", "fitted"
SPARE = 1.1  # times what will be written that must be free
SMALLEST = 4096  # bytes that a file takes of a disk, however small


@dataclass(frozen=True)
class Receipt:
    """What stands for work that is done.

    Attributes
    ----------
    work
        Its name: ``"levels"``, ``"fitted"`` or the number of a task.
    plan
        Fingerprint of the plan.
    sha256
        Of the file of arrays.
    counted
        What was read.
    """

    work: str
    plan: str
    sha256: str
    counted: Counted

    def to_json(self) -> str:
        """Write it, with a checksum of its own."""
        values = asdict(self)
        return json.dumps(values | {"check": _hash_of(values)}, ensure_ascii=False, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Receipt | None":
        """Read what :meth:`to_json` wrote; None if it is anything else."""
        try:
            values: dict[str, Any] = json.loads(text)
            if values.pop("check") != _hash_of(values):
                return None
            counted = values.pop("counted")
            left_out = tuple((place, reason) for place, reason in counted.pop("left_out"))
            return cls(**values, counted=Counted(**counted, left_out=left_out))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None


@dataclass(frozen=True)
class Store:
    """The folder of a survey.

    Attributes
    ----------
    folder
        Where; everyone who computes must see it under this path.
    """

    folder: Path

    # ---- the plan ---------------------------------------------------------------------------------------------------

    def begin(self, plan: Plan) -> None:
        """Make the folder and keep the plan in it, or find the same plan there.

        Raises
        ------
        InputError
            If the folder cannot be written, or holds another plan; the text names the first difference.
        FormatError
            If the plan in it was changed.
        """
        _make(self.folder / SUMS)
        require_folder(self.folder, self.folder)
        if not (self.folder / PLAN).exists():
            with replacing(self.folder / PLAN) as part:
                part.write_text(plan.to_json(), encoding="utf-8")
            return
        kept = self.plan()
        if kept.fingerprint != plan.fingerprint:
            raise InputError(
                f"{self.folder} holds a survey with {kept.difference_from(plan)}; give another folder, or repeat the "
                "command that it was begun with"
            )

    def plan(self) -> Plan:
        """Read the plan.

        Raises
        ------
        FormatError
            If there is none, or it was changed.
        """
        path = self.folder / PLAN
        try:
            return Plan.from_json(read_text(path, FormatError, "the plan of a survey"))
        except FormatError as error:
            said = str(error)
            where = said if str(path) in said else f"{path} is {said}"
            raise FormatError(f"{where}; give another folder, or remove this one") from None

    # ---- results ----------------------------------------------------------------------------------------------------

    def keep(self, work: str, plan: Plan, arrays: Arrays, counted: Counted) -> Receipt:
        """Write arrays, then the receipt for them.

        Raises
        ------
        InputError
            If they cannot be written: a full disk, a folder that is gone.
        """
        content = _packed(arrays)
        receipt = Receipt(work, plan.fingerprint, hashlib.sha256(content).hexdigest(), counted)
        with replacing(self._arrays(work)) as part:
            part.write_bytes(content)
        with replacing(self._receipt(work)) as part:
            part.write_text(receipt.to_json(), encoding="utf-8")
        return receipt

    def receipt(self, work: str, plan: Plan) -> Receipt | None:
        """Give the receipt for work that is done and whole; None where it is to be done, or done again."""
        found = self._checked(work, plan)
        return None if found is None else found[0]

    def load(self, work: str, plan: Plan) -> tuple[Receipt, dict[str, np.ndarray]]:
        """Read arrays that a receipt stands for.

        Raises
        ------
        FormatError
            If there is none, or the arrays were changed since.
        """
        found = self._checked(work, plan)
        if found is None:
            raise FormatError(f"{self._arrays(work)} is missing or damaged; run the same command again, it redoes it")
        with np.load(io.BytesIO(found[1]), allow_pickle=False) as held:
            return found[0], {name: held[name] for name in held.files}

    def _checked(self, work: str, plan: Plan) -> tuple[Receipt, bytes] | None:
        try:
            receipt = Receipt.from_json(self._receipt(work).read_text(encoding="utf-8"))
            content = self._arrays(work).read_bytes()
        except (OSError, UnicodeDecodeError):
            return None
        if receipt is None or (receipt.work, receipt.plan) != (work, plan.fingerprint):
            return None
        return (receipt, content) if hashlib.sha256(content).hexdigest() == receipt.sha256 else None

    def _arrays(self, work: str) -> Path:
        return self.folder / SUMS / f"{work}.npz"

    def _receipt(self, work: str) -> Path:
        return self.folder / SUMS / f"{work}.json"

    # ---- room and rights --------------------------------------------------------------------------------------------

    def require_room(self, tasks: int, needed: int) -> None:
        """Refuse a disk that will not hold the rest of the results.

        Parameters
        ----------
        tasks, needed
            Tasks that are still to be done, and the bytes that their sums take.

        Raises
        ------
        InputError
            If there is not so much room.
        """
        free = shutil.disk_usage(self.folder).free
        if free < SPARE * needed:
            raise InputError(
                f"the sums of {tasks:,} tasks take up to {say_bytes(needed)}, and the disk of {self.folder} has "
                f"{say_bytes(free)} left; make room, or give a folder on another disk"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; what a killed process held is free.

        Raises
        ------
        InputError
            If another holds it; the text says who. If the file system does not lock, or the folder takes no file.
        """
        try:
            import fcntl
        except ImportError:  # Windows has none
            yield
            return
        _make(self.folder)
        with self._errors_of_locking():
            lock = (self.folder / LOCK).open("a+", encoding="utf-8", errors="replace")
        with lock as file:
            try:
                with self._errors_of_locking():
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                by = shown(file.read().strip()) or "another process"
                raise InputError(
                    f"{self.folder} is being worked on by {by}; wait until it ends, or end it, and repeat the command"
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield

    @contextmanager
    def _errors_of_locking(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except OSError as error:
            said = error.strerror or one_line(error)
            raise InputError(f"cannot lock {self.folder}: {said}; give a folder on another file system") from None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}; give another folder") from None


def _packed(arrays: Arrays) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **dict(arrays))
    return content.getvalue()


def _hash_of(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
