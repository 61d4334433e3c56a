"""Colours of classes: the same for the same class of a layer in figures, on the page and in exported files.

References
----------
Okabe and Ito 2008, Color Universal Design.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

OKABE_ITO: Final = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#555555")
"""Eight colours distinguishable with every common kind of colour vision; the original's black is a dark grey here."""

MANY: Final = (
    "#0B3D2E", "#1B6E4B", "#4C9F70", "#8CC98F", "#C7E2A6", "#5B4A1F", "#94762F", "#C9A24B", "#EBD07A", "#F7EFC0",
    "#2B4C9B", "#F0A3C4", "#B03A2E", "#7E6BAA", "#B9E3F4", "#F2F2F2", "#A6A6A6", "#3C3C3C", "#E07A5F", "#3D8EB9",
)  # fmt: skip
"""For nine to twenty classes: families of hue, lightness steps inside a family."""

_CLASS_COLOURS: Final[Mapping[str, Mapping[int, str]]] = {
    "solum_status": {0: "#56B4E9", 1: "#555555", 2: "#D55E00", 3: "#F0E442"},
    "production_status": {0: "#56B4E9", 1: "#F0E442", 2: "#D55E00"},
    "dominant_process": {0: "#BFBFBF", 1: "#0072B2", 2: "#E69F00", 3: "#7A5230"},
    "applicability": {0: "#D55E00", 1: "#56B4E9"},
    "soil_mask": {0: "#BFBFBF", 1: "#94762F"},
    "land_cover": {
        0: "#3D6FB4", 1: "#0B3D2E", 2: "#1B6E4B", 3: "#4C7A3A", 4: "#6FA84F", 5: "#3F8F7A", 6: "#7A5230", 7: "#B58A4C",
        8: "#9DA83A", 9: "#CFC15A", 10: "#DCE8A0", 11: "#7FD1D6", 12: "#E69F00", 13: "#B03A2E", 14: "#F3C98B",
        15: "#FFFFFF", 16: "#B8B3AC",
    },
    "climate_zone": {1: "#009E73", 2: "#E69F00", 3: "#F0E442", 4: "#0072B2", 5: "#B9D9EB"},
    "slope_position": dict(
        zip(range(1, 7), ("#0072B2", "#56B4E9", "#F2F2F2", "#F0E442", "#E69F00", "#8C3A00"), strict=True)
    ),
}  # fmt: skip


def style_name(name: str) -> str:
    """The name whose style applies to a layer: `sd` for `zinc_sd`."""
    ends = {"_sd": "sd", "_dissimilarity": "dissimilarity_index", "_applicability": "applicability"}
    return next((style for end, style in ends.items() if name.endswith(end)), name)


def class_colours(name: str, codes: Sequence[int]) -> dict[int, str]:
    """A colour for each class; always the same one for the same class of a layer.

    Parameters
    ----------
    name : str
        The layer's name.
    codes : sequence of int
        All codes that the layer can have, not only those on the map, so that two maps use the same colours.

    Returns
    -------
    dict of int to str
        Hexadecimal colours.

    Examples
    --------
    >>> class_colours("zone", [1, 2])
    {1: '#E69F00', 2: '#56B4E9'}
    """
    fixed = _CLASS_COLOURS.get(style_name(name), {})
    if set(codes) <= set(fixed):
        return {code: fixed[code] for code in codes}
    ordered = sorted(set(codes))
    colours = OKABE_ITO if len(ordered) <= len(OKABE_ITO) else MANY
    return {code: colours[i % len(colours)] for i, code in enumerate(ordered)}
