"""Every activation in every slot of the torch module: its formula, its gradient, and a user's own."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from tallycell.activations import Activation, activation, register_activation
from tallycell.errors import ActivationError
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.lstm import LSTM
from tallycell.lstm.activations import named_activation, torch_function

BUILT_IN = (
    "sigmoid", "tanh", "relu", "affine", "identity", "leaky_relu", "thresholded_relu", "scaled_tanh", "hard_sigmoid",
    "hard_sigmoid_keras2", "hard_sigmoid_keras3", "hard_tanh", "elu", "softsign", "softplus", "sine",
)  # fmt: skip
OWN = Activation("arctangent", np.arctan, lambda x, y: 1 / (1 + x * x))  # nobody registered it
CHOICES = [
    *map(activation, BUILT_IN),
    activation("affine", alpha=0.7, beta=0.2),
    activation("leaky_relu", alpha=0.3),
    activation("thresholded_relu", alpha=0.2),
    activation("scaled_tanh", alpha=1.5, beta=0.7),
    activation("scaled_tanh", alpha=0.0),
    activation("hard_sigmoid", alpha=0.9, beta=0.4),
    activation("elu", alpha=0.5),
    OWN,
]
SLOTS = ("gate", "cell", "hidden")
ids = [repr(choice) for choice in CHOICES]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("choice", CHOICES, ids=ids)
def test_values_and_gradients_are_those_of_the_definition(choice, dtype):
    grid = np.concatenate([np.linspace(-50, 50, 2001), np.linspace(-3, 3, 601), choice.kinks]).astype(dtype)
    x = torch.tensor(grid, requires_grad=True)
    y = torch_function(choice)(x)
    expected = choice.value(grid)
    close = dict(rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)  # two libraries' exp and log
    assert y.dtype == x.dtype
    assert np.allclose(y.detach().numpy(), expected, **close)
    y.sum().backward()
    # The definition differentiates by y, which near a limit has lost what x still knows: 1 - y * y of tanh.
    assert np.allclose(x.grad.numpy(), choice.derivative(grid, expected), **close)


@pytest.mark.parametrize("choice", CHOICES, ids=ids)
def test_nan_stays_nan_and_infinities_give_the_limits(choice):
    ends = np.array([math.nan, -math.inf, math.inf])
    with np.errstate(invalid="ignore"):  # sine and affine have no limit, or an infinite one
        expected = choice.value(ends)
    assert np.isnan(expected[0])
    assert np.array_equal(torch_function(choice)(torch.tensor(ends)).numpy(), expected, equal_nan=True)


def _away_from_kinks(choice: Activation, slot: str) -> tuple[LSTM, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A small LSTM and input whose activations of the slot are all further from a kink than gradcheck's step."""
    for seed in range(50):
        torch.manual_seed(seed)
        lstm = LSTM(2, 2, dtype=torch.float64, **{slot: choice})
        x, h_0, c_0 = (torch.randn(size, dtype=torch.float64) for size in ((3, 2, 2), (1, 2, 2), (1, 2, 2)))
        inputs = StackInput(2 * x.numpy(), h_0.numpy(), c_0.numpy())
        ((steps,),) = run_stack(lstm.to_parameters(), inputs, keep_pre=True)
        read = {"gate": (steps.i_pre, steps.f_pre, steps.o_pre), "cell": (steps.g_pre,), "hidden": (steps.c,)}[slot]
        if all(np.abs(np.stack(read) - kink).min() > 1e-3 for kink in choice.kinks):
            return lstm, 2 * x, h_0, c_0
    raise AssertionError(f"no seed keeps {choice} in {slot} away from its kinks")


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("choice", CHOICES, ids=ids)
def test_gradcheck_passes_for_every_activation_in_every_slot(choice, slot):
    lstm, x, h_0, c_0 = _away_from_kinks(choice, slot)
    names, weights = zip(*lstm.named_parameters(), strict=True)

    class Traced(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = lstm

        def forward(self, x, h_0, c_0):
            _, (h_n, c_n), gates = self.lstm.traced(x, (h_0, c_0))
            return h_n, c_n, *(getattr(gates, name)[0][0] for name in "ifgoch")

    traced = Traced()

    def everything(x, h_0, c_0, *weights):
        named = {f"lstm.{name}": weight for name, weight in zip(names, weights, strict=True)}
        return functional_call(traced, named, (x, h_0, c_0))

    leaves = [value.detach().requires_grad_() for value in (x, h_0, c_0, *weights)]
    assert torch.autograd.gradcheck(everything, leaves)


def test_a_registered_activation_runs_by_name():
    register_activation(
        "test_lstm_cubic_tanh", lambda x: np.tanh(x) ** 3, lambda x, y: 3 * np.tanh(x) ** 2 / np.cosh(x) ** 2
    )
    lstm = LSTM(3, 5, cell="test_lstm_cubic_tanh", dtype=torch.float64)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    other = LSTM.from_torch(lstm)
    other.cell = activation("tanh")
    first_cubic, first = lstm.traced(x)[2].g[0][0][0], other.traced(x)[2].g[0][0][0]
    assert torch.allclose(first_cubic, first**3, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_users_activation_keeps_the_dtype(dtype):
    x = torch.tensor([0.5, -1.0], dtype=dtype, requires_grad=True)
    y = torch_function(OWN)(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert torch.allclose(y, torch.atan(x), rtol=2 * torch.finfo(dtype).eps)


def test_a_users_activation_that_returns_its_argument_or_a_scalar_is_safe():
    same = Activation("same", lambda x: x, lambda x, y: 1.0)
    x = torch.tensor([0.5, -1.0], requires_grad=True)
    torch_function(same)(x).mul(2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    constant = Activation("constant", lambda x: 1.0, lambda x, y: 0.0)
    assert torch_function(constant)(x).tolist() == [1.0, 1.0]


def test_a_users_activation_runs_on_the_cpu_only():
    lstm = LSTM(3, 5, gate=OWN, device="meta")
    with pytest.raises(
        ActivationError, match=r"'arctangent' is written with NumPy and runs on the CPU, but got .* meta"
    ):
        lstm(torch.zeros(2, 1, 3, device="meta"))


def test_a_users_activation_is_differentiable_once():
    x = torch.tensor([0.5], requires_grad=True)
    with pytest.raises(ActivationError, match="'arctangent' states its first derivative only"):
        torch.autograd.grad(torch_function(OWN)(x).sum(), x, create_graph=True)


def test_built_in_activations_are_differentiable_twice():
    lstm, x = LSTM(2, 2, dtype=torch.float64), torch.randn(3, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: lstm(x)[0], x)


MODULES = [
    (nn.Sigmoid(), "sigmoid", {}), (nn.Tanh(), "tanh", {}), (nn.Hardsigmoid(), "hard_sigmoid_keras3", {}),
    (nn.Hardtanh(), "hard_tanh", {}), (nn.ReLU(), "relu", {}), (nn.LeakyReLU(0.2), "leaky_relu", {"alpha": 0.2}),
    (nn.ELU(0.7), "elu", {"alpha": 0.7}), (nn.Softsign(), "softsign", {}), (nn.Softplus(), "softplus", {}),
    (nn.Identity(), "identity", {}),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name", "constants"), MODULES, ids=[name for _, name, _ in MODULES])
def test_a_module_of_torch_is_known_by_name_and_computes_the_same(module, name, constants):
    assert named_activation(module) == activation(name, **constants)
    x = torch.linspace(-30, 30, 601, dtype=torch.float64)
    # 1e-8: nn.Softplus turns to x above 20, where log(1 + exp(x)) still differs from x by 2e-9.
    assert (module(x) - torch_function(named_activation(module))(x)).abs().max() < 1e-8


@pytest.mark.parametrize(
    "module", [nn.PReLU(), nn.ReLU6(), nn.Hardtanh(-2, 2), nn.Softplus(beta=2), nn.Softplus(threshold=5), nn.GELU()]
)
def test_other_modules_run_and_have_no_name(module):
    lstm = LSTM(3, 5, hidden=module)
    assert torch.isfinite(lstm(torch.randn(4, 2, 3))[0]).all()
    with pytest.raises(ActivationError, match=rf"the module {module.__class__.__name__}\(.* is none of tallycell's"):
        lstm.to_parameters()


def test_a_module_computes_in_its_slot_what_its_name_computes():
    modules = {"gate": nn.Hardsigmoid(), "cell": nn.Softsign(), "hidden": nn.LeakyReLU(0.2)}
    x = torch.randn(5, 2, 3)
    for slot, module in modules.items():
        lstm = LSTM(3, 4, **{slot: module})
        named = LSTM.from_parameters(lstm.to_parameters())
        assert torch.allclose(lstm(x)[0], named(x)[0], rtol=0, atol=1e-6)
        usual = LSTM(3, 4)
        usual.load_state_dict(lstm.state_dict())
        assert not torch.allclose(lstm(x)[0], usual(x)[0], atol=1e-3)


def test_weights_of_a_module_in_a_slot_are_trained_moved_and_not_drawn_anew():
    lstm = LSTM(3, 5, cell=nn.PReLU(init=0.25)).double()
    assert lstm.cell.weight.dtype == torch.float64
    lstm(torch.randn(4, 2, 3, dtype=torch.float64))[0].sum().backward()
    assert lstm.cell.weight.grad.abs() > 0
    before = lstm.weight_hh_l0.detach().clone()
    lstm.reset_parameters()
    assert lstm.cell.weight.item() == 0.25
    assert not torch.equal(lstm.weight_hh_l0, before)


@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("slot", SLOTS)
def test_a_pair_of_activations_is_one_a_direction(slot, direction):
    lstm = LSTM(3, 5, bidirectional=True, **{slot: ("softsign", "hard_tanh")})
    slots = lstm.to_parameters().slots(direction)
    assert getattr(slots, slot).name == ("softsign", "hard_tanh")[direction]
