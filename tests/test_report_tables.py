"""Tables as CSV, Markdown and HTML, and the summaries of a store's layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tpsoil.display import cell_text
from tpsoil.errors import AccessError, InputError, MissingInputError
from tpsoil.reports import tables

SCORES = pd.DataFrame({
    "zone": ["1", "Yellow | River"], "n": [35, 0], "rmse": [0.34058772, np.nan], "kept": [True, False],
    "eemt": [27019.84766, 1e-7],
})  # fmt: skip


def test_csv_retains_every_digit(tmp_path: Path) -> None:
    path = tables.write_csv(SCORES, tmp_path / "new" / "scores.csv")
    pd.testing.assert_frame_equal(pd.read_csv(path), SCORES, check_exact=True)
    assert [p.name for p in path.parent.iterdir()] == ["scores.csv"]


def test_csv_has_a_named_index_and_the_word_simulated(tmp_path: Path) -> None:
    table = SCORES.set_index("zone")
    table.attrs["simulated"] = True
    back = pd.read_csv(tables.write_csv(table, tmp_path / "scores.csv"))
    assert list(back.columns) == ["zone", "n", "rmse", "kept", "eemt", "simulated"]
    assert set(back["simulated"]) == {"simulated"}
    assert "simulated" not in table.columns  # the caller's table is left alone


def test_markdown_is_aligned_escaped_and_rounded() -> None:
    assert tables.to_markdown(SCORES, caption="By zone") == "\n".join([
        "By zone",
        "",
        "| zone           |  n |  rmse | kept |  eemt |",
        "|----------------|---:|------:|------|------:|",
        "| 1              | 35 | 0.341 | yes  | 27020 |",
        "| Yellow \\| River |  0 |     – | no   | 1e-07 |",
    ])  # fmt: skip


def test_html_is_escaped_with_caption_and_scopes() -> None:
    table = pd.DataFrame({"layer": ["<b>"], "rmse": [0.5]})
    table.attrs["simulated"] = 1
    text = tables.to_html(table, caption="Scores")
    assert "<caption>Scores (simulated)</caption>" in text
    assert '<th scope="row">&lt;b&gt;</th>' in text
    assert '<th scope="col" class="n">rmse</th>' in text
    assert '<td class="n">0.5</td>' in text


def test_a_long_table_reports_how_many_rows_are_omitted() -> None:
    text = tables.to_html(pd.DataFrame({"n": range(100)}), caption="Rows", longest=60)
    assert "Rows (first 60 of 100 rows)" in text
    assert text.count("<tr>") == 61


def test_files_are_written_completely_or_rejected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for write in (tables.write_csv, tables.write_markdown):
        with pytest.raises(AccessError, match="cannot write"):
            write(SCORES, tmp_path / "file" / "a.txt")
        with pytest.raises(InputError, match="got dict, expected a pandas DataFrame"):
            write({}, tmp_path / "a.txt")  # type: ignore[arg-type]


def cube() -> xr.Dataset:
    slope = np.arange(60.0).reshape(6, 10).astype("f4")
    slope[0] = np.nan
    zone = np.full((6, 10), 255, "u1")
    zone[2:4], zone[4:] = 1, 7
    return xr.Dataset({"slope": (("y", "x"), slope), "zone": (("y", "x"), zone), "years": ("time", [1.0])})


@pytest.mark.parametrize("rows_at_once", [7, 25, 10**6])
def test_a_summary_counts_every_cell_whatever_the_bands(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS_AT_ONCE", rows_at_once)
    summary = tables.layer_summary(cube()).set_index("layer")
    assert list(summary.index) == ["slope", "zone"]
    assert summary.loc["slope", ["cells", "with_value", "minimum", "mean", "maximum"]].tolist() == [
        60,
        50,
        10,
        34.5,
        59,
    ]
    assert summary.loc["slope", "units"] == "degree"
    assert summary.loc["zone", "with_value"] == 40
    assert np.isnan(summary.loc["zone", "mean"])
    assert tables.class_shares(cube(), "zone").to_dict("list") == {
        "code": [1, 7], "class": ["zone 1", "zone 7"], "cells": [20, 20], "percent": [50.0, 50.0],
    }  # fmt: skip


def test_a_huge_layer_is_summarised_from_some_rows_and_columns_and_reports_it() -> None:
    summary = tables.layer_summary(cube(), ["slope"], most_cells=20).iloc[0]
    assert (summary["every"], summary["cells"]) == (2, 15)


def test_lazy_layers_are_read_in_bands_only() -> None:
    lazy = cube().chunk(y=2)
    pd.testing.assert_frame_equal(tables.layer_summary(lazy), tables.layer_summary(cube()))


def test_classes_that_were_masked_as_floats_have_no_value_in_cells_of_the_fill_code() -> None:
    floats = cube()[["zone"]].astype("f4")
    assert tables.layer_summary(floats)["with_value"].tolist() == [40]
    assert tables.class_shares(floats, "zone")["cells"].sum() == 40


def test_empty_layers_have_a_summary() -> None:
    empty = xr.Dataset({"slope": (("y", "x"), np.full((2, 2), np.nan))})
    row = tables.layer_summary(empty).iloc[0]
    assert row["with_value"] == 0
    assert np.isnan(row["mean"])
    assert tables.class_shares(empty, "slope").empty
    assert tables.layer_summary(xr.Dataset()).empty


def test_a_missing_layer_is_named() -> None:
    with pytest.raises(MissingInputError, match="no layer 'slop'; did you mean 'slope'"):
        tables.layer_summary(cube(), ["slop"])
    with pytest.raises(MissingInputError, match="no layer 'zones'; did you mean 'zone'"):
        tables.class_shares(cube(), "zones")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (np.inf, "∞"), (-np.inf, "−∞"), (np.int16(3), "3"), (True, "yes"), (1.0, "1"), (12345.6, "12346"),
     (2.04e9, "2.04e+09"), ({"a": 0.12345}, "a 0.123"), ([1, 2.5], "1, 2.5"), ("x", "x")],
)  # fmt: skip
def test_cells_of_a_table(value: object, text: str) -> None:
    assert cell_text(value) == text


def test_a_markdown_cell_stays_in_its_row() -> None:
    """A line break in a cell, and a bar in a heading, broke the table."""
    text = tables.to_markdown(pd.DataFrame({"a|b": ["two\nlines"], "n": [1]}))
    assert text.splitlines()[0].startswith("| a\\|b")
    assert len(text.splitlines()) == 3
    assert "| two lines |" in text
