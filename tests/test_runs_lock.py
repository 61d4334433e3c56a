"""One writer a store: locks in other process spaces, runs that slept, races, and clocks that go wrong."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_run
from loopback import make_bucket, objects_of, s3_service

from tpsoil.engine import filelock, lock
from tpsoil.engine.ledger import LOCK_KEY, Ledger
from tpsoil.engine.lock import lock_owner, locked
from tpsoil.engine.places import open_store
from tpsoil.errors import AccessError, LockLostError
from tpsoil.recipes import run

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tpsoil.cli.run", "tpsoil.recipes", "tpsoil.recipes.jobs", "tpsoil.engine.session"])

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 service that answers one request at a time, as one object of S3 does, and late."""
    yield from s3_service(slow_seconds=0.02)


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket in it."""
    open_store.cache_clear()
    return make_bucket(endpoint, monkeypatch)


@pytest.fixture(params=["local", "s3", "no file locks"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place for a store: a folder, a bucket, and a folder on a file system without locks."""
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/{tmp_path.name}.zarr"
    if request.param == "no file locks":

        def unsupported(handle: int, *, shared: bool = False) -> bool:
            raise lock.UnsupportedLockError("Operation not supported")

        monkeypatch.setattr(filelock, "_lock", unsupported)
    return str(tmp_path / "a.zarr")


def of_elsewhere(count: int = 1) -> bytes:
    """The lock of a run on another machine."""
    names = {"token": "x" * 32, "host": "elsewhere", "machine": "another", "process": 1, "count": count}
    return json.dumps(names).encode()


def test_a_lock_is_taken_once_and_released(store: str) -> None:
    ledger = Ledger.at(store)
    with locked(ledger) as own:
        assert lock_owner(ledger) == lock_owner(own) is not None
        with pytest.raises(AccessError, match=r"another run is writing to it \(process \d+ on"), locked(ledger):
            pass
        own.write("a", b"1")
    assert ledger.read(LOCK_KEY) is None
    assert lock_owner(ledger) is None
    with locked(ledger):
        pass


def test_a_run_that_lost_its_lock_writes_nothing_more(store: str) -> None:
    """It slept, and another run took the store over, or somebody removed the lock."""
    ledger = Ledger.at(store)
    with locked(ledger) as own:
        own.write("a", b"1")
        ledger.write(LOCK_KEY, of_elsewhere())
        for call in (lambda: own.write("a", b"2"), lambda: own.remove("a"), lambda: own.remove_all("manifest")):
            with pytest.raises(LockLostError, match="this run stops and writes nothing more"):
                call()
    assert ledger.read("a") == b"1"
    assert ledger.read(LOCK_KEY) == of_elsewhere(), "the successor's lock is not removed"
    ledger.remove(LOCK_KEY)
    with locked(ledger) as own:
        ledger.remove(LOCK_KEY)
        with pytest.raises(LockLostError):
            own.write("a", b"2")


def test_a_lock_of_another_machine_is_watched_by_the_own_clock(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alive where its number changes; taken over where it does not, whatever times were written into it."""
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.05)
    ledger = Ledger.at(store)
    ledger.write(LOCK_KEY, of_elsewhere())

    def renew(message: str) -> None:
        """The other machine renews its lock while this one watches it."""
        if "waiting up to" in message:
            ledger.write(LOCK_KEY, of_elsewhere(2))

    with pytest.raises(AccessError, match="process 1 on elsewhere"), locked(ledger, renew, stale=30):
        pass
    messages: list[str] = []
    monkeypatch.setattr(time, "time", lambda: 0.0)  # a clock that was set back
    with locked(ledger, messages.append, stale=0.5) as own:
        own.write("a", b"1")
    assert any("no heartbeat for 0 s" in line or "no heartbeat for 1 s" in line for line in messages), messages


def test_a_lock_of_another_process_space_on_the_same_machine(tmp_path: Path) -> None:
    """As of a container with the host's name: its process number says nothing here, its file lock does."""
    script = "import sys, time; from tpsoil.engine.ledger import Ledger; from tpsoil.engine.lock import locked\n"
    script += f"with locked(Ledger.at({str(tmp_path / 'a.zarr')!r})): print('locked', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", script]
    spaced = shutil.which("unshare") and not subprocess.run(["unshare", "-pf", "true"], capture_output=True).returncode
    if spaced:
        command = ["unshare", "-pf", "--mount-proc", *command]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True)
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "locked\n"
        ledger = Ledger.at(str(tmp_path / "a.zarr"))
        if not spaced:  # the same by hand: a process number that is nobody's here
            content = json.loads(ledger.read(LOCK_KEY) or b"") | {"process": 2**22 + 1, "space": "pid:[1]"}
            (tmp_path / "a.zarr" / "_tpsoil" / LOCK_KEY).write_bytes(json.dumps(content).encode().ljust(512))
        with pytest.raises(AccessError, match="another run is writing"), locked(ledger):
            pass
    finally:
        os.killpg(other.pid, signal.SIGKILL)
        other.wait()
    messages: list[str] = []
    limit = time.monotonic() + 20
    while lock_owner(ledger) and time.monotonic() < limit:
        time.sleep(0.05)
    with locked(ledger, messages.append):
        pass
    assert any("took over the lock" in line for line in messages)


def contend(where: str, environment: dict[str, str], start: Any, entered: Any) -> None:
    """One of many that want the lock at the same moment; for how long it had it."""
    os.environ.update(environment)
    start.wait()
    with contextlib.suppress(AccessError), locked(Ledger.at(where)):
        began = time.monotonic()
        time.sleep(0.2)
        entered.put((os.getpid(), began, time.monotonic()))


def test_of_racing_starts_one_gets_in(store: str, full: bool, request: pytest.FixtureRequest) -> None:
    """Ten with --full, fifty times; processes on one machine, whose monotonic clock they share."""
    if "no file locks" in request.node.name:
        pytest.skip("the same code as on an object store, without its conditions")
    for turn in range(50 if full else 1):
        start, entered = processes.Event(), processes.Queue()
        where = f"{store}{turn}"
        racers = [
            processes.Process(target=contend, args=(where, dict(os.environ), start, entered))
            for _ in range(10 if full else 6)
        ]
        for racer in racers:
            racer.start()
        time.sleep(0.5)
        start.set()
        for racer in racers:
            racer.join(120)
            assert racer.exitcode == 0
        times = []
        while not entered.empty():
            times.append(entered.get())
        spans = sorted((began, ended) for _, began, ended in times)
        assert spans
        assert all(first[1] <= second[0] for first, second in itertools.pairwise(spans)), spans


def command(recipe: Path, log: Path, delay: float) -> None:
    """`tpsoil run` in a process that has imported everything; what it prints goes to a file."""
    from tpsoil.cli import main

    time.sleep(delay)
    with log.open("w") as stream, contextlib.redirect_stderr(stream):
        main(["run", str(recipe), "--no-maps", "-q", "--workers", "1"])


COMMAND = [sys.executable, "-c", "from tpsoil.cli import main; main()"]


def test_racing_runs_end_in_one_complete_store(tmp_path: Path, full: bool) -> None:
    """Fifty times with --full: several commands at once; those that come too late say so, nothing is lost."""
    small_run.make_small(tmp_path, chunk=64)
    recipe = small_run.write_recipe(tmp_path / "recipe.toml", without=("elements", "solum"))
    run(recipe, workers=1, progress=False)
    complete = small_run.files_of(tmp_path / "maps.zarr")
    dice = random.Random(5)
    for turn in range(50 if full else 2):
        shutil.rmtree(tmp_path / "maps.zarr")
        logs = [tmp_path / f"{number}.txt" for number in range(4)]
        racers = [processes.Process(target=command, args=(recipe, log, dice.random() * 0.1)) for log in logs]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(120)
        ends = [(racer.exitcode, log.read_text()) for racer, log in zip(racers, logs)]
        assert {status for status, _ in ends} <= {0, 2}, ends
        assert any(status == 0 for status, _ in ends), ends
        assert all("another run" in text for status, text in ends if status == 2), ends
        assert small_run.files_of(tmp_path / "maps.zarr") == complete, f"turn {turn}"


def test_a_run_that_slept_stops_and_its_successor_is_complete(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen in mid-run on an object store until its lock is stale; woken while the successor works or after it."""
    monkeypatch.chdir(tmp_path)
    small_run.make_small(tmp_path, chunk=32)
    recipe = small_run.write_recipe(tmp_path / "recipe.toml", without=("elements", "solum"))
    url = f"{bucket}/{tmp_path.name}.zarr"
    with subprocess.Popen(
        [*COMMAND, "run", str(recipe), "--no-maps", "-q", "--workers", "1", "--output", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ENVIRONMENT["PYTHONPATH"]},
        cwd=tmp_path,
    ) as sleeper:
        try:
            ledger = Ledger.at(url)
            limit = time.monotonic() + 60
            while not ledger.names("manifest/terrain") and sleeper.poll() is None and time.monotonic() < limit:
                time.sleep(0.01)
            sleeper.send_signal(signal.SIGSTOP)
            assert sleeper.poll() is None
            monkeypatch.setattr(lock, "STALE_SECONDS", 1.0)
            # As on another machine, where its process is not seen.
            monkeypatch.setattr(lock, "_has_ended", lambda content: None)
            run(recipe, output=url, workers=1, progress=False)
            stored = objects_of(url, tmp_path)
            sleeper.send_signal(signal.SIGCONT)
            _, err = sleeper.communicate(timeout=60)
        finally:  # a process that is left over makes a later test fail
            sleeper.kill()
    assert sleeper.returncode == 1, err
    assert "this run stops and writes nothing more" in err
    assert "Traceback" not in err
    again = objects_of(url, tmp_path)
    assert {key for key in stored | again if stored.get(key) != again.get(key)} == set()


def test_a_client_frozen_in_the_middle_of_a_write_holds_up_nobody(bucket: str, endpoint: str) -> None:
    host, _, port = endpoint.rpartition("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as frozen:
        frozen.sendall(b"PUT /maps/half HTTP/1.1\r\nHost: maps\r\nContent-Length: 100\r\n\r\nhalf")
        time.sleep(0.5)
        assert Ledger.at(f"{bucket}/other.zarr").create("one", b"1")


def test_windows_sends_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """`os.kill(process, 0)` is Ctrl-C there."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", lambda *arguments: pytest.fail("a signal was sent"))
    content = {"machine": lock.machine(), "space": lock.process_space(), "process": os.getpid()}
    assert lock._has_ended(content) is None
