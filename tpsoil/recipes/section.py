"""Base class of the tables of a recipe, and the checks of its keys and texts: each fault is one line with its fix."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from tpsoil.errors import nearest_name

PLAIN: Final = {"float_": "a number", "int_": "an integer", "bool_": "true or false"}
"""Types of pydantic's faults, and what was expected."""
_QUOTED: Final = re.compile(r"'([^']*)'")

Table = TypeVar("Table", bound="Section")


PROSE: Final = frozenset(
    {"description", "citation", "reason", "licence", "meaning", "title", "label", "comment", "crs"}
)
"""Keys whose texts, among them a CRS as WKT, may have lines and any length up to `PROSE_CHARACTERS`."""

PROSE_CHARACTERS: Final = 100_000

NAME_BYTES: Final = 255
"""Of one name between the slashes of a path: the limit of ext4, XFS, APFS and NTFS."""

PATH_CHARACTERS: Final = 4096

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that reverse the direction of a line, and halves of characters."""


PATH: Final = "path"
"""Of the context in which tables are read: what makes a path of the recipe absolute."""


def _absolute(text: str, info: ValidationInfo) -> str:
    return text if info.context is None else str(info.context[PATH](text))


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"names a layer twice: {', '.join(repeated)}")
    return names


def _ascending(numbers: tuple[float, ...]) -> tuple[float, ...]:
    if list(numbers) != sorted(set(numbers)):
        raise ValueError(f"is {list(numbers)}, expected ascending numbers, each once")
    return numbers


FilePath = Annotated[str, Field(min_length=1), AfterValidator(_absolute)]
"""A path or URL; absolute in a table that was read from a recipe."""
Layers = Annotated[tuple[str, ...], AfterValidator(_each_once)]
"""Layers, each once."""
Ascending: Final = AfterValidator(_ascending)
"""Of numbers that ascend, each once."""
Share = Annotated[float, Field(gt=0, lt=1)]
"""A number between 0 and 1."""


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

    STUDY: ClassVar[str] = ""
    """The study whose method the table runs, and its data."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, str_strip_whitespace=True)

    @model_validator(mode="after")
    def _without_idle_options(self) -> Self:
        for name, (other, values) in self.NEEDS.items():
            if self.is_default(name):
                continue
            value = getattr(self, other)
            if value not in values if values else not value:
                required = f" = {' or '.join(str(one).lower() for one in values)}" if values else ""
                raise ValueError(f"{name} has no effect without {other}{required}; set {other}, or leave {name} out")
        return self

    @property
    def cited(self) -> tuple[str | None, ...]:
        """References of the data that the table names."""
        return (getattr(self, "citation", None),)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Tables that a model is trained on."""
        return ()

    def is_default(self, name: str) -> bool:
        """Whether a key has its default."""
        return bool(getattr(self, name) == type(self).model_fields[name].get_default(call_default_factory=True))

    def with_defaults(self, *names: str) -> Self:
        """This table with the defaults of some keys."""
        fields = type(self).model_fields
        return self.model_copy(update={name: fields[name].get_default(call_default_factory=True) for name in names})

    def keeping(self, *names: str) -> Self:
        """This table with some of its keys and those without a default; all others have theirs."""
        fields = type(self).model_fields.items()
        return self.with_defaults(*(key for key, field in fields if key not in names and not field.is_required()))


def read_table(
    model: type[Table], raw: Any, at: str, faults: list[str], path: Callable[[str], str] | None = None
) -> Table | None:
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
    path : callable, optional
        Makes the paths of the table absolute; they stay as they are without it.

    Returns
    -------
    Section or None
        None where there were faults.
    """
    if not isinstance(raw, Mapping):
        faults.append(f"{at}: is {_shown(raw)}, expected a table of keys")
        return None
    try:
        return model.model_validate(dict(raw), context=None if path is None else {PATH: path})
    except ValidationError as error:
        faults += [fault_line(model, at, fault) for fault in error.errors(include_url=False)]
        return None


def named_tables(
    model: type[Table], key: str, raw: Any, faults: list[str], path: Callable[[str], str]
) -> tuple[Table, ...]:
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
        table = read_table(model, entry, f"{key}[{number}]", faults, path)
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
                inner += models_in(candidate.model_fields[part].annotation)
        # A list index, a mapping's key or a union's branch stays within the models found so far.
        models = inner or models
    return sorted({name for candidate in models for name in candidate.model_fields})


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Tables that a value of this type may be, or have as its entries."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in models_in(argument)]


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
        one = type_text(inner[0])
        return f"list of {count}{one}" + ("" if one.endswith('"') else "s")
    if origin is list:
        return f"list of {type_text(arguments[0])}s"
    if origin in {dict, Mapping} or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return {"Dem": "file", "Stack": "stack"}.get(getattr(annotation, "__name__", ""), "table")
    words_of: dict[Any, str] = {str: "text", bool: "true or false", int: "integer", float: "number", Any: "value"}
    return words_of.get(annotation, "value")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def text_faults(raw: Mapping[str, Any]) -> list[str]:
    """Faults of a recipe's texts, before anything else reads them.

    Parameters
    ----------
    raw : mapping
        The recipe as it was written.

    Returns
    -------
    list of str
        One line per fault, each with a bounded part of the text.

    Examples
    --------
    >>> text_faults({"run": {"name": "maps", "output": "a\\x00b"}})
    ["run.output: 'a\\\\x00b' has the character '\\\\x00' at position 2; remove it"]
    """
    return [fault for key, text, prose in _texts(raw, "", False) for fault in _faults(key, text, prose)]


def _texts(value: Any, at: str, prose: bool) -> Iterator[tuple[str, str, bool]]:
    if isinstance(value, str):
        yield at, value, prose
    elif isinstance(value, Mapping):
        for key, item in value.items():
            name = str(key)
            yield f"{at}: a key" if at else "a key", name, False
            yield from _texts(item, f"{at}.{shortened(name)}" if at else shortened(name), name in PROSE)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value, 1):
            yield from _texts(item, f"{at}[{number}]", prose)


def _faults(at: str, text: str, prose: bool) -> Iterator[str]:
    if match := _CONTROL.search(text):
        yield f"{at}: {shortened(text)!r} has the character {match[0]!r} at position {match.start() + 1}; remove it"
    limit = PROSE_CHARACTERS if prose else PATH_CHARACTERS
    if len(text) > limit:
        yield f"{at}: {shortened(text)!r} has {len(text)} characters, expected at most {limit}"
    elif not prose and "://" not in text and not at.endswith(".source"):  # a path, or a reference
        longest = max(re.split(r"[/\\]", text), key=len)
        if len(longest.encode("utf-8", "replace")) > NAME_BYTES:
            yield f"{at}: the name {shortened(longest)!r} has {len(longest)} characters, expected at most {NAME_BYTES}"


def shortened(text: str, characters: int = 60) -> str:
    """The beginning of a text.

    Examples
    --------
    >>> shortened("n" * 100, 5)
    'nnnnn...'
    """
    return text if len(text) <= characters else f"{text[:characters]}..."
