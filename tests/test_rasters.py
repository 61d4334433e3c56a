"""Rasters on import: units, nodata, scale, steps, tiles; and every rejection with its fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from geotiffs import LEFT, SIZE, TOP, write_tif

from tpsoil.errors import GridError, InputError, MissingInputError, UnitsError
from tpsoil.ingest import read_raster
from tpsoil.ingest.parts import digest_files
from tpsoil.ingest.rasters import Raster
from tpsoil.units import conversion
from tpsoil.variables import describe_layer, variable

ELEVATION, WARMTH, RAIN, NDVI = map(variable, ("elevation", "mean_annual_temperature", "annual_precipitation", "ndvi"))


def whole(raster: Raster) -> np.ndarray:
    height, width = raster.box.shape
    return raster.read(slice(0, height), slice(0, width))


@pytest.mark.parametrize(
    ("came", "expected", "value", "is_"),
    [
        ("K", "degC", 273.15, 0.0),
        ("kelvin", "degC", 300.0, 26.85),
        ("degF", "degC", 212.0, 100.0),
        ("0.1 degC", "degC", -161.0, -16.1),
        ("tenths", "degC", None, None),
        ("cm", "m", 12345.0, 123.45),
        ("ft", "m", 1000.0, 304.8),
        ("US survey foot", "m", 3937.0, 1200.0),
        ("mm/month", "mm", 10.0, 120.0),
        ("kg m-2 s-1", "mm", 1 / 31556952, 1.0),
        ("m", "mm", 0.5, 500.0),
        ("g/kg", "%", 250.0, 25.0),
        ("%", "mg kg-1", 3.0, 30000.0),
        ("g/cm3", "kg m-3", 1.35, 1350.0),
        ("t/km2/yr", "t ha-1 a-1", 276.0, 2.76),
        ("1e-4", "1", 8500.0, 0.85),
        ("rad", "degree", np.pi, 180.0),
        ("mm/yr", "m a-1", 1.0, 0.001),
    ],
)
def test_units_convert(came: str, expected: str, value: float | None, is_: float | None) -> None:
    if value is None:
        with pytest.raises(UnitsError, match="units 'tenths' cannot be converted to 'degC'.*'0.1 degC'"):
            conversion(came, expected, where="bio1")
        return
    factor, offset = conversion(came, expected, where="x", period="year" if expected == "mm" else "")
    assert value * factor + offset == pytest.approx(is_, rel=1e-12)


def test_integers_become_float32_metres_with_nan(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "dem.tif", np.array([[4812, -32767], [0, 8848]], np.int16), nodata=-32767)
    values = whole(read_raster(path, ELEVATION))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.array([[4812, np.nan], [0, 8848]], np.float32))


def test_the_files_own_scale_offset_and_unit_are_honoured(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "t.tif", np.array([[2731, 0]], np.int16), nodata=0, scale=0.1, unit="K")
    raster = read_raster(path, WARMTH)
    np.testing.assert_allclose(whole(raster), [[-0.05, np.nan]], atol=1e-5)
    assert dict(raster.notes)["source_units"] == "K (stated by the file)"


def test_what_the_caller_declares_replaces_what_the_file_says(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "dem.tif", np.array([[0, 100, -1]], np.int16), nodata=0, unit="m")
    raster = read_raster(path, ELEVATION, units="ft", nodata=[-1])
    np.testing.assert_allclose(whole(raster), [[0, 30.48, np.nan]], rtol=1e-6)
    notes = dict(raster.notes)
    assert notes["source_units"] == "ft (declared)"
    assert notes["source_nodata"] == "-1"
    raster = read_raster(path, ELEVATION, nodata="none", scale=2, offset=1)
    np.testing.assert_array_equal(whole(raster), [[1, 201, -1]])


@pytest.mark.parametrize(
    ("dtype", "sentinel", "typed"),
    [("int16", -32767, -32767), ("float32", -3000, -3000), ("float32", -3.4028234663852886e38, -3.4e38),
     ("float64", 9.969209968386869e36, 9.97e36), ("uint16", 65535, 65535)],
)  # fmt: skip
def test_an_undeclared_sentinel_is_named_and_its_mend_works(
    tmp_path: Path, dtype: str, sentinel: float, typed: float
) -> None:
    path = write_tif(tmp_path / "dem.tif", np.array([[100, sentinel, sentinel]]).astype(dtype))
    with pytest.raises(UnitsError, match=r"in 2 cells looks like a nodata value.* pass nodata=-?[0-9.e+]+$"):
        whole(read_raster(path, ELEVATION))
    np.testing.assert_array_equal(whole(read_raster(path, ELEVATION, nodata=typed)), [[100, np.nan, np.nan]])


def test_sentinels_are_seen_where_the_catalogue_sets_no_range(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "c.tif", np.array([[0.01, -9999]], np.float32))
    with pytest.raises(UnitsError, match="nodata=-9999"):
        whole(read_raster(path, variable("general_curvature")))
    assert whole(read_raster(path, variable("general_curvature"), nodata="none"))[0, 1] == -9999


def test_kelvin_and_tenths_are_recognised_not_converted_by_themselves(tmp_path: Path) -> None:
    kelvin = write_tif(tmp_path / "k.tif", np.array([[262.0, 301.0]], np.float32))
    for units in (None, "degC"):
        with pytest.raises(UnitsError, match="262..301 degC.*expected -60..60; they look like kelvin: pass units='K'"):
            whole(read_raster(kelvin, WARMTH, units=units))
    tenths = write_tif(tmp_path / "t.tif", np.array([[-161, 271]], np.int16))
    with pytest.raises(UnitsError, match="tenths of a degree: pass units='0.1 degC'"):
        whole(read_raster(tenths, WARMTH))
    np.testing.assert_allclose(whole(read_raster(tenths, WARMTH, units="0.1 degC")), [[-16.1, 27.1]], rtol=1e-6)


def test_a_value_outside_the_range_is_counted(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "n.tif", np.array([[0.2, 1.5, 40]], np.float32))
    with pytest.raises(UnitsError, match=r"ndvi: n.tif has values 0.2..40 1 .*expected -1..1 \(2 cells outside\)"):
        whole(read_raster(path, NDVI))


def test_a_unit_the_file_states_but_nobody_knows_is_an_error(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "t.tif", np.array([[1.0]], np.float32), unit="banana")
    with pytest.raises(UnitsError, match="states units 'banana', expected 'degC'.*pass units="):
        read_raster(path, WARMTH)


def test_missing_unplaced_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"elevation: no such file .*none\.tif"):
        read_raster(tmp_path / "none.tif", ELEVATION)
    with pytest.raises(MissingInputError, match=r"no file matches '.*\*\.tif'"):
        read_raster(f"{tmp_path}/*.tif", ELEVATION)
    path = write_tif(tmp_path / "nocrs.tif", np.ones((2, 2), np.float32), crs=None)
    with pytest.raises(GridError, match=r"nocrs\.tif has no CRS; pass crs='EPSG"):
        read_raster(path, ELEVATION)
    assert read_raster(path, ELEVATION, crs="EPSG:4326").box.crs.to_epsg() == 4326
    with pytest.raises(InputError, match="crs='EPSG:nonsense' is not a CRS"):
        read_raster(path, ELEVATION, crs="EPSG:nonsense")
    text = tmp_path / "text.tif"
    text.write_text("not a raster")
    with pytest.raises(InputError, match="not a raster that GDAL can read"):
        read_raster(text, ELEVATION)
    with pytest.raises(InputError, match="the source is a int, expected a path"):
        read_raster(7, ELEVATION)
    with pytest.raises(InputError, match="list of sources is empty"):
        read_raster([], ELEVATION)


def test_bands_need_a_choice_and_can_be_combined(tmp_path: Path) -> None:
    bands = np.array([[[1.0, 2.0]], [[3.0, np.nan]]], np.float32)
    path = write_tif(tmp_path / "months.tif", bands)
    with pytest.raises(InputError, match=r"has 2 bands \(1, 2\); pass band=, or combine="):
        read_raster(path, RAIN)
    with pytest.raises(InputError, match="no band 3, expected 1 to 2"):
        read_raster(path, RAIN, band=3)
    assert whole(read_raster(path, RAIN, band=2))[0, 0] == 3
    got = {how: whole(read_raster(path, RAIN, combine=how))[0].tolist() for how in ("sum", "mean", "min", "max")}
    assert got["sum"][0] == 4
    assert got["mean"][0] == 2
    assert np.isnan([got["sum"][1], got["mean"][1]]).all()  # a sum over a missing month would be too small
    assert (got["min"], got["max"]) == ([1, 2], [3, 2])


def test_years_are_combined_only_when_told_and_on_one_grid(tmp_path: Path) -> None:
    for year, value in ((2001, 10.0), (2002, 14.0)):
        write_tif(tmp_path / f"p{year}.tif", np.full((2, 3), value, np.float32))
    pattern = str(tmp_path / "p*.tif")
    with pytest.raises(InputError, match="2 rasters .*state how they become one: combine='mosaic'"):
        read_raster(pattern, RAIN)
    np.testing.assert_array_equal(whole(read_raster(pattern, RAIN, combine="mean")), np.full((2, 3), 12))
    write_tif(tmp_path / "p2003.tif", np.full((2, 3), 1, np.float32), size=0.5)
    with pytest.raises(GridError, match=r"p2003.tif lies on .*need one grid"):
        read_raster(pattern, RAIN, combine="mean")
    with pytest.raises(InputError, match="combine is 'average'.*one of"):
        read_raster(pattern, RAIN, combine="average")  # type: ignore[arg-type]


def test_tiles_make_a_mosaic_on_their_lattice(tmp_path: Path) -> None:
    full = np.arange(24, dtype=np.int16).reshape(4, 6)
    cuts = {"a": (0, 0, full[:2, :4]), "b": (0, 3, full[:2, 3:]), "c": (2, 0, full[2:, :3])}
    tiles = [
        write_tif(tmp_path / f"{name}.tif", values, nodata=-32768, left=LEFT + c * SIZE, top=TOP - r * SIZE)
        for name, (r, c, values) in cuts.items()
    ]
    raster = read_raster(tiles[::-1], ELEVATION, combine="mosaic")
    assert raster.box.shape == (4, 6)
    expected = full.astype(np.float32)
    expected[2:, 3:] = np.nan
    np.testing.assert_array_equal(whole(raster), expected)
    np.testing.assert_array_equal(raster.read(slice(1, 3), slice(2, 5)), expected[1:3, 2:5])
    assert np.isnan(raster.read(slice(3, 4), slice(4, 6))).all()
    off = write_tif(tmp_path / "off.tif", full, left=LEFT + 0.1)
    with pytest.raises(GridError, match="not on the lattice"):
        read_raster([tiles[0], off], ELEVATION, combine="mosaic")


def test_classes_stay_integers_and_unknown_codes_are_listed(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "lc.tif", np.array([[0, 16, 255, 17, 200]], np.uint8))
    with pytest.raises(InputError, match="codes 17, 200, 255 are not classes.*pass nodata=17"):
        whole(read_raster(path, variable("land_cover")))
    values = whole(read_raster(path, variable("land_cover"), nodata=[17, 200, 255]))
    assert values.dtype == np.uint8
    assert values.tolist() == [[0, 16, 255, 255, 255]]
    halves = write_tif(tmp_path / "f.tif", np.array([[1.5, 2]], np.float32))
    with pytest.raises(InputError, match="class codes 1.5 do not fit uint8"):
        whole(read_raster(halves, variable("land_cover")))
    with pytest.raises(UnitsError, match="units='m' on class codes"):
        read_raster(path, variable("land_cover"), units="m")
    with pytest.raises(InputError, match="combine='mean' on categorical values"):
        read_raster(path, variable("land_cover"), combine="mean")


def test_labelled_arrays_and_netcdf(tmp_path: Path) -> None:
    lat, lon = TOP - SIZE * (np.arange(3) + 0.5), LEFT + SIZE * (np.arange(4) + 0.5)
    warm = xr.DataArray(
        np.arange(24, dtype=np.float32).reshape(2, 3, 4) + 270,
        dims=("time", "lat", "lon"),
        coords={"time": [0, 1], "lat": lat, "lon": lon},
        attrs={"units": "K"},
        name="t2m",
    )
    other = warm.rename("u10").assign_attrs(units="m s-1")
    path = tmp_path / "era.nc"
    xr.Dataset({"t2m": warm, "u10": other}).to_netcdf(path)
    with pytest.raises(InputError, match="has the variables t2m, u10; pass variable="):
        read_raster(path, WARMTH, crs="EPSG:4326")
    with pytest.raises(InputError, match="no variable 't2'; did you mean 't2m'"):
        read_raster(path, WARMTH, crs="EPSG:4326", variable="t2")
    with pytest.raises(InputError, match="has 2 steps along 'time'; pass combine='mean'"):
        read_raster(path, WARMTH, crs="EPSG:4326", variable="t2m")
    with pytest.raises(GridError, match="look like degrees: if they are WGS84 pass crs='EPSG:4326'"):
        read_raster(path, WARMTH, variable="t2m", combine="mean")
    got = whole(read_raster(path, WARMTH, variable="t2m", combine="mean", crs="EPSG:4326"))
    np.testing.assert_allclose(got, warm.values.mean(0) - 273.15, rtol=1e-5)
    array = warm.isel(time=0).rio.write_crs("EPSG:4326")
    np.testing.assert_allclose(whole(read_raster(array, WARMTH)), array.values.astype(float) - 273.15, rtol=1e-5)
    flipped = array.isel(lat=slice(None, None, -1))
    raster = read_raster(flipped, WARMTH)
    assert raster.box.transform.e > 0
    np.testing.assert_array_equal(whole(raster), whole(read_raster(array, WARMTH))[::-1])
    with pytest.raises(GridError, match="not evenly spaced"):
        read_raster(array.assign_coords(lat=[35.0, 34.0, 30.0]), WARMTH)
    with pytest.raises(GridError, match="no CRS"):
        read_raster(warm.isel(time=0), WARMTH)


def test_a_broken_netcdf_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.nc"
    path.write_bytes(b"CDF\x01 and then nothing")
    with pytest.raises(InputError, match=r"broken\.nc cannot be opened"):
        read_raster(path, WARMTH)


def test_the_lazy_array_is_the_raster(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = write_tif(tmp_path / "dem.tif", generator.integers(0, 8000, (23, 31)).astype(np.int16), nodata=17)
    raster = read_raster(path, ELEVATION)
    lazy = raster.lazy(chunks=7)
    assert lazy.data.chunks[0] == (7, 7, 7, 2)
    assert lazy.attrs["units"] == "m"
    np.testing.assert_array_equal(lazy.values, whole(raster))


def test_a_layer_of_ones_own(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "snow.tif", np.array([[12.0]], np.float32))
    spec = describe_layer("snow_days", units="d", kind="continuous")
    assert whole(read_raster(path, spec))[0, 0] == 12


def test_the_digest_is_of_every_file_that_a_source_names(tmp_path: Path) -> None:
    """As the recipes' digests: tiles of a VRT, and the files beside a raster; not the folder that they are in."""

    def digest(folder: Path, height: int, *, described: bool = False) -> str:
        folder.mkdir()
        write_tif(folder / "tile.tif", np.full((2, 2), height, np.int16))
        if described:
            (folder / "tile.tif.aux.xml").write_text("<PAMDataset><Metadata/></PAMDataset>")
        (folder / "dem.vrt").write_text(
            f"<VRTDataset rasterXSize='2' rasterYSize='2'><SRS>EPSG:4326</SRS><GeoTransform>{LEFT},{SIZE},0,{TOP},0,"
            f"-{SIZE}</GeoTransform><VRTRasterBand dataType='Int16' band='1'><SimpleSource><SourceFilename "
            "relativeToVRT='1'>tile.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
            "</VRTDataset>"
        )
        raster = read_raster(folder / "dem.vrt", ELEVATION)
        assert (whole(raster) == height).all()
        return raster.digest

    first = digest(tmp_path / "a", 4000)
    assert first == digest(tmp_path / "b", 4000)
    assert len({first, digest(tmp_path / "c", 4001), digest(tmp_path / "d", 4000, described=True)}) == 3
    assert read_raster(tmp_path / "a" / "tile.tif", ELEVATION).digest == digest_files([tmp_path / "b" / "tile.tif"])


def test_a_class_with_the_code_of_missing_cells_is_rejected(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "rock.tif", np.array([[0, 1]], np.uint16))
    spec = describe_layer("rock", units="1", kind="categorical", dtype="uint16", flags={0: "loose", 1: "solid"})
    with pytest.raises(InputError, match=r"codes 0 are not classes \(expected 1; 0 is reserved for missing\)"):
        whole(read_raster(path, spec))
    assert whole(read_raster(path, spec, nodata=0)).tolist() == [[0, 1]]
