"""Numbers of the published micronutrient study, to set beside those of a run."""

from __future__ import annotations

import io
from importlib.resources import files

import pandas as pd

from tpsoil.errors import require_named

KEYS = ["element", "class", "quantity"]


def published_values(item: str | None = None) -> pd.DataFrame:
    """Numbers of the published micronutrient study.

    Parameters
    ----------
    item : str, optional
        A table or figure of the paper, such as "Fig. 3"; default: all.

    Returns
    -------
    DataFrame
        `item`, `element`, `class`, `quantity`, `value` (text where it is a name), `units`, `origin`: "paper" for what
        the final abstract states, "preprint" for what only the preprint states.

    Raises
    ------
    InputError
        For an item without numbers.

    Notes
    -----
    Facts only: the numbers are those of text and tables, no value was read from a picture. The R2 of Fig. 5 are of the
    preprint's last revision; replicates of one site were not held together there.

    References
    ----------
    Huo, H. et al. 2026, data set doi 10.11888/Terre.tpdc.303242

    Examples
    --------
    >>> table = published_values("Fig. 2")
    >>> table.loc[(table["element"] == "Zn") & (table["quantity"] == "mean"), "value"].tolist()
    ['27.24']
    """
    text = files("tpsoil.micronutrients").joinpath("huo2026.csv").read_text(encoding="utf-8")
    table = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
    if item is None:
        return table
    require_named("published_values", [item], dict.fromkeys(table["item"]), "item")
    return table[table["item"] == item].reset_index(drop=True)


def beside_published(table: pd.DataFrame) -> pd.DataFrame:
    """Own numbers beside the published ones.

    Parameters
    ----------
    table : DataFrame
        `element`, `class`, `quantity`, `value`; "" where an element or class does not apply.

    Returns
    -------
    DataFrame
        `item`, `element`, `class`, `quantity`, `units`, `published`, `here`, and `ratio` of here to published; only
        quantities that the study published.

    Raises
    ------
    InputError
        For missing columns.

    Examples
    --------
    >>> own = pd.DataFrame([{"element": "Zn", "class": "", "quantity": "mean", "value": 30.0}])
    >>> beside_published(own)[["published", "here"]].values.tolist()
    [[27.24, 30.0]]
    """
    require_named("beside_published", (*KEYS, "value"), table)
    known = published_values()
    known = known.assign(published=pd.to_numeric(known["value"], errors="coerce")).drop(columns=["value", "origin"])
    merged = known.dropna(subset=["published"]).merge(
        table[[*KEYS, "value"]].rename(columns={"value": "here"}), on=KEYS
    )
    merged["ratio"] = (merged["here"] / merged["published"]).where(merged["published"] > 0)
    return merged[["item", *KEYS, "units", "published", "here", "ratio"]]
