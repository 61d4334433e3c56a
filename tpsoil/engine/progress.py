"""Messages of a run: a progress bar in a terminal or a notebook, lines elsewhere, and a log file."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from tpsoil.display import has_widgets, in_notebook, printable
from tpsoil.redaction import redacted

from .places import is_url

LINE_SECONDS: Final = 15.0
"""Between lines where there is no terminal."""

log = logging.getLogger("tpsoil.engine")


class Reporter:
    """Reports the progress of a run.

    Parameters
    ----------
    show : bool
        Whether to write anything but the log.
    console : Console, optional
        Standard error by default; a notebook's output in Jupyter.
    """

    def __init__(self, *, show: bool = True, console: Console | None = None) -> None:
        self.console = console or Console(stderr=not in_notebook(), highlight=False, soft_wrap=True)
        self.show = show
        self._update: Callable[..., None] | None = None
        self._stage = ""
        self._done = self._total = 0
        self._began = self._last_line = 0.0

    def report(self, message: str, *, warning: bool = False) -> None:
        """One line, in the log too."""
        message = printable(redacted(message))
        log.log(logging.WARNING if warning else logging.INFO, message)
        if self.show:
            self.console.print(("warning: " if warning else "") + message, markup=False)

    @contextlib.contextmanager
    def stage(self, title: str, total: int) -> Iterator[None]:
        """Count the tiles of one stage."""
        self._stage, self._done, self._total = title, 0, total
        self._began = self._last_line = time.monotonic()
        log.info("%s: %d tiles to compute", title, total)
        columns = [BarColumn(), MofNCompleteColumn(), TextColumn("tiles"), _Rate(), TimeRemainingColumn()]
        try:
            with self._bar(title, total, [TextColumn("{task.description}"), *columns]) as self._update:
                yield
        finally:
            seconds = time.monotonic() - self._began
            self._log_end(f"{title}: {self._done} of {total} tiles in {seconds:.1f} s", shown=not self.interactive)

    @contextlib.contextmanager
    def preparing(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """Report what is done before the tiles of a stage; yields `progress(done, total)` for its parts."""
        began = last_line = time.monotonic()
        log.info(title)
        if self.show and not self.interactive:
            self.console.print(title, markup=False)

        def progress(done: int, total: int) -> None:
            nonlocal last_line
            now = time.monotonic()
            if update is not None:
                update(description=f"{title}, {done} of {total}")
            elif self.show and now - last_line > LINE_SECONDS and done:
                last_line = now
                left = (total - done) * (now - began) / done
                self.console.print(f"{title}: {done} of {total}, {left:.0f} s left", markup=False)

        columns = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
        with self._bar(title, None, columns, transient=True) as update:
            yield progress
        self._log_end(f"{title}: {time.monotonic() - began:.1f} s")

    @contextlib.contextmanager
    def _bar(
        self, title: str, total: int | None, columns: Sequence[ProgressColumn], *, transient: bool = False
    ) -> Iterator[Callable[..., None] | None]:
        """A bar in a terminal or a notebook, as the function that updates it; None elsewhere."""
        if not self.interactive:
            yield None
            return
        with Progress(*columns, console=self.console, transient=transient) as bar:
            task = bar.add_task(title, total=total)
            try:
                yield partial(bar.update, task)
            finally:
                bar.refresh()  # a notebook would retain the state of some tiles ago

    def _log_end(self, line: str, *, shown: bool = True) -> None:
        log.info(line)
        if self.show and shown:
            self.console.print(line, markup=False)

    @property
    def interactive(self) -> bool:
        """Whether output may be overwritten in place."""
        return self.show and (has_widgets() if in_notebook() else self.console.is_terminal)

    def tile_done(self, name: str, seconds: float) -> None:
        """One more tile."""
        self._done += 1
        log.debug("%s: tile %s in %.3f s", self._stage, name, seconds)
        if self._update is not None:
            self._update(advance=1)
            return
        now = time.monotonic()
        if self.show and now - self._last_line > LINE_SECONDS:
            self._last_line = now
            rate = self._done / (now - self._began)
            left = (self._total - self._done) / rate
            self.console.print(
                f"{self._stage}: {self._done} of {self._total} tiles, {rate:.2f} a second, {left:.0f} s left",
                markup=False,
            )


class _Rate(ProgressColumn):
    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.{1 if speed < 100 else 0}f}/s", style="progress.data.speed")


def log_file(output: str, name: str) -> Path:
    """Beside a local store, as `NAME.log`; for a URL in the working folder."""
    store = Path(output)
    return Path.cwd() / f"{name}.log" if is_url(output) else store.with_name(store.name.removesuffix(".zarr") + ".log")


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Write the messages of a run to a file; with times, which the store does not contain."""
    # Another user who can write to the folder may put a link there between the check and the opening.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            raise OSError(errno.ELOOP, "it is a symbolic link; remove it")
        stream = os.fdopen(os.open(path, flags, 0o666), "w", encoding="utf-8")
    except OSError as error:
        log.warning("%s: no log is written (%s)", path, error.strerror)
        yield
        return
    handler = logging.StreamHandler(stream)
    handler.addFilter(_redact)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
        handler.close()
        stream.close()


def _redact(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(redacted(record.getMessage())), None
    return True
