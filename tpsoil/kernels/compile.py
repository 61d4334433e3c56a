"""`jit`, the only decorator by which tpsoil compiles.

Serial and without the GIL, so that dask's threads use the cores; no fastmath, so that results are exact and equal on
every chunking; numpy's error model, so that a division by zero gives inf or NaN with JIT on as with JIT off.

Machine code is stored between processes, in the folder of `cache.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import caching, config, event, sigutils
from numba.core.dispatcher import Dispatcher

from .cache import CLOCK, cache_folder, locked, module_digest

Function = TypeVar("Function", bound=Callable[..., Any])


class _Locator:
    """Location of one function's machine code for numba."""

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
        return module_digest(Path(self._function.__code__.co_filename).stem)

    def get_disambiguator(self) -> str:
        return hashlib.sha256(f"{self._function.__module__} {self.get_source_stamp()}".encode()).hexdigest()[:10]


class _KernelCacheImpl(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _KernelCache(caching.FunctionCache):  # type: ignore[misc]
    """Machine code of one function; of several processes that need it, one compiles and the others wait for it.

    No two processes wait for each other: one that compiles a function waits only for functions that it calls.
    """

    _impl_class = _KernelCacheImpl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._compiling = contextlib.ExitStack()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        self._compiling.close()  # of a compilation that failed
        overload = self._stored(sig, target_context)
        if overload is None:
            with contextlib.suppress(OSError):
                self._compiling.enter_context(locked(Path(self.cache_path) / f"{self._impl.filename_base}.lock"))
                overload = self._stored(sig, target_context)
            if overload is not None:
                self._compiling.close()
        return overload

    def _stored(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a truncated file: unpickling may raise anything, and compiling again replaces it
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        # An OSError (a full disk, a removed folder) only costs a compilation in the next process.
        with self._compiling.pop_all(), contextlib.suppress(OSError), locked(Path(self.cache_path) / "lock"):
            try:
                super().save_overload(sig, data)
            except OSError:
                raise
            except Exception:  # a truncated index
                self.flush()
                super().save_overload(sig, data)


class _ClockListener(event.Listener):  # type: ignore[misc]
    def on_start(self, event: Any) -> None:
        CLOCK.begin()

    def on_end(self, event: Any) -> None:
        CLOCK.end()


if CLOCK.notice is not None:
    event.register("numba:compile", _ClockListener())


def jit(function: Function) -> Function:
    """Compile a kernel: serial, nogil, IEEE arithmetic, stored between processes.

    Parameters
    ----------
    function : callable
        A function of arrays and scalars that numba can compile.

    Returns
    -------
    callable
        The dispatcher; the plain function where JIT is off (`NUMBA_DISABLE_JIT=1`).
    """
    # Without the wrapper for C callers, which nobody calls, a kernel compiles in 0.9 of the time.
    compiled = numba.njit(nogil=True, error_model="numpy", fastmath=False, no_cfunc_wrapper=True)(function)
    # Only what module_digest() covers: the digest is what prevents stale code.
    covered = Path(function.__code__.co_filename).parent == Path(__file__).parent
    if covered and not config.DISABLE_JIT and cache_folder() is not None:
        compiled._cache = _KernelCache(function)
    return cast(Function, compiled)


def compile_ahead(kernel: Callable[..., Any], types: Sequence[str]) -> None:
    """Compile a kernel, or load its machine code, before there are arguments; with JIT off nothing.

    Parameters
    ----------
    kernel : callable
        From `jit`.
    types : sequence of str
        numba's name of each argument's type, such as `float32[:, ::1]`; `const` before it: an array to read only.
    """
    if isinstance(kernel, Dispatcher):
        # Types and not their text, under which the machine code of a call would not be stored.
        kernel.compile(tuple(map(_type_of, types)))


def _type_of(name: str) -> Any:
    (plain,), _ = sigutils.normalize_signature(f"({name.removeprefix('const ')},)")
    return plain.copy(readonly=True) if name.startswith("const ") else plain
