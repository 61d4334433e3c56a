"""Calibrations in one JSON file: human-readable, exact to the last bit, strict JSON (NaN is null)."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from tpsoil.errors import AccessError, CorruptStoreError, MissingInputError

from .ensembles import Ensemble
from .parameters import SolumParameters

FORMAT: Final = "tpsoil solum calibration 1"
TABLES: Final = ("scores", "spread", "directions", "predictions", "starts", "traces", "excluded", "validation")
ADDED: Final = ("validation",)
"""Tables that files of earlier versions do not have."""


def calibration_bytes(calibration: object) -> bytes:
    """A `Calibration` as strict JSON; equal calibrations give equal bytes."""
    fields = vars(calibration)
    content: dict[str, Any] = {
        "format": FORMAT,
        "settings": dict(fields["settings"]),
        "parameters": {str(zone): values.as_dict() for zone, values in fields["parameters"].items()},
        "ensembles": {
            str(zone): {name: getattr(item, name).tolist() for name in ("members", "sd", "low", "high")}
            for zone, item in fields["ensembles"].items()
        },
    }
    for name in TABLES:
        table: pd.DataFrame = fields[name]
        content[name] = {
            "columns": list(map(str, table.columns)),
            "dtypes": [str(dtype) for dtype in table.dtypes],
            "rows": [[_plain(value) for value in row] for row in table.itertuples(index=False, name=None)],
        }
    return json.dumps(content, indent=1, allow_nan=False).encode()


def write_calibration(calibration: object, path: str | os.PathLike[str]) -> None:
    """Write a calibration.

    Parameters
    ----------
    calibration : Calibration
    path : path
        A `.json` file; an existing one is replaced only when the new one is complete.

    Raises
    ------
    AccessError
        For a location that cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".new")
        partial.write_bytes(calibration_bytes(calibration))
        partial.replace(target)
    except OSError as error:
        raise AccessError(f"calibration {target} cannot be written: {error.strerror or error}") from error


def read_archive(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a calibration's file.

    Raises
    ------
    MissingInputError
        For a missing file.
    """
    source = Path(path)
    if not source.is_file():
        raise MissingInputError(f"calibration {source} does not exist")
    return source.read_bytes()


def parse_archive(data: bytes, where: str) -> dict[str, Any]:
    """The fields of a calibration written by `calibration_bytes`.

    Raises
    ------
    CorruptStoreError
        For bytes that are not a calibration.
    """
    try:
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
        ensembles = {
            int(zone): Ensemble(**{name: np.array(value, dtype=float) for name, value in item.items()})
            for zone, item in content["ensembles"].items()
        }
        parameters = {int(zone): SolumParameters(**values) for zone, values in content["parameters"].items()}
        tables = {name: _table(content[name]) for name in TABLES if name in content or name not in ADDED}
        return {"parameters": parameters, "ensembles": ensembles, "settings": content["settings"], **tables}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptStoreError(f"{where} is not a tpsoil solum calibration: {error}; calibrate again") from error


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(stored: Mapping[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame(stored["rows"], columns=stored["columns"])
    return table.astype(dict(zip(stored["columns"], stored["dtypes"])))
