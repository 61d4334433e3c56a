"""One test for each fault of a server, for mirrors and proxies, and for the number of connections."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mirror import Mirror, make_sources, send, serving, stall
from test_fetch import BOX, FAST, network, same_layers

from tpsoil.cube import open_cube
from tpsoil.errors import AccessError, MissingInputError, TpsoilError, WorkError
from tpsoil.recipes import Fetched, fetch
from tpsoil.sources import Client, SourceChangedError

NAME = "chelsa02/chelsa/global/bioclim/bio12/1981-2010/CHELSA_bio12_1981-2010_V.2.1.tif"
Fault = Callable[[Any, str, int], bool]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def mirror(root: Path) -> Iterator[Mirror]:
    with serving(Mirror(root)) as running:
        yield running


def get(mirror: Mirror, folder: Path, **how: Any) -> Fetched:
    return fetch(folder / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000,
                 network=network(mirror, folder, **how))  # fmt: skip


def ranged(mirror: Mirror, handler: Any, change: Callable[[bytes], bytes]) -> bool:
    """The answer to a range with other bytes of the same length, or fewer."""
    data = (mirror.root / NAME).read_bytes()
    first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
    part = data[first : last + 1]
    handler.send_response(206)
    handler.send_header("ETag", f'"{(mirror.root / NAME).stat().st_mtime_ns}"')
    handler.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
    handler.send_header("Content-Length", str(len(part)))
    handler.end_headers()
    handler.wfile.write(change(part))
    handler.close_connection = True
    return True


def slowly(handler: Any, part: bytes) -> bytes:
    for start in range(0, len(part), 4096):
        handler.wfile.write(part[start : start + 4096])
        time.sleep(0.01)
    return b""


def passing(kind: str, mirror: Mirror, faults: list[int]) -> Fault:
    """A fault of every third answer, after which the same request is answered; their numbers are listed."""

    def fault(handler: Any, path: str, number: int) -> bool:
        answered = answer(handler, path, number)
        if answered:
            faults.append(number)
        return answered

    def answer(handler: Any, path: str, number: int) -> bool:
        if path != NAME or number % 3 or handler.headers.get("Range") == "bytes=0-0":
            return (
                kind == "slow bytes"
                and "Range" in handler.headers
                and ranged(mirror, handler, lambda part: slowly(handler, part))
            )
        if kind == "429":
            return send(handler, 429, Retry_After="0")
        if kind in {"500", "502", "503", "504", "408"}:
            return send(handler, int(kind))
        if kind == "redirect":
            return send(handler, 302, Location=f"/mirror/{NAME}")
        if kind == "stall":
            stall(0.6)
            handler.close_connection = True
            return True
        if kind == "closed":
            handler.close_connection = True
            return True
        if kind == "truncated":
            return ranged(mirror, handler, lambda part: part[: len(part) // 2])
        return False

    return fault


@pytest.mark.parametrize(
    "kind", ["408", "429", "500", "502", "503", "504", "redirect", "stall", "closed", "truncated", "slow bytes"]
)
def test_a_passing_fault_gives_the_same_cube(mirror: Mirror, tmp_path: Path, kind: str) -> None:
    get(mirror, tmp_path / "good")
    faults: list[int] = []
    before = mirror.requests
    mirror.fault = passing(kind, mirror, faults)
    get(mirror, tmp_path / "bad")
    assert faults
    assert mirror.requests > before + 2
    same_layers(open_cube(tmp_path / "good" / "cube.zarr"), open_cube(tmp_path / "bad" / "cube.zarr"))


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("404", MissingInputError, r"the server has no such file \(HTTP 404\)"),
        ("410", MissingInputError, r"the server has no such file \(HTTP 410\)"),
        ("401", AccessError, r"a login belongs into ~/\.netrc"),
        ("403", AccessError, r"does not allow it \(HTTP 403\)"),
        ("429", AccessError, r"HTTP 429 after 3 tries"),
        ("500", AccessError, r"HTTP 500 after 3 tries"),
        ("stall", AccessError, r"no answer after 3 tries \(it stalls\)"),
        ("closed", AccessError, r"no answer after 3 tries \(the connection broke off\)"),
        ("truncated", AccessError, r"no answer after 3 tries|connection broke off"),
        ("corrupted", WorkError, r"do not decode"),
        ("changed", SourceChangedError, r"changed at its source while it was read"),
        ("redirect circle", AccessError, r"no answer|too many redirects|it answers with errors"),
    ],
)
def test_a_lasting_fault_is_named_with_layer_file_and_fix(
    mirror: Mirror, tmp_path: Path, kind: str, error: type[TpsoilError], message: str
) -> None:
    def fault(handler: Any, path: str, number: int) -> bool:
        if path != NAME:
            return False
        if kind.isdigit():
            return send(handler, int(kind), **({"Retry_After": "3600"} if kind == "429" else {}))
        if kind == "redirect circle":
            return send(handler, 302, Location=f"/{NAME}")
        if kind == "changed":
            mirror.etags[NAME] = f'"{number}"'
            return False
        if handler.headers.get("Range") == "bytes=0-0":
            return False
        if kind == "corrupted":
            # The header is as it should be: what is broken is found when a block is decoded.
            return not handler.headers["Range"].startswith("bytes=0-") and ranged(
                mirror, handler, lambda part: bytes(255 - byte for byte in part)
            )
        if kind == "truncated":
            return ranged(mirror, handler, lambda part: part[: len(part) // 2])
        if kind == "stall":
            stall(0.6)
        handler.close_connection = True
        return True

    mirror.fault = fault
    started = time.monotonic()
    with pytest.raises(error, match=message) as raised:
        get(mirror, tmp_path, policy=replace(FAST, tries=3))
    assert "CHELSA_bio12" in str(raised.value)
    if error is AccessError:
        assert str(raised.value).startswith("annual_precipitation: ")
    assert not (tmp_path / "cube.zarr").exists()
    assert time.monotonic() - started < 30
    mirror.fault = None
    assert get(mirror, tmp_path).written == ("annual_precipitation",)  # what is cached is usable


# --- mirrors, proxies, connections -----------------------------------------------------------------------------


def with_mirror(server: Mirror, folder: Path, address: str) -> Any:
    """The network with a mirror of CHELSA at another server."""
    how = network(server, folder, policy=replace(FAST, tries=2))
    path = folder / "catalogue.toml"
    path.write_text(path.read_text().replace("[chelsa.bio12]\n", f'[chelsa.bio12]\nmirrors = ["{address}/{NAME}"]\n'))
    return how


@pytest.mark.parametrize("kind", ["500", "403", "stopped"])
def test_a_mirror_is_used_where_the_server_fails(root: Path, mirror: Mirror, tmp_path: Path, kind: str) -> None:
    get(mirror, tmp_path / "good")
    with serving(Mirror(root)) as own:
        how = with_mirror(own, tmp_path, mirror.address)
        if kind != "stopped":
            own.fault = lambda handler, _path, _number: send(handler, int(kind))
            fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000, network=how)
            assert own.requests <= 4  # once it has failed the mirror is asked first
    if kind == "stopped":
        fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000, network=how)
    same_layers(open_cube(tmp_path / "good" / "cube.zarr"), open_cube(tmp_path / "cube.zarr"))
    assert own.address in (tmp_path / "cube.sources.lock").read_text()  # the file's own address


def test_a_mirror_is_not_asked_where_the_server_answers(root: Path, mirror: Mirror, tmp_path: Path) -> None:
    with serving(Mirror(root)) as own:
        fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000,
              network=with_mirror(own, tmp_path, mirror.address))  # fmt: skip
    assert mirror.requests == 0


def test_a_server_that_fails_during_a_read_is_replaced_by_its_mirror(
    root: Path, mirror: Mirror, tmp_path: Path
) -> None:
    get(mirror, tmp_path / "good")
    with serving(Mirror(root)) as own:
        own.fault = lambda handler, _path, number: number > 2 and send(handler, 503)
        fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000,
              network=with_mirror(own, tmp_path, mirror.address))  # fmt: skip
    same_layers(open_cube(tmp_path / "good" / "cube.zarr"), open_cube(tmp_path / "cube.zarr"))


def test_a_mirror_of_another_length_is_an_error(root: Path, mirror: Mirror, tmp_path: Path) -> None:
    other = tmp_path / "other" / NAME
    other.parent.mkdir(parents=True)
    other.write_bytes((root / NAME).read_bytes() + b"more")
    with serving(Mirror(root)) as own, serving(Mirror(tmp_path / "other")) as shorter:
        own.fault = lambda handler, _path, number: number > 2 and send(handler, 503)
        with pytest.raises(SourceChangedError, match="were expected"):
            fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000,
                  network=with_mirror(own, tmp_path, shorter.address))  # fmt: skip


def test_all_that_failed_is_listed_where_no_mirror_answers(root: Path, mirror: Mirror, tmp_path: Path) -> None:
    mirror.fault = lambda handler, _path, _number: send(handler, 500)
    with serving(Mirror(root)) as own:
        own.fault = lambda handler, _path, _number: send(handler, 503)
        with pytest.raises(AccessError, match=r"HTTP 503 .*; .*HTTP 500"):
            fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000,
                  network=with_mirror(own, tmp_path, mirror.address))  # fmt: skip


def test_a_proxy_of_the_environment_is_used(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror as a proxy: it is asked for complete addresses, of a host that does not exist."""
    seen: list[str] = []

    def through(handler: Any, path: str, _number: int) -> bool:
        seen.append(path)
        handler.path = "/" + path.split("/", 3)[-1]
        return handler.path.strip("/") == "" or _served(mirror, handler)

    mirror.fault = through
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, mirror.address)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    how = network(mirror, tmp_path)
    path = tmp_path / "catalogue.toml"
    path.write_text(path.read_text().replace(mirror.address, "http://no-such-host.invalid"))
    fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000, network=how)
    assert seen
    assert all(one.startswith("http://no-such-host.invalid/") for one in seen)


def _served(mirror: Mirror, handler: http.server.BaseHTTPRequestHandler) -> bool:
    data = (mirror.root / handler.path.lstrip("/")).read_bytes()
    first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
    part = data[first : last + 1]
    return send(handler, 206, part, ETag='"one"', Content_Range=f"bytes {first}-{first + len(part) - 1}/{len(data)}")


@pytest.mark.parametrize("connections", [1, 3])
def test_a_host_gets_no_more_connections_than_the_policy_allows(mirror: Mirror, connections: int) -> None:
    guard, state = threading.Lock(), {"open": 0, "most": 0}

    def count(_handler: Any, _path: str, _number: int) -> bool:
        with guard:
            state["open"] += 1
            state["most"] = max(state["most"], state["open"])
        stall(0.03)
        with guard:
            state["open"] -= 1
        return False

    client = Client(replace(FAST, connections=connections, read_seconds=5))
    remote = client.describe(f"{mirror.address}/{NAME}")
    mirror.fault = count
    with ThreadPoolExecutor(12) as pool:
        parts = list(pool.map(lambda k: client.read(remote, 1000 * k, 1000 * (k + 1)), range(24)))
    assert b"".join(parts) == (mirror.root / NAME).read_bytes()[:24_000]
    assert state["most"] == connections
