"""`ds.tpsoil`: the usual steps of a notebook as methods of a Dataset. Each calls one public function.

Registered when tpsoil and xarray are both imported. What a method needs is imported when it is called.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .reports import Explorer
    from .solum import SolumOptions, SolumParameters


@xr.register_dataset_accessor("tpsoil")  # type: ignore[no-untyped-call]
class TpsoilAccessor:
    """Steps on the layers of a Dataset (y, x); the Dataset is not changed.

    Parameters
    ----------
    cube : Dataset (y, x)
        Of `tpsoil.open_cube`, or any with layers by the catalogue's names.

    Examples
    --------
    >>> import tpsoil
    >>> from tpsoil.grid import coordinates, plateau_grid
    >>> grid = plateau_grid(500_000)
    >>> cube = xr.Dataset({"elevation": (("y", "x"), [[4000.0] * grid.shape[1]] * grid.shape[0])}, coordinates(grid))
    >>> cube["elevation"].attrs["units"] = "m"
    >>> float(cube.tpsoil.terrain()["slope"].max())
    0.0
    """

    def __init__(self, cube: xr.Dataset) -> None:
        self._cube = cube

    def terrain(
        self,
        elevation: str = "elevation",
        *,
        curvature_convention: Literal["convex_positive", "arcgis", "laplacian"] = "convex_positive",
        ruggedness: Literal["riley", "mean_difference"] = "riley",
        position_sd: float | None = None,
        cell_size_m: float | None = None,
    ) -> xr.Dataset:
        """Slope, aspect, curvatures, ruggedness and slope position; see `tpsoil.covariates.terrain_attributes`.

        Parameters
        ----------
        elevation : str
            Name of the DEM's layer, m.
        curvature_convention, ruggedness, position_sd, cell_size_m
            As in `terrain_attributes`.

        Returns
        -------
        Dataset (y, x)
            Lazy where the DEM is.

        Raises
        ------
        MissingInputError
            For a layer that is not there.
        """
        from .covariates import terrain_attributes

        return terrain_attributes(
            self._layer(elevation, "terrain"), curvature_convention=curvature_convention, ruggedness=ruggedness,
            position_sd=position_sd, cell_size_m=cell_size_m,
        )  # fmt: skip

    def solum_thickness(
        self,
        parameters: SolumParameters | Mapping[int, SolumParameters],
        options: SolumOptions | None = None,
    ) -> xr.Dataset:
        """Steady-state solum thickness and what it balances; see `tpsoil.solum.thickness`.

        Parameters
        ----------
        parameters : SolumParameters, or mapping of zone to SolumParameters
        options : SolumOptions, optional

        Returns
        -------
        Dataset (y, x)
            `solum_thickness` (m), `solum_status` and others; lazy where a layer is.
        """
        from .solum import thickness

        return thickness(self._cube, parameters, options)

    def predict(
        self,
        model: Any,
        layers: Mapping[str, str] | Sequence[str] | None = None,
        *,
        quantiles: Sequence[float] | None = None,
        probabilities: bool = False,
        unseen: Literal["nan", "error"] = "nan",
    ) -> xr.Dataset:
        """Predictions of a forest or any fitted scikit-learn estimator; see `tpsoil.forest.predict_cube`.

        Parameters
        ----------
        model : TrainedForest, SoilForest, CompiledForest, or a fitted scikit-learn regressor or classifier
        layers, quantiles, probabilities, unseen
            As in `predict_cube`.

        Returns
        -------
        Dataset (y, x)
            Lazy where a layer is.
        """
        from .forest import predict_cube

        return predict_cube(model, self._cube, layers, quantiles=quantiles, probabilities=probabilities, unseen=unseen)

    def sample(
        self,
        points: pd.DataFrame | str | os.PathLike[str],
        *,
        layers: Sequence[str] | None = None,
        outside: Literal["drop", "keep", "error"] = "drop",
        on_masked: Literal["move", "drop", "keep"] = "keep",
        masked_within_m: float | None = None,
        encoding: str = "utf-8",
    ) -> pd.DataFrame:
        """Values of the cell that contains each point; see `tpsoil.sample_cube`.

        Parameters
        ----------
        points : DataFrame or path
            With lon/lat in degrees or x/y in the CRS of the cube.
        layers, outside, on_masked, masked_within_m, encoding
            As in `sample_cube`.

        Returns
        -------
        DataFrame
            The points with a column for each layer.
        """
        from .cube import sample_cube

        return sample_cube(
            self._cube, points, layers=layers, outside=outside, on_masked=on_masked, masked_within_m=masked_within_m,
            encoding=encoding,
        )  # fmt: skip

    def zonal_statistics(
        self,
        polygons: Any,
        *,
        layers: Sequence[str] | None = None,
        by: str | None = None,
        statistics: Sequence[str] | None = None,
        partial_cells: Literal["fraction", "centre"] = "fraction",
        crs: Any = None,
    ) -> pd.DataFrame:
        """Mean, spread, quantiles, area and total by polygons; see `tpsoil.zonal_statistics`.

        Parameters
        ----------
        polygons : path, GeoDataFrame, mapping of name to geometry, shapely geometry, or a sequence of them
        layers : sequence of str, optional
            All continuous layers with dims (y, x) by default.
        by, statistics, partial_cells, crs
            As in `zonal_statistics`.

        Returns
        -------
        DataFrame
            A row for each polygon and layer.

        Raises
        ------
        MissingInputError
            For a layer that is not there.
        """
        from .cube import zonal_statistics
        from .cube.zonal import DEFAULT_STATISTICS
        from .variables import stored_kind

        names = (
            list(layers)
            if layers is not None
            else [
                str(name)
                for name, layer in self._cube.items()
                if layer.dims == ("y", "x") and stored_kind(str(name), layer.attrs) in {"continuous", None}
            ]
        )
        chosen = xr.Dataset({name: self._layer(name, "zonal_statistics") for name in names})
        return zonal_statistics(
            chosen, polygons, by=by, statistics=statistics or DEFAULT_STATISTICS, partial_cells=partial_cells, crs=crs
        )

    def export(
        self, path: str | os.PathLike[str], *, layers: Sequence[str] | None = None, overwrite: bool = False
    ) -> list[Path]:
        """Write layers with their attributes (scores, model, interval level) as GeoTIFF or NetCDF; see `export_store`.

        Parameters
        ----------
        path : path
            `NAME.tif` or `NAME.nc`.
        layers : sequence of str, optional
            All layers with dims (y, x) by default.
        overwrite : bool
            Overwrite existing files.

        Returns
        -------
        list of Path
            The files.

        Raises
        ------
        MissingInputError
            For a layer that is not there.
        GridError
            For a Dataset without a CRS.

        Notes
        -----
        Lazy layers are computed chunk by chunk into a temporary store beside the output, which needs as much space as
        the layers.
        """
        from .cube import create_cube, export_store, write_layers
        from .errors import InputError
        from .grid import grid_of

        names = list(layers) if layers is not None else [str(n) for n, v in self._cube.items() if v.dims == ("y", "x")]
        if not names:
            raise InputError("ds.tpsoil.export: the Dataset has no layer with dims (y, x); give one or more layers")
        chosen = {name: self._layer(name, "export") for name in names}
        grid = grid_of(self._cube)
        out = Path(path)
        if out.suffix.lower() == ".json":
            raise InputError("ds.tpsoil.export: a STAC item describes a store; use export_store or `tpsoil export`")
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tpsoil-", dir=out.parent) as folder:
            store = Path(folder) / "cube.zarr"
            create_cube(store, grid, attrs={str(key): value for key, value in self._cube.attrs.items()})
            write_layers(store, chosen)
            return export_store(store, out, overwrite=overwrite)

    def map(
        self, layer: str | None = None, *, ax: Axes | None = None, title: str | None = None, relief: bool = False
    ) -> Figure:
        """Map of one layer; see `tpsoil.reports.figures.map_layer`.

        Parameters
        ----------
        layer : str, optional
            Needed where the Dataset has more than one.
        ax : Axes, optional
            Drawn into; else a new figure.
        title : str, optional
        relief : bool
            Shade the map by the layer `elevation`.

        Returns
        -------
        Figure
            Cells where `soil_mask` is 0 are grey, where the Dataset has one.
        """
        from .reports.figures import map_layer
        from .soil_mask import MASK

        return map_layer(
            self._cube,
            layer,
            ax=ax,
            title=title,
            hillshade=self._layer("elevation", "map") if relief else None,
            mask=self._cube.get(MASK) if layer != MASK else None,
        )

    def explore(self, layers: Sequence[str] | None = None, *, window: tuple[float, float, float, float] | None = None,
                cells: int = 3_000_000, height_px: int = 860) -> Explorer:  # fmt: skip
        """Interactive map in a notebook; see `tpsoil.explore`.

        Parameters
        ----------
        layers : sequence of str, optional
        window : (left, bottom, right, top), optional
            Part of the grid, in the unit of its coordinates.
        cells, height_px : int
            As in `tpsoil.explore`.

        Returns
        -------
        Explorer

        Raises
        ------
        MissingInputError, InputError
            As `tpsoil.explore`.
        """
        from .reports import explore

        return explore(self._cube, layers, window=window, cells=cells, height_px=height_px)

    def __repr__(self) -> str:
        names = "terrain, solum_thickness, predict, sample, zonal_statistics, export, map, explore"
        return f"ds.tpsoil: {names}; help(ds.tpsoil) for each"

    def _layer(self, name: str, method: str) -> xr.DataArray:
        from .errors import MissingInputError, require_named

        require_named(f"ds.tpsoil.{method}", [name], self._cube.variables, "layer", MissingInputError)
        return self._cube[name]
