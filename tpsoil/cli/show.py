"""How tables and messages look in a terminal, a pipe and a log."""

from __future__ import annotations

import sys

from rich.console import Console


def console() -> Console:
    """A console as wide as the terminal; 80 columns, without colour, for a pipe."""
    if sys.stdout.isatty():
        return Console()
    return Console(width=80, color_system=None, force_terminal=False)
