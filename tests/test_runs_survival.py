"""Runs that are killed, stopped, or run out of disk: stored tiles remain valid, and the next run ends bit-identical."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_run

from tpsoil.cube import chunks
from tpsoil.errors import WorkError
from tpsoil.recipes import run, state_of, status

HERE = Path(__file__).parent
CHUNK = 32  # 16 tiles a stage, 48 in all

# A child that runs the recipe, and ends itself as its victim's way asks. Killing by SIGKILL from outside strikes at a
# moment of the clock; killing inside strikes amid the n-th object's write, half of its bytes in the unfinished file.
CHILD = """
import os, signal, sys
from pathlib import Path
import zarr.storage._local as local
import tpsoil.cube.chunks as chunks
kind, n, recipe = sys.argv[1], int(sys.argv[2]), sys.argv[3]
count = 0
ways = local._put, chunks.put_file
def die(path, data):
    global count
    count += 1
    if count == n:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".deadbeef.partial").write_bytes(bytes(data[: len(data) // 2]))
        os.kill(os.getpid(), signal.SIGKILL)
def put_and_die(path, value, exclusive=False):
    die(path, memoryview(value.as_buffer_like()).cast("B"))
    return ways[0](path, value, exclusive)
def put_file_and_die(path, data):
    die(Path(path), data)
    return ways[1](path, data)
if kind == "write":
    local._put, chunks.put_file = put_and_die, put_file_and_die
from tpsoil.cli import main
main(["run", recipe, "--workers", "2", "--no-maps", *sys.argv[4:]])
"""

# The same at one write after another, in forks of a process that has imported everything and begun nothing: one dies
# amid its n-th write, another goes on and takes every warning for an error.
EVERY = (
    CHILD.rpartition("if kind")[0]
    + """
import json, shutil, warnings
from pathlib import Path
import small_run
import tpsoil.cli, tpsoil.engine.session
def forked(ways, *, strict):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    local._put, chunks.put_file = ways
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if strict:
        warnings.simplefilter("error", UserWarning)
    try:
        tpsoil.cli.main(["run", recipe, "--workers", "1", "--no-maps", "-q"])
    except SystemExit as end:
        os._exit(end.code or 0)  # taking the interpreter down costs more than the run
maps = Path(recipe).parent / "maps.zarr"
for n in range(1, int(sys.argv[4]) + 1):
    if sys.argv[5]:
        shutil.copytree(sys.argv[5], maps)
    died = forked((put_and_die, put_file_and_die), strict=False)
    if died == 0:
        break  # it has no n-th write
    ended = forked(ways, strict=True)
    print(json.dumps([died, ended, small_run.files_of(maps)]), flush=True)
    shutil.rmtree(maps)
"""
)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> small_run.Complete:
    """Cube, samples, recipe.toml, and the files of an uninterrupted run."""
    return small_run.complete_run(tmp_path_factory.mktemp("survival"), chunk=CHUNK)


@pytest.fixture
def place(case: small_run.Complete) -> Iterator[Path]:
    """The case's folder without maps."""
    yield case[0]
    small_run.remove_maps(case[0])


def child(folder: Path, kind: str = "none", n: int = 0, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, kind, str(n), str(folder / "recipe.toml"), *more],
        cwd=HERE.parent,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        start_new_session=True,
        # A script that was put into the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def objects(folder: Path) -> int:
    return sum(1 for _ in (folder / "maps.zarr" / "_tpsoil" / "manifest").rglob("*")) if folder.exists() else 0


def kill_when(process: subprocess.Popen[str], folder: Path, records: int, delay: float) -> bool:
    """SIGKILL once so many records are there and a moment has passed; whether the run still lived."""
    limit = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < limit:
        # The run that is watched may take a folder away while it is listed.
        with contextlib.suppress(FileNotFoundError):
            if objects(folder) >= records:
                break
        time.sleep(0.002)
    time.sleep(delay)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return alive


def test_killed_amid_a_write_or_anywhere_the_next_run_ends_bit_identical(case: small_run.Complete, full: bool) -> None:
    """20 kills with --full: half amid the write of a random object, half at a random moment."""
    folder, whole = case
    dice = random.Random(7)
    killed = turn = 0
    while killed < (20 if full else 2) and turn < 60:
        turn += 1
        if turn % 2 == 0:
            process = child(folder, "write", dice.randrange(1, len(whole)))
            process.communicate(timeout=120)
            died = process.returncode == -signal.SIGKILL
        else:
            died = kill_when(child(folder), folder, dice.randrange(0, 40), dice.random() * 0.05)
        killed += died
        if died and dice.random() < 0.5 and (folder / "maps.zarr" / "_tpsoil" / "run.json").exists():
            # Killed after its last object it is complete, and truly so; a lock or a part of a write may lie beside.
            stored = small_run.files_of(folder / "maps.zarr")
            assert state_of(str(folder / "maps.zarr"))[0] != "complete" or whole.items() <= stored.items()
        run(folder / "recipe.toml", workers=2, progress=False)
        assert small_run.files_of(folder / "maps.zarr") == whole, f"turn {turn}"
        shutil.rmtree(folder / "maps.zarr")
    assert killed == (20 if full else 2)


@pytest.mark.parametrize("older", [False, True], ids=["new", "over an older cube"])
def test_killed_amid_any_of_its_first_writes_nothing_is_in_the_way_of_the_next(
    case: small_run.Complete, full: bool, older: bool
) -> None:
    """While the store is being made: its lock, its mark, its root, its coordinates, its arrays, its first tiles."""
    folder, _ = case
    recipe = small_run.write_recipe(folder / "terrain.toml", without=("solum", "elements"), run={"overwrite": older})
    run(recipe, workers=1, progress=False)
    whole = small_run.files_of(folder / "maps.zarr")
    shutil.rmtree(folder / "maps.zarr")
    count = 1_000 if full else 5 if older else 9  # with --full every write of the run
    done = subprocess.run(
        [sys.executable, "-c", EVERY, "", "0", str(recipe), str(count), str(folder / "cube.zarr") if older else ""],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])},
    )
    turns = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(turns) == count or (full and len(turns) >= 70), done.stderr
    for n, (died, ended, found) in enumerate(turns, start=1):
        assert (n, died, ended) == (n, -signal.SIGKILL, 0), done.stderr
        assert (n, found) == (n, whole)


def test_killed_again_and_again_without_a_clean_start(place: Path, case: small_run.Complete, full: bool) -> None:
    """Every run dies after some more objects; the last one finds all of their work."""
    dice = random.Random(3)
    for _ in range(6 if full else 2):
        process = child(place, "write", dice.randrange(20, 90))
        process.communicate(timeout=120)
    run(place / "recipe.toml", workers=2, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(
    place: Path, case: small_run.Complete, number: signal.Signals
) -> None:
    process = child(place, "none", 0, "--output", str(place / "maps.zarr"))
    limit = time.monotonic() + 60
    # Records are folded into one object a stage, so a later look may count fewer.
    while objects(place) < 2 and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "stopped; stored tiles remain valid" in err
    assert f"Continue with tpsoil run {place / 'recipe.toml'} --output {place / 'maps.zarr'}" in " ".join(err.split())
    assert "Traceback" not in err
    assert not (place / "maps.zarr" / "_tpsoil" / "lock.json").exists()
    assert not list((place / "maps.zarr").rglob("*.partial"))
    run(place / "recipe.toml", workers=2, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]


def test_a_second_run_is_refused_while_the_first_lives(place: Path) -> None:
    first = child(place)
    limit = time.monotonic() + 60
    while objects(place) < 2 and time.monotonic() < limit and first.poll() is None:
        time.sleep(0.002)
    first.send_signal(signal.SIGSTOP)  # it lives, whatever the clock does
    second = child(place)
    _, err = second.communicate(timeout=60)
    first.send_signal(signal.SIGCONT)
    first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 2), err
    assert "another run is writing to it (process" in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs too small for the maps."""
    point = tmp_path / "disk"
    point.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(point)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def test_a_full_disk_is_said_and_the_run_goes_on_once_there_is_room(case: small_run.Complete, small_disk: Path) -> None:
    folder, whole = case
    output = small_disk / "maps.zarr"
    process = child(folder, "none", 0, "--output", str(output))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "no space left" in err
    assert "Traceback" not in err
    current = sum(item.plan.current for item in status(str(output)))
    assert current > 0
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    run(folder / "recipe.toml", output=str(output), workers=2, progress=False)
    stored = small_run.files_of(output)
    assert {key for key in stored | whole if stored.get(key) != whole.get(key)} <= {"_tpsoil/run.json"}


def test_a_read_only_file_system_is_said(case: small_run.Complete, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    process = child(case[0], "none", 0, "--output", str(small_disk / "maps.zarr"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "maps.zarr: cannot be written (Read-only file system); choose another place" in " ".join(err.split())
    assert "Traceback" not in err


def test_no_space_is_an_error_of_the_work_not_of_the_input(
    place: Path, monkeypatch: pytest.MonkeyPatch, case: small_run.Complete
) -> None:
    import errno

    put, count = chunks.put_file, 0

    def full(path: str, data: bytes) -> None:
        nonlocal count
        count += 1
        if count > 60:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(path, data)

    monkeypatch.setattr(chunks, "put_file", full)
    with pytest.raises(
        WorkError, match="no space left to write; free some space and run the same command again"
    ) as caught:
        run(place / "recipe.toml", workers=2, progress=False)
    assert caught.value.exit_status == 1
    monkeypatch.setattr(chunks, "put_file", put)
    run(place / "recipe.toml", workers=2, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]
