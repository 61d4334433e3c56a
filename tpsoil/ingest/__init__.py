"""Files to checked arrays and tables, in the units of the catalogue."""

from __future__ import annotations

from .parts import find_parts
from .profile_layouts import layout_table
from .profiles import read_profiles
from .rasters import Raster, read_raster
from .sample_dates import read_dates
from .sample_depths import samples_at_depth
from .samples import read_samples
from .stacks import read_stack
from .tables import read_table, require_columns, require_unique
from .vectors import read_mask

__all__ = [
    "Raster",
    "find_parts",
    "layout_table",
    "read_dates",
    "read_mask",
    "read_profiles",
    "read_raster",
    "read_samples",
    "read_stack",
    "read_table",
    "require_columns",
    "require_unique",
    "samples_at_depth",
]
