"""Labelled arrays of a box as local NetCDF files: answers of a subset service, and windows of a Zarr group."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from tpsoil.errors import GridError, InputError, TpsoilError, WorkError

from .addresses import shown
from .cache import Cache, completed
from .catalogue import Choice, Entry
from .regions import MARGIN_CELLS, METRES_A_DEGREE, record_sources, unchanged
from .zarr_store import CachedStore

EAST: Final = ("x", "lon", "longitude")
NORTH: Final = ("y", "lat", "latitude")
STEPS_A_YEAR: Final = 12
ITEM_BYTES: Final = 4


@dataclass(frozen=True)
class Subset:
    """A box of a labelled source.

    Parameters
    ----------
    choice : Choice
    url : str
        Of the answer, or of the Zarr group.
    box : (west, south, east, north)
        Degrees; with a margin.
    expected_bytes : int
        Estimated: the service does not state it.
    exact : bool
    overview : int
        Always 1.
    """

    choice: Choice
    url: str
    box: tuple[float, float, float, float]
    expected_bytes: int
    exact: bool = False
    overview: int = 1

    @property
    def key(self) -> str:
        """Name of the subset in a lock file."""
        return ",".join(f"{value:g}" for value in self.box)


def plan_subset(choice: Choice, box: tuple[float, float, float, float], cache: Cache) -> Subset:
    """The subset of an entry that a box needs; asks no server.

    Parameters
    ----------
    choice : Choice
        Of an entry with the driver "netcdf" or "zarr".
    box : (west, south, east, north)
        Degrees.
    cache : Cache
    """
    entry = choice.entry
    cell = entry.resolution_m / METRES_A_DEGREE
    west, south, east, north = box
    margin = MARGIN_CELLS * cell
    padded = (
        max(-180.0, round(west - margin, 4)), max(-90.0, round(south - margin, 4)),
        min(180.0, round(east + margin, 4)), min(90.0, round(north + margin, 4)),
    )  # fmt: skip
    cells = math.ceil((padded[2] - padded[0]) / cell) * math.ceil((padded[3] - padded[1]) / cell)
    url = choice.url(box=padded if entry.driver == "netcdf" else None)
    cache.client.add_mirrors(url, [choice.url(box=padded, base=base) for base in entry.mirrors])
    return Subset(choice, url, padded, cells * ITEM_BYTES * (STEPS_A_YEAR if entry.reduce else 1))


def read_subset(subset: Subset, cache: Cache, progress: Callable[[int], None] | None = None) -> Path:
    """A subset as a local NetCDF file, with the numbers as they are stored.

    Raises
    ------
    InputError
        For a variable, scale or offset that is not as the entry states.
    GridError
        Where the box lies outside the source.
    WorkError
        For an answer that is no NetCDF file.
    MissingInputError, AccessError
    """
    before = cache.client.bytes_read
    if subset.choice.entry.driver == "zarr":
        path = _zarr_window(subset, cache)
    else:
        path = cache.answer(subset.url, suffix=".nc")
        try:
            with xr.open_dataset(path, decode_times=False, mask_and_scale=False) as dataset:
                _require_as_stated(subset.choice.entry, dataset, shown(subset.url))
        except TpsoilError:
            raise
        except (OSError, ValueError) as error:
            path.unlink(missing_ok=True)
            raise WorkError(
                f"{shown(subset.url)}: the answer is no NetCDF file ({type(error).__name__}); try again later"
            ) from error
    if progress is not None:
        progress(cache.client.bytes_read - before)
    return path


def _require_as_stated(entry: Entry, dataset: xr.Dataset, where: str) -> None:
    if entry.variable not in dataset.data_vars:
        names = ", ".join(map(str, dataset.data_vars)) or "none"
        raise InputError(f"{where}: has the variables {names}, the entry states '{entry.variable}'; correct the entry")
    attrs = dataset[entry.variable].attrs
    faults = [
        f"its {name} is {came:g}, the entry states {stated:g}"
        for name, came, stated in (
            ("scale", float(attrs.get("scale_factor", 1.0)), entry.stated_scale),
            ("offset", float(attrs.get("add_offset", 0.0)), entry.stated_offset),
        )
        if stated is not None and not math.isclose(came, stated, rel_tol=1e-6, abs_tol=1e-12)
    ]
    if faults:
        raise InputError(f"{where}: {'; '.join(faults)}; correct the entry {entry.name} in a catalogue of your own")


def _zarr_window(subset: Subset, cache: Cache) -> Path:
    entry = subset.choice.entry
    target = cache.window(entry.variable, f"{subset.url}|{entry.variable}|{subset.key}", ".nc")
    if target.exists() and unchanged(target, cache):
        return target
    cache.trace = set()
    store = CachedStore(cache, subset.url)
    try:
        array = zarr.open_array(store, path=entry.variable, mode="r")
    except FileNotFoundError as error:
        raise InputError(f"{shown(subset.url)}: has no array '{entry.variable}', which the entry states") from error
    dims = _dimensions(array, shown(subset.url))
    east, north = (next((dim for dim in dims if dim.lower() in names), "") for names in (EAST, NORTH))
    if not east or not north:
        raise GridError(
            f"{shown(subset.url)}: '{entry.variable}' has dimensions {dims}, expected latitude and longitude"
        )
    axes = {dim: np.asarray(zarr.open_array(store, path=dim, mode="r")[:], dtype=np.float64) for dim in (north, east)}
    west, south, right, top = subset.box
    rows, columns = _span(axes[north], south, top), _columns(axes[east], west, right)
    if rows.stop <= rows.start or not columns:
        raise GridError(f"{entry.name}: no data in the box {subset.key}: it lies outside the source")
    parts = [array[tuple({north: rows, east: span}.get(dim, slice(None)) for dim in dims)] for span, _ in columns]
    values = np.concatenate([np.asarray(part) for part in parts], axis=dims.index(east))
    attrs = {str(key): value for key, value in dict(array.attrs).items() if not str(key).startswith("_ARRAY")}
    if "_FillValue" not in attrs and values.dtype.kind in "iu" and entry.nodata is not None:
        attrs["_FillValue"] = values.dtype.type(entry.nodata)
    longitudes = np.concatenate([axes[east][span] + shift for span, shift in columns])
    coords = {north: axes[north][rows], east: longitudes}
    dataset = xr.Dataset({entry.variable: (dims, values, attrs)}, coords=coords)
    _require_as_stated(entry, dataset, shown(subset.url))
    with completed(target) as partial:
        dataset.to_netcdf(partial, engine="netcdf4")
        record_sources(target, cache)
    return target


def _columns(longitudes: npt.NDArray[np.float64], west: float, east: float) -> list[tuple[slice, float]]:
    """Columns of a box and what brings their longitudes to its own; two spans around Greenwich in 0 to 360 degrees."""
    sides = [(west, east, 0.0)]
    if longitudes.min() >= 0 and west < 0:
        sides = [(west + 360, east + 360, 0.0)] if east < 0 else [(west + 360, 360 - 1e-9, -360.0), (0.0, east, 0.0)]
    spans = [(_span(longitudes, low, high), shift) for low, high, shift in sides]
    return [(span, shift) for span, shift in spans if span.stop > span.start]


def _dimensions(array: Any, where: str) -> tuple[str, ...]:
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not names:
        raise GridError(f"{where}: the array names no dimensions, so its cells have no place")
    return tuple(str(name) for name in names)


def _span(values: npt.NDArray[np.float64], low: float, high: float) -> slice:
    """Cells whose centres lie between two coordinates."""
    inside = np.flatnonzero((values >= low) & (values <= high))
    return slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)
