"""Pictures in files: checked before anything long begins, and written whole or not at all."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallycell.errors import InputError
from tallycell.files import require_place, write_file
from tallycell.plot.sheet import DPI
from tallycell.wording import quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Without the date and the program the same picture is the same file.
SAID: dict[str, dict[str, Any]] = {
    ".png": {"Software": None}, ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}  # fmt: skip
SHARPNESS = 2  # dots for one of the sheet, so that letters are sharp where screens are


def require_picture(path: Path) -> Path:
    """Try whether a picture can be written, before the work that would be lost.

    Parameters
    ----------
    path
        Where it is to stand; its ending says how it is written.

    Returns
    -------
    Path
        Where it will stand in fact.

    Raises
    ------
    InputError
        If the ending is none of ``.png``, ``.svg`` and ``.pdf``, or no file can be written there.
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> require_picture(Path("unit.gif"))
    Traceback (most recent call last):
    tallycell.errors.InputError: cannot write a picture 'unit.gif'; give a name that ends in .png, .svg or .pdf
    """
    from importlib.util import find_spec

    from tallycell.errors import MissingExtraError

    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plot")
    if path.suffix.lower() not in SAID:
        raise InputError(f"cannot write a picture {quoted(str(path))}; give a name that ends in .png, .svg or .pdf")
    return require_place(path)


def save_picture(figure: "Figure", path: Path) -> None:
    """Write a picture into a file; the same picture gives the same file.

    Parameters
    ----------
    figure
        What one of the functions of this room gave.
    path
        As for :func:`require_picture`. PNG is written at 1,800 pixels for the sheet's 900.

    Raises
    ------
    InputError
        If the ending is not known, or the file cannot be written.
    """
    import matplotlib as mpl

    require_picture(path)
    kind, drawn = path.suffix.lower(), BytesIO()
    with mpl.rc_context({"svg.hashsalt": "tallycell"}):
        figure.savefig(drawn, format=kind[1:], dpi=SHARPNESS * DPI, metadata=SAID[kind])
    write_file(path, drawn.getvalue())
