"""What compiled code has built in is hashed with it; and units that stand side by side come back as they were."""

import ast
from pathlib import Path

import numpy as np
import pytest

import tallycell
from tallycell.kernels.cpu import compiling
from tallycell.reading import counting
from tallycell.reading.lanes import FEW, in_double, into_lanes, out_of_lanes, pick_lanes, slices_of
from tallycell.reading.tally import RUNGS

SOURCES = Path(tallycell.__file__).parent
BUILT_IN = {"inlined", "shared", "intrinsic"}


def decorated(tree):
    """Names of functions that are built into those that call them."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    marks = [(one.name, {mark.id for mark in one.decorator_list if isinstance(mark, ast.Name)}) for one in functions]
    return {name for name, some in marks if some & BUILT_IN}


def imported(tree):
    """Modules and names that are taken from them."""
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {(node.module, alias.name) for node in froms for alias in node.names}


def test_what_is_built_into_code_of_another_module_is_hashed_with_it():
    """Numba hashes the module of a compiled function, and the fingerprint hashes the folder of the kernels; no more."""
    hashed = Path(compiling.__file__).parent
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES.rglob("*.py")}
    assert decorated(trees[hashed / "doubles.py"]) == {"load_double", "nearest"}
    built_in = {
        (".".join(path.relative_to(SOURCES.parent).with_suffix("").parts), name)
        for path, tree in trees.items() if path.parent != hashed
        for name in decorated(tree)
    }  # fmt: skip
    assert ("tallycell.reading.counting", "_put") in built_in
    assert {path.name: imported(tree) & built_in for path, tree in trees.items() if imported(tree) & built_in} == {}


def test_numbers_that_are_built_into_compiled_code_are_those_of_the_ladder():
    """They stand in the module of the compiled code, since that of the ladder is not hashed with it."""
    assert len(RUNGS) == counting.RUNGS
    assert counting.MARKS[counting.FIRST_HALF_UP] == "half up 0"


@pytest.mark.parametrize("units", [1, 3, 4, 5, 63, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("steps", [1, 3, FEW // 60])
def test_units_come_back_from_lanes_as_they_were(units, dtype, steps):
    """By NumPy, and compiled where there are many."""
    values = (np.random.default_rng(units).random((steps, units)) * 100).astype(dtype)
    lanes = in_double().lanes
    cut = into_lanes(values)
    filled = np.concatenate([values, np.zeros((steps, -units % lanes), dtype)], axis=1)
    np.testing.assert_array_equal(cut, np.moveaxis(filled.reshape(steps, -1, lanes), 1, 0))
    np.testing.assert_array_equal(out_of_lanes(cut, units), values)
    np.testing.assert_array_equal(into_lanes(np.asfortranarray(values)), cut)
    which = np.arange(units)[::-2]
    np.testing.assert_array_equal(out_of_lanes(pick_lanes(cut, which), len(which)), values[:, which])


@pytest.mark.parametrize(("groups", "steps"), [(1, 1), (40, 10), (40, 10**7), (7, 100_000)])
def test_slices_hold_every_group_once(groups, steps):
    slices = slices_of(groups, steps)
    assert np.concatenate([np.arange(groups)[one] for one in slices]).tolist() == list(range(groups))
