# %% [markdown]
# # 1. The datacube: from a raster to a map
#
# All covariates are layers of **one chunked Zarr store on one grid**. This notebook goes from a GeoTIFF to a map in ten cells, adds layers with
# other units, reads values at places, and ends with a map and a page to send to somebody. It runs on the small real cube inside the package:
# no download.

# %%
import shutil
from pathlib import Path

import rioxarray  # the accessor .rio, which writes the raster

import tpsoil
from tpsoil.reports import figures
from tpsoil.sample import open_sample

folder = Path("work_datacube")
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir()

# %% [markdown]
# ## A raster
# Any GDAL raster, NetCDF or Zarr works. Here: the sample's elevation, warped to longitude and latitude and saved, as a file from somebody
# else would be. (Its topography is ITU-R P.1511, from the package `itur`.)

# %%
raster = folder / "dem.tif"
elevation = open_sample()["elevation"].load()
elevation.odc.reproject("EPSG:4326", resampling="bilinear").rio.to_raster(raster)

# %% [markdown]
# ## A cube, and the raster in it
# `plateau_grid` is an Albers equal-area grid over the plateau; any `GeoBox` of odc-geo works. `add_layer` reprojects lazily, chunk by
# chunk, and resamples by the kind of the layer: averages where the target is coarser, classes by mode, directions as vectors.

# %%
cube_path = folder / "cube.zarr"
tpsoil.create_cube(cube_path, tpsoil.plateau_grid(20_000), chunks=64)
tpsoil.add_layer(cube_path, "elevation", raster)

# %% [markdown]
# ## A map

# %%
cube = tpsoil.open_cube(cube_path)
figures.map_layer(cube, "elevation", hillshade=cube["elevation"])

# %% [markdown]
# Ten cells. The layer is lazy: only the cells that are drawn were read. Its attributes have its source.

# %%
cube["elevation"].attrs

# %% [markdown]
# ## Units are converted once, on import
# In the catalogue `mean_annual_temperature` is in degrees Celsius. A raster in kelvin needs `units="K"`; without it the layer is rejected
# before anything is written, and the message names the fix.

# %%
sample = open_sample()
kelvin = sample["mean_annual_temperature"] + 273.15  # arithmetic drops the attributes, units with them

try:
    tpsoil.add_layer(cube_path, "mean_annual_temperature", kelvin)
except tpsoil.errors.TpsoilError as error:
    print(type(error).__name__, "-", error)

# %%
tpsoil.add_layer(cube_path, "mean_annual_temperature", kelvin, units="K")
tpsoil.add_layer(cube_path, "annual_precipitation", sample["annual_precipitation"])
tpsoil.add_layer(cube_path, "land_cover", sample["land_cover"])
tpsoil.add_layer(cube_path, "soil_mask", sample["soil_mask"])

cube = tpsoil.open_cube(cube_path)
figures.map_layer(cube, "land_cover", mask=cube["soil_mask"])

# %% [markdown]
# Classes have names; cells without soil (glaciers, lakes, outside the plateau) are masked. The layers of the cube:

# %%
from tpsoil.cube import cube_info

cube_info(cube_path)

# %% [markdown]
# ## Values at points
# Longitude and latitude, or x and y in the cube's CRS. Points off the grid are dropped and counted.

# %%
import pandas as pd

places = pd.DataFrame({"place": ["Lhasa", "Nagqu", "Golmud"], "lon": [91.12, 92.05, 94.90], "lat": [29.65, 31.48, 36.42]})
tpsoil.sample_cube(cube[["elevation", "mean_annual_temperature", "annual_precipitation"]], places).round(1)

# %% [markdown]
# ## Is every chunk complete?
# A chunk that was truncated or changed is named; it is never silently read as NaN.

# %%
check = tpsoil.check_cube(cube_path)
print(f"{check.layers} layers, {check.chunks} chunks, faults: {list(check.faults)}")

# %% [markdown]
# ## Share it
# `tpsoil report cube.zarr page.html` writes one file with maps that pan and zoom, and the stored value under the pointer. A single map:

# %%
from tpsoil.reports import write_page

page = write_page(cube_path, folder / "page.html", title="A first cube")
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB, opens without a network")
figures.map_layer(cube, "annual_precipitation", mask=cube["soil_mask"], hillshade=cube["elevation"], title="Annual precipitation at 20 km")
