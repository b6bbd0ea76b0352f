"""torch's ``weights_only`` loader, with the checks that it leaves to others; no format of its own."""

import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import IO

from tallycell.errors import FormatError, MissingExtraError
from tallycell.loaders.torch.archive import TorchArchive, check_storages, read_storage
from tallycell.loaders.torch.inert_pickle import DamagedPickleError, Reference, read_pickle
from tallycell.wording import MOST_QUOTED, one_line, quoted, shown

# What torch wrote before 1.6 begins with this number as a pickle of its own.
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PICKLES = 3  # in front of the one that counts: the number, the version, what the writing machine was like
_REFUSED = re.compile(r"(?:GLOBAL|class|instruction of type) ([\w.]+)(?: was not an allowed| is not an allowed)?")


def read_weights_only(path: Path, content: bytes | None = None) -> object:
    """Open what ``torch.save`` wrote; no code of it runs.

    Sizes are checked first: what a pickle says of a storage is not always held against the bytes that are there, and
    the old format takes memory before it looks.

    Parameters
    ----------
    path
        The file, or the archive that it stands in.
    content
        The file itself, where it stands in an archive.

    Raises
    ------
    MissingExtraError
        If torch is not installed.
    FormatError
        If it is damaged, or holds more than weights.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtraError("torch", "torch") from None
    with path.open("rb") if content is None else BytesIO(content) as file:
        start = file.read(len(LEGACY))
        if start.startswith(b"PK"):
            with TorchArchive(path, content) as archive:
                check_storages(archive, _references(BytesIO(archive.read("data.pkl")), str(path)))
        elif start == LEGACY:
            _check_legacy(file, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about old formats; what is wrong with the file is raised
            return torch.load(path if content is None else BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file makes torch raise almost anything
        raise FormatError(_reason(path, one_line(error, most=10_000))) from None


def _check_legacy(file: IO[bytes], path: Path) -> None:
    file.seek(0)
    for _ in range(_LEGACY_PICKLES):
        _references(file, str(path))
    sizes: dict[tuple[str, str], int] = {}
    for reference in _references(file, str(path)):
        dtype, key, size = read_storage(reference, str(path))
        sizes[dtype, key] = max(size, sizes.get((dtype, key), 0))
    promised = sum(sizes.values())
    present = file.seek(0, 2)
    if promised > present:
        raise FormatError(
            f"{path} should hold {quoted(promised)} bytes of weights, and is {present} bytes long; it is damaged"
        )


def _references(file: IO[bytes], name: str) -> list[Reference]:
    """Give the storages of a pickle; none where torch itself will refuse it, which says better why.

    Not of one that is damaged: torch looks for minutes through a name that never ends.
    """
    try:
        return read_pickle(file, name)[1]
    except DamagedPickleError:
        raise
    except FormatError:
        return []


def _reason(path: Path, text: str) -> str:
    refused = _REFUSED.search(text)
    if "Weights only load failed" in text and "nsupported" in text:
        what = f" ({shown(refused[1])})" if refused else ""
        return (
            f"{path} is a pickle that holds more than weights{what}, and opening it would run code from the file; "
            "expected torch.save(model.state_dict(), path). If you trust whoever wrote it: trust_pickle=True, "
            "or --trust-pickle"
        )
    return f"{path} cannot be read as a state_dict of torch: {text.partition('. ')[0][:MOST_QUOTED]}"
