"""Tables of a run as a terminal prints them: plain words in cells, and every line within the terminal."""

from __future__ import annotations

import io
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from tpsoil.cli import main
from tpsoil.cli.tables import table_text, width_of_terminal, wrapped
from tpsoil.column_titles import cell_words, with_titles
from tpsoil.kernels.cache import CLOCK
from tpsoil.reports.elements import Tables

PROFILES = pd.DataFrame({
    "prediction": ["map", "mean of the map everywhere", "published: the study's map at its own profiles"],
    "measure": ["below_limit", "rmse_tobit", "squared_correlation"], "n": [12, 140, 7],
    "value": [0.25, 0.31, np.nan], "lower": [0.1, 0.2, np.nan], "upper": [0.4, 0.45, np.nan],
    "feature": ["annual_precipitation", "soil_ph", "own_layer"], "site": ["a_site", "b_site", "c_site"],
})  # fmt: skip


def test_cells_have_plain_words_where_tables_are_shown() -> None:
    shown = with_titles(PROFILES, "solum_profiles")
    assert list(shown["measure"]) == ["limits not reached, share", "RMSE with lower limits", "squared correlation"]
    assert list(shown["feature"]) == ["annual precipitation", "soil ph", "own layer"]
    assert list(shown["site"]) == ["a_site", "b_site", "c_site"]  # a user's own name
    assert list(PROFILES["measure"]) == ["below_limit", "rmse_tobit", "squared_correlation"]  # as stored


@pytest.mark.parametrize(
    ("value", "text"),
    [("knndm", "kNNDM"), ("nse", "NSE"), ("block:3deg", "block:3deg"), ("h0", "h0"), (3, 3), (None, None)],
)
def test_words_of_a_cell(value: object, text: object) -> None:
    assert cell_words(value) == text


def test_a_page_has_plain_words_and_its_csv_the_names() -> None:
    page = Tables()
    text = page.element(PROFILES)
    assert "below_limit" not in text
    assert "limits not reached" in text
    assert "below_limit" in page.scripts[0]


@pytest.mark.parametrize("width", [24, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_no_cell_is_lost(width: int) -> None:
    text = table_text(with_titles(PROFILES, "solum_profiles"), width)
    assert max(map(len, text.splitlines())) <= width
    words = "".join(text.split())
    for cell in ("0.310", "0.450", "140", "limitsnotreached,share"):
        assert cell in words or width < 40, cell
    assert words.count("0.250") == 1


def test_a_wide_table_continues_below_with_its_first_column() -> None:
    table = pd.DataFrame({"zone": [1, 2], **{f"layer {k}": [k + 0.5, k + 0.25] for k in range(20)}})
    blocks = table_text(table, 60).split("\n\n")
    assert len(blocks) > 2
    assert all(block.splitlines()[-1].split()[0] == "2" for block in blocks)
    repeated = table_text(table.assign(zone=1).assign(bin=["low", "high"])[["zone", "bin", *table.columns[1:]]], 60)
    assert all(block.splitlines()[-1].split()[:2] == ["1", "high"] for block in repeated.split("\n\n"))
    narrow = pd.DataFrame({"zone": [1, 2], "mean": [0.5, 0.25]})
    assert table_text(narrow, 60) == "zone   mean\n   1  0.500\n   2  0.250"


def test_a_table_without_rows_or_columns_is_printed() -> None:
    assert table_text(pd.DataFrame({"zone": []}), 80) == "zone"
    assert table_text(pd.DataFrame(), 80) == ""
    assert table_text(pd.DataFrame({"zone": [1], "reached": [False]}), 80).splitlines()[1] == "   1       no"


def test_long_texts_are_printed_completely() -> None:
    text = "a published map of the plateau, " * 4 + "end"
    assert " ".join(table_text(pd.DataFrame({"source": [text]}), 80).split()) == f"source {text}"


def test_a_pipe_has_80_columns_and_a_terminal_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: (132, 50))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert width_of_terminal() == 80
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert width_of_terminal() == 132


def test_sentences_are_wrapped_and_paths_are_not_cut() -> None:
    path = "/data/" + "folder/" * 15
    assert wrapped(f"slope: 3 tiles stale: the layer elevation of {path} changed", 80).count(path) == 1
    assert max(map(len, wrapped("word " * 60, 80).splitlines())) <= 80


def test_a_message_is_folded_whatever_columns_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CLOCK, "notice", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for columns, widest in (("wide", 200), ("60", 60)):
        monkeypatch.setenv("COLUMNS", columns)
        with pytest.raises(SystemExit) as ended:
            main(["run", "none.toml", "--memory", "-1", "--output", "memory://" + "a " * 60])
        assert ended.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines
        assert max(map(len, lines)) <= widest
