"""A loopback mirror of open data: the sources' address layouts and encodings with small made tiles, and faults."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

HOMOLOSINE = "+proj=igh +lat_0=0 +lon_0=0 +datum=WGS84 +units=m +no_defs"


@dataclass
class Mirror:
    """A server on 127.0.0.1 over a folder, which counts what it sends.

    Parameters
    ----------
    root : Path
    fault : callable, optional
        `fault(handler, path, number)` may answer itself (and return True) before the file is sent.
    """

    root: Path
    fault: Callable[[Any, str, int], bool] | None = None
    etags: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    requests: int = 0
    paths: list[str] = field(default_factory=list)
    address: str = ""


def send(handler: Any, status: int, body: bytes = b"", **headers: str) -> bool:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
    return True


@contextlib.contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            mirror.requests += 1
            path = self.path.partition("?")[0].lstrip("/")
            mirror.paths.append(path)
            if mirror.fault is not None and mirror.fault(self, path, mirror.requests):
                return
            file = mirror.root / path
            if not file.is_file():
                send(self, 404)
                return
            data, etag = file.read_bytes(), mirror.etags.get(path, f'"{file.stat().st_mtime_ns}"')
            if self.headers.get("If-Match", etag) != etag:
                send(self, 412)
                return
            asked = self.headers.get("Range")
            if asked is None:
                mirror.sent += len(data)
                send(self, 200, data, ETag=etag)
                return
            first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
            part = data[first : last + 1]
            mirror.sent += len(part)
            send(self, 206, part, ETag=etag, Content_Range=f"bytes {first}-{first + len(part) - 1}/{len(data)}")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    mirror.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()


def stall(seconds: float) -> None:
    time.sleep(seconds)


def write_raster(path: Path, values: np.ndarray, origin: tuple[float, float], cell: float, **profile: Any) -> Path:
    """A COG with overviews."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scale, offset = profile.pop("scale", 1.0), profile.pop("offset", 0.0)
    options = {"driver": "COG", "crs": "EPSG:4326", "compress": "deflate", "blocksize": 128, "count": 1,
               "overview_resampling": "average"} | profile  # fmt: skip
    temporary = path.with_suffix(".raw.tif")
    with rasterio.open(
        temporary, "w", driver="GTiff", count=1, crs=options["crs"], dtype=values.dtype, height=values.shape[0],
        width=values.shape[1], transform=from_origin(*origin, cell, cell), nodata=profile.get("nodata"),
    ) as raw:  # fmt: skip
        raw.write(values, 1)
        raw.scales, raw.offsets = (scale,), (offset,)
    from rasterio.shutil import copy

    copy(
        temporary,
        path,
        driver="COG",
        compress="deflate",
        blocksize=128,
        overview_resampling=options["overview_resampling"],
    )
    temporary.unlink()
    return path


def surface(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """A smooth tilted field in 0..1 with some noise."""
    y, x = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    noise = np.random.default_rng(seed).normal(0, 0.01, (rows, columns))
    return np.clip(0.5 + 0.25 * np.sin(5 * x + 2) * np.cos(4 * y) + 0.2 * x - 0.1 * y + noise, 0, 1)


def make_sources(root: Path) -> Path:
    """DEM tiles (one is missing: sea), CHELSA, SoilGrids in Homolosine behind a VRT, depth to bedrock, WorldCover."""
    for latitude, longitude in ((29, 90), (29, 91), (30, 90)):  # N30E091 is absent
        name = f"Copernicus_DSM_COG_10_N{latitude}_00_E{longitude:03d}_00_DEM"
        values = (4000 + 1500 * surface(480, 480, latitude + longitude)).astype("float32")
        write_raster(root / name / f"{name}.tif", values, (longitude, latitude + 1), 1 / 480)
    kelvin = (2600 + 200 * surface(600, 600, 1)).astype("uint16")
    folder = root / "chelsa02/chelsa/global/bioclim"
    write_raster(folder / "bio1/1981-2010/CHELSA_bio1_1981-2010_V.2.1.tif", kelvin, (88, 33), 1 / 120, nodata=65535,
                 scale=0.1, offset=-273.15)  # fmt: skip
    rain = (300 + 500 * surface(600, 600, 2)).astype("uint16")
    write_raster(folder / "bio12/1981-2010/CHELSA_bio12_1981-2010_V.2.1.tif", rain, (88, 33), 1 / 120, nodata=65535)
    _soilgrids(root)
    bedrock = (100 + 3000 * surface(500, 500, 3)).astype("int32")
    write_raster(root / "soilgrids/former/2017-03-10/data/BDTICM_M_250m_ll.tif", bedrock, (88, 33), 1 / 100,
                 nodata=-99999)  # fmt: skip
    classes = np.array([10, 30, 60, 80], "uint8")[(surface(360, 360, 4) * 3.99).astype(int)]
    write_raster(root / "v200/2021/map/ESA_WorldCover_10m_2021_v200_N27E090_Map.tif", classes, (90, 30), 3 / 360,
                 nodata=0, overview_resampling="mode")  # fmt: skip
    write_raster(root / "v200/2021/map/ESA_WorldCover_10m_2021_v200_N30E090_Map.tif", classes[::-1].copy(), (90, 33),
                 3 / 360, nodata=0, overview_resampling="mode")  # fmt: skip
    return root


def _soilgrids(root: Path) -> None:
    """Two tiles in Homolosine behind a VRT whose sources are relative, as the original has them."""
    from pyproj import Transformer

    x, y = Transformer.from_crs(4326, HOMOLOSINE, always_xy=True).transform([89.0, 92.5], [31.8, 28.5])
    left, top, cell = 1000 * np.floor(min(x) / 1000) - 200_000, 1000 * np.ceil(max(y) / 1000) + 100_000, 1000.0
    rows, columns = 600, 400
    for name, low, high in (("clay", 100, 400), ("sand", 300, 500), ("silt", 200, 300), ("soc", 50, 900)):
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


def catalogue_of(mirror: Mirror, path: Path) -> Path:
    """The package's own catalogue with the hosts replaced by the mirror's."""
    import re
    from importlib.resources import files

    text = files("tpsoil.sources").joinpath("catalogue.toml").read_text(encoding="utf-8")
    text = re.sub(r'url = "https://[^/]+/', f'url = "{mirror.address}/', text)
    path.write_text(text, encoding="utf-8")
    return path
