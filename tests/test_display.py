"""What shows itself in a notebook: the cube, a calibration, a forest, a run; and the tables they are made of."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from page_values import unpack_values

import tpsoil
from tpsoil.cube import create_cube, cube_info
from tpsoil.display import bar_chart, cell_text, html_summary, html_table, text_summary
from tpsoil.engine.state import Preview, Previews
from tpsoil.errors import InputError
from tpsoil.forest import train
from tpsoil.forest.dissimilarity import fit_applicability
from tpsoil.forest.layers import MapModel
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.ingest import read_raster
from tpsoil.recipes import read_recipe
from tpsoil.sample import write_sample
from tpsoil.solum import Ensemble, prepare_profiles
from tpsoil.solum.calibration import Calibration
from tpsoil.solum.parameters import PUBLISHED
from tpsoil.sources import read_catalogue
from tpsoil.variables import variable


def test_tables_escape_align_and_name_their_rows() -> None:
    text = html_table(["<zone>", "n"], [["a & b", 3], ["c", 4]], caption="<Zones>")
    assert "<caption>&lt;Zones&gt;</caption>" in text
    assert '<th scope="col">&lt;zone&gt;</th><th scope="col" class="n">n</th>' in text
    assert '<tr><th scope="row">a &amp; b</th><td class="n">3</td></tr>' in text
    assert html_table(["a"], []).endswith("<tbody></tbody></table>")
    assert "empty" not in html_summary("<t>", {"full": 1, "empty": ""})


def test_numbers_of_numpy_and_missing_ones() -> None:
    assert [cell_text(v) for v in (np.float32(0.25), np.int64(7), np.bool_(True), pd.NaT, pd.NA, np.array([1, 2]))] == [
        "0.25", "7", "yes", "–", "–", "1, 2",
    ]  # fmt: skip


def test_a_cube_shows_its_grid_and_layers(tmp_path: Path) -> None:
    text = cube_info(write_sample(tmp_path / "cube.zarr"))._repr_html_()
    for words in ("225 x 350 cells", "128 x 128", "elevation", "degC", "climate_zone"):
        assert words in text, words
    assert text.count('<th scope="row">') == 8
    empty = cube_info(create_cube(tmp_path / "empty.zarr", plateau_grid(100_000)) or tmp_path / "empty.zarr")
    assert "<dd style='margin:0'>0</dd>" in empty._repr_html_()


def test_a_forest_shows_target_features_and_scores() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 2)), columns=["slope", "ndvi"]).assign(zinc=lambda t: 30 + 3 * t["slope"])
    table["site"] = np.arange(60) // 3
    trained = train(table, "zinc", ["slope", "ndvi"], "site", folds=["random"], n_folds=3, trees=10, seed=1)
    text = trained._repr_html_()
    assert "slope, ndvi" in text
    assert "60 of 60" in text
    assert cell_text(float(trained.scores["nse"].iloc[0])) in text


def test_a_calibration_shows_its_parameters_and_errors() -> None:
    scores = pd.DataFrame({"kind": ["fit", "cv", "fit", "cv"], "zone": ["1", "1", "all", "all"], "n": 9,
                           "rmse": [0.31, 0.35, 0.32, 0.36], "note": ""})  # fmt: skip
    empty = pd.DataFrame()
    settings = {"profiles_used": 9, "profiles_given": 11, "problem": "five", "starts": 4, "preset": "paper"}
    shown = Calibration({1: PUBLISHED[1]}, scores, empty, empty, empty, empty, empty, empty, {}, settings)
    text = shown._repr_html_()
    for words in ("9 of 11", "0.36", "2765", "RMSE, cv, m"):
        assert words in text, words


def test_a_runs_status_shows_tiles_and_reasons() -> None:
    def plan(**what: Any) -> Any:
        return SimpleNamespace(total=4, current=1, missing=[1], stale={2: ["elevation changed"]}, to_compute=[1, 2],
                               reasons=lambda: {"elevation changed": 1}, **what)  # fmt: skip

    text = Previews([Preview("solum thickness", plan())])._repr_html_()
    assert "2 of 4" in text
    assert "1: elevation changed" in text


def test_models_have_a_short_repr() -> None:
    """repr(CompiledForest) was 22 kB for five trees: numpy arrays by the thousand values."""
    rng = np.random.default_rng(0)
    features = [f"covariate_{k:02d}" for k in range(40)]
    table = pd.DataFrame(rng.random((400, 40)), columns=features).assign(Fe=rng.random(400))
    trained = train(table, "Fe", features, trees=5, folds="random")
    shown = {
        "5 with": trained.compile(responses=True),
        "Fe, mg kg-1": trained,
        "interval": MapModel.of(trained),
    }
    settings = {"profiles_used": 2, "profiles_given": 3, "problem": 8, "starts": 2, "preset": "paper"}
    scores = pd.DataFrame({"kind": ["fit", "cv"], "zone": ["all", "all"], "rmse": [0.1, 0.2], "n": [2, 2]})
    long = pd.DataFrame({"value": np.arange(1000)})
    shown["2 of 3"] = Calibration(dict(PUBLISHED), scores, long, long, long, long, long, long, {}, settings)
    for words, model in shown.items():
        text = repr(model)
        assert words in text
        assert len(text.splitlines()) <= 10
        assert max(map(len, text.splitlines())) <= 100
    assert text_summary("Empty", {}) == "Empty"


def test_public_objects_have_short_texts() -> None:
    """A few lines each, whatever arrays and tables they have."""
    grid = plateau_grid(100_000)
    height = xr.DataArray(np.zeros(grid.shape), dims=("y", "x"), coords=coordinates(grid), name="elevation")
    one = {"solum_thickness": 0.9, "mean_annual_temperature": 3.0, "annual_precipitation": 600.0, "water_erosion": 2.0,
           "wind_erosion": 1.0, "general_curvature": 0.0}  # fmt: skip
    rng = np.random.default_rng(0)
    ensemble = Ensemble(rng.random((500, 5)), rng.random(500), np.zeros(5), np.ones(5))
    layer = {"name": "elevation", "source": "dem.tif"}
    recipe = read_recipe({"run": {"name": "a", "output": "a.zarr"}, "grid": {"resolution": 1000}, "layers": [layer]})
    rows = pd.DataFrame({"slope": rng.random(50)})
    applicability = fit_applicability(rows, folds=rng.integers(0, 5, 50))
    texts = {
        "500": repr(ensemble),
        "thickness is zero or negative": repr(prepare_profiles(pd.DataFrame([one, {**one, "solum_thickness": 0.0}]))),
        "elevation": repr(read_raster(height, variable("elevation"), units="m")),
        "layers": repr(recipe),
        "entries": repr(read_catalogue()),
        "threshold": repr(applicability),
    }
    for words, text in texts.items():
        assert words in text, text
        assert len(text) < 800, text


def test_a_viewer_of_a_store_is_one_offline_document_and_bounded(tmp_path: Path) -> None:
    rows = np.arange(900.0 * 800.0, dtype="f4").reshape(900, 800)
    large = xr.Dataset({"slope": (("y", "x"), rows)}, {"y": -np.arange(900.0) * 10, "x": np.arange(800.0) * 10})
    viewer = tpsoil.explore(large, cells=20_000)
    shown = viewer._repr_html_()
    assert shown.startswith("<iframe")
    assert "srcdoc=" in shown
    assert "every 6th" in repr(viewer)
    assert "://" not in viewer.page
    assert len(viewer.page) < 300_000
    near = tpsoil.explore(large, window=(100, -300, 300, -100))
    assert "21 x 21 cells" in near.note
    assert viewer.save(tmp_path / "a.html").stat().st_size > 10_000
    for window in ((5, 0, 5, 1), (1e6, 1e6, 2e6, 2e6), (0, 0, np.nan, 1)):
        with pytest.raises(InputError, match="window"):
            tpsoil.explore(large, window=window)
    with pytest.raises(InputError, match="no layer with dims"):
        tpsoil.explore(xr.Dataset())


def test_a_viewer_reads_a_lazy_store_chunk_by_chunk() -> None:
    largest = 0

    def block(values: np.ndarray) -> np.ndarray:
        nonlocal largest
        largest = max(largest, values.size)
        return values

    zeros = xr.DataArray(np.zeros((2000, 2000), "f4"), dims=("y", "x")).chunk(200)
    lazy = xr.apply_ufunc(block, zeros, dask="parallelized", output_dtypes=["f4"])
    tpsoil.explore(lazy.to_dataset(name="slope"), cells=10_000)
    assert 0 < largest <= 200 * 200


def test_bars_start_at_zero_and_omit_what_is_not_a_number() -> None:
    text = bar_chart({"a": 1.0, "b": -1.0, "<c>": 0.5, "d": float("nan")})
    assert text.count("<rect") == 3
    assert "&lt;c&gt;" in text
    widths = [float(w) for w in re.findall(r'<rect x="[\d.]+" y="\d+" width="([\d.]+)"', text)]
    assert widths == [130, 130, 65]
    assert bar_chart({}) == bar_chart({"a": float("nan")}) == ""


def test_zones_show_their_shares() -> None:
    rng = np.random.default_rng(1)
    cells = {"elevation": (("y", "x"), rng.normal(4500, 300, (20, 20))), "slope": (("y", "x"), rng.random((20, 20)))}
    zones = tpsoil.solum.Zones(k=2, n_init=1)
    assert "not fitted" in zones._repr_html_()
    assert zones.fit(xr.Dataset(cells), names=["elevation", "slope"])._repr_html_().count("<rect") == 2


def test_a_viewer_of_a_large_store_reads_an_overview(tmp_path: Path) -> None:
    grid = plateau_grid(5_000)  # 360 x 560
    slope = (np.arange(grid.shape[0])[:, None] + np.arange(grid.shape[1])[None, :]).astype("f4")
    where = tmp_path / "cube.zarr"
    create_cube(where, grid, chunks=64)
    layer = xr.DataArray(slope / 12, coordinates(grid), ("y", "x"), attrs={"units": "degree", "kind": "continuous"})
    tpsoil.add_layer(where, "slope", layer)
    whole = tpsoil.explore(where)
    assert "overview" not in whole.note
    assert tpsoil.cube.write_overviews(where) == ["overviews/2/slope"]
    coarse = tpsoil.explore(where, cells=50_400)
    assert coarse.note.startswith("180 x 280 shown")
    assert "from an overview" in coarse.note
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', coarse.page, re.DOTALL).group(1))
    data = re.search(r'id="data-0">(.*?)</script>', coarse.page, re.DOTALL).group(1)
    values = unpack_values(data, meta["layers"][0]["dtype"], (180, 280))
    means = slope.reshape(180, 2, 280, 2).mean(axis=(1, 3)) / 12  # not every second cell
    np.testing.assert_allclose(values, means, rtol=1e-5)
