"""The vector kernel against the reference kernel, and what feeds it: packing, memory, threads, the compile cache."""

import logging
import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import tallycell as tc
from tallycell.activations import activation, register_activation
from tallycell.errors import InputError
from tallycell.kernels import choice, cpu, reference
from tallycell.kernels.cpu import memory, packing, threads
from tallycell.kernels.cpu.vector import Format, host_format
from tallycell.kernels.interface import LayerInput, StepsGradient
from tallycell.names import PRE_ACTIVATIONS, STEP_VARIABLES

# Sums in another order: a few units in the last place of values near 1, times the length of the sums.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def difference(a, b):
    return float(np.nanmax(np.abs(a - b) / (1 + np.nanmax(np.abs(b))))) if a.size else 0.0


def layer_and_input(sizes, dtype, *, reverse=False, lengths=None, activations=None, bias=True, seed=0):
    features, units, sequences, time = sizes
    draw = np.random.default_rng(seed)
    shapes = {"weight_ih_l0": (4 * units, features), "weight_hh_l0": (4 * units, units)}
    if bias:
        shapes |= {"bias_ih_l0": (4 * units,), "bias_hh_l0": (4 * units,)}
    scale = min(0.3, 2 / np.sqrt(units))  # larger weights make states in which rounding grows from step to step
    weights = {name: (scale * draw.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}
    layer = tc.LSTMParameters(weights, activations or tc.Activations()).layer(0)
    x, h_0, c_0 = (
        draw.normal(size=shape).astype(dtype)
        for shape in ((time, sequences, features), (sequences, units), (sequences, units))
    )
    if lengths is not None:
        for s, length in enumerate(lengths):
            x[length:, s] = np.nan  # never read
    return layer, LayerInput(x, h_0, c_0, None if lengths is None else np.array(lengths), reverse)


def check(layer, inputs, dtype, *, seed=1, gates=True):
    """Forward and backward of both kernels, every array."""
    ours, theirs = cpu.lstm_forward(layer, inputs, keep_pre=True), reference.lstm_forward(layer, inputs, keep_pre=True)
    for name in (*STEP_VARIABLES, *PRE_ACTIVATIONS, "h_n", "c_n"):
        a, b = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=name)
        assert difference(a, b) <= TOLERANCE[dtype], name
    draw = np.random.default_rng(seed)
    states = {name: draw.normal(size=getattr(theirs, name).shape).astype(dtype) for name in ("h", "h_n", "c_n")}
    given = {name: draw.normal(size=theirs.c.shape).astype(dtype) for name in "ifgoc"} if gates else {}
    gradient = StepsGradient(**states, **given)
    expected = reference.lstm_backward(layer, inputs, theirs, gradient)
    for steps in (ours, theirs):  # the way back takes its own steps, or another kernel's
        found = cpu.lstm_backward(layer, inputs, steps, gradient)
        for name in ("x", "h_0", "c_0", "weight_ih", "weight_hh", "bias"):
            assert difference(getattr(found, name), getattr(expected, name)) <= TOLERANCE[dtype], name


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1, 5), (3, 17, 1, 9), (17, 63, 7, 6), (63, 100, 8, 5), (100, 3, 13, 4), (5, 64, 33, 7), (2, 1030, 9, 3)],
)
def test_vector_kernel_agrees_with_the_reference(sizes, dtype, reverse):
    check(*layer_and_input(sizes, dtype, reverse=reverse), dtype)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lengths_agree_with_the_reference(dtype, reverse):
    check(*layer_and_input((5, 17, 4, 9), dtype, reverse=reverse, lengths=[9, 1, 4, 8]), dtype)
    check(*layer_and_input((5, 17, 9, 6), dtype, reverse=reverse, lengths=[6, 6, 2, 1, 5, 6, 3, 4, 2]), dtype)


def test_without_biases_and_without_gradients_of_gates():
    check(*layer_and_input((5, 17, 4, 9), "float64", bias=False), "float64", gates=False)


@pytest.mark.parametrize(
    "slots",
    [
        tc.Activations(activation("hard_sigmoid"), activation("hard_tanh"), activation("softsign")),
        tc.Activations(activation("elu"), activation("sine"), activation("leaky_relu")),  # need the pre-activations
    ],
)
def test_other_activations_agree_with_the_reference(slots):
    check(*layer_and_input((3, 9, 9, 5), "float64", activations=slots), "float64")


def test_a_users_activation_is_compiled_into_the_kernel():
    bent = register_activation(
        "bent", lambda x: x / np.sqrt(1 + x * x), lambda x, y: (1 - y * y) * np.sqrt(1 - y * y),
        range=(-1, 1), left=-1, right=1, from_output=True,
    )  # fmt: skip
    layer, inputs = layer_and_input((3, 9, 2, 5), "float64", activations=tc.Activations(cell=bent))
    assert cpu.unsupported(layer) is None
    check(layer, inputs, "float64")


def test_what_the_vectors_leave_out_runs_on_the_reference_kernel_and_is_told_once(caplog):
    strange = register_activation("strange", lambda x: np.sort(x), lambda x, y: np.ones_like(y))
    choice._told.clear()
    weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
    uncompiled = tc.LSTMParameters(weights, tc.Activations(cell=strange))
    with caplog.at_level(logging.INFO, logger="tallycell"):
        for _ in range(2):
            tc.record_trace(uncompiled, np.ones((4, 3)))
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert told == ["activation 'strange', which does not compile: the slower path runs this LSTM"]


def test_unusual_activations_are_compiled_when_that_pays(monkeypatch):
    ran = []
    for name, kernel in (("vectors", cpu), ("reference", reference)):
        forward = kernel.lstm_forward
        monkeypatch.setattr(kernel, "lstm_forward", lambda *a, n=name, f=forward, **k: ran.append(n) or f(*a, **k))
    layer, inputs = layer_and_input((3, 9, 9, 5), "float64", activations=tc.Activations(cell=activation("softsign")))
    choice.lstm_forward(layer, inputs)
    usual, _ = layer_and_input((3, 9, 9, 5), "float64")
    choice.lstm_forward(usual, inputs)
    assert ran == ["reference", "vectors"]
    cpu.prepare(layer.activations, "float64")
    choice.lstm_forward(layer, inputs)
    assert ran[-1] == "vectors"


@pytest.mark.parametrize("gates", [2, 4])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_packed_weights_hold_each_weight_once(lanes, gates):
    form = Format("float32", lanes, gates)
    weight = np.arange(4 * 5 * 3, dtype=np.float32).reshape(20, 3) + 1
    panels = packing.pack_gates(weight, form)
    for unit in range(5):
        for gate in range(4):
            row = panels[unit // lanes, gate // gates, :, gate % gates, unit % lanes]
            np.testing.assert_array_equal(row, weight[gate * 5 + unit])
    assert np.count_nonzero(panels) == weight.size
    square = np.arange(4 * 5 * 5, dtype=np.float32).reshape(20, 5) + 1
    back = packing.pack_recurrent(square, form)
    padded = packing.padded_size(5, form)
    for unit in range(5):
        for gate in range(4):
            row = back[:, gate * padded + unit].ravel()[:5]
            np.testing.assert_array_equal(row, square[gate * 5 + unit])
    assert np.count_nonzero(back) == square.size


def test_weights_are_packed_once(monkeypatch):
    weights = {"weight_ih_l0": np.ones((20, 3)), "weight_hh_l0": np.zeros((20, 5))}
    parameters, x, packed = tc.LSTMParameters(weights), np.zeros((4, 2, 3)), []
    pack = packing.pack_weights
    monkeypatch.setattr(packing, "pack_weights", lambda *arguments: packed.append(1) or pack(*arguments))
    for _ in range(3):
        tc.record_trace(parameters, x)
    assert len(packed) == 1


def test_memory_is_aligned_and_comes_back_only_when_nobody_holds_it():
    pool = memory.Pool(1 << 30)
    first, at = pool.lend((1 << 20,), np.dtype(np.uint8))
    address = first.ctypes.data
    assert address == at
    assert address % memory.ALIGNMENT == 0
    view = first[1000:2000].view(np.float64)[::2]
    del first
    assert pool.lend((1 << 20,), np.dtype(np.uint8))[0].ctypes.data != address  # the view still holds it
    del view
    assert pool.lend((1 << 20,), np.dtype(np.uint8))[0].ctypes.data == address


def test_memory_that_has_waited_longest_makes_room_for_others():
    pool, megabyte = memory.Pool(5 << 20), 1 << 20

    def lend_and_return(size):
        return pool.lend((size,), np.dtype(np.uint8))[0].ctypes.data

    lend_and_return(3 * megabyte)
    kept = lend_and_return(megabyte)
    lend_and_return(2 * megabyte)  # six would wait: the first three go
    assert pool.waiting == 3 * megabyte
    assert lend_and_return(megabyte) == kept
    lend_and_return(6 * megabyte)  # more than ever waits
    assert pool.waiting == 3 * megabyte


def test_what_a_user_holds_is_never_overwritten():
    layer, inputs = layer_and_input((8, 64, 9, 50), "float32")
    held = []
    for seed in range(30):
        draw = np.random.default_rng(seed).normal(size=inputs.x.shape).astype(np.float32)
        steps = cpu.lstm_forward(layer, LayerInput(draw, inputs.h_0, inputs.c_0))
        if seed % 3:
            held.append((steps.f, steps.f.copy(), steps.c[5:, 1], steps.c[5:, 1].copy()))
    for f, kept_f, c, kept_c in held:
        np.testing.assert_array_equal(f, kept_f)
        np.testing.assert_array_equal(c, kept_c)


SHARED = [(64, 64, 9, 200), (130, 100, 1, 130), (128, 128, 3, 50), (300, 300, 2, 20)]  # sequences divided, then units


@pytest.fixture(params=["_run_on_openmp", "_run_on_python_threads"])
def pool(request, monkeypatch):
    """Both ways to have threads; gives a list to which every use adds how many parts there were."""
    if request.param == "_run_on_openmp":
        pytest.importorskip("torch")
        if threads._openmp_of_torch() is None:
            pytest.skip("torch has no OpenMP with GNU's entry points here")
    else:
        monkeypatch.setattr(threads, "_openmp_of_torch", lambda: None)
    together, used = getattr(threads, request.param), []

    def counted(*arguments):
        used.append(arguments[-1])
        together(*arguments)

    monkeypatch.setattr(threads, request.param, counted)
    return used


@pytest.mark.parametrize("sizes", SHARED)
def test_several_threads_agree_with_one(sizes, pool, monkeypatch):
    """To rounding: how the rows are divided decides in which order products are summed."""
    layer, inputs = layer_and_input(sizes, "float32")
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", "1")
    alone = cpu.lstm_forward(layer, inputs)
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", "3")
    shared = cpu.lstm_forward(layer, inputs)
    assert pool == [3]
    for name in STEP_VARIABLES:
        assert difference(getattr(shared, name), getattr(alone, name)) <= TOLERANCE["float32"]
    check(layer, inputs, "float32")


@pytest.mark.parametrize("sizes", [(16, 32, 9, 60), *SHARED])
def test_eight_python_threads_at_once(sizes, pool, monkeypatch):
    """All right, and no two wait for each other: one has the pool, the others run alone."""
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", "3")
    layer, inputs = layer_and_input(sizes, "float32")
    expected, wrong = cpu.lstm_forward(layer, inputs), []

    def work():
        for _ in range(10):
            if not difference(cpu.lstm_forward(layer, inputs).h, expected.h) <= TOLERANCE["float32"]:
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert bool(pool) == (sizes in SHARED)  # the smallest is not worth dividing


def test_a_part_that_fails_lets_the_next_call_have_the_threads(pool, monkeypatch):
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", "2")

    def fail(first, _last, _threads):
        if first:
            raise ValueError("a part")

    with pytest.raises(ValueError, match="a part"):
        threads.divide(fail, 8, 1e9)
    parts = []
    threads.divide(lambda *part: parts.append(part), 8, 1e9)
    assert sorted(parts) == [(0, 4, 2), (4, 8, 2)]
    assert pool == [2, 2]


def _in_child(connection, layer, inputs):
    connection.send(cpu.lstm_forward(layer, inputs).h)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_after_a_fork_is_right_and_alive(pool, monkeypatch):
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", "2")
    layer, inputs = layer_and_input((64, 64, 9, 200), "float32")
    expected = cpu.lstm_forward(layer, inputs).h
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_in_child, args=(theirs, layer, inputs))
    child.start()
    assert ours.poll(60)
    np.testing.assert_array_equal(ours.recv(), expected)
    child.join(10)
    assert child.exitcode == 0


def test_number_of_threads_is_asked_for(monkeypatch):
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", "5")
    assert threads.number_of_threads() == 5
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", "many")
    with pytest.raises(InputError, match="TALLYCELL_NUM_THREADS is 'many'; give a positive number of threads"):
        threads.number_of_threads()
    monkeypatch.delenv("TALLYCELL_NUM_THREADS")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert 1 <= threads.number_of_threads() <= os.cpu_count()


@pytest.mark.parametrize("bits", ["128", "256"])
def test_narrower_vectors_give_the_same(bits, tmp_path):
    """AVX2 and SSE by force: other tiles, other panels."""
    code = (
        "import numpy as np, tests.test_cpu_kernel as t\n"
        f"assert t.host_format('float32').lanes == {int(bits) // 32}\n"
        "for sizes in ((3, 17, 1, 9), (17, 63, 9, 6)):\n"
        "    t.check(*t.layer_and_input(sizes, 'float32'), 'float32')\n"
    )
    environment = os.environ | {"TALLYCELL_VECTOR_BITS": bits, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_host_format_is_one_of_the_known():
    form = host_format("float32")
    assert form.lanes in (4, 8, 16)
    assert host_format("float64").lanes == form.lanes // 2
