"""What each unit is for: what the outputs lose when it is held, measured with every hold in one batch."""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import xarray as xr

from tallycell.effect.answering import Losses, Question, free_terms, in_blocks, lose
from tallycell.effect.effects import GROUP, KIND, NOT_THERE, Effects
from tallycell.effect.holding import KINDS, Case, CellName, FreeRun
from tallycell.effect.outputs import Readout, read_readout
from tallycell.effect.pushing import Pushes
from tallycell.effect.scores import Family, Score, family_of, mean_of, score_called
from tallycell.effect.stretches import Sampling, Stretch, choose_stretches
from tallycell.effect.targets import NEXT, Targets, are_classes, read_targets
from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.linear_algebra import on_one_thread
from tallycell.loaders.loaded_model import LoadedModel
from tallycell.names import DIRECTION, DIRECTIONS, LAYER, UNIT
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser
from tallycell.trace import Record, record_trace
from tallycell.trace.inputs import read_model
from tallycell.wording import listed, quoted

DEFAULT_SCORES: dict[Family, str] = {"classes": "bits", "switches": "bits", "numbers": "nse"}
H_STANDS_FOR_OUTPUTS = "No linear layer behind the LSTM is known: h of its last layer stands for the outputs."
TAKEN_FOR_CLASSES = (
    "The model does not say what its outputs are; since a target is the number of one of them, they are taken for the "
    "scores of classes, before a softmax."
)
Scorer = str | Callable[..., float] | None
USUAL = Sampling()


@on_one_thread()
def measure_effects(
    model: object, given: object, score: Scorer = None, *, targets: Any = None, kinds: Iterable[str] = tuple(KINDS),
    units: Iterable[Any] | None = None, sampling: Sampling = USUAL,
) -> Effects:  # fmt: skip
    """Measure for each unit what the outputs lose when it is held.

    Parameters
    ----------
    model
        What :func:`tallycell.load` gave, or a recogniser. Where tallycell knows of no linear layer behind the LSTM, or
        the model is a bare LSTM, h of its last layer stands for the outputs.
    given
        An ``Input``, or an array as :func:`tallycell.record_trace` takes it.
    score
        ``"bits"``, ``"accuracy"``, ``"probability"`` (of the target), ``"mse"``, ``"nse"``, ``"kge"``, or
        ``"divergence"``: how far the outputs are from those of the free run, which needs no targets. Or a function of
        the outputs of a block of steps, (time, output), and of its targets where there are some, (time, target); more
        is better. If None: bits of classes, the NSE of numbers; divergence without targets.
    targets
        What the outputs should be at each step, NaN where nothing is known: (time,) or (sequence, time), by labels or
        by position as in :func:`tallycell.read_units`; names or numbers of classes; one class, for all steps. Of
        several outputs one: ``{name: values}``; of numbers, the name of a quantity of the input. Where the model does
        not say what its outputs are, one whole number a step is the number of a class. If None, of a language model
        that names its outputs, the next symbol.
    kinds
        How units are held: ``"zero"`` and ``"mean"`` (the cell at 0, at its mean in the free run), ``"never_forgets"``
        (f = 1), ``"forgets_at_once"`` (f = 0), ``"never_shown"`` (o = 0).
    units
        Labels such as ``"0.27"``, and tuples of labels that are held together; all units, each by itself, if None.
    sampling
        On how many steps, and how blocks of them are drawn for the intervals.

    Returns
    -------
    Effects
        What each loses, with an interval of 95 % over blocks of steps (over sequences, where there are 20), drawn
        together with the free run. Of many units, one in twenty without effect lies outside of its interval by chance.

    Raises
    ------
    InputError
        If the model, input, targets, units or kinds do not fit.

    Examples
    --------
    A cell that counts and is read, and one that nothing reads:

    >>> lstm = LSTMParameters({"weight_ih_l0": np.full((8, 1), 4.0), "weight_hh_l0": np.zeros((8, 2))})
    >>> model = Recogniser(("a",), np.ones((1, 1)), lstm, np.array([[1.0, 0.0]]), np.zeros(1), ("yes",), "threshold")
    >>> effects = measure_effects(model, np.ones((40, 1)), kinds=["zero"])
    >>> effects.loss.sel(kind="zero", layer=0, direction="forward").round(2).to_numpy()
    array([0.15, 0.  ])
    """
    chosen = _kinds(kinds)
    path = given.lstm if isinstance(given, Input) else None
    readout, notes = _readout_of(model, path)
    cases = _cases(units, readout.parameters)
    trace = record_trace(model, given, record=Record(("x", "h", "c")))
    free = FreeRun.of(readout.parameters, trace)
    family = family_of(readout)
    if family == "numbers" and are_classes(targets, readout):
        family, notes = "classes", (*notes, TAKEN_FOR_CLASSES)
    wanted = read_targets(targets, given, trace, readout, family)
    chosen_steps = choose_stretches(free.lengths, sampling, both=readout.parameters.bidirectional)
    stretches = tuple(sorted(chosen_steps, key=lambda one: one.shape))
    named = _score_of(score, wanted, readout, family, _block(sampling, stretches))
    question = Question(
        readout, family, free, wanted, named, stretches, sampling, _scale(model, wanted), callable(score)
    )  # fmt: skip
    # Where h stands for the outputs, there is nothing that a unit could push.
    pushes = None if H_STANDS_FOR_OUTPUTS in notes else Pushes(readout, cases, centred=family == "classes")
    return _answer(question, cases, chosen, pushes, (*notes, *_say_sampled(free, stretches)))


def _answer(
    question: Question, cases: list[Case], kinds: tuple[str, ...], pushes: Pushes | None, notes: tuple[str, ...]
) -> Effects:  # fmt: skip
    found: dict[str, Losses] = {}
    for kind in kinds:
        same = "zero" if kind == "never_shown" and _shows_nothing_at_zero(question.readout.parameters) else kind
        if same not in found:
            shows = {"zero": _shows_nothing_at_zero(question.readout.parameters), "never_shown": True}
            found[same] = lose(question, cases, same, pushes if shows.get(same) else None)
        found[kind] = found[same]
    labels = ["+".join(cell.label for cell in case) for case in cases]
    single = [case[0] if len(case) == 1 else None for case in cases]
    coords = {
        KIND: list(kinds),
        GROUP: labels,
        LAYER: (GROUP, [NOT_THERE if one is None else one.layer for one in single]),
        DIRECTION: (GROUP, ["" if one is None else DIRECTIONS[one.direction] for one in single]),
        UNIT: (GROUP, [NOT_THERE if one is None else one.unit for one in single]),
    }
    ends = {
        name: ((KIND, GROUP), np.stack([getattr(found[kind], name) for kind in kinds]))
        for name in ("loss", "low", "high")
    }
    return Effects(
        xr.Dataset(ends, coords),
        question.score.name,
        question.score.unit,
        float(question.score.total(free_terms(question).sum(-1))),
        question.steps,
        question.targets.name,
        notes,
        {} if pushes is None else {label: pushes.of(k) for k, label in enumerate(labels)},
        dict(zip(labels, found[kinds[0]].suffering, strict=True)),
    )


def _shows_nothing_at_zero(parameters: LSTMParameters) -> bool:
    """Whether a cell at 0 gives out what one that is not shown does: hidden(0) is 0 (peepholes are its own gates')."""
    slots = [parameters.slots(direction) for direction in range(parameters.num_directions)]
    return all(float(one.hidden(np.zeros(1))[0]) == 0 for one in slots)


def _kinds(kinds: Iterable[str]) -> tuple[str, ...]:
    chosen = (kinds,) if isinstance(kinds, str) else tuple(dict.fromkeys(kinds))
    if unknown := [kind for kind in chosen if kind not in KINDS]:
        raise InputError(f"no kind of hold is called {listed(unknown)}; expected some of {listed(KINDS)}")
    if not chosen:
        raise InputError(f"kinds is empty; give some of {listed(KINDS)}")
    return chosen


def _readout_of(model: object, path: str | None) -> tuple[Readout, tuple[str, ...]]:
    """Give the linear layer of a model; where none is known, one that gives out h as it is, and a note."""
    has_one = isinstance(model, Recogniser) or (
        isinstance(model, LoadedModel)
        and (model.recogniser is not None or model.head is not None or path in model.heads)
    )
    if has_one:
        return read_readout(model, path), ()
    parameters = read_model(model, path).parameters
    width = parameters.output_size * parameters.num_directions
    readout = Readout(path or "", parameters, np.eye(width, dtype=parameters.dtype), np.zeros(width))
    return readout, (H_STANDS_FOR_OUTPUTS,)


def _cases(units: Iterable[Any] | None, parameters: LSTMParameters) -> list[Case]:
    """Find what is held together, by labels; all units, each by itself, if None."""
    every = {
        one.label: one
        for one in itertools.starmap(
            CellName,
            itertools.product(
                range(parameters.num_layers), range(parameters.num_directions), range(parameters.hidden_size)
            ),
        )
    }
    if units is None:
        return [(one,) for one in every.values()]
    cases: list[Case] = []
    for wanted in [units] if isinstance(units, str) else units:
        labels = [wanted] if isinstance(wanted, str) else list(wanted)
        for label in labels:
            if label not in every:
                raise InputError(
                    f"no unit {quoted(label)}; give LAYER.UNIT, from {next(iter(every))} to {next(reversed(every))} "
                    "(an r behind it for the reverse direction), or a tuple of several that are held together"
                )
        cases.append(tuple(sorted({every[label] for label in labels})))
    if not all(cases) or not cases:
        raise InputError("units is empty, or names an empty group; name at least one")
    return list(dict.fromkeys(cases))


def _block(sampling: Sampling, stretches: tuple[Stretch, ...]) -> int:
    """Count the steps of a block, which is no longer than the shortest stretch."""
    return min(sampling.block or math.isqrt(sum(map(len, stretches))), *map(len, stretches))


def _score_of(score: Scorer, targets: Targets, readout: Readout, family: Family, block: int) -> Score:
    there = targets.values is not None
    if callable(score):
        name = getattr(score, "__name__", "score")
        return Score(name, "of the score", -1, in_blocks(score, block, targets=there), mean_of)
    if score is None:
        score = DEFAULT_SCORES[family] if there else "divergence"
        if score == "nse" and targets.output is None and len(readout) > 1:
            score = "mse"
    one = targets.output is not None or len(readout) == 1
    found = score_called(score, family, one=one, symbols=targets.name == NEXT)
    if found.name != "divergence" and not there:
        raise InputError(f"the score {quoted(score)} needs targets; give what the outputs should be at each step")
    return found


def _scale(model: object, targets: Targets) -> tuple[float, float]:
    """Center and spread of what is predicted, where the model was trained on scaled targets of this name."""
    scaling = model.scaling if isinstance(model, LoadedModel) else None
    if scaling is None or targets.output is None or targets.name not in scaling.center:
        return 0.0, 1.0
    return float(scaling.center[targets.name]), float(scaling.spread[targets.name])


def _say_sampled(free: FreeRun, stretches: tuple[Stretch, ...]) -> tuple[str, ...]:
    steps, every = sum(map(len, stretches)), int(free.lengths.sum())
    if steps == every:
        return ()
    lead = max(one.begin - one.first for one in stretches)
    return (
        f"Measured on {steps:,} of {every:,} steps, {len(stretches)} stretches spread evenly; each is held from up to "
        f"{lead} steps before on.",
    )
