"""`tpsoil map`: one layer of a store as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
