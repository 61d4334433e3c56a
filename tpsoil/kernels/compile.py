"""The one way in which tpsoil compiles: `jit`.

Serial and without the GIL, so that dask's threads use the cores; no fastmath, so that results are exact and equal on
every chunking; numpy's error model, so that a division by zero gives inf or NaN with JIT on as with JIT off.

Machine code is kept between processes. numba's own `cache=True` has two faults for that: two processes that save at the
same moment can leave an index that names the other's code, and a kernel whose callee changed in another file is served
stale. Here the folder's name is a digest of every kernel's source, so nothing in it is ever stale, and a save holds a
file lock. `TPSOIL_KERNEL_CACHE` names another folder, or `off`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import caching, config

Function = TypeVar("Function", bound=Callable[..., Any])

CACHE_VARIABLE = "TPSOIL_KERNEL_CACHE"


@cache
def kernel_digest() -> str:
    """Digest of the source of every kernel, the version that manifests record.

    Returns
    -------
    str
        16 hexadecimal digits; it changes when any line of any kernel changes.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def cache_folder() -> Path | None:
    """Where machine code is kept: a writable folder, or None when there is none or it is switched off."""
    setting = os.environ.get(CACHE_VARIABLE, "")
    if setting.lower() in {"off", "0", "no"}:
        return None
    if setting:
        root = Path(setting)
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches" / "tpsoil"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tpsoil"
    folder = root / f"kernels-{kernel_digest()}-numba{numba.__version__}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return None
    return folder


class _Locator:
    """Tells numba where one function's machine code lies."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._folder = folder
        self._function = function

    @classmethod
    def from_function(cls, function: Callable[..., Any], _source_file: str) -> _Locator | None:
        folder = cache_folder()
        return None if folder is None else cls(function, folder)

    def ensure_cache_path(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return kernel_digest()

    def get_disambiguator(self) -> str:
        return hashlib.sha256(self._function.__module__.encode()).hexdigest()[:10]


class _KernelCacheImpl(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _KernelCache(caching.FunctionCache):  # type: ignore[misc]
    _impl_class = _KernelCacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a torn file: what unpickling raises can be anything, and compiling again mends it
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        # An OSError (a full disk, a vanished folder) costs a compilation in the next process and nothing else.
        with contextlib.suppress(OSError), _locked(Path(self.cache_path) / "lock"):
            try:
                super().save_overload(sig, data)
            except OSError:
                raise
            except Exception:  # a torn index
                self.flush()
                super().save_overload(sig, data)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def jit(function: Function) -> Function:
    """Compile a kernel: serial, nogil, IEEE arithmetic, kept between processes.

    Parameters
    ----------
    function : callable
        A function of arrays and scalars that numba can compile.

    Returns
    -------
    callable
        The dispatcher; the plain function where JIT is off (`NUMBA_DISABLE_JIT=1`).
    """
    compiled = numba.njit(nogil=True, error_model="numpy", fastmath=False)(function)
    # Only what kernel_digest() covers: the digest is what keeps the folder from serving stale code.
    covered = Path(function.__code__.co_filename).parent == Path(__file__).parent
    if covered and not config.DISABLE_JIT and sys.platform != "win32" and cache_folder() is not None:
        compiled._cache = _KernelCache(function)
    return cast(Function, compiled)
