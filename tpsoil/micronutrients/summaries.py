"""Summaries of sites and elements: means, spreads, censored populations, and representativeness of the sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name, require_named
from tpsoil.micronutrients.checks import require_sites
from tpsoil.micronutrients.screening import detected_values, require_tidy

Floats = npt.NDArray[np.float64]


def summarise_sites(samples: pd.DataFrame, *, keep: Sequence[str] | None = None, lowest: float = 0.0) -> pd.DataFrame:
    """Mean of the replicates of each site and element.

    Parameters
    ----------
    samples : DataFrame
        Tidy: `site`, `element`, `value`, mg/kg; optional `censored`. Not changed.
    keep : sequence of str, optional
        Columns of the site to include: the mean of numbers, the first of anything else. Default: all.
    lowest : float
        Values below it are rejected; minus infinity for a property that may be negative.

    Returns
    -------
    DataFrame
        `site`, `element`, `mean`, `sd` (ddof 1; NaN for one replicate), `cv` (%; NaN where the mean is not positive),
        `n` replicates with a value, `n_censored`, `n_missing`, then the other columns. A site whose replicates are all
        missing is included, with mean NaN and n 0. `.attrs["empty_sites"]` counts those by element.

    Raises
    ------
    InputError
        For missing columns, rows without a site, or negative values.

    Examples
    --------
    >>> table = pd.DataFrame({"site": ["a", "a", "b"], "element": "Zn", "value": [20.0, 30.0, 41.0]})
    >>> summarise_sites(table)[["site", "mean", "n"]].values.tolist()
    [['a', 25.0, 2], ['b', 41.0, 1]]
    """
    require_tidy(samples, "summarise_sites")
    require_sites(samples["site"], "summarise_sites")
    negative = samples["value"] < lowest
    if negative.any():
        which = ", ".join(sorted(samples.loc[negative, "element"].astype(str).unique()))
        raise InputError(
            f"summarise_sites: {int(negative.sum())} values of {which} are "
            f"{'negative' if lowest == 0 else f'below {lowest:g}'}; censor or correct them"
        )
    flagged_samples = samples.assign(
        value=detected_values(samples),
        censored=samples["censored"].astype(bool) if "censored" in samples else False,
    )
    keys = ["site", "element"]
    groups = flagged_samples.groupby(keys, sort=False, observed=True)
    result = groups["value"].agg(mean="mean", sd="std", n="count")
    result["cv"] = (100 * result["sd"] / result["mean"]).where(result["mean"] > 0)
    result["n_censored"] = groups["censored"].sum().astype(int)
    result["n_missing"] = groups.size() - result["n"] - result["n_censored"]
    reserved = {*keys, "value", "replicate", "detection_limit", "censored"}
    others = [c for c in samples.columns if c not in reserved] if keep is None else list(keep)
    require_named("summarise_sites: keep", others, samples)
    taken = [name for name in others if name in result]
    if taken:
        raise InputError(
            f"summarise_sites: column '{taken[0]}' has the name of a result; rename it, or leave it out of keep"
        )
    for column in others:
        values = samples[column]
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        result[column] = groups[column].mean() if numeric else groups[column].first()
    table = result.reset_index()
    empty = table[table["n"] == 0].groupby("element", observed=True).size()
    table.attrs["empty_sites"] = {str(k): int(v) for k, v in empty.items()}
    return table[["site", "element", "mean", "sd", "cv", "n", "n_censored", "n_missing", *others]]


def summarise_elements(sites: pd.DataFrame) -> pd.DataFrame:
    """Mean, spread and range of each element over sites.

    Parameters
    ----------
    sites : DataFrame
        From `summarise_sites`.

    Returns
    -------
    DataFrame
        Index: element. `sites` with a value, `samples`, `mean`, `sd` (ddof 1), `cv` (%), `median`, `low`, `high`,
        mg/kg; `within_sd`, root mean square of the replicates' sd within sites.

    Examples
    --------
    >>> table = pd.DataFrame({"site": ["a", "b"], "element": "Zn", "value": [20.0, 30.0]})
    >>> round(float(summarise_elements(summarise_sites(table)).loc["Zn", "cv"]), 2)
    28.28
    """
    rows: dict[str, dict[str, Any]] = {}
    for element, part in sites.groupby("element", sort=False, observed=True):
        means = part["mean"].dropna()
        mean, sd = float(means.mean()), float(means.std(ddof=1)) if len(means) > 1 else float("nan")
        several = part[part["n"] > 1]
        freedom = float((several["n"] - 1).sum())
        within = float(np.sqrt(((several["n"] - 1) * several["sd"] ** 2).sum() / freedom)) if freedom else float("nan")
        rows[str(element)] = {
            "sites": len(means),
            "samples": int(part["n"].sum()),
            "mean": mean,
            "sd": sd,
            "cv": coefficient_of_variation(mean, sd),
            "median": float(means.median()),
            "low": float(means.min()),
            "high": float(means.max()),
            "within_sd": within,
        }
    return pd.DataFrame(rows).T.rename_axis("element").astype({"sites": int, "samples": int})


def coefficient_of_variation(mean: float, sd: float) -> float:
    """100 sd / mean, %; NaN where the mean is not positive.

    Examples
    --------
    >>> round(coefficient_of_variation(22864.30, 7589.01), 2)
    33.19
    """
    return 100 * sd / mean if mean > 0 else float("nan")


def censored_lognormal(samples: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread of elements with values below a detection limit.

    Parameters
    ----------
    samples : DataFrame
        Tidy, one row a sample or site, with `censored` and `detection_limit` (mg/kg, known for every censored row).

    Returns
    -------
    DataFrame
        Index: element. `mean`, `sd`, `median` of the lognormal, mg/kg; `log_mean`, `log_sd` (natural); `detects_mean`,
        the mean of the detects alone, which is biased high; `n`, `censored`.

    Raises
    ------
    InputError
        For a censored row without a limit, values that are not positive, or fewer than 3 detects.

    Notes
    -----
    Maximum likelihood: a detect adds the density of its logarithm, a censored row the probability below its limit
    (Tobit). Sites are assumed to be independent: pass site means where there are replicates.

    Examples
    --------
    >>> table = pd.DataFrame({"site": range(6), "element": "Ni", "value": [np.nan, 12, 20, 33, 15, 26],
    ...                       "censored": [True] + [False] * 5, "detection_limit": 10.0})
    >>> table = censored_lognormal(table)
    >>> bool(table.loc["Ni", "mean"] < table.loc["Ni", "detects_mean"])
    True
    """
    from scipy.optimize import minimize
    from scipy.stats import norm

    require_tidy(samples, "censored_lognormal")
    rows: dict[str, dict[str, Any]] = {}
    for element, part in samples.groupby("element", sort=False, observed=True):
        below = part["censored"].to_numpy(dtype=bool)
        limit = part["detection_limit"].to_numpy(dtype=np.float64)[below]
        value = part["value"].to_numpy(dtype=np.float64)[~below]
        value = value[np.isfinite(value)]
        if not np.isfinite(limit).all() or (limit <= 0).any():
            raise InputError(f"censored_lognormal: '{element}' has censored rows without a positive detection limit")
        if len(value) < 3 or (value <= 0).any():
            raise InputError(f"censored_lognormal: '{element}' needs 3 or more positive detects, got {len(value)}")
        logs, limits = np.log(value), np.log(limit)

        def loss(p: Floats, logs: Floats = logs, limits: Floats = limits) -> float:
            sd = np.exp(p[1])
            return float(-norm.logpdf(logs, p[0], sd).sum() - norm.logcdf((limits - p[0]) / sd).sum())

        start = np.array([logs.mean(), np.log(max(logs.std(), 1e-3))])
        fit = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-10, "maxiter": 5000})
        mu, sigma = float(fit.x[0]), float(np.exp(fit.x[1]))
        mean = float(np.exp(mu + sigma**2 / 2))
        rows[str(element)] = {
            "mean": mean,
            "sd": mean * float(np.sqrt(np.expm1(sigma**2))),
            "median": float(np.exp(mu)),
            "log_mean": mu,
            "log_sd": sigma,
            "detects_mean": float(value.mean()),
            "n": len(value) + len(limit),
            "censored": len(limit),
        }
    return pd.DataFrame(rows).T.rename_axis("element").astype({"n": int, "censored": int})


def representation(
    sites: npt.ArrayLike, areas: Mapping[Any, float] | npt.ArrayLike, names: Mapping[Any, str] | None = None
) -> pd.DataFrame:
    """Representativeness of the sites for classes by area, such as biomes.

    Parameters
    ----------
    sites : array_like (n,)
        Class of each site; each site once, not each replicate.
    areas : mapping of class to area, or array_like
        Areas in any one unit, or the class of every cell of an equal-area map (without NaN and masked cells).
    names : mapping of class to str, optional
        May list further classes only if it names all classes of the table.

    Returns
    -------
    DataFrame
        Index: class. `sites`, `site_share`, `area_share`, `ratio` of the two (1: proportional), `expected` sites by
        area; and in `.attrs` `chi2` with its `p_value` and `classes_without_site`.

    Raises
    ------
    InputError
        Without any site or area.

    Examples
    --------
    >>> representation(["steppe", "steppe", "forest"], {"steppe": 50.0, "forest": 50.0})["ratio"].round(2).to_dict()
    {'forest': 0.67, 'steppe': 1.33}
    """
    from scipy.stats import chisquare

    counts = pd.Series(np.asarray(sites).ravel()).dropna().value_counts()
    if isinstance(areas, Mapping):
        area = pd.Series(dict(areas), dtype=np.float64)
    else:
        area = pd.Series(np.asarray(areas).ravel()).dropna().value_counts().astype(np.float64)
    if not len(counts) or not area.sum() > 0:
        raise InputError(
            f"representation: {int(counts.sum())} sites and an area of {area.sum():g}, expected more than 0"
        )
    table = pd.DataFrame({"sites": counts, "area": area}).fillna(0.0).sort_index()
    labels = dict(names or {})
    unused = [key for key in labels if key not in table.index]
    unnamed = [key for key in table.index if key not in labels]
    if unused and unnamed:
        raise InputError(
            f"representation: names has no class of the table at {unused[0]!r}, and class {unnamed[0]!r} has no name"
            f"{nearest_name(str(unused[0]), map(str, unnamed))}"
        )
    table["site_share"] = table["sites"] / table["sites"].sum()
    table["area_share"] = table["area"] / table["area"].sum()
    table["ratio"] = (table["site_share"] / table["area_share"]).where(table["area_share"] > 0)
    table["expected"] = table["area_share"] * table["sites"].sum()
    mapped = table[table["area_share"] > 0]
    inside = mapped["sites"].sum()
    test = chisquare(mapped["sites"], mapped["area_share"] * inside) if len(mapped) > 1 and inside > 0 else None
    result = table[["sites", "site_share", "area_share", "ratio", "expected"]].astype({"sites": int})
    result.index = pd.Index([labels.get(key, key) for key in table.index], name="class")
    result.attrs["chi2"] = float(test.statistic) if test is not None else float("nan")
    result.attrs["p_value"] = float(test.pvalue) if test is not None else float("nan")
    result.attrs["classes_without_site"] = [str(c) for c in result.index[(result["sites"] == 0).to_numpy()]]
    return result
