"""Runs into an S3 endpoint: moto's server on loopback, keys from the environment alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import small_run
import xarray as xr
from loopback import SECRET, make_bucket, objects_of, s3_service

from tpsoil.cube import create_cube
from tpsoil.engine import session
from tpsoil.engine.ledger import Ledger
from tpsoil.engine.lock import locked
from tpsoil.engine.origin import NOT_CHECKED, digest_of_url
from tpsoil.engine.places import open_store
from tpsoil.engine.tiles import compute_tile
from tpsoil.errors import AccessError, TpsoilError
from tpsoil.grid import coordinates
from tpsoil.recipes import preview, run, state_of, status

CHUNK = 64  # 4 tiles a stage

pytestmark = [
    # aiohttp's and botocore's own, at the end of an event loop.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 service on loopback."""
    yield from s3_service()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket in it."""
    open_store.cache_clear()
    return make_bucket(endpoint, monkeypatch)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> small_run.Complete:
    """Cube, samples, recipe.toml, and the files of a run to a local disk."""
    return small_run.complete_run(tmp_path_factory.mktemp("s3"), chunk=CHUNK)


def test_a_run_into_s3_leaves_the_bytes_of_a_local_one(
    bucket: str, case: small_run.Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the log of a URL goes to the working folder
    folder, whole = case
    url = f"{bucket}/one.zarr"
    maps = run(folder / "recipe.toml", output=url, workers=2, progress=False)
    assert maps.attrs["run_state"] == "complete"
    stored = objects_of(url, tmp_path)
    # Seen from a bucket, the cube lies at its own path.
    assert {key for key in stored | whole if stored.get(key) != whole.get(key)} <= {"_tpsoil/run.json"}
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(SECRET.encode() in text for text in texts)
    assert state_of(url) == ("complete", None)
    assert sum(item.plan.current for item in status(url)) == 12

    computed: list[str] = []

    def counting(assignment: Any, rectangle: Any) -> Any:
        computed.append(assignment.stage.name)
        return compute_tile(assignment, rectangle)

    monkeypatch.setattr(session, "compute_tile", counting)
    run(folder / "recipe.toml", output=url, workers=2, progress=False)
    assert computed == []
    store = open_store(url)
    from zarr.core.sync import sync

    sync(store.delete("solum_thickness/c/1/0"))
    stale = {item.plan.stage: item.plan.stale for item in preview(folder / "recipe.toml", output=url)}
    assert stale["solum"] == {(1, 0): ["solum_thickness/c/1/0 is gone"]}
    run(folder / "recipe.toml", output=url, workers=2, progress=False)
    assert computed == ["solum"]
    again = objects_of(url, tmp_path)
    assert again == stored


def test_a_cube_in_s3_is_read_by_processes(
    bucket: str, case: small_run.Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, whole = case
    cube, url = f"{bucket}/cube.zarr", f"{bucket}/two.zarr"
    small_run.make_cube(cube, chunk=CHUNK)
    recipe = small_run.recipe_of(folder, cube=cube, output=url)
    run(recipe, scheduler="processes", workers=2, progress=False)
    assert sum(item.plan.current for item in status(url)) == 12
    stored = objects_of(url, tmp_path)
    chunks = {key for key in whole if "/c/" in key}
    assert len(chunks) > 40
    assert {key for key in chunks if stored.get(key) != whole[key]} == set()


def test_a_lock_in_s3(bucket: str, case: small_run.Complete) -> None:
    url = f"{bucket}/locked.zarr"
    with locked(Ledger.at(url)), pytest.raises(AccessError, match="another run is writing"):
        run(case[0] / "recipe.toml", output=url, progress=False)


def test_a_bucket_that_is_not_there(bucket: str, case: small_run.Complete) -> None:
    with pytest.raises(TpsoilError, match="s3://nowhere/x.zarr") as caught:
        run(case[0] / "recipe.toml", output="s3://nowhere/x.zarr", progress=False)
    assert caught.value.exit_status == 2
    with pytest.raises(TpsoilError, match="nosuch://a/b.zarr"):
        run(case[0] / "recipe.toml", output="nosuch://a/b.zarr", progress=False)


def test_an_endpoint_that_does_not_answer(
    bucket: str, case: small_run.Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(
        AccessError, match=r"s3://maps/three.zarr: cannot be reached \(EndpointConnectionError"
    ) as caught:
        run(case[0] / "recipe.toml", output=f"{bucket}/three.zarr", progress=False)
    assert caught.value.exit_status == 2
    assert SECRET not in str(caught.value)


def test_objects_of_a_source_in_s3_are_recognised_by_their_etag(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One object, and a Zarr store of several: a change is recognised, and no source is reported as not checked."""
    monkeypatch.chdir(tmp_path)
    system = fsspec.filesystem("s3")
    system.pipe_file(f"{bucket}/a.tif".removeprefix("s3://"), b"first")
    before = digest_of_url(f"{bucket}/a.tif")
    assert NOT_CHECKED not in before
    system.pipe_file(f"{bucket}/a.tif".removeprefix("s3://"), b"other")
    assert digest_of_url(f"{bucket}/a.tif") != before
    grid = small_run.small_grid(64)
    create_cube("cube.zarr", grid, chunks=32)
    source = f"{bucket}/layer.zarr"
    tables = [{"name": "layer", "source": source, "units": "1", "kind": "continuous", "crs": grid.crs.to_wkt()}]
    recipe = {"run": {"name": "s3", "output": "maps.zarr", "cube": "cube.zarr"}, "layers": tables}
    totals = []
    for value in (5.0, 5.0, 7.0):
        if not totals or value != 5.0:
            values = np.full(grid.shape, value, np.float32)
            layer = xr.DataArray(values, dims=("y", "x"), coords=coordinates(grid), attrs={"units": "1"})
            layer.drop_vars("spatial_ref").to_dataset(name="layer").to_zarr(source, mode="w", consolidated=False)
        maps = run(recipe, workers=1)
        totals.append((float(maps["layer"].mean()), "computed, 4 were up to date" in capfd.readouterr().err))
    assert totals == [(5.0, False), (5.0, True), (7.0, False)]
    assert "not_checked" not in maps.attrs
