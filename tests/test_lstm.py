"""LSTM stands in for torch.nn.LSTM: outputs, states and every gradient, over one table of configurations."""

import itertools
import random
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from processor import needs_bfloat16_in_torch
from tallycell.lstm import LSTM

# Said once a process by torch about its own float32 kernel.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

# max|a-b| / (1 + max|b|). Both sides sum the same products in another order: some hundreds of roundings.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


class Case(NamedTuple):
    features: int
    units: int
    layers: int
    bidirectional: bool
    projection: int
    form: str  # full, unbatched, sorted, unsorted
    bias: bool
    batch_first: bool
    states: bool

    @property
    def name(self) -> str:
        flags = [flag for flag in ("bidirectional", "bias", "batch_first", "states") if getattr(self, flag)]
        return "-".join([f"{self.features}x{self.units}x{self.layers}p{self.projection}", self.form, *flags])


FORMS = ("full", "unbatched", "sorted", "unsorted")
SIZES = (1, 3, 63, 100)


def _table() -> list[Case]:
    drawn = random.Random(0)
    shapes = [
        *((3, 5, *rest) for rest in itertools.product((1, 2, 3), (False, True), (0, 2), FORMS)),
        *((f, u, 1, drawn.random() < 0.5, 0, drawn.choice(FORMS)) for f, u in itertools.product(SIZES, SIZES)),
    ]
    return [Case(*shape, *(drawn.random() < 0.5 for _ in range(3))) for shape in shapes]


TABLE = _table()


def draw_input(case: Case, dtype: torch.dtype) -> tuple[torch.Tensor, list[int] | None, tuple | None]:
    """x, lengths and initial states; leaves of the autograd graph."""
    time, sequences = 6, 4
    sizes = (time, case.features) if case.form == "unbatched" else (time, sequences, case.features)
    if case.form == "full" and case.batch_first:
        sizes = (sequences, time, case.features)
    lengths = {"sorted": [6, 4, 4, 1], "unsorted": [4, 6, 1, 4]}.get(case.form)
    layers = case.layers * (1 + case.bidirectional)
    batch = () if case.form == "unbatched" else (sequences,)
    x = torch.randn(sizes, dtype=dtype, requires_grad=True)
    if not case.states:
        return x, lengths, None
    widths = (case.projection or case.units, case.units)
    return x, lengths, tuple(torch.randn(layers, *batch, w, dtype=dtype, requires_grad=True) for w in widths)


def run(lstm: nn.LSTM, case: Case, x: torch.Tensor, lengths: list[int] | None, states: tuple | None) -> tuple:
    if lengths is None:
        return lstm(x, states)
    return lstm(pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=case.form == "sorted"), states)


def measure(lstm: nn.LSTM, case: Case, *inputs) -> dict[str, torch.Tensor]:
    """Everything that can be compared: output, last states, and the gradients of a loss on all three."""
    output, (h_n, c_n) = run(lstm, case, *inputs)
    data = output.data if isinstance(output, PackedSequence) else output
    found = {"output": data, "h_n": h_n, "c_n": c_n}
    generator = torch.Generator().manual_seed(1)
    loss = sum((v * torch.randn(v.shape, dtype=v.dtype, generator=generator)).sum() for v in found.values())
    x, _, states = inputs
    leaves = {"x": x, **dict(lstm.named_parameters())} | ({} if states is None else dict(h_0=states[0], c_0=states[1]))
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return found | {f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)}


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return ((a - b).abs().max() / (1 + b.abs().max())).item()


def pair(case: Case, dtype: torch.dtype, dropout: float = 0.0) -> tuple[LSTM, nn.LSTM]:
    arguments = (case.features, case.units, case.layers, case.bias, case.batch_first, dropout, case.bidirectional)
    theirs = nn.LSTM(*arguments, case.projection, dtype=dtype)
    ours = LSTM(*arguments, case.projection, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_the_table_holds_at_least_sixty_distinct_configurations():
    assert len(set(TABLE)) >= 60


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", TABLE, ids=[case.name for case in TABLE])
def test_outputs_states_and_every_gradient_are_those_of_torch(case, dtype):
    torch.manual_seed(0)
    ours, theirs = pair(case, dtype)
    inputs = draw_input(case, dtype)
    found, expected = measure(ours, case, *inputs), measure(theirs, case, *inputs)
    assert found.keys() == expected.keys()
    distances = {name: distance(found[name], expected[name]) for name in expected}
    assert max(distances.values()) <= TOLERANCE[dtype], distances


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_dropout_drops_what_torch_drops_under_the_same_seed(form, bidirectional):
    case = Case(3, 5, 3, bidirectional, 0, form, bias=True, batch_first=True, states=True)
    torch.manual_seed(0)
    ours, theirs = pair(case, torch.float64, dropout=0.5)
    inputs = draw_input(case, torch.float64)
    results = []
    for lstm in (ours, theirs):
        torch.manual_seed(7)
        results.append(measure(lstm, case, *inputs))
    assert max(distance(results[0][name], results[1][name]) for name in results[1]) <= 1e-12
    torch.manual_seed(8)
    other = measure(ours, case, *inputs)["output"]
    assert distance(other, results[1]["output"]) > 1e-3  # something was dropped


def test_dropout_of_one_silences_what_the_last_layer_reads():
    lstm = LSTM(3, 5, num_layers=2, dropout=1.0, bias=False)
    assert not lstm(torch.randn(4, 2, 3))[0].any()
    assert lstm.eval()(torch.randn(4, 2, 3))[0].any()


def test_a_packed_sequence_comes_back_packed_in_the_order_it_came():
    torch.manual_seed(0)
    lstm = LSTM(3, 5)
    packed = pack_padded_sequence(torch.randn(6, 4, 3), torch.tensor([4, 6, 1, 4]), enforce_sorted=False)
    output, _ = lstm(packed)
    assert isinstance(output, PackedSequence)
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert torch.equal(getattr(output, name), getattr(packed, name))


def test_a_batch_of_no_sequences_runs_as_in_torch():
    ours, x = LSTM(3, 5), torch.zeros(4, 0, 3)
    (a, (b, c)), (d, (e, f)) = ours(x), ours.to_torch()(x)
    assert (a.shape, b.shape, c.shape) == (d.shape, e.shape, f.shape)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])  # a few last places
def test_half_precisions_run_as_torch_operations_do(dtype, tolerance):
    torch.manual_seed(0)
    lstm, x = LSTM(3, 5, num_layers=2), torch.randn(6, 2, 3)
    expected = lstm(x)[0]
    output, (h_n, c_n) = lstm.to(dtype)(x.to(dtype))
    assert output.dtype == h_n.dtype == c_n.dtype == dtype
    assert (output.float() - expected).abs().max() < tolerance


def test_another_device_runs_the_same_operations():
    lstm = LSTM(3, 5, num_layers=2, bidirectional=True, peepholes=True, device="meta")
    output, (h_n, _), gates = lstm.traced(torch.zeros(4, 2, 3, device="meta"))
    assert {t.device.type for t in (output, h_n, gates.f[1][1])} == {"meta"}
    assert output.shape == (4, 2, 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_autocast_casts_what_torch_casts(dtype):
    needs_bfloat16_in_torch()
    torch.manual_seed(0)
    ours = LSTM(3, 5, num_layers=2, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    x, states = torch.randn(4, 2, 3).to(dtype), tuple(torch.randn(2, 2, 2, 5).to(dtype))
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (measured_under_autocast(lstm, x, states) for lstm in (ours, ours.to_torch()))
    for a, b in zip(found, expected, strict=True):
        assert distance(a, b) < 2e-2  # a few last places of bfloat16


def measured_under_autocast(lstm: nn.LSTM, x: torch.Tensor, states: tuple) -> tuple[torch.Tensor, ...]:
    output, (h_n, c_n) = lstm(x, states)
    return output, h_n, c_n, *torch.autograd.grad(output.sum(), list(lstm.parameters()))
