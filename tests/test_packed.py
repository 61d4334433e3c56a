"""Packed sources: every kind of file against every setting, by one rule.

What is given for scale, offset or nodata replaces the file's own, as in GDAL's tools; all belong to stored numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from geotiffs import LEFT, SIZE, TOP, write_tif
from rasterio.enums import ColorInterp

import tpsoil
from tpsoil.errors import InputError
from tpsoil.grid import grid_from_bounds
from tpsoil.ingest import read_raster, read_stack
from tpsoil.variables import variable

STORED = np.array([[10000, 20000, -3000], [11000, -8888, 12000]], np.int16)
"""Scale 0.1 and offset 100 give metres; -3000 is missing, -8888 is a number unless it is declared."""
SCALE, OFFSET, FILL = 0.1, 100.0, -3000


def geotiff(folder: Path) -> Path:
    return write_tif(folder / "dem.tif", STORED, nodata=FILL, scale=SCALE, offset=OFFSET)


def labelled(**encoding: Any) -> xr.Dataset:
    values = STORED.astype(np.float64) * SCALE + OFFSET
    rows, cols = STORED.shape
    coords = {"lat": TOP - SIZE * (np.arange(rows) + 0.5), "lon": LEFT + SIZE * (np.arange(cols) + 0.5)}
    dataset = xr.Dataset({"elevation": (("lat", "lon"), np.where(STORED == FILL, np.nan, values))}, coords=coords)
    dataset["elevation"].encoding = {
        "dtype": "int16", "scale_factor": SCALE, "add_offset": OFFSET, "_FillValue": np.int16(FILL), **encoding
    }  # fmt: skip
    return dataset.rio.write_crs("EPSG:4326")


def netcdf(folder: Path) -> Path:
    labelled().to_netcdf(folder / "dem.nc")
    return folder / "dem.nc"


def zarr_2(folder: Path) -> Path:
    labelled().to_zarr(folder / "dem2.zarr", zarr_format=2, consolidated=False)
    return folder / "dem2.zarr"


def zarr_3(folder: Path) -> Path:
    labelled().to_zarr(folder / "dem3.zarr", zarr_format=3, consolidated=False)
    return folder / "dem3.zarr"


def virtual(folder: Path) -> Path:
    from rasterio.shutil import copy

    copy(str(geotiff(folder)), str(folder / "dem.vrt"), driver="VRT")
    return folder / "dem.vrt"


def through_gdal(folder: Path) -> str:
    return f"NETCDF:{netcdf(folder)}:elevation"


KINDS = [geotiff, virtual, netcdf, zarr_2, zarr_3]
SETTINGS: list[dict[str, Any]] = [
    {}, {"scale": 0.2}, {"offset": 0.0}, {"scale": 1.0, "offset": 0.0}, {"nodata": -8888}, {"nodata": FILL},
    {"nodata": [FILL, -8888]}, {"nodata": "none"}, {"scale": 0.2, "nodata": -8888},
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_replaces_what_the_file_states(
    tmp_path: Path, kind: Callable[[Path], Path], settings: dict[str, Any]
) -> None:
    declared = settings.get("nodata", FILL)
    fills = [] if declared == "none" else np.atleast_1d(declared)
    expected = STORED * settings.get("scale", SCALE) + settings.get("offset", OFFSET)
    expected = np.where(np.isin(STORED, fills), np.nan, expected).astype(np.float32)
    raster = read_raster(kind(tmp_path), variable("general_curvature"), units="m-1", **settings)
    np.testing.assert_allclose(raster.read(slice(0, 2), slice(0, 3)), expected, rtol=1e-6)
    word = "declared" if {"scale", "offset"} & set(settings) else "stated by the file"
    assert dict(raster.notes)["source_scale_offset"].endswith(f"({word})")


def test_an_array_that_xarray_unpacked_is_not_scaled_twice(tmp_path: Path) -> None:
    array = xr.open_dataset(netcdf(tmp_path), decode_coords="all")["elevation"]
    value = read_raster(array, variable("elevation"), nodata=None).read(slice(0, 1), slice(0, 2))
    assert value[0].tolist() == pytest.approx([1100, 2100])
    for settings in ({"scale": 0.1}, {"offset": 100.0}, {"nodata": -3000}):
        with pytest.raises(InputError, match="the array was scaled when its file was opened.*pass the path"):
            read_raster(array, variable("elevation"), **settings)
    plain = array.drop_encoding().rio.write_crs("EPSG:4326")
    assert read_raster(plain, variable("elevation"), offset=5.0).read(slice(0, 1), slice(0, 1)) == pytest.approx(1105)


def test_fill_of_packed_ndvi_is_never_a_value(tmp_path: Path) -> None:
    """MODIS: int16 with scale 0.0001 and fill -3000, declared or not."""
    dataset = labelled().drop_encoding()
    dataset["elevation"] = dataset["elevation"].copy(
        data=np.array([[5000, 2500, -3000], [1000, -3000, 2000]], np.int16)
    )
    dataset["elevation"].attrs["scale_factor"] = 1e-4
    dataset.to_netcdf(tmp_path / "ndvi.nc")
    raster = read_raster(tmp_path / "ndvi.nc", variable("general_curvature"), units="m-1", nodata=-3000)
    values = raster.read(slice(0, 2), slice(0, 3))
    assert np.isnan(values).tolist() == [[False, False, True], [False, True, False]]


@pytest.mark.parametrize("attribute", ["valid_range", "valid_min"])
@pytest.mark.parametrize("write", ["netcdf", "zarr"])
def test_values_outside_the_valid_range_are_missing(tmp_path: Path, attribute: str, write: str) -> None:
    dataset = labelled()
    dataset["elevation"].attrs[attribute] = (
        np.array([0, 11500], np.int16) if attribute == "valid_range" else np.int16(0)
    )
    path = tmp_path / ("dem.nc" if write == "netcdf" else "dem.zarr")
    dataset.to_netcdf(path) if write == "netcdf" else dataset.to_zarr(path, consolidated=False)
    raster = read_raster(path, variable("elevation"))
    missing = np.isnan(raster.read(slice(0, 2), slice(0, 3)))
    assert missing.tolist() == [[False, attribute == "valid_range", True], [False, True, attribute == "valid_range"]]
    assert "stored numbers outside are missing" in dict(raster.notes)["source_valid_range"]


@pytest.mark.parametrize("write", ["netcdf", "zarr"])
@pytest.mark.parametrize("attrs", [{"valid_range": np.array([0, 115], np.int16)}, {"valid_max": 1150.0}])
def test_stacks_honour_the_valid_range_as_rasters_do(tmp_path: Path, write: str, attrs: dict[str, Any]) -> None:
    stored = np.array([[[0, 115], [116, 1]], [[-1, 50], [200, 2]]], np.int16)
    times = np.array(["2001-01-01", "2001-02-01"], "datetime64[ns]")
    coords = {"time": times, "lat": [31.0, 30.0], "lon": [90.0, 91.0]}
    packing = {"units": "degC", "_FillValue": np.int16(-1), "scale_factor": 10.0, "add_offset": 0.0}
    dataset = xr.Dataset({"t": (("time", "lat", "lon"), stored, {**packing, **attrs})}, coords=coords)
    path = tmp_path / ("t.nc" if write == "netcdf" else "t.zarr")
    dataset.to_netcdf(path) if write == "netcdf" else dataset.to_zarr(path, consolidated=False)
    stack = read_stack(path, "t", "degC")
    np.testing.assert_array_equal(stack, [[[0, 1150], [np.nan, 10]], [[np.nan, 500], [np.nan, 20]]])
    low = 0 if "valid_range" in attrs else "-inf"
    assert stack.attrs["source_valid_range"] == f"{low}, 115: stored numbers outside are missing"
    assert (stack.chunks is None) == (write == "netcdf")
    rasters = [read_raster(path, variable("profile_curvature"), units="m-1", band=k, crs="EPSG:4326") for k in (1, 2)]
    for step, raster in enumerate(rasters):
        np.testing.assert_array_equal(raster.read(slice(0, 2), slice(0, 2)), stack[step])


def test_unsigned_bytes_in_a_signed_type(tmp_path: Path) -> None:
    stored = np.array([[1, -56, -1], [127, -128, 0]], np.int8)  # 1, 200, 255 (missing), 127, 128, 0
    rows, cols = stored.shape
    coords = {"lat": TOP - SIZE * (np.arange(rows) + 0.5), "lon": LEFT + SIZE * (np.arange(cols) + 0.5)}
    dataset = xr.Dataset({"elevation": (("lat", "lon"), stored)}, coords=coords).rio.write_crs("EPSG:4326")
    dataset["elevation"].attrs = {"_Unsigned": "true", "_FillValue": np.int8(-1)}
    dataset.to_netcdf(tmp_path / "bytes.nc")
    values = read_raster(tmp_path / "bytes.nc", variable("elevation")).read(slice(0, 2), slice(0, 3))
    np.testing.assert_array_equal(values, [[1, 200, np.nan], [127, 128, 0]])


@pytest.mark.parametrize("limits", [{"valid_range": np.array([0.0, 1150.0])}, {"valid_min": 0.0}])
@pytest.mark.parametrize("write", ["netcdf", "zarr"])
def test_limits_in_the_type_of_the_scale_are_of_unpacked_values(
    tmp_path: Path, limits: dict[str, Any], write: str
) -> None:
    dataset = labelled().drop_encoding()
    dataset["elevation"] = dataset["elevation"].copy(data=np.array([[0, 115, 116], [1, -1, 50]], np.int16))
    dataset["elevation"].attrs |= {"scale_factor": 10.0, "add_offset": 0.0, **limits}
    path = tmp_path / ("dem.nc" if write == "netcdf" else "dem.zarr")
    dataset.to_netcdf(path) if write == "netcdf" else dataset.to_zarr(path, consolidated=False)
    values = read_raster(path, variable("elevation")).read(slice(0, 2), slice(0, 3))
    above = np.nan if "valid_range" in limits else 1160
    np.testing.assert_array_equal(values, [[0, 1150, above], [10, np.nan, 500]])


def test_the_valid_range_of_unsigned_numbers_is_signed_as_they_are_stored(tmp_path: Path) -> None:
    """GOES ABI: shorts with `_Unsigned` and a valid range of 0s, -6s."""
    dataset = labelled().drop_encoding()
    dataset["elevation"] = dataset["elevation"].copy(data=np.array([[1, -56, -6], [-5, -1, 0]], np.int16))
    dataset["elevation"].attrs = {"_Unsigned": "true", "_FillValue": np.int16(-1), "scale_factor": 0.1,
                                  "valid_range": np.array([0, -6], np.int16)}  # fmt: skip
    dataset.to_netcdf(tmp_path / "goes.nc")
    values = read_raster(tmp_path / "goes.nc", variable("elevation")).read(slice(0, 2), slice(0, 3))
    np.testing.assert_allclose(values, [[0.1, 6548.0, 6553.0], [np.nan, np.nan, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("kind", ["mask", "alpha"])
def test_a_mask_or_alpha_band_marks_missing_pixels(tmp_path: Path, kind: str) -> None:
    values = np.array([[1000, 0, 2000], [0, 3000, 0]], np.uint16)
    valid = np.array([[1, 0, 1], [1, 1, 0]], bool)  # one 0 m is true, two are not
    bands = np.stack([values, np.where(valid, 65535, 0)]) if kind == "alpha" else values
    path = write_tif(tmp_path / "dem.tif", bands.astype(np.uint16))
    with rasterio.open(path, "r+") as file:
        if kind == "alpha":
            file.colorinterp = [ColorInterp.gray, ColorInterp.alpha]
        else:
            file.write_mask(valid)
    raster = read_raster(path, variable("elevation"))
    expected = np.where(valid, values, np.nan)
    np.testing.assert_array_equal(raster.read(slice(0, 2), slice(0, 3)), expected)
    assert dict(raster.notes)["source_mask"] == "mask or alpha band of the file"
    everything = read_raster(path, variable("elevation"), nodata="none")
    np.testing.assert_array_equal(everything.read(slice(0, 2), slice(0, 3)), values)


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"scale": np.nan}, {"scale": np.inf}, {"offset": np.nan}], ids=str)
def test_a_scale_that_leaves_no_values(tmp_path: Path, wrong: dict[str, float], tpsoil_command: Callable) -> None:
    ((key, value),) = wrong.items()
    path = geotiff(tmp_path)
    with pytest.raises(InputError, match=f"{key}={value!r}, expected a finite number"):
        read_raster(path, variable("elevation"), **wrong)
    store = tmp_path / "cube.zarr"
    tpsoil.create_cube(store, grid_from_bounds("EPSG:4326", (80, 34, 82, 35), 0.25))
    done = tpsoil_command("cube", "add", store, "elevation", path, f"--{key}={value}")
    assert done.status == 2
    assert "expected a finite number" in done.err
    stated = write_tif(tmp_path / "stated.tif", STORED, **wrong)
    with pytest.raises(InputError, match=r"stated\.tif states scale .*which leave no values; pass scale="):
        read_raster(stated, variable("elevation"))
    assert read_raster(stated, variable("elevation"), scale=0.1, offset=0.0).box.shape == (2, 3)


def test_complex_numbers_are_rejected(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "radar.tif", STORED.astype(np.complex64))
    with pytest.raises(InputError, match=r"radar\.tif has complex numbers; write their real part or magnitude"):
        read_raster(path, variable("elevation"))
    array = labelled()["elevation"].astype(complex)
    with pytest.raises(InputError, match="complex128, expected numbers"):
        read_raster(array, variable("elevation"))
