"""Cells without soil: the one rule that every map of soil and every table of samples follows.

`soil_mask` is 1 where there is soil. A cube without it gets one from its class layers, by the meaning of their classes;
an existing one retains its values, and classes of water and ice are masked beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from .blocks import map_pixels
from .errors import InputError, listed, nearest_name
from .grid import cell_sizes_m, grid_of
from .labels import without_codes
from .tiles import take_points
from .variables import class_names, missing_code, stored_kind, variable

Array = npt.NDArray[Any]
OnMasked = Literal["move", "drop", "keep"]

SURFACES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    "water": (
        "water", "water body", "water bodies", "open water", "open waters", "permanent water", "permanent water bodies",
        "inland water", "inland waters", "inland water bodies", "surface water", "lake", "lakes", "lake and river",
        "lakes and rivers", "river", "rivers", "water courses", "reservoir", "reservoirs", "ocean", "sea",
        "sea and ocean", "estuaries", "coastal lagoons", "lagoon",
    ),
    "ice": (
        "ice", "snow", "snow and ice", "snow ice", "ice and snow", "permanent snow", "permanent ice",
        "permanent snow and ice", "permanent snow ice", "permanent ice and snow", "perennial snow and ice",
        "perennial ice snow", "perennial snow ice",
        "glacier", "glaciers", "ice and glaciers", "glaciers and ice", "glaciers and perpetual snow",
        "glacier and permanent snow", "glaciers and permanent snow", "glacier and snow",
    ),
    "rock": (
        "rock", "rocks", "bare rock", "bare rocks", "rock outcrop", "rock outcrops", "exposed rock", "exposed rocks",
        "barren", "barren land", "bare", "bare land", "bareland", "bare area", "bare areas", "bare sparse vegetation",
        "barren or sparsely vegetated", "barren sparsely vegetated",
    ),
    "built_up": (
        "urban", "urban area", "urban areas", "urban and built up", "urban and built up lands", "built up",
        "built up area", "built up areas", "built up land", "artificial surface", "artificial surfaces",
        "impervious surface", "impervious surfaces", "settlement", "settlements",
    ),
})  # fmt: skip
"""Surfaces without soil, or without natural soil, and the class names that mean them (IGBP, ESA CCI and WorldCover,
CORINE, GlobeLand30, NLCD, GLiM): compared as a complete name, so that "water-laid sediment" is not water."""

MASK: Final = "soil_mask"
NO_SOIL: Final = ("water", "ice")
"""Surfaces that are masked by default."""
RECORD: Final = "masked_surfaces"
"""Attribute of a mask that this module computed: it is complete, and used as it is."""
CELLS: Final = 2.0
"""How far a sample on a masked cell is moved at most, in cells, unless a distance is given."""


def with_soil_mask(cube: xr.Dataset, *, no_soil: Iterable[str] = NO_SOIL) -> xr.Dataset:
    """A cube as models read it, with a complete `soil_mask`: 0 on water, ice and, by option, rock and built-up land.

    Parameters
    ----------
    cube : Dataset (y, x)
        Not changed. Its class layers are recognised by `flag_meanings` or the catalogue (`land_cover`: IGBP).
    no_soil : iterable of {"water", "ice", "rock", "built_up"}
        Surfaces that are masked. Empty: the layer `soil_mask` alone decides.

    Returns
    -------
    Dataset (y, x)
        `soil_mask` uint8, lazy where the cube is: 1 soil, 0 no soil. Where the cube had one, cells other than 1 keep
        their code. A missing class is not masked: its covariates decide. Attributes: `masked_surfaces`,
        `masked_classes` and `parents`. The cube itself where it has neither a mask nor such classes. A mask that has
        been through this function before decides on water and ice; rock and built-up land are masked beside it.
        Floating layers have NaN where their attributes state a code of missing cells.

    Raises
    ------
    InputError
        For a surface that is not known.

    Examples
    --------
    >>> cube = xr.Dataset({"land_cover": (("y", "x"), np.array([[0, 10, 15, 13]], "uint8"))})
    >>> with_soil_mask(cube)["soil_mask"].values.tolist()
    [[0, 1, 0, 1]]
    >>> with_soil_mask(cube, no_soil=["water", "ice", "built_up"])["soil_mask"].values.tolist()
    [[0, 1, 0, 0]]
    """
    cube = without_codes(cube)
    mask = cube.get(MASK)
    recorded = None if mask is None else mask.attrs.get(RECORD)
    surfaces = tuple(dict.fromkeys(no_soil))
    if recorded is not None:  # it decided on water and ice; rock and built-up land can be masked beside it
        surfaces = tuple(surface for surface in surfaces if surface not in (*NO_SOIL, *recorded.split()))
    codes = masked_classes(cube, surfaces)
    if not codes:
        if mask is None or recorded is not None:
            return cube
        return cube.assign({MASK: mask.assign_attrs({RECORD: " ".join(surfaces)})})
    layers = [cube[name] for name in codes]
    classes = [] if mask is None else [mask.attrs.get("masked_classes", "")]
    shared = _Surfaces(
        codes=tuple(tuple(classes) for classes in codes.values()),
        fills=tuple(missing_code(layer) for layer in layers),
        masked=mask is not None,
    )
    attributes = {
        RECORD: " ".join([*(recorded or "").split(), *surfaces]),
        "masked_classes": "; ".join(filter(None, [*classes, describe_classes(codes)])),
        "parents": " ".join([*([MASK] if mask is not None else []), *codes]),
    }
    blocks = [*layers, *([mask] if mask is not None else [])]
    (result,) = map_pixels(mask_block, *blocks, outputs=[variable(MASK)], shared=shared, attrs=attributes)
    return cube.assign({MASK: result})


def masked_classes(cube: xr.Dataset, no_soil: Iterable[str] = NO_SOIL) -> dict[str, dict[int, str]]:
    """Classes without soil of every class layer of a cube.

    Parameters
    ----------
    cube : Dataset (y, x)
    no_soil : iterable of str
        Surfaces, as in `with_soil_mask`.

    Returns
    -------
    dict of str to dict of int to str
        By layer: code and name of each class.
    """
    surfaces = tuple(no_soil)
    surface_codes({}, surfaces)
    result = {}
    for name in cube.data_vars:
        layer = cube.variables[name]
        if name == MASK or layer.ndim != 2 or stored_kind(str(name), layer.attrs) != "categorical":
            continue
        classes = surface_codes(class_names(str(name), layer.attrs), surfaces)
        if classes:
            result[str(name)] = classes
    return result


def without_soil(mask: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Cells of `soil_mask` values that are not soil: 0, and those without data, whether a code or NaN.

    Examples
    --------
    >>> without_soil(np.array([1, 0, 255])).tolist(), without_soil(np.array([1.0, np.nan])).tolist()
    ([False, True, True], [False, True])
    """
    return np.asarray(mask != 1)


def describe_classes(codes: Mapping[str, Mapping[int, str]]) -> str:
    """Classes of `masked_classes` as text for an attribute or a message.

    Examples
    --------
    >>> describe_classes({"land_cover": {0: "water", 15: "snow and ice"}})
    'land_cover: 0 water, 15 snow and ice'
    """
    return "; ".join(
        f"{name}: {', '.join(f'{code} {text}' for code, text in classes.items())}" for name, classes in codes.items()
    )


def surface_codes(names: Mapping[int, str], surfaces: Iterable[str]) -> dict[int, str]:
    """Codes of the classes that are one of these surfaces, by the meaning of their names.

    Parameters
    ----------
    names : mapping of int to str
        Classes; see `class_names`.
    surfaces : iterable of {"water", "ice", "rock", "built_up"}

    Returns
    -------
    dict of int to str
        Code and name of the classes.

    Raises
    ------
    InputError
        For a surface that is not one of the four.

    Examples
    --------
    >>> from tpsoil.variables import IGBP
    >>> surface_codes(IGBP, ["water", "ice"])
    {0: 'water', 15: 'snow and ice'}
    """
    meant: set[str] = set()
    for surface in surfaces:
        if surface not in SURFACES:
            raise InputError(
                f"surface '{surface}' is not known{nearest_name(surface, SURFACES)}; "
                f"expected some of {', '.join(SURFACES)}"
            )
        meant.update(SURFACES[surface])
    return {code: name for code, name in names.items() if " ".join(re.findall(r"[a-z]+", name.lower())) in meant}


@dataclass(frozen=True)
class _Surfaces:
    """What `mask_block` needs: codes and missing code of each class layer, and whether a mask follows them."""

    codes: tuple[tuple[int, ...], ...]
    fills: tuple[int | None, ...]
    masked: bool


def mask_block(*arguments: Any) -> list[Array]:
    """One block: class layers, the mask where there is one, then `_Surfaces`."""
    shared: _Surfaces = arguments[-1]
    blocks = arguments[: len(shared.codes)]
    if shared.masked:
        own_mask = np.nan_to_num(np.asarray(arguments[len(blocks)], dtype=np.float64), nan=float(variable(MASK).fill))
        result = own_mask.astype(np.uint8)
    else:
        result = np.ones(blocks[0].shape, dtype=np.uint8)
    for block, codes, fill in zip(blocks, shared.codes, shared.fills):
        no_soil = np.isin(block, np.asarray(codes))
        if fill is not None:
            no_soil &= block != fill
        result[no_soil & (result == 1)] = 0
    return [result]


@dataclass(frozen=True, eq=False)
class SoilPlaces:
    """Samples moved onto cells with soil; see `place_on_soil`.

    Parameters
    ----------
    rows, cols : ndarray (n,), int64
        Cell of each sample.
    masked : ndarray (n,), bool
        Samples whose own cell has no soil.
    moved : ndarray (n,), bool
        Those that were moved to the nearest cell with soil.
    within_m : float
        How far a sample is moved at most, between cell centres.
    """

    rows: npt.NDArray[np.int64]
    cols: npt.NDArray[np.int64]
    masked: npt.NDArray[np.bool_]
    moved: npt.NDArray[np.bool_]
    within_m: float

    @property
    def dropped(self) -> npt.NDArray[np.bool_]:
        """Samples on a masked cell that were not moved."""
        return self.masked & ~self.moved

    def note(self, labels: Sequence[Any]) -> str:
        """What happened to the samples, with their names.

        Parameters
        ----------
        labels : sequence (n,)
            Name of each sample, such as its site.

        Returns
        -------
        str
            Empty where no sample lies on a masked cell.
        """
        if not self.masked.any():
            return ""
        text = (
            f"{int(self.masked.sum())} of {self.masked.size} samples lie on cells without soil (water, ice or masked)"
        )
        parts = []
        if self.moved.any():
            parts.append(
                f"{int(self.moved.sum())} moved to the nearest cell with soil within {self.within_m / 1000:g} km: "
                f"{_names(labels, self.moved)}"
            )
        if self.dropped.any():
            parts.append(f"{int(self.dropped.sum())} left out: {_names(labels, self.dropped)}")
        return f"{text}; {'; '.join(parts)}"


def require_movable(on_masked: OnMasked, within_m: float | None, where: str) -> None:
    """A distance for moving samples has an effect only where they are moved.

    Raises
    ------
    InputError
    """
    if within_m is not None and on_masked != "move":
        raise InputError(
            f"{where}: masked_within_m has no effect with on_masked='{on_masked}'; pass on_masked='move', or leave "
            "masked_within_m out"
        )


def place_on_soil(
    mask: xr.DataArray,
    rows: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
    *,
    on_masked: OnMasked = "move",
    within_m: float | None = None,
) -> SoilPlaces:
    """Bring samples that lie on a masked cell to the nearest cell with soil.

    Parameters
    ----------
    mask : DataArray (y, x)
        `soil_mask`; of a lazy one only the chunks around these samples are read.
    rows, cols : ndarray (n,), int64
        Cell of each sample, inside the grid.
    on_masked : {"move", "drop", "keep"}
        "move" those that have soil within the distance, "drop" none of them is moved, "keep" their own cell.
    within_m : float, m, optional
        Distance between cell centres; by default two cells.

    Returns
    -------
    SoilPlaces

    Raises
    ------
    InputError
        For another option, or a distance that is not positive.

    Notes
    -----
    Equally near cells: the northernmost, then the westernmost.

    Examples
    --------
    >>> from tpsoil.grid import coordinates, grid_from_bounds
    >>> box = grid_from_bounds("EPSG:3035", (0, 0, 3000, 1000), 1000)
    >>> mask = xr.DataArray(np.array([[0, 0, 1]], "uint8"), dims=("y", "x"), coords=coordinates(box))
    >>> place_on_soil(mask, np.array([0, 0]), np.array([1, 2])).cols.tolist()
    [2, 2]
    """
    if on_masked not in ("move", "drop", "keep"):
        raise InputError(f"masked samples: option is {on_masked!r}, expected 'move', 'drop' or 'keep'")
    box = grid_of(mask, where=MASK)
    across, along = cell_sizes_m(box)
    limit_m = CELLS * float(max(across.max(), along.max())) if within_m is None else float(within_m)
    if not (np.isfinite(limit_m) and limit_m > 0):
        raise InputError(f"masked samples: distance is {limit_m:g} m, expected a positive number")
    masked = without_soil(take_points({MASK: mask.data}, rows, cols)[MASK])
    rows, cols, moved = rows.copy(), cols.copy(), np.zeros(len(rows), dtype=bool)
    if on_masked != "move" or not masked.any():
        return SoilPlaces(rows, cols, masked, moved, limit_m)
    at = np.flatnonzero(masked)
    # Narrow cells near a pole would make the window unlimited: no wider than the grid.
    height = min(int(limit_m // along[rows[at]].min()), box.shape[0] - 1)
    width = min(int(limit_m // across[rows[at]].min()), box.shape[1] - 1)
    offset_r, offset_c = (part.ravel() for part in np.mgrid[-height : height + 1, -width : width + 1])
    near_r, near_c = rows[at, None] + offset_r, cols[at, None] + offset_c
    inside = (near_r >= 0) & (near_r < box.shape[0]) & (near_c >= 0) & (near_c < box.shape[1])
    distance = np.hypot(offset_r * along[rows[at], None], offset_c * across[rows[at], None])
    inside &= distance <= limit_m
    soil = np.zeros(inside.shape, dtype=bool)
    soil[inside] = take_points({MASK: mask.data}, near_r[inside], near_c[inside])[MASK] == 1
    distance = np.where(soil, distance, np.inf)
    nearest = distance.argmin(axis=1)
    reached = np.isfinite(distance[np.arange(len(at)), nearest])
    moved[at[reached]] = True
    rows[moved] = near_r[reached, nearest[reached]]
    cols[moved] = near_c[reached, nearest[reached]]
    return SoilPlaces(rows, cols, masked, moved, limit_m)


def _names(labels: Sequence[Any], chosen: npt.NDArray[np.bool_]) -> str:
    return listed(dict.fromkeys(str(label) for label, wanted in zip(labels, chosen) if wanted), 10)
