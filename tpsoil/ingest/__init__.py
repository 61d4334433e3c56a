"""Files to checked arrays and tables; the only place where units change."""

from __future__ import annotations

from .tables import check_degrees, position_columns, read_table, require_columns, require_unique

__all__ = ["check_degrees", "position_columns", "read_table", "require_columns", "require_unique"]
