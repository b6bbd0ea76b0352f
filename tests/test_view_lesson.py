"""The lesson in a real browser: one offline file, four screens, each control by its role and name."""

import base64
import hashlib
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from browsing import HOSTILE, browser, watched  # noqa: F401, fixtures
from compiled_once import network_of
from tallycell.view.lesson import lesson_page

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("lesson") / "the lesson.html"
    lesson_page().write(path)
    return path.as_uri()


@pytest.fixture(scope="module")
def window(browser):  # noqa: F811
    with watched(browser) as one:
        yield one
    assert {url.split(":")[0] for url in one.requests} <= {"file", "about"}


def policy_of(html: str) -> str:
    return re.search('Content-Security-Policy" content="([^"]+)"', html).group(1)


# ---- the file --------------------------------------------------------------------------------------------------------


def test_the_documentation_has_it_beside_its_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])  # the configuration adds to it
    write_lesson = runpy.run_path(str(DOCS / "conf.py"))["write_lesson"]
    for builder, there in (("text", False), ("html", True)):
        write_lesson(SimpleNamespace(outdir=tmp_path, builder=SimpleNamespace(format=builder)), None)
        assert (tmp_path / "lesson.html").is_file() == there
    assert 'href="lesson.html"' in (DOCS / "index.md").read_text(encoding="utf-8")


def test_the_policy_allows_the_one_script_and_nobody_else():
    html = lesson_page().html
    policy = policy_of(html)
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL).group(1)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "connect-src" not in policy


# ---- screens ---------------------------------------------------------------------------------------------------------


def test_screens_follow_each_other_and_the_machine(window, address):
    page = window.open(address).page
    titles = []
    for name in ("Next: Gates", "Next: Break it", "Next: The end"):
        titles.append(page.get_by_role("heading", level=1).inner_text())
        page.get_by_role("button", name=name).click()
    assert titles == ["A cell can count", "Six things to say to a cell", "A counter must lose nothing"]
    assert page.get_by_role("heading", level=1, name="Every counter ends somewhere").is_visible()
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.get_by_role("button", name="Next: the machine that it is").click()
    assert page.get_by_role("region", name="Program").is_visible()
    page.go_back()
    page.get_by_role("navigation", name="Screens of the lesson").get_by_role("button", name="1 Count").click()
    assert page.locator("[aria-current=step]").inner_text() == "1 Count"


def test_a_string_is_watched_as_it_is_counted(window, address):
    page = window.open(address, "string=aabbb").page
    verdict = page.locator(".verdict-line")
    assert verdict.inner_text() == "After 5 of 5 the cell holds −1: the LSTM does not accept what it has read."
    page.get_by_role("button", name="One step back").click()
    assert verdict.inner_text() == "After 4 of 5 the cell holds 0: the LSTM accepts what it has read."
    page.get_by_role("button", name="Watch").click()
    assert verdict.inner_text() == "Nothing is read yet."
    window.until("location.hash.includes('step=2')")
    page.get_by_role("textbox", name="String").fill("ab" + HOSTILE[0])
    assert verdict.inner_text().endswith("Reading stopped at ‘<’: the alphabet is a b.")
    page.get_by_text("As a table").click()
    page.get_by_role("region", name="Each symbol").wait_for()
    assert page.get_by_role("region", name="Each symbol").get_by_role("row").count() == 3


def test_the_second_screen_is_the_cell_with_six_buttons(window, address):
    page = window.open(address, "screen=2").page
    page.get_by_role("button", name="up", exact=True).click()
    assert window.state()["pressed"].endswith("u")
    assert page.get_by_role("heading", level=2).inner_text().startswith("It counts")


# ---- broken, and at its end ------------------------------------------------------------------------------------------


def first_wrong(leak: float, up: float, most: int) -> int | None:
    """Give the first n at which a broken network is wrong, by an LSTM written out here."""
    network = network_of("anbn")
    weights = {name: weight.astype(float) for name, weight in network.parameters.weights.items()}
    sigmoid = lambda x: 0.5 + 0.5 * np.tanh(x / 2)  # noqa: E731

    def accepts(string: str) -> bool:
        h = c = np.zeros(3)
        for x in network.inputs[network.encode(string)].astype(float):
            i, f, g, o = np.split(weights["weight_ih_l0"] @ x + weights["weight_hh_l0"] @ h + weights["bias_ih_l0"]
                                  + weights["bias_hh_l0"], 4)  # fmt: skip
            g = np.tanh(g)
            c = sigmoid(f) * (1 - leak) * c + sigmoid(i) * np.where(g > 0, up * g, g)
            h = sigmoid(o) * np.tanh(c)
        return (network.readout_weight.astype(float) @ h + network.readout_bias)[network.outputs.index("accept")] > 0

    for n in range(1, most):
        right = accepts("a" * n + "b" * n) and not accepts("a" * n + "b" * (n + 1))
        if not right or (n > 1 and accepts("a" * n + "b" * (n - 1))):
            return n
    return None


@pytest.mark.parametrize(("leak", "up"), [(0.02, 1), (0, 0.98), (0.001, 1), (0.05, 0.9), (0, 1)])
def test_it_miscounts_where_an_lstm_written_in_python_does(window, address, leak, up):
    window.open(address)
    found = window.page.evaluate(
        """([leak, up]) => { const machine = new tallycell.Machine(tallycell.bundle.header.machine);
        return tallycell.countUntilWrong(machine, { leak, up }, 0, 60); }""",
        [leak, up],
    )
    assert found["first"] == first_wrong(leak, up, 60)


def test_it_is_broken_and_mended(window, address):
    page = window.open(address, "screen=3").page
    verdict = page.locator(".verdict-line")
    assert verdict.inner_text() == "It is right for every n up to 400."
    page.get_by_role("button", name="Leak 2 %").click()
    assert verdict.inner_text().startswith(f"It miscounts at n = {first_wrong(0.02, 1, 60)}: it refuses 4 a and 4 b.")
    page.get_by_role("button", name="Step of 0.98").click()
    assert verdict.inner_text().startswith("It miscounts at n = 12:")
    assert window.state() == {"screen": "3", "leak": "0", "up": "0.98"}
    page.get_by_role("button", name="Mend it").click()
    page.get_by_role("slider", name="Step at an a").fill("0.9")
    page.get_by_role("slider", name="Leak of the forget gate").fill("0.01")
    assert window.state() == {"screen": "3", "leak": "0.01", "up": "0.9"}


def test_float32_ends_at_2_to_the_24(window, address):
    page = window.open(address, "screen=4").page
    number = page.locator(".great-number")
    for expected in ("16,777,213", "16,777,214", "16,777,215", "16,777,216", "16,777,216"):
        page.get_by_role("button", name="Add 1").click()
        assert number.inner_text() == expected
    assert np.float32(16_777_216) + np.float32(1) == np.float32(16_777_216)
    assert "16,777,216 + 1 = 16,777,216. The count stands still" in page.locator(".verdict-line").inner_text()
    page.get_by_role("button", name="Go back to 16,777,212").click()
    page.get_by_role("button", name="Count from 0 to the end").click()
    assert number.inner_text() == "16,777,216"
    assert page.locator(".verdict-line").inner_text().startswith("16,777,216 additions later")
    page.get_by_text("As a table").click()
    page.get_by_role("region", name="Adding 1 in float32 and in float64").wait_for()
    rows = page.get_by_role("region", name="Adding 1 in float32 and in float64").get_by_role("row").all_inner_texts()
    assert rows[3].split("\t") == ["16,777,216", "16,777,216", "16,777,217"]


# ---- everywhere ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_screen_fits_and_says_its_name(browser, address, width, theme):  # noqa: F811
    with watched(browser, viewport={"width": width, "height": 844}, color_scheme=theme) as one:
        for screen in range(1, 5):
            page = one.open(address, f"screen={screen}&leak=0.02").page
            one.settle()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("[...document.querySelectorAll('canvas')].every((e) => e.getAttribute('aria-label'))")
            unnamed = (
                "[...document.querySelectorAll('input, select')].filter((e) => !e.getAttribute('aria-label')).length"
            )
            assert page.evaluate(unnamed) == 0


@pytest.mark.parametrize(
    "state", ["screen=99", "screen=x", "screen=3&leak=-1&up=NaN", "screen=4&number=1e99", "step=-5", "string="]
)
def test_an_address_that_makes_no_sense_shows_something_all_the_same(window, address, state):
    page = window.open(address, state).page
    window.settle()
    assert page.get_by_role("heading", level=1).is_visible()
    assert page.get_by_role("alert").count() == 0
