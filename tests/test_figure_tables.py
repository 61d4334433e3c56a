"""What the figures of tables draw: data, order, labels, units, legends; and the reason on an empty figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

from tpsoil.errors import InputError
from tpsoil.reports import figures
from tpsoil.reports.figures import palette

EFFECTS = pd.DataFrame({
    "feature": ["slope"] * 3 + ["ndvi"] * 3,
    "value": [20.0, 0.0, 10.0, 0.1, 0.5, 0.9],
    "effect": [3.0, 1.0, 2.0, -1.0, 0.0, 1.0],
    "low": [2.5, 0.5, 1.5, -1.5, -0.5, 0.5],
    "high": [3.5, 1.5, 2.5, -0.5, 0.5, 1.5],
})  # fmt: skip
GROUPED = pd.DataFrame({"iron": [1.0, 2, 3, 7, 8, 9, 4, 5, 6], "biome": np.repeat(["steppe", "forest", "shrub"], 3)})
CORRELATION = pd.DataFrame(
    [[1, -0.7, 0.1], [-0.7, 1, np.nan], [0.1, np.nan, 1]],
    index=["solum_thickness", "elevation", "ndvi"], columns=["solum_thickness", "elevation", "ndvi"],
)  # fmt: skip


def texts(items: Any) -> list[str]:
    return [item.get_text() for item in items]


def legend(figure: Figure, panel: int = 0) -> list[str]:
    return texts(figure.axes[panel].get_legend().get_texts())


def reason_on(figure: Figure) -> str:
    return " ".join(t.get_text() for ax in figure.axes for t in ax.texts if t.get_gid() == "nothing")


def of_gid(ax: Any, gid: str) -> list[str]:
    return [t.get_text() for t in ax.texts if t.get_gid() == gid]


def render(figure: Figure) -> None:
    FigureCanvasAgg(figure).draw()


# --- models ----------------------------------------------------------------------------------------------------


def test_the_ranking_is_in_order_coloured_by_theme_with_spread_and_dropped_ones_hollow() -> None:
    table = pd.DataFrame({
        "feature": ["slope", "mean_annual_temperature", "my_layer"], "importance": [5.0, 20.0, -1.0],
        "sd": [1.0, 2.0, 0.5], "kept": [True, True, False],
    })  # fmt: skip
    figure = figures.importance_ranking(table)
    ax = figure.axes[0]
    assert texts(ax.get_yticklabels()) == ["my layer", "slope", "mean annual temperature"]
    bars = sorted(ax.patches, key=lambda bar: bar.get_y())
    assert [bar.get_width() for bar in bars] == [-1.0, 5.0, 20.0]
    assert bars[0].get_facecolor()[3] == 0
    assert bars[2].get_facecolor()[3] == 1
    assert legend(figure) == ["terrain", "climate", "other, dropped"]
    assert ax.get_xlabel() == "increase in mean squared error, %IncMSE"
    whiskers = ax.collections[0].get_segments()
    assert sorted(tuple(segment[:, 0]) for segment in whiskers) == [(-1.5, -0.5), (4.0, 6.0), (18.0, 22.0)]


def test_observed_is_on_the_ordinate_with_regression_and_scores() -> None:
    # science sheet, section 8 and 10: slope 1.08, intercept -0.04, RMSE .3405877, ME -.2, NSE .9515860, r2 .9736227
    table = pd.DataFrame({"observed": [1.2, 1.9, 3.4, 3.9, 5.6], "predicted": [1.0, 2, 3, 4, 5]})
    figure = figures.observed_predicted(table, name="solum_thickness")
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted, m", "observed, m")
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), table[["predicted", "observed"]])
    assert of_gid(ax, "scores") == ["n = 5\nRMSE = 0.341 m\nME = -0.2 m\nNSE = 0.95\nr² = 0.97"]
    assert legend(figure) == ["1:1", "observed = -0.04 + 1.08 predicted"]
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_aspect() == 1.0


def test_groups_of_points_are_named_and_counted() -> None:
    table = pd.DataFrame({"observed": [1.0, 2, 3], "predicted": [1.0, 2, 2], "group": ["a", "b", "b"]})
    assert legend(figures.observed_predicted(table, units="m"))[:2] == ["a (n = 1)", "b (n = 2)"]


def test_effects_have_a_panel_each_sorted_with_band_and_units() -> None:
    figure = figures.partial_dependence(EFFECTS, units="mg kg-1")
    slope, ndvi = figure.axes
    assert (slope.get_xlabel(), ndvi.get_xlabel()) == ("slope, °", "ndvi, no unit")
    assert slope.get_ylabel() == "predicted mean, mg kg⁻¹"
    assert slope.get_title(loc="left") == "Slope"
    np.testing.assert_array_equal(slope.lines[0].get_xydata(), [[0, 1], [10, 2], [20, 3]])
    band = slope.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (0.5, 3.5)


def test_local_effects_are_drawn_about_zero() -> None:
    figure = figures.accumulated_local_effects(EFFECTS, units="m")
    assert figure.axes[0].get_ylabel() == "effect, m"
    assert list(figure.axes[0].lines[0].get_ydata()) == [0, 0]


def test_effects_of_classes_are_points_with_names_even_beside_numbers() -> None:
    classes = pd.DataFrame({"feature": "land_cover", "value": [10, 16], "effect": [1.0, 2.0]})
    words = pd.DataFrame({"feature": "rock", "value": ["mafic", "acid"], "effect": [1.0, 2.0]})
    figure = figures.partial_dependence(pd.concat([EFFECTS, classes, words]))
    assert len(figure.axes[0].lines[0].get_xdata()) == 3
    assert texts(figure.axes[2].get_xticklabels()) == ["grassland", "barren"]
    assert texts(figure.axes[3].get_xticklabels()) == ["mafic", "acid"]


def test_effects_of_several_elements_share_a_panel() -> None:
    table = pd.concat([EFFECTS.assign(element="iron"), EFFECTS.assign(element="zinc")])
    figure = figures.partial_dependence(table)
    assert legend(figure, 1) == ["iron", "zinc"]


def test_coverage_is_drawn_in_percent_against_the_promise() -> None:
    table = pd.DataFrame({"level": [0.9, 0.5], "coverage": [0.88, 0.55], "n": 526, "method": "conformal"})
    figure = figures.interval_coverage(table)
    ax = figure.axes[0]
    assert legend(figure) == ["nominal coverage", "± 2 binomial standard errors, n = 526", "conformal"]
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[50, 55], [90, 88]])
    # the sheet: standard error 0.0131 at 526 sites and 90 %
    path = ax.collections[0].get_paths()[0].vertices
    at_90 = path[np.isclose(path[:, 0], 90)][:, 1]
    assert at_90.max() - 90 == pytest.approx(2 * 1.31, abs=0.01)


def test_traces_fall_and_the_best_start_is_labelled() -> None:
    table = pd.DataFrame({
        "evaluation": [1, 2, 3] * 3, "objective": [3.0, 1.0, 2.0, 3.0, 2.0, 0.5, 9.0, 8.0, 7.0],
        "start": [0, 0, 0, 1, 1, 1, 0, 0, 0], "zone": [1] * 6 + [7] * 3,
    })  # fmt: skip
    figure = figures.calibration_traces(table)
    first, second = figure.axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("Zone 1", "Zone 7")
    assert list(first.lines[0].get_ydata()) == [3, 1, 1]  # best so far, not the objective itself
    assert legend(figure, 0) == ["best of 2: 0.5"]
    assert first.lines[1].get_color() == palette.ACCENT
    assert first.get_yscale() == "log"


# --- samples ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["violin", "box"])
def test_groups_descend_with_letters_counts_and_units(kind: str) -> None:
    letters = pd.DataFrame({"group": ["steppe", "forest", "shrub"], "letters": ["b", "a", "ab"]})
    figure = figures.group_comparison(GROUPED, "iron", "biome", letters=letters, kind=kind)
    ax = figure.axes[0]
    assert texts(ax.get_xticklabels()) == ["forest\nn = 3", "shrub\nn = 3", "steppe\nn = 3"]
    assert of_gid(ax, "letters") == ["a", "ab", "b"]
    assert ax.get_ylabel() == "topsoil iron, mg kg⁻¹"
    assert ax.get_title(loc="left") == "Topsoil iron by biome"
    means = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "D"]
    assert means == [8, 5, 2]
    assert len(ax.collections) == (3 if kind == "violin" else 0)
    low, high = ax.get_ylim()
    assert low < 1
    assert high > 9.4


def test_one_class_and_tiny_groups_are_drawn_as_what_they_are() -> None:
    one = figures.group_comparison(GROUPED[GROUPED["biome"] == "steppe"], "iron", "biome", letters={"steppe": "a"})
    assert texts(one.axes[0].get_xticklabels()) == ["steppe\nn = 3"]
    tiny = figures.group_comparison(pd.DataFrame({"iron": [1.0, 2.0], "biome": ["a", "b"]}), "iron", "biome")
    assert [list(line.get_ydata()) for line in tiny.axes[0].lines if line.get_marker() == "o"] == [[2], [1]]
    render(one)
    render(tiny)


def test_class_codes_get_names() -> None:
    table = GROUPED.assign(biome=np.repeat([1, 2, 3], 3))
    figure = figures.group_comparison(table, "iron", "biome", names={2: "alpine_meadow"}, letters={2: "a"})
    assert texts(figure.axes[0].get_xticklabels())[0] == "alpine meadow\nn = 3"
    assert of_gid(figure.axes[0], "letters") == ["a"]


def test_histograms_count_every_value_and_mark_the_detection_limit() -> None:
    rng = np.random.default_rng(1)
    zinc = pd.DataFrame({"element": "zinc", "value": rng.lognormal(3, 0.3, 200), "detection_limit": 15.0})
    iron = pd.DataFrame({"element": "iron", "value": [20000.0, 30000.0, np.nan]})
    figure = figures.element_histograms(pd.concat([zinc, iron]))
    first, second = figure.axes
    assert first.get_xlabel() == "topsoil zinc, mg kg⁻¹"
    assert first.get_ylabel() == "number of values"
    assert sum(bar.get_height() for bar in first.patches) == 200
    assert sum(bar.get_height() for bar in second.patches) == 2
    below = int((zinc["value"] < 15).sum())
    assert legend(figure, 0)[1] == f"detection limit 15, {below} below"
    assert legend(figure, 1) == ["mean 25000, SD 7071, n = 2"]
    assert first.lines[1].get_xdata()[0] == 15


def test_the_matrix_shows_the_lower_triangle_with_stars() -> None:
    p = pd.DataFrame(0.2, index=CORRELATION.index, columns=CORRELATION.columns)
    p.loc["elevation", "solum_thickness"] = 0.0005
    figure = figures.correlation_matrix(CORRELATION, p)
    ax = figure.axes[0]
    assert texts(ax.texts) == ["-0.70***", "0.10"]  # the NaN pair is left blank
    assert texts(ax.get_xticklabels()) == ["solum thickness", "elevation"]
    assert texts(ax.get_yticklabels()) == ["elevation", "ndvi"]
    assert ax.images[0].get_clim() == (-1, 1)
    assert figure.axes[1].get_ylabel().startswith("Pearson's r, no unit\n* p < 0.05")


def test_a_tidy_correlation_table_gives_the_same_matrix() -> None:
    tidy = pd.DataFrame({
        "first": ["solum_thickness", "solum_thickness"], "second": ["elevation", "ndvi"], "r": [-0.7, 0.1],
        "p": [0.0005, 0.2],
    })  # fmt: skip
    assert texts(figures.correlation_matrix(tidy).axes[0].texts) == ["-0.70***", "0.10"]


# --- places ----------------------------------------------------------------------------------------------------


def test_representativeness_gives_the_distance_between_sites_and_area() -> None:
    rng = np.random.default_rng(2)
    sites, area = rng.normal(4500, 300, 300), rng.normal(4800, 600, 3000)
    table = pd.concat([
        pd.DataFrame({"covariate": "elevation", "value": v, "source": s}) for v, s in ((sites, "sites"), (area, "area"))
    ])  # fmt: skip
    figure = figures.representativeness(table)
    distance = stats.ks_2samp(sites, area).statistic  # the oracle
    beyond = 100 * np.mean((area < sites.min()) | (area > sites.max()))
    assert f"sites, n = 300\nKS distance {distance:.2f}\n{beyond:.0f} % of area beyond them" in legend(figure)
    assert figure.axes[0].get_xlabel() == "elevation, m"
    # A cell of weight 3 is three cells.
    weight = np.where(area > 4700, 3, 1)
    weighted = pd.concat([
        pd.DataFrame({"covariate": "elevation", "value": sites, "source": "sites", "weight": 1}),
        pd.DataFrame({"covariate": "elevation", "value": area, "source": "area", "weight": weight}),
    ])  # fmt: skip
    distance = stats.ks_2samp(sites, np.repeat(area, weight)).statistic
    assert f"KS distance {distance:.2f}" in " ".join(legend(figures.representativeness(weighted)))


def test_classes_show_both_shares() -> None:
    table = pd.DataFrame({"group": ["steppe", "forest"], "site_share": [0.3, 0.2], "area_share": [0.5, 0.1],
                          "sites": [180, 87]})  # fmt: skip
    figure = figures.class_representation(table)
    ax = figure.axes[0]
    assert texts(ax.get_yticklabels()) == ["forest (n = 87)", "steppe (n = 180)"]
    assert [bar.get_width() for bar in ax.patches] == [10, 50, 20, 30]
    assert legend(figure) == ["area", "sites"]


def test_a_transect_is_drawn_over_the_elevation() -> None:
    table = pd.DataFrame({"distance_km": [10.0, 0, 20], "elevation": [5000.0, 4000, 4500],
                          "solum_thickness": [0.8, 0.5, 0.6], "other_map": [0.7, 0.6, 0.5]})  # fmt: skip
    figure = figures.transect(table)
    ax, ground = figure.axes
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[0, 0.5], [10, 0.8], [20, 0.6]])
    assert ax.get_ylabel() == "solum thickness, m"
    assert ground.get_ylabel() == "elevation, m"
    assert legend(figure) == ["elevation", "solum thickness", "other map"]
    top = ground.collections[0].get_paths()[0].get_extents().y1
    assert top == 5000
    assert len(figures.transect(table, ["other_map"]).axes[0].lines) == 1


# --- everywhere ------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[Callable[..., Figure], pd.DataFrame]] = {
    "importance_ranking": (figures.importance_ranking, pd.DataFrame({"feature": ["slope"], "importance": [1.0]})),
    "observed_predicted": (figures.observed_predicted, pd.DataFrame({"observed": [1.0, 2], "predicted": [1.0, 3]})),
    "partial_dependence": (figures.partial_dependence, EFFECTS),
    "accumulated_local_effects": (figures.accumulated_local_effects, EFFECTS),
    "interval_coverage": (figures.interval_coverage, pd.DataFrame({"level": [0.9], "coverage": [0.9]})),
    "calibration_traces": (figures.calibration_traces, pd.DataFrame({"evaluation": [1, 2], "objective": [2.0, 1.0]})),
    "group_comparison": (lambda t, **k: figures.group_comparison(t, "iron", "biome", **k), GROUPED),
    "element_histograms": (figures.element_histograms, pd.DataFrame({"element": "iron", "value": [1.0, 2.0]})),
    "representativeness": (figures.representativeness, pd.DataFrame({"covariate": "slope", "value": [1.0, 2.0],
                                                                     "source": ["sites", "area"]})),
    "class_representation": (figures.class_representation, pd.DataFrame({"group": ["a"], "site_share": [0.1],
                                                                         "area_share": [0.2]})),
    "transect": (figures.transect, pd.DataFrame({"distance_km": [0.0, 1], "slope": [1.0, 2]})),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_simulated_tables_are_titled_so(name: str) -> None:
    draw, table = CASES[name]
    marked = table.copy()
    marked.attrs["simulated"] = True
    for ax in [draw(marked).axes[0]]:
        assert "(simulated)" in ax.get_title(loc="left").replace("\n", " ")
    assert "simulated" not in draw(table).axes[0].get_title(loc="left")
    render(draw(marked))


def test_a_simulated_correlation_is_titled_so() -> None:
    marked = CORRELATION.copy()
    marked.attrs["simulated"] = True
    assert figures.correlation_matrix(marked).axes[0].get_title(loc="left") == "Correlation of the layers (simulated)"


@pytest.mark.parametrize("name", CASES)
def test_empty_tables_give_an_empty_figure_with_the_reason(name: str) -> None:
    draw, table = CASES[name]
    figure = draw(table.iloc[:0])
    assert reason_on(figure)
    render(figure)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"transect", "element_histograms", "class_representation"}))
def test_tables_of_nan_give_an_empty_figure_with_the_reason(name: str) -> None:
    draw, table = CASES[name]
    numbers = table.select_dtypes("number").columns
    figure = draw(table.assign(**dict.fromkeys(numbers, np.nan)))
    assert reason_on(figure)
    render(figure)


@pytest.mark.parametrize("name", CASES)
def test_a_missing_column_is_named(name: str) -> None:
    draw, table = CASES[name]
    gone = table.columns[0]
    with pytest.raises(InputError, match=f"{name}.*lacks '{gone}'"):
        draw(table.rename(columns={gone: gone + "_"}))
    with pytest.raises(InputError, match="got list, expected a pandas DataFrame"):
        draw([1, 2])


@pytest.mark.parametrize("name", CASES)
def test_it_draws_into_the_callers_axes(name: str) -> None:
    draw, table = CASES[name]
    figure = Figure()
    panels = figure.subplots(1, 2)
    if name in {"partial_dependence", "accumulated_local_effects"}:
        assert draw(table, axes=list(panels)) is figure
        with pytest.raises(InputError, match="1 axes for 2 panels"):
            draw(table, axes=panels[0])
        return
    key = "axes" if name in {"calibration_traces", "element_histograms", "representativeness"} else "ax"
    assert draw(table, **{key: panels[0]}) is figure
    assert panels[0].get_title(loc="left")
    assert not panels[1].get_title(loc="left")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: figures.interval_coverage(pd.DataFrame({"level": [90], "coverage": [88]})),
            "pass shares, not percent",
        ),
        (lambda: figures.group_comparison(GROUPED, "iron", "biome", kind="bar"), "expected 'violin' or 'box'"),
        (lambda: figures.correlation_matrix(CORRELATION * 3), "outside -1 to 1"),
        (lambda: figures.correlation_matrix(CORRELATION.iloc[:2]), "square"),
        (lambda: figures.correlation_matrix(CORRELATION, CORRELATION.iloc[::-1]), "other names than r"),
        (
            lambda: figures.representativeness(pd.DataFrame({"covariate": ["a"], "value": [1.0], "source": ["map"]})),
            r"source has \['map'\], expected 'sites' and 'area'",
        ),
    ],
)
def test_other_wrong_tables_are_refused(call: Callable[[], Figure], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_one_layer_has_no_correlation() -> None:
    assert "two layers" in reason_on(figures.correlation_matrix(CORRELATION.iloc[:1, :1]))


def test_a_figure_shows_itself_in_a_notebook() -> None:
    figure = figures.importance_ranking(CASES["importance_ranking"][1])
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_tables_of_other_packages_are_drawn_without_renaming() -> None:
    importance = pd.DataFrame({"increase_mse": [9.0, 3.0]}, index=pd.Index(["ndvi", "slope"], name="feature"))
    assert texts(figures.importance_ranking(importance).axes[0].get_yticklabels()) == ["slope", "ndvi"]
    wide = pd.DataFrame({
        "group": ["all", "all", "forest"], "level": [0.5, 0.9, 0.9], "n": 100, "conformal": [0.5, 0.9, 0.1],
        "quantile": [0.4, 0.8, 0.1], "spread": [0.3, 0.7, 0.1],
    })  # fmt: skip
    figure = figures.interval_coverage(wide)
    assert legend(figure)[2:] == ["conformal", "quantile forest", "spread between trees"]
    np.testing.assert_allclose(figure.axes[0].lines[3].get_xydata(), [[50, 30], [90, 70]])
    shares = pd.DataFrame({"sites": [3], "site_share": [0.2], "area_share": [0.1]}, index=pd.Index(["a"], name="class"))
    assert texts(figures.class_representation(shares).axes[0].get_yticklabels()) == ["a (n = 3)"]
    zinc = figures.element_histograms(pd.DataFrame({"element": "Zn", "value": [1.0, 2.0]}))
    assert zinc.axes[0].get_xlabel() == "topsoil zinc, mg kg⁻¹"
    assert zinc.axes[0].get_title(loc="left") == "Zn"


def test_effects_come_one_table_a_covariate_and_letters_by_index() -> None:
    slope = pd.DataFrame({"slope": [0.0, 10.0], "effect": [1.0, 2.0], "low": [0.5, 1.5], "high": [1.5, 2.5]})
    ndvi = pd.DataFrame({"ndvi": [0.1, 0.2], "effect": [3.0, 4.0]})
    ndvi.attrs["simulated"] = True
    figure = figures.accumulated_local_effects([slope, ndvi])
    assert [ax.get_xlabel() for ax in figure.axes] == ["slope, °", "ndvi, no unit"]
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_xydata(), [[0, 1], [10, 2]])
    assert figure.axes[0].get_title(loc="left") == "Slope (simulated)"
    letters = pd.DataFrame({"mean": [8.0, 5, 2], "letters": ["a", "b", "c"]}, index=["forest", "shrub", "steppe"])
    assert of_gid(figures.group_comparison(GROUPED, "iron", "biome", letters=letters).axes[0], "letters") == [
        "a",
        "b",
        "c",
    ]


def test_a_joint_effect_is_a_plane_with_units_centred_on_zero() -> None:
    table = pd.DataFrame({"slope": [9.0, 0, 9, 0], "ndvi": [0.1, 0.1, 0.9, 0.9], "effect": [2.0, 0, 3, 1]})
    figure = figures.joint_effect(table, units="mg kg-1")
    ax, bar = figure.axes
    mesh = ax.collections[0]
    np.testing.assert_array_equal(np.asarray(mesh.get_array()).reshape(2, 2), [[0, 2], [1, 3]])
    assert mesh.get_clim() == (-3, 3)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("slope, °", "ndvi, no unit")
    assert bar.get_ylabel() == "effect, mg kg⁻¹"
    assert reason_on(figures.joint_effect(table.assign(effect=np.nan)))
    with pytest.raises(InputError, match="expected two columns beside 'effect'"):
        figures.joint_effect(table.drop(columns="ndvi"))


def test_importance_at_held_out_rows_has_the_papers_measure_beside_it() -> None:
    ranked = pd.DataFrame(
        {"held_out_increase": [69.0, 1.0], "low": [50.0, -2.0], "high": [88.0, 4.0], "increase_mse": [30.0, 40.0]},
        index=pd.Index(["ndvi", "slope"], name="feature"),
    )
    first, second = figures.importance_ranking(ranked).axes
    assert texts(first.get_yticklabels()) == ["slope", "ndvi"]
    assert first.get_xlabel() == "increase in squared error at held-out rows, %"
    assert second.get_xlabel() == "%IncMSE, out of bag"
    assert second.lines[0].get_xdata().tolist() == [40.0, 30.0]


def test_a_figure_of_effects_leaves_its_table_unchanged() -> None:
    """The mark of simulated data was written into the caller's table."""
    table = pd.DataFrame({"feature": "slope", "value": [0.0, 10.0], "effect": [5.0, 6.0]})
    figures.partial_dependence(table)
    assert table.attrs == {}
