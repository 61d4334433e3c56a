"""How the chunks of an array are encoded, read from its metadata document (`zarr.json`).

Only keys that the Zarr v3 specification defines are read, never the objects of a library, so that a new release of zarr
changes nothing here. What the document describes is either covered completely or rejected.

References
----------
Zarr core specification, version 3: https://zarr-specs.readthedocs.io/en/latest/v3/core/
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numcodecs.blosc import Blosc
    from numcodecs.zstd import Zstd

SHUFFLES: Final = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
COMPRESSORS: Final = ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")
DATA_TYPES: Final = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
FLOATS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
ARRAY_KEYS: Final = frozenset(
    {
        *("zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value"),
        *("codecs", "attributes", "storage_transformers", "dimension_names"),
    }
)
"""Keys of an array's metadata document in the specification; with any other key the array is left to zarr."""


def touched(rows: slice, cols: slice, chunk: tuple[int, int]) -> list[tuple[int, int]]:
    """Chunks that a window overlaps, row by row.

    Examples
    --------
    >>> touched(slice(10, 30), slice(0, 16), (16, 16))
    [(0, 0), (1, 0)]
    """
    high, wide = chunk
    return [
        (i, j)
        for i in range(rows.start // high, -(-rows.stop // high))
        for j in range(cols.start // wide, -(-cols.stop // wide))
    ]


class UnsupportedEncodingError(ValueError):
    """The metadata document describes something that this module does not cover; never reaches a user."""


@dataclass(frozen=True)
class ChunkEncoding:
    """How one array's chunks are named and encoded.

    Parameters
    ----------
    shape, chunk : (int, int)
        Cells of the array and of one chunk, (y, x).
    dtype : dtype
        Little-endian on disk and in memory.
    fill : number
        Value of cells without an object.
    separator : str
        Between the parts of a chunk's key.
    compressor, shuffle : str
    level, block_bytes : int
        Options of Blosc; the type size is that of `dtype`.
    frame_level : int, optional
        Of the zstd frame with a checksum around Blosc's bytes; None where they end in a CRC32C instead.
    """

    shape: tuple[int, int]
    chunk: tuple[int, int]
    dtype: np.dtype[Any]
    fill: float
    separator: str
    compressor: str
    shuffle: str
    level: int
    block_bytes: int
    frame_level: int | None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ChunkEncoding:
        """The encoding that a metadata document describes.

        Parameters
        ----------
        document : mapping
            A parsed `zarr.json`.

        Raises
        ------
        UnsupportedEncodingError
            For anything but two dimensions, a regular chunk grid, and the codecs bytes (little-endian), Blosc, and
            zstd with a checksum or CRC32C.

        Examples
        --------
        >>> codecs = [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}]
        >>> ChunkEncoding.from_document({"zarr_format": 3, "node_type": "array", "codecs": codecs})
        Traceback (most recent call last):
        ...
        tpsoil.cube.encoding.UnsupportedEncodingError: chunk_grid: None is not supported
        """
        for key in document.keys() - ARRAY_KEYS:
            raise UnsupportedEncodingError(f"the key {key!r} is not of the specification")
        _expect("zarr_format", document.get("zarr_format"), 3)
        _expect("node_type", document.get("node_type"), "array")
        _expect("storage_transformers", list(document.get("storage_transformers", ())), [])
        grid = _configuration(document.get("chunk_grid"), "chunk_grid", "regular", {"chunk_shape"})
        keys = _configuration(document.get("chunk_key_encoding"), "chunk_key_encoding", "default", {"separator"})
        codecs = document.get("codecs")
        if not isinstance(codecs, list) or len(codecs) != 3:
            raise UnsupportedEncodingError(f"codecs: {codecs!r} are not supported")
        data_type = document.get("data_type")
        if data_type not in DATA_TYPES:
            raise UnsupportedEncodingError(f"data_type: {data_type!r} is not supported")
        dtype = np.dtype(data_type)
        order = _configuration(codecs[0], "codecs", "bytes", {"endian"})
        if dtype.itemsize > 1 or order:
            _expect("endian", (order.get("endian"), sys.byteorder), ("little", "little"))
        blosc = _configuration(codecs[1], "codecs", "blosc", {"typesize", "cname", "clevel", "shuffle", "blocksize"})
        _expect("typesize", blosc.get("typesize"), dtype.itemsize)
        return cls(
            shape=_pair(document.get("shape"), "shape", minimum=0),
            chunk=_pair(grid.get("chunk_shape"), "chunk_shape", minimum=1),
            dtype=dtype,
            fill=_fill(document.get("fill_value"), dtype),
            separator=_choice(keys.get("separator", "/"), "separator", ("/", ".")),
            compressor=_choice(blosc.get("cname"), "cname", COMPRESSORS),
            shuffle=_choice(blosc.get("shuffle"), "shuffle", tuple(SHUFFLES)),
            level=_integer(blosc.get("clevel"), "clevel", 0, 9),
            block_bytes=_integer(blosc.get("blocksize"), "blocksize", 0, 2**31 - 1),
            frame_level=_frame_level(codecs[2]),
        )

    def key(self, i: int, j: int) -> str:
        """Key of chunk (i, j) below the array's own."""
        return self.separator.join(("c", str(i), str(j)))

    def blosc(self) -> Blosc:
        """The compressor; TypeError where numcodecs is too old to take the type size."""
        from numcodecs.blosc import Blosc  # a tenth of `tpsoil status`, which reads descriptions only

        return Blosc(
            self.compressor, self.level, SHUFFLES[self.shuffle], self.block_bytes, typesize=self.dtype.itemsize
        )

    def frame(self) -> Zstd | None:
        """The zstd frame around Blosc's bytes, if any."""
        from numcodecs.zstd import Zstd

        return None if self.frame_level is None else Zstd(level=self.frame_level, checksum=True)


def layer_encoding(document: Any) -> ChunkEncoding:
    """The encoding of a layer (y, x) whose metadata document has every key of the specification, as tpsoil writes it.

    Raises
    ------
    UnsupportedEncodingError
    """
    if not isinstance(document, dict) or document.keys() != ARRAY_KEYS:
        raise UnsupportedEncodingError("the document has other keys than those of the specification")
    if not isinstance(document["attributes"], dict):
        raise UnsupportedEncodingError("the attributes are no mapping")
    _expect("dimension_names", document["dimension_names"], ["y", "x"])
    return ChunkEncoding.from_document(document)


def _frame_level(part: Any) -> int | None:
    """Level of the last codec where it is zstd with a checksum; None where it is CRC32C."""
    if isinstance(part, Mapping) and part.get("name") == "zstd":
        options = _configuration(part, "codecs", "zstd", {"level", "checksum"})
        if options.get("checksum") is not True:
            raise UnsupportedEncodingError("codecs: zstd without a checksum is not supported")
        return _integer(options.get("level"), "level", 0, 22)
    _configuration(part, "codecs", "crc32c", set())
    return None


def _configuration(part: Any, where: str, name: str, allowed: set[str]) -> Mapping[str, Any]:
    """The configuration of a named extension; a name alone has none."""
    if isinstance(part, str):
        part = {"name": part}
    if not isinstance(part, Mapping) or part.get("name") != name or part.keys() - {"name", "configuration"}:
        raise UnsupportedEncodingError(f"{where}: {part!r} is not supported")
    configuration = part.get("configuration", {})
    if not isinstance(configuration, Mapping) or configuration.keys() - allowed:
        raise UnsupportedEncodingError(f"{where}: the configuration {configuration!r} of {name} is not supported")
    return configuration


def _expect(where: str, value: Any, expected: Any) -> None:
    if value != expected:
        raise UnsupportedEncodingError(f"{where}: {value!r} is not supported, expected {expected!r}")


def _choice(value: Any, where: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise UnsupportedEncodingError(f"{where}: {value!r} is not supported")
    return value


def _integer(value: Any, where: str, minimum: int, maximum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise UnsupportedEncodingError(f"{where}: {value!r} is not supported")
    return value


def _pair(value: Any, where: str, *, minimum: int) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise UnsupportedEncodingError(f"{where}: {value!r} is not two integers")
    first, second = (_integer(size, where, minimum, 2**62) for size in value)
    return first, second


def _fill(value: Any, dtype: np.dtype[Any]) -> float:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return _integer(value, "fill_value", int(limits.min), int(limits.max))
    if isinstance(value, str) and value in FLOATS:
        return FLOATS[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnsupportedEncodingError(f"fill_value: {value!r} is not supported")
    return value
