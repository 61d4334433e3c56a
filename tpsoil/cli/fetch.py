"""`tpsoil fetch`: open data of a bounding box into a cube."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer


def fetch(
    store: Annotated[str, typer.Argument(help="The cube; created if missing.")],
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(help="WEST SOUTH EAST NORTH in degrees; not needed for an existing cube.", show_default=False),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layers", "-l", help="Groups, layers or entries of the catalogue; may be repeated."),
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(help="More layers.", show_default=False)] = None,
    resolution: Annotated[float | None, typer.Option(help="Cell size of a new cube, m.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of a new cube, such as EPSG:3035.")] = None,
    catalogue: Annotated[
        Path | None, typer.Option(help="User catalogue, which takes precedence over the package's.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show bytes, licences and time; write nothing.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Use the cache only.")] = False,
    locked: Annotated[bool, typer.Option("--locked", help="Accept only files in sources.lock.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing layers.")] = False,
) -> None:
    """Fetch open data for a box: only the windows needed, checked against the catalogue, cited in every map."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from tpsoil.grid import describe
    from tpsoil.recipes import Network
    from tpsoil.recipes.fetching import ASSUMED_BYTES_A_SECOND
    from tpsoil.recipes.fetching import fetch as work

    network = Network(catalogue=catalogue, offline=offline, locked=locked)
    names = [*(layers or []), *(more or [])]
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as bar:
        tasks: dict[str, int] = {}

        def show(layer: str, done: int, total: int) -> None:
            if layer not in tasks:
                tasks[layer] = bar.add_task(layer, total=total)
            bar.update(tasks[layer], completed=done, total=total)  # type: ignore[arg-type]

        result = work(store, bbox, layers=names, resolution=resolution, crs=crs, overwrite=overwrite, dry_run=dry_run,
                      network=network, progress=show)  # fmt: skip
    typer.echo(f"{store}: {describe(result.grid)}")
    for row in result.table():
        missing_tiles = f", {row['absent']} tiles absent" if row["absent"] else ""
        typer.echo(f"  {row['layer']:<24} {row['from']}: {row['files']} files, {row['MB']:.2f} MB{missing_tiles}")
        typer.echo(f"  {'':<24} {row['licence']}")
    total = result.expected_bytes
    if dry_run:
        seconds = total / ASSUMED_BYTES_A_SECOND
        typer.echo(f"about {total / 1e6:.1f} MB to read, {seconds:.0f} s at 2 MB/s; nothing was written")
    else:
        ratio = "" if math.isnan(result.ratio) else f", {result.ratio:.2f} of the windows' compressed size"
        typer.echo(f"{result.bytes_read / 1e6:.2f} MB read over the network{ratio}; sources.lock lists every file")
