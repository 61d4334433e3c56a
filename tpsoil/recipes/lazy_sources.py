"""Entries of the catalogue as rasters whose values are read when a window of them is computed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from tpsoil.ingest import Raster, read_raster
from tpsoil.ingest.part import Part, open_raster
from tpsoil.sources import Cache, Plan
from tpsoil.sources.plans import read
from tpsoil.sources.regions import Piece, empty_window, read_window

from .open_data import read_options


def lazy_raster(one: Plan, cache: Cache) -> Raster:
    """The windows of a plan as one raster; only the windows of windows that are computed are fetched.

    Parameters
    ----------
    one : Plan
    cache : Cache

    Returns
    -------
    Raster
        Its values equal those of the fetched windows bit for bit.

    Raises
    ------
    UnitsError, GridError, InputError
        As `read_raster`.
    """
    options = read_options(one)
    spec = one.choice.entry.described()
    for key in ("kind", "flags"):
        options.pop(key, None)
    windows = [piece for piece in one.pieces if isinstance(piece, Piece)]
    if len(windows) < len(one.pieces):  # the answer of a service is read as a whole
        return read_raster([str(read(piece, cache)) for piece in one.pieces], spec, **options)
    raster = read_raster([str(empty_window(piece, cache)) for piece in windows], spec, **options)
    parts = tuple(
        RemotePart(**{field.name: getattr(part, field.name) for field in fields(Part)}, piece=piece, cache=cache)
        for part, piece in zip(raster.parts, windows, strict=True)
    )
    return replace(raster, parts=parts)


@dataclass(frozen=True)
class RemotePart(Part):
    """A window of a remote raster, fetched by the windows of it that are read.

    Parameters
    ----------
    piece : Piece
        The whole window.
    cache : Cache
    """

    piece: Piece | None = None
    cache: Cache | None = None

    def read(self, rows: slice, cols: slice) -> npt.NDArray[Any]:
        """Values of a window inside the part, as `Part.read` gives them.

        Raises
        ------
        WorkError, AccessError, MissingInputError, SourceChangedError
        """
        if self.piece is None or self.cache is None:
            return super().read(rows, cols)
        outer = self.piece.window
        inner = Window(
            outer.col_off + cols.start, outer.row_off + rows.start, cols.stop - cols.start, rows.stop - rows.start
        )
        with open_raster(str(read_window(replace(self.piece, window=inner), self.cache))) as file:
            values = self.decode(np.asarray(file.read(self.band)))
            if self.masked:
                values[file.read_masks(self.band) == 0] = np.nan
        return values
