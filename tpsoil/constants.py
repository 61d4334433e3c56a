"""Physical constants and the two studies' identities, each with its source."""

from __future__ import annotations

from typing import Final

CELSIUS_ZERO_K: Final = 273.15
"""0 degC in kelvin (exact by definition)."""

STANDARD_GRAVITY: Final = 9.80665
"""m s-2 (exact by definition, CGPM 1901)."""

TONNE_PER_HECTARE_KG_M2: Final = 0.1
"""1 t ha-1 = 0.1 kg m-2 (exact)."""

SOLUM_STUDY: Final = (
    "Chen et al. 2026, a physically consistent soil thickness map of the Qinghai-Tibet Plateau, "
    "preprint essd-2025-809 (final: doi 10.5194/essd-18-3779-2026)"
)
SOLUM_DATASET: Final = "doi 10.6084/m9.figshare.30925358"
MICRONUTRIENT_STUDY: Final = "Huo et al. 2026, topsoil Fe, Mn, Zn and V of the Tibetan Plateau"
MICRONUTRIENT_DATASET: Final = "doi 10.11888/Terre.tpdc.303242"
