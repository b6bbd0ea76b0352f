"""The page in a real browser: each view and control, by role and name; hostile names stay text; nobody is asked."""

import re

import numpy as np
import pytest

import tallycell as tc
from browsing import HOSTILE, browser, dates_bundle, serving, text_bundle, watched, written  # noqa: F401, fixtures
from tallycell.view import page_of

SYMBOLS = ("(", ")", " ", "\n", *HOSTILE[:4])


@pytest.fixture(scope="module")
def made():
    return text_bundle(SYMBOLS)


@pytest.fixture(scope="module")
def address(made, tmp_path_factory):
    return written(page_of(made[0]), tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def window(browser, address):  # noqa: F811
    with watched(browser) as one:
        yield one
    assert {url.split(":")[0] for url in one.requests} <= {"file", "about", "blob"}


# ---- the arithmetic --------------------------------------------------------------------------------------------------

NUMBERS = """async ([label, step, output]) => {
  const { bundle, Life, ledgerOf, accountOf } = tallycell;
  const life = new Life(bundle, label, await bundle.unit(label));
  const ledger = ledgerOf(life, step);
  const head = { weight: await bundle.array("head/weight") };
  const weight = head.weight[output * bundle.header.units.length + life.number];
  const account = accountOf(life, step, weight, bundle.header.head.shown);
  return { parts: [...ledger.parts], initial: ledger.initial, cell: ledger.cell, first: ledger.first,
    entries: [...account.parts], rest: account.rest, total: account.total };
}"""


@pytest.mark.parametrize("bidirectional", [False, True])
def test_ledger_and_account_are_pythons_in_fifty_random_cells(browser, tmp_path, bidirectional):  # noqa: F811
    bundle, model, given, trace = text_bundle(("a", "b"), steps=300, effects=False, bidirectional=bidirectional)
    with watched(browser) as one:
        one.open(written(page_of(bundle), tmp_path))
        rng = np.random.default_rng(0)
        accounts = {}
        for label in rng.choice(list(bundle.units), 50 if not bidirectional else 20).tolist():
            step, output = int(rng.choice([0, 1, 150, 298, 299])), int(rng.integers(5))
            found = one.page.evaluate(NUMBERS, [label, step, output])
            if (step, output) not in accounts:
                accounts[step, output] = tc.explain_output(model, given, step, output)
            reverse, unit = int(label.endswith("r")), int(label.split(".")[1].rstrip("r"))
            own = accounts[step, output].entries.isel(layer=0, direction=reverse, unit=unit).sum("part").to_numpy()
            read = slice(step, None) if reverse else slice(0, step + 1)
            np.testing.assert_allclose(found["entries"], own[read], rtol=1e-6, atol=1e-6)
            here = trace.isel(direction=reverse, unit=unit, layer=0, sequence=0)
            c, f, written_there = (here[n].to_numpy().astype(float) for n in ("c", "f", "g"))
            written_there = written_there * here["i"].to_numpy()
            steps = range(step, 300) if reverse else range(step + 1)
            between = [range(step, t) if reverse else range(t + 1, step + 1) for t in steps]
            expected = [written_there[t] * np.prod(f[list(kept)]) for t, kept in zip(steps, between, strict=True)]
            np.testing.assert_allclose(found["parts"], expected, rtol=1e-6, atol=1e-12)
            assert sum(found["parts"]) + found["initial"] == pytest.approx(c[step], abs=1e-5)


def test_tally_and_events_are_pythons(window, address, made):
    from tallycell.plot.life import live
    from tallycell.reading import read_events

    _, _, given, trace = made
    window.open(address)
    reading = tc.read_units(trace, given)
    events = read_events(trace).isel(layer=0, direction=0, sequence=0)
    for unit in reading.units:
        found = window.page.evaluate(
            """async (label) => { const { bundle, Life } = tallycell;
            const life = new Life(bundle, label, await bundle.unit(label));
            return { tally: [...life.tally], c: [...life.c], shown: [...life.shown],
              events: Object.fromEntries(Object.entries(life.events).map(([k, v]) => [k, [...v]])) }; }""",
            unit.label,
        )
        life = live(trace, unit, given, None, 0)
        np.testing.assert_allclose(found["tally"], life.tally, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(found["c"], life.c)  # to the last bit
        np.testing.assert_allclose(found["shown"], life.shown, rtol=1e-9, atol=1e-12)
        for kind in ("forget", "write", "expose"):
            np.testing.assert_array_equal(found["events"][kind], events[kind].isel(unit=unit.unit))


# ---- hostile names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "view=unit&at=50", "view=find&mark=50-60", "view=unit&at=50&series=0,1"])
def test_text_full_of_html_stays_text(window, address, state):
    page = window.open(address, state).page
    window.settle()
    assert page.title().startswith("</script>")
    assert page.evaluate("document.querySelectorAll('img, svg, #page script, iframe, object').length") == 0
    assert page.evaluate("document.querySelectorAll('[style*=url], [onclick], [onload], [onerror]').length") == 0
    assert (
        max(map(len, page.evaluate("[...document.querySelectorAll('option, td, p, h1')].map((e) => e.textContent)")))
        < 6000
    )


def test_hostile_symbols_are_shown_as_they_are_written(window, address):
    page = window.open(address, "view=unit&steps=0-300").page
    text = page.get_by_role("group", name="What was read, coloured by the unit").inner_text()
    assert "</script><script" in text
    assert "<img src=x onerr" in text
    assert "\\u202egnol" in text
    assert "a\\x1b[2J\\x00b" in text


# ---- views and controls ----------------------------------------------------------------------------------------------


def test_the_first_view_says_how_binary_what_units_and_what_matters(window, address):
    page = window.open(address).page
    assert page.get_by_role("heading", level=1).inner_text().startswith("</script>")
    for question in ("How binary?", "What are its units?", "What matters most?"):
        assert page.get_by_role("heading", name=question).is_visible()
    assert page.get_by_role("status").filter(has_text="All 12 units").is_visible()
    assert page.locator("table.unit-rows tbody tr").count() == 12


def test_units_are_searched_filtered_and_sorted(window, address, made):
    page = window.open(address).page
    units = made[0].header["units"]
    page.get_by_role("searchbox", name="Search in the sentences").fill("0.7")
    assert page.locator("table.unit-rows tbody tr").count() == sum(
        "0.7" in f"{u['label']} {u['sentence']}" for u in units
    )
    page.get_by_role("searchbox", name="Search in the sentences").fill("no such word")
    assert page.get_by_text("No unit is like that.").is_visible()
    page.get_by_role("searchbox", name="Search in the sentences").fill("")
    role = units[0]["role"]
    page.get_by_label("Role", exact=True).select_option(role)
    assert page.locator("table.unit-rows tbody tr").count() == sum(u["role"] == role for u in units)
    page.get_by_label("Role", exact=True).select_option("")
    page.get_by_label("Sort by").select_option("r2")
    first = page.locator("table.unit-rows tbody th").all_inner_texts()
    assert first == [u["label"] for u in sorted(units, key=lambda u: -u["r2"])]
    assert window.state() == {"sort": "r2"}


def test_a_carpet_of_no_unit_has_no_step_to_point_at(window, address):
    page = window.open(address, "q=no such word").page
    window.settle()
    canvas = page.get_by_role("img", name="All cells over all steps")
    for key in ("ArrowDown", "Enter"):
        canvas.press(key)
    page.get_by_role("searchbox", name="Search in the sentences").fill("")
    window.settle()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
        canvas.press(key)
    labels = page.evaluate("tallycell.bundle.header.effects.most.concat(tallycell.bundle.header.best)")
    assert window.state()["unit"] in labels


def test_the_unit_behind_one_is_had_ready_and_is_drawn_as_if_it_were_opened_anew(window, address):
    drawn = "document.querySelector('.unit-view canvas').toDataURL()"
    page = window.open(address, "view=unit&steps=0-50").page
    first = window.state().get("unit")
    window.until("tallycell.bundle.lives.size === 2")  # the one that is seen, and the one behind it
    page.get_by_role("button", name="Next unit").click()
    window.settle()
    state = window.state()
    assert state["unit"] != first
    ready = page.evaluate(drawn)
    page.reload()
    window.settle()
    assert window.state() == state
    assert page.evaluate(drawn) == ready


def test_a_unit_opens_from_the_table_and_the_way_back_leads_there(window, address):
    page = window.open(address).page
    page.get_by_role("button", name="Unit 0.4", exact=True).click()
    page.get_by_label("Choose a unit").wait_for()
    assert page.get_by_label("Choose a unit").input_value() == "0.4"
    page.get_by_role("button", name="Next unit").click()
    window.until("document.querySelector('.unit-choice input').value !== '0.4'")
    third = next(one for one in ("0.0", "0.1") if one != page.get_by_label("Choose a unit").input_value())
    page.get_by_label("Choose a unit").fill(third)
    page.get_by_label("Choose a unit").press("Enter")
    window.until(f"location.hash.includes('unit={third}')")
    window.settle()
    page.go_back()
    window.settle()
    page.go_back()
    window.until("document.querySelector('.unit-choice input').value === '0.4'")


def test_keys_and_wheel_move_what_is_seen(window, address):
    page = window.open(address, "view=unit&unit=0.1&steps=100-200").page
    life = page.get_by_role("application")
    life.scroll_into_view_if_needed()
    life.focus()

    def seen():
        window.settle()
        return [int(one) for one in window.state()["steps"].split("-")]

    page.keyboard.press("ArrowRight")
    assert seen() == [120, 220]
    page.keyboard.press("+")
    assert seen()[1] - seen()[0] == 70
    page.keyboard.press("-")
    assert seen()[1] - seen()[0] == 100
    page.keyboard.press("0")
    assert seen() == [0, 700]
    box = life.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    page.mouse.wheel(0, -600)
    narrow = seen()
    assert 100 < narrow[1] - narrow[0] < 500
    assert abs(sum(narrow) / 2 - 350) < 60


def test_the_strip_chooses_what_is_seen(window, address):
    page = window.open(address, "view=unit&unit=0.1&steps=0-700").page
    page.locator("canvas.strip").scroll_into_view_if_needed()
    box = page.locator("canvas.strip").bounding_box()
    left, wide, y = box["x"] + 108, box["width"] - 118, box["y"] + 20
    page.mouse.move(left + wide * 0.5, y)
    page.mouse.down()
    page.mouse.move(left + wide * 0.6, y)
    page.mouse.up()
    window.settle()
    begin, end = (int(one) for one in window.state()["steps"].split("-"))
    assert abs(begin - 350) < 8
    assert abs(end - 420) < 8


def test_a_click_opens_the_ledger_whose_entries_lead_back(window, address):
    page = window.open(address, "view=unit&unit=0.3&steps=100-160").page
    page.get_by_role("application").click(position={"x": 640, "y": 200})
    page.get_by_role("heading", name=re.compile("^At step .* the cell holds")).wait_for()
    at = int(window.state()["at"])
    assert 100 <= at < 160
    table = page.get_by_role("table", name=re.compile("^Writes that are in the cell now"))
    table.get_by_role("button").nth(1).click()
    window.settle()
    assert int(window.state()["at"]) <= at
    assert page.get_by_role("heading", name=re.compile("^There the model says")).is_visible()
    page.get_by_label("Account of").select_option(label="<b>never</b>")
    page.get_by_text(re.compile("This cell (raises|lowers) '?<b>never</b>")).wait_for()
    page.get_by_role("button", name="Which other cells?").click()
    page.get_by_role("table", name=re.compile("^Cells by what they give")).wait_for()


def test_all_cells_together_give_the_output(window, address, made):
    page = window.open(address, "view=unit&unit=0.3&steps=100-160&at=130").page
    _, model, given, _ = made
    page.get_by_role("button", name="Which other cells?").click()
    rows = page.get_by_role("table", name=re.compile("^Cells by what they give")).locator("tbody tr")
    rows.first.wait_for()
    given_by_cells = [row.replace("−", "-") for row in rows.locator(".bar-text").all_inner_texts()]
    logit = tc.explain_output(model, given, 130, tc.effect.chosen.largest_output(model, given, 130))
    assert sum(map(float, given_by_cells)) == pytest.approx(logit.output - logit.bias, abs=0.02)


def test_the_text_is_coloured_by_what_is_chosen(window, address):
    page = window.open(address, "view=unit&unit=0.2&steps=0-200&at=150").page
    text = page.locator(".read")
    seen = set()
    for name in ("the cell", "events", "what it shows", "its part in the output", "what is still in the cell"):
        page.get_by_role("radio", name=name, exact=True).click()
        seen.add(text.evaluate("(e) => [...e.children].map((one) => one.className).join(' ')"))
    assert len(seen) == 5
    assert window.state()["colour"] == "ledger"
    text.locator("[data-t='20']").click()
    window.settle()
    assert window.state()["at"] == "20"


def test_a_drag_marks_a_span_that_is_found_elsewhere(window, address):
    page = window.open(address, "view=unit&unit=0.2&steps=0-200").page
    page.get_by_role("application").scroll_into_view_if_needed()
    box = page.get_by_role("application").bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 420, box["y"] + 150, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Find the same elsewhere").click()
    page.get_by_role("heading", level=1).filter(has_text=re.compile("place|span")).wait_for()
    assert {"view", "mark"} <= window.state().keys()


def test_what_is_found_is_where_the_same_cells_are_on(window, address, made):
    bundle = made[0]
    scale = {unit["label"]: np.float32(unit["scale"]) for unit in bundle.header["units"]}

    def places_of(one, other):
        both = (bundle.units[one]["c"] / scale[one] >= 0.5) & (bundle.units[other]["c"] / scale[other] <= -0.5)
        return int(np.sum(np.diff(np.concatenate([[False], both]).astype(int)) == 1))

    pairs = ((one, other) for one in scale for other in scale if {one, other}.isdisjoint({"0.7"}))
    up, down = next(pair for pair in pairs if 3 <= places_of(*pair) <= 30)
    page = window.open(address, f"view=find&cells={up}:up,{down}:down").page
    page.get_by_role("heading", level=1).wait_for()
    said = page.get_by_role("heading", level=1).inner_text()
    assert said == f"These 2 cells do the same together at {places_of(up, down)} places."
    assert page.get_by_role("table", name="Places, the most alike first").locator("tbody tr").count() == places_of(
        up, down
    )
    page.get_by_label("Unit", exact=True).fill("0.7")
    page.get_by_label("What it does").select_option("reset")
    page.get_by_role("button", name="Add").click()
    window.until("location.hash.includes('reset')")
    page.get_by_label("Where", exact=True).select_option("1")
    window.until("document.querySelector('h1').textContent.startsWith('At least 1 of these 3 cells')")
    page.get_by_role("button", name="Leave out: 0.7 is reset").click()
    window.until("!location.hash.includes('reset')")


def test_a_link_opens_the_same_again(window, address):
    state = "view=unit&unit=0.6&steps=200-300&at=250&colour=events&theme=dark"
    page = window.open(address, state).page
    window.settle()
    assert window.state() == dict(one.split("=") for one in state.split("&"))
    assert page.get_by_label("Choose a unit").input_value() == "0.6"
    assert page.get_by_role("radio", name="events").get_attribute("aria-checked") == "true"


def test_light_and_dark(window, address):
    page = window.open(address).page
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch to dark colours").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.get_by_role("button", name="Switch to light colours").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


@pytest.mark.parametrize(("state", "name"), [
    ("", "Save picture of the gates"), ("", "Save picture of the carpet"),
    ("view=unit", re.compile("Save picture of unit")), ("view=find&mark=50-53", "Save picture of the places"),
])  # fmt: skip
def test_each_view_is_saved_as_a_picture(window, address, state, name):
    page = window.open(address, state).page
    window.settle()
    with page.expect_download() as saved:
        page.get_by_role("button", name=name).click()
    assert saved.value.suggested_filename.endswith(".png")
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")


def test_the_table_of_units_is_saved(window, address):
    page = window.open(address).page
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save table of the units").click()
    assert len(saved.value.path().read_text(encoding="utf-8").splitlines()) == 13


@pytest.mark.parametrize("state", ["", "view=unit&steps=0-50", "view=find&mark=50-53"])
def test_a_table_stands_behind_every_picture(window, address, state):
    page = window.open(address, state).page
    page.locator("details.behind summary", has_text="As a table").first.click()
    page.locator("details.behind[open] table tbody tr").nth(2).wait_for()  # the rows come when it has opened


def test_every_control_has_a_name(window, address):
    for state in ("", "view=unit&at=20&steps=0-60&mark=3-9", "view=find&mark=50-53"):
        page = window.open(address, state).page
        window.settle()
        tree = page.locator("body").aria_snapshot()
        unnamed = [
            line
            for line in tree.splitlines()
            if re.match(r"\s*- (button|combobox|textbox|searchbox|img|radio|link|application):?$", line)
        ]
        assert not unnamed


def test_changes_are_announced(window, address):
    page = window.open(address, "view=unit&unit=0.1&steps=0-100").page
    page.get_by_role("application").focus()
    page.keyboard.press(".")
    window.until("document.querySelector('[aria-live]').textContent.startsWith('step 0')")
    page.keyboard.press(".")
    window.until("document.querySelector('[aria-live]').textContent.startsWith('step 1')")


@pytest.mark.parametrize("state", ["", "view=unit&at=50", "view=find&mark=50-53"])
def test_nothing_is_wider_than_a_telephone(browser, address, state):  # noqa: F811
    with watched(browser, viewport={"width": 390, "height": 844}) as one:
        page = one.open(address, state).page
        one.settle()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


# ---- other inputs ----------------------------------------------------------------------------------------------------


def test_dates_and_several_sequences(browser, tmp_path):  # noqa: F811
    with watched(browser) as one:
        page = one.open(written(page_of(dates_bundle()), tmp_path), "view=unit&unit=0.2").page
        page.get_by_label("Sequence", exact=True).select_option(label="<i>River</i>")
        one.settle()
        assert int(one.state()["steps"].split("-")[0]) >= 900
        page.get_by_label("Draw beside it").select_option(label="snow")
        page.get_by_role("application").click(position={"x": 640, "y": 200})
        page.get_by_role("heading", name=re.compile(r"^At 200\d-\d\d-\d\d, the cell holds")).wait_for()
        assert page.get_by_role("heading", name=re.compile("^There the model says")).count() == 0


def test_units_that_did_not_fit_are_said_to_be_missing(browser, tmp_path, made):  # noqa: F811
    whole = page_of(made[0])
    small = page_of(made[0], whole.size - 40_000)
    assert 0 < small.kept < 12
    with watched(browser) as one:
        page = one.open(written(small, tmp_path)).page
        missing = page.locator("tr.is-missing th button").first.inner_text()
        assert page.get_by_text(f"This file holds every step of {small.kept} units of 12").is_visible()
        page.get_by_role("button", name=f"Unit {missing}", exact=True).click()
        page.get_by_text(f"unit {missing} is not among them").wait_for()


def test_a_page_without_a_bundle_it_knows_says_so(browser, tmp_path, made):  # noqa: F811
    path = tmp_path / "old.html"
    path.write_text(page_of(made[0]).html.replace('"version":1', '"version":99'), encoding="utf-8")
    with watched(browser) as one:
        one.page.goto(path.as_uri())
        one.page.get_by_text("the bundle has version 99, this page shows 1").wait_for()


# ---- served ----------------------------------------------------------------------------------------------------------


def test_a_served_page_holds_a_gate(browser, made):  # noqa: F811
    bundle, model, given, _ = made
    with serving(bundle, model, given) as server, watched(browser) as one:
        page = one.open(server.address, "view=hold&unit=0.3").page
        page.get_by_role("combobox", name="Hold").select_option("c")
        page.get_by_label("At this value, or mean").fill("0")
        page.get_by_role("button", name="Run it again").click()
        page.get_by_role("table", name="Where the outputs move most").wait_for()
        assert "first choice changes" in page.get_by_role("heading", level=1).inner_text()
        page.locator("details.behind summary", has_text="As a table").click()
        first = page.get_by_role("region", name="The steps that are seen").locator("tbody tr td").first
        page.get_by_role("application").focus()
        for key, step in (("0", "0"), ("+", "105")):
            page.keyboard.press(key)
            assert first.inner_text() == step
        page.get_by_label("At this value, or mean").fill("many")
        page.get_by_role("button", name="Run it again").click()
        page.get_by_role("heading", name="That is no value.").wait_for()
        host = server.address.split("/?")[0]
    assert all(url.startswith((host, "about:", "blob:")) for url in one.requests)


def test_a_served_page_shows_what_a_file_shows(browser, window, address, made):  # noqa: F811
    state = "view=unit&unit=0.3&steps=100-160&at=130"
    expected = window.open(address, state).page.locator(".ledger").inner_text()
    with serving(made[0]) as server, watched(browser) as one:
        page = one.open(server.address, state).page
        page.get_by_role("heading", name=re.compile("^There the model says")).wait_for()
        assert page.locator(".ledger").inner_text() == expected
        assert page.get_by_role("link", name="Hold").count() == 0


def test_without_the_token_a_served_page_says_what_is_missing(browser, made):  # noqa: F811
    with serving(made[0]) as server:
        page = browser.new_page()
        page.goto(server.address.split("?")[0])
        page.get_by_text("open the whole address that tallycell view printed").wait_for()
        page.close()


def test_a_notebook_shows_the_page_in_a_frame(browser, tmp_path, made):  # noqa: F811
    from tallycell.view import Frame

    frame = Frame(page_of(made[0]))._repr_html_()
    (tmp_path / "notebook.html").write_text(f"<!doctype html><p>cell</p>{frame}", encoding="utf-8")
    with watched(browser) as one:
        one.page.goto((tmp_path / "notebook.html").as_uri())
        inside = one.page.frame_locator("iframe")
        inside.get_by_role("button", name="Unit 0.4", exact=True).click()
        inside.get_by_label("Choose a unit").wait_for()
        assert inside.get_by_label("Choose a unit").input_value() == "0.4"
