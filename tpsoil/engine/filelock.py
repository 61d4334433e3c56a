"""A lock file of the operating system: released by the kernel when its process ends for any reason."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import Final

TRIES: Final = 5
TRY_SECONDS: Final = 0.05
"""Between tries: a process that only checks whether a lock is free has it for a moment."""

UNSUPPORTED: Final = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
WINDOWS_BYTE: Final = 2**30
"""The byte that is locked on Windows: beyond the content, because a locked byte cannot be read there."""


class UnsupportedLockError(Exception):
    """A file system without lock files, such as some parallel file systems."""


class FileLock:
    """An exclusive lock on one file, and its content.

    Parameters
    ----------
    path : Path
        Created with its folder; removed on release.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1

    def acquire(self) -> bytes | None:
        """Lock the file; its previous content ("" for a new one), or None where another process has it.

        Raises
        ------
        UnsupportedLockError
            Where the file system has no locks.
        OSError
        """
        for attempt in range(TRIES):
            if attempt:
                time.sleep(TRY_SECONDS)
            handle = _opened(self.path)
            try:
                if _lock(handle) and _same_file(handle, self.path):
                    self._handle = handle
                    return os.read(handle, 2**16)
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # another process has it, or removed the file between opening and locking
        return None

    def write(self, content: bytes) -> None:
        """Replace the content in place; equal lengths, so that a reader never sees a part of it."""
        os.lseek(self._handle, 0, os.SEEK_SET)
        os.write(self._handle, content)
        os.ftruncate(self._handle, len(content))

    def release(self, *, remove: bool = True) -> None:
        """Unlock the file and remove it, unless `remove` is False because another process has it by now."""
        if self._handle < 0:
            return
        # Removed while it is locked: a process that opened it before sees that it is no longer the file at its path.
        removed = False
        if remove:
            with contextlib.suppress(OSError):
                if _same_file(self._handle, self.path):
                    self.path.unlink()
                removed = True
        with contextlib.suppress(OSError):
            if not removed and remove:
                os.ftruncate(self._handle, 0)
        os.close(self._handle)
        self._handle = -1
        if remove and not removed:  # Windows removes no open file
            with contextlib.suppress(OSError):
                self.path.unlink()


def is_locked(path: Path) -> bool | None:
    """Whether a process has the lock now; None where the file system does not report it."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return False
    try:
        return not _lock(handle, shared=True)
    except (OSError, UnsupportedLockError):
        return None
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _lock(handle: int, *, shared: bool = False) -> bool:
        import msvcrt

        os.lseek(handle, WINDOWS_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EDEADLK}:
                return False
            raise
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True

else:

    def _lock(handle: int, *, shared: bool = False) -> bool:
        import fcntl

        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in UNSUPPORTED:
                raise UnsupportedLockError(os.strerror(error.errno)) from error
            raise
        return True
