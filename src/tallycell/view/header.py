"""What a page says in words and few numbers, as JSON: the network, its gates, roles and units, and what was read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tallycell.effect.effects import Effects
from tallycell.parameters import Activations
from tallycell.reading.page import GATE_NAMES, say_r2
from tallycell.reading.quantise import middle
from tallycell.reading.reading import Reading, UnitReading
from tallycell.reading.saturation import HIDDEN_OF_C, near_limits, saturated_share
from tallycell.reading.showing import BLANKS
from tallycell.reading.tally import BINARY_RUNGS
from tallycell.trace.schema import activations_of
from tallycell.view.lives import Lives
from tallycell.wording import shown

LONGEST_NAME = 60  # characters of a name
LONGEST_SYMBOL = 24


def unit_headers(reading: Reading, scale: np.ndarray, effects: Effects | None) -> list[dict[str, Any]]:
    """Give what is known of each unit, in the order of a reading."""
    return [
        _unit(unit, size, effects) for unit, size in zip(reading.units, scale.tolist(), strict=True)
    ]  # fmt: skip


def _unit(unit: UnitReading, scale: float, effects: Effects | None) -> dict[str, Any]:
    rung = next((one for one in unit.ladder if one.name == unit.rung), None)
    effect = None
    if effects is not None and unit.label in effects.labels:
        one = effects.of(unit.label)
        effect = {"loss": one.loss, "sure": one.is_sure, "said": one.sentence()}
    return {
        "label": unit.label, "layer": unit.layer, "direction": unit.direction, "role": unit.role,
        "sentence": unit.sentence, "r2": unit.r2, "said_r2": say_r2(unit.r2, unit.r2_error),
        "parameters": unit.parameters,
        "tally": None if rung is None else {
            "binary": unit.rung in {one.name for one in BINARY_RUNGS}, "writes": list(rung.write_levels),
            "keeps": list(rung.keep_levels), "intercept": rung.intercept,
        },
        "ladder": [
            {"name": one.name, "parameters": one.parameters, "r2": one.r2, "said": say_r2(one.r2, one.r2_error)}
            for one in unit.ladder
        ],
        "memory": unit.memory,
        "exposure": None if unit.exposure is None else asdict(unit.exposure),
        "triggers": {event: [asdict(one) for one in some] for event, some in unit.triggers.items() if some},
        "follows": None if unit.follows is None else asdict(unit.follows),
        "undecided": unit.undecided, "effect": effect, "scale": scale,
    }  # fmt: skip


def reading_header(reading: Reading, effects: Effects | None) -> dict[str, Any]:
    """Give what is said of all units together."""
    roles, nothing = reading.roles(), reading.nothing_learned
    shares = {role: count / max(len(reading.units), 1) for role, count in roles.items()}
    no_sign = () if nothing is None else nothing.no_sign_of_learning(shares)
    return {
        "warning": reading.warning, "notes": list(reading.notes), **_gates(reading),
        "roles": [
            {"role": role, "count": count, "nothing": None if nothing is None else nothing.roles[role],
             "no_sign": role in no_sign}
            for role, count in roles.items() if count
        ],
        "best": [unit.label for unit in reading.best()],
        "leaders": [{"quantity": name, "label": unit.label} for name, unit in reading.leaders().items()],
        "effects": None if effects is None else {
            "unit": effects.unit, "score": effects.score, "free": effects.free, "answer": effects.answer(),
            "remarks": [line.strip() for line in effects.remarks()],
            "most": [one.label for one in effects.most(None)],
        },
    }  # fmt: skip


def _gates(reading: Reading) -> dict[str, Any]:
    saturation = reading.saturation
    if saturation is None:
        return {"saturated": None, "saturated_nothing": None, "gates": []}
    rows = []
    for gate in saturation["gate"].to_numpy().tolist():
        here = saturation.sel(gate=gate)
        counts = here["histogram"].sum([dim for dim in here["histogram"].dims if dim != "bin"]).to_numpy()
        ends = here["edges"].to_numpy().reshape(-1, here.sizes["edge"])[0]
        name = str(saturation.attrs.get("hidden", HIDDEN_OF_C)) if gate == HIDDEN_OF_C else gate
        rows.append({
            "gate": name, "name": GATE_NAMES[gate], "left": float(here["left"].mean()),
            "right": float(here["right"].mean()), "low": float(ends[0]), "high": float(ends[-1]),
            "histogram": (counts / max(int(counts.sum()), 1)).tolist(),
        })  # fmt: skip
    nothing = reading.nothing_learned
    return {
        "saturated": float(saturated_share(saturation).mean()),
        "saturated_nothing": None if nothing is None else nothing.saturated, "gates": rows,
    }  # fmt: skip


def trace_header(lives: Lives) -> dict[str, Any]:
    """Give what a page needs to tell events and to count: limits of the activations, clipping, the forget gate."""
    attrs = lives.trace.attrs
    directions = lives.trace["direction"].to_numpy().tolist()
    return {
        "forget_gate": attrs["forget_gate"], "clip_cell": attrs.get("clip_cell"),
        "activations": {name: _slots(activations_of(lives.trace, d)) for d, name in enumerate(directions)},
    }  # fmt: skip


def _slots(slots: Activations) -> dict[str, Any]:
    zero = np.zeros(1)
    at_zero = float(np.asarray(slots.hidden(zero))[0])
    flat = float(np.asarray(slots.hidden.derivative(zero, np.full(1, at_zero)))[0])
    found: dict[str, Any] = {
        name: dict(zip(("left", "right", "near"), near_limits(getattr(slots, name)), strict=True))
        for name in ("gate", "cell", "hidden")
    }
    found["gate"]["middle"] = middle(slots.gate)
    found["hidden"] |= {"name": slots.hidden.name, "at_zero": at_zero, "slope": flat}
    return found


def symbols_of(tokens: Sequence[Sequence[str]]) -> tuple[dict[str, Any], np.ndarray]:
    """Give the symbols that were read, fit to be shown, and the number of that of each step."""
    symbols = list(dict.fromkeys(token for row in tokens for token in row))
    number = {symbol: k for k, symbol in enumerate(symbols)}
    codes = np.array([number[token] for row in tokens for token in row], "<u2" if len(symbols) < 1 << 16 else "<u4")
    header = {
        "shown": [BLANKS.get(one) or (one if one == " " else shown(one, LONGEST_SYMBOL)) for one in symbols],
        "breaks": [k for k, one in enumerate(symbols) if one == "\n"],
        "letters": sum(len(one) == 1 for one in symbols) * 2 >= len(symbols),
    }
    return header, codes


def strict(value: Any) -> Any:
    r"""Give a value as strict JSON: None for what is no finite number, every text fit to be shown in one line.

    Examples
    --------
    >>> strict({"a": (1.0, math.nan, "x\x1b")})
    {'a': [1.0, None, 'x\\x1b']}
    """
    if isinstance(value, str):
        return shown(value, 5_000) if value else ""
    if isinstance(value, Mapping):
        return {shown(str(key), LONGEST_NAME): strict(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [strict(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
