"""Ways to damage a file: injuries to bytes and words, and zips that lie."""

import json
import re
import shutil
import struct
import zipfile
import zlib
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np

from fuzz_words import HALF_A_CHARACTER, LONG, NASTY, Names, pick

HUGE = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
BOMB = 1 << 30  # bytes that an entry of a zip unfolds to
LONGEST_ENTRY_NAME = 20_000  # bytes of what is nasty in it; a zip has room for 65,535, and there may be three
_WORD = re.compile(rb"[A-Za-z_]{2,}")

# ---- injuries: each changes some bytes at a place --------------------------------------------------------------------


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three injuries."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        if data:
            pick(rng, INJURIES)(data, int(rng.integers(len(data))), rng)
    return bytes(data)


def flip_bits(data: bytearray, at: int, rng: np.random.Generator) -> None:
    data[at] ^= 1 << rng.integers(8)


def truncate(data: bytearray, at: int, rng: np.random.Generator) -> None:
    del data[at:]


def delete(data: bytearray, at: int, rng: np.random.Generator) -> None:
    del data[at : at + rng.integers(1, 16)]


def splice(data: bytearray, at: int, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    data[at:at] = data[start : start + rng.integers(1, 64)]


def overwrite(data: bytearray, at: int, rng: np.random.Generator) -> None:
    noise = rng.bytes(rng.integers(1, 16))
    data[at : at + len(noise)] = noise


def set_length(data: bytearray, at: int, rng: np.random.Generator) -> None:
    width = int(rng.choice([2, 4, 8]))
    value = HUGE[rng.integers(len(HUGE))] % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, "little" if rng.random() < 0.7 else "big")


def set_number(data: bytearray, at: int, rng: np.random.Generator) -> None:
    """A number in text becomes a huge, negative or broken one."""
    found = re.compile(rb"[0-9]+").search(data, at)
    if found:
        new = (b"1000000000000", b"-1", b"99999999999999999999999", b"1e400", b"null", b'"x"', b"[[[[", b"NaN")
        data[found.start() : found.end()] = pick(rng, new)


def spoil_word(data: bytearray, at: int, rng: np.random.Generator) -> None:
    """Something nasty comes into a word."""
    middle = _middle_of_word(data, at)
    data[middle:middle] = pick(rng, list(NASTY.values())).encode()


def spoil_word_in_place(data: bytearray, at: int, rng: np.random.Generator) -> None:
    """Something nasty takes the place of a word, and no more: a length in front of it stays right."""
    start, end = _word(data, at)
    nasty = pick(rng, [one for one in NASTY.values() if len(one.encode()) <= end - start or one == LONG])
    data[start:end] = nasty.encode()[: end - start].ljust(end - start, b"_")


def spoil_word_by_escape(data: bytearray, at: int, rng: np.random.Generator) -> None:
    r"""Something nasty comes into a word as JSON writes it: ``\u001b``."""
    middle = _middle_of_word(data, at)
    data[middle:middle] = json.dumps(pick(rng, [*NASTY.values(), HALF_A_CHARACTER]))[1:-1].encode()


def _word(data: bytearray, at: int) -> tuple[int, int]:
    found = _WORD.search(data, at) or _WORD.search(data)
    return found.span() if found else (at, at)


def _middle_of_word(data: bytearray, at: int) -> int:
    return sum(_word(data, at)) // 2


INJURIES = (
    flip_bits, flip_bits, truncate, delete, splice, overwrite, set_length, set_length, set_number,
    spoil_word, spoil_word_in_place, spoil_word_by_escape,
)  # fmt: skip


# ---- files, folders and zips -----------------------------------------------------------------------------------------


def damage(source: Path, target: Path, rng: np.random.Generator) -> None:
    """Write a damaged copy; of a folder one file is damaged, of a zip most often one entry."""
    if source.is_dir():
        shutil.copytree(source, target)
        files = sorted(file for file in target.rglob("*") if file.is_file())
        damage_file(pick(rng, files), rng)
    elif zipfile.is_zipfile(source) and rng.random() < 0.7:
        target.write_bytes(pick(rng, ZIP_INJURIES)(source.read_bytes(), rng))
    else:
        target.write_bytes(mutate(source.read_bytes(), rng))


def damage_file(file: Path, rng: np.random.Generator) -> None:
    """Damage a file of a folder where it lies: what is in it, most often, else its name, or it is gone."""
    how = rng.random()
    if how < 0.9:
        file.write_bytes(mutate(file.read_bytes(), rng))
    elif how < 0.95:
        file.rename(file.with_name(Names(rng).of_file(file.name)))
    else:
        file.unlink()


def damage_entry(content: bytes, rng: np.random.Generator) -> bytes:
    """What is in one entry is damaged, and the zip around it whole."""
    entries = read_zip(content)
    hit = pick(rng, list(entries))
    return write_zip(entries | {hit: mutate(entries[hit], rng)})


def rename_entry(content: bytes, rng: np.random.Generator) -> bytes:
    """An entry has a nasty name."""
    entries = read_zip(content)
    hit, names = pick(rng, list(entries)), Names(rng).without("\0", LONGEST_ENTRY_NAME)
    return write_zip({names.free(name) if name == hit else name: one for name, one in entries.items()})


def lie_about_size(content: bytes, rng: np.random.Generator) -> bytes:
    """An entry unfolds to fewer or to more bytes than directory and header say."""
    entries = read_zip(content)
    hit = pick(rng, list(entries))
    size = len(entries[hit])
    archive = write_zip(entries, pick(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return restate(archive, hit, pick(rng, (0, 1, size // 2, max(size - 1, 0), size + 1, 2 * size + 7, *HUGE[3:6])))


def plant_bomb(content: bytes, rng: np.random.Generator) -> bytes:
    """An entry unfolds to a gigabyte, and the directory says so, or what was there before, or something between."""
    entries = read_zip(content)
    hit = pick(rng, list(entries))
    size = len(entries[hit])
    archive = write_zip(entries | {hit: bomb()})
    return restate(archive, hit, pick(rng, (BOMB, size, size, 1 << 20, 60 << 20)), zipfile.ZIP_DEFLATED)


ZIP_INJURIES = (damage_entry, damage_entry, damage_entry, damage_entry, rename_entry, lie_about_size, plant_bomb)


def read_zip(content: bytes) -> dict[str, bytes]:
    """Entries of a sound zip."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(entries: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    """A sound zip."""
    written = BytesIO()
    with zipfile.ZipFile(written, "w", packing) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return written.getvalue()


@cache
def bomb() -> bytes:
    """A stream of deflate, a megabyte long, that unfolds to a gigabyte of zeros: one block over and over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (BOMB >> 20) + packer.flush()


def restate(content: bytes, name: str, size: int, packing: int | None = None) -> bytes:
    """Have the directory of a zip and the entry's own header state another size, and another packing if not None."""
    archive = bytearray(content)
    with zipfile.ZipFile(BytesIO(content)) as opened:
        local, central = opened.getinfo(name).header_offset, opened.start_dir
    while struct.unpack_from("<I", archive, central + 42) != (local,):
        central += 46 + sum(struct.unpack_from("<HHH", archive, central + 28))
    for at in (local + 22, central + 24):
        struct.pack_into("<I", archive, at, size)
    if packing is not None:
        for at in (local + 8, central + 10):
            struct.pack_into("<H", archive, at, packing)
    return bytes(archive)
