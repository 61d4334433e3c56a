"""What is to be derived, from `[derive]` of a recipe or the options of `cube derive`: checked, and in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tpsoil.covariates.groups import GROUPS
from tpsoil.covariates.groups.base import settings
from tpsoil.errors import nearest_name

WANTED: Final = "layers"
"""Key of `[derive]` that names layers or groups to make with the options of all."""
WATER_EROSION: Final = {"erosivity": "erosivity", "cover": "cover", "erodibility": "erodibility", "practice": "rusle"}
"""Keys of `[derive.water_erosion]`, the earlier name of four groups."""


@dataclass(frozen=True)
class DeriveSettings:
    """Options of groups, as they were given.

    Parameters
    ----------
    tables : mapping of str to mapping
        Options of single groups.
    shared : mapping of str to object
        Options of all groups that have them.
    requested : tuple of str
        Groups and layers to derive.
    """

    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)
    requested: tuple[str, ...] = ()


def source_kind(name: str) -> str:
    """Which kind of data an option names: "dem", "stack", "file", or ""."""
    kinds = {settings(kind, name, "source") for kind in GROUPS.values() if name in kind.model_fields}
    return next((str(kind) for kind in kinds if kind), "")


def settings_of_recipe(raw: Any, absolute_path: Callable[[str], str], faults: list[str]) -> DeriveSettings:
    """Settings of `[derive]`.

    Parameters
    ----------
    raw : mapping
        As read from TOML.
    absolute_path : callable
        Converts a path of the recipe to an absolute path.
    faults : list of str
        Extended by one line for each fault.
    """
    if not isinstance(raw, Mapping):
        faults.append("derive: expected a table of keys")
        return DeriveSettings()
    content = _without_old_names(dict(raw), faults)
    tables: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    requested = content.pop(WANTED, [])
    if not isinstance(requested, list) or not all(isinstance(name, str) for name in requested):
        faults.append(f"derive.{WANTED}: expected a list of layers or groups")
        requested = []
    for key, value in content.items():
        if key in GROUPS:
            table = _table_of(key, value, f"derive.{key}", faults)
            if table is not None:
                tables[key] = table
        elif key in _shared_names():
            shared[key] = value
        else:
            keys = [*GROUPS, *_shared_names(), WANTED]
            faults.append(f"derive.{key}: unknown key{nearest_name(key, keys)}")
    for name, table in tables.items():
        if table.get("value") is not None and "reason" in GROUPS[name].model_fields and not table.get("reason"):
            faults.append(f"derive.{name}.reason: is missing; state why this value, it is written into the maps")
    result = DeriveSettings(
        {name: _absolute(table, absolute_path) for name, table in tables.items()}, _absolute(shared, absolute_path)
    )
    return replace(result, requested=(*tables, *(name for name in requested if name not in tables)))


def settings_of_options(groups: Sequence[str], options: Mapping[str, Any], faults: list[str]) -> DeriveSettings:
    """Settings of `cube derive`: OPTION, GROUP (its main option) or GROUP.OPTION, also with a part: STACK.units.

    Parameters
    ----------
    groups : sequence of str
        Groups or layers to derive.
    options : mapping of str to object
        Values may be text.
    faults : list of str
        Extended by one line for each fault.
    """
    makers = [*GROUPS, *layer_makers()]
    faults += [f"no group '{name}'{nearest_name(name, makers)}" for name in groups if name not in makers]
    tables: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    for name, value in options.items():
        group, key = _place(name)
        head, _, part = key.partition(".")
        if group is None and head not in _shared_names():
            keys = [*_shared_names(), *(f"{one}.{key}" for one, kind in GROUPS.items() for key in kind.model_fields)]
            faults.append(f"no option '{name}'{nearest_name(name, keys)}")
            continue
        target = shared if group is None else tables.setdefault(group, {})
        if part:
            before = target.get(head, {})
            target[head] = {**(before if isinstance(before, dict) else {"path": before}), part: value}
        elif isinstance(target.get(head), dict) and not isinstance(value, Mapping):
            target[head] = {"path": value, **target[head]}
        else:
            target[head] = value
    return DeriveSettings(tables, shared, tuple(name for name in dict.fromkeys(groups) if name in makers))


def _place(name: str) -> tuple[str | None, str]:
    """Group and option of one name of the command line; no group for a shared option."""
    head, dot, rest = name.partition(".")
    if head in GROUPS and (dot or GROUPS[head].main_option):
        return head, rest or GROUPS[head].main_option
    if head in _shared_names():
        return None, name
    for group, kind in sorted(GROUPS.items(), key=lambda item: -len(item[0])):
        key = head.removeprefix(f"{group}_")
        if key != head and key in kind.model_fields:
            return group, name.removeprefix(f"{group}_")
    return None, name


def _shared_names() -> dict[str, None]:
    return {name: None for kind in GROUPS.values() for name in kind.model_fields if settings(kind, name, "shared")}


def layer_makers() -> dict[str, list[str]]:
    """Groups that compute each layer."""
    makers: dict[str, list[str]] = {}
    for name, kind in GROUPS.items():
        for layer in kind.makes:
            makers.setdefault(layer, []).append(name)
    return makers


def _table_of(group: str, value: Any, at: str, faults: list[str]) -> dict[str, Any] | None:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list):
        return {"layers": value} if value else None
    if GROUPS[group].main_option:
        return {GROUPS[group].main_option: value}
    faults.append(f"{at}: is {value!r}, expected a table of options or a list of layers")
    return None


def _without_old_names(content: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    """`[derive.water_erosion]` as the four groups that it names."""
    old = content.pop("water_erosion", None)
    if old is None:
        return content
    if not isinstance(old, Mapping):
        faults.append("derive.water_erosion: expected a table of keys")
        return content
    content.setdefault("rusle", {})
    for key, value in old.items():
        if key not in WATER_EROSION:
            faults.append(f"derive.water_erosion.{key}: unknown key{nearest_name(key, WATER_EROSION)}")
            continue
        group = WATER_EROSION[key]
        table = (
            value
            if isinstance(value, Mapping)
            else {"practice" if group == "rusle" else GROUPS[group].main_option: value}
        )
        content[group] = {**content.get(group, {}), **table}
    return content


def _absolute(options: Mapping[str, Any], absolute_path: Callable[[str], str]) -> dict[str, Any]:
    return {name: _with_paths(value, absolute_path) if source_kind(name) else value for name, value in options.items()}


def _with_paths(value: Any, absolute_path: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        head, colon, names = value.rpartition(":")
        if colon and names and "/" not in names and "\\" not in names and len(head) > 1:
            return f"{absolute_path(head)}:{names}"
        return absolute_path(value)
    if isinstance(value, list | tuple):
        return [_with_paths(one, absolute_path) for one in value]
    if isinstance(value, Mapping) and "path" in value:
        return {**value, "path": _with_paths(value["path"], absolute_path)}
    return value
