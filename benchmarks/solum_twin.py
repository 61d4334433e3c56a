"""Twin experiment: does the calibration find the parameters that made the profiles?

552 profiles are simulated on the sample plateau from the published parameters, with noise; zones x folds x starts are
calibrated on them; what comes back is held against the truth. Elevation, climate, NDVI and masks are real; water and
wind erosion and the hillslope curvature are made up with plausible patterns and sizes (stated in `twin_layers`).

    python benchmarks/solum_twin.py [--noise 0.1 0.34] [--starts 10] [--workers 2]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil import solum
from tpsoil.covariates import terrain_attributes
from tpsoil.sample import open_sample
from tpsoil.solum import COMBINATIONS, PUBLISHED

RESULTS = Path(__file__).parent / "results" / "solum_twin.md"
PROFILES = 552
SOILS = [
    "mean_annual_temperature",
    "annual_precipitation",
    "water_erosion",
    "wind_erosion",
    "general_curvature",
    "zone",
]


def twin_layers() -> xr.Dataset:
    """The sample plateau with what it lacks made up.

    Water erosion: rain x slope^1.2 x exp(-2 NDVI/(1 - NDVI)), scaled to a mean of 2.76 t ha-1 a-1 (Teng et al. 2018).
    Wind erosion: exp(-rain/250 mm) (1 - NDVI)^2, scaled to a mean of 10 t ha-1 a-1. Curvature: that of the 8 km relief,
    scaled to a standard deviation of 1e-3 m-1, the size of curvature on hillslopes at 30 m.
    """
    cube = open_sample().load()
    terrain = terrain_attributes(cube["elevation"]).load()
    soil = cube["soil_mask"] == 1
    rain, green = cube["annual_precipitation"], cube["ndvi"].clip(0, 0.95)
    water = rain * np.tan(np.radians(terrain["slope"])) ** 1.2 * np.exp(-2 * green / (1 - green)) + 1e-3
    wind = np.exp(-rain / 250) * (1 - green) ** 2 + 1e-4
    layers = cube[["elevation", "mean_annual_temperature", "annual_precipitation", "ndvi", "soil_mask"]]
    layers["water_erosion"] = (2.76 * water / float(water.where(soil).mean())).assign_attrs(units="t ha-1 a-1")
    layers["wind_erosion"] = (10.0 * wind / float(wind.where(soil).mean())).assign_attrs(units="t ha-1 a-1")
    bend = terrain["general_curvature"]
    layers["general_curvature"] = (1e-3 * bend / float(bend.where(soil).std())).assign_attrs(units="m-1")
    layers["zone"] = solum.published_zones(layers)
    return layers


def twin_profiles(layers: xr.Dataset, noise_m: float, seed: int, profiles: int = PROFILES) -> pd.DataFrame:
    """Profiles from the published parameters at steady sites drawn within zones, as many in each (69 of 552)."""
    rng = np.random.default_rng(seed)
    truth = solum.thickness(layers, PUBLISHED)
    zone, status = layers["zone"].values, truth["solum_status"].values
    parts = []
    for code in PUBLISHED:
        rows, columns = np.nonzero((zone == code) & (status == 0))
        chosen = rng.permutation(rows.size)[: profiles // len(PUBLISHED)]
        at = {"y": xr.DataArray(rows[chosen], dims="site"), "x": xr.DataArray(columns[chosen], dims="site")}
        part = pd.DataFrame({name: layers[name].isel(at).values.astype(float) for name in SOILS})
        part["x"], part["y"] = layers["x"].values[columns[chosen]], layers["y"].values[rows[chosen]]
        part["truth"] = truth["solum_thickness"].isel(at).values.astype(float)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["solum_thickness"] = table["truth"] + rng.normal(0, noise_m, len(table))
    return table


def judge(table: pd.DataFrame, found: solum.Calibration) -> pd.DataFrame:
    """What came back, zone by zone.

    Columns: root mean square of the noise that was drawn; RMSE in sample; out-of-fold RMSE of the best parameters, of
    the ensemble's median, the latter over the noise, and of the zone's mean; share of held-out profiles in the 90 %
    band; how many of the five combinations lie within their reported spread; which of them the profiles narrow to less
    than half of their box.
    """
    rows = []
    for zone in found.parameters:
        mine = table[table["zone"] == zone]
        drawn = float(np.sqrt(((mine["solum_thickness"] - mine["truth"]) ** 2).mean()))
        scores = found.scores[found.scores["zone"] == str(zone)].set_index("kind")
        row = {"zone": zone, "n": len(mine), "noise": drawn, "fit": scores.rmse["fit"], "best": scores.rmse["cv"]}
        row |= {"median": scores.rmse["cv_median"], "ratio": scores.rmse["cv_median"] / drawn}
        row |= {"zone mean": scores.rmse["zone_mean_cv"], "covered": scores.coverage["cv"]}
        truth = solum.combinations(PUBLISHED[zone])
        spread = found.spread.query("zone == @zone").set_index("quantity")
        inside = [name for name in COMBINATIONS if spread.low[name] <= truth[name] <= spread.high[name]]
        row["inside"] = f"{len(inside)}/5" if spread["source"].iloc[0] == "zone" else "pooled"
        # Narrowed: the spread is less than half of the box on a logarithmic scale.
        space = solum.search_space("paper", "five")
        width = np.log(spread.loc[list(COMBINATIONS), "high"] / spread.loc[list(COMBINATIONS), "low"]).to_numpy(float)
        low, high = space.search_box
        row["told"] = " ".join(n for n, w, r in zip(COMBINATIONS, width, high - low) if w < 0.5 * r)
        rows.append(row)
    return pd.DataFrame(rows)


def run(
    noise_m: float, *, seed: int = 1, starts: int = 10, workers: int = 1, problem: str = "eight"
) -> tuple[pd.DataFrame, solum.Calibration, float]:
    """One twin experiment; the judgement, the calibration and its seconds."""
    table = twin_profiles(twin_layers(), noise_m, seed)
    begun = time.perf_counter()
    found = solum.calibrate(table, starts=starts, workers=workers, problem=problem, seed=seed)  # type: ignore[arg-type]
    return judge(table, found), found, time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.1, 0.34], help="standard deviations, m")
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--problem", choices=["eight", "five"], default="eight")
    given = parser.parse_args()
    lines = ["# Twin experiment of the solum calibration", ""]
    for noise in given.noise:
        judged, found, seconds = run(noise, starts=given.starts, workers=given.workers, problem=given.problem)
        lines += [f"## {noise:g} m of noise, {PROFILES} profiles, {len(found.starts)} searches in {seconds:.0f} s", ""]
        lines += [judged.round(3).to_string(index=False), ""]
        pooled = found.scores[found.scores["zone"] == "all"].set_index("kind")
        for kind, said in (("cv", "best parameters"), ("cv_median", "ensemble's median"), ("forest_cv", "forest")):
            p = pooled.loc[kind]
            lines += [f"all, out of fold, {said}: n {p.n:.0f}, RMSE {p.rmse:.3f} m, MAE {p.mae:.3f} m, NSE {p.nse:.3f}"]
        lines += [f"the 90 % band holds {100 * pooled.coverage['cv']:.1f} % of the held-out profiles", ""]
    text = "\n".join(lines)
    print(text)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
