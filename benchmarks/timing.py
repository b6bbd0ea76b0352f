"""Time competitors in turn, in one process; judge the ratios."""

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROUNDS = (3, 60)  # at least, at most
SAMPLE_S = 3e-3  # a shorter call is repeated until a sample takes as long
NOISE = 1.03  # 3 % above a limit is noise

Call = Callable[[], object]
Clock = Callable[[], float]


def clock_for(threads: int) -> Clock:
    """CPU time of the process on one core, where others on the machine do not count; wall time on more."""
    return time.process_time if threads == 1 else time.perf_counter


def interleave(calls: Mapping[str, Call], clock: Clock, seconds: float) -> dict[str, float]:
    """Call all in turn, round after round, and give each one's median time in seconds.

    Nobody has a better place than another: each round has its own order, so that nobody always comes after the same
    one, and short calls find caches as their own last call left them. What a call returns is held until its next call
    has returned, as a program holds it: memory that is given back is not free to be used again before that.

    Parameters
    ----------
    calls
        By name. Each is called twice before the rounds begin.
    clock
        As of :func:`clock_for`.
    seconds
        Wall time after which no further round begins.
    """
    held: dict[str, object] = {}
    repeats, samples = {}, {name: [] for name in calls}
    for name, call in calls.items():
        held[name] = call()
        start = time.perf_counter()
        held[name] = call()
        repeats[name] = max(1, math.ceil(SAMPLE_S / max(time.perf_counter() - start, 1e-7)))
    names, shuffle = list(calls), random.Random(0).shuffle
    begin, rounds = time.perf_counter(), 0
    while rounds < ROUNDS[0] or (rounds < ROUNDS[1] and time.perf_counter() - begin < seconds):
        shuffle(names)
        for name in names:
            call, result = calls[name], held.pop(name)
            if repeats[name] > 1:
                result = call()
            start = clock()
            for _ in range(repeats[name]):
                result = call()
            samples[name].append((clock() - start) / repeats[name])
            held[name] = result
        rounds += 1
    return {name: statistics.median(times) for name, times in samples.items()}


@dataclass(frozen=True)
class Target:
    """What ratios must not exceed; None where there is no limit."""

    worst: float | None = None
    mean: float | None = None


def is_within(ratio: float, limit: float | None) -> bool:
    """Whether a ratio keeps a limit, noise granted."""
    return limit is None or ratio <= limit * NOISE


def judge(ratios: Mapping[str, float], target: Target) -> dict[str, object]:
    """Worst ratio and where, geometric mean, the limits, whether both are kept.

    Parameters
    ----------
    ratios
        By the name of the cell.
    target
        The limits, noise not yet granted.
    """
    where = max(ratios, key=ratios.__getitem__)
    mean = statistics.geometric_mean(ratios.values())
    return {
        "worst": ratios[where],
        "worst_cell": where,
        "geometric_mean": mean,
        "target_worst": target.worst,
        "target_mean": target.mean,
        "over": [cell for cell, ratio in ratios.items() if not is_within(ratio, target.worst)],
        "passed": is_within(ratios[where], target.worst) and is_within(mean, target.mean),
    }


def verdict_line(what: str, verdict: Mapping[str, object]) -> str:
    """One line that says how far a verdict is from its target."""
    limits = [
        f"{verdict[key]:.3f} ({text}{'no target' if limit is None else f'target <= {limit:.2f}'})"
        for key, text, limit in (
            ("worst", f"at {verdict['worst_cell']}, ", verdict["target_worst"]),
            ("geometric_mean", "", verdict["target_mean"]),
        )
    ]
    line = f"{what}: worst {limits[0]}, geometric mean {limits[1]}"
    if verdict["target_worst"] is None and verdict["target_mean"] is None:
        return line
    over = f"; above the limit: {' '.join(verdict['over'])}" if verdict["over"] else ""
    return f"{line}: {'PASS' if verdict['passed'] else 'SHORT OF IT'}{over}"
