"""Every driver of the catalogue against the mirror: STAC with tokens, NetCDF subsets, Zarr, archives, a WFS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
import zarr
from mirror import Mirror, make_sources, send, serving
from test_fetch import BOX, FAST, network, same_layers

import tpsoil
from tpsoil.cube import add_layer, cube_info, open_cube
from tpsoil.errors import AccessError, GridError, InputError, WorkError
from tpsoil.recipes import fetch
from tpsoil.sources import Cache, Client, Entry, OfflineError, SourceChangedError, fetch_file, read_catalogue
from tpsoil.sources.probe import check
from tpsoil.sources.subsets import plan_subset, read_subset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def mirror(root: Path) -> Iterator[Mirror]:
    with serving(Mirror(root)) as running:
        yield running


def fetched(mirror: Mirror, folder: Path, layer: str, *, store: str = "cube.zarr", **how: Any) -> xr.Dataset:
    fetch(folder / store, BOX, layers=[layer], resolution=4000, network=network(mirror, folder, **how))
    return open_cube(folder / store)


def by_hand(folder: Path, name: str, source: Any, **options: Any) -> xr.Dataset:
    """The same layer of whole files, with add_layer."""
    tpsoil.create_cube(folder / "by_hand.zarr", cube_info(folder / "cube.zarr").grid)
    add_layer(str(folder / "by_hand.zarr"), name, source, **options)
    return open_cube(folder / "by_hand.zarr")


# --- STAC ------------------------------------------------------------------------------------------------------


def test_stac_reads_all_pages_and_only_the_items_of_the_entry(mirror: Mirror, root: Path, tmp_path: Path) -> None:
    cube = fetched(mirror, tmp_path, "modis/npp")
    assert mirror.paths.count("api/stac/v1/search") == 2
    assert not [path for path in mirror.paths if "MYD17" in path]
    whole = by_hand(tmp_path, "net_primary_production", str(root / "modis-061-cogs/MOD17A3HGF/25/*/tile.tif"),
                    units="kg m-2 a-1", scale=0.0001, combine="mosaic",
                    nodata=[32767, 32761, 32762, 32763, 32764, 32765, 32766])  # fmt: skip
    same_layers(cube, whole)
    assert 90 < float(cube.net_primary_production.mean()) < 720  # g m-2 a-1


def test_codes_of_land_without_an_estimate_are_missing_and_not_zero(mirror: Mirror, tmp_path: Path) -> None:
    result = fetch(tmp_path / "cube.zarr", (80.85, 29.3, 81.4, 29.8), layers=["modis/npp"], resolution=4000,
                   network=network(mirror, tmp_path))  # fmt: skip
    values = open_cube(tmp_path / "cube.zarr").net_primary_production.values
    assert result.written == ("net_primary_production",)
    assert np.isnan(values).any()
    assert float(np.nanmax(values)) < 720  # 32765 x 0.0001 kg would be 3277 g


def test_no_token_is_stored_and_one_that_ends_early_is_renewed(mirror: Mirror, tmp_path: Path) -> None:
    state = {"reads": 0}

    def expire(handler: Any, path: str, _number: int) -> bool:
        if path.startswith("modis-061-cogs"):
            state["reads"] += 1
            if state["reads"] == 3:
                mirror.tokens.clear()
                mirror.tokens.add("sig=other")
        return False

    mirror.fault = expire
    fetched(mirror, tmp_path, "modis/ndvi")
    assert mirror.paths.count("api/sas/v1/token/modis-13A1-061") == 2
    for file in [*tmp_path.rglob("*.lock"), *tmp_path.rglob("zarr.json"), *tmp_path.rglob("META"),
                 *tmp_path.rglob("*.json")]:  # fmt: skip
        assert "sig=" not in file.read_text()


def test_a_token_near_its_end_is_renewed_before_it_is_used(mirror: Mirror, tmp_path: Path) -> None:
    mirror.token_seconds = 1.0
    fetched(mirror, tmp_path, "modis/ndvi")
    assert mirror.paths.count("api/sas/v1/token/modis-13A1-061") > 3


def test_a_token_that_is_never_accepted_ends_in_a_message(mirror: Mirror, tmp_path: Path) -> None:
    mirror.fault = lambda handler, path, _number: path.startswith("modis-061-cogs") and send(handler, 403)
    with pytest.raises(AccessError, match=r"ndvi: .*does not allow it.*signed address may have expired"):
        fetched(mirror, tmp_path, "modis/ndvi")


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b"<html>", WorkError, "is no list of STAC items"),
        (b'{"features": [], "links": []}', GridError, "outside the source"),
        (json.dumps({"features": [{"id": "MOD13A1.x", "assets": {"500m_16_days_NDVI": {"href": "s3://b/c.tif"}}}]}).encode(),
         WorkError, "expected an address of http"),
        (json.dumps({"features": [], "links": [{"rel": "next", "href": "/api", "method": "POST"}]}).encode(),
         AccessError, "wants POST"),
    ],
)  # fmt: skip
def test_answers_of_a_search_that_cannot_be(
    mirror: Mirror, tmp_path: Path, body: bytes, error: type[Exception], message: str
) -> None:
    mirror.fault = lambda handler, path, _number: path.startswith("api/stac") and send(handler, 200, body)
    with pytest.raises(error, match=message):
        fetched(mirror, tmp_path, "modis/ndvi")


def test_pages_that_refer_to_each_other_end(mirror: Mirror, tmp_path: Path) -> None:
    def circle(handler: Any, path: str, _number: int) -> bool:
        body = {"features": [], "links": [{"rel": "next", "href": f"{mirror.address}/api/stac/v1/search?page=1"}]}
        return path.startswith("api/stac") and send(handler, 200, json.dumps(body).encode())

    mirror.fault = circle
    with pytest.raises(WorkError, match="do not end"):
        fetched(mirror, tmp_path, "modis/ndvi")


# --- NetCDF and Zarr -------------------------------------------------------------------------------------------


def test_twelve_months_of_a_subset_service_become_the_year(mirror: Mirror, root: Path, tmp_path: Path) -> None:
    cube = fetched(mirror, tmp_path, "terraclimate/ppt?year=2010")
    whole = by_hand(tmp_path, "annual_precipitation", str(root / "thredds/ppt.nc"), units="mm/month", combine="sum",
                    variable="ppt", crs="EPSG:4326")  # fmt: skip
    assert mirror.sent < (root / "thredds/ppt.nc").stat().st_size / 5  # the box, not the file
    np.testing.assert_allclose(
        cube.annual_precipitation.values, whole.annual_precipitation.values, rtol=1e-6
    )  # coordinates of the subset are the file's, but its first cell is another
    assert 300 < float(cube.annual_precipitation.mean()) < 1400


def test_a_subset_works_offline_and_a_changed_answer_is_named_by_locked(root: Path, tmp_path: Path) -> None:
    with serving(Mirror(root)) as running:
        first = fetched(running, tmp_path, "terraclimate/pet").load()
    offline = fetched(running, tmp_path, "terraclimate/pet", store="offline.zarr", offline=True)
    same_layers(first, offline)
    with pytest.raises(OfflineError, match="potential_evapotranspiration"):
        fetched(running, tmp_path, "terraclimate/pet?year=1999", store="other.zarr", offline=True)
    with serving(Mirror(root)) as running:
        own = network(running, tmp_path / "elsewhere", locked=True)
        text = (tmp_path / "cube.sources.lock").read_text()
        old = text.split("http://")[1].split("/")[0]
        (tmp_path / "elsewhere/cube.sources.lock").write_text(
            text.replace(old, running.address.removeprefix("http://"))
        )
        fetch(tmp_path / "elsewhere/cube.zarr", BOX, layers=["terraclimate/pet"], resolution=4000, network=own)
        for file in (tmp_path / "elsewhere/cache/answers").iterdir():
            file.unlink()
        changed = xr.open_dataset(root / "thredds/pet.nc", mask_and_scale=False, decode_times=False).load()
        before = (root / "thredds/pet.nc").read_bytes()
        changed.pet.values[:] += 1
        changed.to_netcdf(root / "thredds/pet.nc", engine="scipy")
        try:
            with pytest.raises(SourceChangedError, match="pet"):
                fetch(tmp_path / "elsewhere/cube.zarr", layers=["terraclimate/pet"], overwrite=True,
                      network=network(running, tmp_path / "elsewhere", locked=True))  # fmt: skip
        finally:
            (root / "thredds/pet.nc").write_bytes(before)


def test_an_answer_that_is_no_netcdf_file_is_named_and_asked_for_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.fault = lambda handler, path, _number: (
        path.startswith("thredds") and send(handler, 200, b"<html>busy</html>")
    )
    with pytest.raises(WorkError, match="no NetCDF file"):
        fetched(mirror, tmp_path, "terraclimate/ppt")
    mirror.fault = None
    assert "annual_precipitation" in fetched(mirror, tmp_path, "terraclimate/ppt")


def test_a_scale_that_the_entry_does_not_state_is_an_error_of_a_subset(mirror: Mirror, tmp_path: Path) -> None:
    how = network(mirror, tmp_path)
    path = tmp_path / "catalogue.toml"
    path.write_text(path.read_text().replace('variable = "ppt"', 'variable = "ppt"\nstated_scale = 1.0'))
    with pytest.raises(InputError, match=r"its scale is 0.1, the entry states 1"):
        fetch(tmp_path / "cube.zarr", BOX, layers=["terraclimate/ppt"], resolution=4000, network=how)


ZARR = """
[own.t2m]
layer = "mean_annual_temperature"
driver = "zarr"
url = "{address}/cube/temperature.zarr"
variable = "t2m"
crs = "EPSG:4326"
resolution_m = 27800
kind = "continuous"
unit = "K"
version = "1"
licence = "CC0-1.0"
citation = "simulated, no doi"
documentation = "https://example.org"
"""


def own_catalogue(mirror: Mirror, folder: Path, text: str) -> Any:
    how = network(mirror, folder)
    with (folder / "catalogue.toml").open("a", encoding="utf-8") as file:
        file.write(text.format(address=mirror.address))
    return how


def test_of_a_zarr_group_only_the_chunks_of_the_box_are_read(mirror: Mirror, root: Path, tmp_path: Path) -> None:
    how = own_catalogue(mirror, tmp_path, ZARR)
    fetch(tmp_path / "cube.zarr", BOX, layers=["own/t2m"], resolution=4000, network=how)
    chunks = {path for path in mirror.paths if path.startswith("cube/temperature.zarr/t2m/c/")}
    assert len(chunks) == 4  # of 16: the box with its margin lies across two columns and two rows
    stored = zarr.open_group(str(root / "cube/temperature.zarr"), mode="r")
    array = xr.DataArray(stored["t2m"][:], dims=("latitude", "longitude"), attrs={"units": "K"},
                         coords={"latitude": stored["latitude"][:], "longitude": stored["longitude"][:]})  # fmt: skip
    whole = by_hand(tmp_path, "mean_annual_temperature", array, crs="EPSG:4326")
    np.testing.assert_allclose(
        open_cube(tmp_path / "cube.zarr").mean_annual_temperature.values,
        whole.mean_annual_temperature.values,
        atol=1e-4,
    )
    before = mirror.requests
    offline = Cache(Client(FAST, offline=True), tmp_path / "cache")
    assert offline.client.bytes_read == 0
    fetch(tmp_path / "again.zarr", BOX, layers=["own/t2m"], resolution=4000,
          network=replace(how, offline=True, client=Client(FAST, offline=True)))  # fmt: skip
    assert mirror.requests == before
    same_layers(open_cube(tmp_path / "cube.zarr"), open_cube(tmp_path / "again.zarr"))


def test_a_box_around_greenwich_has_both_sides_of_longitudes_up_to_360(
    mirror: Mirror, root: Path, tmp_path: Path
) -> None:
    group = zarr.open_group(str(root / "cube/world.zarr"), mode="w")
    axes = {"latitude": np.arange(49.0, 43.0, -0.25), "longitude": np.arange(0.0, 360.0, 0.25)}
    east, north = np.meshgrid((axes["longitude"] + 180) % 360 - 180, axes["latitude"])
    for name, values in {**axes, "t2m": 280 + east / 10 + north / 100}.items():
        dims = ("latitude", "longitude") if name == "t2m" else (name,)
        group.create_array(name, data=values, dimension_names=dims, attributes={"units": "K"})
    how = own_catalogue(mirror, tmp_path, ZARR.replace("temperature.zarr", "world.zarr"))
    fetch(tmp_path / "cube.zarr", (-3, 45, 4, 47), layers=["own/t2m"], resolution=20_000, network=how)
    warmth = open_cube(tmp_path / "cube.zarr").mean_annual_temperature
    assert not warmth.isnull().any()
    assert float(warmth.max() - warmth.min()) > 0.6  # 7 degrees of longitude


def test_a_zarr_group_without_the_array_or_the_box_is_named(mirror: Mirror, tmp_path: Path) -> None:
    how = own_catalogue(mirror, tmp_path, ZARR.replace('variable = "t2m"', 'variable = "tp"'))
    with pytest.raises(InputError, match="has no array 'tp'"):
        fetch(tmp_path / "cube.zarr", BOX, layers=["own/t2m"], resolution=4000, network=how)
    how = own_catalogue(mirror, tmp_path / "b", ZARR)
    with pytest.raises(GridError, match="outside the source"):
        fetch(tmp_path / "b/cube.zarr", (10, 40, 11, 41), layers=["own/t2m"], resolution=4000, network=how)


# --- polygons and tables ---------------------------------------------------------------------------------------


def test_polygons_of_an_archive_are_those_of_the_box(mirror: Mirror, root: Path, tmp_path: Path) -> None:
    how = network(mirror, tmp_path)
    catalogue = read_catalogue(how.catalogue)
    cache = Cache(how.client, tmp_path / "cache")
    for name in ("hydrolakes/polygons", "natural_earth/lakes"):
        polygons = geopandas.read_file(fetch_file(catalogue.select(name)[0], BOX, cache))
        assert len(polygons) == 1  # the other lies far away
        assert polygons.crs.to_epsg() == 4326
        np.testing.assert_allclose(polygons.total_bounds, (90.6, 30.0, 90.8, 30.2))
    offline = Cache(Client(FAST, offline=True), tmp_path / "cache")
    assert fetch_file(catalogue.select("natural_earth/lakes")[0], BOX, offline).exists()


def test_rows_of_the_pinned_snapshot_are_read_without_the_rest_of_the_archive(
    mirror: Mirror, root: Path, tmp_path: Path
) -> None:
    how = network(mirror, tmp_path)
    choice = read_catalogue(how.catalogue).select("wosis/snapshot2023?table=profiles")[0]
    rows = pd.read_csv(fetch_file(choice, BOX, Cache(how.client, tmp_path / "cache")))
    every = pd.read_csv(root / "profiles.csv")
    inside = every[every.longitude.between(BOX[0], BOX[2]) & every.latitude.between(BOX[1], BOX[3])]
    pd.testing.assert_frame_equal(rows, inside.reset_index(drop=True))
    assert 0 < len(rows) < len(every)
    assert mirror.sent < 100_000 < (root / "public/wosis_snapshot/WoSIS_2023_December.zip").stat().st_size


def test_all_pages_of_a_wfs_are_joined(mirror: Mirror, root: Path, tmp_path: Path) -> None:
    how = network(mirror, tmp_path)
    path = tmp_path / "catalogue.toml"
    path.write_text(path.read_text().replace("COUNT=10000", "COUNT=3"))
    choice = read_catalogue(how.catalogue).select("wosis/latest")[0]
    rows = pd.read_csv(fetch_file(choice, (88, 28, 93, 33), Cache(how.client, tmp_path / "cache")))
    pd.testing.assert_frame_equal(rows, pd.read_csv(root / "profiles.csv"))
    assert mirror.paths.count("mapserv") == 21


def test_an_error_of_a_wfs_in_xml_is_an_error(mirror: Mirror, tmp_path: Path) -> None:
    how = network(mirror, tmp_path)
    mirror.fault = lambda handler, _path, _number: send(handler, 200, b"<ows:ExceptionReport>no such layer</>")
    with pytest.raises(WorkError, match="no such layer"):
        fetch_file(read_catalogue(how.catalogue).select("wosis/latest")[0], BOX, Cache(how.client, tmp_path / "cache"))


def test_an_archive_that_is_none_or_lacks_the_member_is_named(mirror: Mirror, tmp_path: Path) -> None:
    how = network(mirror, tmp_path)
    path = tmp_path / "catalogue.toml"
    path.write_text(path.read_text().replace('member = "ne_10m_lakes.shp"', 'member = "lakes.shp"'))
    catalogue, cache = read_catalogue(how.catalogue), Cache(how.client, tmp_path / "cache")
    with pytest.raises(InputError, match=r"has no lakes\.shp; it has ne_10m_lakes"):
        fetch_file(catalogue.select("natural_earth/lakes")[0], BOX, cache)
    with pytest.raises(InputError, match="is a raster source; add it as a layer"):
        fetch_file(catalogue.select("chelsa/bio1")[0], BOX, cache)
    with pytest.raises(InputError, match="is a vector file and no layer"):
        fetch(tmp_path / "cube.zarr", BOX, layers=["natural_earth/lakes"], resolution=4000, network=how)


# --- lazy ------------------------------------------------------------------------------------------------------


def test_lazy_layers_equal_the_cube_and_read_only_the_chunks_that_are_computed(mirror: Mirror, tmp_path: Path) -> None:
    layers = ["elevation", "chelsa/bio12", "soilgrids/clay", "land_cover"]
    fetch(tmp_path / "a/cube.zarr", BOX, layers=layers, resolution=150, network=network(mirror, tmp_path / "a"))
    cube = open_cube(tmp_path / "a/cube.zarr")
    before = mirror.sent
    lazy = tpsoil.fetch(bbox=BOX, layers=layers, resolution=150, network=network(mirror, tmp_path / "b"))
    planned = mirror.sent - before
    assert set(lazy.data_vars) == set(cube.data_vars)
    assert all(len(layer.chunks[0]) > 1 for layer in lazy.data_vars.values())
    corner = lazy.annual_precipitation[:40, :40].values
    part = mirror.sent - before - planned
    np.testing.assert_array_equal(corner, cube.annual_precipitation[:40, :40].values)
    _ = lazy.annual_precipitation.values
    assert 0 < part < (mirror.sent - before - planned) / 1.3
    same_layers(lazy.load(), cube)
    assert lazy.clay.attrs["licence"] == "CC-BY-4.0"
    assert not list((tmp_path / "b").glob("*.zarr"))


def test_options_of_a_store_are_rejected_without_one(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="belong to a store"):
        fetch(None, BOX, layers=["elevation"], resolution=400, dry_run=True, network=network(mirror, tmp_path))  # type: ignore[call-overload]


def test_a_window_is_the_files_own_values(mirror: Mirror, root: Path, tmp_path: Path) -> None:
    fetched(mirror, tmp_path, "openlandmap/soc")
    (window,) = (tmp_path / "cache/windows").glob("organic.carbon*.tif")
    with rasterio.open(window) as file:
        assert file.nodata == 255
    assert 1 < float(open_cube(tmp_path / "cube.zarr").soil_organic_carbon.mean()) < 12  # %, of 10 to 110 g/kg


# --- probes of every driver ------------------------------------------------------------------------------------

PROBED = {
    "modis/npp": (0.1, 0.72), "modis/ndvi": (0.1, 0.82), "terraclimate/ppt": (300, 1400),
    "terraclimate/pet": (300, 1800), "openlandmap/soc": (10, 110), "copernicus_dem/glo30": (4000, 5500),
    "natural_earth/lakes": (), "hydrolakes/polygons": (), "wosis/snapshot2023": (), "wosis/latest": (),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBED)
def test_every_driver_is_probed(mirror: Mirror, tmp_path: Path, name: str) -> None:
    how = network(mirror, tmp_path)
    catalogue = read_catalogue(how.catalogue)
    limits = PROBED[name]
    places = [[lon, lat, *limits] for lon, lat in ((90.3, 29.4), (90.5, 29.9), (90.8, 30.2))] if limits else []
    entry = Entry.model_validate(catalogue.entries[name].model_dump() | {"probes": places})
    (result,) = check(replace(catalogue, entries={name: entry}), Cache(how.client, tmp_path / "probe"))
    assert result.ok, result.message
    if limits:
        low = Entry.model_validate(
            entry.model_dump() | {"probes": [[*places[0][:2], limits[0] - 9e4, limits[0] - 8e4]]}
        )
        (result,) = check(replace(catalogue, entries={name: low}), Cache(how.client, tmp_path / "probe"))
        assert not result.ok
        assert "expected" in result.message
    mirror.fault = lambda handler, _path, _number: send(handler, 500)
    (result,) = check(
        replace(catalogue, entries={name: entry}), Cache(Client(replace(FAST, tries=1)), tmp_path / "empty")
    )
    assert not result.ok
    assert "HTTP 500" in result.message


def test_the_weekly_workflow_probes_and_does_not_hide_the_status() -> None:
    text = (Path(__file__).parent.parent / ".github/workflows/sources.yml").read_text()
    assert "cron:" in text
    assert "shell: bash" in text.partition("tpsoil sources check | tee")[0].rpartition("- name")[2]
    assert "continue-on-error" not in text


def test_the_failure_of_another_source_does_not_concern_a_zarr_group(mirror: Mirror, tmp_path: Path) -> None:
    how = own_catalogue(mirror, tmp_path, ZARR)
    cache = Cache(Client(FAST), tmp_path / "cache")
    cache.failure = AccessError("another source: HTTP 500")
    (choice,) = read_catalogue(how.catalogue).select("own/t2m")
    path = read_subset(plan_subset(choice, BOX, cache), cache)
    assert path.exists()
    assert not [file for file in path.parent.iterdir() if file.name.startswith(".")]
