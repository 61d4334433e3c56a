"""`[elements]` of a recipe: samples, their screening, the forests, and their evaluation."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from tpsoil.errors import InputError, nearest_name
from tpsoil.forest.options import Preset
from tpsoil.micronutrients.alteration import INDEX
from tpsoil.micronutrients.covariate_groups import covariate_groups
from tpsoil.micronutrients.element_model import ExtraLayer, KrigingChoice, MapOptions
from tpsoil.soil_mask import OnMasked

from .element_sample_options import FoldDesign, SamplesKeys, read_folds
from .element_study_options import AlterationTable, PairsTable, ScreenTable
from .section import FilePath, Layers

INTERVALS: Final = (0.5, 0.8, 0.9, 0.95)


REPORTED: Final = (
    "drivers", "driver_repeats", "driver_groups", "effects", "dependence", "bands", "compare", "classes", "group_test",
    "ranges", "representation", "published", "extra_features", "uncalibrated_maps", "citation",
)  # fmt: skip
"""Keys that decide tables and no map."""
NO_COMPOSITION: Final = (*REPORTED, "icp", "pairs", "calibration", "variance_ratio", "calibration_error", "screen",
                         "extra_layers", "conformal", "kriging", "cia")  # fmt: skip
"""Keys without effect on the maps of a composition."""
OF_PLACES: Final = ("encoding", "longitude", "latitude", "x", "y", "crs", "site", "replicate", "date", "years",
                    "masked_samples", "masked_within_km", "units", "properties")  # fmt: skip
"""Keys that decide where samples lie."""
FILLED: Final = {"half": "half of the limit", "limit": "the limit"}
"""What stands for a censored value, by `censored_as`."""


class ElementsTable(SamplesKeys):
    """`[elements]`: samples, covariates, and settings of the forests.

    Parameters
    ----------
    features : list of str
        Layers that the forests use.
    training_cube : str, optional
        Cube with all features that is wider than the map: samples outside the mapped grid are used for training with
        its covariates. Those on the mapped grid take its own.
    train_on : "map" or "sources"
        "sources": samples outside the mapped grid are used for training with covariates that are computed at their
        cells from the sources of `[[layers]]`, by the units and missing values of these, and of `[derive]` and
        `[mask]`. Those on the mapped grid take its own.
    from_samples : table of feature to column
        Features that training takes from the samples instead of the layer, such as station climate.
    trees : int
        Of each forest.
    preset : "default" or "randomForest"
        "randomForest": the defaults of R's package, with which the spread between trees compares with published maps.
    folds : list of str
        Of `"random"`, `"group"`, `"block"`, `"region:COLUMN"` (one region of the samples left out at a time) and
        `"knndm"` (test samples as far from the others as the mapped cells from the samples): scored side by side.
        Blocks are as wide as the range of the residuals' variogram; `"block:3deg"` or `"block:50km"` gives their side.
    n_folds : int
        Of each kind of folds.
    log : bool
        Fit the logarithm to base 10 of contents; pH and shares such as clay are fitted as they are.
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
        Of the forest, by scikit-learn's names, such as `max_features`; `splitter = "random"` grows extra-trees.
    search : table of setting to list
        Values that are tried within the training part of every fold, such as `max_features`.
    search_trees : int
        Of each forest of the search.
    search_folds : int
        Inner folds of the search, in the training part of each outer fold.
    interval : float
        Level of a mapped prediction interval, such as 0.9; none by default.
    conformal : str
        Kind of the interval: `"plain"` (quantiles of the forest, nominal coverage on average over places like the
        samples), `"spread"` (mean and spread between trees times a factor, with the same coverage and without the cost
        of quantiles: the choice for many cells, such as 30 m), `"class:FEATURE"` (quantiles, nominal coverage within
        each class of a feature), or `"weighted"` (quantiles, nominal coverage over the mapped area, whose covariates
        differ from those of the samples).
    feature_selection : "none", "forward" or "nested"
        Map with the features of a forward selection in the deciding folds; "nested": also score the selection itself,
        by selecting anew within the training part of each fold.
    selection_trees : int
        Of each forest of the selection.
    kriging : "none" or "residuals"
        Krige the residuals of the forest from the nearest samples and add them to the map, if that wins in the deciding
        folds; the run reports whether it does.
    extra_layers : list of "point_density" and "expected_error"
        Maps of the samples within the threshold of dissimilarity, and of the RMSE expected at the cell's dissimilarity.
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
        **SamplesKeys.NEEDS,
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
        "selection_trees": ("feature_selection", ("forward", "nested")),
    }

    features: Layers = Field(min_length=1)
    training_cube: FilePath | None = None
    train_on: Literal["map", "sources"] = "map"
    from_samples: dict[str, str] = Field(default_factory=dict)
    trees: int = Field(default=500, ge=2, le=10_000)
    preset: Preset = "default"
    folds: tuple[str, ...] = ("random", "block")
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
    conformal: str = Field(default="plain", pattern=r"^(plain|spread|weighted|class:.+)$")
    feature_selection: Literal["none", "forward", "nested"] = "none"
    selection_trees: int = Field(default=100, ge=2)
    kriging: KrigingChoice = "none"
    extra_layers: tuple[ExtraLayer, ...] = ()
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

    @field_validator("folds")
    @classmethod
    def _check_folds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        read_folds(kinds)
        return kinds

    @property
    def design(self) -> FoldDesign:
        """Kinds of folds, the side of a block, and the column of regions."""
        return read_folds(self.folds)

    @property
    def region(self) -> str | None:
        """Column of the samples with the regions of "region" folds."""
        return self.design.region

    @field_validator("interval")
    @classmethod
    def _check_level(cls, level: float | None) -> float | None:
        if level is not None and level not in INTERVALS:
            raise ValueError(f"is {level:g}, expected one of {', '.join(map(str, INTERVALS))}")
        return level

    def of_symbols(self, symbols: Collection[str]) -> ElementsTable:
        """This table without the entries of other elements; `elements` and `composition` stay complete."""
        own: dict[str, Any] = {
            key: {name: value for name, value in getattr(self, key).items() if name in symbols}
            for key in ("limits", "icp", "properties")
        }
        if isinstance(self.units, dict):
            own["units"] = {name: unit for name, unit in self.units.items() if name in symbols} or None
        if self.pairs is not None:
            columns = {name: names for name, names in self.pairs.columns.items() if name in symbols}
            own["pairs"] = self.pairs.model_copy(update={"columns": columns}) if columns else None
        return self.model_copy(update=own)

    def of_places(self, features: tuple[str, ...], *kept: str) -> ElementsTable:
        """This table for what depends on the samples' places, on `features` and on the keys `kept`: on no content."""
        places = {"features": features, "elements": self.first_column, "check_units": False, "negative": "censor"}
        return self.keeping(*OF_PLACES, *kept).model_copy(update=places)

    @property
    def map_options(self) -> MapOptions:
        """What the maps have beside mean and spread."""
        return MapOptions(
            level=self.interval, conformal=self.conformal, kriging=self.kriging, extra_layers=self.extra_layers
        )

    def log_of(self, symbol: str) -> bool:
        """Whether the logarithm of an element is fitted."""
        return self.log and self.property_of(symbol).log

    @property
    def calibrated(self) -> dict[str, str]:
        """Symbol of each element with paired readings, and where they are: "icp" or "pairs"."""
        paired = {} if self.pairs is None else dict.fromkeys(self.pairs.columns, "pairs")
        return paired | dict.fromkeys(self.icp, "icp")

    @property
    def predicts_index(self) -> bool:
        """Whether elements are predicted from the predicted layer of the index of alteration."""
        features = () if self.cia is None else self.cia.features
        return bool(features) and INDEX in self.features and INDEX not in self.from_samples

    @property
    def groups_of_features(self) -> dict[str, list[str]]:
        """Features by group, empty where no joint importance is asked for."""
        if not self.driver_groups:
            return {}
        return covariate_groups(self.features, None if self.driver_groups == "five" else self.driver_groups)

    @model_validator(mode="after")
    def _check_study(self) -> ElementsTable:
        for key in ("calibration", "uncalibrated_maps", "calibration_error"):
            if not self.is_default(key) and not self.calibrated:
                raise ValueError(f"{key} has no effect without icp or pairs; set one of them, or leave {key} out")
        for symbol in () if self.pairs is None else self.pairs.columns:
            if symbol not in self.columns:
                raise ValueError(f"pairs.columns names '{symbol}', which is none of {', '.join(self.columns)}")
            if symbol in self.icp:
                raise ValueError(f"'{symbol}' has readings in icp and in pairs; give one of them")
        for key in () if self.columns else sorted({*NO_COMPOSITION} - {"representation", "citation", "cia"}):
            if not self.is_default(key):
                raise ValueError(f"{key} has no effect on a composition; name elements, or leave {key} out")
        if self.train_on == "sources" and self.training_cube is not None:
            raise ValueError("training_cube and train_on both give covariates outside the map; give one of them")
        if self.cia is not None and INDEX in self.cia.features:
            raise ValueError(f"cia.features names {INDEX} itself; leave it out")
        if isinstance(self.driver_groups, dict):
            try:
                covariate_groups(self.features, self.driver_groups)
            except InputError as error:
                raise ValueError(str(error).replace("covariate_groups: ", "driver_groups: ")) from error
        return self

    @model_validator(mode="after")
    def _check_names(self) -> ElementsTable:
        symbols = list(self.columns)
        per_element: dict[str, Collection[str]] = {"limits": self.limits, "icp": self.icp}
        if isinstance(self.units, dict):
            per_element["units"] = self.units
        for key, named in per_element.items():
            for symbol in named:
                if symbol not in symbols and (key == "icp" or symbol not in self.parts):
                    raise ValueError(f"{key} names '{symbol}', which is none of the elements {', '.join(symbols)}")
        for symbol in (*symbols, *self.parts):
            layer = self.property_of(symbol).layer
            if layer in self.features:
                raise ValueError(
                    f"features has '{layer}', the map of {symbol} itself, which would predict it; leave it out"
                )
        for name in self.classes:
            if self.compare and name not in self.compare:
                raise ValueError(f"classes names '{name}', which compare does not{nearest_name(name, self.compare)}")
        by = self.conformal.removeprefix("class:")
        if by != self.conformal and by not in self.features:
            raise ValueError(f"conformal names '{by}', which is no feature{nearest_name(by, self.features)}")
        if by != self.conformal and self.feature_selection != "none":
            raise ValueError(
                f"feature_selection might not select '{by}', which conformal needs; leave one of the two out"
            )
        for effect in self.effects:
            for name in effect.split("*"):
                if name not in self.features:
                    raise ValueError(f"effects names '{name}', which is no feature{nearest_name(name, self.features)}")
        return self
