"""What outputs should be: read from what the caller gives, or, of a language model, the symbol that comes next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from tallycell.effect.outputs import Readout
from tallycell.effect.scores import Family
from tallycell.errors import InputError
from tallycell.input import Input
from tallycell.names import SEQUENCE, TIME
from tallycell.reading.alignment import align_quantities
from tallycell.wording import listed, quoted

NEXT = "the symbol that comes next"


@dataclass(frozen=True, eq=False)
class Targets:
    """What outputs should be at each step.

    Attributes
    ----------
    values
        (sequence, time, target), NaN where nothing is known; of classes their numbers. None without targets.
    output
        The only output that is scored; None where all are.
    name
        What they are, in words.
    """

    values: Float[np.ndarray, "sequence time target"] | None = None
    output: int | None = None
    name: str = ""


def read_targets(targets: Any, given: object, trace: xr.Dataset, readout: Readout, family: Family) -> Targets:
    """Bring targets to the steps of a trace.

    Parameters
    ----------
    targets
        See :func:`~tallycell.effect.measuring.measure_effects`.
    given
        What the model read.
    trace
        Of it.
    readout, family
        What its outputs are.

    Raises
    ------
    InputError
        If they do not fit.
    """
    if targets is None:
        return _next_symbols(given, trace, readout, family)
    if isinstance(targets, str | int | np.integer) and not isinstance(targets, bool):
        if family != "numbers":
            number = readout.number(targets)
            constant = np.full((trace.sizes[SEQUENCE], trace.sizes[TIME], 1), float(number))
            return Targets(constant, name=f"{readout.label(number)} at every step")
        known = given.quantities if isinstance(given, Input) else {}
        if targets not in known:
            raise InputError(
                f"targets is {quoted(targets)}, and the input has the quantities {listed(known)}; give the name of "
                "one, or the values"
            )
        targets = {targets: known[str(targets)]}
    if isinstance(targets, Mapping):
        if len(targets) != 1:
            raise InputError(f"targets are given for {listed(targets)}; give them for one output")
        ((name, values),) = targets.items()
        only = 0 if len(readout) == 1 else readout.number(name)
        return Targets(align_quantities({name: values}, trace)[str(name)][..., np.newaxis], only, str(name))
    return _of_values(targets, trace, readout, family)


def are_classes(targets: Any, readout: Readout) -> bool:
    """Whether targets can only be classes: of several outputs, whose meaning no file tells, one whole number a step.

    Examples
    --------
    >>> from tallycell.parameters import LSTMParameters
    >>> lstm = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> tagger = Readout("", lstm, np.ones((3, 2)), np.zeros(3))
    >>> are_classes([0, 2, np.nan, 1], tagger), are_classes([0.5, 2.0], tagger), are_classes([0, 3], tagger)
    (True, False, False)
    """
    if len(readout) < 2 or readout.activation is not None or np.ndim(targets) not in (1, 2):
        return False
    values = np.asarray(targets)
    if values.dtype.kind not in "fiu" or values.shape[-1] == len(readout):
        return False
    known = values[~np.isnan(values)]
    return bool(known.size and ((known >= 0) & (known < len(readout)) & (known % 1 == 0)).all())


def _next_symbols(given: object, trace: xr.Dataset, readout: Readout, family: Family) -> Targets:
    """Give the number of the next symbol, where a model reads forward and chooses of a vocabulary that has them all."""
    tokens = given.tokens if isinstance(given, Input) else None
    if family != "classes" or tokens is None or readout.names is None or readout.parameters.bidirectional:
        return Targets()
    by_sequence = tokens if len(tokens) and isinstance(tokens[0], list | tuple | np.ndarray) else [tokens]
    numbers = {name: k for k, name in enumerate(readout.names)}
    if any(token not in numbers for sequence in by_sequence for token in sequence):
        return Targets()
    values = np.full((trace.sizes[SEQUENCE], trace.sizes[TIME], 1), np.nan)
    for row, sequence, length in zip(values, by_sequence, trace["length"].to_numpy().tolist(), strict=True):
        row[: length - 1, 0] = [numbers[token] for token in list(sequence)[1:length]]
    return Targets(values, name=NEXT)


def _of_values(targets: Any, trace: xr.Dataset, readout: Readout, family: Family) -> Targets:
    """Read one value a step; or one an output and step, where no labels speak against it."""
    sizes = (trace.sizes[SEQUENCE], trace.sizes[TIME])
    array = targets if isinstance(targets, xr.DataArray) else np.asarray(targets)
    if family == "classes" and array.dtype.kind in "UO":
        array, targets = _numbers_of(array, readout), None
    if not isinstance(array, xr.DataArray) and array.dtype.kind in "fiub":
        several = array[np.newaxis] if sizes[0] == 1 and array.shape == (sizes[1], len(readout)) else array
        if len(readout) > 1 and several.shape == (*sizes, len(readout)):
            if family == "classes":
                raise InputError("targets have one value an output; of classes give the one that is right, a step")
            return Targets(several.astype(np.float64), name="the targets")
    values = align_quantities({"targets": array if targets is None else targets}, trace)["targets"][..., np.newaxis]
    if family == "classes":
        _check_classes(values, len(readout))
    elif len(readout) > 1:
        raise InputError(
            f"the model has {len(readout):,} outputs, and the targets are one value a step; say of which output: "
            "targets={its name or number: values}"
        )
    return Targets(values, name="the targets")


def _numbers_of(array: Any, readout: Readout) -> Any:
    """Give the number of each class that is named."""
    numbers = [readout.number(name) if isinstance(name, str) else np.nan for name in np.ravel(array).tolist()]
    found = np.array(numbers, dtype=np.float64).reshape(array.shape)
    return array.copy(data=found) if isinstance(array, xr.DataArray) else found


def _check_classes(values: np.ndarray, count: int) -> None:
    wrong = values[~np.isnan(values)]
    wrong = wrong[(wrong < 0) | (wrong >= count) | (wrong % 1 != 0)]
    if wrong.size:
        raise InputError(f"a target is {wrong[0]:g}; expected the number of a class, 0 to {count - 1}, or its name")
