"""Make the screenshots of the page: each view at two sizes, light and dark, of the shipped model and its text.

``python docs/screenshots_of_the_page.py [FOLDER]`` needs Playwright for Python, Pillow and a Chromium, and takes two
minutes.
"""

import io
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

import tallycell as tc
from tallycell.cli.inputs import open_input
from tallycell.cli.report import describe
from tallycell.view import bundle_of, lesson_page
from tallycell.view.holding import Holding
from tallycell.view.server import Server, Site

PICTURES = Path(__file__).parent / "pictures" / "page"
SIZES = {"1280": (1280, 800), "390": (390, 844)}
# What is seen, and what stands at the top of the window; None for the top of the page.
VIEWS = {
    "network": ("", None),
    "carpet": ("", ".carpet"),
    "units": ("role=counter&sort=r2", ".units"),
    "unit": ("view=unit&unit=0.27&steps={span}&at={at}", None),
    "life": ("view=unit&unit=0.27&steps={span}&at={at}", ".picture"),
    "ledger": ("view=unit&unit=0.27&steps={span}&at={at}&colour=ledger", ".ledger"),
    "find": ("view=find&mark={mark}", None),
    "hold": ("view=hold&unit=0.27", None),
    "play": ("view=play", None),
}
VIEWS_OF_LESSON = {
    "lesson": ("string=aaaabbb", None),
    "lesson_break": ("screen=3&leak=0.02", None),
    "machine": ("view=machine&string=aaabb&step=4", None),
}


def main() -> None:
    """Serve the page and take the pictures."""
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    subject = open_input()
    trace = subject.record()
    reading = tc.read_units(trace, subject.given, model=subject.model)
    effects = tc.measure_effects(subject.model, subject.given, kinds=["zero"])
    reading = tc.with_purposes(reading, effects)
    bundle = bundle_of(
        trace, reading, subject.given, model=subject.model, effects=effects, about=describe(subject)
    )  # fmt: skip
    places = find_places(subject.given)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        Server(Site(bundle, Holding(subject.model, subject.given, bundle.units))) as server,
        tempfile.TemporaryDirectory() as lesson_in,
        sync_playwright() as play,
    ):
        lesson = Path(lesson_in) / "lesson.html"
        lesson_page().write(lesson)
        addresses = dict.fromkeys(VIEWS, server.address) | dict.fromkeys(VIEWS_OF_LESSON, lesson.as_uri())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (width, height) in SIZES.items():
            for theme in ("light", "dark"):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                for view, (state, top) in (VIEWS | VIEWS_OF_LESSON).items():
                    path = folder / f"{view}_{name}_{theme}.png"
                    take(context, f"{addresses[view]}#{state.format(**places)}", top, path)
                context.close()
        browser.close()
        server.shutdown()


def find_places(given: tc.Input) -> dict[str, str]:
    """Find brackets within brackets: what is seen around them, a step within, and a span."""
    depth = np.asarray(given.quantities["bracket depth"])
    deep = int(np.flatnonzero(depth >= 3)[0])
    begin = deep - int(np.argmax(depth[deep::-1] == 0))
    return {"span": f"{begin - 30}-{begin + 110}", "at": str(deep + 1), "mark": f"{deep}-{deep + 6}"}


def take(context, address: str, top: str | None, path: Path) -> None:
    """Open an address and take its picture, in 256 colours: nobody sees the difference, and it is a third as large."""
    from PIL import Image

    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    page.wait_for_timeout(600)
    if "view=hold" in address:
        page.get_by_role("button", name="Run it again").click()
        page.get_by_role("table", name="Where the outputs move most").wait_for(timeout=60_000)
    if top is not None:
        page.evaluate("(where) => document.querySelector(where).scrollIntoView({ block: 'start' })", top)
    page.wait_for_timeout(400)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    page.close()


if __name__ == "__main__":
    main()
