"""Effects of holds, by unit and kind, with what they push: a table that answers which units matter."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tallycell.drawing import draw
from tallycell.errors import InputError
from tallycell.html_table import html_grid
from tallycell.names import DIRECTION, DIRECTIONS, LAYER, UNIT
from tallycell.reading.page import as_text
from tallycell.reading.triggers import say_symbol
from tallycell.wording import listed, quoted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KIND, GROUP = "kind", "group"
TOP = 10
SAID = 3  # outputs that a sentence names on either side
NOT_THERE = -1  # layer and unit of what is held together with others
IN_WORDS = {
    "zero": "held at 0",
    "mean": "held at its mean",
    "never_forgets": "never forgetting",
    "forgets_at_once": "forgetting at once",
    "never_shown": "never shown",
}


@dataclass(frozen=True)
class Suffering:
    """A class whose prediction suffers without a unit.

    Attributes
    ----------
    name
        Of the class.
    loss
        Bits that it is worse by, on average.
    count
        Steps at which it was the target.
    """

    name: str
    loss: float
    count: int


_VERBS = {"divergence": ("moves the outputs by", ""), "mse": ("adds", "takes away")}  # others cost and win
_WITHOUT = {"divergence": "the outputs move by {}", "mse": "{} is added", "bits": "{} are lost"}


@dataclass(frozen=True)
class Push:
    """What a unit does to the outputs when it is shown, by its weights and by measurement alike.

    Attributes
    ----------
    raises, lowers
        Names of outputs, the most moved first.
    both_ways
        Whether its h is as often above 0 as below: what is named holds above 0, below 0 the opposite.
    named
        Whether the model names its outputs; else they are called by their numbers.
    """

    raises: tuple[str, ...] = ()
    lowers: tuple[str, ...] = ()
    both_ways: bool = False
    named: bool = True

    def in_words(self) -> str:
        """Say it; empty where nothing is known."""
        sides = (("raises", self.raises), ("lowers", self.lowers))
        say = say_symbol if self.named else str
        said = " and ".join(f"{verb} {', '.join(map(say, names[:SAID]))}" for verb, names in sides if names)
        return f"{said}; below 0 the opposite" if said and self.both_ways else said


@dataclass(frozen=True)
class UnitEffect:
    """What the outputs lose when one unit (or group) is held.

    Attributes
    ----------
    label
        ``LAYER.UNIT``, with an ``r`` behind it in the reverse direction; of a group joined by ``+``.
    kind
        How it is held.
    loss, low, high
        What is lost, and the ends of the 95 % interval; those are NaN where there was too little to draw from.
    score, unit
        Name of the score, and what a loss is counted in.
    push
        What it does to the outputs when it is shown.
    suffering
        Classes that are worse without it, the worst first.
    """

    label: str
    kind: str
    loss: float
    low: float
    high: float
    score: str
    unit: str
    push: Push = Push()
    suffering: tuple[Suffering, ...] = ()

    @property
    def is_sure(self) -> bool:
        """Whether it costs something, and the interval does not reach 0; without one, whatever costs counts."""
        return self.loss > 0 and not self.low <= 0

    def sentence(self, besides: str = "") -> str:
        """Say it: what is lost (and ``besides``, what of), what it pushes, what is worse without it."""
        between = f" ({self.low:.3g} to {self.high:.3g})" if math.isfinite(self.low) else ""
        verb = _VERBS.get(self.score, ("costs", "wins"))[self.loss < 0]
        lost = f"{IN_WORDS[self.kind]}, it {verb} {abs(self.loss):.3g} {self.unit}{besides}{between}"
        return "; ".join(filter(None, [lost, self.say_push(), self.say_worst() and f"without it {self.say_worst()}"]))

    def purpose(self) -> str:
        """Say what it is for in a clause: what is worse without it, and what it pushes."""
        if not self.is_sure:
            return "without it the outputs are as good" if self.low <= 0 else ""
        lost = _WITHOUT.get(self.score, "{} is lost").format(f"{self.loss:.2g} {self.unit}")
        return "; ".join(filter(None, [f"without it {self.say_worst() or lost}", self.say_push()]))

    def say_push(self) -> str:
        """Say what it pushes when it is shown; empty where that is not known."""
        pushed = self.push.in_words()
        return f"shown{' above 0' if self.push.both_ways else ''}, it {pushed}" if pushed else ""

    def say_worst(self) -> str:
        """Say which class is worse without it; empty where none is for sure."""
        return (
            f"{say_symbol(self.suffering[0].name)} is {self.suffering[0].loss:.2g} bits worse" if self.suffering else ""
        )


@dataclass(frozen=True, eq=False, repr=False)
class Effects:
    """What the outputs of a model lose when its units are held.

    Attributes
    ----------
    table
        ``loss``, ``low`` and ``high`` by ``kind`` and ``group``: labels of units, and of units that were held together.
        Beside them stand ``layer``, ``direction`` and ``unit`` of single units.
    score, unit
        Name of the score, and what a loss is counted in.
    free
        The score of the free run.
    steps
        Steps that were measured on.
    targets
        What the outputs should have been, in words; empty without targets.
    notes
        What was measured instead of what, one sentence each.
    pushed
        By label, what a unit does to the outputs when it is shown.
    suffering
        By label, which classes are worse under the first kind.

    Examples
    --------
    >>> names = {"kind": ["zero"], "group": ["0.0", "0.1"]}
    >>> coords = names | {name: ("group", v) for name, v in
    ...                   {"layer": [0, 0], "direction": ["forward"] * 2, "unit": [0, 1]}.items()}
    >>> values = {name: (("kind", "group"), [v]) for name, v in
    ...           {"loss": [0.5, 0.0], "low": [0.4, 0.0], "high": [0.6, 0.0]}.items()}
    >>> effects = Effects(xr.Dataset(values, coords), "bits", "bits a symbol", 1.5, 4000)
    >>> effects
    Effects(2 units, bits, 1 with an effect; most: 0.0)
    >>> effects.most(1)[0].sentence()
    'held at 0, it costs 0.5 bits a symbol (0.4 to 0.6)'
    """

    table: xr.Dataset
    score: str
    unit: str
    free: float
    steps: int
    targets: str = ""
    notes: tuple[str, ...] = ()
    pushed: Mapping[str, Push] = field(default_factory=dict)
    suffering: Mapping[str, tuple[Suffering, ...]] = field(default_factory=dict)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """How units were held."""
        return tuple(map(str, self.table[KIND].to_numpy().tolist()))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Labels of what was held."""
        return tuple(map(str, self.table[GROUP].to_numpy().tolist()))

    @property
    def loss(self) -> xr.DataArray:
        """What is lost, (kind, layer, direction, unit); NaN where a unit was not held by itself."""
        return self._by_unit("loss")

    @property
    def low(self) -> xr.DataArray:
        """Lower ends of the intervals, as :attr:`loss`."""
        return self._by_unit("low")

    @property
    def high(self) -> xr.DataArray:
        """Upper ends of the intervals, as :attr:`loss`."""
        return self._by_unit("high")

    @property
    def of_free(self) -> str:
        """Say what a loss is a part of, to stand behind it: ``, of 1.5``; nothing where the free run loses nothing."""
        return "" if self.score == "divergence" else f", of {self.free:.3g}"

    def of(self, label: str, kind: str | None = None) -> UnitEffect:
        """Give the effect of a unit or group, by its label; of the first kind if None.

        Raises
        ------
        InputError
            If it was not held, or not so.
        """
        kind = self.kind_of(kind)
        if label not in self.labels:
            raise InputError(f"{quoted(label)} was not held; what was is {listed(self.labels)}")
        at = self.kinds.index(kind), self.labels.index(label)
        loss, low, high = (float(self.table[name].to_numpy()[at]) for name in ("loss", "low", "high"))
        suffering = self.suffering.get(label, ()) if kind == self.kinds[0] else ()
        return UnitEffect(
            label, kind, loss, low, high, self.score, self.unit, self.pushed.get(label, Push()), suffering
        )

    def pushes(self, label: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Name the outputs that a unit raises, and those that it lowers, when it is shown (above 0).

        Only those are named that are among the most moved both by the unit's weights in the linear layer and as
        measured by holding it; there are none where the unit does not stand before a linear layer.
        """
        if label not in self.labels:
            raise InputError(f"{quoted(label)} was not held; what was is {listed(self.labels)}")
        push = self.pushed.get(label, Push())
        return push.raises, push.lowers

    def most(self, count: int | None = TOP, kind: str | None = None) -> tuple[UnitEffect, ...]:
        """Give those that cost the most, whose interval does not reach 0; of the first kind if None."""
        return tuple(islice((one for one in self.ranked(kind) if one.is_sure), count))

    def ranked(self, kind: str | None = None) -> Iterator[UnitEffect]:
        """Give all whose loss is known, noise or not, those that cost the most first; of the first kind if None."""
        kind = self.kind_of(kind)
        losses = self.table["loss"].sel({KIND: kind}).to_numpy()
        order = np.argsort(-losses, kind="stable")  # puts what is not known last
        return (self.of(self.labels[k], kind) for k in order.tolist() if not math.isnan(losses[k]))

    def kind_of(self, kind: str | None = None) -> str:
        """Give a way of holding units that was measured; the first if None.

        Raises
        ------
        InputError
            If units were not held so.
        """
        if kind is not None and kind not in self.kinds:
            raise InputError(f"units were not held as {quoted(kind)}; they were as {listed(self.kinds)}")
        return kind or self.kinds[0]

    def to_frame(self) -> "pd.DataFrame":
        """One row a label and kind."""
        return self.table.to_dataframe().reset_index()

    def __repr__(self) -> str:
        found = self.most(None)
        foremost = f"; most: {', '.join(one.label for one in found[:3])}" if found else ""
        return f"Effects({len(self.labels)} units, {self.score}, {len(found)} with an effect{foremost})"

    def __str__(self) -> str:
        found = self.most()
        table = Table(box=None, pad_edge=False, padding=(0, 1))
        for name, side in (("  unit", "right"), *((IN_WORDS[kind], "right") for kind in self.kinds), ("", "left")):
            table.add_column(name, justify=side, no_wrap=name != "")  # type: ignore[arg-type]
        for one in found:
            losses = self.table["loss"].sel({GROUP: one.label}).to_numpy().tolist()
            table.add_row(one.label, *(f"{loss:.3g}" for loss in losses), one.push.in_words())
        parts: list[RenderableType] = [Text(self.answer()), *([table] if found else [])]
        return as_text(Group(*parts, *map(Text, self.remarks())))

    def plot(self, kind: str | None = None, **how: Any) -> "Figure":
        """Draw what is lost, with its intervals: see :func:`tallycell.plot.plot_effects`."""
        return draw("effects", self, kind, **how)

    def _repr_html_(self) -> str:
        rows = []
        for one in self.most():
            losses = self.table["loss"].sel({GROUP: one.label}).to_numpy().tolist()
            rows.append((one.label, *(f"{loss:.3g}" for loss in losses), one.push.in_words()))
        heads = ("unit", *(IN_WORDS[kind] for kind in self.kinds), "shown")
        return html_grid(self.answer(), heads, rows)

    def answer(self, kind: str | None = None) -> str:
        """Say which unit matters most, or that none does for sure; of the first kind if None."""
        found = self.most(1, kind)
        if not found:
            held = IN_WORDS[self.kind_of(kind)]
            return f"None of {len(self.labels):,} units has an effect that is not noise, {held}."
        return f"Unit {found[0].label} matters most: {found[0].sentence(self.of_free)}."

    def remarks(self) -> list[str]:
        """Say on what that was measured, and how many effects are no noise, a line each."""
        on = f"On {self.steps:,} steps{f'; targets: {self.targets}' if self.targets else ''}."
        return [f"  {line}" for line in (on, self.say_sure(), *self.notes)]

    def say_sure(self, kind: str | None = None) -> str:
        """Say how many effects are no noise, or that this is not known; of the first kind if None."""
        kind = self.kind_of(kind)
        if not np.isfinite(self.table["low"].sel({KIND: kind}).to_numpy()).any():
            return "Too few steps for an interval: what is noise is not known."
        number, held = len(self.most(None, kind)), f"Of {len(self.labels):,} units, {IN_WORDS[kind]}"
        return f"{held}, {number:,} have an effect that is not noise (95 % intervals)."

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _by_unit(self, name: str) -> xr.DataArray:
        single = self.table[name].isel({GROUP: np.flatnonzero(self.table[LAYER].to_numpy() != NOT_THERE)})
        layers, units = (sorted(set(single[dim].to_numpy().tolist())) for dim in (LAYER, UNIT))
        directions = [one for one in DIRECTIONS if one in single[DIRECTION].to_numpy()]
        values = np.full((len(self.kinds), len(layers), len(directions), len(units)), np.nan)
        at = (
            [layers.index(one) for one in single[LAYER].to_numpy().tolist()],
            [directions.index(one) for one in single[DIRECTION].to_numpy().tolist()],
            [units.index(one) for one in single[UNIT].to_numpy().tolist()],
        )
        values[:, *at] = single.to_numpy()
        coords = {KIND: list(self.kinds), LAYER: layers, DIRECTION: directions, UNIT: units}
        return xr.DataArray(values, coords=coords, name=name, attrs={"units": self.unit})
