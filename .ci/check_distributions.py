"""Fail unless the sdist in a folder holds every file of the repository, and the wheel every file of the package."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

LEFT_OUT = (".github/",)  # for the place where the repository stands

(sdist,), (wheel,) = (list(Path(sys.argv[1]).glob(pattern)) for pattern in ("*.tar.gz", "*.whl"))
listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, encoding="utf-8")
tracked = {name for name in listed.stdout.split("\0") if name and not name.startswith(LEFT_OUT)}
package = {name.removeprefix("src/") for name in tracked if name.startswith("src/")}
with tarfile.open(sdist) as archive:
    in_sdist = {name.partition("/")[2] for name in archive.getnames()}
with zipfile.ZipFile(wheel) as archive:
    in_wheel = set(archive.namelist())
missing = [f"{sdist.name} lacks {name}" for name in sorted(tracked - in_sdist)]
missing += [f"{wheel.name} lacks {name}" for name in sorted(package - in_wheel)]
if not package:
    missing.append("git lists no file of the package")
sys.exit("\n".join(missing) or None)
