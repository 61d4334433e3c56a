"""What of `[elements]` decides the maps of one element, and what its tables alone."""

from __future__ import annotations

from typing import Any, Final

from .element_options import ElementsTable

REPORTED: Final = (
    "drivers", "driver_repeats", "driver_groups", "effects", "dependence", "bands", "compare", "classes", "group_test",
    "ranges", "representation", "published", "extra_features", "uncalibrated_maps", "citation",
)  # fmt: skip
"""Keys that decide tables and no map."""
CALIBRATED: Final = (
    "interval", "conformal", "kriging", "extra_layers", "icp", "pairs", "calibration", "variance_ratio",
    "calibration_error", "feature_selection", "selection_trees",
)  # fmt: skip
"""Keys that decide nothing of a map before calibration, beside those of its tables."""

NO_COMPOSITION: Final = (*REPORTED, "icp", "pairs", "calibration", "variance_ratio", "calibration_error", "screen",
                         "extra_layers", "conformal", "kriging", "cia")  # fmt: skip
"""Keys without effect on the maps of a composition."""


def element_table(table: ElementsTable, symbol: str) -> ElementsTable:
    """The table of the recipe without the entries of other elements.

    Parameters
    ----------
    table : ElementsTable
    symbol : str

    Returns
    -------
    ElementsTable
        `elements` stays whole: it names the columns, and which element is the first.
    """
    names = {symbol}
    changed: dict[str, Any] = {
        key: {name: value for name, value in getattr(table, key).items() if name in names}
        for key in ("limits", "icp", "properties")
    }
    changed["composition"] = None
    if isinstance(table.units, dict):
        changed["units"] = {name: unit for name, unit in table.units.items() if name in names} or None
    if table.pairs is not None:
        own = {name: columns for name, columns in table.pairs.columns.items() if name == symbol}
        changed["pairs"] = table.pairs.model_copy(update={"columns": own}) if own else None
    narrowed = table.model_copy(update=changed)
    if symbol in narrowed.calibrated:
        return narrowed
    return _with_defaults(narrowed, ("calibration", "variance_ratio", "calibration_error"))


def mapped_table(table: ElementsTable, symbol: str) -> ElementsTable:
    """What of the recipe's table decides the maps of one element."""
    return _with_defaults(element_table(table, symbol), REPORTED)


def uncalibrated_table(table: ElementsTable, symbol: str) -> ElementsTable:
    """What of the recipe's table decides the map of one element before calibration."""
    return _with_defaults(element_table(table, symbol), (*REPORTED, *CALIBRATED))


def composition_table(table: ElementsTable) -> ElementsTable:
    """What of the recipe's table decides the composition."""
    columns = {} if table.composition is None else table.composition.columns
    neutral = {name: type(table).model_fields[name].get_default(call_default_factory=True) for name in NO_COMPOSITION}
    for key in ("limits", "properties"):
        neutral[key] = {name: value for name, value in getattr(table, key).items() if name in columns}
    if isinstance(table.units, dict):
        neutral["units"] = {name: unit for name, unit in table.units.items() if name in columns} or None
    return table.model_copy(update={**neutral, "elements": dict(columns)})


def _with_defaults(table: ElementsTable, names: tuple[str, ...]) -> ElementsTable:
    fields = type(table).model_fields
    return table.model_copy(update={name: fields[name].get_default(call_default_factory=True) for name in names})
