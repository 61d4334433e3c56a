"""The page without a browser: what stands in it, what it must not hold, and what is refused."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from page_values import unpack_rounded, unpack_values
from typer.testing import CliRunner

import tpsoil.cli.app
from tpsoil.cube import create_cube, open_cube
from tpsoil.errors import AccessError, CorruptStoreError, InputError, MissingInputError
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.reports import page_html, write_page
from tpsoil.reports.charts import charts_of
from tpsoil.reports.pixels import pack_values
from tpsoil.reports.story import read_story
from tpsoil.variables import variable

GRID = plateau_grid(50_000)  # 36 x 56
VOID = {"meta", "link", "br", "img", "input", "hr"}


def layer(name: str, values: Any, **attrs: Any) -> xr.DataArray:
    spec = variable(name)
    data = np.broadcast_to(np.asarray(values, dtype=spec.dtype), GRID.shape).copy()
    return xr.DataArray(
        data, dims=("y", "x"), coords=coordinates(GRID), name=name, attrs={**spec.attributes(), **attrs}
    )


def sample(**attrs: Any) -> xr.Dataset:
    rng = np.random.default_rng(4)
    rows, columns = GRID.shape
    y, x = np.mgrid[:rows, :columns]
    thickness = (0.4 + x / columns + 0.2 * y / rows + rng.normal(0, 0.01, GRID.shape)).astype("f4")
    thickness[:3] = np.nan
    return xr.Dataset(
        {
            "elevation": layer(
                "elevation", 3000 + 40 * x + 3 * y, source="dem.tif", source_digest="ab12", simulated=False
            ),
            "zone": layer("zone", np.where(x < 28, 1, 2)),
            "solum_thickness": layer(
                "solum_thickness", thickness, parents="elevation", assumptions="rain = 1 mm; no dust"
            ),
            "solum_status": layer("solum_status", np.where(y < 9, 1, 0), parents="elevation"),
        },
        attrs={"title": "A <small> plateau", "created": "2026-11-20T01:02:03", "citation": "Chen et al. 2026", **attrs},
    )  # fmt: skip


class Outline(HTMLParser):
    """Checks that elements nest, and collects what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def visible_text(self) -> str:
        return " ".join(" ".join(self.text).split())


def meta_of(text: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="meta">(.*?)</script>', text, re.DOTALL)
    assert match
    return json.loads(match.group(1))


def data_of(text: str, index: int | str) -> str:
    result = re.search(rf'id="data-{index}">(.*?)</script>', text, re.DOTALL)
    assert result
    return result.group(1)


# --- values ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.floats(width=32)))
def test_values_come_back_bit_for_bit(values: np.ndarray) -> None:
    text, dtype = pack_values(values.astype(np.float64), "continuous")
    back = unpack_values(text, dtype, values.shape)
    assert dtype == "float32"
    np.testing.assert_array_equal(back[~np.isnan(values)].view("u4"), values[~np.isnan(values)].view("u4"))
    assert np.isnan(back[np.isnan(values)]).all()


@pytest.mark.parametrize(("codes", "dtype"), [([0, 16, 254], "uint8"), ([0, 255], "int32"), ([-5, 3], "int32")])
def test_classes_come_back_with_what_is_nothing(codes: list[int], dtype: str) -> None:
    values = np.array([[*map(float, codes), np.nan]])
    text, result = pack_values(values, "categorical")
    back = unpack_values(text, result, values.shape)
    assert result == dtype
    assert back[0, :-1].tolist() == codes
    assert back[0, -1] == (255 if dtype == "uint8" else np.iinfo("i4").min)


def test_the_page_holds_the_stores_float32_values_north_up() -> None:
    store = sample()
    for variant in (store, store.isel(y=slice(None, None, -1))):
        text = page_html(variant)
        meta = meta_of(text)
        names = [entry["name"] for entry in meta["layers"]]
        assert names == ["solum_thickness", "solum_status", "elevation", "zone"]  # modelled layers come first
        back = unpack_values(data_of(text, 0), "float32", GRID.shape)
        np.testing.assert_array_equal(back, store["solum_thickness"].values)


def test_a_large_store_is_decimated_within_the_budget_and_reports_it() -> None:
    store = sample()
    text = page_html(store, cells=1000)
    grid = meta_of(text)["grid"]
    assert grid["rows"] * grid["columns"] * 4 <= 1000 * 1.3
    step, first = grid["step"], grid["first"]
    assert (step, first) == (3, 1)
    back = unpack_values(data_of(text, 2), "float32", (grid["rows"], grid["columns"]))
    np.testing.assert_array_equal(back, store["elevation"].values[first::step, first::step])
    assert "every 3rd shown" in Outline(text).visible_text
    assert "Shown: every 3rd row and column of the store." in meta_of(text)["layers"][0]["lines"]


def test_positions_are_those_of_the_cells() -> None:
    grid = meta_of(page_html(sample()))
    assert (grid["grid"]["left"], grid["grid"]["top"]) == (-1340, 900)
    assert (grid["grid"]["dx"], grid["grid"]["dy"], grid["grid"]["unit"]) == (50, 50, "km")
    nodes = grid["lonlat"]
    middle = nodes["n"] // 2 * nodes["n"] + nodes["n"] // 2
    assert nodes["lon"][middle] == pytest.approx(89.63, abs=0.05)  # x = 60 km on the parallel of 33 N
    assert nodes["lat"][middle] == pytest.approx(33.0, abs=0.02)


# --- content of the page ---------------------------------------------------------------------------------------


def test_sections_titles_and_escapes() -> None:
    text = page_html(sample(versions={"numba": "0.61"}, scores='[{"zone": 1, "rmse": 0.34}]', parameters={"D": 0.0016}))
    page = Outline(text)
    assert [a["id"] for a in page.all("section")] == [
        "map-section", "scores", "maps", "assumptions", "parameters", "excluded", "provenance", "citation",
    ]  # fmt: skip
    for words in ("A <small> plateau", "rain = 1 mm", "no dust", "numba", "0.34", "Chen et al. 2026", "ab12",
                  "created 2026-11-20", "bare"):  # fmt: skip
        assert words in page.visible_text, words
    assert "<small> plateau" not in text  # escaped everywhere, in the JSON too


def test_names_in_a_store_cannot_end_the_script() -> None:
    store = sample()
    store["zone"].attrs["long_name"] = "</script><script>alert(1)</script>"
    text = page_html(store)
    assert "<script>alert" not in text
    Outline(text)
    assert "</script><script>alert(1)</script>" in {entry["title"] for entry in meta_of(text)["layers"]}


@pytest.mark.parametrize("mark", [True, "Soil observations are simulated from a known truth."])
def test_simulated_stands_in_title_heading_note_and_layer(mark: Any) -> None:
    text = page_html(sample(simulated=mark))
    page = Outline(text)
    assert "<title>A &lt;small&gt; plateau (simulated)</title>" in text
    assert page.visible_text.count("A <small> plateau (simulated)") >= 1
    assert any(a.get("class") == "simulated" and a.get("role") == "note" for a in page.all("p"))
    titles = {entry["name"]: entry["title"] for entry in meta_of(text)["layers"]}
    assert titles["solum_thickness"] == "Solum thickness (simulated)"
    assert titles["elevation"] == "Elevation above sea level"  # has simulated=False
    assert "simulated" not in Outline(page_html(sample())).visible_text


def test_one_simulated_layer_is_named() -> None:
    store = sample()
    store["zone"].attrs["simulated"] = 1
    assert "Simulated, not observed: zone." in Outline(page_html(store)).visible_text


def test_every_picture_control_and_table_has_a_name() -> None:
    page = Outline(page_html(sample()))
    assert all(a.get("alt") for a in page.all("img"))
    assert len(page.all("img")) == 4
    assert all(a.get("width") and a.get("height") and a.get("loading") != "lazy" for a in page.all("img"))
    assert all(a.get("aria-label") or a["id"] == "reset" for a in page.all("button"))
    named = {a["for"] for a in page.all("label")}
    assert named == {a["id"] for tag in ("select", "input") for a in page.all(tag)}
    assert all(a.get("role") == "region" and a.get("aria-label") and a.get("tabindex") == "0"
               for a in page.all("div") if a.get("class") == "scroll")  # fmt: skip
    assert all(a.get("scope") in {"row", "col"} for a in page.all("th"))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in page.all("a") if a["href"]}
    assert targets <= set(ids)
    assert {a.get("lang") for a in page.all("html")} == {"en"}


def test_the_file_names_nothing_outside_itself() -> None:
    text = page_html(sample())
    page = Outline(text)
    for tag, attrs in page.elements:
        for key in ("src", "href", "action", "data", "poster", "srcset"):
            value = attrs.get(key)
            assert value is None or value.startswith(("data:", "#")), (tag, key, value)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"url\((?!data:)|@import|https?://|fetch\(|XMLHttpRequest", text)


def test_units_ticks_and_classes_of_the_legend() -> None:
    layers = {entry["name"]: entry for entry in meta_of(page_html(sample()))["layers"]}
    assert layers["solum_thickness"]["unit"] == "m"
    ticks = layers["solum_thickness"]["ticks"]
    assert len(ticks) == 5
    assert all(float(tick) == round(float(tick), 2) for tick in ticks)
    assert float(ticks[0]) == layers["solum_thickness"]["high"] >= 2
    assert [(c["name"], c["share"]) for c in layers["zone"]["classes"]] == [("zone 1", "50.0 %"), ("zone 2", "50.0 %")]
    status = {c["name"]: c["share"] for c in layers["solum_status"]["classes"]}
    assert status == {"steady": "75.0 %", "bare": "25.0 %", "no steady state": "", "capped at bedrock": ""}
    assert len(layers["elevation"]["colours"]) == 256 * 6


def test_more_cells_than_a_page_holds_exactly_are_rounded_and_the_page_states_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tpsoil.reports.viewer.EXACT_CELLS", 100)
    store = sample()[["elevation", "zone"]]
    store["elevation"][3:5, 7] = np.nan
    text = page_html(store)
    entry, zone = meta_of(text)["layers"]
    assert "rounded to 0.10% of the layer's range" in " ".join(entry["lines"])
    stored = store["elevation"].values.astype(float)
    back = unpack_rounded(data_of(text, 0), entry["packing"], GRID.shape)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(stored))
    assert np.nanmax(np.abs(back - stored)) <= 0.5001e-3 * np.nanmax(stored - np.nanmin(stored))
    assert zone["dtype"] == "uint8"  # classes are never rounded


def test_a_doi_is_a_link_and_the_only_address_in_a_page() -> None:
    store = sample(references="Beck 2018, doi:10.1038/sdata.2018.214; Huo (https://doi.org/10.1016/j.catena.2026.1).")
    text = page_html(store)
    links = [a for a in Outline(text).all("a") if not str(a["href"]).startswith("#")]
    assert {a["href"] for a in links} == {
        "https://doi.org/10.1038/sdata.2018.214", "https://doi.org/10.1016/j.catena.2026.1"}  # fmt: skip
    assert all(a["rel"] == "noopener noreferrer" for a in links)  # nothing is loaded; a reader may follow it


def test_the_first_screen_states_value_range_place_score_and_share_outside() -> None:
    store = sample(plausibility_notes=["zone 2: mean 2.76 t ha-1 a-1"], assumptions=["K = 0.03"])
    store["solum_thickness"].attrs.update(nse_block=0.25, nse_random=0.41, deciding_folds="blocks of 3 degrees")
    inside = layer("applicability", np.where(np.arange(GRID.shape[1]) < 42, 1, 0))
    store = store.assign(solum_thickness_applicability=inside.rename("solum_thickness_applicability"))
    text = page_html(store)
    head = Outline(text[: text.index("<main>")] + "</body></html>").visible_text
    thickness = store["solum_thickness"].values
    low, middle, high = np.nanquantile(thickness, (0.05, 0.5, 0.95))
    numbers = re.search(r"median of ([\d.]+) m; 90 % of the area lies between ([\d.]+) and ([\d.]+) m", head)
    assert numbers
    np.testing.assert_allclose([float(n) for n in numbers.groups()], [middle, low, high], rtol=0.01)
    place = re.search(r"highest near (\d+)° N, (\d+)° E", head)
    assert place
    assert int(place.group(2)) > 95  # the values rise eastward
    for words in (
        "NSE 0.25 (blocks of 3 degrees), random folds 0.41",
        "25 % of the area",
        "2.76 t ha⁻¹ a⁻¹",
        "K = 0.03",
    ):
        assert words in head, words
    assert "hardly better" not in head
    store["solum_thickness"].attrs["nse_block"] = 0.04
    weak = page_html(store)
    assert "NSE 0.04 (blocks of 3 degrees): hardly better than the samples' mean" in Outline(weak).visible_text


# --- content of the story --------------------------------------------------------------------------------------


def test_tables_notes_and_recipe_of_a_run_are_read_from_its_store(tmp_path: Path) -> None:
    where = tmp_path / "run.zarr"
    create_cube(where, GRID)
    models = where / "_tpsoil" / "models"
    models.mkdir(parents=True)
    stages = [
        {"name": "terrain", "section": "derive", "outputs": ["elevation"]},
        {"name": "solum", "section": "solum", "outputs": ["solum_thickness", "zone", "absent"]},
    ]
    run = {"name": "europe", "recipe": {"run": {"name": "europe"}}, "stages": stages}
    (where / "_tpsoil" / "run.json").write_text(json.dumps(run))
    (where / "_tpsoil" / "tables").mkdir()
    (where / "_tpsoil" / "tables" / "solum.csv").write_text("zone,cells\nall,9\n")
    predictions = pd.DataFrame({"observed": [1.0, 2, 3], "predicted": [1.0, 2, 4]}).to_csv(index=False)
    scores = pd.DataFrame({"element": ["Fe"], "folds": ["block"], "nse": [0.66]}).to_csv(index=False)
    content = {
        "tables": {"elements": scores, "predictions_Fe": predictions},
        "notes": ["3 of 9 samples lie off the grid"],
    }
    (models / "fe.json").write_text(json.dumps(content))
    (models / "zn.json").write_text(json.dumps({"tables": {"elements": scores.replace("Fe", "Zn")}, "notes": []}))
    story = read_story(sample().drop_attrs(deep=False), where=str(where))
    assert story.title == "europe"
    assert story.notes == ["3 of 9 samples lie off the grid"]
    assert [table.attrs["caption"] for table in story.scores] == [
        "Elements, scores out of fold", "Solum thickness by zone",
    ]  # fmt: skip
    assert story.scores[0]["element"].tolist() == ["Fe", "Zn"]
    assert list(story.charts) == ["predictions_Fe"]
    text = page_html(sample(), where=str(where))
    assert 'alt="Chart: Observed against predicted, Fe"' in text
    assert "&quot;europe&quot;" in text
    assert [entry["name"] for entry in meta_of(text)["layers"]] == ["solum_thickness", "zone"]  # the model's maps
    complete = page_html(sample(), where=str(where), everything=True)
    assert [e["name"] for e in meta_of(complete)["layers"]] == ["solum_thickness", "zone", "solum_status", "elevation"]


def test_only_the_tables_of_simulated_layers_are_called_so(tmp_path: Path) -> None:
    where = tmp_path / "run.zarr"
    create_cube(where, GRID)
    (where / "_tpsoil" / "tables").mkdir(parents=True)
    stages = [
        {"name": n, "section": n, "outputs": [o]} for n, o in (("solum", "solum_thickness"), ("elements", "zone"))
    ]
    (where / "_tpsoil" / "run.json").write_text(json.dumps({"stages": stages}))
    for name in ("solum", "elements"):
        (where / "_tpsoil" / "tables" / f"{name}.csv").write_text("a,b\n1,2\n")
    store = sample()
    store["zone"].attrs["simulated"] = True
    text = page_html(store, where=str(where))
    assert "<caption>Elements, scores out of fold (simulated)</caption>" in text
    assert "<caption>Solum thickness by zone</caption>" in text


def test_every_long_table_of_a_run_becomes_its_figure() -> None:
    pairs = pd.DataFrame({"observed": [1.0, 2, 3], "predicted": [1.0, 2, 4], "zone": [1, 1, 2]})
    effect = pd.DataFrame({"feature": "slope", "value": [0.0, 9], "effect": [0.0, 1]})
    tables = {
        "predictions_solum": pairs,
        "coverage_Fe": pd.DataFrame({"group": "all", "level": [0.5, 0.9], "n": 9, "conformal": [0.5, 0.9]}),
        "importance_Fe": pd.DataFrame({"feature": ["slope"], "importance": [1.0]}),
        "effect_Fe_slope": effect,
        "effect_Fe_ndvi": effect.assign(feature="ndvi"),
        "effect_Fe_slope_ndvi": pd.DataFrame(
            {"slope": [0.0, 0, 9, 9], "ndvi": [0.1, 0.9] * 2, "effect": [0.0, 1, 2, 3]}
        ),
        "traces_solum": pd.DataFrame({"evaluation": [1, 2], "objective": [2.0, 1.0], "zone": 1, "start": 0}),
        "transect_north": pd.DataFrame(
            {"distance_km": [0.0, 1], "elevation": [4000.0, 5000], "solum_thickness": [0.5, 1]}
        ),
        "correlations_solum": pd.DataFrame({"first": ["slope"], "second": ["ndvi"], "r": [0.5], "p": [0.01]}),
        "predictions_empty": pairs.iloc[:0],
        "effect_odd": pd.DataFrame({"a": [1]}),
    }
    result = charts_of(tables)
    assert [text for text, _ in result] == [
        "Observed against predicted, solum", "Coverage of the intervals, Fe", "Importance of the covariates, Fe",
        "Joint effect, Fe slope ndvi", "Calibration, solum", "Transect, north", "Correlation, solum",
        "Effects of the covariates, Fe",
    ]  # fmt: skip
    figures = dict(result)
    assert figures["Observed against predicted, solum"].axes[0].get_xlabel() == "predicted, m"
    assert len(figures["Effects of the covariates, Fe"].axes) == 2
    assert figures["Effects of the covariates, Fe"].axes[0].get_ylabel() == "effect, mg kg⁻¹"


def test_a_damaged_record_of_a_run_is_named(tmp_path: Path) -> None:
    where = tmp_path / "run.zarr"
    create_cube(where, GRID)
    (where / "_tpsoil").mkdir()
    (where / "_tpsoil" / "run.json").write_text('{"name": ')
    with pytest.raises(CorruptStoreError, match=r"run\.zarr: _tpsoil/run\.json is damaged .*; run the recipe again"):
        read_story(sample(), where=str(where))


def test_scores_in_attributes_become_a_table() -> None:
    store = sample()
    store["solum_thickness"].attrs.update(nse_random=0.41, nse_block=0.25)
    store["solum_thickness_sd"] = store["solum_thickness"]  # a companion repeats the scores of its map
    (table,) = read_story(store).scores
    assert table.to_dict("records") == [{"layer": "solum_thickness", "nse_random": 0.41, "nse_block": 0.25}]


def test_a_sentence_of_many_layers_is_listed_once() -> None:
    store = sample()
    store["zone"].attrs["assumptions"] = "no dust"
    assert read_story(store).assumptions == ["rain = 1 mm; no dust"]  # a sentence contained in a longer one is omitted
    store["zone"].attrs["assumptions"] = ["frost is ignored", "rain = 1 mm; no dust; no fog"]
    assert read_story(store).assumptions == ["frost is ignored", "rain = 1 mm; no dust; no fog"]


# --- files, bad input ------------------------------------------------------------------------------------------


def stored(tmp_path: Path, store: xr.Dataset) -> Path:
    from tpsoil.cube import add_layer

    where = tmp_path / "cube.zarr"
    create_cube(where, GRID)
    for name, data in store.data_vars.items():
        add_layer(where, str(name), data)
    return where


def test_the_command_writes_a_page_of_a_store(tmp_path: Path) -> None:
    where = stored(tmp_path, sample()[["elevation", "zone"]])
    out = tmp_path / "new" / "page.html"
    done = CliRunner().invoke(tpsoil.cli.app.app, ["report", str(where), str(out), "--title", "Hello"])
    assert done.exit_code == 0, done.output
    assert "page.html" in done.output
    text = out.read_text(encoding="utf-8")
    assert "<title>Hello</title>" in text
    assert [p.name for p in out.parent.iterdir()] == ["page.html"]
    index = [entry["name"] for entry in meta_of(text)["layers"]].index("elevation")
    back = unpack_values(data_of(text, index), "float32", GRID.shape)
    np.testing.assert_array_equal(back, open_cube(where)["elevation"].values)


def test_wrong_input_is_reported(tmp_path: Path) -> None:
    store = sample()
    with pytest.raises(MissingInputError, match=r"no layer 'solum_thicknes'; did you mean 'solum_thickness'\?"):
        write_page(store, tmp_path / "a.html", layers=["solum_thicknes"])
    with pytest.raises(InputError, match=r"'a\.pdf' ends in '\.pdf', expected \.html"):
        write_page(store, tmp_path / "a.pdf")
    with pytest.raises(InputError, match=r"no layer with dims \(y, x\); its variables: nothing"):
        write_page(xr.Dataset(), tmp_path / "a.html")
    with pytest.raises(MissingInputError, match=r"absent\.zarr"):
        write_page(tmp_path / "absent.zarr", tmp_path / "a.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(AccessError, match="cannot write"):
        write_page(store, tmp_path / "file" / "a.html")


def test_the_command_leaves_with_status_2(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left:
        tpsoil.cli.main(["report", str(tmp_path / "absent.zarr"), str(tmp_path / "a.html")])
    assert left.value.code == 2
    assert not (tmp_path / "a.html").exists()
    done = CliRunner().invoke(tpsoil.cli.app.app, ["report", "a.zarr", "a.html", "--all", "--layer", "slope"])
    assert isinstance(done.exception, InputError)
    assert "--all has no effect with --layer" in str(done.exception)


def test_empty_layers_and_single_cells_have_a_page() -> None:
    empty = xr.Dataset({"slope": layer("slope", np.nan), "zone": layer("zone", 255)})
    page = Outline(page_html(empty))
    assert "No cell has a value." in json.dumps(meta_of(page_html(empty)))
    assert any("no cell has a value" in str(a["alt"]) for a in page.all("img"))
    single = sample().isel(y=slice(9, 10), x=slice(4, 5))
    text = page_html(single)
    assert unpack_values(data_of(text, 0), "float32", (1, 1))[0, 0] == single["solum_thickness"].values[0, 0]
    plain = xr.Dataset({"slope": (("y", "x"), np.ones((2, 3), "f4"))})
    assert meta_of(page_html(plain))["lonlat"] is None


def test_the_history_of_a_netcdf_file_is_a_sentence_and_no_table() -> None:
    """Text of several lines with commas was read as CSV."""
    history = "2024-05-01, cdo remapcon, by A\n2024-05-02, ncks -v slope"
    (table,) = read_story(xr.Dataset(attrs={"history": history})).provenance
    assert table.to_dict("records") == [{"item": "history", "value": history}]


def test_own_classes_are_not_mixed_with_those_of_the_catalogue() -> None:
    """A land cover with its own flags was listed with the classes of IGBP beside them."""
    flags = {"flag_values": [10, 20], "flag_meanings": "meadow open_forest"}
    cover = layer("land_cover", 10, **flags)
    (shown,) = meta_of(page_html(cover.to_dataset()))["layers"]
    assert [entry["name"] for entry in shown["classes"]] == ["meadow", "open forest"]


def test_names_in_tables_of_a_run_are_no_missing_values(tmp_path: Path) -> None:
    """Sites called NA and classes called None were missing in the tables of models."""
    where = tmp_path / "run.zarr"
    create_cube(where, GRID)
    (where / "_tpsoil" / "models").mkdir(parents=True)
    content = {"tables": {"excluded": "site,reason\nNA,None\n7,\n"}, "notes": []}
    (where / "_tpsoil" / "models" / "fe.json").write_text(json.dumps(content))
    table = next(t for t in read_story(sample(), where=str(where)).scores if t.attrs["name"] == "excluded")
    assert table["site"].tolist() == ["NA", "7"]
    assert table["reason"].tolist()[0] == "None"
    assert table["reason"].isna().tolist() == [False, True]


def test_the_mask_of_a_cube_on_shifted_rows_is_not_drawn(tmp_path: Path) -> None:
    """Only the columns were compared: a cube of the same size further north masked the wrong cells."""
    from tpsoil.cube import add_layer

    where = tmp_path / "run.zarr"
    create_cube(where, GRID)
    (where / "_tpsoil").mkdir()
    store = sample()[["solum_thickness"]]
    alone = data_of(page_html(store, where=str(where)), "ground")
    (where / "_tpsoil" / "run.json").write_text(json.dumps({"cube": "../cube.zarr", "stages": []}))
    for shift, same in ((5, True), (0, False)):
        grid = GRID.translate_pix(0, -shift)
        create_cube(tmp_path / "cube.zarr", grid, overwrite=True)
        mask = xr.DataArray(np.tri(*GRID.shape, dtype="uint8"), dims=("y", "x"), coords=coordinates(grid))
        add_layer(tmp_path / "cube.zarr", "soil_mask", mask)
        assert (data_of(page_html(store, where=str(where)), "ground") == alone) is same
