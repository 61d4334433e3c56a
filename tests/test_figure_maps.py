"""What the maps draw: limits, units, names, scale, CRS, date, the word simulated; and that they stay small."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure

from tpsoil.errors import AccessError, GridError, InputError, MissingInputError
from tpsoil.grid import coordinates, grid_from_bounds, plateau_grid
from tpsoil.reports import figures, tables
from tpsoil.reports.figures import palette, reading
from tpsoil.reports.figures.ground import mask_of
from tpsoil.variables import CATALOGUE, variable

GRID = plateau_grid(50_000)  # 36 x 56


def test_a_bar_of_small_numbers_has_its_power_of_ten_in_the_label_and_no_offset() -> None:
    for name, low, high, label in (
        ("general_curvature", -2e-5, 2e-5, "general curvature, ×10⁻⁵ m⁻¹"),
        ("elevation", 4000.0, 4001.0, "elevation above sea level, m"),
    ):
        figure = figures.map_layer(layer(name, ramp(low, high)))
        figure.canvas.draw()
        bar = next(image.colorbar for image in figure.axes[0].images if image.colorbar is not None)
        assert bar.ax.yaxis.get_offset_text().get_text() == ""
        assert bar.ax.get_ylabel() == label
        texts = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in bar.ax.get_yticklabels()]
        factor = 1e-5 if name == "general_curvature" else 1.0
        np.testing.assert_allclose([float(text) * factor for text in texts], bar.get_ticks(), rtol=1e-6, atol=1e-12)


def layer(name: str, values: Any, grid: Any = GRID, **attrs: Any) -> xr.DataArray:
    spec = variable(name)
    data = np.broadcast_to(np.asarray(values, dtype=spec.dtype), grid.shape).copy()
    return xr.DataArray(
        data, dims=("y", "x"), coords=coordinates(grid), name=name, attrs={**spec.attributes(), **attrs}
    )


def ramp(low: float, high: float, grid: Any = GRID) -> np.ndarray:
    """Grows to the east and, ten times slower, to the north, so that swapped axes show."""
    rows, columns = grid.shape
    y, x = np.mgrid[rows - 1 : -1 : -1, 0:columns]
    z = x / (columns - 1) + 0.1 * y / max(rows - 1, 1)
    return low + (high - low) * z / z.max()


def drawn(ax: Axes, gid: str = "values") -> Any:
    return next(image for image in ax.images if image.get_gid() == gid)


def bar_of(figure: Figure) -> Axes:
    return next(ax for ax in figure.axes if ax.get_label() == "<colorbar>")


def legend_texts(figure: Figure) -> list[str]:
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def message(figure: Figure) -> str:
    return " ".join(t.get_text() for ax in figure.axes for t in ax.texts if t.get_gid() == "nothing")


def render(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


# --- continuous maps -------------------------------------------------------------------------------------------


def test_a_map_draws_the_stores_values_in_their_place() -> None:
    data = layer("solum_thickness", ramp(0.4, 2.0))
    figure = figures.map_layer(data, limits=(0.4, 2.0))
    image = drawn(figure.axes[0])
    np.testing.assert_array_equal(image.get_array().filled(np.nan), data.values)
    assert image.get_clim() == (0.4, 2.0)
    # left, right, bottom, top in km, from PLATEAU_BOUNDS_M
    assert image.get_extent() == [-1340.0, 1460.0, -900.0, 900.0]
    assert figure.axes[0].get_xlim() == (-1340.0, 1460.0)
    assert figure.axes[0].get_aspect() == 1.0


def test_north_is_up_whatever_the_order_of_the_rows() -> None:
    data = layer("elevation", ramp(0, 5000))
    for variant in (data, data.isel(y=slice(None, None, -1)), data.isel(x=slice(None, None, -1))):
        image = drawn(figures.map_layer(variant).axes[0])
        np.testing.assert_array_equal(image.get_array(), data.values)
        assert image.get_extent() == [-1340.0, 1460.0, -900.0, 900.0]


def test_the_bar_has_quantity_and_unit_and_the_axes_crs_cell_and_date() -> None:
    figure = figures.map_layer(layer("water_erosion", ramp(1, 5)), date="2026-11-20")
    assert bar_of(figure).get_ylabel() == "soil loss by water, t ha⁻¹ a⁻¹"
    below = figure.axes[0].get_xlabel()
    assert below == "Albers Equal Area, cells of 50 km; created 2026-11-20"
    assert figure.axes[0].get_title(loc="left") == "Soil loss by water"


def test_the_date_comes_from_the_store() -> None:
    cube = xr.Dataset({"slope": layer("slope", ramp(0, 9))}, attrs={"created": "2026-03-04T05:06:07"})
    assert "created 2026-03-04" in figures.map_layer(cube, "slope").axes[0].get_xlabel()
    assert "drawn 2" in figures.map_layer(cube["slope"]).axes[0].get_xlabel()


@pytest.mark.parametrize("mark", [True, 1, "true", "soil observations are simulated from a known truth"])
def test_every_title_marks_simulated_layers_and_stores(mark: Any) -> None:
    data = layer("solum_thickness", ramp(0.4, 2))
    of_layer = figures.map_layer(data.assign_attrs(simulated=mark), title="Thickness")
    of_store = figures.map_layer(xr.Dataset({"solum_thickness": data}, attrs={"simulated": mark}), "solum_thickness")
    of_classes = figures.map_layer(layer("zone", 3, simulated=mark))
    of_difference = figures.difference_map(data, data.assign_attrs(simulated=mark))
    for figure in (of_layer, of_store, of_classes, of_difference):
        assert figure.axes[0].get_title(loc="left").endswith("(simulated)")


@pytest.mark.parametrize("mark", [False, 0, "false", "no", ""])
def test_titles_do_not_mark_other_layers_as_simulated(mark: Any) -> None:
    title = figures.map_layer(layer("slope", ramp(0, 9), simulated=mark)).axes[0].get_title(loc="left")
    assert "simulated" not in title


def test_limits_cut_at_percentiles_and_arrows_show_it() -> None:
    values = ramp(0, 100)
    values[0, 0], values[-1, -1] = -1e6, 1e6
    data = layer("general_curvature", values).assign_attrs(long_name="thing")
    figure = figures.map_layer(data.rename("thing"))
    low, high = drawn(figure.axes[0]).get_clim()
    assert (low, high) == tuple(np.percentile(values.astype("f4").astype(float), (1, 99)))
    assert drawn(figure.axes[0]).colorbar.extend == "both"
    assert drawn(figures.map_layer(layer("slope", ramp(0, 9)), limits=(0, 9)).axes[0]).colorbar.extend == "neither"


def test_curvature_is_centred_on_zero_and_aspect_covers_the_full_circle() -> None:
    low, high = drawn(figures.map_layer(layer("general_curvature", ramp(-1e-3, 4e-3))).axes[0]).get_clim()
    assert low == -high
    aspect = drawn(figures.map_layer(layer("aspect", ramp(10, 200))).axes[0])
    assert aspect.get_clim() == (0, 360)
    assert aspect.get_cmap().name == "twilight"


def test_masked_cells_are_grey_and_named_and_nan_stays_blank() -> None:
    values = ramp(0.4, 2)
    values[:, :10] = np.nan
    mask = np.ones(GRID.shape)
    mask[:4] = 0  # reaches the frame: outside of what was studied
    lake = np.zeros(GRID.shape, bool)
    lake[9:12, 20:30] = True
    mask[lake] = 0
    figure = figures.map_layer(layer("solum_thickness", values), mask=layer("soil_mask", mask))
    ax = figure.axes[0]
    np.testing.assert_array_equal(drawn(ax).get_array().mask, np.isnan(values) | (mask == 0))
    np.testing.assert_array_equal(~drawn(ax, "masked").get_array().mask, lake)
    assert legend_texts(figure) == ["masked: no soil"]


def test_cells_where_the_mask_has_no_data_are_masked_as_in_the_models_and_the_viewer() -> None:
    mask = np.ones(GRID.shape)
    mask[9, 20], mask[9, 25] = 0, 255
    stored = layer("soil_mask", mask).astype("uint8").assign_attrs(_FillValue=255)
    values = layer("solum_thickness", ramp(0.4, 2))
    for variant in (stored, stored.where(stored != 255)):
        figure = figures.map_layer(values, mask=variant)
        hidden = drawn(figure.axes[0]).get_array().mask
        np.testing.assert_array_equal(hidden, mask != 1)
        np.testing.assert_array_equal(hidden, mask_of(xr.Dataset({"soil_mask": variant}), 1400))


def test_relief_shades_only_what_is_drawn_and_light_comes_from_the_north_west() -> None:
    rows, columns = GRID.shape
    y, x = np.mgrid[:rows, :columns]
    cone = 5000 - 40 * np.hypot(y - rows / 2, x - columns / 2)
    values = np.full(GRID.shape, 1.0)
    values[:, -5:] = np.nan
    figure = figures.map_layer(layer("solum_thickness", values), hillshade=layer("elevation", cone))
    shade = drawn(figure.axes[0], "relief").get_array()
    assert (shade[:, -5:, 3] == 0).all()
    assert shade[5, 10, 0] == 1  # north-west flank: light
    assert shade[5, 10, 3] > 0.1
    assert shade[rows - 6, columns - 11, 0] == 0  # south-east flank: dark
    assert shade[rows - 6, columns - 11, 3] > 0.1


def test_the_scale_bar_is_a_round_length_drawn_true() -> None:
    figure = figures.map_layer(layer("slope", ramp(0, 9)))
    parts = [p for p in figure.axes[0].patches if str(p.get_gid()).startswith("scale-bar")]
    assert sum(p.get_width() for p in parts) == pytest.approx(500.0)  # km on a map 2800 km wide
    assert [t.get_text() for t in figure.axes[0].texts if t.get_gid() == "scale"] == ["500 km"]


def test_a_geographic_grid_is_drawn_in_degrees_with_its_true_shape() -> None:
    lat, lon = np.arange(60.5, 50, -1), np.arange(0.5, 20, 1)
    data = xr.DataArray(np.ones((11, 20), "f4"), dims=("y", "x"), coords={"y": lat, "x": lon}, name="slope")
    data = data.odc.assign_crs("EPSG:4326")
    ax = figures.map_layer(data).axes[0]
    assert ax.get_xlabel().startswith("EPSG:4326, cells of 1°")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0°", "5°E", "10°E", "15°E", "20°E"]
    assert ax.get_aspect() == pytest.approx(1 / np.cos(np.radians(55.5)), rel=1e-6)
    width = sum(p.get_width() for p in ax.patches if str(p.get_gid()).startswith("scale-bar"))
    assert width * 111.32 * np.cos(np.radians(55.5)) == pytest.approx(200)
    assert "200 km at 56°N" in [t.get_text() for t in ax.texts]


def test_logarithmic_maps_leave_out_what_has_no_logarithm_and_count_it() -> None:
    values = ramp(10, 1e5)
    values[0, :3] = -5
    figure = figures.map_layer(layer("response_time", values))
    assert type(drawn(figure.axes[0]).norm).__name__ == "LogNorm"
    assert bar_of(figure).get_ylabel().endswith(", a\n3 drawn cells below 0 omitted")


def test_it_draws_into_the_callers_axes() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert figures.map_layer(layer("slope", ramp(0, 9)), ax=left) is figure
    assert figures.map_layer(layer("zone", 2), ax=right) is figure
    assert left.images
    assert right.get_legend() is not None


# --- classes ---------------------------------------------------------------------------------------------------


def test_classes_have_names_shares_and_their_own_colours() -> None:
    codes = np.full(GRID.shape, 10)
    codes[:, :14] = 16
    codes[0, 0] = 255
    figure = figures.map_layer(layer("land_cover", codes))
    assert legend_texts(figure) == ["grassland, 75 %", "barren, 25 %"]
    pixels = drawn(figure.axes[0])
    colours = pixels.to_rgba(pixels.get_array())
    expected = palette.class_colours("land_cover", list(CATALOGUE["land_cover"].flags))
    assert tuple(colours[5, 40]) == to_rgba(expected[10])
    assert tuple(colours[5, 3]) == to_rgba(expected[16])
    assert pixels.get_array().mask[0, 0]  # the fill code is nothing


def test_a_class_retains_its_colour_when_others_are_absent() -> None:
    full = palette.class_colours("land_cover", list(CATALOGUE["land_cover"].flags))
    figure = figures.map_layer(layer("land_cover", 12))
    assert to_rgba(figure.legends[0].get_patches()[0].get_facecolor()) == to_rgba(full[12])


def test_flags_of_the_file_and_names_of_the_caller_go_before_the_catalogue() -> None:
    data = layer(
        "lithology", np.where(ramp(0, 1) > 0.5, 3, 7), flag_values=[3, 7], flag_meanings="mafic_rock carbonate"
    )
    shown = legend_texts(figures.map_layer(data, names={7: "limestone"}))
    assert [text.split(",")[0] for text in shown] == ["mafic rock", "limestone"]


def test_decoded_classes_with_nan_and_raw_ones_look_alike() -> None:
    raw = layer("zone", np.where(ramp(0, 1) > 0.5, 1, 255))
    decoded = raw.astype("f4").where(raw != 255)
    masked = raw.where(layer("soil_mask", 1) == 1)  # float now, and 255 is still in it
    for variant in (raw, decoded, masked):
        assert legend_texts(figures.map_layer(variant)) == ["zone 1, 100 %"]


def test_shares_of_a_geographic_grid_are_of_area() -> None:
    data = xr.DataArray(
        np.repeat([[1], [2]], 6, axis=1).astype("u1"), dims=("y", "x"), name="zone",
        coords={"y": [60.0, 0.0], "x": np.arange(6) * 60.0},
    ).odc.assign_crs("EPSG:4326")  # fmt: skip
    assert legend_texts(figures.map_layer(data)) == ["zone 1, 33 %", "zone 2, 67 %"]  # cos 60 is a half


def test_zones_carry_their_environment() -> None:
    table = pd.DataFrame({"elevation": [2136.0], "mean_annual_temperature": [13.09], "annual_precipitation": [832.4]})
    table.index = pd.Index([1])
    cube = xr.Dataset({"zone": layer("zone", 1)})
    assert legend_texts(figures.zones_map(cube, table)) == ["zone 1 (2136 m, 13.1 °C, 832 mm), 100 %"]


# --- maps of one question --------------------------------------------------------------------------------------


def test_differences_are_second_minus_first_with_their_scores() -> None:
    first = layer("solum_thickness", ramp(1, 2))
    second = layer("solum_thickness", ramp(1, 2) + 0.25)
    figure = figures.difference_map(first, second, names=("paper", "here"))
    np.testing.assert_allclose(drawn(figure.axes[0]).get_array(), 0.25, rtol=1e-5)
    low, high = drawn(figure.axes[0]).get_clim()
    assert low == -high
    assert bar_of(figure).get_ylabel() == "difference, m\nmean 0.25, root mean square 0.25"
    assert figure.axes[0].get_title(loc="left") == "Solum thickness: here minus paper"


def test_relative_differences_show_the_band_of_agreement() -> None:
    first = layer("solum_thickness", 1.0)
    second = layer("solum_thickness", np.where(np.arange(56) < 14, 1.04, 1.5))
    figure = figures.difference_map(first, second, relative=True, names=("a", "b"))
    assert legend_texts(figure) == ["within ±5 %: 25 %"]
    assert bar_of(figure).get_ylabel().startswith("difference, % of a")


def test_the_area_of_applicability_is_hatched_over_the_map_and_its_share_reported() -> None:
    inside = np.ones(GRID.shape)
    inside[:, :14] = 0
    cube = xr.Dataset({"iron": layer("iron", ramp(1e4, 3e4)), "applicability": layer("applicability", inside)})
    figure = figures.applicability_map(cube, "iron")
    assert legend_texts(figure) == ["outside the area of applicability: 25 %"]
    hatched = [c for c in figure.axes[0].collections if getattr(c, "hatches", None) == ["////"]]
    assert len(hatched) == 1
    corners = hatched[0].get_paths()[0].get_extents()
    assert corners.x0 == pytest.approx(-1340 + 25)  # centres of the first and half-way past the fourteenth column
    assert corners.x1 == pytest.approx(-1340 + 14 * 50)


def test_response_times_are_marked_at_the_age_of_the_holocene() -> None:
    figure = figures.response_time_map(layer("response_time", np.where(np.arange(56) < 14, 1e5, 1e2)))
    assert legend_texts(figure) == ["slower than 11,700 a: 25 %"]
    line = next(line for line in bar_of(figure).lines if line.get_gid() == "age")
    assert line.get_ydata()[0] == 11_700
    assert ["////"] in [list(getattr(c, "hatches", None) or ()) for c in figure.axes[0].collections]
    fast = figures.response_time_map(layer("response_time", np.full(56, 100.0)))
    assert ["////"] not in [list(getattr(c, "hatches", None) or ()) for c in fast.axes[0].collections]


def test_masked_cells_have_no_part_in_the_shares_of_a_map() -> None:
    """Lakes: all slow and outside; a quarter of the soil is."""
    columns = np.arange(56)
    lake = layer("soil_mask", np.where(columns < 28, 0, 1))
    first = np.broadcast_to(columns < 35, GRID.shape)
    figure = figures.response_time_map(layer("response_time", np.where(columns < 35, 1e5, 1e2)), mask=lake)
    assert "slower than 11,700 a: 25 %" in legend_texts(figure)
    cube = xr.Dataset({"iron": layer("iron", ramp(1e4, 3e4)), "applicability": layer("applicability", ~first * 1.0)})
    for shown in (
        figures.applicability_map(cube, "iron", mask=lake),
        figures.applicability_map(cube.assign(soil_mask=lake), "iron"),
    ):
        assert "outside the area of applicability: 25 %" in legend_texts(shown)
        hatched = [c for c in shown.axes[0].collections if getattr(c, "hatches", None) == ["////"]]
        assert hatched[0].get_paths()[0].get_extents().x0 > -1340 + 27 * 50


# --- colours ---------------------------------------------------------------------------------------------------


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB in 0..1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


@pytest.mark.parametrize("name", sorted(n for n, v in CATALOGUE.items() if v.kind == "continuous"))
def test_colour_maps_are_even_in_lightness(name: str) -> None:
    chosen = palette.colour_map(layer(name, 1.0))
    steps = np.diff(lightness(colormaps[chosen](np.linspace(0, 1, 65))[:, :3]))
    if chosen == palette.DIVERGING:
        assert (steps[:30] > 0).all()
        assert (steps[34:] < 0).all()
    else:  # one direction, no step above three times the mean: what a colour-blind or a printed reader relies on
        assert (steps > 0).all() or (steps < 0).all()
        assert np.abs(steps).max() < 3 * np.abs(steps).mean()


def test_eight_classes_differ_for_dichromats_too() -> None:
    # Machado, Oliveira and Fernandes 2009, doi 10.1109/TVCG.2009.113: severity 1, in linear RGB.
    protan = np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    )
    deutan = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    rgb = np.array([to_rgb(colour) for colour in palette.OKABE_ITO])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    for seen in (linear, linear @ np.transpose(protan), linear @ np.transpose(deutan)):
        cbrt = np.cbrt(np.clip(seen, 0, 1))
        apart = np.linalg.norm(cbrt[:, None] - cbrt[None], axis=-1)[np.triu_indices(len(rgb), 1)]
        assert apart.min() > 0.08


# --- bad input and empty maps ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["_FillValue", "missing_value", "nodata"])
@pytest.mark.parametrize(
    ("name", "dtype", "code"), [("slope", "f4", -9999.0), ("zone", "u1", 99), ("counted", "i4", -99)]
)
def test_numbers_that_a_layer_states_as_missing_are_not_drawn_or_counted(
    key: str, name: str, dtype: str, code: float
) -> None:
    """Only `_FillValue` of class layers was read: a slope of -9999 set the colours of the map."""
    grid = plateau_grid(100_000)
    values = np.ones(grid.shape, dtype)
    values[:3] = code
    layer = xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid), name=name, attrs={key: code})
    drawn = reading.read_picture(layer).values
    assert np.isnan(drawn[:3]).all()
    assert (drawn[3:] == 1).all()
    (row,) = tables.layer_summary(xr.Dataset({name: layer})).to_dict("records")
    assert row["with_value"] == values[3:].size


def test_a_missing_layer_is_named_with_its_nearest() -> None:
    cube = xr.Dataset({"solum_thickness": layer("solum_thickness", 1), "slope": layer("slope", 1)})
    with pytest.raises(MissingInputError, match=r"no layer 'solum_thicknes'; did you mean 'solum_thickness'\?"):
        figures.map_layer(cube, "solum_thicknes")
    with pytest.raises(InputError, match="2 layers, name one; there are: slope, solum_thickness"):
        figures.map_layer(cube)
    with pytest.raises(MissingInputError, match="no layer 'applicability'"):
        figures.applicability_map(cube, "slope")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.ones((3, 3)), "got ndarray, expected an xarray DataArray or Dataset"),
        (xr.DataArray(np.ones((2, 3, 3)), dims=("time", "y", "x"), name="t"), r"expected \(y, x\)"),
        (xr.DataArray(np.ones((0, 3)), dims=("y", "x"), name="t"), "no cells"),
    ],
)
def test_what_is_no_layer_is_refused(source: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        figures.map_layer(source)


def test_limits_must_be_an_interval() -> None:
    for limits in ((2.0, 1.0), (0.0, np.nan)):
        with pytest.raises(InputError, match="the lower one first"):
            figures.map_layer(layer("slope", 1), limits=limits)


@pytest.mark.parametrize("name", ["slope", "aspect", "zone", "response_time", "general_curvature"])
def test_all_nan_layers_give_an_empty_map_with_the_reason(name: str) -> None:
    data = layer(name, variable(name).fill)
    figure = figures.map_layer(data, hillshade=layer("elevation", ramp(0, 9)), mask=layer("soil_mask", 1))
    assert f"no cell of '{name}'" in message(figure)
    assert figure.axes[0].get_title(loc="left")
    assert figure.axes[0].get_xlim() == (-1340.0, 1460.0)
    render(figure)


def test_a_map_that_is_masked_everywhere_reports_it() -> None:
    assert "outside the mask" in message(figures.map_layer(layer("slope", 1), mask=layer("soil_mask", 0)))


@pytest.mark.parametrize("name", ["slope", "zone", "response_time", "general_curvature", "aspect"])
def test_a_single_cell_is_drawn(name: str) -> None:
    data = layer(name, 3).isel(y=slice(7, 8), x=slice(9, 10))
    figure = figures.map_layer(data, hillshade=layer("elevation", 1).isel(y=slice(7, 8), x=slice(9, 10)))
    assert drawn(figure.axes[0]).get_array().shape == (1, 1)
    assert not message(figure)
    render(figure)


def test_one_value_everywhere_has_a_bar_with_an_interval() -> None:
    for name, value in (("slope", 0.0), ("slope", 5.0), ("response_time", 5.0), ("general_curvature", 0.0)):
        low, high = drawn(figures.map_layer(layer(name, value)).axes[0]).get_clim()
        assert low < value < high


def test_companions_of_another_grid_are_refused() -> None:
    data, coarse = layer("slope", 1), layer("soil_mask", 1, plateau_grid(100_000))
    with pytest.raises(GridError, match="mask 'soil_mask' has 18 x 28 cells, 'slope' 36 x 56"):
        figures.map_layer(data, mask=coarse)
    moved = data.assign_coords(x=data.x + 50_000)
    with pytest.raises(GridError, match="is on another grid"):
        figures.map_layer(data, hillshade=moved)
    with pytest.raises(GridError, match="different grids"):
        figures.difference_map(data, moved)
    with pytest.raises(InputError, match="'first' is in degree, 'second' in m"):
        figures.difference_map(data, layer("elevation", 1))


def test_saving_names_what_is_wrong(tmp_path: Path) -> None:
    figure = figures.map_layer(layer("slope", 1))
    with pytest.raises(InputError, match=r"'map\.doc' ends in '\.doc'; expected one of .*png"):
        figures.save(figure, tmp_path / "map.doc")
    (tmp_path / "file").write_text("")
    with pytest.raises(AccessError, match="cannot write"):
        figures.save(figure, tmp_path / "file" / "map.png")
    target = figures.save(figure, tmp_path / "new" / "map.png", dpi=50)
    assert target.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in target.parent.iterdir()) == ["map.png"]


# --- laziness and size -----------------------------------------------------------------------------------------


def test_a_large_layer_is_read_with_a_stride_and_the_map_reports_it() -> None:
    data = layer("slope", ramp(0, 9))
    figure = figures.map_layer(data, longest_side=20)
    np.testing.assert_array_equal(drawn(figure.axes[0]).get_array(), data.values[1::3, 1::3])
    assert "every 3rd drawn" in figure.axes[0].get_xlabel()
    assert reading.read_picture(data, 20).extent == (-1340.0, -1340.0 + 19 * 150, 900.0 - 12 * 150, 900.0)


def test_importing_and_drawing_leave_pyplot_alone() -> None:
    code = """
        import sys, numpy as np, xarray as xr
        from tpsoil.reports import figures, tables
        figures.map_layer(xr.DataArray(np.ones((3, 4)), dims=("y", "x"), name="slope"))
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)


def test_a_map_of_2800_x_1800_cells_takes_seconds_and_little_memory(tmp_path: Path) -> None:
    code = f"""
        import time
        import numpy as np, xarray as xr
        from tpsoil.grid import coordinates, plateau_grid
        from tpsoil.reports import figures, tables
        grid = plateau_grid(1000)
        z = np.add.outer(np.linspace(3000, 6000, 1800), 500 * np.sin(np.arange(2800) / 20)).astype("f4")
        cube = xr.Dataset({{n: (("y", "x"), z) for n in ("elevation", "solum_thickness")}}, coords=coordinates(grid))
        cube.to_zarr({str(tmp_path / "c.zarr")!r}, encoding={{n: {{"chunks": (512, 512)}} for n in cube}},
                     zarr_format=3, consolidated=False)
        del cube, z
        start = time.perf_counter()
        cube = xr.open_zarr({str(tmp_path / "c.zarr")!r}, consolidated=False)
        figure = figures.map_layer(cube, "solum_thickness", hillshade=cube["elevation"])
        figures.save(figure, {str(tmp_path / "map.png")!r})
        # Not ru_maxrss: Linux hands the parent's peak to a child.
        peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
        print(time.perf_counter() - start, peak / 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True, timeout=200
    )
    seconds, peak_mb = map(float, done.stdout.split())
    assert seconds < 30  # about 2 s on one quiet core
    assert peak_mb < 900


# --- stretch ---------------------------------------------------------------------------------------------------


def test_skewed_layers_are_drawn_in_rounded_classes_that_show_the_data() -> None:
    random = np.random.default_rng(1)
    values = np.exp(random.normal(0, 1.2, GRID.shape))
    figure = figures.map_layer(layer("annual_precipitation", 100 * values))
    norm = drawn(figure.axes[0]).norm
    assert type(norm).__name__ == "BoundaryNorm"
    inside = np.histogram(100 * values, norm.boundaries)[0] / values.size
    assert inside.max() < 0.35  # no class takes most of the map
    assert all(float(f"{value:.2g}") == value for value in norm.boundaries)


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_values_over_ten_orders_of_magnitude_have_readable_ticks(factor: float) -> None:
    values = factor * 10 ** ramp(-5, 5)
    figure = figures.map_layer(layer("annual_precipitation", values).rename("thing"), log=True)
    render(figure)
    labels = [text.get_text() for text in bar_of(figure).get_yticklabels() if text.get_text()]
    assert 3 <= len(labels) <= 12


def test_a_map_and_its_spread_stand_side_by_side() -> None:
    cube = xr.Dataset({"iron": layer("iron", ramp(1e4, 3e4)), "iron_sd": layer("iron", ramp(1e3, 3e3))})
    figure = figures.mean_and_spread_map(cube, "iron")
    assert sum(bool(ax.images) and ax.get_label() != "<colorbar>" for ax in figure.axes) == 2
    with pytest.raises(MissingInputError, match="iron_width"):
        figures.mean_and_spread_map(cube[["iron"]], "iron")


def test_a_pdf_embeds_its_fonts_as_text(tmp_path: Path) -> None:
    path = figures.save(figures.map_layer(layer("slope", ramp(0, 9))), tmp_path / "slope.pdf")
    data = path.read_bytes()
    assert b"/FontFile2" in data  # TrueType, embedded
    assert b"/Type3" not in data


# --- colour bars, uncertainty, legends -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(10, 56), (36, 12)])
def test_a_colour_bar_is_not_taller_than_its_map(shape: tuple[int, int]) -> None:
    part = {"y": slice(0, shape[0]), "x": slice(0, shape[1])}
    store = xr.Dataset({"iron": layer("iron", ramp(10, 20)), "iron_sd": layer("sd", ramp(1, 2)).rename("iron_sd")})
    for figure in (figures.mean_and_spread_map(store.isel(part), "iron"), figures.map_layer(store["iron"].isel(part))):
        render(figure)
        maps_drawn = [axes for axes in figure.axes if axes.images]
        bars = [axes for axes in figure.axes if not axes.images]
        assert len(maps_drawn) == len(bars)
        for own, bar in zip(maps_drawn, bars, strict=True):
            frame, box = own.get_window_extent(), bar.get_window_extent()
            assert box.y1 <= frame.y1 + 1
            assert box.y0 >= frame.y0 - 1
            assert frame.x1 < box.x0 < frame.x1 + 0.2 * figure.bbox.width


def test_uncertain_cells_fade_by_degrees_that_the_legend_names() -> None:
    sd = ramp(0, 10)
    store = xr.Dataset({"iron": layer("iron", 10), "iron_sd": layer("sd", sd).rename("iron_sd")})
    figure = figures.value_by_alpha_map(store, "iron", full=20, faint=80)
    alpha = drawn(figure.axes[0]).get_alpha()
    order = np.argsort(sd.ravel())
    assert (np.diff(alpha.ravel()[order]) <= 0).all()
    assert (alpha[sd <= 2] == 1).all()
    assert (alpha[sd >= 8] == alpha.min()).all()
    assert "80 % and more" in legend_texts(figure)
    with pytest.raises(InputError, match="0 <= full < faint"):
        figures.value_by_alpha_map(store, "iron", full=50, faint=50)
    with pytest.raises(MissingInputError, match="'iron_sd'"):
        figures.value_by_alpha_map(store[["iron"]], "iron")


def test_the_legend_of_zones_has_the_environment_that_the_store_has() -> None:
    zone = np.where(np.arange(GRID.shape[1]) < 28, 1, 2)
    store = xr.Dataset({
        "zone": layer("zone", zone), "elevation": layer("elevation", 1000.0 * zone),
        "annual_precipitation": layer("annual_precipitation", 300.0 * zone),
    })  # fmt: skip
    texts = [text.get_text() for text in figures.zones_map(store).legends[0].get_texts()]
    assert texts == ["zone 1 (1000 m, 300 mm), 50 %", "zone 2 (2000 m, 600 mm), 50 %"]


def test_means_of_zones_in_the_legend_leave_masked_cells_out() -> None:
    soil = np.ones(GRID.shape)
    soil[5:9, 20:30] = 0
    store = xr.Dataset({"zone": layer("zone", 1), "elevation": layer("elevation", np.where(soil == 1, 1000.0, 8000.0))})
    figure = figures.zones_map(store, mask=layer("soil_mask", soil))
    assert legend_texts(figure)[0] == "zone 1 (1000 m), 100 %"


def test_the_pdf_of_a_map_embeds_its_fonts(tmp_path: Path) -> None:
    pdf = figures.save(figures.map_layer(layer("slope", ramp(0, 9))), tmp_path / "a.pdf").read_bytes()
    assert pdf.count(b"/FontDescriptor") > 0
    assert b"/FontFile2" in pdf  # TrueType
    assert b"/Type3" not in pdf


def test_a_table_of_zones_with_a_row_of_all() -> None:
    table = pd.DataFrame({"zone": ["1", "2", "all"], "elevation": [2136.0, 4000.0, 3000.0]})
    assert legend_texts(figures.zones_map(layer("zone", 2), table)) == ["zone 2 (4000 m), 100 %"]


def test_the_share_of_agreement_is_of_the_area() -> None:
    grid = grid_from_bounds("EPSG:4326", (80, 0, 84, 80), 1)
    first = layer("solum_thickness", 1.0, grid)
    north = first.y.values[:, None] > 60  # a quarter of the rows, an eighth of the area
    second = layer("solum_thickness", np.where(north, 1.0, 2.0), grid)
    share = 1 - np.sin(np.radians(60)) / np.sin(np.radians(80))
    figure = figures.difference_map(first, second, relative=True)
    assert legend_texts(figure) == [f"within ±5 %: {100 * share:.0f} %"]
