"""The whole micronutrient study on a twin at 24 km: what the run recovers of the truth, and what it records."""

from __future__ import annotations

import pandas as pd
import pytest
from huo2026_recovery import QUICK, recovery, run_twin
from huo2026_twin import SAMPLES, SITES, Twin, make_twin

from tpsoil.cube import open_cube
from tpsoil.reports.records import read_record


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    return make_twin(tmp_path_factory.mktemp("huo2026"), resolution=16_000)


@pytest.fixture(scope="module")
def store(twin: Twin) -> str:
    """Two elements, without nested search: the size that a test can afford."""
    changes = {
        "elements": ["Fe", "Mn"], "icp": {"Fe": "Fe_icp", "Mn": "Mn_icp"}, "trees": 30, "n_folds": 5,
        "folds": ["group"], "driver_repeats": 2, "dependence": False, "effects": ["slope"],
        "preset": "default", "settings": {"min_samples_leaf": 3, "max_features": 0.5},
    }  # fmt: skip
    return run_twin(twin.folder, chunks=64, **QUICK, **changes)


def test_the_twin_has_the_sampling_of_the_study(twin: Twin) -> None:
    samples = pd.read_csv(twin.samples)
    assert len(samples) == 1660
    assert samples.groupby("biome")["site"].nunique().to_dict() == SITES
    assert samples["biome"].value_counts().to_dict() == SAMPLES
    origins = pd.read_csv(twin.folder / "origins.csv")
    assert (origins["origin"] == "real").sum() == 5
    assert set(origins["origin"]) == {"real", "simulated"}


def test_drivers_are_ranked_as_in_the_truth(twin: Twin, store: str) -> None:
    drivers = recovery(twin.folder, store)["drivers"]
    first = drivers[drivers["true_rank"] == 1].set_index("element")
    assert first["rank"].to_dict() == {"Fe": 1, "Mn": 1}
    second = drivers[drivers["true_rank"] == 2].set_index("element")
    assert second["rank"].to_dict() == {"Fe": 2, "Mn": 2}
    joint = read_record(store).tables["joint_drivers"]
    assert joint[joint["rank"] == 1].set_index("element")["group"].to_dict() == {"Fe": "weathering", "Mn": "terrain"}


def test_maps_approach_the_noise_ceiling(twin: Twin, store: str) -> None:
    maps = recovery(twin.folder, store)["maps"].set_index("element")
    # Measured 0.75 and 0.90: what is missing is 526 sites for 14 covariates, and that the index is predicted.
    assert (maps["share_of_ceiling"] > 0.7).all(), maps
    assert (maps["share_of_ceiling"] < 1.05).all(), maps  # more would be a leak
    assert (maps["r2_map_truth"] > 0.75).all(), maps


def test_intervals_carry_the_error_of_the_calibration(twin: Twin, store: str) -> None:
    coverage = recovery(twin.folder, store)["coverage"]
    at90 = coverage[coverage["level"] == 0.9]
    assert (at90["with_error"] > at90["without"]).all()
    assert at90["with_error"].between(0.86, 0.97).all(), at90
    maps = open_cube(store)
    assert "XRF calibration" in maps["iron_lower"].attrs["interval_includes"]
    assert {"chemical_index_of_alteration", "chemical_index_of_alteration_sd", "representation_biome"} <= set(maps)


def test_own_numbers_stand_beside_the_published_ones(twin: Twin, store: str) -> None:
    published = recovery(twin.folder, store)["published"]
    mean = published.query("item == 'Fig. 2' and element == 'Fe' and quantity == 'mean'").iloc[0]
    assert mean["published"] == 22864.30
    assert mean["ratio"] == pytest.approx(1, abs=0.06)
    assert {"Fig. 2", "Table 1", "Fig. 3", "Fig. 4", "Fig. 5g-l"} <= set(published["item"])
