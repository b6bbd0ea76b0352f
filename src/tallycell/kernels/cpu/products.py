"""The matrix products of the way back that take all steps at once, on the register tile.

They could be left to BLAS, and on some processors that costs half the speed: what a library takes for its fastest
instructions depends on who made the processor.
"""

import numpy as np
from jaxtyping import Float

from tallycell.kernels.cpu.compiling import compiled, inlined
from tallycell.kernels.cpu.memory import aligned
from tallycell.kernels.cpu.packing import pack_recurrent, tile_for
from tallycell.kernels.cpu.threads import divide
from tallycell.kernels.cpu.tile import MOST_ROWS, rows_of_tile, run_tile
from tallycell.kernels.cpu.transpose import address_of, transpose_square
from tallycell.kernels.cpu.vector import Format, lanes_of, size_of, tile_gates_of, vload, vstore

CHUNK = 512  # terms of a sum that are added before the next panel is read: what the caches hold
WORTH_PACKING = 2e6  # multiplications; less is sooner done by BLAS

Matrix = Float[np.ndarray, "row column"]
Gradient = Float[np.ndarray, "row gate unit"]  # to the pre-activations; a row is a step of a sequence


def input_gradient(form: Format, d_pre: Gradient, weight_ih: Float[np.ndarray, "gates feature"]) -> Matrix:
    """Gradient to x: d_pre, whose units may be padded, times the weights."""
    rows, (gates, features) = len(d_pre), weight_ih.shape
    out = aligned((rows, features), form.dtype)
    left = d_pre.reshape(rows, -1)
    multiplications = float(left.size) * features
    if multiplications < WORTH_PACKING:
        return np.matmul(d_pre[:, :, : gates // 4].reshape(rows, gates), weight_ih, out=out)
    form = tile_for(features, form)
    panels = pack_recurrent(weight_ih, form)

    def run(first: int, last: int, _threads: int) -> None:
        _run_input(form, left[first:last], panels, out[first:last])

    divide(run, rows, multiplications)
    return out


def weight_gradients(
    form: Format, d_pre: Gradient, x: Matrix, h: Matrix, *, units: int
) -> tuple[Matrix, Matrix, Float[np.ndarray, " gates"]]:
    """Gradients to weight_ih, weight_hh and the bias.

    Parameters
    ----------
    form
        That of the passes.
    d_pre
        Gradients to the pre-activations, padded.
    x, h
        What the layer read, and the hidden states before each step, padded; (row, 0) if not asked for.
    units
        How many of the units are not padding.
    """
    columns = (x.shape[1], min(units, h.shape[1]))
    outs = (aligned((4 * units, columns[0]), form.dtype), aligned((4 * units, columns[1]), form.dtype))
    multiplications = float(d_pre.size) * sum(columns)
    if multiplications < WORTH_PACKING:
        left = d_pre[:, :, :units].reshape(len(d_pre), 4 * units)
        for right, out in zip((x, h[:, :units]), outs, strict=True):
            np.matmul(left.T, right, out=out)
        return (*outs, left.sum(0))
    form = tile_for(max(columns), form)
    sums = np.zeros((4, d_pre.shape[2]), form.dtype)
    width = form.gates * form.lanes
    blocks = sum(-(-number // width) for number in columns)

    def run(first: int, last: int, _threads: int) -> None:
        _run_weights(form, d_pre, units, (x, h), outs, sums, (first, last))

    # Each thread turns d_pre for itself: little, beside the products of a whole block.
    divide(run, blocks, multiplications)
    return (*outs, np.ascontiguousarray(sums[:, :units]).reshape(-1))


@inlined
def _add_product(form, left, panel, out, block, fresh, scratch):
    """Add left times a panel to one block of columns of out, or put it there; ``left`` is (address, stride, length).

    The sum of a chunk starts from zero and is added as a whole, which rounds far less than to go on adding single terms
    to what has been summed before.
    """
    size, lanes, gates = size_of(form), lanes_of(form), tile_gates_of(form)
    width = gates * lanes
    rows, columns = out.shape
    there = min(width, columns - block * width)
    zeros = address_of(scratch) + MOST_ROWS * width * size
    r = 0
    while r < rows:
        m = rows_of_tile(rows - r)
        first = address_of(out) + (r * columns + block * width) * size
        direct = fresh and there == width
        place = (first, columns, lanes, 0) if direct else (address_of(scratch), width, lanes, 0)
        terms = (left[0] + r * left[1] * size, left[1], left[2], panel)
        run_tile(m, form, terms, (0, 0, 0, 0), (zeros, 0, lanes, 0), place)
        if not direct and there == width:
            for j in range(m):
                for k in range(0, width, lanes):
                    total = vload(form, first, j * columns + k) + vload(form, address_of(scratch), j * width + k)
                    vstore(form, total, first, j * columns + k)
        elif not direct:
            for j in range(m):
                for k in range(there):
                    before = 0.0 if fresh else out[r + j, block * width + k]
                    out[r + j, block * width + k] = before + scratch[j * width + k]
        r += m


@compiled
def _run_input(form, left, panels, out):
    """Multiply rows by panels of ``pack_recurrent``."""
    size, width = size_of(form), tile_gates_of(form) * lanes_of(form)
    length = left.shape[1]
    scratch = np.zeros((MOST_ROWS + 1) * width, left.dtype)
    for block in range(panels.shape[0]):
        for begin in range(0, length, CHUNK):
            terms = (address_of(left) + begin * size, length, min(CHUNK, length - begin))
            panel = address_of(panels) + (block * length + begin) * width * size
            _add_product(form, terms, panel, out, block, begin == 0, scratch)


@compiled
def _run_weights(form, d_pre, units, rights, outs, sums, blocks):
    """Multiply the transpose of d_pre by x and by h, for some blocks of their columns."""
    lanes, width = lanes_of(form), tile_gates_of(form) * lanes_of(form)
    rows = d_pre.shape[0]
    stride = CHUNK + lanes
    turned = np.empty((4 * units + lanes) * stride, d_pre.dtype)
    panel = np.zeros(CHUNK * width, d_pre.dtype)
    scratch = np.zeros((MOST_ROWS + 1) * width, d_pre.dtype)
    of_x = (outs[0].shape[1] + width - 1) // width
    for begin in range(0, rows, CHUNK):
        length = min(CHUNK, rows - begin)
        chunk = d_pre[begin : begin + length]
        _turn(form, chunk, units, turned, stride)
        if blocks[0] == 0:
            _add_rows(form, chunk, sums)
        terms = (address_of(turned), stride, length)
        for index in range(blocks[0], blocks[1]):
            block = index if index < of_x else index - of_x
            right, out = (rights[0], outs[0]) if index < of_x else (rights[1], outs[1])
            _fill_panel(form, right[begin : begin + length], block, panel)
            _add_product(form, terms, address_of(panel), out, block, begin == 0, scratch)


@inlined
def _turn(form, chunk, units, turned, stride):
    """Transpose a chunk of d_pre, so that the steps of each gate's unit lie side by side."""
    size, lanes = size_of(form), lanes_of(form)
    length, _, padded = chunk.shape
    whole = length // lanes * lanes
    for gate in range(4):
        # What is padded lands on the rows of the next gate, which come after, and behind the last in spare rows.
        for unit in range(0, units, lanes):
            row = (gate * units + unit) * stride
            for k in range(0, whole, lanes):
                source = address_of(chunk) + ((k * 4 + gate) * padded + unit) * size
                transpose_square(form, source, 4 * padded, address_of(turned) + (row + k) * size, stride)
            for k in range(whole, length):
                for lane in range(lanes):
                    turned[row + lane * stride + k] = chunk[k, gate, unit + lane]


@inlined
def _add_rows(form, chunk, sums):
    """Add the sum of all rows: each chunk by itself first, which rounds less."""
    size, lanes = size_of(form), lanes_of(form)
    columns = 4 * chunk.shape[2]
    for column in range(0, columns, lanes):
        total = vload(form, address_of(chunk), column)
        for k in range(1, chunk.shape[0]):
            total = total + vload(form, address_of(chunk) + k * columns * size, column)
        vstore(form, vload(form, address_of(sums), column) + total, address_of(sums), column)


@inlined
def _fill_panel(form, right, block, panel):
    """Bring one block of columns side by side; what comes of columns beyond the last is dropped."""
    size, lanes, gates = size_of(form), lanes_of(form), tile_gates_of(form)
    width = gates * lanes
    length, columns = right.shape
    for k in range(length):
        if (block + 1) * width <= columns:
            source = address_of(right) + (k * columns + block * width) * size
            for vector in range(gates):
                vstore(form, vload(form, source, vector * lanes), address_of(panel) + k * width * size, vector * lanes)
        else:
            for column in range(columns - block * width):
                panel[k * width + column] = right[k, block * width + column]
