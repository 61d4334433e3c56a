"""Faults of samples and covariates of a recipe: each is named with its place and a way to correct it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run

from tpsoil.cube import open_cube
from tpsoil.errors import InputError, RecipeError, UnitsError
from tpsoil.recipes import read_recipe, run
from tpsoil.recipes.element_samples import design_of
from tpsoil.recipes.jobs import job_of
from tpsoil.reports.records import read_record

SIDE = 32


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A small cube and 60 sites with two samples each."""
    folder = tmp_path_factory.mktemp("faults")
    small_run.make_cube(str(folder / "cube.zarr"), side=SIDE)
    small_run.make_samples(folder / "plain.csv", side=SIDE, count=60)
    rng = np.random.default_rng(4)
    plain = pd.read_csv(folder / "plain.csv")
    table = plain.loc[plain.index.repeat(2)].reset_index(drop=True)
    table["plot"], table["part"] = np.repeat(np.arange(60), 2), np.tile([1, 2], 60)
    table["Fe"] = (table["Fe"] * rng.normal(1, 0.1, 120)).round(1)
    table["rock"] = np.where(table["plot"] < 30, "granite", "schist")
    table["sand"] = rng.uniform(20, 80, 120).round(2)
    for name, content in {"Al": 65_000, "Ca": 20_000, "Na": 14_000, "K": 20_000, "P": 600}.items():
        table[name] = (content * rng.lognormal(0, 0.2, 120)).round(1)
    table.to_csv(folder / "samples.csv", index=False)
    recipe = small_run.recipe_of(folder)
    del recipe["solum"]
    recipe["elements"] = {
        "samples": str(folder / "samples.csv"), "elements": ["Fe"], "features": ["elevation", "slope"],
        "site": "plot", "replicate": "part", "trees": 4, "folds": ["random", "group"], "n_folds": 3,
    }  # fmt: skip
    return folder, recipe


def variant(base: tuple[Path, dict[str, Any]], folder: Path, table: pd.DataFrame, **keys: Any) -> dict[str, Any]:
    table.to_csv(folder / "samples.csv", index=False)
    recipe = {name: dict(part) for name, part in base[1].items()}
    recipe["run"]["output"] = str(folder / "maps.zarr")
    recipe["elements"] |= {"samples": str(folder / "samples.csv"), **keys}
    return recipe


def samples(base: tuple[Path, dict[str, Any]]) -> pd.DataFrame:
    return pd.read_csv(base[0] / "samples.csv")


def test_an_oxide_under_an_elements_name(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    table = samples(base).rename(columns={"Fe": "Fe2O3"})
    with pytest.raises(UnitsError, match=r"'Fe' is read from column 'Fe2O3', which is named for Fe2O3.*mg kg-1 Fe2O3"):
        run(variant(base, tmp_path, table, elements={"Fe": "Fe2O3"}), progress=False)


def test_mixed_units_in_one_column(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    table = samples(base)
    table.loc[[3, 8, 70], "Fe"] /= 1e4
    with pytest.raises(UnitsError, match=r"samples.csv: 'Fe' mixes two units: 3 values .*% beside mg/kg.*one unit"):
        run(variant(base, tmp_path, table), progress=False)


def test_faults_of_all_elements_are_listed_before_anything_is_computed(
    base: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    table = samples(base)
    table["Pb"], table["Zn"], table["pH"] = "<5", table["Fe"] / 100, 7.1
    table.loc[4, "pH"], table.loc[5, "Zn"] = 71.0, -3.0
    recipe = variant(base, tmp_path, table, elements=["Fe", "Pb", "Zn", "pH"])
    with pytest.raises(InputError) as caught:
        run(recipe, progress=False)
    lines = str(caught.value).splitlines()
    assert lines[0] == "samples.csv: 3 faults"
    assert [re.search(r"'(\w+)'", line)[1] for line in lines[1:]] == ["Pb", "Zn", "pH"]  # type: ignore[index]
    assert "'pH' is outside 0 to 14 in 1 values (line 6), such as 71" in lines[3]
    assert not (tmp_path / "maps.zarr").exists()


def test_an_oxide_without_its_name(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    table = samples(base)
    table["Fe"] = (table["Fe"] / 6994.3).round(3)
    with pytest.raises(
        UnitsError, match=r'as if it were in %; set elements.units = \{ Fe = "%" \}, .% Fe2O3. if it is the oxide'
    ):
        run(variant(base, tmp_path, table), progress=False)
    run(variant(base, tmp_path, table, units={"Fe": "% Fe2O3"}), progress=False)


def test_identical_and_constant_covariates(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    table = samples(base).assign(flat=3.0)
    keys: dict[str, Any] = {
        "features": ["elevation", "slope", "annual_precipitation"],
        "from_samples": {"elevation": "sand", "slope": "sand"},
    }
    with pytest.raises(InputError, match="elevation and slope have the same values; leave one out"):
        run(variant(base, tmp_path, table, **keys), progress=False)
    with pytest.raises(InputError, match="slope is constant over the 120 used rows of 'Fe'.*omit it"):
        run(variant(base, tmp_path, table, from_samples={"slope": "flat"}), progress=False)


def test_a_column_that_contains_the_target(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    table = samples(base)
    table["index"] = np.sqrt(table["Fe"])
    with pytest.raises(InputError, match=r"elements, Fe: slope follows Fe almost exactly .*contains the target"):
        run(variant(base, tmp_path, table, from_samples={"slope": "index"}), progress=False)


def test_an_element_that_is_all_censored(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    table = samples(base)
    table["Fe"] = "<5"
    with pytest.raises(InputError, match=r"Fe.*(below|no valid value)") as caught:
        run(variant(base, tmp_path, table), progress=False)
    assert caught.value.exit_status == 2


def test_faults_that_do_not_stop_a_run_are_noted(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    table = samples(base)
    table.loc[table["plot"] == 7, "rock"] = "marble"
    keys = {
        "compare": ["rock"],
        "features": ["elevation", "slope", "chemical_index_of_alteration"],
        "cia": {
            "columns": {name: name for name in ("Al", "Ca", "Na", "K", "P")},
            "features": ["elevation", "slope"],
        },
    }
    recipe = variant(base, tmp_path, table, **keys)
    run(recipe, progress=False)
    notes = "\n".join(read_record(recipe["run"]["output"]).notes)
    assert "Fe: in random folds " in notes
    assert "of 60 sites have samples in more than one fold" in notes
    assert "Fe: rock has classes with one site, which are not compared: marble" in notes
    assert "circular" not in notes  # iron is no part of the index
    assert "Fe: trained on out-of-fold values of chemical_index_of_alteration" in notes


def test_options_of_the_study_are_checked_with_the_recipe(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    def fault(**keys: Any) -> str:
        with pytest.raises(RecipeError) as caught:
            read_recipe(variant(base, tmp_path, samples(base), **keys))
        return str(caught.value)

    pairs = {"path": "pairs.csv", "columns": {"Ni": ["a", "b"]}}
    assert "pairs.columns names 'Ni', which is none of Fe" in fault(pairs=pairs)
    assert "calibration_error has no effect without icp or pairs" in fault(calibration_error=False)
    assert "lacks K; the index needs Al, Ca, Na and K" in fault(cia={"columns": {"Al": "a", "Ca": "c", "Na": "n"}})
    assert "'slop', no feature; did you mean 'slope'" in fault(drivers=True, driver_groups={"terrain": ["slop"]})
    assert "variance_ratio has no effect without calibration = deming" in fault(variance_ratio=2.0)
    assert "dependence has no effect without effects" in fault(dependence=True)
    with pytest.raises(RecipeError, match=r"elements.pairs.path"):
        run(variant(base, tmp_path, samples(base), pairs={"path": "no.csv", "columns": {"Fe": ["a", "b"]}}))


def test_text_among_icp_readings_is_rejected(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Readings such as "18,2" were left out of the calibration without a word."""
    table = samples(base)
    table["Fe_icp"] = (1.1 * table["Fe"]).round(1).astype(str)
    table.loc[3, "Fe_icp"] = "lost"
    recipe = variant(base, tmp_path, table, icp={"Fe": "Fe_icp"})
    with pytest.raises(InputError, match=r"samples.csv: column 'Fe_icp' has text in line 5: 'lost', expected numbers"):
        run(recipe, progress=False)


def test_samples_that_excel_saved_under_windows(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    recipe = variant(base, tmp_path, samples(base))
    path = tmp_path / "samples.csv"
    path.write_bytes(samples(base).replace("granite", "gr\xfcnstein").to_csv(index=False).encode("cp1252"))
    with pytest.raises(InputError, match=r'not UTF-8 text .* set elements.encoding = "cp1252" where Excel'):
        run(recipe, progress=False)
    recipe["elements"] |= {"encoding": "cp1252", "compare": ["rock"]}
    run(recipe, progress=False)
    classes = read_record(str(tmp_path / "maps.zarr")).tables["groups"]["group"]
    assert set(classes) == {"gr\xfcnstein", "schist"}


def test_detection_limits_are_calibrated_with_the_readings(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Half of a limit on the XRF scale stood for censored values among those on the scale of ICP-MS."""
    table = samples(base)
    table["Fe_icp"] = (2000 + 1.5 * table["Fe"]).round(1)
    limit = float(table["Fe"].quantile(0.1))
    keys = {"features": ["elevation", "annual_precipitation"], "limits": {"Fe": limit}}
    recipe = variant(base, tmp_path, table, icp={"Fe": "Fe_icp"}, **keys)
    job = job_of(recipe)
    stage = next(one for one in job.stages if one.section == "elements")
    placed = design_of(stage.options["table"], open_cube(str(job.cube)), "Fe")
    censored = placed.design[placed.design["censored"]]
    assert len(censored) >= 5
    np.testing.assert_allclose(censored["detection_limit"], 2000 + 1.5 * limit, rtol=1e-4)
