"""`tpsoil recipe`: every key is explained, and every template runs."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import pytest

from tpsoil.cli import main
from tpsoil.cube import open_cube
from tpsoil.errors import InputError
from tpsoil.recipes import read_recipe
from tpsoil.recipes.reference import TOP, recipe_keys, reference_text
from tpsoil.recipes.templates import KINDS, new_recipe
from tpsoil.sample import write_sample


def status_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("templates") / "cube.zarr")


@pytest.mark.parametrize("key", recipe_keys(), ids=lambda key: f"{key.table}{key.name}")
def test_every_key_has_a_meaning_and_a_type(key: object) -> None:
    assert key.meaning.strip()  # type: ignore[attr-defined]
    assert key.kind != "value" or key.name in {"parameters"}, key  # type: ignore[attr-defined]


def test_the_reference_has_every_table() -> None:
    text = reference_text()
    for heading, _ in TOP.values():
        assert f"# {heading}" in text
    assert "[solum.calibration]" in text
    assert "## hydrology" in text  # the groups of [derive]


def test_a_table_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'elements'"):
        recipe_keys("element")


def test_show_prints_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("recipe", "show", "elements") == 0
    out = capsys.readouterr().out
    assert "masked_samples" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_a_recipe_without_faults(kind: str, cube: Path, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text("longitude,latitude,Fe,Mn,Zn,V\n")
    path = tmp_path / "new.toml"
    path.write_text(new_recipe(kind, str(cube)))
    assert read_recipe(path).run.cube == str(cube)
    tomllib.loads(new_recipe(kind))  # also without a cube
    quoted = tmp_path / 'the "sample" cube.zarr'
    quoted.symlink_to(cube)
    assert tomllib.loads(new_recipe(kind, str(quoted)))["run"]["cube"] == str(quoted)


def test_a_template_runs_from_standard_input(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert status_of("recipe", "new", "solum", "--cube", str(cube)) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(capsys.readouterr().out))
    assert status_of("run", "-", "--quiet", "--no-maps") == 0
    assert 0.3 < float(open_cube(tmp_path / "solum_maps.zarr").solum_thickness.mean()) < 3


def test_without_the_zones_layers_the_template_says_why_and_uses_one_illustrative_set(cube: Path) -> None:
    import tpsoil

    small = str(cube.with_name("small.zarr"))
    layers = open_cube(cube)
    tpsoil.create_cube(small, tpsoil.plateau_grid(8000))
    for name in ("elevation", "mean_annual_temperature", "annual_precipitation"):
        tpsoil.add_layer(small, name, layers[name])
    text = new_recipe("solum", small)
    assert "ndvi" in text
    assert 'zones = "none"' in text
    empty = str(cube.with_name("empty.zarr"))
    tpsoil.create_cube(empty, tpsoil.plateau_grid(50_000))
    with pytest.raises(InputError, match="lacks elevation"):
        new_recipe("solum", empty)


def test_wrong_input_is_explained(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert status_of("recipe", "new", "solm") == 2
    assert "did you mean 'solum'" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("[run\n"))
    assert status_of("run", "-") == 2
    assert "is not TOML" in capsys.readouterr().err
