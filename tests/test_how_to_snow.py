"""The page "Which cell is the snow?" prints what its prose says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "which_cell_is_the_snow.py"
MAINE, PENNSYLVANIA = "Narraguagus River", "Marsh Creek"


def _run_page(**environment):
    command = [sys.executable, "-W", "error", PAGE]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"} | environment
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)


@pytest.fixture(scope="module")
def printed():
    done = _run_page()
    if done.stderr.startswith("skipped: "):
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sentence(printed):
    (said,) = re.findall(r"that follow something:\n\n(.+?mm\))\.\n", printed, re.DOTALL)
    return " ".join(said.split())


def _numbers(printed, behind, words):
    """Numbers in the first line that begins with some words, behind others."""
    lines = (line.strip() for line in printed[printed.index(behind) :].splitlines())
    rest = next(line for line in lines if line.startswith(words)).removeprefix(words)
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", rest)]


def test_without_its_data_the_page_says_that_it_is_skipped(tmp_path):
    done = _run_page(TALLYCELL_TEST_DATA=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"skipped: there is no {tmp_path}")
    assert "set TALLYCELL_TEST_DATA" in done.stderr


def test_the_weather_has_no_snow_of_its_own(printed, third_party):
    for path in (third_party / "data" / "camels-us").glob("basin_mean_forcing/daymet/*.txt"):
        head, *rows = path.read_text(encoding="utf-8").splitlines()[3:]
        swe = head.split().index("swe(mm)")
        assert {float(row.split()[swe]) for row in rows} == {0.0}


def test_marsh_creek_has_less_snow(printed):
    less, more = (_numbers(printed, "year  ", basin) for basin in (PENNSYLVANIA, MAINE))
    assert len(less) == len(more) == 3
    assert max(less) < min(more)


def test_the_network_predicts_the_year_that_it_has_not_seen_and_less_well(printed):
    learned, tested = (_numbers(printed, "NSE in ", f"NSE in {years}:") for years in ("2000 and 2001", "2002"))
    assert min(learned) > 0.7
    assert tested[0] > 0.5
    assert tested[1] > 0.2
    assert all(there < here - 0.1 for there, here in zip(tested, learned, strict=True))


def test_the_snow_cell_is_called_a_slow_store_and_most_others_leak_as_without_learning(printed):
    assert re.search(r"Unit \S+, slow store, number 1 of", printed)
    roles = printed[printed.index("Roles\n") : printed.index("What is followed best")]
    (share,) = re.findall(r"leaky integrator +\d+ +(\d+)% +\d+% +as common there: no sign of learning", roles)
    assert int(share) > 50
    ((snow, soil),) = re.findall(r"where nothing is learned: snow ([\d.]+), soil water (\d\.\d+)", printed)[:1]
    r, of_soil = (
        float(re.search(rf"follows {name} \(r = [+-]([\d.]+)", printed)[1]) for name in ("snow", "soil water")
    )
    assert r > float(snow) + 0.1
    assert of_soil < float(soil) + 0.1


def test_the_snow_cell_stands_in_the_first_ten_of_what_is_followed_best(printed):
    ((label, place),) = re.findall(r"Unit (\S+), .+, number (\d+) of \d+ that follow something", printed)
    best = printed[printed.index("What is followed best") :].splitlines()[1:11]
    assert best[int(place) - 1].split()[:3] == [label, "follows", "snow"]


def test_its_sentence_names_months_millimetres_and_the_weather_in_its_own_units(sentence):
    assert re.search(r"up by [\d.]+ at prcp above \d+ mm/day while tmin is below -[\d.]+ °C", sentence)
    assert re.search(r"fills (in|from) (November|December) (and|to) (January|February)", sentence)
    assert re.search(r"empties (in|from) March (and|to) (April|May)", sentence)
    ((r, per_unit),) = re.findall(r"follows snow \(r = \+([\d.]+), one unit of the cell is ([\d.]+) mm\)$", sentence)
    assert float(r) == pytest.approx(0.84, abs=0.1)
    assert float(per_unit) == pytest.approx(9.6, rel=0.4)


def test_the_season_is_right_and_the_amount_in_one_basin(printed):
    by_basin = {}
    for basin in (MAINE, PENNSYLVANIA):
        snow, cell = by_basin[basin] = [_numbers(printed, f"{basin}, r = ", f"{name}, mm") for name in ("snow", "cell")]
        assert len(snow) == len(cell) == 12
        assert cell.index(max(cell)) == 1  # February
        assert max(abs(value) for value in cell[4:10]) < 0.25 * max(cell)  # May to October
        assert _numbers(printed, f"{basin}, r = ", f"{basin}, r = +")[0] > 0.7
    snow, cell = by_basin[PENNSYLVANIA]
    assert max(cell) == pytest.approx(max(snow), rel=0.4)
    snow, cell = by_basin[MAINE]
    assert [cell[k] / snow[k] for k in (1, 2)] == pytest.approx([1 / 3, 1 / 3], abs=0.12)  # February and March


def test_the_cell_keeps_nearly_all_in_the_cold_and_a_third_in_summer(printed):
    for basin in (MAINE, PENNSYLVANIA):
        kept = _numbers(printed, f"{basin}, r = ", "kept, %")
        assert [kept[0], kept[1], kept[11]] == pytest.approx([95] * 3, abs=4)  # December to February
        assert kept[6:8] == pytest.approx([33, 33], abs=8)  # July and August


def test_training_brings_the_cell_nearer_to_the_snow_and_much_was_there_before(printed):
    before, after = (
        [float(r) for r in re.findall(r"= (\d\.\d+)", re.search(rf"{when} training: .+", printed)[0])]
        for when in ("before", "after")
    )
    assert len(before) == len(after) == 2
    assert all(0.4 < b < a - 0.1 for b, a in zip(before, after, strict=True))


def test_without_the_cell_the_discharge_of_the_melt_is_missing(printed):
    maine, pennsylvania = (_numbers(printed, "discharge without", basin) for basin in (MAINE, PENNSYLVANIA))
    assert maine[2:4] == pytest.approx([-1.2, -1.2], abs=0.4)  # March and April
    assert min(maine[:2] + maine[4:]) > max(maine[2:4])
    assert pennsylvania[2] == pytest.approx(-0.6, abs=0.3)
    assert min(pennsylvania[:2] + pennsylvania[3:]) > pennsylvania[2]


def test_the_snow_cell_matters_most_and_in_april_where_snow_melts(printed):
    ((label, loss, low),) = re.findall(
        r"Unit (\S+) is number 1 of 16: held at 0, it costs ([\d.]+) of the Nash-Sutcliffe efficiency \(([\d.]+) to",
        printed,
    )
    assert float(loss) > 0.08
    assert float(low) > 0
    assert re.search(rf"Unit {label}, slow store, number 1 of", printed)
    by_month = {
        (month, basin): _numbers(printed, "is number 1 of 16", f"{month:<6}  {basin:<17}  in the account ")
        for month in ("April", "August")
        for basin in (MAINE, PENNSYLVANIA)
    }
    account, share, without = by_month["April", MAINE]
    assert (without < -1, 0 < account < -without / 3, 0 < share < 20) == (True, True, True)
    assert all(values[2] > without + 1 for key, values in by_month.items() if key != ("April", MAINE))


def test_a_shifted_quantity_is_refused_and_the_first_date_named(printed):
    said = "quantity 'snow' has no value at time 2000-01-01, which the input has; its time begins at 2000-04-10"
    assert said in " ".join(printed.split())


def test_a_gappy_quantity_is_read_with_the_number_of_its_pairs(printed):
    part = printed[printed.index("its time begins at 2000-04-10") : printed.index("$ tallycell")]
    days = 1096
    pairs = 2 * (days - len(range(0, days, 5)))
    assert f"snow has a value at {pairs:,} of {2 * days:,} steps" in part
    assert f"pairs: {{'snow': {pairs}}}" in part
    assert re.search(r"follows snow \(r = \+0\.[6-9]", part)


def test_the_command_line_says_the_same(printed):
    in_python, in_shell = (
        re.search(r"What is followed best\n((?: +\d\.\d+ +follows .+\n)+)", part)[1]
        for part in printed.split("$ tallycell read")
    )
    assert in_python == in_shell
