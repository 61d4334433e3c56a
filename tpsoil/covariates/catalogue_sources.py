"""Sources of every layer of the catalogue: those of the studies, and open ones.

The table `sources.csv` rests on the studies' data sections and appendix. What they do not state is "not stated". What
they used is one row a study; an alternative is open by its `access`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

from tpsoil.errors import InputError, nearest_name
from tpsoil.variables import variable

STUDIES = {"solum": "Chen et al. 2026", "micronutrients": "Huo et al. 2026", "neither": "neither study"}


@dataclass(frozen=True)
class Source:
    """One layer's dataset in one study, and its alternative.

    Parameters
    ----------
    layer : str
        In the catalogue.
    study : {"solum", "micronutrients", "neither"}
    dataset, doi, resolution, years, licence, access : str
        As the study states them; "not stated" where it does not.
    unit, conversion : str
        Of the dataset, and the options of `tpsoil cube add`.
    alternative, alternative_doi, alternative_resolution, alternative_years, alternative_licence : str
    alternative_access, alternative_conversion : str
    note : str
    """

    layer: str
    study: str
    dataset: str
    doi: str
    resolution: str
    years: str
    licence: str
    access: str
    unit: str
    conversion: str
    alternative: str
    alternative_doi: str
    alternative_resolution: str
    alternative_years: str
    alternative_licence: str
    alternative_access: str
    alternative_conversion: str
    note: str


@cache
def _table() -> tuple[Source, ...]:
    text = files(__package__).joinpath("sources.csv").read_text(encoding="utf-8")
    names = [field.name for field in fields(Source)]
    return tuple(Source(**{name: row[name] for name in names}) for row in csv.DictReader(text.splitlines()))


def sources(layer: str | None = None) -> tuple[Source, ...]:
    """The sources of one layer, or of all.

    Parameters
    ----------
    layer : str, optional
        Of the catalogue.

    Returns
    -------
    tuple of Source
        One for each study that used it.

    Raises
    ------
    InputError
        For a layer that is not in the catalogue.

    Examples
    --------
    >>> [source.access for source in sources("water_erosion")]
    ['on request to the authors']
    """
    if layer is None:
        return _table()
    variable(layer)
    rows = tuple(source for source in _table() if source.layer == layer)
    if not rows:
        raise InputError(f"sources: none for '{layer}'{nearest_name(layer, {source.layer for source in _table()})}")
    return rows
