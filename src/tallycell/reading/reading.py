"""A reading: one row a unit, with role, sentence and evidence, and what the rows say together."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.drawing import draw, view
from tallycell.errors import InputError
from tallycell.names import unit_label
from tallycell.reading import page
from tallycell.reading.behaviour import Exposure
from tallycell.reading.clock import Clock
from tallycell.reading.following import Follows
from tallycell.reading.nothing_learned import NothingLearned
from tallycell.reading.roles import ROLES, Role
from tallycell.reading.tally import GOOD_ENOUGH, RUNGS, FittedRung
from tallycell.reading.triggers import Trigger
from tallycell.wording import quoted, shown

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class UnitReading:
    """What one unit does, and how well that is known.

    Attributes
    ----------
    layer, direction, unit
        Which.
    role, sentence
        By the rules of :func:`~tallycell.reading.roles.role_of`, and of :mod:`~tallycell.reading.sentences`.
    rung, parameters, r2
        The tally that is quoted: the lowest on the ladder that explains 90 % of the cell or comes within 2 points of
        the best; its number of parameters; R² on the second half. NaN for a constant unit, and where it could not be
        tested (the cell stands still on the second half, or the first is too short).
    ladder
        Every rung as it was fitted.
    memory
        Steps in which the cell forgets what it held down to 1/e, on average, resets included: see
        :class:`~tallycell.reading.behaviour.Behaviour`.
    exposure
        What the output gate lets out of it; None where the trace does not hold the gate.
    triggers
        By event: ``increment``, ``decrement``, ``reset``, ``show`` and ``hide``, of a flag ``set`` and ``clear`` too.
    follows
        The known quantity that the cell goes along with best, if the correlation is at least 0.5; which one is chosen
        on the first half of the steps, the correlation quoted on the second; both have one sign, and the movements over
        8 steps go along as well, because two series that only drift are often correlated.
    r2_error
        Standard error of r2, from how it differs between stretches of the steps that it is quoted on; NaN where there
        are fewer than two of them.
    undecided
        Another role that the unit would have with an R² as little as two standard errors from this; None where there is
        none.
    """

    layer: int
    direction: str
    unit: int
    role: Role
    sentence: str
    rung: str
    parameters: int
    r2: float
    ladder: tuple[FittedRung, ...]
    memory: float
    exposure: Exposure | None
    triggers: Mapping[str, tuple[Trigger, ...]]
    follows: Follows | None
    r2_error: float = math.nan
    undecided: Role | None = None

    def __repr__(self) -> str:
        return f"UnitReading({self.label!r}, {self.role!r}, R² {self.r2:.2f}, {self.sentence!r})"

    def plot(self, trace: "xr.Dataset", given: Any = None, quantities: Any = None, **how: Any) -> "Figure":
        """Draw its life over what was read: see :func:`tallycell.plot.plot_unit`."""
        return draw("unit", trace, self, given, quantities, **how)

    def _repr_html_(self) -> str:
        return page.unit_html(self)

    @property
    def r2_by_rung(self) -> dict[str, float]:
        """R² of every rung."""
        return {rung.name: rung.r2 for rung in self.ladder}

    @property
    def label(self) -> str:
        """``LAYER.UNIT``, with an ``r`` behind it in the reverse direction."""
        return unit_label(self.layer, self.direction, self.unit)


@dataclass(frozen=True, repr=False)
class Reading:
    """What the units of an LSTM do.

    Attributes
    ----------
    units
        One :class:`UnitReading` a unit, in the order of the trace.
    pairs
        By known quantity, at how many steps it has a value, so that cells could be compared with it.
    notes
        What is said of the quantities: those with gaps, and those with too few values to be compared.
    warning
        Why the input cannot be what the network was trained on; empty where nothing speaks for it.
    nothing_learned
        What networks of the same shape that learned nothing give; None where that was not asked for.
    saturation
        As :func:`~tallycell.reading.saturation.read_saturation` gives it.
    clock
        How long a step is, where that is known.
    """

    units: tuple[UnitReading, ...]
    pairs: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warning: str = ""
    nothing_learned: NothingLearned | None = None
    saturation: "xr.Dataset | None" = field(default=None, compare=False)
    clock: Clock = field(default=Clock(), compare=False)

    def __repr__(self) -> str:
        roles = ", ".join(f"{count} {role}" for role, count in self.roles().items() if count)
        about = f", quantities {', '.join(map(shown, self.pairs))}" if self.pairs else ""
        return f"Reading({len(self.units)} units: {roles}{about})"

    def best(self, count: int | None = None) -> tuple[UnitReading, ...]:
        """Units that read best: first those with a purpose (flag, counter, slow store; then timer), each by R²."""
        purposes: dict[Role, int] = {"flag": 0, "counter": 0, "slow store": 0, "timer": 1}

        def key(unit: UnitReading) -> tuple[int, float]:
            place = purposes.get(unit.role, len(purposes) + ROLES.index(unit.role))
            return (place, -np.nan_to_num(unit.r2, nan=-math.inf))

        return tuple(sorted(self.units, key=key)[:count])

    def unit(self, label: str) -> UnitReading:
        """Find a unit by its label, such as ``"0.27"``; InputError if there is none."""
        for unit in self.units:
            if unit.label == label:
                return unit
        raise no_such_unit(label, self.units[0].label, self.units[-1].label)

    def roles(self) -> dict[str, int]:
        """Count the units of each role."""
        found = Counter(unit.role for unit in self.units)
        return {role: found[role] for role in ROLES}

    def median_r2(self) -> dict[str, float]:
        """Median R² of each rung over the units that are not constant; NaN if all are."""
        moving = self._moving()
        by_rung = {rung.name: [unit.ladder[k].r2 for unit in moving] for k, rung in enumerate(RUNGS)}
        return {name: float(np.median(values)) if values else math.nan for name, values in by_rung.items()}

    def readability(self) -> dict[int, float]:
        """Share of units explained (R² of at least 0.9) by the parameters allowed; constant units stand outside."""
        moving = self._moving()
        return {
            allowed: float(np.mean([self._explained(unit, allowed) for unit in moving])) if moving else math.nan
            for allowed in sorted({rung.parameters for rung in RUNGS})
        }

    def leaders(self) -> dict[str, UnitReading]:
        """For each known quantity that some unit follows, the unit that follows it best."""
        found: dict[str, UnitReading] = {}
        for unit in self.followers():
            assert unit.follows is not None  # followers have one
            found.setdefault(unit.follows.quantity, unit)
        return found

    def followers(self, quantity: str | None = None) -> tuple[UnitReading, ...]:
        """Units that follow a quantity (any, if None), the closest first."""
        found = [
            (abs(u.follows.correlation), u) for u in self.units if u.follows and quantity in (None, u.follows.quantity)
        ]
        return tuple(unit for _, unit in sorted(found, key=lambda pair: -pair[0]))

    def to_frame(self) -> "pd.DataFrame":
        """One row a unit; nested values as in :meth:`to_rows`."""
        import pandas as pd

        return pd.DataFrame(self.to_rows())

    def to_rows(self) -> list[dict[str, Any]]:
        """One dictionary a unit, ready for JSON: None where a number is NaN or infinite."""
        return [_plain({"label": unit.label, **asdict(unit)}) for unit in self.units]

    def __str__(self) -> str:
        return page.text_of(self)

    def plot(self) -> "Figure":
        """Draw how binary the gates of its units are: see :func:`tallycell.plot.plot_saturation`."""
        return draw("saturation", self)

    def to_html(self, trace: "xr.Dataset", path: Any, given: Any = None, **how: Any) -> None:
        """Write it into one file that works offline: see :func:`tallycell.view.write_page`."""
        view("write_page", self, trace, path, given, **how)

    def view(self, trace: "xr.Dataset", given: Any = None, **how: Any) -> Any:
        """Give the same page in a frame, as a notebook shows it: see :func:`tallycell.view.frame_of`."""
        return view("frame_of", self, trace, given, **how)

    def _repr_html_(self) -> str:
        return page.html_of(self)

    def _moving(self) -> list[UnitReading]:
        return [unit for unit in self.units if not math.isnan(unit.r2)]

    @staticmethod
    def _explained(unit: UnitReading, allowed: int) -> bool:
        return any(rung.r2 >= GOOD_ENOUGH for rung in unit.ladder if rung.parameters <= allowed)


def no_such_unit(label: str, first: str, last: str) -> InputError:
    """Give the error of a label that no unit has."""
    return InputError(
        f"no unit {quoted(label)}; give LAYER.UNIT, from {first} to {last} (an r behind it for the reverse direction)"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
