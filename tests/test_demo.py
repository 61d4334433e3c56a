"""The demo: both maps from the sample; everything based on simulated samples is marked."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

import tpsoil
from tpsoil import demo, demo_pictures

pytestmark = pytest.mark.slow


TYPES_OF_KERNELS = """
import sys
def types_of_kernels():
    forest = ("tpsoil.kernels.growing", "tpsoil.kernels.trees")
    modules = [module for name, module in sys.modules.items() if name.startswith(forest)]
    kernels = {name: kernel for module in modules for name, kernel in vars(module).items()}
    return {name: str(kernel.signatures) for name, kernel in kernels.items() if getattr(kernel, "signatures", None)}
"""
"""Types for which this process compiled or loaded each kernel of the forest."""


PLANS = """
from tpsoil.recipes.element_reading import SampleReader
plans, plain = [], SampleReader.__init__
def counted(self, path):
    plans.append(path)
    plain(self, path)
SampleReader.__init__ = counted
"""
"""Every plan of a recipe with samples has a reader of its own."""


@pytest.fixture(scope="module")
def demo_output(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo") / "out"
    source = (
        f"import atexit\n{TYPES_OF_KERNELS}{PLANS}from tpsoil.cli import main\n"
        f"atexit.register(lambda: print(len(plans), file=open({str(folder) + '.plans'!r}, 'w')))\n"
        f"atexit.register(lambda: print(types_of_kernels(), file=open({str(folder) + '.types'!r}, 'w')))\n"
        f"main(['demo', {str(folder)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_it_maps_thickness_and_four_elements(demo_output: tuple[Path, str]) -> None:
    maps = tpsoil.open_cube(demo_output[0] / "maps.zarr")
    soil = tpsoil.open_cube(demo_output[0] / "cube.zarr").soil_mask.to_numpy() == 1
    for name in ("solum_thickness", *demo.TRUTH):
        values = maps[name].to_numpy()
        assert np.isnan(values[~soil]).all()
        assert np.isfinite(values[soil]).mean() > 0.99
    assert "water_erosion = 2.76" in maps.attrs["assumptions"]


def test_the_forest_recovers_the_known_truth_and_random_folds_are_over_optimistic(
    demo_output: tuple[Path, str],
) -> None:
    maps = tpsoil.open_cube(demo_output[0] / "maps.zarr")
    cube = tpsoil.open_cube(demo_output[0] / "cube.zarr")
    truth = demo.true_elements(cube.assign(slope=maps["slope"]))
    table = demo.element_table(maps, truth)
    assert (table["nse_truth"] > 0.9).all()
    assert (table["nse_random"] > table["nse_group"] + 0.05).all()


def test_everything_simulated_is_marked(demo_output: tuple[Path, str]) -> None:
    folder, printed = demo_output
    maps = tpsoil.open_cube(folder / "maps.zarr")
    for element in demo.TRUTH:
        assert maps[element].attrs["simulated"] == maps[f"{element}_sd"].attrs["simulated"] == "true"
        for line in printed.splitlines():
            assert element not in line or "simulated" in line
    assert "simulated" not in maps["solum_thickness"].attrs
    assert "simulated" in (folder / "demo.toml").read_text()
    assert "simulated" in (folder / "page.html").read_text()
    assert (folder / "simulated_samples.csv").exists()


def test_the_terminal_is_eighty_columns_wide(demo_output: tuple[Path, str]) -> None:
    tables = demo_output[1].split("Files:")[0]
    assert max(map(len, tables.splitlines())) <= 80
    assert "…" not in tables


def test_the_pictures_contain_a_map(demo_output: tuple[Path, str]) -> None:
    for name in ("thickness_illustrative", "processes", "solum_thickness", *demo.TRUTH, "zone"):
        picture = matplotlib.image.imread(demo_output[0] / f"{name}.png")
        assert picture.shape[0] > 500
        assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20


def test_samples_are_triplicates_within_a_cell(demo_output: tuple[Path, str]) -> None:
    samples = pd.read_csv(demo_output[0] / "simulated_samples.csv")
    assert len(samples) == 526 * 3
    assert (samples.groupby("site")[["longitude", "latitude"]].nunique() == 1).all(axis=None)


def test_the_second_process_compiles_what_trains_and_maps(demo_output: tuple[Path, str]) -> None:
    """For the same types, or the first process would compile again, unseen; and before anything slow is imported."""
    source = (
        f"{TYPES_OF_KERNELS}from tpsoil.demo_process import compile_forest\n"
        "compile_forest(); print(types_of_kernels())\n"
        "print([name for name in ('pandas', 'xarray', 'dask', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    types, imported = map(ast.literal_eval, done.stdout.splitlines())
    types_of_demo = ast.literal_eval(Path(f"{demo_output[0]}.types").read_text())
    called = ("grow_trees", "apply_rows", "fill_buckets", "code_leaves", "rank_column", "order_pixels", "encode_words",
              "walk_block", "mean_and_spread", "response_quantiles", "summed_quantiles")  # fmt: skip
    assert {name: types[name] for name in called} == {name: types_of_demo[name] for name in called}
    assert not {"counted_quantiles", "sum_leaves", "tree_quantiles"} & {*types, *types_of_demo}
    assert imported == []


def test_the_recipe_is_planned_and_its_samples_are_read_once(demo_output: tuple[Path, str]) -> None:
    assert Path(f"{demo_output[0]}.plans").read_text() == "1\n"


def test_a_folder_with_a_demo_is_not_overwritten_unasked(demo_output: tuple[Path, str]) -> None:
    again = subprocess.run(
        [sys.executable, "-m", "tpsoil", "demo", str(demo_output[0])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert "Traceback" not in again.stderr


def test_the_illustrative_map_varies_with_climate_and_cover_as_the_study_does(
    demo_output: tuple[Path, str],
) -> None:
    """The study has r of thickness with temperature 0.66, elevation -0.66, NDVI 0.45."""
    cube = tpsoil.open_cube(demo_output[0] / "cube.zarr").load()
    thickness = demo_pictures.illustrative_thickness(cube)["solum_thickness"].values
    soil = cube.soil_mask.values == 1
    known = np.isfinite(thickness)
    assert known[soil].mean() > 0.95
    assert not known[~soil].any()
    assert 0.8 < thickness[known].mean() < 1.2
    r = {name: np.corrcoef(thickness[known], cube[name].values[known])[0, 1]
         for name in ("mean_annual_temperature", "elevation", "ndvi")}  # fmt: skip
    assert 0.5 < r["mean_annual_temperature"] < 0.8
    assert -0.8 < r["elevation"] < -0.4
    assert r["ndvi"] > 0.4
