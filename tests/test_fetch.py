"""From a bounding box to a cube, against a mirror on this machine: bytes, faults, offline use, lock file, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from mirror import Mirror, catalogue_of, make_sources, send, serving, stall

import tpsoil
from tpsoil.cli import main
from tpsoil.cube import add_layer, create_cube, cube_info, open_cube
from tpsoil.errors import AccessError, GridError, InputError, MissingInputError, RecipeError, WorkError
from tpsoil.grid import grid_from_bounds
from tpsoil.recipes import Fetched, Network, fetch
from tpsoil.sources import Client, OfflineError, Policy, SourceChangedError, choose, read_catalogue
from tpsoil.sources.catalogue import GRIDDED
from tpsoil.units import read_unit

BOX = (90.2, 29.2, 91.4, 30.6)
LAYERS = ("elevation", "climate", "depth_to_bedrock", "soilgrids/clay", "soilgrids/soc")
FAST = Policy(read_seconds=0.4, connect_seconds=2, backoff_seconds=0.01, longest_wait_seconds=0.2, tries=8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def mirror(root: Path) -> Iterator[Mirror]:
    with serving(Mirror(root)) as running:
        yield running


def network(mirror: Mirror, folder: Path, *, policy: Policy = FAST, **how: Any) -> Network:
    folder.mkdir(parents=True, exist_ok=True)
    offline = bool(how.get("offline", False))
    return Network(catalogue=catalogue_of(mirror, folder / "catalogue.toml"), cache=folder / "cache",
                   client=Client(policy, offline=offline), **how)  # fmt: skip


def get(mirror: Mirror, folder: Path, *, layers: tuple[str, ...] = LAYERS, **how: Any) -> Fetched:
    return fetch(folder / "cube.zarr", BOX, layers=layers, resolution=2000, network=network(mirror, folder, **how))


def same_layers(first: xr.Dataset, second: xr.Dataset) -> None:
    assert set(first.data_vars) == set(second.data_vars)
    for name in first.data_vars:
        np.testing.assert_array_equal(first[name].values, second[name].values, err_msg=str(name))


# --- the whole way ---------------------------------------------------------------------------------------------


def test_a_box_becomes_the_cube_that_add_layer_makes_of_the_same_files(
    mirror: Mirror, root: Path, tmp_path: Path
) -> None:
    result = fetch(tmp_path / "cube.zarr", BOX, layers=["elevation", "climate", "soilgrids/clay", "land_cover"],
                   resolution=400, network=network(mirror, tmp_path))  # fmt: skip
    cube = open_cube(tmp_path / "cube.zarr")
    assert set(result.written) == set(cube.data_vars)
    tpsoil.create_cube(tmp_path / "by_hand.zarr", cube_info(tmp_path / "cube.zarr").grid)
    by_hand = str(tmp_path / "by_hand.zarr")
    add_layer(by_hand, "elevation", str(root / "Copernicus_DSM_*" / "*.tif"), units="m", combine="mosaic")
    bio = root / "chelsa02/chelsa/global/bioclim"
    add_layer(by_hand, "mean_annual_temperature", str(bio / "bio1/1981-2010/CHELSA_bio1_1981-2010_V.2.1.tif"),
              units="degC")  # fmt: skip
    add_layer(by_hand, "annual_precipitation", str(bio / "bio12/1981-2010/CHELSA_bio12_1981-2010_V.2.1.tif"),
              units="mm")  # fmt: skip
    add_layer(by_hand, "clay", str(root / "soilgrids/latest/data/clay/clay_0-5cm_mean.vrt"), units="%", scale=0.1)
    entry = choose("worldcover/map2021").entry
    add_layer(by_hand, entry.layer, str(root / "v200/2021/map/*.tif"), kind="categorical", units="1", combine="mosaic",
              flags={int(k): v for k, v in entry.flags.items()})  # fmt: skip
    same_layers(cube, open_cube(by_hand))
    assert 3900 < float(cube.elevation.mean()) < 5600
    assert -20 < float(cube.mean_annual_temperature.mean()) < 10
    assert 10 < float(cube.clay.mean()) < 40


@pytest.mark.parametrize(
    ("layer", "resolution", "box"),
    [
        ("elevation", 150, (90.02, 29.02, 91.98, 30.98)),
        ("chelsa/bio12", 500, (88.5, 28.5, 92.5, 32.5)),
        ("depth_to_bedrock", 500, (90.02, 29.02, 91.98, 30.98)),
    ],
)
def test_what_is_read_is_little_more_than_the_windows_compressed_size(
    mirror: Mirror, tmp_path: Path, layer: str, resolution: float, box: tuple[float, float, float, float]
) -> None:
    """A window that is smaller than a piece of the cache, 16 kB, takes one piece; these are larger."""
    result = fetch(tmp_path / "cube.zarr", box, layers=[layer], resolution=resolution,
                   network=network(mirror, tmp_path))  # fmt: skip
    print(f"{layer}: read {mirror.sent} bytes, window {result.expected_bytes}: {result.ratio:.2f} times")
    assert result.bytes_read == mirror.sent
    assert all(one.exact for one in result.plans)
    assert result.ratio == mirror.sent / result.expected_bytes
    assert result.ratio <= 1.5
    (piece, *_) = result.plans[0].pieces
    with rasterio.open(mirror.root / piece.url.removeprefix(f"{mirror.address}/")) as source:
        assert piece.expected_bytes < mirror.root.joinpath(source.name).stat().st_size


def test_a_coarse_cube_reads_an_overview(mirror: Mirror, tmp_path: Path) -> None:
    fine = fetch(tmp_path / "a" / "fine.zarr", BOX, layers=["elevation"], resolution=250,
                 network=network(mirror, tmp_path / "a"))  # fmt: skip
    coarse = fetch(tmp_path / "b" / "coarse.zarr", BOX, layers=["elevation"], resolution=2000,
                   network=network(mirror, tmp_path / "b"))  # fmt: skip
    assert coarse.bytes_read < fine.bytes_read / 2
    cube = open_cube(tmp_path / "b" / "coarse.zarr")
    assert cube.elevation.attrs["read_at_overview"] in {"2", "4", "8"}
    assert cube.elevation.attrs["absent_tiles"].startswith("1: sea")
    assert np.isnan(cube.elevation.values).any()  # the tile that is not there stays empty, it is not 0 m


def test_licence_and_citation_stand_in_the_layer(mirror: Mirror, tmp_path: Path) -> None:
    get(mirror, tmp_path, layers=("soilgrids/clay?depth=0-5cm",))
    attrs = open_cube(tmp_path / "cube.zarr").clay.attrs
    assert attrs["licence"] == "CC-BY-4.0"
    assert "Poggio" in attrs["citation"]
    assert attrs["catalogue"] == "catalogue:soilgrids/clay?depth=0-5cm&statistic=mean"


def test_a_dry_run_shows_bytes_and_licences_and_writes_nothing(
    mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPSOIL_CACHE", str(tmp_path / "cache"))
    own = str(catalogue_of(mirror, tmp_path / "catalogue.toml"))
    words = ["fetch", str(tmp_path / "cube.zarr"), "--bbox", *map(str, BOX), "--resolution", "2000", "--catalogue", own]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--dry-run", "--layers", "elevation", "climate", "depth_to_bedrock"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    assert not (tmp_path / "cube.zarr").exists()
    for part in ("elevation", "annual_precipitation", "CC0-1.0", "MB to read", "nothing was written"):
        assert part in out
    create_cube(tmp_path / "degrees.zarr", grid_from_bounds("EPSG:4326", BOX, 0.1))
    with pytest.raises(SystemExit) as stopped:
        main(["fetch", str(tmp_path / "degrees.zarr"), "--catalogue", own, "--dry-run", "--layers", "elevation"])
    assert "cells of 0.1 x 0.1 deg at" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--layers", "elevation", "climate", "depth_to_bedrock"])
    assert stopped.value.code == 0
    assert set(open_cube(tmp_path / "cube.zarr").data_vars) == {
        "elevation", "mean_annual_temperature", "annual_precipitation", "depth_to_bedrock",
    }  # fmt: skip


# --- cache, offline, lock --------------------------------------------------------------------------------------


def test_with_the_server_down_the_same_command_still_works(root: Path, tmp_path: Path) -> None:
    with serving(Mirror(root)) as running:
        get(running, tmp_path)
        first = open_cube(tmp_path / "cube.zarr").load()
    quick = replace(FAST, tries=1)
    same = get(running, tmp_path, policy=quick)  # the same command, its cube is there
    assert same.written == ()
    assert same.bytes_read == 0
    same_layers(first, open_cube(tmp_path / "cube.zarr"))
    fetch(
        tmp_path / "again.zarr", BOX, layers=LAYERS, resolution=2000, network=network(running, tmp_path, policy=quick)
    )
    same_layers(first, open_cube(tmp_path / "again.zarr"))
    offline = fetch(tmp_path / "offline.zarr", BOX, layers=LAYERS, resolution=2000,
                    network=network(running, tmp_path, offline=True))  # fmt: skip
    assert offline.bytes_read == 0
    same_layers(first, open_cube(tmp_path / "offline.zarr"))
    with pytest.raises(OfflineError, match="not in the cache"):
        fetch(tmp_path / "other.zarr", (88.2, 31.0, 88.9, 31.6), layers=["soilgrids/sand"], resolution=2000,
              network=network(running, tmp_path, offline=True))  # fmt: skip


def test_the_lock_file_names_every_file_and_locked_rejects_a_changed_one(root: Path, tmp_path: Path) -> None:
    name = "chelsa02/chelsa/global/bioclim/bio12/1981-2010/CHELSA_bio12_1981-2010_V.2.1.tif"
    with serving(Mirror(root)) as running:
        get(running, tmp_path, layers=("climate",))
        lock = json.loads((tmp_path / "cube.sources.lock").read_text())
        assert {one["entry"] for one in lock["sources"]} == {"chelsa/bio1", "chelsa/bio12"}
        assert all(one["length"] > 0 and one["etag"] and one["windows"] for one in lock["sources"])
        how = {"layers": ["climate"], "overwrite": True}
        fetch(tmp_path / "cube.zarr", network=network(running, tmp_path, locked=True), **how)  # nothing changed
        running.etags[name] = '"another"'
        with pytest.raises(SourceChangedError, match="CHELSA_bio12"):
            fetch(tmp_path / "cube.zarr", network=network(running, tmp_path, locked=True), **how)
        assert fetch(tmp_path / "cube.zarr", network=network(running, tmp_path), **how).bytes_read > 0


def test_no_secret_enters_lock_attributes_or_messages(mirror: Mirror, tmp_path: Path) -> None:
    how = network(mirror, tmp_path)
    path = tmp_path / "catalogue.toml"
    path.write_text(path.read_text().replace("BDTICM_M_250m_ll.tif", "BDTICM_M_250m_ll.tif?token=hunter2"))
    fetch(tmp_path / "cube.zarr", BOX, layers=["depth_to_bedrock"], resolution=2000, network=how)
    for file in [*tmp_path.rglob("zarr.json"), *tmp_path.rglob("*.lock"), *tmp_path.rglob("META")]:
        assert "hunter2" not in file.read_text()
    path.write_text(path.read_text().replace("BDTICM_M_250m_ll.tif?", "BDTICM_gone.tif?"))
    with pytest.raises(MissingInputError) as error:
        fetch(tmp_path / "b.zarr", BOX, layers=["depth_to_bedrock"], resolution=2000, network=how)
    assert "hunter2" not in str(error.value)


def test_a_login_comes_from_netrc_as_a_header(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen: list[str] = []

    def note(handler: Any, _path: str, _number: int) -> bool:
        seen.append(handler.headers.get("Authorization", ""))
        return False

    mirror.fault = note
    get(mirror, tmp_path, layers=("chelsa/bio1",))
    assert set(seen) == {"Basic bWU6c2VjcmV0"}


# --- faults of servers -----------------------------------------------------------------------------------------


def a_third_fails(seed: int) -> Any:
    random = np.random.default_rng(seed)

    def fault(handler: Any, path: str, _number: int) -> bool:
        if random.random() > 1 / 3:
            return False
        kind = int(random.integers(5))
        if kind == 0:
            return send(handler, 503, Retry_After="0")
        if kind == 1:
            return send(handler, 429, Retry_After="1")
        if kind == 2:
            stall(0.6)
            return True
        if kind == 3:  # half a body
            handler.send_response(206)
            handler.send_header("Content-Length", "5000")
            handler.end_headers()
            handler.wfile.write(b"x" * 100)
            handler.close_connection = True
            return True
        handler.close_connection = True  # no answer at all
        return True

    return fault


def test_a_server_that_fails_a_third_of_its_answers_gives_the_same_bytes(mirror: Mirror, tmp_path: Path) -> None:
    get(mirror, tmp_path / "good")
    mirror.fault = a_third_fails(4)
    get(mirror, tmp_path / "bad", policy=replace(FAST, tries=12))
    same_layers(open_cube(tmp_path / "good" / "cube.zarr"), open_cube(tmp_path / "bad" / "cube.zarr"))


@pytest.mark.parametrize(
    ("status", "headers", "error", "message"),
    [
        (404, {}, MissingInputError, "no such file"),
        (403, {}, AccessError, "does not allow it"),
        (401, {}, AccessError, "netrc"),
        (500, {}, AccessError, "HTTP 500 after"),
        (429, {"Retry_After": "3600"}, AccessError, "HTTP 429"),
    ],
)
def test_final_answers_name_the_file_and_the_fix(
    mirror: Mirror, tmp_path: Path, status: int, headers: dict[str, str], error: type[Exception], message: str
) -> None:
    mirror.fault = lambda handler, _path, _number: send(handler, status, **headers)
    started = time.monotonic()
    with pytest.raises(error, match=message) as raised:
        get(mirror, tmp_path, layers=("chelsa/bio1",), policy=replace(FAST, tries=3))
    assert "CHELSA_bio1" in str(raised.value)
    assert not (tmp_path / "cube.zarr").exists()
    assert time.monotonic() - started < 10  # an hour of Retry-After is not waited for


def test_a_stalling_server_ends_in_a_message_with_the_layers_file(mirror: Mirror, tmp_path: Path) -> None:
    def hang(_handler: Any, _path: str, _number: int) -> bool:
        stall(1.0)
        return True

    mirror.fault = hang
    with pytest.raises(AccessError, match=r"CHELSA_bio1.*no answer after 2 tries \(it stalls\)"):
        get(mirror, tmp_path, layers=("chelsa/bio1",), policy=replace(FAST, tries=2, read_seconds=0.1))


def test_a_redirect_is_followed(mirror: Mirror, tmp_path: Path) -> None:
    def moved(handler: Any, path: str, _number: int) -> bool:
        return path.startswith("old/") and send(handler, 302, Location="/" + path.removeprefix("old/"))

    mirror.fault = moved
    how = network(mirror, tmp_path)
    text = (tmp_path / "catalogue.toml").read_text().replace(mirror.address + "/", mirror.address + "/old/")
    (tmp_path / "catalogue.toml").write_text(text)
    assert fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio1"], resolution=2000, network=how).bytes_read > 0


def test_bytes_that_came_broken_are_read_again_and_then_named(mirror: Mirror, tmp_path: Path) -> None:
    broken = {"left": 1}

    def corrupt(handler: Any, path: str, _number: int) -> bool:
        if not path.endswith(".tif") or "Range" not in handler.headers or handler.headers["Range"] == "bytes=0-0":
            return False
        first, last = map(int, handler.headers["Range"].removeprefix("bytes=").split("-"))
        if first == 0 or broken["left"] == 0:
            return False
        broken["left"] -= 1
        data = (mirror.root / path).read_bytes()
        file = mirror.root / path
        part = bytes(255 - byte for byte in data[first : last + 1])
        return send(handler, 206, part, ETag=f'"{file.stat().st_mtime_ns}"',
                    Content_Range=f"bytes {first}-{first + len(part) - 1}/{len(data)}")  # fmt: skip

    get(mirror, tmp_path / "good", layers=("chelsa/bio12",))
    mirror.fault = corrupt
    get(mirror, tmp_path / "once", layers=("chelsa/bio12",))
    same_layers(open_cube(tmp_path / "good" / "cube.zarr"), open_cube(tmp_path / "once" / "cube.zarr"))
    broken["left"] = 10_000
    with pytest.raises(WorkError, match="do not decode"):
        get(mirror, tmp_path / "always", layers=("chelsa/bio12",))


def test_a_file_that_changes_while_it_is_read_is_an_error_not_a_mixture(mirror: Mirror, tmp_path: Path) -> None:
    name = "chelsa02/chelsa/global/bioclim/bio12/1981-2010/CHELSA_bio12_1981-2010_V.2.1.tif"

    def change(_handler: Any, _path: str, number: int) -> bool:
        mirror.etags[name] = '"one"' if number < 2 else '"two"'
        return False

    mirror.fault = change
    with pytest.raises(SourceChangedError, match="changed at its source"):
        get(mirror, tmp_path, layers=("chelsa/bio12",))
    mirror.fault = None
    assert get(mirror, tmp_path, layers=("chelsa/bio12",)).written == ("annual_precipitation",)


def test_a_factor_of_ten_between_file_and_entry_is_an_error(mirror: Mirror, tmp_path: Path) -> None:
    how = network(mirror, tmp_path)
    path = tmp_path / "catalogue.toml"
    path.write_text(path.read_text().replace("scale = 0.1\noffset = -273.15", "scale = 1.0\noffset = -273.15"))
    with pytest.raises(InputError, match=r"its scale is 0.1, the entry states 1"):
        fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio1"], resolution=2000, network=how)


@pytest.mark.slow
def test_a_killed_fetch_goes_on_to_the_same_bytes(root: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    kills = 20 if request.config.getoption("--full") else 3
    script = tmp_path / "fetch.py"
    with serving(Mirror(root)) as running:
        get(running, tmp_path / "good")
        wanted = open_cube(tmp_path / "good" / "cube.zarr").load()
        slow = running

        def delay(_handler: Any, _path: str, _number: int) -> bool:
            stall(0.02)
            return False

        slow.fault = delay
        random = np.random.default_rng(3)
        moments: list[float] = []
        longest = 6.0
        for turn in range(kills):
            folder = tmp_path / f"kill{turn}"
            folder.mkdir()
            own = catalogue_of(running, folder / "catalogue.toml")
            script.write_text(
                "from tpsoil.recipes import Network, fetch\n"
                f"fetch({str(folder / 'cube.zarr')!r}, {BOX}, layers={LAYERS}, resolution=2000,\n"
                f"      network=Network(catalogue={str(own)!r}, cache={str(folder / 'cache')!r}))\n"
            )
            process = subprocess.Popen([sys.executable, str(script)], env={**os.environ})
            moment = 1.0 + float(random.uniform(0, longest))
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.wait()
            how = Network(catalogue=own, cache=folder / "cache", client=Client(FAST))
            store = folder / "cube.zarr"  # the same call, whatever the killed one has left
            fetch(store, BOX, layers=LAYERS, resolution=2000, network=how)
            same_layers(wanted, open_cube(store))
            moments.append(moment)
        print(f"{kills} kills after {', '.join(f'{moment:.1f}' for moment in moments)} s")


# --- the catalogue ---------------------------------------------------------------------------------------------

ENTRIES = sorted(name for name, entry in read_catalogue().entries.items() if entry.driver != "list")
LISTED = sorted(set(read_catalogue().entries) - set(ENTRIES))


@pytest.mark.parametrize("name", LISTED)
def test_what_is_listed_only_has_a_reason_and_is_not_fetched(name: str) -> None:
    entry = read_catalogue().entries[name]
    assert entry.note or entry.login
    assert "doi" in entry.citation
    with pytest.raises(InputError, match="is listed only"):
        read_catalogue().select(name)


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_has_an_address_a_unit_a_licence_and_its_documentation(name: str) -> None:
    entry = read_catalogue().entries[name]
    choice = choose(name)
    url = choice.url(latitude=30, longitude=90, box=BOX)
    assert url.startswith(("https://", "http://thredds."))  # the subset service has no other
    assert "{" not in url
    read_unit(entry.unit)
    assert entry.licence
    assert entry.citation
    assert entry.documentation.startswith("https://")
    assert "doi" in entry.citation
    if entry.driver in GRIDDED:
        assert entry.described().name == entry.layer
    assert choose(choice.text).values == choice.values


PLANETARY = "https://planetarycomputer.microsoft.com/api/stac/v1/search?collections="
NCSS = "http://thredds.northwestknowledge.net:8080/thredds/ncss/agg_terraclimate_"
ISRIC = "https://files.isric.org/soilgrids/latest/data/"
DEM = "https://copernicus-dem-{0}m.s3.amazonaws.com/Copernicus_DSM_COG_{1}_N30_00_E087_00_DEM/Copernicus_DSM_COG_{1}_N30_00_E087_00_DEM.tif"
CHELSA = (
    "https://os.unil.cloud.switch.ch/chelsa02/chelsa/global/bioclim/bio{0}/1981-2010/CHELSA_bio{0}_1981-2010_V.2.1.tif"
)
FAQ = "https://docs.isric.org/globaldata/soilgrids/SoilGrids_faqs_02.html"
CC_BY = "CC-BY-4.0"
LP_DAAC = "no restrictions on use, sale or redistribution (LP DAAC)"
STATED = {
    # entry: address of the tile N30E087 or of the box, unit, scale, offset, nodata, licence, documentation
    "copernicus_dem/glo30": (DEM.format(30, 10), "m", 1, 0, None, "Copernicus DEM licence: free of charge, attribution",
                             "https://copernicus-dem-30m.s3.amazonaws.com/readme.html"),
    "copernicus_dem/glo90": (DEM.format(90, 30), "m", 1, 0, None, "Copernicus DEM licence: free of charge, attribution",
                             "https://copernicus-dem-90m.s3.amazonaws.com/readme.html"),
    "chelsa/bio1": (CHELSA.format(1), "degC", 0.1, -273.15, 65535, "CC0-1.0", "https://chelsa-climate.org/downloads/"),
    "chelsa/bio12": (CHELSA.format(12), "mm", 1, 0, 65535, "CC0-1.0", "https://chelsa-climate.org/downloads/"),
    "soilgrids/clay": (f"{ISRIC}clay/clay_0-5cm_mean.vrt", "%", 0.1, 0, -32768, CC_BY, FAQ),
    "soilgrids/sand": (f"{ISRIC}sand/sand_0-5cm_mean.vrt", "%", 0.1, 0, -32768, CC_BY, FAQ),
    "soilgrids/silt": (f"{ISRIC}silt/silt_0-5cm_mean.vrt", "%", 0.1, 0, -32768, CC_BY, FAQ),
    "soilgrids/soc": (f"{ISRIC}soc/soc_0-5cm_mean.vrt", "g kg-1", 0.1, 0, -32768, CC_BY, FAQ),
    "soilgrids/phh2o": (f"{ISRIC}phh2o/phh2o_0-5cm_mean.vrt", "1", 0.1, 0, -32768, CC_BY, FAQ),
    "soilgrids/bdod": (f"{ISRIC}bdod/bdod_0-5cm_mean.vrt", "kg dm-3", 0.01, 0, -32768, CC_BY, FAQ),
    "soilgrids2017/bdticm": ("https://files.isric.org/soilgrids/former/2017-03-10/data/BDTICM_M_250m_ll.tif", "cm", 1,
                             0, -99999, CC_BY, "https://files.isric.org/soilgrids/former/2017-03-10/data/"),
    "worldcover/map2021": ("https://esa-worldcover.s3.eu-central-1.amazonaws.com/v200/2021/map/"
                           "ESA_WorldCover_10m_2021_v200_N30E087_Map.tif", "1", 1, 0, 0, CC_BY,
                           "https://worldcover2021.esa.int/download"),
    "openlandmap/soc": ("https://s3.openlandmap.org/arco/organic.carbon_usda.6a1c_m_250m_b0cm_19500101_20171231_go_"
                        "epsg.4326_v0.2.tif", "g kg-1", 5, 0, None, "CC-BY-SA-4.0", "https://developers.google.com/"
                        "earth-engine/datasets/catalog/OpenLandMap_SOL_SOL_ORGANIC-CARBON_USDA-6A1C_M_v02"),
    "terraclimate/ppt": (f"{NCSS}ppt_1958_CurrentYear_GLOBE.nc?&var=ppt&south=29.2&north=30.6&west=90.2&east=91.4&"
                         "horizStride=1&time_start=2010-01-01T00%3A00%3A00Z&time_end=2010-12-31T00%3A00%3A00Z&"
                         "timeStride=1&disableProjSubset=on&addLatLon=true&accept=netcdf", "mm/month", 1, 0, None,
                         "CC0-1.0", "https://www.climatologylab.org/terraclimate.html"),
    "terraclimate/pet": (f"{NCSS}pet_1958_CurrentYear_GLOBE.nc?&var=pet&south=29.2&north=30.6&west=90.2&east=91.4&"
                         "horizStride=1&time_start=2010-01-01T00%3A00%3A00Z&time_end=2010-12-31T00%3A00%3A00Z&"
                         "timeStride=1&disableProjSubset=on&addLatLon=true&accept=netcdf", "mm/month", 1, 0, None,
                         "CC0-1.0", "https://www.climatologylab.org/terraclimate.html"),
    "modis/npp": (f"{PLANETARY}modis-17A3HGF-061&bbox=90.2,29.2,91.4,30.6&datetime=2020-07-01T00:00:00Z&limit=100",
                  "kg m-2 a-1", 0.0001, 0, 32767, LP_DAAC, "https://lpdaac.usgs.gov/products/mod17a3hv006/"),
    "modis/ndvi": (f"{PLANETARY}modis-13A1-061&bbox=90.2,29.2,91.4,30.6&datetime=2020-08-01T00:00:00Z&limit=100", "1",
                   0.0001, 0, -3000, LP_DAAC,
                   "https://developers.google.com/earth-engine/datasets/catalog/MODIS_061_MOD13A1"),
    "wosis/snapshot2023": ("https://files.isric.org/public/wosis_snapshot/WoSIS_2023_December.zip", "1", 1, 0, None,
                           CC_BY, "https://data.isric.org/geonetwork/srv/api/records/e50f84e1-aa5b-49cb-bd6b-cd581232a2ec"),
    "wosis/latest": ("https://maps.isric.org/mapserv?map=/map/wosis_latest.map&SERVICE=WFS&VERSION=2.0.0&REQUEST="
                     "GetFeature&TYPENAMES=ms:wosis_latest_profiles&OUTPUTFORMAT=csv&COUNT=10000&BBOX=29.2,90.2,30.6,91.4"
                     ",urn:ogc:def:crs:EPSG::4326", "1", 1, 0, None, CC_BY,
                     "https://www.isric.org/explore/wosis/faq-wosis"),
    "hydrolakes/polygons": ("https://data.hydrosheds.org/file/hydrolakes/HydroLAKES_polys_v10_shp.zip", "1", 1, 0, None,
                            CC_BY, "https://www.hydrosheds.org/products/hydrolakes"),
    "natural_earth/lakes": ("https://naciscdn.org/naturalearth/10m/physical/ne_10m_lakes.zip", "1", 1, 0, None,
                            "public domain", "https://www.naturalearthdata.com/downloads/10m-physical-vectors/"),
    "natural_earth/glaciers": ("https://naciscdn.org/naturalearth/10m/physical/ne_10m_glaciated_areas.zip", "1", 1, 0,
                               None, "public domain",
                               "https://www.naturalearthdata.com/downloads/10m-physical-vectors/"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENTRIES)
def test_address_unit_scale_and_licence_are_those_of_the_documentation(name: str) -> None:
    """A second record of what the documentation states, so that a changed entry is a decision and no accident."""
    entry = read_catalogue().entries[name]
    url = choose(name).url(latitude=30, longitude=87, box=BOX)
    assert (
        url, entry.unit, entry.scale, entry.offset, entry.nodata, entry.licence, entry.documentation
    ) == STATED[name]  # fmt: skip


def test_tiles_south_and_west_have_their_letters() -> None:
    assert choose("copernicus_dem/glo90").url(latitude=-7, longitude=-9).endswith("COG_30_S07_00_W009_00_DEM.tif")


def test_what_no_documentation_confirms_is_stated(capsys: pytest.CaptureFixture[str]) -> None:
    unverified = {name for name, entry in read_catalogue().entries.items() if entry.unverified}
    assert {"openlandmap/soc", "terraclimate/ppt", "modis/npp", "wosis/latest"} <= unverified
    with pytest.raises(SystemExit):
        main(["sources"])
    assert "Probed at the source: 0 of" in capsys.readouterr().out


def test_a_catalogue_of_ones_own_goes_before_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tpsoil_command: Callable[..., Any]
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[mine.ph]\nlayer = "soil_ph"\ndriver = "raster"\nurl = "https://example.org/ph.tif"\ncrs = "EPSG:4326"\n'
        'resolution_m = 90\nkind = "continuous"\nunit = "1"\nversion = "1"\nlicence = "CC0-1.0"\n'
        'citation = "me, doi none"\ndocumentation = "https://example.org"\n[groups]\nsoil = ["mine/ph"]\n'
    )
    monkeypatch.setenv("TPSOIL_CATALOGUE", str(own))
    assert [choice.entry.name for choice in read_catalogue().select("soil")] == ["mine/ph"]
    assert "chelsa/bio1" in read_catalogue().entries
    monkeypatch.delenv("TPSOIL_CATALOGUE")
    assert "mine/ph" in " ".join(tpsoil_command("sources", "--catalogue", own).out.split())
    assert "mine/ph" not in " ".join(tpsoil_command("sources").out.split())
    for words in (["slope", "--catalogue", own], ["--csv", "--catalogue", own], ["check", "--csv"]):
        done = tpsoil_command("sources", *words)
        assert (done.status, "has no effect" in done.err) == (2, True)


def test_all_faults_of_a_catalogue_are_listed_at_once(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[a.b]\nlayer = "soil_ph"\ndriver = "raster"\nurl = "https://example.org/{depth}.tif"\ncrs = "EPSG:4326"\n'
        'resolution_m = -1\nkind = "continuous"\nunit = "furlongs"\nversion = "1"\nlicence = "x"\ncitation = "y"\n'
        'documentation = "z"\nlicense = "x"\n[a.c]\nlayer = "clay"\n'
    )
    with pytest.raises(RecipeError) as error:
        read_catalogue(own)
    text = str(error.value)
    assert "a/b: license is not a key of an entry; did you mean 'licence'?" in text
    assert "a/b: resolution_m" in text
    assert "a/c: url is missing" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('version = "one"', "version: is 'one', expected an integer"),
        ('groups = "soil"', "groups: expected lists of entries"),
        ('[groups]\nsoil = "mine/ph"', "groups: expected lists of entries"),
        (
            '[groups]\nmine = ["soilgrids/cley"]',
            "groups.mine: no entry 'soilgrids/cley'; did you mean 'soilgrids/clay'",
        ),
        ("[mine]\nph = 5", r"mine: expected tables \[mine.NAME\]"),
    ],
)
def test_a_catalogue_of_another_form_is_wrong_input(tmp_path: Path, text: str, message: str) -> None:
    """These ended in errors of Python."""
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_catalogue(own).select("mine")
    with pytest.raises(InputError, match="is no catalogue in TOML"):
        read_catalogue(tmp_path)


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((92, 29, 88, 32), "across the date line is fetched as two"),
        ((88, 32, 92, 29), "south 32 is not below north 29"),
        ((88, 29, 88, 32), "the box is empty"),
        ((88, 29, 92, 95), "latitudes"),
        ((29, 88, 32, 92), "latitudes"),
        ((170, -20, 190, -10), "longitudes"),
        ((float("nan"), 29, 92, 32), "four numbers"),
        ((88, 29, 92), "four numbers"),
    ],
)
def test_boxes_that_cannot_be(mirror: Mirror, tmp_path: Path, box: tuple[float, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fetch(tmp_path / "a.zarr", box, layers=["elevation"], resolution=2000, network=network(mirror, tmp_path))
    assert mirror.requests == 0


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (["elevatoin"], MissingInputError, "did you mean 'elevation'"),
        (["soilgrids/clay?depth=7cm"], InputError, "depth is '7cm'"),
        (["soilgrids/clay?dept=0-5cm"], InputError, "no choice 'dept'; did you mean 'depth'"),
        (["copernicus_dem/glo30", "copernicus_dem/glo90"], InputError, "from two entries"),
        ([], InputError, "no layers"),
    ],
)
def test_layers_that_cannot_be(
    mirror: Mirror, tmp_path: Path, layers: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fetch(tmp_path / "a.zarr", BOX, layers=layers, resolution=2000, network=network(mirror, tmp_path))
    assert mirror.requests == 0


def test_a_box_outside_the_source_and_a_layer_that_is_there(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(GridError, match="outside the source"):
        fetch(tmp_path / "a.zarr", (10, 40, 11, 41), layers=["chelsa/bio1"], resolution=2000,
              network=network(mirror, tmp_path))  # fmt: skip
    with pytest.raises(GridError, match="no tile there"):
        fetch(tmp_path / "a.zarr", (-30, 10, -29, 11), layers=["elevation"], resolution=2000,
              network=network(mirror, tmp_path))  # fmt: skip
    get(mirror, tmp_path, layers=("chelsa/bio1",))
    before = mirror.requests
    tpsoil.create_cube(tmp_path / "other.zarr", cube_info(tmp_path / "cube.zarr").grid)
    add_layer(
        str(tmp_path / "other.zarr"),
        "mean_annual_temperature",
        open_cube(tmp_path / "cube.zarr").mean_annual_temperature,
    )
    with pytest.raises(InputError, match="has mean_annual_temperature already"):
        fetch(tmp_path / "other.zarr", layers=["climate"], network=network(mirror, tmp_path))
    assert mirror.requests == before


def test_a_box_that_is_not_the_extent_of_an_existing_cube_is_rejected(mirror: Mirror, tmp_path: Path) -> None:
    how = network(mirror, tmp_path)
    get(mirror, tmp_path, layers=("chelsa/bio1",))
    west, south, east, north = BOX
    with pytest.raises(InputError, match="is not the extent of the cube"):
        fetch(tmp_path / "cube.zarr", (west, south, (west + east) / 2, north), layers=["chelsa/bio12"], network=how)
    fetch(tmp_path / "cube.zarr", BOX, layers=["chelsa/bio12"], network=how)  # the box that the cube was created for
    assert "annual_precipitation" in open_cube(tmp_path / "cube.zarr")


def test_cells_finer_than_the_source_are_allowed_with_a_note(mirror: Mirror, tmp_path: Path) -> None:
    fetch(tmp_path / "fine.zarr", (90.5, 29.5, 90.6, 29.6), layers=["chelsa/bio12", "elevation"], resolution=250,
          network=network(mirror, tmp_path))  # fmt: skip
    cube = open_cube(tmp_path / "fine.zarr")
    assert cube.annual_precipitation.attrs["notes"] == "cells of 250 m are finer than the source, 1000 m"
    assert "notes" not in cube.elevation.attrs


@pytest.mark.parametrize("box", [(88, 89.5, 92, 90), (179.5, -20, -179.5, -19)])
def test_boxes_at_the_date_line_and_the_poles(mirror: Mirror, tmp_path: Path, box: tuple[float, ...]) -> None:
    with pytest.raises((InputError, GridError), match=r"date line|no data in the box"):
        fetch(tmp_path / "a.zarr", box, layers=["soilgrids2017/bdticm"], resolution=200_000, crs="EPSG:3857",
              network=network(mirror, tmp_path))  # fmt: skip


# --- probes ----------------------------------------------------------------------------------------------------


def test_a_probe_reads_three_pixels_and_names_an_entry_that_is_not_as_it_states(
    mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = catalogue_of(mirror, tmp_path / "catalogue.toml")
    probes = "[[91.117, 29.647, 250, 900], [77.2, 28.6, 500, 1100], [91.7, 25.3, 3000, 16000]]"
    here = "[[90.5, 29.5, 300, 900], [90.7, 30.1, 300, 900], [91.1, 30.2, 300, 900]]"
    text = own.read_text().replace(probes, here)
    own.write_text(text)
    with pytest.raises(SystemExit) as stopped:
        main(["sources", "check", "chelsa/bio12", "--catalogue", str(own)])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("ok    chelsa/bio12")
    own.write_text(text.replace("90.5, 29.5, 300, 900", "90.5, 29.5, 3000, 9000"))
    with pytest.raises(SystemExit) as stopped:
        main(["sources", "check", "chelsa/bio12", "--catalogue", str(own)])
    assert stopped.value.code == 1
    assert "expected 3000 to 9000" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in ENTRIES if read_catalogue().entries[name].driver in GRIDDED])
def test_every_entry_has_three_probe_pixels_and_no_day_that_nobody_probed(name: str) -> None:
    entry = read_catalogue().entries[name]
    assert len(entry.probes) == 3
    assert all(low <= high for _, _, low, high in entry.probes)
    assert entry.probed == ""  # to be filled by a person or CI with a network
