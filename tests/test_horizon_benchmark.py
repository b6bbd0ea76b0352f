"""The benchmark of the horizon: what it spoils, how it searches, how it judges."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks are not installed; they run from the repository

from benchmarks import counting, horizon, spoiled

from compiled_once import network_of


def test_it_names_fifty_networks_of_ten_machines():
    assert len(set(horizon.MACHINES)) == 10
    assert horizon.NOISES == (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def test_noise_is_relative_and_gaussian_and_a_seed_gives_the_same_network():
    net = network_of("shuffle-2")
    once, again = (spoiled.spoil(net, 1e-2, 3) for _ in range(2))
    assert once == again
    before, after = (one.parameters.weights["weight_hh_l0"].astype(float) for one in (net, once))
    relative = (after / np.where(before == 0, 1, before) - 1)[before != 0]
    assert (after[before == 0] == 0).all()
    assert 0.005 < relative.std() < 0.02


def test_a_softened_gate_is_about_as_far_from_its_limit_as_the_noise():
    net = network_of("majority")
    soft = spoiled.spoil(net, 1e-3, 0, soften=True).parameters
    pre = (soft.weights["bias_ih_l0"] + soft.weights["bias_hh_l0"])[1]
    assert 1 / (1 + np.exp(pre)) == pytest.approx(1e-3, rel=0.1)


def test_one_network_is_measured(capsys):
    row = horizon.measure("majority", 1e-3, 1, soften=True, longest=2000)
    assert 0 < row["horizon"] < row["first_difference"] < 3 * row["horizon"]
    assert row["ratio"] == row["first_difference"] / row["horizon"]
    assert "majority soft 0.001" in capsys.readouterr().out


def test_the_verdict_is_on_the_median_and_on_every_single_one():
    seen = [
        {"network": str(k), "horizon": 10, "first_difference": d, "ratio": d / 10} for k, d in enumerate((11, 29, 90))
    ]
    out = {"network": "exact", "horizon": 10**8, "first_difference": None, "ratio": None}
    assert horizon.judge("noise", [*seen, out], 10**7) == [
        "noise: horizon below the first difference in 3 of 3: PASS",
        "noise: first difference / horizon: median 2.90 (target <= 3): PASS; best 1.10, worst 9.00",
        "noise: left out, no difference in 10,000,000 symbols: exact",
    ]
    wrong = {"network": "unsound", "horizon": 12, "first_difference": 12, "ratio": 1.0}
    nothing = {"network": "nothing", "horizon": 0, "first_difference": 5, "ratio": None}
    assert horizon.judge("noise", [wrong, nothing], 10**7)[:2] == [
        "noise: horizon below the first difference in 1 of 2: WRONG: unsound",
        "noise: first difference / horizon: median inf (target <= 3): SHORT OF IT; best 1.00, worst inf",
    ]


@pytest.mark.parametrize("kernel", ["tallycell", "torch"])
def test_members_and_near_misses_are_right_while_the_format_counts(kernel):
    if kernel == "torch":
        pytest.importorskip("torch")
    found = counting.count_to_the_end(kernel, 500)
    assert found["members_right"] == [499, 500, 501]
    assert (found["members_wrong"], found["first_near_miss"]) == ([], None)


def test_where_a_count_is_lost_the_near_miss_fails_first_and_the_next_member_too(monkeypatch):
    """A counter that stops at 64, as float32's stops at 2^24: a^65 b^64 is accepted, a^65 b^65 is not."""
    right = counting.ours

    def stopped(net):
        take = right(net)

        def take_at_most_64(codes, state):
            chosen, after = [], state
            for k in range(codes.shape[1]):
                now, after = take(codes[:, k : k + 1], after)
                chosen.append(now)
                c = np.array(after[1])
                c[0, :, stopped_cell] = np.clip(c[0, :, stopped_cell], -64, 64)
                after = (after[0], c)
            return np.concatenate(chosen, axis=1), after

        return take_at_most_64

    _, state = right(network_of("anbn"))(np.zeros((1, 9), np.uint8), None)
    stopped_cell = int(np.abs(state[1][0, 0]).argmax())
    monkeypatch.setattr(counting, "ours", stopped)
    found = counting.count_to_the_end("tallycell", 64)
    assert found["members_right"][-1] == 64
    assert (found["members_wrong"], found["first_near_miss"]) == ([65], 64)
