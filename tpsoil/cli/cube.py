"""`tpsoil cube`: create a datacube, add layers, describe and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Create, fill, describe and check a datacube.", no_args_is_help=True)

Store = Annotated[
    str, typer.Argument(help="The cube: a path, or a URL such as s3://bucket/cube.zarr.", show_default=False)
]


@app.command()
def create(
    store: Store,
    resolution: Annotated[
        float | None, typer.Option(help="Cell size; metres, or degrees of a geographic --crs. Default: 1000.")
    ] = None,
    crs: Annotated[str | None, typer.Option(help="Such as EPSG:3035. Default: the plateau's Albers grid.")] = None,
    bounds: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(help="Left, bottom, right, top in --crs.", metavar="L B R T", show_default=False),
    ] = None,
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(
            help="West, south, east, north in degrees; metres in --resolution.", metavar="W S E N", show_default=False
        ),
    ] = None,
    like: Annotated[
        str | None, typer.Option(help="Use the grid of this raster file or cube.", show_default=False)
    ] = None,
    chunks: Annotated[int, typer.Option(help="Cells a side of a chunk.")] = 512,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing cube.")] = False,
) -> None:
    """Create an empty cube on the plateau's grid, on bounds in a CRS, around a box, or like a raster."""
    from tpsoil.cube import create_cube, cube_info
    from tpsoil.grid import describe

    require_lasting(store)
    create_cube(store, _grid(resolution, crs, bounds, bbox, like), chunks=chunks, overwrite=overwrite)
    typer.echo(f"created {store}: {describe(cube_info(store).grid)}, chunks of {chunks}")


@app.command()
def add(
    store: Store,
    name: Annotated[str, typer.Argument(help="The layer's name, such as elevation.", show_default=False)],
    source: Annotated[
        list[str], typer.Argument(help="Raster files or globs; vector files for soil_mask.", show_default=False)
    ],
    units: Annotated[str | None, typer.Option(help="Units of the source: K, cm, ft, mm/month, '0.1 degC'.")] = None,
    nodata: Annotated[
        list[str] | None, typer.Option(help="Value of missing cells; may be repeated; or 'none'.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="Value = stored x scale + offset.")] = None,
    offset: Annotated[float | None, typer.Option(help="Value = stored x scale + offset.")] = None,
    variable: Annotated[str | None, typer.Option(help="Variable of a NetCDF or Zarr source.")] = None,
    band: Annotated[int | None, typer.Option(help="Band number, from 1.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of a source without one.")] = None,
    combine: Annotated[
        str | None, typer.Option(help="How to combine several files: mosaic, mean, sum, min, max.")
    ] = None,
    outside: Annotated[list[str] | None, typer.Option(help="Glaciers, lakes: no soil (soil_mask only).")] = None,
    resampling: Annotated[str | None, typer.Option(help="average, bilinear, nearest or mode.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Kind of a user-defined layer: continuous, categorical, circular.")
    ] = None,
    long_name: Annotated[str | None, typer.Option(help="Long name of a user-defined layer.")] = None,
    origin: Annotated[str | None, typer.Option(help="Origin of the data, for the attributes.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing layer.")] = False,
) -> None:
    """Read a source, convert and check it, and write it onto the cube's grid."""
    from tpsoil.cube import add_layer, cube_info, open_cube
    from tpsoil.option_names import on_command_line

    options: dict[str, Any] = {
        "units": units, "nodata": _nodata(nodata), "scale": scale, "offset": offset, "variable": variable,
        "band": band, "crs": crs, "combine": combine, "outside": outside or None, "resampling": resampling,
        "kind": kind, "long_name": long_name, "origin": origin, "overwrite": overwrite,
    }  # fmt: skip
    with on_command_line():
        add_layer(store, name, source[0] if len(source) == 1 else source, **options)
    attrs = open_cube(store)[name].attrs
    rows, cols = cube_info(store).shape
    missing = 100.0 * attrs["missing_cells"] / (rows * cols)
    typer.echo(f"added {name} from {attrs['source']}: {attrs['resampling']}, {missing:.1f} % of the cells missing")
    if "source_units" in attrs:
        typer.echo(f"units: {attrs['source_units']}, stored as {attrs['units']}")


@app.command()
def info(store: Store) -> None:
    """Show the grid and the layers of a cube."""
    from rich import box
    from rich.table import Table

    from tpsoil.cube import cube_info, layer_states, open_cube
    from tpsoil.grid import describe, geographic_bounds

    from .tables import console

    summary = cube_info(store)
    west, south, east, north = geographic_bounds(summary.grid)
    out = console()
    out.print(f"[bold]{summary.where}[/bold]", highlight=False)
    out.print(f"{describe(summary.grid)}", highlight=False)
    out.print(
        f"{west:.2f} to {east:.2f} E, {south:.2f} to {north:.2f} N; chunks of {summary.chunks} "
        f"({summary.chunk_grid[0]} x {summary.chunk_grid[1]}); {summary.attrs.get('created_with')}",
        highlight=False,
    )
    cube, states = open_cube(store, incomplete=True), layer_states(store)
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("layer", "units", "type", "missing", "source"):
        table.add_column(title, overflow="fold", justify="right" if title == "missing" else "left")
    cells = summary.shape[0] * summary.shape[1]
    for name, state in states.items():
        attrs = cube[name].attrs
        share = f"{100 * attrs['missing_cells'] / cells:.1f} %" if "missing_cells" in attrs else ""
        source = str(attrs.get("source", attrs.get("parents", ""))) if state == "complete" else "writing did not end"
        table.add_row(name, str(attrs.get("units", "")), str(cube[name].dtype), share, source)
    if states:
        out.print(table)
    else:
        out.print("no layers yet; add one with `tpsoil cube add`")


@app.command()
def sample(
    store: Store,
    points: Annotated[
        str, typer.Argument(help="CSV with lon and lat, or x and y in the cube's CRS.", show_default=False)
    ],
    out: Annotated[str, typer.Argument(help="The CSV to write.", show_default=False)],
    layer: Annotated[list[str] | None, typer.Option(help="Only this layer; may be repeated.")] = None,
    need: Annotated[list[str] | None, typer.Option(help="A required column; may be repeated.")] = None,
    number: Annotated[list[str] | None, typer.Option(help="A required numeric column; may be repeated.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Retain points outside the grid, with missing values.")] = False,
    encoding: Annotated[str, typer.Option(help="Of the CSV; cp1252 of one that Excel under Windows saved.")] = "utf-8",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite an existing file.")] = False,
) -> None:
    """Write the cube's values at points, beside the points' own columns.

    Points outside the grid are counted and dropped.
    """
    from tpsoil.cube import open_cube, sample_cube, writing
    from tpsoil.errors import StoreExistsError
    from tpsoil.ingest import read_table
    from tpsoil.option_names import on_command_line

    if Path(out).exists() and not overwrite:
        raise StoreExistsError(f"{out}: already exists; pass --overwrite to replace it")
    with on_command_line():
        table = read_table(points, needed=[*(need or []), *(number or [])], numbers=number or [], encoding=encoding)
        values = sample_cube(
            open_cube(store), table, layers=layer or None, outside="keep" if keep else "drop", where=points
        )
    with writing(out):
        values.to_csv(out, index=False)
    typer.echo(
        f"wrote {out}: {len(values)} of {values.attrs['points']} points, "
        f"{len(values.columns) - len(table.columns) - 2} layers"
    )


@app.command()
def check(
    store: Store,
    layer: Annotated[list[str] | None, typer.Option(help="Only this layer; may be repeated.")] = None,
) -> None:
    """Read every chunk and list missing and damaged ones."""
    from tpsoil.cube import check_cube
    from tpsoil.errors import CorruptStoreError

    result = check_cube(store, layer or None)
    if not result.good:
        count = f"{len(result.faults)} fault" + ("" if len(result.faults) == 1 else "s")
        raise CorruptStoreError("\n".join([f"{result.where}: {count}", *(f"  - {fault}" for fault in result.faults)]))
    typer.echo(f"{result.where}: {result.layers} layers, {result.chunks} chunks, all complete")


@app.command()
def overviews(
    store: Store,
    layer: Annotated[list[str] | None, typer.Option(help="Only this layer; may be repeated.")] = None,
) -> None:
    """Write overviews (half, a quarter ... of the resolution), so that a viewer opens a large store fast.

    A run writes those of its maps itself. Layers that have overviews are passed over.
    """
    from tpsoil.cube import write_overviews

    written = write_overviews(store, layer or None)
    typer.echo(f"{store}: {len(written)} overviews written")


@app.command()
def coarsen(
    store: Store,
    out: Annotated[str, typer.Argument(help="The coarser store: a path or URL.", show_default=False)],
    factor: Annotated[int, typer.Option(help="Cells along a side of a block, such as 10.", show_default=False)],
    layer: Annotated[list[str] | None, typer.Option(help="Mean of this layer; may be repeated.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
) -> None:
    """Write a store at a coarser resolution, with intervals of the means of maps that have an interval.

    The interval of a mean accounts for errors that are correlated in space. Without --layer: the maps that have one.
    """
    from tpsoil.cube import coarsen_store

    names = coarsen_store(store, out, factor, layers=layer or None, overwrite=overwrite)
    typer.echo(f"{out}: {', '.join(names)}")


def require_lasting(store: str) -> None:
    """Reject a store in memory, which is lost when the command ends."""
    from tpsoil.errors import InputError

    if store.startswith("memory://"):
        raise InputError(
            f"{store}: a store in memory is lost when the command ends; pass a path, or a URL such as "
            "s3://bucket/cube.zarr"
        )


Box = tuple[float, float, float, float]


def _grid(resolution: float | None, crs: str | None, bounds: Box | None, bbox: Box | None, like: str | None) -> Any:
    from tpsoil.errors import InputError
    from tpsoil.grid import grid_from_bounds, plateau_grid
    from tpsoil.recipes.grids import grid_of_box
    from tpsoil.recipes.layer_stage import grid_of_source

    if like is not None:
        if resolution is not None or crs or bounds or bbox:
            raise InputError(
                "cube create: --like defines the complete grid; omit --resolution, --crs, --bounds and --bbox"
            )
        return grid_of_source(like, "cube create --like")
    size = 1000.0 if resolution is None else resolution
    if bbox is not None:
        if bounds is not None:
            raise InputError("cube create: --bounds and --bbox each define the extent; pass one")
        return grid_of_box(bbox, size, crs, where="cube create")
    if (crs is None) != (bounds is None):
        raise InputError(
            "cube create: --crs and --bounds must be passed together; pass both, --bbox, or none for the plateau's grid"
        )
    if crs is None or bounds is None:
        return plateau_grid(size)
    return grid_from_bounds(crs, bounds, size)


def _nodata(values: list[str] | None) -> Any:
    from tpsoil.errors import InputError

    if not values:
        return None
    if values == ["none"]:
        return "none"
    try:
        return [float(value) for value in values]
    except ValueError:
        raise InputError(f"cube add: --nodata {' '.join(values)}, expected numbers, or 'none' alone") from None
