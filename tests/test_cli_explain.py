"""``tallycell explain``: what the command prints is what the functions give, and signs stand where colours do not."""

import json

import numpy as np
import pytest

import tallycell as tc
from compiled_once import network_of
from tallycell.cli.explain_view import strength


@pytest.fixture
def call(tmp_path):
    tc.save(network_of("anbn"), tmp_path / "anbn.safetensors")
    (tmp_path / "s.txt").write_text("aaabb", encoding="utf-8")
    return ("explain", tmp_path / "anbn.safetensors", "--text", tmp_path / "s.txt")


def test_the_command_gives_the_account_of_the_largest_output(run, call):
    status, out, _ = run(*call, "--json")
    assert status == 0
    told = json.loads(out)
    model = tc.load(call[1])
    given = tc.open_text(model, "aaabb")
    said = tc.outputs(model, tc.record_trace(model, given)).isel(sequence=0, time=-1)
    largest = int(np.argmax(said.to_numpy()))
    account = tc.explain_output(model, given, -1, largest)
    assert told["output"] == account.name
    assert told["value"] == pytest.approx(float(said[largest]))
    np.testing.assert_allclose(told["by_step"], account.by_step())
    parts = sum(told["by_step"]) + told["initial"] + told["bias"]
    assert parts == pytest.approx(told["value"], abs=1e-5)  # float32, as completeness is asked for everywhere
    changes = tc.counterfactual_steps(model, given, -1, largest, without="zeros")
    assert list(told["without_step"]) == ["0", "1", "2", "3", "4"]
    np.testing.assert_allclose(list(told["without_step"].values()), changes)


def test_steps_that_work_through_a_gate_stand_first(run, tmp_path):
    """By the account the output '(' after '()' is the bias alone; the machine's first step made it, through a gate."""
    tc.save(network_of("dyck-1"), tmp_path / "dyck.safetensors")
    (tmp_path / "s.txt").write_text("()", encoding="utf-8")
    call = ("explain", tmp_path / "dyck.safetensors", "--text", tmp_path / "s.txt", "--output", "(")
    told = json.loads(run(*call, "--json")[1])
    assert not any(told["by_step"])
    assert told["without_step"]["0"] < -1
    _, out, _ = run(*call)
    first = out.splitlines()[3].split()
    assert first[:3] == ["step", "0,", "'('"]
    assert float(first[3]) == pytest.approx(told["without_step"]["0"], rel=1e-3)


def test_another_step_and_output_can_be_asked_for_and_signs_lie_below_the_text(run, call):
    status, out, _ = run(*call, "--at", "2", "--output", "b")
    assert status == 0
    assert out.startswith("'b' at step 2 is ")
    lines = out.splitlines()
    at = lines.index("aaa")
    assert set("".join(lines[at + 1 : at + 3])) <= set("+- ")
    assert "+" in lines[at + 1] or "-" in lines[at + 1]


def test_what_is_not_there_is_one_line(run, call):
    for options, said in (
        (("--at", "9"), "no step 9; the sequence has 5, counted from 0"),
        (("--output", "z"), "no output is called 'z'"),
    ):
        status, out, err = run(*call, *options)
        assert (status, out) == (2, "")
        assert said in err
        assert len(err.splitlines()) == 1


def test_marks_say_the_sign_and_how_large_a_part_is():
    assert strength(np.array([4.0, -2.0, -1.9, 0.5, 0.1, 0.0])) == ["++", "--", "-", "+", "", ""]


def test_of_a_model_that_reads_both_ways_later_steps_are_named_too(run, tmp_path):
    draw = np.random.default_rng(0)
    weights = {f"weight_{kind}_l0{way}": draw.normal(size=(12, width)) for way in ("", "_reverse")
               for kind, width in (("ih", 2), ("hh", 3))}  # fmt: skip
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(2, 3, bidirectional=True, bias=False)
            self.head = torch.nn.Linear(6, 1)

    model = Model()
    model.lstm.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    torch.save(model.state_dict(), tmp_path / "m.pt")
    np.save(tmp_path / "x.npy", draw.normal(size=(12, 2)).astype(np.float32))
    status, out, err = run("explain", tmp_path / "m.pt", "--array", tmp_path / "x.npy", "--at", "4", "--json")
    assert (status, err) == (0, "")
    without = json.loads(out)["without_step"]
    assert list(without) == [str(k) for k in range(12)]
    assert without["5"] != 0


def test_steps_without_which_all_is_the_same_are_not_named(run, tmp_path):
    tc.save(network_of("tomita-1"), tmp_path / "m.safetensors")
    (tmp_path / "s.txt").write_text("1101", encoding="utf-8")
    _, out, _ = run("explain", tmp_path / "m.safetensors", "--text", tmp_path / "s.txt", "--output", "accept")
    assert "+0 without it" not in out
    assert out.count("without it") == 1
