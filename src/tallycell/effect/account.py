"""The account of one output: the exact sum that it is, over the steps that were read and the cells that kept them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from tallycell.drawing import draw
from tallycell.effect.chosen import Chosen, choose
from tallycell.effect.layer_account import Answer, answer, carry, passed
from tallycell.html_table import html_table
from tallycell.memory import require_memory
from tallycell.names import DIRECTION, DIRECTIONS, LAYER, STEP, TIME, UNIT, unit_label
from tallycell.trace import Record, record_trace
from tallycell.trace.times import say_time
from tallycell.wording import quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PART, CELL, TOKEN = "part", "cell", "token"
TOP = 5
_AT_ONCE = 12  # arrays of the size of one gate in float64 that one layer needs while it answers
_NUMBER_OF_STEP = "iu"  # kinds of numbers of a time that is only the number of the step


@dataclass(frozen=True, eq=False, repr=False)
class Account:
    """One output as entries that sum to it: what was written to which cell at which step.

    Attributes
    ----------
    entries
        (part, layer, direction, unit, time), dimensionless, in float64. Beside ``time`` stand ``step`` and, for a text,
        ``token``. The parts that occur of: ``"write"``, what a step wrote to a cell, i g, as far as it was kept and
        shown; ``"clipping"``, what clipping took of it; ``"offset"``, what is shown of a cell that is 0. Where a stack
        is carried down: ``"recurrent"`` and ``"bias"``, what a cell above the first layer wrote because of its own
        layer's h and of its bias. A part that a layer cannot have is 0.
    initial
        (layer, direction, unit): what is left of the cells before the first step.
    bias
        Of the head; with what it is shown of an h that is 0, where a function stands before it.
    output
        The output itself, before the activation, as the model computed it.
    name
        What it is called: its name in quotes, or its number.
    step
        At which step, counted from 0.
    carried
        Whether the writes of the layers above the first are carried down to what they read.
    """

    entries: xr.DataArray
    initial: xr.DataArray
    bias: float
    output: float
    name: str
    step: int
    carried: bool = False

    @property
    def rounding(self) -> float:
        """What the output has more than entries, initial states and bias together: rounding only."""
        return self.output - float(self.entries.sum()) - float(self.initial.sum()) - self.bias

    def by_step(self) -> xr.DataArray:
        """Entries of each step, (time,); with the initial states and the bias they sum to the output."""
        return self.entries.sum([PART, LAYER, DIRECTION, UNIT])

    def by_unit(self) -> xr.DataArray:
        """Entries and initial state of each unit, (layer, direction, unit); with the bias they sum to the output."""
        return self.entries.sum([PART, TIME]) + self.initial

    def top_steps(self, n: int = TOP) -> xr.DataArray:
        """Give the steps with the largest entries, up or down, the largest first: (time,); none whose entry is 0."""
        return _largest(self.by_step(), TIME, n)

    def top_units(self, n: int = TOP) -> xr.DataArray:
        """Give the units with the largest entries, up or down, the largest first: (cell,); none whose entry is 0."""
        cells = self.by_unit().stack({CELL: [LAYER, DIRECTION, UNIT]}).reset_index(CELL)
        return _largest(cells, CELL, n)

    def __str__(self) -> str:
        steps, units = self.by_step(), self.by_unit()
        shown_steps, shown_units = self.top_steps(), self.top_units()
        lines = [f"{self._answer()}.", "", "Steps at which its cells were written:"]
        lines += _aligned([*_rows_of_steps(shown_steps), *_rest(steps, shown_steps)])
        lines += ["", "Units that hold it:"]
        lines += _aligned([*_rows_of_units(shown_units), *_rest(units, shown_units)])
        return "\n".join(lines)

    def plot(self, tokens: Sequence[str] | None = None, **how: Any) -> "Figure":
        """Draw it: see :func:`tallycell.plot.plot_account`."""
        return draw("account", self, tokens, **how)

    def _repr_html_(self) -> str:
        """Give a table of the same, which notebooks show."""
        rows = [*_rows_of_steps(self.top_steps()), *_rows_of_units(self.top_units())]
        return html_table(f"{self._answer()}", [(label, f"{value:+.3g}") for label, value in rows])

    def __repr__(self) -> str:
        return f"Account({self.name} at step {self.step}: {self.output:.4g})"

    def _answer(self) -> str:
        said = {
            f"the {self.entries.sizes[TIME]:,} steps read": float(self.entries.sum()),
            "the initial states": float(self.initial.sum()),
            "the bias": self.bias,
        }
        parts = ", ".join(f"{value:+.4g} from {what}" for what, value in said.items() if value or "steps" in what)
        return f"{self.name} at step {self.step} is {self.output:.4g} before the activation: {parts}"


def explain_output(
    model: object, given: object, step: int, output: int | str, *, sequence: int = 0, down: bool = True
) -> Account:
    """Give the exact account of one output: a sum over its cells and the steps at which they were written.

    A cell is the sum of what was written to it, each write as far as the forget gates kept it; h is what the output
    gate shows of it; an output of a linear head is a sum over h, or over what a function such as relu shows of h. So
    an output is a sum over cells and past steps. The entry of a unit and a step is what the step wrote, i g, times all
    forget gates since, the output gate now and the weight of the head; the squashing of the cell on its way out is
    shared in proportion to the entries of the cell.

    Parameters
    ----------
    model
        What :func:`tallycell.load` gave, with a head, or a recogniser.
    given
        What ``open_text``, ``open_table`` or ``open_audio`` gave; or an array, (time, feature) or (time, sequence,
        feature), or a DataArray with these names.
    step
        The step whose output is explained, counted from 0 in the order in which ``given`` stands; below 0 from the end.
    output
        Name of the output, or its number.
    sequence
        Which sequence, where several are given.
    down
        Of a stack: whether writes of the upper layers are carried down to the layers they read. Then entries are the
        writes of the first layer, and what stayed above: what a layer wrote because of its own h and its biases. If
        False, entries are the writes of the last layer.

    Returns
    -------
    Account
        Its entries, initial states and bias sum to the output, to rounding.

    Raises
    ------
    InputError
        If the model has no head, or there is no such output, sequence or step.

    Notes
    -----
    Exact is the sum, given the gates: what a step would have changed in the gates is in no entry. What is in the cell
    is exact; how the squashing of a cell, and of a candidate on the way down, is shared among its terms is a rule: in
    proportion to the terms. So it is with a function before the head: of a unit, ``weight * shown(h)`` is exact, and
    shared among its entries in proportion; a unit that relu does not show has entries of 0. Where terms of both signs
    nearly cancel, each may be far larger than the output.
    :func:`~tallycell.effect.counterfactual.counterfactual_steps` says what becomes of the output without a step.

    Sources: Murdoch and Szlam 2017, "Automatic rule extraction from LSTMs"; Murdoch, Liu and Yu 2018, "Beyond word
    importance"; Arras et al. 2017, "Explaining recurrent neural network predictions in sentiment analysis", and 2019,
    "Explaining and interpreting LSTMs".

    Examples
    --------
    >>> from tallycell import LSTMParameters, Recogniser
    >>> weights = {"weight_ih_l0": np.repeat([[9.0], [0], [2], [9]], 2, axis=1), "weight_hh_l0": np.zeros((4, 1))}
    >>> weights["weight_ih_l0"][2, 1] = -2
    >>> network = Recogniser(("a", "b"), np.eye(2), LSTMParameters(weights), np.ones((1, 1)), np.zeros(1), ("yes",))
    >>> account = explain_output(network, np.eye(2)[[0, 1, 1]], step=2, output="yes")
    >>> account.by_step().values.round(3).tolist()
    [0.167, -0.334, -0.668]
    >>> print(account)
    'yes' at step 2 is -0.835 before the activation: -0.835 from the 3 steps read.
    <BLANKLINE>
    Steps at which its cells were written:
      step 2     -0.668
      step 1     -0.334
      step 0     +0.167
    <BLANKLINE>
    Units that hold it:
      unit 0.0   -0.835
    """
    chosen = choose(model, given, step, output, sequence)
    _ask_memory(chosen)
    p = chosen.readout.parameters
    carried = down and p.num_layers > 1
    names = ("i", "f", "g", "o", "c", "h", "x", *(("g_pre",) if carried else ()))
    trace = record_trace(model, chosen.given, record=Record(names))
    lowest = 0 if carried else p.num_layers - 1
    answers = _answers(chosen, trace, lowest)
    entries, initial = _labelled(chosen, trace, answers, lowest)
    bias = chosen.readout.at_zero(chosen.number)
    return Account(
        entries, initial, bias, chosen.logit(trace), chosen.readout.label(chosen.number), chosen.step, carried
    )


def _ask_memory(chosen: Chosen) -> None:
    p, steps = chosen.readout.parameters, chosen.given.x.shape[0]
    one = 8 * steps * p.hidden_size * p.num_directions
    require_memory(one * (_AT_ONCE * p.num_layers + _AT_ONCE), f"an account of {steps:,} steps")


def _answers(chosen: Chosen, trace: xr.Dataset, lowest: int) -> dict[tuple[int, int], tuple[Answer, dict[str, Any]]]:
    """By layer and direction, from the last layer down: the answer, and its parts that stay."""
    p = chosen.readout.parameters
    h = trace["h"].isel(layer=-1, sequence=0, time=chosen.step).transpose(DIRECTION, ...).to_numpy()
    asked = np.zeros((trace.sizes[TIME], p.num_directions, p.output_size))
    asked[chosen.step] = chosen.readout.coefficients(chosen.number, h.astype(np.float64))
    found = {}
    for number in range(p.num_layers - 1, lowest - 1, -1):
        below = np.zeros((trace.sizes[TIME], p.input_size if number == 0 else p.num_directions * p.output_size))
        for direction in range(p.num_directions):
            order = slice(None, None, -1 if direction else 1)
            layer = passed(trace, p.layer(number, direction), number, direction)
            own = answer(layer, asked[order, direction])
            parts = dict(own.parts)
            if number > lowest:
                carried = carry(layer, own.asked_of_c)
                below += carried.asked_of_x[order]
                del parts["write"]
                parts |= carried.parts
            found[number, direction] = own, {name: part[order] for name, part in parts.items()}
        if number > 0:
            asked = below.reshape(len(below), p.num_directions, p.output_size)
    return found


def _labelled(
    chosen: Chosen, trace: xr.Dataset, answers: dict[tuple[int, int], tuple[Answer, dict[str, Any]]], lowest: int
) -> tuple[xr.DataArray, xr.DataArray]:
    """Entries and initial states, by their names."""
    p = chosen.readout.parameters
    parts = list(dict.fromkeys(name for _, kept in answers.values() for name in ("write", *kept)))
    layers = list(range(lowest, p.num_layers))
    shape = (len(layers), p.num_directions, p.hidden_size)
    initial = np.zeros(shape)
    entries: Float[np.ndarray, "part layer direction unit time"] = np.zeros((len(parts), *shape, trace.sizes[TIME]))
    for (number, direction), (own, kept) in answers.items():
        initial[number - lowest, direction] = own.initial
        for name, values in kept.items():
            entries[parts.index(name), number - lowest, direction] = values.T
    units = {LAYER: layers, DIRECTION: list(DIRECTIONS[: p.num_directions]), UNIT: np.arange(p.hidden_size)}
    times: dict[Any, Any] = {name: one for name, one in trace.coords.items() if one.dims == (TIME,)}
    if chosen.tokens is not None:
        times[TOKEN] = (TIME, np.array(chosen.tokens, dtype=str))
    about = {"long_name": "part in the output", "units": "1"}
    return (
        xr.DataArray(entries, {PART: parts, **units, **times}, (PART, LAYER, DIRECTION, UNIT, TIME), "entries", about),
        xr.DataArray(initial, units, (LAYER, DIRECTION, UNIT), "initial", about),
    )


def _largest(values: xr.DataArray, dim: str, n: int) -> xr.DataArray:
    sizes = np.abs(values.to_numpy())
    order = np.argsort(-sizes, kind="stable")[: max(n, 0)]
    return values.isel({dim: order[sizes[order] > 0]})


def _rows_of_steps(steps: xr.DataArray) -> Iterator[tuple[str, float]]:
    for one in steps:
        said = [f"step {int(one[STEP])}"]
        if one[TIME].dtype.kind not in _NUMBER_OF_STEP:
            said.append(say_time(one[TIME].to_numpy()))
        if TOKEN in one.coords:
            said.append(quoted(str(one[TOKEN].to_numpy()), 20))
        yield ", ".join(said), float(one)


def _rows_of_units(units: xr.DataArray) -> Iterator[tuple[str, float]]:
    for one in units:
        yield f"unit {unit_label(int(one[LAYER]), str(one[DIRECTION].to_numpy()), int(one[UNIT]))}", float(one)


def _rest(every: xr.DataArray, shown: xr.DataArray) -> Iterator[tuple[str, float]]:
    others = every.size - shown.size
    if others:
        name = "all" if not shown.size else "the other"
        yield f"{name} {others:,}" if others > 1 else name, float(every.sum() - shown.sum())


def _aligned(rows: list[tuple[str, float]]) -> list[str]:
    width = max([10, *(len(label) for label, _ in rows)])
    return [f"  {label:{width}} {value:+.4g}" for label, value in rows]
