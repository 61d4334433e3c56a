"""Files to checked arrays and tables; the only place where units change."""

from __future__ import annotations

from .parts import find_parts
from .profiles import read_profiles
from .rasters import Raster, read_raster
from .samples import read_samples
from .stacks import read_stack
from .tables import read_table, require_columns, require_unique
from .units import conversion
from .vectors import read_mask

__all__ = [
    "Raster",
    "conversion",
    "find_parts",
    "read_mask",
    "read_profiles",
    "read_raster",
    "read_samples",
    "read_stack",
    "read_table",
    "require_columns",
    "require_unique",
]
