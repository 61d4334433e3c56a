"""Memory of a prediction depends on neither the number of cells nor on cells x trees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import dask, dask.array as da, numpy as np, xarray as xr
from sklearn.ensemble import RandomForestRegressor
from tpsoil.forest import CompiledForest

cells, trees, levels = int(float(sys.argv[1])), int(sys.argv[2]), sys.argv[3] == "quantiles"
rng = np.random.default_rng(0)
X = rng.normal(size=(1654, 14))
names = [f"x{k}" for k in range(14)]
forest = RandomForestRegressor(trees, random_state=0, max_features=4).fit(X, X[:, 0] + X[:, 1] ** 2)
compiled = CompiledForest.from_sklearn(forest, names, responses=(X, X[:, 0]))
side = int(cells ** 0.5)
draw = da.random.default_rng(1)
cube = xr.Dataset({
    name: (("y", "x"), draw.normal(size=(side, side), chunks=256).astype("float32")) for name in names
})
found = compiled.predict_cube(cube, quantiles=(0.1, 0.9) if levels else None)
# Held cells would be the map itself: only their means are kept.
means = found.mean().compute(scheduler="threads", num_workers=2)
assert np.isfinite(float(means["sd"]))
# Not ru_maxrss: Linux hands the parent's peak to a child.
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024)
"""


def peak_mib(cells: float, trees: int, what: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(cells), str(trees), what],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.timeout(900)  # at full size, on a busy machine
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("what", ["mean", "quantiles"])
def test_peak_memory_is_that_of_the_tiles_at_work(full: bool, what: str) -> None:
    # As trees x pixels the larger would need 40 GB at full size, 0.4 GB at the reduced one.
    small, large, trees = (1e5, 1e7, 500) if full else (1e5, 1e6, 50)
    first, second = peak_mib(small, trees, what), peak_mib(large, trees, what)
    print(f"{what}: {first:.0f} MiB at {small:.0g} cells, {second:.0f} MiB at {large:.0g}")
    assert second < first + 80
