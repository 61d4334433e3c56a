"""One raster with a place, read by window: a band of a GDAL file, or a 2-D labelled array."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from tpsoil.errors import InputError

from .checks import mask

Array = npt.NDArray[Any]

_FILTERS: Final = threading.Lock()


@dataclass(frozen=True)
class Part:
    """A 2-D raster with a place, read by window.

    Parameters
    ----------
    name : str
        For messages.
    box : GeoBox
    nodata : tuple of float
        Stored numbers that stand for missing; NaN always does.
    scale, offset : float
        value = stored * scale + offset.
    units : str
        As the file declares; "" where it does not.
    path, band : str, int
        Of a GDAL file.
    array : DataArray (y, x), optional
        In place of a file.
    masked : bool
        Whether the mask band or alpha band of a GDAL file marks missing pixels.
    valid : (float, float)
        Stored numbers outside are missing: `valid_range` of a NetCDF or Zarr file.
    unsigned : bool
        Whether stored integers are to be read as unsigned: `_Unsigned` of a NetCDF file.
    unpacked : bool
        Whether an array of the caller's was scaled by xarray when its file was opened.
    problem : str
        What is known to be wrong with the file without reading it, such as chunks that are not stored; "" if nothing.
    """

    name: str
    box: GeoBox
    nodata: tuple[float, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    units: str = ""
    path: str = ""
    band: int = 1
    array: xr.DataArray | None = field(default=None, repr=False, compare=False)
    masked: bool = False
    valid: tuple[float, float] = (-np.inf, np.inf)
    unsigned: bool = False
    unpacked: bool = False
    problem: str = ""

    def read(self, rows: slice, cols: slice) -> Array:
        """Values of a window inside the raster.

        Parameters
        ----------
        rows, cols : slice
            Start and stop within the raster.

        Returns
        -------
        ndarray (rows, cols), float64
            Scaled, in the source's own unit; NaN where missing.

        Raises
        ------
        InputError
            For bytes that cannot be read: a file that ends too early, a chunk that is damaged.
        """
        try:
            if self.array is not None:
                return self.decode(np.asarray(self.array[rows, cols].values))
            with open_raster(self.path) as file:
                window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
                values = self.decode(np.asarray(file.read(self.band, window=window)))
                if self.masked:
                    values[file.read_masks(self.band, window=window) == 0] = np.nan
                return values
        except InputError:
            raise
        except Exception as error:  # what a broken file raises depends on its format and its codec
            if self.array is not None and not self.path:
                raise  # an array of the caller's: its own error is the best one
            raise InputError(
                f"{self.name}: rows {rows.start}..{rows.stop}, columns {cols.start}..{cols.stop} cannot be read: "
                f"{str(error) or type(error).__name__}; is the file complete? fetch or write it again"
            ) from error

    def decode(self, stored: Array) -> Array:
        """Stored numbers as float64 values, NaN where missing."""
        if self.unsigned and stored.dtype.kind == "i":
            stored = stored.view(f"u{stored.dtype.itemsize}")
        values = mask(stored, self.nodata)
        if np.isfinite(self.valid).any():
            with np.errstate(invalid="ignore"):
                values[(values < self.valid[0]) | (values > self.valid[1])] = np.nan
        return values * self.scale + self.offset


def open_raster(path: str) -> Any:
    """A GDAL file, open; one without a place opens too, without rasterio's warning."""
    # `catch_warnings` swaps the filters of the whole process: two threads of ours that interleave in it would leave the
    # wrong ones behind.
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)
