"""Location of a map: base map, coast, borders, rivers, cities, graticule, scale bar and a globe beside it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.patches import Circle, Rectangle
from pyproj import CRS

from tpsoil.reports.geography import Context, Plane, context_of, geography, graticule_of
from tpsoil.reports.geography.placing import edges_of

from . import palette
from .reading import Picture

Floats = npt.NDArray[np.float64]
Frame = tuple[float, float, float, float]

CITIES: Final = 12
EARTH_RADIUS_M: Final = 6_371_000.0


def plane_of(picture: Picture, frame: Frame) -> Plane | None:
    """The drawn frame in the CRS's own unit; None where the layer has no CRS."""
    if picture.crs is None:
        return None
    left, right, bottom, top = (picture.crs_units * value for value in frame)
    return Plane(CRS.from_user_input(picture.crs), (left, bottom, right, top))


def draw_geography(axes: Axes, picture: Picture, frame: Frame) -> None:
    """Base map below the cells; coast, borders, rivers, cities and graticule above them.

    Parameters
    ----------
    axes : Axes
    picture : Picture
    frame : (left, right, bottom, top)
        In the picture's unit.
    """
    plane = plane_of(picture, frame)
    if plane is None:
        return
    scale = 1.0 / picture.crs_units
    context = context_of(plane)
    _polygons(axes, frame, context, scale)
    for lines, colour, width, order, gid in (
        (context.rivers, palette.RIVER, 0.5, 4.0, "rivers"),
        (context.coast, palette.COAST, 0.7, 4.2, "coast"),
        (context.borders, palette.BORDER, 0.8, 4.3, "borders"),
    ):
        style: Any = (0, (5, 2)) if gid == "borders" else "solid"
        axes.add_collection(
            LineCollection([scale * line for line in lines], colors=colour, linewidths=width, linestyles=style,
                           zorder=order, gid=gid), autolim=False,
        )  # fmt: skip
    _graticule(axes, plane, scale)
    _cities(axes, context, frame, scale)


def draw_globe(axes: Axes, plane: Plane) -> None:
    """A small globe with the outline of the map, below the colour bar."""
    west, south, east, north = plane.area_deg()
    middle = 0.5 * (west + east), float(np.clip(0.5 * (south + north), -80, 80))
    globe = Plane(CRS.from_proj4(f"+proj=ortho +lon_0={middle[0]} +lat_0={middle[1]} +R={EARTH_RADIUS_M}"),
                  (-EARTH_RADIUS_M, -EARTH_RADIUS_M, EARTH_RADIUS_M, EARTH_RADIUS_M))  # fmt: skip
    shape = _shape(axes)
    width = min(0.1 if shape > 1.2 else 0.115, 0.22 / shape)  # below a bar that leaves 0.28 of the height
    inset = axes.inset_axes((1.015, 0.0, width, width * shape))
    inset.set_gid("globe")
    inset.set_in_layout(False)  # it is placed below the colour bar or legend
    inset.add_patch(Circle((0, 0), 1, facecolor=palette.WATER, edgecolor=palette.QUIET, linewidth=0.6, zorder=1))
    rings = []
    for ring in geography("110m").land:
        placed = globe.to_map(ring) / EARTH_RADIUS_M
        visible = np.asarray(np.isfinite(placed).all(axis=1))
        if visible.all():
            rings.append(placed)
        elif visible.sum() > 3:
            # A ring that is partly behind the globe is closed along its limb.
            rings.append(_along_limb(placed, int(np.flatnonzero(~visible)[0])))
    inset.add_collection(PolyCollection(rings, facecolors=palette.GLOBE_LAND, edgecolors="none", zorder=2))
    placed = globe.to_map(edges_of((west, south, east, north), 30)) / EARTH_RADIUS_M
    inset.plot(*placed[np.isfinite(placed).all(axis=1)].T, color=palette.WARNING, linewidth=1.4, zorder=3, gid="here")
    inset.set(xlim=(-1.04, 1.04), ylim=(-1.04, 1.04), aspect="equal")
    inset.set_axis_off()


def draw_scale(axes: Axes, picture: Picture, frame: Frame) -> None:
    """A scale bar of a round length below the frame, where it covers no cell."""
    left, right, bottom, top = frame
    length_m = round_length((right - left) * picture.metres / 5)
    length = length_m / picture.metres
    height, y = 0.012 * (top - bottom), bottom - 0.115 * (top - bottom)
    x = right - length
    text = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    if picture.unit == "°":
        text += f" at {abs((top + bottom) / 2):.0f}°{'N' if top + bottom >= 0 else 'S'}"
    for part, colour in ((0, palette.INK), (0.5, "white")):
        axes.add_patch(Rectangle((x + part * length, y), length / 2, height, facecolor=colour, edgecolor=palette.INK,
                                 linewidth=0.6, zorder=6, gid=f"scale-bar-{length_m:g}-m", clip_on=False))  # fmt: skip
    axes.text(x + length / 2, y - 0.6 * height, text, ha="center", va="top", fontsize=7.5, color=palette.INK,
              zorder=6, gid="scale", clip_on=False)  # fmt: skip


def round_length(metres: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is not longer.

    Examples
    --------
    >>> round_length(730.0), round_length(49.0)
    (500.0, 20.0)
    """
    power = 10.0 ** np.floor(np.log10(max(metres, 1e-9)))
    return float(max(n for n in (1, 2, 5) if n * power <= metres * (1 + 1e-9)) * power)


def _polygons(axes: Axes, frame: Frame, context: Context, scale: float) -> None:
    left, right, bottom, top = frame
    axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, facecolor=palette.WATER, edgecolor="none",
                             zorder=0.5, gid="sea"))  # fmt: skip
    for rings, colour, order, gid in ((context.land, palette.OUTSIDE, 0.6, "land"),
                                      (context.lakes, palette.WATER, 0.7, "lakes")):  # fmt: skip
        axes.add_collection(PolyCollection([scale * ring for ring in rings], facecolors=colour, edgecolors="none",
                                           zorder=order, gid=gid), autolim=False)  # fmt: skip


def _graticule(axes: Axes, plane: Plane, scale: float) -> None:
    net = graticule_of(plane)
    axes.add_collection(
        LineCollection([scale * line for line in net.lines], colors="white", linewidths=0.5, alpha=0.45, zorder=3.5,
                       gid="graticule"), autolim=False,
    )  # fmt: skip
    axes.set_xticks([scale * at for at, _ in net.bottom], [text for _, text in net.bottom])
    axes.set_yticks([scale * at for at, _ in net.left], [text for _, text in net.left])


def _cities(axes: Axes, context: Context, frame: Frame, scale: float) -> None:
    """City names beside dots, in order of importance, without overlap and inside the frame."""
    left, right, bottom, top = frame
    width, height = right - left, top - bottom
    placed: list[tuple[float, float, float, float]] = []
    halo = [patheffects.withStroke(linewidth=1.8, foreground="white", alpha=0.85)]
    for city, x0, y0 in context.cities:
        x, y = scale * x0, scale * y0
        reach = 0.0125 * len(city.name) * width
        to_left = x + reach > right - 0.02 * width
        box = (x - reach, y - 0.03 * height, x, y) if to_left else (x, y - 0.03 * height, x + reach, y)
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in placed):
            continue
        if box[0] < left or y > top - 0.04 * height or y < bottom + 0.03 * height:
            continue
        placed.append((box[0], y - 0.035 * height, box[2], y + 0.035 * height))
        axes.plot([x], [y], marker="o", markersize=2.6, color=palette.INK, markeredgecolor="white",
                  markeredgewidth=0.5, zorder=5, gid="city")  # fmt: skip
        axes.annotate(
            city.name, (x, y), xytext=(-3.5 if to_left else 3.5, 0), textcoords="offset points", fontsize=6.8,
            ha="right" if to_left else "left", va="center", color=palette.INK, zorder=5, path_effects=halo,
            gid="city name",
        )  # fmt: skip
        if len(placed) == CITIES:
            return


def _shape(axes: Axes) -> float:
    """Width over height of the drawn axes, from its limits and aspect."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    aspect = axes.get_aspect()
    ratio = float(aspect) if aspect != "auto" else 1.0
    return (right - left) / ((top - bottom) * ratio)


def _along_limb(placed: Floats, start: int) -> Floats:
    """The visible stretch of a ring; the part behind the globe is omitted, its ends joined along the limb."""
    order = np.roll(np.arange(len(placed)), -start)
    points = placed[order]
    visible = np.asarray(np.isfinite(points).all(axis=1)).tolist()
    result: list[Floats] = []
    previous: Floats | None = None
    for point, is_visible in zip(points, visible, strict=True):
        if not is_visible:
            continue
        if previous is not None and result and np.hypot(*(point - previous)) > 0.2:
            a, b = np.arctan2(previous[1], previous[0]), np.arctan2(point[1], point[0])
            turn = (b - a + np.pi) % (2 * np.pi) - np.pi
            angles = a + np.linspace(0, turn, 12)
            result += [np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
        result.append(point)
        previous = point
    return np.array(result)
