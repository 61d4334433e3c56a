"""On a cluster the forest travels to a worker once, not with every tile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from counted_forest import COUNTER, CountedForest
from distributed import Client, LocalCluster
from forests import training_rows
from sklearn.ensemble import RandomForestRegressor

NAMES = [f"layer{k}" for k in range(6)]


def cube_of(rows: int, chunk: int, seed: int = 0) -> xr.Dataset:
    X = training_rows(rows * rows, seed=seed)[0].reshape(rows, rows, 6)
    return xr.Dataset({name: (("y", "x"), X[..., k]) for k, name in enumerate(NAMES)}).chunk({"y": chunk, "x": chunk})


@pytest.mark.filterwarnings("ignore:Sending large graph:UserWarning")
def test_100_tiles_pickle_the_forest_at_most_once_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = 2
    log = tmp_path / "pickles"
    log.touch()
    monkeypatch.setenv(COUNTER, str(log))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    forest = RandomForestRegressor(20, random_state=0).fit(*training_rows())
    cube = cube_of(100, 10)
    counted = CountedForest.from_sklearn(forest, NAMES)
    lazy = counted.predict_cube(cube)
    assert lazy["mean"].data.numblocks == (10, 10)
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        found = lazy.compute()
    events = Counter(log.read_text().splitlines())
    pickled = {event: times for event, times in events.items() if event.startswith("pickled")}
    loaded = {event: times for event, times in events.items() if event.startswith("loaded")}
    assert sum(pickled.values()) <= workers, events
    # Loaded once a process too: else every tile would carry the bytes.
    assert 1 <= len(loaded) <= workers, events
    assert set(loaded.values()) == {1}, events
    monkeypatch.setenv(COUNTER, str(tmp_path / "other"))
    with dask.config.set(scheduler="synchronous"):
        expected = counted.predict_cube(cube).compute()
    for name in ("mean", "sd"):
        np.testing.assert_array_equal(found[name], expected[name])


def test_threads_share_the_forest_without_pickling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "pickles"
    log.touch()
    monkeypatch.setenv(COUNTER, str(log))
    forest = RandomForestRegressor(5, random_state=0).fit(*training_rows())
    CountedForest.from_sklearn(forest, NAMES).predict_cube(cube_of(40, 4)).compute(scheduler="threads")
    assert log.read_text() == ""
