"""Ten trained networks that are no counter machines: extract and harden end, in bounded memory, with the five lines.

They are trained as anybody would, to say the class of the next letter of the text that is shipped: 6 to 64 units, so
many steps that they do far better than chance. Each command runs in a process that may take 4 GiB of addresses.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

UNITS = (6, 8, 10, 12, 16, 24, 32, 40, 48, 64)
CLASSES = {"aeiou": "v", "bcdfghjklmnpqrstvwxyz": "c", " \n": "_"}
SYMBOLS, OTHER = "vc_x", "x"
STEPS, BATCH, LENGTH = 300, 32, 40
MOST_BYTES = 4 * 2**30
MOST_MINUTES = 5.0
HEADS = ["not exact", "on", "agree", "breaks", "try"]


def run() -> tuple[list[str], dict[str, dict[str, object]], list[dict[str, Any]]]:
    """Train, extract and harden; print a line each; return answers, verdicts and rows."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for units in UNITS:
            path = Path(name) / f"letters-{units}.safetensors"
            share = train(units, path)
            for command in ("extract", "harden"):
                rows.append({"units": units, "right": share, "command": command, **measure(command, path)})
                print(line_of(rows[-1]), flush=True)
    return judge(rows)


def train(units: int, path: Path) -> float:
    """Train one network and write it; the share of symbols that it says right."""
    import numpy as np
    import torch
    from torch import nn

    import tallycell

    torch.set_num_threads(1)
    torch.manual_seed(units)
    codes = torch.as_tensor(text_codes())
    rng = np.random.default_rng(units)
    lstm, out = nn.LSTM(len(SYMBOLS), units, batch_first=True), nn.Linear(units, len(SYMBOLS))
    optimizer = torch.optim.Adam([*lstm.parameters(), *out.parameters()], 0.01)
    right = []
    for _ in range(STEPS):
        begin = torch.as_tensor(rng.integers(len(codes) - LENGTH - 1, size=BATCH))
        rows = codes[begin[:, None] + torch.arange(LENGTH + 1)]
        scores = out(lstm(nn.functional.one_hot(rows[:, :-1], len(SYMBOLS)).float())[0])
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right.append(float((scores.argmax(-1) == rows[:, 1:]).float().mean()))
    module = nn.ModuleDict({"lstm": lstm, "out": out})
    module.forward = lambda x: out(lstm(x)[0])  # type: ignore[method-assign]
    tallycell.save(tallycell.Recogniser.from_torch(module, alphabet=SYMBOLS, outputs=SYMBOLS), path)
    return float(np.mean(right[-30:]))


def text_codes() -> list[int]:
    """The text that is shipped, each letter as its class."""
    from importlib.resources import files

    shipped = files("tallycell") / "shipped"
    text = max((one.read_text("utf-8") for one in shipped.iterdir() if one.name.endswith(".txt")), key=len)
    of = {letter: name for letters, name in CLASSES.items() for letter in letters}
    return [SYMBOLS.index(of.get(letter, OTHER)) for letter in text.lower()]


def measure(command: str, path: Path) -> dict[str, Any]:
    """Run a command in a process that may take no more than ``MOST_BYTES`` of addresses."""
    output = path.with_name(f"exact-{path.name}")
    arguments = [sys.executable, "-m", "tallycell", command, path, *(["-o", output] if command == "harden" else [])]
    begin, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, encoding="utf-8", check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES)),
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line.removeprefix("# ") for line in done.stdout.splitlines() if line.removeprefix("# ")[:1] != " "]
    return {
        "status": done.returncode,
        "seconds": time.perf_counter() - begin,
        "cpu seconds": after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime,
        "lines": len(done.stdout.splitlines()),
        "five": [line.partition(":")[0] for line in lines[:5]] == HEADS,
        "written": output.exists(),
        "error": done.stderr.strip()[-200:],
    }


def line_of(row: dict[str, Any]) -> str:
    """One command on one network."""
    said = "the five lines" if row["five"] else "OTHER LINES"
    return (
        f"{row['units']:3} units, right on {row['right']:.0%} of symbols: {row['command']:7} exit {row['status']}, "
        f"{said}, {row['lines']} lines, {row['cpu seconds']:.1f} s of CPU ({row['seconds']:.0f} s)"
        + (f"\n    {row['error']}" if row["error"] else "")
    )


def judge(rows: list[dict[str, Any]]) -> tuple[list[str], dict[str, dict[str, object]], list[dict[str, Any]]]:
    """Lines and verdicts: each ends with status 1 and the five lines, in minutes, and writes nothing."""
    good = [row for row in rows if row["status"] == 1 and row["five"] and not row["written"]]
    slowest = max(row["seconds"] for row in rows)
    passed = len(good) == len(rows) and slowest < 60 * MOST_MINUTES
    answer = (
        f"no counter machines, in {MOST_BYTES / 2**30:g} GiB: {len(good)} of {len(rows)} commands end "
        f"with the five lines and status 1, the slowest in {slowest:.0f} s (target: all, < {MOST_MINUTES:g} min): "
        f"{'PASS' if passed else 'SHORT OF IT'}"
    )
    verdict = {"found": len(good), "target": len(rows), "passed": passed}
    return [answer], {"no counter machines": verdict}, rows
