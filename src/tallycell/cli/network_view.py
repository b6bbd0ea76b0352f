"""A network that was made, and how far it is proved to do what it should, as text and for another program."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tallycell.cli.inspect_view import size_of
from tallycell.cli.terminal import fold
from tallycell.machine.proving.horizon import FARTHEST, Horizon
from tallycell.recogniser import Recogniser

NOT_THE_NETWORK = "nothing is proved of it: the machine that it was made from is not what the old network does"


def to_text(path: Path, net: Recogniser, horizon: Horizon | None, units: str = "") -> str:
    """Say how large a network is, on what units, and its horizon where that was looked for."""
    said = f"{say_network(path, net)}{units and '; '}{units}"
    return "\n".join([said, *([] if horizon is None else [fold(str(horizon))])])


def as_object(path: Path, net: Recogniser, horizon: Horizon | None) -> dict[str, Any]:
    """Give the same for another program."""
    return {"network": network_as_object(path, net), "horizon": None if horizon is None else horizon_as_object(horizon)}


def say_network(path: Path, net: Recogniser) -> str:
    """Say in one line how large a network is, its readout included."""
    readout = net.readout_weight.size + net.readout_bias.size
    return f"{path} holds an {size_of(net.parameters)}, and a readout of {readout:,} weights"


def network_as_object(path: Path, net: Recogniser) -> dict[str, Any]:
    """Give the size of a network."""
    p = net.parameters
    return {
        "file": str(path),
        "dtype": str(p.dtype),
        "num_layers": p.num_layers,
        "hidden_size": p.hidden_size,
        "weights": sum(weight.size for weight in p.weights.values()),
        "readout_weights": net.readout_weight.size + net.readout_bias.size,
    }


def horizon_as_object(horizon: Horizon) -> dict[str, Any]:
    """Give a horizon; ``symbols`` is null where there is no end."""
    value = asdict(horizon)
    return value | {"symbols": None if horizon.symbols == FARTHEST else horizon.symbols, "proved": horizon.symbols > 0}
