"""The grid of a box in degrees: the same from a function, the command line, `[grid]` and `fetch`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import web
from geotiffs import write_tif
from pyproj import Transformer

from tpsoil.cube import cube_info
from tpsoil.errors import InputError
from tpsoil.grid import same_grid
from tpsoil.recipes.grids import grid_of_box
from tpsoil.recipes.recipe import grid_of_recipe, read_recipe

Command = Callable[..., Any]

ALPS = (5.0, 44.0, 17.0, 49.0)
TIBET = (88.0, 29.0, 92.0, 32.0)


@pytest.mark.parametrize(
    ("box", "projection"),
    [
        (ALPS, "Lambert Azimuthal Equal Area"),
        (TIBET, "Albers Equal Area"),
        ((-70.0, -20.0, -60.0, -15.0), "Lambert Azimuthal Equal Area"),
    ],
)
def test_it_covers_the_box_and_little_more(box: tuple[float, float, float, float], projection: str) -> None:
    grid = grid_of_box(box, 5000, where="test")
    assert projection in str(grid.crs.proj.to_wkt())
    to_grid = Transformer.from_crs(4326, grid.crs.proj, always_xy=True)
    left, bottom, right, top = to_grid.transform_bounds(*box, densify_pts=501)
    cells = grid.boundingbox
    assert 0 <= left - cells.left < 5000
    assert 0 <= cells.right - right < 5000
    assert 0 <= bottom - cells.bottom < 5000
    assert 0 <= cells.top - top < 5000


def recipe_with(folder: Path, grid: dict[str, object]) -> dict[str, object]:
    layers = [{"name": "elevation", "source": str(folder / "dem.tif")}]
    return {"run": {"name": "a", "output": str(folder / "a.zarr")}, "grid": grid, "layers": layers}


def test_the_command_line_and_a_recipe_make_the_same_grid(tpsoil_command: Command, tmp_path: Path) -> None:
    expected = grid_of_box(ALPS, 20_000, where="test")
    store = tmp_path / "alps.zarr"
    assert tpsoil_command("cube", "create", store, "--bbox", *ALPS, "--resolution", 20000).status == 0
    assert same_grid(cube_info(store).grid, expected)
    asked = {"bbox": list(ALPS), "resolution": 20000}
    assert same_grid(grid_of_recipe(read_recipe(recipe_with(tmp_path, asked))), expected)
    named = grid_of_box(ALPS, 20_000, "EPSG:3035", where="test")
    assert same_grid(grid_of_recipe(read_recipe(recipe_with(tmp_path, asked | {"crs": "EPSG:3035"}))), named)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"bbox": [17, 44, 5, 49], "resolution": 1000}, "west 17 is east of 5"),
        ({"bbox": [5, 49, 17, 44], "resolution": 1000}, "south 49 is not below north 44"),
        ({"bbox": list(ALPS), "resolution": 0.1, "crs": "EPSG:4326"}, "is in degrees"),
        ({"bbox": list(ALPS), "resolution": 1000, "bounds": [0, 0, 1, 1]}, "bounds and bbox each define the extent"),
        ({"bbox": list(ALPS), "like": "a.tif"}, "leave resolution, bounds, bbox and cover out"),
    ],
)
def test_a_wrong_box_is_an_error(grid: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        grid_of_recipe(read_recipe(recipe_with(tmp_path, grid)))


def test_one_extent_on_the_command_line(tpsoil_command: Command, tmp_path: Path) -> None:
    arguments = ["cube", "create", tmp_path / "a.zarr", "--bbox", 5, 44, 17, 49]
    done = tpsoil_command(*arguments, "--crs", "EPSG:3035", "--bounds", 0, 0, 1, 1)
    assert (done.status, "--bounds and --bbox each define the extent" in done.err) == (2, True)
    assert tpsoil_command(*arguments, "--like", "b.tif").status == 2
    for size in (0, -5, "inf", "nan"):
        done = tpsoil_command(*arguments, "--resolution", size)
        assert (done.status, "expected metres above 0" in done.err) == (2, True)


def test_the_grid_of_a_raster_behind_a_url(tpsoil_command: Command, tmp_path: Path) -> None:
    """`like` took a URL for a cube's alone: "no Zarr group here"."""
    (tmp_path / "files").mkdir()
    grid = grid_of_box(TIBET, 50_000, where="test")
    write_tif(
        tmp_path / "files" / "dem.tif", np.ones(grid.shape), size=50_000,
        left=grid.boundingbox.left, top=grid.boundingbox.top, crs=grid.crs.to_wkt(),
    )  # fmt: skip
    with web.serving(tmp_path / "files") as address:
        source = f"{address}/dem.tif"
        assert same_grid(grid_of_recipe(read_recipe(recipe_with(tmp_path, {"like": source}))), grid)
        assert tpsoil_command("cube", "create", tmp_path / "like.zarr", "--like", source).status == 0
    assert same_grid(cube_info(tmp_path / "like.zarr").grid, grid)
