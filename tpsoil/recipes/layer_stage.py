"""`[[layers]]`: files brought onto the grid, tile by tile."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

from odc.geo.geobox import GeoBox
from pydantic import Field, model_validator

from tpsoil.cube import cube_info
from tpsoil.cube.alignment import Alignment, aligned_reader, source_bytes_of
from tpsoil.cube.coverage import coverage_note
from tpsoil.engine.places import is_url
from tpsoil.errors import InputError, MissingInputError
from tpsoil.ingest.dependencies import behind, forget_remote
from tpsoil.ingest.parts import find_parts
from tpsoil.ingest.rasters import Raster, read_raster
from tpsoil.redaction import public_name
from tpsoil.stage import CONTENT, Array, SourceBytes, Stage, Window
from tpsoil.variables import Kind, Variable, describe_layer

from .assembly import Assembly
from .section import FilePath, Section

READING: Final = ("nodata", "scale", "offset", "variable", "band", "crs", "combine")
"""Options of `[[layers]]` on how a source is read, beside its units; an entry of the catalogue gives them."""
Resampling = Literal["nearest", "bilinear", "average", "mode"]

WindowReader: TypeAlias = tuple[Callable[[slice, slice], Array], Mapping[str, Any]]
"""Reads a window of the grid; and attributes of the layer."""
BYTES_PER_CELL: Final = 96.0
"""Measured: projected coordinates, the source's window in float64, and the result. A source window is read in parts of
at most 4 million pixels for any tile."""


Reader = TypeVar("Reader")


class Readers(Generic[Reader]):
    """The most recently used readers, one for each source.

    Parameters
    ----------
    limit : int
        Maximum number of open readers.

    Examples
    --------
    >>> readers = Readers[str](limit=2)
    >>> readers.get("dem.tif", "digest 1", lambda: "first"), readers.get("dem.tif", "digest 1", lambda: "second")
    ('first', 'first')
    >>> readers.get("dem.tif", "digest 2", lambda: "second")
    'second'
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.RLock()
        self._known: dict[Hashable, tuple[str, Reader]] = {}

    def get(self, source: Hashable, content: str, opened: Callable[[], Reader]) -> Reader:
        """The reader of a source with this content; opened if it is not cached.

        Parameters
        ----------
        source : hashable
            The source and its reading options.
        content : str
            Digest of its content: the option `content` of a stage.
        opened : callable
            Opens it.
        """
        with self._lock:
            known = self._known.pop(source, None)
            if known is not None and known[0] != content:
                # Libraries share an open file within a process: the old one is closed before the new one is opened.
                known = None
                gc.collect()
            if known is None:
                known = content, opened()
            self._known[source] = known
            while len(self._known) > self.limit:
                del self._known[next(iter(self._known))]  # the least recently used
            return known[1]


class LayerTable(Section):
    """`[[layers]]`: one layer from files.

    Parameters
    ----------
    name : str
        In the catalogue, or a name of your own with `units` and `kind`.
    source : str or list of str
        A raster, a glob, a URL, or several of them; or an entry of the catalogue of open data, such as
        "catalogue:soilgrids/clay?depth=0-5cm".
    units : str
        Of the source, where its units are missing or wrong.
    nodata : number, list of numbers or "none"
        Codes of missing values in the source, beside NaN.
    scale, offset : float
        Value = stored x scale + offset.
    variable, band : str, int
        Of a source with several.
    crs : str
        Of a source that has none.
    combine : str
        How several rasters become one: "mosaic", "mean", "sum", "min", "max".
    resampling : str
        By default the method of the kind of layer.
    through : str
        A raster onto whose coarser grid the source is averaged first; the result is then brought to the grid as a
        layer of that coarseness. For the ground that a coarse climate belongs to.
    kind, long_name, flags
        For a layer of your own.
    citation : str
        Reference of the data; the run's references list it.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    source: FilePath | tuple[FilePath, ...]
    units: str | None = None
    nodata: float | tuple[float, ...] | Literal["none"] | None = None
    scale: float | None = None
    offset: float | None = None
    variable: str | None = None
    band: int | None = Field(default=None, ge=1)
    crs: str | None = None
    combine: Literal["mosaic", "mean", "sum", "min", "max"] | None = None
    resampling: Resampling | None = None
    through: FilePath | None = None
    kind: Kind | None = None
    long_name: str | None = None
    flags: dict[int, str] | None = None
    citation: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _describable(self) -> LayerTable:
        self.described()
        return self

    def described(self) -> Variable:
        """The variable that the layer is stored as."""
        return describe_layer(self.name, units=self.units, kind=self.kind, long_name=self.long_name, flags=self.flags)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources as a list."""
        return (self.source,) if isinstance(self.source, str) else self.source


def layer_stages(tables: Sequence[LayerTable], assembly: Assembly) -> list[Stage]:
    """One stage for each layer; missing files are faults."""
    stages = []
    for number, table in enumerate(tables, start=1):
        named = [("source", source) for source in table.sources]
        named += [("through", table.through)] if table.through is not None else []
        sides = [behind(source, f"layers[{number}].{key}", assembly.faults) for key, source in named]
        shown = [shown_source(source) for source in table.sources]
        stages.append(
            Stage(
                name=f"layer_{table.name}",
                title=f"layer {table.name}",
                section="layers",
                outputs=(table.described(),),
                compute=compute_layer,
                options={"table": table},
                indifferent=("table.source", "table.through", "table.citation"),
                identity={"source": shown, "through": table.through and shown_source(table.through)},
                files=tuple(file for side in sides for file in side.files),
                urls=tuple(url for side in sides for url in side.urls),
                attributes={
                    "": {"source": ", ".join(shown)},
                    table.name: dict(assembly.fetched.get(table.name, {})),
                },
                describe=describe_source,
                bytes_per_cell=BYTES_PER_CELL,
                source_bytes=source_bytes,
                needs_values=True,
            )
        )
    return stages


def compute_layer(window: Window) -> Mapping[str, Array]:
    """The source on the cells of one window."""
    table: LayerTable = window.options["table"]
    read, _ = _source_reader(window.options, window.grid)
    return {table.name: read(window.rows, window.columns)}


def describe_source(options: Mapping[str, Any], grid: GeoBox) -> Mapping[str, Any]:
    """Attributes of a layer's source, known when it is opened; raises for an unusable one."""
    return _source_reader(options, grid)[1]


def source_bytes(options: Mapping[str, Any], grid: GeoBox, shape: tuple[int, int]) -> SourceBytes:
    """Peak of memory while the source behind a tile is read."""
    return source_bytes_of(_source_reader(options, grid)[0], *shape)


@dataclass(frozen=True)
class DerivedRaster:
    """What was derived from a source, to `cube.align` a raster of its own: read by windows of the source's grid."""

    read: Callable[[slice, slice], Array]
    spec: Variable
    box: GeoBox
    origin: str
    size: Callable[[int, int], SourceBytes] | None = None
    lazy_array: None = None
    notes: tuple[tuple[str, str], ...] = ()

    def read_bytes(self, rows: int, columns: int) -> SourceBytes:
        """Peak of memory while a window of this size is derived."""
        return SourceBytes() if self.size is None else self.size(rows, columns)


def averaged_raster(raster: Raster, spec: Variable, box: GeoBox) -> tuple[DerivedRaster, str]:
    """A raster averaged onto a coarser grid, to be read as a raster of that coarseness, and how it was resampled."""
    average, method = aligned_reader(raster, box)
    return DerivedRaster(average, spec, box, raster.origin, partial(source_bytes_of, average)), method


_sources: Final = Readers[WindowReader](limit=64)


def _source_reader(options: Mapping[str, Any], grid: GeoBox) -> WindowReader:
    """Opened once in a process for each content of its files and URLs; checked then."""
    table: LayerTable = options["table"]
    key = (table.model_dump_json(), grid)  # a table with flags has no hash
    return _sources.get(key, options[CONTENT], lambda: _open_source(table, grid))


def _open_source(table: LayerTable, grid: GeoBox) -> WindowReader:
    spec, sources, through = table.described(), table.sources, table.through
    forget_remote([*sources, *([] if through is None else [through])])
    raster = read_raster(
        sources[0] if len(sources) == 1 else list(sources),
        spec,
        units=table.units,
        **{key: getattr(table, key) for key in READING},
    )
    attrs: dict[str, Any] = {"source": raster.origin, "source_digest": raster.digest, **dict(raster.notes)}
    attrs |= coverage_note(raster, Alignment(raster.box, grid, "nearest", spec))
    if through is None:
        read, method = aligned_reader(raster, grid, resampling=table.resampling)
        return read, attrs | {"resampling": method}
    coarse = grid_of_source(through, table.name)
    averaged, first = averaged_raster(raster, spec, coarse)
    read, method = aligned_reader(cast("Raster", averaged), grid, resampling=table.resampling)
    return read, attrs | {"resampling": f"{first} onto the grid of {shown_source(through)}, then {method}"}


def grid_of_source(source: str, where: str) -> GeoBox:
    """The grid of a cube, or of a raster: a file, or a URL."""
    with contextlib.suppress(InputError, MissingInputError):
        return cube_info(source).grid
    return find_parts(source, where=where, combined=True)[0].box  # no cube


def shown_source(source: str) -> str:
    """A source without its folder, so that a digest does not depend on the location of the data."""
    return public_name(source) if is_url(source) else Path(source).name
