"""Zonal statistics: exact shares of cells against intersections by shapely, independent of windows; bad polygons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from geotiffs import write_tif
from run_tables import untitled

import tpsoil
from tpsoil.cube import zonal_statistics
from tpsoil.cube.weighted_quantiles import ordered_keys, value_of_key
from tpsoil.errors import GridError, InputError, RecipeError
from tpsoil.grid import cell_sizes_m, coordinates, grid_from_bounds
from tpsoil.kernels.polygons import coverage
from tpsoil.recipes import result_tables
from tpsoil.reports import write_page

GRID = grid_from_bounds("EPSG:32646", (400_000, 3_300_000, 440_000, 3_330_000), 1000)
EVERY = ("count", "area_km2", "no_data", "mean", "sd", "min", "max", "total", "q05", "q50", "q97.5")


def layer(values: Any, *, grid: Any = GRID, name: str = "solum_thickness", **attrs: Any) -> xr.DataArray:
    return xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid), name=name, attrs=attrs)


def random_layer(seed: int = 0, dtype: str = "float32", grid: Any = GRID) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = rng.gamma(2.0, 0.5, grid.shape).round(2)
    values[rng.random(grid.shape) < 0.2] = np.nan
    return layer(values.astype(dtype), grid=grid, units="m")


def star(x: float, y: float, size: float, seed: int) -> shapely.Polygon:
    """A ragged polygon."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
    radius = size * rng.uniform(0.3, 1.0, 40)
    return shapely.make_valid(
        shapely.Polygon(np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)]))
    )


SHAPES = {
    "ragged": star(415_300, 3_315_200, 12_000, 1),
    "hole": shapely.box(403_250, 3_303_100, 420_000, 3_325_900).difference(star(411_000, 3_312_000, 5_000, 2)),
    "parts": shapely.MultiPolygon(
        [shapely.box(401_400, 3_301_200, 404_750, 3_303_900), star(430_000, 3_320_000, 4000, 3)]
    ),
    "whole": shapely.box(400_000, 3_300_000, 440_000, 3_330_000),
    "partly": shapely.box(390_000, 3_295_000, 402_340, 3_312_340),
    "tiny": shapely.box(422_110, 3_310_220, 422_450, 3_310_390),
}


def shares(shape: Any, grid: Any = GRID) -> np.ndarray:
    """Slow: intersection of the polygon with each cell."""
    out = np.zeros(grid.shape)
    t = grid.transform
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            x, y = t.c + j * t.a, t.f + i * t.e
            cell = shapely.box(x, y + t.e, x + t.a, y)
            out[i, j] = shapely.area(shapely.intersection(cell, shape)) / shapely.area(cell)
    return out


def expected(values: np.ndarray, share: np.ndarray, cell_m2: Any = 1e6) -> dict[str, float]:
    """Weighted statistics by numpy."""
    weights = share * cell_m2
    known = np.isfinite(values) & (weights > 0)
    v, w = values[known].astype(float), weights[known]
    if not v.size:
        return {"count": 0, "area_km2": 0.0}
    mean = np.average(v, weights=w)
    statistics = {"count": v.size, "area_km2": w.sum() / 1e6, "mean": mean, "total": (v * w).sum()}
    statistics |= {"sd": np.sqrt(np.average((v - mean) ** 2, weights=w)), "min": v.min(), "max": v.max()}
    for name, q in (("q05", 0.05), ("q50", 0.5), ("q97.5", 0.975)):
        statistics[name] = np.quantile(v, q, weights=w, method="inverted_cdf")
    return statistics


@pytest.mark.parametrize("name", SHAPES)
def test_shares_of_cells_equal_the_intersection_with_every_cell(name: str) -> None:
    from tpsoil.ingest.polygons import read_polygons

    (polygon,), _ = read_polygons({name: SHAPES[name]}, GRID)
    share = coverage(polygon.edges, 0, 0, (30, 40))
    np.testing.assert_allclose(share, shares(SHAPES[name]), atol=1e-8)
    assert polygon.inside == pytest.approx(
        shapely.area(shapely.intersection(SHAPES[name], SHAPES["whole"])) / shapely.area(SHAPES[name])
    )


@pytest.mark.filterwarnings("ignore:zonal_statistics")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SHAPES)
def test_statistics_equal_weighted_numpy(name: str, dtype: str) -> None:
    data = random_layer(dtype=dtype)
    row = zonal_statistics(data, {name: SHAPES[name]}, statistics=EVERY).iloc[0]
    share = shares(SHAPES[name])
    share[share < 1e-9] = 0
    for key, value in expected(data.values, share).items():
        assert row[key] == pytest.approx(value, rel=1e-9), key
    known = share[np.isfinite(data.values)].sum() * 1e6
    assert row["no_data"] == pytest.approx(1 - known / shapely.area(SHAPES[name]), abs=1e-9)
    assert row["total_units"] == "m3"


def test_the_centre_rule_weights_whole_cells() -> None:
    data = random_layer()
    t = GRID.transform
    x, y = (t.c + (np.arange(GRID.shape[1]) + 0.5) * t.a, t.f + (np.arange(GRID.shape[0]) + 0.5) * t.e)
    for name in ("ragged", "hole", "parts"):
        row = zonal_statistics(data, {name: SHAPES[name]}, statistics=EVERY, partial_cells="centre").iloc[0]
        inside = shapely.contains_xy(SHAPES[name], *np.meshgrid(x, y)).astype(float)
        for key, value in expected(data.values, inside).items():
            assert row[key] == pytest.approx(value, rel=1e-12), key


def test_windows_and_chunks_do_not_change_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    from tpsoil.cube import zonal

    data = xr.Dataset({"solum_thickness": random_layer(), "erosion_rate": random_layer(5, "float64")})
    inside = {name: SHAPES[name] for name in ("ragged", "hole", "parts", "whole")}
    whole = zonal_statistics(data, inside, statistics=EVERY)
    monkeypatch.setattr(zonal, "WINDOW_CELLS", 1)
    monkeypatch.setattr(zonal, "HISTOGRAM_BYTES", 1)
    windows = zonal_statistics(data.chunk({"y": 7, "x": 11}), inside, statistics=EVERY)
    exact = ["polygon", "layer", "count", "min", "max", "q05", "q50", "q97.5"]
    pd.testing.assert_frame_equal(windows[exact], whole[exact])
    pd.testing.assert_frame_equal(windows, whole, rtol=1e-12)


def test_only_windows_that_polygons_meet_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask.array as da

    from tpsoil.cube import zonal

    monkeypatch.setattr(zonal, "WINDOW_CELLS", 1)
    reads: list[tuple[int, int]] = []

    def block(block_info: Any = None) -> np.ndarray:
        location = block_info[None]["chunk-location"]
        reads.append(location)
        return np.ones((10, 10), "float32")

    lazy = da.map_blocks(block, chunks=((10,) * 3, (10,) * 4), dtype="float32", meta=np.empty((0, 0), "float32"))
    data = layer(lazy, units="m")
    zonal_statistics(data, {"corner": shapely.box(401_000, 3_321_000, 403_000, 3_324_000)}, statistics=["mean"])
    assert reads == [(0, 0)]


def test_cells_of_a_geographic_grid_are_weighted_by_their_size() -> None:
    grid = grid_from_bounds("EPSG:4326", (90.0, 20.0, 91.0, 40.0), 0.5)
    data = layer(np.repeat(np.arange(40.0)[:, None], 2, axis=1).astype("float32"), grid=grid, units="m")
    row = zonal_statistics(data, {"strip": shapely.box(90, 20, 91, 40)}, statistics=["mean", "area_km2"]).iloc[0]
    dx, dy = cell_sizes_m(grid)
    assert row["mean"] == pytest.approx(np.average(np.arange(40.0), weights=dx * dy))
    assert row["mean"] > 19.6  # the south, with larger cells, has the larger values
    assert row["area_km2"] == pytest.approx(2 * (dx * dy).sum() / 1e6)


def test_polygons_of_another_crs_are_projected() -> None:
    frame = geopandas.GeoDataFrame({"basin": ["Yarlung"]}, geometry=[SHAPES["ragged"]], crs="EPSG:32646")
    data = random_layer()
    here = zonal_statistics(data, frame, by="basin", statistics=["mean", "area_km2"]).iloc[0]
    there = zonal_statistics(data, frame.to_crs("EPSG:4326"), by="basin", statistics=["mean", "area_km2"]).iloc[0]
    assert here["polygon"] == there["polygon"] == "Yarlung"
    assert there["mean"] == pytest.approx(here["mean"], rel=1e-3)
    assert there["area_km2"] == pytest.approx(here["area_km2"], rel=1e-4)
    assert there["mean"] != here["mean"]  # straight edges in degrees are no straight edges in metres


def test_polygons_of_one_name_are_one_area_and_overlaps_count_once() -> None:
    boxes = [shapely.box(402_000, 3_302_000, 410_000, 3_310_000), shapely.box(406_000, 3_302_000, 414_000, 3_310_000)]
    frame = geopandas.GeoDataFrame({"basin": ["a", "a"]}, geometry=boxes, crs="EPSG:32646")
    table = zonal_statistics(
        layer(np.ones(GRID.shape, "float32"), units="m"), frame, by="basin", statistics=["area_km2"]
    )
    assert table["area_km2"].tolist() == [96.0]


def test_classes_and_directions_have_areas_but_no_means() -> None:
    codes = layer(np.where(np.arange(40) < 10, 255, 3)[None, :].repeat(30, 0).astype("uint8"), name="land_cover")
    row = zonal_statistics(codes, {"a": SHAPES["whole"]}, statistics=["area_km2", "no_data", "count"]).iloc[0]
    assert row["area_km2"] == 900
    assert row["no_data"] == pytest.approx(0.25)
    assert row["count"] == 900
    with pytest.raises(InputError, match="land_cover is of classes, which has no mean"):
        zonal_statistics(codes, {"a": SHAPES["whole"]}, statistics=["mean"])
    with pytest.raises(InputError, match="aspect is a direction in degrees, which has no q50"):
        zonal_statistics(codes.astype("float32").rename("aspect"), {"a": SHAPES["whole"]}, statistics=["q50"])


def test_polygons_outside_the_grid() -> None:
    far = shapely.box(600_000, 3_300_000, 610_000, 3_310_000)
    with pytest.raises(GridError, match="none of the 1 polygons of the geometries touches the grid"):
        zonal_statistics(random_layer(), {"far": far})
    with pytest.warns(UserWarning, match="1 of 2 polygons lie outside the grid and have no values: far"):
        table = zonal_statistics(random_layer(), {"near": SHAPES["ragged"], "far": far}, statistics=EVERY)
    lost = table.set_index("polygon").loc["far"]
    assert lost["count"] == 0
    assert lost["area_km2"] == 0
    assert lost["no_data"] == 1
    assert np.isnan(lost[["mean", "sd", "min", "max", "total", "q05", "q50", "q97.5"]].to_numpy(float)).all()
    with pytest.warns(
        UserWarning, match="1 of 1 polygons lie partly outside the grid, which counts as no_data: partly"
    ):
        zonal_statistics(random_layer(), {"partly": SHAPES["partly"]})


def test_a_polygon_smaller_than_a_cell() -> None:
    data = layer(np.arange(1200, dtype="float32").reshape(30, 40), units="m")
    row = zonal_statistics(data, {"tiny": SHAPES["tiny"]}, statistics=["mean", "count", "area_km2"]).iloc[0]
    assert (row["mean"], row["count"]) == (19 * 40 + 22, 1)
    assert row["area_km2"] == pytest.approx(0.34 * 0.17)
    with pytest.warns(UserWarning, match=r"1 of 1 polygons contain no cell centre .*: tiny; partial_cells='fraction'"):
        table = zonal_statistics(data, {"tiny": SHAPES["tiny"]}, partial_cells="centre")
    assert table.loc[0, "count"] == 0
    assert table.loc[0, "no_data"] == 1
    assert np.isnan(table.loc[0, "mean"])


def test_attributes_that_are_not_there_or_empty(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"basin": ["a", None], "code": [None, None]}, geometry=[SHAPES["hole"], SHAPES["ragged"]]
    )
    data = random_layer()
    with pytest.raises(GridError, match="has no CRS"):
        zonal_statistics(data, frame)
    frame = frame.set_crs("EPSG:32646")
    with pytest.raises(InputError, match="has no attribute 'bassin'; did you mean 'basin'"):
        zonal_statistics(data, frame, by="bassin")
    with pytest.raises(InputError, match="attribute 'code' of the GeoDataFrame is empty in all 2 polygons"):
        zonal_statistics(data, frame, by="code")
    with pytest.warns(UserWarning, match="1 of 2 polygons of the GeoDataFrame have no 'basin' and were left out"):
        assert zonal_statistics(data, frame, by="basin")["polygon"].tolist() == ["a"]
    plain = tmp_path / "plain.geojson"
    shape = json.loads(shapely.to_geojson(shapely.box(90, 29.8, 90.3, 30.05)))
    plain.write_text(
        json.dumps(
            {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": shape}]}
        )
    )
    with pytest.raises(InputError, match="has no attribute 'basin'; it has no attributes, leave `by` out for numbers"):
        zonal_statistics(
            layer(np.ones((5, 5)), grid=grid_from_bounds("EPSG:4326", (90, 29.5, 90.5, 30), 0.1)), plain, by="basin"
        )
    lines = geopandas.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (1, 1)])], crs="EPSG:32646")
    with pytest.raises(InputError, match="has no polygons among its 1 features"):
        zonal_statistics(data, lines)
    with pytest.raises(InputError, match="no statistic 'maen'; did you mean 'mean'"):
        zonal_statistics(data, frame, statistics=["maen"])


def test_keys_of_values_are_in_their_order() -> None:
    values = np.array([-np.float32(3e38), -1.5, -1e-40, -0.0, 0.0, 1e-40, 0.25, 3.5, 2e38], "float32")
    for width in (32, 64):
        keys = ordered_keys(values.astype(f"f{width // 8}"), width)
        assert (np.diff(keys.astype(object)) >= 0).all()
        assert [value_of_key(int(key), width) for key in keys] == [float(v) for v in values.astype(f"f{width // 8}")]


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    write_thickness(tmp_path, 0)
    frame = geopandas.GeoDataFrame({"basin": list(SHAPES)}, geometry=list(SHAPES.values()), crs="EPSG:32646")
    frame.to_crs("EPSG:4326").to_file(tmp_path / "basins.gpkg")
    entry = {"name": "solum_thickness", "source": str(tmp_path / "thickness.tif"), "units": "m"}
    return {
        "run": {"name": "basins", "output": str(tmp_path / "out.zarr")},
        "grid": {"like": str(tmp_path / "thickness.tif"), "chunks": 16},
        "layers": [entry],
        "zonal": [
            {"name": "basins", "layers": ["solum_thickness"], "polygons": str(tmp_path / "basins.gpkg"), "by": "basin"}
        ],
    }


def write_thickness(folder: Path, seed: int) -> None:
    values = random_layer(seed).values
    write_tif(
        folder / "thickness.tif", values, size=1000, crs="EPSG:32646", left=400_000, top=3_330_000, nodata=float("nan")
    )


def test_a_run_of_zonal_statistics_alone_has_a_page(recipe: dict[str, Any], tmp_path: Path) -> None:
    entries = recipe.pop("zonal")
    tpsoil.run(recipe, progress=False)
    alone = {"run": {"name": "alone", "output": str(tmp_path / "alone.zarr"), "cube": recipe["run"]["output"]},
             "zonal": entries}  # fmt: skip
    tpsoil.run(alone, progress=False)
    page = write_page(alone["run"]["output"], tmp_path / "page.html").read_text()
    assert "Statistics by polygon: basins" in page
    assert '"name":"solum_thickness"' in page  # the layer that was summarised, on the map
    assert "<title>alone</title>" in page


def test_a_recipe_gives_the_table_as_csv_and_on_the_page(recipe: dict[str, Any], tmp_path: Path) -> None:
    maps = tpsoil.run(recipe, progress=False)
    csv = tmp_path / "out.zarr" / "_tpsoil" / "models" / "zonal_basins.zonal_basins.csv"
    stored = pd.read_csv(csv)
    with pytest.warns(UserWarning, match="zonal_statistics"):
        direct = zonal_statistics(maps[["solum_thickness"]], tmp_path / "basins.gpkg", by="basin")
    pd.testing.assert_frame_equal(stored, direct, check_dtype=False)
    table = result_tables(recipe["run"]["output"])["Statistics by polygon: basins"]
    assert table["polygon"].tolist() == list(SHAPES)
    page = write_page(recipe["run"]["output"], tmp_path / "page.html").read_text()
    for text in ("Statistics by polygon: basins", "ragged", "lie partly outside the grid"):
        assert text in page
    csv.unlink()
    tpsoil.run(recipe, progress=False)
    assert csv.exists()
    write_thickness(tmp_path, 9)
    tpsoil.run(recipe, progress=False)
    assert pd.read_csv(csv)["mean"].iloc[0] != stored["mean"].iloc[0]


def test_columns_of_zonal_statistics_have_titles(recipe: dict[str, Any]) -> None:
    tpsoil.run(recipe, progress=False)
    assert untitled(recipe["run"]["output"]) == set()


def test_faults_of_the_recipe(recipe: dict[str, Any]) -> None:
    entry = recipe["zonal"][0]
    recipe["zonal"] = [{**entry, "statistics": ["maen"], "partial_cells": "all"}, entry, entry]
    with pytest.raises(RecipeError) as caught:
        tpsoil.run(recipe, progress=False)
    text = str(caught.value)
    assert "zonal[1].statistics: is not usable: no statistic 'maen'; did you mean 'mean'" in text
    assert "zonal[3].name: 'basins' is given twice" in text
    recipe["zonal"] = [{**entry, "layers": ["solum_thicknes"], "polygons": "bassins.gpkg"}]
    with pytest.raises(RecipeError) as caught:
        tpsoil.run(recipe, progress=False)
    assert "zonal: needs layer 'solum_thicknes'" in str(caught.value)
    assert "zonal[1].polygons: no such file" in str(caught.value)
