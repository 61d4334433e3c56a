"""Progress of a training: forests of folds that are done, of all; reported to whoever asked for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Progress = Callable[[int, int], None]


def _no_progress(done: int, total: int) -> None:
    """No progress is reported."""


_REPORT: ContextVar[Progress] = ContextVar("fit_progress", default=_no_progress)


@contextlib.contextmanager
def reporting_fits(progress: Progress) -> Iterator[None]:
    """Report the folds of trainings within this context.

    Parameters
    ----------
    progress : callable
        `progress(done, total)`, in the thread that trains.

    Examples
    --------
    >>> with reporting_fits(lambda done, total: print(done, "of", total)):
    ...     fold_done(1, 2)
    1 of 2
    """
    token = _REPORT.set(progress)
    try:
        yield
    finally:
        _REPORT.reset(token)


def fold_done(done: int, total: int) -> None:
    """Report that `done` of `total` forests, with their searches, are trained."""
    _REPORT.get()(done, total)
