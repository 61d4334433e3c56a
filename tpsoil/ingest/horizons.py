"""Horizons: the master horizon of a designation as surveys write it, organic horizons, and the solum of a pit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

IN_SOLUM: Final = frozenset("OHLFAEBVGKP")
"""Organic and litter (O, H, L, F), mineral topsoil (A, E, V, P: plough pan), subsoil (B, and the older G and K)."""
BELOW_SOLUM: Final = frozenset("CRDMW")
"""Parent material, rock, root-limiting layers of human origin, water."""
UNKNOWN: Final = "?"
"""A text that is no designation."""

SURFACE_M: Final = 0.05
"""A first horizon that begins deeper leaves the surface undescribed."""
ORGANIC: Final = frozenset("OLFH")
"""Master letters of horizons that older surveys measure upward from the mineral surface."""
GAP_M: Final = 0.02
"""Gaps and overlaps between horizons up to this are slips of the pen."""

NOT_GIVEN: Final = frozenset({"", "-", "--", ".", "?", "na", "n/a", "nan", "none", "null", "no data", "nodata"})
NOT_GIVEN_WORDS: Final = frozenset({"unknown", "missing", "not described", "not recorded", "not available"})

# Lithological discontinuities are Arabic (2C) or, in older surveys, Roman numerals (IIC) before the master letter.
_DISCONTINUITY: Final = re.compile(r"^[^A-Za-z]*(?:(?:III|II|IV|VI|V|I)(?=\s*[A-Z]))?")
# Master letters, then suffixes. Three and more of these never include a, e or o: such a text is a word ("Rock").
_MASTER: Final = re.compile(r"^([A-Z])[A-Z]{0,2}(?:[a-z]{0,2}|[b-df-np-z]{3,5})[0-9']*$")


def master_horizon(designation: Any) -> str:
    """The first master letter of a designation.

    Parameters
    ----------
    designation : str or missing
        Such as "Bw", "2C", "IIC", "ap", "A/B", "BC1".

    Returns
    -------
    str
        One capital letter; "" where none is given; `UNKNOWN` for a text that is no designation.

    Notes
    -----
    Letters by the FAO Guidelines for soil description (2006) and the USDA Field book (2012), with the letters of older
    surveys. Written all in lower case, the first letter is the master.

    Examples
    --------
    >>> [master_horizon(name) for name in ("Bw", "2C", "IIC", "ap", "A/B", "No data", "Rock", None)]
    ['B', 'C', 'C', 'A', 'A', '', '?', '']
    """
    text = designation.strip() if isinstance(designation, str) else ""
    if text.lower() in NOT_GIVEN | NOT_GIVEN_WORDS:
        return ""
    first = re.split(r"[/&+,;()\s-]", _DISCONTINUITY.sub("", text).strip(), maxsplit=1)[0]
    if first.islower():
        first = first[0].upper() + first[1:]
    match = _MASTER.match(first)
    letter = match.group(1) if match else ""
    return letter if letter in IN_SOLUM | BELOW_SOLUM else UNKNOWN


def downward(
    depths: npt.NDArray[np.float64], rows: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """Tops and bottoms (2, n) of a pit's horizons and their rows in the order of depth, from depths (n, 2)."""
    order = np.lexsort((depths[:, 1], depths[:, 0]))
    return depths[order].T, rows[order]


def organic_upward(tops: npt.NDArray[np.float64], bottoms: npt.NDArray[np.float64], masters: Sequence[str]) -> float:
    """Thickness of organic horizons above the zero of a pit, m: measured upward (5 to 0), or negative (-5 to 0)."""
    organic = np.array([letter in ORGANIC for letter in masters], bool)
    if organic.size != tops.size or not organic.any():
        return 0.0
    upward = organic & (tops > bottoms) & (bottoms >= 0)
    negative = organic & (tops < bottoms) & (tops < 0)
    return float(max([*tops[upward], *(-tops[negative])], default=0.0))


def from_the_top(
    tops: npt.NDArray[np.float64], bottoms: npt.NDArray[np.float64], upward: float
) -> npt.NDArray[np.float64]:
    """Depths (n, 2) of a pit below the top of its organic horizons."""
    sign = np.where(tops > bottoms, -1.0, 1.0)
    return upward + np.column_stack([sign * tops, sign * bottoms])


def solum_of(tops: Any, bottoms: Any, masters: Sequence[str]) -> dict[str, Any]:
    """Thickness of one profile whose horizons are sorted by depth."""
    result: dict[str, Any] = {"solum_thickness": np.nan, "censored": False, "basis": "designations", "problem": ""}
    if not any(masters):
        result["basis"] = "depths"
        masters = [""] * len(tops)
    below = next((i for i, letter in enumerate(masters) if letter in BELOW_SOLUM), None)
    # The bottom of what lies below the solum is often not reached ("R, 102+"), and is not needed.
    if np.isnan(tops).any() or np.isnan(bottoms[:below]).any():
        result["problem"] = "a horizon has no depth"
    elif (bottoms <= tops).any() or (tops < 0).any():
        result["problem"] = "a horizon's bottom is not below its top"
    elif tops[0] > SURFACE_M:
        result["problem"] = "no horizon at the surface"
    elif (np.abs(tops[1:] - bottoms[:-1]) > GAP_M).any():
        result["problem"] = "horizons overlap or leave a gap"
    elif result["basis"] == "designations" and "" in masters[:below]:
        result["problem"] = "a horizon has no designation"
    elif UNKNOWN in masters[:below]:
        result["problem"] = "a designation is not known"
    if result["problem"]:
        return result
    if below is not None:
        result["solum_thickness"] = float(tops[below])
        if tops[below] == 0:
            result["problem"] = "no solum: the first horizon is C or rock"
    else:
        result["solum_thickness"] = float(bottoms[-1])
        result["censored"] = result["basis"] == "designations"
    return result
