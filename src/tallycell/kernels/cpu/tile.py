"""The register tile: the one loop in which nearly all of an LSTM's time is spent.

A tile holds, for a few sequences (rows) and one block of units, the pre-activations of some gates in vector registers,
and adds two matrix products to them without touching memory in between::

    out[row, gate] = start[row, gate] + a[row] @ w[gate] + b[row] @ v[gate]

The weights come packed in panels (see ``packing``), so that the loop reads them from one end to the other.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from tallycell.kernels.cpu.compiling import inlined, shared
from tallycell.kernels.cpu.vector import (
    ELEMENTS,
    INT64,
    VectorType,
    call_llvm,
    load_vector,
    pointer,
    splat_vector,
    store_vector,
)

MOST_ROWS = 6


def _make_tile(rows: int) -> Any:
    # Few rows leave too few sums in flight to keep the multipliers busy: several partial sums then run side by side.
    partial_sums = {1: 4, 2: 2, 3: 2}.get(rows, 1)

    @intrinsic
    def tile(typing: Any, form: Any, left: Any, right: Any, start: Any, out: Any) -> Any:
        vector = VectorType(form.dtype, form.lanes)
        element = ELEMENTS[form.dtype][0]

        def generate(c: Any, builder: Any, _s: Any, arguments: Any) -> Any:
            fields = [_unpack(builder, argument, 4) for argument in arguments[1:]]
            sums = _load_start(builder, vector, fields[2], rows, form.gates)
            for address, row_stride, length, weights in fields[:2]:
                panel = pointer(builder, weights, element)
                heads = [pointer(builder, address, element, builder.mul(row_stride, INT64(r))) for r in range(rows)]
                sums = _add_product(builder, vector, sums, heads, panel, length, partial_sums)
            address, row_stride, gate_stride, _ = fields[3]
            for r, by_gate in enumerate(sums):
                for g, value in enumerate(by_gate):
                    offset = builder.add(builder.mul(row_stride, INT64(r)), builder.mul(gate_stride, INT64(g)))
                    store_vector(builder, value, pointer(builder, address, element, offset), vector)
            return c.get_dummy_value()

        return types.void(form, left, right, start, out), generate

    return tile


def _unpack(builder: Any, argument: Any, count: int) -> list[Any]:
    return [builder.extract_value(argument, k) for k in range(count)]


def _load_start(builder: Any, vector: VectorType, field: list[Any], rows: int, gates: int) -> list[list[Any]]:
    address, row_stride, gate_stride, _ = field
    element = ELEMENTS[vector.dtype][0]
    return [
        [
            load_vector(
                builder,
                pointer(
                    builder,
                    address,
                    element,
                    builder.add(builder.mul(row_stride, INT64(r)), builder.mul(gate_stride, INT64(g))),
                ),
                vector,
            )
            for g in range(gates)
        ]
        for r in range(rows)
    ]


def _add_product(
    builder: Any, vector: VectorType, sums: list[list[Any]], heads: list[Any], panel: Any, length: Any, partial: int
) -> list[list[Any]]:
    """Add a[row] @ w[gate] to the sums: first ``partial`` elements a turn, then one a turn."""
    zero = ir.Constant(vector.llvm, None)
    gates = len(sums[0])
    by_turn = [sums, *([[zero] * gates for _ in sums] for _ in range(partial - 1))]
    whole = builder.sub(length, builder.srem(length, INT64(partial)))
    by_turn = _loop(builder, vector, by_turn, heads, panel, INT64(0), whole)
    total = by_turn[0]
    for others in by_turn[1:]:
        total = [[builder.fadd(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(total, others, strict=True)]
    if partial == 1:
        return total
    return _loop(builder, vector, [total], heads, panel, whole, length)[0]


def _loop(
    builder: Any, vector: VectorType, by_turn: list[Any], heads: list[Any], panel: Any, begin: Any, end: Any
) -> list[Any]:
    """``for k in range(begin, end, turns)``, with the sums in registers throughout."""
    turns, rows, gates = len(by_turn), len(heads), len(by_turn[0][0])
    before = builder.block
    body, after = builder.append_basic_block("product"), builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", begin, end), body, after)
    builder.position_at_end(body)
    k = builder.phi(INT64)
    k.add_incoming(begin, before)
    running = [[[builder.phi(vector.llvm) for _ in range(gates)] for _ in range(rows)] for _ in range(turns)]
    row_of_weights = builder.gep(panel, [builder.mul(k, INT64(gates * vector.lanes))])
    updated = []
    for u in range(turns):
        weights = [
            load_vector(builder, builder.gep(row_of_weights, [INT64((u * gates + g) * vector.lanes)]), vector)
            for g in range(gates)
        ]
        by_row = []
        for r in range(rows):
            number = builder.load(builder.gep(heads[r], [builder.add(k, INT64(u))]))
            spread = splat_vector(builder, number, vector)
            by_row.append(
                [
                    call_llvm(builder, "llvm.fma", vector, [spread, w, sum_so_far])
                    for w, sum_so_far in zip(weights, running[u][r], strict=True)
                ]
            )
        updated.append(by_row)
    following = builder.add(k, INT64(turns))
    k.add_incoming(following, body)
    builder.cbranch(builder.icmp_signed("<", following, end), body, after)
    builder.position_at_end(after)
    result = []
    for u in range(turns):
        by_row = []
        for r in range(rows):
            by_gate = []
            for g in range(gates):
                running[u][r][g].add_incoming(by_turn[u][r][g], before)
                running[u][r][g].add_incoming(updated[u][r][g], body)
                last = builder.phi(vector.llvm)
                last.add_incoming(by_turn[u][r][g], before)
                last.add_incoming(updated[u][r][g], body)
                by_gate.append(last)
            by_row.append(by_gate)
        result.append(by_row)
    return result


_tile_1, _tile_2, _tile_3, _tile_4, _tile_5, _tile_6 = (_make_tile(rows) for rows in range(1, MOST_ROWS + 1))


@inlined
def rows_of_tile(remaining):
    """Rows of the next tile: 6 as long as the rest is not awkward (7 = 4 + 3, 8 = 4 + 4, 9 = 5 + 4, 11 = 6 + 5)."""
    if remaining >= 12 or remaining == 6 or remaining == 10 or remaining == 11:
        return 6
    if remaining == 5 or remaining == 9:
        return 5
    if remaining >= 4:
        return 4
    return remaining


@shared
def run_tile(rows, form, left, right, start, out):
    """Run the tile of 1 to 6 rows.

    ``left`` and ``right`` are (address, row stride, length, packed weights) of the two factors, a length of 0 leaves
    one out; ``start`` and ``out`` are (address, row stride, gate stride, 0). Strides count elements.
    """
    if rows == 6:
        _tile_6(form, left, right, start, out)
    elif rows == 5:
        _tile_5(form, left, right, start, out)
    elif rows == 4:
        _tile_4(form, left, right, start, out)
    elif rows == 3:
        _tile_3(form, left, right, start, out)
    elif rows == 2:
        _tile_2(form, left, right, start, out)
    else:
        _tile_1(form, left, right, start, out)
