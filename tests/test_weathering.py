"""Chemical index of alteration: published vectors, corrections, detection limits; classes recoded by a table."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tpsoil.covariates import chemical_index_of_alteration as cia
from tpsoil.covariates import read_class_table, reclassify
from tpsoil.covariates.classes import read_name_table
from tpsoil.errors import InputError, MissingInputError

GRANITE = (15.40, 3.59, 3.27, 2.80, 0.15)
CARBONATE = (11.5, 8.0, 1.6, 2.3, 0.14)
ELEMENTS = (65000.0, 20000.0, 14000.0, 20000.0, 600.0)


@pytest.mark.parametrize(("contents", "basis", "correction", "value"), [
    (GRANITE, "oxides", "none", 0.5076190271), (GRANITE, "oxides", "phosphate", 0.5137006204),
    (GRANITE, "oxides", "mclennan", 0.5275833291),
    (CARBONATE, "oxides", "none", 0.3689729186), (CARBONATE, "oxides", "mclennan", 0.5972820353),
    (ELEMENTS, "elements", "none", 0.5320813136), (ELEMENTS, "elements", "mclennan", 0.5821055059),
])  # fmt: skip
def test_published_vectors(contents: Any, basis: Any, correction: Any, value: float) -> None:
    # the sheet's element vectors carry atomic masses to 2e-8
    assert cia(*contents, basis=basis, correction=correction) == pytest.approx(value, rel=1e-7)
    assert cia(*contents, basis=basis, correction=correction, percent=True) == pytest.approx(100 * value, rel=1e-7)


def test_minerals() -> None:
    assert cia(101.961 / 2, 0.0, 61.979 / 2, 0.0, 0.0) == pytest.approx(0.5)  # as many moles of Al2O3 as Na2O: albite
    assert cia(39.5, 0.0, 0.0, 0.0, 0.0) == 1.0  # kaolinite
    assert math.isnan(cia(0.0, 0.0, 0.0, 0.0, 0.0))


def test_missing_phosphorus_is_skipped_and_flagged() -> None:
    p = np.array([0.15, np.nan])
    index, why = cia(*(np.full(2, v) for v in GRANITE[:4]), p, correction="phosphate", status=True)
    assert why.tolist() == [0, 1]
    assert index[1] == pytest.approx(0.5076190271, rel=1e-8)
    _, why = cia(*GRANITE[:4], correction="none", status=True)
    assert why == 0


def test_below_detection_gives_nan() -> None:
    limits = {"calcium": 0.05, "sodium": 0.1}
    sodium = np.array([3.27, 0.09, 0.0, -0.1, np.nan])
    index, why = cia(*(np.full(5, v) for v in GRANITE[:2]), sodium, np.full(5, 2.8), np.full(5, 0.15),
                     detection_limits=limits, status=True)  # fmt: skip
    assert why.tolist() == [0, 2, 2, 2, 255]
    assert np.isnan(index[1:]).all()
    assert math.isnan(cia(15.4, 0.01, 3.27, 2.8, detection_limits=limits))


@settings(max_examples=60, deadline=None)
@given(*(st.floats(0.1, 30) for _ in range(4)), st.floats(0, 1))
def test_corrections_only_raise_it_and_it_stays_a_share(al: float, ca: float, na: float, k: float, p: float) -> None:
    raw, part, full = (cia(al, ca, na, k, p, correction=c) for c in ("none", "phosphate", "mclennan"))
    assert 0 < raw <= part + 1e-12
    assert part <= full + 1e-12
    assert full < 1


def test_lazy_layers_agree_with_arrays() -> None:
    rng = np.random.default_rng(0)
    layers = [rng.uniform(0.5, 10, (6, 7)) for _ in range(5)]
    whole = cia(*layers)
    lazy = cia(*(xr.DataArray(v, dims=("y", "x")).chunk({"y": 4, "x": 3}) for v in layers))
    assert lazy.chunks == ((4, 2), (3, 3, 1))
    assert lazy.values.tobytes() == whole.tobytes()
    assert lazy.attrs["correction"] == "mclennan"


def test_phosphorus_is_a_parent_only_where_it_is_read() -> None:
    layers = [xr.DataArray([[value]], dims=("y", "x")) for value in (15.4, 3.59, 3.27, 2.8, 0.15)]
    assert "phosphorus" in cia(*layers).attrs["parents"].split()
    assert "phosphorus" not in cia(*layers[:4]).attrs["parents"].split()
    assert "phosphorus" not in cia(*layers, correction="none").attrs["parents"].split()


@pytest.mark.parametrize(("call", "says"), [
    (lambda: cia(*ELEMENTS), "oxides are in mass %"),
    (lambda: cia(*GRANITE, basis="oxide"), "did you mean 'oxides'"),
    (lambda: cia(*GRANITE, correction="mclenan"), "did you mean 'mclennan'"),
    (lambda: cia(*GRANITE, detection_limits={"natrium": 1.0}), "detection limit of 'natrium'"),
    (lambda: cia(-1.0, *GRANITE[1:]), "aluminium is -1"),
])  # fmt: skip
def test_bad_contents(call: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        call()


@pytest.mark.nojit
def test_the_same_with_jit_off() -> None:
    code = """
import sys
sys.path.insert(0, "tests")
import test_weathering as t
for mark in t.test_published_vectors.pytestmark:
    for case in mark.args[1]:
        t.test_published_vectors(*case)
t.test_minerals()
t.test_missing_phosphorus_is_skipped_and_flagged()
t.test_below_detection_gives_nan()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=Path(__file__).parent.parent, timeout=120,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


# --- classes

TABLE = {10: 1, 11: 1, 20: 2}
NAMES = {1: "alpine meadow", 2: "steppe"}


def test_codes_become_classes_with_names() -> None:
    cover = xr.DataArray(np.array([[10, 11, 20], [255, 20, 10]], "uint8"), dims=("y", "x"), name="igbp")
    cover.encoding["_FillValue"] = 255
    got = reclassify(cover, TABLE, name="biome", names=NAMES)
    assert got.values.tolist() == [[1, 1, 2], [255, 2, 1]]
    stated = cover.drop_encoding().assign_attrs(missing_value=255)  # was a code that the table lacks
    assert reclassify(stated, TABLE, name="biome", names=NAMES).values.tolist() == [[1, 1, 2], [255, 2, 1]]
    assert got.dtype == np.uint8
    assert got.attrs["flag_meanings"] == "alpine_meadow steppe"
    assert got.attrs["parents"] == "igbp"
    floats = cover.astype("float32").where(cover != 255)
    assert reclassify(floats, TABLE, name="biome", names=NAMES).values.tolist() == got.values.tolist()
    lazy = reclassify(cover.chunk({"x": 2}), TABLE, name="biome", names=NAMES, nodata=255)
    assert lazy.chunks == ((2,), (2, 1))
    assert lazy.values.tolist() == got.values.tolist()


def test_unknown_codes_are_listed_with_their_cells() -> None:
    cover = xr.DataArray(np.array([[10, 99, 99], [7, 20, 10]]), dims=("y", "x"))
    with pytest.raises(InputError, match=r"lacks codes 7 \(1 cells\), 99 \(2 cells\); add them"):
        reclassify(cover, TABLE, name="biome")
    assert reclassify(cover, TABLE, name="biome", unknown="nodata").values.tolist() == [[1, 255, 255], [255, 2, 1]]
    with pytest.raises(InputError, match="lacks codes"):
        reclassify(cover.chunk(), TABLE, name="biome").compute()


@pytest.mark.parametrize(("table", "name", "says"), [
    ({}, "biome", "table is empty"), ({1: 300}, "biome", r"classes \[300\]"),
    ({1: 1}, "slope", "'slope' is continuous"),
])  # fmt: skip
def test_bad_tables(table: Any, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        reclassify(xr.DataArray(np.array([[1]]), dims=("y", "x")), table, name=name)


def test_averaged_classes_are_refused() -> None:
    with pytest.raises(InputError, match=r"10\.5 is not a class code"):
        reclassify(xr.DataArray(np.array([[10.5]]), dims=("y", "x")), TABLE, name="biome")


@pytest.mark.parametrize(("text", "says"), [
    ("code,class\n1,2\n", "columns name are missing"),
    ("code,class,name\nx,1,a\n", "line 2: code 'x'"),
    ("code,class,name\n1,1,a\n1,2,b\n", "line 3: code 1 is listed twice"),
    ("code,class,name\n1,1,a\n01,2,b\n", "line 3: code 1 is listed twice"),
    ("code,class,name\n1,1,a\n2,1,b\n", "class 1 is 'a' and 'b'"),
])  # fmt: skip
def test_bad_table_files(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_class_table(path)
    with pytest.raises(MissingInputError, match="no such file"):
        read_class_table(tmp_path / "absent.csv")


def test_a_table_of_names_asks_for_integer_classes_only(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("code,class,name\nJ,two,limestone\n")
    with pytest.raises(InputError, match="line 2: code 'J' and class 'two', expected a class that is an integer"):
        read_name_table(path)
