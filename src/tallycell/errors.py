"""What can go wrong, in one tree.

::

    TallycellError
    ├── ActivationError   an activation that is unknown, or does not state what a reading needs
    ├── ParameterError    weights that do not make an LSTM
    ├── InputError        an input, state, length or request that does not fit the LSTM
    ├── TraceError        a dataset that does not follow the trace schema
    ├── FormatError       a file that cannot be read as what it should be
    └── MissingExtraError a package of an optional extra that is not installed

Every text says what came, what was expected and what to do, in one line: what does not print in it, such as a name
from a file, is shown as an escape.
"""

from tallycell.wording import visible


class TallycellError(Exception):
    """Any error that tallycell raises on purpose."""

    def __init__(self, text: str = "") -> None:
        super().__init__(visible(text))


class ActivationError(TallycellError, ValueError):
    """An activation that is unknown, or does not state what a reading needs."""


class ParameterError(TallycellError, ValueError):
    """Weights that do not make an LSTM."""


class InputError(TallycellError, ValueError):
    """An input, state, length or request that does not fit the LSTM."""


class TraceError(TallycellError, ValueError):
    """A dataset that does not follow the trace schema."""


class FormatError(TallycellError, ValueError):
    """A file that cannot be read as what it should be."""


class MissingExtraError(TallycellError, ImportError):
    """A package of an optional extra that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"this needs the package {package!r}, which is not installed: pip install 'tallycell[{extra}]'"
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return MissingExtraError, (self.package, self.extra)  # so that it comes back from another process
