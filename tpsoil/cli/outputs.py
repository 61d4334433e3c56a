"""`tpsoil export`, `map` and `report`: a store as GeoTIFF, NetCDF or STAC item, a layer as a figure, all as a page."""

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


def map_layer(
    store: Annotated[str, typer.Argument(help="The cube or the store of maps: a path or URL.")],
    layer: Annotated[str, typer.Argument(help="The layer to draw.")],
    out: Annotated[Path, typer.Argument(help="OUT.pdf, .png or .svg.")],
    spread: Annotated[
        str, typer.Option("--with", help="A layer of its uncertainty, drawn beside it: sd means LAYER_sd.")
    ] = "",
    title: Annotated[str, typer.Option(help="Title; default: the layer's name.")] = "",
    hillshade: Annotated[
        bool | None,
        typer.Option(help="Shade by the store's elevation; default: continuous layers."),
    ] = None,
    dpi: Annotated[int, typer.Option(min=50, max=1200, help="Dots per inch of a PNG.")] = 300,
) -> None:
    """Draw one layer with coast, borders, cities, units and scale."""
    from tpsoil.cube import open_cube
    from tpsoil.reports import figures

    cube = open_cube(store)
    relief = figures.pick(cube, "elevation", where="map --hillshade") if hillshade else None
    if hillshade is None:
        relief = figures.relief_of(cube, layer)
    if spread:
        uncertainty = f"{layer}_{spread}" if f"{layer}_{spread}" in cube.data_vars else spread
        figure = figures.mean_and_spread_map(cube, layer, uncertainty, hillshade=relief)
        if title:
            figure.suptitle(title)
    else:
        mask = cube.get("soil_mask") if layer != "soil_mask" else None
        figure = figures.map_layer(cube, layer, title=title or None, hillshade=relief, mask=mask)
    typer.echo(str(figures.save(figure, out, dpi=dpi)))


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
