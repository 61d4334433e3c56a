"""Bytes over HTTP: ranges, retries with backoff and jitter, `Retry-After`, time limits, proxies, a limit a host.

urllib3 does the work; this module decides what is tried again, what is final, which mirror comes next, and what a
person reads then.
"""

from __future__ import annotations

import datetime
import email.utils
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry, Timeout

from tpsoil.errors import AccessError, MissingInputError, WorkError

from .addresses import credentials, different_beginnings, host_of, shown
from .tokens import Tokens

Answer = TypeVar("Answer")

TRIED_AGAIN: Final = (408, 425, 429, 500, 502, 503, 504)
NOT_ALLOWED: Final = (401, 403, 407)
NOT_THERE: Final = (404, 410)


class SourceChangedError(WorkError):
    """A file at a source is another one than the one that was read, or that a lock file names."""


class OfflineError(AccessError):
    """A source is needed that is not cached, and the network is disabled."""


@dataclass(frozen=True)
class Policy:
    """How a source is requested.

    Parameters
    ----------
    connections : int
        At the same time to one host.
    connect_seconds, read_seconds : float
        Without an answer, after which a try is given up.
    tries : int
        Of one request, the first included.
    backoff_seconds : float
        Before the second try; doubled before each further one, with up to as much jitter.
    longest_wait_seconds : float
        Of one wait, also where `Retry-After` requests more.
    """

    connections: int = 4
    connect_seconds: float = 10.0
    read_seconds: float = 60.0
    tries: int = 6
    backoff_seconds: float = 0.5
    longest_wait_seconds: float = 60.0


@dataclass(frozen=True)
class Remote:
    """What a server states of a file.

    Parameters
    ----------
    url : str
    length : int
        Bytes.
    etag, last_modified : str
        Empty where the server gives none.
    """

    url: str
    length: int
    etag: str = ""
    last_modified: str = ""

    @property
    def version(self) -> str:
        """What changes when the file does."""
        return f"{self.etag}|{self.last_modified}|{self.length}"


@dataclass(frozen=True)
class ClientSettings:
    """What makes a client of another process like this one.

    Parameters
    ----------
    policy : Policy
    offline : bool
    mirrors : mapping of str to tuple of str
        Beginnings of addresses, and those of their mirrors.
    services : mapping of str to str
        Beginnings of addresses, and the services of their tokens.
    """

    policy: Policy
    offline: bool
    mirrors: Mapping[str, tuple[str, ...]]
    services: Mapping[str, str]

    def client(self) -> Client:
        """A client with these settings."""
        client = Client(self.policy, offline=self.offline)
        for prefix, others in self.mirrors.items():
            client.add_mirrors(prefix, others)
        for prefix, service in self.services.items():
            client.tokens.register(prefix, service)
        return client


class Client:
    """Reads ranges of files by HTTP.

    Parameters
    ----------
    policy : Policy, optional
    offline : bool
        Raise instead of asking any server.

    Notes
    -----
    Credentials come from the user's netrc file by host, and go into a header only. Proxies come from the environment.
    A server that gives no answer, or errors only, is replaced by the mirrors of its files; for the rest of the process
    they come first then.
    """

    def __init__(self, policy: Policy | None = None, *, offline: bool = False) -> None:
        self.policy = policy or Policy()
        self.offline = offline
        self.bytes_read = 0
        self.requests = 0
        self.tokens = Tokens(self.body)
        self._mirrors: dict[str, tuple[str, ...]] = {}
        self._failed: set[str] = set()
        self._pools: dict[str, urllib3.PoolManager] = {}

    @property
    def settings(self) -> ClientSettings:
        """What another process needs to ask in the same way."""
        return ClientSettings(self.policy, self.offline, dict(self._mirrors), self.tokens.services)

    def add_mirrors(self, url: str, mirrors: Sequence[str]) -> None:
        """Other addresses of a file, and so of every file beside it, such as the tiles of a VRT.

        Parameters
        ----------
        url : str
        mirrors : sequence of str
            Of the same bytes.
        """
        for mirror in mirrors:
            prefix, other = different_beginnings(url, mirror)
            known = self._mirrors.setdefault(prefix, ())
            if other not in known:
                self._mirrors[prefix] = (*known, other)

    def body(self, url: str) -> bytes:
        """The whole answer of a service.

        Raises
        ------
        MissingInputError, AccessError
        """
        return bytes(self._ask(url, {}).data)

    def describe(self, url: str) -> Remote:
        """Length and version of a file.

        Raises
        ------
        MissingInputError
            Where the server has no such file.
        AccessError
            Where it does not allow it, or does not answer.
        """

        def described(address: str) -> Remote:
            remote = self._described(address)
            # What one server states of its copy does not hold for another's: of a mirror the length alone counts.
            return remote if address == url else Remote(url, remote.length)

        return self._first_answer(url, described)

    def _described(self, url: str) -> Remote:
        # A range of one byte and not HEAD: some object stores sign GET only, and it shows whether ranges work.
        response = self._ask(url, {"Range": "bytes=0-0"})
        headers = response.headers
        if response.status == 206:
            total = headers.get("Content-Range", "").rpartition("/")[2]
            if not total.isdigit():
                raise AccessError(f"{shown(url)}: the server does not report the file's length; use a mirror")
            length = int(total)
        else:
            length = int(headers.get("Content-Length", 0) or 0)
        return Remote(url, length, headers.get("ETag", ""), headers.get("Last-Modified", ""))

    def read(self, remote: Remote, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` (exclusive) of a file that has not changed since it was described.

        Raises
        ------
        SourceChangedError
            Where the file is another one now.
        MissingInputError, AccessError, WorkError
        """

        def data(address: str) -> bytes:
            return self._read(remote if address == remote.url else Remote(address, remote.length), start, stop)

        return self._first_answer(remote.url, data)

    def _read(self, remote: Remote, start: int, stop: int) -> bytes:
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if remote.etag and not remote.etag.startswith("W/"):
            headers["If-Match"] = remote.etag
        response = self._ask(remote.url, headers)
        now = response.headers.get("ETag", "")
        if response.status == 412 or (remote.etag and now and now != remote.etag):
            raise SourceChangedError(
                f"{shown(remote.url)}: the file changed at its source while it was read; fetch again"
            )
        data = bytes(response.data)
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if response.status == 206 and total.isdigit() and int(total) != remote.length:
            raise SourceChangedError(
                f"{shown(remote.url)}: has {total} bytes, {remote.length} were expected; fetch again, or leave the "
                "mirror out"
            )
        if response.status == 200:
            if len(data) != remote.length:
                raise SourceChangedError(
                    f"{shown(remote.url)}: {len(data)} bytes came, {remote.length} were expected; fetch again"
                )
            data = data[start:stop]
        if len(data) != stop - start:
            raise WorkError(f"{shown(remote.url)}: {len(data)} of {stop - start} bytes came; fetch again")
        return data

    def _first_answer(self, url: str, ask: Callable[[str], Answer]) -> Answer:
        """What the file's own server answers, or the first of its mirrors that does."""
        prefix = next((one for one in self._mirrors if url.startswith(one)), None)
        if prefix is None:
            return ask(url)
        addresses = [one + url.removeprefix(prefix) for one in (prefix, *self._mirrors[prefix])]
        addresses.sort(key=lambda address: host_of(address) in self._failed)
        failures: list[AccessError] = []
        for address in addresses:
            try:
                return ask(address)
            except OfflineError:
                raise
            except AccessError as error:
                self._failed.add(host_of(address))
                failures.append(error)
        raise AccessError("; ".join(map(str, failures))) from failures[0]

    def _ask(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        response = self._answer(url, headers)
        if response.status in NOT_ALLOWED and self.tokens.wanted(url):
            response = self._answer(url, headers, renew=True)  # a token can end before the time that it states
        if response.status in NOT_THERE:
            raise MissingInputError(f"{shown(url)}: the server has no such file (HTTP {response.status})")
        if response.status in NOT_ALLOWED:
            raise AccessError(
                f"{shown(url)}: the server does not allow it (HTTP {response.status}); a login belongs into ~/.netrc, "
                "a signed address may have expired"
            )
        if response.status >= 400 and response.status != 412:
            raise AccessError(f"{shown(url)}: HTTP {response.status} after {self.policy.tries} tries; try again later")
        return response

    def _answer(self, url: str, headers: dict[str, str], *, renew: bool = False) -> urllib3.BaseHTTPResponse:
        if self.offline:
            raise OfflineError(
                f"{shown(url)}: not in the cache, and --offline allows no network; fetch it once without"
            )
        retry = _Waits(
            total=self.policy.tries - 1, connect=self.policy.tries - 1, read=self.policy.tries - 1,
            backoff_factor=self.policy.backoff_seconds, backoff_jitter=self.policy.backoff_seconds,
            backoff_max=self.policy.longest_wait_seconds, status_forcelist=TRIED_AGAIN, allowed_methods=None,
            raise_on_status=False, respect_retry_after_header=True, redirect=5,
        )  # fmt: skip
        retry = retry.limited(self.policy.longest_wait_seconds)
        address = self.tokens.signed(url, renew=renew)
        try:
            response = self._pool(url).request(
                "GET", address, headers={**headers, **credentials(url)}, retries=retry,
                timeout=Timeout(connect=self.policy.connect_seconds, read=self.policy.read_seconds),
            )  # fmt: skip
        except MaxRetryError as error:
            raise AccessError(f"{shown(url)}: no answer after {self.policy.tries} tries ({_why(error)})") from error
        except HTTPError as error:
            raise AccessError(f"{shown(url)}: {_why(error)}") from error
        self.requests += 1
        self.bytes_read += len(response.data)
        return response

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urllib.parse.urlsplit(url)
        proxy = (
            None if urllib.request.proxy_bypass(parts.hostname or "") else urllib.request.getproxies().get(parts.scheme)
        )
        pool = self._pools.get(proxy or "")
        if pool is None:
            sizes: dict[str, Any] = {"num_pools": 16, "maxsize": self.policy.connections, "block": True}
            pool = urllib3.ProxyManager(proxy, **sizes) if proxy else urllib3.PoolManager(**sizes)
            self._pools[proxy or ""] = pool
        return pool


class _Waits(Retry):
    """urllib3's retries, with an upper limit to `Retry-After`."""

    longest = 60.0

    def limited(self, seconds: float) -> _Waits:
        """These retries with another limit."""
        self.longest = seconds
        return self

    def new(self, **changes: Any) -> _Waits:
        """The next state of urllib3's retries."""
        state: _Waits = super().new(**changes)
        return state.limited(self.longest)

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """Seconds that a server requests to wait."""
        header = response.headers.get("Retry-After")
        if header is None:
            return None
        if header.strip().isdigit():
            return min(float(header), self.longest)
        try:
            date = email.utils.parsedate_to_datetime(header)
        except ValueError:
            return None
        wait = (date - datetime.datetime.now(tz=date.tzinfo)).total_seconds()
        return min(max(0.0, wait), self.longest)


def _why(error: BaseException) -> str:
    """The reason without urllib3's object names and addresses in memory."""
    reason: Any = getattr(error, "reason", None) or error
    name = type(reason).__name__.removesuffix("Error")
    words = {"ReadTimeout": "it stalls", "ConnectTimeout": "it cannot be reached",
             "NewConnection": "it cannot be reached",
             "NameResolution": "its name is not known", "Protocol": "the connection broke off",
             "IncompleteRead": "the connection broke off", "SSL": "its certificate is not accepted",
             "Response": "it answers with errors"}  # fmt: skip
    return words.get(name, name)
