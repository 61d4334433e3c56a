"""Small objects beside the arrays of a store: read, write, list and remove by key, in every kind of zarr store."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tpsoil.cube.location import folder_of, local_path, read_file, unreachable, writing
from tpsoil.errors import LockLostError, TpsoilError
from tpsoil.redaction import redacted_values
from tpsoil.waiting import timeout_seconds

from .durable import CHECKSUM, digest_bytes, is_sealed, sealed, sync_files, sync_folders
from .places import open_store

if TYPE_CHECKING:
    from zarr.abc.store import Store

RECORDS_FOLDER: Final = "_tpsoil"
"""The group that holds them; a zarr group of its own, so that readers of the store skip it."""

NODE_KEYS: Final = ("zarr.json", ".zarray", ".zgroup")
"""Descriptions of an array or a group, in both formats of Zarr."""

LOCK_KEY: Final = "lock.json"
RETRY_SECONDS: Final = 0.1

SUM_SUFFIX: Final = ".sum"
UNSEALED_FORMATS: Final = (1, 2)
"""Run formats whose JSON had no checksum."""

BATCH: Final = 256
"""Objects requested at once: hides the latency of an object store."""

Result = TypeVar("Result")


class Ledger:
    """The objects under `_tpsoil/` of one store.

    Parameters
    ----------
    store : zarr Store, optional
        None: a folder that is only read, without zarr, whose import takes half of `tpsoil status`.
    where : str
        The store's path or URL.
    token : str
        Of the run whose lock allows it to write; "" writes without a check.
    damaged : dict of str to str, optional
        Receives the key of every object that cannot be read, and why.

    Notes
    -----
    An object is written completely or not at all: zarr's local store renames a finished file into place, object stores
    put complete objects.
    """

    def __init__(
        self, store: Store | None, where: str, *, token: str = "", damaged: dict[str, str] | None = None
    ) -> None:
        self._store = store
        self.where = where
        self.folder = local_path(where) if store is None else folder_of(store)
        self.token = token
        self.damaged: dict[str, str] = {} if damaged is None else damaged

    @classmethod
    def at(cls, where: str, *, read_only: bool = False) -> Ledger:
        """The ledger of the store at a path or URL."""
        return cls(None if read_only and local_path(where) else open_store(where, read_only), where)

    @property
    def store(self) -> Store:
        """The store, opened for reading when it is first needed."""
        if self._store is None:
            self._store = open_store(self.where, True)
        return self._store

    def read(self, key: str) -> bytes | None:
        """The object's bytes, or None where there is none."""
        return self._read_objects([key])[0]

    def read_many(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """Several objects, many at once."""
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            yield from zip(part, self._read_objects(part))

    def read_json(self, key: str) -> dict[str, Any] | None:
        """The object as a JSON mapping without its checksum, or None where there is none that can be read.

        One that does not decode or does not match its checksum is noted in `damaged`, and counts as missing: its
        content is computed again.
        """
        data = self.read(key)
        if data is None:
            return None
        try:
            content = json.loads(data)
        except ValueError as error:
            self.damaged[key] = f"does not decode ({error})"
            return None
        if not isinstance(content, dict):
            self.damaged[key] = "is not a mapping"
            return None
        if CHECKSUM not in content:  # of an older tpsoil: only what a run is called still counts
            return content if content.get("format") in UNSEALED_FORMATS else None
        if not is_sealed(content):
            self.damaged[key] = "does not match its checksum"
            return None
        content.pop(CHECKSUM, None)
        return content

    def read_table(self, key: str) -> bytes | None:
        """The CSV object, or None where there is none that matches its checksum."""
        data, expected = self.read(key), self.read(key + SUM_SUFFIX)
        if data is None:
            return None
        if expected is None or expected.decode(errors="replace").strip() != digest_bytes(data):
            self.damaged[key] = "does not match its checksum"
            return None
        return data

    def write_table(self, key: str, data: bytes) -> None:
        """Store a CSV object and, beside it, its checksum."""
        self.write(key, data)
        self.write(key + SUM_SUFFIX, digest_bytes(data).encode())

    def write(self, key: str, data: bytes, *, sync: bool = True) -> None:
        """Store an object, replacing what was there.

        Parameters
        ----------
        key : str
        data : bytes
        sync : bool
            Whether it is on the disk when this returns; an object store always has it.

        Raises
        ------
        LockLostError
        AccessError, WorkError
        """
        self.check_lock()
        self._put(self._full(key), data, sync=sync)

    def write_node(self, key: str, data: bytes) -> None:
        """Store an object of the store's arrays and groups, such as `slope/zarr.json`."""
        self.check_lock()
        self._put(key, data, sync=True)

    def _put(self, key: str, data: bytes, *, sync: bool) -> None:
        from tpsoil.cube.chunks import write_object

        with writing(self.where):
            write_object(self.store, key, data)
            if sync and self.folder is not None:
                sync_files([f"{self.folder}/{key}"], self.folder)

    def sync(self, keys: Iterable[str]) -> None:
        """Force objects of the store to the disk, such as chunks before their record."""
        if self.folder is not None:
            root = self.folder
            with writing(self.where):
                sync_files([f"{root}/{key}" for key in keys], root, _synced(self.token) if self.token else None)

    def write_json(self, key: str, content: Mapping[str, Any]) -> None:
        """Store a mapping as JSON with sorted keys, its checksum, and without secrets."""
        self.write(key, json.dumps(sealed(redacted_values(content)), sort_keys=True, indent=1).encode())

    def write_group(self) -> None:
        """Make `_tpsoil/` a group of zarr's, so that tools that list the store know it."""
        self.write("zarr.json", b'{"attributes": {}, "zarr_format": 3, "node_type": "group"}')

    def create(self, key: str, data: bytes) -> bool:
        """Store an object if there is none; whether this call stored it."""
        if self._is_remote():
            with reaching(self.where):
                return self._put_if(key, data, {"mode": "create"})
        from zarr.core.buffer import default_buffer_prototype

        buffer = default_buffer_prototype().buffer.from_bytes(data)
        with writing(self.where):
            _wait(lambda: self.store.set_if_not_exists(self._full(key), buffer))
        return self.read(key) == data

    def read_version(self, key: str) -> tuple[str, bytes | None]:
        """An object and its ETag, which a later object of the same name does not have; "" where the store has none."""
        version = ""
        if self._is_remote():
            with contextlib.suppress(FileNotFoundError):
                # Requested before the bytes: if these are newer, `replace` fails, and never replaces what was not read.
                version = str(_wait(lambda: self.store.fs._info(self._path(key), refresh=True)).get("ETag", ""))
        return version, self.read(key)

    def replace(self, key: str, data: bytes, version: str) -> bool:
        """Store an object in place of the version that was read; False where another is there by now.

        A store without ETags is written at once; a caller that must be sure reads it again.
        """
        if self._is_remote() and version:
            with reaching(self.where):
                return self._put_if(key, data, {"IfMatch": version})
        self._put(self._full(key), data, sync=False)
        return True

    def _put_if(self, key: str, data: bytes, condition: dict[str, str]) -> bool:
        try:
            _wait(lambda: self.store.fs._pipe_file(self._path(key), data, **condition))
        except (FileExistsError, FileNotFoundError):
            return False
        except OSError as error:
            if error.errno == errno.EINVAL:  # how older s3fs reports 412 Precondition Failed
                return False
            raise
        return True

    def _path(self, key: str) -> str:
        """An object's name in the file system of an object store."""
        return f"{self.store.path.rstrip('/')}/{self._full(key)}"

    def has_token(self, token: str) -> bool:
        """Whether the store's lock has a run's token."""
        return token.encode() in (self.read(LOCK_KEY) or b"")

    def check_lock(self) -> None:
        """Check that the run that writes still has the store.

        Raises
        ------
        LockLostError
        """
        if not self.token or self.has_token(self.token):
            return
        time.sleep(RETRY_SECONDS)
        if not self.has_token(self.token):
            raise LockLostError(
                f"{self.where}: another run took this store over, or its lock was removed ("
                f"{self.where}/{RECORDS_FOLDER}/{LOCK_KEY}), while this run did not respond; this run "
                "stops and writes nothing more. Stored tiles remain valid; run again once the other run has ended"
            )

    def remove(self, key: str) -> None:
        """Remove an object; nothing where there is none."""
        self.check_lock()
        _wait(lambda: self.store.delete(self._full(key)))

    def names(self, folder: str) -> list[str]:
        """Names of the objects directly in a folder, sorted."""
        if self.folder is not None:
            try:
                listed = os.listdir(self.folder / self._full(folder))
            except (FileNotFoundError, NotADirectoryError):
                return []
            return sorted(name for name in listed if not name.endswith(".partial"))
        return sorted(name for name in self._listed(self._full(folder)) if not name.endswith(".partial"))

    def remove_all(self, folder: str) -> None:
        """Remove a folder of objects."""
        self.check_lock()
        _wait(lambda: self.store.delete_dir(self._full(folder)))
        if self.folder is not None:
            sync_folders([(self.folder / self._full(folder)).parent])

    def remove_node(self, name: str) -> None:
        """Remove an array or a group of the store, also an incomplete one."""
        self.check_lock()
        _wait(lambda: self.store.delete_dir(name))

    def nodes(self) -> list[str]:
        """Names of the arrays and groups at the store's root, also where the root or they cannot be read; sorted."""
        return sorted(name for name in self._listed("") if any(self._exists(f"{name}/{key}") for key in NODE_KEYS))

    def _exists(self, key: str) -> bool:
        return bool(_wait(lambda: self.store.exists(key)))

    def _listed(self, folder: str) -> list[str]:
        if self._is_remote():
            self.store.fs.invalidate_cache()  # other processes write too, and fsspec remembers listings

        async def collect() -> list[str]:
            return [name async for name in self.store.list_dir(folder)]

        return _wait(collect)

    def remove_root(self) -> None:
        """Remove the description of the store's root group."""
        self.check_lock()
        _wait(lambda: self.store.delete("zarr.json"))

    def scratch(self, name: str) -> Path | None:
        """A folder of this machine for unfinished results, which the next run reuses; None beside a URL."""
        return None if self.folder is None else self.folder / RECORDS_FOLDER / "scratch" / name

    def remove_scratch(self) -> None:
        """Remove all scratch folders."""
        if self.folder is not None:
            shutil.rmtree(self.folder / RECORDS_FOLDER / "scratch", ignore_errors=True)

    def _is_remote(self) -> bool:
        """Whether the store is one of fsspec's: an object store, or its imitation in memory."""
        from zarr.storage import FsspecStore

        return isinstance(self.store, FsspecStore)

    def _full(self, key: str) -> str:
        return f"{RECORDS_FOLDER}/{key}"

    def _read_objects(self, keys: Sequence[str]) -> list[bytes | None]:
        if self.folder is not None:  # zarr would run it on its event loop, and create the folder
            return [read_file(f"{self.folder}/{self._full(key)}") for key in keys]
        from tpsoil.cube.chunks import read_objects

        return read_objects(self.store, [self._full(key) for key in keys])


@lru_cache(maxsize=4)
def _synced(_token: str) -> set[str]:
    """Folders that this process forced to the disk during a run, which removes no folder that it wrote a chunk to."""
    return set()


@contextlib.contextmanager
def reaching(where: str) -> Iterator[None]:
    """Turns what an object store's library raises for a store that does not respond into an error that names it.

    Raises
    ------
    AccessError
    """
    try:
        yield
    except TpsoilError:
        raise
    except Exception as error:  # botocore's and aiohttp's errors share no base but this
        raise unreachable(where, error) from error


def read_through(store: Store, keys: Sequence[str], function: Callable[[Any], Result]) -> list[Result | None]:
    """A function of the stored bytes of several keys, read and worked on in threads; None where there is no object."""
    import asyncio

    from zarr.core.buffer import default_buffer_prototype

    prototype = default_buffer_prototype()

    async def one(key: str) -> Result | None:
        buffer = await store.get(key, prototype)
        return None if buffer is None else await asyncio.to_thread(function, buffer.as_buffer_like())

    async def fetch() -> list[Result | None]:
        return list(await asyncio.gather(*(one(key) for key in keys)))

    return _wait(fetch)


def _wait(action: Callable[[], Awaitable[Result]]) -> Result:
    from zarr.core.sync import sync

    async def run() -> Result:
        return await action()

    result: Result = sync(run(), timeout=timeout_seconds() + RETRY_SECONDS)
    return result
