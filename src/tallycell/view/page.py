"""One page in one file: it works offline, asks nobody for anything, and runs only what its own hashes name."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallycell.files import require_place, write_file
from tallycell.memory import say_bytes
from tallycell.reading.reading import Reading
from tallycell.view.bundle import Bundle, bundle_of
from tallycell.view.packing import described, packed, packed_life
from tallycell.view.scripts import joined, read_static

if TYPE_CHECKING:
    import xarray as xr

MOST = 40_000_000  # bytes of a page
MOST_OF_FRAME = 8_000_000
HEIGHT = 820  # pixels of a frame
_ROOM = 20_000  # bytes of it for what stands around the arrays


@dataclass(frozen=True, eq=False, repr=False)
class Page:
    """A page that is ready to be written.

    Attributes
    ----------
    html
        The page.
    kept, units
        Of how many units it holds every step, and how many there are.
    """

    html: str = field(repr=False)
    kept: int
    units: int

    @property
    def size(self) -> int:
        """Bytes of the page."""
        return len(self.html.encode())

    def __repr__(self) -> str:
        return f"Page({self.said()})"

    def said(self) -> str:
        """Say how large it is and what is in it."""
        kept = f"every step of all {self.units:,} units"
        if self.kept < self.units:
            kept = f"every step of the {self.kept:,} units of {self.units:,} that matter or read best"
        return f"{say_bytes(self.size)}, {kept}"

    def write(self, path: str | Path) -> None:
        """Write it into a file, whole or not at all.

        Raises
        ------
        InputError
            If it cannot be written there.
        """
        write_file(require_place(Path(path)), self.html.encode())


@dataclass(frozen=True, repr=False)
class Frame:
    """A page in a frame of a notebook."""

    page: Page
    height: int = HEIGHT

    def __repr__(self) -> str:
        return f"Frame({self.page!r})"

    def _repr_html_(self) -> str:
        # Without allow-same-origin: whatever a page does, it cannot reach the notebook around it.
        return (
            f'<iframe title="tallycell" width="100%" height="{int(self.height)}" frameborder="0" '
            f'sandbox="allow-scripts allow-downloads" srcdoc="{escape(self.page.html)}"></iframe>'
        )


def page_of(bundle: Bundle, most: int = MOST) -> Page:
    """Make a page of a bundle.

    Parameters
    ----------
    bundle
        What it shows.
    most
        Bytes of the page. Those units whose steps fit are kept, the ones that matter most first, then those that read
        best; what else is said of a unit, and its row in the overview, is there for all.

    Examples
    --------
    >>> import tallycell as tc
    >>> from tallycell.view.bundle import bundle_of
    >>> ones = tc.LSTMParameters({"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": np.zeros((8, 2))})
    >>> trace = tc.record_trace(ones, np.sin(np.arange(300.0))[:, np.newaxis])
    >>> page_of(bundle_of(trace, tc.read_units(trace))).kept
    2
    """
    blocks = [_block(name, array) for name, array in bundle.arrays.items()]
    used = _ROOM + sum(len(text) for _, text in blocks) + len(joined()) + len(read_static("page.css"))
    used += len(_as_json(bundle.header))
    lives, kept = [], []
    for label in _foremost(bundle.header):
        reverse = label.endswith("r")
        text = base64.b64encode(packed_life(bundle.units[label], bundle.start, reverse=reverse)).decode()
        if used + len(text) > most:
            break
        used += len(text) + len(label) + 60
        lives.append(({"name": f"unit/{label}"}, text))
        kept.append(label)
    header = dict(bundle.header) | {"kept": kept, "arrays": [about for about, _ in blocks]}
    blocks = [*lives[:1], *blocks, *lives[1:]]  # the unit that is seen first comes early
    return Page(_html(header, blocks), len(kept), len(bundle.units))


def page_of_header(header: Mapping[str, Any]) -> Page:
    """Make a page of a header alone, without arrays: of a machine, or the lesson."""
    return Page(_html(header, []), 0, 0)


def write_page(
    reading: Reading, trace: "xr.Dataset", path: str | Path, given: Any = None, *, most: int = MOST, **how: Any
) -> Page:  # fmt: skip
    """Write a reading as a page into a file.

    Parameters
    ----------
    reading, trace, given
        As :func:`~tallycell.view.bundle.bundle_of` takes them.
    path
        Where to; tried before anything long begins.
    most
        Bytes of the page: see :func:`page_of`.
    **how
        ``quantities``, ``model``, ``effects``, ``about`` of ``bundle_of``.

    Raises
    ------
    InputError
        If it cannot be written there, or trace and reading do not fit together.
    """
    require_place(Path(path))
    page = page_of(bundle_of(trace, reading, given, **how), most)
    page.write(path)
    return page


def frame_of(
    reading: Reading, trace: "xr.Dataset", given: Any = None, *, most: int = MOST_OF_FRAME, height: int = HEIGHT,
    **how: Any,
) -> Frame:  # fmt: skip
    """Give a reading as a page in a frame of a notebook.

    Parameters
    ----------
    reading, trace, given, **how
        As for :func:`write_page`.
    most
        Bytes of the page; it stays in the notebook's file, so fewer than of a page by itself.
    height
        In pixels.
    """
    return Frame(page_of(bundle_of(trace, reading, given, **how), most), height)


def _foremost(header: Mapping[str, Any]) -> list[str]:
    """Give labels in the order in which units are kept: one that matters, one that reads well, and so on."""
    best = header["best"]
    matter = [] if header["effects"] is None else header["effects"]["most"]
    turns = [label for pair in zip(matter, best, strict=False) for label in pair]
    return list(dict.fromkeys([*turns, *matter, *best]))


def _block(name: str, array: np.ndarray) -> tuple[dict[str, Any], str]:
    return described(name, array), base64.b64encode(packed(array)).decode()


def _as_json(value: object) -> str:
    """Write JSON that may stand in a page: nothing in it ends or begins an element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _html(header: Mapping[str, Any], blocks: list[tuple[dict[str, Any], str]]) -> str:
    style, script = read_static("page.css"), joined()
    policy = "; ".join([
        "default-src 'none'", f"script-src {_hash_of(script)}", f"style-src {_hash_of(style)}", "img-src data: blob:",
        "base-uri 'none'", "form-action 'none'",
    ])  # fmt: skip
    arrays = "\n".join(
        f'<script type="text/plain" id="array:{escape(about["name"])}">{text}</script>' for about, text in blocks
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(header["about"][0])} · tallycell</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<noscript>This page draws what an LSTM does, and needs JavaScript for it. It asks nobody for anything.</noscript>
<div id="page"></div>
<script type="application/json" id="header">{_as_json(header)}</script>
<script>{script}</script>
{arrays}
</body>
</html>
"""


def _hash_of(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
