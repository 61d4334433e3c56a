"""Random damage to everything that is read: a result or a message with exit status 2, never a crash.

In CI the same examples every time, for some seconds; `--full` draws others, fifty times as many.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import small_run
from affine import Affine
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tpsoil.cube import align, check_cube, open_cube
from tpsoil.engine import state_of, status
from tpsoil.errors import CorruptStoreError, GridError, InputError, MissingInputError, TpsoilError
from tpsoil.forest import train
from tpsoil.forest.layers import MapModel
from tpsoil.ingest import read_profiles, read_raster, read_samples
from tpsoil.recipes import preview, read_recipe, result_tables, run
from tpsoil.variables import variable

pytestmark = pytest.mark.slow

Fuzz = Callable[[int, "st.SearchStrategy[Any]", Callable[[Any], None]], None]

TIMES_FULL = 50


@pytest.fixture
def fuzz(full: bool) -> Fuzz:
    def go(count: int, strategy: st.SearchStrategy[Any], body: Callable[[Any], None]) -> None:
        @settings(
            max_examples=count * (TIMES_FULL if full else 1),
            derandomize=not full,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # shrinking an example takes minutes
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def examples(value: Any) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    body(value)
                except TpsoilError as error:
                    message = str(error)
                    if error.exit_status != 2 or not message or len(message) > 20_000:
                        raise AssertionError(f"exit {error.exit_status}: {message[:300]}") from error

        examples()

    return go


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([2**31, -(2**63), 2**70, 10**400]),
    st.floats(allow_nan=True, allow_infinity=True), st.text(max_size=12),
    st.sampled_from(["", ".", "..", "/", "/dev/null", "a\0b", "${HOME}", "${NOT_SET}", "memory://x", "s3://", "http://",
                     "sources:era5/none", "EPSG:0", "EPSG:32645", "mm", "degC", "1e309", "nan", "*", "~", "file://"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["name", "units"]), inner, max_size=3)
    ),
    max_leaves=5,
)
EDITS = st.lists(
    st.tuples(st.integers(0, 200), VALUES, st.sampled_from(["set", "set", "remove", "add"])), min_size=1, max_size=3
)
DAMAGE = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from(["flip", "cut", "insert", "zero"]), st.integers(1, 255)),
    min_size=1,
    max_size=4,
)


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value of nested mappings and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from places_in(item)


def edited(document: Any, edits: list[tuple[int, Any, str]]) -> Any:
    document = copy.deepcopy(document)
    for at, value, how in edits:
        places = list(places_in(document))
        if not places:
            break
        container, key = places[at % len(places)]
        if how == "remove":
            del container[key]
        elif how == "add" and isinstance(container, dict):
            container[f"{key}x" if value is None else str(key)[:2]] = value
        else:
            container[key] = value
    return document


def damaged(data: bytes, damage: list[tuple[int, str, int]]) -> bytes:
    for at, how, value in damage:
        place = at % (len(data) + 1)
        if how == "cut":
            data = data[:place]
        elif how == "insert":
            data = data[:place] + bytes([value]) * (value % 9 + 1) + data[place:]
        elif place < len(data):
            changed = data[place] ^ value if how == "flip" else 0
            data = data[:place] + bytes([changed]) + data[place + 1 :]
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz")
    small_run.make_cube(str(path / "cube.zarr"), side=32, chunk=16)
    small_run.make_samples(path / "samples.csv", side=32, count=40)
    return path


@pytest.fixture(scope="module")
def store(folder: Path) -> Path:
    recipe = small_run.recipe_of(folder, elements={"trees": 3})
    run(recipe, workers=1, progress=False)
    return folder / "maps.zarr"


def test_recipes(fuzz: Fuzz, folder: Path) -> None:
    recipe = small_run.recipe_of(folder, elements={"trees": 3})
    recipe["grid"] = {"resolution": 100_000, "chunks": 64}
    recipe["layers"] = [{"name": "slope", "source": "none.tif", "units": "degree"}]
    fuzz(150, EDITS, lambda edits: void(read_recipe(edited(recipe, edits))))


def test_plans(fuzz: Fuzz, folder: Path) -> None:
    recipe = small_run.recipe_of(folder, output=str(folder / "plans.zarr"), elements={"trees": 3})
    fuzz(15, EDITS, lambda edits: void(preview(edited(recipe, edits))))
    assert not (folder / "plans.zarr").exists()


def test_text_that_is_no_recipe(fuzz: Fuzz, folder: Path) -> None:
    path = folder / "damaged.toml"
    text = (
        f'[run]\nname = "a"\noutput = "a.zarr"\ncube = "{folder}/cube.zarr"\n\n[derive]\nterrain = ["slope"]\n'.encode()
    )

    def read(damage: list[tuple[int, str, int]]) -> None:
        path.write_bytes(damaged(text, damage))
        read_recipe(path)

    fuzz(120, DAMAGE, read)


def test_tables(fuzz: Fuzz, folder: Path) -> None:
    data = (folder / "samples.csv").read_bytes()[:600]
    path = folder / "damaged.csv"

    def read(damage: list[tuple[int, str, int]]) -> None:
        path.write_bytes(damaged(data, damage))
        with contextlib.suppress(InputError, MissingInputError):
            read_profiles(path)
        table = read_samples(path, elements=["Fe"], units="mg/kg")
        assert not np.isinf(table.select_dtypes("number")).any(axis=None)

    fuzz(80, DAMAGE, read)


RASTERS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["uint8", "int16", "float32", "float64"]),
        "nodata": st.none() | st.sampled_from([0.0, 255.0, -9999.0, math.nan]),
        "crs": st.none() | st.sampled_from(["EPSG:4326", "EPSG:32645", "EPSG:3857"]),
        "transform": st.tuples(*[st.sampled_from([0.0, 1.0, -1.0, 1e-3, 1e6, 90.0, 1e300])] * 6),
        "tags": st.dictionaries(
            st.sampled_from(["units", "scale_factor", "add_offset", "_FillValue", "AREA_OR_POINT", "x"]),
            st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=8),
            max_size=3,
        ),
        "scale": st.sampled_from([1.0, 0.0, -0.1, math.nan, math.inf]),
        "damage": st.none() | DAMAGE,
    }
)


def test_rasters(fuzz: Fuzz, folder: Path) -> None:
    path = folder / "damaged.tif"

    def read(raster: dict[str, Any]) -> None:
        path.unlink(missing_ok=True)
        kinds = {"uint8": (0, 255), "int16": (-(2**15), 2**15 - 1)}
        nodata = raster["nodata"]
        if nodata is not None and raster["dtype"] in kinds:
            low, high = kinds[raster["dtype"]]
            nodata = nodata if low <= nodata <= high else None
        with rasterio.open(
            path, "w", driver="GTiff", width=8, height=6, count=1, dtype=raster["dtype"], nodata=nodata,
            crs=raster["crs"], transform=Affine(*raster["transform"]),
        ) as target:  # fmt: skip
            target.write(np.arange(48).reshape(6, 8).astype(raster["dtype"]), 1)
            target.update_tags(**raster["tags"])
            target.scales = (raster["scale"],)
        if raster["damage"]:
            head = path.read_bytes()
            path.write_bytes(damaged(head[:600], raster["damage"]) + head[600:])
        align(read_raster(path, variable("elevation"), units="m"), small_run.small_grid(8)).compute()

    fuzz(80, RASTERS, read)


def test_metadata_of_a_cube(fuzz: Fuzz, tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    small_run.make_cube(str(cube), side=32, chunk=16)
    values = open_cube(str(cube))["elevation"].values
    keys = [cube / "zarr.json", cube / "elevation" / "zarr.json", cube / "x" / "zarr.json"]
    whole = [path.read_bytes() for path in keys]

    def read(case: tuple[int, list[tuple[int, Any, str]], list[tuple[int, str, int]] | None]) -> None:
        which, edits, damage = case
        path, data = keys[which], whole[which]
        path.write_bytes(
            damaged(data, damage) if damage else json.dumps(edited(json.loads(data), edits), default=str).encode()
        )
        try:
            layers = open_cube(str(cube))
            if "elevation" in layers and layers["elevation"].size < 10**7:
                layers["elevation"].values  # noqa: B018
            check_cube(str(cube))
        finally:
            path.write_bytes(data)

    fuzz(40, st.tuples(st.integers(0, 2), EDITS, st.none() | DAMAGE), read)
    assert np.array_equal(open_cube(str(cube))["elevation"].values, values, equal_nan=True)


def test_records_of_a_run(fuzz: Fuzz, store: Path) -> None:
    paths = sorted(path for path in (store / "_tpsoil").rglob("*") if path.is_file() and path.suffix != ".bin")
    whole = {path: path.read_bytes() for path in paths}
    current = [one.plan.current for one in status(str(store))]

    def read(case: tuple[int, list[tuple[int, str, int]]]) -> None:
        path = paths[case[0] % len(paths)]
        path.write_bytes(damaged(whole[path], case[1]))
        try:
            plans = status(str(store))
            assert all(one.plan.current <= before for one, before in zip(plans, current))
            state_of(str(store))
            result_tables(str(store))
        finally:
            path.write_bytes(whole[path])

    fuzz(40, st.tuples(st.integers(0, 500), DAMAGE), read)


def test_models(fuzz: Fuzz) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.random(30), "b": rng.random(30), "Fe": rng.random(30)})
    model = MapModel.of(train(table, "Fe", ["a", "b"], trees=2, folds="random"), level=None)
    data = model.dump()
    rows = rng.random((8, 2)).astype("float32")
    expected = model.forest.predict(rows)[0]

    def read(damage: list[tuple[int, str, int]]) -> None:
        again = MapModel.load(damaged(data, damage))
        mean = again.forest.predict(rows)[0]
        assert np.isfinite(mean).all()
        if again.digest == model.digest:
            assert np.array_equal(mean, expected)

    fuzz(150, DAMAGE, read)


def test_examples_that_were_accepted_or_ended_in_exit_1(folder: Path) -> None:
    """Found by the fuzzer: a number beyond float64, a raster without area, a cube whose grid is not numbers."""
    table = pd.read_csv(folder / "samples.csv", dtype=str)
    table.loc[2, "Fe"] = "1e999"
    with pytest.raises(InputError, match=r"column 'Fe' has an infinite number in line 4: '1e999'"):
        read_samples(write_csv(table, folder / "infinite.csv"), elements=["Fe"], units="mg/kg")
    with rasterio.open(
        folder / "flat.tif", "w", driver="GTiff", width=8, height=6, count=1, dtype="float32", crs="EPSG:3857",
        transform=Affine(-1.0, 1e300, 1.0, 0.0, 0.0, 1e300),
    ) as target:  # fmt: skip
        target.write(np.ones((6, 8), "float32"), 1)
    with pytest.raises(GridError, match="whose pixels have no area"):
        read_raster(folder / "flat.tif", variable("elevation"), units="m")
    small_run.make_cube(str(folder / "grid.zarr"), side=16, chunk=16)
    path = folder / "grid.zarr" / "zarr.json"
    document = json.loads(path.read_bytes())
    document["attributes"]["transform"][2] = None
    path.write_text(json.dumps(document))
    with pytest.raises(CorruptStoreError, match="describe its grid cannot be read"):
        open_cube(str(folder / "grid.zarr"))


def write_csv(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, index=False)
    return path


def void(_value: Any) -> None:
    """Ignores a result."""
