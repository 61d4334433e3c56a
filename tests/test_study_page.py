"""Figures of the micronutrient study and its counterparts on the page; the recipe that is shipped for real data."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tpsoil.errors import InputError
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.recipes.element_options import ElementsTable
from tpsoil.recipes.section import read_table
from tpsoil.recipes.templates import new_recipe
from tpsoil.reports import figures
from tpsoil.reports.charts import charts_of
from tpsoil.reports.study import COUNTERPARTS, counterparts, number_of, sites_figure
from tpsoil.table_titles import is_drawn

RNG = np.random.default_rng(5)
SITES = pd.DataFrame({
    "site": np.arange(40), "lon": RNG.uniform(85, 95, 40), "lat": RNG.uniform(30, 36, 40),
    "value": RNG.lognormal(3, 0.3, 40), "class biome": np.where(np.arange(40) % 2, "steppe", "forest"),
})  # fmt: skip
XRF = pd.DataFrame({"xrf": RNG.uniform(10, 50, 20)}).assign(
    icp=lambda t: 2 + 1.1 * t["xrf"], residual=0.1, slope=1.1, intercept=2.0, method="ols"
)
CURVE = pd.DataFrame({"feature": "slope", "value": [0.0, 10.0], "effect": [20.0, 25.0]})
TABLES = {
    "sites_Zn": SITES,
    "letters_Zn": pd.DataFrame({"classes": "biome", "group": ["steppe", "forest"], "letters": ["a", "b"]}),
    "xrf_Zn": XRF,
    "dependence_Zn_slope": CURVE,
    "joint_Zn": pd.DataFrame({"feature": ["climate", "terrain"], "importance": [3.0, 9.0]}),
    "relation_chemical_index_of_alteration": pd.DataFrame({
        "annual_precipitation": [1.0, 2, 4], "chemical_index_of_alteration": [0.4, 0.5, 0.6]}),
    "representation": pd.DataFrame({"layer": "biome", "class": ["steppe"], "sites": [20], "site_share": [0.5],
                                    "area_share": [0.4]}),
}  # fmt: skip


def test_every_table_of_the_study_gets_its_figure() -> None:
    drawn = dict(charts_of(TABLES))
    assert set(drawn) == {
        "Representation of biome: share of the sites and of the area", "Frequency distributions of site means",
        "Zn by biome", "Calibration of XRF to ICP-MS, Zn", "Joint importance of groups of covariates, Zn",
        "Partial dependence, Zn", "Chemical index of alteration against annual precipitation",
    }  # fmt: skip
    violins = drawn["Zn by biome"].axes[0]
    assert sorted(text.get_text() for text in violins.texts) == ["a", "b"]
    left, right = drawn["Calibration of XRF to ICP-MS, Zn"].axes
    assert any("OLS: ICP-MS = 2 + 1.1 XRF" in str(line.get_label()) for line in left.lines)
    assert right.get_title(loc="left") == "Residuals"
    assert [is_drawn(name) for name in ("xrf_Zn", "xrf_coverage", "joint_drivers", "published")] == [
        True, False, False, False]  # fmt: skip


def test_sites_are_drawn_where_they_lie() -> None:
    grid = plateau_grid(50_000)
    store = xr.Dataset({"elevation": (("y", "x"), np.ones(grid.shape, "float32"))}, coords=coordinates(grid))
    (text, figure), *more = sites_figure(store, TABLES)
    assert (text, more) == ("Sampling sites", [])
    points = np.asarray(figure.axes[0].collections[-1].get_offsets())
    (west, east), (south, north) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    assert len(points) == 40
    assert ((points[:, 0] > west) & (points[:, 0] < east) & (points[:, 1] > south) & (points[:, 1] < north)).all()
    assert sites_figure(store, {}) == []


def test_all_tables_and_figures_of_the_paper_are_listed() -> None:
    listed = " ".join(paper for paper, *_ in COUNTERPARTS)
    for number in (
        "Table 1",
        "Table S1",
        "Fig. 1a",
        "Fig. 1b",
        *(f"Fig. {n}" for n in (2, 3, 4, "5a-f", "5g-l", 6, 7)),
    ):
        assert number in listed
    supplement = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}
    covered: set[int] = set()
    for paper, *_ in COUNTERPARTS:
        if " S" in paper and "Table" not in paper:
            first, _, last = paper.partition(" S")[2].replace("S", "").partition("-")
            covered |= set(range(int(first), int(last or first) + 1))
    assert covered == supplement
    assert set(counterparts(["sites_Zn"])["present"]) == {"yes", "no"}
    assert number_of("Zn by biome") == "Figs 3 and S6"
    assert number_of("Coverage of the intervals, Zn") == ""


def test_the_recipe_for_real_data_is_valid(tmp_path: Path) -> None:
    recipe = tomllib.loads(new_recipe("huo2026"))
    faults: list[str] = []
    table = read_table(ElementsTable, recipe["elements"], "elements", faults)
    assert table is not None
    assert not faults
    assert set(table.groups_of_features) == {"climate", "terrain", "vegetation", "soil", "weathering"}
    layers = {layer["name"] for layer in recipe["layers"]}
    assert set(table.features) - layers == {"chemical_index_of_alteration"}
    assert all("units" in layer or "flags" in layer for layer in recipe["layers"])
    with pytest.raises(InputError, match="leave --cube out"):
        new_recipe("huo2026", str(tmp_path / "cube.zarr"))


def test_relations_need_two_columns() -> None:
    with pytest.raises(InputError, match="two columns"):
        figures.relation(SITES)
    few = figures.relation(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}))
    assert "fewer than three" in few.axes[0].texts[0].get_text()


def test_distributions_have_the_unit_of_their_property() -> None:
    """Acidity and organic carbon were labelled mg kg-1."""
    figure = dict(charts_of({f"sites_{name}": SITES for name in ("Zn", "pH", "SOC")}))[
        "Frequency distributions of site means"
    ]
    ends = {axes.get_title(loc="left"): axes.get_xlabel().rpartition(", ")[2] for axes in figure.axes}
    assert ends == {"Zn": "mg kg⁻¹", "pH": "no unit", "SOC": "%"}
