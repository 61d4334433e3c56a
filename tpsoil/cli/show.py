"""Layout of tables and messages in a terminal, a pipe and a log."""

from __future__ import annotations

import sys

from rich.console import Console


def console() -> Console:
    """A console as wide as the terminal; 80 columns, without colour, for a pipe."""
    if sys.stdout.isatty():
        return Console()
    return Console(width=80, color_system=None, force_terminal=False)


def require_lasting(store: str) -> None:
    """Reject a store in memory, which is lost when the command ends."""
    from tpsoil.errors import InputError

    if store.startswith("memory://"):
        raise InputError(
            f"{store}: a store in memory is lost when the command ends; pass a path, or a URL such as "
            "s3://bucket/cube.zarr"
        )
