"""CSV tables at the door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tpsoil.engine.ledger import Ledger
from tpsoil.engine.prepare import read_tables
from tpsoil.errors import InputError, MissingInputError
from tpsoil.ingest import read_table, require_unique
from tpsoil.points import check_degrees, position_columns


def csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "samples.csv"
    path.write_text(text)
    return path


def test_numbers_become_numbers_and_text_stays_text(tmp_path: Path) -> None:
    path = csv(tmp_path, " site ,Fe,code\na, 31.5 ,007\nb,NA,008\nc,,009\nd,1e3,010\n")
    table = read_table(path, needed=["site", "Fe"], numbers=["Fe", "absent"])
    assert table["Fe"].dtype == np.float64
    assert table["Fe"].tolist()[::3] == [31.5, 1000]
    assert table["Fe"].isna().tolist() == [False, True, True, False]
    assert table["code"].tolist() == ["007", "008", "009", "010"]
    assert table.columns[0] == "site"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("site,Zn\na,1\n", "no column 'Fe'"),
        ("site,FE\na,1\n", r"no column 'Fe'; (did you mean|there are)"),
        ("site,Fe [%],Mn\na,3.1,1\n", r"no column 'Fe'; did you mean 'Fe \[%\]'"),
        ("site,Fe (%),Fe [ppm]\na,3.1,1\n", r"no column 'Fe'; there are: Fe \(%\), Fe \[ppm\], site"),
        ("site,Fe\na,12\nb,high\nc,3\nd,low\n", "column 'Fe' has text in lines 3, 5: 'high', expected numbers; cor"),
        ("site,Fe\na,<0.5\n", r"text in line 2: '<0.5'.*below its detection limit needs a column of its own"),
        ("site,Fe\na,\"3,5\"\n", "a decimal comma must be a point"),
        ("site,Fe\n", "the table has no rows"),
        ("", "the file is empty"),
        ("site,Fe,Fe\na,1,2\n", "column 'Fe' is given twice"),
        ("site,Fe\na,1\nb,2,3,4\n", "not a CSV table"),
    ],
)  # fmt: skip
def test_each_fault_has_its_line_and_its_mend(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_table(csv(tmp_path, text), needed=["site", "Fe"], numbers=["Fe"])
    assert str(caught.value).startswith(str(tmp_path))


def test_all_missing_columns_are_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'Fe'.*no column 'Mn'"):
        read_table(csv(tmp_path, "site,Zn\na,1\n"), needed=["Fe", "site", "Mn"])


def test_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"no such file .*none.csv; check the path"):
        read_table(tmp_path / "none.csv")
    path = tmp_path / "latin.csv"
    path.write_bytes("site,Fe\nK\xf6ln,1\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"not UTF-8 text .*save it as UTF-8, or pass encoding='cp1252' where Excel"):
        read_table(path)


def test_tables_of_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("site,Fe\nK\xf6ln,1\n".encode("latin-1"))
    assert read_table(path, encoding="cp1252")["site"].tolist() == ["K\xf6ln"]
    with pytest.raises(InputError, match="not ASCII text"):
        read_table(path, encoding="ascii")
    with pytest.raises(InputError, match="latin.csv: encoding is 'windows', expected one such as"):
        read_table(path, encoding="windows")
    path.write_bytes("site;Fe\nK\xf6ln;1,5\n".encode("utf-16"))  # "Unicode text" of Excel
    with pytest.warns(UserWarning, match="the comma is read as the decimal point in Fe"):
        assert read_table(path, encoding="utf-16", numbers=["Fe"])["Fe"].tolist() == [1.5]


def test_empty_cells_and_rows_given_twice(tmp_path: Path) -> None:
    path = csv(tmp_path, "site,rep,lon\na,1,90\na,2,\nb,1,91\na,1,90\n")
    with pytest.raises(InputError, match="column 'lon' is empty in line 3; fill it or drop the row"):
        read_table(path, numbers=["lon"], complete=["lon"])
    with pytest.raises(
        InputError, match="2 rows are given twice or more, the first with site='a', rep='1' in lines 2, 5"
    ):
        read_table(path, unique=["site", "rep"])
    with pytest.raises(InputError, match="x: 2 rows are given twice or more, the first with site='a', rep='1'"):
        require_unique(read_table(path), ["site", "rep"], where="x")


def test_a_frame_is_not_changed() -> None:
    frame = pd.DataFrame({"Fe": ["1", "x"]}, index=[5, 9])
    with pytest.raises(InputError, match="table: column 'Fe' has text in line 3"):
        read_table(frame, numbers=["Fe"])
    assert frame["Fe"].tolist() == ["1", "x"]
    assert read_table(frame.assign(Fe=[1, 2]), numbers=["Fe"]).index.tolist() == [0, 1]


def test_positions_by_any_of_their_names() -> None:
    assert position_columns(pd.DataFrame(columns=["LAT", "Long", "x", "y"]), where="p") == ("Long", "LAT", True)
    assert position_columns(pd.DataFrame(columns=["Y", "X", "lon"]), where="p") == ("X", "Y", False)
    check_degrees([90, np.nan], [33, np.nan], where="p", bounds=(70, 20, 110, 45))
    check_degrees([10.0], [50.0], where="p", bounds=(70, 20, 110, 45))  # elsewhere, but not swapped


def test_a_run_reads_its_own_tables_with_the_names_that_it_wrote(tmp_path: Path) -> None:
    """The engine took the country NA (Namibia) for a missing value, the page did not."""
    table = pd.DataFrame({"country": ["NA", "None", "CN"], "nse": [0.5, np.nan, 0.1]})
    ledger = Ledger.at(str(tmp_path / "run.zarr"))
    ledger.write_json("models/fe.json", {"tables": {"scores": table.to_csv(index=False)}})
    pd.testing.assert_frame_equal(read_tables(ledger, ["fe"])["scores"], table)
