"""`train_on = "sources"`: covariates of samples outside the map, from the sources of the recipe's own layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from tpsoil.engine.manifest import digest_of
from tpsoil.grid import coordinates, grid_of
from tpsoil.points import project_points
from tpsoil.stage import CONTENT, Array, Stage, Window, decisive_options, trimmed
from tpsoil.tiles import from_tiles

MARGIN: Final = 64
"""Cells around the samples: halos of derived layers, and cells with soil near masked ones."""
TILES: Final = 20_000
"""Of a lazy layer at most; those that contain a sample are computed."""


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
