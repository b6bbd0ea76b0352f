"""Files: what is no regular file is not opened, what stood at a place is whole until the new file is."""

import os
import socket
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tallycell.errors import FormatError, InputError
from tallycell.files import read_text, replacing, require_file, require_place, write_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="FIFOs, devices and modes are POSIX's")


def make_special(folder: Path, kind: str) -> Path:
    """Something that is no regular file, under the name of one."""
    path = folder / "model.pt"
    match kind:
        case "FIFO":
            os.mkfifo(path)
        case "link to a FIFO":
            os.mkfifo(folder / "fifo")
            path.symlink_to("fifo")
        case "link to a device":
            path.symlink_to(os.devnull)
        case "link to an endless device":
            path.symlink_to("/dev/zero")
        case "socket":
            with closing(socket.socket(socket.AF_UNIX)) as one:
                one.bind(os.path.relpath(path))  # a socket's name has at most 108 bytes
        case "loop of links":
            path.symlink_to("model.pt")
        case "folder":
            path.mkdir()
    return path


SPECIAL = (
    "FIFO",
    "link to a FIFO",
    "link to a device",
    "link to an endless device",
    "socket",
    "loop of links",
    "folder",
)


# ---- opening ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = make_special(tmp_path, kind)
    with pytest.raises(FormatError, match=r"model\.pt (is a|cannot be opened: Too many levels)"):
        require_file(path)
    with pytest.raises(InputError, match=r"model\.pt"):
        read_text(path, InputError, "a text")


def test_a_file_that_is_not_there_and_a_name_that_is_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none; give the path of a text"):
        require_file(tmp_path / "none", InputError, "a text")
    (tmp_path / "dangling").symlink_to("none")
    with pytest.raises(FormatError, match="there is no file"):
        require_file(tmp_path / "dangling")
    with pytest.raises(FormatError, match="cannot be opened"):
        require_file(Path("a\0b"))
    with pytest.raises(FormatError, match="cannot be opened: File name too long"):
        require_file(tmp_path / ("x" * 300))


# ---- writing ---------------------------------------------------------------------------------------------------------


def left_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_a_new_file_has_the_mode_that_the_user_gives_and_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "a.txt"
    before = os.umask(0o027)
    try:
        write_file(path, b"new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        write_file(path, b"newer")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert path.read_bytes() == b"newer"
    assert left_in(tmp_path) == ["a.txt"]


def test_a_link_is_followed_to_what_it_leads_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_bytes(b"old")
    for name, target in (("link", "elsewhere/a.txt"), ("dangling", "elsewhere/b.txt")):
        (tmp_path / name).symlink_to(target)
        write_file(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / target).read_bytes() == b"new"
    assert left_in(tmp_path / "elsewhere") == ["a.txt", "b.txt"]


@pytest.mark.parametrize("kind", SPECIAL)
def test_nothing_but_a_regular_file_is_replaced(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = make_special(tmp_path, kind)
    before = path.lstat()
    for attempt in (require_place, lambda path: write_file(path, b"new")):
        with pytest.raises(InputError, match=rf"cannot write {path}: (it is a|Too many|Symlink loop)"):
            attempt(path)
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert "part" not in "".join(left_in(tmp_path))


def test_the_null_device_is_still_one():
    with pytest.raises(InputError, match="cannot write /dev/null: it is a device; give the name of a file"):
        write_file(Path(os.devnull), b"new")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_place_is_refused_where_its_folder_is_not_there_or_takes_no_file(tmp_path):
    with pytest.raises(InputError, match=rf"cannot write {tmp_path}/no/a: there is no folder {tmp_path}/no; make it"):
        require_place(tmp_path / "no" / "a")
    if Path("/proc/self").exists():  # takes no file, not even of root
        with pytest.raises(InputError, match="cannot write /proc/self/a: No such file or directory"):
            require_place(Path("/proc/self/a"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_is_refused_where_the_user_may_not_write(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o444)
    with pytest.raises(InputError, match="it is write-protected"):
        require_place(tmp_path / "a")
    tmp_path.chmod(0o555)
    with pytest.raises(InputError, match="Permission denied"):
        require_place(tmp_path / "b")


def test_what_goes_wrong_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    for error in (KeyboardInterrupt, SystemExit, RuntimeError):

        def stop(path, error=error):
            with replacing(path) as part:
                part.write_bytes(b"half")
                raise error

        with pytest.raises(error):
            stop(path)
    with pytest.raises(InputError, match=rf"cannot write {path}: No space left on device"), replacing(path):
        raise OSError(28, "No space left on device", "another name")
    assert path.read_bytes() == b"old"
    assert left_in(tmp_path) == ["a.txt"]


FULL = """
import resource, sys
from pathlib import Path
from tallycell.errors import InputError
from tallycell.files import require_place, write_file
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for attempt in (lambda path: write_file(path, b"x" * 100_000), require_place):
    try:
        attempt(Path(sys.argv[1]))
        print("written")
    except InputError as error:
        print(error)
"""


@pytest.mark.parametrize(("limit", "place_is_good"), [(1000, False), (50_000, True)])
def test_a_disk_that_is_full_leaves_the_old_file_whole(tmp_path, limit, place_is_good):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(limit)], capture_output=True, text=True, check=True
    )
    refused = f"cannot write {path}: File too large"
    assert done.stdout.splitlines() == [refused, "written" if place_is_good else refused]
    assert path.read_bytes() == b"old"
    assert left_in(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_a_folder_and_keeps_its_mode(tmp_path):
    place = tmp_path / "store"
    place.mkdir(mode=0o750)
    (place / "old").write_bytes(b"old")
    with replacing(place) as part:
        part.mkdir()
        (part / "new").write_bytes(b"new")
    assert left_in(tmp_path) == ["store"]
    assert left_in(place) == ["new"]
    assert stat.S_IMODE(place.stat().st_mode) == 0o750
