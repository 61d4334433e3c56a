"""`tpsoil recipe`: recipe templates, and the reference of all keys."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Write a recipe template, or show the meaning of its keys.")


@app.command("new")
def new(
    kind: Annotated[str, typer.Argument(help="solum, elements, both, or a study: chen2026, huo2026.")],
    cube: Annotated[str | None, typer.Option(help="A cube whose layers the recipe uses.")] = None,
) -> None:
    """Write an annotated recipe to standard output: `tpsoil recipe new solum --cube my.zarr > solum.toml`."""
    from tpsoil.recipes.templates import new_recipe

    typer.echo(new_recipe(kind, cube), nl=False)


@app.command("show")
def show(
    table: Annotated[
        str | None, typer.Argument(help="One table, such as elements or solum.calibration; default: all.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write the reference as Markdown.")] = False,
) -> None:
    """Show every key of a recipe with its type, default and meaning."""
    from rich.table import Table

    from tpsoil.recipes.reference import recipe_keys, reference_text

    from .tables import console

    if markdown or (table or "").partition(".")[0] == "derive":
        typer.echo(reference_text(table), nl=False)
        return
    out, heading, grid = console(), "", Table(box=None)
    for key in recipe_keys(table):
        if key.table != heading:
            if heading:
                out.print(grid, highlight=False, markup=False)
            heading, grid = key.table, Table(box=None, pad_edge=False)
            out.print(f"\n{heading}", style="bold", highlight=False, markup=False)
            for title in ("key", "type", "default", "meaning"):
                grid.add_column(title, overflow="fold", no_wrap=title == "key", ratio=3 if title == "meaning" else None)
        grid.add_row(key.name, key.kind, key.default, key.meaning)
    out.print(grid, highlight=False, markup=False)
    if table is None:
        typer.echo("\n[derive]: `tpsoil recipe show derive`, or `tpsoil cube derive --list`.")
