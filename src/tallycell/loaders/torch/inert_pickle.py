"""A pickle read as plain data: nothing is imported and nothing is called, whatever it says.

torch writes its files as pickles of few kinds of instructions, which are all that is followed here. What a pickle would
import is kept as a name, what it would call as an :class:`Instance` that holds name and arguments. Python's own
unpickler is not used: even where it may import nothing, a file can make it take any amount of memory, or crash it.
"""

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from tallycell.errors import FormatError
from tallycell.wording import MOST_QUOTED, one_line, quoted

_MARK = object()
_KEYS = (str, int, float, bool, type(None))  # others are no names of anything; deep tuples as keys can crash Python
_PLAIN = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "SHORT_BINSTRING",
          "BINSTRING")  # fmt: skip
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
    "MARK": lambda: _MARK,
}
_MOST_NAME = 1000  # characters of a module and what it has
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class DamagedPickleError(FormatError):
    """A pickle that is cut short or no pickle, or would import something of an impossible name."""


@dataclass(frozen=True)
class Name:
    """What the pickle would import: module and name with a space between, such as ``"torch FloatStorage"``."""

    text: str


@dataclass(frozen=True, eq=False)
class Reference:
    """What stands outside the pickle, such as a storage: the tuple that says which."""

    key: object


@dataclass(eq=False)
class Instance:
    """What the pickle would make by a call.

    Attributes
    ----------
    maker
        What would be called, a :class:`Name` if all is well.
    arguments
        Of the call.
    state
        What it would be given afterwards, most often its attributes.
    items
        What would be put into it, if it were a dict.
    """

    maker: object
    arguments: object
    state: object = None
    items: dict[Any, Any] = field(default_factory=dict)

    @property
    def made_by(self) -> str:
        """Text of the maker's name; empty if it has none."""
        return self.maker.text if isinstance(self.maker, Name) else ""


def read_pickle(file: IO[bytes], name: str) -> tuple[object, list[Reference]]:
    """Read one pickle and stop behind it.

    Parameters
    ----------
    file
        Stands at the pickle's start.
    name
        Of the file, for errors.

    Returns
    -------
    content, references
        What the pickle holds, in dicts, lists, tuples, numbers, texts, and this module's classes; and everything that
        it refers to outside.

    Raises
    ------
    DamagedPickleError
        If it is damaged.
    FormatError
        If it uses instructions that torch does not write.

    Examples
    --------
    >>> import io, os, pickle
    >>> read_pickle(io.BytesIO(pickle.dumps({"a": (1, [2.5])}, protocol=2)), "data.pkl")[0]
    {'a': (1, [2.5])}
    >>> content, _ = read_pickle(io.BytesIO(pickle.dumps(os.getcwd, protocol=2)), "data.pkl")
    >>> content
    Name(text='posix getcwd')
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in names
            for instruction, argument, _ in pickletools.genops(file):
                machine.follow(instruction.name, argument)
        content = machine.stack.pop()
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        if isinstance(error, FormatError):
            raise
        reason = one_line(error, most=MOST_QUOTED)
        raise DamagedPickleError(f"{name} is a damaged pickle: {reason}") from None
    return content, machine.references


class _Machine:
    """The stack of a pickle and what it remembers."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self.references: list[Reference] = []

    def follow(self, instruction: str, argument: Any) -> None:
        """Follow one instruction."""
        if instruction in _PLAIN:
            self.stack.append(argument)
        elif instruction in _MADE:
            self.stack.append(_MADE[instruction]())
        elif instruction in _TUPLES:
            count = _TUPLES[instruction]
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif (method := getattr(self, f"_{instruction.lower()}", None)) is not None:
            method(argument)
        elif instruction not in ("PROTO", "STOP", "FRAME"):
            raise FormatError(f"it has the instruction {instruction}, which torch does not write")

    def _global(self, argument: str) -> None:
        if len(argument) > _MOST_NAME:
            raise ValueError(f"it would import a name of {len(argument)} characters, {quoted(argument, 40)}")
        self.stack.append(Name(argument))

    def _tuple(self, _: None) -> None:
        self.stack.append(tuple(self._down_to_mark()))

    def _reduce(self, _: None) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = Instance(self.stack[-1], arguments)

    _newobj = _reduce

    def _build(self, _: None) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Instance):
            self.stack[-1].state = state

    def _binpersid(self, _: None) -> None:
        self.references.append(Reference(self.stack.pop()))
        self.stack.append(self.references[-1])

    def _append(self, _: None) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: None) -> None:
        self._extend(self._down_to_mark())

    _additems = _appends

    def _setitem(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def _setitems(self, _: None) -> None:
        self._put(self._down_to_mark())

    def _binput(self, argument: int) -> None:
        self.memory[argument] = self.stack[-1]

    _long_binput = _binput

    def _binget(self, argument: int) -> None:
        self.stack.append(self.memory[argument])

    _long_binget = _binget

    def _down_to_mark(self) -> list[Any]:
        top = []
        while (value := self.stack.pop()) is not _MARK:
            top.append(value)
        return top[::-1]

    def _extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def _put(self, flat: list[Any]) -> None:
        target = self.stack[-1].items if isinstance(self.stack[-1], Instance) else self.stack[-1]
        if isinstance(target, dict):
            pairs = zip(flat[::2], flat[1::2], strict=True)
            target.update((key, value) for key, value in pairs if isinstance(key, _KEYS))
