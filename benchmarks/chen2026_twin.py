"""The complete solum study at full size: raw files of the twin, the recipe, the scores against the truth.

    python benchmarks/chen2026_twin.py FOLDER [--resolution 1000]

Writes the raw files (see tests/chen2026_twin.py) and the maps into FOLDER, and the times, the peak of memory and the
scores into benchmarks/results/chen2026_twin.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
RESULTS = HERE / "results" / "chen2026_twin.md"
PRINTED = ("solum_scores", "solum_gain_baselines", "solum_gain", "solum_published")


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command; its seconds, and the peak of its main process, GB.

    Raises
    ------
    SystemExit
        Where the command fails.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return time.perf_counter() - begun, usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--resolution", type=float, default=1000.0, help="cell size, m")
    options = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    from chen2026_recovery import recovery

    from tpsoil.engine.ledger import Ledger
    from tpsoil.engine.prepare import read_tables

    raw, store = options.folder / "raw", options.folder / "maps.zarr"
    environment = {**os.environ, "CHEN2026_TWIN": str(raw.resolve())}
    generated, generator_gb = timed(
        [sys.executable, str(TESTS / "chen2026_twin.py"), str(raw), "--resolution", str(options.resolution)],
        environment,
    )
    recipe = [str(TESTS / "recipes" / "chen2026_twin.toml"), "--output", str(store)]
    ran, run_gb = timed([sys.executable, "-m", "tpsoil", "run", *recipe], environment)
    scores, index = recovery(raw, store)
    tables = read_tables(Ledger.at(str(store), read_only=True), ["solum", "solum_comparison"])
    pooled = tables["solum_scores"]
    tables["solum_scores"] = pooled[pooled["zone"].astype(str) == "all"].drop(columns=["zone", "note", "not_positive"])
    lines = [
        "# The complete solum study on its twin", "",
        f"{options.resolution:g} m, {int(scores['cells'].iloc[-1])} soil cells, 552 profiles with 0.34 m of noise.",
        f"Raw files: {generated:.0f} s, peak {generator_gb:.2f} GB. From raw files to maps and tables: {ran:.0f} s, "
        f"peak {run_gb:.2f} GB, on {os.cpu_count()} processors shared with other work.", "",
        "Maps against the truth, by zone of the truth: `rmse` (m) and `r2` (1 - SSE/SST) of thickness; `truth_sd` (m), "
        "the RMSE of a perfect zone mean; `covered`, simulated profiles between P05 and P95 (nominal 0.9); "
        "`truth_covered`, truths there.", "", _fixed(scores), "",
        f"Adjusted Rand index of the zones: {index:.3f}", "",
    ]  # fmt: skip
    for name in PRINTED:
        lines += [f"## {name}", "", _fixed(tables[name]), ""]
    text = "\n".join(lines)
    print(text)
    RESULTS.write_text(text)


def _fixed(table: pd.DataFrame) -> str:
    return "```\n" + table.round(3).to_string(index=False) + "\n```"


if __name__ == "__main__":
    main()
