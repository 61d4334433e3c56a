"""`tpsoil report`: a store as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    store: Annotated[str, typer.Argument(help="The cube or the store of maps: a path or URL.")],
    out: Annotated[Path, typer.Argument(help="OUT.html; a self-contained file.")],
    title: Annotated[str, typer.Option(help="Title; default: the store's.")] = "",
    layer: Annotated[list[str] | None, typer.Option("--layer", help="A layer to show; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show a run's covariates too.")] = False,
    cells: Annotated[
        int, typer.Option(min=1, help="Maximum cells of all layers together; larger stores are decimated.")
    ] = 9_000_000,
) -> None:
    """Write one page of a store: maps with their values, scores, assumptions, provenance, citation."""
    from tpsoil.errors import InputError
    from tpsoil.reports import write_page

    if layer and everything:
        raise InputError("report: --all has no effect with --layer; give one of them")
    path = write_page(store, out, title=title, layers=layer or None, everything=everything, cells=cells)
    size = path.stat().st_size
    typer.echo(f"{path}  {size / 1e6:.1f} MB" if size >= 1e5 else f"{path}  {size / 1e3:.0f} kB")
