"""Runs on processes and clusters: schedulers and workers over TLS, lost workers, wrong addresses and versions."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
import small_run
from loopback import Cluster

from tpsoil.engine import cluster, execute, session
from tpsoil.engine.tiles import compute_tile, software
from tpsoil.engine.workers import installed_software
from tpsoil.errors import InputError, WorkError
from tpsoil.recipes import run

HERE = Path(__file__).parent
CHUNK = 32
SMALL = {"solum": {"maps": ["solum_thickness", "solum_status"]}}

pytestmark = [
    # dask's own: tornado and asyncio leave these when a cluster of this process ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MODULES = ("tpsoil.recipes.layer_stage",)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> small_run.Complete:
    """Cube, samples, recipe.toml, and the files of a run on threads."""
    return small_run.complete_run(tmp_path_factory.mktemp("cluster"), chunk=CHUNK, **SMALL)


@pytest.fixture
def place(case: small_run.Complete) -> Iterator[Path]:
    """The case's folder without maps."""
    yield case[0]
    small_run.remove_maps(case[0])


@pytest.fixture
def dask_cluster(tmp_path: Path) -> Iterator[Any]:
    """Makes clusters and ends them."""
    clusters: list[Cluster] = []

    def make(**how: Any) -> Cluster:
        clusters.append(Cluster(tmp_path, **how))
        return clusters[-1]

    yield make
    for one in clusters:
        one.close()


def test_threads_and_a_cluster_over_tls_give_the_same_bytes(
    place: Path, case: small_run.Complete, dask_cluster: Any
) -> None:
    cluster = dask_cluster(tls=True)
    assert cluster.address.startswith("tls://127.0.0.1:")
    cluster.worker()
    cluster.worker()
    with dask.config.set(cluster.settings):
        run(place / "recipe.toml", scheduler=cluster.address, workers=2, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]
    with pytest.raises(InputError, match=r"no dask scheduler replies there.*distributed\.comm\.tls settings"):
        run(place / "recipe.toml", scheduler=cluster.address, progress=False)


def test_a_lost_workers_tiles_are_made_by_others(
    place: Path, case: small_run.Complete, dask_cluster: Any, full: bool
) -> None:
    """One worker of two is killed at a random moment of each run: 20 times with --full."""
    cluster = dask_cluster()
    cluster.worker()
    dice = random.Random(11)
    for turn in range(20 if full else 1):
        shutil.rmtree(place / "maps.zarr", ignore_errors=True)
        victim, records, delay = cluster.worker(), dice.randrange(1, 14), dice.random() * 0.05

        def strike(victim: Any = victim, records: int = records, delay: float = delay) -> None:
            limit = time.monotonic() + 60
            while time.monotonic() < limit:
                with contextlib.suppress(FileNotFoundError):  # a folder that the run folds away
                    if len(list((place / "maps.zarr" / "_tpsoil" / "manifest").rglob("*"))) > records:
                        break
                time.sleep(0.002)
            time.sleep(delay)
            victim.kill()

        striker = threading.Thread(target=strike)
        striker.start()
        run(place / "recipe.toml", scheduler=cluster.address, workers=2, progress=False)
        striker.join()
        assert victim.wait(timeout=30) == -signal.SIGKILL
        assert small_run.files_of(place / "maps.zarr") == case[1], f"turn {turn}"
    assert re.search(
        r"WARNING worker \w+://\S+ was lost; the others compute its tiles", (place / "maps.log").read_text()
    )


def test_processes_of_this_machine(place: Path, case: small_run.Complete) -> None:
    run(place / "recipe.toml", scheduler="processes", workers=2, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]


def test_a_tile_that_kills_every_worker_is_given_up(
    place: Path, monkeypatch: pytest.MonkeyPatch, dask_cluster: Any
) -> None:
    cluster = dask_cluster(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    for _ in range(3):
        cluster.worker()
    monkeypatch.setattr(session, "compute_tile", _suicide)
    monkeypatch.setattr(execute, "MAX_TRIES", 2)
    with pytest.raises(WorkError, match=r"tile \(0, 1, 0, 1\): its worker was lost 2 times.*more memory"):
        run(place / "recipe.toml", scheduler=cluster.address, progress=False)


def _suicide(assignment: Any, rectangle: Any) -> Any:
    if rectangle == (0, 1, 0, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return compute_tile(assignment, rectangle)


def test_a_wrong_address_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match=r"tcp://127.0.0.1:9: no dask scheduler replies there within 1 s") as caught:
        run(place / "recipe.toml", scheduler="tcp://127.0.0.1:9", progress=False)
    assert caught.value.exit_status == 2
    with pytest.raises(InputError, match="expected 'threads', 'processes' or an address such as"):
        run(place / "recipe.toml", scheduler="thread", progress=False)
    with pytest.raises(InputError, match="^workers is 0"):
        run(place / "recipe.toml", workers=0, progress=False)


def test_workers_are_waited_for(
    place: Path, case: small_run.Complete, monkeypatch: pytest.MonkeyPatch, dask_cluster: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A batch system starts them later than the scheduler; they are not waited for without end."""
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    monkeypatch.setenv("TPSOIL_TIMEOUT", "2")
    own = dask_cluster()
    message = r"has 0 workers after 2 s \(TPSOIL_TIMEOUT\), expected at least 1; start workers"
    with pytest.raises(InputError, match=message) as caught:
        run(place / "recipe.toml", scheduler=own.address, progress=False)
    assert caught.value.exit_status == 2
    monkeypatch.setenv("TPSOIL_TIMEOUT", "0.5")  # less than what is waited anyway
    with pytest.raises(InputError, match=r"has 0 workers after 1 s"):
        run(place / "recipe.toml", scheduler=own.address, progress=False)
    capfd.readouterr()
    monkeypatch.setenv("TPSOIL_TIMEOUT", "120")
    late = threading.Timer(1.5, own.worker)
    late.start()
    run(place / "recipe.toml", scheduler=own.address)
    late.join()
    assert "has 0 workers, expected at least 1; waiting for others for up to 120 s" in capfd.readouterr().err
    assert small_run.files_of(place / "maps.zarr") == case[1]


def test_workers_with_other_software_are_named_before_the_first_tile(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        class scheduler:
            address = "tcp://10.0.0.1:8786"

        def run(self, function: Any, entries: Any) -> dict[str, dict[str, str]]:
            here = function(entries)
            other = {name: version for name, version in here.items() if name != "GDAL"}
            return {"tcp://10.0.0.2:1": {**here, **different}, "tcp://10.0.0.3:1": here, "tcp://10.0.0.4:1": other}

    here = installed_software((MODULES,))
    assert {"tpsoil", "numpy", "GDAL"} <= here.keys()
    different = {"tpsoil": "0.0.9+abc"}
    with pytest.raises(InputError, match=r"1 of 3 workers have other software.*tcp://10.0.0.2:1 has tpsoil 0.0.9\+abc; "
                       rf"expected tpsoil {re.escape(software())}. Install the same") as caught:  # fmt: skip
        cluster.cluster_pool_of(Client())
    assert caught.value.exit_status == 2
    different = {"numpy": "1.0.0"}
    with pytest.raises(InputError, match=r"2 of 3 workers.*10.0.0.2:1 has numpy 1.0.0; tcp://10.0.0.4:1 has GDAL \(not "
                       rf"installed\); expected GDAL {here['GDAL']}, numpy {here['numpy']}"):  # fmt: skip
        cluster.cluster_pool_of(Client(), (MODULES,))
    # One that joins after the run began is recognised by its first tile.
    import dataclasses

    from tpsoil.engine.plan import Tiling
    from tpsoil.engine.tiles import Assignment
    from tpsoil.stage import Stage

    stage = Stage("s", "s", "s", (), lambda window: {})
    assignment = Assignment(stage, small_run.small_grid(), Tiling((1, 1), 1), (), (), "x", "", "", "0.0.9+abc")
    with pytest.raises(InputError, match=r"has other code or packages for stage 's'.*install the same tpsoil"):
        compute_tile(assignment, (0, 1, 0, 1))
    assert dataclasses.replace(assignment, store="y").store == "y"


def test_a_client_that_is_current_is_used(place: Path, case: small_run.Complete) -> None:
    """As in a notebook: `Client()` in one cell, `tpsoil.run(...)` in the next."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0", protocol="inproc"
        ) as local,
        distributed.Client(local) as client,
    ):
        before = client.nthreads()
        run(place / "recipe.toml", progress=False)
        assert client.nthreads() == before
    assert small_run.files_of(place / "maps.zarr") == case[1]
    assert "inproc://" in (place / "maps.log").read_text()
