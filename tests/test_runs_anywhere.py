"""The real recipes, unchanged, on threads, on a cluster over TLS, and into S3: the same bytes everywhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
import small_run
from loopback import Cluster, make_bucket, objects_of, s3_service

from tpsoil.engine.places import open_store
from tpsoil.recipes import run

RECIPES = Path(__file__).parent / "recipes"
COARSER = {
    "tibet_solum.toml": {"resolution = 1000 ": "resolution = 20000 ", "chunks = 256": "chunks = 48"},
    "europe_elements.toml": {
        "resolution = 5000": "resolution = 50000",
        "chunks = 256": "chunks = 50",
        "trees = 500": "trees = 20",
        'elements = ["Fe", "Mn", "Zn", "V"]': 'elements = ["Fe"]',
        '"block:3deg", "knndm"]': '"block:3deg"]',
    },
}

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    # dask's, aiohttp's and botocore's own, at the end of an event loop.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 service on loopback."""
    yield from s3_service()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", COARSER)
def test_the_same_bytes_everywhere(
    name: str, data_folder: Path, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """As they stand with --full; by default on a coarser grid, with fewer trees, elements and folds."""
    monkeypatch.setenv("TPSOIL_DATA", str(data_folder))
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / name
    text = (RECIPES / name).read_text()
    for old, new in ({} if full else COARSER[name]).items():
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    store = tmp_path / "out" / f"{recipe.stem}.zarr"

    run(recipe, workers=2, progress=False)
    threads = small_run.files_of(store)
    shutil.rmtree(store)

    cluster = Cluster(tmp_path, tls=True)
    try:
        cluster.worker()
        cluster.worker()
        with dask.config.set(cluster.settings):
            run(recipe, scheduler=cluster.address, workers=2, progress=False)
    finally:
        cluster.close()
    assert small_run.files_of(store) == threads

    open_store.cache_clear()
    url = f"{make_bucket(endpoint, monkeypatch)}/{recipe.stem}.zarr"
    run(recipe, output=url, workers=2, progress=False)
    assert objects_of(url, tmp_path) == threads
