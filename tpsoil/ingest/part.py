"""One raster with a place, read by window: a band of a GDAL file, or a 2-D labelled array."""

from __future__ import annotations

import math
import threading
import uuid
import warnings
import weakref
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import rasterio
import xarray as xr
from odc.geo.geobox import GeoBox
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from tpsoil.errors import InputError
from tpsoil.waiting import limit_remote_reads

from .checks import mask
from .decoded import CHUNKS, MIN_CHUNK_BYTES

Array = npt.NDArray[Any]

_FILTERS: Final = threading.Lock()


class FileArray:
    """A variable of a NetCDF file or Zarr group: read by window, never completely.

    dask names a task by its arguments' contents, for which it would read all of a lazily opened variable; this one
    has a name of its own for each opening.
    """

    def __init__(self, variable: xr.DataArray) -> None:
        self._variable = variable
        self.name = str(variable.name)
        self._opening = uuid.uuid4().hex
        weakref.finalize(self, CHUNKS.discard, self._opening)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "tpsoil.FileArray", self._opening

    @property
    def layout(self) -> tuple[int, tuple[int, ...]]:
        """Bytes of a number, and the sizes of the chunks they are stored in; no sizes where they are not chunked."""
        encoding = self._variable.encoding
        sizes = encoding.get("chunksizes") or encoding.get("chunks") or ()
        return self._variable.dtype.itemsize, tuple(int(size) for size in sizes)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self._variable.shape
        return int(height), int(width)

    @property
    def has_large_chunks(self) -> bool:
        """Whether its chunks are decoded once a process and retained, see `decoded`."""
        itemsize, sizes = self.layout
        return len(sizes) > 1 and itemsize * math.prod(sizes) >= MIN_CHUNK_BYTES

    def read(self, rows: slice, cols: slice) -> Array:
        """Stored numbers of a window."""
        if not self.has_large_chunks:
            return np.asarray(self._variable[rows, cols].values)
        down, across = self.layout[1][-2:]
        window = np.empty((rows.stop - rows.start, cols.stop - cols.start), self._variable.dtype)
        for i in range(rows.start // down, -(-rows.stop // down)):
            for j in range(cols.start // across, -(-cols.stop // across)):
                chunk = CHUNKS.get((self._opening, i, j), partial(self._chunk, i, j))
                top, left = max(rows.start, i * down), max(cols.start, j * across)
                bottom, right = min(rows.stop, (i + 1) * down), min(cols.stop, (j + 1) * across)
                part = chunk[top - i * down : bottom - i * down, left - j * across : right - j * across]
                window[top - rows.start : bottom - rows.start, left - cols.start : right - cols.start] = part
        return window

    def _chunk(self, i: int, j: int) -> Array:
        down, across = self.layout[1][-2:]
        rows, cols = slice(i * down, (i + 1) * down), slice(j * across, (j + 1) * across)
        # Of a chunk with several steps only the step of this raster is retained.
        return np.ascontiguousarray(self._variable[rows, cols].values)


ALL_NUMBERS: Final = (-np.inf, np.inf)


@dataclass(frozen=True)
class MissingRule:
    """Which stored numbers of a file mean missing.

    Parameters
    ----------
    nodata : tuple of float
        These; NaN always does.
    valid : (float, float)
        Those outside: `valid_range`, `valid_min` and `valid_max` of a NetCDF or Zarr file.
    unsigned : bool
        Whether stored integers are to be read as unsigned: `_Unsigned` of a NetCDF file.
    """

    nodata: tuple[float, ...] = ()
    valid: tuple[float, float] = ALL_NUMBERS
    unsigned: bool = False

    @property
    def range_note(self) -> str:
        """The valid range, for the attributes of a layer; "" without one."""
        low, high = self.valid
        return f"{low:g}, {high:g}: stored numbers outside are missing" if self.valid != ALL_NUMBERS else ""

    def apply(self, stored: Array) -> Array:
        """Stored numbers as float64, NaN where missing."""
        if self.unsigned and stored.dtype.kind == "i":
            stored = stored.view(f"u{stored.dtype.itemsize}")
        values = mask(stored, self.nodata)
        if self.valid != ALL_NUMBERS:
            with np.errstate(invalid="ignore"):
                values[(values < self.valid[0]) | (values > self.valid[1])] = np.nan
        return values


@dataclass(frozen=True)
class Part:
    """A 2-D raster with a place, read by window.

    Parameters
    ----------
    name : str
        For messages.
    box : GeoBox
    missing : MissingRule
        Which stored numbers mean missing.
    scale, offset : float
        value = stored * scale + offset.
    units : str
        As the file declares; "" where it does not.
    path, band : str, int
        Of a GDAL file.
    array : DataArray (y, x), optional
        The caller's, in place of a file.
    stored : FileArray, optional
        Of a NetCDF file or Zarr group.
    masked : bool
        Whether the mask band or alpha band of a GDAL file marks missing pixels.
    unpacked : bool
        Whether an array of the caller's was scaled by xarray when its file was opened.
    problem : str
        What is known to be wrong with the file without reading it, such as chunks that are not stored; "" if nothing.
    """

    name: str
    box: GeoBox
    missing: MissingRule = MissingRule()
    scale: float = 1.0
    offset: float = 0.0
    units: str = ""
    path: str = ""
    band: int = 1
    array: xr.DataArray | None = field(default=None, repr=False, compare=False)
    stored: FileArray | None = field(default=None, repr=False, compare=False)
    masked: bool = False
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
        if self.array is not None:
            return self.decode(np.asarray(self.array[rows, cols].values))
        try:
            if self.stored is not None:
                return self.decode(self.stored.read(rows, cols))
            with open_raster(self.path) as file:
                window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
                values = self.decode(np.asarray(file.read(self.band, window=window)))
                if self.masked:
                    values[file.read_masks(self.band, window=window) == 0] = np.nan
                return values
        except Exception as error:  # what a broken file raises depends on its format and its codec
            raise InputError(
                f"{self.name}: rows {rows.start}..{rows.stop}, columns {cols.start}..{cols.stop} cannot be read: "
                f"{str(error) or type(error).__name__}; is the file complete? fetch or write it again"
            ) from error

    def decode(self, stored: Array) -> Array:
        """Stored numbers as float64 values, NaN where missing."""
        return self.missing.apply(stored) * self.scale + self.offset


def open_raster(path: str) -> Any:
    """A GDAL file, open; one without a place opens too, without rasterio's warning."""
    # `catch_warnings` swaps the filters of the whole process: two threads of ours that interleave in it would leave the
    # wrong ones behind.
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        if "://" in path:
            limit_remote_reads()
        return rasterio.open(path)
