"""One command line: what it runs, and message and exit status of a failure."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Sequence
from typing import NoReturn

from tpsoil.display import printable
from tpsoil.errors import TpsoilError
from tpsoil.kernels.cache import CLOCK
from tpsoil.redaction import redacted

TRACEBACK_VARIABLE = "TPSOIL_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit with its status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; `sys.argv` by default.

    Raises
    ------
    SystemExit
        0 done, 1 the work failed, 2 the input is wrong (usage errors too), 130 interrupted.

    Notes
    -----
    A wrong input prints one message on standard error and no traceback. `TPSOIL_TRACEBACK=1` shows the traceback of
    any failure.
    """
    atexit.register(gc.freeze)  # at its end, Python searches all objects once more: a tenth of `tpsoil status`
    _plain_warnings()
    if sys.stderr is not None and sys.stderr.isatty():
        CLOCK.notice = lambda text: print(f"tpsoil: {text}", file=sys.stderr, flush=True)
    if sys.stdout is not None and not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        os.environ["COLUMNS"] = "80"  # width of a pipe or a log for rich and typer
    try:
        _run(list(sys.argv[1:] if arguments is None else arguments))
    except TpsoilError as error:
        _fail(str(error), error, error.exit_status)
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt as error:
        _fail("interrupted", error, 130)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            _fail(f"{error.filename}: the name is longer than a file system takes; give a shorter one", error, 2)
        text = str(error).strip() or "no message"
        _fail(
            f"unexpected {type(error).__name__}: {text}\nInternal error of tpsoil or its environment; no fault of the "
            f"input was detected; {TRACEBACK_VARIABLE}=1 shows the traceback",
            error,
            1,
        )
    raise SystemExit(0)


def _run(arguments: list[str]) -> None:
    if len(arguments) == 2 and arguments[0] == "status" and not arguments[1].startswith("-"):
        gc.disable()  # searching the libraries' objects for garbage takes a tenth of the command, which has none
        try:
            from .status import print_status  # without typer and pydantic, whose import takes a third of the command

            print_status(arguments[1])
        finally:
            gc.enable()
        sys.stdout.flush()
        return
    import typer

    from .app import app

    typer.main.get_command(app).main(args=arguments, prog_name="tpsoil")


def _fail(message: str, error: BaseException, status: int) -> NoReturn:
    if os.environ.get(TRACEBACK_VARIABLE, "") not in {"", "0"}:
        import traceback

        traceback.print_exception(error)
    print(_fold(f"tpsoil: {printable(redacted(message))}"), file=sys.stderr)
    raise SystemExit(status)


def _fold(message: str) -> str:
    """Message wrapped at words for a terminal; unchanged for a pipe, so that it can be searched."""
    if not sys.stderr.isatty():
        return message
    width = max(40, shutil.get_terminal_size().columns)
    lines = [
        textwrap.fill(line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        for line in message.splitlines()
    ]
    return "\n".join(lines)


def _plain_warnings() -> None:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,
        line: object = None,
    ) -> None:
        print(_fold(f"tpsoil: warning: {printable(redacted(str(message)))}"), file=sys.stderr)

    # Warnings of tpsoil are for the user; deprecations in a library are for developers.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", category=UserWarning, module=r"tpsoil\b")
    warnings.showwarning = show
