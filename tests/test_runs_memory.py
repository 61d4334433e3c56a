"""The forecast of memory: tiles shrink, then fewer are worked on at once, then the run is refused; and it is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import small_run

from tpsoil.engine.memory import BASE_BYTES, fit_memory, tile_bytes
from tpsoil.engine.plan import Tiling
from tpsoil.errors import InputError
from tpsoil.stage import Stage
from tpsoil.variables import variable

ROOT = Path(__file__).parent.parent
STAGE = Stage("s", "s", "s", (variable("slope"),), lambda window: {}, inputs=("elevation",), halo=1)
TILING = Tiling((4096, 4096), 128)
HOW: dict[str, Any] = {"model": 0, "threads": 4, "processes": 1, "where": "r.toml", "side": 16}


def of_side(side: int) -> int:
    return tile_bytes(STAGE, Tiling(TILING.shape, TILING.chunk, side), [4])


def test_a_tile_counts_its_window_its_results_and_the_work_on_them() -> None:
    window = (128 + 2) ** 2
    assert of_side(1) == int(window * 8 + 128**2 * 8 + window * STAGE.bytes_per_cell)
    assert of_side(4) > 15 * of_side(1)


def test_tiles_shrink_then_threads_then_it_is_refused() -> None:
    free = fit_memory(STAGE, TILING, [4], limit=None, **HOW)
    assert (free.side, free.at_once) == (16, 4)
    smaller = fit_memory(STAGE, TILING, [4], limit=BASE_BYTES + 4 * of_side(4), **HOW)
    assert (smaller.side, smaller.at_once) == (4, 4)
    fewer = fit_memory(STAGE, TILING, [4], limit=BASE_BYTES + 2 * of_side(1), **HOW)
    assert (fewer.side, fewer.at_once) == (1, 2)
    for forecast in (smaller, fewer):
        assert forecast.total == BASE_BYTES + forecast.at_once * of_side(forecast.side)
    with pytest.raises(
        InputError, match=r"r.toml: stage 's' needs .* --memory allows .*; (set chunks = 64|give --mem)"
    ):
        fit_memory(STAGE, TILING, [4], limit=BASE_BYTES + of_side(1) - 1, **HOW)


def test_what_it_says_would_fit_does() -> None:
    with pytest.raises(InputError) as caught:
        fit_memory(STAGE, TILING, [4], limit=10**8, **HOW)
    advised = float(str(caught.value).split("--memory ")[2].split(";")[0])
    assert fit_memory(STAGE, TILING, [4], limit=int(advised * 1e9), **HOW).total <= advised * 1e9


CHILD = """
import json, sys
from tpsoil.recipes import run
from tpsoil.engine.tiles import peak_bytes
how = json.loads(sys.argv[2])
run(json.loads(sys.argv[1]), workers=2, progress=False, **how)
print(peak_bytes())
"""


def test_a_run_keeps_to_its_limit_and_makes_the_same_maps(tmp_path: Path) -> None:
    """Tiles of the whole grid take more than the limit; cut to fit, the process stays below it."""
    small_run.make_cube(str(tmp_path / "cube.zarr"), side=1536, chunk=128)
    recipe = small_run.recipe_of(tmp_path, run={"tile": 12})
    del recipe["elements"]
    limit = 0.53
    peaks, stores = [], []
    for number, how in enumerate(({}, {"memory": limit})):
        recipe["run"]["output"] = str(tmp_path / f"maps{number}.zarr")
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(recipe), json.dumps(how)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        peaks.append(int(done.stdout.split()[-1]) / 1e9)
        stores.append(small_run.files_of(tmp_path / f"maps{number}.zarr"))
    assert peaks[0] > limit > peaks[1], peaks
    different = {key for key in stores[0] if stores[0][key] != stores[1].get(key)}
    assert different <= {"zarr.json", "_tpsoil/run.json"}  # they name two outputs
