"""The complete solum study on its twin, at reduced size: the recipe for the real data with the twin's paths.

At 1 km: `python tests/chen2026_twin.py FOLDER`, `tpsoil run tests/recipes/chen2026_twin.toml`, then
`python tests/chen2026_recovery.py FOLDER STORE`; benchmarks/results/chen2026_twin.md has the result.
"""

from __future__ import annotations

import io
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from chen2026_recovery import recovery
from chen2026_twin import PROFILES, write_twin

import tpsoil
from tpsoil.cli import main
from tpsoil.cube import open_cube
from tpsoil.errors import InputError
from tpsoil.recipes.jobs import job_of, result_tables
from tpsoil.recipes.templates import new_recipe
from tpsoil.reports.charts import region_figures
from tpsoil.reports.page import page_html
from tpsoil.reports.story import read_story
from tpsoil.solum import COVARIATES, PUBLISHED, PUBLISHED_ZONES, thickness

TWIN_RECIPE = Path(__file__).parent / "recipes" / "chen2026_twin.toml"
NOISE_M = 0.34
FILES = {
    "data/plateau_boundary.shp": "boundary.geojson", "data/glaciers_cgi2.shp": "glaciers.geojson",
    "data/lakes_2020.shp": "lakes.geojson", "data/nasadem.tif": "dem.tif", "data/ndvi/*.tif": "ndvi.tif",
    "data/parent_material.tif": "parent_material.tif", "data/land_use_2015.tif": "land_use.tif",
    "data/water_erosion.tif": "water_erosion.tif", "data/wind_erosion.tif": "wind_erosion.tif",
    "data/BDTICM_M_250m_ll.tif": "depth_to_bedrock_cm.tif",
    "data/shangguan_thickness.tif": "shangguan_thickness_cm.tif", "data/liu_thickness.tif": "liu_thickness_cm.tif",
    "data/profiles.csv": "profiles.csv",
    "data/basins.shp": "basins.geojson",
}  # fmt: skip


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twin")
    write_twin(folder, resolution_m=16_000.0, noise_m=NOISE_M)
    return folder


def with_paths_of(value: Any, folder: Path) -> Any:
    """The recipe with the twin's files in place of the real ones."""
    if isinstance(value, dict):
        return {key: with_paths_of(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [with_paths_of(item, folder) for item in value]
    return str(folder / FILES[value]) if isinstance(value, str) and value in FILES else value


def small_recipe(folder: Path, output: Path) -> dict[str, Any]:
    """The shipped recipe on the twin: other paths, annual climate, and less effort."""
    recipe: dict[str, Any] = with_paths_of(tomllib.loads(new_recipe("chen2026")), folder)
    recipe["run"]["output"] = str(output)
    recipe["grid"] = {"like": str(folder / "dem.tif"), "chunks": 128}
    del recipe["derive"]["climate"]  # the twin has annual means, not months
    recipe["layers"] += [
        {"name": "mean_annual_temperature", "source": str(folder / "temperature.tif"), "units": "degC"},
        {"name": "annual_precipitation", "source": str(folder / "precipitation.tif"), "units": "mm"},
    ]
    recipe["solum"]["zones"] |= {"rank_seeds": 2, "rank_trees": 60, "n_init": 2, "max_cells": 20_000}
    recipe["solum"]["calibration"] |= {"starts": 1, "evaluations": 2000, "members": 60, "simulated": True}
    recipe["zonal"][0]["by"] = "basin"
    return recipe


@pytest.fixture(scope="module")
def store(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("study") / "maps.zarr"
    tpsoil.run(small_recipe(twin, output), progress=False)
    return output


def test_the_truth_is_the_models_own(twin: Path) -> None:
    profiles = pd.read_csv(twin / "profiles_truth.csv")
    assert len(profiles) == PROFILES
    shares = profiles["zone"].value_counts().sort_index() / PROFILES
    listed = pd.Series({zone: means.profiles for zone, means in PUBLISHED_ZONES.items()})
    np.testing.assert_allclose(shares, listed / listed.sum(), atol=2 / PROFILES)
    residual = 0.01 * profiles["thickness"] - profiles["truth_m"]
    # standard error of the mean 0.34/sqrt(552) = 0.0145, of the standard deviation 0.0102; three of each
    assert abs(residual.mean()) < 0.045
    assert residual.std() == pytest.approx(NOISE_M, abs=0.035)
    truth = open_cube(twin / "truth.zarr").load()
    assert float(truth["solum_thickness"].mean()) == pytest.approx(0.8, abs=0.15)  # the study's mean is 0.89 m
    assert set(np.unique(truth["zone"])) <= {*PUBLISHED, 255}
    origins = pd.read_csv(twin / "origins.csv")
    assert set(COVARIATES) <= set(origins["layer"])
    assert set(origins["origin"]) <= {"real", "real, refined", "simulated"}
    assert all((twin / name).exists() for name in origins["file"])


def test_a_cell_of_the_truth_by_hand(twin: Path) -> None:
    import rioxarray

    truth = open_cube(twin / "truth.zarr").load()
    known = np.argwhere(truth["solum_status"].values == 0)
    row, column = known[len(known) // 2]
    layers = {}
    for file, name in {"temperature": "mean_annual_temperature", "precipitation": "annual_precipitation",
                       "water_erosion": "water_erosion", "wind_erosion": "wind_erosion"}.items():  # fmt: skip
        with rioxarray.open_rasterio(twin / f"{file}.tif") as raster:
            layers[name] = float(raster[0, row, column])
    with rioxarray.open_rasterio(twin / "dem.tif") as raster:
        z = raster[0, row - 1 : row + 2, column - 1 : column + 2].values.astype(float)
    laplacian = (z[0, 1] + z[1, 0] + z[1, 2] + z[2, 1] - 4 * z[1, 1]) / 16_000.0**2
    zone = int(truth["zone"].values[row, column])
    expected = thickness({**layers, "general_curvature": -laplacian}, PUBLISHED[zone])["solum_thickness"]
    assert float(truth["solum_thickness"].values[row, column]) == pytest.approx(float(expected), rel=1e-4)


def test_the_truth_is_recovered_within_the_noise(twin: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, index = recovery(twin, store)
    with capsys.disabled():
        print(f"\n{scores.round(3).to_string(index=False)}\nadjusted Rand index of the zones: {index:.3f}")
    by_zone = scores.set_index(scores["zone"].astype(str))
    # RMSE of the map is far below the noise of one profile, overall and in each zone of the truth.
    assert by_zone.loc["all", "rmse"] < NOISE_M / 2
    assert (by_zone["rmse"] < NOISE_M).all()
    assert by_zone.loc["all", "r2"] > 0.3
    assert by_zone.loc["all", "covered"] == pytest.approx(0.9, abs=0.05)
    assert index > 0.1


def test_every_table_of_the_study_has_its_counterpart(store: Path) -> None:
    tables = result_tables(str(store))
    record = read_story(open_cube(store), where=str(store))
    named = {str(table.attrs.get("name")): table for table in record.scores} | record.charts
    ranked = named["importance_solum"]
    assert set(ranked["feature"]) == {*COVARIATES, "land_use"} - {"land_cover"}  # Table 1 and Fig. 2a
    assert named["solum_bounds"]["parameter"].tolist() == ["h0", "rho_s", "a", "b", "alpha", "beta", "gamma", "D"]
    assert len(named["solum_zones"]) == 8  # Table 3
    assert {"h0", "D", "rmse_cv", "n"} <= set(named["solum_parameters"].columns)  # Table 4
    compared = named["solum_comparison"].set_index("map")  # Table 5
    assert 0.3 < compared.loc["shangguan_thickness", "mean"] < 1.2  # m, from a map in cm
    assert named["solum_gain"]["beside"].tolist() == ["shangguan_thickness", "liu_thickness"]
    assert set(named["solum_windows"]["window"]) == {"Qaidam", "Qiangtang"}  # Figs 7 and 8
    assert named["solum_correlations"].set_index("second").loc["elevation", "r"] < 0  # Fig. 4
    assert {"distance_km", "elevation", "solum_thickness"} <= set(named["transect_Hengduan"].columns)  # Fig. 5
    assert "Yellow River" in set(named["zonal_basins"].astype(str).to_numpy().ravel())  # Fig. 3
    assert named["solum_published"]["this_run"].notna().mean() > 0.9
    assert set(named["solum_gain_baselines"]["beside"]) == {"forest", "zone mean"}
    assert len(named["solum_sensitivity"]) == 13
    kinds = set(named["solum_scores"]["kind"])
    assert {"fit", "cv_median", "forest_cv", "zone_mean_cv", "cv_blocks_median"} <= kinds
    assert "This run beside the published study" in tables


def test_every_figure_of_the_study_has_its_counterpart(store: Path) -> None:
    maps = open_cube(store)
    assert {"zone", "solum_thickness", "solum_thickness_p05", "solum_thickness_p95", "difference_shangguan_thickness",
            "difference_liu_thickness", "agreement_liu_thickness"} <= set(maps.data_vars)  # fmt: skip
    story = read_story(maps, where=str(store))
    tables = story.charts | {str(table.attrs.get("name")): table for table in story.scores}
    texts = [text for text, _ in region_figures(maps, tables)]
    assert texts == ["Study area with the profiles", "Parent material", "Other maps and the difference to them",
                     "Maps in the window Qaidam", "Maps in the window Qiangtang", "Transect Hengduan"]  # fmt: skip
    page = page_html(maps, where=str(store), cells=200_000)
    for text in (*texts, "Sensitivity of thickness", "Importance of the covariates, solum", "Correlation, solum",
                 "Calibration, solum", "Observed against predicted, solum"):  # fmt: skip
        assert text in page
    assert "(simulated)" in page


def test_the_recipe_of_the_twin_is_that_of_the_real_data(twin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEN2026_TWIN", str(twin))
    ours, shipped = tomllib.loads(TWIN_RECIPE.read_text()), tomllib.loads(new_recipe("chen2026"))
    assert [stage.title for stage in job_of(TWIN_RECIPE, output=str(twin / "none.zarr")).stages][-1].endswith("basins")
    assert ours["solum"]["comparison"]["maps"] == shipped["solum"]["comparison"]["maps"]
    assert ours["solum"]["comparison"]["correlate"] == shipped["solum"]["comparison"]["correlate"]
    for table, apart in (("calibration", {"profiles", "simulated"}), ("sensitivity", set())):
        assert {k: v for k, v in ours["solum"][table].items() if k not in apart} == {
            k: v for k, v in shipped["solum"][table].items() if k not in apart
        }
    assert set(ours["solum"]) == {*shipped["solum"]} - {"density_ratio", "cap_to_bedrock"}
    assert [*ours["derive"]["terrain"]["layers"], *ours["derive"]["hydrology"]["layers"]] == TERRAIN_AND_FLOW


TERRAIN_AND_FLOW = ["slope", "aspect", "general_curvature", "plan_curvature", "profile_curvature", "terrain_ruggedness",
                    "slope_position", "slope_length", "topographic_wetness", "sediment_transport"]  # fmt: skip


def test_the_shipped_recipe_cites_every_layer_and_lists_missing_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = new_recipe("chen2026")
    for layer in tomllib.loads(text)["layers"]:
        assert "doi" in layer.get("citation", "") or layer["name"] == "parent_material"
        assert layer.get("units") or layer["name"] in {"ndvi", "parent_material"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    with pytest.raises(SystemExit) as stopped:
        main(("run", "-", "--dry-run"))
    assert stopped.value.code == 2
    shown = capsys.readouterr().err
    for name in ("nasadem.tif", "profiles.csv", "basins.shp", "liu_thickness.tif", "precipitation_monthly.nc"):
        assert name in shown
    with pytest.raises(InputError, match="leave --cube out"):
        new_recipe("chen2026", "some.zarr")
