"""k-prototypes zones and the ranking of covariates: vector, oracles, laws, raster scale, bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.ensemble import RandomForestRegressor

from tpsoil.errors import CorruptStoreError, InputError, MissingInputError
from tpsoil.kernels import prototypes
from tpsoil.recipes.solum_zones import one_a_place
from tpsoil.solum import KEPT_BY_STUDY, Zones, rank_covariates
from tpsoil.solum.baselines import expected_thickness

ROOT = Path(__file__).parent.parent


def blobs(n: int = 900, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centre = rng.integers(0, 5, n)
    numbers = rng.normal(0, 1, (5, 3))[centre] * 1.5 + rng.normal(0, 0.7, (n, 3))
    classes = np.stack(
        [np.where(rng.random(n) < 0.7, centre % 3, rng.integers(0, 3, n)), rng.integers(0, 4, n)], axis=1
    )
    return (numbers - numbers.mean(axis=0)) / numbers.std(axis=0), classes.astype(np.int32)


def cost_of(
    numbers: np.ndarray, classes: np.ndarray, labels: np.ndarray, centres: np.ndarray, modes: np.ndarray
) -> float:
    return float(((numbers - centres[labels]) ** 2).sum() + 0.5 * (classes != modes[labels]).sum())


# ---------------------------------------------------------------- kernel


def test_vector_of_the_mixed_distance() -> None:
    labels = np.full(1, -1, np.int32)
    point, kind = np.array([[0.5, 0.2]]), np.array([[0]], np.int32)
    centres, modes = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([[1], [0]], np.int32)
    cost, moved = prototypes.assign(point, kind, centres, modes, 0.5, labels)
    assert (labels[0], moved) == (0, 1)
    assert cost == pytest.approx(0.29 + 0.5)
    alone, _ = prototypes.assign(point, kind, centres[1:], modes[1:], 0.5, labels)
    assert alone == pytest.approx(0.89)


@pytest.mark.parametrize("seed", range(4))
def test_kernel_is_at_least_as_good_as_kmodes_from_the_same_start(seed: int) -> None:
    from kmodes.kprototypes import KPrototypes

    numbers, classes = blobs(seed=seed)
    first = np.random.default_rng(seed).permutation(len(numbers))[:6]
    model = KPrototypes(6, init=[numbers[first], classes[first]], n_init=1, gamma=0.5, max_iter=100)
    model.fit(np.hstack([numbers, classes]).astype(object), categorical=[3, 4])
    centres, modes, labels = numbers[first].copy(), classes[first].copy(), np.full(len(numbers), -1, np.int32)
    cost, _ = prototypes.fit(numbers, classes, 4, 0.5, centres, modes, labels, 500)
    assert cost <= model.cost_ * (1 + 1e-9)
    assert cost == pytest.approx(cost_of(numbers, classes, labels, centres, modes), rel=1e-12)
    # kmodes agrees that its own labels belong to its own prototypes.
    known = np.asarray(model.cluster_centroids_, float)
    mine = np.full(len(numbers), -1, np.int32)
    its_modes = np.ascontiguousarray(known[:, 3:]).astype(np.int32)
    prototypes.assign(numbers, classes, np.ascontiguousarray(known[:, :3]), its_modes, 0.5, mine)
    assert (mine == model.labels_).mean() > 0.999  # equal distances may go either way


def test_nothing_that_moves_one_point_improves_the_fit() -> None:
    numbers, classes = blobs(120)
    centres, modes, labels = numbers[:4].copy(), classes[:4].copy(), np.full(120, -1, np.int32)
    cost, _ = prototypes.fit(numbers, classes, 4, 0.5, centres, modes, labels, 500)
    for i in range(120):
        for k in range(4):
            other = labels.copy()
            other[i] = k
            c, m = centres.copy(), modes.copy()
            prototypes.means_and_modes(numbers, classes, other, 4, c, m)
            assert cost_of(numbers, classes, other, c, m) >= cost - 1e-9


def test_empty_clusters_are_filled() -> None:
    numbers, classes = blobs(60)
    centres = np.vstack([numbers[:1], np.full((2, 3), 99.0)])
    modes, labels = classes[:3].copy(), np.full(60, -1, np.int32)
    prototypes.fit(numbers, classes, 4, 0.5, centres, modes, labels, 100)
    assert (np.bincount(labels, minlength=3) > 0).all()


def test_kernel_without_jit() -> None:
    code = (
        "from tests.test_solum_zones import *\nx, c = blobs(80)\n"
        "centres, modes, labels = x[:3].copy(), c[:3].copy(), np.full(80, -1, np.int32)\n"
        "print(repr((prototypes.fit(x, c, 4, 0.5, centres, modes, labels, 100)[0], labels.tolist())))\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT, check=True
    )
    cost, plain = eval(done.stdout)
    numbers, classes = blobs(80)
    centres, modes, labels = numbers[:3].copy(), classes[:3].copy(), np.full(80, -1, np.int32)
    assert prototypes.fit(numbers, classes, 4, 0.5, centres, modes, labels, 100)[0] == pytest.approx(cost, rel=1e-12)
    assert labels.tolist() == plain


# ---------------------------------------------------------------- zones of a raster


def plateau(shape: tuple[int, int] = (41, 57), seed: int = 0) -> xr.Dataset:
    """Three bands of height with their own climate and parent material."""
    rng = np.random.default_rng(seed)
    band = np.repeat(np.arange(3), -(-shape[0] // 3))[: shape[0], None] + np.zeros(shape, int)
    layers = {
        "elevation": 2000.0 + 1500 * band + rng.normal(0, 90, shape),
        "mean_annual_temperature": 12.0 - 7 * band + rng.normal(0, 0.5, shape),
        "annual_precipitation": np.array([800.0, 300.0, 500.0])[band] + rng.normal(0, 30, shape),
        "slope": np.full(shape, 7.0),
        "aspect": np.where(rng.random(shape) < 0.1, np.nan, rng.uniform(0, 360, shape)),
    }
    data = xr.Dataset({name: (("y", "x"), values.astype("float32")) for name, values in layers.items()})
    data["parent_material"] = (("y", "x"), np.array([4, 11, 7])[band].astype("int16"))
    data["soil_mask"] = (("y", "x"), (rng.random(shape) > 0.05).astype("uint8"))
    data["annual_precipitation"].values[0, :5] = np.nan
    data["parent_material"].values[3, 3] = np.iinfo("int16").min
    return data.assign_coords(y=np.arange(shape[0]) * -1.0, x=np.arange(shape[1]) * 1.0)


@pytest.fixture(scope="module")
def fitted() -> Zones:
    return Zones(k=3, n_init=3, start_cells=200).fit(plateau())


def test_bands_become_zones_in_order_of_elevation(fitted: Zones) -> None:
    data = plateau()
    zone = fitted.predict(data)
    band = np.repeat([1, 2, 3], 14)[:41, None] + np.zeros((41, 57), int)
    inside = zone.values != 255
    assert (zone.values[inside] == band[inside]).all()
    nothing = (data["soil_mask"].values != 1) | np.isnan(data["annual_precipitation"].values)
    nothing[3, 3] = True
    np.testing.assert_array_equal(~inside, nothing)
    assert fitted.dropped_ == ("slope",)
    assert (np.diff(fitted.summary_["elevation"]) > 0).all()
    assert fitted.summary_["parent_material"].tolist() == [4, 11, 7]
    assert fitted.counts_.sum() == inside.sum()
    assert fitted.columns_.circular == ("aspect",)
    assert zone.attrs["flag_meanings"] == "zone_1 zone_2 zone_3"


@pytest.mark.parametrize("chunks", [(41, 57), (10, 7), ((3, 30, 8), (50, 1, 6))])
def test_zones_do_not_depend_on_chunks(fitted: Zones, chunks: tuple[int, int]) -> None:
    data = plateau()
    lazy = data.chunk(dict(zip("yx", chunks)))
    xr.testing.assert_identical(fitted.predict(lazy).compute(), fitted.predict(data))
    again = Zones(k=3, n_init=3, start_cells=200).fit(lazy)
    np.testing.assert_array_equal(again.centres_, fitted.centres_)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("computed")

    with dask.config.set(scheduler=refuse):
        assert fitted.predict(lazy).shape == (41, 57)


def test_another_seed_gives_the_same_zones(fitted: Zones) -> None:
    other = Zones(k=3, n_init=3, start_cells=200, seed=9).fit(plateau())
    np.testing.assert_array_equal(other.predict(plateau()), fitted.predict(plateau()))


def test_a_decimated_fit_reads_an_even_grid_of_cells() -> None:
    thin = Zones(k=3, n_init=2, max_cells=300, start_cells=100).fit(plateau())
    assert thin.counts_.sum() <= 300
    data = plateau()
    assert (thin.predict(data) == Zones(k=3, n_init=2, start_cells=100).fit(data).predict(data)).mean() > 0.99


def test_cells_without_elevation_do_not_change_the_order() -> None:
    data = plateau().drop_vars("soil_mask")
    data["elevation"].values[7, 4] = np.nan  # of the lowest zone
    climate = ["mean_annual_temperature", "annual_precipitation"]
    summary = Zones(k=3, n_init=3).fit(data, names=climate).summary_
    assert (np.diff(summary["mean_annual_temperature"]) < 0).all()


def test_classes_unseen_by_the_fit_are_mismatches(fitted: Zones) -> None:
    data = plateau()
    strange = data.assign(parent_material=xr.full_like(data["parent_material"], 99))
    zone = fitted.predict(strange)
    inside = (zone.values != 255) & (fitted.predict(data).values != 255)
    assert (zone.values == fitted.predict(data).values)[inside].mean() > 0.99


def test_a_direction_counts_by_sine_and_cosine() -> None:
    data = plateau()
    data["aspect"].values[:] = np.where(np.arange(57) % 2, 359.0, 1.0).astype("float32")
    data["aspect"].values[20:] = 180.0
    zones = Zones(k=2, n_init=2, start_cells=100).fit(data.drop_vars("soil_mask"), names=["aspect"])
    zone = zones.predict(data.drop_vars("soil_mask")).values
    assert len(np.unique(zone[:20])) == len(np.unique(zone[20:])) == 1
    assert zone[0, 0] != zone[30, 0]


def test_zones_are_saved_and_read(fitted: Zones, tmp_path: Path) -> None:
    fitted.save(tmp_path / "zones.json")
    again = Zones.load(tmp_path / "zones.json")
    xr.testing.assert_identical(again.predict(plateau()), fitted.predict(plateau()))
    pd.testing.assert_frame_equal(again.summary_, fitted.summary_, check_dtype=False)
    with pytest.raises(MissingInputError, match="do not exist"):
        Zones.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(CorruptStoreError, match="fit them again"):
        Zones.load(tmp_path / "bad.json")


def test_numbers_alone_and_classes_alone() -> None:
    data = plateau().drop_vars("soil_mask")
    assert Zones(k=3, n_init=2).fit(data, names=["elevation"]).predict(data).max() == 3
    kinds = Zones(k=3, n_init=5).fit(data, names=["parent_material"])
    assert len(np.unique(kinds.predict(data).values[5:])) == 3


TWO_HEIGHTS = xr.Dataset({"elevation": (("y", "x"), np.tile([2000.0, 4000.0], (10, 5)))})


@pytest.mark.parametrize(
    ("zones", "layers", "names", "error", "message"),
    [
        (Zones(k=1), plateau(), None, InputError, "k is 1"),
        (Zones(gamma=-1), plateau(), None, InputError, "gamma is -1"),
        (Zones(), plateau(), ["elevation", "heigt"], MissingInputError, "heigt"),
        (Zones(), plateau()[["soil_mask"]], None, MissingInputError, "none of the study's covariates"),
        (Zones(), plateau() * np.nan, ["elevation"], InputError, "0 complete cells"),
        (Zones(k=2), plateau(), ["slope"], InputError, "no covariate varies"),
        (Zones(k=3), TWO_HEIGHTS, None, InputError, "2 different combinations of covariates in 100 cells"),
    ],
)
def test_invalid_zones_are_rejected(
    zones: Zones, layers: xr.Dataset, names: list[str] | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        zones.fit(layers, names=names)


def test_predicting_needs_a_fit_and_its_layers(fitted: Zones) -> None:
    with pytest.raises(InputError, match="not fitted"):
        Zones().predict(plateau())
    with pytest.raises(MissingInputError, match="parent_material"):
        fitted.predict(plateau().drop_vars("parent_material"))


# ---------------------------------------------------------------- ranking


def table(n: int = 160, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({
        "elevation": rng.uniform(2000, 5500, n), "ndvi": rng.uniform(0, 1, n), "slope": rng.uniform(0, 30, n),
        "aspect": rng.uniform(0, 360, n), "parent_material": rng.integers(1, 6, n),
        "sediment_transport": rng.normal(0, 1, n),
    })  # fmt: skip
    hidden = (
        1.5 - data["elevation"] / 5000 + 0.4 * np.cos(np.radians(data["aspect"])) + 0.3 * (data["parent_material"] == 2)
    )
    data["solum_thickness"] = hidden + rng.normal(0, 0.05, n)
    return data


def test_what_makes_thickness_ranks_first_and_noise_is_dropped() -> None:
    ranked = rank_covariates(table(), seeds=6, trees=60)
    assert set(ranked["feature"][:3]) == {"elevation", "aspect", "parent_material"}
    kept = set(ranked.loc[ranked["kept"], "feature"])
    assert {"elevation", "aspect", "parent_material"} <= kept
    assert (ranked["kept"] == (ranked["importance"] > 0)).all()
    assert (ranked["sd"] > 0).all()
    assert ranked["importance"].is_monotonic_decreasing
    noise = ranked.set_index("feature").loc["sediment_transport", "importance"]
    assert abs(noise) < 0.05 * ranked["importance"].iloc[0]
    pd.testing.assert_frame_equal(ranked, rank_covariates(table(), seeds=6, trees=60))


def test_out_of_bag_mse_is_scikit_learns() -> None:
    """The rows a tree is judged on are those it has not seen: their pooled prediction is scikit-learn's own."""
    data = table(80)
    inputs = data[["elevation", "ndvi", "slope"]].to_numpy(np.float32)
    seen = data["solum_thickness"].to_numpy()
    forest = RandomForestRegressor(40, oob_score=True, random_state=3, max_features=1 / 3, min_samples_leaf=5)
    forest.fit(inputs, seen)
    total, count = np.zeros(80), np.zeros(80)
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_):
        out = np.setdiff1d(np.arange(80), drawn)
        total[out] += tree.predict(inputs[out])
        count[out] += 1
    np.testing.assert_allclose(total / count, forest.oob_prediction_)


def test_rows_with_holes_are_counted() -> None:
    data = table()
    data.loc[:4, "ndvi"] = np.nan
    assert rank_covariates(data, seeds=1, trees=10).attrs["left_out"] == 5


def test_a_ranking_uses_profiles_as_the_calibration_does() -> None:
    """No thickness of 0 or less; limits of pits as limits; and replicates of one place once."""
    data = table(160)
    pit = float(data["solum_thickness"].median())
    limits = data["solum_thickness"] > pit
    shallow = data.assign(solum_thickness=data["solum_thickness"].clip(upper=pit), censored=limits)
    expected = expected_thickness(shallow["solum_thickness"], limits, np.zeros(160))
    pd.testing.assert_frame_equal(
        rank_covariates(shallow, seeds=2, trees=20),
        rank_covariates(data.assign(solum_thickness=expected), seeds=2, trees=20),
    )
    pits = pd.DataFrame({"x": [0, 0, 1, 1, 2], "y": 0, "solum_thickness": [0.5, 0.7, 0.9, 0.4, -1.0]})
    pits["censored"] = [False, False, False, True, False]
    single = one_a_place(pits)
    np.testing.assert_allclose(single["solum_thickness"], [0.6, 0.9, np.nan])
    assert not single["censored"].any()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: d.drop(columns="solum_thickness"), {}, "lacks solum_thickness"),
        (lambda d: d, {"names": ["elevaton"]}, "did you mean 'elevation'"),
        (lambda d: d[:5], {}, "5 complete rows of 5"),
        (lambda d: d, {"seeds": 0}, "seeds is 0"),
        (lambda d: d[["solum_thickness"]], {}, "every covariate"),
    ],
)
def test_invalid_rankings_are_rejected(change: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rank_covariates(change(table()), **{"seeds": 1, "trees": 5, **options})  # type: ignore[operator,arg-type]


def test_the_study_kept_eleven_of_sixteen() -> None:
    assert len(KEPT_BY_STUDY) == 11
    assert "general_curvature" not in KEPT_BY_STUDY
