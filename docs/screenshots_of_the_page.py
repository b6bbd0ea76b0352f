"""Make the screenshots of the page: each view at two sizes, light and dark, of the shipped model and its text.

``python docs/screenshots_of_the_page.py [FOLDER]`` needs Playwright for Python and a Chromium, and takes two minutes.
"""

import shutil
import sys
import threading
from pathlib import Path

import tallycell as tc
from tallycell.cli.inputs import open_input
from tallycell.cli.report import describe
from tallycell.view import bundle_of
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
    places = find_places(subject.given.tokens)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with Server(Site(bundle, Holding(subject.model, subject.given, bundle.units))) as server, sync_playwright() as play:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (width, height) in SIZES.items():
            for theme in ("light", "dark"):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                for view, (state, top) in VIEWS.items():
                    path = folder / f"{view}_{name}_{theme}.png"
                    take(context, f"{server.address}#{state.format(**places)}", top, path)
                context.close()
        browser.close()
        server.shutdown()


def find_places(tokens: list[str]) -> dict[str, str]:
    """Find an expression with brackets within brackets: what is seen of it, a step within, and a span."""
    text = "".join(one if len(one) == 1 else " " for one in tokens)
    begin = next(k for k in range(6_000, len(text)) if text[k] == "(" and text[k : k + 40].count("(") >= 3)
    close = text.index(")", begin)
    return {"span": f"{begin - 60}-{begin + 80}", "at": str(close - 1), "mark": f"{begin}-{begin + 6}"}


def take(context, address: str, top: str | None, path: Path) -> None:
    """Open an address and take its picture."""
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
    page.screenshot(path=path)
    page.close()


if __name__ == "__main__":
    main()
