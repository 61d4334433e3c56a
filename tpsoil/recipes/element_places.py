"""Samples placed on cells: covariates of the mapped grid, and outside it those of a wider cube or of the sources."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from tpsoil.cube import open_cube, sample_cube
from tpsoil.engine.durable import digest_of
from tpsoil.errors import InputError, MissingInputError, nearest_name
from tpsoil.grid import coordinates, describe, grid_of
from tpsoil.ingest import require_columns
from tpsoil.ingest.dependencies import Dependencies
from tpsoil.micronutrients import classes_of
from tpsoil.points import locate_points, project_points
from tpsoil.soil_mask import MASK, with_soil_mask, without_soil
from tpsoil.stage import CONTENT, Array, Stage, Window, blocks_of, decisive_options, trimmed
from tpsoil.tiles import from_tiles
from tpsoil.variables import class_names, missing_code

from .element_options import ElementsTable

MARGIN: Final = 64
"""Cells around the samples: halos of derived layers, and cells with soil near masked ones."""
TILES: Final = 20_000
"""Of a lazy layer at most; those that contain a sample are computed."""
Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
SHOWN: Final = 10
"""Sites that a note names."""


@dataclass(frozen=True)
class SourceLayers:
    """Layers of a recipe on cells beyond its grid, by the rules that they are imported and derived with.

    Parameters
    ----------
    stages : mapping of str to Stage
        By layer; each computes its layers from files, or from other layers of these.
    content : str
        Digest of what their files contain.
    """

    stages: Mapping[str, Stage] = field(default_factory=dict)
    content: str = ""

    def around(self, cube: xr.Dataset, points: pd.DataFrame) -> xr.Dataset:
        """The layers, lazily, on the cells of a cube extended over points with `lon` and `lat`.

        Parameters
        ----------
        cube : Dataset (y, x)
            Of the mapped grid.
        points : DataFrame

        Returns
        -------
        Dataset (y, x)
            On whole cells of the same lattice, so that values equal those of a wider map.
        """
        grid = widened(grid_of(cube), points)
        shape = (int(grid.shape[0]), int(grid.shape[1]))
        side = max(MARGIN, int(np.ceil(np.sqrt(shape[0] * shape[1] / TILES))))
        axes = coordinates(grid)
        layers = {}
        for name in self.stages:
            read = partial(self._read, name, grid)
            token = digest_of([name, self.content, repr(grid), decisive_options(self.stages[name])])
            data = from_tiles(read, shape, side, self._spec(name).dtype, name=f"source-{name}-{token}")
            layers[name] = self._described(name, data, axes)
        return xr.Dataset(layers)

    def _read(self, name: str, grid: GeoBox, rows: slice, columns: slice) -> Array:
        stage = self.stages[name]
        sides = [(max(one.start - (stage.halo or 0), 0), min(one.stop + (stage.halo or 0), int(size)))
                 for one, size in zip((rows, columns), grid.shape, strict=True)]  # fmt: skip
        outer = slice(*sides[0]), slice(*sides[1])
        axes = coordinates(grid)
        axes = {**axes, "y": axes["y"][outer[0]], "x": axes["x"][outer[1]]}
        inputs = {one: self._described(one, self._read(one, grid, *outer), axes) for one in stage.inputs}
        window = Window(xr.Dataset(inputs, coords=axes), grid, *outer, {**stage.options, CONTENT: self.content})
        beyond = tuple(
            (inner.start - wide.start, wide.stop - inner.stop) for inner, wide in zip((rows, columns), outer)
        )
        return trimmed(stage.compute(window)[name], (beyond[0], beyond[1]), self._spec(name).dtype)

    def _spec(self, name: str) -> Any:
        return next(spec for spec in self.stages[name].outputs if spec.name == name)

    def _described(self, name: str, values: Any, axes: Any) -> xr.DataArray:
        spec = self._spec(name)
        layer = xr.DataArray(values, dims=("y", "x"), coords=axes, name=name, attrs=spec.attributes())
        if spec.kind == "categorical":
            layer.encoding["_FillValue"] = spec.fill
        return layer


def widened(grid: GeoBox, points: pd.DataFrame) -> GeoBox:
    """A grid extended by whole cells over points with `lon` and `lat`, and by a margin.

    Examples
    --------
    >>> from tpsoil.grid import plateau_grid
    >>> widened(plateau_grid(100_000), pd.DataFrame({"lon": [110.0], "lat": [33.0]})).shape[0]
    146
    """
    x, y = project_points(points["lon"].to_numpy(dtype=float), points["lat"].to_numpy(dtype=float), grid)
    column, row = ~grid.transform * (x, y)
    ends = []
    for place, size in ((row, grid.shape[0]), (column, grid.shape[1])):
        cells: npt.NDArray[np.float64] = np.floor(place[np.isfinite(place)])
        ends.append((int(min(0, *cells)) - MARGIN, int(max(int(size) - 1, *cells)) + 1 + MARGIN))
    (top, bottom), (left, right) = ends
    return GeoBox((bottom - top, right - left), grid.transform * Affine.translation(left, top), grid.crs)


def source_layers(options: Mapping[str, Any]) -> SourceLayers | None:
    """Of a stage's options: the layers to sample outside the map; None where samples on the map alone are used."""
    sources: SourceLayers | None = options.get("sources")
    return None if sources is None else replace(sources, content=str(options.get(CONTENT, "")))


def named_sites(sites: pd.Series) -> str:
    """Names of sites for a note; the first ten."""
    names = list(dict.fromkeys(str(site) for site in sites))
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def placed_samples(
    table: ElementsTable,
    cube: xr.Dataset,
    tidy: pd.DataFrame,
    notes: list[str],
    sources: SourceLayers | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Samples with the covariates of their cells and the classes of the comparison; lines are added to `notes`.

    Parameters
    ----------
    table : ElementsTable
    cube : Dataset (y, x)
        Of the mapped grid.
    tidy : DataFrame
        With `site`, `lon`, `lat`.
    notes : list of str
        Extended.
    sources : SourceLayers, optional
        Gives the covariates of samples outside the map, as `training_cube` does.

    Returns
    -------
    design : DataFrame
        Rows on the mapped grid, then those that only the training cube has.
    attributes : dict of str to str
        For the maps: samples off the grid, from the training cube or the sources, and on masked cells.

    Raises
    ------
    InputError
        Where no sample is on a cell.
    MissingInputError
        For a training cube without a feature.
    """
    file = table.file.name
    layers = [name for name in table.features if name not in table.from_samples]
    design = tidy.reset_index(drop=True)
    outside = locate_points(design[["lon", "lat"]], grid_of(cube), where=file)[0] < 0
    attributes: dict[str, str] = {}
    parts = []
    origin = "training_cube" if table.training_cube is not None else None if sources is None else "sources"
    if origin is None or not outside.all():
        parts.append(_sampled(table, cube, design if origin is None else design[~outside], layers))
    if outside.any():
        text = f"{int(outside.sum())} of {len(design)} samples are outside the grid"
        lost = design[outside]
        if origin is not None:
            if sources is None:
                wide = _of_training_cube(table, lost, layers)
            else:
                wide = _sampled(table, sources.around(cube, lost), lost, layers)
            parts += [] if wide is None else [wide]
            lost = lost if wide is None else lost.loc[lost.index.difference(wide.index)]
            attributes[f"samples_from_{origin}"] = str(0 if wide is None else len(wide))
            text += f", {attributes[f'samples_from_{origin}']} of them are used with the covariates of {origin}"
        if len(lost):
            attributes["samples_off_grid"] = str(len(lost))
            attributes["sites_off_grid"] = named_sites(lost["site"])
            text += f"; {len(lost)} are not used, of sites {attributes['sites_off_grid']}"
        notes.append(f"{file}: {text}")
    masked = "; ".join(note for part in parts if (note := str(part.attrs.get("masked_note", ""))))
    if masked:
        notes.append(f"{file}: {masked}")
        attributes["samples_on_masked_cells"] = masked
    if not parts:
        raise InputError(
            f"{file}: none of {len(design)} samples is inside the grid {describe(grid_of(cube))} or the training "
            "cube; is it of another region?"
        )
    kinds = {name: kind for part in reversed(parts) for name, kind in part.attrs["kinds"].items()}
    sampled = pd.concat(parts) if len(parts) > 1 else parts[0]
    attrs = dict(design.attrs)
    design = design.loc[sampled.index].copy()
    design.attrs = attrs | {"kinds": kinds}
    of_samples = {feature: design[column] for feature, column in table.from_samples.items()}
    design = design.assign(**sampled[layers], **of_samples)
    for name in table.compare:
        design[f"class {name}"] = _classes(table, cube, design, name)
    lacking = design[list(table.features)].isna().any(axis=1)
    if lacking.any() and not lacking.all():
        gaps = [name for name in table.features if design[name].isna().any()]
        notes.append(
            f"{file}: {int(lacking.sum())} of {len(design)} samples lack {', '.join(gaps)} and are not used, of "
            f"sites {named_sites(design.loc[lacking, 'site'])}"
        )
    return design, attributes


def _sampled(table: ElementsTable, cube: xr.Dataset, rows: pd.DataFrame, layers: Sequence[str]) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"tpsoil\b")  # the notes have it
        return sample_cube(
            cube,
            rows[["lon", "lat", "site"]],
            layers=layers,
            on_masked=table.masked_samples,
            masked_within_m=None if table.masked_within_km is None else 1000 * table.masked_within_km,
            where=table.file.name,
        )


def _of_training_cube(table: ElementsTable, rows: pd.DataFrame, layers: Sequence[str]) -> pd.DataFrame | None:
    wide = open_cube(str(table.training_cube))
    lacking = [name for name in layers if name not in wide]
    if lacking:
        hints = "; ".join(f"no layer '{name}'{nearest_name(name, map(str, wide.data_vars))}" for name in lacking)
        raise MissingInputError(
            f"elements.training_cube: {hints}; it needs every feature that is no column of the samples"
        )
    inside = locate_points(rows[["lon", "lat"]], grid_of(wide), where=table.file.name)[0] >= 0
    return _sampled(table, wide, rows[inside], layers) if inside.any() else None


def with_training_cube(stages: Sequence[Stage], sources: Dependencies) -> list[Stage]:
    """Stages of elements that also depend on the files of `training_cube`, whatever its path."""
    return [
        replace(
            stage,
            files=(*stage.files, *sources.files),
            urls=(*stage.urls, *sources.urls),
            indifferent=(*stage.indifferent, "table.training_cube"),
        )
        if getattr(stage.options.get("table"), "training_cube", None) is not None
        else stage
        for stage in stages
    ]


def _classes(table: ElementsTable, cube: xr.Dataset, design: pd.DataFrame, name: str) -> Any:
    require_columns(design, [name], where=f"elements.compare: {table.file.name} and the features")
    if name in table.classes:
        return classes_of(pd.to_numeric(design[name], errors="coerce"), table.classes[name])
    names = class_names(name, cube[name].attrs) if name in cube else {}
    if names:
        return design[name].map({float(code): text for code, text in names.items()})
    return design[name]


def used_rows(table: ElementsTable, design: pd.DataFrame) -> pd.DataFrame:
    """Placed samples that have every covariate."""
    complete = design[list(table.features)].notna().all(axis=1).to_numpy(dtype=bool)
    return design[complete if complete.any() else np.ones(len(design), dtype=bool)]


def classes_on_soil(cube: xr.Dataset, names: Sequence[str]) -> Iterator[tuple[str, Doubles, Flags, Doubles]]:
    """Class layers of a cube, read block by block.

    Parameters
    ----------
    cube : Dataset (y, x)
    names : sequence of str

    Yields
    ------
    name : str
    codes : ndarray (y, x)
    on_soil : ndarray (y, x)
        Cells with soil and a class.
    y : ndarray (y,)
        Coordinates of the block's rows.
    """
    complete = with_soil_mask(cube)
    masks = [MASK] if MASK in complete else []
    missing = {name: missing_code(cube[name]) for name in names}
    for part in blocks_of(complete[[*names, *masks]]) if names else ():
        for name, code in missing.items():
            values = np.asarray(part[name].values, dtype=np.float64)
            on_soil = np.isfinite(values) & (True if code is None else values != code)
            if masks:
                on_soil &= ~without_soil(part[MASK].values)
            yield name, values, on_soil, np.asarray(part["y"].values, dtype=np.float64)
