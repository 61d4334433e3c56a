"""README keeps its word: its example runs, its tables are the printed ones, its files are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tpsoil
from tpsoil.sample import write_sample

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sample = write_sample(tmp_path / "sample.zarr")
    names = {"elevation": "dem", "mean_annual_temperature": "bio1", "annual_precipitation": "bio12"}
    for layer, name in names.items():
        tpsoil.export_store(sample, tmp_path / f"{name}.tif", layers=[layer])
    monkeypatch.chdir(tmp_path)
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    exec(compile(block[1], "README.md", "exec"), {})
    assert 0.3 < float(capsys.readouterr().out) < 2.0


LIMITS = (ROOT / "notebooks" / "site" / "limits.md").read_text(encoding="utf-8")
QUOTES = re.findall(r"\[([^\]]*\d[^\]]*)\]\((benchmarks/results/[^)]+)\)", README)
QUOTES += [
    (quoted, f"benchmarks/results/{file}")
    for quoted, file in re.findall(r"\[([^\]]*\d[^\]]*)\]\(benchmarks/([^)]+)\)", LIMITS)
]


@pytest.mark.parametrize(("quoted", "file"), QUOTES)
def test_every_figure_is_what_a_benchmark_printed(quoted: str, file: str) -> None:
    printed = re.sub(r"\s+", " ", (ROOT / file).read_text(encoding="utf-8"))
    assert re.search(rf"(?<![\d.]){re.escape(quoted)}(?![\d])", printed), f"{file} has no {quoted}"


def test_the_table_of_benchmarks_quotes_figures() -> None:
    assert len(QUOTES) >= 12


def test_every_file_it_names_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_first_screen_shows_a_map_the_commands_and_ten_lines() -> None:
    picture = re.search(r'<img src="([^"]+)" alt="[^"]{20,}" width="\d+">', README)
    assert picture is not None
    assert (ROOT / picture[1]).stat().st_size < 500_000
    assert README.index("```python") < 2000
    assert README.index("# the demo") < README.index("# the tests") < README.index("```python")
    assert sum(line.startswith("|") for line in README.splitlines()) < 0.3 * len(README.splitlines())
    assert "## What is not verified" in README


def test_its_two_commands_are_marked_for_ci() -> None:
    assert len(re.findall(r"# the demo$", README, re.MULTILINE)) == 1
    assert len(re.findall(r"# the tests$", README, re.MULTILINE)) == 1
