"""Registration of the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from . import cube, demo, derive, fetch, outputs, recipe, run, sources

app = typer.Typer(
    name="tpsoil",
    help="Solum thickness and topsoil elements of mountain plateaus, from one chunked Zarr datacube.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
cube.app.command("derive")(derive.derive)
app.add_typer(cube.app, name="cube")
app.add_typer(recipe.app, name="recipe")
app.command("run")(run.run)
app.command("status")(run.status)
app.command("export")(outputs.export)
app.command("fetch")(fetch.fetch)
app.command("map")(outputs.map_layer)
app.command("report")(outputs.report)
app.command("sources")(sources.sources)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Show version and exit.")] = False,
) -> None:
    """Solum thickness and topsoil elements of mountain plateaus, from one chunked Zarr datacube.

    Exit status: 0 done, 1 the work failed, 2 the input is wrong.
    """
    if version:
        from tpsoil import __version__

        typer.echo(f"tpsoil {__version__}")
        raise typer.Exit
