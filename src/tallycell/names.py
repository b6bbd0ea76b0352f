"""The field's names, spelled once: gates, dimensions, directions, and PyTorch's names of weights."""

from typing import Literal

Gate = Literal["i", "f", "g", "o"]
GATES: tuple[Gate, ...] = ("i", "f", "g", "o")  # PyTorch's order, everywhere
PEEPHOLE_GATES: tuple[Gate, ...] = ("i", "f", "o")  # the gates that may look at the cell
STEP_VARIABLES = ("i", "f", "g", "o", "c", "h")  # what one step leaves behind
PRE_ACTIVATIONS = ("i_pre", "f_pre", "g_pre", "o_pre")  # before the activation; never called gates

LAYER, DIRECTION, SEQUENCE, TIME = "layer", "direction", "sequence", "time"
STEP = "step"  # the number of a step, beside time
UNIT, FEATURE, PROJECTION = "unit", "feature", "projection"
DIRECTIONS = ("forward", "reverse")

PARAMETER_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr", "weight_ch")


def parameter_name(kind: str, layer: int, direction: int) -> str:
    """Give PyTorch's name of a parameter, such as ``weight_ih_l0_reverse``.

    ``weight_ch``, cell to gates, is tallycell's own: PyTorch has no peepholes.

    Examples
    --------
    >>> parameter_name("weight_hh", 1, 1)
    'weight_hh_l1_reverse'
    """
    return f"{kind}_l{layer}{'_reverse' if direction else ''}"


def unit_label(layer: int, direction: str, unit: int) -> str:
    """Give how a unit is called: ``LAYER.UNIT``, with an ``r`` behind it in the reverse direction.

    Examples
    --------
    >>> unit_label(0, "forward", 27), unit_label(1, "reverse", 3)
    ('0.27', '1.3r')
    """
    return f"{layer}.{unit}{'r' if direction == DIRECTIONS[1] else ''}"
