"""The command line: arguments to stages, runs and reports.

Every command module here has plain functions; `app.py` gives them their names. What a command needs is imported inside
its function, so that `--help` answers at once.
"""

from __future__ import annotations

from .app import main

__all__ = ["main"]
