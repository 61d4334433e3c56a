"""Consolidated metadata: the descriptions of all arrays in that of the group, so that other readers open it at once.

Written last, when every layer is complete, and removed before anything changes: a store that is being written has none.
tpsoil itself never reads it, so it cannot be misled by a copy that is out of date.
"""

from __future__ import annotations

import json
from typing import Any, Final

from zarr.abc.store import Store

from .chunks import DESCRIPTION, read_objects, write_object
from .conventions import overview_paths
from .location import Location, open_store, writing
from .store import COORDINATES, layer_documents, open_group

KEY: Final = "consolidated_metadata"


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
    layers = layer_documents(info, group)
    if any(document["attributes"].get("state") != "complete" for document in layers.values()):
        return False
    overviews = [path for paths in overview_paths(info.attrs).values() for path in paths]
    groups = {parent for path in overviews for parent in (path.split("/")[0], path.rpartition("/")[0])}
    axes = [f"{path}/{axis}" for path in groups if "/" in path for axis in COORDINATES]
    others = sorted({*COORDINATES, *overviews, *groups, *axes})
    target = open_store(store)
    root, *texts = read_objects(target, [DESCRIPTION, *(f"{name}/{DESCRIPTION}" for name in others)])
    members = dict(sorted({**layers, **{n: json.loads(text) for n, text in zip(others, texts) if text}}.items()))
    for member in members.values():
        member.pop(KEY, None)
    inline = {"kind": "inline", "must_understand": False, "metadata": members}
    with writing(store):
        write_object(target, DESCRIPTION, json.dumps({**json.loads(root or b""), KEY: inline}).encode())
    return True


def consolidated(store: Location) -> Any:
    """The consolidated metadata of a group; None where there is none, or the description cannot be read."""
    return _description(open_store(store)).get(KEY)


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
    document = _description(target)
    if KEY in document:
        del document[KEY]
        with writing(store):
            write_object(target, DESCRIPTION, json.dumps(document).encode())


def _description(target: Store) -> dict[str, Any]:
    """The description of a group; empty where there is none, or it cannot be read."""
    (root,) = read_objects(target, [DESCRIPTION])
    try:
        return dict(json.loads(root or b"{}"))
    except (ValueError, TypeError):  # a damaged description is reported, or written again, elsewhere
        return {}
