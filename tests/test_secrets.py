"""Secrets never enter a store, a log, a page or an error."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import small_run
from conftest import Outcome

from tpsoil.engine.progress import logging_to
from tpsoil.errors import InputError, MissingInputError, TpsoilError
from tpsoil.recipes import run
from tpsoil.redaction import public_name, redacted, redacted_values

SECRET = "b1f8c9d0-not-for-anybody"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/a.tif?X-Amz-Signature=abc", "https://host/a.tif?***"),
        ("s3://key:word@bucket/a.zarr", "s3://***@bucket/a.zarr"),
        ("'https://host/a.tif?sig=1': no such file", "'https://host/a.tif?***': no such file"),
        ("/vsicurl/https://host/a.tif?sig=1, band 2", "/vsicurl/https://host/a.tif?***, band 2"),
        ("(https://host/a.tif?sig=1)", "(https://host/a.tif?***)"),
        ("https://host/a?b=c?d=e next https://host/f", "https://host/a?*** next https://host/f"),
        ("tiles/a?.tif: no file; did you mean s3://b/c?", "tiles/a?.tif: no file; did you mean s3://b/c?***"),
        ("no URL at all? none", "no URL at all? none"),
    ],
)
def test_queries_users_and_passwords_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_secret_variables_are_shown_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", SECRET)
    monkeypatch.setenv("HARMLESS", "a value that is no secret")
    assert redacted(f"failed with {SECRET}") == "failed with ${MY_API_TOKEN}"
    assert redacted("a value that is no secret") == "a value that is no secret"
    assert redacted_values({"a": [SECRET, 1], SECRET: None}) == {"a": ["${MY_API_TOKEN}", 1], "${MY_API_TOKEN}": None}
    for error in (TpsoilError(SECRET), InputError(SECRET), MissingInputError(f"x: {SECRET}")):
        assert SECRET not in str(error)


def test_urls_that_name_other_data_stay_different() -> None:
    first, second = (public_name(f"https://host/a.tif?year={year}&sig=abc") for year in (2010, 2011))
    assert first != second
    assert "abc" not in first
    assert public_name("https://host/a.tif?sig=abc") == public_name("https://host/a.tif?sig=def")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback with one raster."""
    grid = small_run.small_grid(32)
    (tmp_path / "served").mkdir()
    with rasterio.open(
        tmp_path / "served" / "dem.tif", "w", driver="GTiff", width=32, height=32, count=1, dtype="float32",
        crs=grid.crs.to_wkt(), transform=grid.transform,
    ) as file:  # fmt: skip
        file.write(np.full((32, 32), 4000, "float32"), 1)

    # A process of its own: GDAL asks it without giving other threads of this one a turn.
    web = subprocess.Popen(
        [
            sys.executable,
            "-u",
            "-m",
            "http.server",
            "0",
            "--bind",
            "127.0.0.1",
            "--directory",
            str(tmp_path / "served"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert web.stdout is not None
    port = web.stdout.readline().split(" port ")[1].split()[0]
    yield f"http://127.0.0.1:{port}"
    web.kill()
    web.communicate()


def stored_texts(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "served" not in str(path)}


def test_a_signed_source_leaves_no_secret_anywhere(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, tpsoil_command: Callable[..., Outcome]
) -> None:
    """In the store, the log, what is printed, and the page; with the variable in the query and in the path."""
    monkeypatch.setenv("SIGNED_PART", SECRET)
    recipe = tmp_path / "recipe.toml"
    text = '[run]\nname = "a"\noutput = "maps.zarr"\n[grid]\nresolution = 1000\nchunks = 32\nbounds = BOUNDS\n'
    bounds = [round(value) for value in small_run.small_grid(32).boundingbox]
    text += '[[layers]]\nname = "elevation"\nsource = "SERVER/dem.tif?sig=${SIGNED_PART}&other=literal-signature"\n'
    recipe.write_text(text.replace("BOUNDS", str(bounds)).replace("SERVER", server))
    outcome = tpsoil_command("run", recipe, "--no-maps")
    assert outcome.status == 0, outcome.err
    page = tpsoil_command("report", tmp_path / "maps.zarr")
    dry = tpsoil_command("run", recipe, "--dry-run")
    state = tpsoil_command("status", tmp_path / "maps.zarr")
    assert "0 of 1 tiles to compute" in dry.out
    assert "0 of 1 tiles to compute" in state.out
    texts = stored_texts(tmp_path) | {"recipe": b""}
    texts.pop(str(recipe))
    for one in (outcome, page, dry, state):
        texts[str(id(one))] = (one.out + one.err).encode()
    assert len(texts) > 10
    for name, data in texts.items():
        assert SECRET.encode() not in data, name
        assert b"literal-signature" not in data, name


def test_errors_of_a_signed_source_leave_the_secret_out(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, tpsoil_command: Callable[..., Outcome]
) -> None:
    monkeypatch.setenv("PATH_PART", SECRET)
    recipe = tmp_path / "recipe.toml"
    text = '[run]\nname = "a"\noutput = "maps.zarr"\n[grid]\nresolution = 1000\nbounds = [0, 0, 9000, 9000]\n'
    text += f'[[layers]]\nname = "elevation"\nsource = "{server}/${{PATH_PART}}/none.tif?sig=${{PATH_PART}}"\n'
    recipe.write_text(text)
    outcome = tpsoil_command("run", recipe)
    assert outcome.status != 0
    assert SECRET not in outcome.err + outcome.out
    assert "${PATH_PART}/none.tif" in outcome.err


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("keep")
    small_run.make_small(tmp_path, side=32, chunk=32)
    (tmp_path / "maps.log").symlink_to(precious)
    recipe = small_run.recipe_of(tmp_path)
    del recipe["elements"], recipe["solum"]
    run(recipe, workers=1, progress=False)
    assert precious.read_text() == "keep"
    (tmp_path / "other.log").symlink_to(precious)  # put there after the check
    with logging_to(tmp_path / "other.log"):
        logging.getLogger("tpsoil.engine").warning("a line")
    assert precious.read_text() == "keep"
    with logging_to(tmp_path / "plain.log"):
        logging.getLogger("tpsoil.engine").warning("a line about s3://a:b@c/d?e=f")
    assert "a line about s3://***@c/d?***" in (tmp_path / "plain.log").read_text()
