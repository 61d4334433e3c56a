"""Small simulated files in the layouts and encodings of the open sources, for `mirror`."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import geopandas
import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio
import shapely
import xarray as xr
import zarr
from pyproj import Transformer
from rasterio.shutil import copy
from rasterio.transform import from_origin

Array = npt.NDArray[Any]
Query = Mapping[str, str]

HOMOLOSINE: Final = "+proj=igh +lat_0=0 +lon_0=0 +datum=WGS84 +units=m +no_defs"
SINUSOIDAL: Final = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
TILE_METRES: Final = 1111950.519667
"""Side of a MODIS tile."""
TILE_CELLS: Final = 240
PAGE_ITEMS: Final = 2
"""Items on a page of the simulated STAC search."""


def make_sources(root: Path) -> Path:
    """Files of the sources under one folder; simulated.

    Parameters
    ----------
    root : Path
        Made where it is not there.

    Returns
    -------
    Path
        DEM tiles (N30E091 is absent: sea), CHELSA, SoilGrids in Homolosine behind VRTs, OpenLandMap, depth to bedrock,
        WorldCover, MODIS tiles, TerraClimate, WoSIS, lakes and glaciers, and a Zarr group.
    """
    for latitude, longitude in ((29, 90), (29, 91), (30, 90)):
        name = f"Copernicus_DSM_COG_10_N{latitude}_00_E{longitude:03d}_00_DEM"
        step = (np.arange(480) + 0.5) / 480
        z = 4000 + 1500 * relief(longitude + step[None, :], latitude + 1 - step[:, None], latitude + longitude)
        values = z.astype("float32")
        write_raster(root / name / f"{name}.tif", values, (longitude, latitude + 1), 1 / 480)
    kelvin = (2600 + 200 * surface(600, 600, 1)).astype("uint16")
    folder = root / "chelsa02/chelsa/global/bioclim"
    write_raster(folder / "bio1/1981-2010/CHELSA_bio1_1981-2010_V.2.1.tif", kelvin, (88, 33), 1 / 120, nodata=65535,
                 scale=0.1, offset=-273.15)  # fmt: skip
    rain = (300 + 500 * surface(600, 600, 2)).astype("uint16")
    write_raster(folder / "bio12/1981-2010/CHELSA_bio12_1981-2010_V.2.1.tif", rain, (88, 33), 1 / 120, nodata=65535)
    _soilgrids(root)
    carbon = (2 + 20 * surface(500, 500, 5)).astype("uint8")
    write_raster(root / "arco/organic.carbon_usda.6a1c_m_250m_b0cm_19500101_20171231_go_epsg.4326_v0.2.tif", carbon,
                 (88, 33), 1 / 100, nodata=255)  # fmt: skip
    bedrock = (100 + 3000 * surface(500, 500, 3)).astype("int32")
    write_raster(root / "soilgrids/former/2017-03-10/data/BDTICM_M_250m_ll.tif", bedrock, (88, 33), 1 / 100,
                 nodata=-99999)  # fmt: skip
    classes = np.array([10, 30, 60, 80], "uint8")[(surface(360, 360, 4) * 3.99).astype(int)]
    write_raster(root / "v200/2021/map/ESA_WorldCover_10m_2021_v200_N27E090_Map.tif", classes, (90, 30), 3 / 360,
                 nodata=0, overviews="mode")  # fmt: skip
    write_raster(root / "v200/2021/map/ESA_WorldCover_10m_2021_v200_N30E090_Map.tif", classes[::-1].copy(), (90, 33),
                 3 / 360, nodata=0, overviews="mode")  # fmt: skip
    _modis(root)
    _months(root)
    _archives(root)
    _zarr_group(root / "cube/temperature.zarr")
    return root


def write_raster(path: Path, values: Array, origin: tuple[float, float], cell: float, **profile: Any) -> Path:
    """A COG with overviews.

    Parameters
    ----------
    path : Path
    values : ndarray (rows, columns)
    origin : (x, y)
        Upper left corner.
    cell : float
    **profile
        `crs`, `nodata`, `scale`, `offset`, and `overviews`, the method by which they are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".raw.tif")
    with rasterio.open(
        temporary, "w", driver="GTiff", count=1, crs=profile.get("crs", "EPSG:4326"), dtype=values.dtype,
        height=values.shape[0], width=values.shape[1], transform=from_origin(*origin, cell, cell),
        nodata=profile.get("nodata"),
    ) as raw:  # fmt: skip
        raw.write(values, 1)
        raw.scales, raw.offsets = (profile.get("scale", 1.0),), (profile.get("offset", 0.0),)
    copy(temporary, path, driver="COG", compress="deflate", blocksize=128,
         overview_resampling=profile.get("overviews", "average"))  # fmt: skip
    temporary.unlink()
    return path


def surface(rows: int, columns: int, seed: int = 0) -> Array:
    """A smooth tilted field in 0..1 with some noise."""
    y, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    noise = np.random.default_rng(seed).normal(0, 0.01, (rows, columns))
    field: Array = np.clip(0.5 + 0.25 * np.sin(5 * x + 2) * np.cos(4 * y) + 0.2 * x - 0.1 * y + noise, 0, 1)
    return field


def relief(longitude: Array, latitude: Array, seed: int = 0) -> Array:
    """A field in 0..1 of ridges from 100 km down to 5 km, the same across the borders of tiles; with some noise."""
    rng = np.random.default_rng(99)
    field = np.zeros(np.broadcast_shapes(longitude.shape, latitude.shape))
    for octave in range(5):
        for _ in range(3):
            angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
            along = longitude * np.cos(angle) + latitude * np.sin(angle)
            field += 0.5**octave * np.sin(2 * np.pi * 2**octave * along + phase)
    noise = np.random.default_rng(seed).normal(0, 0.003, field.shape)
    scaled: Array = np.clip(0.5 + field / 9 + noise, 0, 1)
    return scaled


def _soilgrids(root: Path) -> None:
    """Two tiles in Homolosine behind a VRT whose sources are relative, as the original has them."""
    x, y = Transformer.from_crs(4326, HOMOLOSINE, always_xy=True).transform([89.0, 92.5], [31.8, 28.5])
    left, top, cell = 1000 * np.floor(min(x) / 1000) - 200_000, 1000 * np.ceil(max(y) / 1000) + 100_000, 1000.0
    rows, columns = 600, 400
    for name, low, high in (
        ("clay", 100, 400), ("sand", 300, 500), ("silt", 200, 300), ("soc", 50, 900), ("phh2o", 55, 85),
        ("bdod", 80, 160),
    ):  # fmt: skip
        folder = root / f"soilgrids/latest/data/{name}"
        values = (low + (high - low) * surface(rows, 2 * columns, len(name))).astype("int16")
        values[:5] = -32768
        sources = []
        for part in (0, 1):
            tile = f"{name}_0-5cm_mean/tile_{part}.tif"
            write_raster(folder / tile, values[:, part * columns : (part + 1) * columns].copy(),
                         (left + part * columns * cell, top), cell, crs=HOMOLOSINE, nodata=-32768)  # fmt: skip
            sources.append(
                f'<ComplexSource><SourceFilename relativeToVRT="1">{tile}</SourceFilename><SourceBand>1</SourceBand>'
                f'<SrcRect xOff="0" yOff="0" xSize="{columns}" ySize="{rows}"/>'
                f'<DstRect xOff="{part * columns}" yOff="0" xSize="{columns}" ySize="{rows}"/><NODATA>-32768</NODATA>'
                "</ComplexSource>"
            )
        wkt = rasterio.crs.CRS.from_string(HOMOLOSINE).to_wkt().replace('"', "&quot;")
        (folder / f"{name}_0-5cm_mean.vrt").write_text(
            f'<VRTDataset rasterXSize="{2 * columns}" rasterYSize="{rows}"><SRS>{wkt}</SRS>'
            f"<GeoTransform>{left}, {cell}, 0, {top}, 0, {-cell}</GeoTransform>"
            '<VRTRasterBand dataType="Int16" band="1"><NoDataValue>-32768</NoDataValue>'
            f"{''.join(sources)}</VRTRasterBand></VRTDataset>"
        )


def _modis(root: Path) -> None:
    """Tiles h25v05 and h25v06 of NPP and NDVI, and one of Aqua that an entry leaves out."""
    cell = TILE_METRES / TILE_CELLS
    for vertical in (5, 6):
        origin = ((25 - 18) * TILE_METRES, (9 - vertical) * TILE_METRES)
        x, y = (np.arange(TILE_CELLS) + 0.5) * cell + origin[0], origin[1] - (np.arange(TILE_CELLS) + 0.5) * cell
        cover = relief(x[None, :] / 400_000, y[:, None] / 400_000, vertical)
        npp = (1000 + 6000 * cover).astype("int16")
        npp[:, :20] = 32765  # barren: no estimate
        ndvi = (1000 + 7000 * cover).astype("int16")
        for product, values, nodata in (("MOD17A3HGF", npp, 32767), ("MYD17A3HGF", npp // 2, 32767),
                                        ("MOD13A1", ndvi, -3000)):  # fmt: skip
            write_raster(root / f"modis-061-cogs/{product}/25/0{vertical}/tile.tif", values, origin, cell,
                         crs=SINUSOIDAL, nodata=nodata, overviews="nearest")  # fmt: skip


def stac_page(root: Path, address: str, query: Query) -> bytes:
    """One page of a search; items of Terra and Aqua."""
    asset, products = {
        "modis-17A3HGF-061": ("Npp_500m", ("MOD17A3HGF", "MYD17A3HGF")),
        "modis-13A1-061": ("500m_16_days_NDVI", ("MOD13A1",)),
    }[query["collections"]]
    items = [
        {"id": f"{product}.A{query['datetime'][:4]}.h25v0{vertical}", "type": "Feature",
         "assets": {asset: {"href": f"{address}/modis-061-cogs/{product}/25/0{vertical}/tile.tif"}}}
        for product in products for vertical in (5, 6)
    ]  # fmt: skip
    start = int(query.get("page", "0"))
    page: dict[str, Any] = {"type": "FeatureCollection", "features": items[start : start + PAGE_ITEMS], "links": []}
    if start + PAGE_ITEMS < len(items):
        kept = "&".join(f"{key}={value}" for key, value in query.items() if key not in {"page", "path"})
        page["links"] = [{"rel": "next", "href": f"{address}/{query['path']}?{kept}&page={start + PAGE_ITEMS}"}]
    return json.dumps(page).encode()


def _months(root: Path) -> None:
    """Twelve months of rain and potential evapotranspiration, 1/24 degree, int16 with a scale."""
    axis = (np.arange(240) + 0.5) / 24
    coords = {"time": np.arange(12), "lat": 35 - axis, "lon": 85 + axis}
    for name, high in (("ppt", 1200), ("pet", 1500)):
        values = np.stack([high * surface(240, 240, month) for month in range(12)]).astype("int16")
        attrs = {"scale_factor": 0.1, "add_offset": 0.0, "_FillValue": np.int16(-32768), "units": "mm"}
        dataset = xr.Dataset({name: (("time", "lat", "lon"), values, attrs)}, coords=coords)
        (root / "thredds").mkdir(parents=True, exist_ok=True)
        dataset.to_netcdf(root / f"thredds/{name}.nc", engine="scipy")


def ncss_answer(root: Path, address: str, query: Query) -> bytes:
    """The subset of a box, as a THREDDS server answers in NetCDF 3."""
    with xr.open_dataset(root / f"thredds/{query['var']}.nc", mask_and_scale=False, decode_times=False) as all_:
        box = {key: float(query[key]) for key in ("west", "east", "south", "north")}
        part = all_.sel(lat=slice(box["north"], box["south"]), lon=slice(box["west"], box["east"])).load()
    return bytes(part.to_netcdf(engine="scipy"))


def _archives(root: Path) -> None:
    """Shapefiles of lakes and glaciers, and tables of soil profiles, in zip archives."""
    lakes = geopandas.GeoDataFrame(
        {"name": ["inside", "far"]}, geometry=[shapely.box(90.6, 30.0, 90.8, 30.2), shapely.box(10, 10, 11, 11)],
        crs=4326,
    )  # fmt: skip
    ice = geopandas.GeoDataFrame({"name": ["cap"]}, geometry=[shapely.Point(91.0, 29.8).buffer(0.08)], crs=4326)
    for path, member, polygons in (
        ("file/hydrolakes/HydroLAKES_polys_v10_shp.zip", "HydroLAKES_polys_v10_shp/HydroLAKES_polys_v10", lakes),
        ("naturalearth/10m/physical/ne_10m_lakes.zip", "ne_10m_lakes", lakes),
        ("naturalearth/10m/physical/ne_10m_glaciated_areas.zip", "ne_10m_glaciated_areas", ice),
    ):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        local = target.parent / f"{Path(member).name}.shp"
        polygons.to_file(local)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in sorted(local.parent.glob(f"{local.stem}.*")):
                if part.suffix != ".zip":
                    archive.write(part, f"{member}{part.suffix}")
                    part.unlink()
    profiles(root)


def profiles(root: Path) -> pd.DataFrame:
    """Soil profiles: in the archive of the snapshot, and those that the WFS answers with."""
    rng = np.random.default_rng(7)
    table = pd.DataFrame(
        {"profile_id": np.arange(60), "longitude": rng.uniform(88, 93, 60).round(4),
         "latitude": rng.uniform(28, 33, 60).round(4), "country_name": "Simulated"}
    )  # fmt: skip
    target = root / "public/wosis_snapshot/WoSIS_2023_December.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("WoSIS_2023_December/wosis_202312_profiles.tsv", table.to_csv(sep="\t", index=False))
        archive.writestr("WoSIS_2023_December/large.bin", rng.bytes(400_000))
    table.to_csv(root / "profiles.csv", index=False)
    return table


def wfs_answer(root: Path, address: str, query: Query) -> bytes:
    """Rows of the box, one page of them, in CSV."""
    rows = pd.read_csv(root / "profiles.csv")
    south, west, north, east = (float(text) for text in query["BBOX"].split(",")[:4])
    inside = rows[rows.longitude.between(west, east) & rows.latitude.between(south, north)]
    start, count = int(query.get("STARTINDEX", 0)), int(query.get("COUNT", len(rows)))
    out = io.StringIO()
    inside.iloc[start : start + count].to_csv(out, index=False)
    return out.getvalue().encode()


def _zarr_group(path: Path) -> None:
    """A temperature in kelvin on half a degree, by chunks."""
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    latitude, longitude = np.arange(40.0, 20.0, -0.25), np.arange(80.0, 100.0, 0.25)
    values = (265 + 20 * surface(80, 80, 8)).astype("float32")
    array = group.create_array("t2m", shape=values.shape, chunks=(20, 20), dtype="float32",
                               dimension_names=("latitude", "longitude"))  # fmt: skip
    array[:] = values
    array.attrs["units"] = "K"
    for name, axis in (("latitude", latitude), ("longitude", longitude)):
        group.create_array(name, shape=axis.shape, dtype="float64", dimension_names=(name,))[:] = axis


SERVICES: Final[Mapping[str, Callable[[Path, str, Query], bytes]]] = {
    "api/stac/v1/search": stac_page,
    "thredds/ncss/": ncss_answer,
    "mapserv": wfs_answer,
}
"""Computed answers of the mirror, by the beginning of their path."""
