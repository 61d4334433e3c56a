"""Maps and viewer with odd input: one value, none, infinite ones, many orders of magnitude, poles, the date line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from odc.geo.geobox import GeoBox

import tpsoil
from tpsoil.cube import create_cube, create_layers, open_cube
from tpsoil.grid import PLATEAU_CRS, coordinates, grid_from_bounds, plateau_grid
from tpsoil.points import project_points
from tpsoil.reports import figures, page_html
from tpsoil.reports.figures.reading import read_picture
from tpsoil.reports.overlay import geography_of_page
from tpsoil.variables import variable

GRID = plateau_grid(100_000)  # 18 x 28
RANGE = np.geomspace(1e-8, 1e2, GRID.shape[0] * GRID.shape[1]).reshape(GRID.shape)
ODD = {
    "one value": np.full(GRID.shape, 7.0),
    "all missing": np.full(GRID.shape, np.nan),
    "infinite": np.where(RANGE > 1, np.inf, np.where(RANGE < 1e-6, -np.inf, RANGE)),
    "ten orders of magnitude": RANGE,
    "zero and one": np.where(RANGE > 1, 1.0, 0.0),
    "near the limits of float32": np.where(RANGE > 1, 3.3e38, -3.3e38),
}


def layer(values: np.ndarray, name: str, grid: GeoBox = GRID) -> xr.DataArray:
    return xr.DataArray(values.astype("f4"), coords=coordinates(grid), dims=("y", "x"), name=name)


def render(figure: Figure) -> None:
    FigureCanvasAgg(figure).draw()


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", ["slope", "erosion_rate", "general_curvature"])  # linear or classes, log, diverging
def test_an_odd_layer_has_a_map(kind: str, name: str) -> None:
    render(figures.map_layer(layer(ODD[kind], name)))


def test_odd_layers_have_a_page_and_a_viewer() -> None:
    store = xr.Dataset({kind.replace(" ", "_"): layer(values, kind) for kind, values in ODD.items()})
    store["erosion_rate"] = layer(ODD["ten orders of magnitude"], "erosion_rate")
    text = tpsoil.explore(store).page
    assert len(text) < 400_000
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', text, re.DOTALL).group(1))  # type: ignore[union-attr]
    by_name = {entry["name"]: entry for entry in meta["layers"]}
    assert "No cell has a value." in by_name["all_missing"]["lines"]
    assert by_name["erosion_rate"]["log"] is True
    assert all(entry["low"] < entry["high"] for entry in meta["layers"])
    assert "same everywhere" in page_html(store[["one_value"]])


@pytest.mark.parametrize(
    ("crs", "corner", "cell"),
    [
        ("EPSG:4326", (170.0, -30.0), 1.0),  # across the date line in its own numbers
        ("EPSG:32601", (2e5, 8e6), 40_000.0),  # across the date line
        ("EPSG:3995", (-4e6, 4e6), 400_000.0),  # around the North Pole
        ("EPSG:3031", (-3e6, 3e6), 300_000.0),
        ("EPSG:4326", (-180.0, 90.0), 7.5),  # from the date line, with the pole itself
    ],
)
def test_a_region_across_the_date_line_or_at_a_pole_has_map_and_viewer(
    crs: str, corner: tuple[float, float], cell: float
) -> None:
    grid = GeoBox((20, 20), Affine(cell, 0, corner[0], 0, -cell, corner[1]), crs)
    values = np.arange(400.0).reshape(20, 20)
    values[8:11, 8:11] = np.nan
    shown = layer(values, "slope", grid)
    render(figures.map_layer(shown))
    geography = geography_of_page(read_picture(shown))
    assert geography is not None
    for kind in ("land", "coast", "borders", "rivers", "net"):
        for part in geography[kind]:
            positions = np.reshape(part, (-1, 2))
            assert np.isfinite(positions).all()
            # A streak is a step across the map between neighbouring points; a simplified meridian is a long straight.
            if kind in {"coast", "borders", "rivers"}:
                assert np.hypot(*np.diff(positions, axis=0).T).max() < 12
    assert "<iframe" in tpsoil.explore(shown.to_dataset())._repr_html_()


def test_a_missing_font_does_not_stop_a_map(caplog: pytest.LogCaptureFixture) -> None:
    with rc_context({"font.family": ["No such font of any machine"]}):
        render(figures.map_layer(layer(ODD["ten orders of magnitude"], "erosion_rate")))
    assert "not found" in caplog.text  # matplotlib reports it, and draws with its own font


def test_a_store_that_is_being_written_shows_what_is_complete(tmp_path: Path) -> None:
    where = tmp_path / "cube.zarr"
    create_cube(where, GRID)
    tpsoil.add_layer(where, "elevation", layer(ODD["one value"], "elevation").assign_attrs(units="m"))
    create_layers(where, [variable("slope")])
    with pytest.warns(UserWarning, match="slope left out, because writing did not end"):
        viewer = tpsoil.explore(where)
    assert viewer.layers == ("elevation",)
    with pytest.warns(UserWarning, match="slope left out"):
        assert "slope" not in open_cube(where)


def test_a_map_in_feet_is_measured_in_metres() -> None:
    """A thousand feet were drawn as a kilometre."""
    grid = grid_from_bounds("EPSG:2263", (900_000, 100_000, 1_000_000, 180_000), 1000)
    slope = layer(np.linspace(0, 9, grid.shape[0] * grid.shape[1]).reshape(grid.shape), "slope", grid)
    picture = read_picture(slope)
    assert "cells of 304.8 m" in picture.note
    assert picture.extent[1] - picture.extent[0] == pytest.approx(30.48, rel=1e-5)
    assert picture.cell_m == pytest.approx(304.8, rel=1e-5)
    figure = figures.map_layer(slope)
    bars = [p for p in figure.axes[0].patches if str(p.get_gid()).startswith("scale-bar-5000")]
    assert sum(p.get_width() for p in bars) == pytest.approx(5.0)
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', page_html(slope.to_dataset()), re.DOTALL).group(1))  # type: ignore[union-attr]
    assert meta["grid"]["cellMetres"] == pytest.approx(304.8, rel=1e-5)
    assert 40 < meta["lonlat"]["lat"][0] < 41
    assert -75 < meta["lonlat"]["lon"][0] < -73
    assert meta["geo"]["land"]


def test_sites_lie_where_they_are_on_a_map_of_every_second_cell() -> None:
    """The drawn cells extend beyond the grid by less than a stride: the sites were stretched with them."""
    grid = grid_from_bounds(PLATEAU_CRS, (-1_340_000, 0, 161_000, 10_000), 1000)
    slope = layer(np.ones(grid.shape), "slope", grid)
    sites = pd.DataFrame({"lon": [80.0, 90.0], "lat": [33.0, 33.05]})
    figure = figures.sampling_map(slope, sites)
    offsets = next(c for c in figure.axes[0].collections if c.get_gid() == "sites").get_offsets()
    expected = np.column_stack(project_points(sites["lon"], sites["lat"], grid)) / 1000
    np.testing.assert_allclose(offsets, expected, rtol=1e-9)
