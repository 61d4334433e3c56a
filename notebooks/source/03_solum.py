# %% [markdown]
# # 3. Solum thickness: a mass balance, its calibration, and its uncertainty
#
# Climate energy produces soil; water, wind and gravity remove it. Where both balance there is a thickness (Chen et al. 2026). This notebook
# maps it with the published parameters, shows where a balance cannot exist yet, calibrates the parameters on profiles, and ends with a map
# beside its uncertainty.
#
# The covariates are real, erosion rates are assumed constants, and **the profiles are simulated** from the published parameters: the
# calibration shows whether a known truth is recovered, not how thick the plateau's soils are.

# %%
import numpy as np
import pandas as pd
import xarray as xr

import tpsoil
from tpsoil import covariates, solum
from tpsoil.demo import simulated_profiles
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
# The status of each cell: in balance, bare, without a balance, or capped at bedrock.

# %%
solum.status_counts(maps).to_frame("cells")

# %% [markdown]
# ## Response time
# A steady state is reached after about h0/E years. Where that is longer than the Holocene, the soil **cannot** be in balance with today's climate.

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
# 240 profiles at random soil cells of three zones, their thickness from the published parameters plus 0.02 m of noise. Four folds in each zone,
# SCE-UA from several starts. `problem="five"` searches the five combinations that thickness can determine; the study's eight parameters are not
# all identifiable.

# %%
chosen = [3, 5, 6]
profiles = simulated_profiles(layers, chosen)
calibration = solum.calibrate(profiles, problem="five", starts=3, folds=4, seed=1, effort=solum.Effort(complexes=4, evaluations=3000))
calibration

# %% [markdown]
# Do the starts agree? Each line is the lowest error so far of one start.

# %%
traces = calibration.traces.copy()
traces.attrs["simulated"] = True
figures.calibration_traces(traces)

# %% [markdown]
# Scores on held-out profiles, beside the zone's mean and a random forest on the same folds. No model can have an RMSE below the
# noise of 0.02 m.

# %%
def three_digits(value):
    return f"{value:.3g}" if isinstance(value, float) else value


calibration.scores[calibration.scores["zone"] == "all"][["kind", "n", "rmse", "mae", "bias", "nse", "coverage"]].map(three_digits)

# %%
held_out = calibration.predictions.rename(columns={"cv": "predicted"})[["observed", "predicted", "zone"]]
held_out = held_out.assign(group=[f"zone {int(z)}" for z in held_out["zone"]])
held_out.attrs["simulated"] = True
figures.observed_predicted(held_out, name="solum_thickness", title="Held-out profiles")

# %% [markdown]
# ## What is not identifiable
# Scaling production and every erosion weight together changes nothing: a, alpha, beta and D are known only through their combinations.

# %%
spread = calibration.spread
spread[spread["zone"] == chosen[0]].map(three_digits)

# %% [markdown]
# ## The map and its uncertainty
# All parameter sets that fit about as well as the best give the 5th, 50th and 95th percentile of what a profile would show. Cells of the
# zones that were not calibrated stay empty.

# %%
band = solum.ensemble_thickness(layers, calibration.ensembles).compute()
width = band["solum_thickness_p95"] - band["solum_thickness_p05"]
band["solum_thickness_width"] = width.assign_attrs(units="m", long_name="width of the 90 % band", simulated=True)
figures.mean_and_spread_map(band, "solum_thickness_p50", "solum_thickness_width", mask=mask)
