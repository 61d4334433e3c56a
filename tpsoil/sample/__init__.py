"""The sample: real covariates of the whole plateau at 8 km, inside the package.

`NOTICE.md` in this folder lists origin and licence of each layer; `build.py` creates the archive.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Final

import xarray as xr
from zarr.storage import ZipStore

from tpsoil.cube import open_cube
from tpsoil.errors import AccessError, StoreExistsError

ARCHIVE: Final = Path(__file__).with_name("plateau.zarr.zip")

RESOLUTION_M: Final = 8000
CHUNK: Final = 128


def write_sample(store: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Unpack the sample cube.

    Parameters
    ----------
    store : path
        A folder that does not exist yet, such as `cube.zarr`.
    overwrite : bool
        Overwrite an existing folder.

    Returns
    -------
    Path
        The store.

    Raises
    ------
    StoreExistsError
        Where the path exists and `overwrite` is False.
    AccessError
        Where the folder cannot be written.

    Examples
    --------
    >>> import tempfile, tpsoil
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = write_sample(f"{folder}/cube.zarr")
    ...     dict(tpsoil.open_cube(store).sizes)
    {'y': 225, 'x': 350}
    """
    target = Path(store)
    if target.exists():
        if not overwrite:
            raise StoreExistsError(f"{target} already exists; pass overwrite=True or another path")
        shutil.rmtree(target)
    try:
        with zipfile.ZipFile(ARCHIVE) as archive:
            archive.extractall(target)
    except OSError as error:
        raise AccessError(f"{target} cannot be written ({error.strerror}); choose another folder") from error
    return target


def open_sample() -> xr.Dataset:
    """The sample cube, read lazily from inside the package.

    Returns
    -------
    Dataset (y, x)
        225 x 350 cells of 8 km; the layers listed in `NOTICE.md`.

    Examples
    --------
    >>> "elevation" in open_sample()
    True
    """
    return open_cube(ZipStore(ARCHIVE, mode="r"))
