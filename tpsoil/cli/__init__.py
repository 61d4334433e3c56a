"""The command line: arguments to stages, runs and reports.

Every command module has plain functions; `app.py` registers them by name, `entry.py` runs one. What a command needs is
imported inside its function, so that `--help` is fast.
"""

from __future__ import annotations

from .entry import main

__all__ = ["main"]
