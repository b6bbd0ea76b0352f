"""One cell with six buttons, and a machine beside its LSTM, in a real browser: the arithmetic is the library's."""

import dataclasses
import itertools

import numpy as np
import pytest

import tallycell as tc
from browsing import HOSTILE, browser, serving, text_bundle, watched, written  # noqa: F401, fixtures
from compiled_once import network_of
from tallycell.activations import activation
from tallycell.errors import InputError
from tallycell.machine import CounterMachine, shipped_machine
from tallycell.machine.compiling.compilation import compile_machine
from tallycell.parameters import Activations
from tallycell.view import page_of, with_machine
from tallycell.view.machine_header import machine_header
from tallycell.view.machine_page import machine_page

MACHINES = ("anbn", "anbncn", "comment-depth", "modulo-5")
SIGNS = {"r": "f-", "k": "f+", "u": "i+g+", "d": "i+g-", "s": "o+", "h": "o-"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    found = {}
    for name in MACHINES:
        machine, network = shipped_machine(name), network_of(name)
        path = folder / f"{name}.html"
        machine_page(machine, network, f"the machine {name}").write(path)
        found[name] = machine, network, path.as_uri()
    return found


@pytest.fixture(scope="module")
def window(browser):  # noqa: F811
    with watched(browser) as one:
        yield one
    assert {url.split(":")[0] for url in one.requests} <= {"file", "about", "blob"}


@pytest.fixture
def play(window, pages):
    return window.open(pages["anbn"][2], "view=play&pressed=")


# ---- the arithmetic --------------------------------------------------------------------------------------------------


def pushed(pressed: str, strength: float) -> np.ndarray:
    """Give the pre-activations that buttons set, in the order i f g o."""
    signs, rows = {"g": 1, "o": 1}, []
    for press in pressed:
        does = SIGNS[press]
        signs |= {"i": -1, "f": 1} | {
            gate: 1 if sign == "+" else -1 for gate, sign in zip(does[::2], does[1::2], strict=True)
        }
        rows.append([strength * signs[gate] for gate in "ifgo"])
    return np.array(rows)


@pytest.mark.parametrize("strength", [0.5, 3.0, 12.0])
def test_the_cell_is_the_librarys_with_every_pair_of_functions(play, strength):
    pressed = "uuukdhsrduukddds"
    weights = {"weight_ih_l0": np.eye(4), "weight_hh_l0": np.zeros((4, 1))}
    for gate, cell in itertools.product(
        ["sigmoid", "hard_sigmoid", "relu", "sine"], ["tanh", "hard_tanh", "relu", "softsign", "sine"]
    ):
        slots = Activations(activation(gate), activation(cell), activation(cell))
        trace = tc.record_trace(tc.LSTMParameters(weights, slots), pushed(pressed, strength)).squeeze()
        found = play.page.evaluate("([pressed, how]) => tallycell.runCell(pressed, how)",
                                   [pressed, {"gates": gate, "squash": cell, "strength": strength}])  # fmt: skip
        for name, ours in {"i": "i", "f": "f", "g": "g", "o": "o", "c": "c", "h": "shown"}.items():
            np.testing.assert_allclose(found[ours], trace[name], rtol=1e-6, atol=1e-9, err_msg=f"{name} {gate} {cell}")


def test_softsign_as_a_gate_is_between_0_and_1(play):
    found = play.page.evaluate("tallycell.runCell('ur', { gates: 'softsign_gate', squash: 'softsign', strength: 3 })")
    assert found["f"] == pytest.approx([(1 + 0.75) / 2, (1 - 0.75) / 2])


@pytest.mark.parametrize("name", MACHINES)
def test_machine_and_lstm_are_pythons_after_every_symbol(window, pages, name):
    machine, network, address = pages[name]
    window.open(address)
    doubles = {key: weight.astype(np.float64) for key, weight in network.parameters.weights.items()}
    doubled = dataclasses.replace(network.parameters, weights=doubles)
    rng = np.random.default_rng(0)
    strings = [rng.choice(machine.alphabet, 12).tolist() for _ in range(20)]
    strings.append([one for one in machine.alphabet for _ in range(9)])
    for string in strings:
        found = window.page.evaluate(
            """(codes) => { const { machine } = tallycell.bundle.header;
            const [ours, net] = [new tallycell.Machine(machine), new tallycell.Network(machine.network)];
            const walk = ours.walk(codes);
            return { walk, says: walk.map((now) => ours.says(now)), cells: net.walk(codes).slice(1) }; }""",
            machine.encode(string),
        )
        for one, says, here in zip(found["walk"], found["says"], machine.walk(string), strict=True):
            assert one["failed"] == (here.state < 0)
            assert one["failed"] or (one["state"], tuple(one["counters"])) == here
            assert tuple(out for out, there in zip(machine.outputs, says, strict=True) if there) == machine.says(here)
        trace = tc.record_trace(doubled, network.inputs.astype(np.float64)[machine.encode(string)])
        for gate in "ifgoch":
            np.testing.assert_allclose(
                [step[gate] for step in found["cells"]], trace[gate].to_numpy()[0, 0, 0], atol=1e-6
            )


# ---- play ------------------------------------------------------------------------------------------------------------


def test_each_button_is_a_step_and_can_be_taken_back(play):
    page = play.page
    for letter, name in zip("kruds", ["keep", "reset", "up", "down", "show"], strict=True):
        page.get_by_role("button", name=name, exact=True).click()
        assert play.state()["pressed"].endswith(letter)
    page.get_by_role("button", name="hide", exact=True).click()
    assert play.state()["pressed"] == "krudsh"
    assert page.get_by_role("status").filter(has_text="hide: the cell holds").count() == 1
    page.get_by_role("button", name="Take back").click()
    assert play.state()["pressed"] == "kruds"
    page.get_by_role("button", name="Begin again").click()
    assert page.get_by_text("Press a button: each press is one step.").is_visible()


@pytest.mark.parametrize(
    ("state", "said"),
    [("", "It counts: up adds 1"), ("gates=relu&strength=2", "It runs away: keep makes 2 of every 1"),
     ("strength=1", "It leaks: keep keeps only 73 %"), ("squash=relu", "It cannot count down"),
     ("gates=sine", "It is no gate"), ("squash=sine", "It cannot be told how far to go"),
     ("gates=hard_sigmoid&squash=hard_tanh", "It counts: up adds 1"),
     ("gates=nonsense&squash=__proto__&strength=1e9", "It counts: up adds 1")],
)  # fmt: skip
def test_the_sentence_says_whether_the_cell_counts(window, pages, state, said):
    page = window.open(pages["anbn"][2], f"view=play&{state}").page
    assert page.get_by_role("heading", level=1).inner_text().startswith(said)


def test_functions_and_strength_are_chosen_and_stand_in_the_address(play):
    page = play.page
    page.get_by_role("combobox", name="Gates").select_option(label="hard sigmoid")
    page.get_by_role("combobox", name="Candidate and way out").select_option(label="softsign")
    page.get_by_role("slider", name="Strength of the signal").fill("3.5")
    assert play.state() == {
        "view": "play",
        "pressed": "",
        "gates": "hard_sigmoid",
        "squash": "softsign",
        "strength": "3.5",
    }


def test_a_table_stands_behind_the_cell_and_the_picture_is_saved(window, pages):
    page = window.open(pages["anbn"][2], "view=play&pressed=uud").page
    page.get_by_text("As a table").click()
    page.get_by_role("region", name="Every step").wait_for()
    rows = page.get_by_role("region", name="Every step").get_by_role("row").all_inner_texts()
    assert [row.split("\t")[1] for row in rows[1:]] == ["up", "up", "down"]
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save picture of the cell").click()
    assert saved.value.suggested_filename == "cell.png"


# ---- machine ---------------------------------------------------------------------------------------------------------


def test_a_string_is_typed_and_judged(window, pages):
    page = window.open(pages["anbn"][2]).page
    page.get_by_role("textbox", name="String").fill("aaabb")
    assert page.get_by_role("heading", level=1).inner_text() == "“aaabb” is not accepted."
    assert "n ends at 1. The LSTM says the same after each of the 5 symbols." in page.locator(".rest").inner_text()
    page.get_by_role("textbox", name="String").fill("abb")
    assert "It fails at symbol 3, b: no rule allows it there." in page.locator(".rest").inner_text()
    page.get_by_role("textbox", name="String").fill("ab<b>")
    assert "Reading stopped at ‘<’: the alphabet is a b." in page.locator(".rest").inner_text()
    page.get_by_role("textbox", name="String").fill("")
    assert page.get_by_role("heading", level=1).inner_text() == "The empty string is not accepted."


def test_near_misses_are_one_click_away(window, pages):
    page = window.open(pages["anbn"][2], "string=aabb").page
    group = page.get_by_role("group", name="Near misses")
    assert [one.get_attribute("aria-label") for one in group.get_by_role("button").all()] == [
        "aab, not accepted", "aabbb, not accepted", "abb, not accepted", "aaabb, not accepted", "abab, not accepted",
    ]  # fmt: skip
    group.get_by_role("button", name="aabbb, not accepted").click()
    assert window.state()["string"] == "aabbb"
    page.get_by_role("group", name="Accepted strings").get_by_role("button", name="ab, accepted", exact=True).click()
    assert page.get_by_role("heading", level=1).inner_text() == "“ab” is accepted."


def test_the_string_is_walked_step_by_step(window, pages):
    page = window.open(pages["anbn"][2], "string=aabb&step=2").page
    says = page.locator("output.readout")
    assert "after 2  ·  climbing  ·  n = 2  ·  says “a”, “b”" in says.text_content()
    page.get_by_role("button", name="One step on").click()
    assert "after 3  ·  falling  ·  n = 1" in says.text_content()
    assert page.locator(".block.is-now").text_content().startswith("state falling:")
    page.get_by_role("button", name="One step back").click()
    page.get_by_role("slider", name="Step").fill("4")
    assert window.state()["step"] == "4"
    page.get_by_role("button", name="Watch").click()
    assert window.state()["step"] == "0"
    window.until("location.hash.includes('step=1')")
    page.get_by_text("As a table").click()
    page.get_by_role("region", name="Counters and cells after each symbol").wait_for()
    assert "counter n" in page.get_by_role("columnheader").all_inner_texts()


def test_hostile_names_stay_text(window, tmp_path):
    symbols = tuple(one for one in HOSTILE if "\ud800" not in one)
    machine = CounterMachine(
        symbols, ("</script><b>", "‮start"), ("<i>n</i>",), ((0,),), np.ones((2, len(symbols), 3), int),
        np.zeros((2, len(symbols), 3, 1), bool), np.ones((2, len(symbols), 3, 1), int),
        ("accept", "<img src=x>"), np.ones((2, 3, 2), bool),
    )  # fmt: skip
    path = tmp_path / "hostile.html"
    machine_page(machine, title=f"</title>{HOSTILE[1]}").write(path)
    page = window.open(path.as_uri()).page
    page.get_by_role("textbox", name="String").fill(HOSTILE[0] + HOSTILE[1] + HOSTILE[5])
    window.settle()
    assert "after 3" in page.locator("output.readout").text_content()
    assert page.title().startswith("</title><img")
    assert page.evaluate("document.querySelectorAll('img, svg, #page script, iframe, #page b, #page i').length") == 0
    assert "\\u202estart" in page.get_by_role("region", name="Program").text_content()


def test_a_page_of_a_model_shows_its_machine_and_play(window, tmp_path):
    bundle = text_bundle(steps=60, effects=False)[0]
    page = window.open(written(page_of(with_machine(bundle, shipped_machine("parity"))), tmp_path)).page
    page.get_by_role("link", name="Machine").click()
    assert page.get_by_role("region", name="Program").is_visible()
    page.get_by_role("link", name="Play").click()
    assert page.get_by_role("button", name="reset", exact=True).is_visible()


def test_all_views_are_named_on_a_telephone(browser):  # noqa: F811
    bundle, model, given, _ = text_bundle(steps=60, effects=False)
    with (
        serving(with_machine(bundle, shipped_machine("parity")), model, given) as server,
        watched(browser, viewport={"width": 390, "height": 844}) as one,
    ):
        page = one.open(server.address).page
        links = page.get_by_role("navigation", name="Views").get_by_role("link")
        assert links.all_inner_texts() == ["Network", "Unit", "Find", "Hold", "Machine", "Play"]
        for link in links.all():
            link.click()
            assert page.evaluate(
                "(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth)(document.querySelector('nav'))"
            )


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(browser, pages, width):  # noqa: F811
    with watched(browser, viewport={"width": width, "height": 844}) as one:
        for name, state in itertools.product(MACHINES, ["", "view=play"]):
            page = one.open(pages[name][2], state).page
            one.settle()
            assert page.evaluate("document.documentElement.scrollWidth") <= width


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_a_network_that_the_page_cannot_run_is_refused():
    machine = shipped_machine("parity")
    network = compile_machine(machine)
    coupled = dataclasses.replace(network, parameters=dataclasses.replace(network.parameters, forget_gate="coupled"))
    with pytest.raises(InputError, match="the page runs an LSTM of one layer with sigmoid and tanh; this one is"):
        machine_header(machine, coupled)
    with pytest.raises(InputError, match=r"the network reads \('a', 'b'\) and says .* give two over the same symbols"):
        machine_header(shipped_machine("anbncn"), network)


def test_a_machine_that_is_too_large_is_refused():
    machine = shipped_machine("line-over-80")
    many = CounterMachine(
        ("a",), tuple(f"s{k}" for k in range(31)), (), (), np.zeros((31, 1, 1), int), np.zeros((31, 1, 1, 0), bool),
        np.zeros((31, 1, 1, 0), int), ("accept",), np.ones((31, 1, 1), bool),
    )  # fmt: skip
    with pytest.raises(InputError, match="the machine has 31 states and tables of 31 entries; a page shows 30 states"):
        machine_header(many)
    assert machine_header(machine)["symbols"]
