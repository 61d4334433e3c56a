"""Units on import: rates in stacks and sums, and files that are named for an oxide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from geotiffs import write_tif

from tpsoil.covariates import annual_precipitation
from tpsoil.errors import UnitsError
from tpsoil.ingest import read_raster, read_stack
from tpsoil.variables import variable

RAIN, IRON = variable("annual_precipitation"), variable("iron")
WHOLE = (slice(0, 1), slice(0, 2))


def stack(path: Path, units: str, values: np.ndarray, freq: str = "MS") -> Path:
    time = pd.date_range("2001-01-01", periods=len(values), freq=freq)
    data = np.broadcast_to(values[:, None, None], (len(values), 2, 3)).astype("float64")
    coords = {"time": time, "lat": [31.0, 30.0], "lon": [90.0, 91.0, 92.0]}
    xr.Dataset({"pr": (("time", "lat", "lon"), data, {"units": units})}, coords=coords).to_netcdf(path, engine="scipy")
    return path


@pytest.mark.parametrize(
    ("units", "value"), [("mm", 60.0), ("mm month-1", 60.0), ("mm/month", 60.0), ("kg m-2", 60.0), ("m", 0.06)]
)
def test_monthly_rain_of_a_stack_sums_to_the_year(units: str, value: float, tmp_path: Path) -> None:
    """A rate in mm month-1 was multiplied by 12 for every month: 8640 mm for 720."""
    rain = read_stack(stack(tmp_path / "pr.nc", units, np.full(12, value)), "pr", "mm")
    assert rain.attrs["units"] == "mm"
    np.testing.assert_allclose(annual_precipitation(rain), 720.0, rtol=1e-12)


def test_daily_rates_of_a_monthly_stack_take_the_days_of_each_month(tmp_path: Path) -> None:
    for units, value in (("mm d-1", 2.0), ("kg m-2 s-1", 2.0 / 86400)):
        rain = read_stack(stack(tmp_path / "pr.nc", units, np.full(12, value)), "pr", "mm")
        assert rain[:3, 0, 0].values.tolist() == pytest.approx([62.0, 56.0, 62.0])
        np.testing.assert_allclose(annual_precipitation(rain), 730.0, rtol=1e-12)
    daily = read_stack(stack(tmp_path / "day.nc", "mm d-1", np.full(31, 2.0), "D"), "pr", "mm")
    assert float(daily[4, 0, 0]) == pytest.approx(2.0)
    with pytest.raises(UnitsError, match="'mm month-1' on steps of 1 days"):
        read_stack(stack(tmp_path / "odd.nc", "mm month-1", np.full(31, 2.0), "D"), "pr", "mm")


def months(folder: Path, count: int, unit: str) -> list[str]:
    return [str(write_tif(folder / f"{k:02d}.tif", np.full((1, 2), 60.0, "float32"), unit=unit)) for k in range(count)]


def test_only_twelve_monthly_rates_sum_to_a_year(tmp_path: Path) -> None:
    twelve = months(tmp_path, 12, "mm month-1")
    assert read_raster(twelve, RAIN, combine="sum").read(*WHOLE).tolist() == [[720.0, 720.0]]
    assert read_raster(twelve, RAIN, combine="mean").read(*WHOLE).tolist() == [[720.0, 720.0]]
    assert read_raster(twelve, RAIN, combine="sum", units="mm").read(*WHOLE).tolist() == [[720.0, 720.0]]
    with pytest.raises(UnitsError, match="sum of 3 rates in 'mm month-1' is not the sum of a year"):
        read_raster(twelve[:3], RAIN, combine="sum")
    with pytest.raises(UnitsError, match="sum of 12 rates in 'mm d-1'"):
        read_raster(twelve, RAIN, combine="sum", units="mm d-1")


def test_a_file_named_for_an_oxide_is_converted_or_rejected(tmp_path: Path) -> None:
    path = write_tif(tmp_path / "Fe2O3_0-20cm.tif", np.full((1, 2), 5.0, "float32"), unit="%")
    with pytest.raises(UnitsError, match=r"named for Fe2O3.*units='% Fe2O3' to convert.*units='% as Fe'"):
        read_raster(path, IRON).read(*WHOLE)
    converted = read_raster(path, IRON, units="% Fe2O3").read(*WHOLE)
    np.testing.assert_allclose(converted, 5e4 * 0.699431, rtol=1e-6)
    np.testing.assert_allclose(read_raster(path, IRON, units="% as Fe").read(*WHOLE), 5e4)
    with pytest.raises(UnitsError, match="Fe2O3 has no Mn"):
        read_raster(path, variable("manganese"), units="% Fe2O3")


def test_daily_rates_of_one_file_a_day_are_not_multiplied_by_the_days_of_a_month(tmp_path: Path) -> None:
    """A file of one step was taken for a month: 62 mm for 2 mm on each day of January."""
    for day in range(1, 6):
        values = xr.DataArray(
            np.full((1, 2, 3), 2.0), dims=("time", "lat", "lon"), name="pr", attrs={"units": "mm d-1"},
            coords={"time": [np.datetime64(f"2001-01-0{day}", "ns")], "lat": [31.0, 30.0], "lon": [90.0, 91.0, 92.0]},
        )  # fmt: skip
        values.to_netcdf(tmp_path / f"day{day}.nc", engine="scipy")
    rain = read_stack(str(tmp_path / "day*.nc"), "pr", "mm")
    np.testing.assert_allclose(rain, 2.0, rtol=1e-12)
    assert rain.sizes["time"] == 5
