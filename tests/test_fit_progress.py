"""A training shows a bar on a terminal and in a notebook, and writes nothing elsewhere."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tpsoil.errors import InputError
from tpsoil.forest import SoilForest, fit_progress, train
from tpsoil.forest.fit_progress import reporting_fits
from tpsoil.micronutrients import train_elements

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(RNG.random((40, 3)), columns=["slope", "Fe", "Zn"]).assign(site=np.arange(40) // 2)


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Console:
    one = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(fit_progress, "fit_console", lambda: one)
    return one


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def test_a_terminal_shows_the_folds_of_a_training(console: Console) -> None:
    train(TABLE, "Fe", ["slope"], "site", trees=2, n_folds=3)
    assert re.search(r"training Fe .* 7/7 folds", written(console))  # three at random, three by site, and the forest
    assert max(len(line.rstrip()) for line in re.split(r"[\r\n]+", written(console))) <= 80


@pytest.mark.parametrize("engine", ["compiled", "scikit-learn"])
def test_the_estimator_shows_its_trees_where_asked(engine: Any, console: Console) -> None:
    SoilForest(130, engine=engine).fit(TABLE[["slope"]], TABLE["Fe"])
    assert written(console) == ""
    SoilForest(130, engine=engine, verbose=1).fit(TABLE[["slope"]], TABLE["Fe"])
    assert re.search(r"growing trees .* 130/130 trees", written(console))


def test_each_element_has_its_bar(console: Console) -> None:
    train_elements(TABLE, ["Fe", "Zn"], ["slope"], groups=None, trees=2, folds="random", workers=2)
    for name in ("Fe", "Zn"):
        assert re.search(rf"training {name} .* 6/6 folds", written(console))


def test_the_first_training_of_automatic_blocks_shares_the_bar(console: Console) -> None:
    table = TABLE.assign(x=RNG.random(40) * 9e4, y=RNG.random(40) * 9e4)
    train(table, "Fe", ["slope"], "site", trees=2, folds=("group", "block"), block_size="auto", n_folds=3)
    assert re.search(r"training Fe .* 7/7 folds", written(console))


@pytest.mark.parametrize("name", ["[red]Fe", "Fe\x1b[31m"])
def test_a_name_is_text_in_the_bar(console: Console, name: str) -> None:
    train(TABLE.rename(columns={"Fe": name}), name, ["slope"], trees=2, folds="random")
    assert name.replace("\x1b", "\\x1b") in written(console)


def test_the_bar_is_removed_and_ends_with_an_error(console: Console) -> None:
    with pytest.raises(InputError, match="slope"):
        train(TABLE.assign(slope=1.0), "Fe", ["slope"], "site", trees=2)
    train(TABLE, "Fe", ["slope"], "site", trees=2, n_folds=3)  # a bar that still ran would be an error of rich
    assert "7/7" in written(console)


@pytest.mark.parametrize("reason", ["argument", "reporter", "no terminal", "notebook"])
def test_nothing_is_written(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = reason != "no terminal"
    one = Console(file=io.StringIO(), force_terminal=terminal, width=80, color_system=None)
    monkeypatch.setattr(fit_progress, "fit_console", lambda: one)
    options: dict[str, Any] = {"trees": 2, "folds": "random", "progress": reason != "argument"}
    counts = []
    if reason == "notebook":
        monkeypatch.setattr(fit_progress, "in_notebook", lambda: True)
        monkeypatch.setattr(fit_progress, "has_widgets", lambda: False)
    if reason == "reporter":
        with reporting_fits(lambda done, total: counts.append((done, total))):
            train(TABLE, "Fe", ["slope"], **options)
        assert counts == [(k, 6) for k in range(1, 7)]
    else:
        train(TABLE, "Fe", ["slope"], **options)
    assert written(one) == ""


def test_output_that_is_no_terminal_stays_empty(capfd: pytest.CaptureFixture[str]) -> None:
    train(TABLE, "Fe", ["slope"], "site", trees=2, n_folds=3)
    assert capfd.readouterr() == ("", "")
