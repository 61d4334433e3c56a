"""The one jit: serial, exact, kept between processes, never stale, safe when two processes compile at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tpsoil.kernels import compile as compiling
from tpsoil.kernels import resample

PACKAGE = Path(compiling.__file__).parent.parent

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
def house(tmp_path: Path) -> Path:
    """A copy of the ground floor with a kernel that calls another in another file."""
    root = tmp_path / "house"
    (root / "tpsoil" / "kernels").mkdir(parents=True)
    shutil.copy(PACKAGE / "kernels" / "compile.py", root / "tpsoil" / "kernels")
    (root / "tpsoil" / "kernels" / "__init__.py").touch()
    (root / "tpsoil" / "__init__.py").touch()
    (root / "tpsoil" / "kernels" / "scaling.py").write_text(KERNEL)
    (root / "tpsoil" / "kernels" / "callee.py").write_text(CALLEE.format(factor=2.0))
    return root


def start(house: Path, cache: Path | str, **extra: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(house), "TPSOIL_KERNEL_CACHE": str(cache), **extra}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=house,
    )


def finish(process: subprocess.Popen[str]) -> tuple[float, str]:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    value, counts = out.splitlines()
    return float(value), counts


def test_machine_code_is_kept_and_a_changed_callee_is_seen(house: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert finish(start(house, cache)) == (8.0, "0 1")
    assert finish(start(house, cache)) == (8.0, "1 0")
    (house / "tpsoil" / "kernels" / "callee.py").write_text(CALLEE.format(factor=3.0))
    assert finish(start(house, cache)) == (12.0, "0 1"), "numba's own cache would still say 8"
    assert len(list(cache.glob("kernels-*"))) == 2


def test_processes_that_compile_at_once_leave_a_good_cache(house: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for value in (finish(one)[0] for one in [start(house, cache) for _ in range(4)]):
        assert value == 8.0
    assert finish(start(house, cache)) == (8.0, "1 0")


def test_a_broken_or_unwritable_cache_costs_time_only(house: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    finish(start(house, cache))
    for file in cache.rglob("*.nbc"):
        file.write_bytes(b"torn")
    assert finish(start(house, cache))[0] == 8.0
    for file in cache.rglob("*.nbi"):
        file.write_bytes(b"torn too")
    assert finish(start(house, cache))[0] == 8.0
    assert finish(start(house, "off"))[1].startswith("0 ")
    (tmp_path / "file").touch()
    assert finish(start(house, tmp_path / "file" / "cache"))[1].startswith("0 ")


def test_jit_off_is_the_plain_function(house: Path, tmp_path: Path) -> None:
    assert finish(start(house, tmp_path / "cache", NUMBA_DISABLE_JIT="1")) == (8.0, "plain plain")


def test_kernels_are_serial_without_the_gil_and_exact() -> None:
    dispatcher = resample.average
    options = dispatcher.targetoptions
    assert options["nogil"] is True
    assert options.get("parallel", False) is False
    assert not options.get("fastmath", False)
    assert options["error_model"] == "numpy"
    assert dispatcher._cache.cache_path == str(compiling.cache_folder())


def test_the_digest_covers_every_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(compiling.kernel_digest()) == 16
    folder = tmp_path / "kernels"
    shutil.copytree(PACKAGE / "kernels", folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiling, "__file__", str(folder / "compile.py"))
    plain = compiling.kernel_digest.__wrapped__
    before = plain()
    assert before == compiling.kernel_digest()
    for path in sorted(folder.glob("*.py")):
        text = path.read_text()
        path.write_text(text + "\n# changed\n")
        assert plain() != before, path.name
        path.write_text(text)
    assert plain() == before


def test_a_division_by_zero_is_numpys() -> None:
    got = resample.average(np.full((1, 1), np.nan), 0, 0, np.zeros((2, 2)), np.zeros((2, 2)), 0.0, 0.0)
    assert np.isnan(got).all()
