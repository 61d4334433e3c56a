"""From samples and a cube to maps: one forest per element, prediction intervals, one pass over the covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, Unpack, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.constants import MICRONUTRIENT_STUDY
from tpsoil.errors import InputError, nearest_name, require_one_of
from tpsoil.forest import TrainedForest, train
from tpsoil.forest.features import require_cube
from tpsoil.forest.layers import map_models
from tpsoil.forest.mapping import sources_of
from tpsoil.forest.options import TrainingKeywords, TrainingOptions, with_keywords_of
from tpsoil.forest.standardised import ATTRIBUTE, variogram_text
from tpsoil.forest.tables import Unseen
from tpsoil.grid import grid_of
from tpsoil.mapped_area import mapped_covariates
from tpsoil.micronutrients.calibration import XrfCalibration
from tpsoil.micronutrients.checks import check_covariates
from tpsoil.micronutrients.element_model import ElementModel, ExtraLayer, KrigingChoice, MapOptions, element_model
from tpsoil.micronutrients.training_rows import rows_of_element, with_covariates
from tpsoil.points import position_pairs, positions_of, unproject_points
from tpsoil.soil_mask import MASK, OnMasked, require_movable, with_soil_mask
from tpsoil.soil_properties import SoilProperty, known_property

CensoredAs = Literal["half", "limit", "drop"]

MAX_CENSORED: Final = 0.3
"""Share of values below the detection limit above which an element is not mapped by default."""


class ElementKeywords(TrainingKeywords, total=False):
    """The keywords of `train_elements`."""

    groups: str | None
    on_masked: OnMasked
    masked_within_m: float | None
    max_censored: float
    allow_censored: bool
    censored_as: CensoredAs
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
    censored_as: CensoredAs = "half",
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
        For an element without a valid value, negative contents, one that is censored too much; for covariates that are
        constant, copies of each other or a form of the target, see `check_covariates`.
    MissingInputError
        For features that neither the samples nor the cube have.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> table = pd.DataFrame({"site": np.arange(60), "slope": rng.random(60)})
    >>> table["Zn"] = 20 + 30 * table["slope"] + rng.normal(0, 2, 60)
    >>> list(train_elements(table, ["Zn"], ["slope"], trees=10))
    ['Zn']
    """
    require_one_of("map", "censored_as", censored_as, get_args(CensoredAs))
    if isinstance(elements, str) or not len(elements):
        raise InputError(f"map: elements are {elements!r}, expected a list of one or more")
    if cube is None and masked_within_m is not None:
        raise InputError("train_elements: masked_within_m has no effect without cube; pass the cube, or leave it out")
    require_movable(on_masked, masked_within_m, "train_elements")
    located_samples, location_counts = with_covariates(
        samples, features, cube, on_masked=on_masked, within_m=masked_within_m
    )
    logarithmic = any(property_of(element, properties).log for element in elements)
    trained = {}
    for element in elements:
        declared = property_of(element, properties)
        own: TrainingKeywords = {"transform": "log10" if declared.log else "none", "units": declared.units}
        keywords: TrainingKeywords = {**own, **options}
        if not declared.log and "transform" not in options and logarithmic:
            keywords.pop("back_transform", None)  # it is for the other elements
        limits = (max_censored, allow_censored, censored_as)
        table, filled = rows_of_element(located_samples, element, limits, declared)
        site = groups if groups is not None and groups in table.columns else None
        requested = options.get("folds")
        by_site = "group" in ([requested] if isinstance(requested, str) else requested or ())
        if site is not None and not by_site and not table[site].duplicated().any():
            # One row per site: folds by site would be equal to random ones.
            site = None
        check_covariates(table, element, features, where=f"elements, {element}")
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
    level: float | None = 0.9,
    conformal: str = "plain",
    kriging: KrigingChoice = "none",
    extra_layers: Sequence[ExtraLayer] = (),
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
    level : float or None
        Nominal coverage of the interval: 0.5, 0.8, 0.9 or 0.95. None maps mean and spread alone.
    conformal : str
        Kind of the interval: "plain" (quantiles of the forest, nominal coverage on average over places like the
        samples), "spread" (mean and spread between trees times a factor: the same coverage without the cost of
        quantiles, for many cells, such as 30 m), "class:FEATURE" (within each class of a feature), or "weighted" (over
        the mapped area, whose covariates differ from those of the samples).
    kriging : {"none", "residuals"}
        Krige the residuals of the forest and add them to the map, if that wins in the deciding folds; needs samples
        with positions. The attribute `kriging_result` of the mean has the comparison.
    extra_layers : sequence of {"point_density", "expected_error"}
        Samples within the threshold of dissimilarity, and RMSE expected at the cell's dissimilarity.
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
        As `train_elements`. For calibrations without an interval.
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
    >>> table["Zn"] = 20 + 30 * table["slope"] + rng.normal(0, 2, 60)
    >>> cube = xr.Dataset({"slope": (("y", "x"), np.full((2, 2), 0.5))})
    >>> list(map_elements(table, cube, ["Zn"], ["slope"], trees=10))[:2]
    ['zinc', 'zinc_sd']
    """
    chosen = MapOptions(level=level, conformal=conformal, kriging=kriging, extra_layers=extra_layers)
    if calibrations and level is None:
        raise InputError(
            "map_elements: calibrations widen the interval, which level=None omits; pass a level, or omit them"
        )
    cube = with_soil_mask(require_cube(cube, "map_elements"))
    if isinstance(samples, pd.DataFrame):
        if elements is None or features is None:
            raise InputError("map_elements: samples need elements= and features=, both lists of names")
        names = sources_of("map_elements", features, cube, layers)
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
    mapped: dict[str, ElementModel] = {}
    for element, forest in trained.items():
        mapped[element] = element_model(
            forest,
            chosen,
            positions=_positions(samples, forest, cube) if isinstance(samples, pd.DataFrame) else None,
            cells=_cells(cube, forest, layers) if conformal == "weighted" else None,
            measurement=lines[element].measurement_error() if element in lines else None,
            workers=int(options.get("workers", 1)),
        )
    declared_by = {element: _declared(element, options.get("properties")) for element in trained}
    labels = {element: element if one is None else one.layer for element, one in declared_by.items()}
    maps = map_models({labels[name]: one.model for name, one in mapped.items()}, cube, layers, unseen=unseen)
    for element, one in mapped.items():
        attributes, declared = maps[labels[element]].attrs, declared_by[element]
        if declared is not None and declared.scale:
            attributes["scale"] = declared.scale
        if one.variogram is not None:
            attributes[ATTRIBUTE] = variogram_text(one.variogram)
        if one.comparison is not None:
            attributes["kriging_result"] = one.kriging_text
    maps.attrs = {"title": f"topsoil elements: {', '.join(trained)}", "method_of": MICRONUTRIENT_STUDY}
    return maps


def _positions(samples: pd.DataFrame, forest: TrainedForest, cube: xr.Dataset) -> npt.NDArray[np.float64] | None:
    """Longitude and latitude of the used rows; None for samples without positions, whose covariates are their own."""
    pairs = position_pairs(samples)
    if not pairs or not samples.index.is_unique:
        return None
    east, north = positions_of(samples.loc[forest.folds.index], pairs[0], where="map")
    if not pairs[0].degrees:
        east, north = unproject_points(east, north, grid_of(cube, where="map"))
    return np.column_stack([east, north])


def _cells(cube: xr.Dataset, forest: TrainedForest, layers: Mapping[str, str] | None) -> pd.DataFrame:
    """Covariates of mapped cells, by the names of the features."""
    named = {feature: cube[layer] for feature, layer in (layers or {}).items() if feature in forest.features}
    return mapped_covariates(cube.assign(named), forest.features)


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
    return _declared(element, properties) or SoilProperty("content", log=True)


def _declared(element: str, properties: Mapping[str, SoilProperty] | None) -> SoilProperty | None:
    """The property of a column, where it is declared or known."""
    return (properties or {}).get(element) or known_property(element)
