"""Figures of places: units, common scales, crops, and what a page draws from the tables of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.reports.charts import region_figures
from tpsoil.reports.figures import maps_compared, sensitivity_bars, side_by_side, study_area, transect_place
from tpsoil.reports.figures.regions import cropped

GRID = plateau_grid(50_000)
BOX = (85.0, 30.0, 95.0, 36.0)


def layer(name: str, values: float | np.ndarray, units: str = "m", **attrs: object) -> xr.DataArray:
    array = np.broadcast_to(np.asarray(values, dtype="float32"), GRID.shape).copy()
    return xr.DataArray(array, coords=coordinates(GRID), dims=("y", "x"), name=name, attrs={"units": units, **attrs})


RELIEF = 4000 + 500 * np.random.default_rng(1).standard_normal(GRID.shape)
THICK = 0.5 + np.random.default_rng(2).random(GRID.shape)
STORE = xr.Dataset({
    "elevation": layer("elevation", RELIEF),
    "solum_thickness": layer("solum_thickness", THICK),
    "other_map": layer("other_map", 100 * THICK + 10, "cm", long_name="another map"),
    "difference_other_map": layer("difference_other_map", 0.0, "%", band=8.0),
})  # fmt: skip


def bars(figure: object) -> list[str]:
    return [axes.get_ylabel() for axes in figure.axes if axes.get_label() == "<colorbar>"]  # type: ignore[attr-defined]


def test_a_crop_holds_its_box_and_rejects_a_box_beside_the_grid() -> None:
    part = cropped(STORE["elevation"], BOX)
    assert part.sizes["x"] < GRID.shape[1]
    lon_degrees = (BOX[2] - BOX[0]) * np.cos(np.radians(33)) * 111.32e3
    assert part.sizes["x"] * 50_000 == pytest.approx(lon_degrees, rel=0.15)
    whole = STORE["elevation"]
    assert cropped(whole, None) is whole
    with pytest.raises(InputError, match="has no cell"):
        cropped(STORE["elevation"], (0.0, 0.0, 1.0, 1.0))


def test_maps_side_by_side_have_one_scale_and_one_unit() -> None:
    figure = side_by_side(
        {"ours": STORE["solum_thickness"], "theirs": STORE["other_map"]}, box=BOX, elevation=STORE["elevation"]
    )
    assert [a.get_title(loc="left") for a in figure.axes if a.get_title(loc="left")] == ["Topography", "ours", "theirs"]
    images = [a.images for a in figure.axes if a.get_title(loc="left") in {"ours", "theirs"}]
    limits = {image.get_clim() for group in images for image in group if image.get_gid() == "values"}
    assert len(limits) == 1
    assert max(next(iter(limits))) < 2  # m, though the other map is in cm
    assert all(text.endswith(", m") for text in bars(figure)[1:])
    with pytest.raises(InputError, match="in K"):
        side_by_side({"a": STORE["solum_thickness"], "b": layer("b", 1.0, "K")})
    with pytest.raises(InputError, match="no layers"):
        side_by_side({})


def test_the_difference_is_relative_to_the_other_map() -> None:
    figure = maps_compared(
        STORE["solum_thickness"], {"another map": 2 * STORE["solum_thickness"].assign_attrs(units="m")}
    )
    assert "% of the other map" in " ".join(bars(figure))
    assert "median" in " ".join(bars(figure))
    with pytest.raises(InputError, match="no other maps"):
        maps_compared(STORE["solum_thickness"], {})


def test_sites_and_windows_lie_where_they_belong() -> None:
    sites = pd.DataFrame({"lon": [89.0], "lat": [33.0], "observed_m": [0.8]})
    figure = study_area(STORE["elevation"], sites, windows={"box": BOX})
    points = next(c for c in figure.axes[0].collections if c.get_gid() == "sites")
    np.testing.assert_allclose(points.get_offsets(), [[0.0, 0.0]], atol=1e-6)  # the centre of the projection
    assert any(line.get_gid() == "window" for line in figure.axes[0].lines)
    with pytest.raises(InputError):
        study_area(STORE["elevation"], pd.DataFrame({"thickness": [1.0]}))


def test_the_line_of_a_transect_is_drawn_on_the_relief() -> None:
    table = pd.DataFrame({"distance_km": [0.0, 400.0], "x": [0.0, 4e5], "y": [0.0, 0.0], "solum_thickness": [1.0, 2.0]})
    figure = transect_place(STORE["elevation"], table)
    line = next(line for line in figure.axes[0].lines if line.get_gid() == "line")
    np.testing.assert_allclose(line.get_xdata(), [0.0, 400.0])
    with pytest.raises(InputError, match="lacks 'x'"):
        transect_place(STORE["elevation"], table.drop(columns="x"))


def test_the_largest_sensitivity_is_on_top() -> None:
    table = pd.DataFrame({"input": ["a", "h0", "a"], "change": "10 %", "zone": ["all", "all", "1"],
                          "decrease_m": [-0.01, -0.08, -0.5], "increase_m": [0.01, 0.08, 0.5]})  # fmt: skip
    labels = [text.get_text() for text in sensitivity_bars(table).axes[0].get_yticklabels()]
    assert labels == ["a ± 10 %", "h0 ± 10 %"]
    assert sensitivity_bars(table[table["zone"] == "1"]).axes[0].texts[0].get_gid() == "nothing"


def test_a_page_draws_what_the_tables_name_and_omits_what_the_store_lacks() -> None:
    windows = pd.DataFrame([
        {"window": "here", "layer": "solum_thickness", "west": 85.0, "south": 30.0, "east": 95.0, "north": 36.0},
        {"window": "far", "layer": "solum_thickness", "west": 0.0, "south": 0.0, "east": 1.0, "north": 1.0},
    ])  # fmt: skip
    line = pd.DataFrame({"distance_km": [0.0, 4.0], "x": [0.0, 4e5], "y": [0.0, 0.0], "solum_thickness": [1.0, 2.0]})
    tables = {"sites_solum": pd.DataFrame({"lon": [89.0], "lat": [33.0]}), "solum_windows": windows,
              "transect_across": line}  # fmt: skip
    names = [text for text, _ in region_figures(STORE, tables)]
    assert names == ["Study area with the profiles", "Other maps and the difference to them", "Maps in the window here",
                     "Transect across"]  # fmt: skip
    assert [text for text, _ in region_figures(STORE.drop_vars("elevation"), tables)] == names[1:3]
    assert region_figures(STORE[["elevation"]], {}) == []
