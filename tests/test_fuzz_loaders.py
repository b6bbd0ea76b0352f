"""Damaged files of every kind give a result or one clean line, in bounded memory and time; special files are refused.

TALLYCELL_FUZZ raises the number of damaged files of each kind, TALLYCELL_FUZZ_SEED takes others.
"""

import os
import sys
import time
import warnings
import zipfile
import zlib
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

import fuzz_checks
import fuzz_child
import fuzz_damage
import fuzz_special
import fuzzing
from fuzz_checks import Printed, check_error, check_printed
from fuzz_damage import INJURIES, ZIP_INJURIES
from fuzz_kinds import KINDS, LIBRARIES, Kind, is_installed
from fuzz_models import Trap, weights
from fuzz_words import LONG, NASTY, Names
from tallycell.errors import FormatError
from tallycell.loaders import load
from tallycell.loaders.formats import READERS

COUNT = int(os.environ.get("TALLYCELL_FUZZ", "50"))
SEED = int(os.environ.get("TALLYCELL_FUZZ_SEED", "0"))
posix = pytest.mark.skipif(sys.platform == "win32", reason="limits on memory, FIFOs and links are POSIX's")
names_of_nasty = pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)


@posix
@pytest.mark.timeout(300 + COUNT)
@pytest.mark.parametrize("library", LIBRARIES)
def test_damaged_and_special_files_give_a_result_or_one_clean_line(tmp_path, library):
    if not is_installed(library):
        pytest.skip(f"{library} is not installed")
    numbers = fuzzing.numbers_of([name for name, kind in KINDS.items() if kind.library == library], COUNT)
    outcomes = fuzzing.run_round(numbers, SEED, tmp_path)
    failures = [str(failure) for outcome in outcomes.values() for failure in outcome.failures]
    assert not failures, "\n\n".join(failures)
    for name, outcome in outcomes.items():
        assert outcome.files == len(numbers[name])
        assert outcome.clean_lines > len(numbers[name]) / 10, name  # most injuries are noticed


def test_every_format_that_is_read_has_a_kind():
    assert {kind.format for kind in KINDS.values()} - {None} == set(READERS)


def test_a_pickle_is_opened_only_where_it_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(Trap, "opened", 0)
    path = tmp_path / "m.npy"
    KINDS["npy"].make(path, Names())
    with pytest.raises(FormatError, match=KINDS["npy"].refusal):
        load(path)
    assert Trap.opened == 0
    np.testing.assert_array_equal(
        load(path, trust_pickle=True)["rnn"].weights["weight_ih_l0"], weights()["weight_ih_l0"]
    )
    assert Trap.opened == 1


# ---- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("injury", INJURIES)
def test_an_injury_changes_what_it_hits(injury):
    content = bytearray(b'{"shape": [10, 20]}' * 3)
    hurt = bytearray(content)
    injury(hurt, 5, np.random.default_rng(0))
    assert hurt != content


def test_a_word_is_spoilt_in_its_place_without_another_length():
    for seed in range(50):
        hurt = bytearray(b"12 hidden 34")
        fuzz_damage.spoil_word_in_place(hurt, 0, np.random.default_rng(seed))
        assert len(hurt) == 12
        assert hurt.startswith(b"12 ")
        assert hurt.endswith(b" 34")


def test_a_file_is_the_same_for_the_same_seed_and_number(tmp_path):
    for name in ("safetensors", "JSON", "raw", "machine"):
        sound = [tmp_path / f"{name} {turn}" / KINDS[name].file for turn in "ab"]
        for path in sound:
            fuzz_child.make_sound(KINDS[name], path)
        for number in range(10):
            made = [fuzz_child.make_damaged(KINDS[name], path, 7, number) for path in sound]
            assert content_of(made[0]) == content_of(made[1])
            for file in made:
                fuzz_child.remove(file)


def content_of(file: Path) -> object:
    """What is in a file or in all files of a folder."""
    if file.is_dir():
        return {str(one.relative_to(file)): one.read_bytes() for one in file.rglob("*") if one.is_file()}
    return file.read_bytes()


@names_of_nasty
def test_what_is_nasty_stands_in_free_names_everywhere_alike(nasty):
    names = Names(np.random.default_rng(0))
    names.nasty = nasty
    assert nasty in names.free("rnn")
    assert names.free("rnn") == names.free("rnn")
    assert names.without(nasty[0], 5).free("rnn").count(nasty[0]) == "rnn".count(nasty[0])


def a_zip() -> bytes:
    return fuzz_damage.write_zip({"a": b"first", "b": bytes(1000)})


@pytest.mark.parametrize("injury", ZIP_INJURIES)
def test_an_injury_changes_a_zip(injury):
    assert injury(a_zip(), np.random.default_rng(0)) != a_zip()


def test_a_zip_lies_about_the_size_of_an_entry():
    lying = fuzz_damage.restate(a_zip(), "b", 7)
    with zipfile.ZipFile(BytesIO(lying)) as archive:
        assert [(one.filename, one.file_size) for one in archive.infolist()] == [("a", 5), ("b", 7)]
    assert lying.count(b"\x07\0\0\0\x01\0") == 2  # in the directory and in the header: size, then length of the name


def test_a_bomb_unfolds_to_a_gigabyte():
    unfolded, unpacker = 0, zlib.decompressobj(-zlib.MAX_WBITS)
    piece = unpacker.decompress(fuzz_damage.bomb(), 1 << 24)
    while piece:
        unfolded += len(piece)
        piece = unpacker.decompress(unpacker.unconsumed_tail, 1 << 24)
    assert unfolded == 1 << 30
    assert len(fuzz_damage.bomb()) < 2 << 20
    with zipfile.ZipFile(BytesIO(fuzz_damage.plant_bomb(a_zip(), np.random.default_rng(0)))) as archive:
        assert zipfile.ZIP_DEFLATED in [one.compress_type for one in archive.infolist()]


# ---- what is checked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "a\nb", "a\x1b[2J", "a\x9b", "\u202ea", "a\u2066", "a\0", "word " * 600, f"{LONG[:201]} is no name"]
)
def test_an_error_that_is_no_clean_line_is_found(text):
    with pytest.raises(AssertionError, match="an error"):
        check_error(text)


def test_a_clean_line_passes():
    check_error(f"m.npz: 'a\\x1b' is no name, nor is {LONG[:200]}, 'é' may be")


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        (Printed(pages=["a\nb\x07"]), "does not print"),
        (Printed(listings=["on a\u202e fail"]), "does not print"),
        (Printed(data=['"\u2066"']), "does not print"),
        (Printed(pages=[f"names\n├── {LONG[:150]}\n│   {LONG[:51]}"]), "of a word"),
        (Printed(data=["[NaN]"]), "NaN"),
    ],
)
def test_a_page_that_is_not_clean_is_found(printed, why):
    with pytest.raises(AssertionError, match=why):
        check_printed(printed)


def test_json_that_is_none_is_found():
    with pytest.raises(ValueError, match="Expecting"):
        check_printed(Printed(data=["{"]))


def test_clean_pages_pass():
    check_printed(Printed(pages=[f"a\n├── {LONG[:200]}\n"], listings=[LONG], data=['{"a": "\\u001b"}']))


def test_a_warning_is_found():
    with pytest.raises(AssertionError, match="a warning: old"), fuzz_checks.no_warnings():
        warnings.warn("old", UserWarning, stacklevel=1)


def a_kind(opening) -> Kind:
    return Kind("x.txt", lambda path, _: path.write_text("some words 12") and None, opening, "numpy")


def refuse(path):
    raise FormatError(f"{path} is none")


def take_memory(path):
    np.ones(400 << 17).sum()
    refuse(path)


@pytest.mark.parametrize(
    ("opening", "why"),
    [
        (lambda _: Printed(pages=["\x1b[2J"]), "does not print"),
        (lambda path: refuse("q" * 300), "more than 200 characters"),
        (lambda path: path.read_text(encoding="utf-8").missing, "AttributeError"),
        (lambda _: sys.exit(3), "SystemExit"),
        (take_memory, "memory grew"),
        (lambda _: warnings.warn("old", stacklevel=1) or Printed(), "a warning"),
    ],
)
def test_a_damaged_file_that_gives_anything_else_is_kept(tmp_path, monkeypatch, opening, why):
    if why == "memory grew" and not Path("/proc/self/clear_refs").exists():
        pytest.skip("the most that a process has taken can be reset on Linux only")
    monkeypatch.setitem(KINDS, "odd", a_kind(opening))
    task = fuzz_child.Task({"odd": (4, 6)}, 3, str(tmp_path / "failed"))
    (tmp_path / "failed").mkdir()
    sound, outcome = tmp_path / "x.txt", fuzz_child.Outcome("odd")
    sound.write_text("some words 12")
    fuzz_child.open_damaged(outcome, sound, task, tmp_path / "now")
    assert [failure.number for failure in outcome.failures] == [4, 5]
    assert all(why in failure.what for failure in outcome.failures)
    assert len(list((tmp_path / "failed").iterdir())) == 2
    assert "--kinds 'odd' --seed 3 --first 4 --count 1" in str(outcome.failures[0])


@pytest.mark.parametrize("refusal", [None, "another reason"])
def test_a_sound_file_that_is_not_read_as_it_should_be_is_found(tmp_path, refusal):
    with pytest.raises(AssertionError, match=r"x\.txt as it should be must be"):
        fuzz_child.make_sound(replace(a_kind(refuse), refusal=refusal), tmp_path / "in" / "x.txt")
    with pytest.raises(AssertionError, match=r"must be refused"):
        fuzz_child.make_sound(replace(a_kind(lambda _: Printed()), refusal="it"), tmp_path / "again" / "x.txt")


@posix
def test_every_special_file_is_made_in_every_place(tmp_path):
    kind = replace(KINDS["raw"], open=refuse)
    kind.make(tmp_path / "raw", Names())
    made = list(fuzz_special.special_files(kind, tmp_path / "raw"))
    assert len(made) == len(fuzz_special.SPECIAL) * (1 + len(kind.parts)) + len(fuzz_special.DEVICES)
    for what, path, refused in made:
        place = path / what.partition(" as ")[2] if what.endswith(kind.parts) else path
        assert os.path.lexists(place), what
        assert not place.is_file(), what
        assert refused


@posix
@pytest.mark.parametrize(
    ("opening", "limit", "why"),
    [
        (lambda _: Printed(), None, "it was opened"),
        (refuse, ("MOST_SECONDS", 0.0), "it took"),
        (refuse, ("MOST_GROWN", -1), "memory grew"),
        (lambda _: refuse("\n"), None, None),
    ],
)
def test_a_special_file_that_is_not_refused_at_once_is_found(tmp_path, monkeypatch, opening, limit, why):
    if limit is not None:
        monkeypatch.setattr(fuzz_special, *limit)
    act = partial(fuzz_special.open_special, a_kind(opening), tmp_path, refused=True)
    if why is None:
        act()  # TallycellError escapes the newline
    else:
        with pytest.raises(AssertionError, match=why):
            act()


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [[], ["--minutes", "0.0001"]])
@pytest.mark.parametrize("fails", [False, True])
def test_the_command_prints_seed_table_and_failures(tmp_path, monkeypatch, capsys, fails, minutes):
    def run_child(task):
        time.sleep(0.02)
        failures = [fuzz_child.Failure("npz", task.seed, 3, "a page", "kept.npz")] if fails else []
        return [fuzz_child.Outcome("npz", results=1, clean_lines=2, failures=failures, slowest=0.5, grown=7.0)], []

    monkeypatch.setattr(fuzzing, "run_child", run_child)
    monkeypatch.setattr(
        sys, "argv", ["fuzzing.py", "--kinds", "npz", "--seed", "5", "--folder", str(tmp_path), *minutes]
    )
    with pytest.raises(SystemExit) as ended:
        fuzzing.main()
    assert ended.value.code == fails
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"seed 5; what fails is kept in {tmp_path}"
    assert lines[-1].split() == ["npz", str(3 + fails), "1", "2", str(int(fails)), "0.50", "7"]
    assert ("npz, number 3 (--kinds 'npz' --seed 5 --first 3 --count 1), kept as kept.npz:" in lines) == fails


def test_behind_a_file_that_a_process_died_of_it_goes_on():
    task = fuzz_child.Task({"npz": (0, 5), "JSON": (0, 5), "raw": (0, 5)}, 1, "failed")
    left = fuzzing.behind(task, "JSON", 2)
    assert [(one.numbers, one.special) for one in left] == [({"JSON": (3, 5)}, False), ({"raw": (0, 5)}, True)]
    assert fuzzing.behind(task, "raw", 4) == []
    assert fuzzing.behind(task, "raw", None)[0].numbers == {"raw": (0, 5)}
