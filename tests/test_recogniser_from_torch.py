"""Recognisers made of modules of torch: what they decide is what the modules decide; what they cannot be is refused."""

import dataclasses
import logging

import numpy as np
import pytest

import tallycell as tc
from tallycell.errors import InputError
from tallycell.loaders import Head
from tallycell.loaders.deciding.decisions import linear_readout, rule_of
from tallycell.loaders.deciding.parts import h_on_strings, run_codes
from tallycell.recogniser import Recogniser

torch = pytest.importorskip("torch")
nn = torch.nn

OUTPUTS = ("a", "b", "accept")


class Net(nn.Module):
    """A model of the usual shape; ``front`` and ``behind`` are layers, ``last`` keeps only the last step."""

    def __init__(self, front, behind, width, *, batch_first=True, layers=1, last=False):
        super().__init__()
        self.front, self.last = front, last
        self.lstm = nn.LSTM(width, 5, layers, batch_first=batch_first)
        self.behind = behind

    def forward(self, x):
        h = self.lstm(self.front(x))[0]
        if self.last:
            h = h[:, -1] if self.lstm.batch_first else h[-1]
        return self.behind(h)


def made(front, behind, width, **more):
    torch.manual_seed(0)
    net = Net(front(), behind(), width, **more)
    for values in net.parameters():
        values.data *= 4 if values.dim() > 1 else 0.5  # decisions of every kind
    return net


def embedded():
    return nn.Embedding(3, 4)


def linear_front():
    return nn.Linear(3, 4)


def linear():
    return nn.Linear(5, 3)


def two_linear():
    return nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.5), nn.Linear(7, 3), nn.LogSoftmax(-1))


def decided_by(net, codes, *, one_hot, rule):
    """What the module decides after each symbol of each string, run on every beginning."""
    given = torch.eye(3)[torch.as_tensor(codes)] if one_hot else torch.as_tensor(codes)
    net.eval()
    with torch.no_grad():
        said = []
        for end in range(1, codes.shape[1] + 1):
            x = given[:, :end]
            out = net(x if net.lstm.batch_first else x.transpose(0, 1))
            said.append((out if net.last else (out[:, -1] if net.lstm.batch_first else out[-1])).numpy())
    return rule(np.stack(said))


@pytest.mark.parametrize(
    ("front", "behind", "width", "more", "one_hot"),
    [
        (embedded, linear, 4, {}, False),
        (embedded, two_linear, 4, {"layers": 2}, False),
        (linear_front, linear, 4, {"last": True}, True),
        (nn.Identity, linear, 3, {"batch_first": False}, True),
        (embedded, two_linear, 4, {"batch_first": False, "last": True}, False),
    ],
)
def test_the_recogniser_decides_as_the_module(front, behind, width, more, one_hot):
    net = made(front, behind, width, **more)
    found = Recogniser.from_torch(net, alphabet="abc", outputs=OUTPUTS)
    codes = np.random.default_rng(0).integers(3, size=(40, 13))
    theirs = decided_by(net, codes, one_hot=one_hot, rule=lambda out: out.argmax(-1))
    ours = found.decide(run_codes(found, codes.T))
    assert len(np.unique(theirs)) > 1
    np.testing.assert_array_equal(ours, theirs)


def test_eleven_symbols_are_as_good_as_any():
    """As many as steps that the module is run on: sequences and steps are not mistaken for each other."""
    net = made(lambda: nn.Embedding(11, 4), linear, 4, batch_first=False)
    found = Recogniser.from_torch(net, alphabet="abcdefghijk", outputs=OUTPUTS)
    codes = np.random.default_rng(0).integers(11, size=(40, 13))
    theirs = decided_by(net, codes, one_hot=False, rule=lambda out: out.argmax(-1))
    np.testing.assert_array_equal(found.decide(run_codes(found, codes.T)), theirs)


def test_strings_of_other_lengths_do_not_change_what_is_read_backwards():
    model = dataclasses.replace(tc.load(nn.LSTM(3, 5, bidirectional=True)), head=Head(np.ones((3, 10))))
    found = Recogniser.from_loaded(model, alphabet="abc", outputs=OUTPUTS)
    alone = [h_on_strings(found, [string]) for string in ("ab", "abcabc")]
    together = h_on_strings(found, ["ab", "abcabc"])
    np.testing.assert_allclose(np.sort(together, axis=0), np.sort(np.concatenate(alone), axis=0), atol=1e-6)


def test_what_is_folded_in_is_told(caplog):
    with caplog.at_level(logging.INFO, "tallycell"):
        found = Recogniser.from_torch(made(linear_front, two_linear, 4), alphabet="abc", outputs=OUTPUTS)
    assert found.inputs.shape == (3, 4)
    assert caplog.messages == [
        "'front' (Linear) in front of the LSTM is folded into what it reads at each symbol",
        "'behind.0' (Linear), 'behind.2' (Linear) are folded into one readout",
    ]


def test_the_module_trains_on_as_before():
    net = made(embedded, two_linear, 4).train()
    before = {name: values.clone() for name, values in net.state_dict().items()}
    Recogniser.from_torch(net, alphabet="abc", outputs=OUTPUTS)
    assert all(part.training for part in net.modules())
    assert not any(part._forward_hooks for part in net.modules())
    assert all((before[name] == values).all() for name, values in net.state_dict().items())


def test_initial_states_that_the_module_learned_are_taken():
    class Started(Net):
        def forward(self, x):
            states = tuple(torch.full((1, len(x), 5), value) for value in (0.3, 2.0))
            return self.behind(self.lstm(self.front(x), states)[0])

    torch.manual_seed(0)
    found = Recogniser.from_torch(Started(embedded(), linear(), 4), alphabet="abc", outputs=OUTPUTS)
    np.testing.assert_allclose(found.h_0, 0.3)
    np.testing.assert_allclose(found.c_0, 2.0)


class Square(nn.Module):
    def forward(self, x):
        return x * x


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(3, 4)

    def forward(self, x):
        return self.table(x).cumsum(1)


@pytest.mark.parametrize(
    ("net", "text"),
    [
        (
            lambda: made(embedded, lambda: nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)), 4),
            r"'behind.1' \(ReLU\) stands behind the LSTM and is not linear",
        ),
        (
            lambda: made(embedded, lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3)), 4),
            r"what the LSTM at 'lstm' gives; a recogniser has one. Behind it run 'behind.0' \(ReLU\), 'behind.1'",
        ),
        (lambda: made(embedded, lambda: nn.LayerNorm(5), 4), r"'behind' \(LayerNorm\) stands behind the LSTM"),
        (lambda: made(embedded, nn.Identity, 4), "no torch.nn.Linear reads what the LSTM at 'lstm' gives"),
        (
            lambda: made(embedded, lambda: nn.Sequential(nn.Linear(5, 3), Square()), 4),
            r"'behind.1' \(Square\) stands behind the LSTM and is not linear",
        ),
        (lambda: made(Mixing, linear, 4), "the LSTM at 'lstm' does not read the same each time a symbol comes: 'front"),
        (
            lambda: made(lambda: nn.Embedding(2, 4), linear, 4),
            "could not be run on symbol numbers or on one-hot vectors",
        ),
        (lambda: nn.Linear(3, 3), "holds 0 LSTMs; expected one torch.nn.LSTM"),
        (lambda: nn.Sequential(nn.LSTMCell(3, 3)), "at '0' is an LSTMCell, which the module calls step by step"),
        (lambda: np.ones(3), r"got a ndarray; expected a torch.nn.Module \(a file: Recogniser.from_loaded\)"),
    ],
)
def test_what_is_no_recogniser_is_refused_and_its_layer_named(net, text):
    with pytest.raises(InputError, match=text):
        Recogniser.from_torch(net(), alphabet="abc", outputs=OUTPUTS)


def test_code_between_the_layers_is_noticed():
    class Skipping(Net):
        def forward(self, x):
            return super().forward(x) + self.front(x)[..., :3]

    torch.manual_seed(0)
    with pytest.raises(InputError, match=r"what comes out is not what 'behind' \(Linear\) gives of h"):
        Recogniser.from_torch(Skipping(embedded(), linear(), 4), alphabet="abc", outputs=OUTPUTS)


# ---- how it decides --------------------------------------------------------------------------------------------------


def probabilities(out):
    shifted = np.exp(out - out.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("decision", "rule"),
    [
        ("threshold", lambda out: out > 0),
        ("sigmoid above 0.2", lambda out: 1 / (1 + np.exp(-out)) > 0.2),
        ("softmax above 0.001", lambda out: probabilities(out) > 0.001),
    ],
)
def test_rules_about_each_output_decide_as_the_module_on_its_strings(decision, rule):
    net = made(embedded, linear, 4)
    net.behind.weight.data *= 8 if "softmax" in decision else 1
    codes = np.random.default_rng(1).integers(3, size=(60, 9))
    strings = ["".join("abc"[code] for code in row) for row in codes]
    found = Recogniser.from_torch(net, alphabet="abc", outputs=OUTPUTS, decision=decision, strings=strings)
    assert found.decision == "threshold"
    theirs = decided_by(net, codes, one_hot=False, rule=rule)
    assert 0 < theirs.mean() < 1
    assert (found.decide(run_codes(found, codes.T)) == theirs).mean() > 0.99


def test_planes_of_a_softmax_are_exact_where_there_are_any():
    """Two outputs: one is above p where it leads by a number, which is a plane."""
    rng = np.random.default_rng(0)
    weight, bias, h = rng.normal(size=(2, 4)), rng.normal(size=2), rng.uniform(-1, 1, (3000, 4))
    readout = linear_readout(rule_of("softmax above 0.1"), weight, bias, ("x", "y"), h)
    np.testing.assert_array_equal(h @ readout.weight.T + readout.bias > 0, probabilities(h @ weight.T + bias) > 0.1)
    assert readout.notes == ()


def test_a_softmax_that_no_plane_decides_is_refused_with_what_is_missed():
    h = np.random.default_rng(0).uniform(-1, 1, (2000, 1))
    weight, bias = np.array([[9.0], [-9.0], [0.0]]), np.array([0.0, 0.0, 3.0])  # the third only between
    with pytest.raises(InputError, match=r"no linear rule decides as softmax above 0.5 does: for output 'between' the"):
        linear_readout(rule_of("softmax above 0.5"), weight, bias, ("x", "y", "between"), h)


def test_two_classes_of_one_output_are_the_larger_of_two():
    net = made(embedded, lambda: nn.Linear(5, 1), 4)
    found = Recogniser.from_torch(net, alphabet="abc", outputs=("no", "yes"), decision="classes")
    codes = np.random.default_rng(0).integers(3, size=(40, 9))
    theirs = decided_by(net, codes, one_hot=False, rule=lambda out: (out[..., 0] > 0).astype(int))
    np.testing.assert_array_equal(found.decide(run_codes(found, codes.T)), theirs)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"decision": "softmax"}, "decision is 'softmax'; expected 'argmax', 'threshold', 'sigmoid above P', 'softmax"),
        ({"decision": "softmax above 2"}, "expected a probability between 0 and 1 behind 'above'"),
        ({"outputs": ("a", "b")}, "the model has 3 outputs, and 2 names were given"),
        ({"outputs": ("a", "a", "b")}, "outputs is .* expected distinct texts, at least one"),
        ({"alphabet": [1, 2, 3]}, r"alphabet is \(1, 2, 3\); expected distinct texts"),
        ({"strings": [], "decision": "softmax above 0.5"}, "strings holds no strings; give some"),
        ({"strings": ["x"], "decision": "softmax above 0.5"}, "symbol 'x' at position 0 is not in the alphabet"),
    ],
)
def test_what_is_said_of_a_module_must_fit(said, text):
    net = made(embedded, linear, 4)
    with pytest.raises(InputError, match=text):
        Recogniser.from_torch(net, **{"alphabet": "abc", "outputs": OUTPUTS, **said})


# ---- from files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("front", "width"),
    [
        (embedded, 4), (linear_front, 4), (nn.Identity, 3), (lambda: nn.Linear(3, 3), 3),
        (lambda: nn.Sequential(nn.Embedding(3, 5), nn.Linear(5, 4)), 4),
        (lambda: nn.Sequential(nn.Embedding(3, 5), nn.Linear(5, 3)), 3),  # as many features as symbols
        (lambda: nn.Linear(3, 4, bias=False), 4),
    ],
)  # fmt: skip
def test_a_state_dict_gives_the_same_recogniser(tmp_path, front, width):
    net = made(front, linear, width)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    live = Recogniser.from_torch(net, alphabet="abc", outputs=OUTPUTS)
    filed = Recogniser.from_loaded(tc.load(tmp_path / "net.pt"), alphabet="abc", outputs=OUTPUTS)
    np.testing.assert_allclose(filed.inputs, live.inputs, atol=1e-6)
    np.testing.assert_allclose(filed.readout_weight, live.readout_weight, atol=1e-6)
    assert filed.parameters == live.parameters


def test_what_stands_in_front_of_the_first_lstm_is_not_in_front_of_the_second(tmp_path):
    parts = {"front": nn.Linear(3, 4), "first": nn.LSTM(4, 4), "second": nn.LSTM(4, 5), "out": nn.Linear(5, 3)}
    torch.save(nn.ModuleDict(parts).state_dict(), tmp_path / "net.pt")
    with pytest.raises(InputError, match=r"reads vectors of 4 numbers, the alphabet has 3 symbols"):
        Recogniser.from_loaded(tc.load(tmp_path / "net.pt"), alphabet="abc", outputs=OUTPUTS, lstm="second")


def test_a_file_that_does_not_say_enough_is_refused(tmp_path):
    net = made(embedded, linear, 4)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    loaded = tc.load(tmp_path / "net.pt")
    with pytest.raises(
        InputError, match=r"has 3 rows, and the alphabet 2 symbols, 'a', 'b'; name the symbol of each row"
    ):
        Recogniser.from_loaded(loaded, alphabet="ab", outputs=OUTPUTS)
    with pytest.raises(InputError, match=r"alphabet is \(\); expected distinct texts"):
        Recogniser.from_loaded(loaded, outputs=OUTPUTS)
    torch.save(net.lstm.state_dict(), tmp_path / "lstm.pt")
    with pytest.raises(InputError, match="has no linear layer behind its LSTM that tallycell knows of"):
        Recogniser.from_loaded(tc.load(tmp_path / "lstm.pt"), alphabet="abcd", outputs=OUTPUTS)
    with pytest.raises(InputError, match=r"got a Net; expected what tallycell.load gives"):
        Recogniser.from_loaded(net, alphabet="abc", outputs=OUTPUTS)
