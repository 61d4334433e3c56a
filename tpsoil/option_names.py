"""Options as messages name them: a keyword where Python was called, a key of its table where a recipe is read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final

_TABLE: Final[ContextVar[str]] = ContextVar("table", default="")


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
    """
    table = _TABLE.get()
    if not table:
        return f"pass {name}=" + ("" if value is None else repr(value))
    return f"set {table}.{name}" + ("" if value is None else f" = {_toml(value)}")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        members = (
            f"{key if str(key).isidentifier() else json.dumps(key)} = {_toml(one)}" for key, one in value.items()
        )
        return f"{{ {', '.join(members)} }}"
    return json.dumps(value, ensure_ascii=False)
