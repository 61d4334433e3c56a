"""Scale, offset and nodata: what the caller gives against what a file states."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tpsoil.errors import InputError
from tpsoil.option_names import option, pass_option

from .part import ALL_NUMBERS, MissingRule, Part


def unpacked(
    parts: Sequence[Part], scale: float | None, offset: float | None, nodata: Any, name: str
) -> tuple[list[Part], dict[str, str]]:
    """Parts whose stored numbers are read as the caller declares, else as their files declare, and notes on it.

    The rule of GDAL's tools, for every kind of file: each of scale, offset and nodata that is given replaces the
    file's; all three belong to the stored numbers, before they are scaled.
    """
    fills = None if nodata is None else _declared_fills(nodata, name)
    for key, value in (("scale", scale), ("offset", offset)):
        if value is not None and not (np.isfinite(value) and (key == "offset" or value != 0)):
            raise InputError(f"{name}: {key}={value!r}, expected a finite number{' other than 0' * (key == 'scale')}")
    result, notes = [], dict[str, str]()
    for part in parts:
        if part.unpacked and not (scale is None and offset is None and fills is None):
            raise InputError(
                f"{name}: the array was scaled when its file was opened, so scale=, offset= and nodata= are unclear; "
                "pass the path of the file, or the array without its .encoding"
            )
        stated = part.missing
        rule = MissingRule(
            tuple(fill for fill in (stated.nodata if fills is None else fills) if not np.isnan(fill)),
            ALL_NUMBERS if isinstance(nodata, str) else stated.valid,
            stated.unsigned,
        )
        changed = replace(
            part,
            missing=rule,
            scale=part.scale if scale is None else float(scale),
            offset=part.offset if offset is None else float(offset),
            masked=part.masked and fills is None,
        )
        if not np.isfinite([changed.scale, changed.offset]).all() or changed.scale == 0:
            raise InputError(
                f"{name}: {part.name} states scale {changed.scale:g} and offset {changed.offset:g}, which leave no "
                f"values; {pass_option('scale')} and {option('offset')} in their place"
            )
        if part.problem:
            warnings.warn(f"{name}: {part.problem}", stacklevel=4)
            notes["source_problem"] = part.problem
        result.append(changed)
    first = result[0]
    if scale is not None or offset is not None:
        notes["source_scale_offset"] = f"{first.scale:g}, {first.offset:g} (declared)"
    elif (first.scale, first.offset) != (1.0, 0.0):
        notes["source_scale_offset"] = f"{first.scale:g}, {first.offset:g} (stated by the file)"
    if missing := sorted({fill for part in result for fill in part.missing.nodata}):
        notes["source_nodata"] = ", ".join(f"{fill:g}" for fill in missing)
    if any(part.masked for part in result):
        notes["source_mask"] = "mask or alpha band of the file"
    if first.missing.range_note:
        notes["source_valid_range"] = first.missing.range_note
    return result, notes


def _declared_fills(nodata: Any, name: str) -> tuple[float, ...]:
    if isinstance(nodata, str):
        if nodata != "none":
            raise InputError(f"{name}: nodata={nodata!r}, expected a number, numbers, or 'none'")
        return ()
    try:
        return tuple(float(fill) for fill in np.atleast_1d(np.asarray(nodata, dtype=np.float64)))
    except (TypeError, ValueError):
        raise InputError(f"{name}: nodata={nodata!r}, expected a number, numbers, or 'none'") from None
