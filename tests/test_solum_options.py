"""One set of physical options reaches calibration, ensembles, scores and maps, from Python and from a recipe."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tpsoil
from tpsoil import plateau_grid
from tpsoil.cube import add_layer, create_cube
from tpsoil.errors import InputError, RecipeError
from tpsoil.grid import coordinates
from tpsoil.recipes.solum_stage import SolumTable
from tpsoil.solum import Effort, SolumOptions, SolumParameters, calibrate, ensemble_thickness, thickness
from tpsoil.solum.archive import calibration_bytes
from tpsoil.solum.calibration import Calibration, calibration_from
from tpsoil.solum.ensembles import Ensemble, quantiles_at
from tpsoil.solum.inputs import NEEDED
from tpsoil.solum.options import Deposition
from tpsoil.solum.space import search_space

TRUTH = SolumParameters(0.3, 1300.0, 1e-4, 3e-5, 0.05, 0.02, 1.0, 5e-3)
"""Of the preset "physical": thick enough for bedrock, a few concave cells without a balance, bare where much erodes."""
QUICK = Effort(complexes=2, evaluations=600)
SMALL_RATE = 1.5e-6
"""m a-1; of the order of erosion in `landscape`, so that dust and a minimum erosion matter."""


def alternatives() -> list[tuple[str, Any]]:
    """Another value of every option, from its type alone: a new option needs no line here."""
    hints = typing.get_type_hints(SolumOptions)
    found: list[tuple[str, Any]] = []
    for item in dataclasses.fields(SolumOptions):
        hint, default = hints[item.name], item.default
        if typing.get_origin(hint) is typing.Literal:
            found += [(item.name, value) for value in typing.get_args(hint) if value != default]
        elif hint is bool:
            found.append((item.name, not default))
        elif default is None or default == 0.0:
            found.append((item.name, 1.2 if default is None else SMALL_RATE))
        else:
            found.append((item.name, default * 0.6))
    return found


def landscape(options: SolumOptions, side: int = 16) -> xr.Dataset:
    """Layers with convex and concave cells, thin bedrock, weak and strong erosion, in the options' convention."""
    rng = np.random.default_rng(5)
    grid = plateau_grid(100_000)[:side, :side]
    shape = (side, side)
    convex = rng.normal(4e-4, 6e-4, shape)
    layers = xr.Dataset(
        {
            "mean_annual_temperature": (("y", "x"), rng.uniform(-2, 14, shape)),
            "annual_precipitation": (("y", "x"), rng.uniform(150, 900, shape)),
            "water_erosion": (("y", "x"), rng.lognormal(0.5, 1.2, shape)),
            "wind_erosion": (("y", "x"), rng.lognormal(0.5, 1.2, shape)),
            "general_curvature": (("y", "x"), convex / options.curvature_scale),
            "depth_to_bedrock": (("y", "x"), rng.uniform(0.4, 6.0, shape)),
        },
        coords=coordinates(grid),
    ).astype("float32")
    layers["water_erosion"][:2, :] = 600.0  # bare
    units = ("degC", "mm", "t ha-1 a-1", "t ha-1 a-1", "m-1", "m")
    for layer, unit in zip(layers.data_vars.values(), units):
        layer.attrs["units"] = unit
    return layers


def parameters_of(options: SolumOptions) -> SolumParameters:
    return dataclasses.replace(TRUTH, density_ratio=options.calibrated_density_ratio)


def profiles_of(layers: xr.Dataset, truth: xr.DataArray) -> pd.DataFrame:
    """An error-free profile in every cell that has soil."""
    y, x = np.meshgrid(layers["y"].values, layers["x"].values, indexing="ij")
    table = pd.DataFrame({"x": x.ravel(), "y": y.ravel(), "solum_thickness": truth.values.ravel()})
    return table[table["solum_thickness"] > 0].reset_index(drop=True)


def at(layer: xr.DataArray, table: pd.DataFrame) -> np.ndarray:
    where = {name: xr.DataArray(table[name].to_numpy(), dims="p") for name in ("x", "y")}
    return np.asarray(layer.sel(where, method="nearest").values, dtype=float)


@pytest.mark.parametrize(("name", "value"), [("", None), *alternatives()])
def test_the_map_at_a_profile_is_the_prediction_of_the_calibration(name: str, value: Any) -> None:
    options = SolumOptions(**({name: value} if name else {}))
    layers = landscape(options)
    truth = thickness(layers, parameters_of(options), options).solum_thickness
    profiles = profiles_of(layers, truth)
    calibration = calibrate(profiles, layers, options, preset="physical", starts=1, folds=2, effort=QUICK, members=24)
    assert calibration.options == dataclasses.replace(options, density_ratio=options.calibrated_density_ratio)
    used = profiles.iloc[calibration.predictions["profile"].to_numpy()]
    mapped = thickness(layers, calibration.parameters[1], calibration.options).solum_thickness
    np.testing.assert_allclose(at(mapped, used), calibration.predictions["fit"], rtol=2e-6, atol=1e-6)
    # The score is that of the map.
    fit = calibration.scores.query("kind == 'fit' and zone == 'all'").iloc[0]
    error = at(mapped, used) - used["solum_thickness"].to_numpy()
    assert fit["rmse"] == pytest.approx(np.sqrt(np.nanmean(error**2)), rel=1e-5)
    # A map made with other options is another map, which the calibration did not score.
    if name:
        plain = dataclasses.replace(SolumOptions(), density_ratio=None)
        other = thickness(layers, dataclasses.replace(parameters_of(options), density_ratio=1.35), plain)
        assert not np.allclose(truth.values, other.solum_thickness.values, equal_nan=True)


@pytest.mark.parametrize(("name", "value"), [("", None), *alternatives()])
def test_one_member_without_residual_is_the_map(name: str, value: Any) -> None:
    """Quantile maps compute every member as `thickness` does, under every option."""
    options = SolumOptions(**({name: value} if name else {}))
    layers = landscape(options)
    parameters = parameters_of(options)
    space = search_space("physical", "eight", options)
    values = np.array([getattr(parameters, key) for key in space.names])
    member = space.combinations_of(values)[None]
    one = Ensemble(member, np.zeros(1), member[0], member[0])
    quantiles = ensemble_thickness(layers, one, options, probabilities=(0.5,), residual=False)
    mapped = thickness(layers, parameters, options)
    # A cell without a balance has what `deposition` prescribes on the map, and no quantile.
    balanced = (mapped["solum_status"] != 2).values
    if options.deposition == "clip_gravity":
        balanced |= np.isfinite(quantiles["solum_thickness_p50"].values)
    expected = np.where(balanced, mapped["solum_thickness"].values, np.nan)
    np.testing.assert_allclose(quantiles["solum_thickness_p50"].values, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(quantiles["no_steady_state_share"].values, 1.0 - balanced)
    assert balanced.any()


@pytest.mark.parametrize("deposition", typing.get_args(Deposition))
def test_a_profile_without_a_steady_state_is_predicted_as_mapped(deposition: Deposition) -> None:
    cap: dict[str, Any] = {} if deposition == "nan" else {"greatest_thickness_m": 1.7}
    options = SolumOptions(deposition=deposition, dust_input=1.0, **cap)  # more dust than erosion: no balance anywhere
    parameters = parameters_of(options)
    space = search_space("physical", "eight", options)
    member = space.combinations_of(np.array([getattr(parameters, key) for key in space.names]))[None]
    one = Ensemble(member, np.zeros(1), member[0], member[0])
    cell = dict(zip(NEEDED, (3.0, 500.0, 2.0, 1.0, -1e-3)))
    profiles = pd.DataFrame({**cell, "depth_to_bedrock": [1.2, 5.0, np.nan]})
    mapped = thickness({str(name): profiles[name].to_numpy() for name in profiles}, parameters, options)
    quantiles = quantiles_at(profiles.assign(zone=1), {1: one}, (0.05, 0.5, 0.95), options, seed=0)
    for column in quantiles.T:
        np.testing.assert_allclose(column, mapped["solum_thickness"].values)


def test_the_recipe_has_every_option_of_the_model() -> None:
    defaults = SolumTable().options
    assert defaults == SolumOptions()
    assert {item.name for item in dataclasses.fields(SolumOptions)} <= set(SolumTable.model_fields)


@pytest.mark.parametrize(("name", "value"), alternatives())
def test_a_recipe_maps_what_it_calibrated(name: str, value: Any, tmp_path: Path) -> None:
    options = SolumOptions(**{name: value})
    layers = landscape(options)
    truth = thickness(layers, parameters_of(options), options).solum_thickness
    create_cube(str(tmp_path / "cube.zarr"), plateau_grid(100_000)[:16, :16], chunks=16)
    for layer in layers.data_vars:
        add_layer(str(tmp_path / "cube.zarr"), str(layer), layers[layer])
    profiles = profiles_of(layers, truth)
    profiles.to_csv(tmp_path / "profiles.csv", index=False)
    maps = tpsoil.run(
        {
            "run": {"name": "twin", "output": str(tmp_path / "out.zarr"), "cube": str(tmp_path / "cube.zarr")},
            "solum": {
                "zones": "none",
                name: value,
                "calibration": {
                    "profiles": str(tmp_path / "profiles.csv"), "starts": 1, "folds": 2, "members": 20,
                    "evaluations": 600, "complexes": 2, "preset": "physical", "quantiles": [0.05, 0.5, 0.95],
                },
            },
        },
        progress=False,
    ).load()  # fmt: skip
    thick = maps["solum_thickness"]
    error = at(thick, profiles) - profiles["solum_thickness"].to_numpy()
    assert thick.attrs["rmse_fit_m"] == pytest.approx(np.sqrt(np.nanmean(error**2)), abs=6e-5)
    stated = thick.attrs[name]
    assert stated == (int(value) if isinstance(value, bool) else value)
    # Quantile maps are of the same model: no cell has a quantile where the options leave no value, and none exceeds
    # the bound that the options set.
    middle = maps["solum_thickness_p50"].values
    depth = layers["depth_to_bedrock"].values
    known = np.isfinite(middle)
    assert ((middle <= depth + 1e-6) | ~known).all() == options.cap_to_bedrock
    assert (middle[known] < 0).any() == options.keep_negative


def test_two_density_ratios_are_rejected() -> None:
    layers = landscape(SolumOptions())
    with pytest.raises(InputError, match=r"options have density_ratio 1\.2, the parameters 1\.35"):
        thickness(layers, TRUTH, SolumOptions(density_ratio=1.2))
    with pytest.raises(RecipeError, match=r"density_ratio 1\.2, the parameters 1\.35"):
        tpsoil.run({"run": {"name": "a", "output": "memory://out"}, "solum": {"density_ratio": 1.2}})


def test_wrong_options_are_named_all_at_once() -> None:
    with pytest.raises(InputError, match=r"curvature_convention is 'convx'.*dust_input is nan.*cap_to_bedrock is 2"):
        SolumOptions(curvature_convention="convx", dust_input=float("nan"), cap_to_bedrock=2)  # type: ignore[arg-type]


def test_a_maximum_thickness_without_effect_is_rejected() -> None:
    words = r"greatest_thickness_m is 3\.0, without effect with deposition 'nan'.*leave it out"
    with pytest.raises(InputError, match=words):
        SolumOptions(deposition="nan", greatest_thickness_m=3.0)
    assert SolumOptions(deposition="nan").balance().deposition != SolumOptions().balance().deposition
    useless = {"deposition": "nan", "greatest_thickness_m": 3.0}
    with pytest.raises(RecipeError, match=words):
        tpsoil.run({"run": {"name": "a", "output": "memory://out"}, "solum": useless})
    with pytest.raises(ValueError, match=words):
        SolumTable.model_validate({**useless, "calibration": {"profiles": "profiles.csv"}})
    # Calibrations of before this was rejected are still read.
    stored = Calibration({}, *[pd.DataFrame() for _ in range(7)], {}, {"options": useless})
    assert stored.options == SolumOptions(deposition="nan")


def test_a_calibration_of_before_the_options_were_one_object_is_read() -> None:
    layers = landscape(SolumOptions())
    truth = thickness(layers, TRUTH).solum_thickness
    calibration = calibrate(
        profiles_of(layers, truth), layers, preset="physical", starts=1, folds=2, effort=QUICK, members=24
    )
    settings = {name: value for name, value in calibration.settings.items() if name != "options"}
    old = dataclasses.replace(calibration, settings={**settings, "density_ratio": 1.5, "greatest_thickness_m": 3.0})
    assert old.options == SolumOptions(density_ratio=1.5, greatest_thickness_m=3.0)
    assert calibration_from(calibration_bytes(calibration), "a").options == calibration.options
