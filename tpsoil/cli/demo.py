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
            from rich.console import Console
            from rich.table import Table

            from tpsoil.demo import run_demo

        results = run_demo(folder, overwrite=overwrite, drawing=drawing)
    console = Console()
    zones = Table()
    for heading in ("zone", "cells", "mean, m", "min, m", "max, m"):
        zones.add_column(heading, justify="right")
    for row in results.zones.to_dict("records"):
        zones.add_row(
            f"{row['zone']}", f"{row['cells']}", f"{row['mean_m']:.2f}", f"{row['min_m']:.2f}", f"{row['max_m']:.2f}"
        )
    elements = Table()
    elements.add_column("element, mg/kg", no_wrap=True)
    for heading in ("mean", "tree sd", "NSE truth", "NSE random", "NSE by site"):
        elements.add_column(heading, justify="right")
    for row in results.elements.to_dict("records"):
        elements.add_row(
            f"{row['element']}, simulated",
            f"{row['mean']:.0f}" if row["mean"] >= 100 else f"{row['mean']:.1f}",
            f"{row['sd_trees']:.0f}" if row["sd_trees"] >= 100 else f"{row['sd_trees']:.1f}",
            f"{row['nse_truth']:.2f}",
            f"{row['nse_random']:.2f}",
            f"{row['nse_group']:.2f}",
        )
    console.print("\n[bold]Solum thickness[/bold], published parameters, erosion rates assumed")
    console.print(zones)
    console.print("Zone 1 has cells far hotter and wetter than the profiles of its calibration.", highlight=False)
    console.print("\n[bold]Elements from simulated samples[/bold]: efficiency against the truth, and out of fold")
    console.print(elements)
    console.print(
        "Random folds are over-optimistic: the training data contain other replicates of the same site.",
        highlight=False,
    )
    console.print("\nFiles:", highlight=False)
    for path in (*results.figures, results.page, results.store, results.folder / "demo.toml"):
        note = "  (simulated)" if path.stem in set(results.elements["element"]) else ""
        console.print(f"  {path}{note}", highlight=False, soft_wrap=True)
