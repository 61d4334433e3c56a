"""What somebody else wrote: models, chunks and names are checked when they are read, and names stay text."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_run
import zarr
from conftest import Outcome
from numcodecs.zstd import Zstd

from tpsoil.cube import create_cube, open_cube
from tpsoil.cube.chunks import LocalChunks, frame_content_bytes
from tpsoil.errors import CorruptStoreError, InputError, TpsoilError
from tpsoil.forest import train
from tpsoil.forest.layers import MapModel
from tpsoil.recipes import read_recipe, run
from tpsoil.reports import write_page

Command = Callable[..., Outcome]

NAMES = {
    "markup": "<script>alert(1)</script>",
    "above": "../../outside",
    "nul": "a\0b",
    "escape": "a\x1b[2Jb",
    "reversed": "a\u202eb",
    "long": "n" * 10_000,
    "half a character": "a\ud800b",
}
PLACES: dict[str, Callable[[dict[str, Any], str], None]] = {
    "run.name": lambda recipe, name: recipe["run"].update(name=name),
    "run.cube": lambda recipe, name: recipe["run"].update(cube=name),
    "a table": lambda recipe, name: recipe.update({name: {}}),
    "a feature": lambda recipe, name: recipe["elements"].update(features=["elevation", name]),
    "an element": lambda recipe, name: recipe["elements"].update(elements={name: "Fe"}),
    "a column": lambda recipe, name: recipe["elements"].update(elements={"Fe": name}),
    "a file": lambda recipe, name: recipe["elements"].update(samples=name),
    "a layer": lambda recipe, name: recipe.update(layers=[{"name": name, "source": "a.tif"}]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strangers")
    small_run.make_cube(str(path / "cube.zarr"), side=32, chunk=16)
    small_run.make_samples(path / "samples.csv", side=32, count=40)
    return path


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_or_is_rejected_with_a_short_printable_message(folder: Path, place: str, name: str) -> None:
    recipe = small_run.recipe_of(folder)
    PLACES[place](recipe, NAMES[name])
    if name in {"markup", "above"}:  # without an effect on a terminal
        with contextlib.suppress(TpsoilError):
            read_recipe(recipe)
        return
    with pytest.raises(TpsoilError) as caught:
        read_recipe(recipe)
    message = str(caught.value)
    assert caught.value.exit_status == 2
    assert len(message) < 2500
    assert message.replace("\n", "").isprintable()


def test_no_name_leaves_its_folder_or_becomes_markup(folder: Path) -> None:
    recipe = small_run.recipe_of(folder, output=str(folder / "named.zarr"))
    del recipe["elements"]
    before = set(folder.parent.iterdir())
    recipe["run"] |= {"name": "../../outside", "description": NAMES["markup"]}
    with pytest.raises(InputError, match=r"run\.name"):
        run(recipe, progress=False)
    recipe["run"]["name"] = "named"
    run(recipe, progress=False)
    assert set(folder.parent.iterdir()) == before
    page = write_page(str(folder / "named.zarr"), folder / "page.html", layers=["solum_thickness"])
    assert NAMES["markup"] not in page.read_text(encoding="utf-8")


def test_attributes_of_a_store_stay_text_on_the_page(folder: Path, tpsoil_command: Command) -> None:
    store = str(folder / "attributes.zarr")
    small_run.make_cube(store, side=32, chunk=16)
    group = zarr.open_group(store, mode="r+")
    group.attrs.update({"title": NAMES["markup"], "history": NAMES["escape"], NAMES["markup"]: NAMES["markup"]})
    group["elevation"].attrs.update({"long_name": NAMES["markup"], "source": NAMES["markup"] * 200, "units": "m"})
    done = tpsoil_command("report", store, folder / "attributes.html")
    assert done.status == 0, done.err
    assert NAMES["markup"] not in (folder / "attributes.html").read_text(encoding="utf-8")
    shown = tpsoil_command("cube", "info", store)
    assert shown.status == 0, shown.err
    assert "\x1b[2J" not in shown.out


def test_a_message_of_the_command_line_is_printable(tpsoil_command: Command, tmp_path: Path) -> None:
    for name in (NAMES["escape"], NAMES["reversed"], NAMES["long"]):
        done = tpsoil_command("status", tmp_path / name)
        assert done.status == 2
        assert done.err.replace("\n", "").isprintable()
        assert "Traceback" not in done.err


@pytest.fixture(scope="module")
def model() -> MapModel:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.random(40), "b": rng.random(40), "Fe": rng.random(40)})
    return MapModel.of(train(table, "Fe", ["a", "b"], trees=3, folds="random"), level=None)


def planted(model: MapModel, **arrays: Any) -> bytes:
    return replace(model, forest=replace(model.forest, **arrays)).dump()


def test_a_planted_model_is_rejected_when_it_is_read(model: MapModel) -> None:
    assert MapModel.load(model.dump()).digest == model.digest
    forest = model.forest
    split = int(np.flatnonzero(forest.left != -1)[0])

    def changed(name: str, value: Any) -> Any:
        array = getattr(forest, name).copy()
        array[split] = value
        return {name: array}

    faults = [
        changed("left", 2**30),
        changed("left", split),
        changed("right", -7),
        changed("feature", 2),
        changed("feature", -3),
        changed("threshold", np.nan),
        changed("value", np.inf),
        {"root": forest.root[::-1].copy()},
        {"left": forest.left[:-1]},
        {"left": forest.left.astype("float64")},
        {"features": ("a", "b", "c")},
        {"features": ("b", "a")},
    ]
    for fault in faults:
        with pytest.raises(CorruptStoreError, match="map model"):
            MapModel.load(planted(model, **fault))
    with pytest.raises(CorruptStoreError, match="map model"):
        MapModel.load(replace(model, domain=replace(forest, **changed("left", 2**30))).dump())


def test_bytes_that_are_no_model_or_state_more_than_they_are(model: MapModel) -> None:
    data = model.dump()
    huge = io.BytesIO()
    np.savez(huge, plain_=np.frombuffer(json.dumps({}).encode(), np.uint8))
    inflated = io.BytesIO()
    np.savez_compressed(inflated, plain_=np.zeros(10**6, np.uint8))
    for wrong in (b"", b"PK\x03\x04", data[: len(data) // 2], huge.getvalue(), inflated.getvalue()):
        with pytest.raises((InputError, CorruptStoreError)):
            MapModel.load(wrong)


def test_a_frame_that_states_more_than_its_chunk_is_rejected_before_memory_is_reserved(tmp_path: Path) -> None:
    for size in (5, 255, 256, 70_000, 2**33):
        if size < 10**6:
            assert frame_content_bytes(bytes(Zstd(level=1, checksum=True).encode(b"\0" * size))) == size
    bomb = bytes.fromhex("28b52ffd") + bytes([0xE4]) + (2**40).to_bytes(8, "little") + b"\0" * 8
    assert frame_content_bytes(bomb) == 2**40
    store = str(tmp_path / "cube.zarr")
    small_run.make_cube(store, side=32, chunk=16)
    chunk = next(path for path in (tmp_path / "cube.zarr" / "elevation" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(bomb)
    chunks = LocalChunks.of(zarr.open_array(store, path="elevation", mode="r"))
    assert chunks is not None
    with pytest.raises(ValueError, match="does not unpack|checksum"):
        chunks.decode(bomb)
    with pytest.raises(CorruptStoreError):
        open_cube(store)["elevation"].compute()
    create_cube(store, small_run.small_grid(16), chunks=16, overwrite=True)
