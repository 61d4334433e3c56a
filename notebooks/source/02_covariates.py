# %% [markdown]
# # 2. Covariates: everything from a DEM, climate and soil
#
# The studies use slope length, wetness, erosion and weathering as inputs. This notebook computes them from a DEM, climate and soil, stores
# them in the cube, and ends with the correlation between them. All functions take DataArrays and return DataArrays with units, meaning and
# parents in their attributes; the kernels are tested against analytic surfaces.

# %%
import numpy as np
import pandas as pd

import tpsoil
from tpsoil import covariates
from tpsoil.reports import figures
from tpsoil.sample import open_sample

sample = open_sample()
elevation, mask = sample["elevation"], sample["soil_mask"]

# %% [markdown]
# ## Terrain: seven attributes in one pass
# Slope and aspect (Horn), three curvatures (Zevenbergen and Thorne), ruggedness (Riley), slope position (Weiss). Nothing is computed yet:

# %%
terrain = covariates.terrain_attributes(elevation)
terrain

# %%
figures.map_layer(terrain["slope"], mask=mask, hillshade=elevation)

# %% [markdown]
# Curvature is in 1/m and **positive where the ground is convex**, which is what the solum model needs; the convention is in the attributes.
# Aspect is a direction, drawn on a circular colour map and never averaged as a number.

# %%
figures.map_layer(terrain["general_curvature"], mask=mask)

# %%
figures.map_layer(terrain["aspect"], mask=mask)

# %% [markdown]
# **Resolution matters.** A slope of 8 km cells is not the slope of a hillside: it shrinks with every coarsening. Derive terrain at the DEM's own
# resolution, then average to the cube.

# %%
coarse = elevation.coarsen(y=4, x=4, boundary="trim").mean()
coarse = coarse.assign_attrs(units="m")
for name, z in {"8 km": elevation, "32 km": coarse}.items():
    print(f"mean slope of {name} cells: {float(covariates.terrain_attributes(z)['slope'].mean()):.2f} degrees")

# %% [markdown]
# ## Hydrology is not local
# Water comes from far away, so the complete DEM is filled and routed, never by blocks. The memory is forecast before the start.

# %%
water = covariates.hydrology_attributes(elevation, allow_coarse_dem=True)  # LS of 8 km cells: for its pattern only
figures.map_layer(water["topographic_wetness"], mask=mask)

# %% [markdown]
# ## Climate
# Potential evapotranspiration needs twelve months; the sample has the year only. So the months follow a cosine of 12 K around the annual mean,
# which is **assumed** and shows the index. Aridity index = precipitation over potential evapotranspiration: **high is humid**.

# %%
import xarray as xr

months = xr.DataArray(np.arange(1, 13), dims="month", name="month")
swing = -12.0 * np.cos(2 * np.pi * (months - 1) / 12)
monthly = (sample["mean_annual_temperature"] + swing).assign_attrs(units="degC").transpose("month", "y", "x")
demand = covariates.potential_evapotranspiration(method="thornthwaite", temperature=monthly)
aridity = covariates.aridity_index(sample["annual_precipitation"], demand)
figures.map_layer(aridity, mask=mask, limits=(0, 3), title="Aridity index, months assumed")

# %% [markdown]
# ## Soil loss by water: RUSLE
# A = R K LS C P. The formula of R is chosen **by name**, because the literature prints two constants for the monthly one that differ three to
# five times. C comes from NDVI, LS from the flow routing above, K from texture: one assumed loam for the whole plateau, as the attributes of the map state.

# %%
erosivity = covariates.rainfall_erosivity(sample["annual_precipitation"], method="zhang_fu_annual")
erodibility = covariates.soil_erodibility(sand=50.0, silt=35.0, clay=15.0, soil_organic_carbon=1.5)
cover = covariates.cover_factor(ndvi=sample["ndvi"])
loss = covariates.rusle(erosivity, erodibility, water["ls_factor"], cover)
print(f"K of the assumed loam: {erodibility:.4f} t ha h ha-1 MJ-1 mm-1")
print(f"mean soil loss {float(loss.where(mask == 1).mean()):.2f} t ha-1 a-1; Teng et al. 2018 have 2.76 for the plateau, from 1 km grids")
figures.map_layer(loss, mask=mask, title="Soil loss by water, K assumed, LS of 8 km cells")

# %% [markdown]
# LS of 8 km cells is far too small, and rain that falls as snow counts as rain here: a demonstration of the parts, not a map to use.
#
# ## Weathering: the chemical index of alteration
# On the plateau carbonate dominates the index: the same sample reads 0.37 without the correction and 0.60 with McLennan's (1993).

# %%
oxides = {"aluminium": 11.5, "calcium": 8.0, "sodium": 1.6, "potassium": 2.3, "phosphorus": 0.14}  # mass % of the oxides
for correction in ("none", "phosphate", "mclennan"):
    print(f"{correction:>10}: {covariates.chemical_index_of_alteration(**oxides, correction=correction):.4f}")

# %% [markdown]
# ## Into the cube
# In a shell: `tpsoil cube derive cube.zarr terrain hydrology`. In Python the same with `add_layers`, which computes what they share once:

# %%
import shutil

from tpsoil.cube import add_layers
from tpsoil.sample import write_sample

shutil.rmtree("work_covariates.zarr", ignore_errors=True)
cube_path = write_sample("work_covariates.zarr")
add_layers(cube_path, terrain[["slope", "general_curvature"]], parents="elevation")
{key: tpsoil.open_cube(cube_path)["slope"].attrs[key] for key in ("units", "comment", "parents")}

# %% [markdown]
# ## Correlation between layers
# Pearson's r over soil cells, with stars for significance. Neighbouring cells are not independent, so the stars are over-optimistic.

# %%
from scipy import stats

layers = {
    "elevation": elevation, "slope": terrain["slope"], "general_curvature": terrain["general_curvature"],
    "topographic_wetness": water["topographic_wetness"], "mean_annual_temperature": sample["mean_annual_temperature"],
    "annual_precipitation": sample["annual_precipitation"], "ndvi": sample["ndvi"],
}
table = pd.DataFrame({name: np.asarray(layer).ravel() for name, layer in layers.items()})
table = table[np.asarray(mask).ravel() == 1].dropna()
pairs = {(a, b): stats.pearsonr(table[a], table[b]) for a in table for b in table}
r = pd.DataFrame({a: {b: pairs[a, b].statistic for b in table} for a in table})
p = pd.DataFrame({a: {b: pairs[a, b].pvalue for b in table} for a in table})
figures.correlation_matrix(r, p)
