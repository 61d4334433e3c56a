"""Five groups of covariates, for their joint importance, and the range of covariates by class of land."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tpsoil.covariate_themes import COVARIATE_GROUPS
from tpsoil.errors import InputError, nearest_name, require_named


def covariate_groups(
    features: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[str]]:
    """Features by group, for `importance(sets=...)`.

    Parameters
    ----------
    features : sequence of str
        Of the forest.
    groups : mapping of str to sequence of str, optional
        Default: climate, terrain, vegetation, soil and weathering (`COVARIATE_GROUPS`), and "other" for features of
        another name.

    Returns
    -------
    dict of str to list of str
        Groups with a feature; every feature is in one group at most.

    Raises
    ------
    InputError
        For groups that name an unknown feature or share one.

    Examples
    --------
    >>> covariate_groups(["slope", "ndvi", "elevation"])
    {'terrain': ['slope', 'elevation'], 'vegetation': ['ndvi']}
    """
    if groups is None:
        named = {name: [f for f in features if f in members] for name, members in COVARIATE_GROUPS.items()}
        named["other"] = [f for f in features if not any(f in members for members in COVARIATE_GROUPS.values())]
        return {name: members for name, members in named.items() if members}
    seen: dict[str, str] = {}
    for group, members in groups.items():
        for name in members:
            if name not in features:
                raise InputError(
                    f"covariate_groups: '{group}' names '{name}', no feature{nearest_name(name, features)}"
                )
            if name in seen:
                raise InputError(f"covariate_groups: '{name}' is in '{seen[name]}' and '{group}'; name it once")
            seen[name] = group
    return {name: list(members) for name, members in groups.items() if members}


def class_ranges(
    samples: pd.DataFrame, group: str, columns: Sequence[str], *, site: str | None = "site"
) -> pd.DataFrame:
    """Number of samples and sites of each class, and its range of some covariates.

    Parameters
    ----------
    samples : DataFrame
        One row a sample.
    group : str
        Column of the class, such as biome.
    columns : sequence of str
        Numbers, such as elevation.
    site : str or None
        Column of the site; None, or a table without it: every row is a site.

    Returns
    -------
    DataFrame
        Index: class, that with the most samples first. `samples`, `sites`, and for each column its minimum and
        maximum over sites, `NAME_min` and `NAME_max`, in its own unit.

    Raises
    ------
    InputError
        For missing columns.

    Examples
    --------
    >>> table = pd.DataFrame({"site": [1, 1, 2], "biome": "steppe", "elevation": [4000.0, 4000, 4500]})
    >>> class_ranges(table, "biome", ["elevation"]).values.tolist()
    [[3.0, 2.0, 4000.0, 4500.0]]
    """
    require_named("class_ranges", (group, *columns), samples)
    table = samples.dropna(subset=[group])
    unit = table[site] if site is not None and site in table else pd.Series(np.arange(len(table)), index=table.index)
    grouped = table.groupby(group, observed=True)
    ranges = pd.DataFrame({"samples": grouped.size(), "sites": unit.groupby(table[group], observed=True).nunique()})
    for name in columns:
        ranges[f"{name}_min"], ranges[f"{name}_max"] = grouped[name].min(), grouped[name].max()
    ranges.index.name = "class"
    return ranges.sort_values("samples", ascending=False, kind="stable")
