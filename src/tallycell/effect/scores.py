"""How good outputs are, and how far they are from others: sums over steps, and what is made of the sums.

Every score is a function of sums over steps, so that it can be made anew of any blocks of them.

Sources: Nash and Sutcliffe 1970 (NSE); Gupta, Kling, Yilmaz and Martinez 2009 (KGE); Kullback and Leibler 1951.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from tallycell.activations import activation as activation_called
from tallycell.effect.outputs import Readout
from tallycell.errors import InputError
from tallycell.wording import listed, quoted

Family = Literal["classes", "switches", "numbers"]  # one of several; several of yes or no; quantities
Predicted = Float[np.ndarray, "step case output"]
Free = Float[np.ndarray, "step output"]
Target = Float[np.ndarray, "step target"]  # NaN where nothing is known
Terms = Float[np.ndarray, "term step case"]
LN2 = float(np.log(2))


@dataclass(frozen=True)
class Score:
    """A score of outputs.

    Attributes
    ----------
    name
        As it is asked for.
    unit
        What it is counted in.
    worse
        1 where more is worse, -1 where less is.
    terms
        What each step adds to the sums, from predictions of the held cases, those of the free run, and targets.
    total
        The score, from sums of terms, which stand on the last axis.
    """

    name: str
    unit: str
    worse: int
    terms: Callable[[Predicted, Free, Target], Terms]
    total: Callable[[np.ndarray], np.ndarray]


def family_of(readout: Readout) -> Family:
    """Tell what kind of outputs a model has, by its activation; one that names a vocabulary chooses of it.

    Examples
    --------
    >>> from tallycell.parameters import LSTMParameters
    >>> lstm = LSTMParameters({"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))})
    >>> family_of(Readout("", lstm, np.ones((3, 2)), np.zeros(3), activation="softmax"))
    'classes'
    >>> family_of(Readout("", lstm, np.ones((3, 2)), np.zeros(3)))
    'numbers'
    """
    known = (readout.activation or "").lower().replace("_", "")
    if known in ("softmax", "logsoftmax") or (not known and readout.names is not None and len(readout) > 1):
        return "classes"
    return "switches" if known in ("sigmoid", "logistic") else "numbers"


def predict(family: Family, readout: Readout, logits: Float[np.ndarray, "*batch output"]) -> np.ndarray:
    """Make of logits what is scored: logarithms of probabilities, logits, or numbers behind their activation."""
    if family == "classes":
        return log_softmax(logits)
    if family == "switches" or readout.activation is None:
        return logits
    squashed: np.ndarray = activation_called(readout.activation)(logits)
    return squashed


def log_softmax(logits: Float[np.ndarray, "*batch output"]) -> Float[np.ndarray, "*batch output"]:
    """Logarithms of probabilities."""
    from scipy.special import log_softmax

    found: np.ndarray = log_softmax(logits, axis=-1)
    return found


def score_called(name: str, family: Family, *, one: bool, symbols: bool = False) -> Score:
    """Find a score by its name.

    Parameters
    ----------
    name
        ``"bits"``, ``"accuracy"``, ``"probability"`` (of the target), ``"mse"``, ``"nse"``, ``"kge"`` or
        ``"divergence"`` (from the free run).
    family
        What kind of outputs the model has.
    one
        Whether a target is one number a step.
    symbols
        Whether the steps are those of symbols.

    Raises
    ------
    InputError
        If there is no such score, or none for such outputs.
    """
    per = "a symbol" if symbols else "a step"
    known: dict[str, Score] = {
        "divergence": Score("divergence", _unit_of_divergence(family, per), 1, _DIVERGENCES[family], mean_of)
    }
    if family == "numbers":
        known["mse"] = Score("mse", "of mean squared error", 1, _squares, mean_of)
        if one:
            known["nse"] = Score("nse", "of the Nash-Sutcliffe efficiency", -1, _moments, nash_sutcliffe)
            known["kge"] = Score("kge", "of the Kling-Gupta efficiency", -1, _moments, kling_gupta)
    else:
        bits, right, chance = _BY_TARGET[family]
        known["bits"] = Score("bits", f"bits {per}", 1, bits, mean_of)
        known["accuracy"] = Score("accuracy", "of the share that is right", -1, right, mean_of)
        known["probability"] = Score("probability", "of its probability", -1, chance, mean_of)
    if name not in known:
        kinds = {"classes": "one of several classes", "switches": "yes or no", "numbers": "numbers"}
        several = " (nse and kge are of one output: targets={its name: values})" if name in ("nse", "kge") else ""
        raise InputError(
            f"no score {quoted(name)} for outputs that are {kinds[family]}; expected one of {listed(known)}, or a "
            f"function of the outputs{several}"
        )
    return known[name]


def _unit_of_divergence(family: Family, per: str) -> str:
    return "(mean square of the change)" if family == "numbers" else f"bits {per} (divergence from the free run)"


# ---- sums ------------------------------------------------------------------------------------------------------------


def mean_of(sums: Float[np.ndarray, "*batch term"]) -> Float[np.ndarray, "*batch"]:
    """Mean, from n and the sum."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: np.ndarray = sums[..., 1] / sums[..., 0]
    return mean


def nash_sutcliffe(sums: Float[np.ndarray, "*batch term"]) -> Float[np.ndarray, "*batch"]:
    """Nash-Sutcliffe efficiency, from n, Σq, Σp, Σq², Σp², Σqp of targets q and predictions p.

    Examples
    --------
    >>> q, p = np.array([1.0, 2.0, 6.0]), np.array([1.0, 2.0, 3.0])
    >>> round(float(nash_sutcliffe(np.array([3, q.sum(), p.sum(), q @ q, p @ p, q @ p]))), 4)
    0.3571
    """
    n, q, _, qq, pp, qp = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = 1 - (qq - 2 * qp + pp) / (qq - q * q / n)
    return found


def kling_gupta(sums: Float[np.ndarray, "*batch term"]) -> Float[np.ndarray, "*batch"]:
    """Kling-Gupta efficiency of 2009, from the same sums as :func:`nash_sutcliffe`."""
    n, q, p, qq, pp, qp = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread_q, spread_p = (
            np.sqrt(np.maximum(qq / n - (q / n) ** 2, 0)),
            np.sqrt(np.maximum(pp / n - (p / n) ** 2, 0)),
        )
        r = (qp / n - q * p / n**2) / (spread_q * spread_p)
        found: np.ndarray = 1 - np.sqrt((r - 1) ** 2 + (spread_p / spread_q - 1) ** 2 + (p / q - 1) ** 2)
    return found


# ---- what each step adds ---------------------------------------------------------------------------------------------


def _averaged(values: Float[np.ndarray, "step case"], target: Target | None) -> Terms:
    """Lay a value a step beside 1, and 0 beside 0 where no target is known."""
    there = np.ones(len(values), bool) if target is None else ~np.isnan(target).any(-1)
    there = np.broadcast_to(there[:, np.newaxis], values.shape)
    return np.stack([there.astype(np.float64), np.where(there, values, 0.0)])


def _chosen(predicted: Predicted, target: Target) -> Float[np.ndarray, "step case"]:
    """Prediction for the class that is the target; for the first where none is known."""
    numbers = np.nan_to_num(target[:, 0]).astype(int)
    found: np.ndarray = predicted[np.arange(len(predicted)), :, numbers]
    return found


def _class_bits(predicted: Predicted, _free: Free, target: Target) -> Terms:
    return _averaged(-_chosen(predicted, target) / LN2, target)


def _class_right(predicted: Predicted, _free: Free, target: Target) -> Terms:
    return _averaged(predicted.argmax(-1) == target[:, :1], target)


def _class_chance(predicted: Predicted, _free: Free, target: Target) -> Terms:
    return _averaged(np.exp(_chosen(predicted, target)), target)


def _class_divergence(predicted: Predicted, free: Free, _target: Target) -> Terms:
    of_free = free[:, np.newaxis].astype(np.float64)
    with np.errstate(invalid="ignore"):
        lost = np.exp(of_free) * (of_free - predicted)
    return _averaged(np.where(np.exp(of_free) > 0, lost, 0.0).sum(-1) / LN2, None)


def _switch_bits(predicted: Predicted, _free: Free, target: Target) -> Terms:
    wanted = target[:, np.newaxis]  # log(1 + e^x) - t x: the cross entropy of a sigmoid
    return _averaged((np.logaddexp(0.0, predicted.astype(np.float64)) - wanted * predicted).sum(-1) / LN2, target)


def _switch_right(predicted: Predicted, _free: Free, target: Target) -> Terms:
    return _averaged(((predicted > 0) == (target[:, np.newaxis] > 0.5)).mean(-1), target)


def _switch_chance(predicted: Predicted, _free: Free, target: Target) -> Terms:
    return _averaged(_sigmoid(_chosen(predicted, target)), target)


def _switch_divergence(predicted: Predicted, free: Free, _target: Target) -> Terms:
    x, of_free = predicted.astype(np.float64), free[:, np.newaxis].astype(np.float64)
    p = _sigmoid(of_free)
    lost = np.logaddexp(0.0, x) - np.logaddexp(0.0, of_free) + p * (of_free - x)
    return _averaged(lost.sum(-1) / LN2, None)


def _squares(predicted: Predicted, _free: Free, target: Target) -> Terms:
    return _averaged(np.square(predicted - target[:, np.newaxis]).mean(-1), target)


def _changes(predicted: Predicted, free: Free, _target: Target) -> Terms:
    return _averaged(np.square(predicted.astype(np.float64) - free[:, np.newaxis]).mean(-1), None)


def _moments(predicted: Predicted, _free: Free, target: Target) -> Terms:
    p, q = predicted[..., 0].astype(np.float64), np.broadcast_to(target, predicted.shape[:2])
    there = ~np.isnan(q)
    p, q = np.where(there, p, 0.0), np.where(there, q, 0.0)
    return np.stack([there.astype(np.float64), q, p, q * q, p * p, q * p])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    found: np.ndarray = expit(x)
    return found


_DIVERGENCES: Mapping[Family, Callable[[Predicted, Free, Target], Terms]] = {
    "classes": _class_divergence,
    "switches": _switch_divergence,
    "numbers": _changes,
}
_BY_TARGET = {
    "classes": (_class_bits, _class_right, _class_chance),
    "switches": (_switch_bits, _switch_right, _switch_chance),
}
