"""Coast, borders, rivers, cities and graticule lie where they lie on Earth, on any map."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from pyproj import CRS

from tpsoil.grid import PLATEAU_CRS, coordinates, plateau_grid
from tpsoil.reports import figures
from tpsoil.reports.figures import ground, palette
from tpsoil.reports.geography import Plane, cities, context_of, geography, graticule_of
from tpsoil.reports.geography.store import FILE

PLATEAU = Plane(CRS(PLATEAU_CRS), (-1.34e6, -0.9e6, 1.46e6, 0.9e6))


def distance(parts: tuple[np.ndarray, ...], x: float, y: float) -> float:
    point = shapely.Point(x, y)
    return min(shapely.LineString(part).distance(point) for part in parts)


@pytest.mark.parametrize(
    ("place", "longitude", "latitude"),
    [
        ("Mount Everest, China and Nepal", 86.925, 27.988),
        ("Khunjerab Pass, China and Pakistan", 75.42, 36.85),
        ("Nathu La, China and India", 88.83, 27.39),
    ],
)
def test_borders_lie_where_three_known_places_are(place: str, longitude: float, latitude: float) -> None:
    # 0.15 degrees: Natural Earth at 1 : 50 million is generalised by about 10 km
    assert distance(geography("50m").borders, longitude, latitude) < 0.15, place
    x, y = PLATEAU.to_map(np.array([[longitude, latitude]]))[0]
    assert distance(context_of(PLATEAU).borders, x, y) < 15_000, place


@pytest.mark.parametrize(
    ("lake", "longitude", "latitude"), [("Qinghai", 100.2, 36.9), ("Nam Co", 90.6, 30.7), ("Caspian Sea", 51.0, 41.5)]
)
def test_lakes_are_water(lake: str, longitude: float, latitude: float) -> None:
    point = shapely.Point(longitude, latitude)
    assert any(shapely.Polygon(ring).contains(point) for ring in geography("50m").lakes), lake


def test_land_is_land_and_sea_is_sea() -> None:
    land = [shapely.Polygon(ring) for ring in geography("110m").land]
    for longitude, latitude, dry in ((91.1, 29.65, True), (2.3, 48.8, True), (-30.0, 40.0, False), (65.0, 15.0, False)):
        assert any(polygon.contains(shapely.Point(longitude, latitude)) for polygon in land) is dry


def test_the_bundle_is_small_and_its_cities_are_on_land() -> None:
    assert FILE.stat().st_size < 1_000_000
    land = shapely.union_all([shapely.make_valid(shapely.Polygon(ring)) for ring in geography("50m").land])
    away = [city.name for city in cities() if land.distance(shapely.Point(city.longitude, city.latitude)) > 0.5]
    assert len(away) <= 12  # island states below the scale's generalisation
    assert {"Lhasa", "Xining", "Kathmandu"} <= {city.name for city in cities()}


def test_a_graticule_has_round_degrees_at_the_right_position() -> None:
    net = graticule_of(PLATEAU)
    assert [text for _, text in net.bottom] == ["80°E", "90°E", "100°E"]
    assert [text for _, text in net.left] == ["25°N", "30°N", "35°N", "40°N"]
    for at, text in net.bottom:
        # Independent: the longitude of that point of the lower edge, by the inverse projection.
        from pyproj import Transformer

        back = Transformer.from_crs(PLATEAU.crs, 4326, always_xy=True)
        assert back.transform(at, -0.9e6)[0] == pytest.approx(float(text[:-2]), abs=1e-3)


@pytest.mark.parametrize(
    ("crs", "bounds"),
    [
        ("EPSG:4326", (170.0, -50.0, 190.0, -30.0)),  # across the date line in its own numbers
        ("EPSG:32601", (2e5, 7e6, 9e5, 8e6)),  # across the date line
        ("EPSG:3995", (-4e6, -4e6, 4e6, 4e6)),  # around the pole
        ("EPSG:3031", (-3e6, -3e6, 3e6, 3e6)),
        ("EPSG:4326", (-180.0, -90.0, 180.0, 90.0)),
        ("EPSG:4326", (91.0, 29.6, 91.2, 29.7)),
    ],
)
def test_odd_regions_have_geography_without_streaks(crs: str, bounds: tuple[float, float, float, float]) -> None:
    plane = Plane(CRS(crs), bounds)
    context, net = context_of(plane), graticule_of(plane)
    reach = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    for line in (*context.coast, *context.borders, *context.rivers):
        assert np.isfinite(line).all()
        # A streak is a step across the map between two neighbouring points of a line.
        assert np.hypot(*np.diff(line, axis=0).T).max() < 0.6 * reach + 1e-9
    assert all(np.isfinite(line).all() for line in net.lines)
    assert len({text for _, text in net.bottom}) == len(net.bottom)


def test_no_land_of_another_continent_lies_across_a_map_of_europe() -> None:
    plane = Plane(CRS("EPSG:3035"), (2.5e6, 1.4e6, 7.4e6, 5.5e6))
    atlantic = shapely.Point(plane.to_map(np.array([[-20.0, 57.0]]))[0])
    sea = shapely.Point(plane.to_map(np.array([[5.0, 67.5]]))[0])  # at the latitude of Chukotka, which ends at 180
    land = [shapely.make_valid(shapely.Polygon(ring)) for ring in context_of(plane).land]
    assert not any(polygon.contains(point) for polygon in land for point in (atlantic, sea))


def test_the_first_cities_are_the_important_ones() -> None:
    names = [city.name for city in cities() if city.rank == 1]
    assert names.index("Paris") < names.index("Vaduz")
    assert not any("?" in name for name in names)


def test_new_zealand_is_drawn_on_both_sides_of_the_date_line() -> None:
    context = context_of(Plane(CRS("EPSG:4326"), (165.0, -48.0, 190.0, -10.0)))
    assert min(ring[:, 0].min() for ring in context.land) < 172
    assert any(ring[:, 0].min() >= 180 for ring in context.land)  # Fiji's and Tonga's eastern islands


def test_a_map_has_coast_borders_rivers_cities_a_graticule_and_a_globe() -> None:
    grid = plateau_grid(50_000)
    layer = xr.DataArray(np.ones(grid.shape, "f4"), dims=("y", "x"), coords=coordinates(grid), name="slope")
    figure = figures.map_layer(layer)
    axes = figure.axes[0]
    ids = {c.get_gid() for c in axes.collections} | {line.get_gid() for line in axes.lines}
    assert {"coast", "borders", "rivers", "lakes", "land", "graticule", "city"} <= ids
    assert [child.get_gid() for child in axes.child_axes] == ["globe"]
    assert "Lhasa" in [text.get_text() for text in axes.texts]
    FigureCanvasAgg(figure).draw()
    frame = axes.get_window_extent()
    for text in axes.texts:
        if text.get_gid() == "city name":
            box = text.get_window_extent()
            assert frame.x0 - 1 <= box.x0
            assert box.x1 <= frame.x1 + 1


def test_a_plain_array_without_a_crs_has_no_geography() -> None:
    layer = xr.DataArray(np.ones((3, 4)), dims=("y", "x"), name="slope")
    axes = figures.map_layer(layer).axes[0]
    assert not axes.child_axes
    assert not {c.get_gid() for c in axes.collections} & {"coast", "borders"}


def test_a_map_is_cropped_to_its_cells() -> None:
    grid = plateau_grid(50_000)
    values = np.full(grid.shape, np.nan, "f4")
    values[10:14, 20:30] = 1
    layer = xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid), name="slope")
    left, right = figures.map_layer(layer).axes[0].get_xlim()
    assert (left, right) == pytest.approx((-1340 + 1000 - 15, -1340 + 1500 + 15))


def lab(colour: str) -> np.ndarray:
    """CIE L*a*b* (D65) of an sRGB colour."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(matrix) @ linear / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_no_two_meanings_share_a_fill_and_all_differ_clearly() -> None:
    fills = {name: lab(fill) for name, fill in ground.MEANINGS.values()}
    assert len(fills) == len(ground.MEANINGS) == 5
    names = sorted(fills)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            # 2.3 is just noticeable side by side; 15 is seen at once, also between small areas.
            assert np.linalg.norm(fills[first] - fills[second]) > 15, (first, second)
    for _, fill in ground.MEANINGS.values():  # labels and hatching are read on every fill: WCAG 2.2 AA
        paper, ink = lab(fill)[0], lab(palette.INK)[0]
        light, dark = (((value + 16) / 116) ** 3 if value > 8 else value * 27 / 24389 for value in (paper, ink))
        assert (light + 0.05) / (dark + 0.05) > 4.5


def test_every_reason_for_a_missing_value_has_its_own_code() -> None:
    missing, masked, water, ice = (np.zeros((7, 9), bool) for _ in range(4))
    masked[0] = masked[2, 3] = masked[2, 5] = masked[4, 3] = True
    water[2, 3] = ice[2, 5] = water[5, 5] = True
    missing[6, :2] = missing[4, 6] = True
    codes = ground.ground_codes(missing, masked, water, ice)
    assert [codes[place] for place in ((0, 4), (6, 1), (2, 3), (2, 5), (4, 3), (4, 6))] == [
        ground.OUTSIDE, ground.OUTSIDE, ground.WATER, ground.ICE, ground.MASKED, ground.NO_DATA]  # fmt: skip
    assert codes[5, 5] != ground.WATER  # it has a value


def test_the_legend_names_what_a_map_omits() -> None:
    grid = plateau_grid(50_000)
    values, cover = np.ones(grid.shape, "f4"), np.full(grid.shape, 10, "u1")
    cover[10:14, 10:14], cover[10:14, 30:34] = 0, 15  # IGBP: water; snow and ice
    mask = np.where(cover == 10, 1, 0).astype("u1")
    mask[20:23, 20:24] = 0
    values[25:28, 30:34] = np.nan
    layers = {"slope": values, "land_cover": cover, "soil_mask": mask}
    store = xr.Dataset({name: (("y", "x"), data) for name, data in layers.items()}, coordinates(grid))
    figure = figures.map_layer(store, "slope", mask=store["soil_mask"])
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["water", "ice or snow", "masked: no soil", "no data"]
