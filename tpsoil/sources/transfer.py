"""Bytes over HTTP: ranges, retries with backoff and jitter, `Retry-After`, time limits, proxies, a limit a host.

urllib3 does the work; this module decides what is tried again, what is final, and what a person reads then.
"""

from __future__ import annotations

import datetime
import email.utils
import netrc
import os
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry, Timeout

from tpsoil.errors import AccessError, MissingInputError, WorkError

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
    """

    def __init__(self, policy: Policy | None = None, *, offline: bool = False) -> None:
        self.policy = policy or Policy()
        self.offline = offline
        self.bytes_read = 0
        self.requests = 0
        self._pools: dict[str, urllib3.PoolManager] = {}

    def describe(self, url: str) -> Remote:
        """Length and version of a file.

        Raises
        ------
        MissingInputError
            Where the server has no such file.
        AccessError
            Where it does not allow it, or does not answer.
        """
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
        if response.status == 200:
            if len(data) != remote.length:
                raise SourceChangedError(
                    f"{shown(remote.url)}: {len(data)} bytes came, {remote.length} were expected; fetch again"
                )
            data = data[start:stop]
        if len(data) != stop - start:
            raise WorkError(f"{shown(remote.url)}: {len(data)} of {stop - start} bytes came; fetch again")
        return data

    def _ask(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
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
        try:
            response = self._pool(url).request(
                "GET", url, headers={**headers, **credentials(url)}, retries=retry,
                timeout=Timeout(connect=self.policy.connect_seconds, read=self.policy.read_seconds),
            )  # fmt: skip
        except MaxRetryError as error:
            raise AccessError(f"{shown(url)}: no answer after {self.policy.tries} tries ({_why(error)})") from error
        except HTTPError as error:
            raise AccessError(f"{shown(url)}: {_why(error)}") from error
        self.requests += 1
        self.bytes_read += len(response.data)
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


def credentials(url: str) -> dict[str, str]:
    """The header with the login that the user's netrc file has for a host; empty without one."""
    host = urllib.parse.urlsplit(url).hostname or ""
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        entry = netrc.netrc(path).hosts.get(host)
    except (OSError, netrc.NetrcParseError):
        return {}
    if entry is None:
        return {}
    return dict(urllib3.make_headers(basic_auth=f"{entry[0]}:{entry[2] or ''}"))


def shown(url: str) -> str:
    """An address as messages, lock files and attributes show it: without user, password and query.

    Examples
    --------
    >>> shown("https://me:secret@host.org/a/b.tif?token=abc")
    'https://host.org/a/b.tif'
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if parts.port:
        host += f":{parts.port}"
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))


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
