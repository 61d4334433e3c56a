"""Open data by name in a recipe: the same cache, lock file and offline use; licences and citations in every map."""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from mirror import Mirror, catalogue_of, make_sources, serving
from test_fetch import BOX, network, same_layers

import tpsoil
from tpsoil import recipes
from tpsoil.cli import main
from tpsoil.cube import cube_info, open_cube
from tpsoil.errors import AccessError, RecipeError
from tpsoil.recipes import fetch
from tpsoil.recipes.jobs import job_of
from tpsoil.reports import write_page
from tpsoil.sources import SourceChangedError

LAYERS = {
    "elevation": "catalogue:copernicus_dem/glo30",
    "clay": "catalogue:soilgrids/clay?depth=0-5cm",
    "annual_precipitation": "catalogue:chelsa/bio12",
    "net_primary_production": "catalogue:modis/npp?year=2020",
    "potential_evapotranspiration": "catalogue:terraclimate/pet?year=2010",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def mirror(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("TPSOIL_CACHE", str(tmp_path / "cache"))
    with serving(Mirror(root)) as running:
        catalogue_of(running, tmp_path / "catalogue.toml")
        yield running


@pytest.fixture
def cube(mirror: Mirror, tmp_path: Path) -> xr.Dataset:
    """The same entries in a cube, by `fetch`."""
    fetch(tmp_path / "cube.zarr", BOX, layers=[text.removeprefix("catalogue:") for text in LAYERS.values()],
          resolution=2000, network=network(mirror, tmp_path))  # fmt: skip
    return open_cube(tmp_path / "cube.zarr").load()


def recipe(folder: Path, *, layers: dict[str, str] | None = None, **tables: Any) -> dict[str, Any]:
    grid = cube_info(folder / "cube.zarr").grid
    named = LAYERS if layers is None else layers
    return {
        "run": {"name": "open", "output": str(folder / "maps.zarr")},
        "grid": {"bounds": [float(v) for v in grid.boundingbox.bbox], "resolution": 2000, "chunks": 64},
        "layers": [{"name": name, "source": source} for name, source in named.items()],
        "sources": {"catalogue": str(folder / "catalogue.toml")},
        **tables,
    }  # fmt: skip


def test_layers_of_a_recipe_are_those_that_fetch_makes(mirror: Mirror, tmp_path: Path, cube: xr.Dataset) -> None:
    maps = tpsoil.run(recipe(tmp_path), progress=False)
    same_layers(cube, maps[list(LAYERS)])
    lock = json.loads((tmp_path / "maps.sources.lock").read_text())
    assert {one["entry"] for one in lock["sources"]} == {
        text.removeprefix("catalogue:").partition("?")[0] for text in LAYERS.values()
    }
    tiles = [one for one in lock["sources"] if "clay_0-5cm_mean/tile" in one["url"]]
    assert tiles  # the files behind the VRT are named too
    assert maps.clay.attrs["source_lock"] == "maps.sources.lock"


def test_a_second_run_computes_nothing_and_works_with_the_server_stopped(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPSOIL_CACHE", str(tmp_path / "cache"))
    with serving(Mirror(root)) as running:
        catalogue_of(running, tmp_path / "catalogue.toml")
        fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000, network=network(running, tmp_path))
        layers = {"clay": LAYERS["clay"], "elevation": LAYERS["elevation"]}
        text = recipe(tmp_path, layers=layers, derive={"terrain": {"layers": ["slope"]}})
        first = tpsoil.run(text, progress=False).load()
    text["sources"]["offline"] = True
    assert [len(one.plan.to_compute) for one in recipes.preview(text)] == [0, 0, 0]
    text["run"]["output"] = str(tmp_path / "again.zarr")
    same_layers(first, tpsoil.run(text, progress=False))


def test_locked_names_a_changed_file_of_a_recipe(mirror: Mirror, tmp_path: Path, cube: xr.Dataset) -> None:
    text = recipe(tmp_path, layers={"clay": LAYERS["clay"]})
    tpsoil.run(text, progress=False)
    text["sources"]["locked"] = True
    job_of(text)  # nothing changed
    tile = next(path for path in mirror.paths if path.endswith("clay_0-5cm_mean/tile_0.tif"))
    mirror.etags[tile] = '"another"'
    with pytest.raises(SourceChangedError, match=r"clay_0-5cm_mean/tile_0\.tif"):
        job_of(text)


def test_a_relative_cache_folder_belongs_to_the_working_folder_and_not_to_the_recipes(
    mirror: Mirror, tmp_path: Path, cube: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TPSOIL_CACHE", "own_cache")
    (tmp_path / "recipes").mkdir()
    text = recipe(tmp_path, layers={"clay": LAYERS["clay"]})
    lines = [f'[run]\nname = "a"\noutput = "maps.zarr"\n[sources]\ncatalogue = "{tmp_path}/catalogue.toml"\n[grid]\n',
             f"bounds = {text['grid']['bounds']}\nresolution = 2000\n",
             f'[[layers]]\nname = "clay"\nsource = "{LAYERS["clay"]}"\n']  # fmt: skip
    (tmp_path / "recipes/a.toml").write_text("".join(lines))
    maps = tpsoil.run("recipes/a.toml", progress=False)
    np.testing.assert_array_equal(maps.clay.values, cube.clay.values)
    assert (tmp_path / "own_cache/sources/windows").is_dir()
    assert (tmp_path / "recipes/maps.sources.lock").is_file()


def test_a_changed_tile_behind_a_vrt_is_read_again(
    mirror: Mirror, root: Path, tmp_path: Path, cube: xr.Dataset
) -> None:
    text = recipe(tmp_path, layers={"clay": LAYERS["clay"]})
    tpsoil.run(text, progress=False)
    tile = next(path for path in mirror.paths if path.endswith("clay_0-5cm_mean/tile_0.tif"))
    before = mirror.sent
    mirror.etags[tile] = '"another"'
    job_of(text)
    assert mirror.sent > before + 1000


def test_the_dem_of_derive_and_the_polygons_of_the_mask_come_from_the_catalogue(
    mirror: Mirror, tmp_path: Path, cube: xr.Dataset
) -> None:
    text = recipe(
        tmp_path,
        layers={"elevation": LAYERS["elevation"], "annual_precipitation": LAYERS["annual_precipitation"]},
        mask={"lakes": "catalogue:natural_earth/lakes", "glaciers": "catalogue:natural_earth/glaciers"},
        derive={"terrain": {"dem": "catalogue:copernicus_dem/glo30", "layers": ["slope"]}},
    )
    maps = tpsoil.run(text, progress=False).load()
    assert "Copernicus" in maps.slope.attrs["dem"]
    assert maps.slope.attrs["licences"] == ["copernicus_dem/glo30: Copernicus DEM licence: free of charge, attribution"]
    assert "natural_earth/lakes: public domain" in maps.soil_mask.attrs["licences"]
    assert 0 < int((maps.soil_mask == 0).sum()) < maps.soil_mask.size / 2
    local = tmp_path / "cache/sources/windows"
    assert list(local.glob("ne_10m_lakes-*.geojson"))
    files = [str(path) for path in local.glob("Copernicus*.tif")]
    text["run"] = {"name": "open", "output": str(tmp_path / "b.zarr")}
    text["derive"] = {"terrain": {"dem": sorted(files), "layers": ["slope"]}}
    by_hand = tpsoil.run(text, progress=False)
    np.testing.assert_array_equal(maps.slope.values, by_hand.slope.values)


@pytest.mark.parametrize(
    ("layers", "fault"),
    [
        ([{"name": "clay", "source": "catalogue:soilgrids/caly"}], "did you mean 'soilgrids/clay'"),
        ([{"name": "clay", "source": "catalogue:soilgrids/clay?depth=9cm"}], "depth is '9cm'"),
        ([{"name": "clay", "source": "catalogue:soil"}], "stands for soilgrids/clay"),
        ([{"name": "clay", "source": "catalogue:soilgrids/clay", "scale": 1.0}], "leave scale out"),
        ([{"name": "clay", "source": ["catalogue:soilgrids/clay", "a.tif"]}], "stands alone"),
        ([{"name": "clay", "source": "catalogue:natural_earth/lakes"}], "is a vector file, expected a raster"),
        ([{"name": "clay", "source": "catalogue:worldcover/map2021"}], "is categorical"),
        ([{"name": "glaciers", "source": "catalogue:rgi/v7", "units": "1", "kind": "continuous"}], "listed only"),
    ],
)
def test_names_that_cannot_be_are_faults_of_the_recipe(
    mirror: Mirror, tmp_path: Path, cube: xr.Dataset, layers: list[Any], fault: str
) -> None:
    with pytest.raises(RecipeError) as error:
        job_of({**recipe(tmp_path), "layers": layers})
    assert fault in str(error.value)
    assert "layers[1].s" in str(error.value)


def test_a_server_that_is_down_is_named_with_the_layer(
    mirror: Mirror, tmp_path: Path, cube: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPSOIL_CACHE", str(tmp_path / "empty"))
    text = recipe(tmp_path, layers={"clay": LAYERS["clay"]})
    text["sources"]["offline"] = True
    with pytest.raises(AccessError, match=r"clay: .*not in the cache"):
        job_of(text)


# --- licences --------------------------------------------------------------------------------------------------


def test_every_map_inherits_licences_and_citations_and_the_page_prints_them(
    mirror: Mirror, tmp_path: Path, cube: xr.Dataset
) -> None:
    del mirror, cube
    maps = tpsoil.run(
        {"run": {"name": "slope", "output": str(tmp_path / "maps.zarr"), "cube": str(tmp_path / "cube.zarr")},
         "derive": {"terrain": {"layers": ["slope", "general_curvature"]}},
         "solum": {"zones": "none", "parameters": {"h0": 0.3, "rho_s": 1300.0, "a": 2e-4, "b": 3e-5, "alpha": 0.1,
                                                    "beta": 0.02, "gamma": 1.0, "D": 5e-3},
                   "assumptions": {"mean_annual_temperature": {"value": 1.0, "units": "degC", "reason": "a test"},
                                   "water_erosion": {"value": 2.0, "units": "t ha-1 a-1", "reason": "a test"},
                                   "wind_erosion": {"value": 2.0, "units": "t ha-1 a-1", "reason": "a test"}}}},
        progress=False,
    )  # fmt: skip
    assert maps.slope.attrs["licences"] == ["elevation: Copernicus DEM licence: free of charge, attribution"]
    inherited = maps.solum_thickness.attrs
    assert any("Karger" in text for text in inherited["citations"])
    assert "annual_precipitation: CC0-1.0" in inherited["licences"]
    page = write_page(tmp_path / "maps.zarr", tmp_path / "page.html").read_text()
    assert "Licence of annual_precipitation: CC0-1.0" in page
    assert "Karger et al. 2017" in page
    assert f"Computed with tpsoil {tpsoil.__version__}" in page


def test_a_page_of_fetched_layers_names_licence_version_and_source(
    mirror: Mirror, tmp_path: Path, cube: xr.Dataset
) -> None:
    del mirror, cube
    page = write_page(tmp_path / "cube.zarr", tmp_path / "page.html").read_text()
    assert "Licence of clay: CC-BY-4.0" in page
    assert "Poggio et al. 2021" in page
    assert "2.1, 1981-2010" in page  # the version of CHELSA


def test_a_non_commercial_licence_is_named_before_anything_is_read(mirror: Mirror, tmp_path: Path) -> None:
    how = network(mirror, tmp_path)
    path = tmp_path / "catalogue.toml"
    before, after = path.read_text().split("[chelsa.bio12]\n")
    after = after.replace('licence = "CC0-1.0"', 'licence = "CC-BY-NC-4.0"\nnon_commercial = true', 1)
    path.write_text(f"{before}[chelsa.bio12]\n{after}")
    read: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], resolution=2000, network=how,
              progress=lambda *_: read.append("named" if caught else "not yet"))  # fmt: skip
    # the other categories are those in which libraries announce their own changes
    ours = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
    assert ours == ["chelsa/bio12: non-commercial use only (CC-BY-NC-4.0)"]
    assert set(read) == {"named"}
    with pytest.warns(UserWarning, match="non-commercial use only"):
        fetch(tmp_path / "other.zarr", BOX, layers=["chelsa/bio12"], resolution=2000, network=how, dry_run=True)


# --- the three lines of README ---------------------------------------------------------------------------------


def test_the_three_lines_of_readme_work_from_an_empty_folder(
    mirror: Mirror, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TPSOIL_CATALOGUE", str(tmp_path / "catalogue.toml"))
    del mirror

    def call(line: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(line.split())
        output = capsys.readouterr()
        assert stopped.value.code == 0, output.err
        return output.out

    layers = "elevation climate soil land_cover depth_to_bedrock"
    line = f"fetch my_cube.zarr --bbox {' '.join(map(str, BOX))} --resolution 1000 --layers {layers}"
    plan = call(f"{line} --dry-run")
    assert "MB to read" in plan
    assert "CC-BY-4.0" in plan
    assert not Path("my_cube.zarr").exists()
    call(line)
    text = call("recipe new solum --cube my_cube.zarr")
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    call("run -")
    maps = open_cube("solum_maps.zarr")
    assert float(maps.solum_thickness.mean()) > 0
    assert any("Karger" in one for one in maps.solum_thickness.attrs["citations"])
    call(line)  # and again: nothing to do
