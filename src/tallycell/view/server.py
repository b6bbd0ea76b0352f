"""A server for one page on this machine: units when they are asked for, and a gate held when that is asked for.

It listens to this machine only, and answers nobody who reached it under another name (a site that points its name
here), who comes from another page, or who lacks the token that stands in the address it prints: without that, another
user of the machine is shown nothing.
"""

import hmac
import json
import secrets
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tallycell.errors import InputError, TallycellError
from tallycell.view.bundle import Bundle
from tallycell.view.holding import Holding
from tallycell.view.packing import described, life_bytes, plain_bytes
from tallycell.view.scripts import ENTRY, modules_in_order, read_static, static_names
from tallycell.wording import one_line

LOCAL = "127.0.0.1"
LARGEST_WISH = 10_000  # bytes
TOKEN = "X-Tallycell-Token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SHELL = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tallycell</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="static/page.css">
{{preloads}}
<script type="module" src="static/{ENTRY}"></script>
</head>
<body>
<noscript>This page draws what an LSTM does, and needs JavaScript for it.</noscript>
<div id="page"><p class="hint message">Reading …</p></div>
</body>
</html>
"""
_KINDS = {".js": "text/javascript", ".css": "text/css"}


@cache
def _shell() -> str:
    """Give the page without anything of the bundle; all modules are asked for at once, not one after the other."""
    names = modules_in_order()
    return _SHELL.replace("{preloads}", "\n".join(f'<link rel="modulepreload" href="static/{name}">' for name in names))


class _RefusedError(Exception):
    """What is answered instead."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, eq=False)
class Site:
    """What a server shows, and who may see it.

    Attributes
    ----------
    bundle
        What the page shows.
    holding
        The model, to be run again; None where there is only a trace.
    token
        Whoever asks for anything of the bundle has to know it.
    """

    bundle: Bundle
    holding: Holding | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    computing: threading.Lock = field(default_factory=threading.Lock)

    def header(self) -> bytes:
        """Give the header of the bundle with the names of its arrays."""
        arrays = [described(name, array) for name, array in self.bundle.arrays.items()]
        known = dict(self.bundle.header) | {
            "kept": list(self.bundle.units), "arrays": arrays, "can_hold": self.holding is not None,
        }  # fmt: skip
        return json.dumps(known, allow_nan=False).encode()

    def data(self, kind: str, name: str) -> bytes:
        """Give the header, an array or a unit."""
        if kind == "header" and not name:
            return self.header()
        if kind == "array" and name in self.bundle.arrays:
            return plain_bytes(self.bundle.arrays[name])
        if kind == "unit" and name in self.bundle.units:
            return life_bytes(self.bundle.units[name])
        raise _RefusedError(HTTPStatus.NOT_FOUND, f"there is no {kind} {name}".strip())

    def hold(self, content: bytes) -> bytes:
        """Hold what is wished for; one at a time."""
        if self.holding is None:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "there is only a trace here, and no model to run again")
        try:
            wish = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"that is no JSON: {one_line(error)}") from None
        if not self.computing.acquire(blocking=False):
            raise _RefusedError(HTTPStatus.CONFLICT, "another hold is being computed; ask again when it is done")
        try:
            return self.holding.hold(wish)
        finally:
            self.computing.release()


class Server(ThreadingHTTPServer):
    """The server; ``with`` closes it.

    Examples
    --------
    >>> import numpy as np
    >>> import tallycell as tc
    >>> from tallycell.view.bundle import bundle_of
    >>> ones = tc.LSTMParameters({"weight_ih_l0": np.ones((8, 1)), "weight_hh_l0": np.zeros((8, 2))})
    >>> trace = tc.record_trace(ones, np.sin(np.arange(300.0))[:, np.newaxis])
    >>> with Server(Site(bundle_of(trace, tc.read_units(trace)))) as server:
    ...     server.address.startswith("http://127.0.0.1:")
    True
    """

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, site: Site, port: int = 0) -> None:
        self.site = site
        try:
            super().__init__((LOCAL, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"cannot serve on port {port}: {one_line(error)}; give another with --port") from None

    @property
    def address(self) -> str:
        """Where a browser finds the page, token included."""
        return f"http://{LOCAL}:{self.server_port}/?token={self.site.token}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names under which it answers."""
        return tuple(f"{name}:{self.server_port}" for name in (LOCAL, "localhost"))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone; whatever else comes here is a mistake of ours, and is said."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "tallycell"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds in which a request must have come

    def do_GET(self) -> None:
        self._answer(self._give)

    def do_POST(self) -> None:
        self._answer(self._compute)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal belongs to the command."""

    def _answer(self, give: Any) -> None:
        try:
            self._require_local()
            kind, content = give()
            self._send(HTTPStatus.OK, kind, content)
        except _RefusedError as refused:
            self._refuse(refused.status, str(refused))
        except TallycellError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except MemoryError:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, "there is not enough memory for that")
        except ConnectionError:
            raise  # the browser has gone: nobody hears an answer
        except Exception:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "that is a mistake in tallycell; the terminal says more")
            raise

    def _give(self) -> tuple[str, bytes]:
        path = urlsplit(self.path).path
        if path == "/":
            return "text/html; charset=utf-8", _shell().encode()
        kind, _, name = unquote(path.removeprefix("/")).partition("/")
        if kind == "static" and name in static_names():
            return f"{_KINDS[name[name.rindex('.') :]]}; charset=utf-8", read_static(name).encode()
        self._require_token()
        mime = "application/json" if kind == "header" else "application/octet-stream"
        return mime, self.server.site.data(kind, name)

    def _compute(self) -> tuple[str, bytes]:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or len(size) > len(str(LARGEST_WISH)) or int(size) > LARGEST_WISH:
            self.close_connection = True  # what it sends is not read
            text = f"a wish has at most {LARGEST_WISH:,} bytes, and says how many"
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        content = self.rfile.read(int(size))
        if self.headers.get("Origin") not in [f"http://{host}" for host in self.server.hosts]:
            raise _RefusedError(HTTPStatus.FORBIDDEN, "only the page itself may ask for that")
        self._require_token()
        if urlsplit(self.path).path != "/hold":
            raise _RefusedError(HTTPStatus.NOT_FOUND, "there is nothing to compute at this address")
        return "application/octet-stream", self.server.site.hold(content)

    def _require_local(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self.close_connection = True
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, f"this is {self.server.hosts[0]}, and answers under no other name"
            )
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in self.server.hosts]:
            self.close_connection = True
            raise _RefusedError(HTTPStatus.FORBIDDEN, "only the page itself may ask")

    def _require_token(self) -> None:
        given = self.headers.get(TOKEN, "")
        if not hmac.compare_digest(given.encode(), self.server.site.token.encode()):
            raise _RefusedError(
                HTTPStatus.FORBIDDEN, "the token is missing; open the whole address that tallycell view printed"
            )

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._send(status, "application/json", json.dumps({"error": text}).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        headers: Mapping[str, str] = {
            "Content-Type": kind, "Content-Length": str(len(content)), "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
        }  # fmt: skip
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
