# %% [markdown]
# # 5. Runs: recipes, re-runs of what changed, and scale
#
# A recipe defines a complete study. A run computes only the tiles that are missing or stale, continues after an interruption, and gives the same
# bytes on threads, processes or a cluster. This notebook runs one, changes a corner of one covariate, shows which tiles that affects, and ends with
# the report and a map of the store. Element samples are **simulated** here, covariates are real.

# %%
import shutil
import time
from pathlib import Path

import numpy as np

import tpsoil
from tpsoil import covariates, recipes
from tpsoil.demo import RECIPE, simulated_samples, true_elements
from tpsoil.reports import figures, write_page
from tpsoil.sample import write_sample

folder = Path("work_runs")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()
cube_path = write_sample(folder / "cube.zarr")
layers = tpsoil.open_cube(cube_path)
slope = covariates.terrain_attributes(layers["elevation"])["slope"]
simulated_samples(true_elements(layers.assign(slope=slope))).to_csv(folder / "simulated_samples.csv", index=False)

# %% [markdown]
# ## A recipe
# Every fault of it is listed at once, before anything is computed.

# %%
text = RECIPE.replace("trees = 200", "trees = 40")
recipe = folder / "demo.toml"
recipe.write_text(text.replace("zones = ", "zoens = ").replace("seed = ", "sead = "))
try:
    tpsoil.run(recipe)
except tpsoil.errors.RecipeError as error:
    print("\n".join(error.faults))

# %%
recipe.write_text(text)
print(text)

# %% [markdown]
# ## Preview

# %%
recipes.preview(recipe)

# %% [markdown]
# ## Run it

# %%
started = time.perf_counter()
maps = tpsoil.run(recipe, progress=False)
first = time.perf_counter() - started
recipes.status(str(folder / "maps.zarr"))

# %%
figures.map_layer(maps, "solum_thickness", mask=layers["soil_mask"], title="Solum thickness, published parameters, erosion assumed")

# %%
figures.map_layer(maps, "iron", mask=layers["soil_mask"])

# %% [markdown]
# ## Run it again
# Nothing changed, so nothing is computed.

# %%
started = time.perf_counter()
tpsoil.run(recipe, progress=False)
print(f"the second run took {100 * (time.perf_counter() - started) / first:.0f} % of the first")

# %% [markdown]
# ## Change one corner of one covariate
# Ten cells of temperature, in one chunk, are half a degree warmer. Only tiles that this chunk touches are stale.

# %%
import zarr

stored = zarr.open_group(cube_path, mode="r+")["mean_annual_temperature"]
corner = stored[100:110, 100:110]
stored[100:110, 100:110] = corner + np.float32(0.5)
recipes.preview(recipe)

# %% [markdown]
# ## On a cluster
# The same recipe, the same bytes. `scheduler` takes the address of any dask scheduler: a `LocalCluster`, dask-jobqueue, Kubernetes.
#
# ```python
# tpsoil.run("recipe.toml", scheduler="tcp://scheduler:8786")
# ```
#
# On the command line: `tpsoil run recipe.toml --scheduler tcp://scheduler:8786 --memory 64`, `tpsoil run recipe.toml --dry-run`,
# `tpsoil status maps.zarr`.

# %% [markdown]
# ## What a plateau costs
# Cells of the plateau at four resolutions. At 30 m the same recipe reads and writes 1000 times what it does at 1 km, tile by tile, in the same memory.

# %%
for resolution in (8000, 1000, 90, 30):
    rows, columns = tpsoil.plateau_grid(resolution).shape
    print(f"{resolution:>5} m: {rows * columns / 1e6:10.2f} million cells, {rows * columns * 4 / 1e9:8.2f} GB a layer")

# %% [markdown]
# ## The report
# One HTML file of the whole store: maps, scores, parameters, assumptions, provenance, citation.

# %%
page = write_page(folder / "maps.zarr", folder / "page.html")
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB, opens without a network")
figures.mean_and_spread_map(maps, "iron", "iron_sd", mask=layers["soil_mask"])
