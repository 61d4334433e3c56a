"""Short-lived tokens that a source wants behind each address: fetched, renewed before they expire, never recorded."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tpsoil.errors import AccessError

EARLY_SECONDS: Final = 60.0
"""Before the stated end of a token at which a new one is fetched."""


@dataclass
class Tokens:
    """Tokens of sources, by the beginning of their addresses.

    Parameters
    ----------
    fetch : callable
        `fetch(url)` gives the body of the token service's answer.

    Notes
    -----
    The answer is JSON with `token`, a query string, and `msft:expiry`, a time in ISO 8601: the form of the Planetary
    Computer, planetarycomputer.microsoft.com/docs/concepts/sas. A token lives in memory only.
    """

    fetch: Callable[[str], bytes]
    _services: dict[str, str] = field(default_factory=dict)
    _known: dict[str, tuple[str, datetime.datetime]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def services(self) -> dict[str, str]:
        """Services by the beginning of the addresses that they serve."""
        return dict(self._services)

    def register(self, prefix: str, service: str) -> None:
        """Addresses that begin with `prefix` want a token of `service`."""
        self._services[prefix] = service

    def wanted(self, url: str) -> bool:
        """Whether an address needs a token."""
        return self._prefix(url) is not None

    def signed(self, url: str, *, renew: bool = False) -> str:
        """The address with a token that is valid; `renew` fetches another one whatever its stated end.

        Raises
        ------
        AccessError
            Where the service gives none.
        """
        prefix = self._prefix(url)
        if prefix is None:
            return url
        with self._lock:
            token, end = self._known.get(prefix, ("", datetime.datetime.min.replace(tzinfo=datetime.UTC)))
            left = (end - datetime.datetime.now(tz=datetime.UTC)).total_seconds()
            if renew or not token or left < EARLY_SECONDS:
                token = self._fetched(prefix)
        return f"{url}{'&' if '?' in url else '?'}{token.lstrip('?')}"

    def _fetched(self, prefix: str) -> str:
        service = self._services[prefix]
        try:
            answer = json.loads(self.fetch(service))
            token = str(answer["token"])
            end = datetime.datetime.fromisoformat(str(answer["msft:expiry"]).replace("Z", "+00:00"))
        except (ValueError, KeyError, TypeError) as error:
            raise AccessError(
                f"{service}: gives no token ({type(error).__name__}), expected token and expiry"
            ) from error
        self._known[prefix] = token, end
        return token

    def _prefix(self, url: str) -> str | None:
        return next((prefix for prefix in self._services if url.startswith(prefix)), None)
