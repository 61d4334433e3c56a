"""Values on import: missing ones become NaN, impossible ones are rejected with their likely cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tpsoil.errors import InputError, UnitsError, listed
from tpsoil.option_names import option, pass_option
from tpsoil.variables import Variable

Array = npt.NDArray[Any]

SENTINELS: Final = (-32768.0, -32767.0, -9999.0, -99999.0, -3000.0, -28672.0, 32767.0, 65535.0, 255.0)
ALWAYS_SENTINELS: Final = (-32768.0, -32767.0, -9999.0, -99999.0)
HUGE: Final = 1e30
"""-3.4e38 and 9.97e36 are the fill values of float formats; nothing on a map is as large."""


def mask(values: Array, fills: Sequence[float]) -> Array:
    """float64 copy of stored values, NaN in place of `fills`."""
    out = values.astype(np.float64)
    for fill in fills:
        if np.isnan(fill):
            continue
        if values.dtype.kind in "iub":
            if float(fill).is_integer():
                out[values == int(fill)] = np.nan
        elif abs(fill) > HUGE:
            # -3.4e38 typed by hand is not the float32 in the file.
            out[np.isclose(out, fill, rtol=1e-2, atol=0)] = np.nan
        else:
            out[values == values.dtype.type(fill)] = np.nan
    return out


def check_range(values: Array, spec: Variable, origin: str, notes: tuple[tuple[str, str], ...]) -> None:
    """Reject values that the catalogue's range excludes; NaN passes.

    Raises
    ------
    UnitsError
        Naming the range of the values, and kelvin, tenths or an undeclared nodata value where it looks like one.
    """
    with np.errstate(invalid="ignore"):
        slack = 1e-6 * max(abs(spec.low), abs(spec.high), 1.0) if np.isfinite([spec.low, spec.high]).all() else 1e-6
        wrong = (values < spec.low - slack) | (values > spec.high + slack)
        wrong |= np.isinf(values) | (np.abs(values) > HUGE) | np.isin(values, _suspects(spec))
    if not wrong.any():
        return
    excluded, low, high = values[wrong], float(np.nanmin(values)), float(np.nanmax(values))
    extreme = float(excluded[np.argmax(np.abs(excluded))])
    stated = dict(notes).get("source_units", spec.units)
    text = f"{spec.name}: {origin} has values {low:.6g}..{high:.6g} {spec.units} (units: {stated}), expected " + (
        f"{_side(spec.low, '-inf')}..{_side(spec.high, 'inf')}"
    )
    repeated = int((excluded == extreme).sum())
    if extreme in SENTINELS or abs(extreme) > HUGE:
        raise UnitsError(
            f"{text}; {extreme:.8g} in {repeated} cells looks like a nodata value that the file does not declare: "
            f"{pass_option('nodata', extreme)}"
        )
    if spec.units == "degC" and low > 150 and high < 350:
        raise UnitsError(f"{text}; they look like kelvin: {pass_option('units', 'K')}")
    if spec.units == "degC" and max(abs(low), abs(high)) < 10 * max(abs(spec.low), abs(spec.high)):
        raise UnitsError(f"{text}; they look like tenths of a degree: {pass_option('units', '0.1 degC')}")
    fix = f"{pass_option('units')}, {option('scale')} and {option('offset')}, or {option('nodata')}"
    raise UnitsError(f"{text} ({int(wrong.sum())} cells outside); {fix}")


def _suspects(spec: Variable) -> list[float]:
    """Well-known fill values, where the catalogue's range does not exclude them anyway."""
    return [v for v in ALWAYS_SENTINELS if not v >= spec.low] if not np.isfinite(spec.low) else []


def _side(value: float, word: str) -> str:
    return f"{value:g}" if np.isfinite(value) else word


def check_classes(values: Array, spec: Variable) -> Array:
    """Class codes in their stored type, the fill code in place of NaN.

    Raises
    ------
    InputError
        For numbers that are no codes of the type, and codes that no flag names.
    """
    missing = np.isnan(values)
    valid = values[~missing]
    codes = np.unique(valid)
    limits = np.iinfo(spec.dtype)
    broken = codes[(codes != np.rint(codes)) | (codes < limits.min) | (codes > limits.max)]
    if broken.size:
        raise InputError(
            f"{spec.name}: class codes {_few(broken)} do not fit {spec.dtype}; expected integers "
            f"{limits.min}..{limits.max}, is this a continuous raster, or a nodata= not declared?"
        )
    named = [code for code in sorted(spec.flags) if code != spec.fill]
    unknown = codes[~np.isin(codes, named)] if named else codes[codes == spec.fill]
    if unknown.size:
        expected = f"expected {_few(np.array(named))}; " if named else ""
        raise InputError(
            f"{spec.name}: codes {_few(unknown)} are not classes ({expected}{spec.fill} is reserved for missing); "
            f"{pass_option('nodata', float(unknown[0]))} if they mean missing, or flags= with their names"
        )
    return np.where(missing, spec.fill, values).astype(spec.dtype)


def _few(codes: Array) -> str:
    return listed(f"{code:g}" for code in codes)
