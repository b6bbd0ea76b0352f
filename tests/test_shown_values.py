"""What people see of a value: a short repr, and in notebooks well-formed HTML in which every name is escaped."""

from html.parser import HTMLParser

import numpy as np
import pytest

import tallycell as tc
from hand_set import network, random_text, read
from tallycell.machine import shipped_machine
from tallycell.reading.page import ASCII, UNICODE, draw, glyphs_for

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e"


class Tags(HTMLParser):
    """Refuses what is opened and not closed, or the other way round."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def a_reading():
    text = random_text(steps=400)
    depth = np.cumsum([(symbol == "(") - (symbol == ")") for symbol in text]).astype(float)
    return read(network([{"(": (1, 1), ")": (-1, 1)}] * 12), text, quantities={HOSTILE: depth})


def values():
    machine = shipped_machine("anbn")
    recogniser = tc.compile_machine(machine)
    reading = a_reading()
    return {
        "Reading": reading,
        "UnitReading": reading.units[0],
        "LSTMParameters": recogniser.parameters,
        "CounterMachine": machine,
        "Stream": tc.Stream(recogniser.parameters),
        "Recogniser": recogniser,
        "Input": tc.Input(np.zeros((3, 1)), "x.csv", "3 x 1 (time, feature)"),
        "LSTMState": tc.LSTMState.zeros(recogniser.parameters),
        "Record": tc.Record("c"),
    }


@pytest.fixture(scope="module")
def made():
    return values()


@pytest.mark.parametrize("name", ["Reading", "UnitReading", "LSTMParameters", "CounterMachine", "Stream"])
def test_html_is_well_formed_and_nothing_in_it_is_somebody_elses(made, name):
    tags = Tags()
    html = made[name]._repr_html_()
    tags.feed(html)
    tags.close()
    assert not tags.open
    assert tags.seen <= {"table", "caption", "tr", "th", "td"}
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_the_hostile_name_is_in_the_html_as_text(made):
    assert "&lt;script&gt;" in made["Reading"]._repr_html_()


def test_reprs_stay_within_ten_lines(made):
    for name, value in made.items():
        assert len(repr(value).splitlines()) <= 10, name
        assert len(repr(value)) <= 1000, name


def test_a_reading_prints_what_is_followed_and_how_long_it_remembers(made):
    page = str(made["Reading"])
    assert "The 10 units that a simple counter explains best (not the most important ones)" in page
    assert "What is followed best" in page
    assert "Half of the units never forget." in page
    assert "12 counter" in page
    assert "\x1b" not in page


def test_marks_fit_what_the_output_can_show():
    assert glyphs_for("utf-8") is UNICODE
    assert glyphs_for("latin-1") is ASCII
    assert glyphs_for(None) is ASCII
    assert len(set(ASCII.events.values())) == len(ASCII.events)  # kept apart
    assert draw(np.array([0, 1, 100]), ASCII).isascii()
    assert draw(np.array([0, 1, 100]), ASCII)[0] == " "
