"""Files to checked arrays and tables; the only place where units change."""
