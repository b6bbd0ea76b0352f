"""Weights and arrays as the tile reads and writes them: in panels, padded to whole vectors, aligned."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from tallycell.kernels.cpu.compiling import compiled, entry_point
from tallycell.kernels.cpu.memory import aligned
from tallycell.kernels.cpu.transpose import address_of, transpose_square, word_at
from tallycell.kernels.cpu.vector import Format, lanes_of, size_of, tile_gates_of, vload, vstore
from tallycell.parameters import LayerParameters


def padded_size(units: int, form: Format) -> int:
    """Units rounded up to whole vectors."""
    return -(-units // form.lanes) * form.lanes


def pack_gates(weight: np.ndarray, form: Format) -> np.ndarray:
    """Bring (4 unit, K) weights into panels: (block, group of gates, K, gate of the group, lane)."""
    units, length = len(weight) // 4, weight.shape[1]
    panels = aligned(
        (padded_size(units, form) // form.lanes, 4 // form.gates, length, form.gates, form.lanes), form.dtype
    )
    arguments = (form, np.ascontiguousarray(weight, form.dtype).reshape(-1), units, length, panels.reshape(-1))
    _code(_fill_gates, form, arguments)(*arguments)
    return panels


_codes: dict[tuple[object, Format], Callable[..., None]] = {}


def _code(function: Callable[..., None], form: Format, arguments: tuple[object, ...]) -> Callable[..., None]:
    """Give the compiled code of a function whose arguments are of the same types for every call with a format."""
    if (function, form) not in _codes:
        _codes[function, form] = entry_point(function, *arguments)
    return _codes[function, form]


@compiled
def _fill_gates(form, weight, units, length, panels):
    size, lanes, gates = size_of(form), lanes_of(form), tile_gates_of(form)
    source, target = address_of(weight), address_of(panels)
    for block in range((units + lanes - 1) // lanes):
        rows = min(lanes, units - block * lanes)
        whole = length // lanes * lanes if rows == lanes else 0
        for group in range(4 // gates):
            panel = (block * 4 + group * gates) * lanes * length
            first = group * gates * units + block * lanes  # row of the weights
            for k in range(0, whole, lanes):
                for gate in range(gates):
                    square = source + ((first + gate * units) * length + k) * size
                    place = target + (panel + (k * gates + gate) * lanes) * size
                    transpose_square(form, square, length, place, gates * lanes)
            for k in range(whole, length):
                for gate in range(gates):
                    place = panel + (k * gates + gate) * lanes
                    for lane in range(rows):
                        panels[place + lane] = weight[(first + gate * units + lane) * length + k]
                    panels[place + rows : place + lanes] = 0


def tile_for(columns: int, form: Format) -> Format:
    """Give the form of a product's tile, which is not wider than its result has to be."""
    return replace(form, gates=2) if columns <= 2 * form.lanes else form


def pack_recurrent(weight: np.ndarray, form: Format) -> np.ndarray:
    """Bring (4 unit, hidden) weights into panels for the way back: (block, 4 padded units, vector of the block, lane).

    A block is as many h as the tile has vectors; the rows of padded units are zeros.
    """
    units, hidden = len(weight) // 4, weight.shape[1]
    padded, width = padded_size(units, form), form.gates * form.lanes
    panels = aligned((-(-hidden // width), 4 * padded, width), form.dtype)
    arguments = (form, np.ascontiguousarray(weight, form.dtype).reshape(4, units, hidden), panels)
    _code(_fill_recurrent, form, arguments)(*arguments)
    return panels


@compiled
def _fill_recurrent(form, weight, panels):
    size, lanes, gates = size_of(form), lanes_of(form), tile_gates_of(form)
    units, hidden = weight.shape[1:]
    blocks, rows, width = panels.shape
    source, target, padded = address_of(weight), address_of(panels), rows // 4
    for block in range(blocks):
        whole = (block + 1) * width <= hidden
        for row in range(rows):
            gate, unit = row // padded, row % padded
            if whole and unit < units:
                start = source + ((gate * units + unit) * hidden + block * width) * size
                for vector in range(gates):
                    place = target + ((block * rows + row) * width) * size
                    vstore(form, vload(form, start, vector * lanes), place, vector * lanes)
            else:
                for k in range(width):
                    there = unit < units and block * width + k < hidden
                    panels[block, row, k] = weight[gate, unit, block * width + k] if there else 0


def pack_vectors(vectors: np.ndarray, count: int, form: Format) -> np.ndarray:
    """Bring the vectors of some gates, end to end, such as the (4 unit,) bias, to (gate, padded unit)."""
    units = len(vectors) // count
    packed = aligned((count, padded_size(units, form)), form.dtype)
    packed[...] = 0
    packed[:, :units] = vectors.reshape(count, -1)
    return packed


def pack_projection(weight: np.ndarray, form: Format) -> np.ndarray:
    """Bring (projection, unit) weights into panels: (block, unit, vector of the block and lane)."""
    size, units = weight.shape
    width = form.gates * form.lanes
    panels = aligned((-(-size // width), units, width), form.dtype)
    panels[...] = 0
    for block, panel in enumerate(panels):
        columns = weight[block * width : (block + 1) * width].T
        panel[:, : columns.shape[1]] = columns
    return panels


@dataclass(frozen=True, eq=False)
class PackedWeights:
    """A layer's weights in panels, the size of its h, and where the panels lie.

    ``peepholes`` are (i f o, padded unit), ``projection`` is what :func:`pack_projection` gives; None where none are.
    """

    ih: np.ndarray
    hh: np.ndarray
    bias: np.ndarray
    hidden: int
    addresses: tuple[int, int, int]
    peepholes: np.ndarray | None = None
    projection: np.ndarray | None = None

    @property
    def width(self) -> int:
        """Elements of h of one sequence, with padding."""
        if self.projection is None:
            return int(self.bias.shape[1])
        return self.projection.shape[0] * self.projection.shape[2]


def pack_weights(weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray, form: Format) -> PackedWeights:
    """Pack the weights of a layer in one direction; ``bias`` is the sum of PyTorch's two."""
    panels = (pack_gates(weight_ih, form), pack_gates(weight_hh, form), pack_vectors(bias, 4, form))
    return PackedWeights(*panels, weight_hh.shape[1], tuple(panel.ctypes.data for panel in panels))  # type: ignore[arg-type]


_PACKED: WeakKeyDictionary[LayerParameters, dict[Format, PackedWeights]] = WeakKeyDictionary()


def packed_weights(layer: LayerParameters, form: Format) -> PackedWeights:
    """Give a layer's weights in panels, packed once: they never change."""
    known = _PACKED.setdefault(layer, {})
    if form not in known:
        packed = pack_weights(layer.weight_ih, layer.weight_hh, layer.total_bias, form)
        peepholes = None if layer.weight_ch is None else pack_vectors(layer.weight_ch, 3, form)
        projection = None if layer.weight_hr is None else pack_projection(layer.weight_hr, form)
        known[form] = replace(packed, peepholes=peepholes, projection=projection)
    return known[form]


@compiled
def checksum(address, words):
    """Sum of the memory's words, each stirred with its place: tells whether weights are still those that were packed.

    Reading them once costs less than one step of one sequence. Nothing cheaper is safe: writing through
    ``tensor.data`` or through a NumPy view moves no counter and no address.
    """
    total = np.uint64(0)
    for k in range(words):
        stirred = (word_at(address, k) ^ (np.uint64(k) * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
        stirred = (stirred ^ (stirred >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
        total += stirred ^ (stirred >> np.uint64(29))
    return total
