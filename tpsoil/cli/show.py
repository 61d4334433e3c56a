"""How tables and messages look in a terminal, a pipe and a log."""

from __future__ import annotations

import sys

from rich.console import Console


def console() -> Console:
    """A console as wide as the terminal; 80 columns, without colour, for a pipe."""
    if sys.stdout.isatty():
        return Console()
    return Console(width=80, color_system=None, force_terminal=False)


def require_lasting(store: str) -> None:
    """Reject a store that ends with the command."""
    from tpsoil.errors import InputError

    if store.startswith("memory://"):
        raise InputError(
            f"{store}: a store in memory is gone when the command ends; give a path, or a URL such as "
            "s3://bucket/cube.zarr"
        )
