"""`tpsoil sources`: where every layer comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer


def sources(
    layer: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these layers, in full; all of them, one line each, without. `check [ENTRY]`: probe the sources."
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write the whole table as CSV.")] = False,
    catalogue: Annotated[Path | None, typer.Option(help="A catalogue of your own over the package's.")] = None,
) -> None:
    """Show what the studies used for every layer, and what is open: dataset, DOI, years, licence, unit, conversion."""
    if layer and layer[0] == "check":
        _check(layer[1:], catalogue)
        return
    from tpsoil.covariates.catalogue_sources import STUDIES, stored_unit
    from tpsoil.covariates.catalogue_sources import sources as look_up

    chosen = [source for name in layer for source in look_up(name)] if layer else list(look_up())
    if csv:
        _csv(chosen)
        return
    if not layer:
        _overview(chosen)
        return
    for source in chosen:
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
    """Probe entries of the catalogue at their sources; exit status 1 where one is not as it states."""
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


def _overview(chosen: Sequence[Any]) -> None:
    from rich import box
    from rich.table import Table

    from .show import console

    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("layer", "used by", "dataset", "open alternative"):
        table.add_column(title, overflow="fold", no_wrap=title == "used by")
    for source in chosen:
        table.add_row(source.layer, source.study, source.dataset or source.access, source.alternative)
    console().print(table, highlight=False)
    _catalogue()
    typer.echo("`tpsoil sources LAYER` shows DOI, resolution, years, licence, access, unit and conversion.")


def _csv(chosen: Sequence[Any]) -> None:
    import csv
    import sys
    from dataclasses import asdict

    writer = csv.DictWriter(sys.stdout, list(asdict(chosen[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(source) for source in chosen)


def _catalogue() -> None:
    """What `tpsoil fetch` can read, and whether anybody has probed it."""
    from tpsoil.sources import read_catalogue

    entries = read_catalogue().entries
    probed = sum(bool(entry.probed) for entry in entries.values())
    typer.echo(f"`tpsoil fetch` reads {', '.join(entries)}.")
    typer.echo(f"Probed at the source: {probed} of {len(entries)}; `tpsoil sources check` probes them now.")
