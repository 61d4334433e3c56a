"""Layers as stored in a page: values without loss, colours, and position on the map."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import to_hex
from pyproj import Transformer

from tpsoil.display import cell_text

from .figures import palette
from .figures.reading import Picture, ordinal
from .figures.stretch import rounded_scale

NODES: Final = 33
"""Nodes along each side of the coarse grid of longitudes and latitudes; between them the page interpolates."""


def pack_values(values: npt.NDArray[np.float64], kind: str) -> tuple[str, str]:
    """Values as text for a page.

    Parameters
    ----------
    values : ndarray (rows, columns), float64
        NaN: no value.
    kind : str
        Classes become integers, all else float32.

    Returns
    -------
    text : str
        Base64 of a zlib stream of the little-endian values, bytes grouped by position: all first bytes, then all
        second ones. Neighbouring cells share their high bytes, so this compresses better, without loss.
    dtype : str
        "float32", "uint8" (255: no value) or "int32" (the smallest integer: no value).

    Examples
    --------
    >>> pack_values(np.array([[1.0, np.nan]]), "categorical")[1]
    'uint8'
    """
    if kind != "categorical":
        array, dtype = values.astype("<f4"), "float32"
    else:
        present = values[np.isfinite(values)]
        small = not present.size or (present.min() >= 0 and present.max() < 255)
        dtype = "uint8" if small else "int32"
        nothing = 255 if small else np.iinfo(np.int32).min
        array = np.where(np.isfinite(values), values, nothing).astype("u1" if small else "<i4")
    return _packed(array), dtype


STEPS: Final = 1000
"""Steps between the minimum and the maximum of a layer in a page with rounded values."""


def pack_rounded(values: npt.NDArray[np.float64], *, logarithmic: bool) -> tuple[str, dict[str, Any]]:
    """Values of a continuous layer in equal steps, as text for a page that would otherwise be too large.

    Parameters
    ----------
    values : ndarray (rows, columns), float64
        NaN: no value.
    logarithmic : bool
        Steps of the logarithm; only where all values are positive.

    Returns
    -------
    text : str
        Base64 of a zlib stream of uint16 differences along the rows, low bytes first; 0: no value, n: step n - 1.
    meta : dict
        `dtype` "steps", `from` and `step` in the unit or its logarithm, `log`.

    Notes
    -----
    The error is at most half a step: 1/2000 of the layer's range, or of the range of its logarithm.

    Examples
    --------
    >>> pack_rounded(np.array([[0.0, 1000.0, np.nan]]), logarithmic=False)[1]["step"]
    1.0
    """
    finite = np.isfinite(values)
    log = logarithmic and bool(finite.any()) and bool((values[finite] > 0).all())
    scaled = np.log(np.where(finite, values, 1.0)) if log else np.where(finite, values, 0.0)
    low, high = (float(scaled[finite].min()), float(scaled[finite].max())) if finite.any() else (0.0, 0.0)
    step = (high - low) / STEPS or 1.0
    codes = np.where(finite, np.rint((scaled - low) / step) + 1, 0).astype(np.uint16)
    differences = np.diff(codes, axis=1, prepend=np.zeros((len(codes), 1), np.uint16)).astype("<u2")
    return _packed(differences), {"dtype": "steps", "from": low, "step": step, "log": log}


def _packed(array: npt.NDArray[Any]) -> str:
    """Bytes of numbers, compressed: all first bytes, then all second ones, and so on."""
    shuffled = np.ascontiguousarray(array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize).T)
    return base64.b64encode(zlib.compress(shuffled.tobytes(), 9)).decode()


def layer_of_page(layer: xr.DataArray, picture: Picture, packing: Mapping[str, Any]) -> dict[str, Any]:
    """Name, colours, ticks, classes and lines of text of one layer.

    Parameters
    ----------
    layer : DataArray (y, x)
    picture : Picture
        The cells shown in the page.
    packing : mapping
        `dtype` of `pack_values`, or what `pack_rounded` gives.

    Returns
    -------
    dict
        Plain values for JSON.
    """
    values = picture.values
    finite = values[np.isfinite(values)]
    units = palette.layer_units(layer)
    unit = "" if units in {"", "1"} else palette.unit_text(units)
    title = palette.marked(palette.layer_title(layer), layer)
    shown: dict[str, Any] = {"name": str(layer.name), "title": title, "unit": unit, **packing}
    comment = str(layer.attrs.get("comment", ""))
    # The case of a symbol, such as h0, is not changed.
    plain = comment.partition(" ")[0].isalpha() and not comment.startswith("ddof")
    lines = [f"{palette.capitalised(comment) if plain else comment}."] if comment else []
    if palette.layer_kind(layer) == "categorical":
        shown["classes"] = _classes(layer, picture)
        classes_present = [c for c in shown["classes"] if c["share"]]
        alt = f"Map of {title}: " + (
            ", ".join(f"{c['name']} {c['share']}" for c in classes_present) or "no class anywhere"
        )
    elif not finite.size:
        shown |= {"low": 0.0, "high": 1.0, "log": False, "colours": _colours("viridis"), "ticks": []}
        alt = f"Map of {title}: no cell has a value"
    else:
        log = str(layer.name) in palette.LOGARITHMIC and bool((finite > 0).any())
        usable = np.where(values > 0, values, np.nan) if log else values
        colour_map = palette.colour_map(layer)
        kind = palette.layer_kind(layer)
        scale = rounded_scale(usable, logarithmic=log, kind=kind, cmap=colour_map)
        if scale.classes:
            shown["breaks"] = scale.ticks
        ticks = [palette.number_text(v) for v in reversed(scale.ticks)]
        ticks[0] = ("≥ " if scale.extend in {"both", "max"} else "") + ticks[0]
        ticks[-1] = ("≤ " if scale.extend in {"both", "min"} else "") + ticks[-1]
        shown |= {"low": scale.low, "high": scale.high, "log": log, "colours": _colours(colour_map), "ticks": ticks}
        minimum, mean, maximum = (cell_text(float(v)) for v in (finite.min(), finite.mean(), finite.max()))
        spread = f"{minimum} to {maximum}, mean {mean}"
        lines.append(f"{spread}{' ' + unit if unit else ''}, over {finite.size} cells.")
        alt = f"Map of {title}: {spread} {unit}".rstrip()
    if not finite.size:
        lines.append("No cell has a value.")
    elif finite.size < values.size:
        lines.append(f"{values.size - finite.size} of {values.size} cells have no value.")
    if picture.step > 1:
        lines.append(f"Shown: every {ordinal(picture.step)} row and column of the store.")
    return {**shown, "lines": lines, "alt": alt}


def _classes(layer: xr.DataArray, picture: Picture) -> list[dict[str, Any]]:
    values = picture.values
    present = {int(code) for code in np.unique(values[np.isfinite(values)])}
    names = palette.class_names(layer)
    codes = sorted(set(names) | present)
    colours = palette.class_colours(str(layer.name), codes)
    return [
        {
            "code": code, "name": palette.class_name(layer, code, names), "colour": colours[code],
            "share": f"{picture.share(values == code, np.isfinite(values)):.1f} %" if code in present else "",
        }
        for code in codes
    ]  # fmt: skip


def _colours(name: str) -> str:
    """256 colours as one string of hexadecimal digits."""
    return "".join(to_hex(colour)[1:] for colour in colormaps[name](np.arange(256) / 255.0))


def grid_of_page(layer: xr.DataArray, picture: Picture) -> dict[str, Any]:
    """Position of the cells: exact in the CRS, in longitude and latitude by a coarse grid of nodes.

    Parameters
    ----------
    layer : DataArray (y, x)
    picture : Picture

    Returns
    -------
    dict
        `grid` and `lonlat`; plain values for JSON.
    """
    left, right, bottom, top = picture.bounds
    rows, columns = layer.transpose("y", "x").shape
    drawn_rows, drawn_columns = picture.values.shape
    dx, dy = (right - left) / columns, (top - bottom) / rows
    geographic = picture.unit == "°"
    grid = {
        "rows": drawn_rows, "columns": drawn_columns, "step": picture.step, "first": picture.first, "left": left,
        "top": top, "dx": dx, "dy": dy, "unit": picture.unit,
        "xName": "longitude" if geographic else "easting", "yName": "latitude" if geographic else "northing",
        "places": int(np.clip(np.ceil(-np.log10(max(min(dx, dy), 1e-9))) + 1, 0, 8)),
        "cellMetres": picture.metres * dx * picture.step,
        "cellHeight": picture.stretch * dy / dx,
    }  # fmt: skip
    crs = layer.odc.crs
    nodes = None
    if crs is not None and not geographic:
        x, y = np.meshgrid(np.linspace(left, picture.extent[1], NODES), np.linspace(top, picture.extent[2], NODES))
        to_degrees = Transformer.from_crs(crs.proj, 4326, always_xy=True)
        lon, lat = to_degrees.transform(x * picture.crs_units, y * picture.crs_units)
        if np.isfinite(lon).all() and np.isfinite(lat).all():
            nodes = {
                "n": NODES, "lon": np.round(lon, 5).ravel().tolist(), "lat": np.round(lat, 5).ravel().tolist(),
            }  # fmt: skip
    return {"grid": grid, "lonlat": nodes}
