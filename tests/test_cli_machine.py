"""The commands on counter machines, as a user meets them."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import tallycell as tc
from tallycell.cli import machine_runs
from tallycell.cli.machine_files import open_machine
from tallycell.machine import from_json, parse, shipped_machine, shipped_machines

AS_THEN_BS = """\
alphabet a b
counter n
state climbing:
  on a            n +1
  on b  n > 0     n -1  -> falling
  on b  n = 0     fail
state falling:
  on a            fail
  on b  n > 0     n -1
  on b  n = 0     fail
  accept when n = 0
"""
WORDS = """\
alphabet push pop
counter depth
on push             depth +1
on pop  depth > 0   depth -1
on pop  depth = 0   fail
accept when depth = 0
"""


@pytest.fixture
def machine(tmp_path):
    path = tmp_path / "as_then_bs.txt"
    path.write_text(AS_THEN_BS, encoding="utf-8")
    return path


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(WORDS, encoding="utf-8")
    return path


# ---- run -------------------------------------------------------------------------------------------------------------


def test_run_says_of_each_string_what_the_machine_says(run, machine):
    status, out, err = run("run", machine, "aabb", "aab", "", "abab")
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["string", "length", "says", "state", "counters"],
        ["aabb", "4", "accept", "falling", "n", "=", "0"],
        ["aab", "3", "reject", "falling", "n", "=", "1"],
        ['""', "0", "reject", "climbing", "n", "=", "0"],
        ["abab", "4", "reject", "fail"],
    ]


def test_run_shows_each_step(run, machine):
    status, out, _ = run("run", machine, "aab", "--steps")
    assert status == 0
    assert out.splitlines() == [
        "aab",
        "step  symbol  says    state     counters",
        "0             reject  climbing  n = 0",
        "1     a       reject  climbing  n = 1",
        "2     a       reject  climbing  n = 2",
        "3     b       reject  falling   n = 1",
    ]


def test_run_reads_one_string_from_each_line_of_standard_input(run, machine):
    _, out, _ = run("run", machine, "ab", "-", "b", stdin=b"aabb\r\n\nba\n")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["ab", "aabb", '""', "ba", "b"]
    assert run("run", machine, "-", stdin=b"")[1].split() == ["string", "length", "says", "state", "counters"]


def test_run_as_json_keeps_numbers_and_steps(run, machine):
    status, out, _ = run("run", machine, "aab", "ba", "--json", "--steps")
    first, second = json.loads(out)["strings"]
    assert status == 0
    assert {name: first[name] for name in ("string", "length", "state", "counters", "says", "accepted")} == {
        "string": "aab", "length": 3, "state": "falling", "counters": {"n": 1}, "says": [], "accepted": False,
    }  # fmt: skip
    assert [(step["symbol"], step["counters"]) for step in first["steps"]] == [
        ("a", {"n": 1}), ("a", {"n": 2}), ("b", {"n": 1}),
    ]  # fmt: skip
    assert (second["state"], second["counters"]) == ("fail", None)
    assert "steps" not in json.loads(run("run", machine, "ab", "--json")[1])["strings"][0]


def test_symbols_of_several_characters_are_read_between_blanks_or_a_separator(run, words):
    for given in (("push push  pop pop ",), ("push,push,pop,pop", "--separator", ",")):
        _, out, _ = run("run", words, *given, "--json")
        (only,) = json.loads(out)["strings"]
        assert (only["length"], only["accepted"]) == (4, True)


def test_long_strings_run_compiled_and_say_the_same(run, machine, monkeypatch):
    """By the compiled runner; in several batches."""
    monkeypatch.setattr(machine_runs, "MOST_PLAIN_SYMBOLS", 20_000)
    monkeypatch.setattr(machine_runs, "SYMBOLS_AT_ONCE", 30_000)
    n = 12_000
    strings = ["a" * n + "b" * n, "a" * n + "b" * (n - 1), "ab", "a" * n + "b" * (n + 1)]
    lines = [line.split() for line in run("run", machine, *strings)[1].splitlines()[1:]]
    assert [line[1:4] for line in lines] == [
        ["24,000", "accept", "falling"], ["23,999", "reject", "falling"], ["2", "accept", "falling"],
        ["24,001", "reject", "fail"],
    ]  # fmt: skip
    assert lines[1][-1] == "1"
    assert lines[0][0] == "a" * 16 + "..." + "b" * 16


def test_many_strings_run_as_one_by_one(monkeypatch):
    """Compiled, every string ends where it ends alone."""
    monkeypatch.setattr(machine_runs, "MOST_PLAIN_SYMBOLS", 20_000)
    one = parse(AS_THEN_BS)
    strings = [machine_runs.GivenString(text, text) for k in range(7) for text in ("a" * k + "b" * 5, "ab" * k)]
    plain = [one.run(string.symbols) for string in strings]
    many = strings * 400
    found = machine_runs.run_strings(one, many, lambda doing, done: None)
    assert sum(len(string.symbols) for string in many) > machine_runs.MOST_PLAIN_SYMBOLS
    assert [last if last.state >= 0 else last.state for last in found] == [
        last if last.state >= 0 else last.state for last in plain * 400
    ]


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        (AS_THEN_BS, ("axb",), "symbol 'x' at position 1 of axb is not in the alphabet 'a', 'b'\n"),
        (AS_THEN_BS, (), "got no string to run; give strings, or - to read one from each line"),
        (AS_THEN_BS, ("a b", "--separator", ","), "symbols are read with ',' between them (--separator)"),
        (WORDS, ("pushpop",), "symbol 'pushpop' at position 0 of pushpop"),
        ("alphabet a\non b fail\n", ("a",), "line 2, column 4: expected"),
        ("", ("a",), "the machine.txt: "),
    ],
)
def test_bad_input_to_run_is_one_line_and_status_2(run, tmp_path, text, arguments, said):
    path = tmp_path / "the machine.txt"
    path.write_text(text, encoding="utf-8")
    status, out, err = run("run", path, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert said in err


def test_standard_input_that_is_no_text_is_refused(run, machine):
    status, _, err = run("run", machine, "-", stdin=b"ab\n\xff")
    assert (status, err) == (2, "tallycell: standard input is not UTF-8 text (byte 3); convert it first\n")


def test_symbols_outside_the_alphabet_can_be_read_as_another(run):
    _, out, _ = run("run", "comment-depth", "int /* a */ b /* c", "--other", "x")
    assert out.splitlines()[1].split()[-3:] == ["depth", "=", "1"]
    status, _, err = run("run", "comment-depth", "int", "--other", "y")
    assert (status, err) == (2, "tallycell: 'y', given with --other, is not in the alphabet '/', '*', 'x'\n")


def test_legal_symbols_and_tags_are_told_as_in_the_notation(run):
    for machine, string, said in (
        ("dyck-1", "()", "  accept, legal (  "),
        ("dyck-1", "(", "  reject, legal ( )  "),
        ("dyck-1", ")", "  reject  "),
        ("comment-depth", "/*", "  reject, comment  "),
        ("modulo-5", "aaaaaaa", "  2  "),
        ("line-over-80", "x", "  nothing  "),
    ):
        assert said in run("run", machine, string)[1], (machine, string)


# ---- machines and export ---------------------------------------------------------------------------------------------


def test_every_shipped_machine_is_listed_with_what_it_does(run):
    status, out, _ = run("machines")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(shipped_machines())
    assert "dyck-1              1       1         ()            Balanced parentheses.\n" in out
    listed = json.loads(run("machines", "--json")[1])["machines"]
    assert [one["name"] for one in listed] == list(shipped_machines())
    assert all(one["description"] and not one["description"].startswith("#") for one in listed)


def test_a_file_comes_before_a_shipped_machine_of_its_name(run, machine, monkeypatch):
    monkeypatch.chdir(machine.parent)
    machine.rename("dyck-1")
    assert "accept  falling" in run("run", "dyck-1", "ab")[1]


def test_an_unknown_machine_is_refused_with_the_nearest_name(run, machine):
    status, out, err = run("run", "dick-1", "()")
    assert (status, out) == (2, "")
    assert err == (
        "tallycell: dick-1 is neither a file nor a shipped machine; did you mean dyck-1? "
        "tallycell machines lists those that are shipped\n"
    )
    assert "is neither a file nor a shipped machine; tallycell machines" in run("run", machine.parent, "()")[2]


@pytest.mark.parametrize("form", ["text", "json"])
def test_exported_machines_are_read_back_equal(run, tmp_path, form):
    path = tmp_path / f"out.{'json' if form == 'json' else 'txt'}"
    for name in shipped_machines():
        assert run("export", name, "--to", form, "-o", path) == (0, "", "")
        assert open_machine(str(path)) == shipped_machine(name), name


def test_exported_python_runs_by_itself(run):
    status, out, _ = run("export", "anbncn", "--to", "python")
    module = {}
    exec(out, module)
    assert status == 0
    assert [module["accepts"](string) for string in ("aabbcc", "aabbc", "aabbbcc")] == [True, False, False]


def test_exported_names_are_chosen(run):
    assert "struct dyck_configuration" in run("export", "dyck-1", "--to", "c", "--name", "dyck")[1]
    assert "struct machine_configuration" in run("export", "dyck-1", "--to", "c")[1]
    assert run("export", "dyck-1", "--to", "dot", "--name", "dyck")[1].startswith('digraph "dyck" {')
    status, _, err = run("export", "dyck-1", "--to", "json", "--name", "dyck")
    assert (status, err) == (2, "tallycell: got --name with --to json; only c and dot hold a name, leave it out\n")


def test_nothing_is_overwritten_half_way(run, machine, tmp_path, monkeypatch):
    old = tmp_path / "old.json"
    old.write_text("precious")

    def refuse(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    status, _, err = run("export", machine, "--to", "json", "-o", old)
    assert (status, err) == (2, f"tallycell: cannot write {old}: No space left on device\n")
    assert old.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {old.name, machine.name}


# ---- extract ---------------------------------------------------------------------------------------------------------


def bracket_net(f_pre=50.0):
    """One unit that counts up on ``(`` and down on ``)``, and says whether it stands above 0."""
    gates = np.array([[50, 50], [f_pre, f_pre], [50, -50], [50, 50.0]])
    parameters = tc.LSTMParameters({"weight_ih_l0": gates, "weight_hh_l0": np.zeros((4, 1))})
    return tc.Recogniser(("(", ")"), np.eye(2), parameters, [[1.0]], [-0.5], ("open",), "threshold")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "brackets.safetensors"
    tc.save(bracket_net(), path)
    return path


@pytest.fixture
def leaky(tmp_path):
    path = tmp_path / "leaky.safetensors"
    tc.save(bracket_net(f_pre=3.0), path)
    return path


PROGRAM = "alphabet ( )\ncounter depth\non (  depth +1\non )  depth -1\ntag open when depth > 0\n"


def test_what_extract_prints_is_a_program_with_its_evidence_as_comments(run, model, tmp_path):
    status, out, err = run("extract", model, "-o", tmp_path / "machine.txt")
    assert (status, err) == (0, "")
    assert out.startswith("# exact: a machine of 1 state and 1 counter decides as the network, after every symbol of")
    assert [line.split(":")[0] for line in out.splitlines()[:5]] == ["# exact", "# on", "# agree", "# breaks", "# try"]
    assert f"\n\n{PROGRAM}\n# How it was read: all gates are set to their limits" in out
    assert "# Machine and network agree on 2,024 of 2,024 strings (100%)" in out
    assert "# Before the first symbol the network says nothing." in out
    assert "with near misses" in " ".join(out.replace("#", "").split())
    assert (tmp_path / "machine.txt").read_text() == out
    assert parse(out) == parse(PROGRAM)
    assert run("run", tmp_path / "machine.txt", "(()")[1].splitlines()[1].split() == [
        "(()", "3", "open", "start", "depth", "=", "1",
    ]  # fmt: skip


def test_extract_says_what_breaks_a_network_and_has_status_1(run, leaky, tmp_path):
    status, out, err = run("extract", leaky, "-o", tmp_path / "machine.txt")
    assert (status, err) == (1, "")
    assert out.startswith(
        "# not exact: no counter machine was found that decides as the network; the best tried has 1 "
    )
    assert "# The program of a machine that does not fit is left out; --anyway prints it." in out
    assert "alphabet" not in out
    assert not (tmp_path / "machine.txt").exists()
    status, out, _ = run("extract", leaky, "--anyway", "-o", tmp_path / "machine.txt")
    assert status == 1
    assert parse((tmp_path / "machine.txt").read_text()) == parse(PROGRAM)
    assert "#   they first differ after ( ( ( ( ) ) )" in out
    (at,) = (k for k, line in enumerate(out.splitlines()) if line == "# What breaks it:")
    assert "layer 0 unit 0: f is 0.953, not 1: it forgets 4.74% of its cell each step" in out.splitlines()[at + 1]
    assert parse(out) == parse(PROGRAM)
    assert max(map(len, out.splitlines())) <= 112


def test_extract_as_json(run, leaky, tmp_path):
    status, out, _ = run("extract", leaky, "--json")
    value = json.loads(out)
    assert (status, value["machine"], value["program"]) == (1, None, None)
    status, out, _ = run("extract", leaky, "--json", "--anyway", "-o", tmp_path / "machine.json")
    value = json.loads(out)
    assert status == 1
    assert (value["schema_version"], value["exact"]) == ("2", False)
    assert [line.partition(":")[0] for line in value["answer"]] == ["not exact", "on", "agree", "breaks", "try"]
    assert value["fidelity"]["first_difference"] == ["(", "(", "(", "(", ")", ")", ")"]
    assert value["fidelity"]["strings_alike"] < value["fidelity"]["strings"]
    assert value["breaks"][0]["gate"] == "f"
    assert value["evidence"][0]["counter"] == "depth"
    assert (
        from_json(json.dumps(value["machine"]))
        == parse(value["program"])
        == open_machine(str(tmp_path / "machine.json"))
    )


def test_extract_reads_a_sample_or_an_automaton(run, model, tmp_path):
    sample = tmp_path / "sample.txt"
    sample.write_text("()\n(())\n(()\n")
    _, out, _ = run("extract", model, "--inputs", sample)
    assert "# Machine and network agree on 3 of 3 strings (100%), 9 of 9 steps (100%)" in out
    assert run("extract", model, "--inputs", "-", stdin=sample.read_bytes())[1] == out
    automaton = tmp_path / "opening.txt"
    automaton.write_text("alphabet ( )\non (  hold\non )  fail\naccept\n")
    _, out, _ = run("extract", model, "--allowed", automaton)
    assert parse(out) == parse(
        "alphabet ( )\non )  fail\nstate start:\n  on (  -> in_open\nstate in_open:\n  on (  hold\n  tag open\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("extract", "none.safetensors"), "there is no file none.safetensors"),
        (("extract", "bare.safetensors"), "bare.safetensors holds an LSTM without alphabet and decision; say what it"),
        (
            ("check", "dyck-1", "bare.safetensors"),
            "(in Python: tallycell.Recogniser.from_torch of the module, from_load",
        ),
        (
            ("extract", "brackets.safetensors", "--decision", "argmax"),
            "holds a recogniser, which has its alphabet, outp",
        ),
        (
            ("extract", "bare.safetensors", "--alphabet", "()", "--outputs", "open", "--decision", "most"),
            "decision is 'most'; expected 'argmax', 'threshold', 'sigmoid above P', 'softmax above P' or 'classes'",
        ),
        (
            ("extract", "bare.safetensors", "--alphabet", "()", "--outputs", "open", "--decision", "threshold"),
            "bare.safetensors has no linear layer behind its LSTM that tallycell knows of",
        ),
        (("extract", "brackets.safetensors", "-o", "nowhere/x.txt"), "nowhere/x.txt: there is no folder nowhere"),
        (("extract", "brackets.safetensors", "-o", "."), "cannot write .: it is a folder"),
        (("extract", "brackets.safetensors", "--inputs", "a", "--allowed", "b"), "got both --inputs and --allowed"),
        (("extract", "brackets.safetensors", "--inputs", "none.txt"), "there is no file none.txt"),
        (("extract", "brackets.safetensors", "--inputs", "as_then_bs.txt"), "symbol 'a' at position 0 of alphabet a b"),
        (("extract", "brackets.safetensors", "--allowed", "dyck-1"), "has the counters 'depth'; give one without"),
        (("run", "brackets.safetensors", "()"), "brackets.safetensors is not UTF-8 text"),
        (("export", "as_then_bs.txt", "-o", "nowhere/x.txt"), "cannot write nowhere/x.txt: there is no folder"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, model, machine, monkeypatch, arguments, said):
    monkeypatch.chdir(model.parent)
    tc.save(bracket_net().parameters, "bare.safetensors")
    status, out, err = run(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("tallycell: ")
    assert said in err


# ---- compile, check, harden ------------------------------------------------------------------------------------------


def test_compiled_network_opens_and_decides_as_the_machine(run, tmp_path):
    path = tmp_path / "anbn.safetensors"
    status, out, err = run("compile", "anbn", "-o", path)
    assert (status, err) == (0, "")
    assert out.startswith(
        f"{path} holds an LSTM of 3 units, 1 layer, one direction, 2 inputs, 84 weights (float32), and a"
    )
    assert re.search(r"^horizon: .* on strings of up to 16,[67][0-9,]+ symbols \(float32\)$", out, re.MULTILINE)
    net, machine = tc.load(path).recogniser, shipped_machine("anbn")
    for string in ("", "ab", "aaabbb", "aabbb", "aaabb"):
        steps = tc.record_trace(net, net.inputs[net.encode(string)]) if string else None
        h = np.zeros(3) if steps is None else steps["h"].to_numpy()[0, 0, 0, -1, : net.readout_weight.shape[1]]
        said = [name for name, chosen in zip(net.outputs, net.decide(h), strict=True) if chosen]
        assert sorted(said) == sorted(machine.says(machine.run(string))), string


def test_compile_as_json_in_float64(run, tmp_path):
    path = tmp_path / "dyck.safetensors"
    status, out, _ = run("compile", "dyck-1", "-o", path, "--dtype", "float64", "--json")
    value = json.loads(out)
    assert status == 0
    assert value["network"]["dtype"] == "float64"
    assert value["network"]["weights"] == sum(one.size for one in tc.load(path).lstm.weights.values())
    assert value["horizon"]["symbols"] > 10**9
    assert value["horizon"]["assumptions"]
    assert json.loads(run("compile", "parity", "-o", path, "--json")[1])["horizon"]["symbols"] is None  # no end
    assert json.loads(run("compile", "dyck-1", "-o", path, "--no-prove", "--json")[1])["horizon"] is None


def test_check_of_a_compiled_network_sees_no_difference(run, tmp_path):
    path = tmp_path / "dyck.safetensors"
    assert run("compile", "dyck-1", "-o", path, "--no-prove")[0] == 0
    few = ("--samples", "100", "--longest", "10000")
    status, out, _ = run("check", "dyck-1", path, "--length", "8", *few)
    assert status == 0
    assert "exhaustive  all strings of up to 8 symbols: they agree on 510 of 510\n" in out
    assert "one symbol replaced, inserted or deleted" in out
    assert "proved      horizon: the network provably decides as the machine on strings of up to 16," in out
    assert out.splitlines()[-1] == "no difference was seen"
    own = tmp_path / "own.txt"
    own.write_text("()()\n((\n")
    status, out, _ = run("check", "dyck-1", path, *few, "--strings", own, "--language", "(^n )^2n", "--json")
    value = json.loads(out)
    assert (status, value["agree"], value["first_difference"]) == (0, True, None)
    assert value["counted"][-1] | {"text": ""} == {
        "text": "", "strings": 2, "alike": 2, "steps": 6, "steps_alike": 6, "bound": None, "differing": None,
    }  # fmt: skip
    assert value["first_failure"]["n"] is None
    assert value["first_failure"]["searched"] == value["difference_in_n"]["searched"] == 3333
    assert value["horizon"]["symbols"] > 10**7


def test_check_of_a_leaky_network_has_status_1(run, leaky, tmp_path):
    (tmp_path / "machine.txt").write_text(PROGRAM)
    few = ("--samples", "100", "--longest", "1000")
    status, out, err = run("check", tmp_path / "machine.txt", leaky, *few)
    assert (status, err) == (1, "")
    assert "exhaustive  all strings of up to 10 symbols: they agree on 1,902 of 2,046;" in out
    status, out, _ = run("check", tmp_path / "machine.txt", leaky, *few, "--language", "(^n )^n", "--json")
    value = json.loads(out)
    assert (status, value["agree"], value["first_difference"]) == (1, False, 7)
    # It says nothing of the end, so that it accepts no near miss; it differs from the machine on one before.
    assert (value["first_failure"]["n"], value["first_failure"]["kind"]) == (4, "member")
    assert (value["difference_in_n"]["n"], value["difference_in_n"]["kind"]) == (3, "near miss")


def test_hardened_network_counts_exactly_in_the_sizes_of_the_old(run, model, tmp_path):
    path = tmp_path / "hard.safetensors"
    status, out, _ = run("harden", model, "-o", path)
    assert status == 0
    assert out.startswith("# exact: ")
    assert f"\n{path} holds an LSTM of 1 unit, " in out
    assert "it uses the units of the old network\nhorizon: " in out
    value = json.loads(run("harden", model, "-o", path, "--json", "--no-prove")[1])
    assert (value["same_units"], value["extraction"]["exact"], value["horizon"]) == (True, True, None)


def test_a_network_that_is_no_counter_machine_is_not_hardened(run, leaky, tmp_path):
    path = tmp_path / "hard.safetensors"
    status, out, err = run("harden", leaky, "-o", path)
    assert (status, err) == (1, "")
    lines = [line for line in out.splitlines() if not line.startswith(" ")]
    assert [line.partition(":")[0] for line in lines[:5]] == ["not exact", "on", "agree", "breaks", "try"]
    assert lines[5].startswith(
        "nothing is written, as the hardened network would not do what the network does; --anyway"
    )
    assert "horizon" not in out
    assert not path.exists()
    status, out, _ = run("harden", leaky, "-o", path, "--json")
    assert (status, json.loads(out)["network"], json.loads(out)["horizon"]) == (1, None, None)
    assert not path.exists()


def test_told_to_the_machine_that_fits_best_is_compiled_and_nothing_is_proved(run, leaky, tmp_path):
    path = tmp_path / "hard.safetensors"
    status, out, _ = run("harden", leaky, "-o", path, "--anyway")
    assert status == 0
    assert "# What breaks it:\n#   layer 0 unit 0: f is 0.953" in out
    assert "horizon" not in out
    assert out.rstrip().endswith(
        "nothing is proved of it: the machine that it was made from is not what the old network does"
    )
    (tmp_path / "machine.txt").write_text(PROGRAM)
    assert run("check", tmp_path / "machine.txt", path, "--samples", "100", "--longest", "10000")[0] == 0
    value = json.loads(run("harden", leaky, "-o", path, "--json", "--anyway")[1])
    assert (value["same_units"], value["extraction"]["exact"], value["horizon"]) == (True, False, None)
    assert parse(value["extraction"]["program"]) == parse(PROGRAM)


# ---- networks that are no recognisers yet ----------------------------------------------------------------------------

BRACKETS_AS_JSON = {
    "recogniser": 1, "alphabet": ["(", ")"], "outputs": ["open"], "decision": "threshold",
    "weights": {"weight_ih_l0": [[50, 50], [50, 50], [50, -50], [50, 50]], "weight_hh_l0": [[0]] * 4},
    "readout_weight": [[1]], "readout_bias": [-0.5],
}  # fmt: skip


def test_a_recogniser_written_by_hand_as_json_is_read(run, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(BRACKETS_AS_JSON))
    status, out, err = run("extract", path)
    assert (status, err) == (0, "")
    assert parse(out) == parse(PROGRAM)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"recogniser": 2}, "is of version 2; this tallycell reads version 1"),
        ({"outputs": None}, "outputs is None; expected a list of texts"),
        ({"colour": 1}, "'colour' is none of a recogniser's; those are recogniser, weights, inputs"),
        ({"readout_weight": [[1], [1, 2]]}, "'readout_weight' is not an even array of numbers"),
        ({"readout_weight": [[1], [2]]}, "readout_weight of the recogniser has shape (2, 1), expected (1, 1)"),
        ({"readout_weight": [["q" * 10**6, *[1] * 10**5]]}, "'readout_weight' is not an even array of numbers"),
        ({"readout_bias": [1e39]}, "readout_bias of the recogniser has values that are NaN or infinite"),
        ({"weights": {"weight\x1b": [["1"]]}}, r"'weight\x1b' is not an even array of numbers"),
        ({"weights": [1]}, "weights is [1]; expected an object of tensors under PyTorch's names"),
        ({"dtype": "int8"}, "dtype is 'int8'; expected 'float32' or 'float64'"),
    ],
)
def test_a_recogniser_that_is_written_wrongly_is_refused(run, tmp_path, changed, said):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(BRACKETS_AS_JSON | changed))
    status, out, err = run("extract", path)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert said in err


def dynet_text(**changed):
    """A counter of brackets as DyNet writes it: gates i f o g, 1 added to f when it runs, matrices column by column."""
    of_x = np.repeat([[50.0, 50.0], [49.0, 49.0], [50.0, 50.0], [50.0, -50.0]], 2, axis=0)
    arrays = {
        "/vanilla-lstm-builder/_0": of_x, "/vanilla-lstm-builder/_1": np.zeros((8, 2)),
        "/vanilla-lstm-builder/_2": np.zeros(8), "/_1": np.array([[1.0, 0.0]]), "/_2": np.array([-0.5]),
    }  # fmt: skip
    lines = []
    for name, array in (arrays | changed).items():
        sizes = ",".join(map(str, array.shape))
        lines += [f"#Parameter# {name} {{{sizes}}} {array.size * 16} ZERO_GRAD"]
        lines += [" ".join(f"{value:+.8e}" for value in array.ravel(order="F"))]
    return "\n".join(lines) + "\n"


def test_a_text_file_of_dynet_is_read(run, tmp_path):
    path = tmp_path / "counter.model"
    path.write_text(dynet_text())
    said = ("--alphabet", "()", "--outputs", "open", "--decision", "threshold")
    status, out, err = run("extract", path, *said)
    assert (status, err) == (0, "")
    assert parse(out) == parse(PROGRAM)
    path.write_text(dynet_text().replace("-5.00000000e-01", ""))
    assert "should hold (1,) numbers, and 0 stand behind it; it is damaged" in run("extract", path, *said)[2]
    path.write_text(dynet_text(**{"/vanilla-lstm-builder/_1": np.zeros((8, 3))}))
    assert "holds 0 LSTMs that can be read; expected one VanillaLSTMBuilder" in run("extract", path, *said)[2]


def test_a_state_dict_is_read_with_what_is_said_of_it(run, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    parts = {"front": torch.nn.Linear(2, 3), "lstm": torch.nn.LSTM(3, 4), "out": torch.nn.Linear(4, 2)}
    torch.save(torch.nn.ModuleDict(parts).state_dict(), tmp_path / "model.pt")
    (tmp_path / "words.txt").write_text("ab\naabb\n")
    status, out, err = run(
        "extract", tmp_path / "model.pt", "--alphabet", "ab", "--outputs", "no yes", "--decision", "softmax above 0.4",
        "--inputs", tmp_path / "words.txt", "--json",
    )  # fmt: skip
    assert status in (0, 1)
    assert err == "tallycell: 'front' (Linear) in front of the LSTM is folded into what it reads at each symbol\n"
    assert json.loads(out)["fidelity"]["strings"] == 2


def test_a_language_may_repeat_a_word(run, tmp_path):
    (tmp_path / "machine.txt").write_text(
        "alphabet a b c\ncounter n\notherwise fail\nstate x:\non a -> y\non c n > 0 n -1 -> z\nstate y:\n"
        "on b n +1 -> x\nstate z:\non c n > 0 n -1\naccept when n = 0\n"
    )
    path = tmp_path / "net.safetensors"
    assert run("compile", tmp_path / "machine.txt", "-o", path, "--no-prove")[0] == 0
    few = ("--samples", "50", "--longest", "3000", "--length", "5", "--json")
    status, out, _ = run("check", tmp_path / "machine.txt", path, *few, "--language", "(ab)^n c^n")
    found = json.loads(out)["first_failure"]
    assert (status, found["n"]) == (0, None)
    assert found["searched"] == 1000


def test_what_nothing_reaches_in_a_program_is_said(run, tmp_path):
    path = tmp_path / "odd.machine"
    path.write_text("alphabet a\nstate x:\non a hold\naccept\nstate y:\non a hold\n")
    status, out, err = run("run", path, "a")
    assert status == 0
    assert "accept" in out
    assert err == f"tallycell: {path}, line 5: nothing leads to the state y\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("compile", "anbn", "-o", "anbn.txt"),
            "anbn.txt: what is written is safetensors, so let the name",
        ),
        (("compile", "anbn", "-o", "nowhere/x.safetensors"), "there is no folder nowhere"),
        (("compile", "nothing", "-o", "x.safetensors"), "nothing is neither a file nor a shipped machine"),
        (("harden", "brackets.safetensors", "-o", "x.pt"), "let the name end in .safetensors"),
        (("check", "anbn", "brackets.safetensors"), "they must have the same outputs and decision rule"),
        (("check", "anbn", "none.safetensors"), "there is no file none.safetensors"),
        (("check", "dyck-1", "brackets.safetensors", "--language", "()"), "give symbols with powers of n, such as"),
        (("check", "dyck-1", "brackets.safetensors", "--language", "a^n"), "symbol 'a' of the language is not in"),
    ],
)
def test_bad_input_about_networks_is_one_line_and_status_2(run, model, monkeypatch, arguments, said):
    monkeypatch.chdir(model.parent)
    before = {path.name for path in model.parent.iterdir()}
    status, out, err = run(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert said in err
    assert {path.name for path in model.parent.iterdir()} == before


# ---- what the pages show ---------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def numbers_in(text):
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


def blocks(page):
    """Python code, and commands with what they print, in the order of the page."""
    for kind, block in re.findall(r"```(console|python)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        if kind == "python":
            yield block, None
        else:
            for command in block.removeprefix("$ ").split("\n$ "):
                line, _, shown = command.partition("\n")
                yield line, shown.splitlines()


def assert_shown(shown, printed, command):
    """What is shown is printed, in order; ``...`` stands for any lines. Figures may differ a little elsewhere."""
    at, skipping = 0, False
    for line in shown:
        if line == "...":
            skipping = True
            continue
        wanted = NUMBER.sub("#", line)
        while skipping and at < len(printed) and NUMBER.sub("#", printed[at]) != wanted:
            at += 1
        assert at < len(printed), f"{command}: nothing more is printed, but shown is {line!r}"
        assert NUMBER.sub("#", printed[at]) == wanted, command
        assert numbers_in(line) == pytest.approx(numbers_in(printed[at]), rel=0.05, abs=0.02), command
        at, skipping = at + 1, False
    assert skipping or at == len(printed), f"{command}: more is printed: {printed[at:]}"


@pytest.mark.parametrize("name", ["README.md", "docs/machines.md"])
def test_pages_show_what_the_commands_print(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    commands = [(code, shown) for code, shown in blocks(ROOT / name) if name != "README.md" or shown is not None]
    assert sum(shown is not None for _, shown in commands) >= 2
    for code, shown in commands:
        if shown is None:
            exec(code, {})
            continue
        program, *arguments = shlex.split(code)
        assert program == "tallycell"
        status, out, err = run(*arguments)
        assert (status, err) == (1 if shown[0].startswith("# not exact") else 0, ""), code
        assert_shown(shown, [line.rstrip() for line in out.splitlines()], code)
