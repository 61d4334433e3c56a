"""Every option of the functions of `tpsoil.solum` has an effect, or is rejected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from function_sweep import Case, message_of, other, parameters_of, require_complete, require_reproducible, same
from test_solum_options import SMALL_RATE, TRUTH, landscape, profiles_of

from tpsoil import solum
from tpsoil.errors import CorruptStoreError, InputError
from tpsoil.solum import PUBLISHED, Effort, Ensemble, SolumOptions, Zones
from tpsoil.solum.calibration import calibration_from

LAYERS = landscape(SolumOptions())
TWICE = LAYERS.assign(water_erosion=(LAYERS["water_erosion"] * 2).assign_attrs(LAYERS["water_erosion"].attrs))
MODELLED = solum.thickness(LAYERS, TRUTH)
MAP = MODELLED["solum_thickness"]
SHALLOWER = (MAP * 0.97).assign_attrs(MAP.attrs).rename("solum_thickness")
PROFILES = profiles_of(LAYERS, MAP).iloc[::4].assign(second=lambda table: table["solum_thickness"] * 0.5)
SITES = PROFILES.assign(**{
    str(name): layer.sel(x=xr.DataArray(PROFILES["x"], dims="p"), y=xr.DataArray(PROFILES["y"], dims="p")).values
    for name, layer in LAYERS.data_vars.items()
}).assign(rock=np.arange(len(PROFILES)) % 4, elevation=np.linspace(3000, 5000, len(PROFILES)))  # fmt: skip
CONCAVE = pd.concat([
    SITES, SITES.iloc[:1].assign(water_erosion=0.0, wind_erosion=0.0, general_curvature=-1e-3, x=0.0)
], ignore_index=True)  # fmt: skip
SPACE = solum.search_space("physical")
MEMBERS = np.stack([
    SPACE.combinations_of(np.array([getattr(replace(TRUTH, h0=0.2 + 0.05 * k), name) for name in SPACE.names]))
    for k in range(6)
])  # fmt: skip
ENSEMBLE = Ensemble(MEMBERS, np.linspace(0.05, 0.3, len(MEMBERS)), MEMBERS.min(axis=0), MEMBERS.max(axis=0))
OBSERVED = SITES["solum_thickness"].to_numpy()
DUSTY = SolumOptions(dust_input=SMALL_RATE)
QUICK = Effort(complexes=2, evaluations=200)
HEIGHT = LAYERS.assign(
    elevation=3000 + 300 * LAYERS["mean_annual_temperature"], rock=(LAYERS["wind_erosion"] > 2).astype("uint8")
)[["elevation", "annual_precipitation", "rock"]]
CENTIMETRES = xr.DataArray(np.array([[40.0, 7.0]]), dims=("y", "x"))


def zones_of(**options: Any) -> list[Any]:
    """Labels, costs and parameters of fitted zones."""
    zones = Zones(**options).fit(HEIGHT, names=list(HEIGHT), categorical=["rock"])
    return [zones.predict(HEIGHT), zones.cost_, zones.counts_, zones.summary_]


WET = solum.ForcingSource("water_erosion", "lognormal", 0.4, "relative")
WINDY = solum.ForcingSource("wind_erosion", "uniform", 0.9, "relative")
FORCED = solum.ForcedCalibration("physical", "five", 2, QUICK)
DRAWN = solum.forced_ensembles({1: ENSEMBLE}, [WET], DUSTY if ENSEMBLE.members.shape[1] == 6 else None)
DRAWN = replace(DRAWN, ensembles={0: DRAWN.ensembles[1]})


def forced_map(**arguments: Any) -> Any:
    """The map of parameters and draws."""
    return solum.forced_thickness(LAYERS, solum.forced_ensembles(**arguments))


def calibrated_map(**arguments: Any) -> Any:
    """The map of parameters that are calibrated under each draw."""
    ensembles = solum.calibrate_forced(**arguments)
    return solum.forced_thickness(LAYERS.assign(zone=LAYERS["water_erosion"] * 0 + 1), ensembles)


def no_progress(done: int, total: int) -> None:
    """Called after each search."""


CASES = {
    "calibrate": Case(
        solum.calibrate,
        {"profiles": SITES, "layers": LAYERS, "preset": "physical", "starts": 1, "folds": 2, "effort": QUICK,
         "members": 20},
        {
            "layers": other(TWICE),
            "options": other(DUSTY),
            "preset": other("paper"),
            "problem": other("five"),
            "starts": other(2),
            "folds": other(3),
            "block_size": other(500_000.0),
            "seed": other(1),
            "workers": same(2, "how many processes search; each search has its own seed"),
            "checkpoint": same("searches.jsonl", "finished searches are stored for another attempt"),
            "effort": other(Effort(complexes=2, evaluations=300)),
            "thickness": other("second"),
            "members": other(30),
            "baseline_features": other(("elevation",)),
            "soil_is_steady": other(False),
            "validation": other(("random",)),
            "area": other(np.column_stack([PROFILES["x"], PROFILES["y"]]) + 30_000.0, validation=("random",)),
            "objective": other("rmse", profiles=SITES.assign(censored=np.arange(len(SITES)) % 3 == 0)),
            "progress": same(no_progress, "called after each search"),
        },
    ),
    "compare_maps": Case(
        solum.compare_maps,
        {"maps": {"own": MAP, "other": SHALLOWER}, "profiles": SITES},
        {"profiles": other(SITES.iloc[::2]), "in_sample": other(["own"])},
    ),
    "ensemble_thickness": Case(
        solum.ensemble_thickness,
        {"layers": LAYERS, "ensembles": ENSEMBLE},
        {"options": other(DUSTY), "probabilities": other((0.2,)), "residual": other(False), "seed": other(1)},
    ),
    "forced_ensembles": Case(
        forced_map, {"parameters": TRUTH, "sources": [WET, WINDY]},
        {"options": other(DUSTY), "draws": other(9), "seed": other(1)},
    ),
    "calibrate_forced": Case(
        calibrated_map, {"profiles": SITES, "layers": LAYERS, "sources": [WET], "draws": 3, "settings": FORCED},
        {"options": other(DUSTY), "draws": other(4), "seed": other(1), "settings": other(replace(FORCED, members=3))},
    ),
    "forced_thickness": Case(
        solum.forced_thickness, {"layers": LAYERS, "ensembles": DRAWN},
        {"probabilities": other((0.2,)), "residual": other(True)},
    ),
    "forcing_variance": Case(
        solum.forcing_variance, {"layers": LAYERS, "ensembles": DRAWN, "draws": 20},
        {"cells": other(7), "draws": other(30), "seed": other(1)},
    ),
    "climate_series": Case(
        message_of(solum.climate_series),
        {"table": pd.DataFrame({"year": [0, 2000]})},
        {"where": other("my table")},
    ),
    "transient_thickness": Case(
        solum.transient_thickness,
        {"layers": LAYERS, "parameters": TRUTH, "years": [1000],
         "series": solum.ClimateSeries((0, 2000), ((-4.0, 1.0, 1.0, 1.0), (0.0, 1.0, 1.0, 1.0)))},
        {"options": other(DUSTY), "years": other([2000]), "settings": other(solum.TransientSettings(start=0.1))},
    ),
    "identifiability": Case(
        solum.identifiability,
        {"sites": SITES, "parameters": TRUTH},
        {"options": other(DUSTY), "resolution_m": other(2.0)},
    ),
    "one_at_a_time": Case(
        solum.one_at_a_time,
        {"layers": LAYERS, "parameters": TRUTH},
        {"options": other(DUSTY), "change": other(0.2), "temperature_change": other(3.0)},
    ),
    "paired_difference": Case(
        solum.paired_difference,
        {"observed": OBSERVED, "first": OBSERVED * 1.1 + 0.05, "second": OBSERVED[::-1]},
        {"seed": other(1), "resamples": other(100)},
    ),
    "pearson_matrix": Case(
        solum.pearson_matrix, {"table": SITES}, {"names": other(["water_erosion", "solum_thickness"])}
    ),
    "prepare_profiles": Case(
        solum.prepare_profiles,
        {"profiles": CONCAVE},
        {
            "layers": other(TWICE),
            "thickness": other("second"),
            "extra": other(["snow"], layers=LAYERS.assign(snow=LAYERS["wind_erosion"] * 3)),
            "options": other(SolumOptions(curvature_convention="laplacian")),
        },
    ),
    "rank_covariates": Case(
        solum.rank_covariates,
        {"profiles": SITES, "names": ["elevation", "wind_erosion", "rock"], "seeds": 2, "trees": 5},
        {
            "names": other(["elevation", "rock"]),
            "target": other("second"),
            "categorical": other(["rock"]),
            "seeds": other(3),
            "trees": other(6),
            "seed": other(1),
        },
    ),
    "relative_difference": Case(
        solum.relative_difference, {"this": MAP, "other": SHALLOWER}, {"band": other(2.0)}
    ),
    "search_space": Case(
        solum.search_space, {}, {"preset": other("physical"), "problem": other("five"), "options": other(DUSTY)}
    ),
    "sensitivities": Case(solum.sensitivities, {"sites": SITES, "parameters": TRUTH}, {"options": other(DUSTY)}),
    "thickness": Case(solum.thickness, {"layers": LAYERS, "parameters": PUBLISHED[3]}, {"options": other(DUSTY)}),
    "thickness_map": Case(
        solum.thickness_map, {"layer": CENTIMETRES}, {"units": other("cm"), "nodata": other(7.0)}
    ),
    "transect": Case(
        solum.transect,
        {"layers": LAYERS, "start": (80.0, 32.0), "end": (90.0, 36.0), "points": 20},
        {"points": other(30), "degrees": other(False)},
    ),
    "validate_at_profiles": Case(
        solum.validate_at_profiles,
        {"maps": xr.Dataset({"solum_thickness": MAP, "low": MAP * 0.8, "high": MAP * 1.1}),
         "profiles": PROFILES.assign(solum_thickness=lambda t: t["solum_thickness"] * np.linspace(0.8, 1.2, len(t)))},
        {"quantiles": other({0.05: "low", 0.95: "high"}), "block_size": other(400_000.0), "level": other(0.5),
         "seed": other(1)},
    ),
    "window_statistics": Case(
        solum.window_statistics,
        {"layers": LAYERS, "windows": {"all": (78.0, 30.0, 90.0, 38.0)}},
        {"windows": other({"west": (78.0, 30.0, 84.0, 38.0)}), "degrees": other(False)},
    ),
    "Zones": Case(
        zones_of,
        {"k": 2, "n_init": 1},
        {
            "k": other(3),
            "gamma": other(9.0),
            "n_init": other(4, k=6),
            "seed": other(3, k=6),
            "max_cells": other(60),
            "start_cells": other(30, k=6),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), parameters_of(CASES))
def test_an_option_has_an_effect_or_is_rejected(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    CASES[name].check(name, option)


@pytest.mark.parametrize("name", CASES)
def test_equal_options_give_equal_results(name: str) -> None:
    require_reproducible(CASES[name])


def test_every_option_has_another_value_here() -> None:
    require_complete(solum, CASES, ("Zones",))


def test_in_sample_takes_any_iterable_and_rejects_an_unknown_map() -> None:
    maps = {"own": MAP, "other": SHALLOWER}
    table = solum.compare_maps(maps, SITES, in_sample=iter(["other"]))
    assert table["errors"].tolist() == ["independent?", "in sample"]
    with pytest.raises(InputError, match="in_sample names no map 'owm'; did you mean 'own'"):
        solum.compare_maps(maps, SITES, in_sample=["owm"])


def test_the_sweep_detects_an_option_without_effect() -> None:
    def ignoring(*, used: int = 1, ignored: int = 2) -> int:
        return used

    case = Case(ignoring, {}, {"used": other(2), "ignored": other(3)})
    case.check("ignoring", "used")
    with pytest.raises(AssertionError, match="ignored"):
        case.check("ignoring", "ignored")
    kept = {key: change for key, change in CASES["calibrate"].options.items() if key != "soil_is_steady"}
    with pytest.raises(AssertionError):
        require_complete(solum, {**CASES, "calibrate": replace(CASES["calibrate"], options=kept)}, ("Zones",))


def test_the_name_of_a_damaged_calibration_is_in_the_message() -> None:
    with pytest.raises(CorruptStoreError, match="my.json"):
        calibration_from(b"no archive", "my.json")
