"""LSTMParameters: what is told from the weights, what is refused, and that nothing can change them."""

import copy
import pickle

import numpy as np
import pytest

from tallycell.activations import activation
from tallycell.errors import ParameterError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.names import GATES
from tallycell.parameters import Activations, LSTMParameters


def random_weights(
    *, layers=1, directions=1, features=3, hidden=2, projection=0, bias=True, peepholes=False, dtype=np.float64
) -> dict[str, np.ndarray]:
    """Random weights under PyTorch's names."""
    rng = np.random.default_rng(layers + 10 * directions + 100 * features)
    output = projection or hidden
    weights = {}
    for layer in range(layers):
        for suffix in ("", "_reverse")[:directions]:
            name = f"l{layer}{suffix}"
            shapes = {
                f"weight_ih_{name}": (4 * hidden, features if layer == 0 else directions * output),
                f"weight_hh_{name}": (4 * hidden, output),
            }
            shapes |= {f"bias_{kind}_{name}": (4 * hidden,) for kind in ("ih", "hh") if bias}
            shapes |= {f"weight_hr_{name}": (projection, hidden)} if projection else {}
            shapes |= {f"weight_ch_{name}": (3 * hidden,)} if peepholes else {}
            weights |= {key: rng.normal(size=shape).astype(dtype) for key, shape in shapes.items()}
    return weights


@pytest.mark.parametrize("layers", [1, 3, 12])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("projection", [0, 1, 5])
@pytest.mark.parametrize("bias", [False, True])
def test_sizes_are_told_from_the_weights(layers, directions, projection, bias):
    parameters = LSTMParameters(
        random_weights(layers=layers, directions=directions, features=4, hidden=7, projection=projection, bias=bias)
    )
    assert parameters.num_layers == layers
    assert parameters.num_directions == directions
    assert parameters.bidirectional == (directions == 2)
    assert parameters.input_size == 4
    assert parameters.hidden_size == 7
    assert parameters.proj_size == projection
    assert parameters.output_size == (projection or 7)
    assert parameters.bias == bias
    assert not parameters.peepholes


def test_a_projection_as_wide_as_the_cell_is_a_projection():
    parameters = LSTMParameters(random_weights(hidden=3, projection=3))
    assert parameters.proj_size == 3
    assert parameters.layer(0).weight_hr.shape == (3, 3)


def test_peepholes_are_told_from_the_weights():
    assert LSTMParameters(random_weights(peepholes=True)).peepholes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_that_of_the_weights(dtype):
    assert LSTMParameters(random_weights(dtype=dtype)).dtype == dtype


def test_the_names_are_those_of_torchs_state_dict():
    torch = pytest.importorskip("torch")
    lstm = torch.nn.LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2)
    parameters = LSTMParameters({name: x.numpy() for name, x in lstm.state_dict().items()})
    assert (parameters.num_layers, parameters.hidden_size, parameters.proj_size) == (2, 5, 2)
    assert parameters.weights.keys() == lstm.state_dict().keys()


class TestFrozen:
    def test_weights_cannot_be_written(self):
        parameters = LSTMParameters(random_weights())
        with pytest.raises(ValueError, match="read-only"):
            parameters.weights["weight_ih_l0"][0, 0] = 1
        with pytest.raises(TypeError):
            parameters.weights["weight_ih_l0"] = np.zeros((8, 3))
        with pytest.raises(AttributeError):
            parameters.forget_gate = "none"

    def test_the_callers_arrays_are_copied_and_stay_writeable(self):
        weights = random_weights()
        parameters = LSTMParameters(weights)
        before = parameters.weights["weight_ih_l0"].copy()
        weights["weight_ih_l0"][:] = 7
        weights.pop("weight_hh_l0")
        np.testing.assert_array_equal(parameters.weights["weight_ih_l0"], before)
        assert "weight_hh_l0" in parameters.weights

    def test_pickle_and_deepcopy_give_equal_and_still_frozen_parameters(self):
        parameters = LSTMParameters(
            random_weights(layers=2, directions=2, peepholes=True),
            (Activations(), Activations(activation("hard_sigmoid", alpha=0.3), activation("sine"))),
            "coupled",
            clip_pre=3.0,
            clip_cell=2.5,
        )
        for twin in (pickle.loads(pickle.dumps(parameters)), copy.deepcopy(parameters)):
            assert twin == parameters
            assert not twin.weights["weight_ih_l0"].flags.writeable


class TestEquality:
    def test_equal_is_equal_in_everything(self):
        base = LSTMParameters(random_weights())
        assert base == LSTMParameters(random_weights())
        other_weight = random_weights()
        other_weight["bias_hh_l0"][0] += 1e-12
        for other in (
            LSTMParameters(other_weight),
            LSTMParameters(random_weights(bias=False)),
            LSTMParameters(random_weights(), Activations(hidden=activation("identity"))),
            LSTMParameters(random_weights(), forget_gate="none"),
            LSTMParameters(random_weights(), clip_pre=1.0),
            LSTMParameters(random_weights(), clip_cell=1.0),
            "LSTMParameters",
        ):
            assert base != other

    def test_the_same_numbers_in_another_dtype_are_not_equal(self):
        zeros = {"weight_ih_l0": np.zeros((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
        assert LSTMParameters(zeros) != LSTMParameters(zeros).astype("float32")

    def test_one_activations_stands_for_both_directions(self):
        weights = random_weights(directions=2)
        assert LSTMParameters(weights, Activations()) == LSTMParameters(weights, (Activations(), Activations()))

    def test_parameters_cannot_be_hashed(self):
        with pytest.raises(TypeError):
            hash(LSTMParameters(random_weights()))


def test_astype_keeps_everything_but_the_dtype():
    parameters = LSTMParameters(random_weights(), Activations(gate=activation("sine")), "coupled", 3.0, 2.0)
    single = parameters.astype("float32")
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single.weights["weight_ih_l0"], parameters.weights["weight_ih_l0"].astype(np.float32))
    assert single.astype("float64") != parameters  # rounded
    assert single.astype("float64").astype("float32") == single
    assert (single.forget_gate, single.clip_pre, single.clip_cell) == ("coupled", 3.0, 2.0)
    assert single.slots().gate == activation("sine")
    with pytest.raises(ParameterError, match="weights of dtype float16; expected all float32 or all float64"):
        parameters.astype("float16")


def test_repr_tells_what_differs_from_a_plain_lstm():
    plain = LSTMParameters(random_weights())
    assert repr(plain) == "LSTMParameters(input_size=3, hidden_size=2, dtype=float64)"
    everything = LSTMParameters(
        random_weights(layers=2, directions=2, projection=1, hidden=4, bias=False, peepholes=True, dtype=np.float32),
        (Activations(), Activations(hidden=activation("identity"))),
        "coupled",
        clip_pre=3.0,
        clip_cell=0.5,
    )
    assert repr(everything) == (
        "LSTMParameters(input_size=3, hidden_size=4, num_layers=2, bias=False, bidirectional=True, proj_size=1, "
        "peepholes=True, forget_gate='coupled', clip_pre=3, clip_cell=0.5, reverse=sigmoid/tanh/identity, "
        "dtype=float32)"
    )


class TestLayer:
    parameters = LSTMParameters(random_weights(layers=2, directions=2, hidden=3, peepholes=True))

    @pytest.mark.parametrize(("layer", "direction", "suffix"), [(0, 0, ""), (1, 1, "_reverse")])
    def test_each_gate_has_its_own_projection(self, layer, direction, suffix):
        weights, found = self.parameters.weights, self.parameters.layer(layer, direction)
        for k, gate in enumerate(GATES):
            rows = slice(3 * k, 3 * k + 3)
            side_by_side = np.hstack([weights[f"weight_{kind}_l{layer}{suffix}"][rows] for kind in ("ih", "hh")])
            np.testing.assert_array_equal(found.weight(gate), side_by_side)
            biases = [weights[f"bias_{kind}_l{layer}{suffix}"][rows] for kind in ("ih", "hh")]
            np.testing.assert_array_equal(found.bias(gate), biases[0] + biases[1])
        i, f, o = np.split(weights[f"weight_ch_l{layer}{suffix}"], 3)
        for gate, expected in {"i": i, "f": f, "g": np.zeros(3), "o": o}.items():
            np.testing.assert_array_equal(found.peephole(gate), expected)

    def test_without_peepholes_and_biases_they_are_zeros_in_the_dtype_of_the_weights(self):
        found = LSTMParameters(random_weights(bias=False, dtype=np.float32)).layer(0)
        for zeros in (found.bias("f"), found.peephole("f")):
            np.testing.assert_array_equal(zeros, [0, 0])
            assert zeros.dtype == np.float32

    def test_a_gate_that_is_not_there_is_refused(self):
        with pytest.raises(ParameterError, match="no gate is called 'c'; the gates are i, f, g and o"):
            self.parameters.layer(0).weight("c")
        for forget_gate, made in (("coupled", "f = 1 - i"), ("none", "f = 1")):
            layer = LSTMParameters(random_weights(), forget_gate=forget_gate).layer(0)
            for projection in (layer.weight, layer.bias, layer.peephole):
                with pytest.raises(ParameterError, match=rf"no forget gate of its own \({made}\), hence no projection"):
                    projection("f")
            assert layer.weight("i").shape == (2, 5)

    @pytest.mark.parametrize(("layer", "direction"), [(2, 0), (-1, 0), (0, 2), (0, -1)])
    def test_a_layer_or_direction_that_is_not_there_is_refused(self, layer, direction):
        text = f"no layer {layer}, direction {direction}: this LSTM has 2 layers and 2 directions, counted from 0"
        with pytest.raises(ParameterError, match=text):
            self.parameters.layer(layer, direction)

    def test_it_carries_what_the_lstm_says_of_its_direction(self):
        slots = (Activations(), Activations(cell=activation("sine")))
        parameters = LSTMParameters(random_weights(directions=2), slots, "none", clip_pre=4.0, clip_cell=5.0)
        found = parameters.layer(0, 1)
        assert (found.activations, found.forget_gate, found.clip_pre, found.clip_cell) == (slots[1], "none", 4.0, 5.0)
        assert found.activations.of("g") == activation("sine")
        assert found.activations.of("f") == activation("sigmoid")
        assert found.activations.of("c") == activation("tanh")


@pytest.mark.parametrize("peepholes", [False, True])
def test_each_gate_is_its_activation_of_its_projection(peepholes):
    slots = Activations(activation("hard_sigmoid"), activation("softsign"), activation("tanh"))
    parameters = LSTMParameters(random_weights(peepholes=peepholes), slots)
    x = np.random.default_rng(0).normal(size=(6, 2, 3))
    ((steps,),) = run_stack(parameters, StackInput(x))
    layer = parameters.layer(0)
    h_before = np.concatenate([np.zeros((1, 2, 2)), steps.h[:-1]])
    c_before = np.concatenate([np.zeros((1, 2, 2)), steps.c[:-1]])
    for gate in GATES:
        seen = steps.c if gate == "o" else c_before  # only the output gate looks at the new cell
        read = np.concatenate([x, h_before], axis=-1)
        pre = read @ layer.weight(gate).T + layer.bias(gate) + layer.peephole(gate) * seen
        np.testing.assert_allclose(slots.of(gate)(pre), getattr(steps, gate), rtol=0, atol=1e-14)


def replace(**changes):
    """Weights of a bidirectional layer with some changed; None takes one away."""
    return {name: x for name, x in (random_weights(directions=2) | changes).items() if x is not None}


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({}, r"got the weights \(none\); an LSTM needs at least weight_ih_l0 and weight_hh_l0"),
        ({"kernel": np.ones((4, 1))}, r"got the weights kernel; an LSTM needs at least weight_ih_l0"),
        (replace(weight_ih_l0=np.ones((9, 3))), r"weight_ih_l0 has shape \(9, 3\) and weight_hh_l0 \(8, 2\); expected"),
        (replace(weight_ih_l0=np.ones(8)), r"weight_ih_l0 has shape \(8,\)"),
        (replace(weight_ih_l0=np.ones((8, 0))), r"none of them 0"),
        (replace(weight_hh_l0_reverse=None), "weight_hh_l0_reverse missing; the other weights call for them"),
        (replace(bias_ih_l0=None, bias_hh_l0_reverse=None), "bias_hh_l0_reverse, bias_ih_l0 missing"),
        (replace(weight_hh_l0=np.ones((8, 1)), weight_hh_l0_reverse=np.ones((8, 1))), "weight_hr_l0, .*missing"),
        (replace(weight_ih_l2=np.ones((8, 4))), "weight_hh_l1, .*missing"),
        (replace(weight_xx_l0=np.ones(1)), "got weight_xx_l0, expected only weight_ih_l0, weight_hh_l0, bias_ih_l0"),
        (replace(bias_hh_l0=np.ones((8, 1))), r"bias_hh_l0 has shape \(8, 1\), expected \(8,\)"),
        (replace(weight_hh_l0_reverse=np.ones((8, 3))), r"weight_hh_l0_reverse has shape \(8, 3\), expected \(8, 2\)"),
        (replace(bias_hh_l0=np.ones(8, np.float32)), "weights of dtype float32, float64; expected all float32 or all"),
        (random_weights(dtype=np.float16), r"weights of dtype float16; .*\(use astype\)"),
        (random_weights(dtype=np.int64), "weights of dtype int64"),
        (random_weights(dtype=">f8"), "weights of dtype >f8"),
        (replace(bias_hh_l0=np.full(8, np.nan)), "bias_hh_l0 has values that are NaN or infinite; weights"),
        (replace(weight_ih_l0=np.full((8, 3), -np.inf)), "weight_ih_l0 has values that are NaN or infinite"),
        ({**random_weights(), "weight_ih_l²": np.ones(1)}, "weight_ih_l²"),
    ],
)  # fmt: skip
def test_weights_that_make_no_lstm_are_refused_with_what_was_expected(weights, text):
    with pytest.raises(ParameterError, match=text) as raised:
        LSTMParameters(weights)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ({"forget_gate": "peephole"}, "forget_gate is 'peephole'; it is one of 'own', 'coupled', 'none'"),
        ({"clip_pre": 0.0}, "clip_pre is 0.0; give a positive bound, or None not to clip"),
        ({"clip_cell": -1.0}, "clip_cell is -1.0; give a positive bound"),
        ({"clip_cell": np.nan}, "clip_cell is nan; give a positive bound"),
        (
            {"activations": (Activations(), Activations())},
            "got activations for 2 directions, the weights have 1; give one Activations, or one a direction",
        ),
    ],
)
def test_settings_that_make_no_lstm_are_refused_with_what_was_expected(others, text):
    with pytest.raises(ParameterError, match=text):
        LSTMParameters(random_weights(), **others)
