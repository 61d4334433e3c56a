"""Vector files that are broken or ambiguous: rejected with the file and the fix, or counted, reported and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

import tpsoil
from tpsoil.errors import InputError, MissingInputError
from tpsoil.grid import grid_from_bounds, plateau_grid
from tpsoil.ingest import read_mask
from tpsoil.ingest.class_polygons import class_reader
from tpsoil.recipes.assembly import Assembly
from tpsoil.recipes.zonal_stage import ZonalTable, zonal_stages
from tpsoil.variables import variable

GRID = grid_from_bounds("EPSG:4326", (80, 30, 90, 35), 0.5)


def lakes(count: int = 900, west: float = 80.0) -> geopandas.GeoDataFrame:
    """Small squares, left to right in rows."""
    generator = np.random.default_rng(0)
    x, y = generator.uniform(west, west + 9.9, count), generator.uniform(30, 34.9, count)
    boxes = [shapely.box(a, b, a + 0.05, b + 0.05) for a, b in zip(x, y)]
    return geopandas.GeoDataFrame({"number": range(count)}, geometry=boxes, crs="EPSG:4326")


def shapefile(folder: Path) -> Path:
    lakes().to_file(folder / "lakes.shp")
    return folder / "lakes.shp"


def cut(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


@pytest.mark.parametrize("suffix", [".shp", ".shx", ".dbf"])
def test_half_a_shapefile_is_an_error(tmp_path: Path, tpsoil_command: Callable, suffix: str) -> None:
    path = shapefile(tmp_path)
    assert int(read_mask(None, GRID, outside=path).sum()) < 200
    cut(path.with_suffix(suffix))
    with pytest.raises(InputError, match=rf"lakes\{suffix} ends after \d+ of \d+ bytes.*fetch or copy it again"):
        read_mask(None, GRID, outside=path)
    store = tmp_path / "cube.zarr"
    tpsoil.create_cube(store, GRID)
    shapely_area = geopandas.GeoDataFrame(geometry=[shapely.box(80, 30, 90, 35)], crs="EPSG:4326")
    shapely_area.to_file(tmp_path / "area.geojson")
    done = tpsoil_command("cube", "add", store, "soil_mask", tmp_path / "area.geojson", "--outside", path)
    assert done.status == 2
    assert f"lakes{suffix} ends after" in done.err
    assert not (store / "soil_mask").exists()


def test_files_of_two_shapefiles(tmp_path: Path) -> None:
    path = shapefile(tmp_path)
    lakes(30).to_file(tmp_path / "other.shp")
    (tmp_path / "lakes.dbf").write_bytes((tmp_path / "other.dbf").read_bytes())
    with pytest.raises(InputError, match=r"900 shapes and 30 records in its \.dbf; its files do not belong together"):
        read_mask(None, GRID, outside=path)


def test_a_layer_of_several_must_be_named(tmp_path: Path, tpsoil_command: Callable) -> None:
    path = tmp_path / "plateau.gpkg"
    lakes(5).to_file(path, layer="rivers")
    lakes(900).to_file(path, layer="lakes")
    with pytest.raises(InputError, match=r"2 layers \(rivers, lakes\); name one of them: .*gpkg\|layername=lakes'"):
        read_mask(None, GRID, outside=path)
    one = read_mask(None, GRID, outside=f"{path}|layername=lakes")
    whole = read_mask(None, GRID, outside=lakes(900))
    np.testing.assert_array_equal(one, whole)
    with pytest.raises(InputError, match="no layer 'lake'; did you mean 'lakes'"):
        read_mask(None, GRID, outside=f"{path}|layername=lake")
    store = tmp_path / "cube.zarr"
    tpsoil.create_cube(store, GRID)
    done = tpsoil_command("cube", "add", store, "soil_mask", f"{path}|layername=lakes")
    assert done.status == 0, done.err
    assert "plateau.gpkg" in tpsoil.open_cube(store)["soil_mask"].attrs["source"]


def test_lakes_off_the_grid_are_reported_and_kept(tmp_path: Path, tpsoil_command: Callable) -> None:
    path = tmp_path / "lakes.geojson"
    lakes(20, west=120.0).to_file(path)
    with pytest.warns(UserWarning, match=r"none of the polygons of lakes\.geojson touches the grid"):
        mask = read_mask(None, GRID, outside=path)
    assert mask.attrs["source_problem"] == "none of the polygons of lakes.geojson touches the grid"


def test_features_without_an_area_are_counted() -> None:
    frame = lakes(4)
    frame.loc[1, "geometry"] = shapely.Point(81, 31)
    frame.loc[2, "geometry"] = None
    with pytest.warns(UserWarning, match="2 of 4 features of polygons are no polygons and were left out"):
        mask = read_mask(None, GRID, outside=frame)
    assert "2 of 4 features" in mask.attrs["source_problem"]
    with pytest.raises(InputError, match="has no polygons among its 1 features"):
        read_mask(frame[1:2], GRID)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "lakes.geojson").mkdir()
    with pytest.raises(InputError, match=r"lakes\.geojson is a folder, expected a vector file"):
        read_mask(None, GRID, outside=tmp_path / "lakes.geojson")
    with pytest.raises(MissingInputError, match=r"no such file .*none\.shp"):
        read_mask(tmp_path / "none.shp", GRID)
    (tmp_path / "a.shp").symlink_to(tmp_path / "b.shp")
    (tmp_path / "b.shp").symlink_to(tmp_path / "a.shp")
    with pytest.raises(InputError, match=r"a\.shp cannot be opened"):
        read_mask(tmp_path / "a.shp", GRID)


def test_messages_on_polygons_of_classes_name_their_layer(tmp_path: Path) -> None:
    path = tmp_path / "units.geojson"
    box = shapely.box(88.0, 32.0, 90.0, 34.0)
    geopandas.GeoDataFrame({"unit": ["a"]}, geometry=[box.centroid], crs=4326).to_file(path)
    read = partial(class_reader, grid=plateau_grid(100_000), spec=variable("biome"), column="unit", codes={"a": 1})
    with pytest.raises(InputError, match=r"^biome: units\.geojson has no polygons among its 1 features"):
        read(path)
    with pytest.raises(MissingInputError, match="^biome: no such file"):
        read(tmp_path / "none.geojson")
    geopandas.GeoDataFrame({"unit": [None]}, geometry=[box], crs=4326).to_file(path)
    with pytest.raises(InputError, match="^biome: column 'unit' of units.geojson is empty in all 1 polygons"):
        read(path)


def upper_case(folder: Path, count: int = 900) -> Path:
    """A shapefile as older systems name its files."""
    lakes(count).to_file(folder / "lakes.shp")
    for part in list(folder.glob("lakes.*")):
        part.rename(folder / part.name.upper())
    return folder / "LAKES.SHP"


def test_a_shapefile_in_capitals_is_checked_and_has_a_digest(tmp_path: Path) -> None:
    """Its files were looked for in lower case: a cut one passed, and the digest was that of no file."""
    path = upper_case(tmp_path)
    digest = read_mask(None, GRID, outside=path).attrs["source_digest"]
    assert digest.startswith("sha256:")
    table = ZonalTable(name="lakes", layers=("slope",), polygons=str(path))
    (stage,) = zonal_stages([table], Assembly(lambda: GRID, 0, {}, (), {}, {}, repr))
    assert {file.name for file in stage.files} >= {"LAKES.SHP", "LAKES.DBF", "LAKES.PRJ"}
    cut(path.with_suffix(".DBF"))
    with pytest.raises(InputError, match=r"LAKES\.DBF ends after \d+ of \d+ bytes.*fetch or copy it again"):
        read_mask(None, GRID, outside=path)
    upper_case(tmp_path, 30)
    assert read_mask(None, GRID, outside=path).attrs["source_digest"] != digest


def test_polygons_of_mapinfo(tmp_path: Path) -> None:
    lakes(50).to_file(tmp_path / "lakes.tab", driver="MapInfo File")
    store = tmp_path / "cube.zarr"
    tpsoil.create_cube(store, GRID)
    tpsoil.add_layer(store, "soil_mask", tmp_path / "lakes.tab")
    expected = read_mask(lakes(50), GRID)
    np.testing.assert_array_equal(tpsoil.open_cube(store)["soil_mask"].values, expected.values)
