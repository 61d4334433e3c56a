"""Windows of remote rasters as local GeoTIFFs: only the blocks of a box, at the overview that fits, checked.

The stored values, type, nodata and cells of a window are those of the source, so that a layer computed from it equals
one computed from the complete file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from tpsoil.errors import InputError, MissingInputError, TpsoilError, WorkError

from .addresses import shown
from .cache import Cache, completed
from .catalogue import Entry
from .transfer import Remote

Box = tuple[float, float, float, float]

MARGIN_CELLS: Final = 3
"""Around a window, at its overview: what bilinear resampling and the average of a rotated cell reach for."""
METRES_A_DEGREE: Final = 111_320.0
MOST_BLOCKS: Final = 20_000
"""Blocks of a window whose sizes are added up; of a larger one they are estimated."""
STRIP_CELLS: Final = 4_000_000
ASSUMED_SHARE: Final = 0.5
"""Stored bytes by bytes of the values where a file does not show it (a VRT)."""
GDAL: Final = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif"}


@dataclass(frozen=True)
class Piece:
    """A window of one remote file.

    Parameters
    ----------
    remote : Remote
    window : Window
        Columns and rows at the overview.
    overview : int
        Factor; 1 is the file itself.
    expected_bytes : int
        To read, by the file's own compression.
    exact : bool
        Whether these are the stored sizes of the window's blocks, and not an estimate.
    """

    remote: Remote
    window: Window
    overview: int
    expected_bytes: int
    exact: bool = False

    @property
    def url(self) -> str:
        """Address of the file, as it is recorded."""
        return shown(self.remote.url)

    @property
    def key(self) -> str:
        """Name of the window in a lock file."""
        w = self.window
        return f"{self.overview}:{int(w.col_off)},{int(w.row_off)},{int(w.width)},{int(w.height)}"


def require_box(box: Box) -> Box:
    """A box in degrees: west, south, east, north.

    Raises
    ------
    InputError
        For one in another order, across the date line, or beyond a pole.

    Examples
    --------
    >>> require_box((88, 29, 92, 32))
    (88.0, 29.0, 92.0, 32.0)
    """
    if len(box) != 4 or not all(math.isfinite(float(value)) for value in box):
        raise InputError(f"bbox: {list(box)}, expected four numbers: west south east north, in degrees")
    west, south, east, north = (float(value) for value in box)
    if not (-90 <= south <= 90 and -90 <= north <= 90):
        raise InputError(
            f"bbox: latitudes {south:g} and {north:g}, expected -90 to 90; the order is west south east north"
        )
    if not (-180 <= west <= 180 and -180 <= east <= 180):
        raise InputError(f"bbox: longitudes {west:g} and {east:g}, expected -180 to 180")
    if south >= north:
        raise InputError(f"bbox: south {south:g} is not below north {north:g}; the order is west south east north")
    if west > east:
        raise InputError(
            f"bbox: west {west:g} is east of {east:g}; a box across the date line is fetched as two, one on each side"
        )
    if west == east:
        raise InputError(f"bbox: west and east are both {west:g}; the box is empty")
    return west, south, east, north


def read_window(piece: Piece, cache: Cache, progress: Callable[[int], None] | None = None) -> Path:
    """A window as a local GeoTIFF; the existing one if the source has not changed.

    Parameters
    ----------
    piece : Piece
    cache : Cache
    progress : callable, optional
        `progress(n)` after n more bytes were read over the network.

    Returns
    -------
    Path

    Raises
    ------
    WorkError
        For bytes that do not decode; they are read once more first.

    Notes
    -----
    Beside the window stands a list of all files that it was read from, such as the tiles of a VRT: it is read again
    where one of them is another one now.
    """
    with cache.lock:
        return _read_window(piece, cache, progress)


def _read_window(piece: Piece, cache: Cache, progress: Callable[[int], None] | None) -> Path:
    target = _place_of(piece, cache, ".tif")
    if target.exists() and unchanged(target, cache):
        return target
    cache.trace = {piece.url}
    try:
        with completed(target) as partial:
            try:
                _copy(piece, cache, partial, progress)
            except RasterioError:
                # Bytes that came broken decode to nothing: read once more from the source.
                remote = piece.remote
                cache.forget(remote.url)
                cache.remote(remote.url)
                _copy(piece, cache, partial, progress)
            record_sources(target, cache)
    except RasterioError as error:
        raise WorkError(
            f"{shown(piece.remote.url)}: its bytes do not decode ({error}); try again, or another mirror"
        ) from error
    return target


def _place_of(piece: Piece, cache: Cache, suffix: str) -> Path:
    return cache.window(Path(piece.url).stem, f"{piece.url}|{piece.remote.version}|{piece.key}", suffix)


def empty_window(piece: Piece, cache: Cache) -> Path:
    """A window as a local GeoTIFF with the place, type, scale and nodata of its source, and no values."""
    target = _place_of(piece, cache, "-empty.tif")
    if target.exists():
        return target
    with (
        completed(target) as partial,
        opened(cache, piece.remote, piece.overview) as source,
        rasterio.open(partial, "w", **_profile(source, piece.window), SPARSE_OK=True) as local,
    ):
        local.scales, local.offsets = source.scales[:1], source.offsets[:1]
    return target


def record_sources(target: Path, cache: Cache) -> None:
    """List the files that were requested since `cache.trace` was emptied, beside a file that is made of them."""
    used = [cache.used[name] for name in sorted(cache.trace & set(cache.used))]
    listed = [[one.url if one.etag.startswith("sha256:") else shown(one.url), one.version] for one in used]
    with completed(target.with_name(f"{target.name}.json")) as partial:
        partial.write_text(json.dumps(listed), encoding="utf-8")


def unchanged(target: Path, cache: Cache) -> bool:
    """Whether the files that a file was made of are still what they were; servers may be down."""
    try:
        listed = json.loads(target.with_name(f"{target.name}.json").read_bytes())
        return all(cache.remote(str(url)).version == version for url, version in listed)
    except (OSError, ValueError, MissingInputError):
        return False


def values_digest(path: Path) -> str:
    """SHA-256 of a window's stored values, which does not depend on how they are compressed; else of the bytes."""
    if path.suffix != ".tif":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    with rasterio.open(path) as file:
        for _, block in file.block_windows(1):
            digest.update(file.read(1, window=block).tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def opened(cache: Cache, remote: Remote, overview: int = 1) -> Iterator[Any]:
    """A remote raster, read through the cache; also the files that a VRT names."""

    def opener(path: str, mode: str = "rb", **_: Any) -> Any:
        if "://" not in path:  # rasterio passes a path of its own to test whether this can open files
            raise FileNotFoundError(path)
        try:
            return cache.open(path)
        except TpsoilError as error:
            cache.failure = error
            raise FileNotFoundError(path) from None

    options = {} if overview == 1 else {"OVERVIEW_LEVEL": _level(cache, remote, overview)}
    cache.failure = None
    with rasterio.Env(**GDAL):
        try:
            with rasterio.open(remote.url, opener=opener, **options) as source:
                yield source
        except RasterioError as error:
            if cache.failure is not None:
                raise cache.failure from error
            raise


def require_as_stated(entry: Entry, source: Any, where: str) -> None:
    """The file's own CRS, scale, offset and nodata are what the entry states, or an error.

    Raises
    ------
    InputError
    """
    faults = []
    if source.crs is None:
        faults.append("it has no CRS")
    elif entry.crs.startswith("EPSG:") and source.crs != rasterio.crs.CRS.from_string(entry.crs):
        faults.append(f"its CRS is {source.crs.to_string()[:60]}, the entry states {entry.crs}")
    for name, came, expected in (
        ("scale", source.scales[0], entry.stated_scale if entry.stated_scale is not None else entry.scale),
        ("offset", source.offsets[0], entry.stated_offset if entry.stated_offset is not None else entry.offset),
    ):
        unstated = came == (1.0 if name == "scale" else 0.0)
        declared = (entry.stated_scale if name == "scale" else entry.stated_offset) is not None
        if not math.isclose(came, expected, rel_tol=1e-6) and (declared or not unstated):
            faults.append(f"its {name} is {came:g}, the entry states {expected:g}")
    if source.nodata is not None and entry.nodata is not None:
        both_nan = math.isnan(source.nodata) and math.isnan(entry.nodata)
        if not both_nan and not math.isclose(source.nodata, entry.nodata, rel_tol=1e-6):
            faults.append(f"its nodata is {source.nodata:g}, the entry states {entry.nodata:g}")
    if faults:
        raise InputError(f"{where}: {'; '.join(faults)}; correct the entry {entry.name} in a catalogue of your own")


def window_of(remote: Remote, source: Any, box: Box, resolution_m: float, *, tiled: bool) -> Piece | None:
    """The window of an open raster that a box needs; None where they do not touch.

    Parameters
    ----------
    remote : Remote
    source : DatasetReader
    box : (west, south, east, north)
    resolution_m : float
        Of the target.
    tiled : bool
        Whether it is one tile of several: they share one lattice only at overviews that divide a tile's size.
    """
    left, bottom, right, top = transform_bounds("EPSG:4326", source.crs, *box, densify_pts=41)
    transform = source.transform
    overview = _fitting(source, resolution_m, tiled=tiled)
    columns = sorted(((left - transform.c) / transform.a, (right - transform.c) / transform.a))
    rows = sorted(((top - transform.f) / transform.e, (bottom - transform.f) / transform.e))
    width, height = -(-source.width // overview), -(-source.height // overview)
    first = [max(0, math.floor(low / overview) - MARGIN_CELLS) for low in (columns[0], rows[0])]
    last = [
        min(size, math.ceil(high / overview) + MARGIN_CELLS) for size, high in ((width, columns[1]), (height, rows[1]))
    ]
    if last[0] <= first[0] or last[1] <= first[1] or columns[1] <= 0 or rows[1] <= 0:
        return None
    if columns[0] >= source.width or rows[0] >= source.height:
        return None
    window = Window(first[0], first[1], last[0] - first[0], last[1] - first[1])
    stored = _stored_bytes(source, window, overview)
    if stored is not None:
        return Piece(remote, window, overview, stored, exact=True)
    item = np.dtype(source.dtypes[0]).itemsize
    share = ASSUMED_SHARE
    if source.driver == "GTiff":
        factors = [1, *source.overviews(1)]
        share = min(1.0, remote.length / (item * source.width * source.height * sum(f**-2.0 for f in factors)))
    return Piece(remote, window, overview, int(share * item * window.width * window.height))


def _fitting(source: Any, resolution_m: float, *, tiled: bool) -> int:
    """The largest overview factor whose cells are not wider than the target's."""
    metres = METRES_A_DEGREE if source.crs.is_geographic else 1.0
    cell = abs(source.transform.e) * metres
    fitting = [factor for factor in source.overviews(1) if cell * factor <= resolution_m * (1 + 1e-9)]
    if tiled:
        fitting = [factor for factor in fitting if source.width % factor == 0 and source.height % factor == 0]
    return max(fitting, default=1)


def _stored_bytes(source: Any, window: Window, overview: int) -> int | None:
    """Compressed bytes of the blocks that a window touches, as a GeoTIFF lists them; None where it does not."""
    if source.driver != "GTiff":
        return None
    level = None if overview == 1 else list(source.overviews(1)).index(overview)
    down, across = source.block_shapes[0]  # overviews of a COG have the same blocks
    rows = range(int(window.row_off) // down, -(-int(window.row_off + window.height) // down))
    columns = range(int(window.col_off) // across, -(-int(window.col_off + window.width) // across))
    if len(rows) * len(columns) > MOST_BLOCKS:
        return None
    sizes = [
        source.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=1, ovr=level)
        for row in rows
        for column in columns
    ]
    return sum(int(size) for size in sizes if size is not None) if any(sizes) else None


def _level(cache: Cache, remote: Remote, overview: int) -> int:
    with opened(cache, remote) as source:
        return int(list(source.overviews(1)).index(overview))


def _profile(source: Any, window: Window) -> dict[str, Any]:
    return {
        "driver": "GTiff", "width": int(window.width), "height": int(window.height), "count": 1,
        "dtype": source.dtypes[0], "crs": source.crs, "transform": source.window_transform(window),
        "nodata": source.nodata, "compress": "deflate", "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip


def _copy(piece: Piece, cache: Cache, target: Path, progress: Callable[[int], None] | None) -> None:
    window = piece.window
    with opened(cache, piece.remote, piece.overview) as source:
        before = cache.client.bytes_read
        with rasterio.open(target, "w", **_profile(source, window)) as local:
            local.scales, local.offsets = source.scales[:1], source.offsets[:1]
            block = source.block_shapes[0][0]
            rows = max(block, STRIP_CELLS // max(1, int(window.width)) // block * block)
            top = 0
            while top < window.height:
                # Strips end at the source's own blocks, so that no block is decoded twice.
                end = min(int(window.height), (int(window.row_off) + top) // rows * rows + rows - int(window.row_off))
                part = Window(window.col_off, window.row_off + top, window.width, end - top)
                local.write(source.read(1, window=part), 1, window=Window(0, top, window.width, end - top))
                top = end
                if progress is not None:
                    progress(cache.client.bytes_read - before)
                    before = cache.client.bytes_read
