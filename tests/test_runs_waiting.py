"""Waits that cannot end by themselves: no worker, a frozen worker or scheduler, a silent object store."""

from __future__ import annotations

import importlib
import math
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest
import s3fs
import small_run
from loopback import Cluster

from tpsoil.engine import cluster, execute, job, session, workers
from tpsoil.engine.places import open_store
from tpsoil.engine.tiles import compute_tile
from tpsoil.errors import AccessError, InputError, WorkError
from tpsoil.recipes import preview, run
from tpsoil.waiting import GDAL_VARIABLES, TIMEOUT_SECONDS, TIMEOUT_VARIABLE, timeout_seconds

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A cube and a recipe of one stage."""
    small_run.make_small(tmp_path, side=64, chunk=32)
    small_run.write_recipe(tmp_path / "recipe.toml", without=("elements", "solum"))
    return tmp_path


@pytest.fixture
def dask_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    one = Cluster(tmp_path)
    yield one
    for process in one.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGCONT)
    one.close()


def _slow(assignment: Any, rectangle: Any) -> Any:
    time.sleep(1.0)
    return compute_tile(assignment, rectangle)


def _import_here() -> None:
    importlib.import_module("tpsoil.engine.session")


@pytest.mark.parametrize("way", ["all workers die", "a worker is frozen", "the scheduler is frozen"])
def test_a_wait_without_an_end_is_reported_and_ended(
    place: Path, dask_cluster: Cluster, way: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = dask_cluster.worker()
    with distributed.Client(dask_cluster.address, set_as_default=False) as client:
        # The first task makes both import tpsoil, some seconds without an answer: before the clock runs.
        client.wait_for_workers(1, timeout=60)
        client.run_on_scheduler(_import_here)
        client.run(_import_here)
    monkeypatch.setenv(TIMEOUT_VARIABLE, "3")
    monkeypatch.setattr(session, "compute_tile", _slow)
    # A loaded machine delays the answers of a scheduler that is well; one that is stopped never answers.
    answer_seconds = 1.0 if way == "the scheduler is frozen" else 5.0
    for name, seconds in {"NOTE_SECONDS": 1.0, "QUERY_SECONDS": 0.2, "REPLY_SECONDS": answer_seconds}.items():
        monkeypatch.setattr(cluster, name, seconds)

    def strike() -> None:
        limit = time.monotonic() + 60
        while not list((place / "maps.zarr" / "_tpsoil" / "manifest").rglob("*.*")) and time.monotonic() < limit:
            time.sleep(0.02)
        if way == "all workers die":
            worker.kill()
        elif way == "a worker is frozen":
            os.killpg(worker.pid, signal.SIGSTOP)
        else:
            os.killpg(dask_cluster.processes[0].pid, signal.SIGSTOP)

    striker = threading.Thread(target=strike)
    striker.start()
    waited, end = r" for \d+ s", r" \(TPSOIL_TIMEOUT = 3\)"
    expected = {
        "all workers die": f"no worker{waited}{end}",
        "a worker is frozen": r"no heartbeat of worker \w+://\S+ for 3 s \(TPSOIL_TIMEOUT\), and no tile finished",
        "the scheduler is frozen": f"no reply of the scheduler{waited}{end}",
    }[way]
    began = time.monotonic()
    with pytest.raises(WorkError, match=expected):
        run(place / "recipe.toml", scheduler=dask_cluster.address)
    striker.join()
    assert time.monotonic() - began < 60
    assert re.search(r"(no worker|no reply of the scheduler|no tile finished) for \d+ s", capfd.readouterr().err)


class Frozen:
    """A client whose scheduler does not answer."""

    class scheduler:
        address = "tcp://10.0.0.1:8786"

    status = "running"

    def nthreads(self) -> dict[str, int]:
        time.sleep(30)
        return {}

    processing = nthreads


def test_ctrl_c_does_not_wait_for_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "REPLY_SECONDS", 0.2)
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2)
    client = Frozen()
    client.nthreads = dict  # type: ignore[method-assign]
    pool = cluster.ClusterPool(client)
    del client.nthreads
    began = time.monotonic()
    pool.cancel([])
    assert pool.slots == 0
    assert time.monotonic() - began < 5


class Orphan:
    """A call that ended on a worker which died before its result was fetched: dask waits for another worker."""

    status = "pending"

    def result(self, timeout: float = 30.0) -> Any:
        time.sleep(timeout)
        raise TimeoutError

    def release(self) -> None:
        pass


def test_a_result_that_died_with_the_last_worker_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, "0.5")
    for name in ("REPLY_SECONDS", "QUERY_SECONDS"):
        monkeypatch.setattr(cluster, name, 0.1)
    client = Frozen()
    client.nthreads = dict  # type: ignore[method-assign]
    pool = cluster.ClusterPool(client)
    began = time.monotonic()
    with pytest.raises(WorkError, match=r"no worker for \d+ s \(TPSOIL_TIMEOUT = 0.5\)"):
        pool.result(Orphan())
    assert time.monotonic() - began < 10
    failed = Orphan()
    failed.status = "error"
    with pytest.raises(TimeoutError):
        pool.result(failed)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (MemoryError(), WorkError, "ran out of memory"),
        (OSError("in <TCP>: Connection reset by peer"), WorkError, "a worker was lost"),
        (ModuleNotFoundError("No module named 'tpsoil'"), InputError, "install tpsoil"),
    ],
)
def test_only_other_software_asks_for_an_installation(error: Exception, kind: type, text: str) -> None:
    outer = RuntimeError("Error during deserialization of the task graph")
    outer.__cause__ = error
    failure = workers.worker_failure("tcp://10.0.0.1:8786", outer)
    assert isinstance(failure, kind)
    assert text in str(failure)
    assert ("install" in str(failure)) == (kind is InputError)


def test_threads_without_a_finished_tile_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "NOTE_SECONDS", 0.3)
    monkeypatch.setattr(execute, "POLL_SECONDS", 0.1)
    lines: list[str] = []
    pool = execute.ThreadPool(1)
    pool.report = lines.append
    execute.drive(pool, lambda shared, item: time.sleep(1.2), None, [1], lambda result: None)
    pool.close()
    assert lines
    assert "no tile finished for" in lines[0]


def test_a_store_that_fails_in_mid_run_is_no_internal_error(place: Path) -> None:
    class Job:
        output, cube, sources, resume = "s3://bucket/a.zarr?sig=secret", None, (), "the same call"

    from botocore.exceptions import EndpointConnectionError

    with (
        pytest.raises(WorkError, match=r"s3://bucket/a.zarr\?\*\*\*: the store failed") as caught,
        job.naming_store_failures(Job()),  # type: ignore[arg-type]
    ):
        raise EndpointConnectionError(endpoint_url="http://x")
    assert caught.value.exit_status == 1
    with pytest.raises(ZeroDivisionError), job.naming_store_failures(Job()):  # type: ignore[arg-type]
        raise ZeroDivisionError


@pytest.mark.parametrize("memory", [math.nan, math.inf, 0.0, -1.0])
def test_a_limit_of_memory_that_is_no_number_is_rejected(place: Path, memory: float) -> None:
    for call in (run, preview):
        with pytest.raises(InputError, match="^memory is .*, expected a positive number of GB"):
            call(place / "recipe.toml", memory=memory)


@pytest.mark.parametrize("text", ["abc", "nan", "-1", "0", "inf"])
def test_a_time_that_is_no_number_is_rejected(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, text)
    with pytest.raises(InputError, match="expected a positive number of seconds"):
        timeout_seconds()


def test_processes_of_this_machine_speak_tls_and_a_plain_address_is_warned_of() -> None:
    assert workers.missing_encryption("tls://10.0.0.1:8786") == []
    (line,) = workers.missing_encryption("tcp://10.0.0.1:8786")
    assert "without TLS: everyone who can reach this address can run code" in line
    with cluster.open_cluster("processes", 1) as pool:
        address = pool.client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        with pytest.raises((OSError, TypeError, RuntimeError)):
            distributed.Client(address.replace("tls", "tcp"), timeout=2, set_as_default=False)
    assert TIMEOUT_SECONDS > 0


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections and never replies."""
    s3fs.S3FileSystem.clear_instance_cache()  # it remembers the endpoint of an earlier test
    open_store.cache_clear()
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("silent", ["output", "cube", "source"])
def test_an_object_store_that_never_replies_ends_by_the_time_out(
    place: Path, silent: str, silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": silent_server, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1", TIMEOUT_VARIABLE: "2",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in GDAL_VARIABLES:  # set by the run, removed after the test
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    recipe = small_run.recipe_of(place)
    recipe = {key: recipe[key] for key in recipe if key not in {"elements", "solum"}}
    if silent == "source":
        url = f"{silent_server}/ndvi.tif"
        recipe["layers"] = [{"name": "ndvi", "source": url}]
    else:
        url = f"s3://maps/{silent}.zarr"
        recipe["run"] = recipe["run"] | {silent: url}
    began = time.monotonic()
    with pytest.raises((AccessError, WorkError, InputError), match=re.escape(url)):
        run(recipe, workers=1, progress=False)
    assert time.monotonic() - began < 20
