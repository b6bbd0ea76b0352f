"""The page in a browser: how soon it is there, how fast it follows, and how much memory it takes."""

import argparse
import re
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import tallycell as tc
from tallycell.view import bundle_of, page_of
from tallycell.view.server import Server, Site

HELP = "first paint, readiness, zoom, change of unit and memory of the page in Chromium, from a file and served"
STEPS, UNITS = 100_000, 256
READ = 4_000  # steps that the reading is made of: it is not what is measured
LETTERS = "abcdefghijklmnopqrstuvwxyz()[] \n"
TARGETS = {"first_paint_ms": 500, "ready_ms": 2000, "zoom_ms": 50, "unit_ms": 100, "jump_ms": None, "heap_mb": 150}
READY = """async () => {
  const paint = performance.getEntriesByType("paint").find((one) => one.name === "first-contentful-paint");
  return { first_paint_ms: paint.startTime, ready_ms: window.readyAt };
}"""
WATCH = """new MutationObserver((_, watcher) => {
  if (!document.documentElement.dataset.ready) return;
  window.readyAt = performance.now();
  watcher.disconnect();
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["data-ready"] });"""
FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
ZOOM = f"""async () => {{
  const canvas = document.querySelector(".unit-view canvas");
  canvas.focus();
  const times = [];
  for (let k = 0; k < 40; k += 1) {{
    const begin = performance.now();
    canvas.dispatchEvent(new KeyboardEvent("keydown", {{ key: k < 20 ? "+" : "-" }}));
    await {FRAME};
    times.push(performance.now() - begin);
    await new Promise((done) => setTimeout(done, 30));
  }}
  return times;
}}"""
CHANGE = f"""async (labels) => {{
  const times = [];
  for (const label of labels) {{
    const begin = performance.now();
    location.hash = `view=unit&unit=${{label}}&steps=0-100000`;
    const name = `Life of unit ${{label}},`;
    while (!document.querySelector(".unit-view canvas").getAttribute("aria-label").startsWith(name)) {{
      await new Promise((done) => setTimeout(done, 1));
    }}
    await {FRAME};
    times.push(performance.now() - begin);
    await new Promise((done) => setTimeout(done, 250));
  }}
  return times;
}}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help="length of what was read")
    parser.add_argument("--units", type=int, default=UNITS, metavar="N", help="units of the network")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the page from a file and from a server."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("skipped: there is no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    begin = time.perf_counter()
    bundle = make_bundle(arguments.steps, arguments.units)
    made = time.perf_counter()
    page = page_of(bundle)
    print(f"bundle in {made - begin:.1f} s, page in {time.perf_counter() - made:.1f} s: {page.said()}")
    rows = []
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        page.write(path)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        kept = re.findall(r'id="array:unit/([^"]+)"', page.html)
        rows.append({"how": "file", **measure(browser, path.as_uri(), kept)})
        with Server(Site(bundle)) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            rows.append({"how": "served", **measure(browser, server.address, kept)})
            server.shutdown()
        browser.close()
    names = list(TARGETS)
    print(f"{'':<8}" + "".join(f"{name:>16}" for name in names))
    print(f"{'target':<8}" + "".join(f"{TARGETS[name] or '-':>16}" for name in names))
    for row in rows:
        print(f"{row['how']:<8}" + "".join(f"{row[name]:>16,.0f}" for name in names))
    return {"steps": arguments.steps, "units": arguments.units, "bytes": page.size, "kept": page.kept, "rows": rows,
            "targets": TARGETS}  # fmt: skip


def make_bundle(steps: int, units: int) -> Any:
    """Give a bundle of a random network over a random text."""
    rng = np.random.default_rng(0)
    weights = {
        "weight_ih_l0": rng.normal(size=(4 * units, len(LETTERS))) * 2,
        "weight_hh_l0": rng.normal(size=(4 * units, units)) * 0.3,
        "bias_ih_l0": np.repeat([0.0, 1.0, 0.0, 0.0], units), "bias_hh_l0": np.zeros(4 * units),
    }  # fmt: skip
    parameters = tc.LSTMParameters({name: value.astype(np.float32) for name, value in weights.items()})
    readout = rng.normal(size=(len(LETTERS), units)), np.zeros(len(LETTERS))
    model = tc.Recogniser(tuple(LETTERS), np.eye(len(LETTERS)), parameters, *readout, tuple(LETTERS))
    codes = rng.integers(len(LETTERS), size=steps)
    text = [LETTERS[k] for k in codes]
    x = np.eye(len(LETTERS), dtype=np.float32)[codes]
    few = tc.record_trace(model, x[:READ])
    reading = tc.read_units(few.drop_vars("x"), text[:READ])
    trace = tc.record_trace(model, x, record=tc.Record(("i", "f", "g", "o", "c", "h")))
    quantities = {"position": np.arange(steps) % 80.0, "drift": np.cumsum(rng.normal(size=steps))}
    return bundle_of(trace, reading, text, quantities=quantities, model=model)


def measure(browser: Any, address: str, labels: list[str]) -> dict[str, float]:
    """Open a page anew and measure it; times are medians, memory is what is used after a collection."""
    first = []
    for _ in range(3):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        window = context.new_page()
        window.add_init_script(WATCH)
        window.goto(address)
        window.wait_for_selector("html[data-ready]", timeout=60_000)
        window.wait_for_timeout(500)
        first.append(window.evaluate(READY))
        if len(first) < 3:
            context.close()
    found = {name: float(np.median([one[name] for one in first])) for name in first[0]}
    window.evaluate(f"location.hash = 'view=unit&unit={labels[0]}&steps=0-100000'")
    window.get_by_role("application", name="Life of unit").wait_for(timeout=60_000)
    found["unit_ms"] = float(np.median(window.evaluate(CHANGE, labels[1:16])))
    found["jump_ms"] = float(np.median(window.evaluate(CHANGE, labels[14::-2])))  # to one that is not had ready
    found["zoom_ms"] = float(np.median(window.evaluate(ZOOM)))
    session = context.new_cdp_session(window)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")
    found["heap_mb"] = (used["usedSize"] + used.get("backingStorageSize", 0)) / 1e6
    context.close()
    return found
