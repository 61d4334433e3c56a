"""Chemical index of alteration of samples: as a column, beside precipitation, and where it shares an element."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from tpsoil.covariates import chemical_index_of_alteration
from tpsoil.covariates.weathering import Basis, Correction
from tpsoil.errors import InputError, nearest_name, require_named
from tpsoil.micronutrients.checks import require_sites

INDEX: Final = "chemical_index_of_alteration"
SYMBOLS: Final = ("Al", "Ca", "Na", "K", "P")
"""Elements that the index is computed from."""
NAMES: Final = {"Al": "aluminium", "Ca": "calcium", "Na": "sodium", "K": "potassium", "P": "phosphorus"}
CALCIUM_OF_CARBONATE: Final = {"oxides": 56.077 / 100.086, "elements": 1e4 * 40.078 / 100.086}
"""CaO in mass %, or Ca in mg/kg, of one mass % of CaCO3."""


def alteration_of_samples(
    samples: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    basis: Basis = "elements",
    correction: Correction = "mclennan",
    carbonate: str | None = None,
    detection_limits: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Chemical index of alteration of each sample, corrected for carbonate and phosphate.

    Parameters
    ----------
    samples : DataFrame
        One row a sample. Not changed.
    columns : mapping of str to str
        Column of "Al", "Ca", "Na", "K" and, where there is one, "P".
    basis : {"elements", "oxides"}
        Elements in mg/kg, or Al2O3, CaO, Na2O, K2O and P2O5 in mass %.
    correction : {"mclennan", "phosphate", "none"}
        As in `tpsoil.covariates.chemical_index_of_alteration`.
    carbonate : str, optional
        Column of measured CaCO3, mass %. Its calcium is subtracted first; a content that becomes negative is 0, and
        the correction then applies to the rest.
    detection_limits : mapping of str to float, optional
        Of "Ca" and "Na", in the unit of the columns; where a measured content is below, the index is missing.

    Returns
    -------
    DataFrame
        `chemical_index_of_alteration`, 0 to 1, NaN where a content is missing or below detection; `alteration_status`
        (0 as asked, 1 no phosphorus, 2 below detection, 255 missing). Index of the samples.

    Raises
    ------
    InputError
        For missing columns, or contents that cannot be.

    References
    ----------
    Nesbitt and Young 1982, doi 10.1038/299715a0. McLennan 1993, doi 10.1086/648222.

    Examples
    --------
    >>> table = pd.DataFrame({"Al": [65000.0], "Ca": [20000.0], "Na": [14000.0], "K": [20000.0], "P": [600.0]})
    >>> index = alteration_of_samples(table, {symbol: symbol for symbol in table})
    >>> round(float(index["chemical_index_of_alteration"].iloc[0]), 6)
    0.582105
    """
    where = "alteration_of_samples"
    unknown = [symbol for symbol in columns if symbol not in SYMBOLS]
    lacking = [symbol for symbol in SYMBOLS[:4] if symbol not in columns]
    if unknown or lacking:
        raise InputError(
            f"{where}: columns have {sorted(columns)}, expected Al, Ca, Na, K and perhaps P"
            + (nearest_name(unknown[0], SYMBOLS) if unknown else f"; {', '.join(lacking)} is missing")
        )
    names = [*columns.values(), *([carbonate] if carbonate else [])]
    require_named(where, names, samples)
    contents = {symbol: _numbers(samples, name, where) for symbol, name in columns.items()}
    limits = {NAMES.get(symbol, symbol): limit for symbol, limit in (detection_limits or {}).items()}
    if carbonate is not None:
        share = _numbers(samples, carbonate, where)
        if (share < 0).any() or (share > 100).any():
            raise InputError(f"{where}: '{carbonate}' lies outside 0 to 100; carbonate is CaCO3 in mass %")
        # What was measured is below detection, not what carbonate leaves; a negative content stands for it.
        below = contents["Ca"] < limits.pop(NAMES["Ca"], 0.0)
        silicate = contents["Ca"] - CALCIUM_OF_CARBONATE[basis] * share
        contents["Ca"] = silicate.clip(lower=0).mask(below, -1.0)
    aluminium, calcium, sodium, potassium = (contents[symbol].to_numpy(dtype=np.float64) for symbol in SYMBOLS[:4])
    index, status = chemical_index_of_alteration(
        aluminium,
        calcium,
        sodium,
        potassium,
        contents["P"].to_numpy(dtype=np.float64) if "P" in contents else None,
        basis=basis,
        correction=correction,
        detection_limits=limits or None,
        status=True,
    )
    return pd.DataFrame(
        {INDEX: np.asarray(index, dtype=np.float64), "alteration_status": np.asarray(status)}, index=samples.index
    )


def alteration_and_precipitation(
    samples: pd.DataFrame, *, precipitation: str = "annual_precipitation", index: str = INDEX, site: str = "site"
) -> dict[str, float]:
    """Correlation of the index of alteration with precipitation, over site means.

    Parameters
    ----------
    samples : DataFrame
        One row a sample.
    precipitation, index : str
        Columns; precipitation in mm.
    site : str
        Column of the site; without it every row is one.

    Returns
    -------
    dict
        `n` sites, Pearson's `r` with `p`, Spearman's `rho`, and the line `intercept`, `slope` of the index on
        precipitation (per mm).

    Raises
    ------
    InputError
        For missing columns, rows without a site, or fewer than 3 sites with both.

    Examples
    --------
    >>> table = pd.DataFrame({"annual_precipitation": [100.0, 300, 700], INDEX: [0.5, 0.55, 0.65]})
    >>> round(alteration_and_precipitation(table)["slope"], 6)
    0.00025
    """
    from scipy import stats

    require_named("alteration_and_precipitation", (precipitation, index), samples)
    table = samples[[precipitation, index]].astype(np.float64)
    if site in samples:
        require_sites(samples[site], "alteration_and_precipitation")
        table = table.groupby(samples[site].to_numpy()).mean()
    table = table.dropna()
    if len(table) < 3 or table[precipitation].nunique() < 2:
        raise InputError(
            f"alteration_and_precipitation: {len(table)} sites have both values, expected 3 or more that differ"
        )
    line = stats.linregress(table[precipitation], table[index])
    rho = stats.spearmanr(table[precipitation], table[index]).statistic
    return {
        "n": len(table),
        "r": float(line.rvalue),
        "p": float(line.pvalue),
        "rho": float(rho),
        "intercept": float(line.intercept),
        "slope": float(line.slope),
    }


def shared_with_index(symbol: str, features: Any) -> str:
    """A warning where an element is predicted from the index of alteration that contains it, or "".

    Parameters
    ----------
    symbol : str
        The element, such as "K".
    features : iterable of str

    Returns
    -------
    str

    Examples
    --------
    >>> shared_with_index("Fe", [INDEX])
    ''
    >>> shared_with_index("K", [INDEX])[:45]
    'K: chemical_index_of_alteration is computed f'
    """
    if INDEX not in set(features) or symbol not in SYMBOLS:
        return ""
    return (
        f"{symbol}: {INDEX} is computed from {', '.join(SYMBOLS)}: the covariate contains the element, "
        "and scores and drivers are circular; leave it out of features for this element"
    )


def _numbers(samples: pd.DataFrame, name: str, where: str) -> pd.Series:
    values = pd.to_numeric(samples[name], errors="coerce")
    text = values.isna() & samples[name].notna()
    if text.any():
        raise InputError(
            f"{where}: '{name}' has text in {int(text.sum())} rows (first {samples[name][text].iloc[0]!r}); the index "
            "needs numbers: replace it, or leave the cell empty"
        )
    return values.astype(np.float64)
