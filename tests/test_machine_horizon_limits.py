"""Nothing is proved of sums that may be infinite; and of torch, only what its own LSTM does."""

import numpy as np
import pytest

from tallycell.errors import InputError
from tallycell.machine.checking.exhaustive import check_all
from tallycell.machine.checking.side_by_side import SideBySide
from tallycell.machine.notation.text import parse
from tallycell.machine.proving import measuring
from tallycell.machine.proving.contracts import Arithmetic
from tallycell.machine.proving.horizon import counting_horizon
from tallycell.machine.proving.intervals import point
from tallycell.machine.proving.limits import too_large
from tallycell.machine.proving.measuring import FUNCTIONS, PARTLY, Path, gate_values, measure_torch
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser

GATES = "".join(FUNCTIONS.values())
MORE = parse("alphabet a b\ncounter n\non a  n +1\non b  n -1\nsays one of low high\ntag high when n > 0\n")
LARGE = {"float32": 3e38, "float64": 1.7e308}
FAR = {"float32": 2.0**24, "float64": 2.0**53}


def with_flags(dtype, *, readout, bias, recurrent=None, forget=(50.0, 0.0), h_0=None, c_0=None):
    """A counter, up at a and down at b, beside cells that show tanh(1) after each symbol.

    ``recurrent`` is what its forget gate reads of h, ``forget`` its two biases.
    """
    units = len(readout[0])
    of_symbol, of_h, biases = np.zeros((4, units, 2)), np.zeros((4, units, units)), np.zeros((2, 4, units))
    of_symbol[2, 0] = 50, -50
    biases[0, [0, 3]] = 50
    biases[0, 1] = -800
    biases[0, 2, 1:] = 50
    biases[:, 1, 0] = forget
    of_h[1, 0] = 0 if recurrent is None else recurrent
    weights = {
        "weight_ih_l0": of_symbol.reshape(-1, 2),
        "weight_hh_l0": of_h.reshape(-1, units),
        "bias_ih_l0": biases[0].ravel(),
        "bias_hh_l0": biases[1].ravel(),
    }
    lstm = LSTMParameters({name: weight.astype(dtype) for name, weight in weights.items()})
    outputs, states = ("low", "high"), {"h_0": h_0, "c_0": c_0}
    return Recogniser(("a", "b"), np.eye(2), lstm, np.array(readout), np.array(bias), outputs=outputs, **states)


def large_readout(dtype, scale):
    return with_flags(dtype, readout=np.array([[0, 1, 1, 0], [1, 1, 1, 0]]) * scale, bias=np.array([0.3, 0]) * scale)


@pytest.mark.parametrize("dtype", LARGE)
def test_a_readout_that_may_be_infinite_proves_nothing(dtype):
    """Both logits are infinite, and the first is taken; in real numbers the second is larger."""
    net = large_readout(dtype, LARGE[dtype])
    horizon = counting_horizon(MORE, net)
    largest = {"float32": "3.4e+38", "float64": "1.8e+308"}[dtype]
    assert str(horizon) == (
        f"horizon: no length is proved: the sum of output 'low' can pass the largest number of {dtype}, {largest}"
    )
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert check_all(SideBySide(MORE, net), 3).first_difference == ("a",)
    assert counting_horizon(MORE, large_readout(dtype, LARGE[dtype] / 16)).symbols > 0.9 * FAR[dtype]


@pytest.mark.parametrize("dtype", LARGE)
def test_a_pre_activation_that_may_be_infinite_proves_nothing(dtype):
    """In real numbers the forget gate is always open; in some order of the sum it is infinity less infinity."""
    ends = []
    for scale in (LARGE[dtype], LARGE[dtype] / 32):
        net = with_flags(
            dtype,
            readout=[[0, 0.3, 0], [1.0, 0, 0]],
            bias=[0, 0],
            recurrent=[0, -scale, -scale],
            forget=(scale, scale),
        )
        ends.append(counting_horizon(MORE, net))
    assert ends[0].symbols == 0
    assert ends[0].first_to_break.startswith(
        f"a sum before the activations of layer 0 can pass the largest number of {dtype}, "
    )
    assert ends[1].symbols > 0.9 * FAR[dtype]


def test_where_a_network_begins_counts_too_and_what_does_not_occur_does_not():
    plain = {"readout": [[0, 0.3], [1.0, 0]], "bias": [0, 0]}
    net = with_flags("float32", **plain, recurrent=[0, 1e30], h_0=np.array([[0, 1e9]]))
    assert too_large(net, np.arange(2)).startswith("a sum before the activations of layer 0 can pass")
    assert too_large(with_flags("float32", **plain, recurrent=[0, 1e30]), np.arange(2)) is None
    far = with_flags("float64", **plain, c_0=np.array([[0, 1e200]]))
    assert too_large(far, np.arange(2)) == "a cell begins at 1e+200, and nothing is proved of cells from 1e+100 on"
    large = Recogniser(
        ("a", "b", "c"), [[1, 0], [0, 1], [3e38, 0]], net.parameters, net.readout_weight, net.readout_bias, net.outputs
    )
    assert too_large(large, np.array([0, 1, 2])) is not None
    assert too_large(large, np.array([0, 1, -1])) is None


# Whose activations


def leaking_at(pre):
    """One unit that counts, and whose forget gate stands at a pre-activation."""
    gates = np.array([[50, 50], [pre, pre], [50, -50], [50, 50]], np.float32)
    lstm = LSTMParameters({"weight_ih_l0": gates, "weight_hh_l0": np.zeros((4, 1), np.float32)})
    return Recogniser(("a", "b"), np.eye(2), lstm, [[1.0]], [-0.4], outputs=("accept",), decision="threshold")


MAJORITY = parse("alphabet a b\ncounter n\non a  n +1\non b  n -1\naccept when n > 0\n")


@pytest.mark.parametrize("pre", [16.71, 17.0, 17.2])
def test_a_forget_gate_that_torchs_lstm_does_not_saturate_is_not_proved_to_count(pre):
    torch = pytest.importorskip("torch")
    horizon = counting_horizon(MAJORITY, leaking_at(pre), kernel="torch").symbols
    assert 0 < horizon < 2**20
    assert counting_horizon(MAJORITY, leaking_at(pre)).symbols > 0.9 * 2**24  # by our own kernel it is 1
    module = torch.nn.LSTM(2, 1, bias=False)
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), leaking_at(pre).parameters.weights.values(), strict=True):
            parameter.copy_(torch.from_numpy(np.array(weight)))
        up = min(horizon // 2, 6000)
        codes = np.repeat([0, 1], up)
        h, _ = module(torch.eye(2)[torch.from_numpy(codes)][:, np.newaxis])
    counts = np.concatenate([np.arange(1, up + 1), np.arange(up - 1, -1, -1)])
    assert ((h.numpy().ravel() - np.float32(0.4) > 0) == (counts > 0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_said_of_torch_holds_of_its_lstm_on_every_path(dtype):
    pytest.importorskip("torch")
    arithmetic = Arithmetic.of_kernel(dtype, "torch")
    rng = np.random.default_rng(1)
    far = 20 if dtype == "float32" else 100
    x = np.concatenate([rng.normal(size=3000) * far, rng.normal(size=3000) * 10, [-86.95, -87.2, -708.35, 1e30, -1e30]])
    x = x.astype(dtype)
    for gate in GATES:
        bounds = (arithmetic.tanh if gate in "gh" else arithmetic.sigmoid)(point(x.astype(np.float64)))
        for path in PARTLY[::5]:
            found = gate_values(gate, x, path).astype(np.float64)
            assert (bounds.lo <= found).all()
            assert (found <= bounds.hi).all()


def test_of_torch_it_is_said_that_it_was_measured_on_this_machine():
    torch = pytest.importorskip("torch")
    before = torch.get_rng_state(), torch.get_num_threads()
    arithmetic = Arithmetic.of_kernel("float32", "torch")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    text = arithmetic.assumptions[1]
    assert text.startswith("inside torch.nn.LSTM the sigmoid is within ")
    assert "measured, not proved, on this machine's processor, on 255,000 values of each gate" in text
    assert text.endswith("another processor may run other functions")


def test_a_function_that_never_reaches_its_limit_is_refused(monkeypatch):
    pytest.importorskip("torch")

    def short(gate, x, path):
        exact = np.tanh(x) if gate in "gh" else 1 / (1 + np.exp(-x.astype(np.float64)))
        return np.minimum(exact, 0.9999999).astype(x.dtype)

    monkeypatch.setattr(measuring, "gate_values", short)
    with np.errstate(over="ignore"), pytest.raises(InputError) as refused:
        measure_torch.__wrapped__("float32")
    assert str(refused.value) == (
        "the sigmoid inside torch.nn.LSTM leaves its range or does not reach its limits in float32 on this machine: "
        'nothing can be proved with kernel="torch"'
    )


def test_a_gate_alone_is_what_the_module_computes():
    """Its five functions, against torch's own in float64, where both run the same code."""
    torch = pytest.importorskip("torch")
    x = np.linspace(-5, 5, 101)
    for gate in GATES:
        exact = (torch.tanh if gate in "gh" else torch.sigmoid)(torch.from_numpy(x)).numpy()
        found = gate_values(gate, x, Path(8, False, False, False, 0))
        np.testing.assert_allclose(found, exact, rtol=1e-15, atol=1e-17)


def test_a_format_of_which_nothing_is_known_is_refused():
    with pytest.raises(InputError, match="nothing is known of arithmetic in float16; proofs are of float32 and float6"):
        Arithmetic.of_kernel("float16")
