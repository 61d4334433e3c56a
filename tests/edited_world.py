"""A small world of sources of every kind, edits of them, and runs of its recipe in new processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
import small_run
import xarray as xr

from tpsoil.grid import coordinates

SIDE, MARGIN = 32, 4
TO_COMPUTE = re.compile(r" INFO (?P<title>[^:]+): (?P<count>\d+) tiles to compute")

ZYGOTE = """
import json, os, sys, traceback
from tpsoil.recipes import run
import numba, sklearn.ensemble, rasterio, geopandas, xarray  # imported once, before any source is opened
print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        try:
            run(order["recipe"], output=order["output"], workers=1, progress=False)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class NewProcess:
    """Runs in processes that have opened nothing before."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ZYGOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def run(self, recipe: dict[str, Any], output: Path) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"recipe": recipe, "output": str(output)}) + "\n")
        self.process.stdin.flush()
        assert self._answer() == "0"

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def new_processes() -> Iterator[NewProcess]:
    one = NewProcess()
    try:
        yield one
    finally:
        one.close()


class World:
    """Sources in a folder, the recipe that reads them, and edits of both.

    Every edit returns the stages that it touches at first hand.
    """

    def __init__(self, folder: Path, address: str, seed: int) -> None:
        self.folder, self.address = folder, address
        self.rng = np.random.default_rng(seed)
        whole = small_run.small_grid(SIDE + 2 * MARGIN)
        self.wide = whole
        self.grid = whole[MARGIN : SIDE + MARGIN, MARGIN : SIDE + MARGIN]
        self.crs = whole.crs.to_wkt()
        self.shift = {"ndvi": 0.0, "temperature": 0.0}
        for name in ("web", "wind"):
            (folder / name).mkdir()
        for name in ("height", "dem", "web/water", "wind/b"):
            self.raster(name)
        for name, source in (("inner", "height.tif"), ("elevation", "inner.vrt")):
            self.vrt(name, source)
        self.raster("ndvi", placed=False)
        self.world_file()
        self.raster("temperature", driver="ENVI")
        self.netcdf()
        self.polygons("area.geojson", 0.9)
        self.polygons("lakes.shp", 0.2)
        self.polygons("ice.tab", 0.15)
        small_run.make_samples(folder / "samples.csv", side=SIDE + 2 * MARGIN, count=80)
        left, bottom, right, top = self.grid.boundingbox
        named = {
            "elevation": "elevation.vrt", "mean_annual_temperature": "temperature.img", "ndvi": "ndvi.tif",
            "annual_precipitation": "rain.nc", "wind_erosion": "wind/*.tif",
            "water_erosion": f"{address}/web/water.tif",
        }  # fmt: skip
        self.recipe: dict[str, Any] = {
            "run": {"name": "world", "output": "set by each run", "tile": 1},
            "grid": {"resolution": 1000, "bounds": [left, bottom, right, top], "chunks": 16},
            "layers": [
                {"name": name, "source": source if "://" in source else str(folder / source)}
                for name, source in named.items()
            ],
            "mask": {
                "boundary": str(folder / "area.geojson"),
                "lakes": str(folder / "lakes.shp"),
                "glaciers": str(folder / "ice.tab"),
            },
            "derive": {"dem": str(folder / "dem.tif"), "terrain": ["slope", "general_curvature", "terrain_ruggedness"]},
            "solum": {"parameters": "published", "zones": "published"},
            "elements": {
                "samples": str(folder / "samples.csv"), "elements": ["Fe"], "trees": 5, "folds": ["random"],
                "n_folds": 2, "features": ["elevation", "slope", "annual_precipitation"],
            },
        }  # fmt: skip
        self.layer("ndvi")["crs"] = self.crs
        self.layer("annual_precipitation")["crs"] = self.crs
        self.layer("wind_erosion")["combine"] = "mosaic"
        self.layer("wind_erosion")["resampling"] = "nearest"

    def layer(self, name: str) -> dict[str, Any]:
        return next(entry for entry in self.recipe["layers"] if entry["name"] == name)

    def values(self, name: str) -> Any:
        """Plausible numbers of a layer, other ones at each call."""
        size = SIDE + 2 * MARGIN
        down = np.linspace(0, 1, size)[:, None] * np.ones(size)
        noise = self.rng.uniform(0, 1, (size, size))
        low, high = {
            "height": (4000, 4800), "dem": (4000, 4800), "web/water": (1, 5), "wind/a": (2, 8), "wind/b": (2, 8),
            "ndvi": (0.2, 0.8), "temperature": (-6, 2), "rain": (300, 800),
        }[name]  # fmt: skip
        return (low + (high - low) * (0.7 * down + 0.3 * noise)).astype(np.float32)

    def raster(self, name: str, *, driver: str = "GTiff", placed: bool = True) -> None:
        values = self.values(name)
        where = {"crs": self.crs, "transform": self.wide.transform} if placed else {}
        path = self.folder / f"{name}.{'img' if driver == 'ENVI' else 'tif'}"
        height, width = values.shape
        if driver == "ENVI":
            where["transform"] = self.wide.transform * rasterio.Affine.translation(self.shift["temperature"], 0)
        with rasterio.open(
            path, "w", driver=driver, width=width, height=height, count=1, dtype="float32", **where
        ) as f:
            f.write(values, 1)

    def vrt(self, name: str, source: str, ratio: float = 1.0) -> None:
        t, size = self.wide.transform, SIDE + 2 * MARGIN
        rectangle = f"xOff='0' yOff='0' xSize='{size}' ySize='{size}'"
        (self.folder / f"{name}.vrt").write_text(
            f"<VRTDataset rasterXSize='{size}' rasterYSize='{size}'><SRS>{shapely_text(self.crs)}</SRS>"
            f"<GeoTransform>{t.c},{t.a},0,{t.f},0,{t.e}</GeoTransform><VRTRasterBand dataType='Float32' band='1'>"
            f"<ComplexSource><SourceFilename relativeToVRT='1'>{source}</SourceFilename><SourceBand>1</SourceBand>"
            f"<ScaleRatio>{ratio}</ScaleRatio><SrcRect {rectangle}/><DstRect {rectangle}/></ComplexSource>"
            "</VRTRasterBand></VRTDataset>"
        )

    def world_file(self) -> None:
        t = self.wide.transform
        x, y = t.c + t.a / 2 + self.shift["ndvi"], t.f + t.e / 2
        (self.folder / "ndvi.tfw").write_text(f"{t.a}\n0\n0\n{t.e}\n{x}\n{y}\n")

    def netcdf(self) -> None:
        coords = {key: value for key, value in coordinates(self.wide).items() if key in ("y", "x")}
        array = xr.DataArray(self.values("rain"), dims=("y", "x"), coords=coords, name="rain", attrs={"units": "mm"})
        part = self.folder / "rain.part"
        array.to_netcdf(part)
        os.replace(part, self.folder / "rain.nc")

    def polygons(self, name: str, share: float) -> None:
        left, bottom, right, top = self.grid.boundingbox
        width, height = (right - left) * share, (top - bottom) * share
        x, y = left + self.rng.uniform(0, right - left - width), bottom + self.rng.uniform(0, top - bottom - height)
        frame = geopandas.GeoDataFrame({"id": [1]}, geometry=[shapely.box(x, y, x + width, y + height)], crs=self.crs)
        frame = frame.to_crs("EPSG:4326")
        driver = {".tab": "MapInfo File", ".shp": "ESRI Shapefile", ".geojson": "GeoJSON"}[Path(name).suffix]
        for part in self.folder.glob(f"{Path(name).stem}.*"):
            part.unlink()  # GDAL does not write over a MapInfo table
        frame.to_file(self.folder / name, driver=driver)

    def edits(self) -> dict[str, Callable[[], set[str]]]:
        """Edits by name: bytes, attributes, side files, options, URLs."""

        def remade(action: Callable[[], None], *stages: str) -> Callable[[], set[str]]:
            def edit() -> set[str]:
                action()
                return set(stages)

            return edit

        def header() -> None:
            self.shift["temperature"] = 1.0 - self.shift["temperature"]
            path = self.folder / "temperature.hdr"
            first = self.wide.transform.c + self.shift["temperature"] * self.wide.transform.a
            path.write_text(re.sub(r"(map info = \{[^,]+, [^,]+, [^,]+, )[^,]+", rf"\g<1>{first}", path.read_text()))

        def world() -> None:
            self.shift["ndvi"] = 1000.0 - self.shift["ndvi"]
            self.world_file()

        def statistics() -> None:
            path = self.folder / "ndvi.tif.aux.xml"
            scale = self.rng.uniform(0.5, 0.99)
            path.write_text(
                f"<PAMDataset><PAMRasterBand band='1'><Offset>0</Offset><Scale>{scale}</Scale></PAMRasterBand>"
                "</PAMDataset>"
            )

        def tags() -> None:
            with rasterio.open(self.folder / "height.tif", "r+") as file:
                file.offsets = (float(self.rng.uniform(1, 50)),)
            self.vrt("inner", "height.tif", float(self.rng.uniform(0.95, 1.05)))

        def tile() -> None:
            path = self.folder / "wind" / "a.tif"
            path.unlink() if path.exists() else self.raster("wind/a")

        def samples() -> None:
            path = self.folder / "samples.csv"
            lines = path.read_text().splitlines()
            place, values = int(self.rng.integers(1, len(lines))), lines[1].split(",")
            lines[place] = ",".join([*lines[place].split(",")[:2], f"{self.rng.uniform(15000, 25000):.3f}"])
            assert len(values) == 3
            path.write_text("\n".join(lines) + "\n")

        def option(table: dict[str, Any], key: str, *choices: Any) -> Callable[[], None]:
            def choose() -> None:
                others = [one for one in choices if one != table.get(key, choices[0])]  # the first is the default
                table[key] = others[int(self.rng.integers(len(others)))]

            return choose

        solum, elements, derive = (self.recipe[key] for key in ("solum", "elements", "derive"))
        return {
            "tile of nested VRTs": remade(lambda: self.raster("height"), "layer_elevation"),
            "scale in a VRT": remade(
                lambda: self.vrt("elevation", "inner.vrt", float(self.rng.uniform(0.9, 1.1))), "layer_elevation"
            ),
            "tags of a tile": remade(tags, "layer_elevation"),
            "bytes of a URL": remade(lambda: self.raster("web/water"), "layer_water_erosion"),
            "NetCDF": remade(self.netcdf, "layer_annual_precipitation"),
            "ENVI header": remade(header, "layer_mean_annual_temperature"),
            "ENVI bytes": remade(lambda: self.raster("temperature", driver="ENVI"), "layer_mean_annual_temperature"),
            "world file": remade(world, "layer_ndvi"),
            "aux.xml": remade(statistics, "layer_ndvi"),
            "added or removed tile": remade(tile, "layer_wind_erosion"),
            "boundary": remade(lambda: self.polygons("area.geojson", 0.9), "soil_mask"),
            "shapefile": remade(lambda: self.polygons("lakes.shp", 0.2), "soil_mask"),
            "MapInfo": remade(lambda: self.polygons("ice.tab", 0.15), "soil_mask"),
            "DEM": remade(lambda: self.raster("dem"), "terrain"),
            "samples": remade(samples, "element_Fe"),
            "dust": remade(option(solum, "dust_input", 0.0, 1e-6, 2e-6), "solum"),
            "maps": remade(
                option(solum, "maps", ["solum_thickness", "solum_status"], ["solum_thickness", "erosion_rate"]), "solum"
            ),
            "trees": remade(option(elements, "trees", 5, 6, 7), "element_Fe"),
            "ruggedness": remade(option(derive, "ruggedness", "riley", "mean_difference"), "terrain"),
            "offset": remade(option(self.layer("wind_erosion"), "offset", 0.0, 0.5, 1.0), "layer_wind_erosion"),
        }


def shapely_text(text: str) -> str:
    """Text inside XML."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def tiles_computed(log: Path, start: int) -> dict[str, int]:
    """Tiles that runs computed since a place of their log, by the title of their stage."""
    with log.open() as file:
        file.seek(start)
        computed: dict[str, int] = {}
        for line in file:
            if match := TO_COMPUTE.search(line):
                computed[match["title"]] = computed.get(match["title"], 0) + int(match["count"])
    return computed
