"""`tpsoil cube derive`: covariates from a DEM, from layers of the cube, from time stacks and from polygons."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def derive(
    store: Annotated[str, typer.Argument(help="The cube: a path or URL.", show_default=False)] = "",
    groups: Annotated[
        list[str] | None,
        typer.Argument(help="Groups, or layers of groups; --list shows them.", show_default=False),
    ] = None,
    dem: Annotated[
        list[str] | None,
        typer.Option(help="DEM for terrain and hydrology, at its native resolution; files or globs, may be repeated."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", help="OPTION=VALUE for all groups with this option, GROUP=VALUE or GROUP.OPTION=VALUE."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite layers, only where inputs changed.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="Show groups and options, and exit.")] = False,
) -> None:
    """Derive terrain, flow, climate, erosion and class layers into the cube; resume an interrupted derivation."""
    from tpsoil.cube import open_cube
    from tpsoil.errors import InputError
    from tpsoil.recipes.derive import derive as run

    if show:
        _list()
        return
    if not store:
        raise InputError("cube derive: no cube; `tpsoil cube derive STORE GROUP...`, --list shows the groups")
    options: dict[str, Any] = {}
    for text in option or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"cube derive: --option {text}, expected NAME=VALUE")
        options[name.strip()] = value.strip()
    source = None if not dem else dem[0] if len(dem) == 1 else dem
    derived = run(store, groups or [], dem=source, options=options, overwrite=overwrite, progress=True)
    cube = open_cube(store)
    for name in derived:
        attrs = cube[name].attrs
        missing = 100.0 * attrs["missing_cells"] / cube[name].size
        typer.echo(f"derived {name} from {attrs.get('parents', 'an assumption')}, {missing:.1f} % of the cells missing")
        if attrs.get("assumptions"):
            typer.echo(f"  assumed: {attrs['assumptions']}")
        if attrs.get("warning"):
            typer.echo(f"  warning: {attrs['warning']}")


def _list() -> None:
    from rich.table import Table

    from tpsoil.covariates.groups import GROUPS
    from tpsoil.recipes.reference import option_rows

    from .tables import console

    out = console()
    out.print("Missing inputs of a group are derived first; existing layers are retained.", highlight=False)
    for name, kind in GROUPS.items():
        out.print(f"[bold]{name}[/bold]: {kind.title}; layers: {', '.join(kind.makes)}", highlight=False)
        table = Table(box=None, pad_edge=True, show_header=False)
        for column in range(4):
            table.add_column(no_wrap=column == 0, overflow="fold")
        for row in option_rows(name):
            if row.name != "layers":
                default = f"default {row.default}" if row.default not in ("", "needed") else row.default
                table.add_row(row.name, f"{row.kind}{', ' * bool(row.units)}{row.units}", default, row.meaning)
        out.print(table, highlight=False, markup=False)
    out.print("Every group has the option layers: which of its layers to derive.", highlight=False)
