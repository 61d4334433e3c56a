"""How well a run on the twin of the solum study recovers the truth.

python tests/chen2026_recovery.py FOLDER STORE
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from chen2026_twin import noisy
from sklearn.metrics import adjusted_rand_score

from tpsoil.cube import open_cube
from tpsoil.evaluation import nse, rmse

NO_ZONE = 255


def recovery(folder: Path, store: Path | str, *, seed: int = 7) -> tuple[pd.DataFrame, float]:
    """Scores of the maps against the truth, and the adjusted Rand index of the zones.

    Parameters
    ----------
    folder : Path
        Of the twin.
    store : Path
        Of the run.
    seed : int
        Of the noise of one simulated profile in each cell.

    Returns
    -------
    DataFrame
        A row for each zone of the truth and for "all": `cells`; `rmse` (m) and `r2` (1 - SSE/SST) of thickness against
        the truth; `truth_sd` (m), the RMSE of a perfect zone mean; `bias` (m); `covered`, share of simulated profiles
        between P05 and P95 (nominal 0.9); `truth_covered`, share of truths there.
    float
        Adjusted Rand index of the run's zones and those of the truth, over cells with both.
    """
    truth, maps = open_cube(folder / "truth.zarr"), open_cube(store)
    noise_m = json.loads((folder / "truth.json").read_text())["noise_m"]
    true, zone = truth["solum_thickness"].values.ravel(), truth["zone"].values.ravel()
    mapped, run_zone = maps["solum_thickness"].values.ravel(), maps["zone"].values.ravel()
    low, high = (maps[f"solum_thickness_{q}"].values.ravel() for q in ("p05", "p95"))
    both = np.isfinite(true) & np.isfinite(mapped)
    profile = np.full(true.shape, np.nan)
    profile[both] = noisy(true[both].astype(float), noise_m, np.random.default_rng(seed))
    banded = both & np.isfinite(low)
    rows = []
    for code in [*(int(z) for z in np.unique(zone[zone != NO_ZONE])), "all"]:
        here = both if code == "all" else both & (zone == code)
        band = banded & here
        rows.append({
            "zone": code, "cells": int(here.sum()), "rmse": rmse(true[here], mapped[here]),
            "r2": nse(true[here], mapped[here]), "truth_sd": float(true[here].std()),
            "bias": float((mapped[here] - true[here]).mean()),
            "covered": float(((profile >= low) & (profile <= high))[band].mean()),
            "truth_covered": float(((true >= low) & (true <= high))[band].mean()),
        })  # fmt: skip
    zoned = (zone != NO_ZONE) & (run_zone != NO_ZONE) & np.isfinite(run_zone.astype(float))
    return pd.DataFrame(rows), float(adjusted_rand_score(zone[zoned], run_zone[zoned]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("store", type=Path)
    options = parser.parse_args()
    table, index = recovery(options.folder, options.store)
    print(table.round(3).to_string(index=False))
    print(f"adjusted Rand index of the zones: {index:.3f}")


if __name__ == "__main__":
    main()
