"""The files around Keras's weights: an ``.h5`` with the configuration in an attribute, or the zip of a ``.keras``."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tallycell.errors import FormatError
from tallycell.files import first_bytes
from tallycell.loaders.keras.hdf5 import Hdf5File, open_hdf5
from tallycell.loaders.zip_entries import check_entries, read_entry
from tallycell.wording import one_line, quoted, shown

_MOST_JSON = 2**27  # bytes of a configuration or vocabulary; parsed, it takes some twenty times as much
_PARTS = ("config.json", "metadata.json", "model.weights.h5")
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
            raise FormatError(
                f"{path} is written by Keras {shown(version or '')}; open it with Keras 2 and save it again"
            )
        yield KerasSource(file, None if config is None else _parse(config, f"{path}: 'model_config'"), version)


@contextmanager
def _open_zip(path: Path) -> Iterator[KerasSource]:
    try:
        with zipfile.ZipFile(path) as archive:
            found = {info.filename: info for info in archive.infolist()}
            words = [name for name in found if name.startswith("assets/") and name.endswith(_VOCABULARY)]
            wanted = [found[name] for name in (*_PARTS, *words) if name in found]
            check_entries(wanted, path.stat().st_size, path)
            config, metadata = (_json_of(archive, found[name], path) for name in _PARTS[:2])
            weights = read_entry(archive, found[_PARTS[2]], path)
            vocabularies = {
                name.removeprefix("assets/").removesuffix(_VOCABULARY): _words(_read(archive, found[name], path))
                for name in words
            }
    except FormatError:
        raise
    except KeyError as error:
        raise FormatError(f"{path} cannot be read as .keras: it has no entry {error}") from None
    except Exception as error:  # a damaged zip makes zipfile raise almost anything
        raise FormatError(f"{path} cannot be read as .keras: {one_line(error)}") from None
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    with open_hdf5(weights, path) as file:
        yield KerasSource(file, config, version if isinstance(version, str) else None, vocabularies)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    """Read an entry of text, which takes more memory than its bytes once it is parsed."""
    if info.file_size > _MOST_JSON:
        raise FormatError(f"{path}: {quoted(info.filename)} has {info.file_size} bytes, at most {_MOST_JSON} are read")
    return read_entry(archive, info, path)


def _json_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> object:
    return _parse(_read(archive, info, path).decode("utf-8", "replace"), f"{path}: {info.filename}")


def _parse(text: str, name: str) -> object:
    if len(text) > _MOST_JSON:
        raise FormatError(f"{name} has {len(text)} characters, at most {_MOST_JSON} are read")
    try:
        return json.loads(text)
    except RecursionError:
        raise FormatError(f"{name} is JSON that is nested too deeply to be read") from None
    except (ValueError, MemoryError) as error:
        raise FormatError(f"{name} is not JSON: {one_line(error)}") from None


def _words(content: bytes) -> tuple[str, ...]:
    """Words of a vocabulary, one a line; the first may be empty, for padding."""
    words = content.decode("utf-8", "replace").split("\n")
    while words and not words[-1]:
        words.pop()
    return tuple(words)
