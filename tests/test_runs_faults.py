"""Faults of a scheduler and of single workers: full disks, too little memory, slowness, another clock, another dask.

Each run ends with the bytes of an undisturbed one, at once or by the same command again, and a line of its log states
what happened.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import small_run
from loopback import Cluster

from tpsoil.engine import cluster, session, workers
from tpsoil.engine.places import open_store
from tpsoil.engine.tiles import compute_tile
from tpsoil.errors import InputError, WorkError
from tpsoil.recipes import run, status

CHUNK = 32
SMALL = {"solum": {"maps": ["solum_thickness", "solum_status"]}}

pytestmark = [
    # dask's own: tornado and asyncio leave these when a cluster of this process ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FULL_DISK = """
import errno, os
import tpsoil.cube.chunks as chunks
def full(path, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
chunks.put_file = full
"""
ANOTHER_DASK = """
import functools, importlib.metadata
import distributed.versions
def of_another_year(true_version, name):
    return "2000.1.0" if name == "distributed" else true_version(name)
if not isinstance(importlib.metadata.version, functools.partial):  # dask may run this twice
    importlib.metadata.version = functools.partial(of_another_year, importlib.metadata.version)
    distributed.versions.version = importlib.metadata.version
"""
SHIFTED_CLOCK = """
import os, time
shift = float(os.environ["CLOCK_SHIFT"])
true_time, true_time_ns = time.time, time.time_ns
time.time = lambda: true_time() + shift
time.time_ns = lambda: true_time_ns() + int(shift * 1e9)
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> small_run.Complete:
    """Cube, recipe.toml without forests, and the files of a run on threads."""
    return small_run.complete_run(tmp_path_factory.mktemp("faults"), chunk=CHUNK, without=("elements",), **SMALL)


@pytest.fixture
def place(case: small_run.Complete) -> Iterator[Path]:
    """The case's folder without maps."""
    yield case[0]
    small_run.remove_maps(case[0])


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler that the tests share."""
    one = Cluster(tmp_path_factory.mktemp("scheduler"))
    yield one
    one.close()


@pytest.fixture
def hosts(scheduler: Cluster) -> Iterator[Cluster]:
    """The scheduler without workers; those that a test starts end with it."""
    first = len(scheduler.processes)
    yield scheduler
    for process in scheduler.processes[first:]:
        if process.poll() is None:
            os.killpg(process.pid, 9)
        process.wait(timeout=30)
    del scheduler.processes[first:]
    with distributed.Client(scheduler.address, set_as_default=False) as client:
        wait_until(lambda: not client.nthreads())


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "the condition did not become true"
        time.sleep(0.02)


def wait_for_workers(cluster: Cluster, count: int = 1) -> None:
    with distributed.Client(cluster.address, set_as_default=False, timeout=60) as client:
        client.wait_for_workers(count, timeout=120)


def log_of(place: Path) -> str:
    return (place / "maps.log").read_text()


def test_a_worker_with_a_full_disk_is_named_and_the_run_continues_without_it(
    place: Path, case: small_run.Complete, hosts: Cluster, full: bool
) -> None:
    """Beside a second worker with --full."""
    broken = hosts.worker(preload=FULL_DISK)
    if full:
        hosts.worker()
    with pytest.raises(WorkError, match=r"worker tcp://\S+: \S+maps\.zarr.*no space left to write; free some space"):
        run(place / "recipe.toml", scheduler=hosts.address, workers=2 if full else 1, progress=False)
    assert re.search(r"ERROR worker tcp://\S+: .*no space left to write", log_of(place))
    os.killpg(broken.pid, 9)
    broken.wait(timeout=30)
    run(place / "recipe.toml", scheduler=hosts.address if full else "threads", workers=1, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]


# Mounts a tmpfs that has no byte left on each folder but the last arguments, which it then runs.
FULL_FOLDERS = """
while [ "$1" != -- ]; do
    mount -t tmpfs -o size=64k tmpfs "$1" || exit 1
    dd if=/dev/zero of="$1/fill" bs=1k 2>/dev/null
    shift
done
shift
exec "$@"
"""


def with_full_disks(*folders: Path) -> list[str]:
    """The command that starts another one where these folders are full disks; the test is skipped where it cannot."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", FULL_FOLDERS, "sh", *map(str, folders), "--"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a mount of its own needs root or user namespaces")
    return command


def test_a_worker_whose_disks_have_no_byte_left(
    place: Path, case: small_run.Complete, hosts: Cluster, full: bool
) -> None:
    """Real disks: one of dask's own folder, which a run does not need, and one of a layer that it writes.

    Then on threads, with --full on a worker that lacks only the first.
    """
    run(place / "recipe.toml", workers=1, progress=False)
    layer = place / "maps.zarr" / "solum_thickness" / "c"
    for folder in layer.iterdir():
        shutil.rmtree(folder)
    scratch = hosts.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    broken = hosts.worker(within=with_full_disks(scratch, layer), TMPDIR=str(scratch))
    wait_for_workers(hosts)
    text = r"worker tcp://\S+: \S+maps\.zarr\S*: no space left to write; free some space and run the same command again"
    with pytest.raises(WorkError, match=text) as caught:
        run(place / "recipe.toml", scheduler=hosts.address, progress=False)
    assert caught.value.exit_status == 1
    assert re.search(f"ERROR {text}", log_of(place))
    os.killpg(broken.pid, 9)
    broken.wait(timeout=30)
    if full:
        hosts.worker(within=with_full_disks(scratch), TMPDIR=str(scratch))
        wait_for_workers(hosts)
    run(place / "recipe.toml", scheduler=hosts.address if full else "threads", workers=1, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]


def test_a_scheduler_that_dies_in_mid_run(
    place: Path, case: small_run.Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """The run is continued on another cluster."""
    if not full:
        pytest.skip("the client waits for its scheduler for some twenty seconds: with --full")
    monkeypatch.setattr(session, "compute_tile", _slowly)
    one = Cluster(tmp_path)
    manifest = place / "maps.zarr" / "_tpsoil" / "manifest"
    try:
        one.worker()
        wait_for_workers(one)

        def strike() -> None:
            wait_until(lambda: len(list(manifest.rglob("*.*"))) >= 4, 120)
            one.processes[0].kill()

        striker = threading.Thread(target=strike)
        striker.start()
        text = rf"the scheduler at {one.address} was lost; stored tiles remain valid: run again to continue"
        with pytest.raises(WorkError, match=text):
            run(place / "recipe.toml", scheduler=one.address, progress=False)
        striker.join()
    finally:
        one.close()
    assert re.search(f"ERROR {text}", log_of(place))
    monkeypatch.undo()
    (tmp_path / "scheduler.json").unlink(missing_ok=True)
    with contextlib.closing(Cluster(tmp_path)) as other:
        other.worker()
        wait_for_workers(other)
        run(place / "recipe.toml", scheduler=other.address, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]
    done, kept = re.findall(r"complete; (\d+) of \d+ tiles computed, (\d+) were up to date", log_of(place))[-1]
    assert int(done) > 0
    assert int(kept) > 0


def _slowly(assignment: Any, rectangle: Any) -> Any:
    time.sleep(0.1)
    return compute_tile(assignment, rectangle)


quick_tiles: list[str] = []
slow_tiles: list[str] = []


def test_a_slow_worker_does_not_keep_the_tiles_that_wait_for_it(
    place: Path, case: small_run.Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the 16 tiles of a stage, half go to each worker at first; one does not end its first before 12 are done."""
    monkeypatch.setattr(session, "compute_tile", _at_its_pace)
    quick_tiles.clear()
    slow_tiles.clear()
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as local:  # fmt: skip
        run(place / "recipe.toml", scheduler=local.scheduler_address, workers=2, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]
    assert "TOO LATE" not in slow_tiles
    assert len(quick_tiles) >= 12
    assert slow_tiles


def _at_its_pace(assignment: Any, rectangle: Any) -> Any:
    slow = distributed.get_worker().name == 0
    if slow:
        limit = time.monotonic() + 60
        while len(quick_tiles) < 12 and time.monotonic() < limit:
            time.sleep(0.02)
        if len(quick_tiles) < 12:
            slow_tiles.append("TOO LATE")
    else:
        time.sleep(0.05)  # dask does not move calls that are expected to be shorter than 5 ms
    done = compute_tile(assignment, rectangle)
    (slow_tiles if slow else quick_tiles).append(f"{assignment.stage.name} {rectangle}")
    return done


@pytest.mark.slow
def test_a_worker_that_its_nanny_restarts_for_memory(
    place: Path, case: small_run.Complete, hosts: Cluster, monkeypatch: pytest.MonkeyPatch,
    full: bool,
) -> None:  # fmt: skip
    if not full:
        pytest.skip("the nanny's restart takes some ten seconds: with --full")
    hosts.worker(nanny=True, memory="1GB", FLAG=str(hosts.folder / "used memory"))
    monkeypatch.setattr(session, "compute_tile", _with_much_memory_once)
    run(place / "recipe.toml", scheduler=hosts.address, workers=1, progress=False)
    assert (hosts.folder / "used memory").exists()
    assert small_run.files_of(place / "maps.zarr") == case[1]
    assert re.search(r"WARNING worker tcp://\S+ was lost; the others compute its tiles", log_of(place))
    assert re.search(r"INFO worker tcp://\S+ joined", log_of(place))


def _with_much_memory_once(assignment: Any, rectangle: Any) -> Any:
    flag = Path(os.environ["FLAG"])
    if not flag.exists():
        flag.touch()
        much = np.ones(3 * 1024**3 // 8)
        time.sleep(30)
        del much
    return compute_tile(assignment, rectangle)


def test_workers_that_cannot_see_the_store_are_named_before_the_first_tile(
    place: Path, hosts: Cluster, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """A path that only this process has, and a store in this process's memory."""
    monkeypatch.setattr(workers, "VISIBLE_SECONDS", 0.3)
    private = ["unshare", "--map-root-user", "--mount"]
    command = [*private, "sh", "-c", f'mount -t tmpfs tmpfs "{place}" && exec "$@"', "sh"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a mount of its own needs root or user namespaces")
    hosts.worker(within=command)
    if full:
        hosts.worker()
    text = rf"1 of {1 + full} workers cannot read \S+maps\.zarr, \S+cube\.zarr \(tcp://\S+\); the stores of a run on a"
    with pytest.raises(InputError, match=text + " cluster must be at the same path or URL for all") as caught:
        run(place / "recipe.toml", scheduler=hosts.address, workers=1 + full, progress=False)
    assert caught.value.exit_status == 2
    assert "cannot read" in log_of(place)
    assert not list((place / "maps.zarr").rglob("c/*/*")), "no tile was computed"
    open_store.cache_clear()
    with pytest.raises(InputError, match=rf"{1 + full} of {1 + full} workers cannot read memory://maps\.zarr"):
        run(place / "recipe.toml", scheduler=hosts.address, output="memory://maps.zarr", progress=False)


def test_clocks_that_differ_by_an_hour_do_not_matter(
    place: Path, case: small_run.Complete, hosts: Cluster, full: bool
) -> None:
    """A worker's clock is an hour ahead of this process's; with --full another worker's an hour behind."""
    shifts = {"ahead": 3600, "behind": -3600} if full else {"ahead": 3600}
    for name, shift in shifts.items():
        folder = hosts.folder / name
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SHIFTED_CLOCK)
        path = f"{folder}{os.pathsep}{hosts.environment['PYTHONPATH']}"
        hosts.worker(PYTHONPATH=path, CLOCK_SHIFT=str(shift))
    with distributed.Client(hosts.address, set_as_default=False) as client:
        client.wait_for_workers(len(shifts), timeout=60)
        differences = {round((now - time.time()) / 600) for now in client.run(_clock).values()}
        assert differences == {shift // 600 for shift in shifts.values()}
    run(place / "recipe.toml", scheduler=hosts.address, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]
    assert all(not item.plan.to_compute for item in status(str(place / "maps.zarr")))
    run(place / "recipe.toml", workers=1, progress=False)
    assert "complete; 0 of" in log_of(place)


def _clock() -> float:
    return time.time()


def test_a_scheduler_of_another_version_is_named(place: Path, tmp_path: Path) -> None:
    other = Cluster(tmp_path, preload=ANOTHER_DASK)
    try:
        text = (
            f"the scheduler has distributed 2000.1.0, expected {distributed.__version__} as here; install the same dask"
        )
        with pytest.raises(InputError, match=re.escape(text)) as caught:
            run(place / "recipe.toml", scheduler=other.address, progress=False)
    finally:
        other.close()
    assert caught.value.exit_status == 2


def test_only_versions_that_matter_are_compared() -> None:
    there = {"python": platform.python_version() + ".final.0", "toolz": "0.1", "dask": None}
    workers.require_same_scheduler("tcp://s:1", {"scheduler": {"packages": there}})
    workers.require_same_scheduler("tcp://s:1", None)
    there["python"] = "3.2.1.final.0"
    with pytest.raises(InputError, match=r"tcp://s:1: the scheduler has python 3\.2, expected 3\.\d+ as here"):
        workers.require_same_scheduler("tcp://s:1", {"scheduler": {"packages": there}})
    assert {"tpsoil", "python", "dask", "distributed"} <= workers.installed_software(()).keys()


joined, left = threading.Event(), threading.Event()


@pytest.mark.slow
def test_workers_that_join_and_leave_under_load(
    place: Path, case: small_run.Complete, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dask's adaptive scaling adds three workers to the first and takes them away before the run ends."""
    monkeypatch.setattr(session, "compute_tile", _waiting_for_workers)
    monkeypatch.setattr(cluster, "QUERY_SECONDS", 0.1)
    joined.clear()
    left.clear()
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as local:  # fmt: skip

        def scale() -> None:
            wait_until(lambda: "tiles to compute" in log_of(place))
            local.adapt(minimum=4, maximum=4, interval="50ms")
            wait_until(lambda: log_of(place).count(" joined") >= 3)
            joined.set()
            local.adapt(minimum=1, maximum=1, interval="50ms", wait_count=1)
            wait_until(lambda: log_of(place).count(" was lost; the others") >= 3)
            left.set()

        (place / "maps.log").touch()
        scaler = threading.Thread(target=scale)
        scaler.start()
        run(place / "recipe.toml", scheduler=local.scheduler_address, progress=False)
        scaler.join(60)
    assert small_run.files_of(place / "maps.zarr") == case[1]
    assert len(re.findall(r"INFO worker tcp://\S+ joined", log_of(place))) >= 3
    assert len(re.findall(r"WARNING worker tcp://\S+ was lost; the others compute its tiles", log_of(place))) >= 3


def _waiting_for_workers(assignment: Any, rectangle: Any) -> Any:
    joined.wait(30)
    left.wait(1.5)  # a worker that leaves ends its tile first
    return compute_tile(assignment, rectangle)
