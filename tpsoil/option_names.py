"""Options as messages name them: a keyword in Python, a key of its table in a recipe, a flag on the command line."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

COMMAND_LINE: Final = "--"
_TABLE: Final[ContextVar[str]] = ContextVar("table", default="")
"""Of a recipe; `COMMAND_LINE` in a command, and "" in Python."""
_IN_COMMAND: Final[ContextVar[bool]] = ContextVar("in_command", default=False)
"""Whether `tpsoil run` runs the recipe: its own options, such as `--memory`, are never keys of a table."""


@contextlib.contextmanager
def in_recipe(table: str) -> Iterator[None]:
    """Name options as keys of a table of a recipe, in the messages of everything that is called within.

    Parameters
    ----------
    table : str
        Such as `elements`; its keys are the keywords of the functions that read it.
    """
    token = _TABLE.set(table)
    try:
        yield
    finally:
        _TABLE.reset(token)


def on_command_line() -> contextlib.AbstractContextManager[None]:
    """Name options as flags of a command, in the messages of everything that is called within."""
    return in_recipe(COMMAND_LINE)


@contextlib.contextmanager
def run_by_command() -> Iterator[None]:
    """Name the options of a run as flags of `tpsoil run`, in the messages of everything that is called within."""
    token = _IN_COMMAND.set(True)
    try:
        yield
    finally:
        _IN_COMMAND.reset(token)


def run_option(name: str, value: float | None = None) -> str:
    """An option of a run, such as its limit of memory, by its name alone or with a value.

    Examples
    --------
    >>> run_option("memory"), run_option("memory", 1.5)
    ('memory', 'memory=1.5')
    >>> with run_by_command():
    ...     run_option("memory"), run_option("memory", 1.5)
    ('--memory', '--memory 1.5')
    """
    flag, sign = ("--", " ") if _IN_COMMAND.get() else ("", "=")
    return f"{flag}{name}" + ("" if value is None else f"{sign}{value:g}")


def named_as_here() -> Callable[[], Any]:
    """What a thread calls when it starts, to name options as the thread that starts it does."""
    return partial(_TABLE.set, _TABLE.get())


def pass_option(name: str, value: Any = None) -> str:
    """The part of a message that tells how to give an option a value, or any value.

    Parameters
    ----------
    name : str
    value : str, number, truth value or mapping of these, optional

    Examples
    --------
    >>> pass_option("units", {"Fe": "g kg-1"})
    "pass units={'Fe': 'g kg-1'}"
    >>> with in_recipe("elements"):
    ...     pass_option("units", {"Fe": "g kg-1"}), pass_option("limits")
    ('set elements.units = { Fe = "g kg-1" }', 'set elements.limits')
    >>> with on_command_line():
    ...     pass_option("units", "0.1 degC")
    "pass --units '0.1 degC'"
    """
    return f"{'pass' if _TABLE.get() in {'', COMMAND_LINE} else 'set'} {option(name, value)}"


def option(name: str, value: Any = None) -> str:
    """An option by its name alone, or with a value, for a message that names several.

    Parameters
    ----------
    name : str
    value : str, number, truth value or mapping of these, optional

    Examples
    --------
    >>> f"{pass_option('scale')} and {option('offset', 0.5)}"
    'pass scale= and offset=0.5'
    """
    table = _TABLE.get()
    number = f"{value:.8g}" if isinstance(value, float) else None
    if table == COMMAND_LINE:
        flag = f"--{name.replace('_', '-')}"
        return flag if value is None else f"{flag} {number or shlex.quote(str(value))}"
    if not table:
        return f"{name}=" + ("" if value is None else number or repr(value))
    return f"{table}.{name}" + ("" if value is None else f" = {number or _toml(value)}")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        members = (
            f"{key if str(key).isidentifier() else json.dumps(key)} = {_toml(one)}" for key, one in value.items()
        )
        return f"{{ {', '.join(members)} }}"
    return json.dumps(value, ensure_ascii=False)
