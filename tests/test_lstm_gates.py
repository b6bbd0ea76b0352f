"""The gates that ``traced`` returns: against torch's own h, against the reference kernel, and their gradients."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tallycell.activations import activation
from tallycell.kernels.interface import LayerInput, StepsGradient
from tallycell.kernels.reference import lstm_backward, lstm_forward
from tallycell.kernels.stack import StackInput, run_stack
from tallycell.lstm import LSTM, Gates
from tallycell.names import STEP_VARIABLES, parameter_name
from tallycell.parameters import LSTMParameters

# Said once a process by torch about its own float32 kernel.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

LENGTHS = torch.tensor([4, 6, 1, 4])
EXACT = 1e-12  # float64: NumPy and torch round the same few hundred operations each in their own order


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@pytest.mark.parametrize("projection", [0, 2])
def test_gates_are_those_of_torchs_own_h(dtype, tolerance, projection):
    torch.manual_seed(0)
    theirs = nn.LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=projection, dtype=dtype)
    first = nn.LSTM(3, 5, bidirectional=True, proj_size=projection, dtype=dtype)
    first.load_state_dict({name: w for name, w in theirs.state_dict().items() if "_l0" in name})
    x = torch.randn(7, 4, 3, dtype=dtype)
    h_0, c_0 = torch.randn(4, 4, projection or 5, dtype=dtype), torch.randn(4, 4, 5, dtype=dtype)
    below = first(x, (h_0[:2], c_0[:2]))[0]
    above, (h_n, c_n) = theirs(x, (h_0, c_0))
    _, _, gates = LSTM.from_torch(theirs).traced(x, (h_0, c_0))
    for layer, direction in itertools.product(range(2), range(2)):
        reads, h = ((x, below), (below, above))[layer]
        h, start = h.chunk(2, -1)[direction], h_0[2 * layer + direction][None]
        h_before = torch.cat([h[1:], start]) if direction else torch.cat([start, h[:-1]])
        w_ih, w_hh, b_ih, b_hh = theirs.all_weights[2 * layer + direction][:4]
        i_pre, f_pre, g_pre, o_pre = (reads @ w_ih.T + b_ih + h_before @ w_hh.T + b_hh).chunk(4, -1)
        expected = dict(i=i_pre.sigmoid(), f=f_pre.sigmoid(), g=g_pre.tanh(), o=o_pre.sigmoid(), h=h)
        for name, values in expected.items():
            assert (getattr(gates, name)[layer][direction] - values).abs().max() <= tolerance, (name, layer, direction)
        last = 0 if direction else -1
        assert (gates.c[layer][direction][last] - c_n[2 * layer + direction]).abs().max() <= tolerance
        assert (gates.h[layer][direction][last] - h_n[2 * layer + direction]).abs().max() <= tolerance


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "relu", "elu", "softsign", "sine"])
def test_every_gate_lies_in_its_activations_range(name):
    torch.manual_seed(0)
    lstm = LSTM(3, 5, gate=name, cell=name)
    _, _, gates = lstm.traced(3 * torch.randn(5, 4, 3))
    low, high = activation(name).range
    for letter in "ifgo":
        values = getattr(gates, letter)[0][0]
        assert (values >= low).all(), letter
        assert (values <= high).all(), letter


def test_gates_are_laid_out_as_the_output():
    lstm = LSTM(3, 5, num_layers=2, bidirectional=True, proj_size=2)
    for x in (torch.randn(7, 4, 3), torch.randn(7, 3)):
        output, _, gates = lstm.traced(x)
        assert gates.f[1][0].shape == (*output.shape[:-1], 5)
        assert torch.equal(torch.cat(gates.h[1], dim=-1), output)
    lstm.batch_first = True
    x = torch.randn(4, 7, 3)
    output, _, gates = lstm.traced(x)
    assert gates.c[0][1].shape == (4, 7, 5)
    assert torch.equal(torch.cat(gates.h[1], dim=-1), output)
    assert torch.equal(gates.o[0][0][2], lstm.traced(x[2])[2].o[0][0])


def test_forward_returns_what_traced_returns():
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5, num_layers=2, bidirectional=True), torch.randn(7, 4, 3)
    (output, (h_n, c_n)), traced = lstm(x), lstm.traced(x)
    assert torch.equal(output, traced[0])
    assert torch.equal(h_n, traced[1][0])
    assert torch.equal(c_n, traced[1][1])


def test_gates_of_a_packed_sequence_are_nan_beyond_each_length_and_their_gradients_finite():
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5, num_layers=2, bidirectional=True), torch.randn(6, 4, 3, requires_grad=True)
    _, _, gates = lstm.traced(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))
    beyond = torch.arange(6)[:, None] >= LENGTHS
    for name, direction in itertools.product(STEP_VARIABLES, range(2)):
        values = getattr(gates, name)[1][direction]
        assert torch.equal(values.isnan().all(-1), beyond)
        assert torch.equal(values.isnan().any(-1), beyond)
    torch.nansum(gates.f[1][1]).backward()
    assert torch.isfinite(x.grad).all()
    assert torch.equal((x.grad != 0).any(-1), ~beyond)


def test_a_loss_on_gates_alone_trains_the_weights_behind_them():
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5), torch.randn(6, 4, 3)
    optimizer = torch.optim.Adam(lstm.parameters(), lr=0.05)
    before = lstm.traced(x)[2].f[0][0].mean().item()
    for _ in range(30):
        optimizer.zero_grad()
        (1 - lstm.traced(x)[2].f[0][0]).mean().backward()
        optimizer.step()
    assert lstm.traced(x)[2].f[0][0].mean().item() > before + 0.3


def test_gradients_flow_through_each_gate_to_what_it_stands_behind():
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5), torch.randn(1, 4, 3)  # one step, so that no gate reads another
    gates = lstm.traced(x)[2]
    for k, name in enumerate("ifgo"):
        (d,) = torch.autograd.grad(getattr(gates, name)[0][0].sum(), lstm.weight_ih_l0, retain_graph=True)
        assert [bool(block.any()) for block in d.chunk(4)] == [k == j for j in range(4)]


def test_gates_are_frozen():
    _, _, gates = LSTM(3, 5).traced(torch.zeros(2, 1, 3))
    assert isinstance(gates, Gates)
    with pytest.raises(AttributeError, match="cannot assign to field 'f'"):
        gates.f = ()


# The superset, against the reference kernel.
SUPERSET = {
    "peepholes": dict(peepholes=True),
    "coupled": dict(forget_gate="coupled"),
    "none": dict(forget_gate="none"),
    "clip_pre": dict(clip_pre=0.3),
    "clip_cell": dict(clip_cell=0.2),
    "activations by direction": dict(
        gate=("hard_sigmoid", "sigmoid"), cell=("softsign", activation("scaled_tanh", alpha=1.5)), hidden="elu"
    ),
    "projection": dict(proj_size=2, peepholes=True),
    "no bias": dict(bias=False, peepholes=True),
    "all": dict(
        proj_size=2, peepholes=True, forget_gate="coupled", clip_pre=0.6, clip_cell=0.5, gate="hard_sigmoid_keras3",
        cell=("sine", "tanh"), hidden=("softsign", "leaky_relu"),
    ),
    "all without a forget gate": dict(peepholes=True, forget_gate="none", clip_pre=0.7, clip_cell=0.6, cell="relu"),
}  # fmt: skip


def draw(options: dict, layers: int = 2, **more) -> tuple[LSTM, torch.Tensor, torch.Tensor, torch.Tensor]:
    """An LSTM with weights large enough to be clipped, and an input with initial states."""
    torch.manual_seed(0)
    lstm = LSTM(3, 5, layers, bidirectional=True, dtype=torch.float64, **options, **more)
    with torch.no_grad():
        for weight in lstm.parameters():
            weight.mul_(1.5)
    states = (torch.randn(2 * layers, 4, size, dtype=torch.float64) for size in (lstm.proj_size or 5, 5))
    return lstm, torch.randn(6, 4, 3, dtype=torch.float64), *states


def assert_near(a: np.ndarray | torch.Tensor, b: np.ndarray | torch.Tensor, what: str) -> None:
    a, b = (v.detach().numpy() if isinstance(v, torch.Tensor) else v for v in (a, b))
    assert np.array_equal(np.isnan(a), np.isnan(b)), what
    assert np.nanmax(np.abs(a - b)) <= EXACT * (1 + np.nanmax(np.abs(b))), what


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("options", SUPERSET.values(), ids=SUPERSET)
def test_the_superset_computes_what_the_reference_kernel_computes(options, packed):
    lstm, x, h_0, c_0 = draw(options)
    given = pack_padded_sequence(x, LENGTHS, enforce_sorted=False) if packed else x
    _, (h_n, c_n), gates = lstm.traced(given, (h_0, c_0))
    lengths = LENGTHS.numpy() if packed else None
    inputs = StackInput(x.numpy(), h_0.numpy(), c_0.numpy(), lengths)
    for layer, directions in enumerate(run_stack(lstm.to_parameters(), inputs)):
        for direction, steps in enumerate(directions):
            for name in STEP_VARIABLES:
                assert_near(getattr(gates, name)[layer][direction], getattr(steps, name), f"{name} of {layer}")
            k = 2 * layer + direction
            assert_near(h_n[k], steps.h_n, "h_n")
            assert_near(c_n[k], steps.c_n, "c_n")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("options", SUPERSET.values(), ids=SUPERSET)
def test_the_reference_backward_agrees_with_autograd_through_every_gate(options, direction, packed):
    lstm, x, h_0, c_0 = draw(options, layers=1)
    for leaf in (x, h_0, c_0):
        leaf.requires_grad_()
    given = pack_padded_sequence(x, LENGTHS, enforce_sorted=False) if packed else x
    _, (h_n, c_n), gates = lstm.traced(given, (h_0, c_0))
    returned = {name: getattr(gates, name)[0][direction] for name in STEP_VARIABLES}
    returned |= {"h_n": h_n[direction], "c_n": c_n[direction]}
    upstream = {name: torch.randn_like(values) for name, values in returned.items()}
    kinds = ("weight_ih", "weight_hh", "bias_ih", "weight_hr", "weight_ch")
    names = {kind: parameter_name(kind, 0, direction) for kind in kinds}
    weights = {kind: getattr(lstm, name) for kind, name in names.items() if hasattr(lstm, name)}
    loss = sum(torch.nansum(values * upstream[name]) for name, values in returned.items())
    expected = torch.autograd.grad(loss, [x, h_0, c_0, *weights.values()])

    layer = lstm.to_parameters().layer(0, direction)
    states = (state[direction].detach().numpy() for state in (h_0, c_0))
    lengths = LENGTHS.numpy() if packed else None
    read = LayerInput(x.detach().numpy(), *states, lengths, reverse=direction == 1)
    steps = lstm_forward(layer, read, keep_pre=True)
    gradient = StepsGradient(**{name: values.numpy() for name, values in upstream.items()})
    back = lstm_backward(layer, read, steps, gradient)
    found = [back.x, back.h_0, back.c_0, *(getattr(back, kind.replace("bias_ih", "bias")) for kind in weights)]
    wanted = [expected[0], expected[1][direction], expected[2][direction], *expected[3:]]
    for name, a, b in zip(("x", "h_0", "c_0", *weights), found, wanted, strict=True):
        assert_near(a, b, f"gradient of {name}")


def test_a_packed_stack_of_one_direction_reads_as_its_sequences_one_by_one():
    lstm, x, h_0, c_0 = draw(dict(peepholes=True))
    _, (h_n, _), gates = lstm.traced(pack_padded_sequence(x, LENGTHS, enforce_sorted=False), (h_0, c_0))
    for k, length in enumerate(LENGTHS.tolist()):
        _, (last, _), alone = lstm.traced(x[:length, k], (h_0[:, k], c_0[:, k]))
        assert_near(gates.c[1][1][:length, k], alone.c[1][1], f"sequence {k}")
        assert_near(h_n[:, k], last, f"h_n of sequence {k}")


def test_parameters_with_activations_by_direction_run_in_each_direction():
    lstm = LSTM(3, 5, bidirectional=True, dtype=torch.float64)
    slots = draw(SUPERSET["activations by direction"])[0].to_parameters().activations
    made = LSTM.from_parameters(LSTMParameters(lstm.to_parameters().weights, slots))
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        last_read = x[-1] @ made.weight_ih_l0_reverse.T + made.bias_ih_l0_reverse + made.bias_hh_l0_reverse
    i_pre, _, g_pre, _ = last_read.chunk(4, -1)
    gates = made.traced(x)[2]
    assert_near(gates.i[0][1][-1], torch.sigmoid(i_pre), "i of the reverse direction")
    assert_near(gates.g[0][1][-1], 1.5 * torch.tanh(g_pre), "g of the reverse direction")
