"""`tpsoil cube derive`: covariates made from a DEM, from layers of the cube, and from time stacks, into the cube."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tpsoil.cube import cube_info
from tpsoil.errors import InputError, nearest_name

from .derivations import GROUPS, NEEDS, OPTIONS, Work


def derive(
    store: Any,
    groups: Sequence[str],
    *,
    dem: Any = None,
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Derive groups of covariates and write them into a cube.

    Parameters
    ----------
    store : path, URL or zarr Store
        Of a cube.
    groups : sequence of str
        Of `GROUPS`, in any order: terrain, hydrology, climate, aridity, vegetation, erosivity, erodibility, cover,
        rusle, rweq. What a group needs and the cube lacks is derived first where that is possible.
    dem : path, glob, URL, DataArray, or a list of them, optional
        For terrain and hydrology: these are derived at the DEM's own resolution and averaged to the cube, aspect as a
        vector. Without it the cube's `elevation` is used, at the cube's resolution, where slopes are too gentle.
    options : mapping, optional
        Of `OPTIONS`.
    overwrite : bool
        Whether layers that are there are replaced.

    Returns
    -------
    list of str
        The layers written, in order.

    Raises
    ------
    InputError
        For unknown groups or options (all at once), for options that a group needs, for layers that are there.
    MissingInputError
        For layers or files that a group needs.
    UnitsError, GridError

    Notes
    -----
    Attributes of every layer: `parents`, `formula`, the options that made it, `assumptions` where a constant stood for
    a map, and for terrain and hydrology `derived_at`, the DEM's grid.
    """
    given = dict(options or {})
    faults = [f"no group '{name}'{nearest_name(name, GROUPS)}" for name in groups if name not in GROUPS]
    faults += [f"no option '{name}'{nearest_name(name, OPTIONS)}" for name in given if name not in OPTIONS]
    if not groups:
        faults.append(f"no groups given; there are {', '.join(GROUPS)}")
    if faults:
        raise InputError("derive: " + "; ".join(faults))
    settings = {name: _typed(name, given.get(name, option.default)) for name, option in OPTIONS.items()}
    work = Work(store, cube_info(store), dem, settings, overwrite)
    wanted: list[str] = []
    for group in groups:
        _enlist(group, work, wanted)
    idle = [name for name in given if not set(OPTIONS[name].group.split(", ")) & set(wanted)]
    if idle:
        lacking = ", ".join(f"{name} is of {OPTIONS[name].group}" for name in idle)
        raise InputError(
            f"derive: {', '.join(idle)} would have no effect: {lacking}, which is not derived; name that group too, "
            "with overwrite where the cube has its layers"
        )
    written: list[str] = []
    for group in wanted:
        written += GROUPS[group](work)
    return written


def _typed(name: str, value: Any) -> Any:
    """An option's value in its type, also from text."""
    kind = OPTIONS[name].kind
    if value is None or isinstance(value, kind):
        return value
    if kind is bool:
        if str(value).lower() not in {"true", "false", "yes", "no", "1", "0"}:
            raise InputError(f"derive: option {name} is {value!r}, expected true or false")
        return str(value).lower() in {"true", "yes", "1"}
    try:
        return kind(value)
    except (TypeError, ValueError):
        words = {float: "a number", int: "a whole number", str: "text"}
        raise InputError(f"derive: option {name} is {value!r}, expected {words[kind]}") from None


def _enlist(group: str, work: Work, wanted: list[str]) -> None:
    """A group after those that make what it needs and the cube lacks."""
    needs = dict(NEEDS.get(group, {}))
    if group == "cover" and work.options["cover"] == "cai":
        needs["vegetation_cover"] = "vegetation"
    for need, maker in needs.items():
        if not work.has(need):
            _enlist(maker, work, wanted)
    if group not in wanted:
        wanted.append(group)
