"""Training: networks side by side are each as alone, noise and slope, judging, determinism, going on after a stop."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional

from compiled_once import network_for, network_of
from tallycell.errors import InputError
from tallycell.learning import training
from tallycell.learning.judging import decider_of
from tallycell.learning.languages import language
from tallycell.learning.population import Population
from tallycell.learning.selection import Judgement, harden_on, judge_snapped
from tallycell.learning.settings import Settings
from tallycell.learning.trainable import Trainable
from tallycell.learning.training import Progress, train
from tallycell.machine.checking.language_search import search_first_failure
from tallycell.machine.extracting.snapping import SnappedNetwork

SHORT = Settings(together=3, steps=12, judged_on=50, checked_on=60)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _members(of, hidden, count):
    torch.manual_seed(0)
    return [Trainable.of(of, hidden=hidden) for _ in range(count)]


def _alone(net, codes, slope, cell_slope, noise):
    """Logits of one network, (sequence, time, output), step by step by the LSTM's equations."""
    lstm, logits = net.lstm, []
    h = c = torch.zeros(len(codes), lstm.hidden_size)
    for t in range(codes.shape[1]):
        x = functional.one_hot(torch.from_numpy(codes[:, t].astype(int)), len(net.alphabet)).float()
        pre = x @ lstm.weight_ih_l0.T + h @ lstm.weight_hh_l0.T + lstm.bias_ih_l0 + lstm.bias_hh_l0 + noise[t]
        i, f, g, o = (slope * pre).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * (cell_slope * c).tanh()
        logits.append(net.readout(h))
    return torch.stack(logits, dim=1)


# ---- side by side ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["anbn", "anbn-sampled", "parity"])
@pytest.mark.parametrize(("hidden", "cell_slope"), [(1, 1.0), (3, 1.0), (3, 4.0)])
def test_networks_side_by_side_say_what_each_says_alone_under_noise_and_slopes(name, hidden, cell_slope):
    of = language(name)
    members, sample = _members(of, hidden, 5), of.draw(np.random.default_rng(0), 7)
    noise = torch.randn(*sample.codes.T.shape, 4 * hidden)
    population = Population(members)
    logits = population(torch.from_numpy(sample.codes).T.long(), slope=2.5, cell_slope=cell_slope, noise=noise)
    losses = population.losses(sample, slope=2.5, cell_slope=cell_slope, noise=noise)
    for net, its_logits, loss in zip(members, logits, losses, strict=True):
        expected = _alone(net, sample.codes, 2.5, cell_slope, noise)
        torch.testing.assert_close(its_logits.transpose(0, 1), expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(loss, net.loss(sample, expected), atol=1e-5, rtol=1e-4)


def test_a_network_taken_out_has_the_slope_in_its_weights():
    of = language("dyck-1")
    population = Population(_members(of, 2, 3))
    sample = of.draw(np.random.default_rng(0), 5)
    codes = torch.from_numpy(sample.codes)
    alone = population.alone(population.weights[1], 3.0)
    torch.testing.assert_close(alone(codes), population(codes.T.long(), slope=3.0)[1].transpose(0, 1))


def test_no_network_moves_the_gradient_of_another():
    of = language("dyck-1")
    sample = of.draw(np.random.default_rng(0), 5)
    gradients = []
    for scale in (1.0, 7.0):
        population = Population(_members(of, 2, 4))
        with torch.no_grad():
            population.weights[2] *= scale
        population.losses(sample).sum().backward()
        gradients.append(population.weights.grad)
    others = [0, 1, 3]
    torch.testing.assert_close(gradients[0][others], gradients[1][others])
    assert (gradients[0][2] - gradients[1][2]).abs().max() > 1e-3


def test_each_gradient_is_shortened_by_itself():
    population = Population(_members(language("dyck-1"), 1, 3))
    size = population.weights.shape[1]
    lengths = torch.tensor([0.0, 0.5, 40.0])
    population.weights.grad = lengths[:, None].expand(-1, size) / size**0.5
    population.weights.grad = population.weights.grad.clone()
    population.clip_gradients(2.0)
    torch.testing.assert_close(population.weights.grad.norm(dim=1), torch.tensor([0.0, 0.5, 2.0]))


# ---- judging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dyck-1", "shuffle-2", "parity", "anbn-sampled"])
def test_a_network_compiled_from_the_truth_makes_no_error_and_one_whose_readout_is_turned_makes_them(name):
    of = language(name)
    sample = of.draw(np.random.default_rng(0), 40)
    net = replace(network_of("anbn"), decision="argmax") if of.sampled else network_for(of.machine)
    assert judge_snapped(net, sample).errors == 0
    assert (
        judge_snapped(replace(net, readout_weight=-net.readout_weight, readout_bias=-net.readout_bias), sample).errors
        > 0.3
    )


def test_only_the_last_symbol_is_judged_where_only_it_counts():
    of = language("parity")
    sample = of.draw(np.random.default_rng(0), 40)
    always_even = replace(network_for(of.machine), readout_weight=[[0.0]], readout_bias=[1.0])
    odd = [of.text(codes[:length]).count("b") % 2 for codes, length in zip(sample.codes, sample.lengths, strict=True)]
    assert judge_snapped(always_even, sample).errors == pytest.approx(np.mean(odd))


def test_a_machine_that_is_wrong_on_strings_it_was_not_read_from_is_read_from_these_too():
    of = language("dyck-1")
    flat, deep = (of.sample([of.encode(text) for text in texts]) for texts in (["()", "()()"], ["(())", "((()))"]))
    net = network_for(of.machine)
    assert not harden_on(net, flat).extraction.machine.accepts("(())")  # no depth was seen, and none is guessed
    hardened = harden_on(net, flat, deep)
    assert hardened.extraction.fidelity.strings == 4
    assert all(hardened.extraction.machine.accepts(text) for text in ("()()", "(())", "((()))"))


def test_strings_on_which_the_machine_is_right_are_not_read_besides():
    of = language("dyck-1")
    drawn, others = (of.draw(np.random.default_rng(seed), 40) for seed in (0, 1))
    assert harden_on(network_for(of.machine), drawn, others).extraction.fidelity.strings == 40


def test_a_network_that_is_wrong_on_strings_its_machine_is_read_from_is_not_hardened():
    of = language("majority")
    net = network_for(of.machine)
    short, long = (of.sample([of.encode(text)]) for text in ("aa", "aabbb"))
    always = replace(net, readout_weight=np.zeros((1, 1), np.float32), readout_bias=np.ones(1, np.float32))
    assert harden_on(always, short) is not None
    assert harden_on(always, long) is None
    assert harden_on(always, short, long) is None  # what is read of it once more says the same


# ---- the whole -------------------------------------------------------------------------------------------------------


def test_a_network_trained_on_short_strings_counts_to_ten_thousand_once_hardened():
    of = language("anbn")
    trained = train(of, hidden=3, seed=0, settings=Settings(steps=600))
    assert trained.exact_in_training
    assert trained.hardened_units[trained.chosen] == 3
    strings = [of.member(500), *of.near_misses(500)]
    assert judge_snapped(trained.network, of.sample(strings)).errors == 0
    assert trained.hardened is not None
    assert search_first_failure(decider_of(trained.hardened.net, of), of.truth, of.blocks_of, 10**4).n is None


def test_no_string_is_longer_than_those_to_learn_from():
    of, made = language("dyck-1"), []

    def make(rng, length):
        made.append(length)
        return of.make(rng, length)

    train(replace(of, make=make), hidden=1, budget=1, settings=SHORT)
    assert len(made) > 300
    assert max(made) == 50


@pytest.mark.parametrize("name", ["parity", "dyck-1"])
def test_short_strings_are_more_and_noise_ends_and_cells_are_read_with_slopes_that_change(monkeypatch, name):
    of, steps, plain = language(name), [], Population.losses

    def losses(self, sample, *, slope, cell_slope, noise):
        steps.append((len(sample.codes), int(sample.lengths.max()), slope, cell_slope, noise is not None))
        return plain(self, sample, slope=slope, cell_slope=cell_slope, noise=noise)

    monkeypatch.setattr(Population, "losses", losses)
    settings = replace(SHORT, steps=40, slope_from=0.5, noise_until=0.75, first_length=10, first_length_if_last=2)
    train(of, hidden=1, budget=1, settings=settings)
    counts, longest, slopes, cell_slopes, noisy = zip(*steps, strict=True)
    whole, first = (40, 2) if of.only_last else (50, 10)
    assert longest[0] <= first
    assert whole // first * 32 - 32 <= counts[0] <= whole // first * 32
    assert set(counts[16:]) == {32}
    assert set(slopes[:21]) == {1.0} == set(cell_slopes[:21])
    assert slopes[-1] > slopes[30] > 1
    assert list(cell_slopes[21:]) != sorted(cell_slopes[21:])
    assert 1 < max(cell_slopes) <= settings.cell_slope
    assert noisy == (True,) * 30 + (False,) * 10


def test_a_network_that_is_nearly_right_is_taken_if_hardened_it_is_right(monkeypatch):
    of, wrong = language("dyck-1"), iter([0.3, 0.004, 0.008])
    exact = harden_on(network_for(of.machine), of.draw(np.random.default_rng(0), 20))
    tried = []

    def hardened(net, sample, checked):
        assert len(checked.lengths) == SHORT.checked_on
        tried.append(net)
        return None if len(tried) == 1 else exact

    monkeypatch.setattr(training, "judge_snapped", lambda *_: Judgement(next(wrong), 3))
    monkeypatch.setattr(training, "harden_on", hardened)
    trained = train(of, hidden=1, budget=9, settings=SHORT)
    assert trained.runs == 3  # that is enough
    assert trained.chosen == 2
    assert trained.hardened is exact
    assert trained.network == tried[1]
    assert not trained.exact_in_training
    assert trained.hardened_units.tolist() == [np.inf, np.inf, exact.net.parameters.hidden_size]


def test_the_seed_determines_the_result():
    results = [train(language("dyck-1"), hidden=2, seed=seed, budget=1, settings=SHORT) for seed in (4, 4, 5)]
    assert results[0].network == results[1].network
    assert results[0].losses.tolist() == results[1].losses.tolist()
    assert results[0].network != results[2].network


def test_rounds_go_on_until_a_snapped_network_is_right_or_the_budget_is_spent():
    of = language("dyck-1")
    hopeless = train(of, hidden=1, budget=7, settings=SHORT)
    assert hopeless.runs == 9
    assert not hopeless.exact_in_training
    judged = list(
        zip(hopeless.snapped_errors, hopeless.hardened_units, hopeless.situations, hopeless.losses, strict=True)
    )
    assert judged[hopeless.chosen] == min(judged)
    begun = train(of, hidden=1, budget=1, settings=SHORT)
    assert begun.first == hopeless.first
    assert hopeless.losses[:3].tolist() == begun.losses.tolist()
    assert hopeless.losses[3:6].tolist() != begun.losses.tolist()


def test_the_best_network_and_the_first_are_those_that_were_judged():
    of = language("parity")
    trained = train(of, hidden=2, budget=1, settings=replace(SHORT, steps=150))
    judged = language("parity").source(np.random.default_rng(0)).draw(50)
    assert judge_snapped(trained.first, judged).errors == trained.snapped_errors[0]
    assert judge_snapped(trained.network, judged).errors == trained.snapped_errors[trained.chosen]
    assert SnappedNetwork(trained.network).units == 2


@pytest.mark.parametrize("name", ["dyck-1", "anbn-sampled"])
@pytest.mark.parametrize("stop", [5, 20])  # in the first round; in the second
def test_a_training_that_was_stopped_goes_on_to_the_same_result(tmp_path, monkeypatch, name, stop):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    of, checkpoint = language(name), tmp_path / "checkpoint.safetensors"
    options = {"hidden": 1, "budget": 6, "settings": SHORT}
    whole, seen = train(of, **options), []

    def stopping(progress: Progress) -> None:
        seen.append(progress)
        if len(seen) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(of, checkpoint=checkpoint, on_progress=stopping, **options)
    assert checkpoint.exists()
    later: list[Progress] = []
    resumed = train(of, checkpoint=checkpoint, on_progress=later.append, **options)
    assert len(later) == 24 - (stop - 1)  # the step in which it was stopped is done again
    assert resumed.network == whole.network
    assert resumed.first == whole.first
    assert resumed.losses.tolist() == whole.losses.tolist()
    assert checkpoint.exists()  # whoever saves the result deletes it
    again = train(of, checkpoint=checkpoint, on_progress=later.append, **options)
    assert len(later) == 24 - (stop - 1)  # it was of the last step
    assert again.network == whole.network
    assert again.losses.tolist() == whole.losses.tolist()


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """That of a training which stopped in its second round."""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    file = tmp_path / "checkpoint.safetensors"

    def stopping(progress: Progress) -> None:
        if (progress.runs, progress.step) == (3, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_on(file, stopping)
    return file


def go_on(file, on_progress=None, seed=0):
    train(language("dyck-1"), hidden=1, seed=seed, budget=6, settings=SHORT, checkpoint=file, on_progress=on_progress)


def changed(file, tensors=None, others=None, metadata=None):
    """Write a checkpoint anew with other parts; None leaves one out."""
    with safe_open(file, "pt") as opened:
        there, said = {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118
    kept = {name: part for name, part in (there | (tensors or {})).items() if part is not None}
    told = {name: part for name, part in (json.loads(said["others"]) | (others or {})).items() if part is not None}
    words = said | {"others": json.dumps(told)} | (metadata or {})
    save_file(kept, file, {name: part for name, part in words.items() if part is not None} or None)


def test_a_checkpoint_of_another_training_is_refused(checkpoint):
    with pytest.raises(InputError, match=r'is the checkpoint of another training, .*"seed": 0.*"seed": 1'):
        go_on(checkpoint, seed=1)
    changed(checkpoint, metadata={"training": "x" * 100_000})
    with pytest.raises(InputError, match=r"is the checkpoint of another training, 'x{190,200}\.\.\., and this is"):
        go_on(checkpoint)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x10\0\0\0\0\0\0\0{}", b"\xff" * 100])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"notes\.txt is no checkpoint of a training \(.*\); delete it to begin anew"):
        go_on(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_bytes() == content


def test_what_is_no_regular_file_is_no_checkpoint_and_is_not_waited_for(tmp_path):
    for name, make in (("fifo", getattr(os, "mkfifo", os.mkdir)), ("folder", os.mkdir)):
        make(tmp_path / name)
        with pytest.raises(
            InputError, match=rf"{name} is no checkpoint of a training \(it is no regular file\); delete"
        ):
            go_on(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"metadata": {"training": None, "others": None}}, "it does not say of which training it is"),
        ({"metadata": {"training": None}}, "it does not say of which training it is"),
        ({"metadata": {"others": None}}, "its 'others' are None, expected an object of JSON"),
        ({"metadata": {"others": "[" * 100_000}}, r"its 'others' are '\[+\.\.\., expected an object of JSON"),
        ({"metadata": {"others": "[1]"}}, r"its 'others' are '\[1\]', expected an object"),
        ({"others": {"step": 13}}, "its 'step' is 13, which this training cannot have come to"),
        ({"others": {"step": "3"}}, "its 'step' is '3', which"),
        ({"others": {"seconds": float("nan")}}, "its 'seconds' is nan, which"),
        ({"others": {"losses": [0.5]}}, r"its 'losses' is \[0.5\], which"),  # rounds are of three
        ({"others": {"losses": 5}}, "its 'losses' is 5, which"),
        ({"others": {"situations": [1.5] * 3}}, "its 'situations' is "),
        ({"others": {"units": ["x"] * 30_000}}, r"its 'units' is \['x', .{150,195}\.\.\., which"),
        ({"others": {"rng": {}}}, "is no checkpoint of a training"),
        ({"others": {"rng": {"bit_generator": "PCG64", "state": {"state": "x", "inc": 1}}}}, "is no checkpoint"),
        ({"tensors": {"weights": torch.zeros(1)}}, r"'weights' is float32 of shape \(1,\), expected float32 of shape"),
        ({"tensors": {"weights": torch.zeros(3, 16).double()}}, "'weights' is float64 of shape "),
        (
            {"tensors": {"average": torch.zeros(())}},
            r"'average' is float32 of shape \(\), expected float32 of shape \(3,\)",
        ),
        ({"tensors": {"adam.exp_avg": torch.zeros(1)}}, "its tensor 'adam.exp_avg' is "),
        ({"tensors": {"best": torch.zeros(2)}}, "its tensor 'best' is "),
        ({"tensors": {"generator": torch.zeros(3, dtype=torch.uint8)}}, "its tensor 'generator' is uint8"),
        ({"tensors": {"generator": torch.full((5056,), 255, dtype=torch.uint8)}}, "is no checkpoint of a training"),
    ],
)
def test_a_checkpoint_with_a_part_that_cannot_be_is_refused(checkpoint, changes, why):
    changed(checkpoint, **changes)
    with pytest.raises(InputError, match=why) as refused:
        go_on(checkpoint)
    assert str(refused.value).endswith("; delete it to begin anew")
    assert len(str(refused.value)) < 400 + len(str(checkpoint))


def test_a_checkpoint_without_one_of_its_parts_is_refused(checkpoint):
    whole = checkpoint.read_bytes()
    with safe_open(checkpoint, "pt") as opened:
        tensors, others = list(opened.keys()), list(json.loads(opened.metadata()["others"]))
    assert {"weights", "adam.step", "first"} <= set(tensors)
    assert {"rng", "units"} <= set(others)
    for name in tensors:
        changed(checkpoint, tensors={name: None})
        with pytest.raises(InputError, match=f"it has no tensor '{name}'.; delete it to begin anew"):
            go_on(checkpoint)
        checkpoint.write_bytes(whole)
    for name in others:
        changed(checkpoint, others={name: None})
        with pytest.raises(InputError, match=f"it has no '{name}'.; delete it to begin anew"):
            go_on(checkpoint)
        checkpoint.write_bytes(whole)
    go_on(checkpoint)


def test_a_checkpoint_that_cannot_be_written_is_refused_before_training(tmp_path):
    steps = []
    with pytest.raises(InputError, match=r"cannot write .*no/where: there is no folder .*no; make it first"):
        go_on(tmp_path / "no/where", steps.append)
    assert not steps


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match=r"cannot write .*: No space left on device"):
        go_on(checkpoint)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


@pytest.mark.parametrize("name", ["hidden", "budget"])
def test_training_nothing_is_refused(name):
    with pytest.raises(InputError, match=f"{name} is 0; train with at least 1"):
        train(language("dyck-1"), **({"hidden": 1, "settings": SHORT} | {name: 0}))
