"""An output that is, holds or lies in something that the run reads is rejected, and nothing is removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import small_run

from tpsoil.cube import open_cube
from tpsoil.engine.places import overlapping
from tpsoil.errors import InputError
from tpsoil.recipes import preview, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cube and samples."""
    small_run.make_small(tmp_path, side=32, chunk=32)
    return tmp_path


def rejected(folder: Path, output: Path | str, **changes: Any) -> None:
    """The run and its preview are rejected, and every file is as before."""
    before = small_run.files_of(folder)
    recipe = small_run.recipe_of(folder, run={"output": str(output), "overwrite": True}, **changes)
    for call in (run, preview):
        options = {"progress": False} if call is run else {}
        with pytest.raises(
            InputError, match=r"\[run\] output .* are the same place, or one is inside the other"
        ) as caught:
            call(recipe, **options)
        assert caught.value.exit_status == 2
    after = small_run.files_of(folder)
    assert {name: after.get(name) for name in before} == before


def test_an_output_that_is_the_cube(folder: Path) -> None:
    rejected(folder, folder / "cube.zarr")
    rejected(folder, f"{folder}/./sub/../cube.zarr/")
    rejected(folder, f"file://{folder}/cube.zarr")


def test_an_output_that_is_a_link_to_the_cube(folder: Path) -> None:
    (folder / "link.zarr").symlink_to(folder / "cube.zarr", target_is_directory=True)
    rejected(folder, folder / "link.zarr")
    (folder / "folder").symlink_to(folder, target_is_directory=True)
    rejected(folder, folder / "folder" / "cube.zarr")


def test_an_output_inside_the_cube_or_around_it(folder: Path) -> None:
    rejected(folder, folder / "cube.zarr" / "maps.zarr")
    (folder / "around.zarr").mkdir()
    (folder / "around.zarr" / "zarr.json").write_text("{}")
    os.rename(folder / "cube.zarr", folder / "around.zarr" / "cube.zarr")
    before = small_run.files_of(folder)
    cube = str(folder / "around.zarr" / "cube.zarr")
    with pytest.raises(InputError, match="one is inside the other"):
        run(small_run.recipe_of(folder, cube=cube, output=str(folder / "around.zarr")), progress=False)
    assert small_run.files_of(folder) == before


def test_an_output_that_holds_a_source(folder: Path) -> None:
    """A table, a raster and a vector file inside the store that would be replaced."""
    small_run.make_cube(str(folder / "old.zarr"), side=32, chunk=32)
    os.rename(folder / "samples.csv", folder / "old.zarr" / "samples.csv")
    rejected(folder, folder / "old.zarr", elements={"samples": str(folder / "old.zarr" / "samples.csv")})


@pytest.mark.parametrize("key", ["source", "cover", "mask"])
def test_an_output_that_is_another_source(folder: Path, key: str) -> None:
    old = str(folder / "cube.zarr")
    raw: dict[str, Any] = {
        "run": {"name": "a", "output": old, "overwrite": True},
        "grid": {"resolution": 1000, "bounds": [0, 0, 32000, 32000], "chunks": 16},
        "layers": [{"name": "elevation", "source": f"{old}/elevation" if key == "source" else str(folder / "dem.tif")}],
    }
    (folder / "dem.tif").touch()
    if key == "cover":
        raw["grid"] = {"resolution": 1000, "cover": f"{old}/elevation.tif"}
    if key == "mask":
        (folder / "cube.zarr" / "area.gpkg").touch()
        raw["mask"] = {"boundary": f"{old}/area.gpkg"}
    from tpsoil.recipes.recipe import read_recipe

    if key == "cover":  # the grid is read before the job is there; the recipe lists it
        assert f"{old}/elevation.tif" in read_recipe(raw).sources
        return
    with pytest.raises(InputError, match=r"\[run\] output .* the same place"):
        run(raw, progress=False)
    assert (folder / "cube.zarr" / "elevation").is_dir()


def test_urls_are_compared_by_protocol_host_and_path() -> None:
    same = [
        "s3://bucket/maps.zarr",
        "S3://bucket/maps.zarr/",
        "s3a://bucket//x/../maps.zarr",
        "s3://bucket/maps%2Ezarr",
    ]
    assert all(overlapping(one, other) for one in same for other in same)
    assert overlapping("s3://bucket/maps.zarr", "s3://bucket/maps.zarr/slope")
    assert overlapping("s3://bucket", "s3://bucket/maps.zarr")
    assert not overlapping("s3://bucket/maps.zarr", "s3://bucket/maps.zarr2")
    assert not overlapping("s3://bucket/maps.zarr", "gs://bucket/maps.zarr")
    assert not overlapping("s3://bucket/maps.zarr", "/bucket/maps.zarr")


def test_places_beside_each_other_do_not_overlap(folder: Path) -> None:
    maps = run(small_run.recipe_of(folder), workers=1, progress=False)
    assert maps.attrs["run_state"] == "complete"
    assert not overlapping(str(folder / "cube.zarr"), str(folder / "cube.zarr.old"))


def test_an_output_that_is_the_training_cube_on_an_object_store(folder: Path) -> None:
    """A cube behind a URL has no files; `training_cube` was none of the recipe's sources, and was replaced."""
    wide = "memory://overlap/wide.zarr"
    small_run.make_cube(wide, side=32, chunk=32)
    layers = set(open_cube(wide).data_vars)
    recipe = small_run.recipe_of(folder, run={"output": wide, "overwrite": True}, elements={"training_cube": wide})
    with pytest.raises(InputError, match=r"\[run\] output .* are the same place"):
        run(recipe, progress=False)
    assert set(open_cube(wide).data_vars) == layers
