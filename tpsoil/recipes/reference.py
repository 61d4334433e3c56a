"""The reference of recipes: every table and key with type, unit, default and meaning, from the tables themselves."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from tpsoil.errors import InputError, nearest_name

from .accuracy_stage import AccuracyTable
from .derive_reference import reference_text as derive_text
from .element_options import ElementsTable
from .layer_stage import LayerTable
from .mask_stage import MaskTable
from .recipe import GridTable, RunTable, SourcesTable
from .section import Section
from .solum_stage import SolumTable
from .zonal_stage import ZonalTable

TOP: Final[dict[str, tuple[str, type[Section]]]] = {
    "run": ("[run]", RunTable),
    "grid": ("[grid]", GridTable),
    "layers": ("[[layers]]", LayerTable),
    "mask": ("[mask]", MaskTable),
    "solum": ("[solum]", SolumTable),
    "elements": ("[elements]", ElementsTable),
    "zonal": ("[[zonal]]", ZonalTable),
    "accuracy": ("[[accuracy]]", AccuracyTable),
    "sources": ("[sources]", SourcesTable),
}
"""Tables of a recipe, beside `[derive]`, whose groups declare themselves."""


@dataclass(frozen=True)
class Key:
    """One key of a table.

    Parameters
    ----------
    table : str
        As TOML writes it.
    name, kind, default, meaning : str
        The default is "needed" where the key must be given, and empty where leaving it out means something else.
    """

    table: str
    name: str
    kind: str
    default: str
    meaning: str


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
        for inner_model in _models(field.annotation):
            of_names = typing.get_origin(field.annotation) is dict
            yield (f"{name}.NAME" if of_names else name), inner_model


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models(argument)]


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
    >>> documented(MaskTable)["lakes"] != ""
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


def type_text(annotation: Any) -> str:
    """A type in the terms of TOML.

    Examples
    --------
    >>> type_text(float | None), type_text(tuple[str, ...]), type_text(typing.Literal["a", "b"])
    ('number', 'list of texts', '"a" or "b"')
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_text(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in arguments)
    if origin in {typing.Union, types.UnionType}:
        words = [type_text(argument) for argument in arguments if argument is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if origin is tuple:
        inner = [argument for argument in arguments if argument is not Ellipsis]
        count = "" if Ellipsis in arguments else f"{len(inner)} "
        return f"list of {count}{type_text(inner[0])}s"
    if origin is list:
        return f"list of {type_text(arguments[0])}s"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "table"
    words_of: dict[Any, str] = {str: "text", bool: "true or false", int: "integer", float: "number", Any: "value"}
    return words_of.get(annotation, "value")


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
