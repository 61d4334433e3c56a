"""`tpsoil map`: a layer of a store as a figure file."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tpsoil.cli import main
from tpsoil.sample import write_sample


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("map") / "cube.zarr")


def status_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def test_a_layer_is_drawn_at_300_dots_an_inch(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "elevation.png"
    assert status_of("map", str(store), "elevation", str(out), "--hillshade") == 0
    with Image.open(out) as image:
        assert image.width == pytest.approx(8.2 * 300, abs=2)


def test_two_layers_stand_side_by_side(store: Path, tmp_path: Path) -> None:
    assert status_of("map", str(store), "ndvi", str(tmp_path / "a.pdf"), "--with", "min") == 0
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("elevatoin", "a.png"), "did you mean 'elevation'"),
        (("elevation", "a.xyz"), "ends in '.xyz'"),
        (("elevation", "a.png", "--with", "sd"), "no 'sd'"),
    ],
)
def test_wrong_input_is_explained(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    layer, out, *more = arguments
    assert status_of("map", str(store), layer, str(tmp_path / out), *more) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_title_stands_over_two_maps(store: Path, tmp_path: Path) -> None:
    """`--title` had no effect beside `--with`."""
    for name, more in (("a.png", ()), ("b.png", ("--title", "Greenness"))):
        out = tmp_path / name
        assert status_of("map", str(store), "ndvi", str(out), "--with", "min", "--dpi", "50", *more) == 0
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
