"""`tpsoil sources`: the data source of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer


def sources(
    layer: Annotated[
        list[str] | None,
        typer.Argument(help="These layers in full; default: all, one line each. `check [ENTRY]`: probe the sources."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write the complete table as CSV.")] = False,
    catalogue: Annotated[
        Path | None, typer.Option(help="User catalogue, which takes precedence over the package's.")
    ] = None,
) -> None:
    """Show the data source of every layer in the studies, and an open alternative: dataset, DOI, licence, unit."""
    from tpsoil.errors import InputError

    probing = bool(layer and layer[0] == "check")
    if csv and probing:
        raise InputError("sources check: --csv has no effect; leave it out")
    if catalogue is not None and not probing and (layer or csv):
        raise InputError(
            "sources: --catalogue has no effect on the studies' sources; give it with `tpsoil sources check`, or alone"
        )
    if layer and probing:
        _check(layer[1:], catalogue)
        return
    from dataclasses import asdict

    from tpsoil.covariates.catalogue_sources import STUDIES
    from tpsoil.covariates.catalogue_sources import sources as look_up
    from tpsoil.variables import variable

    selected = [source for name in layer for source in look_up(name)] if layer else list(look_up())
    if csv:
        import pandas as pd

        typer.echo(pd.DataFrame(map(asdict, selected)).to_csv(index=False), nl=False)
        return
    if not layer:
        _overview(selected, catalogue)
        return
    for source in selected:
        typer.echo(f"{source.layer}, {variable(source.layer).units} in the cube; {STUDIES[source.study]}")
        for name, value in asdict(source).items():
            if value and name not in {"layer", "study"}:
                title = "used" if name == "dataset" else name.replace("alternative_", "  ")
                typer.echo(f"  {title:<14}{value}")


def _check(names: Sequence[str], own: Path | None) -> None:
    """Probe entries of the catalogue at their sources; exit status 1 where one differs from its entry."""
    import tempfile

    from tpsoil.sources import Cache, Client, read_catalogue
    from tpsoil.sources.probe import check

    entries = read_catalogue(own)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for result in check(entries, Cache(Client(), Path(folder)), names):
            failed += not result.ok
            typer.echo(f"{'ok  ' if result.ok else 'FAIL'}  {result.entry:<24} {result.message}")
    if failed:
        raise typer.Exit(1)


def _overview(selected: Sequence[Any], own: Path | None) -> None:
    from rich import box
    from rich.table import Table

    from tpsoil.sources import read_catalogue

    from .tables import console

    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("layer", "used by", "dataset", "open alternative"):
        table.add_column(title, overflow="fold", no_wrap=title == "used by")
    for source in selected:
        table.add_row(source.layer, source.study, source.dataset or source.access, source.alternative)
    console().print(table, highlight=False)
    entries = read_catalogue(own).entries
    probed = sum(bool(entry.probed) for entry in entries.values())
    typer.echo(f"`tpsoil fetch` reads {', '.join(entries)}.")
    typer.echo(f"Probed at the source: {probed} of {len(entries)}; `tpsoil sources check` probes them now.")
    typer.echo("`tpsoil sources LAYER` shows DOI, resolution, years, licence, access, unit and conversion.")
