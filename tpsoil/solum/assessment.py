"""Assessment of a calibration: calibration plan, held-out predictions, baselines, scores, spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError
from tpsoil.evaluation import THICKNESS_MEASURES, folds_within, make_folds, score
from tpsoil.kernels import misfit
from tpsoil.points import position_columns, positions_of

from .baselines import forest_baseline, zone_mean_baseline
from .ensembles import Ensemble, behavioural, quantiles_at
from .identifiability import identifiability
from .inputs import NEEDED
from .observations import OBSERVED, POOLED, Objective, Observations
from .parameters import NAMES, SolumParameters
from .search import SearchResult, Task
from .space import SearchSpace, combinations

Doubles = npt.NDArray[np.float64]
Key = tuple[int, str, int]

WEAK: Final = 25
"""Profiles below which a zone's calibration is called weak."""

MIN_TRAINING: Final = 8
"""Minimum number of profiles in a training fold for a score: the study reports none for its zone of 4 profiles."""

BAND: Final = (0.05, 0.5, 0.95)


class Plan:
    """Calibration plan: the profiles of each zone, of the pool and of each fold."""

    def __init__(
        self,
        space: SearchSpace,
        seen: Observations,
        folds: int,
        block_size: float | None,
        seed: int,
        soil_is_steady: bool = True,
        objective: Objective = "tobit",
        designs: Mapping[str, npt.NDArray[np.int64]] | None = None,
    ) -> None:
        self.soil_is_steady = soil_is_steady
        self.space, self.table = space, seen.table
        # The residual spread is estimated from profiles that are not censored in the likelihood.
        counted = ~seen.table["censored"].to_numpy(bool) if objective == "tobit" else np.ones(len(seen.table), bool)
        self.counted: npt.NDArray[np.bool_] = counted
        self._require_enough()
        self.zone = seen.table["zone"].to_numpy()
        self.zones = [int(zone) for zone in np.unique(self.zone)]
        self.folds: dict[str, npt.NDArray[np.int64]] = {"zones": folds_within(self.zone, folds, seed)}
        if block_size is not None:
            pair = position_columns(seen.table, where="calibrate: block_size needs positions")
            x, y = positions_of(seen.table, pair, where="profiles")
            self.folds["blocks"] = make_folds(
                x.size, "block", n_folds=folds, east=x, north=y, block_size=block_size, seed=seed
            )
        self.folds |= dict(designs or {})
        self.training: dict[Key, npt.NDArray[np.intp]] = {(POOLED, "all", -1): np.arange(self.zone.size)}
        for zone in self.zones:
            in_zone = self.zone == zone
            if not self.enough(in_zone):
                continue
            self.training[(zone, "all", -1)] = np.flatnonzero(in_zone)
            for scheme, fold in self.folds.items():
                for k in np.unique(fold[in_zone]):
                    rows = np.flatnonzero(in_zone & (fold != k))
                    if self.enough(rows) and rows.size >= MIN_TRAINING and in_zone.sum() >= 2 * folds:
                        self.training[(zone, scheme, int(k))] = rows

    def _require_enough(self) -> None:
        unknown, counted = int(self.space.free.size), int(self.counted.sum())
        if counted < unknown:
            open_ended = self.counted.size - counted
            censored = f" that are not censored (and {open_ended} that are)" if open_ended else ""
            raise InputError(
                f"{counted} usable profiles{censored}, expected at least the {unknown} parameters that are calibrated; "
                "add profiles, or fix parameters with equal bounds"
            )

    def seen(self, key: Key, sites: Doubles) -> Doubles:
        """Sites of a calibration: its profiles and, of the zone's held-out ones, the location but not the thickness."""
        rows = self.training[key]
        zone, scheme, _ = key
        if not self.soil_is_steady or scheme == "all":
            return sites[rows]
        other_rows = np.setdiff1d(np.flatnonzero(self.zone == zone), rows)
        locations = sites[other_rows].copy()
        locations[:, misfit.OBSERVED] = np.nan
        return np.vstack([sites[rows], locations])

    def enough(self, rows: npt.NDArray[Any]) -> bool:
        """Whether the counted profiles of these rows are sufficient for the parameters."""
        return int(self.counted[rows].sum()) >= self.space.free.size

    def source(self, zone: int, scheme: str, fold: int) -> Key:
        """The calibration of a zone's parameters: its own, or that of all profiles together."""
        key = (zone, scheme, fold)
        return key if key in self.training else (POOLED, "all", -1)

    def parameters(self, best: Mapping[Key, SearchResult]) -> dict[int, SolumParameters]:
        """Parameters of each zone."""
        of_zone = {zone: best[self.source(zone, "all", -1)].values for zone in self.zones}
        return {zone: self.space.parameters(np.array(values)) for zone, values in of_zone.items()}

    def note(self, zone: int) -> str:
        """Note on the scores of a zone."""
        n = int((self.zone == zone).sum())
        censored = n - int(self.counted[self.zone == zone].sum())
        if (zone, "all", -1) not in self.training:
            uncensored = f", {censored} of them censored" if censored else ""
            return f"only {n} profiles{uncensored}: parameters of all profiles together"
        if not any(key[0] == zone and key[1] == "zones" for key in self.training):
            return f"only {n} profiles: in-sample only"
        return f"weak: {n} profiles" if n < WEAK else ""


def kind_of_scheme(scheme: str) -> str:
    """Name of the held-out predictions of a scheme of folds, the kind of their scores."""
    return {"zones": "cv", "blocks": "cv_blocks"}.get(scheme, f"cv_{scheme}")


def ensembles_by_zone(
    plan: Plan, sites: Doubles, best: Mapping[Key, SearchResult], seed: int, members: int
) -> dict[int, Ensemble]:
    """The ensemble of every calibration over all its profiles."""
    return {
        zone: behavioural(
            plan.space,
            plan.seen((zone, scheme, k), sites),
            np.array(best[(zone, scheme, k)].values),
            seed,
            members=members,
        )
        for (zone, scheme, k), rows in plan.training.items()
        if scheme == "all" and int(plan.counted[rows].sum()) > len(plan.space.combination_names)
    }


def predict_profiles(
    plan: Plan,
    sites: Doubles,
    best: Mapping[Key, SearchResult],
    seed: int,
    members: int,
    baseline_features: tuple[str, ...],
) -> pd.DataFrame:
    """Observed, in-sample and held-out thickness of every profile, with baselines: `Calibration.predictions`.

    `baseline_features` have a value at every profile.
    """
    table, space = plan.table, plan.space
    predictions = pd.DataFrame({"profile": table["profile"], "zone": table["zone"], "observed": table[OBSERVED]})
    predictions["censored"] = table["censored"].to_numpy(bool)

    def simulated(result: SearchResult, rows: npt.NDArray[np.intp]) -> Doubles:
        row, selected = space.row(np.array(result.values)), np.ascontiguousarray(sites[rows])
        return np.asarray(misfit.simulate_sites(row, selected, space.options.balance()))

    fit = np.full(len(table), np.nan)
    for zone in plan.zones:
        rows = np.flatnonzero(plan.zone == zone)
        fit[rows] = simulated(best[plan.source(zone, "all", -1)], rows)
    predictions["fit"] = fit
    features = list(dict.fromkeys((*NEEDED, *baseline_features)))
    for scheme, fold in plan.folds.items():
        kind = kind_of_scheme(scheme)
        out = np.full((len(table), 4), np.nan)
        for (zone, of, k), training in plan.training.items():
            if of != scheme:
                continue
            rows = np.flatnonzero((plan.zone == zone) & (fold == k))
            if not rows.size:
                continue
            result = best[(zone, of, k)]
            out[rows, 0] = simulated(result, rows)
            if int(plan.counted[training].sum()) > len(space.combination_names):
                one = behavioural(
                    space, plan.seen((zone, of, k), sites), np.array(result.values), seed, members=members, region=False
                )
                out[rows, 1:] = quantiles_at(table.iloc[rows], {zone: one}, BAND, space.options, seed=seed)
        predictions[kind.replace("cv", "fold", 1)] = fold
        for j, suffix in enumerate(("", "_low", "_median", "_high")):
            predictions[f"{kind}{suffix}"] = out[:, j]
        predictions[f"zone_mean_{kind}"] = zone_mean_baseline(table, fold)
        predictions[f"forest_{kind}"] = forest_baseline(table, fold, features, seed)
    return predictions


def score_table(plan: Plan, predictions: pd.DataFrame, gaps: Mapping[str, int]) -> pd.DataFrame:
    """`Calibration.scores`; `gaps` are those of `incomplete_features`."""
    left_out = "; ".join(f"without {name}: no value at {count} profiles" for name, count in gaps.items())
    limits = int(predictions["censored"].sum())
    completed = f"learns from {limits} lower limits by the thickness expected beyond them" if limits else ""
    # The ensemble's median first: the set with the lowest RMSE changes with the last digit of a thickness.
    kinds = ["fit"]
    for kind in map(kind_of_scheme, plan.folds):
        kinds += [f"{kind}_median", kind, f"zone_mean_{kind}", f"forest_{kind}"]
    rows: list[dict[str, Any]] = []
    for kind in kinds:
        for zone in (*plan.zones, None):
            part = predictions if zone is None else predictions[predictions["zone"] == zone]
            row: dict[str, Any] = {"kind": kind, "zone": "all" if zone is None else str(zone)}
            open_ended, part = part[part["censored"]], part[~part["censored"]]
            if len(part):
                row.update(score(part["observed"], part[kind], measures=THICKNESS_MEASURES, missing="omit"))
            else:
                row.update({"n": 0, **dict.fromkeys(THICKNESS_MEASURES, float("nan"))})
            if predictions["censored"].any():
                thinner = open_ended[kind].dropna() < open_ended.loc[open_ended[kind].notna(), "observed"]
                row["censored"] = len(thinner)
                row["censored_thinner"] = float(thinner.mean()) if len(thinner) else float("nan")
            row["coverage"] = row["width"] = float("nan")
            if f"{kind}_low" in predictions:
                band = part.dropna(subset=[f"{kind}_low", f"{kind}_high"])
                if len(band):
                    low, high = band[f"{kind}_low"], band[f"{kind}_high"]
                    row["coverage"] = float(band["observed"].between(low, high).mean())
                    row["width"] = float((high - low).mean())
            notes = [plan.note(zone) if zone is not None else "", left_out if kind.startswith("forest") else ""]
            notes.append(completed if kind.startswith(("forest", "zone_mean")) and zone is None else "")
            row["note"] = "; ".join(note for note in notes if note)
            rows.append(row)
    return pd.DataFrame(rows)


def spread_table(
    plan: Plan,
    results: Mapping[Task, SearchResult],
    best: Mapping[Key, SearchResult],
    ensembles: Mapping[int, Ensemble],
    parameters: Mapping[int, SolumParameters],
) -> pd.DataFrame:
    """`Calibration.spread`."""
    space = plan.space
    rows: list[dict[str, Any]] = []
    for zone in plan.zones:
        source = plan.source(zone, "all", -1)
        values = np.array([r.values for t, r in results.items() if (t.zone, t.scheme, t.fold) == source])
        at_bounds = space.at_bounds(np.array(best[source].values))
        parts: dict[str, Doubles] = dict(zip(NAMES, values.T)) if space.problem == "eight" else {}
        fives = np.array([space.combinations_of(row) for row in values])
        parts.update(zip(space.combination_names, fives.T))
        final = {**parameters[zone].as_dict(), **combinations(parameters[zone])}
        one = ensembles.get(source[0])
        ranges = {} if one is None else dict(zip(space.combination_names, zip(one.low, one.high)))
        for name, column in parts.items():
            low, high = ranges.get(name, (np.nan, np.nan))
            rows.append({
                "zone": zone, "quantity": name, "best": final[name], "starts_low": column.min(),
                "starts_high": column.max(), "low": low, "high": high, "at_bound": at_bounds.get(name, ""),
                "source": "pooled" if source[0] == POOLED else "zone",
            })  # fmt: skip
    return pd.DataFrame(rows)


def direction_table(plan: Plan, parameters: Mapping[int, SolumParameters]) -> pd.DataFrame:
    """`Calibration.directions`."""
    rows = []
    for zone in plan.zones:
        directions = identifiability(plan.table[plan.zone == zone], parameters[zone], plan.space.options)
        values = " ".join(f"{value:.3g}" for value in directions["singular_values"])
        rows.append({"zone": zone, **directions, "singular_values": values})
    return pd.DataFrame(rows)


def start_table(results: Mapping[Task, SearchResult]) -> pd.DataFrame:
    """`Calibration.starts`."""
    return pd.DataFrame(
        [
            {**task.__dict__, "rmse": result.rmse, "evaluations": result.evaluations, "reason": result.reason}
            for task, result in results.items()
        ]
    )
