"""Samples of one element as they are read: columns, positions, depths, dates, index of alteration."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from tpsoil.columns import plain_name
from tpsoil.depths import SplineSettings
from tpsoil.engine.durable import digest_of
from tpsoil.errors import InputError, TpsoilError, nearest_name
from tpsoil.ingest import read_dates, read_samples, read_table, samples_at_depth
from tpsoil.ingest.sample_depths import DepthColumns
from tpsoil.micronutrients import alteration_of_samples, check_one_unit
from tpsoil.micronutrients.alteration import INDEX
from tpsoil.option_names import in_recipe
from tpsoil.points import EAST, LATITUDE, LONGITUDE, NORTH, check_degrees, position_groups
from tpsoil.soil_properties import MG_KG

from .element_options import ElementsTable
from .element_study_options import AlterationTable

WITHOUT_CONTENTS: Final = (
    "samples", "table.samples", "table.citation", "table.elements", "table.units", "table.properties",
)  # fmt: skip
"""Options that decide nothing in a stage that uses the samples' places and classes alone: those of their contents."""
READING: Final = (
    "encoding", "from_samples", "folds", "extra_features", "compare", "ranges", "icp", "cia", "properties", "longitude",
    "latitude", "x", "y", "crs", "site", "replicate", "date", "years", "depths", "units", "check_units", "limits",
    "negative", "empty_cells", "at_minimum",
)  # fmt: skip
"""Keys that decide how samples are read, beside those without a default."""
DEPTH_ROW: Final = "row of depths"
"""Column that tells the depths of one site apart while they are read."""
OF_VALUE: Final = ("value", "detection_limit", "censored")
"""Columns that are read from the element's own."""
DATES: Final = "sampling_dates"
"""Attribute of a table of samples: what of their dates is recorded."""


def place_columns(table: ElementsTable, header: Sequence[str], name: str) -> tuple[str, str]:
    """East and north columns of the samples: those that the recipe names, else by their usual names.

    Raises
    ------
    InputError
        Where the table has none of these.
    """
    named = (table.x, table.y) if table.crs is not None else (table.longitude, table.latitude)
    if named[0] is not None and named[1] is not None:
        return named[0], named[1]
    by_name = {plain_name(column): column for column in reversed(header)}
    pairs = (EAST, NORTH) if table.crs is not None else (LONGITUDE, LATITUDE)
    columns = [
        own or next((by_name[one] for one in names if one in by_name), None)
        for own, names in zip(named, pairs, strict=True)
    ]
    if columns[0] is None or columns[1] is None:
        keys = ("x", "y") if table.crs is not None else ("longitude", "latitude")
        usual = "x and y, or easting and northing" if table.crs is not None else "longitude and latitude, lon and lat"
        projected = table.crs is None and all(any(one in by_name for one in names) for names in (EAST, NORTH))
        raise InputError(
            f"{name}: no column is named as a position ({usual}); there are: {', '.join(header[:12])}; set "
            f"elements.{keys[0]} and elements.{keys[1]} to their names"
            + ("; of x and y set elements.crs, such as 'EPSG:32646'" if projected else "")
        )
    return columns[0], columns[1]


def numbered_depths(
    table: ElementsTable, samples: pd.DataFrame, places: tuple[str, str]
) -> tuple[pd.DataFrame, pd.Series]:
    """Samples with a number of each row, and the replicate that each depth belongs to.

    Parameters
    ----------
    table : ElementsTable
        With `depths`.
    samples : DataFrame
    places : (east, north)
        Columns of the position, of which rows without a named site are grouped.

    Returns
    -------
    samples : DataFrame
    replicates : Series
        By the number.
    """
    if table.depths is None:
        raise InputError("elements.depths is not set")
    samples = samples.assign(**{DEPTH_ROW: np.arange(len(samples))})
    site = table.site
    if site is None:
        site = "site"
        place = samples[list(places)].set_axis(["x", "y"], axis=1)
        samples[site] = np.asarray(position_groups(place, where="elements.depths")) + 1
    if table.replicate is not None:
        return samples, samples[table.replicate]
    depths = [table.depths.upper, table.depths.lower]
    return samples, samples.groupby([site, *depths], sort=False, dropna=False).cumcount() + 1


def at_depth(table: ElementsTable, tidy: pd.DataFrame, replicates: pd.Series, where: str) -> pd.DataFrame:
    """One row a site and replicate: the mean of the interval of `[elements.depths]`.

    Raises
    ------
    InputError
        As `tpsoil.ingest.samples_at_depth`.
    """
    depths = table.depths
    if depths is None:
        return tidy
    rows = tidy["replicate"].to_numpy()
    tidy = tidy.assign(replicate=replicates.to_numpy()[rows])
    return samples_at_depth(
        tidy,
        depths.interval,
        depths=DepthColumns(depths.upper, depths.lower, depths.units),
        settings=SplineSettings(depths.smoothing, depths.coverage),
        where=where,
    )


def within_years(table: ElementsTable, tidy: pd.DataFrame, where: str) -> pd.DataFrame:
    """Samples of the years that the recipe asks for; `attrs["sampling_dates"]` has their range and counts.

    Raises
    ------
    InputError
        For text that is no date, and where no sample is of these years.
    """
    if table.date is None:
        return tidy
    dates = read_dates(tidy[table.date], where=where)
    years = dates.dt.year
    used = pd.Series(True, index=tidy.index)
    if table.years is not None:
        used = years.between(*table.years).fillna(False).astype(bool)
        if not used.any():
            raise InputError(
                f"{where}: no sample is of {table.years[0]} to {table.years[1]}, column '{table.date}' has "
                f"{dates.min():%Y-%m-%d} to {dates.max():%Y-%m-%d}; change elements.years"
            )
    kept = tidy[used]
    dated = dates[used].dropna()
    kept.attrs[DATES] = {
        "first": f"{dated.min():%Y-%m-%d}" if len(dated) else "",
        "last": f"{dated.max():%Y-%m-%d}" if len(dated) else "",
        "undated": int(dates.isna().sum()),
        "left_out": int((~used).sum()),
    }
    return kept


def with_alteration(table: AlterationTable, samples: pd.DataFrame) -> pd.DataFrame:
    """Samples with the measured index of alteration as a column.

    Raises
    ------
    InputError
        As `tpsoil.micronutrients.alteration_of_samples`.
    """
    index = alteration_of_samples(
        samples,
        table.columns,
        basis=table.basis,
        correction=table.correction,
        carbonate=table.carbonate,
        detection_limits=table.limits,
    )
    return samples.assign(**{INDEX: index[INDEX]})


@dataclass(frozen=True)
class Reading:
    """Samples of one element as they were read, or why they cannot be, and the texts of warnings."""

    tidy: pd.DataFrame | None
    fault: TpsoilError | None
    warnings: tuple[str, ...]


class SampleReader:
    """The samples of a recipe while its stages are planned: each element is read once for each choice of columns.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cells: pd.DataFrame | None = None
        self._readings: dict[tuple[str, str], Reading] = {}

    def reading(self, table: ElementsTable, symbol: str) -> Reading:
        """What reading the samples of one element gives; only the keys of `READING` decide it."""
        own = table.of_symbols([symbol]).keeping(*READING)
        own = own.model_copy(update={"elements": {symbol: table.columns[symbol]}})
        key = (symbol, own.model_dump_json())
        if key not in self._readings:
            tidy, fault = None, None
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                try:
                    if self._cells is None:
                        self._cells = _cells_of(own)
                    tidy = _element_of(own, self._cells, symbol, self.path.name)
                except TpsoilError as error:
                    fault = error
            self._readings[key] = Reading(tidy, fault, tuple(str(one.message) for one in caught))
        return self._readings[key]

    def declared(self, table: ElementsTable, symbol: str, *, values: bool = True) -> dict[str, Any]:
        """What of a stage declares which samples decide it: the columns that it reads, not the complete file.

        Parameters
        ----------
        table : ElementsTable
            Of the stage.
        symbol : str
        values : bool
            Whether the element's contents decide, not the samples' places and other columns alone.

        Returns
        -------
        dict
            Keywords of `Stage`: `contents` with a digest by column, `identity`; `files` where a table cannot be read,
            which `check_samples` reports.
        """
        path, pairs = self.path, None if table.pairs is None else table.pairs.file
        identity = {"table.samples": path.name} | ({} if pairs is None else {"table.pairs.path": pairs.name})
        declared: dict[str, Any] = {"identity": identity, "files": (), "contents": {}}
        tidy = self.reading(table, symbol).tidy
        try:
            columns = None if pairs is None else read_pairs(table, symbol)
        except TpsoilError:
            tidy = None
        if tidy is None:
            return declared | {"files": (path,) if pairs is None else (path, pairs)}
        parts: dict[str, list[Any]] = {"positions": [tidy["lon"], tidy["lat"]]}
        if values:
            of_values = {key: tidy.attrs.get(key) for key in ("at_minimum", "depths")}
            parts[f"column {table.columns[symbol]}"] = [*(tidy[name] for name in OF_VALUE), of_values]
        if DATES in tidy.attrs:
            parts["dates"] = [tidy.attrs[DATES]]
        others = [name for name in tidy if name not in {"lon", "lat", "element", *OF_VALUE}]
        parts |= {str(name) if name in {"site", "replicate"} else f"column {name}": [tidy[name]] for name in others}
        contents = {f"{path.name}, {name}": digest_of_columns(part) for name, part in parts.items()}
        if pairs is not None and columns is not None:
            names = " and ".join(str(name) for name in columns)
            contents[f"{pairs.name}, columns {names}"] = digest_of_columns([columns[name] for name in columns])
        return declared | {"contents": contents}


def read_pairs(table: ElementsTable, symbol: str) -> pd.DataFrame:
    """Columns of paired XRF and ICP-MS readings of one element, as they are in the table of `[elements.pairs]`.

    Raises
    ------
    MissingInputError, InputError
        For a table or columns that are not there, and text in number columns.
    """
    if table.pairs is None:
        raise KeyError(symbol)
    names = list(table.pairs.columns[symbol])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `check_samples` gives them
        pairs = table.pairs.file
        return read_table(pairs, needed=names, numbers=names, encoding=table.encoding, where=pairs.name)[names]


def attributes_of(table: ElementsTable, parents: Sequence[str], **more: str) -> dict[str, dict[str, Any]]:
    """Attributes of every map of a stage of `[elements]`: `parents`, `samples`, further ones, and `simulated`."""
    simulated = {"simulated": "true"} if table.simulated else {}
    return {"": {"parents": " ".join(parents), **more, "samples": table.file.name, **simulated}}


def digest_of_columns(parts: Sequence[Any]) -> str:
    """Digest of columns of a table, and of other values that have a JSON form.

    Examples
    --------
    >>> digest_of_columns([pd.Series([1, 2])]) == digest_of_columns([pd.Series([1.0, 2.0])])
    True
    """
    return digest_of([_values_of(part) if isinstance(part, pd.Series) else part for part in parts])


def _values_of(column: pd.Series[Any]) -> list[Any]:
    if pd.api.types.is_numeric_dtype(column):
        return [float(value).hex() for value in column.to_numpy(dtype=np.float64, na_value=np.nan)]
    return [None if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]


def read_element(table: ElementsTable, symbol: str) -> pd.DataFrame:
    """Samples of one element as they are read: one row a sample, before screening.

    Warnings are left out: `check_samples` gives them, once in a run.

    Returns
    -------
    DataFrame
        Tidy, with `lon`, `lat`, the columns that the recipe needs, and the index of alteration where it is asked for.

    Raises
    ------
    MissingInputError, InputError, UnitsError
        As `design_of`, for what the table alone shows.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return _element_of(table, _cells_of(table), symbol, table.file.name)


@in_recipe("elements")
def _cells_of(table: ElementsTable) -> pd.DataFrame:
    return read_table(table.file, encoding=table.encoding, where=table.file.name)


@in_recipe("elements")
def _element_of(table: ElementsTable, cells: pd.DataFrame, symbol: str, where: str) -> pd.DataFrame:
    """The same of a table that was read; warns such as of decimal commas, and of replicates without a site."""
    columns = [c for c in table.compare if c not in table.features]
    ranges = [name for name in table.ranges if name not in table.features]
    index = [] if table.cia is None else [*table.cia.columns.values(), *filter(None, [table.cia.carbonate])]
    places = place_columns(table, [str(column) for column in cells.columns], where)
    optional = (table.site, table.region, table.replicate, table.date)
    icp = [table.icp[symbol]] if symbol in table.icp else []
    depths = [] if table.depths is None else [table.depths.upper, table.depths.lower]
    numbers = [*places, *table.from_samples.values(), *table.extra_features, *ranges, *index, *depths, *icp]
    needed = [*numbers, table.columns[symbol], *filter(None, optional)]
    if table.cia is not None:  # computed here, not read
        needed, numbers = ([name for name in names if name != INDEX] for names in (needed, numbers))
    samples = read_table(cells, needed=needed, numbers=numbers, where=where)
    if table.cia is not None:
        samples = with_alteration(table.cia, samples)
        needed.append(INDEX)
    for feature in table.from_samples:
        if feature not in table.features:
            raise InputError(f"elements.from_samples: '{feature}' is no feature{nearest_name(feature, table.features)}")
    if table.crs is None:
        check_degrees(samples[places[0]], samples[places[1]], where=where, attrs=samples.attrs)
    columns_kept = {table.columns[symbol], *needed, *[c for c in columns if c in samples.columns]}
    samples = samples[[c for c in samples.columns if c in columns_kept]]
    depth = None
    if table.depths is not None:
        samples, depth = numbered_depths(table, samples, places)
    if table.crs is None:
        others = {*needed[len(places) :], *columns} - {"lon", "lat"}  # a position may be a covariate too
        lon, lat = samples[places[0]], samples[places[1]]
        samples = samples.drop(columns=[name for name in places if name not in others]).assign(lon=lon, lat=lat)
    declared = table.property_of(symbol)
    tidy = read_samples(
        samples,
        {symbol: table.columns[symbol]},
        site=table.site,
        replicate=DEPTH_ROW if depth is not None else table.replicate,
        units={symbol: table.unit_of(symbol)},
        properties={symbol: declared},
        limits={symbol: table.limits[symbol]} if symbol in table.limits else None,
        empty=table.empty_cells,
        coordinates=places if table.crs is not None else None,
        **{name: getattr(table, name) for name in ("negative", "at_minimum", "crs", "check_units")},
        where=where,
    )
    if table.check_units and declared.units == MG_KG:
        check_one_unit(tidy["value"], symbol, where=where)
    if depth is not None:
        tidy = at_depth(table, tidy, depth, where)
    return within_years(table, tidy, where)
