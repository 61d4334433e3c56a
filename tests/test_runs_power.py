"""Power cuts and torn objects: the same command, no help, the same bytes."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_run

from tpsoil.cube import open_cube
from tpsoil.engine import preview as engine_preview  # noqa: F401  (imported before a fork)
from tpsoil.engine.durable import SYNC_VARIABLE, is_sealed, sealed
from tpsoil.engine.ledger import Ledger
from tpsoil.recipes import preview, result_tables, run, status

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
CHUNK = 64  # 4 tiles a stage

# Runs of one recipe in forks of a process that has imported everything. Each is killed at its n-th write, and what was
# not forced to the disk by then is torn: a file that was not synced, or whose folder was not synced since it got its
# name, may be empty, half or gone. Then the same command runs again.
CUTS = """
import json, os, random, shutil, signal, sys
from pathlib import Path
import zarr.storage._local as local
import tpsoil.cube.chunks as chunks
import small_run
import tpsoil.cli, tpsoil.engine.session, tpsoil.recipes
recipe, maps, first, last, log = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])
ways, fsync = (local._put, chunks.put_file), os.fsync

def forked(n):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    count = 0
    def counted():
        nonlocal count
        count += 1
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)
    def put(path, value, exclusive=False):
        result = ways[0](path, value, exclusive)
        counted()
        return result
    def put_file(path, data):
        ways[1](path, data)
        counted()
    def recorded(handle):
        fsync(handle)
        path = os.readlink(f"/proc/self/fd/{handle}")
        state = os.fstat(handle)
        entry = {"inode": state.st_ino}
        if os.path.isdir(path):
            entry = {"folder": path, "names": {e.name: e.inode() for e in os.scandir(path)}}
        with log.open("a") as stream:
            stream.write(json.dumps(entry) + "\\n")
    if n:
        local._put, chunks.put_file, os.fsync = put, put_file, recorded
    try:
        tpsoil.cli.main(["run", recipe, "--workers", "1", "--no-maps", "-q"])
    except SystemExit as end:
        os._exit(end.code or 0)

def tear(dice):
    synced, named = set(), {}
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        synced.add(entry.get("inode"))
        if "folder" in entry:
            named[entry["folder"]] = entry["names"]
    torn = 0
    for path in sorted(maps.rglob("*"), reverse=True):
        if not path.is_file() or path.name == "lock.json":
            continue
        kept = named.get(str(path.parent), {}).get(path.name) == path.stat().st_ino
        if kept and path.stat().st_ino in synced:
            continue
        way = dice.choice(["kept", "empty", "half", "gone"])
        torn += way != "kept"
        data = path.read_bytes()
        if way == "empty":
            path.write_bytes(b"")
        elif way == "half":
            path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
        elif way == "gone":
            path.unlink()
    return torn

for n in range(first, last, max(1, (last - first) // int(sys.argv[6]))):
    log.write_text("")
    died = forked(n)
    torn = tear(random.Random(n)) if died else 0
    ended = forked(0)
    print(json.dumps([n, died, ended, torn, small_run.files_of(maps)]), flush=True)
    shutil.rmtree(maps)
    if died == 0:
        break
"""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> small_run.Complete:
    """Cube, samples, recipe.toml, and the files of an uninterrupted run."""
    return small_run.complete_run(tmp_path_factory.mktemp("power"), chunk=CHUNK)


@pytest.fixture
def place(case: small_run.Complete) -> Iterator[Path]:
    """The case's folder, with its complete maps."""
    shutil.copytree(case[0] / "complete.zarr", case[0] / "maps.zarr")
    yield case[0]
    small_run.remove_maps(case[0])


def tear(path: Path, way: str) -> None:
    data = path.read_bytes()
    if way == "gone":
        path.unlink()
    elif way == "flipped":
        small_run.flip_bit(path, at=len(data) // 2)
    else:
        path.write_bytes(b"" if way == "empty" else data[: len(data) // 2])


def bookkeeping(store: Path) -> list[str]:
    """Every object that is no chunk of a layer."""
    names = [str(path.relative_to(store)) for path in sorted(store.rglob("*")) if path.is_file()]
    return [name for name in names if "/c/" not in name or name.split("/")[0] in {"x", "y", "spatial_ref"}]


@pytest.mark.parametrize("way", ["empty", "half", "flipped", "gone"])
def test_every_torn_object_is_restored(
    case: small_run.Complete, place: Path, way: str, full: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Root, layers, coordinates, records, models, tables and checksums; without --full one of each kind."""
    names = bookkeeping(place / "maps.zarr")
    if not full:
        kinds = {(name.split("/")[0], name.split("/")[1] if name.startswith("_tpsoil") else "", name[-5:]): name
                 for name in names}  # fmt: skip
        names = sorted(kinds.values())
    assert {"zarr.json", "_tpsoil/run.json", "x/c/0", "y/zarr.json"} <= {*names, *bookkeeping(place / "maps.zarr")}
    log = place / "maps.log"
    read = len(log.read_text()) if log.exists() else 0
    for name in names:
        tear(place / "maps.zarr" / name, way)
        run(place / "recipe.toml", workers=1)
        err = capfd.readouterr().err
        assert small_run.files_of(place / "maps.zarr") == case[1], (name, way)
        # A flipped bit in an attribute cannot be told from an attribute that changed: it is logged, without a warning.
        logged = log.read_text()[read:]
        read += len(logged)
        if way in {"half", "flipped"} and not name.endswith((".sum", "_tpsoil/zarr.json")):
            assert Path(name).name in (err if way == "half" else logged), (name, way, err)
    assert list(open_cube(place / "maps.zarr").data_vars)


def test_all_objects_torn_at_once(case: small_run.Complete, place: Path) -> None:
    dice = random.Random(2)
    for name in bookkeeping(place / "maps.zarr"):
        tear(place / "maps.zarr" / name, dice.choice(["empty", "half", "flipped", "gone"]))
    run(place / "recipe.toml", workers=1, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]


def test_previews_and_tables_of_a_torn_store(place: Path) -> None:
    """What only reads treats what is torn as missing too."""
    store = place / "maps.zarr"
    for name in ("_tpsoil/manifest/solum.json", "solum_thickness/zarr.json", "_tpsoil/tables/solum.csv"):
        tear(store / name, "half")
    plans = {item.plan.stage: item.plan for item in preview(place / "recipe.toml")}
    assert (plans["terrain"].current, len(plans["solum"].missing)) == (4, 4)
    assert {item.plan.stage: len(item.plan.missing) for item in status(str(store))}["solum"] == 4
    assert "Solum thickness by zone" not in result_tables(str(store))


def test_a_checksum_is_of_the_content() -> None:
    content = sealed({"b": [1, 2.5, None], "a": {"1": "text"}})
    assert is_sealed(content)
    assert is_sealed(json.loads(json.dumps(content, indent=1)))
    assert not is_sealed(content | {"b": [1, 2.5]})
    assert not is_sealed({"a": 1})


@pytest.mark.parametrize("way", ["empty", "half"])
def test_a_root_torn_while_the_store_was_created(case: small_run.Complete, place: Path, way: str) -> None:
    """Its members cannot be listed by zarr then; those that are there are replaced all the same."""
    store = place / "maps.zarr"
    content = json.loads((store / "_tpsoil/run.json").read_text())
    (store / "_tpsoil/run.json").write_text(json.dumps(sealed(content | {"state": "creating"})))
    for name in ("zarr.json", "x/zarr.json", "solum_thickness/zarr.json"):
        tear(store / name, way)
    run(place / "recipe.toml", workers=1, progress=False)
    assert small_run.files_of(store) == case[1]


def test_power_cuts_at_every_write(case: small_run.Complete, full: bool) -> None:
    """Fifty moments with --full."""
    folder, complete = case
    moments = 50 if full else 2
    done = subprocess.run(
        [sys.executable, "-c", CUTS, str(folder / "recipe.toml"), str(folder / "maps.zarr"), "2", "120",
         str(folder / "log.json"), str(moments)],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=280 if not full else 3000,
    )  # fmt: skip
    turns = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(turns) >= moments, done.stderr
    for n, died, ended, _torn, stored in turns:
        assert (n, ended) == (n, 0), done.stderr
        assert (n, stored) == (n, complete)
        assert died in (0, -signal.SIGKILL)
    assert sum(torn for *_, torn, _ in turns) > 0


def test_a_complete_store_has_every_object_on_the_disk(case: small_run.Complete) -> None:
    """The cut right after the last write tears nothing but single records and their like."""
    folder, complete = case
    script = CUTS.replace("torn += way", "print(path, file=sys.stderr); torn += way").replace("if died else 0", "")
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / "recipe.toml"), str(folder / "maps.zarr"), "100000", "100001",
         str(folder / "log.json"), "1"],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=280,
    )  # fmt: skip
    (turn,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (turn[1], turn[3]) == (0, 0), done.stderr
    assert turn[4] == complete


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which can be shut down in mid-run."""
    image, point = tmp_path / "image", tmp_path / "disk"
    point.mkdir()
    with image.open("wb") as stream:
        stream.truncate(64 * 2**20)
    formatted = shutil.which("mkfs.ext4") and not subprocess.run(["mkfs.ext4", "-q", str(image)]).returncode
    if not formatted or subprocess.run(["mount", "-o", "loop", str(image), str(point)], capture_output=True).returncode:
        pytest.skip("mounting a file system in a file needs root, ext4 and loop devices")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def cut_power(disk: Path) -> None:
    """The file system stops at once; nothing that was not forced to the disk is there after it is mounted again."""
    handle = os.open(disk, os.O_RDONLY)
    fcntl.ioctl(handle, 0x8004587D, struct.pack("I", 2))  # EXT4_IOC_SHUTDOWN, without flushing the journal
    os.close(handle)


def test_power_cuts_of_a_real_file_system(case: small_run.Complete, disk: Path, full: bool) -> None:
    """Fifty with --full, at random moments; the run that follows is cut too, now and then."""
    folder, complete = case
    dice = random.Random(11)
    output = disk / "maps.zarr"
    image = disk.parent / "image"
    command = [sys.executable, "-c", "from tpsoil.cli import main; main()", "run", str(folder / "recipe.toml")]
    command += ["--no-maps", "-q", "--workers", "1", "--output", str(output)]
    for turn in range(50 if full else 2):
        child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        limit = time.monotonic() + 60
        while not output.exists() and child.poll() is None and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(dice.random() * 1.5)
        cut_power(disk)
        child.kill()
        child.communicate()
        subprocess.run(["umount", str(disk)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
        if dice.random() < 0.3:
            continue
        run(folder / "recipe.toml", output=str(output), workers=1, progress=False)
        stored = small_run.files_of(output)
        different = {key for key in stored | complete if stored.get(key) != complete.get(key)}
        assert different <= {"_tpsoil/run.json"}, f"turn {turn}"  # which names the cube as seen from the output
        shutil.rmtree(output)


def test_syncing_can_be_left_to_the_system(
    case: small_run.Complete, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(place / "maps.zarr")
    monkeypatch.setenv(SYNC_VARIABLE, "0")
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("a file was synced"))
    run(place / "recipe.toml", workers=1, progress=False)
    assert small_run.files_of(place / "maps.zarr") == case[1]
    assert Ledger.at(str(place / "maps.zarr")).read_json("run.json") is not None
