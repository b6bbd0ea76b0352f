"""LSTM as a torch module: construction, moves, copies, conversions, and what it refuses."""

import copy
import io
import pickle
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tallycell.errors import ActivationError, InputError, ParameterError
from tallycell.lstm import LSTM
from tallycell.parameters import LSTMParameters

# Said once a process by torch about its own float32 kernel.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

OPTIONS = dict(
    gate="hard_sigmoid", cell="softsign", forget_gate="coupled", peepholes=True, clip_pre=3.0, clip_cell=2.0
)  # fmt: skip
X = torch.linspace(-2, 2, 24).reshape(4, 2, 3)


def same(a: nn.Module, b: nn.Module, x: torch.Tensor = X) -> bool:
    return torch.equal(a(x)[0], b(x)[0])


def test_it_is_a_torch_lstm_with_torchs_weights_under_the_same_seed():
    arguments = (3, 5, 2, True, True, 0.25, True, 2, "cpu", torch.float64)  # all of torch's, by position
    torch.manual_seed(0)
    theirs = nn.LSTM(*arguments)
    torch.manual_seed(0)
    ours = LSTM(*arguments)
    assert isinstance(ours, nn.LSTM)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(weight, theirs.state_dict()[name]) for name, weight in ours.state_dict().items())
    for name in nn.LSTM.__constants__:
        assert getattr(ours, name) == getattr(theirs, name)
    shapes = [[[weight.shape for weight in layer] for layer in lstm.all_weights] for lstm in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_state_dicts_load_both_ways():
    ours, theirs = LSTM(3, 5, num_layers=2), nn.LSTM(3, 5, num_layers=2)
    ours.load_state_dict(theirs.state_dict())
    assert torch.allclose(ours(X)[0], theirs(X)[0], atol=1e-6)
    ours.reset_parameters()
    theirs.load_state_dict(ours.state_dict())
    assert torch.allclose(ours(X)[0], theirs(X)[0], atol=1e-6)


def test_peepholes_are_parameters_of_their_own_only_where_there_are_any():
    assert not [name for name in LSTM(3, 5).state_dict() if "weight_ch" in name]
    lstm = LSTM(3, 5, num_layers=2, bidirectional=True, peepholes=True, dtype=torch.float64)
    found = {name: w for name, w in lstm.named_parameters() if "weight_ch" in name}
    assert list(found) == ["weight_ch_l0", "weight_ch_l0_reverse", "weight_ch_l1", "weight_ch_l1_reverse"]
    assert {(w.shape, w.dtype) for w in found.values()} == {((15,), torch.float64)}
    assert all(0 < w.abs().max() <= 5**-0.5 for w in found.values())


def test_peepholes_are_drawn_anew_with_the_other_weights():
    lstm = LSTM(3, 5, peepholes=True)
    before = lstm.weight_ch_l0.detach().clone()
    lstm.reset_parameters()
    assert not torch.equal(lstm.weight_ch_l0, before)


@pytest.mark.parametrize("options", [{}, OPTIONS, {"hidden": nn.PReLU()}], ids=["torch's", "superset", "module"])
def test_it_is_copied_and_pickled_whole(options):
    lstm = LSTM(3, 5, num_layers=2, **options)
    clone = copy.deepcopy(lstm)
    assert same(clone, lstm)
    assert repr(clone) == repr(lstm)
    assert same(pickle.loads(pickle.dumps(lstm)), lstm)
    with torch.no_grad():
        clone.weight_hh_l0.zero_()
    assert not same(clone, lstm)


def test_its_state_dict_goes_through_torchs_safe_loader():
    lstm, other = LSTM(3, 5, **OPTIONS), LSTM(3, 5, **OPTIONS)
    file = io.BytesIO()
    torch.save(lstm.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert same(lstm, other)


def test_moves_change_all_weights_and_keep_the_result():
    lstm = LSTM(3, 5, **OPTIONS)
    before = lstm(X)[0]
    lstm.double()
    assert {w.dtype for w in lstm.parameters()} == {torch.float64}
    assert torch.allclose(lstm(X.double())[0].float(), before, atol=1e-6)
    lstm.to("meta")
    assert {w.device.type for w in lstm.parameters()} == {"meta"}
    assert lstm(X.double().to("meta"))[0].shape == (4, 2, 5)


def test_parametrised_weights_are_read_as_they_are_computed():
    theirs = nn.LSTM(3, 5)
    nn.utils.parametrizations.weight_norm(theirs, "weight_hh_l0")
    with torch.no_grad():
        theirs.parametrizations.weight_hh_l0.original0.mul_(2)
    plain = LSTM.from_torch(theirs)
    assert torch.equal(plain.weight_hh_l0, theirs.weight_hh_l0)
    ours = copy.deepcopy(plain)
    nn.utils.parametrizations.weight_norm(ours, "weight_hh_l0")
    assert torch.allclose(ours(X)[0], plain(X)[0], atol=1e-6)
    ours(X)[0].sum().backward()
    assert ours.parametrizations.weight_hh_l0.original0.grad.abs().max() > 0


def test_its_text_names_what_is_not_the_default():
    lstm = LSTM(3, 5, bidirectional=True, cell=("relu", "tanh"), hidden=nn.PReLU(), peepholes=True, clip_cell=2.0)
    assert re.sub(r"\s+", " ", repr(lstm)) == (
        "LSTM( 3, 5, bidirectional=True, cell=activation('relu'), cell_reverse=activation('tanh'), peepholes=True, "
        "clip_cell=2.0 (hidden): PReLU(num_parameters=1) )"
    )


def test_from_torch_and_back_is_the_same_lstm():
    theirs = nn.LSTM(3, 5, 2, bias=False, batch_first=True, dropout=0.5, bidirectional=True, proj_size=2).eval()
    theirs.weight_hh_l0.requires_grad_(False)
    ours = LSTM.from_torch(theirs)
    assert type(ours) is LSTM
    assert torch.allclose(ours(X)[0], theirs(X)[0], atol=1e-6)
    assert not ours.training
    assert not ours.weight_hh_l0.requires_grad
    back = ours.to_torch()
    assert type(back) is nn.LSTM
    assert repr(back) == repr(theirs)
    assert same(back, theirs)
    with torch.no_grad():
        theirs.weight_ih_l0.zero_()
    assert ours.weight_ih_l0.any()


def test_from_torch_of_our_own_keeps_the_superset():
    lstm = LSTM(3, 5, **OPTIONS)
    assert same(LSTM.from_torch(lstm), lstm)


def test_modules_that_torch_has_anyway_go_to_torch():
    lstm = LSTM(3, 5, gate=nn.Sigmoid(), cell=nn.Tanh())
    assert torch.allclose(lstm.to_torch()(X)[0], lstm(X)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (OPTIONS, r"gate=activation\('hard_sigmoid'.*, cell=activation\('softsign'\), forget_gate='coupled', "
                  r"peepholes, clip_pre=3.0, clip_cell=2.0; it has sigmoid, tanh and tanh"),
        (dict(hidden=nn.PReLU()), r"hidden=PReLU\(num_parameters=1\); it has"),
        (dict(forget_gate="none"), r"cannot express forget_gate='none'; it has"),
    ],
)  # fmt: skip
def test_to_torch_names_all_that_torch_cannot_express(options, named):
    with pytest.raises(ParameterError, match=named):
        LSTM(3, 5, **options).to_torch()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, OPTIONS, dict(cell=("relu", "tanh"), proj_size=2)])
def test_parameters_go_out_and_in_unchanged(options, dtype):
    lstm = LSTM(3, 5, num_layers=2, bidirectional=True, **options, dtype=dtype)
    parameters = lstm.to_parameters()
    assert isinstance(parameters, LSTMParameters)
    made = LSTM.from_parameters(parameters, dropout=0.5, batch_first=True)
    assert (made.dropout, made.batch_first) == (0.5, True)
    assert made.to_parameters() == parameters
    assert same(LSTM.from_parameters(parameters), lstm, X.to(dtype))
    assert repr(LSTM.from_parameters(parameters)) == repr(lstm)
    kept = parameters.weights["weight_ih_l0"].copy()
    with torch.no_grad():
        lstm.weight_ih_l0.zero_()
        made.weight_ih_l0.zero_()
    assert np.array_equal(parameters.weights["weight_ih_l0"], kept)


def test_parameters_are_float32_or_float64():
    with pytest.raises(ParameterError, match=r"dtype torch.bfloat16; .* float32 or float64: call .float\(\)"):
        LSTM(3, 5, dtype=torch.bfloat16).to_parameters()


def test_a_projection_that_torch_refuses_is_refused_in_words():
    weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2)), "weight_hr_l0": np.ones((2, 2))}
    with pytest.raises(ParameterError, match="a projection of 2 units to 2; a torch module calls for fewer"):
        LSTM.from_parameters(LSTMParameters(weights))


PACKED = pack_padded_sequence(torch.zeros(4, 2, 3), torch.tensor([4, 2]))
PAIR = (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5))


@pytest.mark.parametrize(
    ("given", "hx", "error", "text"),
    [
        (torch.zeros(4, 2, 7), None, RuntimeError, "Expected 3, got 7"),
        (torch.zeros(4, 7), None, RuntimeError, "Expected 3, got 7"),
        (pack_padded_sequence(torch.zeros(4, 2, 7), torch.tensor([4, 2])), None, RuntimeError, "Expected 3, got 7"),
        (torch.zeros(4, 2, 3, 1), None, InputError, "expected input to be a 2D or 3D tensor .*, got 4D instead"),
        (np.zeros((4, 2, 3)), None, InputError, "a 2D or 3D tensor or a PackedSequence, got a ndarray"),
        (torch.zeros(4, 2, 3).double(), None, ValueError, r"dtype \(torch.float64\) does not match weight dtype"),
        (torch.zeros(0, 2, 3), None, InputError, r"shape \(0, 2, 3\), which has no steps; give at least one"),
        (torch.zeros(0, 3), None, InputError, r"shape \(0, 3\), which has no steps"),
        (X, PAIR[0], InputError, r"hx is a Tensor; expected the pair \(h_0, c_0\)"),
        (X, PAIR[:1], InputError, r"hx is a tuple; expected the pair \(h_0, c_0\)"),
        (X, (PAIR[0][:, :1], PAIR[1]), InputError, r"Expected hidden\[0\] size \(1, 2, 5\) for a batched input, got"),
        (X, (PAIR[0], PAIR[1][..., :4]), InputError, r"Expected hidden\[1\] size \(1, 2, 5\) .*, got \(1, 2, 4\)"),
        (PACKED, (PAIR[0][:, :1], PAIR[1]), InputError, r"Expected hidden\[0\] size \(1, 2, 5\)"),
        (X[:, 0], PAIR, InputError, r"Expected hidden\[0\] size \(1, 5\) for an unbatched input, got \(1, 2, 5\)"),
        (X, (PAIR[0].double(), PAIR[1]), InputError, r"hidden\[0\] is torch.float64, the input torch.float32"),
        (X, (PAIR[0], PAIR[1].double()), InputError, r"hidden\[1\] is torch.float64, the input torch.float32"),
    ],
)  # fmt: skip
def test_an_input_that_does_not_fit_is_refused_in_words(given, hx, error, text):
    lstm = LSTM(3, 5)
    for run in (lstm, lstm.traced):
        with pytest.raises(error, match=text):
            run(given, hx)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (dict(gate="sigmod"), ActivationError, "no activation is called 'sigmod'; known are affine, "),
        (dict(cell=3), ActivationError, "cell is 3; give a name, an Activation or a torch.nn.Module"),
        (dict(hidden=("tanh", "tanh")), ParameterError, "hidden got activations for 2 directions, this LSTM has 1"),
        (dict(forget_gate="shared"), ParameterError, "forget_gate is 'shared'; it is one of 'own', 'coupled', 'none'"),
        (dict(clip_pre=0.0), ParameterError, "clip_pre is 0.0; give a positive bound"),
        (dict(clip_cell=-1.0), ParameterError, "clip_cell is -1.0; give a positive bound"),
        (dict(peephole=True), TypeError, "unexpected keyword argument 'peephole'"),
        (dict(proj_size=5), ValueError, "proj_size has to be smaller than hidden_size"),
        (dict(dropout=2.0), ValueError, "dropout should be a number in range"),
    ],
)  # fmt: skip
def test_options_that_do_not_exist_are_refused_in_words(options, error, text):
    with pytest.raises(error, match=text):
        LSTM(3, 5, **options)


def test_dropout_on_one_layer_warns_as_torch_does():
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        LSTM(3, 5, dropout=0.5)


def test_from_torch_takes_an_lstm_only():
    with pytest.raises(InputError, match=r"got a GRU; from_torch takes a torch\.nn\.LSTM"):
        LSTM.from_torch(nn.GRU(3, 5))
