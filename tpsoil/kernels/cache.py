"""Folder of compiled machine code shared by processes, and the check that it is safe to execute.

A stored kernel is code: whoever can write to the folder runs code as the user. So the folder is the user's own with
mode 0700, every file in it is the user's, and nobody else can rename a folder above it (they may be sticky, as /tmp
is). Any other folder is not used, with one warning; kernels are then compiled in every process.

numba's `cache=True` has two more faults: two processes that save at the same moment can leave an index that points to
the other's code, and a kernel whose callee changed in another file is stale. Here the folder's name is a digest of
Python, numba, llvmlite, numpy and the processor, and a file's name one of the sources of its kernel's module and of
all modules that it imports. So another version or environment never executes or replaces the code of this one, a new
version compiles only the kernels that changed, and a save holds a file lock.

`TPSOIL_KERNEL_CACHE` names another folder, or `off`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

CACHE_VARIABLE: Final = "TPSOIL_KERNEL_CACHE"
LOCK_SECONDS: Final = 60.0
NOTICE_SECONDS: Final = 1.0
"""Time of compiling after which it is reported."""
MODULE_IMPORT: Final = re.compile(rb"^[ \t]*from \.(\w+) import\b", re.MULTILINE)
OTHER_IMPORT: Final = re.compile(rb"^[ \t]*(from \.(?!\w+ import\b)|(from|import) tpsoil\b)", re.MULTILINE)
OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass
class CompileClock:
    """Time that this process has compiled, and what to call when it is above `NOTICE_SECONDS`.

    Parameters
    ----------
    notice : callable, optional
        Called once with a message. None: nothing is measured. To be set before a kernel is imported.
    """

    notice: Callable[[str], None] | None = None
    _seconds: float = 0.0
    _depth: int = 0
    _begin: float = 0.0

    def begin(self) -> None:
        """A function begins to compile; the ones that it calls compile inside."""
        if self._depth == 0:
            self._begin = time.monotonic()
        self._depth += 1
        self._check()

    def end(self) -> None:
        """The function is compiled."""
        self._depth -= 1
        self._check()
        if self._depth == 0:
            self._seconds += time.monotonic() - self._begin

    def _check(self) -> None:
        if self.notice is not None and self._seconds + time.monotonic() - self._begin > NOTICE_SECONDS:
            folder = cache_folder()
            kept = "in every process: the cache is off" if folder is None else f"once; stored in {folder.parent}"
            notice, self.notice = self.notice, None
            notice(f"compiling ({kept})")


CLOCK: Final = CompileClock()


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
def module_digest(name: str) -> str:
    """Digest of the sources of one module of kernels and of those that it imports, directly or not.

    Parameters
    ----------
    name : str
        The module's own name, such as `growing`.

    Returns
    -------
    str
        16 hexadecimal digits; it changes when any line changes that can change the module's machine code.

    Notes
    -----
    Kernels import each other by `from .module import`, and nothing else of tpsoil. Where a module imports in another
    way, the digest is that of every kernel.
    """
    folder = Path(__file__).parent
    sources: dict[str, bytes] = {}
    names = [name]
    while names:
        module = names.pop()
        if module not in sources:
            sources[module] = (folder / f"{module}.py").read_bytes()
            if OTHER_IMPORT.search(sources[module]):
                return kernel_digest()
            names += [imported.decode() for imported in MODULE_IMPORT.findall(sources[module])]
    digest = hashlib.sha256()
    for module, source in sorted(sources.items()):
        digest.update(module.encode())
        digest.update(source)
    return digest.hexdigest()[:16]


@cache
def environment_digest() -> str:
    """Digest of what machine code depends on beside its source: interpreter, compiler, processor.

    Returns
    -------
    str
        8 hexadecimal digits.
    """
    import llvmlite
    import numba
    import numpy as np
    from llvmlite import binding

    parts = (
        sys.implementation.cache_tag,
        sys.version,
        platform.machine(),
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        binding.get_host_cpu_name(),
        binding.get_host_cpu_features().flatten(),
    )
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:8]


@cache
def cache_folder() -> Path | None:
    """Folder of the machine code of kernels in this environment; created if missing.

    Returns
    -------
    Path or None
        None where the cache is switched off, or where no folder is safe and writable (with a RuntimeWarning).
    """
    if _root() is None:
        return None
    import numba

    return own_folder(f"kernels-numba{numba.__version__}-{environment_digest()}")


@cache
def own_folder(name: str) -> Path | None:
    """A folder of the cache that nobody else can write to; created if missing.

    Parameters
    ----------
    name : str

    Returns
    -------
    Path or None
        As `cache_folder`.
    """
    root = _root()
    if root is None:
        return None
    folder = root / name
    try:
        _make(folder)
        fault = unsafe(folder)
        if fault is None:
            with tempfile.TemporaryFile(dir=folder):
                pass
            return folder
    except OSError as error:
        fault = f"it cannot be written ({error.strerror})"
    warnings.warn(
        f"compiled kernels are not stored in {folder}: {fault}; kernels are compiled in every process. Set "
        f"{CACHE_VARIABLE} to a folder of your own with mode 0700, or to 'off' to silence this warning",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def unsafe(folder: Path) -> str | None:
    """Why code in a folder must not be executed; None where it may be.

    Parameters
    ----------
    folder : Path
        The folder of the machine code, an absolute path.

    Returns
    -------
    str or None
        The first fault and a fix.

    Raises
    ------
    OSError
        For a folder that cannot be examined.

    Notes
    -----
    On Windows access follows from lists that a folder inherits from the user's profile, and nothing is checked.

    Examples
    --------
    >>> import tempfile
    >>> unsafe(Path(tempfile.mkdtemp())) is None
    True
    """
    if sys.platform == "win32":
        return None
    user = os.getuid()
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode):
        return "it is a link or no folder; remove it"
    if state.st_uid != user:
        return f"it belongs to user {state.st_uid}, expected {user}; remove it"
    if stat.S_IMODE(state.st_mode) & 0o077:
        return (
            f"it has mode {stat.S_IMODE(state.st_mode):o}, expected 700, and others may have written to it; remove it"
        )
    for path in sorted(folder.iterdir()):
        inner = path.lstat()
        if inner.st_uid != user or not stat.S_ISREG(inner.st_mode):
            return f"{path.name} in it is a link or belongs to another user; remove the folder"
    # Whoever can rename a folder above it can put another in its place.
    for above in (*folder.parents, *folder.resolve().parents):
        state = above.lstat()
        writable = state.st_mode & OTHERS_WRITE and not state.st_mode & stat.S_ISVTX and not stat.S_ISLNK(state.st_mode)
        if state.st_uid not in (user, 0) or writable:
            return f"others can write to {above}, a folder above it; chmod go-w {above}"
    return None


def _make(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700, for any umask; existing ones are not changed."""
    for path in reversed([folder, *folder.parents]):
        if not path.is_dir():
            with contextlib.suppress(FileExistsError):  # another process created it
                path.mkdir(mode=0o700)


def _root() -> Path | None:
    """The cache's root, whether it exists or not."""
    setting = os.environ.get(CACHE_VARIABLE, "")
    if setting.lower() in {"off", "0", "no"}:
        return None
    try:
        if setting:
            return Path(setting).expanduser().absolute()
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "tpsoil" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "tpsoil"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tpsoil"
    except RuntimeError:  # a user without a home
        return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file, on every operating system.

    Raises
    ------
    OSError
        Where the file cannot be opened, or another process has held the lock for a minute.
    """
    with path.open("a") as handle:
        end = time.monotonic() + LOCK_SECONDS
        while not _lock(handle.fileno()):
            if time.monotonic() > end:
                raise TimeoutError(f"{path} is locked")
            time.sleep(0.02)
        try:
            yield
        finally:
            if sys.platform == "win32":
                import msvcrt

                handle.seek(0)
                msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)


def _lock(handle: int) -> bool:
    """Lock a file if nobody else has; closing it unlocks it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
            raise
        return False
    return True
