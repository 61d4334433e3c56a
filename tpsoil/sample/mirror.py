"""A loopback mirror of open data: the address layouts and encodings of the sources, with small simulated files.

`tpsoil fetch` works against it without a network: in tests, in notebooks, and on a machine of one's own.
"""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from .mirror_files import SERVICES, Query

SIGNED: Final = "modis-061-cogs"
"""Files that are read with a token only."""
TOKEN_SECONDS: Final = 3600.0

Service = Callable[[Path, str, Query], bytes]


@dataclass
class Mirror:
    """A server on 127.0.0.1 over a folder, which counts what it sends.

    Parameters
    ----------
    root : Path
        Of `make_sources`.
    fault : callable, optional
        `fault(handler, path, number)` may answer itself (and return True) before the file is sent.
    services : mapping of str to callable
        `service(root, address, query)` gives an answer that is computed; by the beginning of its path.
    etags : dict of str to str
        In place of those that the files have.
    sent, requests : int
        Bytes of files and answers, and requests.
    paths : list of str
        That were requested.
    tokens : set of str
        That are valid.
    token_seconds : float
        After which a token ends.
    address : str
        Of the running server.
    """

    root: Path
    fault: Callable[[Any, str, int], bool] | None = None
    services: Mapping[str, Service] = field(default_factory=lambda: SERVICES)
    etags: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    requests: int = 0
    paths: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    token_seconds: float = TOKEN_SECONDS
    address: str = ""

    def new_token(self) -> bytes:
        """A token and its end, as the token service of the Planetary Computer answers."""
        token = f"sig=token{len(self.tokens)}"
        self.tokens.add(token)
        end = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(seconds=self.token_seconds)
        return json.dumps({"msft:expiry": end.isoformat().replace("+00:00", "Z"), "token": token}).encode()


def send(handler: Any, status: int, body: bytes = b"", **headers: str) -> bool:
    """Answer a request; True."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
    return True


@contextlib.contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    """Run the server for as long as the context lasts."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            mirror.requests += 1
            text, _, query = self.path.partition("?")
            path = urllib.parse.unquote(text).lstrip("/")
            mirror.paths.append(path)
            if mirror.fault is None or not mirror.fault(self, path, mirror.requests):
                _answer(mirror, self, path, query)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    mirror.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()


def _answer(mirror: Mirror, handler: Any, path: str, query: str) -> None:
    if path.startswith("api/sas/"):
        send(handler, 200, mirror.new_token())
        return
    service = next((one for start, one in mirror.services.items() if path.startswith(start)), None)
    if service is not None:
        body = service(mirror.root, mirror.address, dict(urllib.parse.parse_qsl(query)) | {"path": path})
        mirror.sent += len(body)
        send(handler, 200, body)
        return
    if path.startswith(SIGNED) and query not in mirror.tokens:
        send(handler, 403)
        return
    file = mirror.root / path.removeprefix("mirror/")
    if not file.is_file():
        send(handler, 404)
        return
    data, etag = file.read_bytes(), mirror.etags.get(path, f'"{file.stat().st_mtime_ns}"')
    if handler.headers.get("If-Match", etag) != etag:
        send(handler, 412)
        return
    requested = handler.headers.get("Range")
    if requested is None:
        mirror.sent += len(data)
        send(handler, 200, data, ETag=etag)
        return
    first, last = (int(part) for part in requested.removeprefix("bytes=").split("-"))
    part = data[first : last + 1]
    mirror.sent += len(part)
    send(handler, 206, part, ETag=etag, Content_Range=f"bytes {first}-{first + len(part) - 1}/{len(data)}")


def catalogue_of(mirror: Mirror, path: Path) -> Path:
    """The package's own catalogue with the hosts replaced by the mirror's; written to a file."""
    text = files("tpsoil.sources").joinpath("catalogue.toml").read_text(encoding="utf-8")
    text = re.sub(r'(url|token) = "https?://[^/]+/', rf'\1 = "{mirror.address}/', text)
    text = re.sub(r'mirrors = \["https?://[^"]*?/([^/"]+)"\]', rf'mirrors = ["{mirror.address}/mirror/\1"]', text)
    path.write_text(text, encoding="utf-8")
    return path
