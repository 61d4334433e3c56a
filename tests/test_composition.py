"""Compositions: log-ratios and back, exact means, limits with their coverage, and maps whose parts sum to the total."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run
from scipy.stats import gmean

from tpsoil.cube import open_cube
from tpsoil.errors import InputError, RecipeError
from tpsoil.micronutrients import Composition, log_ratios, train_elements
from tpsoil.recipes import read_recipe, result_tables, run
from tpsoil.recipes.element_composition import composition_scores
from tpsoil.reports.records import read_record

PARTS = ("clay", "silt", "sand")
TEXTURE = Composition(PARTS)
CENTRED = Composition(PARTS, transform="clr")
SIDE = 32


def shares(count: int, seed: int = 0) -> np.ndarray:
    return 100 * np.random.default_rng(seed).dirichlet([2.0, 3.0, 5.0], count)


@pytest.mark.parametrize("composition", [TEXTURE, CENTRED], ids=["ilr", "clr"])
def test_forward_and_back(composition: Composition) -> None:
    values = shares(50)
    coordinates = composition.forward(values)
    assert coordinates.shape == (50, len(composition.coordinates))
    back = np.column_stack(composition.inverse(list(coordinates.T)))
    np.testing.assert_allclose(back, values, rtol=1e-12)


def test_coordinates_are_those_of_their_definitions() -> None:
    clay, silt, sand = shares(20).T
    clr = CENTRED.forward(np.column_stack([clay, silt, sand]))
    np.testing.assert_allclose(clr[:, 0], np.log(clay / (clay * silt * sand) ** (1 / 3)), rtol=1e-12)
    np.testing.assert_allclose(clr.sum(axis=1), 0, atol=1e-12)
    ilr = TEXTURE.forward(np.column_stack([clay, silt, sand]))
    np.testing.assert_allclose(ilr[:, 0], np.sqrt(2 / 3) * np.log(clay / np.sqrt(silt * sand)), rtol=1e-12)
    np.testing.assert_allclose(ilr[:, 1], np.sqrt(1 / 2) * np.log(silt / sand), rtol=1e-12)
    np.testing.assert_allclose(TEXTURE.basis.T @ TEXTURE.basis, np.eye(2), atol=1e-15)
    # Isometric: Aitchison's distances are distances of the coordinates.
    np.testing.assert_allclose(np.linalg.norm(np.diff(ilr, axis=0)), np.linalg.norm(np.diff(clr, axis=0)), rtol=1e-12)


@pytest.mark.parametrize("composition", [TEXTURE, CENTRED], ids=["ilr", "clr"])
def test_the_mean_is_the_closed_geometric_mean(composition: Composition) -> None:
    values = shares(30)
    mean = composition.inverse(list(composition.forward(values).mean(axis=0)))
    centre = gmean(values, axis=0)
    np.testing.assert_allclose(mean, 100 * centre / centre.sum(), rtol=1e-12)
    assert mean[0] < values.mean(axis=0)[0]  # the small part: below the arithmetic mean of its shares


@pytest.mark.parametrize("composition", [TEXTURE, CENTRED], ids=["ilr", "clr"])
def test_limits_enclose_the_mean_and_stay_within_the_total(composition: Composition) -> None:
    mean = list(composition.forward(shares(40)).T)
    wide = np.random.default_rng(1).uniform(0, 3, (2, len(mean), 40))
    lower, upper = composition.limits(
        mean, [m - w for m, w in zip(mean, wide[0])], [m + w for m, w in zip(mean, wide[1])]
    )
    for low, part, high in zip(lower, composition.inverse(mean), upper, strict=True):
        assert (low > 0).all()
        assert (low <= part + 1e-12).all()
        assert (part <= high + 1e-12).all()
        assert (high < 100).all()
    equal, _ = composition.limits(mean, mean, mean)
    np.testing.assert_allclose(equal, composition.inverse(mean), rtol=1e-12)


def test_limits_of_a_part_keep_the_ratio_of_the_others() -> None:
    mean = CENTRED.forward([[20.0, 30.0, 50.0]])[0]
    half = 0.4
    _, upper = CENTRED.limits(list(mean), list(mean), [mean[0] + half, mean[1], mean[2]])
    moved = np.array([20 * np.exp(half), 30 * np.exp(-half / 2), 50 * np.exp(-half / 2)])
    assert upper[0] == pytest.approx(100 * moved[0] / moved.sum(), rel=1e-12)
    assert upper[1] == pytest.approx(30, rel=1e-12)


def test_tables_of_parts() -> None:
    table = pd.DataFrame({"clay": [20.0, 10, 0], "silt": [30.0, 20, 40], "sand": [50.0, 70.5, 60]})
    with pytest.raises(InputError, match=r"1 rows have a part of 0, which has no log-ratio; give zeros"):
        log_ratios(table, TEXTURE)
    ratios = log_ratios(table, Composition(PARTS, zeros=0.5))
    assert ratios.attrs == {"closed": 1, "zeros": 1}
    back = np.column_stack(TEXTURE.inverse(list(ratios.to_numpy().T)))
    np.testing.assert_allclose(back[2], [0.5, 39.8, 59.7], rtol=1e-12)  # the others keep their ratio
    with pytest.raises(InputError, match=r"sum to 100 \(median\), expected 1000; give their total, or the part"):
        log_ratios(table[:1], Composition(PARTS, total=1000))
    with pytest.raises(InputError, match="1 rows have a negative part"):
        log_ratios(table[:1].assign(clay=-1.0), TEXTURE)
    with pytest.raises(InputError, match="parts are \\['clay'\\], expected two or more"):
        Composition(("clay",))


@pytest.mark.parametrize("transform", ["ilr", "clr"])
def test_intervals_cover_the_parts(transform: Any) -> None:
    rng = np.random.default_rng(2)
    slope = rng.random(400)
    composition = Composition(PARTS, transform=transform)
    logs = np.column_stack([1 + 1.5 * slope, 2 - slope, np.full(400, 1.5)]) + rng.normal(0, 0.35, (400, 3))
    table = pd.DataFrame(100 * np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True), columns=list(PARTS))
    table = table.join(log_ratios(table, composition)).assign(slope=slope, site=np.arange(400))
    how: dict[str, Any] = {
        "trees": 40,
        "properties": composition.properties,
        "min_samples_leaf": 10,
        "folds": ["random"],
    }
    trained = train_elements(table, list(composition.coordinates), ["slope"], **how)
    scores = composition_scores(composition, trained, table, 0.9).set_index("part")
    assert scores["mean_predicted"].sum() == pytest.approx(100)
    assert (scores.loc[["clay", "silt"], "nse"] > 0.3).all()
    assert scores["coverage"].between(0.85, 0.97).all(), scores["coverage"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("texture")
    small_run.make_cube(str(place / "cube.zarr"), side=SIDE)
    table = pd.read_csv(small_run.make_samples(place / "plain.csv", side=SIDE, count=70))
    logs = np.random.default_rng(5).normal(0, 0.2, (70, 3))
    logs[:, 0] += 8 * (table["latitude"] - table["latitude"].mean())  # precipitation rises to the south
    table[["clay", "silt", "sand"]] = np.round(100 * np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True), 1)
    table.loc[4, "clay"] = np.nan
    table.to_csv(place / "samples.csv", index=False)
    return place


def recipe(folder: Path, output: Path, **keys: Any) -> dict[str, Any]:
    elements = {
        "samples": str(folder / "samples.csv"), "features": ["elevation", "annual_precipitation"], "trees": 6,
        "n_folds": 3, "folds": ["random"], "interval": 0.9, **keys,
    }  # fmt: skip
    place = {"name": "texture", "output": str(output / "maps.zarr"), "cube": str(folder / "cube.zarr")}
    return {"run": place, "elements": elements}


def test_a_recipe_maps_parts_that_sum_to_the_total(folder: Path, tmp_path: Path) -> None:
    made = recipe(folder, tmp_path, composition={"parts": list(PARTS), "zeros": 0.05})
    run(made, progress=False)
    maps = open_cube(made["run"]["output"]).load()
    mask = np.isfinite(maps["clay"].values)
    assert mask.any()
    total = sum(maps[name].values[mask].astype(float) for name in PARTS)
    np.testing.assert_allclose(total, 100, atol=1e-4)
    for name in PARTS:
        low, mean, high = (maps[f"{name}{tail}"].values[mask] for tail in ("_lower", "", "_upper"))
        assert (low <= mean).all()
        assert (mean <= high).all()
        assert maps[name].attrs["units"] == "%"
        assert "compositional centre" in maps[name].attrs["back_transformation"]
    assert int(maps["clay"].attrs["samples_used"]) == 69
    scores = result_tables(made["run"]["output"])[
        "Composition: scores of the parts out of fold, coverage and width of their intervals"
    ]
    assert scores["part"].tolist() == list(PARTS)
    assert scores["coverage"].between(0.5, 1).all()


def test_compositions_of_a_recipe_are_checked(folder: Path, tmp_path: Path) -> None:
    def fault(**keys: Any) -> str:
        with pytest.raises(RecipeError) as caught:
            read_recipe(recipe(folder, tmp_path, **keys))
        return str(caught.value)

    assert "elements is missing; name one or more, or give [elements.composition]" in fault()
    assert "composition.parts are in several units (clay %, Fe mg kg-1)" in fault(composition={"parts": ["clay", "Fe"]})
    assert "no soil property 'lime'" in fault(composition={"parts": ["clay", "lime"]})
    assert "elements clay and clay have one map" in fault(elements=["clay"], composition={"parts": ["clay", "silt"]})
    ignored = fault(elements=["Fe"], composition={"parts": list(PARTS)}, icp={"clay": "Fe"})
    assert "icp names 'clay', which is none of the elements Fe" in ignored
    ignored = fault(composition={"parts": list(PARTS)}, drivers=True)
    assert "drivers has no effect on a composition; name elements, or leave drivers out" in ignored
    with pytest.raises(InputError, match=r"composition: samples.csv: clay, silt sum to .* expected 100"):
        run(recipe(folder, tmp_path, composition={"parts": ["clay", "silt"]}), progress=False)


def test_texture_of_gemas_closes(data_folder: Path) -> None:
    table = pd.read_csv(data_folder / "europe" / "gemas.csv").dropna(subset=list(PARTS))
    ratios = log_ratios(table, Composition(PARTS, zeros=0.05))
    assert ratios.attrs["zeros"] == 1
    back = np.column_stack(TEXTURE.inverse(list(ratios.to_numpy().T)))
    assert np.abs(back - table[list(PARTS)].to_numpy()).max() < 2


def test_censored_parts_are_treated_as_censored_as_asks(folder: Path, tmp_path: Path) -> None:
    """Half the limit was taken whatever `censored_as` asked for, and of any share of the samples."""
    table = pd.read_csv(folder / "samples.csv")
    limit = round(float(table["clay"].quantile(0.1)), 1)
    censored = int((table["clay"] < limit).sum())
    keys: dict[str, Any] = {"composition": {"parts": list(PARTS)}, "limits": {"clay": limit}}
    used, notes = {}, {}
    for choice in ("half", "limit", "drop"):
        store = tmp_path / choice
        run(recipe(folder, store, censored_as=choice, **keys), progress=False)
        used[choice] = int(open_cube(store / "maps.zarr")["clay"].attrs["samples_used"])
        notes[choice] = " ".join(read_record(str(store / "maps.zarr")).notes)
    assert used == {"half": 69, "limit": 69, "drop": 69 - censored}
    assert f"{censored} censored values of clay replaced by the limit" in notes["limit"]
    with pytest.raises(InputError, match=r"set elements.allow_censored = true to map it"):
        run(recipe(folder, tmp_path / "many", max_censored=0.01, **keys), progress=False)
