"""Values of a page, read back as its script reads them."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def unpack_rounded(text: str, meta: dict[str, Any], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Inverse of `pack_rounded`, as in the script of the page.

    Examples
    --------
    >>> text, meta = pack_rounded(np.array([[0.0, 1.0], [2.0, np.nan]]), logarithmic=False)
    >>> unpack_rounded(text, meta, (2, 2)).tolist()
    [[0.0, 1.0], [2.0, nan]]
    """
    raw = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    differences = np.ascontiguousarray(raw.reshape(2, -1).T).view("<u2").reshape(shape)
    codes = np.cumsum(differences, axis=1, dtype=np.uint16).astype(np.float64)
    values = meta["from"] + (codes - 1) * meta["step"]
    return np.where(codes == 0, np.nan, np.exp(values) if meta["log"] else values)


def unpack_values(text: str, dtype: str, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """Inverse of `pack_values`, as in the script of the page; for tests and for reading a page.

    Examples
    --------
    >>> unpack_values(*pack_values(np.array([[1.5, 2.5]]), "continuous"), (1, 2)).tolist()
    [[1.5, 2.5]]
    """
    code = {"float32": "<f4", "uint8": "u1", "int32": "<i4"}[dtype]
    raw = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    size = np.dtype(code).itemsize
    return np.ascontiguousarray(raw.reshape(size, -1).T).view(code).reshape(shape)
