"""The output arrays: created before the first tile, reused by the next run."""

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
    """Location and layout of a stored layer.

    Raises
    ------
    MissingInputError
    """
    try:
        array = zarr.open_array(store=open_store(store), path=name, mode="r")
    except FileNotFoundError:
        try:
            known = sorted(zarr.open_group(open_store(store), mode="r", use_consolidated=False).array_keys())
        except FileNotFoundError:
            raise MissingInputError(f"{store}: no such store, which should hold the layer '{name}'") from None
        raise MissingInputError(f"{store}: no layer '{name}'{nearest_name(name, known)}") from None
    except (TypeError, ValueError):  # a group, zarr's message for it has changed more than once
        raise MissingInputError(f"{store}: '{name}' is no layer (y, x)") from None
    return place_of(array, store, name)


def place_of(array: Any, store: str, name: str) -> LayerPlace:
    """The same of an array that is open.

    Raises
    ------
    MissingInputError
    """
    if array.ndim != 2:
        raise MissingInputError(f"{store}: '{name}' is no layer (y, x)")
    metadata: dict[str, Any] = array.metadata.to_dict()
    attributes = metadata.pop("attributes", {})
    metadata["attributes"] = {key: attributes[key] for key in DECIDING if key in attributes}
    cut = array.shards or array.chunks
    template = f"{name}/" + array.metadata.encode_chunk_key((987654321, 123456789))
    keys = template.replace("987654321", "{i}").replace("123456789", "{j}")
    return LayerPlace(name, store, array.shape, cut, keys, array.dtype.itemsize, digest_of(metadata))
