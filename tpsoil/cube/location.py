"""Location of a cube: a local path, `memory://name`, or an object store's URL, as one zarr store."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard, Union

from tpsoil.errors import AccessError, InputError, WorkError
from tpsoil.redaction import redacted, redacted_values

if TYPE_CHECKING:
    from zarr.abc.store import Store

Location: TypeAlias = Union[str, os.PathLike[str], "Store"]


def open_store(location: Location, *, read_only: bool = False) -> Store:
    """The zarr store at a location.

    Parameters
    ----------
    location : path, URL or zarr Store
        `cube.zarr`, `memory://name`, `s3://bucket/cube.zarr`, or a store of zarr's own, which is taken as it is.
    read_only : bool
        Reject writes.

    Returns
    -------
    zarr.abc.store.Store

    Raises
    ------
    InputError
        For what is no location, and for a URL whose protocol no installed library supports.

    Notes
    -----
    URLs go through fsspec; keys, endpoints and regions come from the settings of its libraries (environment,
    profile files), never from a recipe.
    """
    if _is_store(location):
        return location
    path, text = local_path(location), _text_of(location)
    if path is not None:
        from zarr.storage import LocalStore

        return LocalStore(path, read_only=read_only)
    from .object_store import ObjectStore

    try:
        return ObjectStore.from_url(text, read_only=read_only)
    except (ImportError, ValueError) as error:
        raise InputError(f"{text}: {error}; object stores need the extra: pip install 'tpsoil[cloud]'") from error


def local_path(location: Location) -> Path | None:
    """The folder of a local store, `~` replaced by the user's folder; None for memory and object stores."""
    if _is_store(location):
        return folder_of(location)
    text = _text_of(location)
    if "://" not in text:
        return Path(os.path.expanduser(text))
    return Path(text.removeprefix("file://")) if text.startswith("file://") else None


def folder_of(store: Store) -> Path | None:
    """The folder of an open store, also of one that is observed; None for one that is not on a local disk."""
    from zarr.storage import LocalStore

    local = getattr(store, "observed", store)
    return Path(local.root) if type(local) is LocalStore else None


def read_file(path: str | Path) -> bytes | None:
    """The bytes of an object in a folder; None where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _is_store(location: Location) -> TypeGuard[Store]:
    """Whether it is a store of zarr's; a path or a URL is none, and does not wait for zarr."""
    if isinstance(location, (str, os.PathLike)):
        return False
    from zarr.abc.store import Store

    return isinstance(location, Store)


def _text_of(location: Any) -> str:
    if not isinstance(location, (str, os.PathLike)):
        raise InputError(
            f"the store is a {type(location).__name__}, expected a path, a URL or a zarr Store; of an open cube pass "
            "the path that it was opened from"
        )
    text = str(os.fspath(location))
    if not text:
        raise InputError("the store is an empty text, expected a path or a URL")
    return text


def describe_location(location: Location) -> str:
    """A location for messages; never with keys."""
    path = local_path(location)
    if path is not None:
        return str(path)
    return str(location) if _is_store(location) else _text_of(location)


def unreachable(where: str, error: BaseException) -> AccessError:
    """The error for an object store that does not respond, or whose library fails."""
    return AccessError(
        f"{where}: cannot be reached ({type(error).__name__}: {redacted(str(error))[:300]}); check the address, the "
        "network and the keys in the environment"
    )


@contextlib.contextmanager
def writing(location: Location) -> Iterator[None]:
    """Turns an error of the operating system while writing into one that names the place.

    Raises
    ------
    AccessError
        For a place that cannot be written.
    WorkError
        For a full disk.

    Examples
    --------
    >>> with writing("/proc/nowhere/cube.zarr"):  # doctest: +ELLIPSIS
    ...     raise PermissionError(13, "Permission denied")
    Traceback (most recent call last):
    tpsoil.errors.AccessError: /proc/nowhere/cube.zarr: cannot be written (Permission denied); choose...
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, (AccessError, WorkError)) or getattr(error, "exit_status", None) is not None:
            raise
        where = describe_location(location)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkError(
                f"{where}: no space left to write; free some space and run the same command again"
            ) from error
        raise AccessError(
            f"{where}: cannot be written ({error.strerror or error}); choose another place, or change its permissions"
        ) from error


def attribute(value: Any) -> Any:
    """A value as JSON stores it: numpy numbers as Python's, tuples as lists, texts without secrets."""
    return redacted_values(_plain(value))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
