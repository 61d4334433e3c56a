"""A compiled forest as a file of plain arrays: numpy's npz, with the names as JSON. Nothing in it is executed."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tpsoil.errors import AccessError, CorruptStoreError, MissingInputError

from .checks import check_forest
from .quantiles import Responses

if TYPE_CHECKING:
    from .compiled import CompiledForest

FORMAT: Final = "tpsoil forest 1"
ARRAYS: Final = ("root", "left", "right", "feature", "threshold", "missing_left", "value")
"""Of a compiled forest, in the order of its digest."""
RESPONSES: Final = ("value", "begin", "member")
"""Of its training responses."""
UNREADABLE: Final = (
    KeyError, ValueError, TypeError, AttributeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, OSError,
)  # fmt: skip
"""What other bytes raise; MemoryError where a header states an array that is larger than any memory."""


def save_forest(forest: CompiledForest, path: Path) -> None:
    """Write a forest: complete or not at all.

    Parameters
    ----------
    forest : CompiledForest
    path : Path
        Replaced where it exists.

    Raises
    ------
    AccessError
        Where the file cannot be written.
    """
    arrays: dict[str, Any] = {name: getattr(forest, name) for name in ARRAYS}
    if forest.responses is not None:
        arrays |= {f"responses_{name}": getattr(forest.responses, name) for name in RESPONSES}
    header = {
        "format": FORMAT,
        "digest": forest.digest,
        "features": list(forest.features),
        "targets": list(forest.targets),
        "units": forest.units,
        "accepts_missing": forest.accepts_missing,
        "categories": {name: list(levels) for name, levels in forest.categories.items()},
        "feature_units": dict(forest.feature_units),
        "weighted": None if forest.responses is None else forest.responses.weighted,
    }
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise AccessError(f"{path}: the forest cannot be written: {error}; choose another place") from error


def load_forest(path: Path, compiled: type[CompiledForest]) -> CompiledForest:
    """Read a forest and check its digest.

    Parameters
    ----------
    path : Path
    compiled : type
        `CompiledForest`, which imports this module.

    Returns
    -------
    CompiledForest

    Raises
    ------
    MissingInputError
        Where there is no such file.
    CorruptStoreError
        Where the file is not a forest, its content does not match its digest, or its nodes are no trees.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file; expected a forest written by CompiledForest.save")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = json.loads(arrays["header"].tobytes().decode())
        if header["format"] != FORMAT:
            raise CorruptStoreError(f"{path}: format '{header['format']}', expected '{FORMAT}'; save the forest again")
        responses = None
        if header["weighted"] is not None:
            value, begin, member = (arrays[f"responses_{name}"] for name in RESPONSES)
            responses = Responses(value, begin, member, bool(header["weighted"]))
        forest = compiled(
            **{name: arrays[name] for name in ARRAYS},
            features=tuple(header["features"]),
            targets=tuple(header["targets"]),
            units=header["units"],
            accepts_missing=bool(header["accepts_missing"]),
            categories={name: tuple(levels) for name, levels in header["categories"].items()},
            feature_units=header["feature_units"],
            responses=responses,
        )
    except UNREADABLE as error:
        if isinstance(error, CorruptStoreError):
            raise
        raise CorruptStoreError(f"{path}: not a forest that can be read ({error}); save it again") from error
    if forest.digest != header["digest"]:
        raise CorruptStoreError(f"{path}: the content does not match its digest; save the forest again")
    check_forest(forest, str(path))
    return forest
