"""`[elements]` of a recipe: samples, their screening, the forests, and their evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from tpsoil.errors import InputError, nearest_name
from tpsoil.forest.options import Preset
from tpsoil.micronutrients.alteration import INDEX
from tpsoil.micronutrients.covariate_groups import covariate_groups
from tpsoil.soil_mask import OnMasked
from tpsoil.variables import ELEMENTS

from .element_study_options import AlterationTable, PairsTable
from .section import Section

NAMES: Final = {symbol: name for name, symbol in ELEMENTS.items()}
FOLDS: Final = re.compile(r"^(?:(random|group|knndm)|(block):(\d*\.?\d+)deg|(region):(.+))$")
INTERVALS: Final = (0.5, 0.8, 0.9, 0.95)


class ScreenTable(Section):
    """`[elements.screen]`: outliers are excluded from training, and counted.

    Parameters
    ----------
    threshold : float
        Standard deviations.
    method : "sd" or "mad"
        Mean and sd, or median and median absolute deviation.
    log : bool
        Screen the logarithms.
    iterate : bool
        Repeat until no outlier remains.
    """

    threshold: float = Field(default=3.0, gt=0)
    method: Literal["sd", "mad"] = "sd"
    log: bool = False
    iterate: bool = False


class ElementsTable(Section):
    """`[elements]`: samples, covariates, and settings of the forests.

    Parameters
    ----------
    samples : str
        CSV, one row a sample.
    citation : str
        Reference of the samples; the run's references list it.
    elements : list of str, or table of symbol to column
        Such as `["Fe", "Zn"]`, or `{ Fe = "iron_ppm" }`.
    features : list of str
        Layers that the forests use.
    longitude, latitude : str
        Columns, degrees.
    site : str, optional
        Column that names the site of replicates; they stay in one fold.
    from_samples : table of feature to column
        Features that training takes from the samples instead of the layer, such as station climate.
    trees : int
        Of each forest.
    preset : "default" or "randomForest"
        "randomForest": the defaults of R's package, with which the spread between trees compares with published maps.
    folds : list of str
        Of `"random"`, `"group"`, `"block:3deg"`, `"region:COLUMN"` (one region of the samples left out at a time) and
        `"knndm"` (test samples as far from the others as the mapped cells from the samples): scored side by side.
    n_folds : int
        Of each kind of folds.
    log : bool
        Fit the logarithm to base 10.
    unseen_classes : "error" or "nodata"
        For cells whose class no sample has: reject, or leave them empty and count them.
    masked_samples : "move", "drop" or "keep"
        Samples on a cell without soil (water, ice, masked): moved to the nearest cell with soil, and left out where
        there is none near; left out; or kept. They are counted and named.
    masked_within_km : float, optional
        How far they are moved at most; by default two cells.
    drivers : bool
        Rank the covariates by permutation at the held-out rows of the deciding folds, with %IncMSE beside it.
    driver_repeats : int
        Permutations in each fold.
    settings : table
        For scikit-learn's RandomForestRegressor, such as `max_features`.
    search : table of setting to list
        Values that are tried within the training part of every fold, such as `max_features`.
    search_trees : int
        Of each forest of the search.
    search_folds : int
        Inner folds of the search, in the training part of each outer fold.
    interval : float
        Level of a mapped prediction interval, such as 0.9; none by default.
    conformal : str
        Correction of the interval: `"plain"` (nominal coverage on average over places like the samples),
        `"class:FEATURE"` (within each class of a feature), or `"weighted"` (over the mapped area, whose covariates
        differ from those of the samples).
    kriging : "none" or "residuals"
        Krige the residuals of the forest from the nearest samples and add them to the map, if that wins in the deciding
        folds; the run reports whether it does.
    extra_layers : list of "point_density" and "expected_error"
        Maps of the samples within the threshold of dissimilarity, and of the RMSE expected at the cell's dissimilarity.
    replicate : str
        Column that numbers the replicates of a site.
    units : str, or table of symbol to str
        Of the columns, such as `"mg kg-1"`, `"%"` or `"% Fe2O3"`; converted on import.
    check_units : bool
        Reject values outside the range of their element.
    limits : table of symbol to number
        Limit of detection; values below it count as censored.
    negative : "error" or "censor"
        Negative contents: reject them, or count them as below the limit.
    empty_cells : "missing" or "censored"
        Empty cells of a column: not measured, or below the limit.
    max_censored : float
        Largest share of censored samples of an element that is mapped.
    allow_censored : bool
        Map an element also with a larger share.
    censored_as : "half", "limit" or "drop"
        Value of a censored sample: half the limit, the limit, or none.
    icp : table of symbol to column
        ICP-MS readings of some of the samples; the others are converted by a calibration line.
    pairs : table
        Paired XRF and ICP-MS readings in a table of their own, in place of `icp`.
    calibration : "ols", "deming" or "rma"
        Method of the calibration line.
    variance_ratio : float
        Of "deming": error variance of ICP-MS over that of XRF.
    calibration_error : bool
        Widen the mapped interval by the prediction error of the calibration line, in quadrature.
    uncalibrated_maps : bool
        Map the XRF readings before calibration too, as `NAME_xrf`.
    cia : table
        Chemical index of alteration of the samples, as a column and as a predicted layer.
    screen : table
        Outliers are excluded from training.
    extra_features : list of str
        Columns of the samples without a layer: scored beside the map's own features, never mapped.
    compare : list of str
        Class columns or layers whose classes are compared on site means.
    classes : table of column to breaks
        Columns of numbers that are cut into classes for `compare`.
    group_test : "auto", "tukey" or "games-howell"
        Test of the comparison; "auto" takes Games-Howell where the variances differ.
    ranges : list of str
        Features or columns of the samples whose range is listed for every class of `compare`.
    representation : list of str
        Class layers: share of the sites beside share of the area of each class, as a table, a figure and a map of their
        ratio, `representation_NAME`.
    driver_groups : "five", or table of group to list of str
        Joint importance of groups of features; "five": climate, terrain, vegetation, soil and weathering.
    effects : list of str
        Features whose effect is drawn; `a*b` for two together.
    dependence : bool
        Partial dependence beside the accumulated local effect of each feature of `effects`.
    bands : int
        Bootstrap samples of the band around each effect; none by default.
    published : "huo2026"
        Tables set own numbers beside those of this study, and the page names the table or figure of the paper.
    simulated : bool
        The samples are simulated, not measured; recorded in every output and figure.
    """

    NEEDS: ClassVar = {
        "search_trees": ("search", ()),
        "search_folds": ("search", ()),
        "variance_ratio": ("calibration", ("deming",)),
        "driver_groups": ("drivers", ()),
        "dependence": ("effects", ()),
        "group_test": ("compare", ()),
        "ranges": ("compare", ()),
        "driver_repeats": ("drivers", ()),
        "bands": ("effects", ()),
        "classes": ("compare", ()),
        "masked_within_km": ("masked_samples", ("move",)),
        "conformal": ("interval", ()),
        "extra_layers": ("interval", ()),
    }

    samples: str
    citation: str | None = Field(default=None, min_length=1)
    elements: tuple[str, ...] | dict[str, str]
    features: tuple[str, ...] = Field(min_length=1)
    longitude: str = "longitude"
    latitude: str = "latitude"
    site: str | None = None
    from_samples: dict[str, str] = Field(default_factory=dict)
    trees: int = Field(default=500, ge=2, le=10_000)
    preset: Preset = "default"
    folds: tuple[str, ...] = ("random", "block:3deg")
    n_folds: int = Field(default=5, ge=2)
    log: bool = True
    unseen_classes: Literal["error", "nodata"] = "error"
    masked_samples: OnMasked = "move"
    masked_within_km: float | None = Field(default=None, gt=0)
    settings: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, list[Any]] = Field(default_factory=dict)
    search_trees: int = Field(default=100, ge=2)
    search_folds: int = Field(default=3, ge=2)
    interval: float | None = None
    conformal: str = Field(default="plain", pattern=r"^(plain|weighted|class:.+)$")
    kriging: Literal["none", "residuals"] = "none"
    extra_layers: tuple[Literal["point_density", "expected_error"], ...] = ()
    replicate: str | None = None
    units: str | dict[str, str] = "mg kg-1"
    check_units: bool = True
    limits: dict[str, float] = Field(default_factory=dict)
    negative: Literal["error", "censor"] = "error"
    empty_cells: Literal["missing", "censored"] = "missing"
    max_censored: float = Field(default=0.3, ge=0, le=1)
    allow_censored: bool = False
    censored_as: Literal["half", "limit", "drop"] = "half"
    icp: dict[str, str] = Field(default_factory=dict)
    pairs: PairsTable | None = None
    calibration: Literal["ols", "deming", "rma"] = "ols"
    variance_ratio: float = Field(default=1.0, gt=0)
    calibration_error: bool = True
    uncalibrated_maps: bool = False
    cia: AlterationTable | None = None
    screen: ScreenTable | None = None
    extra_features: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()
    classes: dict[str, list[float]] = Field(default_factory=dict)
    group_test: Literal["auto", "tukey", "games-howell"] = "auto"
    ranges: tuple[str, ...] = ()
    representation: tuple[str, ...] = ()
    drivers: bool = False
    driver_repeats: int = Field(default=5, ge=1, le=1000)
    driver_groups: Literal["five"] | dict[str, list[str]] = Field(default_factory=dict)
    effects: tuple[str, ...] = ()
    dependence: bool = False
    bands: int = Field(default=0, ge=0)
    published: Literal["huo2026"] | None = None
    simulated: bool = False

    @property
    def columns(self) -> dict[str, str]:
        """Symbol of each element, and its column in the samples."""
        if isinstance(self.elements, Mapping):
            return dict(self.elements)
        return {symbol: symbol for symbol in self.elements}

    @field_validator("elements")
    @classmethod
    def _check_elements(cls, elements: Any) -> Any:
        unknown = [symbol for symbol in elements if symbol not in NAMES]
        if unknown or not elements or len(set(elements)) < len(elements):
            raise ValueError(f"is {list(elements)}, expected each at most once of {', '.join(NAMES)}")
        return elements

    @field_validator("features")
    @classmethod
    def _without_repeats(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"names a layer twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
        return names

    @field_validator("folds")
    @classmethod
    def _check_folds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        names = []
        for text in kinds:
            match = FOLDS.match(text)
            if match is None:
                raise ValueError(
                    f"has '{text}', expected 'random', 'group', 'knndm', a block in degrees such as 'block:3deg', or a "
                    "column of regions such as 'region:province'"
                )
            names.append(match[1] or match[2] or match[4])
        if not kinds or len(set(names)) < len(names):
            raise ValueError("needs one or more kinds of folds, each once, with one size of blocks")
        return kinds

    @property
    def kinds(self) -> tuple[list[str], float]:
        """Kinds of folds, and the side of a block in degrees."""
        matches = [match for text in self.folds if (match := FOLDS.match(text))]
        sizes = [float(match[3]) for match in matches if match[3]]
        return [match[1] or match[2] or match[4] for match in matches], (sizes[0] if sizes else 3.0)

    @property
    def region(self) -> str | None:
        """Column of the samples with the regions of "region" folds."""
        columns = [match[5] for text in self.folds if (match := FOLDS.match(text)) and match[5]]
        return columns[0] if columns else None

    @field_validator("interval")
    @classmethod
    def _check_level(cls, level: float | None) -> float | None:
        if level is not None and level not in INTERVALS:
            raise ValueError(f"is {level:g}, expected one of {', '.join(map(str, INTERVALS))}")
        return level

    @property
    def calibrated(self) -> dict[str, str]:
        """Symbol of each element with paired readings, and where they are: "icp" or "pairs"."""
        paired = {} if self.pairs is None else dict.fromkeys(self.pairs.columns, "pairs")
        return paired | dict.fromkeys(self.icp, "icp")

    @property
    def groups_of_features(self) -> dict[str, list[str]]:
        """Features by group, empty where no joint importance is asked for."""
        if not self.driver_groups:
            return {}
        return covariate_groups(self.features, None if self.driver_groups == "five" else self.driver_groups)

    @model_validator(mode="after")
    def _check_study(self) -> ElementsTable:
        for key in ("calibration", "uncalibrated_maps", "calibration_error"):
            if getattr(self, key) != type(self).model_fields[key].default and not self.calibrated:
                raise ValueError(f"{key} has no effect without icp or pairs; set one of them, or leave {key} out")
        for symbol in () if self.pairs is None else self.pairs.columns:
            if symbol not in self.columns:
                raise ValueError(f"pairs.columns names '{symbol}', which is none of {', '.join(self.columns)}")
            if symbol in self.icp:
                raise ValueError(f"'{symbol}' has readings in icp and in pairs; give one of them")
        if self.cia is not None and INDEX in self.cia.features:
            raise ValueError(f"cia.features names {INDEX} itself; leave it out")
        try:
            covariate_groups(self.features, self.driver_groups if isinstance(self.driver_groups, dict) else None)
        except InputError as error:
            raise ValueError(str(error).replace("covariate_groups: ", "driver_groups: ")) from error
        return self

    @model_validator(mode="after")
    def _check_names(self) -> ElementsTable:
        symbols = list(self.columns)
        per_element: dict[str, list[str]] = {"limits": list(self.limits), "icp": list(self.icp)}
        if isinstance(self.units, dict):
            per_element["units"] = list(self.units)
        for key, symbols_of_key in per_element.items():
            for symbol in symbols_of_key:
                if symbol not in symbols:
                    raise ValueError(f"{key} names '{symbol}', which is none of the elements {', '.join(symbols)}")
        for name in self.classes:
            if self.compare and name not in self.compare:
                raise ValueError(f"classes names '{name}', which compare does not{nearest_name(name, self.compare)}")
        by = self.conformal.removeprefix("class:")
        if by != self.conformal and by not in self.features:
            raise ValueError(f"conformal names '{by}', which is no feature{nearest_name(by, self.features)}")
        for effect in self.effects:
            for name in effect.split("*"):
                if name not in self.features:
                    raise ValueError(f"effects names '{name}', which is no feature{nearest_name(name, self.features)}")
        return self
