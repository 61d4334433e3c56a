"""Files to checked arrays and tables, in the units of the catalogue."""

from __future__ import annotations

from .parts import find_parts
from .profiles import read_profiles
from .rasters import Raster, read_raster
from .samples import read_samples
from .stacks import read_stack
from .tables import read_table, require_columns, require_unique
from .vectors import read_mask

__all__ = [
    "Raster",
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
