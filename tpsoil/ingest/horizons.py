"""Horizon designations: the master horizon of a name as surveys write it."""

from __future__ import annotations

import re
from typing import Any, Final

IN_SOLUM: Final = frozenset("OHLFAEBVGKP")
"""Organic and litter (O, H, L, F), mineral topsoil (A, E, V, P: plough pan), subsoil (B, and the older G and K)."""
BELOW_SOLUM: Final = frozenset("CRDMW")
"""Parent material, rock, root-limiting layers of human origin, water."""
UNKNOWN: Final = "?"
"""A text that is no designation."""

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
