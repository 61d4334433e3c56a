"""Every layer of the catalogue with a value just outside its range, in every way that a value can enter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from geotiffs import write_tif

import tpsoil
from tpsoil.cube import add_layer, add_layers, create_cube, open_cube
from tpsoil.errors import InputError, RecipeError
from tpsoil.grid import coordinates, grid_from_bounds
from tpsoil.ingest import read_samples
from tpsoil.recipes.solum_stage import FORCING
from tpsoil.variables import CATALOGUE, ELEMENTS, Variable

GRID = grid_from_bounds("EPSG:32646", (300_000, 3_400_000, 300_400, 3_400_400), 100.0)


def outside() -> list[Any]:
    """Each bounded layer with a value a little beyond each end of its range."""
    cases = []
    for spec in CATALOGUE.values():
        if spec.kind == "categorical":
            if spec.flags:
                unknown = max(spec.flags) + 1
                cases.append(pytest.param(spec, float(unknown), id=f"{spec.name}={unknown}"))
            continue
        span = spec.high - spec.low if np.isfinite([spec.low, spec.high]).all() else max(1.0, abs(spec.low or 1.0))
        ends = ((spec.low, spec.low - 0.01 * span), (spec.high, spec.high + 0.01 * span))
        for end, beyond in ends:
            if np.isfinite(end):
                cases.append(pytest.param(spec, float(beyond), id=f"{spec.name}={beyond:g}"))
    cases += [
        pytest.param(CATALOGUE["annual_precipitation"], -1.0, id="negative precipitation"),
        pytest.param(CATALOGUE["ndvi"], 3.0, id="NDVI 3"),
        *(pytest.param(CATALOGUE[name], 9_999_999.0, id=f"{name} 9 999 999") for name in ELEMENTS),
    ]
    return cases


def inside(spec: Variable) -> float:
    if spec.kind == "categorical":
        return float(min(spec.flags))
    low, high = (
        end if np.isfinite(end) else other for end, other in ((spec.low, spec.high - 1), (spec.high, spec.low + 1))
    )
    return float((low + high) / 2)


def field(spec: Variable, value: float) -> np.ndarray:
    values = np.full(GRID.shape, 1 if spec.name == "soil_mask" else inside(spec))  # a mask needs some soil
    values[1, 2] = value
    return values.astype("int32" if spec.kind == "categorical" else "float64")


def nothing_left(store: str, name: str) -> None:
    assert name not in open_cube(store)


@pytest.mark.parametrize(("spec", "value"), outside())
def test_a_value_outside_the_range_is_rejected_from_every_source(spec: Variable, value: float, tmp_path: Path) -> None:
    store = str(tmp_path / "cube.zarr")
    create_cube(store, GRID, chunks=2)
    values = field(spec, value)
    array = xr.DataArray(values, dims=("y", "x"), coords=coordinates(GRID))
    path = write_tif(tmp_path / "file.tif", values, crs="EPSG:32646", left=300_000, top=3_400_400, size=100)
    netcdf = tmp_path / "file.nc"
    array.drop_vars("spatial_ref").rename(spec.name).to_netcdf(netcdf, engine="scipy")
    names: list[Any] = [path, array, array.chunk({"y": 2}), netcdf]
    for source in names:
        how = {"crs": "EPSG:32646"} if source is netcdf else {}
        with pytest.raises(InputError, match=spec.name):
            add_layer(store, spec.name, source, **how)
        nothing_left(store, spec.name)
    # the same value is accepted where it stands for missing
    add_layer(store, spec.name, path, nodata=value)
    assert open_cube(store)[spec.name].attrs["missing_cells"] == 1
    with pytest.raises(InputError, match=spec.name):
        add_layers(store, {spec.name: array.assign_attrs(spec.attributes())}, overwrite=True)


@pytest.mark.parametrize(
    "name", [name for name in (*FORCING, "depth_to_bedrock", "elevation", "ndvi") if name in CATALOGUE]
)
def test_an_assumption_outside_the_range_is_rejected_by_the_recipe(name: str, tmp_path: Path) -> None:
    spec = CATALOGUE[name]
    create_cube(str(tmp_path / "cube.zarr"), GRID, chunks=2)
    for end, beyond in ((spec.low, -1.0), (spec.high, 1.0)):
        if not np.isfinite(end):
            continue
        recipe = {
            "run": {"name": "a", "cube": str(tmp_path / "cube.zarr"), "output": str(tmp_path / "maps.zarr")},
            "solum": {"parameters": "published", "assumptions": {name: {"value": end + beyond, "reason": "test"}}},
        }
        with pytest.raises(RecipeError, match=f"{name} is .*, expected "):
            tpsoil.run(recipe, progress=False)
        assert not (tmp_path / "maps.zarr").exists()


@pytest.mark.parametrize("name", list(ELEMENTS))
@pytest.mark.parametrize("value", [-0.01, 1e6 + 1, 9_999_999.0, np.inf])
@pytest.mark.parametrize("check_units", [True, False])
def test_a_sample_outside_the_range_is_rejected(name: str, value: float, check_units: bool) -> None:
    symbol = ELEMENTS[name]
    good = {"Fe": 22000.0, "Mn": 570.0, "Zn": 60.0, "V": 57.0, "Cu": 25.0, "Ni": 49.0, "Mo": 2.0}[symbol]
    table = pd.DataFrame({symbol: [good, good, value]})
    with pytest.raises(InputError, match=rf"'{symbol}' .*\(line 4\)"):
        read_samples(table, [symbol], check_units=check_units)


def test_the_sweep_covers_the_catalogue() -> None:
    swept = {case.values[0].name for case in outside()}
    free = set(CATALOGUE) - swept
    # no physical bound: curvatures, indices and rates of either sign; classes that have no list of their own
    assert free == {
        "general_curvature", "plan_curvature", "profile_curvature", "topographic_wetness", "parent_material",
        "lithology", "biome", "zone", "erosion_rate", "response_time", "mean",
    }  # fmt: skip
