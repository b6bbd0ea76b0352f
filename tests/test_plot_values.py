"""Pictures hold the numbers of the values that they are drawn from."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from plotted import ROWS, TEXT, account, counting, effects, lines, picture, stacked, texts
from reading_cells import climb
from tallycell.errors import InputError, MissingExtraError
from tallycell.machine.notation.graph import graph_of
from tallycell.machine.shipped import shipped_machine, shipped_machines
from tallycell.plot import (
    LanguageRow,
    Published,
    Span,
    plot_account,
    plot_effects,
    plot_lengths,
    plot_machine,
    plot_saturation,
    plot_unit,
    require_picture,
    save_picture,
)  # fmt: skip
from tallycell.plot.layout_of_graph import lay_out
from tallycell.plot.life import live
from tallycell.reading.cells import iterate_cells
from tallycell.reading.events import EXPOSE, FORGET, WRITE, read_events
from tallycell.reading.quoted import explain_quoted
from tallycell.reading.units import select_unit


def bars(figure, *names):
    """Heights of bars by where they stand."""
    patches = [one for group in figure.axes for box in group.containers for one in box if one.get_gid() in names]
    return {round(one.get_x() + one.get_width() / 2): one.get_height() for one in patches}


# ---- saturation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", ["i", "f", "g", "o", "hidden(c)"])
def test_marks_of_saturation_stand_at_the_shares_of_the_units(gate):
    read = tc.read_saturation(stacked())
    figure = plot_saturation(stacked())
    for layer in (0, 1):
        for direction in ("forward", "reverse"):
            (marks,) = lines(figure, f"{gate} {layer} {direction}")
            here = read.sel(gate=gate, layer=layer, direction=direction)
            np.testing.assert_array_equal(marks.get_xdata(), here["left"])
            np.testing.assert_array_equal(marks.get_ydata(), here["right"])


def test_every_unit_lies_in_the_triangle():
    for name in ("saturation", "saturation of a stack"):
        marks = picture(name).findobj(lambda one: (one.get_gid() or "").endswith(("forward", "reverse")))
        assert marks
        for one in marks:
            x, y = np.asarray(one.get_xdata()), np.asarray(one.get_ydata())
            assert (x >= 0).all()
            assert (y >= 0).all()
            assert (x + y <= 1 + 1e-12).all()


def test_a_trace_its_saturation_and_its_reading_give_the_same_marks():
    trace, reading, _ = counting()
    found = [lines(plot_saturation(one), "f 0 forward")[0] for one in (trace, tc.read_saturation(trace), reading)]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].get_xydata(), other.get_xydata())


def test_layers_and_directions_differ_in_their_marks():
    figure = picture("saturation of a stack")
    looks = {
        name: (
            lines(figure, f"f {name}")[0].get_marker(),
            lines(figure, f"f {name}")[0].get_markerfacecolor() == "none",
        )
        for name in ("0 forward", "1 forward", "0 reverse", "1 reverse")
    }
    assert len(set(looks.values())) == 4


def test_what_has_no_saturation_is_refused():
    reading = tc.reading.Reading(counting()[1].units)
    with pytest.raises(InputError, match="this reading holds no saturation; plot what read_saturation gives"):
        plot_saturation(reading)
    with pytest.raises(InputError, match="cannot plot 5; give a reading, a trace, or what read_saturation gave"):
        plot_saturation(5)


# ---- a unit ----------------------------------------------------------------------------------------------------------


def test_a_unit_is_drawn_with_the_numbers_of_its_trace():
    trace, reading, known = counting()
    figure = plot_unit(trace, reading.units[0], TEXT, known, spans=Span(5, 45))
    here = trace.isel(layer=0, direction=0, sequence=0, unit=0, time=slice(5, 45))
    (cell,), (quantity,) = lines(figure, "cell"), lines(figure, "quantity")
    np.testing.assert_array_equal(cell.get_ydata(), here["c"])
    np.testing.assert_allclose(quantity.get_ydata(), known["depth"][5:45], atol=1e-6)  # the cell is the depth
    np.testing.assert_allclose(list(bars(figure, "resets", "leaks").values()), 1 - here["f"], atol=1e-12)
    written, forgotten, shown = bars(figure, "up", "down"), bars(figure, "leaks", "resets"), bars(figure, "shown")
    order = sorted(written)
    np.testing.assert_allclose([written[step] for step in order], here["i"] * here["g"])
    assert order == list(range(5, 45)) == sorted(forgotten)
    for step, height in shown.items():
        assert height == pytest.approx(float(trace["h"].isel(layer=0, direction=0, sequence=0, unit=0, time=step)))


def test_the_tally_in_the_picture_is_the_one_that_the_reading_quotes():
    trace, reading, _ = counting()
    for unit in reading.units:
        (cell,) = iterate_cells(select_unit(trace, unit.label))
        fitted = next(one for one in climb(cell) if one.rung.name == unit.rung)
        np.testing.assert_array_equal(explain_quoted(unit, cell), fitted.explain(cell))
        (drawn,) = lines(plot_unit(trace, unit, spans=Span(3, 33)), "tally")
        np.testing.assert_array_equal(drawn.get_ydata(), fitted.explain(cell)[3:33])


@pytest.mark.parametrize("rung", ["binary tally", "partial reset", "3 writes, 2 keeps", "6 writes, 5 keeps"])
def test_any_rung_can_be_quoted(rung):
    trace, reading, _ = counting()
    (cell,) = iterate_cells(select_unit(trace, "0.1"))
    fitted = next(one for one in climb(cell) if one.rung.name == rung)
    np.testing.assert_array_equal(explain_quoted(replace(reading.units[1], rung=rung), cell), fitted.explain(cell))


def test_the_cell_of_another_unit_is_refused():
    trace, reading, _ = counting()
    with pytest.raises(InputError, match=r"the cell is not of unit 0\.1 alone, whose reading this is; choose that"):
        explain_quoted(reading.units[1], next(iterate_cells(trace)))


def test_a_reverse_unit_is_drawn_in_the_order_of_time():
    trace = stacked()
    unit = next(one for one in tc.read_units(trace).units if one.label == "1.2r")
    (cell,) = lines(plot_unit(trace, unit, spans=Span(10, 30)), "cell")
    here = trace.sel(layer=1, direction="reverse", unit=2).isel(sequence=0, time=slice(10, 30))
    np.testing.assert_array_equal(cell.get_ydata(), here["c"])


def test_several_sequences_are_told_apart():
    weights = {"weight_ih_l0": np.random.default_rng(0).normal(size=(4, 1)), "weight_hh_l0": np.ones((4, 1))}
    trace = tc.record_trace(tc.LSTMParameters(weights), np.random.default_rng(1).normal(size=(40, 2, 1)))
    unit = tc.read_units(trace).units[0]
    figure = plot_unit(trace, unit, spans=[Span(0, 20, sequence=1), Span(0, 20)])
    for line, sequence in zip(lines(figure, "cell"), (1, 0), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), trace["c"].isel(layer=0, direction=0, unit=0)[sequence, :20])


def test_the_quantity_has_an_axis_of_its_own_with_its_units():
    right = [one for one in picture("unit").findobj() if type(one).__name__ == "SecondaryAxis"]
    assert [one.get_ylabel() for one in right] == ["depth (brackets)"]
    cell = next(one for one in picture("unit").axes if one.get_ylabel() == "cell c")
    np.testing.assert_allclose(right[0].get_ylim(), cell.get_ylim(), atol=1e-6)  # the cell is the depth


def test_without_spans_the_stretch_is_drawn_in_which_the_cell_moves_most():
    rng = np.random.default_rng(0)
    x = np.zeros((2000, 1))
    x[1500:1560, 0] = rng.normal(size=60)
    weights = {"weight_ih_l0": np.array([[0.0], [0], [9], [0]]), "weight_hh_l0": np.zeros((4, 1)),
               "bias_ih_l0": np.array([9.0, 0, 0, 0]), "bias_hh_l0": np.zeros(4)}  # fmt: skip
    trace = tc.record_trace(tc.LSTMParameters(weights), x)
    (cell,) = lines(plot_unit(trace, tc.read_units(trace).units[0], "a" * 2000), "cell")
    assert cell.get_xdata()[0] <= 1500
    assert cell.get_xdata()[-1] >= 1559


@pytest.mark.parametrize("options", [{}, {"forget_gate": "none"}])
def test_what_is_marked_of_a_unit_are_its_events(options):
    trace = strong(**options)
    events = read_events(trace)
    for unit in tc.read_units(trace).units:
        for sequence, steps in enumerate(trace["length"].to_numpy().tolist()):
            here = events.sel(layer=unit.layer, direction=unit.direction, unit=unit.unit)
            here = here.isel(sequence=sequence, time=slice(0, steps))
            found = live(trace, unit, None, None, sequence)
            for marked, name, meaning in (
                (found.resets, "forget", FORGET.index("reset")), (found.increments, "write", WRITE.index("increment")),
                (found.decrements, "write", WRITE.index("decrement")), (found.hidden, "expose", EXPOSE.index("hidden")),
            ):  # fmt: skip
                np.testing.assert_array_equal(marked, here[name] == meaning)


def strong(forget_gate="own"):
    """A trace of both directions and several lengths, whose gates are often at their limits."""
    draw = np.random.default_rng(5)
    names = {
        f"weight_{kind}_l0{end}": 6 * draw.normal(size=(12, 3))
        for kind in ("ih", "hh") for end in ("", "_reverse")
    }  # fmt: skip
    parameters = tc.LSTMParameters(names, forget_gate=forget_gate)
    return tc.record_trace(parameters, draw.normal(size=(40, 2, 3)), lengths=[40, 23])


def test_stretches_of_one_sequence_gather_it_once(monkeypatch):
    gathered = []
    monkeypatch.setattr("tallycell.plot.unit.live", lambda *given: gathered.append(given[-1]) or live(*given))
    trace, reading, _ = counting()
    plot_unit(trace, reading.units[0], spans=[Span(0, 20), Span(40, 60), Span(80, 99)])
    assert gathered == [0]


def test_the_fit_of_a_tally_is_quoted_with_its_error():
    trace, reading, _ = counting()
    unit = replace(reading.units[0], r2=0.947, r2_error=0.021, parameters=8)
    said = [text.get_text() for text in texts(plot_unit(trace, unit, spans=Span(0, 20)))]
    assert "its tally (8 numbers, R² = 0.95 ± 0.02)" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spans": Span(5, 9000)}, "the span from 5 to 9000 is not within the 282 steps of sequence 0"),
        ({"spans": Span(5, 6)}, "the span from 5 to 6 is not within .* or holds fewer than 2 of them"),
        ({"spans": Span(0, 9, sequence=4)}, "there is no sequence 4; there are 1, counted from 0"),
        ({"spans": []}, "no spans are given; give at least one, or None for the liveliest"),
        ({"spans": Span(0, 9, notes={50: "far"})}, "notes at the steps 50 are not in the span 0 to 9"),
        ({"beside": ["snow"]}, "there is no quantity 'snow'; there are 'depth'"),
        ({"given": "ab"}, "got tokens for 2 sequences with .1, 1. steps, the trace has 1"),
    ],
)
def test_a_unit_cannot_be_drawn_where_it_is_not(changes, said):
    trace, reading, known = counting()
    arguments = {"given": TEXT, "quantities": known} | changes
    with pytest.raises(InputError, match=said):
        plot_unit(trace, reading.units[0], **arguments)


# ---- the account -----------------------------------------------------------------------------------------------------


def field_of(figure):
    (image,) = [image for axes in figure.axes for image in axes.images]
    return np.asarray(image.get_array())


@pytest.mark.parametrize("units", [1, 2, 3, 50])
def test_the_account_in_the_picture_is_whole(units):
    one = account()
    field = field_of(plot_account(one, units=units))
    assert field.sum() == pytest.approx(float(one.entries.sum()), abs=1e-12)
    assert field.sum() + float(one.initial.sum()) + one.bias == pytest.approx(one.output, abs=1e-5)
    assert len(field) == min(units + 1, 3)


def test_above_the_account_stands_the_sum_of_each_step():
    one = account()
    figure = plot_account(one)
    steps = one.by_step().to_numpy()[: one.step + 1]
    last = field_of(figure).shape[1] - 1
    found = np.zeros(last + 1)
    for box in figure.axes[0].containers:
        for bar in box:
            found[round(bar.get_x() + bar.get_width() / 2)] += bar.get_height()
    np.testing.assert_allclose(found[1:], steps[-last:], atol=1e-12)
    assert found[0] == pytest.approx(steps[:-last].sum(), abs=1e-12)


def test_a_step_that_raises_and_one_that_lowers_differ_without_colour():
    figure = plot_account(account())
    signs = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"+", "−"} <= signs
    field = field_of(figure)
    for axes in figure.axes:
        for text in axes.texts:
            if text.get_text() in "+−":
                column, row = (round(one) for one in text.get_position())
                assert (field[row, column] > 0) == (text.get_text() == "+")


def test_an_account_of_both_directions_shows_what_is_read_later():
    rng = np.random.default_rng(0)
    names = {f"weight_{kind}_l0{end}": rng.normal(size=(8, 2)) for kind in ("ih", "hh") for end in ("", "_reverse")}
    net = tc.Recogniser(("a", "b"), np.eye(2), tc.LSTMParameters(names), rng.normal(size=(1, 4)), np.zeros(1), ("y",))
    one = tc.explain_output(net, np.eye(2)[rng.integers(0, 2, 200)], 90, "y")
    field = field_of(plot_account(one, "ab" * 100))
    assert field.sum() == pytest.approx(float(one.entries.sum()), abs=1e-12)
    assert field.shape[1] == 66  # 64 letters, and a sum on either side


def test_an_account_says_what_stands_below_it():
    one = account()
    assert plot_account(one).get_supxlabel() == "step; … is the sum of all others"
    said = plot_account(one, "ab" * 45).get_supxlabel()
    assert said == "what was read, one symbol a step (steps 17 to 80; … is the sum of all others)"


def test_the_title_of_an_account_says_that_gates_were_as_they_were():
    one = account()
    read, bias = float(one.entries.sum()), one.bias
    said = plot_account(one).get_suptitle().replace("\n", " ")
    assert said == (
        f"{one.name} is {one.output:.3g} at step 80, with the gates as they were: {read:+.3g} from what was read"
        + (f", {bias:+.3g} from the bias" if bias else "")
    )


def test_tokens_of_another_length_are_refused():
    with pytest.raises(InputError, match="got 2 tokens for 81 steps; give one a step"):
        plot_account(account(), "ab")
    with pytest.raises(InputError, match="units is 0; give how many are drawn one by one, at least 1"):
        plot_account(account(), units=0)


# ---- effects ---------------------------------------------------------------------------------------------------------


def test_effects_are_drawn_with_their_intervals_the_most_first():
    found = effects()
    figure = plot_effects(found)
    order = np.argsort(-found.table["loss"].to_numpy()[0], kind="stable")
    for row, k in enumerate(order):
        (loss,), (ends,) = lines(figure, f"loss {row}"), lines(figure, f"interval {row}")
        assert loss.get_xdata()[0] == found.table["loss"].to_numpy()[0, k]
        low, high = (found.table[name].to_numpy()[0, k] for name in ("low", "high"))
        assert list(ends.get_xdata()) == [low, high]
        hollow = loss.get_markerfacecolor() == "white"
        assert hollow == (not found.of(found.labels[k]).is_sure)


def test_beside_an_effect_stands_what_it_pushes_or_that_it_is_noise():
    said = [text.get_text().replace("\n", " ") for text in plot_effects(effects()).axes[1].texts]
    assert (
        said[0] == "shown above 0, it raises '(' and lowers ')'; below 0 the opposite; without it '(' is 0.9 bits worse"
    )
    assert said[-1] == "cannot be told from noise"


def test_effects_that_were_not_measured_are_refused():
    with pytest.raises(InputError, match="units were not held as 'mean'; they were as 'zero'"):
        plot_effects(effects(), "mean")
    with pytest.raises(InputError, match="count is 0; give how many units are drawn, at least 1"):
        plot_effects(effects(), count=0)


def test_effects_without_intervals_say_none():
    found = effects()
    found.table["low"][:] = found.table["high"][:] = math.nan
    figure = plot_effects(found)
    assert not lines(figure, "interval 0")
    assert figure.axes[0].get_xlabel() == "what is lost with the cell held at 0: bits a symbol, of 1.5"
    assert figure.get_supxlabel() == "Too few steps for an interval: what is noise is not known."


def test_effects_of_a_kind_are_told_of_that_kind():
    found = held_twice()
    figure = plot_effects(found, "mean")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0.3", "0.2", "0.1", "0.0"]
    assert figure.get_suptitle() == found.answer("mean") == (
        "Unit 0.3 matters most: held at its mean, it costs 0.4 bits a symbol, of 1.5 (0.25 to 0.5)."
    )  # fmt: skip
    assert figure.axes[0].get_xlabel() == "what is lost with the cell held at its mean: bits a symbol,\nof 1.5"
    assert figure.get_supxlabel() == (
        "Of 4 units, held at its mean, 2 have an effect that is not noise (95 % intervals)."
    )  # fmt: skip
    assert found.answer() == replace(effects(), pushed={}, suffering={}).answer()


def test_effects_of_which_none_is_known_are_told_of_the_kind_that_was_asked():
    found = held_twice()
    for name in ("loss", "low", "high"):
        found.table[name].loc[{"kind": "mean"}] = math.nan
    figure = plot_effects(found, "mean")
    assert figure.get_suptitle() == "None of 4 units has an effect that is not noise, held at its mean."
    assert "held at its mean" in figure.axes[0].get_xlabel()
    assert figure.get_supxlabel() == "Too few steps for an interval: what is noise is not known."
    assert plot_effects(found).get_supxlabel().startswith("Of 4 units, held at 0, 2 have an effect")


def test_effects_that_are_measured_by_divergence_are_part_of_nothing():
    found = replace(effects(), score="divergence", unit="bits")
    assert (effects().of_free, found.of_free) == (", of 1.5", "")
    assert plot_effects(found).axes[0].get_xlabel() == "what is lost with the cell held at 0: bits"


def test_effects_are_ranked_by_what_is_lost_noise_or_not():
    found = effects()
    found.table["loss"][0, 1] = math.nan
    known = found.table["loss"].isel(kind=0).to_series().dropna().sort_values(ascending=False)
    assert [one.label for one in found.ranked()] == known.index.tolist() == ["0.0", "0.2", "0.3"]
    assert [one.label for one in found.most(None)] == ["0.0"]


def held_twice():
    """Effects of two kinds, of which the second has the opposite order."""
    one = effects()
    turned = one.table.isel(group=slice(None, None, -1)).assign_coords(one.table.coords).assign_coords(kind=["mean"])
    return replace(one, table=xr.concat([one.table, turned], "kind"), pushed={}, suffering={})


# ---- machines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_machines())
@pytest.mark.parametrize("numbered", [False, True])
def test_every_state_and_rule_of_a_machine_is_in_its_picture(name, numbered, monkeypatch):
    if numbered:
        monkeypatch.setattr("tallycell.plot.machine._has_room", lambda *_: False)
    graph, figure = graph_of(shipped_machine(name)), plot_machine(shipped_machine(name), graphviz=False)
    written = [text.get_text() for text in [*figure.axes[0].texts, *figure.texts]]
    assert bool(figure.texts) or not numbered
    for state in graph.states:
        assert any(text.split("\n")[0] == state for text in written)
    for (source, target), rules in graph.edges.items():
        assert figure.findobj(lambda one, gid=f"edge {source} {target}": one.get_gid() == gid)
        for rule in rules:
            assert any(rule in text for text in written)


@pytest.mark.parametrize("name", shipped_machines())
def test_the_graph_of_a_machine_is_the_one_that_graphviz_is_given(name):
    from tallycell.machine.notation.interchange import to_dot

    dot, graph = to_dot(shipped_machine(name)), graph_of(shipped_machine(name))
    assert dot.count("[label=") == len(graph.edges)
    assert dot.count("peripheries=2") == sum(graph.accepts)
    for source, target in graph.edges:
        assert f"s{source} -> s{target} [" in dot


def test_a_state_that_accepts_has_two_lines_around():
    figure = plot_machine(shipped_machine("parity"), graphviz=False)
    assert [len(figure.findobj(lambda one, k=k: (one.get_gid() or "").startswith(f"state {k} "))) for k in (0, 1)] == [
        2,
        1,
    ]


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's program dot is not there")
@pytest.mark.parametrize("name", ["anbncndn", "comment-depth", "tomita-5"])
def test_graphviz_finds_a_place_for_all_that_columns_do(name):
    graph = graph_of(shipped_machine(name))
    states, labels = [(1.0, 0.5)] * len(graph.states), dict.fromkeys(graph.edges, (0.5, 0.2))
    for graphviz in (True, False):
        layout = lay_out(states, labels, graphviz=graphviz)
        assert len(layout.states) == len(states)
        assert set(layout.curves) == set(layout.labels) == set(graph.edges)
        places = np.array([*layout.states, *layout.labels.values()])
        assert (places >= 0).all()
        assert (places <= np.array(layout.size) + 1e-3).all()


@pytest.mark.parametrize("body", ["exit 1", "echo nonsense", "echo 'graph 1 2'", "echo 'node 99 1 1'", "echo 'edge'"])
def test_a_broken_program_called_dot_is_as_none(body, tmp_path, monkeypatch):
    program = tmp_path / "dot"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    states, labels = [(1.0, 0.5)] * 2, {(0, 1): (0.5, 0.2)}
    by_columns = lay_out(states, labels, graphviz=False)
    assert lay_out(states, labels).states == by_columns.states


def test_graphviz_is_told_no_name(tmp_path, monkeypatch):
    program = tmp_path / "dot"
    program.write_text(f"#!/bin/sh\n/bin/cat > {tmp_path}/asked\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    plot_machine(shipped_machine("comment-depth"))
    asked = (tmp_path / "asked").read_text()
    assert "0 -> 1" in asked
    assert not any(word in asked for word in ("slash", "depth", "comment"))


def test_a_machine_with_more_states_than_a_picture_holds_is_refused():
    names = tuple(f"s{k}" for k in range(31))
    states = np.arange(31)[:, np.newaxis, np.newaxis]
    machine = tc.CounterMachine(
        ("a",), names, (), (), states, np.zeros((31, 1, 1, 0), bool), np.zeros((31, 1, 1, 0), int), ("accept",),
        np.ones((31, 1, 1), bool),
    )  # fmt: skip
    with pytest.raises(InputError, match="the machine has 31 states; a picture holds 30: write it as DOT"):
        plot_machine(machine)


# ---- lengths ---------------------------------------------------------------------------------------------------------


def test_first_failures_stand_at_their_lengths():
    figure = plot_lengths(ROWS)
    (failed,) = lines(figure, "trained 160")
    assert failed.get_xdata()[0] == 160
    (stars) = lines(figure, "published")
    assert [one.get_xdata()[0] for one in stars] == [160, 2000]
    (never,) = lines(figure, "trained inf")
    assert never.get_xdata()[0] > ROWS[0].searched
    assert len(lines(figure, "arrow")) == 4  # reached, and three that never failed
    said = [text.get_text() for text in figure.axes[0].texts]
    assert {"1", "2 of 3", "3 of 3", "1 without a machine"} <= set(said)


def test_bars_end_where_all_and_where_half_are_proved():
    figure = plot_lengths(ROWS[:1])
    ends = {
        bar.get_gid(): bar.get_x() + bar.get_width() for bar in figure.findobj() if "proved" in (bar.get_gid() or "")
    }
    assert ends == {"proved all": pytest.approx(3e6), "proved half": pytest.approx(1.6e7)}


def test_nothing_is_drawn_as_proved_that_is_not():
    row = LanguageRow("parity", (1.0,), (math.inf,), 100, (0.0,), (Published(3, "there"),))
    assert not [one for one in plot_lengths([row]).findobj() if "proved" in (one.get_gid() or "")]
    with pytest.raises(InputError, match="there are no rows to plot; give at least one language"):
        plot_lengths([])


def test_rows_of_the_scoreboard_are_said_in_symbols():
    from tallycell.learning.board_plot import language_row
    from tallycell.learning.rows import rows

    (anbncn,) = rows(("2",))
    seed = {"trained": {"first_failure": 7}, "hardened": {"first_failure": None}, "horizon": {"symbols": 900}}
    none = {"trained": {"first_failure": 1}, "hardened": {"missing": "why"}, "horizon": {"missing": "why"}}
    row = language_row(anbncn, [seed, none])
    assert (row.trained, row.hardened, row.proved) == ((21.0, 3.0), (math.inf, 0.0), (900.0, 0.0))
    assert row.searched == 3 * 10**5
    assert row.published[0].at == 3 * 139.5
    assert len(anbncn.language.member(7)) == 21
    (brackets,) = [one for one in rows(("5",)) if one.key == "5"]
    measured = {"lengths": [{"length": n, "strings": 9, "right": 9 - (n >= 500)} for n in brackets.measure.lengths]}
    assert language_row(brackets, [{**seed, "trained": measured, "hardened": measured}]).trained == (500.0,)


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_the_same_picture_is_the_same_file(ending, tmp_path):
    for name in ("one", "two"):
        save_picture(plot_effects(effects()), tmp_path / f"{name}{ending}")
    one, two = ((tmp_path / f"{name}{ending}").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_png_is_as_sharp_as_said(tmp_path):
    from matplotlib.image import imread

    save_picture(picture("effects"), tmp_path / "a.PNG")
    assert imread(tmp_path / "a.PNG", format="png").shape[1] == 1800


def test_pictures_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    for path, said in (
        (tmp_path / "a.gif", "cannot write a picture .*a.gif'; give a name that ends in .png, .svg or .pdf"),
        (tmp_path / "none" / "a.png", "there is no folder"),
    ):
        for write in (require_picture, lambda path: save_picture(picture("effects"), path)):
            with pytest.raises(InputError, match=said):
                write(path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'matplotlib'.*tallycell\[plot\]"):
        require_picture(tmp_path / "a.png")


def test_the_example_names_stretches_of_the_shipped_text():
    import importlib.util
    from importlib.resources import files
    from pathlib import Path

    path = Path(__file__).parent.parent / "examples" / "draw_bracket_counter.py"
    spec = importlib.util.spec_from_file_location("draw_bracket_counter", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (files("tallycell") / "shipped" / "sample.txt").read_text("utf-8")
    assert text.count(module.FOLLOWED) == text.count(module.MISSED) == 1


def test_a_dataset_of_something_else_is_refused():
    with pytest.raises(tc.TraceError):
        plot_saturation(xr.Dataset({"snow": ("time", [1.0])}))
