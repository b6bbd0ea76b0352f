"""How a model decides: rules as people write them, made rules of a recogniser, which are linear."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from tallycell.errors import InputError
from tallycell.recogniser import Decision
from tallycell.wording import quoted

Kind = Literal["argmax", "threshold", "softmax", "classes"]
RULES = "'argmax', 'threshold', 'sigmoid above P', 'softmax above P' or 'classes'"
MOST_MISSED = 0.01  # of the decisions: a linear rule that misses more is not the model's
ROUNDS, AT_ONCE = 40, 400  # of the fit: rows that are decided wrongly are added so many at a time


@dataclass(frozen=True)
class Rule:
    """How outputs are decided: ``p`` is the probability that is to be passed, for ``"threshold"`` and ``"softmax"``."""

    kind: Kind
    p: float = 0.5


@dataclass(frozen=True, eq=False)
class LinearReadout:
    """A readout of a recogniser, and what it leaves to be said of it.

    Attributes
    ----------
    weight, bias
        (output, hidden) and (output,).
    decision
        As of the recogniser.
    notes
        What differs from the model, one sentence each.
    """

    weight: Float[np.ndarray, "output hidden"]
    bias: Float[np.ndarray, " output"]
    decision: Decision
    notes: tuple[str, ...] = ()


def rule_of(text: str) -> Rule:
    """Understand a rule.

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> rule_of("argmax"), rule_of("softmax above 0.005")
    (Rule(kind='argmax', p=0.5), Rule(kind='softmax', p=0.005))
    """
    found = re.fullmatch(r"(argmax|threshold|classes)|(sigmoid|softmax)\s+above\s+(\S+)", str(text).strip())
    if found is None:
        raise InputError(f"decision is {quoted(text)}; expected {RULES}")
    if found[1]:
        return Rule(found[1])  # type: ignore[arg-type]  # a group of the expression
    try:
        p = float(found[3])
    except ValueError:
        p = math.nan
    if not 0 < p < 1:
        raise InputError(f"decision is {quoted(text)}; expected a probability between 0 and 1 behind 'above'")
    return Rule("threshold" if found[2] == "sigmoid" else "softmax", p)


def linear_readout(
    rule: Rule,
    weight: Float[np.ndarray, "output hidden"],
    bias: Float[np.ndarray, " output"],
    outputs: Sequence[str],
    h: Float[np.ndarray, "sample hidden"],
) -> LinearReadout:
    """Make the readout of a recogniser that decides as a rule does on the outputs of a linear layer.

    Parameters
    ----------
    rule
        The rule.
    weight, bias
        The linear layer.
    outputs
        What the recogniser says: one a row of the layer; two for ``"classes"`` of a layer with one output, which is
        then the second of them where it is above 0.
    h
        What the layer reads on the model's strings; a rule that is not linear is fitted there.

    Raises
    ------
    InputError
        If the layer has another number of outputs, or no linear rule decides nearly as a softmax above p does.
    """
    if rule.kind == "classes" and len(weight) == 1 and len(outputs) == 2:
        zeros = np.zeros_like(weight)
        return LinearReadout(np.concatenate([zeros, weight]), np.concatenate([np.zeros_like(bias), bias]), "argmax")
    if len(weight) != len(outputs):
        raise InputError(
            f"the model has {len(weight)} outputs, and {len(outputs)} names were given, {quoted(tuple(outputs))}; "
            "name each output, in their order (one output that tells two classes apart: decision 'classes')"
        )
    if rule.kind in ("argmax", "classes"):
        return LinearReadout(weight, bias, "argmax")
    if rule.kind == "threshold":
        return LinearReadout(weight, bias - math.log(rule.p / (1 - rule.p)), "threshold")
    return _fitted(rule.p, weight, bias, outputs, h)


def _fitted(
    p: float, weight: np.ndarray, bias: np.ndarray, outputs: Sequence[str], h: Float[np.ndarray, "sample hidden"]
) -> LinearReadout:
    """Fit a plane to each output of a softmax: on which side of p it is, by h."""
    distinct = np.unique(h.astype(float), axis=0)
    logits = distinct @ weight.astype(float).T + bias
    above = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True) > math.log(p)
    planes = [_plane(distinct, wanted) for wanted in above.T]
    found = distinct @ np.array([plane[:-1] for plane in planes]).T + [plane[-1] for plane in planes] > 0
    missed = (found != above).mean(axis=0)
    for name, share in zip(outputs, missed, strict=True):
        if share > MOST_MISSED:
            raise InputError(
                f"no linear rule decides as softmax above {p:g} does: for output {quoted(name)} the best one misses "
                f"{share:.1%} of {len(distinct):,} decisions; give strings that the model is meant to read, or another "
                "decision"
            )
    said = [f"{name} {share:.2%}" for name, share in zip(outputs, missed, strict=True) if share]
    notes = (f"softmax above {p:g} is decided by fitted planes, which miss of {len(distinct):,}: {', '.join(said)}",)
    scaled = np.array(planes, dtype=weight.dtype)
    return LinearReadout(scaled[:, :-1], scaled[:, -1], "threshold", notes if said else ())


def _plane(
    h: Float[np.ndarray, "sample hidden"], wanted: Bool[np.ndarray, " sample"]
) -> Float[np.ndarray, " hidden_and_one"]:
    """Find the plane with the largest margin; where there is none, that which misses least on rows that are hard.

    Rows are added as long as some are decided wrongly: few decide where the plane lies.
    """
    if wanted.all() or not wanted.any():
        return np.append(np.zeros(h.shape[1]), 1.0 if wanted.all() else -1.0)
    sign = np.where(wanted, 1.0, -1.0)
    rows = np.unique(np.concatenate([np.flatnonzero(side)[:AT_ONCE] for side in (wanted, ~wanted)]))
    best, least = np.zeros(h.shape[1] + 1), np.inf
    for _ in range(ROUNDS):
        plane = _separate(h[rows], sign[rows])
        margin = sign * (h @ plane[:-1] + plane[-1])
        wrong = int((margin <= 0).sum())
        if wrong < least:
            best, least = plane, wrong
        more = np.setdiff1d(np.argsort(margin, kind="stable")[:AT_ONCE], rows)
        hard = more[margin[more] <= max(margin[rows].min(), 0)]
        if not len(hard):
            break
        rows = np.concatenate([rows, hard])
    return best


def _separate(
    h: Float[np.ndarray, "row hidden"], sign: Float[np.ndarray, " row"]
) -> Float[np.ndarray, " hidden_and_one"]:
    """Separate rows by a linear program: the largest margin with weights within 1, else the least that is missed."""
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, hstack

    signed = sign[:, None] * np.column_stack([h, np.ones(len(h))])
    width = signed.shape[1]
    cost = np.append(np.zeros(width), -1.0)
    bounds = [(-1.0, 1.0)] * (width - 1) + [(-float(width), float(width)), (None, 1.0)]
    found = linprog(cost, A_ub=np.column_stack([-signed, np.ones(len(h))]), b_ub=np.zeros(len(h)), bounds=bounds)
    if found.status == 0 and found.x[-1] > 0:
        return np.asarray(found.x[:-1])
    cost = np.append(np.zeros(width), np.ones(len(h)))
    soft = hstack([-signed, -eye_array(len(h))])  # dense, thousands of rows would take gigabytes
    free = [(None, None)] * width + [(0, None)] * len(h)
    found = linprog(cost, A_ub=soft, b_ub=-np.ones(len(h)), bounds=free)
    return np.asarray(found.x[:width]) if found.status == 0 else np.zeros(width)
