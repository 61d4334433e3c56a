"""Base class of the tables of a recipe: frozen, unknown keys are faults, each fault is one line with its fix."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tpsoil.errors import nearest_name

PLAIN: Final = {"float_": "a number", "int_": "an integer", "bool_": "true or false"}
"""Types of pydantic's faults, and what was expected."""
_QUOTED: Final = re.compile(r"'([^']*)'")

Table = TypeVar("Table", bound="Section")


class Section(BaseModel):
    """Base of the tables of a recipe.

    Notes
    -----
    Frozen, so that a digest of it stays valid; unknown keys are faults, because a misspelt option that is ignored gives
    another map than the user described; text is not converted to numbers. `NEEDS` gives, for an option that has an
    effect only beside another, that other option and its values; no values: any value that is set. Without them the
    option is a fault, because it would be ignored.
    """

    NEEDS: ClassVar[Mapping[str, tuple[str, tuple[Any, ...]]]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, str_strip_whitespace=True)

    @model_validator(mode="after")
    def _without_idle_options(self) -> Self:
        for name, (other, values) in self.NEEDS.items():
            if getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True):
                continue
            value = getattr(self, other)
            if value not in values if values else not value:
                required = f" = {' or '.join(str(one).lower() for one in values)}" if values else ""
                raise ValueError(f"{name} has no effect without {other}{required}; set {other}, or leave {name} out")
        return self


def read_table(model: type[Table], raw: Any, at: str, faults: list[str]) -> Table | None:
    """One table of a recipe, checked.

    Parameters
    ----------
    model : type of Section
    raw : object
        As read from TOML.
    at : str
        The table's key, such as `solum` or `layers[2]`.
    faults : list of str
        Extended by one line for each fault.

    Returns
    -------
    Section or None
        None where there were faults.
    """
    if not isinstance(raw, Mapping):
        faults.append(f"{at}: is {_shown(raw)}, expected a table of keys")
        return None
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        faults += [fault_line(model, at, fault) for fault in error.errors(include_url=False)]
        return None


def named_tables(model: type[Table], key: str, raw: Any, faults: list[str]) -> tuple[Table, ...]:
    """The tables of a list such as `[[layers]]`, each with a name of its own."""
    if not isinstance(raw, list):
        faults.append(f"{key}: is one table, expected a list of them; write [[{key}]] with two brackets")
        return ()
    tables, numbers = [], dict[str, int]()
    for number, entry in enumerate(raw, start=1):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if isinstance(name, str):
            if name in numbers:
                faults.append(f"{key}[{number}].name: '{name}' is given twice, first as {key}[{numbers[name]}]")
            numbers.setdefault(name, number)
        table = read_table(model, entry, f"{key}[{number}]", faults)
        if table is not None:
            tables.append(table)
    return tuple(tables)


def unknown_keys(raw: Mapping[str, Any], keys: Iterable[str], at: str) -> list[str]:
    """One fault for every key that is not known, with the nearest name."""
    names = list(keys)
    where = f"{at}." if at else ""
    return [f"{where}{key}: unknown key{nearest_name(str(key), names)}" for key in raw if key not in names]


def fault_line(model: type[BaseModel], at: str, fault: Any) -> str:
    """A fault reported by pydantic, as one line with the key, the value and what was expected.

    Parameters
    ----------
    model : type of BaseModel
    at : str
        The table's key.
    fault : mapping
        Of `ValidationError.errors()`.
    """
    place, kind, came = fault["loc"], fault["type"], fault["input"]
    key = _dotted(at, place)
    if kind == "extra_forbidden":
        return f"{key}: unknown key{nearest_name(str(place[-1]), _fields_at(model, place[:-1]))}"
    if kind == "missing":
        return f"{key}: is missing"
    message = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if kind == "value_error":
        return f"{key}: {message}"
    if kind == "literal_error":
        message += nearest_name(str(came), _QUOTED.findall(message))
    message = next((text for start, text in PLAIN.items() if kind.startswith(start)), message)
    return f"{key}: is {_shown(came)}, expected {message}"


TYPES: Final = {"str", "float", "int", "bool", "dict", "list", "tuple", "constrained-str", "Stack", "Dem"}


def _dotted(at: str, place: Sequence[int | str]) -> str:
    text = at
    for part in place:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        elif not part.startswith("function-") and part not in TYPES and "[" not in part:
            # pydantic names the branch of a union or a validator in the location; the recipe has neither.
            text += f".{part}"
    return text


def _fields_at(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    models: list[type[BaseModel]] = [model]
    for part in place:
        inner: list[type[BaseModel]] = []
        for candidate in models:
            if isinstance(part, str) and part in candidate.model_fields:
                inner += _models_in(candidate.model_fields[part].annotation)
        # A list index, a mapping's key or a union's branch stays within the models found so far.
        models = inner or models
    return sorted({name for candidate in models for name in candidate.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in {typing.Union, types.UnionType, list, tuple, dict, typing.Annotated}:
        return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
    return []


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
