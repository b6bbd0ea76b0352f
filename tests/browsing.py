"""A browser for tests, and pages to look at: small networks over a text of hostile names, and over dates."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import tallycell as tc
from tallycell.effect.measuring import measure_effects
from tallycell.view import bundle_of
from tallycell.view.holding import Holding
from tallycell.view.server import Server, Site

HOSTILE = (
    "</script><script>document.title='run'</script>", "<img src=x onerror=\"document.title='run'\">", "‮gnol",
    "a\x1b[2J\x00b", "x" * 10_000, '"><svg onload=alert(1)>', "</style>", "<!--", "&lt;b&gt;", "\ud800",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium; the test is skipped where it or Playwright is not."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright for Python is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield one
        one.close()


class Watched:
    """A page, and everything that it must not do: ask for something, complain, or fail."""

    def __init__(self, page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda asked: self.requests.append(asked.url))

    def open(self, address: str, state: str = "") -> "Watched":
        """Open an address anew, with what stands behind its #."""
        self.page.goto("about:blank")
        self.page.goto(f"{address}#{state}")
        self.page.wait_for_selector("html[data-ready]", timeout=20_000)
        return self

    def until(self, expression: str) -> None:
        """Wait until something holds. (Playwright's own waiting evaluates, which the policy of the page forbids.)"""
        for _ in range(400):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(f"it never held: {expression}")

    def settle(self) -> None:
        """Wait until the address says what is seen, and all is drawn."""
        self.page.wait_for_timeout(250)

    def state(self) -> dict[str, str]:
        """Give what stands behind the # of the address."""
        return self.page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


@contextmanager
def watched(browser, **how) -> Iterator[Watched]:
    """Open a window, and see at its end that nothing was wrong."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "accept_downloads": True} | how)
    one = Watched(context.new_page())
    yield one
    context.close()
    assert not one.complaints, one.complaints


def network(symbols=("a", "b", "c"), units=12, layers=1, bidirectional=False, seed=3) -> tc.Recogniser:
    """Give a network of random weights that keeps what it writes for a while."""
    rng = np.random.default_rng(seed)
    directions, weights = 1 + bidirectional, {}
    for layer in range(layers):
        features = len(symbols) if layer == 0 else units * directions
        for suffix in ("", "_reverse")[:directions]:
            weights[f"weight_ih_l{layer}{suffix}"] = rng.normal(size=(4 * units, features)) * 3
            weights[f"weight_hh_l{layer}{suffix}"] = rng.normal(size=(4 * units, units)) * 0.3
            bias = np.zeros(4 * units)
            bias[units : 2 * units] = 2.0
            weights[f"bias_ih_l{layer}{suffix}"], weights[f"bias_hh_l{layer}{suffix}"] = bias, np.zeros(4 * units)
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    parameters = tc.LSTMParameters(weights)
    return tc.Recogniser(
        tuple(symbols), np.eye(len(symbols)), parameters, rng.normal(size=(5, units * directions)), rng.normal(size=5),
        ("yes", "no", "perhaps", "<b>never</b>", "always"),
    )  # fmt: skip


def text_bundle(symbols=("(", ")", " ", "\n", "e"), steps=700, effects=True, **how):
    """Give a bundle of a network over a random text, with the model and what it read."""
    model = network(symbols, **how)
    rng = np.random.default_rng(1)
    read = [str(one) for one in rng.choice(np.array(symbols, dtype=object), steps)]
    given = tc.Input(
        np.eye(len(symbols), dtype=np.float32)[[symbols.index(one) for one in read]], "the text", "a text", tokens=read,
        quantities={f"depth {HOSTILE[1]}": np.sin(np.arange(steps) / 9), "position": np.arange(steps) % 50.0},
    )  # fmt: skip
    trace = tc.record_trace(model, given)
    reading = tc.read_units(trace, given)
    found = measure_effects(model, given, kinds=["zero"]) if effects else None
    about = [f"{HOSTILE[0]}: an LSTM", HOSTILE[4], f"it read {HOSTILE[3]}"]
    bundle = bundle_of(trace, reading, given, model=model, effects=found, about=about)
    return bundle, model, given, trace


def dates_bundle(steps=900):
    """Give a bundle of a network over two sequences of dates, without a head."""
    days = np.datetime64("2001-01-01", "ns") + np.arange(steps) * np.timedelta64(1, "D")
    rng = np.random.default_rng(5)
    x = xr.DataArray(
        rng.normal(size=(2, steps, 3)).astype(np.float32), dims=("sequence", "time", "feature"),
        coords={"sequence": ["Marsh Creek", "<i>River</i>"], "time": days, "feature": ["rain", "tmax", "<b>vp</b>"]},
    )  # fmt: skip
    trace = tc.record_trace(network(units=6).parameters, x)
    snow = xr.DataArray(np.cos(np.arange(steps) / 58) * np.ones((2, 1)), coords={"sequence": x.sequence, "time": days},
                        attrs={"units": "mm"})  # fmt: skip
    return bundle_of(trace, tc.read_units(trace, quantities={"snow": snow}), quantities={"snow": snow})


@contextmanager
def serving(bundle, model=None, given=None) -> Iterator[Server]:
    """Serve a bundle in a thread."""
    holding = None if model is None else Holding(model, given, bundle.units)
    with Server(Site(bundle, holding)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def written(page, folder: Path) -> str:
    """Write a page, and give its address."""
    path = folder / "page with blanks & more.html"
    page.write(path)
    return path.as_uri()
