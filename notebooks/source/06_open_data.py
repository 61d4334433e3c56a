# %% [markdown]
# # 6. From a bounding box to both maps
#
# From a box, a resolution and names of the catalogue of open data to maps of thickness and iron, with what has to be cited. The files here are
# **simulated**: a mirror on this machine has the addresses, layouts and encodings of the sources, so that the notebook runs without a network.
# Without `catalogue=` the same lines read the sources themselves. Element samples are simulated too.

# %%
import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

import tpsoil
from tpsoil import sources
from tpsoil.recipes import Network
from tpsoil.reports import figures, write_page
from tpsoil.sample.mirror import Mirror, catalogue_of, serving
from tpsoil.sample.mirror_files import make_sources

folder = Path("work_open_data")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()
os.environ["TPSOIL_CACHE"] = str(folder / "cache")
running = contextlib.ExitStack()
mirror = running.enter_context(serving(Mirror(make_sources(folder / "simulated"))))
network = Network(catalogue=catalogue_of(mirror, folder / "catalogue.toml"))

# %% [markdown]
# ## The catalogue
# Every entry has its unit, scale, licence and citation, and the page they were taken from. `probed` is the day of the last comparison
# with its source; empty: not compared yet.

# %%
entries = sources.read_catalogue().entries.values()
pd.DataFrame([{"entry": e.name, "layer": e.layer, "driver": e.driver, "unit": e.unit, "licence": e.licence, "probed": e.probed} for e in entries])

# %% [markdown]
# ## Preview
# A dry run reads headers only.

# %%
box = (90.1, 29.2, 90.95, 30.4)
layers = ["elevation", "climate", "soil", "vegetation", "land_cover", "depth_to_bedrock"]
store = folder / "cube.zarr"
plan = tpsoil.fetch(store, box, layers=layers, resolution=1000, network=network, dry_run=True)
pd.DataFrame(plan.table()).drop(columns="citation")

# %% [markdown]
# ## Look before fetching
# Without a store the layers are lazy: a chunk is read when it is computed.

# %%
lazy = tpsoil.fetch(bbox=box, layers=["elevation", "climate"], resolution=1000, network=network)
before = mirror.sent
corner = float(lazy.elevation[:20, :20].mean())
print(f"mean elevation of one corner {corner:.0f} m, for {(mirror.sent - before) / 1e3:.0f} kB")

# %% [markdown]
# ## Fetch
# Windows at the overview that fits 1 km; scale, offset, nodata and CRS of each file compared with the entry.

# %%
fetched = tpsoil.fetch(store, box, layers=layers, resolution=1000, network=network)
cube = tpsoil.open_cube(store)
print(f"{fetched.bytes_read / 1e3:.0f} kB read for {len(fetched.written)} layers of {cube.sizes['y']} x {cube.sizes['x']} cells")

# %%
figures.map_layer(cube, "elevation", title="Elevation, simulated")

# %%
figures.map_layer(cube, "net_primary_production", title="Net primary production, simulated")

# %% [markdown]
# The lock file beside the cube names every file that was read, with the digest of each window; `locked=True` accepts nothing else.

# %%
lock = json.loads((folder / "cube.sources.lock").read_text())
pd.DataFrame([{"entry": s["entry"], "file": s["url"].rpartition("/")[2][:50], "bytes": s["length"], "windows": len(s["windows"])} for s in lock["sources"]])

# %% [markdown]
# ## A recipe that names its sources
# The same names are sources of `[[layers]]`, of the mask and of `[derive]`. Samples of two elements are simulated from the layers.

# %%
rng = np.random.default_rng(6)
points = pd.DataFrame({"longitude": rng.uniform(90.15, 90.9, 150), "latitude": rng.uniform(29.25, 30.35, 150)})
values = tpsoil.sample_cube(cube, points.rename(columns={"longitude": "lon", "latitude": "lat"}))
points["Fe"] = 20000 + 500 * values["clay"].to_numpy() + 20 * values["ndvi"].to_numpy() * 1000 + rng.normal(0, 800, len(points))
points["Zn"] = 40 + 1.5 * values["silt"].to_numpy() + rng.normal(0, 3, len(points))
points.dropna().to_csv(folder / "simulated_samples.csv", index=False)
left, bottom, right, top = (float(v) for v in fetched.grid.boundingbox.bbox)
recipe = folder / "both.toml"
recipe.write_text(f"""\
[run]
name = "both"
output = "maps.zarr"
description = "Simulated open data: solum thickness and two elements"

[sources]
catalogue = "catalogue.toml"

[grid]
bounds = [{left}, {bottom}, {right}, {top}]
resolution = 1000
chunks = 64

[[layers]]
name = "elevation"
source = "catalogue:copernicus_dem/glo30"

[[layers]]
name = "mean_annual_temperature"
source = "catalogue:chelsa/bio1"

[[layers]]
name = "annual_precipitation"
source = "catalogue:chelsa/bio12"

[[layers]]
name = "clay"
source = "catalogue:soilgrids/clay?depth=0-5cm"

[[layers]]
name = "silt"
source = "catalogue:soilgrids/silt?depth=0-5cm"

[[layers]]
name = "ndvi"
source = "catalogue:modis/ndvi?day=2020-08-01"

[mask]
lakes = "catalogue:natural_earth/lakes"
glaciers = "catalogue:natural_earth/glaciers"

[derive.terrain]
layers = ["slope", "general_curvature"]

[solum]
zones = "none"
parameters = {{ h0 = 0.3, rho_s = 1300.0, a = 2e-4, b = 3e-5, alpha = 0.1, beta = 0.02, gamma = 1.0, D = 5e-3 }}

[solum.assumptions.water_erosion]
value = 2.76
units = "t ha-1 a-1"
reason = "plateau mean of Teng et al. 2018"

[solum.assumptions.wind_erosion]
value = 10.0
units = "t ha-1 a-1"
reason = "assumed"

[elements]
samples = "simulated_samples.csv"
elements = ["Fe", "Zn"]
units = "mg kg-1"
features = ["elevation", "slope", "mean_annual_temperature", "annual_precipitation", "clay", "silt", "ndvi"]
trees = 60
folds = ["random", "block:0.25deg"]
""")
maps = tpsoil.run(recipe, progress=False)
sorted(name for name in maps.data_vars if name in {"solum_thickness", "iron", "zinc", "soil_mask", "slope"})

# %%
figures.map_layer(maps, "solum_thickness", mask=maps["soil_mask"], title="Solum thickness on simulated data")

# %%
figures.map_layer(maps, "iron", mask=maps["soil_mask"], title="Iron on simulated data")

# %% [markdown]
# ## Without a network
# The server stops; the same call still works, from the cache.

# %%
running.close()
again = tpsoil.fetch(folder / "again.zarr", box, layers=layers, resolution=1000, network=Network(catalogue=folder / "catalogue.toml", offline=True))
same = all(np.array_equal(cube[name], tpsoil.open_cube(folder / "again.zarr")[name], equal_nan=cube[name].dtype.kind == "f") for name in cube.data_vars)
print(f"{again.bytes_read} bytes over the network; equal to the first cube: {same}")

# %% [markdown]
# ## What has to be cited
# Every map inherits the licences and citations of the layers that it was computed from; the page prints them.

# %%
print("\n".join(maps["solum_thickness"].attrs["licences"]))
print("\n".join(maps["iron"].attrs["citations"]))
page = write_page(folder / "maps.zarr", folder / "page.html")
print(f"{page.stat().st_size / 1e6:.1f} MB of page")
figures.mean_and_spread_map(maps, "iron", "iron_sd", mask=maps["soil_mask"])
