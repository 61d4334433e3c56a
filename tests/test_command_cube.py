"""The command line of cubes: what each command prints, and every wrong input's message and exit status."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geotiffs import write_tif

import tpsoil
from tpsoil import cube as datacube
from tpsoil.variables import variable

Command = Callable[..., Any]


@pytest.fixture
def dem(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(3000, 6000, (20, 25)).astype(np.int16)
    return write_tif(tmp_path / "dem.tif", values, nodata=-32767)


@pytest.fixture
def store(tmp_path: Path, tpsoil_command: Command) -> Path:
    place = tmp_path / "cube.zarr"
    done = tpsoil_command(
        "cube", "create", place, "--crs", "EPSG:4326", "--bounds", 80, 31, 85.5, 35, "--resolution", 0.25, "--chunks", 8
    )
    assert done.status == 0, done.err
    assert "16 x 22 cells of 0.25 x 0.25 deg" in done.out
    return place


def test_create_add_info_check_export(store: Path, dem: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    done = tpsoil_command("cube", "add", store, "elevation", dem, "--units", "ft", "--origin", "made up")
    assert done.status == 0
    assert done.out.splitlines() == [
        "added elevation from made up: bilinear, 0.0 % of the cells missing",
        "units: ft (declared), stored as m",
    ]
    done = tpsoil_command("cube", "info", store)
    assert done.status == 0
    assert max(map(len, done.out.splitlines())) <= 80 or str(store) in done.out
    for word in ("16 x 22 cells", "80.00 to 85.50 E, 31.00 to 35.00 N", "elevation", "float32", "made up", "(2 x 3)"):
        assert word in done.out
    done = tpsoil_command("cube", "check", store)
    assert (done.status, done.out.strip()) == (0, f"{store}: 1 layers, 6 chunks, all complete")
    done = tpsoil_command("export", store, tmp_path / "out.tif", "--layer", "elevation")
    assert done.status == 0
    assert done.out.startswith(f"wrote {tmp_path / 'out.tif'}: 0.0")
    done = tpsoil_command("cube", "create", tmp_path / "like.zarr", "--like", store)
    assert done.status == 0
    assert datacube.cube_info(tmp_path / "like.zarr").grid == datacube.cube_info(store).grid
    done = tpsoil_command("cube", "create", tmp_path / "raster.zarr", "--like", dem)
    assert datacube.cube_info(tmp_path / "raster.zarr").shape == (20, 25)


def test_the_plateau_is_the_default(tmp_path: Path, tpsoil_command: Command) -> None:
    assert tpsoil_command("cube", "create", tmp_path / "p.zarr", "--resolution", 50_000).status == 0
    assert datacube.cube_info(tmp_path / "p.zarr").grid == tpsoil.plateau_grid(50_000)
    assert "no layers yet" in tpsoil_command("cube", "info", tmp_path / "p.zarr").out


def wrong(tpsoil_command: Command, *arguments: object) -> str:
    """The message of a command that must fail for its input, with one `tpsoil:` message and no traceback."""
    done = tpsoil_command(*arguments)
    assert done.status == 2, done.err
    assert done.err.startswith("tpsoil: ")
    assert "Traceback" not in done.err
    assert done.out == ""
    return str(done.err)


def test_missing_file(store: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    assert "elevation: no such file" in wrong(tpsoil_command, "cube", "add", store, "elevation", tmp_path / "none.tif")
    assert "no such store" in wrong(tpsoil_command, "cube", "info", tmp_path / "none.zarr")
    assert "no such store" in wrong(tpsoil_command, "cube", "check", tmp_path / "none.zarr")
    assert "no such store" in wrong(tpsoil_command, "export", tmp_path / "none.zarr", tmp_path / "o.tif")


def test_raster_without_crs(store: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    path = write_tif(tmp_path / "bare.tif", np.ones((20, 25), np.float32), crs=None)
    message = wrong(tpsoil_command, "cube", "add", store, "elevation", path)
    assert "bare.tif has no CRS; pass --crs EPSG:..." in message
    assert tpsoil_command("cube", "add", store, "elevation", path, "--crs", "EPSG:4326").status == 0


def test_no_overlap(store: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    path = write_tif(tmp_path / "europe.tif", np.ones((20, 25), np.float32), left=5, top=50)
    message = wrong(tpsoil_command, "cube", "add", store, "elevation", path)
    assert (
        "europe.tif does not overlap the grid; it covers 5..11.25 E, 45..50 N, the grid 80..85.5 E, 31..35 N" in message
    )


def test_undeclared_sentinel(store: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    values = np.full((20, 25), 4000, np.int16)
    values[10, 10] = -32767
    path = write_tif(tmp_path / "dem.tif", values)
    message = wrong(tpsoil_command, "cube", "add", store, "elevation", path)
    assert "-32767 in 1 cells looks like a nodata value that the file does not declare: pass --nodata -32767" in message
    assert list(tpsoil.open_cube(store).data_vars) == []
    assert tpsoil_command("cube", "add", store, "elevation", path, "--nodata", -32767).status == 0
    assert tpsoil.open_cube(store)["elevation"].attrs["missing_cells"] == 1


def test_kelvin_declared_as_celsius(store: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    path = write_tif(tmp_path / "t.tif", np.full((20, 25), 275.5, np.float32))
    message = wrong(tpsoil_command, "cube", "add", store, "mean_annual_temperature", path, "--units", "degC")
    assert "has values 275.5..275.5 degC (units: degC (declared)), expected -60..60; they look like kelvin" in message
    assert tpsoil_command("cube", "add", store, "mean_annual_temperature", path, "--units", "K").status == 0


def test_layer_given_twice(store: Path, dem: Path, tpsoil_command: Command) -> None:
    assert tpsoil_command("cube", "add", store, "elevation", dem).status == 0
    message = wrong(tpsoil_command, "cube", "add", store, "elevation", dem)
    assert "layer 'elevation' already exists; pass overwrite=True (--overwrite)" in message
    assert tpsoil_command("cube", "add", store, "elevation", dem, "--overwrite").status == 0


def test_existing_store_and_place_that_cannot_be_written(store: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    assert "already exists; pass overwrite=True (--overwrite)" in wrong(tpsoil_command, "cube", "create", store)
    assert tpsoil_command("cube", "create", store, "--overwrite", "--resolution", 100_000).status == 0
    (tmp_path / "file").write_text("in the way")
    message = wrong(tpsoil_command, "cube", "create", tmp_path / "file" / "cube.zarr")
    assert "file/cube.zarr: cannot be written" in message
    assert "/proc/cube.zarr: cannot be written" in wrong(tpsoil_command, "cube", "create", "/proc/cube.zarr")


def test_corrupted_chunk(store: Path, dem: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    tpsoil_command("cube", "add", store, "elevation", dem)
    path = store / "elevation" / "c" / "1" / "0"
    good = path.read_bytes()
    path.write_bytes(good[:-9] + bytes([good[-9] ^ 4]) + good[-8:])
    for command in (("cube", "check", store), ("export", store, tmp_path / "o.tif")):
        message = wrong(tpsoil_command, *command)
        assert "chunk (1, 0) of layer 'elevation' (rows 8..16, columns 0..8) is corrupted" in message
    assert not (tmp_path / "o.tif").exists()
    path.unlink()
    assert "chunk (1, 0) is missing; add it again" in wrong(tpsoil_command, "cube", "check", store)


@pytest.fixture
def sampled(store: Path, dem: Path, tpsoil_command: Command) -> Path:
    assert tpsoil_command("cube", "add", store, "elevation", dem).status == 0
    return store


def points(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sites.csv"
    path.write_text(text)
    return path


def test_points_are_sampled_and_those_outside_counted_dropped_reported(
    sampled: Path, tmp_path: Path, tpsoil_command: Command
) -> None:
    path = points(tmp_path, "site,lon,lat,Fe\na,80.1,34.9,1\nb,20,34.9,2\nc,85.4,31.1,3\nd,,,4\n")
    out = tmp_path / "values.csv"
    done = tpsoil_command("cube", "sample", sampled, path, out, "--number", "Fe")
    assert done.status == 0
    assert "2 of 4 points are outside the grid or have no position; dropped" in done.err
    assert done.out == f"wrote {out}: 2 of 4 points, 1 layers\n"
    lines = out.read_text().splitlines()
    assert lines[0] == "site,lon,lat,Fe,cell_row,cell_column,elevation"
    assert [line.split(",")[0] for line in lines[1:]] == ["a", "c"]
    assert "already exists" in wrong(tpsoil_command, "cube", "sample", sampled, path, out)
    assert tpsoil_command("cube", "sample", sampled, path, out, "--keep", "--overwrite").status == 0
    assert len(out.read_text().splitlines()) == 5
    assert "cannot be written" in wrong(tpsoil_command, "cube", "sample", sampled, path, "/proc/values.csv")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("site,lon,lat\na,81,32\n", ["--need", "Fe"], "sites.csv: no column 'Fe'"),
        ("site,lon,lat,Fe\na,81,32,5\nb,81,33,much\n", ["--number", "Fe"], "column 'Fe' has text in line 3: 'much'"),
        ("site,lon,lat\na,81 E,32\n", [], "column 'lon' has text in line 2: '81 E'"),
        ("site,lon,lat\na,32,81\nb,33,82\n", [], "longitude and latitude are swapped"),
        ("site,lon\na,32\n", [], "have no position; expected lon and lat (degrees), or x and y"),
        ("site,lon,lat\na,5,50\n", [], "none of 1 points is inside the grid"),
        ("site,lon,lat\n", [], "the table has no rows"),
        ("elevation,lon,lat\n1,81,32\n", [], "column 'elevation' named as layers of the cube"),
    ],
)
def test_bad_points(
    sampled: Path, tmp_path: Path, tpsoil_command: Command, text: str, options: list[str], message: str
) -> None:
    path = points(tmp_path, text)
    assert message in wrong(tpsoil_command, "cube", "sample", sampled, path, tmp_path / "o.csv", *options)
    assert not (tmp_path / "o.csv").exists()


def test_points_that_are_not_there(sampled: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    assert "no such file" in wrong(tpsoil_command, "cube", "sample", sampled, tmp_path / "no.csv", tmp_path / "o.csv")


def test_messages_name_options_as_they_are_typed(
    store: Path, sampled: Path, tmp_path: Path, tpsoil_command: Command
) -> None:
    path = points(tmp_path, "lon,lat,place\n82,33,a\n")
    path.write_bytes(path.read_bytes() + "83,33,é\n".encode("cp1252"))
    message = wrong(tpsoil_command, "cube", "sample", sampled, path, tmp_path / "o.csv")
    assert "save it as UTF-8, or pass --encoding cp1252 where" in message
    assert tpsoil_command("cube", "sample", sampled, path, tmp_path / "o.csv", "--encoding", "cp1252").status == 0
    warm = write_tif(tmp_path / "t.tif", np.full((20, 25), 275.5, np.float32))
    message = wrong(tpsoil_command, "cube", "add", store, "mean_annual_temperature", warm, "--units", "degC")
    assert "they look like kelvin: pass --units K" in message
    message = wrong(tpsoil_command, "cube", "add", store, "snow", warm)
    assert "pass --units and --kind ('continuous', 'categorical' or 'circular')" in message
    message = wrong(tpsoil_command, "cube", "add", store, "elevation", warm, "--kind", "circular")
    assert "'elevation' is continuous in the catalogue, not 'circular'; omit --kind" in message


def test_half_written_layer_is_named(store: Path, tpsoil_command: Command) -> None:
    datacube.create_layers(store, [variable("slope")])
    message = wrong(tpsoil_command, "cube", "check", store)
    assert "1 fault\n  - layer 'slope': writing did not end, 6 of 6 chunks missing; add it again" in message
    done = tpsoil_command("cube", "info", store)
    assert "writing did not end" in " ".join(done.out.split())


def test_wrong_options(store: Path, dem: Path, tmp_path: Path, tpsoil_command: Command) -> None:
    assert "did you mean 'elevation'" in wrong(tpsoil_command, "cube", "add", store, "elevaton", dem)
    assert "expected numbers, or 'none' alone" in wrong(
        tpsoil_command, "cube", "add", store, "elevation", dem, "--nodata", "low"
    )
    assert "--crs and --bounds must be passed together" in wrong(
        tpsoil_command, "cube", "create", tmp_path / "a.zarr", "--crs", "EPSG:4326"
    )
    assert "--like defines the complete grid" in wrong(
        tpsoil_command, "cube", "create", tmp_path / "a.zarr", "--crs", "EPSG:4326", "--like", dem
    )
    assert "--like defines the complete grid; omit --resolution" in wrong(
        tpsoil_command, "cube", "create", tmp_path / "a.zarr", "--resolution", 500, "--like", dem
    )
    assert "resolution is 0.0" in wrong(tpsoil_command, "cube", "create", tmp_path / "a.zarr", "--resolution", 0)
    assert "has no CRS" in wrong(
        tpsoil_command,
        "cube",
        "create",
        tmp_path / "a.zarr",
        "--like",
        write_tif(tmp_path / "b.tif", np.ones((2, 2)), crs=None),
    )
    assert not (tmp_path / "a.zarr").exists()


def test_usage_errors_and_help(tpsoil_command: Command) -> None:
    done = tpsoil_command("exprt")
    assert done.status == 2
    assert "No such command 'exprt'" in done.err
    assert tpsoil_command("cube", "add", "a.zarr").status == 2
    done = tpsoil_command("cube", "create", "a.zarr", "--resolution", "fine")
    assert done.status == 2
    for arguments in (["--help"], ["cube", "--help"], ["cube", "add", "-h"], ["export", "--help"]):
        done = tpsoil_command(*arguments)
        assert done.status == 0
        assert max(map(len, done.out.splitlines())) <= 80
    assert tpsoil_command("--version").out == f"tpsoil {tpsoil.__version__}\n"


def test_an_unexpected_failure_is_short_and_tells_how_to_see_more(
    store: Path, tpsoil_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr(datacube, "check_cube", broken)
    done = tpsoil_command("cube", "check", store)
    assert done.status == 1
    assert done.err.startswith("tpsoil: unexpected RuntimeError: a wheel came off\n")
    assert "TPSOIL_TRACEBACK=1" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("TPSOIL_TRACEBACK", "1")
    assert "Traceback" in tpsoil_command("cube", "check", store).err


def test_a_process_of_its_own_ends_with_the_same_status(tmp_path: Path) -> None:
    """`python -m tpsoil`, quick for --help: the rooms are imported only by the commands that need them."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tpsoil", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

    done = run("cube", "info", "none.zarr")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tpsoil: none.zarr: no such store")
    assert len(done.stderr.splitlines()) == 1
    took = []
    for _ in range(3):
        start = time.perf_counter()
        assert run("--help").returncode == 0
        took.append(time.perf_counter() - start)
    assert min(took) < 1.0
    loaded = run("-c", "")  # an option that is not there: still no heavy import
    assert loaded.returncode == 2
    listing = subprocess.run(
        [sys.executable, "-c", "import sys, tpsoil.cli; print('xarray' in sys.modules, 'dask' in sys.modules)"],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert listing.stdout.split() == ["False", "False"]
