"""Secrets out of everything that is stored, logged, shown or raised: the one definition of a secret.

Of a URL the user, the password and the complete query are removed: a signed URL carries its signature there. The values
of environment variables are replaced by their names where the name indicates a secret, and where a recipe put the
variable into a URL.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

_URL: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/@'\"<>]*@)?([^\s?'\"<>]*)(\?[^\s'\"<>]*?)?(?=[)\]:;,.]*(?:[\s'\"<>]|$))"
)
"""Protocol, user and password, host and path, query; not the punctuation of the sentence that it stands in."""
_PUBLIC_QUERY: Final = re.compile(r"\?\*\*\*(#[0-9a-f]{8})?")
_SECRET_NAME: Final = re.compile(
    r"SECRET|PASSW|TOKEN|CREDENTIAL|SIGNATURE|ACCESS_KEY|API_?KEY|PRIVATE_KEY|AUTH", re.IGNORECASE
)
_SIGNING: Final = re.compile(
    r"(x-amz-|x-goog-|awsaccesskeyid=|googleaccessid=|signature=|expires=|policy=|key-pair-id=|"
    r"(sig|se|st|sp|sv|sr|spr|ske|skt|sks|skv|skoid|sktid)=|[^=]*(token|secret|key|passw|auth)[^=]*=)",
    re.IGNORECASE,
)
"""Parameters of signed URLs of Amazon, Google and Azure, and whatever is named as a secret."""
_SHORTEST: Final = 6
"""Characters: a shorter value would match ordinary words."""
_hidden: Final[dict[str, str]] = {}


def hide(value: str, name: str) -> None:
    """From now on show `${name}` in place of a value; for variables that a recipe puts into a URL."""
    if len(value) >= _SHORTEST:
        _hidden[value] = f"${{{name}}}"


def redacted(text: str) -> str:
    """A text without secrets.

    Examples
    --------
    >>> redacted("https://user:key@host/dem.tif?sig=abc: cannot be opened")
    'https://***@host/dem.tif?***: cannot be opened'
    >>> redacted("s3://bucket/maps.zarr and tiles/*.tif?")
    's3://bucket/maps.zarr and tiles/*.tif?'
    """
    return _without(text, _values())


def _without(text: str, secrets: Mapping[str, str]) -> str:
    for value, shown in secrets.items():
        text = text.replace(value, shown)
    if "://" not in text:
        return text
    return _URL.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    """A URL without user and query; what `public_name` returned stays as it is, with the digest of its query."""
    query = match[4] or ""
    if query and not _PUBLIC_QUERY.fullmatch(query):
        query = "?***"
    return match[1] + ("***@" if match[2] else "") + match[3] + query


def public_name(url: str) -> str:
    """A URL without secrets that still differs where what it names differs.

    Its query, without the parameters by which object stores sign a URL, is represented by a digest.

    Examples
    --------
    >>> public_name("https://host/dem.tif?X-Amz-Signature=abc&X-Amz-Date=2026")
    'https://host/dem.tif?***'
    >>> public_name("https://host/dem.tif?year=2010") == public_name("https://host/dem.tif?year=2011")
    False
    >>> name = public_name("https://host/dem.tif?year=2010")
    >>> redacted(name) == name  # so that a stored name is still what its digest was taken of
    True
    """
    query = [pair for pair in urlsplit(url).query.split("&") if pair and not _SIGNING.match(pair)]
    digest = hashlib.sha256("&".join(sorted(query)).encode()).hexdigest()[:8]
    return redacted(url) + (f"#{digest}" if query else "")


def redacted_values(value: Any) -> Any:
    """The same for every text in nested mappings and lists."""
    return _values_without(value, _values())


def _values_without(value: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _without(value, secrets)
    if isinstance(value, Mapping):
        return {
            _without(key, secrets) if isinstance(key, str) else key: _values_without(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_values_without(item, secrets) for item in value]
    return value


@lru_cache(maxsize=1024)
def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _values() -> dict[str, str]:
    """Secret values and what is shown for them, the longest first."""
    secrets = {name: os.environ.get(name, "") for name in os.environ if _names_secret(name)}
    named = {value: f"${{{name}}}" for name, value in secrets.items()
             if len(value) >= _SHORTEST and "/" not in value[:1]}  # fmt: skip
    return dict(sorted({**named, **_hidden}.items(), key=lambda item: -len(item[0])))
