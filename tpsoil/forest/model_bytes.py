"""Models of maps as bytes: arrays and plain values in numpy's npz. Nothing in them is executed."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tpsoil.errors import CorruptStoreError, InputError, TpsoilError
from tpsoil.forest.encoding import Encoding
from tpsoil.forest.features import Feature

PLAIN: Final = "plain_"
"""Name of the array that has the plain values."""


def pack(plain: Mapping[str, Any], parts: Mapping[str, Any]) -> bytes:
    """Plain values, and dataclasses of arrays and plain values, as bytes.

    Parameters
    ----------
    plain : mapping
        Values that JSON has.
    parts : mapping of str to dataclass or None
        Their field `responses` is left out: it is a part of its own.

    Returns
    -------
    bytes
        Equal for equal content.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    record: dict[str, Any] = dict(plain)
    for name, part in parts.items():
        record[name] = None if part is None else {}
        for item in fields(part) if part is not None else ():
            content = getattr(part, item.name)
            if isinstance(content, np.ndarray):
                arrays[f"{name}.{item.name}"] = content
            elif item.name != "responses":
                record[name][item.name] = content
    return stored_bytes(record, arrays)


def stored_bytes(plain: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Plain values and arrays as numpy's npz without pickled objects; equal for equal content."""
    text = json.dumps(plain, sort_keys=True, default=_plain_number)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{PLAIN: np.frombuffer(text.encode(), dtype=np.uint8)}, **arrays)
    return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class Unpacked:
    """What `pack` wrote.

    Parameters
    ----------
    plain : mapping
    arrays : mapping of str to ndarray
    """

    plain: Mapping[str, Any]
    arrays: Mapping[str, npt.NDArray[Any]]

    def part(self, name: str, kind: Any) -> Any:
        """One dataclass of its type; None where there is none."""
        if self.plain.get(name) is None:
            return None
        values = {key: _tuples(value) for key, value in self.plain[name].items()}
        own = {key.split(".", 1)[1]: array for key, array in self.arrays.items() if key.startswith(f"{name}.")}
        return kind(**values, **own)


def unpack(data: bytes, expected: str = "a map model; write them with dump()") -> Unpacked:
    """Read what `pack` or `stored_bytes` wrote.

    Parameters
    ----------
    data : bytes
    expected : str
        What the bytes should be and how to get them, for the message.

    Raises
    ------
    InputError
        For other bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as content:
            if sum(member.file_size for member in content.infolist()) > len(data):  # `pack` does not compress
                raise InputError("forest: these bytes unpack to more than they are; write them with dump()")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            plain = json.loads(stored[PLAIN].tobytes())
            arrays = {name: stored[name] for name in stored.files if name != PLAIN}
        if not isinstance(plain, dict):
            raise ValueError("no mapping")
    except (ValueError, KeyError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"forest: these bytes are not {expected}") from error
    return Unpacked(plain, arrays)


@contextlib.contextmanager
def reading_model() -> Iterator[None]:
    """Turns an error about the content of a model's bytes into one that names it.

    Raises
    ------
    CorruptStoreError
        For parts that are missing or of another kind.
    """
    try:
        yield
    except TpsoilError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CorruptStoreError(
            f"map model: a part is missing or of another kind ({type(error).__name__}: {error}); train it again"
        ) from error


def encoding_of(plain: Mapping[str, Any]) -> Encoding:
    """An encoding from its fields."""
    features = tuple(Feature(**{key: _tuples(value) for key, value in item.items()}) for item in plain["features"])
    return Encoding(features, plain["style"])


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} has no plain form")


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
