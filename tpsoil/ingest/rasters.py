"""Rasters on import: any GDAL, NetCDF or Zarr source to checked values in the catalogue's units.

No silent assumption: units come from the caller, else from the file, else they are taken to be the catalogue's and
reported as assumed; a value outside the catalogue's range is an error that names the likely cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import PurePath
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from tpsoil.blocks import is_lazy
from tpsoil.display import text_summary
from tpsoil.errors import GridError, InputError, UnitsError, listed, require_one_of
from tpsoil.grid import SNAP, coordinates, describe, same_grid
from tpsoil.labels import described
from tpsoil.option_names import option, pass_option
from tpsoil.redaction import redacted
from tpsoil.stage import SourceBytes
from tpsoil.tiles import from_tiles
from tpsoil.units import Conversion, conversion, convertible, formula_in, read_unit
from tpsoil.variables import Variable

from .checks import check_classes, check_range
from .packing import unpacked
from .part import Part
from .parts import digest_files, find_parts, source_files
from .reading import read_bytes

Array = npt.NDArray[Any]
Combine = Literal["mosaic", "mean", "sum", "min", "max"]

LAYOUTS: Final = 16
"""Parts whose layout is read for the forecast of memory: the files of one product are stored alike."""


@dataclass(frozen=True)
class Raster:
    """A checked source: its place, and its values by window in the catalogue's units.

    Parameters
    ----------
    spec : Variable
        What it becomes.
    box : GeoBox
        Its own grid.
    parts : tuple of Part
    places : tuple of (row, column)
        First pixel of each part in `box`.
    combine : str
        How the parts become one; "" for a single part.
    change : Conversion
        From stored numbers to the catalogue's unit, the file's scale and offset included.
    checked : bool
        Whether undeclared sentinels are checked for.
    origin, digest : str
        For the attributes.
    notes : tuple of (str, str)
        What was declared, for the attributes.
    """

    spec: Variable
    box: GeoBox
    parts: tuple[Part, ...]
    places: tuple[tuple[int, int], ...]
    combine: str
    change: Conversion
    checked: bool
    origin: str
    digest: str
    notes: tuple[tuple[str, str], ...] = ()

    def read(self, rows: slice, cols: slice) -> Array:
        """Values of a window of the raster's own grid.

        Parameters
        ----------
        rows, cols : slice
            Start and stop inside the raster.

        Returns
        -------
        ndarray (rows, cols)
            float32 with NaN for missing, or the class type with its fill code.

        Raises
        ------
        UnitsError
            For values that the catalogue's range excludes.
        InputError
            For classes that are no integers, or codes that no flag names.
        """
        if self.combine == "mosaic":
            return self.checked_values(self._of_tiles(rows, cols))
        layers = (part.read(rows, cols) for part in self.parts)
        values = reduce(_MERGE[self.combine], layers) if self.combine else next(layers)
        return self.checked_values(values / len(self.parts) if self.combine == "mean" else values)

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory while a window of this size is read; one part after the other is open."""
        sizes = [read_bytes(part, rows, columns) for part in self.parts[:LAYOUTS]]
        return SourceBytes(max(size.tile for size in sizes), max(size.process for size in sizes))

    def converted(self, values: Array) -> Array:
        """Values of a block of `lazy_array`, as `read` would give them."""
        return self.checked_values(self.parts[0].decode(values))

    def checked_values(self, values: Array) -> Array:
        """float64 stored numbers with NaN for missing, converted, checked and cast."""
        values = values * self.change.factor + self.change.offset
        if self.spec.kind == "categorical":
            return check_classes(values, self.spec)
        if self.checked:
            check_range(values, self.spec, self.origin, self.notes)
        if self.spec.kind == "circular":
            values = np.where(values == 360.0, 0.0, values)
        return values.astype(self.spec.dtype)

    def _of_tiles(self, rows: slice, cols: slice) -> Array:
        """The first valid value of the tiles in each pixel of a window; of a thousand tiles it touches four."""
        values = np.full((rows.stop - rows.start, cols.stop - cols.start), np.nan)
        for part, (top, left) in zip(self.parts, self.places):
            height, width = part.box.shape
            r0, r1 = max(rows.start, top), min(rows.stop, top + height)
            c0, c1 = max(cols.start, left), min(cols.stop, left + width)
            if r0 < r1 and c0 < c1:
                tile = part.read(slice(r0 - top, r1 - top), slice(c0 - left, c1 - left))
                window = values[r0 - rows.start : r1 - rows.start, c0 - cols.start : c1 - cols.start]
                np.copyto(window, tile, where=np.isnan(window))
        return values

    def __repr__(self) -> str:
        facts = {"source": self.origin, "grid": describe(self.box), "parts": len(self.parts), "combine": self.combine}
        return text_summary(f"Raster of {self.spec.name}", facts)

    @property
    def lazy_array(self) -> xr.DataArray | None:
        """The one dask-backed array behind this raster, where there is one."""
        array = self.parts[0].array
        return array if len(self.parts) == 1 and array is not None and is_lazy(array) else None

    def lazy(self, chunks: int = 512) -> xr.DataArray:
        """The raster on its own grid as a lazy DataArray.

        Parameters
        ----------
        chunks : int
            Cells a side.

        Returns
        -------
        DataArray (y, x), lazy; attributes of the catalogue
        """
        data = from_tiles(self.read, tuple(self.box.shape), chunks, self.spec.dtype)
        layer = xr.DataArray(data, dims=("y", "x"), coords=coordinates(self.box))
        return described(layer, self.spec, {"source": self.origin, **dict(self.notes)})


def read_raster(
    source: Any,
    spec: Variable,
    *,
    units: str | None = None,
    nodata: float | Sequence[float] | str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    variable: str | None = None,
    band: int | None = None,
    crs: Any = None,
    combine: Combine | None = None,
) -> Raster:
    """Open a raster source and check what can be checked without reading its pixels.

    Parameters
    ----------
    source : path, glob, URL, DataArray, Dataset, or a sequence of them
        GDAL file, NetCDF, Zarr group.
    spec : Variable
        What it is to become.
    units : str, optional
        Of the source: "K", "cm", "ft", "mm/month", "0.1 degC". By default the file's, else the catalogue's.
    nodata : float, sequence of float or "none", optional
        Stored numbers that mean missing, in place of the file's own nodata, fill value, mask and alpha; "none" for
        none, which also lifts the file's valid range.
    scale, offset : float, optional
        value = stored * scale + offset; each replaces the file's own.
    variable, band : str, int
        Which variable; which band or step (from 1).
    crs : str, optional
        Of a source without one, or in place of a wrong one.
    combine : {"mosaic", "mean", "sum", "min", "max"}, optional
        How several files, bands or steps become one raster. A mosaic takes the first valid value; mean and sum are
        missing where one of the parts is; min and max are over the valid ones.

    Returns
    -------
    Raster

    Raises
    ------
    MissingInputError
        For a file that is not there.
    GridError
        Without a CRS or evenly spaced pixels; parts that do not share one lattice.
    UnitsError
        For units that cannot be converted.
    InputError
        For several rasters without `combine`.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> from tpsoil.variables import variable
    >>> grid = plateau_grid(100_000)
    >>> feet = xr.DataArray(np.full(grid.shape, 1000.0), dims=("y", "x"), coords=coordinates(grid))
    >>> read_raster(feet, variable("elevation"), units="ft").read(slice(0, 1), slice(0, 2)).tolist()
    [[304.79998779296875, 304.79998779296875]]
    """
    name = spec.name
    if combine is not None:
        require_one_of(name, "combine", combine, get_args(Combine))
    several = combine is not None and combine != "mosaic"
    parts = find_parts(
        source, where=name, variable=variable, band=band, crs=crs, combined=several and band is None, prefer=name
    )
    if len(parts) > 1 and combine is None:
        shown = listed((part.name for part in parts), 3)
        raise InputError(
            f"{name}: {len(parts)} rasters ({shown}); state how they become one: combine='mosaic' for tiles, "
            "'mean', 'sum', 'min' or 'max' for years or months"
        )
    if several and spec.kind != "continuous":
        raise InputError(
            f"{name}: combine='{combine}' on {spec.kind} values; only 'mosaic' fits classes and directions"
        )
    box, places = _mosaic(parts, name) if combine == "mosaic" else _stack(parts, name)
    change, notes = _change(parts, spec, units, combine)
    parts, stated = unpacked(parts, scale, offset, nodata, name)
    notes |= stated
    if combine:
        notes["source_combined"] = f"{combine} of {len(parts)}"
    files = source_files(source, name)
    return Raster(
        spec=spec,
        box=box,
        parts=tuple(parts),
        places=places,
        combine=combine or "",
        change=change,
        checked=not isinstance(nodata, str),
        origin=_origin(source, parts),
        digest=digest_files(files) if files else "",
        notes=tuple(notes.items()),
    )


_MERGE: Final[dict[str, Callable[[Array, Array], Array]]] = {
    "mean": np.add,
    "sum": np.add,
    "min": np.fmin,
    "max": np.fmax,
}


def _stack(parts: Sequence[Part], name: str) -> tuple[GeoBox, tuple[tuple[int, int], ...]]:
    first = parts[0]
    for part in parts[1:]:
        if not same_grid(first.box, part.box):
            raise GridError(
                f"{name}: {part.name} lies on {describe(part.box)}, {first.name} on {describe(first.box)}; "
                "rasters to be combined need one grid, tiles need combine='mosaic'"
            )
    return first.box, ((0, 0),) * len(parts)


def _mosaic(parts: Sequence[Part], name: str) -> tuple[GeoBox, tuple[tuple[int, int], ...]]:
    """The lattice's box around all tiles, and each tile's first pixel in it."""
    first = parts[0].box
    corners = []
    for part in parts:
        to_cells = ~first.transform * part.box.transform
        column, row = to_cells * (0, 0)
        scaled = max(abs(to_cells.a - 1), abs(to_cells.e - 1), abs(to_cells.b), abs(to_cells.d)) * max(part.box.shape)
        off = max(abs(column - round(column)), abs(row - round(row)), scaled)
        if part.box.crs != first.crs or off > max(SNAP, 0.01):
            raise GridError(
                f"{name}: tile {part.name} lies on {describe(part.box)}, not on the lattice of {parts[0].name}, "
                f"{describe(first)}; warp the tiles to one lattice (gdalwarp -tap)"
            )
        corners.append((round(row), round(column)))
    top, left = min(r for r, _ in corners), min(c for _, c in corners)
    bottom = max(r + part.box.shape[0] for (r, _), part in zip(corners, parts))
    right = max(c + part.box.shape[1] for (_, c), part in zip(corners, parts))
    box = GeoBox((bottom - top, right - left), first.transform * Affine.translation(left, top), first.crs)
    return box, tuple((r - top, c - left) for r, c in corners)


def _change(
    parts: Sequence[Part], spec: Variable, units: str | None, combine: Combine | None
) -> tuple[Conversion, dict[str, str]]:
    name = spec.name
    if spec.kind == "categorical":
        if units not in (None, "1", ""):
            raise UnitsError(f"{name}: units='{units}' on class codes; leave units out")
        return Conversion(1.0, 0.0), {}
    stated = {part.units for part in parts}
    if units is None and len(stated) > 1:
        raise UnitsError(f"{name}: the rasters state different units {sorted(stated)}; convert them first")
    own = next(iter(stated))
    source_unit = units if units is not None else own
    _require_oxide_in_units(parts[0].name, source_unit, spec)
    if not source_unit and units is None:
        return Conversion(1.0, 0.0), {"source_units": f"{spec.units} (assumed: neither declared nor in the file)"}
    units_convertible = convertible(source_unit, spec.units, period=spec.period, substance=spec.substance)
    if units is None and not units_convertible:
        raise UnitsError(
            f"{name}: {parts[0].name} states units '{own}', expected '{spec.units}' or a unit that converts to it; "
            f"{pass_option('units')} to name them ({option('units', spec.units)} if the file's word is only another "
            "spelling)"
        )
    change = conversion(source_unit, spec.units, where=name, period=spec.period, substance=spec.substance)
    if combine == "sum" and spec.period:
        change = _of_sum(change, source_unit, spec, len(parts))
    return change, {"source_units": f"{source_unit} ({'stated by the file' if units is None else 'declared'})"}


def _require_oxide_in_units(source: str, source_unit: str, spec: Variable) -> None:
    """Reject a content whose source is named for an oxide and whose unit does not name it."""
    formula = formula_in(PurePath(source).name) if spec.substance else ""
    if not formula or formula == spec.substance:
        return
    if source_unit and not (convertible(source_unit, spec.units) and not read_unit(source_unit).substance):
        return  # the unit names a substance, or is rejected for itself
    raise UnitsError(
        f"{spec.name}: {source} is named for {formula}, its units '{source_unit}' are taken as {spec.substance}; pass "
        f"units='{source_unit or '%'} {formula}' to convert it, or units='{source_unit or '%'} as {spec.substance}' if "
        f"it is {spec.substance} already"
    )


def _of_sum(change: Conversion, source_unit: str, spec: Variable, count: int) -> Conversion:
    """Conversion of rates whose sum is taken: twelve monthly rates sum to the year, no others do."""
    rate = read_unit(source_unit).per
    if not rate:
        return change
    if (rate, spec.period, count) == ("month", "year", 12):
        return Conversion(change.factor / 12, change.offset)
    raise UnitsError(
        f"{spec.name}: the sum of {count} rates in '{source_unit}' is not the sum of a {spec.period}; use "
        "combine='mean', or twelve months"
    )


def _origin(source: Any, parts: Sequence[Part]) -> str:
    names = dict.fromkeys(PurePath(redacted(part.path or part.name)).name for part in parts)  # a URL's signature
    return listed(names, 4)
