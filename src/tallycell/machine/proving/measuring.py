"""The activations of ``torch.nn.LSTM``, measured through the module itself, each gate alone.

Inside the module other functions run than ``torch.sigmoid`` and ``torch.tanh``: oneDNN has its own, chosen by the
processor, and a packed sequence takes another path than a padded one. So each gate, and tanh of the cell, is isolated
by weights that hold all others exactly open or closed, and the worst that is seen in any of the paths is what counts.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from tallycell.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import torch

OPEN = {"float32": 100.0, "float64": 1000.0}  # pre-activations at which gates are exactly open; checked by the sweep
LEAST = {"float32": 1e-45, "float64": 1e-323}
REACH = {"float32": 35.0, "float64": 75.0}  # twice as far as an activation should need to its limit
VANISHED = {"float32": -105.0, "float64": -750.0}  # where the sigmoid is rounded to 0
SWEPT = 100_000  # values on each side of zero up to REACH
MANY_ULP = 64.0  # an error so large is none of rounding: there the sigmoid has been cut off
WIDTHS = (19, 8, 1)  # of layers: two vectors and a rest, vectors alone, a rest alone
FEW, FEWEST = 31, 211  # of so many values one is enough to see that a path runs another function


class Path(NamedTuple):
    """One way through the module: units, sequences at once or one by one, gradients, packed, threads (0: as set)."""

    units: int
    one_by_one: bool
    grad: bool
    packed: bool
    threads: int


_MODES = tuple(itertools.product(WIDTHS, (False, True), (False, True)))
WHOLE = (Path(WIDTHS[0], False, False, False, 0), Path(WIDTHS[0], False, True, True, 0))
PARTLY = tuple(Path(units, False, grad, packed, threads) for units, grad, packed in _MODES for threads in (0, 1))
SINGLY = tuple(Path(units, True, grad, packed, 0) for units, grad, packed in _MODES)


@dataclass(frozen=True)
class Measured:
    """What was seen of sigmoid and tanh.

    Attributes
    ----------
    sigmoid_error, tanh_error
        Largest error, in units in the last place of the exact value, from ``sigmoid_zero`` on.
    sigmoid_one, tanh_one
        From where on every value is exactly 1 (tanh: and -1 below its negative).
    sigmoid_zero
        Below it the sigmoid is between 0 and twice its exact value there.
    values
        Number of values that were tried in the whole paths.
    """

    sigmoid_error: float
    tanh_error: float
    sigmoid_one: float
    tanh_one: float
    sigmoid_zero: float
    values: int


@cache
def measure_torch(dtype: str) -> Measured:
    """Measure sigmoid and tanh inside ``torch.nn.LSTM`` on this machine's processor, over all magnitudes.

    Parameters
    ----------
    dtype
        ``"float32"`` or ``"float64"``.

    Raises
    ------
    InputError
        If a function does not reach its limits, or leaves its range.
    MissingExtraError
        If there is no torch.
    """
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "torch")
    x = _values(dtype)
    few = np.concatenate([x[::FEW], _around_limits(dtype)])
    tried = ((x, WHOLE), (few, PARTLY), (few[::FEWEST], SINGLY))
    sigmoid, tanh = ([_Seen.of(name, *one) for one in _distinct(gates, tried)] for name, gates in FUNCTIONS.items())
    zero = max(one.cut_off() for one in sigmoid)
    sigmoid_one, tanh_one = (max(one.limit() for one in seen) for seen in (sigmoid, tanh))
    for seen, limit, low in ((sigmoid, sigmoid_one, zero), (tanh, tanh_one, -np.inf)):
        for one in seen:
            one.check(limit, low)
    errors = max(float(one.ulp[one.x >= zero].max()) for one in sigmoid), max(float(one.ulp.max()) for one in tanh)
    return Measured(*errors, sigmoid_one, tanh_one, zero, len(x))


FUNCTIONS = {"sigmoid": "ifo", "tanh": "gh"}  # the gates, and h: tanh of the cell


def gate_values(gate: str, x: Float[np.ndarray, " value"], path: Path) -> Float[np.ndarray, " value"]:
    """Give what a gate of ``torch.nn.LSTM`` makes of pre-activations; for ``"h"`` what tanh makes of cells.

    Weights are the identity for the gate, and hold the others where they leave it as it is: i and g are read from
    c = i 1 + f 0, f from c = f 1 + i 0, o from h = o tanh(50), tanh of the cell from h = 1 tanh(1 c + i 0).
    """
    import torch

    units, dtype = path.units, str(x.dtype)
    module = torch.nn.LSTM(units, units, dtype=getattr(torch, dtype))
    opened = {"i": (2,), "f": (), "g": (0,), "o": (1,), "h": (1, 3)}[gate]
    begin = {"f": 1.0, "o": 50.0}.get(gate, 0.0)
    weights = {name: torch.zeros_like(weight) for name, weight in module.state_dict().items()}
    for k in opened:
        weights["bias_ih_l0"][k * units : (k + 1) * units] = OPEN[dtype]
    if gate != "h":
        k = "ifgo".index(gate)
        weights["weight_ih_l0"][k * units : (k + 1) * units] = torch.eye(units)
    module.load_state_dict(weights)
    rows = np.concatenate([x, np.zeros(-len(x) % units, x.dtype)]).reshape(-1, units)
    found = []
    with torch.set_grad_enabled(path.grad):
        for numbers in np.split(rows, len(rows)) if path.one_by_one else [rows]:
            row = torch.from_numpy(numbers)
            read, cell = (torch.zeros_like(row), row) if gate == "h" else (row, torch.full_like(row, begin))
            h, c = _step(module, read, cell, path)
            found.append((h if gate in "oh" else c)[0].detach().numpy())
    return np.concatenate(found).reshape(-1)[: len(x)]


def _step(
    module: "torch.nn.LSTM", read: "torch.Tensor", cell: "torch.Tensor", path: Path
) -> "tuple[torch.Tensor, torch.Tensor]":
    import torch

    x: torch.Tensor | torch.nn.utils.rnn.PackedSequence = read[None]
    if path.packed:
        x = torch.nn.utils.rnn.pack_padded_sequence(read[None], torch.ones(len(read), dtype=torch.int64))
    _, (h, c) = module(x, (torch.zeros_like(cell)[None], cell[None].contiguous()))
    return h, c


def _distinct(gates: str, tried: Sequence[tuple[np.ndarray, tuple[Path, ...]]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Values and what gates make of them on the paths, each result once: most gates and paths share a function."""
    import torch

    results: list[tuple[np.ndarray, np.ndarray]] = []
    threads = torch.get_num_threads()
    for x, paths in tried:
        for gate, path in itertools.product(gates, paths):
            torch.set_num_threads(path.threads or threads)
            try:
                with torch.random.fork_rng(devices=[]):  # new modules draw weights: nobody's seed shall notice
                    found = gate_values(gate, x, path)
            finally:
                torch.set_num_threads(threads)
            if not any(x is known and np.array_equal(found, result) for known, result in results):
                results.append((x, found))
    return results


def _values(dtype: str) -> Float[np.ndarray, " value"]:
    """Values close together over all magnitudes that a gate can tell apart, and up to the largest number."""
    reach, far = REACH[dtype], -1.3 * VANISHED[dtype]
    parts = (
        np.linspace(0, reach, SWEPT),
        np.geomspace(LEAST[dtype], 1.0, SWEPT // 8),
        np.linspace(reach, far, SWEPT // 8),
        np.geomspace(far, float(np.finfo(dtype).max) / 2, SWEPT // 40),
    )
    sizes = np.concatenate(parts).astype(dtype)
    return np.concatenate([sizes, -sizes])


def _around_limits(dtype: str) -> Float[np.ndarray, " value"]:
    middles = (9.01, 16.64, 17.33, 88.0, 104.0) if dtype == "float32" else (19.06, 36.74, 708.4, 709.8, 745.0)
    sizes = np.concatenate([np.linspace(middle - 0.5, middle + 0.5, SWEPT // 100) for middle in middles]).astype(dtype)
    return np.concatenate([sizes, -sizes])


def _exact(name: str, x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.longdouble)
    if name == "tanh":
        return np.asarray(np.tanh(wide))
    small = np.exp(-np.abs(wide))
    value: np.ndarray = np.where(wide >= 0, 1, small) / (1 + small)
    return value


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a function, ``"sigmoid"`` or ``"tanh"``, was seen to make of values, and its errors in ulp of the exact."""

    name: str
    x: Float[np.ndarray, " value"]
    found: Float[np.ndarray, " value"]
    ulp: Float[np.ndarray, " value"]

    @classmethod
    def of(cls, name: str, x: np.ndarray, found: np.ndarray) -> "_Seen":
        exact = _exact(name, x)
        spacing = np.spacing(np.abs(exact).astype(x.dtype)).astype(np.longdouble)
        return cls(name, x, found, np.abs(found.astype(np.longdouble) - exact) / spacing)

    def limit(self) -> float:
        """Where from every value is exactly 1: a tenth, a little above the last that is not."""
        return _tenth_above(float(self.x[(self.found != 1) & (self.x > 0)].max(initial=0)))

    def cut_off(self) -> float:
        """Where from on errors are those of rounding: a tenth, a little above where the sigmoid is cut off to 0."""
        off = self.x[(self.x < 0) & ~(self.ulp <= MANY_ULP)]
        normal = float(np.log(np.finfo(self.x.dtype).tiny))  # below it numbers have fewer digits
        return _tenth_above(max(float(off.max(initial=-np.inf)), normal))

    def check(self, limit: float, zero: float) -> None:
        """Refuse what leaves its range, or is far from its limits where it should have reached them."""
        dtype, tanh = str(self.x.dtype), self.name == "tanh"
        within = ((self.found >= (-1 if tanh else 0)) & (self.found <= 1)).all()
        reached = limit < REACH[dtype] and (self.found[self.x >= limit] == 1).all()
        if tanh:
            reached &= (self.found[self.x <= -limit] == -1).all()
        else:
            cut = 2 * _exact("sigmoid", np.array(zero))
            reached &= zero < VANISHED[dtype] * 0.75 and (self.found[self.x < zero] <= cut).all()
        if not (within and reached):
            raise InputError(
                f"the {self.name} inside torch.nn.LSTM leaves its range or does not reach its limits in {dtype} on this"
                ' machine: nothing can be proved with kernel="torch"'
            )


def _tenth_above(x: float) -> float:
    return float(np.ceil((x + 0.02) * 10) / 10)
