"""The last step of a run's store: overviews, and consolidated metadata, by which other software opens it at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tpsoil.cube.consolidated import consolidate
from tpsoil.cube.conventions import MULTISCALES, REGISTERED
from tpsoil.cube.levels import OVERVIEWS
from tpsoil.cube.overviews import write_overviews

from .ledger import Ledger

__all__ = ["declared_overviews", "publish"]


def declared_overviews(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Of the root's attributes, those that declare complete overviews."""
    return {key: attributes[key] for key in (REGISTERED, MULTISCALES) if MULTISCALES in attributes}


def publish(ledger: Ledger) -> None:
    """Write missing overviews and the consolidated metadata of a complete store, and force them to the disk.

    Raises
    ------
    AccessError, WorkError
    """
    if write_overviews(ledger.where):
        ledger.sync(ledger.keys(OVERVIEWS))
    consolidate(ledger.where)
    ledger.sync(["zarr.json"])
