"""Progress of a training in folds or trees, of all; by default a bar on a terminal or in a notebook."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from tpsoil.display import has_widgets, in_notebook, printable

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[int, int], None]

_REPORT: ContextVar[Progress | None] = ContextVar("fit_progress", default=None)


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


@contextlib.contextmanager
def fit_bar(title: str, *, show: bool, unit: str = "folds") -> Iterator[None]:
    """Show a bar of the folds of a training, where its output may be overwritten and nobody else reports them.

    Parameters
    ----------
    title : str
    show : bool
        False: no bar anywhere.
    unit : str
        What is counted.
    """
    console = fit_console() if show and _REPORT.get() is None else None
    if console is None or not (has_widgets() if in_notebook() else console.is_terminal):
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn())
    with Progress(TextColumn("{task.description}", markup=False), *columns, console=console, transient=True) as bar:
        task = bar.add_task(printable(title), total=None)
        with reporting_fits(lambda done, total: bar.update(task, completed=done, total=total)):
            yield
        bar.refresh()


def fit_console() -> Console:
    """Where a bar is shown: standard error, in a notebook the cell's output."""
    from rich.console import Console

    return Console(stderr=not in_notebook(), highlight=False)


def fold_done(done: int, total: int) -> None:
    """Report that `done` of `total` forests, with their searches, are trained."""
    report = _REPORT.get()
    if report is not None:
        report(done, total)
