"""`tpsoil run` and `tpsoil status`: run a recipe, and show the state of its store."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tpsoil.option_names import run_by_command

from .cube import require_lasting
from .tables import columns_of_text, table_text, width_of_terminal, wrapped

if TYPE_CHECKING:
    from tpsoil.engine import Previews

LAYERS_SHOWN = 12
"""Of the forecast of disk."""


@run_by_command()
def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a TOML file; - reads it from standard input.")],
    scheduler: Annotated[
        str | None,
        typer.Option(help="'threads' (default), 'processes', or the address of a dask scheduler."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Threads or processes; all processors by default.")] = None,
    memory: Annotated[float | None, typer.Option(help="Limit for all of this machine's processes, GB.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be computed and why; write nothing.")
    ] = False,
    only: Annotated[str | None, typer.Option(help="One stage, or one table of the recipe.")] = None,
    output: Annotated[str | None, typer.Option(help="Store instead of the recipe's: a path or URL.")] = None,
    maps: Annotated[bool, typer.Option(help="Draw a PNG of every map beside a local store; not with --only.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Compute the maps of a recipe: only tiles that are missing or stale."""
    from tpsoil import recipes
    from tpsoil.column_titles import with_titles

    from .status import print_plans

    source: Path | dict[str, Any] = recipe if str(recipe) != "-" else _from_standard_input()
    settings = recipes.read_recipe(source, output=output)
    require_lasting(settings.output)
    options: dict[str, Any] = {"output": output, "workers": workers, "memory": memory, "only": only}
    if dry_run:
        plans = recipes.preview(source, processes=scheduler not in (None, "threads"), **options)
        print_plans(plans, forecast=True)
        _print_disk(plans)
        return
    recipes.run(source, scheduler=scheduler, progress=not quiet, **options)
    width = width_of_terminal()
    for title, table in recipes.result_tables(settings.output).items():
        typer.echo(f"\n{wrapped(title, width)}")
        typer.echo(table_text(with_titles(table, table.attrs.get("name", "")), width))
    typer.echo(f"\nstore: {settings.output}")
    if maps and only is None:
        for path in _draw(settings.output):
            typer.echo(f"map:   {path}")


def _from_standard_input() -> dict[str, Any]:
    """A recipe from standard input; its paths are relative to the working directory."""
    from tpsoil.errors import RecipeError

    try:
        return tomllib.loads(sys.stdin.read())
    except tomllib.TOMLDecodeError as error:
        raise RecipeError("standard input", [f"is not TOML: {error}"]) from error


def status(
    store: Annotated[str, typer.Argument(help="The store of a run: a path or URL.")],
) -> None:
    """Show which tiles of a store are up to date, missing or stale, and why."""
    from .status import print_status

    print_status(store)


def _print_disk(plans: Previews) -> None:
    """The forecast of the stored bytes, with the largest layers."""
    from tpsoil.engine.forecast import size_text

    if plans.disk is None:
        return
    typer.echo(wrapped(plans.disk.summary, width_of_terminal()))
    largest = sorted(plans.disk.layers.items(), key=lambda item: -item[1])
    shown = [[name, size_text(size)] for name, size in largest[:LAYERS_SHOWN]]
    if len(largest) > LAYERS_SHOWN:
        rest = sum(size for _, size in largest[LAYERS_SHOWN:])
        shown.append([f"{len(largest) - LAYERS_SHOWN} more", size_text(rest)])
    for line in columns_of_text(["layer", "to write"], shown):
        typer.echo(line)


def _draw(store: str) -> list[Path]:
    """A PNG of every map of a local store, in a folder beside it."""
    from tpsoil import recipes
    from tpsoil.cube import open_cube
    from tpsoil.engine.places import is_url
    from tpsoil.reports.figures import map_layer, save
    from tpsoil.soil_mask import MASK

    if is_url(store):
        return []
    local = Path(store)
    folder = local.with_name(local.name.removesuffix(".zarr") + "_maps")
    cube = open_cube(store)
    mask = cube.get(MASK)
    return [save(map_layer(cube, name, mask=mask), folder / f"{name}.png") for name in recipes.map_layers(store)]
