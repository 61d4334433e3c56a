"""`tpsoil run` and `tpsoil status` at the shell: exit status 2 for a wrong input, its message, no traceback."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import matplotlib.image
import numpy as np
import pytest
import rasterio
import shapely
import small_run
import xarray as xr
from matplotlib.colors import to_rgb
from rasterio.transform import from_origin

from tpsoil.cli import main
from tpsoil.cli.run import _draw
from tpsoil.cube import add_layer, create_cube, open_cube
from tpsoil.errors import InputError
from tpsoil.grid import coordinates
from tpsoil.recipes import run
from tpsoil.reports.figures import palette


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def raster(path: Path, values: float | np.ndarray, *, crs: str | None = "EPSG:4326", west: float = 80.0) -> Path:
    """16 x 16 degrees around the plateau, half a degree a pixel."""
    data = np.broadcast_to(np.asarray(values, dtype="float32"), (32, 32))
    with rasterio.open(
        path, "w", driver="GTiff", width=32, height=32, count=1, dtype="float32", crs=crs,
        transform=from_origin(west, 42.0, 0.5, 0.5),
    ) as file:  # fmt: skip
        file.write(data, 1)
    return path


def recipe(folder: Path, layers: Sequence[str], *, output: str = "maps.zarr") -> str:
    text = f'[run]\nname = "t"\noutput = "{output}"\n[grid]\nresolution = 50000\nchunks = 16\n' + "\n".join(layers)
    (folder / "r.toml").write_text(text)
    return str(folder / "r.toml")


def layer(name: str, source: Path, more: str = "") -> str:
    return f'[[layers]]\nname = "{name}"\nsource = "{source.name}"\n{more}\n'


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_command_names_the_options_of_a_run_as_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(tmp_path, [layer("ndvi", raster(tmp_path / "a.tif", 0.5))])
    for options, message in (
        (("--memory", "0.1"), "--memory allows 0.1 GB; give --memory 0."),
        (("--memory", "0"), "--memory is 0.0, expected a positive number"),
        (("--workers", "0", "--dry-run"), "--workers is 0, expected at least 1"),
        (("--scheduler", "head"), "--scheduler is 'head', expected 'threads'"),
    ):
        assert command("run", path, "-q", *options) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    with pytest.raises(InputError, match=r"^workers is 0, expected at least 1"):
        run(path, workers=0)


@pytest.mark.parametrize(
    ("name", "value", "how", "more", "message"),
    [
        ("mean_annual_temperature", 275.0, {}, 'units = "degC"', "kelvin"),
        ("elevation", -32767.0, {}, "", "-32767"),
        ("elevation", 4000.0, {"crs": None}, "", "no CRS"),
        ("elevation", 4000.0, {"west": -60.0}, "", "does not overlap the grid"),
        ("elevation", 4000.0, {}, 'units = "kg"', "kg"),
    ],
)
def test_a_raster_that_cannot_serve(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: float,
    how: dict[str, Any],
    more: str,
    message: str,
) -> None:
    source = raster(tmp_path / "a.tif", value, **how)
    assert command("run", recipe(tmp_path, [layer(name, source, more)]), "-q") == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    store = tmp_path / "maps.zarr"
    if store.exists():  # begun, and not accepted as complete
        assert open_cube(str(store), incomplete=True).attrs["run_state"] == "running"


@pytest.mark.parametrize(
    ("name", "value", "more", "message"),
    [
        ("elevation", np.nan, "", "elevation: none of the 2016 cells of the grid has a value; a.tif is empty there"),
        ("land_cover", 255, "nodata = 255", "land_cover: none of the 2016 cells of the grid has a value"),
        ("soil_mask", 0, "", "soil_mask: none of the 2016 cells of the grid has soil (a.tif)"),
        (
            "elevation",
            1,
            '[mask]\nlakes = "all.json"',
            "soil_mask: none of the 2016 cells of the grid has soil (outside",
        ),
    ],
)
def test_a_layer_or_mask_without_any_value_is_wrong_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: float, more: str, message: str
) -> None:
    geopandas.GeoDataFrame(geometry=[shapely.box(60, 20, 120, 50)], crs="EPSG:4326").to_file(tmp_path / "all.json")
    path = recipe(tmp_path, [layer(name, raster(tmp_path / "a.tif", value), more)])
    for _ in range(2):  # the second run finds its tiles up to date
        assert command("run", path, "-q", "--workers", "1") == 2
        err = " ".join(capsys.readouterr().err.split())
        assert message in err
        assert "Traceback" not in err
    empty = message.split(":")[0]
    with pytest.warns(UserWarning, match=f"{empty}.*writing did not end"):
        assert empty not in open_cube(str(tmp_path / "maps.zarr"))


def test_the_missing_and_the_misspelt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("run", str(tmp_path / "none.toml")) == 2
    assert "no such recipe" in capsys.readouterr().err
    source = raster(tmp_path / "a.tif", 4000.0)
    path = recipe(tmp_path, [layer("elevation", source, "unit = 'm'"), layer("ndvi", tmp_path / "b.tif", "nodta = 1")])
    assert command("run", path) == 2
    err = capsys.readouterr().err
    assert "2 faults" in err
    assert "layers[1].unit: unknown key; did you mean 'units'?" in err
    assert "layers[2].nodta: unknown key; did you mean 'nodata'?" in err
    assert command("status", str(tmp_path / "none.zarr")) == 2
    assert "no such store" in capsys.readouterr().err


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(tmp_path, [layer("elevation", raster(tmp_path / "a.tif", 4000.0))])
    before = sorted(tmp_path.rglob("*"))
    assert command("run", path, "--dry-run") == 0
    message = capsys.readouterr().out
    assert "12 of 12 tiles to compute" in message
    assert "GB" in message
    assert "disk: about" in message
    assert re.search(r"elevation +[\d.]+ kB", message), "bytes by layer"
    assert sorted(tmp_path.rglob("*")) == before
    assert command("run", path, "-q", "--workers", "1") == 0
    assert command("run", path, "--dry-run") == 0
    assert "0 of 12 tiles to compute" in capsys.readouterr().out
    raster(tmp_path / "a.tif", 4100.0)
    assert command("run", path, "--dry-run") == 0
    assert "layer elevation: 12 tiles stale: file a.tif changed" in capsys.readouterr().out
    assert command("status", str(tmp_path / "maps.zarr")) == 0
    assert "maps.zarr: complete" in capsys.readouterr().out


def test_a_changed_source_remakes_only_what_came_out_different(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layer is read anew; of what is derived from it only the tiles whose chunks have other bytes."""
    rng = np.random.default_rng(1)
    values = rng.uniform(3000, 5000, (32, 32)).astype("float32")
    path = recipe(tmp_path, [layer("elevation", raster(tmp_path / "a.tif", values)), '[derive]\nterrain = ["slope"]\n'])
    assert command("run", path, "-q", "--workers", "1") == 0
    values[2, 3] += 100  # in the north-west
    raster(tmp_path / "a.tif", values)
    capsys.readouterr()
    assert command("run", path, "--workers", "1") == 0
    err = capsys.readouterr().err
    assert "layer elevation: " in err
    computed = int(err.split("t: complete; ")[1].split(" of ")[0])
    assert 12 < computed < 24
    files = small_run.files_of(tmp_path / "maps.zarr")
    assert command("run", path, "-q") == 0
    assert small_run.files_of(tmp_path / "maps.zarr") == files


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    path = recipe(tmp_path, [layer("elevation", raster(tmp_path / "a.tif", 4000.0))], output="file/maps.zarr")
    assert command("run", path, "-q") == 2
    err = capsys.readouterr().err
    assert "cannot be written" in err
    assert "Traceback" not in err


def test_a_recipe_whose_folder_was_moved_is_not_computed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first").mkdir()
    small_run.make_small(tmp_path / "first", side=32)
    changes: dict[str, Any] = {"elements": {"representation": ["climate_zone"]}}
    path = small_run.write_recipe(tmp_path / "first" / "recipe.toml", **changes)
    assert command("run", str(path), "--no-maps", "--workers", "1") == 0
    assert "small: complete; 16 of 16 tiles computed" in capsys.readouterr().err
    folder = (tmp_path / "first").rename(tmp_path / "second")
    path = folder / "recipe.toml"
    layers = ("solum_thickness", "iron", "representation_climate_zone")
    files = {name: small_run.files_of(folder / "maps.zarr" / name) for name in layers}

    assert command("run", str(path), "--dry-run") == 0
    planned = capsys.readouterr().out
    assert "0 of 16 tiles to compute" in planned
    assert "again" not in planned
    assert command("run", str(path), "--no-maps", "--workers", "1") == 0
    assert "small: complete; 0 of 16 tiles computed" in capsys.readouterr().err
    assert command("status", str(folder / "maps.zarr")) == 0
    assert "maps.zarr: complete" in capsys.readouterr().out

    run(path)
    monkeypatch.chdir(folder)
    run("recipe.toml")
    run(small_run.recipe_of(Path(), **changes))
    assert capsys.readouterr().err.count("small: complete; 0 of 16 tiles computed") == 3
    assert {name: small_run.files_of(folder / "maps.zarr" / name) for name in layers} == files


def test_maps_that_a_run_draws_show_masked_cells_as_tpsoil_map_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = small_run.small_grid(32)
    mask = np.ones(grid.shape, "uint8")
    mask[12:20, 12:20] = 0
    thickness = np.linspace(0.5, 1.5, mask.size, dtype="float32").reshape(mask.shape)
    create_cube(tmp_path / "maps.zarr", grid, chunks=16)
    for name, values in {"solum_thickness": np.where(mask == 1, thickness, np.nan), "soil_mask": mask}.items():
        add_layer(tmp_path / "maps.zarr", name, xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid)))
    monkeypatch.setattr("tpsoil.recipes.map_layers", lambda store: ["solum_thickness"])
    (path,) = _draw(str(tmp_path / "maps.zarr"))
    pixels = matplotlib.image.imread(path)[..., :3]
    grey = np.isclose(pixels, to_rgb(palette.MASKED), atol=1 / 255).all(axis=2)
    assert grey.mean() > 0.01
