# %% [markdown]
# # 3. Solum thickness: a mass balance, its calibration, and how far to believe it
#
# Climate energy makes soil, water and wind and gravity remove it; where both balance there is a thickness (Chen et al. 2026).
# The covariates here are real. **The profiles are simulated** from the published parameters, so what this shows is whether a calibration finds
# a known truth again, not how thick the plateau's soils are. Erosion rates are constants and say so.

# %%
import numpy as np
import pandas as pd
import xarray as xr

import tpsoil
from tpsoil import covariates, solum
from tpsoil.reports import figures
from tpsoil.sample import open_sample

sample = open_sample()
mask = sample["soil_mask"]

# %% [markdown]
# ## Energy
# Effective energy and mass transfer from temperature and rain. A number, an array or a lazy layer: the same kind comes back.

# %%
print(solum.eemt(10.0, 1000.0), "kJ m-2 a-1")
energy = solum.eemt(sample["mean_annual_temperature"], sample["annual_precipitation"])
figures.map_layer(energy, mask=mask)

# %% [markdown]
# ## Zones
# The nearest of the study's eight published clusters, by elevation, temperature, rain and NDVI.

# %%
zone = solum.published_zones(sample)
means = pd.DataFrame({key: vars(value) for key, value in solum.PUBLISHED_ZONES.items()}).T
figures.zones_map(zone.where(mask == 1).assign_attrs(zone.attrs), means, hillshade=sample["elevation"])

# %% [markdown]
# ## Thickness with the published parameters
# Table 4, zone by zone, and erosion rates that are assumed everywhere the same.

# %%
terrain = covariates.terrain_attributes(sample["elevation"])
constant = xr.zeros_like(sample["elevation"])
layers = sample[["mean_annual_temperature", "annual_precipitation", "soil_mask"]].assign(
    general_curvature=terrain["general_curvature"],
    water_erosion=(constant + 2.76).assign_attrs(units="t ha-1 a-1"),
    wind_erosion=(constant + 10.0).assign_attrs(units="t ha-1 a-1"),
    zone=zone,
)
maps = solum.thickness(layers, solum.PUBLISHED).compute()
figures.map_layer(maps["solum_thickness"], mask=mask, hillshade=sample["elevation"],
                  title="Solum thickness, published parameters, erosion assumed")

# %% [markdown]
# Every cell says why it is what it is: in balance, bare, without a balance, or cut off at the bedrock.

# %%
solum.status_counts(maps).to_frame("cells")

# %% [markdown]
# ## The paper's blind spot: time
# The steady state needs about h0/E years to come. Where that is longer than the Holocene, today's soil **cannot** be in balance with today's climate.

# %%
figures.response_time_map(maps["response_time"], mask=mask)

# %% [markdown]
# The transient has a closed form. Three soils that start at 0.2 m (h0 0.5 m, production 0.1 mm/a):

# %%
years = np.array([0, 1e3, 3e3, 1e4, 3e4, 1e5])
pd.DataFrame({
    f"erosion {e * 1000:g} mm/a": [float(solum.evolve(0.2, 1e-4, e, 0.5, t)) for t in years] for e in (0.0, 2e-5, 5e-5)
}, index=pd.Index(years.astype(int), name="years")).round(3)

# %% [markdown]
# ## Calibration on simulated profiles
# 240 profiles at random soil cells of three zones, their thickness from the map above plus 0.02 m noise. Four folds in each zone, SCE-UA from several
# starts. `problem="five"` searches the five combinations that thickness can determine; the study's eight parameters cannot all be known.

# %%
rng = np.random.default_rng(3)
chosen = [3, 5, 6]
flat = xr.Dataset({**{name: layers[name] for name in ("mean_annual_temperature", "annual_precipitation", "general_curvature",
                                                      "water_erosion", "wind_erosion")},
                   "zone": zone, "truth": maps["solum_thickness"], "status": maps["solum_status"]}).compute()
table = flat.drop_vars("spatial_ref").to_dataframe().reset_index().dropna()
table = table[(table["status"] == 0) & table["zone"].isin(chosen)]
# water and wind erosion vary here, so that their weights can be told apart
profiles = table.groupby("zone").sample(80, random_state=3).reset_index(drop=True)
profiles["water_erosion"] *= rng.lognormal(0, 1.2, len(profiles))
profiles["wind_erosion"] *= rng.lognormal(0, 1.2, len(profiles))
truth = [
    float(solum.thickness({n: np.array([row[n]]) for n in ("mean_annual_temperature", "annual_precipitation", "general_curvature",
                                                           "water_erosion", "wind_erosion")},
                          solum.PUBLISHED[int(row["zone"])])["solum_thickness"].item())
    for _, row in profiles.iterrows()
]
profiles["solum_thickness"] = np.maximum(np.array(truth) + rng.normal(0, 0.02, len(profiles)), 0.02)
profiles = profiles.drop(columns=["truth", "status"]).assign(zone=lambda t: t["zone"].astype(int))
profiles.attrs["simulated"] = True

calibration = solum.calibrate(profiles, problem="five", starts=3, folds=4, seed=1, effort=solum.Effort(complexes=4, evaluations=3000))
calibration

# %% [markdown]
# Did the starts agree? Each line is the best error so far of one start.

# %%
traces = calibration.traces.copy()
traces.attrs["simulated"] = True
figures.calibration_traces(traces)

# %% [markdown]
# Scores on held-out profiles, beside the zone's mean and a random forest on the same folds. The noise that was put in is
# 0.02 m: no model can do better.

# %%
calibration.scores[calibration.scores["zone"] == "all"][["kind", "n", "rmse", "mae", "bias", "nse", "coverage"]].round(3)

# %%
held_out = calibration.predictions.rename(columns={"cv": "predicted"})[["observed", "predicted", "zone"]]
held_out = held_out.assign(group=[f"zone {int(z)}" for z in held_out["zone"]])
held_out.attrs["simulated"] = True
figures.observed_predicted(held_out, name="solum_thickness", title="Held-out profiles")

# %% [markdown]
# ## What the data cannot tell
# Scaling production, and every erosion weight with it, changes nothing: a, alpha, beta and D are known only through their combinations.

# %%
spread = calibration.spread
spread[spread["zone"] == chosen[0]].round(5)

# %% [markdown]
# ## A map with its spread
# All parameter sets that fit about as well as the best give a 5th, a 50th and a 95th percentile of what a profile dug there would show. Cells of the
# zones that were not calibrated stay empty.

# %%
band = solum.ensemble_thickness(layers, calibration.ensembles).compute()
width = (band["solum_thickness_p95"] - band["solum_thickness_p05"]).rename("solum_thickness")
width = width.assign_attrs(units="m", long_name="width of the 90 % band of solum thickness", simulated=True)
figures.map_layer(width, mask=mask)
