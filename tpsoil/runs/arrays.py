"""The output arrays: made before the first tile, found again by the next run."""

from __future__ import annotations

from typing import Any

import zarr

from tpsoil.errors import MissingInputError, nearest_name

from .manifest import digest_of
from .places import open_store
from .plan import LayerPlace

DECIDING = ("_FillValue", "units", "flag_values", "kind", "scale_factor", "add_offset")
"""Attributes that decide how stored numbers are read."""


def layer_place(store: str, name: str) -> LayerPlace:
    """Where a stored layer lies.

    Raises
    ------
    MissingInputError
    """
    group = zarr.open_group(open_store(store), mode="r")
    try:
        array = group[name]
    except KeyError:
        raise MissingInputError(f"{store}: no layer '{name}'{nearest_name(name, sorted(group.array_keys()))}") from None
    if not isinstance(array, zarr.Array) or array.ndim != 2:
        raise MissingInputError(f"{store}: '{name}' is no layer (y, x)")
    metadata: dict[str, Any] = array.metadata.to_dict()
    attributes = metadata.pop("attributes", {})
    metadata["attributes"] = {key: attributes[key] for key in DECIDING if key in attributes}
    cut = array.shards or array.chunks
    template = f"{name}/" + array.metadata.encode_chunk_key((987654321, 123456789))
    keys = template.replace("987654321", "{i}").replace("123456789", "{j}")
    return LayerPlace(name, store, array.shape, cut, keys, array.dtype.itemsize, digest_of(metadata))
