"""The forecast of disk: bytes by layer before the first tile, and what happens where there is less."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import small_run

from tpsoil.engine import forecast as disk
from tpsoil.engine.plan import Tiling
from tpsoil.errors import InputError
from tpsoil.recipes import preview, run


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free, 0, free))


def stored(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("c/*/*") if path.is_file())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    made = small_run.make_small(tmp_path_factory.mktemp("disk"), chunk=64)
    del made["elements"]
    return made


def test_the_forecast_is_within_its_factor_of_what_is_written(recipe: dict[str, Any]) -> None:
    forecast = preview(recipe).disk
    assert forecast is not None
    assert set(forecast.layers) >= {"slope", "solum_thickness", "solum_status"}
    run(recipe, progress=False)
    written = stored(Path(recipe["run"]["output"]))
    expected = sum(forecast.layers.values())
    assert written / disk.UNCERTAINTY < expected < written * disk.UNCERTAINTY
    assert written < forecast.bound * 1.05, "the bound is the uncompressed size"


def test_the_forecast_counts_the_overviews_that_a_run_writes(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**recipe, "run": {**recipe["run"], "output": str(tmp_path / "maps.zarr")}}
    plain = preview(other).disk
    monkeypatch.setattr("tpsoil.cube.levels.COARSEST_CELLS", 16)
    forecast = preview(other).disk
    assert plain is not None
    assert forecast is not None
    assert 1.2 * plain.bound < forecast.bound < 1.4 * plain.bound
    run(other, progress=False)
    assert len(list((tmp_path / "maps.zarr" / "overviews").glob("*/*/c"))) >= len(forecast.layers)
    with_free(monkeypatch, forecast.records + 1)
    again = preview(other).disk
    assert again is not None
    assert stored(tmp_path / "maps.zarr") <= again.stored  # chunks of overviews are replaced too


def test_a_run_that_cannot_fit_is_rejected_before_anything_is_written(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**recipe, "run": {**recipe["run"], "output": str(tmp_path / "maps.zarr")}}
    with_free(monkeypatch, 10_000)
    for call in (run, preview):
        with pytest.raises(InputError, match=r"writes about .* layers, the largest .* are free in .*; free some space"):
            call(other)
    assert not (tmp_path / "maps.zarr").exists()


def test_a_run_that_may_not_fit_is_warned_about_and_goes_on(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast = disk.forecast_disk([], Tiling((10, 10), 5), str(tmp_path / "new" / "maps.zarr"))
    assert forecast.where == str(tmp_path), "the nearest folder that exists"
    assert forecast.total == 0
    near = disk.DiskForecast({"slope": 1000}, 2000, 0, 0, 900, "/data")
    assert "may not fit" in disk.check_disk(near, "r.toml")
    assert disk.check_disk(disk.DiskForecast({"slope": 1000}, 2000, 0, 0, 2001, "/data"), "r.toml") == ""


def test_layers_that_are_there_already_are_replaced_and_count_once(
    recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe, progress=False)
    forecast = preview(recipe).disk
    assert forecast is not None
    with_free(monkeypatch, forecast.records + forecast.total // 4)
    again = preview(recipe).disk
    assert again is not None
    assert again.stored == stored(Path(recipe["run"]["output"])) + sum(
        (Path(recipe["run"]["output"]) / name / "zarr.json").stat().st_size for name in again.layers
    )
    run(recipe, progress=False)


def test_an_object_store_is_not_checked_and_that_is_stated(recipe: dict[str, Any]) -> None:
    forecast = disk.forecast_disk([], Tiling((10, 10), 5), "memory://maps")
    assert forecast.free is None
    assert "not checked" in forecast.summary
    assert disk.check_disk(forecast, "r.toml") == ""
