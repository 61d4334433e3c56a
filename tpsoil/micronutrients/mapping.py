"""From samples and a cube to maps: one forest per element, prediction intervals, one pass over the covariates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, Unpack

import numpy as np
import pandas as pd
import xarray as xr

from tpsoil.constants import MICRONUTRIENT_STUDY
from tpsoil.errors import InputError, MissingInputError, nearest_name
from tpsoil.forest import TrainedForest, train
from tpsoil.forest.features import KINDS, layer_kinds, require_cube
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.options import TrainingKeywords, TrainingOptions, with_keywords_of
from tpsoil.forest.tables import Unseen
from tpsoil.grid import grid_of
from tpsoil.micronutrients.calibration import XrfCalibration
from tpsoil.points import locate_points
from tpsoil.soil_mask import MASK, OnMasked, place_on_soil, require_movable, with_soil_mask
from tpsoil.soil_properties import SoilProperty, known_property
from tpsoil.tiles import take_points
from tpsoil.variables import missing_code

MAX_CENSORED: Final = 0.3
"""Share of values below the detection limit above which an element is not mapped by default."""


class ElementKeywords(TrainingKeywords, total=False):
    """The keywords of `train_elements`."""

    groups: str | None
    on_masked: OnMasked
    masked_within_m: float | None
    max_censored: float
    allow_censored: bool
    censored_as: Literal["half", "limit", "drop"]
    properties: Mapping[str, SoilProperty] | None


@with_keywords_of(TrainingOptions, transform="log10")
def train_elements(
    samples: pd.DataFrame,
    elements: Sequence[str],
    features: Sequence[str],
    *,
    cube: xr.Dataset | None = None,
    groups: str | None = "site",
    on_masked: OnMasked = "move",
    masked_within_m: float | None = None,
    max_censored: float = MAX_CENSORED,
    allow_censored: bool = False,
    censored_as: Literal["half", "limit", "drop"] = "half",
    properties: Mapping[str, SoilProperty] | None = None,
    **options: Unpack[TrainingKeywords],
) -> dict[str, TrainedForest]:
    """Train one forest per element or other soil property; those that are mostly below detection are rejected.

    Parameters
    ----------
    samples : DataFrame
        Tidy (`site`, `element`, `value`, with `censored` and `detection_limit` where there are any) or wide (a column
        an element). With the features, or with positions (`lon`/`lat` or `x`/`y` of the cube) and a `cube` that
        has them. Replicates are separate rows in one fold, by `groups`.
    elements : sequence of str
    features : sequence of str
    cube : Dataset (y, x), optional
        Source of the features missing in the samples: the value of the cell at the sample. Its layers record which
        features are classes.
    groups : str or None
        Column with the site; ignored if the table does not have it.
    on_masked : {"move", "drop", "keep"}
        Treatment of samples on a cell without soil, see `tpsoil.soil_mask.with_soil_mask`: moved to the nearest cell
        with soil, and dropped where none is near; dropped; or retained. Counted in `counts`, and listed
        in a warning unless retained.
    masked_within_m : float, m, optional
        Maximum distance of the move; default: two cells.
    max_censored : float
        Largest share of values below the detection limit, 0..1.
    allow_censored : bool
        Train in spite of more censored values.
    censored_as : {"half", "limit", "drop"}
        Value of censored samples in training: half the detection limit, the limit, or dropped (which biases the map
        upward).
    properties : mapping of element to SoilProperty, optional
        Unit, range and scale of names that `tpsoil.soil_properties.PROPERTIES` does not have, or in place of those. A
        name that is neither is a content in mg kg-1.
    **options
        Of `tpsoil.forest.train`, see `tpsoil.forest.TrainingOptions`; `transform` and `units` are by default those of
        the property: "log10" and mg kg-1 of elements, "none" and 1 of pH, which is a logarithm already.

    Returns
    -------
    dict of str to TrainedForest

    Raises
    ------
    InputError
        For an element without a valid value, negative contents, one that is censored too much.
    MissingInputError
        For features that neither the samples nor the cube have.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"site": np.arange(60), "slope": rng.random(60)})
    >>> table["Zn"] = 20 + 30 * table["slope"]
    >>> list(train_elements(table, ["Zn"], ["slope"], trees=10))
    ['Zn']
    """
    if censored_as not in ("half", "limit", "drop"):
        raise InputError(f"map: censored_as is '{censored_as}', expected 'half', 'limit' or 'drop'")
    if isinstance(elements, str) or not len(elements):
        raise InputError(f"map: elements are {elements!r}, expected a list of one or more")
    if cube is None and masked_within_m is not None:
        raise InputError("train_elements: masked_within_m has no effect without cube; pass the cube, or leave it out")
    require_movable(on_masked, masked_within_m, "train_elements")
    located_samples, location_counts = with_covariates(
        samples, features, cube, on_masked=on_masked, within_m=masked_within_m
    )
    trained = {}
    for element in elements:
        declared = property_of(element, properties)
        own: TrainingKeywords = {"transform": "log10" if declared.log else "none", "units": declared.units}
        keywords: TrainingKeywords = {**own, **options}
        limits = (max_censored, allow_censored, censored_as)
        table, filled = _of_element(located_samples, element, limits, declared)
        site = groups if groups is not None and groups in table.columns else None
        if site is not None and not table[site].duplicated().any():
            # One row per site: folds by site would be equal to random ones.
            site = None
        forest = train(table, element, features, site, **keywords)
        counts = {**forest.counts, "censored_filled": filled, **location_counts}
        trained[element] = replace(forest, counts=counts)
    return trained


@with_keywords_of(train_elements, omit=("cube",))
def map_elements(
    samples: pd.DataFrame | Mapping[str, TrainedForest],
    cube: xr.Dataset,
    elements: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    *,
    level: float = 0.9,
    layers: Mapping[str, str] | None = None,
    unseen: Unseen = "nan",
    calibrations: Mapping[str, XrfCalibration] | None = None,
    **options: Unpack[ElementKeywords],
) -> xr.Dataset:
    """Map elements, lazily, with spread, prediction interval and area of applicability.

    Parameters
    ----------
    samples : DataFrame, or mapping of element to TrainedForest
        As in `train_elements`; or its result, for inspection of scores and drivers first.
    cube : Dataset (y, x)
        Has every feature by name. Cells without soil are missing, see `tpsoil.soil_mask.with_soil_mask`: where
        `soil_mask` is not 1, and classes of water and ice.
    elements, features : sequence of str
        Needed with samples.
    level : float
        Nominal coverage of the interval: 0.5, 0.8, 0.9 or 0.95.
    layers : mapping of str to str, optional
        Name in the cube of a feature that has another name there.
    unseen : {"nan", "error"}
        Treatment of cells whose class no sample has, as in `TrainedForest.predict_cube`.
    calibrations : mapping of element to XrfCalibration, optional
        Lines that the training values were calibrated with: their prediction error widens the interval, in quadrature.
    **options
        Each a keyword of `train_elements`, such as `on_masked`, `trees`, `search`, `workers`.

    Returns
    -------
    Dataset (y, x)
        For iron: `iron` (mean, mg/kg), `iron_sd` (between trees, ddof 1), `iron_lower`, `iron_upper` (mg/kg),
        `iron_dissimilarity`, `iron_applicability` (1 inside, 0 outside, 255 missing). An element outside the catalogue
        has its own name. Lazy where the cube is; several elements read each block of covariates once.

    Raises
    ------
    InputError
        As `train_elements`.
    MissingInputError
        For features that the cube does not have; all are listed.

    Notes
    -----
    `_sd` is the RF-SD of the study: disagreement between trees, neither a prediction interval nor a standard
    error. It is comparable to the study's only with `preset="randomForest"`, the defaults of the package that the study
    used: fully grown trees disagree more. `_lower` and `_upper` are a quantile forest's limits, corrected so
    that the empirical coverage of out-of-fold observations of the deciding folds is the nominal one.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"site": np.arange(60), "slope": rng.random(60)})
    >>> table["Zn"] = 20 + 30 * table["slope"]
    >>> cube = xr.Dataset({"slope": (("y", "x"), np.full((2, 2), 0.5))})
    >>> list(map_elements(table, cube, ["Zn"], ["slope"], trees=10))[:2]
    ['zinc', 'zinc_sd']
    """
    cube = with_soil_mask(require_cube(cube, "map_elements"))
    if isinstance(samples, pd.DataFrame):
        if elements is None or features is None:
            raise InputError("map_elements: samples need elements= and features=, both lists of names")
        names = {feature: (layers or {}).get(feature, feature) for feature in features}
        lacking = [name for name in names.values() if name not in cube]
        if lacking:
            hints = "; ".join(f"no layer '{n}'{nearest_name(n, map(str, cube.data_vars))}" for n in lacking)
            raise MissingInputError(f"map_elements: {len(lacking)} covariates are not in the cube: {hints}")
        source = xr.Dataset({feature: cube[name] for feature, name in names.items()}, coords=cube.coords)
        if MASK in cube:
            source[MASK] = cube[MASK]
        trained: Mapping[str, TrainedForest] = train_elements(samples, elements, features, cube=source, **options)
    else:
        trained = samples
        if elements is not None or features is not None or set(options) - {"properties"}:
            raise InputError("map_elements: with trained forests, omit elements, features and options")
    lines = dict(calibrations or {})
    unknown = [element for element in lines if element not in trained]
    if unknown:
        raise InputError(f"map_elements: calibrations name '{unknown[0]}'{nearest_name(unknown[0], trained)}")
    properties = options.get("properties")
    models = {
        _layer_of(element, properties): MapModel.of(
            forest, level=level, measurement=lines[element].measurement_error() if element in lines else None
        )
        for element, forest in trained.items()
    }
    maps = map_models(models, cube, layers, unseen=unseen)
    for element in trained:
        declared = (properties or {}).get(element) or known_property(element)
        if declared is not None and declared.scale:
            maps[_layer_of(element, properties)].attrs["scale"] = declared.scale
    maps.attrs = {"title": f"topsoil elements: {', '.join(trained)}", "method_of": MICRONUTRIENT_STUDY}
    return maps


def property_of(element: str, properties: Mapping[str, SoilProperty] | None = None) -> SoilProperty:
    """The property that a column holds: declared, known, or a content in mg kg-1.

    Parameters
    ----------
    element : str
    properties : mapping of str to SoilProperty, optional

    Examples
    --------
    >>> property_of("pH").log, property_of("Zn").log, property_of("iron_oxalate").units
    (False, True, 'mg kg-1')
    """
    return (properties or {}).get(element) or known_property(element) or SoilProperty("content", log=True)


def _layer_of(element: str, properties: Mapping[str, SoilProperty] | None) -> str:
    declared = (properties or {}).get(element) or known_property(element)
    return element if declared is None else declared.layer


def with_covariates(
    samples: pd.DataFrame,
    features: Sequence[str],
    cube: xr.Dataset | None,
    *,
    on_masked: OnMasked = "move",
    within_m: float | None = None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Samples with missing features from the cells of the cube.

    Parameters
    ----------
    samples : DataFrame
    features : sequence of str
    cube : Dataset (y, x) or None
    on_masked, within_m
        Of samples on a cell without soil, as in `train_elements`.

    Returns
    -------
    table : DataFrame
        `attrs["kinds"]`: the kinds of the cube's layers.
    counts : dict of str to int
        `off_grid`, rows outside the grid, dropped; `masked`, rows on cells without soil, of them `masked_moved` and
        `masked_dropped`.

    Raises
    ------
    MissingInputError
        For features that are neither in the samples nor in the cube.
    InputError
        Without positions, or where no sample is on the grid.
    """
    counts = {"off_grid": 0, "masked": 0, "masked_moved": 0, "masked_dropped": 0}
    missing = [name for name in features if name not in samples.columns]
    if cube is not None:
        stored = layer_kinds(cube, {name: name for name in features})
        samples = samples.copy()
        samples.attrs[KINDS] = {**samples.attrs.get(KINDS, {}), **stored}
    if not missing:
        return samples, counts
    names = [str(name) for name in samples.columns] + ([] if cube is None else [str(n) for n in cube.data_vars])
    unavailable = [name for name in missing if cube is None or name not in cube]
    if unavailable or cube is None:
        hints = "; ".join(f"no covariate '{name}'{nearest_name(name, names)}" for name in unavailable)
        raise MissingInputError(
            f"map: {len(unavailable)} covariates are neither in the samples nor in the cube: {hints}"
        )
    rows, columns = locate_points(samples, grid_of(cube, where="map"), where="map: samples")
    inside = rows >= 0
    if not inside.any():
        raise InputError(f"map: none of {len(samples)} samples is on the cube's grid; check their lon, lat or x, y")
    counts["off_grid"] = int((~inside).sum())
    table, rows, columns = samples[inside].copy(), rows[inside], columns[inside]
    cube = with_soil_mask(cube)
    if MASK in cube:
        places = place_on_soil(cube[MASK], rows, columns, on_masked=on_masked, within_m=within_m)
        note = places.note(table.get("site", table.index.to_series()).tolist())
        if note and on_masked != "keep":
            warnings.warn(f"map: {note}", stacklevel=3)
        retained = ~places.dropped if on_masked != "keep" else np.ones(len(table), dtype=bool)
        counts["masked"], counts["masked_moved"] = int(places.masked.sum()), int(places.moved.sum())
        counts["masked_dropped"] = int((~retained).sum())
        table, rows, columns = table[retained], places.rows[retained], places.cols[retained]
    sampled = take_points({name: cube[name].data for name in missing}, rows, columns)
    for name in missing:
        values, code = sampled[name].astype(np.float64), missing_code(cube[name])
        table[name] = values if code is None else np.where(values == code, np.nan, values)
    return table, counts


def _of_element(
    samples: pd.DataFrame, element: str, limits: tuple[float, bool, str], declared: SoilProperty
) -> tuple[pd.DataFrame, int]:
    """Rows of one element with a column of its name, and number of substituted censored values."""
    max_censored, allow_censored, censored_as = limits
    tidy = {"element", "value"} <= set(samples.columns)
    if tidy:
        table = samples[samples["element"] == element]
        names = [str(e) for e in pd.unique(samples["element"])]
    else:
        table, names = samples, [str(c) for c in samples.columns]
    if not len(table) or (not tidy and element not in samples.columns):
        raise InputError(f"map: no element '{element}' in the samples{nearest_name(element, names)}")
    values = table["value" if tidy else element].astype(np.float64)
    if declared.low == 0 and (values < 0).any():
        raise InputError(
            f"map: '{element}' is negative in {int((values < 0).sum())} rows; a content cannot be: correct it, or read "
            "the samples with negative='censor'"
        )
    censored = table["censored"].astype(bool) if tidy and "censored" in table else pd.Series(False, index=table.index)
    valid, below = int(values.notna().sum()), int(censored.sum())
    if not valid:
        raise InputError(f"map: '{element}' has no valid value in {len(table)} rows; omit the element")
    share = below / (valid + below)
    if share > max_censored and not allow_censored:
        raise InputError(
            f"map: {below} of {valid + below} values of '{element}' ({100 * share:.0f} %) are below the detection "
            f"limit, more than {100 * max_censored:.0f} %; a map would show the limit, not the element. Omit it, "
            "or pass allow_censored=True to map it"
        )
    filled = 0
    if below and censored_as != "drop":
        limit = table["detection_limit"].astype(np.float64) if "detection_limit" in table else values * np.nan
        imputed = limit / 2 if censored_as == "half" else limit
        if imputed[censored].isna().any():
            raise InputError(
                f"map: {int(imputed[censored].isna().sum())} censored values of '{element}' have no detection limit; "
                "pass limits= when reading the samples, or pass censored_as='drop'"
            )
        values = values.where(~censored, imputed)
        filled = below
    drop = [c for c in ("element", "value", "detection_limit", "censored") if tidy and c in table.columns]
    return table.drop(columns=drop).assign(**{element: values}), filled
