"""LSTM on the CPU kernel: the same results as torch operations, whose memory, weights and gradients are never stale."""

import copy
import logging
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import tallycell.kernels.choice
from tallycell.activations import Activation, activation
from tallycell.errors import InputError
from tallycell.kernels import cpu
from tallycell.lstm import LSTM, layers, vector_ops
from tallycell.lstm.vector_ops import lstm_layer, make_plan
from tallycell.names import STEP_VARIABLES
from tallycell.parameters import Activations

# Said once a process by torch about its own float32 kernel.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

LENGTHS = torch.tensor([4, 6, 1, 4])
EXACT = 1e-12  # float64: some hundreds of roundings, in another order
SIGMOID, TANH = activation("sigmoid"), activation("tanh")


@pytest.fixture
def runs(monkeypatch) -> list[str]:
    """One entry for each layer and direction that the kernel ran."""
    seen: list[str] = []

    def watch(module, name):
        run = getattr(module, name)

        def watched(*args, **kwargs):
            seen.append(name)
            return run(*args, **kwargs)

        monkeypatch.setattr(module, name, watched)

    watch(vector_ops, "run_forward")
    watch(vector_ops, "run_backward")
    monkeypatch.setattr(layers, "run_forward", vector_ops.run_forward)
    return seen


@pytest.fixture
def log(monkeypatch, caplog) -> Iterator[pytest.LogCaptureFixture]:
    """Lines of the log, none of which has been told before."""
    monkeypatch.setattr(tallycell.kernels.choice, "_told", set())
    with caplog.at_level(logging.INFO, "tallycell"):
        yield caplog


def everything(lstm: LSTM, x: torch.Tensor, states: tuple, lengths: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """What a traced run returns, by name, and the gradients of a loss on all of it."""
    given = x if lengths is None else pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, (h_n, c_n), gates = lstm.traced(given, states)
    found = {"output": output if lengths is None else output.data, "h_n": h_n, "c_n": c_n}
    for name in STEP_VARIABLES:
        for layer, directions in enumerate(getattr(gates, name)):
            found |= {f"{name} {layer} {direction}": values for direction, values in enumerate(directions)}
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(v.shape, dtype=v.dtype, generator=generator) for v in found.values()]
    loss = sum((v.nan_to_num() * w).sum() for v, w in zip(found.values(), weights, strict=True))
    leaves = {"x": x, "h_0": states[0], "c_0": states[1], **dict(lstm.named_parameters())}
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return found | {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].shape == values.shape, name
        assert torch.equal(found[name].isnan(), values.isnan()), name
        difference = (found[name] - values).nan_to_num().abs().max()
        assert difference <= tolerance * (1 + values.nan_to_num().abs().max()), (name, difference)


def draw(units: int, dtype: torch.dtype = torch.float64, **options) -> tuple[LSTM, torch.Tensor, tuple]:
    torch.manual_seed(0)
    lstm = LSTM(3, units, num_layers=2, bidirectional=True, dtype=dtype, **options)
    states = tuple(torch.randn(4, 4, units, dtype=dtype, requires_grad=True) for _ in range(2))
    return lstm, torch.randn(6, 4, 3, dtype=dtype, requires_grad=True), states


def on_operations(lstm: LSTM) -> LSTM:
    other = copy.deepcopy(lstm)
    other._kernel = False
    return other


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "packed"])
@pytest.mark.parametrize("units", [1, 8, 17])
def test_both_paths_return_the_same_and_the_same_gradients_through_everything(units, lengths, runs):
    lstm, x, states = draw(units)
    found = everything(lstm, x, states, lengths)
    assert sorted(runs) == ["run_backward"] * 4 + ["run_forward"] * 4
    expected = everything(on_operations(lstm), x, states, lengths)
    assert len(runs) == 8  # the other path left the kernel alone
    assert_same(found, expected, EXACT)


def test_unusual_activations_run_on_the_kernel_once_that_pays(runs):
    # hidden alone looks at x, whose gradient is then had from c; sine and softplus look at their pre-activations.
    lstm, x, states = draw(5, gate="softplus", cell="sine", hidden="softsign")
    expected = everything(lstm, x, states, None)
    assert not runs
    cpu.prepare(Activations(*(activation(name) for name in ("softplus", "sine", "softsign"))), "float64")
    found = everything(lstm, x, states, None)
    assert len(runs) == 8
    assert_same(found, expected, EXACT)


def test_time_spent_on_operations_brings_unusual_activations_to_the_kernel(monkeypatch):
    noted = []
    monkeypatch.setattr("tallycell.lstm.runner.note_time", lambda *given: noted.append(given))
    LSTM(3, 5, gate="elu", cell="elu")(torch.zeros(2, 1, 3))
    LSTM(3, 5)(torch.zeros(2, 1, 3))
    ((form, slots, seconds),) = noted
    assert form.dtype == "float32"
    assert [slot.key.split()[0] for slot in slots] == ["activation('elu',"] * 2 + ["activation('tanh')"]
    assert 0 < seconds < 10


UNCOMPILED = Activation("uncompiled", lambda x: np.tanh([v for v in x.flat]).reshape(x.shape), lambda x, y: 1 - y * y)
REST = {
    "a coupled or missing forget gate": dict(forget_gate="coupled"),
    "peepholes": dict(peepholes=True),
    "a projection": dict(proj_size=2),
    "clipping": dict(clip_cell=1.0),
    "a torch.nn.Module as an activation": dict(cell=nn.Tanh()),
    "activation 'uncompiled', which does not compile": dict(cell=UNCOMPILED),
    "a tensor on meta": dict(device="meta"),
}


@pytest.mark.parametrize(("reason", "options"), REST.items(), ids=REST)
def test_what_the_kernel_leaves_out_runs_as_operations_and_one_line_says_so(reason, options, runs, log):
    lstm = LSTM(3, 5, **options)
    for _ in range(2):
        lstm(torch.zeros(4, 2, 3, device=options.get("device")))
    assert not runs
    assert [record.getMessage() for record in log.records if record.levelno == logging.INFO] == [
        f"{reason}: the slower path runs this LSTM"
    ]


def test_an_option_that_is_changed_later_counts_at_the_next_run(runs):
    lstm, x = LSTM(3, 5), torch.randn(4, 2, 3)
    lstm(x)
    assert runs == ["run_forward"]
    lstm.clip_cell = 1e-3
    assert lstm(x)[1][1].abs().max() <= 1.001e-3
    assert runs == ["run_forward"]


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_other_dtypes_are_refused_by_name(dtype):
    lstm = LSTM(3, 5)
    for weight in lstm.parameters():
        weight.requires_grad_(False).data = weight.to(dtype)
    with pytest.raises(
        InputError, match=rf"dtype {dtype}; an LSTM computes in torch.float32, .*torch.float16: convert"
    ):
        lstm(torch.zeros(4, 2, 3, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions_are_computed_in_float32_and_rounded_once(dtype, runs):
    lstm, x, states = draw(5, dtype)
    found, wide = lstm.traced(x, states), lstm.float().traced(x.float(), tuple(state.float() for state in states))
    assert len(runs) == 8
    assert torch.equal(found[0], wide[0].to(dtype))
    assert torch.equal(found[1][1], wide[1][1].to(dtype))
    assert torch.equal(found[2].f[1][1], wide[2].f[1][1].to(dtype))
    found[2].o[1][0].sum().backward()
    assert x.grad.dtype == dtype


def test_autocast_computes_in_float32_and_rounds_what_is_returned(runs):
    lstm, x, states = draw(5, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output, (h_n, _) = lstm(x, states)
    rounded = [values.bfloat16().float() for values in (x, *states)]
    expected = lstm(rounded[0], tuple(rounded[1:]))
    assert len(runs) == 8
    assert output.dtype == h_n.dtype == torch.bfloat16
    assert torch.equal(output, expected[0].bfloat16())
    with torch.autocast("cpu", torch.bfloat16):  # as torch advises against, but people do
        found = torch.autograd.grad(lstm(x)[0].sum(), list(lstm.parameters()))
    assert {gradient.dtype for gradient in found} == {torch.float32}


def test_without_gradients_nothing_is_on_the_graph():
    lstm, x, _ = draw(5)
    for quiet in (torch.no_grad, torch.inference_mode):
        with quiet():
            output, (h_n, c_n), gates = lstm.traced(x)
        assert not any(values.requires_grad for values in (output, h_n, c_n, gates.f[0][0]))


@pytest.mark.parametrize("wanted", ["x", "weight_ih_l0", "weight_hh_l0", "bias_hh_l0", "h_0"])
def test_a_gradient_to_one_input_alone_is_what_it_is_among_all(wanted):
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5, dtype=torch.float64), torch.randn(6, 4, 3, dtype=torch.float64)
    states = tuple(torch.randn(1, 4, 5, dtype=torch.float64) for _ in range(2))
    leaves = {"x": x, "h_0": states[0], **dict(lstm.named_parameters())}
    for leaf in leaves.values():
        leaf.requires_grad_()
    expected = torch.autograd.grad(lstm(x, states)[0].sum(), leaves[wanted])[0]
    for name, leaf in leaves.items():
        leaf.requires_grad_(name == wanted)
    assert torch.equal(torch.autograd.grad(lstm(x, states)[0].sum(), leaves[wanted])[0], expected)


# ---- second derivatives, and those who follow single operations ----------------------------------------------------


@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 1])], ids=["full", "packed"])
def test_second_derivatives_through_every_gate(lengths, runs):
    torch.manual_seed(0)
    lstm = LSTM(2, 3, bidirectional=True, dtype=torch.float64)
    x, h_0 = torch.randn(3, 2, 2, dtype=torch.float64), torch.randn(2, 2, 3, dtype=torch.float64)

    def run(x, h_0, _weight):
        given = x if lengths is None else pack_padded_sequence(x, lengths, enforce_sorted=False)
        _, (h_n, c_n), gates = lstm.traced(given, (h_0, h_0))
        return h_n, c_n, *(values[0][1].nan_to_num() for values in (gates.i, gates.g, gates.o, gates.c))

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), h_0.requires_grad_(), lstm.weight_hh_l0))
    assert torch.autograd.gradgradcheck(run, (x, h_0, lstm.weight_hh_l0))
    assert "run_forward" in runs


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own derivatives
def test_functorch_and_forward_derivatives_take_the_operations(runs):
    lstm, x = LSTM(3, 5, dtype=torch.float64), torch.randn(4, 2, 3, dtype=torch.float64)
    tangent = torch.ones_like(x)
    _, found = torch.func.jvp(lambda x: lstm(x)[0], (x,), (tangent,))
    assert not runs
    step = 1e-6
    expected = (lstm(x + step * tangent)[0] - lstm(x - step * tangent)[0]) / (2 * step)
    assert (found - expected).abs().max() < 1e-8  # central differences: step squared, and roundings over the step
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        unpacked = torch.autograd.forward_ad.unpack_dual(lstm(dual)[0])
    assert torch.allclose(unpacked.tangent, found)


# ---- torch.compile and torch.export --------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, units: int = 17) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = LSTM(3, units, num_layers=2, bidirectional=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output, (h_n, c_n), gates = self.lstm.traced(x)
        return output, h_n, c_n, gates.f[1][0], gates.c[0][1]


def gradients_of(returned: tuple[torch.Tensor, ...], net: Net, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(sum((values**2).sum() for values in returned), [x, *net.parameters()])


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_torch_compile_sees_one_operation_a_layer_and_direction(backend):
    import torch._dynamo

    torch._dynamo.reset()
    net, x = Net(), torch.randn(6, 4, 3, requires_grad=True)
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    # Without this torch refuses to compile any subclass of nn.LSTM, and leaves it out of the graph.
    with torch._dynamo.config.patch(allow_rnn=True):
        found, expected = compiled(x), net(x)
        for a, b in zip(found, expected, strict=True):
            assert torch.equal(a, b)
        for a, b in zip(gradients_of(found, net, x), gradients_of(expected, net, x), strict=True):
            assert torch.allclose(a, b, atol=1e-6)  # sums over layers come in another order
        with torch.no_grad():
            net.lstm.weight_hh_l0.mul_(2)
            for a, b in zip(compiled(x), net(x), strict=True):
                assert torch.equal(a, b)


def test_torch_export_keeps_the_operation_for_any_number_of_steps():
    net = Net()
    program = torch.export.export(
        net, (torch.randn(6, 4, 3),), dynamic_shapes=({0: torch.export.Dim("time", min=2)},), strict=False
    )
    targets = [str(node.target) for node in program.graph.nodes]
    assert sum("tallycell.lstm_layer" in target for target in targets) == 4
    assert not any("sigmoid" in target or "addmm" in target for target in targets)
    x = torch.randn(9, 4, 3)
    for a, b in zip(program.module()(x), net(x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_operation_keeps_torchs_rules(reverse):
    def leaf(*shape):
        return torch.randn(shape, requires_grad=True)

    plan = make_plan(Activations(SIGMOID, TANH, TANH), reverse=reverse, gradients=True)
    given = (leaf(4, 2, 3), leaf(20, 3), leaf(20, 5), leaf(20), leaf(2, 5), None, plan.text)
    assert set(torch.library.opcheck(lstm_layer, given).values()) == {"SUCCESS"}


def test_a_plan_from_another_process_is_made_from_the_activations_names():
    text = make_plan(Activations(SIGMOID, activation("elu", alpha=0.3), TANH), reverse=True, gradients=True).text
    known = vector_ops._plans.pop(text)
    made = vector_ops._plan_of(text)
    assert made is not known
    assert (made.activations, made.reverse, made.keep_pre) == (known.activations, known.reverse, known.keep_pre)


# ---- weights and memory --------------------------------------------------------------------------------------------


def change_in_place(lstm: LSTM) -> None:
    with torch.no_grad():
        lstm.weight_hh_l0[0, 0] += 0.5


def change_through_data(lstm: LSTM) -> None:
    lstm.weight_ih_l0.data[3, 1] = 0.5


def change_through_numpy(lstm: LSTM) -> None:
    lstm.bias_hh_l0.detach().numpy()[7] += 0.5


def swap_two_numbers(lstm: LSTM) -> None:
    data = lstm.weight_hh_l0.data
    data[[0, 2]] = data[[2, 0]]


def step_of_optimizer(lstm: LSTM) -> None:
    optimizer = torch.optim.SGD(lstm.parameters(), lr=0.1)
    lstm(torch.ones(2, 1, 3))[0].sum().backward()
    optimizer.step()


def load_other_weights(lstm: LSTM) -> None:
    lstm.load_state_dict(LSTM(3, 5).state_dict())


def put_other_tensor(lstm: LSTM) -> None:
    lstm.weight_ih_l0 = nn.Parameter(torch.ones(20, 3))


CHANGES = [
    change_in_place, change_through_data, change_through_numpy, swap_two_numbers, step_of_optimizer,
    load_other_weights, put_other_tensor,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_change_give_new_results(change):
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5), torch.randn(6, 2, 3)
    with torch.no_grad():
        before = lstm(x)[0]
    change(lstm)
    with torch.no_grad():
        after = lstm(x)[0]
    assert not torch.equal(after, before)
    assert torch.equal(after, LSTM.from_torch(lstm.to_torch())(x)[0])


def test_other_precisions_of_the_same_weights_have_panels_of_their_own():
    """Autocast computes float64 weights in float32, and without it in float64."""
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5, dtype=torch.float64), torch.randn(6, 2, 3)
    with torch.no_grad():
        expected = lstm.to_torch()(x.double())[0]
        for _ in range(2):
            assert (lstm(x.double())[0] - expected).abs().max() <= EXACT
            with torch.autocast("cpu", torch.bfloat16):
                found = lstm(x)[0]
            assert (found - expected).abs().max() <= 0.02  # as x and h are rounded to a bfloat16


def test_the_same_bits_read_as_other_numbers_are_other_weights():
    """Halves of the other kind, put right by a view."""
    torch.manual_seed(0)
    right = LSTM(3, 5).bfloat16()
    lstm, x = LSTM(3, 5), torch.randn(6, 2, 3)
    with torch.no_grad():
        for weight, bits in zip(lstm.parameters(), right.parameters(), strict=True):
            weight.data = bits.view(torch.float16)
        wrong = lstm(x.half())[0].float()
        for weight, bits in zip(lstm.parameters(), right.parameters(), strict=True):
            weight.data = bits.detach()
        found = lstm(x.bfloat16())[0].float()
        expected = right.float().to_torch()(x.bfloat16().float())[0]
    assert (found - expected).abs().max() <= 0.01  # of which a bfloat16 rounds away 0.004
    assert (wrong - expected).abs().max() > 0.1


def test_weights_that_lie_in_others_are_compared_whole():
    """Of a weight that is a part of a wider one, the last row lies far behind its first."""
    torch.manual_seed(0)
    wide = torch.randn(20, 9)
    lstm, x = LSTM(3, 5), torch.randn(6, 2, 3)
    lstm.weight_ih_l0 = nn.Parameter(wide[:, 2:5])
    with torch.no_grad():
        before = lstm(x)[0]
        wide[19, 3] += 0.5
        after, expected = lstm(x)[0], lstm.to_torch()(x)[0]
    assert not torch.equal(after, before)
    assert (after - expected).abs().max() <= 1e-6  # some roundings of a float32


def test_weights_are_packed_once_while_they_stay(monkeypatch):
    packed = []
    pack = vector_ops.pack
    monkeypatch.setattr(vector_ops, "pack", lambda weights: packed.append(1) or pack(weights))
    lstm, x = LSTM(3, 5, num_layers=2), torch.randn(6, 2, 3)
    with torch.no_grad():
        for _ in range(3):
            lstm(x)
    assert len(packed) == 2


def test_what_is_held_is_never_overwritten_while_threads_run():
    torch.manual_seed(0)
    lstm, inputs = LSTM(32, 64), torch.randn(8, 50, 4, 32)  # buffers large enough to be recycled
    with torch.no_grad():
        expected = [lstm.traced(x) for x in inputs]
        copies = [[t.clone() for t in (output, *states, gates.f[0][0])] for output, states, gates in expected]

    def run(k: int) -> list[torch.Tensor]:
        held = []
        for turn in range(30):
            x = inputs[(k + turn) % 8].clone().requires_grad_(k % 2 == 0)
            output, states, gates = lstm.traced(x)
            if x.requires_grad:
                (gates.o[0][0].sum() + output.sum()).backward(inputs=[x])
            held.append(((k + turn) % 8, output, *states, gates.f[0][0]))
        return held

    with ThreadPoolExecutor(8) as pool:
        for held in pool.map(run, range(8)):
            for which, *found in held:
                assert all(torch.equal(a, b) for a, b in zip(found, copies[which], strict=True))
    for (output, states, gates), copied in zip(expected, copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip((output, *states, gates.f[0][0]), copied, strict=True))


def test_states_are_not_views_of_the_output():
    lstm, x = LSTM(3, 5), torch.randn(6, 2, 3)
    with torch.no_grad():
        output, (h_n, c_n), gates = lstm.traced(x)
        kept = output.clone(), gates.c[0][0].clone()
        h_n.zero_()
        c_n.zero_()
    assert torch.equal(output, kept[0])
    assert torch.equal(gates.c[0][0], kept[1])


def test_changing_an_output_in_place_is_refused_where_its_gradient_needs_it():
    lstm, x = LSTM(3, 5), torch.randn(6, 2, 3)
    output, _ = lstm(x)
    with pytest.raises(RuntimeError, match="inplace"):
        output.mul_(2)


def test_a_graph_is_run_back_twice_only_when_it_was_kept():
    lstm, x = LSTM(3, 5), torch.randn(6, 2, 3)
    loss = lstm(x)[0].sum()
    first, second = (torch.autograd.grad(loss, lstm.weight_hh_l0, retain_graph=keep)[0] for keep in (True, False))
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


def _in_child(lstm: LSTM, x: torch.Tensor, queue: multiprocessing.SimpleQueue) -> None:
    output = lstm(x)[0]
    queue.put((output.detach().numpy().copy(), torch.autograd.grad(output.sum(), lstm.weight_hh_l0)[0].numpy().copy()))


@pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning")
def test_it_runs_in_a_fork_of_a_process_that_has_run_it(monkeypatch):
    monkeypatch.setenv("TALLYCELL_NUM_THREADS", "2")
    torch.manual_seed(0)
    lstm, x = LSTM(64, 64), torch.randn(50, 16, 64)  # enough work for two threads
    output = lstm(x)[0]
    gradient = torch.autograd.grad(output.sum(), lstm.weight_hh_l0)[0]
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(lstm, x, queue))
    child.start()
    found = queue.get()
    child.join(60)
    assert child.exitcode == 0
    assert np.array_equal(found[0], output.detach().numpy())
    assert np.array_equal(found[1], gradient.numpy())
