"""Calibration of the solum model: zones x folds x starts by SCE-UA, scored out of fold, with the parameters that
the data cannot determine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.display import bar_chart, html_summary, html_table, text_summary
from tpsoil.errors import InputError
from tpsoil.evaluation import design_folds

from .archive import parse_archive, read_archive, write_calibration
from .assessment import (
    Plan,
    direction_table,
    ensembles_by_zone,
    predict_profiles,
    score_table,
    spread_table,
    start_table,
)
from .baselines import incomplete_features
from .designs import mapped_area, validation_table
from .ensembles import Ensemble
from .observations import Objective, prepare_profiles
from .options import SolumOptions
from .parameters import NAMES, Bounds, SolumParameters
from .search import Effort, best_of, search_all, traces
from .space import Problem, search_space


@dataclass(frozen=True)
class Calibration:
    """A calibrated solum model with its scores and uncertainty.

    Parameters
    ----------
    parameters : dict of int to SolumParameters
        By zone; the set with the lowest RMSE of all starts, one of many with nearly the same RMSE.
    scores : DataFrame
        A row for each `kind` and `zone` ("all" pools the profiles): `n`, `tpsoil.evaluation.THICKNESS_MEASURES`,
        `coverage` and `width` (m) of the 90 % band, `note`. Censored profiles are not in these; where there are any,
        `censored` is their number and `censored_thinner` the share predicted thinner than the pit. `kind` is "fit" (in
        sample); "cv_median" (folds within zones) and "cv_blocks_median" (spatial blocks) of the ensemble's median; "cv"
        and "cv_blocks" of the one set with the lowest RMSE, which may change with the last digit of a thickness; and
        the baselines "zone_mean_cv", "forest_cv", "zone_mean_cv_blocks", "forest_cv_blocks" on the same folds, which
        learn from censored profiles by their expected thickness (`tpsoil.solum.baselines`).
    spread : DataFrame
        A row for each `zone` and `quantity` (eight parameters and five combinations): `best`; `starts_low`,
        `starts_high` over all starts; `low`, `high` of the joint 95 % region (combinations only); `at_bound`.
    directions : DataFrame
        A row a zone: `rank`, `visible` directions, `flattest`, `singular_values`.
    predictions : DataFrame
        A row a profile: `profile`, `zone`, `observed`, `censored`, `fit`, `cv`, `cv_low`, `cv_median`, `cv_high`,
        `fold`, and the same for blocks and baselines.
    starts : DataFrame
        A row a search: `zone`, `scheme`, `fold`, `start`, `rmse`, `evaluations`, `reason`.
    traces : DataFrame
        Best score against evaluations of the searches over all profiles of a zone.
    excluded : DataFrame
        Profiles that cannot be used: `profile`, `reason`.
    ensembles : dict of int to Ensemble
        By zone; zones with the pooled parameters have the pooled ensemble.
    settings : dict
        All settings of the calibration.
    validation : DataFrame
        `tpsoil.evaluation.design_scores` of the model (the ensemble's median), the forest and the zone mean under each
        design of `validation`; empty without one. Censored profiles are left out.
    """

    parameters: Mapping[int, SolumParameters]
    scores: pd.DataFrame
    spread: pd.DataFrame
    directions: pd.DataFrame
    predictions: pd.DataFrame
    starts: pd.DataFrame
    traces: pd.DataFrame
    excluded: pd.DataFrame
    ensembles: Mapping[int, Ensemble]
    settings: Mapping[str, Any] = field(default_factory=dict)
    validation: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def options(self) -> SolumOptions:
        """The physical options of the calibration, for every map computed with it."""
        stored = self.settings.get("options")
        if stored is None:  # written before the options were one object
            names = ("density_ratio", "greatest_thickness_m")
            stored = {name: self.settings[name] for name in names if name in self.settings}
        if stored.get("deposition") == "nan":  # earlier files may have a maximum, which had no effect
            stored = {name: value for name, value in stored.items() if name != "greatest_thickness_m"}
        return SolumOptions(**stored)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the calibration to one JSON file."""
        write_calibration(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a calibration written by `save`."""
        return calibration_from(read_archive(path), str(path))

    def table(self) -> pd.DataFrame:
        """The study's Table 4 for this calibration: parameters, RMSE in sample and out of fold, profiles, by zone."""
        rows = []
        for zone, values in self.parameters.items():
            row: dict[str, Any] = {"zone": zone, **{name: getattr(values, name) for name in NAMES}}
            for kind in ("fit", "cv"):
                zone_scores = self.scores[(self.scores["kind"] == kind) & (self.scores["zone"] == str(zone))]
                row[f"rmse_{kind}"] = float(zone_scores["rmse"].iloc[0]) if len(zone_scores) else float("nan")
                row["n"] = int(zone_scores["n"].iloc[0]) if len(zone_scores) and kind == "fit" else row.get("n", 0)
                row["note"] = str(zone_scores["note"].iloc[0]) if len(zone_scores) else row.get("note", "")
            rows.append(row)
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        zones = ", ".join(str(zone) for zone in self.parameters)
        return text_summary("Calibration of the solum model", {**self._facts, "zones": zones})

    @property
    def _facts(self) -> dict[str, Any]:
        pooled = self.scores[self.scores["zone"] == "all"].set_index("kind")
        return {
            "profiles": f"{self.settings.get('profiles_used')} of {self.settings.get('profiles_given')}",
            "search": f"{self.settings.get('problem')} parameters, {self.settings.get('starts')} starts, "
            f"bounds '{self.settings.get('preset')}'",
            **{f"RMSE, {kind}, m": float(row["rmse"]) for kind, row in pooled.iterrows()},
        }

    def _repr_html_(self) -> str:
        table = self.table()
        column = "rmse_cv" if table["rmse_cv"].notna().any() else "rmse_fit"
        folds = "out of fold" if column == "rmse_cv" else "of the fit"
        errors = {f"zone {zone}": error for zone, error in zip(table["zone"], table[column], strict=True)}
        return html_summary(
            "Calibration of the solum model",
            self._facts,
            bar_chart(errors, caption=f"RMSE {folds} by zone", unit="m"),
            html_table(list(table.columns), table.to_numpy(object).tolist()),
        )


def calibration_from(data: bytes, where: str = "calibration") -> Calibration:
    """A calibration written by `calibration_bytes`.

    Raises
    ------
    CorruptStoreError
        For bytes that are not a calibration.
    """
    return Calibration(**parse_archive(data, where))


def calibrate(
    profiles: pd.DataFrame,
    layers: xr.Dataset | None = None,
    options: SolumOptions | None = None,
    *,
    preset: str | Bounds = "paper",
    problem: Problem = "eight",
    starts: int = 10,
    folds: int = 4,
    block_size: float | None = None,
    seed: int = 0,
    workers: int = 1,
    checkpoint: str | os.PathLike[str] | None = None,
    effort: Effort | None = None,
    thickness: str | None = None,
    members: int = 200,
    baseline_features: tuple[str, ...] = (),
    soil_is_steady: bool = True,
    objective: Objective = "tobit",
    validation: Sequence[str] = (),
    area: npt.ArrayLike | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Calibrate the solum model on profiles, zone by zone.

    Parameters
    ----------
    profiles : DataFrame
        As in `prepare_profiles`: thickness in m, the model's layers (or `layers` to sample), `zone` (default: all
        in one zone, 1).
    layers : Dataset, optional
        Sampled at the profiles.
    options : SolumOptions, optional
        Of the model. Fit, held-out predictions, ensembles and scores use all of them, and the map must too: pass
        `calibration.options` to `thickness` and `ensemble_thickness`.
    preset : {"paper", "physical"} or Bounds
        Bounds of Table 2, or of measured soil densities and rates.
    problem : {"eight", "five"}
        All eight parameters as in the study, or the five combinations that thickness can determine.
    starts : int
        Independent searches of each calibration; 10 or more show whether their results agree.
    folds : int
        Within each zone.
    block_size : float, optional
        Side of the blocks of a second, spatial cross-validation, in the unit of `x` and `y` (or of `lon`, `lat`).
    seed, workers, checkpoint
        As `search_all`. The result does not depend on `workers`.
    effort : Effort, optional
    thickness : str, optional
        Name of the thickness column.
    members : int
        Of each zone's ensemble.
    baseline_features : tuple of str
        Columns for the forest baseline besides the model's own layers; sampled where `layers` has them. One with a gap
        at a profile is left out of the forest: its scores' `note` and `settings["baseline_gaps"]` name and count it.
    soil_is_steady : bool
        Whether the location of a held-out profile, not its thickness, constrains the search: there is soil, so its
        balance must have a steady state (E > 0). False: the location is held out too; a concave held-out site may then
        have no predicted steady state.
    objective : {"tobit", "rmse"}
        Treatment of censored profiles, which are at least as thick as their pit is deep. "tobit": they are part of a
        Gaussian likelihood (Tobin 1958) whose residual standard deviation is estimated with the parameters. "rmse":
        they have an error only where the simulated soil is thinner. Both are the RMSE where no profile is censored.
    validation : sequence of str
        Designs of further cross-validations over all zones, beside each other in `Calibration.validation`: "random",
        "site", "block:SIZE" (deg, m or km), "region:COLUMN" of the profiles, "knndm". Each costs `folds` calibrations.
    area : array_like (m, 2), optional
        Cells of the map in the coordinates of the profiles: for "knndm", and for the distances of every design.
    progress : callable, optional

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        For unusable profiles (see `prepare_profiles`), fewer profiles than parameters in all, wrong options, a feature
        of the baseline without any value.

    Notes
    -----
    Objective: RMSE (Eq. 10); with censored profiles, the value whose power -n is the likelihood of the n uncensored and
    of the censored ones (`tpsoil.kernels.misfit.tobit_rmse`). It is the default because one-sided errors make solums
    too thin: a prediction that equals a pit's depth has no error, although thickness exceeds it. A bare site has
    thickness 0; a site without a balance has an error of 10 m; no profile is dropped by a parameter set. Under
    `deposition="clip_gravity"` such a site has the balance of water and wind; under "nan" it has no prediction, and the
    scores' `n` does not count it. Profiles where dust or `least_erosion` exceed the erosion under all parameters within
    the bounds are excluded and listed.

    Readings of the study (letters of the science sheet, section 2): (g) bounds that are hit are reported: such
    parameters are effective, not physical. (h) h0 from 0.001 m. (k) zones are scored separately and pooled, with
    their own n. (o) gamma and D act as a product; their split is arbitrary. (p) in-sample ("fit") and cross-validated
    ("cv") errors have different labels.

    A zone with fewer profiles than the search has parameters has the parameters of all profiles together, as stated in
    its note; with fewer than two a fold, or less than eight to train on, it has no cross-validated score.

    References
    ----------
    Duan, Q. Y., Gupta, V. K. and Sorooshian, S. (1993), Journal of Optimization Theory and Applications 76.
    doi:10.1007/BF00939380

    Examples
    --------
    >>> import numpy as np
    >>> from tpsoil.solum import PUBLISHED, thickness as model
    >>> rng = np.random.default_rng(1)
    >>> table = pd.DataFrame({"mean_annual_temperature": rng.uniform(0, 12, 40),
    ...     "annual_precipitation": rng.uniform(200, 900, 40), "water_erosion": rng.uniform(0.5, 8, 40),
    ...     "wind_erosion": rng.uniform(0.1, 20, 40), "general_curvature": rng.uniform(0, 1e-3, 40)})
    >>> simulated = model({name: table[name].to_numpy() for name in table}, PUBLISHED[3])
    >>> table["solum_thickness"] = simulated.solum_thickness.values
    >>> result = calibrate(table, starts=1, effort=Effort(evaluations=4000))
    >>> bool(result.scores.query("kind == 'cv'")["rmse"].max() < 0.01)
    True
    """
    if members < 1:
        raise InputError(f"calibrate: members is {members}, expected at least 1")
    options = SolumOptions.of_calibration(options)
    space = search_space(preset, problem, options)
    observations = prepare_profiles(profiles, layers, thickness=thickness, extra=baseline_features, options=options)
    observations = observations.balanced_within(space.box, options)
    table, sites = observations.table, observations.sites(objective)
    mapped = mapped_area(table, area) if validation or area is not None else None
    designs = design_folds(validation, table, mapped, n_folds=folds, seed=seed) if mapped is not None else {}
    if area is not None and not designs:
        raise InputError("calibrate: area has no effect without validation; name designs such as 'knndm'")
    plan = Plan(space, observations, folds, block_size, seed, soil_is_steady, objective, designs)
    gaps = incomplete_features(table, baseline_features)
    searched = {key: plan.seen(key, sites) for key in plan.training}
    results = search_all(
        space, searched, starts, seed, effort or Effort(), workers=workers, checkpoint=checkpoint, progress=progress
    )
    best = {key: best_of(results, key) for key in searched}
    parameters = plan.parameters(best)
    ensembles = ensembles_by_zone(plan, sites, best, seed, members)
    complete = tuple(name for name in baseline_features if name not in gaps)
    predictions = predict_profiles(plan, sites, best, seed, members, complete)
    return Calibration(
        parameters=parameters,
        scores=score_table(plan, predictions, gaps),
        spread=spread_table(plan, results, best, ensembles, parameters),
        directions=direction_table(plan, parameters),
        predictions=predictions,
        starts=start_table(results),
        traces=pd.DataFrame(list(traces(results))),
        excluded=observations.excluded,
        ensembles={zone: ensembles[plan.source(zone, "all", -1)[0]] for zone in plan.zones},
        validation=validation_table(predictions, designs, mapped, seed),
        settings={
            "preset": space.box.name,
            "low": list(space.box.low),
            "high": list(space.box.high),
            "problem": problem,
            "starts": starts,
            "folds": folds,
            "block_size": block_size,
            "seed": seed,
            "options": options.as_dict(),
            "members": members,
            "baseline_gaps": gaps,
            "soil_is_steady": soil_is_steady,
            "validation": list(validation),
            "objective": objective,
            "profiles_given": len(profiles),
            "profiles_used": len(table),
            **(effort or Effort()).__dict__,
        },
    )


def calibrated_parameters(
    profiles: pd.DataFrame,
    layers: xr.Dataset | None = None,
    options: SolumOptions | None = None,
    *,
    settings: Mapping[str, Any],
    seed: int = 0,
    workers: int = 1,
) -> dict[int, SolumParameters]:
    """Only the parameters of `calibrate`, without folds, ensembles and scores.

    Parameters
    ----------
    profiles, layers, options, seed, workers
        As in `calibrate`.
    settings : mapping
        `preset`, `problem`, `starts`, `effort` and `objective` of `calibrate`; the parameters are then those of
        `calibrate`.

    Returns
    -------
    dict of int to SolumParameters

    Raises
    ------
    InputError
        As `calibrate`.
    """
    options = SolumOptions.of_calibration(options)
    space = search_space(settings["preset"], settings["problem"], options)
    observations = prepare_profiles(profiles, layers, options=options).balanced_within(space.box, options)
    objective = settings.get("objective", "tobit")
    plan = Plan(space, observations, 2, None, seed, objective=objective)
    sites = observations.sites(objective)
    searched = {key: plan.seen(key, sites) for key in plan.training if key[1] == "all"}
    results = search_all(space, searched, settings["starts"], seed, settings["effort"], workers=workers)
    return plan.parameters({key: best_of(results, key) for key in searched})
