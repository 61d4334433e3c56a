"""The reference of recipes: every table and key with type, unit, default and meaning, from the tables themselves."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from tpsoil.covariates.groups import GROUPS, CovariateGroup
from tpsoil.covariates.groups.base import settings, shown_values
from tpsoil.errors import InputError, nearest_name

from .recipe import LISTS, TABLES
from .section import Section, models_in, type_text

TOP: Final[dict[str, tuple[str, type[Section]]]] = {
    name: (f"[[{name}]]" if name in LISTS else f"[{name}]", model) for name, model in TABLES.items()
}
"""Heading and model of each table of a recipe, beside `[derive]`."""


@dataclass(frozen=True)
class Key:
    """One key of a table.

    Parameters
    ----------
    table : str
        As TOML writes it; of an option of a covariate group the group's name.
    name, kind, default, meaning : str
        The default is "needed" where the key must be given, and empty where leaving it out means something else.
    units : str
        Of an option of a covariate group.
    """

    table: str
    name: str
    kind: str
    default: str
    meaning: str
    units: str = ""


INTRODUCTION: Final = (
    "A recipe has one table `[derive.GROUP]` for each group, or names layers in `[derive] layers`; the command line",
    "has `tpsoil cube derive STORE GROUP... -o GROUP.OPTION=VALUE`. An option that several groups have may be given",
    "once, in `[derive]` or as `-o OPTION=VALUE`. What a group needs and nothing supplies is derived first; a layer",
    "that is supplied is kept.",
)


def recipe_keys(table: str | None = None) -> list[Key]:
    """Keys of one table of a recipe, its inner tables included, or of all.

    Parameters
    ----------
    table : str, optional
        Such as `"elements"` or `"solum.calibration"`.

    Returns
    -------
    list of Key

    Raises
    ------
    InputError
        For a table that recipes do not have.

    Examples
    --------
    >>> [key.default for key in recipe_keys("elements") if key.name == "trees"]
    ['500']
    """
    tables = dict(_tables())
    if table is not None and table not in tables:
        raise InputError(f"recipe: no table '{table}'{nearest_name(table, tables)}")
    names = [name for name in tables if table is None or name == table or name.startswith(f"{table}.")]
    return [key for name in names for key in _keys(*tables[name])]


def reference_text(table: str | None = None) -> str:
    """The reference as Markdown.

    Parameters
    ----------
    table : str, optional
        One table; all of them by default, `derive` included.

    Returns
    -------
    str

    Examples
    --------
    >>> reference_text("mask").splitlines()[0]
    '# [mask]'
    """
    if table is not None and table.partition(".")[0] == "derive":
        return derive_text()
    tables = dict(_tables())
    names = list(dict.fromkeys(key.table for key in recipe_keys(table)))
    lines: list[str] = []
    for title in names:
        model = next(model for heading, model in tables.values() if heading == title)
        lines += [f"# {title}", "", _summary(model), "", "| key | type | default | meaning |", "|---|---|---|---|"]
        for key in _keys(title, model):
            lines.append(f"| {key.name} | {key.kind.replace('|', 'or')} | {key.default} | {key.meaning} |")
        lines.append("")
    text = "\n".join(lines)
    return text if table is not None else f"{text}\n{derive_text()}"


def _tables() -> Iterator[tuple[str, tuple[str, type[BaseModel]]]]:
    """Dotted name -> heading and model, inner tables after their own."""
    for name, (heading, model) in TOP.items():
        yield name, (heading, model)
        for inner, kind in _inner(model):
            yield f"{name}.{inner}", (f"[{name}.{inner}]", kind)
            for deeper, last in _inner(kind):
                yield f"{name}.{inner}.{deeper}", (f"[{name}.{inner}.{deeper}]", last)


def _inner(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        for inner_model in models_in(field.annotation):
            of_names = typing.get_origin(field.annotation) is dict
            yield (f"{name}.NAME" if of_names else name), inner_model


def _keys(heading: str, model: type[BaseModel]) -> list[Key]:
    meanings = documented(model)
    return [
        Key(heading, name, type_text(field.annotation), _default(field), meanings.get(name, ""))
        for name, field in model.model_fields.items()
    ]


def documented(model: type[BaseModel]) -> dict[str, str]:
    """Meaning of each key, from the `Parameters` of the model's docstring.

    Examples
    --------
    >>> documented(TABLES["mask"])["lakes"] != ""
    True
    """
    meanings: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if issubclass(part, BaseModel) and (text := part.__dict__.get("__doc__")):
            meanings |= _documented(text)
    return meanings


def _documented(docstring: str) -> dict[str, str]:
    """Meaning of each name of a section `Parameters`."""
    body = inspect.cleandoc(docstring).partition("Parameters\n----------\n")[2]
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in body.splitlines():
        text = line.strip()
        if text and not line.startswith(" "):
            head, _, kind = text.partition(" : ")
            if not kind and not text.endswith(",") and not re.fullmatch(r"[\w, ]+", text):
                break
            continued = names if names and meanings.get(names[-1]) == "," else []
            names = [*continued, *(name.strip() for name in head.split(",") if name.strip())]
            for name in names:
                meanings[name] = "," if text.endswith(",") else ""
        elif text and names:
            for name in names:
                meanings[name] = f"{meanings[name]}{' ' if meanings[name] else ''}{text}"
    return {name: meaning.strip(", ").replace("|", "/") for name, meaning in meanings.items()}


def _default(field: Any) -> str:
    value = field.default
    if field.default_factory is not None or value is None or value == "" or value == ():
        return ""
    if field.is_required():
        return "needed"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _summary(model: type[BaseModel]) -> str:
    first = inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0]
    return " ".join(first.split()).replace("`", "")


def option_rows(group: str | None = None) -> list[Key]:
    """All options of one group, or of all.

    Examples
    --------
    >>> [row.default for row in option_rows("hydrology") if row.name == "max_length_m"]
    ['300']
    """
    rows = []
    for name, kind in GROUPS.items():
        if group in (None, name):
            rows += [_row(kind, key, field) for key, field in kind.model_fields.items()]
    return rows


def _row(kind: type[CovariateGroup], name: str, field: Any) -> Key:
    needs = "".join(f"; with {key} = {shown_values(values)}" for key, values in settings(kind, name, "only"))
    units = settings(kind, name, "units") or ""
    return Key(kind.group, name, type_text(field.annotation), _default(field), field.description + needs, units)


def derive_text() -> str:
    """The reference of `[derive]` as Markdown.

    Examples
    --------
    >>> derive_text().splitlines()[0]
    '# Derived covariates'
    """
    lines = ["# Derived covariates", "", *INTRODUCTION]
    for name, kind in GROUPS.items():
        lines += ["", f"## {name}: {kind.title}", "", f"Makes {', '.join(kind.makes)}. {kind.formula}."]
        lines += [f"References: {kind.references}."] if kind.references else []
        lines += ["", "| option | type | unit | default | meaning |", "|---|---|---|---|---|"]
        for row in option_rows(name):
            lines.append(f"| {row.name} | {row.kind.replace('|', '/')} | {row.units} | {row.default} | {row.meaning} |")
    return "\n".join(lines) + "\n"
