"""`tpsoil cube derive`: covariates from a DEM, from layers of the cube and from time stacks."""

from __future__ import annotations

from typing import Annotated

import typer

GROUPS_HELP = (
    "terrain, hydrology, climate, aridity, vegetation, erosivity, erodibility, cover, rusle, rweq; "
    "--list shows what each may be told."
)


def derive(
    store: Annotated[str, typer.Argument(help="The cube: a path or URL.", show_default=False)] = "",
    groups: Annotated[list[str] | None, typer.Argument(help=GROUPS_HELP, show_default=False)] = None,
    dem: Annotated[
        list[str] | None,
        typer.Option(help="DEM for terrain and hydrology, at its own resolution; files or globs, may be repeated."),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="NAME=VALUE, such as erosivity=zhang_fu_annual.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace layers that are there.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Show groups and options, and stop.")] = False,
) -> None:
    """Derive terrain, flow, climate and erosion layers and write them into the cube."""
    from tpsoil.cube import open_cube
    from tpsoil.errors import InputError
    from tpsoil.recipes.derive import derive as work

    if show:
        _list()
        return
    if not store:
        raise InputError("cube derive: no cube given; `tpsoil cube derive STORE GROUP...`, --list shows the groups")
    options = {}
    for text in option or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"cube derive: --option {text}, expected NAME=VALUE")
        options[name.strip()] = value.strip()
    source = None if not dem else dem[0] if len(dem) == 1 else dem
    written = work(store, groups or [], dem=source, options=options, overwrite=overwrite)
    cube = open_cube(store)
    for name in written:
        attrs = cube[name].attrs
        missing = 100.0 * attrs["missing_cells"] / cube[name].size
        typer.echo(f"derived {name} from {attrs.get('parents', 'an assumption')}, {missing:.1f} % of the cells missing")
        if attrs.get("assumptions"):
            typer.echo(f"  assumed: {attrs['assumptions']}")


def _list() -> None:
    from rich import box
    from rich.table import Table

    from tpsoil.recipes.derivations import GROUPS, NEEDS, OPTIONS

    from .show import console

    out = console()
    out.print("groups: " + ", ".join(GROUPS), highlight=False)
    for group, needs in NEEDS.items():
        made = ", ".join(f"{layer} ({maker})" for layer, maker in needs.items())
        out.print(f"{group} first makes what is not there: {made}", highlight=False)
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in ("option", "of", "default", "meaning"):
        table.add_column(title, overflow="fold")
    for name, option in OPTIONS.items():
        table.add_row(name, option.group, "" if option.default is None else str(option.default), option.meaning)
    out.print(table, highlight=False)
