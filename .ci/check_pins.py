"""Fail unless every distribution in this environment is pinned in constraints.txt, at the version installed."""

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

NOT_PINNED = {"pip", "tallycell"}
BROUGHT_BY_TORCH = re.compile(r"nvidia-|cuda-|triton")  # a CUDA build of torch pins these itself


def canonical(name: str) -> str:
    """Name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


lines = (Path(__file__).parent.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
pinned = {canonical(name): version for name, version in pins.items()}

wrong = []
for distribution in distributions():
    name, version = canonical(distribution.metadata["Name"]), distribution.version.partition("+")[0]
    if name not in NOT_PINNED and not BROUGHT_BY_TORCH.match(name) and pinned.get(name) != version:
        wrong.append(f"{name} {version} is installed, constraints.txt has {pinned.get(name, 'no pin')}")
sys.exit("\n".join(sorted(wrong)) or None)
