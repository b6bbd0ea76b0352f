import argparse
import itertools
import json
import math
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks are not installed; they run from the repository

from benchmarks import cold, floor, grid, race, report, timing  # noqa: E402

TINY = grid.Cell(8, 2, 5)
LIMITS = floor.Limits(peak=1e9, read={1000: 8e9, 100_000: 1e9}, write={1000: 4e9})
STEADY = {"hidden": 8, "batch": 2, "time": 5, "threads": 1}


def run_benchmarks(*arguments):
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def figures_of(tmp_path, monkeypatch, capsys):
    """Run a benchmark in this process; give its figures and what it printed.

    It takes the cores of the tests, as what it sets would last; how fast the machine is is measured in haste.
    """
    pytest.importorskip("onnxruntime")
    from benchmarks import __main__, activations, api, probes, stream

    from tallycell.kernels.cpu import readiness

    for module in (activations, api, race, stream):
        monkeypatch.setattr(module, "use_threads", lambda _: None)
    monkeypatch.setattr(probes, "SAMPLE_BYTES", 2**16)
    monkeypatch.setattr(probes, "TRIES", 1)
    monkeypatch.setattr(readiness, "_seconds_spent", {})  # what it has compiled early would be early for other tests

    def call(*arguments):
        file = tmp_path / "kept.json"
        monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, arguments), "--json", str(file)])
        __main__.main()
        return json.loads(file.read_text())["figures"], capsys.readouterr().out

    return call


# The grid


def test_the_grid_is_that_of_the_targets():
    assert len(grid.GRID) == len(set(grid.GRID)) == 5 * 4 * 2
    assert {cell.hidden for cell in grid.GRID} == {32, 128, 256, 512, 1024}
    assert {cell.batch for cell in grid.GRID} == {1, 8, 32, 128}
    assert {cell.time for cell in grid.GRID} == {100, 1000}
    assert set(grid.QUICK) <= set(grid.GRID)


def test_flops_are_two_a_weight_a_step_and_three_times_that_to_train():
    weights = 4 * 8 * 8 + 4 * 8 * 8
    assert TINY.forward_flops == 2 * weights * 2 * 5
    assert TINY.train_flops == 3 * TINY.forward_flops


def test_a_cell_is_read_as_it_is_printed():
    assert grid.parse_cell(str(TINY)) == TINY


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8,2", "'8,2' is not hidden,batch,time"),
        ("8,2,5,1", "is not hidden,batch,time"),
        ("8,x,5", "is not hidden,batch,time"),
        ("8,0,5", "'8,0,5' has a size below 1"),
    ],
)
def test_what_is_no_cell_is_refused(text, said):
    with pytest.raises(argparse.ArgumentTypeError, match=said):
        grid.parse_cell(text)


def test_cells_named_win_over_quick_and_quick_over_the_grid():
    def chosen(*words):
        parser = argparse.ArgumentParser()
        grid.add_grid_arguments(parser, seconds=1.0)
        return grid.chosen_cells(parser.parse_args(words))

    assert chosen() == list(grid.GRID)
    assert chosen("--quick") == list(grid.QUICK)
    assert chosen("--quick", "--cells", "8,2,5", "1,1,1") == [TINY, grid.Cell(1, 1, 1)]


def test_cells_over_five_seconds_are_left_out():
    cells = grid.GRID[:3]
    expected = dict(zip(cells, (5.0, 5.1, 0.1), strict=True))
    assert grid.split_by_time(cells, expected) == ([cells[0], cells[2]], [cells[1]])


# The floor


def test_rate_is_the_best_at_the_next_smaller_size_or_beyond():
    rates = {10: 5.0, 100: 1.0, 1000: 2.0}
    assert [floor.rate_at(rates, size) for size in (1, 10, 99, 100, 5000)] == [5.0, 5.0, 5.0, 2.0, 2.0]


def test_floor_of_large_batches_is_their_arithmetic():
    cell = grid.Cell(8, 1000, 5)
    generous = replace(LIMITS, read={1: math.inf}, write={1: math.inf})
    assert floor.forward_floor(cell, generous) == pytest.approx(cell.forward_flops / 1e9)
    assert floor.train_floor(cell, generous) == pytest.approx(cell.train_flops / 1e9)


def test_floor_of_one_sequence_reads_the_recurrent_weights_at_each_step():
    cell, slow = grid.Cell(8, 1, 1000), floor.Limits(peak=1e15, read={1: 1e6}, write={1: math.inf})
    weights = 4 * 8 * 8 * 4  # bytes
    assert floor.forward_floor(cell, slow) == pytest.approx((1000 + 1) * weights / 1e6)  # the input's are read once
    assert floor.train_floor(cell, slow) == pytest.approx((2 * 1000 + 4) * weights / 1e6)


def test_floor_where_nothing_else_counts_is_what_is_stored():
    stored = 6 * 4 * TINY.hidden * TINY.batch * TINY.time  # bytes
    slow = floor.Limits(peak=math.inf, read={1: 2e6}, write={1: 1e3})
    assert floor.forward_floor(TINY, slow) == pytest.approx(stored / 1e3)
    assert floor.train_floor(TINY, slow) == pytest.approx(stored / 1e3 + stored / 2e6)


# Statistics


class Ticks:
    """A clock that each call moves by what it is said to take."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def call(self, name, seconds, seen):
        def run():
            seen.append(name)
            self.now += next(seconds)

        return run


def test_medians_of_competitors_that_run_in_turn(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_S", 0.0)  # one call a sample
    ticks, seen = Ticks(), []
    calls = {
        "a": ticks.call("a", iter([9, 9, 1, 5, 2]), seen),  # two calls come before the rounds
        "b": ticks.call("b", itertools.repeat(3), seen),
    }
    assert timing.interleave(calls, ticks, seconds=0.0) == {"a": 2, "b": 3}
    assert "".join(seen[:4]) == "aabb"
    rounds = ["".join(seen[k : k + 2]) for k in range(4, len(seen), 2)]
    assert len(rounds) == 3
    assert set(rounds) == {"ab", "ba"}  # nobody always comes first


def test_a_short_call_is_repeated_within_a_sample(monkeypatch):
    ticks, seen = Ticks(), []
    monkeypatch.setattr(timing, "SAMPLE_S", 10.0)
    monkeypatch.setattr(timing.time, "perf_counter", ticks)
    seconds = itertools.chain([4, 4], itertools.cycle([100, 4, 5, 6]))  # a sample's first call is not counted
    assert timing.interleave({"a": ticks.call("a", seconds, seen)}, ticks, seconds=0.0) == {"a": 5}
    assert len(seen) == 2 + 3 * (1 + 3)  # 10 s are three calls of 4 s


def test_a_result_is_held_until_the_next_call_has_returned(monkeypatch):
    monkeypatch.setattr(timing, "SAMPLE_S", 0.0)

    class Result:
        pass

    made, alive = [], []

    def call():
        alive.append([result() is not None for result in made[-2:]])
        result = Result()
        made.append(weakref.ref(result))
        return result

    timing.interleave({"a": call, "b": lambda: None}, Ticks(), seconds=0.0)
    assert alive == [[], [True], *[[False, True]] * 3]


def test_rounds_end_with_the_time_or_at_sixty(monkeypatch):
    seen, wall = [], Ticks()
    monkeypatch.setattr(timing.time, "perf_counter", wall)
    calls = {"a": wall.call("a", itertools.repeat(1.0), seen)}
    timing.interleave(calls, wall, seconds=10.0)
    assert len(seen) == 2 + 10
    seen.clear()
    timing.interleave(calls, wall, seconds=1e9)
    assert len(seen) == 2 + 60


def test_one_thread_is_timed_by_cpu_time_and_more_by_wall_time():
    assert timing.clock_for(1) is timing.time.process_time
    assert timing.clock_for(2) is timing.time.perf_counter


@pytest.mark.parametrize(
    ("ratios", "passed", "over"),
    [
        ({"a": 1.03, "b": 0.5}, True, []),  # 3 % is noise
        ({"a": 1.04, "b": 0.5}, False, ["a"]),
        ({"a": 0.9, "b": 0.9}, False, []),  # the mean is over
        ({"a": 0.9, "b": math.nan}, False, ["b"]),
    ],
)
def test_both_limits_must_be_kept_noise_granted(ratios, passed, over):
    verdict = timing.judge(ratios, timing.Target(worst=1.0, mean=0.75))
    assert (verdict["passed"], verdict["over"]) == (passed, over)


def test_a_verdict_says_the_worst_where_it_is_and_the_mean():
    verdict = timing.judge({"8,2,5": 1.6, "8,1,5": 0.4}, timing.Target(worst=1.0, mean=0.8))
    assert verdict["geometric_mean"] == pytest.approx(0.8)
    assert timing.verdict_line("x / y", verdict) == (
        "x / y: worst 1.600 (at 8,2,5, target <= 1.00), geometric mean 0.800 (target <= 0.80): SHORT OF IT; "
        "above the limit: 8,2,5"
    )
    kept = timing.judge({"8,2,5": 0.5}, timing.Target(worst=1.0))
    assert timing.verdict_line("x / y", kept).endswith("geometric mean 0.500 (no target): PASS")
    assert timing.verdict_line("x / y", timing.judge({"8,2,5": 0.5}, timing.Target())).endswith("0.500 (no target)")


# Rows


def test_a_row_has_times_in_ms_and_ratios_to_torch_and_to_the_floor():
    row = race.make_row(TINY, 1, {"ours": 0.5, "torch": 2.0, "loop": 8.0}, floor=0.25)
    times = {"ours_ms": 500.0, "torch_ms": 2000.0, "ratio": 0.25, "floor_ratio": 2.0, "loop_ms": 8000.0}
    assert row == STEADY | times
    assert list(row)[:8] == ["hidden", "batch", "time", "threads", "ours_ms", "torch_ms", "ratio", "floor_ratio"]
    assert "ratio 0.250  2.00 x floor  loop 8e+03 ms" in race.row_line(row)


def run_fake_race(monkeypatch, *words):
    """A race in which ours takes 1 s, torch 2 s, the loop 4 s, and torch is expected to take a sixteenth a sequence."""
    pytest.importorskip("torch")
    from benchmarks import probes

    monkeypatch.setattr(race, "use_threads", lambda threads: None)
    monkeypatch.setattr(
        race, "interleave", lambda calls, clock, seconds: {name: call() for name, call in calls.items()}
    )
    monkeypatch.setattr(probes, "say_limits", lambda threads: LIMITS)
    times = {"ours": 1.0, "torch": 2.0, "loop": 4.0}

    def enter(cell, threads, aside):
        return {name: lambda time=time: time for name, time in times.items() if name != "loop" or aside}

    parser = argparse.ArgumentParser()
    race.add_race_arguments(parser)
    fake = race.Race("fake", timing.Target(), lambda cell: cell.batch, floor.forward_floor, enter, gradients=True)
    return race.run_race(parser.parse_args(words), fake)


def test_a_race_leaves_out_what_takes_long_and_runs_the_loop_where_it_is_short(monkeypatch):
    figures = run_fake_race(monkeypatch)
    assert {row["batch"] for row in figures["rows"]} == {1, 8, 32}
    assert len(figures["left_out"]) == 10
    assert figures["left_out"][0] == "32,128,100"  # 128 sequences: 8 s
    assert {row["batch"] for row in figures["rows"] if "loop_ms" in row} == {1}
    assert {row["ratio"] for row in figures["rows"]} == {0.5}


def test_cells_that_are_named_run_whatever_they_take(monkeypatch):
    figures = run_fake_race(monkeypatch, "--cells", "32,128,100")
    assert figures["left_out"] == []
    assert figures["rows"][0]["loop_ms"] == 4000.0


def test_torch_runs_in_our_place_against_itself(monkeypatch):
    figures = run_fake_race(monkeypatch, "--itself", "--quick")
    assert {row["ratio"] for row in figures["rows"]} == {1.0}
    assert figures["answers"][0].startswith("fake, torch.nn.LSTM / torch.nn.LSTM: worst 1.000 ")


def test_cold_start_is_judged_by_wall_time(capsys):
    runs = {"right after the install": [5.9, 7.0, 5.0], "later": [1.1, 1.2, 0.1]}
    seconds = {kind: [{"wall": wall, "cpu": 0.5} for wall in walls] for kind, walls in runs.items()}
    figures = cold.summarise(seconds, compiled=4)
    assert [row["wall_s"] for row in figures["rows"]] == [5.9, 1.1]
    assert figures["answers"] == [
        "right after the install: 5.90 s (CPU 0.50 s; target < 6.0 s): PASS",
        "later: 1.10 s (CPU 0.50 s; target < 1.0 s): SHORT OF IT",
        "4 functions in the compile cache",
    ]
    assert "nothing was compiled" in cold.summarise(seconds, compiled=0)["answers"][-1]


# The report

KEPT = {
    "benchmark": "forward",
    "date": "2025-01-02T03:04:05+00:00",
    "machine": {"processor": "Abacus", "cores": 2, "versions": {"torch": "2.0", "onnxruntime": None}},
    "figures": {"threads": 1, "answers": ["all is well"], "rows": [{"hidden": 8, "ratio": 0.5}, {"loop_ms": 1234.5}]},
}


def test_a_report_replaces_the_last_answers_and_nothing_else(tmp_path, capsys):
    page, kept = tmp_path / "page.md", tmp_path / "kept.json"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    kept.write_text(json.dumps(KEPT))
    arguments = argparse.Namespace(files=[kept, kept], markdown=False, readme=page)
    report.run(arguments)
    written = page.read_text()
    assert written.startswith(f"before\n{report.BEGIN}\n\n### `python -m benchmarks forward --threads 1`\n")
    assert "2025-01-02, Abacus, 2 cores, torch 2.0.\n\n- all is well\n" in written
    assert "| hidden | ratio | loop ms |\n| --- | --- | --- |\n| 8 | 0.500 | - |\n| - | - | 1.23e+03 |\n" in written
    assert "old" not in written
    assert written.count("###") == 2
    assert written.endswith(f"{report.END}\nafter\n")
    report.run(arguments)
    assert page.read_text() == written


def test_a_report_can_be_printed(tmp_path, capsys):
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(KEPT))
    report.run(argparse.Namespace(files=[kept], markdown=True, readme=tmp_path / "none.md"))
    assert capsys.readouterr().out == report.section(KEPT) + "\n"


@pytest.mark.parametrize("page", ["text", report.BEGIN, report.END, report.END + report.BEGIN])
def test_a_page_without_marks_is_refused(page):
    with pytest.raises(SystemExit, match="the page has no <!-- answers: begin -->"):
        report.replace_answers(page, "answers")


def test_the_readme_has_its_marks_and_every_benchmark(monkeypatch, capsys):
    from benchmarks import __main__

    page = report.README.read_text(encoding="utf-8")
    assert report.replace_answers(page, "x").count(report.BEGIN) == 1
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--help"])
    with pytest.raises(SystemExit):
        __main__.main()
    listed = capsys.readouterr().out
    for name in ("forward", "train", "activations", "stream", "api", "cold", "import"):
        assert f"| `{name}` |" in page
        assert f"\n    {name} " in listed


# Verification


@pytest.mark.parametrize("part", ["output", "h_n", "c_n", "i", "f", "g", "o", "c", "h"])
def test_nothing_is_timed_if_any_part_of_ours_is_wrong(part):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from benchmarks import competitors, forward

    module, x = competitors.make_torch_lstm(TINY), competitors.make_input(TINY)
    with torch.no_grad():
        output, (h_n, c_n), gates = competitors.make_ours(module).traced(x)
        right = {"ours": lambda: (output, (h_n, c_n), gates), "torch": lambda: module(x)}
        forward.verify(TINY, module, x, right)
        parts = {"output": output, "h_n": h_n, "c_n": c_n}
        if part in parts:
            parts[part] = parts[part] + 1e-4
        else:
            gates = replace(gates, **{part: ((getattr(gates, part)[0][0] + 1e-4,),)})
        wrong = right | {"ours": lambda: (parts["output"], (parts["h_n"], parts["c_n"]), gates)}
        with pytest.raises(competitors.DisagreementError, match=rf"8,2,5: .*\b{part} differs by"):
            forward.verify(TINY, module, x, wrong)


def test_nothing_is_timed_if_a_gradient_is_wrong():
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from benchmarks import competitors, train

    module, x = competitors.make_torch_lstm(TINY), competitors.make_input(TINY).requires_grad_()
    gradient = competitors.make_input(TINY)
    calls = {name: lambda: train.train_step(module, x, gradient, module(x)) for name in ("ours", "torch")}
    modules = {"ours": module, "torch": module}
    train.verify(TINY, modules, x, calls)

    def spoil():
        calls["torch"]()
        module.weight_hh_l0.grad += 1e-3

    with pytest.raises(competitors.DisagreementError, match="gradient of ours to weight_hh_l0 differs"):
        train.verify(TINY, modules, x, calls | {"ours": spoil})


def test_a_difference_is_measured_by_the_size_of_what_differs():
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from benchmarks import competitors

    assert competitors.difference(torch.tensor([0.0, 5.0]), torch.tensor([1.0, 3.0])) == 2 / (1 + 3)


def test_nan_is_no_agreement():
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    from benchmarks import competitors

    with pytest.raises(competitors.DisagreementError, match="h differs by nan, at most 1e-05 is expected"):
        competitors.require_same("h", torch.tensor([math.nan]), torch.zeros(1))


# The commands


def test_import_benchmark_keeps_its_runs_and_the_machine(tmp_path):
    file = tmp_path / "import.json"
    done = run_benchmarks("import", "--runs", 3, "--json", file)
    assert done.returncode == 0, done.stderr
    assert "median of 3, target under 0.6 s" in done.stdout
    kept = json.loads(file.read_text())
    assert kept["machine"]["processor"] in done.stdout
    assert kept["machine"]["versions"]["numpy"]
    for name in ("import tallycell", "nothing"):
        runs = kept["figures"]["runs_s"][name]
        assert len(runs) == 3
        assert kept["figures"]["median_s"][name] == pytest.approx(sorted(runs)[1])
    assert report.section(kept).count("\n| ") == 2 + 3


@pytest.mark.parametrize(("name", "beside"), [("forward", {"onnxruntime_ms", "loop_ms"}), ("train", {"loop_ms"})])
def test_races_run_on_a_cell(figures_of, name, beside):
    check_race(*figures_of(name, "--cells", "8,2,5", "--seconds", 0.01), threads=1, beside=beside)


def test_a_race_of_two_threads_runs_as_a_program(tmp_path):
    pytest.importorskip("onnxruntime")
    file = tmp_path / "kept.json"
    done = run_benchmarks("forward", "--cells", "8,2,5", "--threads", 2, "--seconds", 0.01, "--json", file)
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())["figures"]
    check_race(figures, done.stdout, threads=2, beside={"onnxruntime_ms", "loop_ms"})


def check_race(figures, printed, *, threads, beside):
    (row,) = figures["rows"]
    assert set(row) == {*STEADY, "ours_ms", "torch_ms", "ratio", "floor_ratio", *beside}
    assert {key: row[key] for key in STEADY} == STEADY | {"threads": threads}
    assert row["ratio"] == pytest.approx(row["ours_ms"] / row["torch_ms"])
    assert figures["verdicts"]["ratio"]["worst"] == row["ratio"]
    assert figures["answers"][0] in printed


def test_activations_run_on_a_cell(figures_of):
    figures, _ = figures_of("activations", "--cells", "8,2,5", "--seconds", 0.01)
    assert [row["activations"] for row in figures["rows"]] == ["hard_sigmoid/hard_tanh", "sigmoid/relu", "own"]
    for row in figures["rows"]:
        assert row["ratio"] == pytest.approx(row["ours_ms"] / row["usual_ms"])
    assert figures["verdicts"]["loop"]["target_mean"] == pytest.approx(1 / 3)


def test_stream_runs_on_a_size(figures_of):
    figures, _ = figures_of("stream", "--hidden", 8, "--seconds", 0.01)
    (row,) = figures["rows"]
    assert {"step_ms", "stream_ms", "torch_ms", "onnxruntime_ms"} < set(row)
    assert row["ratio"] == pytest.approx(row["step_ms"] / row["torch_ms"])
    verdict = figures["verdicts"]["stream/onnxruntime"]
    assert verdict["worst"] == pytest.approx(row["stream_ms"] / row["onnxruntime_ms"])


def test_api_runs_on_a_cell(figures_of):
    figures, _ = figures_of("api", "--cells", "8,2,5", "--seconds", 0.01)
    assert figures["rows"][0]["ours_ms"] > 0
    assert figures["answers"][0].endswith("(no target)")


def test_cold_runs(figures_of):
    figures, _ = figures_of("cold", "--runs", 1)
    assert [row["process"] for row in figures["rows"]] == ["right after the install", "later"]
    assert all(row["wall_s"] > 0 for row in figures["rows"])


def test_an_unknown_benchmark_is_refused():
    done = run_benchmarks("nonsense")
    assert done.returncode == 2
    assert "invalid choice: 'nonsense'" in done.stderr
