"""The files around Keras's weights: an ``.h5`` with the configuration in an attribute, or the zip of a ``.keras``."""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tallycell.errors import FormatError
from tallycell.loaders.files import first_bytes, one_line
from tallycell.loaders.keras.hdf5 import Hdf5File, open_hdf5
from tallycell.loaders.tensors import check_unfolding

_MOST_JSON = 2**27  # bytes of a configuration or vocabulary; parsed, it takes some twenty times as much
_VOCABULARY = "/vocabulary.txt"


@dataclass(frozen=True, eq=False)
class KerasSource:
    """An open file of Keras.

    Attributes
    ----------
    file
        The weights.
    config
        The configuration, parsed from JSON; None for weights alone.
    version
        Of the Keras that wrote the file, if it states one.
    vocabularies
        From the folder of a layer that maps words to numbers to its words.
    """

    file: Hdf5File
    config: object | None
    version: str | None
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@contextmanager
def open_keras(path: Path) -> Iterator[KerasSource]:
    """Open a file of Keras, HDF5 or zip.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    FormatError
        If it is damaged, unfolds to far more than its size, or is written by Keras 1.
    """
    if first_bytes(path, 2) == b"PK":
        with _open_zip(path) as source:
            yield source
        return
    with open_hdf5(path, path) as file:
        config = file.text("", "model_config")
        group = "model_weights" if config is not None and "model_weights" in file.groups else ""
        version = file.text("", "keras_version") or file.text(group, "keras_version")
        if (version or "").startswith(("0.", "1.")):
            raise FormatError(f"{path} is written by Keras {version}; open it with Keras 2 and save it again")
        yield KerasSource(file, None if config is None else _parse(config, f"{path}: 'model_config'"), version)


@contextmanager
def _open_zip(path: Path) -> Iterator[KerasSource]:
    try:
        with zipfile.ZipFile(path) as archive:
            config, metadata = (_json_of(archive, name, path) for name in ("config.json", "metadata.json"))
            weights = _read(archive, "model.weights.h5", path)
            names = [name for name in archive.namelist() if name.startswith("assets/") and name.endswith(_VOCABULARY)]
            vocabularies = {
                name.removeprefix("assets/").removesuffix(_VOCABULARY): _words(_read(archive, name, path, _MOST_JSON))
                for name in names
            }
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, EOFError, KeyError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path} cannot be read as .keras: {one_line(error)}") from None
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    with open_hdf5(weights, path) as file:
        yield KerasSource(file, config, version if isinstance(version, str) else None, vocabularies)


def _read(archive: zipfile.ZipFile, name: str, path: Path, most: int | None = None) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FormatError(f"{path}: {name} is packed in a way that Keras does not use")
    check_unfolding(info.file_size, path.stat().st_size, f"{path}: {name}")
    if most is not None and info.file_size > most:
        raise FormatError(f"{path}: {name} has {info.file_size} bytes, at most {most} are read")
    with archive.open(info) as member:
        return member.read(info.file_size)


def _json_of(archive: zipfile.ZipFile, name: str, path: Path) -> object:
    return _parse(_read(archive, name, path, _MOST_JSON).decode("utf-8", "replace"), f"{path}: {name}")


def _parse(text: str, name: str) -> object:
    if len(text) > _MOST_JSON:
        raise FormatError(f"{name} has {len(text)} characters, at most {_MOST_JSON} are read")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name} is not JSON: {one_line(error)}") from None


def _words(content: bytes) -> tuple[str, ...]:
    """Words of a vocabulary, one a line; the first may be empty, for padding."""
    words = content.decode("utf-8", "replace").split("\n")
    while words and not words[-1]:
        words.pop()
    return tuple(words)
