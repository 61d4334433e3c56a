"""What a run says while it works: in a terminal of 80 columns, in a file, in a notebook without widgets."""

from __future__ import annotations

import io
import re
import warnings

import pytest
from rich.console import Console

from tpsoil.engine import progress
from tpsoil.engine.progress import Reporter

LONGEST = "layer mean_annual_temperature"


class Clock:
    """Each look at it takes `step` seconds."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 1000.0, step

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def terminal() -> Console:
    return Console(
        file=io.StringIO(), force_terminal=True, width=80, highlight=False, soft_wrap=True, color_system=None
    )


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def tell(reporter: Reporter, tiles: int = 5) -> None:
    with reporter.preparing("topsoil iron: training") as parts:
        parts(1, 4)
        parts(2, 4)
    with reporter.stage(LONGEST, tiles):
        for tile in range(tiles):
            reporter.tile_done(str(tile), 0.01)


def test_a_terminal_of_80_columns_shows_stage_tiles_rate_and_time_left_on_one_line() -> None:
    console = terminal()
    tell(Reporter(console=console))
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", written(console)) if line.strip()]
    assert max(map(len, lines)) <= 80
    assert any("topsoil iron: training, 2 of 4" in line for line in lines)
    assert "topsoil iron: training: 0.0 s" in lines
    last = [line for line in lines if line.startswith(LONGEST)][-1]
    assert re.search(r"5/5 tiles +[\d.]+/s +0:00:00$", last)
    assert all(line.startswith((LONGEST, "topsoil iron")) or "training" in line for line in lines)  # nothing wrapped


def test_a_file_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "time", Clock(10.0))
    console = Console(file=io.StringIO(), width=80, soft_wrap=True)
    tell(Reporter(console=console))
    lines = written(console).splitlines()
    assert lines[0] == "topsoil iron: training"
    assert lines[1] == "topsoil iron: training: 2 of 4, 20 s left"
    assert lines[2] == "topsoil iron: training: 30.0 s"
    assert lines[3] == f"{LONGEST}: 2 of 5 tiles, 0.10 a second, 30 s left"
    assert lines[-1] == f"{LONGEST}: 5 of 5 tiles in 60.0 s"


@pytest.mark.parametrize("widgets", [True, False])
def test_a_notebook_without_widgets_gets_lines_and_no_warning(monkeypatch: pytest.MonkeyPatch, widgets: bool) -> None:
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(progress, "has_widgets", lambda: widgets)
    reporter = Reporter(console=Console(file=io.StringIO(), width=80, soft_wrap=True))
    assert reporter.interactive == widgets
    if not widgets:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tell(reporter)
        assert f"{LONGEST}: 5 of 5 tiles in" in written(reporter.console)


def test_quiet_says_nothing_but_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    console = terminal()
    with caplog.at_level("DEBUG", logger="tpsoil.engine"):
        tell(Reporter(show=False, console=console))
    assert written(console) == ""
    assert f"{LONGEST}: 5 tiles to compute" in caplog.text
    assert f"{LONGEST}: tile 4 in 0.010 s" in caplog.text
