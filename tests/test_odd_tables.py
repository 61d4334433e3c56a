"""Tables as spreadsheets and instruments write them: read right, or rejected with the line and the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import tpsoil
from tpsoil.errors import InputError, MissingInputError, TpsoilError, UnitsError
from tpsoil.grid import coordinates, plateau_grid
from tpsoil.ingest import read_profiles, read_samples, read_table

HEADER = ["site", "lon", "lat", "Fe"]
ROWS = [["a", "91.5", "30.25", "31000"], ["b", "92.5", "31.25", "28000.5"], ["c", "93.5", "32.25", "30500"]]


def written(
    path: Path, separator: str = ",", decimal: str = ".", prefix: str = "", blank: tuple[int, ...] = ()
) -> Path:
    lines = [separator.join(HEADER)]
    for number, row in enumerate(ROWS):
        lines += [""] * blank.count(number)
        lines.append(separator.join([row[0], *(cell.replace(".", decimal) for cell in row[1:])]))
    path.write_text(prefix + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("prefix", ["", "\ufeff"], ids=["plain", "byte-order-mark"])
def test_the_separator_is_recognised(tmp_path: Path, separator: str, prefix: str) -> None:
    table = read_table(written(tmp_path / "s.csv", separator, prefix=prefix), numbers=HEADER[1:])
    assert table.columns.tolist() == HEADER
    assert table["Fe"].tolist() == [31000, 28000.5, 30500]
    assert table.attrs.get("separator") == {",": None, ";": "semicolon", "\t": "tab", "|": "bar"}[separator]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_decimal_comma_is_read_and_reported(tmp_path: Path, separator: str) -> None:
    path = written(tmp_path / "s.csv", separator, decimal=",")
    with pytest.warns(UserWarning, match="the comma is read as the decimal point in lon, lat, Fe"):
        table = read_table(path, numbers=HEADER[1:])
    assert table["lat"].tolist() == [30.25, 31.25, 32.25]
    assert table.attrs["decimal_commas"] == ("lon", "lat", "Fe")
    with pytest.warns(UserWarning, match="decimal point"):
        assert read_samples(path, ["Fe"])["value"].tolist() == [31000, 28000.5, 30500]


@pytest.mark.parametrize("missing", [" ", " NA", "\u00a0"])
def test_a_decimal_comma_is_read_beside_cells_that_are_missing(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(f"site;Fe\na;31,5\nb;{missing}\n")
    with pytest.warns(UserWarning, match="the separator of cells is the semicolon; the comma is read as the decimal"):
        table = read_table(path, numbers=["Fe"])
    assert table["Fe"].isna().tolist() == [False, True]
    assert table["Fe"].iloc[0] == 31.5


@pytest.mark.parametrize("blank", [(0,), (1, 1), (0, 2)])
def test_blank_lines_are_counted(tmp_path: Path, blank: tuple[int, ...]) -> None:
    path = written(tmp_path / "s.csv", blank=blank)
    path.write_text(path.read_text().replace("30500", "high"))
    line = path.read_text().splitlines().index("c,93.5,32.25,high") + 1
    with pytest.raises(InputError, match=f"column 'Fe' has text in line {line}: 'high'"):
        read_table(path, numbers=["Fe"])
    with pytest.raises(InputError, match=f"text in line {line}: 'high'"):
        read_samples(path, ["Fe"])
    path.write_text(path.read_text().replace("high", "-4"))
    with pytest.raises(InputError, match=f"negative in 1 rows \\(line {line}\\)"):
        read_samples(path, ["Fe"])
    path.write_text(path.read_text().replace("93.5", "20.5").replace("32.25", "99"))
    with pytest.raises(InputError, match=f"line {line} has lon 20.5, lat 99"):
        tpsoil.sample_cube(cube(), path)


def test_a_cell_of_two_lines_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text('site,Fe\n"a\nb",1\nc,bad\n')
    with pytest.raises(InputError, match="text in line 4: 'bad'"):
        read_table(path, numbers=["Fe"])


def test_rows_longer_than_the_header(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("site,Fe\na,1,\nb,2,\n")  # a comma at the end of every row shifted the columns
    assert read_table(path, numbers=["Fe"]).to_dict("list") == {"site": ["a", "b"], "Fe": [1.0, 2.0]}
    path.write_text("site,Fe\n1,a,5\n2,b,6\n")  # row names without a header
    with pytest.raises(InputError, match="line 2 has 3 cells, the header 2; .* a name for every column"):
        read_table(path)


def cube() -> xr.Dataset:
    grid = plateau_grid(100_000)
    return xr.Dataset({"slope": (("y", "x"), np.zeros(grid.shape, np.float32))}, coords=coordinates(grid))


def folder(tmp_path: Path) -> Path:
    place = tmp_path / "samples.csv"
    place.mkdir()
    return place


def circle(tmp_path: Path) -> Path:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.symlink_to(second)
    second.symlink_to(first)
    return first


def nothing(tmp_path: Path) -> Path:
    return tmp_path / "none.csv"


def under_a_file(tmp_path: Path) -> Path:
    return written(tmp_path / "s.csv") / "t.csv"


@pytest.mark.parametrize(
    ("make", "message", "error"),
    [
        (folder, "samples.csv is a folder, expected a table of comma-separated values", InputError),
        (circle, "first.csv cannot be opened .*check the path and its", InputError),
        (nothing, "no such file .*none.csv; check the path", MissingInputError),
        (under_a_file, "no such file", MissingInputError),
    ],
)
def test_what_is_no_file_is_named(
    tmp_path: Path, tpsoil_command: Callable, make: Callable[[Path], Path], message: str, error: type[TpsoilError]
) -> None:
    path = make(tmp_path)
    for read in (read_table, read_profiles, lambda p: read_samples(p, ["Fe"]), lambda p: tpsoil.sample_cube(cube(), p)):
        with pytest.raises(error, match=message):
            read(path)
    store = tmp_path / "cube.zarr"
    tpsoil.create_cube(store, plateau_grid(100_000))
    done = tpsoil_command("cube", "sample", store, path, tmp_path / "out.csv")
    assert done.status == 2
    assert path.name in done.err
    assert "unexpected" not in done.err
    assert not (tmp_path / "out.csv").exists()


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "s.csv")
    assert len(read_table("~/s.csv")) == 3


def test_replicates_without_a_site_are_grouped_by_position() -> None:
    table = pd.DataFrame({"long": np.repeat([91.0, 92.0], 3), "lat": 30.0, "Fe": np.arange(6) + 30000.0})
    with pytest.warns(UserWarning, match="2 sites, 2 of them with replicates; pass site="):
        tidy = read_samples(table, ["Fe"])
    assert tidy["site"].tolist() == [1, 1, 1, 2, 2, 2]
    assert tidy["replicate"].tolist() == [1, 2, 3] * 2
    long = pd.DataFrame({"lon": 91.0, "lat": 30.0, "element": ["Fe", "Zn"], "value": [30000, 50.0]})
    assert read_samples(long)["site"].tolist() == [1, 1]


def test_a_code_for_missing_is_no_content() -> None:
    table = pd.DataFrame({"Fe": [30000.0] * 9 + [9_999_999.0]})
    with pytest.raises(UnitsError, match=r"'Fe' exceeds 1 000 000 mg kg-1, .* in 1 values .*, up to 9999999; correct"):
        read_samples(table, ["Fe"])
