"""Atomic weights, and the citations of the two studies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ATOMIC_WEIGHTS: Final[Mapping[str, float]] = MappingProxyType({
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "Na": 22.98976928, "Mg": 24.305, "Al": 26.9815384, "Si": 28.085,
    "P": 30.973761998, "S": 32.06, "K": 39.0983, "Ca": 40.078, "Ti": 47.867, "V": 50.9415, "Cr": 51.9961,
    "Mn": 54.938043, "Fe": 55.845, "Co": 58.933194, "Ni": 58.6934, "Cu": 63.546, "Zn": 65.38, "Sr": 87.62,
    "Mo": 95.95, "Ba": 137.327, "Pb": 207.2, "Li": 6.94, "Be": 9.0121831, "B": 10.81, "Sc": 44.955907, "Ga": 69.723,
    "As": 74.921595, "Se": 78.971, "Rb": 85.4678, "Zr": 91.224, "Nb": 92.90637, "Ag": 107.8682, "Cd": 112.414,
    "Sn": 118.71, "Sb": 121.76, "Cs": 132.90545196, "La": 138.90547, "Ce": 140.116, "Hg": 200.592, "Tl": 204.38,
    "Bi": 208.9804, "Th": 232.0377, "U": 238.02891,
})  # fmt: skip
"""Standard atomic weights 2021 of the CIAAW (IUPAC), doi 10.1515/pac-2019-0603; the conventional value where an
interval is given (H, Li, B, C, N, O, Mg, Si, S, Tl, Pb)."""

SOLUM_STUDY: Final = (
    "Chen et al. 2026, a physically consistent soil thickness map of the Qinghai-Tibet Plateau, "
    "preprint essd-2025-809 (final: doi 10.5194/essd-18-3779-2026)"
)
SOLUM_DATASET: Final = "doi 10.6084/m9.figshare.30925358"
MICRONUTRIENT_STUDY: Final = "Huo et al. 2026, topsoil Fe, Mn, Zn and V of the Tibetan Plateau"
MICRONUTRIENT_DATASET: Final = "doi 10.11888/Terre.tpdc.303242"
