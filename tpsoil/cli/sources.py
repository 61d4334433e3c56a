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
    if layer and layer[0] == "check":
        _check(layer[1:], catalogue)
        return
    from tpsoil.covariates.catalogue_sources import STUDIES, stored_unit
    from tpsoil.covariates.catalogue_sources import sources as look_up

    selected = [source for name in layer for source in look_up(name)] if layer else list(look_up())
    if csv:
        _csv(selected)
        return
    if not layer:
        _overview(selected)
        return
    for source in selected:
        typer.echo(f"{source.layer}, {stored_unit(source)} in the cube; {STUDIES[source.study]}")
        for title, value in (
            ("used", source.dataset), ("doi", source.doi), ("resolution", source.resolution), ("years", source.years),
            ("licence", source.licence), ("access", source.access), ("unit", source.unit),
            ("conversion", source.conversion), ("alternative", source.alternative), ("  doi", source.alternative_doi),
            ("  resolution", source.alternative_resolution), ("  years", source.alternative_years),
            ("  licence", source.alternative_licence), ("  access", source.alternative_access),
            ("  conversion", source.alternative_conversion), ("note", source.note),
        ):  # fmt: skip
            if value:
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


def _overview(selected: Sequence[Any]) -> None:
    from rich import box
    from rich.table import Table

    from .show import console

    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("layer", "used by", "dataset", "open alternative"):
        table.add_column(title, overflow="fold", no_wrap=title == "used by")
    for source in selected:
        table.add_row(source.layer, source.study, source.dataset or source.access, source.alternative)
    console().print(table, highlight=False)
    _catalogue()
    typer.echo("`tpsoil sources LAYER` shows DOI, resolution, years, licence, access, unit and conversion.")


def _csv(selected: Sequence[Any]) -> None:
    import csv
    import sys
    from dataclasses import asdict

    writer = csv.DictWriter(sys.stdout, list(asdict(selected[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(source) for source in selected)


def _catalogue() -> None:
    """Entries that `tpsoil fetch` can read, and how many have been probed."""
    from tpsoil.sources import read_catalogue

    entries = read_catalogue().entries
    probed = sum(bool(entry.probed) for entry in entries.values())
    typer.echo(f"`tpsoil fetch` reads {', '.join(entries)}.")
    typer.echo(f"Probed at the source: {probed} of {len(entries)}; `tpsoil sources check` probes them now.")
