"""Consolidated metadata: the descriptions of all arrays in that of the group, so that other readers open it at once.

Written last, when every layer is complete, and removed before anything changes: a store that is being written has none.
tpsoil itself never reads it, so it cannot be misled by a copy that is out of date.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from .conventions import overview_paths
from .location import Location, open_store, writing
from .store import COORDINATES, layers_of, open_group

KEY: Final = "consolidated_metadata"
DESCRIPTION: Final = "zarr.json"


def consolidate(store: Location) -> bool:
    """Write the consolidated metadata of a cube whose layers are all complete.

    Parameters
    ----------
    store : path, URL or zarr Store

    Returns
    -------
    bool
        False where a layer is incomplete: nothing is written.

    Raises
    ------
    MissingInputError, InputError, CorruptStoreError, AccessError, WorkError

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> _ = create_cube("memory://consolidated", plateau_grid(100_000), overwrite=True)
    >>> consolidate("memory://consolidated")
    True
    """
    info, group = open_group(store)
    layers = dict(layers_of(info, group))
    if any(array.attrs.get("state") != "complete" for array in layers.values()):
        return False
    overviews = [path for paths in overview_paths(info.attrs).values() for path in paths]
    groups = {parent for path in overviews for parent in (path.split("/")[0], path.rpartition("/")[0])}
    axes = [f"{path}/{axis}" for path in groups if "/" in path for axis in COORDINATES]
    names = sorted({*COORDINATES, *layers, *overviews, *groups, *axes})
    target = open_store(store)
    root, *texts = sync(_read(target, [DESCRIPTION, *(f"{name}/{DESCRIPTION}" for name in names)]))
    members = {name: json.loads(text) for name, text in zip(names, texts) if text is not None}
    for member in members.values():
        member.pop(KEY, None)
    inline = {"kind": "inline", "must_understand": False, "metadata": members}
    with writing(store):
        sync(_write(target, {**json.loads(root), KEY: inline}))
    return True


def deconsolidate(store: Location) -> None:
    """Remove the consolidated metadata of a group; nothing where there is none.

    Raises
    ------
    AccessError, WorkError

    Examples
    --------
    >>> from tpsoil.cube import create_cube
    >>> from tpsoil.grid import plateau_grid
    >>> _ = create_cube("memory://plain", plateau_grid(100_000), overwrite=True)
    >>> deconsolidate("memory://plain")
    """
    target = open_store(store)
    (root,) = sync(_read(target, [DESCRIPTION]))
    if root is None or f'"{KEY}"'.encode() not in root:
        return
    try:
        document = json.loads(root)
    except ValueError:  # a damaged description is reported, or written again, elsewhere
        return
    if KEY in document:
        with writing(store):
            sync(_write(target, {key: value for key, value in document.items() if key != KEY}))


async def _read(store: Store, keys: list[str]) -> list[bytes | None]:
    buffers = await asyncio.gather(*(store.get(key, default_buffer_prototype()) for key in keys))
    return [None if buffer is None else bytes(buffer.to_bytes()) for buffer in buffers]


async def _write(store: Store, document: dict[str, Any]) -> None:
    data = json.dumps(document, indent=2).encode()
    await store.set(DESCRIPTION, default_buffer_prototype().buffer.from_bytes(data))
