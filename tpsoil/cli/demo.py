"""`tpsoil demo`: both maps of the plateau from the sample cube, in under a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[Path, typer.Argument(help="Folder for the results; created if missing.")] = Path("demo"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an earlier demo in the folder.")] = False,
) -> None:
    """Map solum thickness and four elements of the Tibetan Plateau from the sample inside the package.

    No network and no other file is needed. Covariates are real; the element samples are simulated from a known truth.
    """
    from tpsoil.demo_process import PictureProcess, without_collection

    with PictureProcess(folder) as drawing:
        with without_collection():
            from tpsoil.demo import run_demo
            from tpsoil.display import cell_text

            from .tables import columns_of_text, width_of_terminal, wrapped

        results = run_demo(folder, overwrite=overwrite, drawing=drawing)
    zones = [
        [str(row["zone"]), str(row["cells"]), *(f"{row[name]:.2f}" for name in ("mean_m", "min_m", "max_m"))]
        for row in results.zones.to_dict("records")
    ]
    elements = [
        [f"{row['element']}, simulated", cell_text(row["mean"]), cell_text(row["sd_trees"]),
         *(f"{row[name]:.2f}" for name in ("nse_truth", "nse_random", "nse_group"))]
        for row in results.elements.to_dict("records")
    ]  # fmt: skip
    simulated = set(results.elements["element"])
    files = (*results.figures, results.page, results.store, results.folder / "demo.toml")
    lines = (
        "\nSolum thickness, published parameters, erosion rates assumed",
        *columns_of_text(["zone", "cells", "mean, m", "min, m", "max, m"], zones),
        "Zone 1 has cells far hotter and wetter than the profiles of its calibration.",
        "\nElements from simulated samples: efficiency against the truth, and out of fold",
        *columns_of_text(["element, mg/kg", "mean", "tree sd", "NSE truth", "NSE random", "NSE by site"], elements),
        wrapped(
            "Random folds are over-optimistic: the training data contain other replicates of the same site.",
            width_of_terminal(),
        ),
        "\nFiles:",
        *(f"  {path}{'  (simulated)' if path.stem in simulated else ''}" for path in files),
    )
    for line in lines:
        typer.echo(line)
