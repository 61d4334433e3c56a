"""`tpsoil export`: a store as GeoTIFF or NetCDF, or its description as a STAC item."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    store: Annotated[str, typer.Argument(help="The cube or the store of maps: a path or URL.", show_default=False)],
    out: Annotated[
        Path,
        typer.Argument(
            help="OUT.tif (cloud-optimised GeoTIFF), OUT.nc (NetCDF) or OUT.json (STAC item).", show_default=False
        ),
    ],
    layer: Annotated[list[str] | None, typer.Option(help="Only this layer; may be repeated.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a store's layers as a cloud-optimised GeoTIFF or as NetCDF, or describe the store as a STAC item.

    Layers of one type become the bands of one GeoTIFF; of several types, one file a layer. Names and colours of classes
    are in the colour table and in OUT.tif.aux.xml.
    """
    from tpsoil.cube import export_store

    for file in export_store(store, out, layers=layer or None, overwrite=overwrite):
        typer.echo(f"wrote {file}: {file.stat().st_size / 1e6:.2f} MB")
