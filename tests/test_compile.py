"""The one jit: serial, exact, kept between processes, never stale, safe when two processes compile at once."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tpsoil.kernels import cache as caching
from tpsoil.kernels import resample

PACKAGE = Path(caching.__file__).parent.parent

KERNEL = """
from .compile import jit
from .callee import factor

@jit
def scaled(x):
    total = 0.0
    for i in range(x.shape[0]):
        total += factor(x[i])
    return total
"""
CALLEE = """
from .compile import jit

@jit
def factor(x):
    return {factor} * x
"""
PROGRAM = """
import numpy as np
from tpsoil.kernels import scaling
print(scaling.scaled(np.ones(4)))
hits = getattr(scaling.scaled, "stats", None)
print(sum(hits.cache_hits.values()) if hits else "plain", sum(hits.cache_misses.values()) if hits else "plain")
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the foundation with a kernel that calls another in another file."""
    root = tmp_path / "package"
    (root / "tpsoil" / "kernels").mkdir(parents=True)
    for name in ("compile.py", "cache.py"):
        shutil.copy(PACKAGE / "kernels" / name, root / "tpsoil" / "kernels")
    (root / "tpsoil" / "kernels" / "__init__.py").touch()
    (root / "tpsoil" / "__init__.py").touch()
    (root / "tpsoil" / "kernels" / "scaling.py").write_text(KERNEL)
    (root / "tpsoil" / "kernels" / "callee.py").write_text(CALLEE.format(factor=2.0))
    return root


def start(package: Path, cache: Path | str, *, program: str = PROGRAM, **extra: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(package), "TPSOIL_KERNEL_CACHE": str(cache), **extra}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=package,
    )


def finish(process: subprocess.Popen[str]) -> tuple[float, str]:
    return finish_with_warnings(process)[:2]


def finish_with_warnings(process: subprocess.Popen[str]) -> tuple[float, str, str]:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    value, counts = out.splitlines()
    return float(value), counts, error


def test_machine_code_is_kept_and_a_changed_callee_is_seen(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert finish(start(package, cache)) == (8.0, "0 1")
    assert finish(start(package, cache)) == (8.0, "1 0")
    (package / "tpsoil" / "kernels" / "callee.py").write_text(CALLEE.format(factor=3.0))
    assert finish(start(package, cache)) == (12.0, "0 1"), "numba's own cache would still say 8"
    assert len(list(cache.glob("kernels-*/*scaled*.nbi"))) == 2, "both versions are stored"
    (package / "tpsoil" / "kernels" / "callee.py").write_text(CALLEE.format(factor=2.0))
    assert finish(start(package, cache)) == (8.0, "1 0")


def test_a_change_of_another_module_compiles_nothing(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert finish(start(package, cache)) == (8.0, "0 1")
    (package / "tpsoil" / "kernels" / "other.py").write_text("CHANGED = True\n")
    assert finish(start(package, cache)) == (8.0, "1 0")


def test_what_is_compiled_ahead_is_loaded_by_a_call_of_another_process(package: Path, tmp_path: Path) -> None:
    ahead = (
        "from tpsoil.kernels import scaling\nfrom tpsoil.kernels.compile import compile_ahead\n"
        "compile_ahead(scaling.scaled, ['float64[::1]'])\nprint(len(scaling.scaled.signatures))\nprint('ahead')"
    )
    cache = tmp_path / "cache"
    assert finish(start(package, cache, program=ahead)) == (1.0, "ahead")
    assert finish(start(package, cache)) == (8.0, "1 0")


def test_processes_that_compile_at_once_leave_a_good_cache(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    done = [finish(one) for one in [start(package, cache) for _ in range(4)]]
    assert sorted(done) == [(8.0, "0 1"), *[(8.0, "1 0")] * 3], "one process compiles, the others wait for its code"
    assert finish(start(package, cache)) == (8.0, "1 0")


def test_compiling_is_reported_once_and_only_where_it_is_slow(package: Path, tmp_path: Path) -> None:
    def reports(seconds: float, cache: Path | str) -> list[str]:
        program = (
            "import sys\nfrom tpsoil.kernels import cache\n"
            f"cache.NOTICE_SECONDS = {seconds}\n"
            "cache.CLOCK.notice = lambda text: print(text, file=sys.stderr)\n" + PROGRAM
        )
        return finish_with_warnings(start(package, cache, program=program))[2].splitlines()

    cache = tmp_path / "cache"
    assert reports(1e6, tmp_path / "other") == []
    assert reports(0.0, cache) == [f"compiling (once; stored in {cache})"]
    assert reports(0.0, cache) == []
    assert reports(0.0, "off") == ["compiling (in every process: the cache is off)"]


def test_a_broken_or_unwritable_cache_costs_time_only(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    finish(start(package, cache))
    for file in cache.rglob("*.nbc"):
        file.write_bytes(b"torn")
    assert finish(start(package, cache))[0] == 8.0
    for file in cache.rglob("*.nbi"):
        file.write_bytes(b"torn too")
    assert finish(start(package, cache))[0] == 8.0
    assert finish(start(package, "off"))[1].startswith("0 ")
    (tmp_path / "file").touch()
    assert finish(start(package, tmp_path / "file" / "cache"))[1].startswith("0 ")


def test_jit_off_is_the_plain_function(package: Path, tmp_path: Path) -> None:
    assert finish(start(package, tmp_path / "cache", NUMBA_DISABLE_JIT="1")) == (8.0, "plain plain")


def test_kernels_are_serial_without_the_gil_and_exact() -> None:
    dispatcher = resample.average
    options = dispatcher.targetoptions
    assert options["nogil"] is True
    assert options.get("parallel", False) is False
    assert not options.get("fastmath", False)
    assert options["error_model"] == "numpy"
    assert dispatcher._cache.cache_path == str(caching.cache_folder())


def test_the_digest_covers_every_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(caching.kernel_digest()) == 16
    folder = tmp_path / "kernels"
    shutil.copytree(PACKAGE / "kernels", folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(caching, "__file__", str(folder / "cache.py"))
    plain = caching.kernel_digest.__wrapped__
    before = plain()
    assert before == caching.kernel_digest()
    for path in sorted(folder.glob("*.py")):
        text = path.read_text()
        path.write_text(text + "\n# changed\n")
        assert plain() != before, path.name
        path.write_text(text)
    assert plain() == before


def imported_modules(path: Path) -> set[str]:
    """Names of the modules of the same folder that a file imports, by Python's own parser."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return {str(node.module) for node in nodes if node.level == 1}


def test_machine_code_depends_on_the_modules_that_its_module_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"
    shutil.copytree(PACKAGE / "kernels", folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(caching, "__file__", str(folder / "cache.py"))
    names = sorted(path.stem for path in folder.glob("*.py"))
    needs = {name: {name} for name in names}
    for _ in names:
        needs = {
            name: needs[name].union(*(imported_modules(folder / f"{n}.py") for n in needs[name])) for name in names
        }
    assert needs["growing"] == {"growing", "growing_splits", "compile", "cache"}
    plain = caching.module_digest.__wrapped__
    before = {name: plain(name) for name in names}
    assert len(set(before.values())) == len(names)
    for changed in names:
        text = (folder / f"{changed}.py").read_text()
        (folder / f"{changed}.py").write_text(text + "\n# changed\n")
        assert {name for name in names if plain(name) != before[name]} == {
            name for name in names if changed in needs[name]
        }
        (folder / f"{changed}.py").write_text(text)


@pytest.mark.parametrize(
    "line", ["from . import callee", "import tpsoil.kernels.callee", "from tpsoil.kernels.callee import factor",
             "from .a.b import c", "from .. import kernels"],
)  # fmt: skip
def test_an_import_in_another_way_depends_on_every_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(caching, "__file__", str(tmp_path / "cache.py"))
    caching.kernel_digest.cache_clear()
    (tmp_path / "callee.py").write_text("A = 1\n")
    (tmp_path / "scaling.py").write_text(f"{line}\n")
    try:
        assert caching.module_digest.__wrapped__("scaling") == caching.kernel_digest()
    finally:
        caching.kernel_digest.cache_clear()


def test_a_division_by_zero_is_numpys() -> None:
    got = resample.average(np.full((1, 1), np.nan), 0, 0, np.zeros((2, 2)), np.zeros((2, 2)), 0.0, 0.0)
    assert np.isnan(got).all()


class Payload:
    """Executed by whoever unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


posix = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are those of POSIX")


def plant(cache: Path, marker: Path) -> Path:
    """Replace every stored index by code that leaves a mark."""
    (folder,) = cache.glob("kernels-*")
    for file in folder.glob("*.nb?"):
        file.write_bytes(pickle.dumps(Payload(marker)))
    return folder


@posix
@pytest.mark.parametrize("fault", ["folder", "above", "link", "link to a file", "owner", "owner of a file"])
def test_code_that_others_may_have_written_is_not_executed(package: Path, tmp_path: Path, fault: str) -> None:
    cache, marker = tmp_path / "cache", tmp_path / "executed"
    assert finish(start(package, cache)) == (8.0, "0 1")
    folder = plant(cache, marker)
    if fault.startswith("owner") and os.getuid() != 0:
        pytest.skip("only root can give a file to another user")
    if fault == "folder":
        folder.chmod(0o777)
    elif fault == "above":
        cache.chmod(0o777)
    elif fault == "link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    elif fault == "link to a file":
        (folder / "extra.nbi").symlink_to(tmp_path / "file")
    elif fault == "owner":
        os.chown(folder, 12345, 12345)
    else:
        os.chown(next(folder.glob("*.nbi")), 12345, 12345)
    stored = sorted(folder.iterdir())
    value, counts, error = finish_with_warnings(start(package, cache))
    assert (value, counts) == (8.0, "0 1")
    assert not marker.exists()
    assert error.count("RuntimeWarning: compiled kernels are not stored in") == 1
    assert "TPSOIL_KERNEL_CACHE" in error
    assert sorted(folder.iterdir()) == stored, "what is not used is not touched"


@posix
def test_the_planted_code_is_executed_where_the_folder_is_trusted(package: Path, tmp_path: Path) -> None:
    """The test above can fail: the same code in a folder of mode 0700 is executed."""
    cache, marker = tmp_path / "cache", tmp_path / "executed"
    finish(start(package, cache))
    plant(cache, marker)
    assert finish(start(package, cache))[0] == 8.0
    assert marker.exists()


@posix
def test_the_folder_is_the_users_own_whatever_the_umask(package: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert finish(start(package, tmp_path / "new" / "cache")) == (8.0, "0 1")
        assert finish(start(package, tmp_path / "new" / "cache")) == (8.0, "1 0")
    finally:
        os.umask(before)
    for path in (tmp_path / "new", tmp_path / "new" / "cache", *(tmp_path / "new" / "cache").iterdir()):
        assert path.stat().st_mode & 0o777 == 0o700


@posix
def test_a_sticky_folder_above_is_safe_and_another_users_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shared" / "kernels"
    folder.mkdir(mode=0o700, parents=True)
    folder.parent.chmod(0o1777)
    assert caching.unsafe(folder) is None
    folder.parent.chmod(0o777)
    assert "chmod go-w" in str(caching.unsafe(folder))
    folder.parent.chmod(0o1777)
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    assert f"belongs to user {user}" in str(caching.unsafe(folder))


def test_another_environment_has_a_folder_of_its_own(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert finish(start(package, cache)) == (8.0, "0 1")
    stored = {path: path.read_bytes() for path in cache.rglob("*.nb?")}
    other = "import platform; platform.machine = lambda: 'another'\n" + PROGRAM
    assert finish(start(package, cache, program=other)) == (8.0, "0 1"), "not executed by another environment"
    assert {path: path.read_bytes() for path in stored} == stored, "nor replaced"
    assert len(list(cache.glob("kernels-*"))) == 2
    assert finish(start(package, cache)) == (8.0, "1 0")
    assert finish(start(package, cache, program=other)) == (8.0, "1 0")


@pytest.mark.parametrize("name", ["numba", "llvmlite", "numpy"])
def test_the_folder_is_named_for_every_version(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = caching.environment_digest.__wrapped__
    before = digest()
    monkeypatch.setattr(f"{name}.__version__", "99.0")
    assert digest() != before == caching.environment_digest()
