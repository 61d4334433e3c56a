"""Everything that lies behind a source: side files, tiles of a VRT, parts of a shapefile, and what a server states."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import web
from rasterio.transform import from_origin

from tpsoil.engine.origin import DESCRIPTION_ONLY, NOT_CHECKED, contents_of, digest_of_url, unchecked
from tpsoil.ingest.dependencies import dependencies_of, forget_remote
from tpsoil.redaction import public_name

PLACE = from_origin(0, 320, 10, 10)


def write_raster(path: Path, value: float = 1.0, driver: str = "GTiff", **how: Any) -> Path:
    profile = {"transform": PLACE, "crs": "EPSG:3035", **how}
    with rasterio.open(path, "w", driver=driver, width=32, height=32, count=1, dtype="float32", **profile) as file:
        file.write(np.full((32, 32), value, np.float32), 1)
    return path


def write_vrt(path: Path, *sources: str) -> Path:
    """A mosaic of rasters that lie over each other."""
    bands = "".join(
        f"<SimpleSource><SourceFilename relativeToVRT='1'>{source}</SourceFilename><SourceBand>1</SourceBand>"
        "<SrcRect xOff='0' yOff='0' xSize='32' ySize='32'/><DstRect xOff='0' yOff='0' xSize='32' ySize='32'/>"
        "</SimpleSource>"
        for source in sources
    )
    path.write_text(
        "<VRTDataset rasterXSize='32' rasterYSize='32'><SRS>EPSG:3035</SRS>"
        "<GeoTransform>0,10,0,320,0,-10</GeoTransform>"
        f"<VRTRasterBand dataType='Float32' band='1'>{bands}</VRTRasterBand></VRTDataset>"
    )
    return path


def names(*sources: Path) -> set[str]:
    return {path.name for path in dependencies_of(sources).files}


def test_tiles_of_nested_vrts(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif")
    write_raster(tmp_path / "b.tif")
    write_vrt(tmp_path / "inner.vrt", "b.tif")
    outer = write_vrt(tmp_path / "outer.vrt", "a.tif", "inner.vrt")
    assert names(outer) == {"outer.vrt", "a.tif", "inner.vrt", "b.tif"}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_headers_world_files_and_statistics(tmp_path: Path) -> None:
    write_raster(tmp_path / "envi.img", driver="ENVI")
    assert {"envi.img", "envi.hdr"} <= names(tmp_path / "envi.img")
    plain = write_raster(tmp_path / "plain.tif", transform=None)
    assert names(plain) == {"plain.tif"}
    (tmp_path / "plain.tfw").write_text("10\n0\n0\n-10\n5\n315\n")
    (tmp_path / "plain.tif.aux.xml").write_text("<PAMDataset><PAMRasterBand band='1'/></PAMDataset>")
    assert names(plain) == {"plain.tif", "plain.tfw", "plain.tif.aux.xml"}


def test_parts_of_vector_formats(tmp_path: Path) -> None:
    area = geopandas.GeoDataFrame({"name": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    area.to_file(tmp_path / "lakes.shp")
    area.to_file(tmp_path / "ice.tab", driver="MapInfo File")
    (tmp_path / "lakes.txt").write_text("notes")
    assert {"lakes.shp", "lakes.shx", "lakes.dbf", "lakes.prj"} <= names(tmp_path / "lakes.shp")
    assert "lakes.txt" not in names(tmp_path / "lakes.shp")
    assert {"ice.tab", "ice.dat", "ice.map", "ice.id"} <= names(tmp_path / "ice.tab")


def test_a_folder_is_all_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "s.zarr" / "x" / "c").mkdir(parents=True)
    (tmp_path / "s.zarr" / "zarr.json").write_text("{}")
    (tmp_path / "s.zarr" / "x" / "c" / "0").write_bytes(b"1")
    assert names(tmp_path / "s.zarr") == {"zarr.json", "0"}
    before = contents_of(dependencies_of([tmp_path / "s.zarr"]).files)
    (tmp_path / "s.zarr" / "x" / "c" / "0").write_bytes(b"2")
    assert contents_of(dependencies_of([tmp_path / "s.zarr"]).files) != before


def test_a_file_of_equal_size_and_restored_time_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"first")
    os.utime(path, (1e9, 1e9))
    before = contents_of([path])
    path.write_bytes(b"other")
    os.utime(path, (1e9, 1e9))
    assert contents_of([path]) != before


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder, text in (("a", "1"), ("b", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.tif").write_text(text)
    contents = contents_of([tmp_path / "a" / "x.tif", tmp_path / "b" / "x.tif"])
    assert list(contents) == ["x.tif", "x.tif (2)"]
    assert len(set(contents.values())) == 2


def test_what_a_server_states_decides_and_gdal_reads_anew(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", 1)
    (tmp_path / "silent").mkdir()
    write_raster(tmp_path / "silent" / "a.tif", 1)
    with web.serving(tmp_path) as address:
        url = f"{address}/a.tif"

        def value() -> float:
            with rasterio.open(url) as file:
                return float(file.read(1)[0, 0])

        before = digest_of_url(url)
        assert value() == 1
        assert digest_of_url(url) == before
        write_raster(tmp_path / "a.tif", 2)
        assert digest_of_url(url) != before
        forget_remote([url])
        assert value() == 2
        contents = contents_of([], [f"{address}/silent/a.tif?key=secret"])
        assert unchecked(contents) == [f"{address}/silent/a.tif?*** (its server sends neither ETag nor Last-Modified)"]
        assert digest_of_url(f"{address}/missing.tif") == NOT_CHECKED
        write_vrt(tmp_path / "remote.vrt", "a.tif")
        assert set(dependencies_of([f"{address}/remote.vrt"]).urls) == {f"{address}/remote.vrt", url}


def test_the_description_of_a_zarr_store_on_a_web_server_is_checked_and_its_chunks_are_reported(tmp_path: Path) -> None:
    (tmp_path / "s.zarr").mkdir()
    with web.serving(tmp_path) as address:
        url = f"{address}/s.zarr"
        assert digest_of_url(url) == NOT_CHECKED, "there is no description"
        (tmp_path / "s.zarr" / "zarr.json").write_text("{}")
        before = contents_of([], [url])
        assert before[url].startswith(DESCRIPTION_ONLY)
        (line,) = unchecked(before)
        assert "only its description is checked" in line
        (tmp_path / "s.zarr" / "zarr.json").write_text('{"attributes": {}}')
        after = contents_of([], [url])
        assert after != before
        assert contents_of([], [url]) == after


def test_keys_in_a_url_are_not_shown() -> None:
    assert public_name("https://me:word@example.org/a.tif?sig=abc#x") == "https://***@example.org/a.tif?***"
