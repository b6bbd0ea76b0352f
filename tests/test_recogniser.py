"""The recogniser: what it refuses, how it encodes and decides."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from tallycell.errors import InputError, ParameterError
from tallycell.parameters import LSTMParameters
from tallycell.recogniser import Recogniser


def random_parameters(dtype=np.float64, directions: int = 2) -> LSTMParameters:
    rng = np.random.default_rng(3)
    weights = {}
    for suffix in ("", "_reverse")[:directions]:
        weights[f"weight_ih_l0{suffix}"] = rng.normal(size=(8, 3)).astype(dtype)
        weights[f"weight_hh_l0{suffix}"] = rng.normal(size=(8, 2)).astype(dtype)
    return LSTMParameters(weights)


def recogniser(**changes) -> Recogniser:
    rng = np.random.default_rng(4)
    parts = {
        "alphabet": ("a", "b", "<unknown>"),
        "inputs": rng.normal(size=(3, 3)),
        "parameters": random_parameters(),
        "readout_weight": rng.normal(size=(2, 4)),
        "readout_bias": rng.normal(size=2),
        "outputs": ("no", "yes"),
    }
    return Recogniser(**parts | changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"inputs": np.ones((2, 3))}, r"inputs of the recogniser has shape \(2, 3\), expected \(3, 3\)"),
        ({"readout_weight": np.ones((2, 2))}, r"readout_weight .* has shape \(2, 2\), expected \(2, 4\)"),
        ({"readout_bias": np.ones((2, 1))}, r"readout_bias of the recogniser has shape \(2, 1\), expected \(2,\)"),
        ({"h_0": np.ones((1, 2))}, r"h_0 of the recogniser has shape \(1, 2\), expected \(2, 2\)"),
        ({"c_0": np.ones(2)}, r"c_0 of the recogniser has shape \(2,\), expected \(2, 2\)"),
        ({"inputs": np.full((3, 3), np.nan)}, "inputs of the recogniser has values that are NaN or infinite"),
        ({"c_0": np.full((2, 2), np.inf)}, "c_0 of the recogniser has values that are NaN or infinite"),
        ({"alphabet": ("a", "b", "a")}, "the alphabet of a recogniser must be distinct symbols, at least one"),
        ({"outputs": ("yes", "yes")}, r"the outputs of a recogniser must be distinct symbols, .*got \('yes', 'yes'\)"),
        (
            {"outputs": (), "readout_weight": np.ones((0, 4)), "readout_bias": np.ones(0)},
            r"the outputs of a recogniser must be distinct symbols, at least one; got \(\)",
        ),
        ({"decision": "softmax"}, "decision is 'softmax'; it is 'argmax' or 'threshold'"),
        ({"unknown": "z"}, "the unknown symbol 'z' is not in the alphabet"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(changes, text):
    with pytest.raises(ParameterError, match=text):
        recogniser(**changes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_everything_has_the_dtype_of_the_lstm_and_is_read_only(dtype):
    original = np.ones((3, 3), np.float64)
    net = recogniser(inputs=original, parameters=random_parameters(dtype), h_0=np.ones((2, 2), np.float16))
    for name in ("inputs", "readout_weight", "readout_bias", "h_0"):
        array = getattr(net, name)
        assert array.dtype == dtype
        assert not array.flags.writeable
    assert original.flags.writeable
    original[:] = 7
    assert (net.inputs == 1).all()
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.decision = "threshold"


def test_a_text_or_list_of_symbols_is_kept_as_a_tuple():
    net = recogniser(alphabet="ab?", outputs=["no", "yes"])
    assert net.alphabet == ("a", "b", "?")
    assert net.outputs == ("no", "yes")


class TestEncode:
    def test_each_symbol_becomes_its_index(self):
        codes = recogniser().encode("abba")
        assert codes.tolist() == [0, 1, 1, 0]
        assert codes.dtype == np.int64

    def test_symbols_may_be_longer_than_a_character(self):
        assert recogniser().encode(["b", "<unknown>", "a"]).tolist() == [1, 2, 0]

    def test_nothing_becomes_nothing(self):
        assert recogniser().encode("").shape == (0,)

    def test_a_symbol_outside_becomes_unknown(self):
        assert recogniser(unknown="<unknown>").encode("axb").tolist() == [0, 2, 1]

    def test_a_symbol_outside_is_an_error_without_unknown(self):
        with pytest.raises(
            InputError, match=r"symbol 'x' at position 2 is not in the alphabet \('a', 'b', '<unknown>'\)"
        ):
            recogniser().encode("abxy")


class TestDecide:
    h = np.random.default_rng(5).normal(size=(6, 5, 4))

    def test_logits_are_a_linear_layer(self):
        torch = pytest.importorskip("torch")
        net = recogniser()
        theirs = torch.nn.functional.linear(*map(torch.tensor, (self.h, net.readout_weight, net.readout_bias)))
        np.testing.assert_allclose(net.logits(self.h), theirs.numpy(), rtol=0, atol=1e-14)

    def test_argmax_gives_the_index_of_the_largest_logit(self):
        net = recogniser()
        decided = net.decide(self.h)
        assert decided.shape == (6, 5)
        for at in np.ndindex(6, 5):
            logits = [net.readout_weight[k] @ self.h[at] + net.readout_bias[k] for k in range(2)]
            assert decided[at] == (1 if logits[1] > logits[0] else 0)
        assert {0, 1} == set(decided.ravel().tolist())

    def test_threshold_gives_every_output_whose_logit_is_above_zero(self):
        net = recogniser(decision="threshold")
        decided = net.decide(self.h)
        assert decided.shape == (6, 5, 2)
        assert decided.dtype == bool
        for at in np.ndindex(6, 5):
            for k in range(2):
                assert decided[(*at, k)] == (net.readout_weight[k] @ self.h[at] + net.readout_bias[k] > 0)
        assert decided.any()
        assert not decided.all()

    def test_a_logit_of_exactly_zero_is_not_chosen(self):
        net = recogniser(decision="threshold", readout_weight=np.zeros((2, 4)), readout_bias=np.zeros(2))
        assert not net.decide(self.h).any()


class TestEquality:
    def test_equal_is_equal_in_everything(self):
        base = recogniser()
        assert base == recogniser()
        for changes in (
            {"alphabet": ("a", "c", "<unknown>")},
            {"inputs": np.ones((3, 3))},
            {"parameters": random_parameters(np.float32)},
            {"readout_weight": np.ones((2, 4))},
            {"readout_bias": np.ones(2)},
            {"outputs": ("no", "maybe")},
            {"decision": "threshold"},
            {"h_0": np.zeros((2, 2))},
            {"c_0": np.zeros((2, 2))},
            {"unknown": "a"},
        ):
            assert base != recogniser(**changes), changes
        assert base != "recogniser"
        assert recogniser(h_0=np.ones((2, 2))) == recogniser(h_0=np.ones((2, 2)))
        assert recogniser(h_0=np.ones((2, 2))) != recogniser(h_0=np.zeros((2, 2)))

    def test_a_recogniser_cannot_be_hashed(self):
        with pytest.raises(TypeError):
            hash(recogniser())

    def test_pickle_and_deepcopy_give_an_equal_and_still_frozen_recogniser(self):
        net = recogniser(unknown="a", c_0=np.ones((2, 2)), decision="threshold")
        for twin in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
            assert twin == net
            assert not twin.inputs.flags.writeable


def test_repr_tells_the_sizes():
    assert repr(recogniser()) == (
        "Recogniser(3 symbols, LSTMParameters(input_size=3, hidden_size=2, bias=False, bidirectional=True, "
        "dtype=float64), 2 outputs, decision='argmax')"
    )
