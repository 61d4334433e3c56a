"""`tpsoil cube`: create a datacube, add layers, describe and check it."""

from __future__ import annotations

import typer

app = typer.Typer(help="Create, fill, describe and check a datacube.", no_args_is_help=True)
