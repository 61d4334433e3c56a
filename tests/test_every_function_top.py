"""Every option of the functions of `tpsoil` itself has an effect, or is rejected."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_run
import test_every_function_cube
from function_sweep import Case, other, parameters_of, require_complete, require_reproducible, same
from mirror import Mirror, catalogue_of, make_sources, serving

import tpsoil
from tpsoil import cube
from tpsoil.recipes import Network

RECIPE = {
    "run": {"name": "small", "output": "maps.zarr", "cube": "cube.zarr", "tile": 1},
    "derive": {"terrain": ["slope", "general_curvature"]},
    "solum": {"parameters": "published", "zones": "published", "maps": ["solum_thickness"]},
}
NUMBERS = itertools.count()
NETWORK = Network(catalogue="../catalogue.toml", cache="../cache")
STORES = {name: case for name, case in test_every_function_cube.CASES.items() if name in tpsoil.__all__}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cube and a server of open data; the working directory."""
    path = tmp_path_factory.mktemp("top")
    small_run.make_cube(str(path / "cube.zarr"), side=32)
    with pytest.MonkeyPatch.context() as patch, serving(Mirror(make_sources(path / "sources"))) as mirror:
        patch.chdir(path)
        catalogue_of(mirror, path / "catalogue.toml")
        yield path


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """Another working directory for each call, so that paths in attributes are equal."""
    path = Path(f"call{next(NUMBERS)}")
    path.mkdir()
    with contextlib.chdir(path):
        yield path


def run(**arguments: Any) -> Any:
    """The maps, and the stores that exist."""
    with own_folder():
        shutil.copytree("../cube.zarr", "cube.zarr")
        maps = tpsoil.run(RECIPE, **arguments).load()
        return [maps, sorted(path.name for path in Path().iterdir())]


def fetch(*, existing: bool = False, store: str | None = "cube.zarr", **arguments: Any) -> Any:
    """The cube, which layers were written, and the grid; without a store the lazy layers."""
    place = {"bbox": (90.2, 29.2, 90.8, 29.8), "resolution": 5000}
    with own_folder():
        if existing:
            tpsoil.fetch("cube.zarr", **place, layers=["chelsa/bio12"], network=NETWORK)
        options = {"layers": ["chelsa/bio12"], "network": NETWORK, **({} if existing else place), **arguments}
        fetched = tpsoil.fetch(store, **options)
        if store is None:
            return [fetched.load(), (), None]
        layers = cube.open_cube("cube.zarr").load() if Path("cube.zarr").exists() else None
        return [layers, fetched.written, fetched.grid]


def no_progress(layer: str, read: int, expected: int) -> None:
    """Called while bytes are read."""


CASES = {
    "fetch": Case(
        fetch,
        {},
        {
            "store": other(None),
            "bbox": other((90.4, 29.4, 90.9, 29.9)),
            "layers": other(["depth_to_bedrock"]),
            "resolution": other(8000),
            "crs": other("EPSG:32646"),
            "overwrite": other(True, existing=True),
            "dry_run": other(True),
            "network": other(Network(catalogue="../catalogue.toml", cache="empty", offline=True), names="offline"),
            "progress": same(no_progress, "called while bytes are read"),
        },
    ),
    "explore": Case(
        lambda **options: tpsoil.explore("cube.zarr", **options)._repr_html_(),
        {},
        {
            "layers": other(["elevation"]),
            "window": other((0.0, 0.0, 10_000.0, 10_000.0)),
            "cells": other(200),
            "height_px": other(400),
        },
    ),
    "plateau_grid": Case(tpsoil.plateau_grid, {}, {"resolution": other(2000)}),
    "run": Case(
        run,
        {"progress": False},
        {
            "output": other("elsewhere.zarr"),
            "scheduler": other("thread"),
            "workers": same(1, "how many tiles are computed at once"),
            "memory": other(1e-3),
            "only": other("derive"),
            "progress": same(True, "written on standard error"),
        },
    ),
}


@pytest.mark.parametrize(("name", "option"), parameters_of(CASES))
def test_an_option_has_an_effect_or_is_rejected(name: str, option: str) -> None:
    CASES[name].check(name, option)


@pytest.mark.parametrize("name", CASES)
def test_equal_options_give_equal_results(name: str) -> None:
    require_reproducible(CASES[name])


def test_every_option_has_another_value_here() -> None:
    require_complete(tpsoil, {**STORES, **CASES})
    assert all(getattr(tpsoil, name) is getattr(cube, name) for name in STORES)
