"""`tpsoil export`: a store as GeoTIFF or NetCDF."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    store: Annotated[str, typer.Argument(help="The cube or the store of maps: a path or URL.")],
    out: Annotated[Path, typer.Argument(help="OUT.tif (cloud-optimised GeoTIFF) or OUT.nc (NetCDF).")],
) -> None:
    """Write a store's layers as a cloud-optimised GeoTIFF or as NetCDF."""
    from tpsoil.errors import WorkError

    raise WorkError(f"export of {store} to {out}: the cube room is not open yet")
