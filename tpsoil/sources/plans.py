"""What of an entry a box needs, and its reading: windows of rasters, and answers of services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rasterio.errors import RasterioError

from tpsoil.errors import GridError, InputError, MissingInputError, WorkError

from .addresses import shown, tile_corners
from .cache import Cache
from .catalogue import GRIDDED, Choice
from .regions import Box, Piece, opened, read_window, require_as_stated, window_of
from .stac import assets
from .subsets import Subset, plan_subset, read_subset


@dataclass(frozen=True)
class Plan:
    """What is to be read of an entry.

    Parameters
    ----------
    choice : Choice
    pieces : tuple of Piece or Subset
    absent : tuple of str
        Tiles that the source does not have.
    """

    choice: Choice
    pieces: tuple[Piece | Subset, ...]
    absent: tuple[str, ...]

    @property
    def expected_bytes(self) -> int:
        """To read at most; less where the cache has some."""
        return sum(piece.expected_bytes for piece in self.pieces)

    @property
    def exact(self) -> bool:
        """Whether `expected_bytes` are the stored sizes of the blocks, and not an estimate."""
        return all(piece.exact for piece in self.pieces)


def plan(choice: Choice, box: Box, resolution_m: float, cache: Cache) -> Plan:
    """The windows of an entry's files that a box needs; reads headers only.

    Parameters
    ----------
    choice : Choice
    box : (west, south, east, north)
        Degrees.
    resolution_m : float
        Of the target; the coarsest overview that is not coarser is read.
    cache : Cache

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        For a file that is not as the entry states: CRS, scale, offset, nodata; for an entry that makes no layer.
    GridError
        Where the box lies outside the source.
    MissingInputError, AccessError, WorkError
    """
    entry = choice.entry
    if entry.driver not in GRIDDED:
        raise InputError(
            f"{entry.name}: is a {entry.driver} file and no layer; name it in a recipe, such as "
            f'[mask] lakes = "{choice.text}"'
        )
    if entry.driver in {"netcdf", "zarr"}:
        return Plan(choice, (plan_subset(choice, box, cache),), ())
    pieces: list[Piece] = []
    absent: list[str] = []
    for url in _addresses(choice, box, cache):
        try:
            remote = cache.remote(url)
        except MissingInputError:
            if not entry.absent_tiles:
                raise
            absent.append(shown(url))
            continue
        try:
            with opened(cache, remote) as source:
                require_as_stated(entry, source, shown(url))
                piece = window_of(remote, source, box, resolution_m, tiled=entry.driver in {"tiles", "stac"})
        except RasterioError as error:
            cache.forget(url)
            raise WorkError(f"{shown(url)}: is no raster that GDAL reads ({error})") from error
        if piece is not None:
            pieces.append(piece)
    if not pieces:
        reason = f"the source has no tile there ({entry.absent_tiles})" if absent else "it lies outside the source"
        raise GridError(f"{entry.name}: no data in the box {' '.join(f'{v:g}' for v in box)}: {reason}")
    return Plan(choice, tuple(pieces), tuple(absent))


def read(piece: Piece | Subset, cache: Cache, progress: Callable[[int], None] | None = None) -> Path:
    """A window, or the answer of a service, as a local file; what is there already is used.

    Parameters
    ----------
    piece : Piece or Subset
    cache : Cache
    progress : callable, optional
        `progress(n)` after n more bytes were read over the network.

    Raises
    ------
    WorkError
        For bytes that do not decode; they are read once more first.
    MissingInputError, AccessError
    """
    if isinstance(piece, Subset):
        return read_subset(piece, cache, progress)
    return read_window(piece, cache, progress)


def _addresses(choice: Choice, box: Box, cache: Cache) -> list[str]:
    entry = choice.entry
    if entry.driver == "stac":
        return assets(choice, box, cache)
    corners = tile_corners(box, entry.tile_degrees) if entry.driver == "tiles" else [(0, 0)]
    addresses = []
    for latitude, longitude in corners:
        url = choice.url(latitude=latitude, longitude=longitude)
        mirrors = [choice.url(latitude=latitude, longitude=longitude, base=base) for base in entry.mirrors]
        cache.client.add_mirrors(url, mirrors)
        addresses.append(url)
    return addresses
