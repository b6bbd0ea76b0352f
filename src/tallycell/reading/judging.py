"""From sums to what is said of a unit: R² with its error, rung, role, triggers, and what it follows."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from tallycell.reading.arrays import read_texts
from tallycell.reading.behaviour import Behaviour, behaviour_of, counts_of, size_of_step, variance
from tallycell.reading.following import Follows, find_followed, is_comparable
from tallycell.reading.levels import Levels
from tallycell.reading.roles import Role, role_of, too_few
from tallycell.reading.sums import ALL_AMOUNTS, AMOUNTS, COUNTS, UnitSums
from tallycell.reading.tally import CONSTANT_VARIANCE, RUNGS, FittedRung, choose_rung, time_constant_of
from tallycell.reading.triggers import Trigger, find_triggers

ERRORS = 2.0  # standard errors within which an R² may lie elsewhere


@dataclass(frozen=True)
class Judged:
    """A cell with its ladder, what it does and goes along with, and its role.

    Attributes
    ----------
    ladder, rung
        Every rung, and the place of the one that is quoted.
    behaviour, follows, role
        What it does, what it goes along with, and its role.
    undecided
        Another role that it has with R² two standard errors higher, or lower.
    """

    ladder: tuple[FittedRung, ...]
    rung: int
    behaviour: Behaviour
    follows: Follows | None
    role: Role
    undecided: Role | None

    @property
    def tally(self) -> FittedRung:
        """The rung that is quoted."""
        return self.ladder[self.rung]


def judge_units(levels: Levels, sums: UnitSums) -> tuple[Judged, ...]:
    """Judge each unit by its sums."""
    return tuple(_judge(levels, sums, unit, ladder) for unit, ladder in enumerate(_ladders(levels, sums)))


def _judge(levels: Levels, sums: UnitSums, unit: int, ladder: tuple[FittedRung, ...]) -> Judged:
    rung = choose_rung(ladder)
    behaviour = behaviour_of(levels, sums, unit, ladder[rung], rung)
    follows = None if behaviour.constant or too_few(behaviour) else _followed(levels, sums, unit)
    amounts = levels.reads.item() != "symbols"
    judge = partial(role_of, amounts=amounts, follows=follows is not None)
    role = judge(ladder[rung], behaviour)
    if role == "unknown":
        ladder = tuple(replace(one, r2=math.nan, r2_error=math.nan) for one in ladder)
    undecided = None
    for sign in (-1, 1):
        moved = [replace(one, r2=one.r2 + sign * ERRORS * one.r2_error) for one in ladder]
        if any(math.isnan(one.r2) for one in moved):
            continue
        other = choose_rung(moved)
        elsewhere = judge(moved[other], behaviour_of(levels, sums, unit, moved[other], other))
        undecided = elsewhere if elsewhere != role else undecided
    return Judged(ladder, rung, behaviour, follows, role, undecided)


def _ladders(levels: Levels, sums: UnitSums) -> Iterator[tuple[FittedRung, ...]]:
    """Give every rung of each unit with its R²."""
    of_c, squares = (sums.moved_in_all[:, ALL_AMOUNTS.index(name)] for name in ("c", "c squared"))
    moves = variance(squares, of_c, int(sums.steps.sum())) >= CONSTANT_VARIANCE
    testable = moves[:, np.newaxis] & (int(sums.steps[0]) >= np.array([rung.parameters for rung in RUNGS]))
    r2, error = r2_of(sums.moments, sums.products, int(sums.stretches))
    r2, error = (np.where(testable, one, np.nan).tolist() for one in (r2, error))
    fitted = [(one.writes.tolist(), one.keeps.tolist(), one.intercept.tolist()) for one in levels.ladder()]
    for unit in range(len(levels.unit)):
        yield tuple(
            FittedRung(
                rung.name, rung.parameters, r2[unit][k], tuple(writes[unit]), tuple(keeps[unit]), intercept[unit],
                time_constant_of(keeps[unit]), error[unit][k],
            )
            for k, (rung, (writes, keeps, intercept)) in enumerate(zip(RUNGS, fitted, strict=True))
        )  # fmt: skip


def r2_of(
    moments: Float[np.ndarray, "... moment"], products: Float[np.ndarray, "... moment moment"], stretches: int
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """R² = 1 - E / V and its standard error, over independent stretches.

    E and V are sums over stretches k of E_k = Σ(e - ē)² and V_k = Σ(c - c̄)². With the ratio ρ = E / V, se² is
    K / (K - 1) Σ(E_k - ρ V_k)² / V². Each E_k - ρ V_k is linear in the moments of a stretch, so that their products
    are all that is needed. Source: W. G. Cochran, "Sampling techniques", 1977, section 6.

    Parameters
    ----------
    moments
        Sums of Σe², Σe, Σc², Σc and steps over all stretches.
    products
        Of any two of them, summed over the stretches.
    stretches
        How many there are.

    Returns
    -------
    tuple
        NaN where c stands still, or there are too few stretches.

    Examples
    --------
    >>> of_stretches = np.array([[1.0, 0, 10, 0, 10], [3.0, 0, 10, 0, 10]])
    >>> [float(one) for one in r2_of(of_stretches.sum(axis=0), of_stretches.T @ of_stretches, 2)]
    [0.8, 0.1]
    """
    squared, errors, squared_c, of_c, steps = np.moveaxis(moments, -1, 0)
    count = np.where(steps > 0, steps, np.nan)
    varied = variance(squared_c, of_c, count)
    varied = np.where(varied >= CONSTANT_VARIANCE, varied, np.nan)
    ratio = variance(squared, errors, count) / varied
    if stretches < 2:
        return 1 - ratio, np.full_like(ratio, np.nan)
    e, c = errors / count, of_c / count
    weights = np.stack([np.ones_like(e), -2 * e, -ratio, 2 * ratio * c, e**2 - ratio * c**2], axis=-1)
    spread = (weights[..., np.newaxis, :] @ products @ weights[..., np.newaxis])[..., 0, 0]
    return 1 - ratio, np.sqrt(np.maximum(spread, 0.0) * stretches / (stretches - 1)) / (varied * count)


def compared_with(sums: UnitSums) -> list[int]:
    """Which quantities have values enough to be compared with cells, by their places."""
    return [k for k, known in enumerate(sums.known.T.tolist()) if is_comparable(known, int(sums.movements[k]))]


def _followed(levels: Levels, sums: UnitSums, unit: int) -> Follows | None:
    which = compared_with(sums)
    names, units = read_texts(levels.quantities), read_texts(levels.quantity_units)
    return find_followed(
        [names[k] for k in which], [units[k] for k in which], sums.halves[unit][:, which], sums.along[unit][which]
    )  # fmt: skip


def find_single(levels: Levels, sums: UnitSums, unit: int, judged: Judged) -> dict[str, tuple[Trigger, ...]]:
    """Find single stimuli that bring each event of a unit; none of a constant unit."""
    labels = levels.labels
    counted = dict(zip(COUNTS, sums.counted[unit].T, strict=True))
    moved = dict(zip(AMOUNTS, sums.moved[unit].T, strict=True))
    every = sums.seen
    count = counts_of(sums, unit)
    place = judged.rung
    nothing = np.zeros_like(every)
    ups = counted[f"up {place}"] if size_of_step(judged.tally, count, place, up=True) else nothing
    downs = counted[f"down {place}"] if size_of_step(judged.tally, count, place, up=False) else nothing
    events = {
        "increment": (every, ups, moved["write"]),
        "decrement": (every, downs, moved["write"]),
        "reset": (every, counted["reset"], moved["f"]),
    }
    if "o" in levels.gates:
        events |= {
            "show": (every, counted["shown"], moved["o"]), "hide": (every, every - counted["shown"], moved["o"]),
        }  # fmt: skip
    if judged.role == "flag":
        events |= {
            "set": (every - counted["is set"], counted["set"], moved["moved"] - moved["moved when set"]),
            "clear": (counted["is set"], counted["clear"], moved["moved when set"]),
        }
    if judged.role == "constant" or not labels:
        return dict.fromkeys(events, ())
    some = slice(0, len(labels))
    return {
        event: find_triggers(labels, seen[some], happened[some], amount[some], happened[-1] / max(int(seen[-1]), 1))
        for event, (seen, happened, amount) in events.items()
    }


def pairs_of(levels: Levels) -> Mapping[tuple[int, str], Trigger]:
    """Pairs of conditions, by the place of the unit and the event."""
    said = zip(
        levels.pair_unit.tolist(), levels.pair_event.tolist(), read_texts(levels.pair_stimulus),
        levels.pair_figures.tolist(), strict=True,
    )  # fmt: skip
    return {
        (unit, event): Trigger(stimulus, share, chance, int(count), mean)
        for unit, event, stimulus, (share, chance, count, mean) in said
    }
