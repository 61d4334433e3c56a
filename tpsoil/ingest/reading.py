"""Memory that reading a window of a raster takes: files are decoded by block, strip or chunk, never by pixel."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tpsoil.stage import SourceBytes

from .decoded import retained_bytes
from .labelled import is_zarr
from .part import Part, open_raster

DECODED_COPIES: Final = 3
"""A chunk of a labelled file while it is read: compressed, decompressed, and with its bytes in order (measured)."""
CHUNK_CACHE_BYTES: Final = 64 * 2**20
"""Default of the NetCDF library for the chunks that an open variable retains."""
WINDOW_BYTES: Final = 48
"""For each pixel of the window: the stored number, float64 values with their temporary arrays, and the mask."""


def read_bytes(part: Part, rows: int, columns: int) -> SourceBytes:
    """Peak of memory while a window is read.

    Parameters
    ----------
    part : Part
        Its layout is read, none of its pixels.
    rows, columns : int
        Size of the window, pixels of the part.

    Returns
    -------
    SourceBytes
        The blocks, strips or chunks that a window of this size can touch, decoded, and the window itself.

    Notes
    -----
    GDAL retains the blocks of an open file, of all bands where they are interleaved by pixel, and the mask's. HDF5
    and Zarr decode a complete chunk for any part of it, HDF5 one at a time in a process; large ones are retained, see
    `decoded`.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> from tpsoil.ingest.parts import find_parts
    >>> grid = plateau_grid(100_000)
    >>> array = xr.DataArray(np.zeros(grid.shape), dims=("y", "x"), coords=coordinates(grid))
    >>> read_bytes(find_parts(array, where="elevation")[0], 10, 10)
    SourceBytes(tile=4800, process=0)
    """
    height, width = (int(size) for size in part.box.shape)
    rows, columns = min(rows, height), min(columns, width)
    window = rows * columns * WINDOW_BYTES
    if part.array is not None:
        return SourceBytes(window)
    if part.stored is not None:
        itemsize, sizes = part.stored.layout
        if not sizes:
            return SourceBytes(window)
        chunk = itemsize * math.prod(sizes)
        decoding = DECODED_COPIES * chunk
        if part.stored.has_large_chunks:
            retained = retained_bytes(itemsize * sizes[-2] * sizes[-1], itemsize * height * width)
        else:
            retained = min(chunk * _touched(rows, sizes[-2], height) * _touched(columns, sizes[-1], width),
                           CHUNK_CACHE_BYTES)  # fmt: skip
        if is_zarr(part.path):
            return SourceBytes(window + decoding, retained)
        return SourceBytes(window, decoding + retained)
    with open_raster(part.path) as file:
        down, across = file.block_shapes[part.band - 1]
        together = file.count if file.profile.get("interleave") == "pixel" else 1
        itemsize = together * max(np.dtype(name).itemsize for name in file.dtypes) + part.masked
    block = int(itemsize * down * across)
    # Each block once in GDAL's cache, and one more while it is decompressed.
    return SourceBytes(window + block * (_touched(rows, down, height) * _touched(columns, across, width) + 1))


def _touched(window: int, block: int, size: int) -> int:
    """Blocks along an axis that a window can touch wherever it begins."""
    return int(min(-(-size // block), (window + block - 2) // block + 1))
