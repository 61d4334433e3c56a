"""All layers of a forest's map from one pass: mean, spread, interval, dissimilarity, applicability."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.display import text_summary
from tpsoil.errors import InputError
from tpsoil.evaluation import Kriging
from tpsoil.forest.applicability import ForestSpace
from tpsoil.forest.checks import check_forests
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.dissimilarity import Applicability, ErrorCurve
from tpsoil.forest.encoding import Encoding
from tpsoil.forest.features import require_cube
from tpsoil.forest.intervals import Conformal, conformal_intervals
from tpsoil.forest.local_intervals import (
    ClassCorrection,
    ShiftCorrection,
    chance_of_area,
    check_choices,
    class_correction,
    error_curve,
    shift_correction,
)
from tpsoil.forest.mapping import map_members
from tpsoil.forest.measurement import MeasurementError
from tpsoil.forest.model_bytes import Unpacked, encoding_of, pack, reading_model, unpack
from tpsoil.forest.outputs import LIMITS, SPREAD_LIMITS, layer_variables
from tpsoil.forest.quantiles import Levels, Responses
from tpsoil.forest.residual_kriging import add_kriged
from tpsoil.forest.tables import Unseen
from tpsoil.forest.trained import TrainedForest
from tpsoil.forest.walking import Prediction
from tpsoil.labels import dataset_of
from tpsoil.soil_mask import MASK, RECORD, with_soil_mask
from tpsoil.variables import Variable

Array = npt.NDArray[Any]

BATCH: Final = 1 << 15
"""Pixels whose columns of covariate space are in memory together."""


@dataclass(frozen=True, eq=False)
class MapModel:
    """A trained forest as plain arrays with all that its maps need. Created by `MapModel.of`.

    Parameters
    ----------
    name : str
        Of the target.
    encoding : Encoding
        From features to the trees' columns.
    forest : CompiledForest
        In the target's own unit; with its training responses where intervals are mapped.
    conformal : Conformal or None
        None maps mean and spread alone.
    space : Encoding or None
        From features to the columns of covariate space.
    area : Applicability or None
    facts : mapping
        Attributes of the maps: scores, folds, settings.
    measurement : MeasurementError or None
        Error of the training values, which widens the interval.
    extra : tuple of str
        Of `outputs.EXTRA_LAYERS`.
    error : ErrorCurve or None
        Of "expected_error".
    by_class : ClassCorrection or None
        Corrections of the interval by class.
    by_shift : ShiftCorrection or None
        Corrections weighted by covariate shift, with `domain`.
    domain : CompiledForest or None
        Classifier of samples and mapped cells.
    kriging : Kriging or None
        Of residuals on the scale of the fit, added to mean and limits; see `krige_residuals`.
    """

    name: str
    encoding: Encoding
    forest: CompiledForest
    facts: Mapping[str, Any]
    conformal: Conformal | None = None
    space: Encoding | None = None
    area: Applicability | None = None
    measurement: MeasurementError | None = None
    extra: tuple[str, ...] = ()
    error: ErrorCurve | None = None
    by_class: ClassCorrection | None = None
    by_shift: ShiftCorrection | None = None
    domain: CompiledForest | None = None
    kriging: Kriging | None = None

    @classmethod
    def of(
        cls,
        trained: TrainedForest,
        *,
        level: float | None = 0.9,
        measurement: MeasurementError | None = None,
        extra: Sequence[str] = (),
        conformal: str = "plain",
        cells: pd.DataFrame | None = None,
    ) -> MapModel:
        """Compile a trained forest for mapping.

        Parameters
        ----------
        trained : TrainedForest
        level : float or None
            Nominal coverage of the interval: 0.5, 0.8, 0.9 or 0.95. None omits interval and applicability.
        measurement : MeasurementError, optional
            Error of the training values, in the target's unit; it is added to the interval in quadrature.
        extra, conformal, cells
            Further layers, and kind of the interval, see `local_intervals.check_choices`.

        Returns
        -------
        MapModel

        Raises
        ------
        InputError
            For classes that are text: a raster has codes. For an unknown layer or method, or one without a level.
        """
        check_choices(level, extra, conformal, cells)
        trained.encoding.require_codes()
        facts = {
            "model": f"random forest, {trained.settings['trees']} trees",
            "preset": str(trained.settings.get("preset", "default")),
            "grower": str(trained.settings.get("engine", "scikit-learn")),
            "fitted_scale": str(trained.settings["transform"]),
            "back_transform": str(trained.settings["back_transform"]),
            "deciding_folds": trained.settings["folds"][trained.deciding],
            "samples": int(trained.counts["used"]),
            **{f"nse_{kind}": round(float(trained.scores.loc[kind, "nse"]), 4) for kind in trained.scores.index},
        }
        if level is None:
            return cls(trained.target, trained.encoding, trained.compile(), facts)
        space = ForestSpace.of(trained)
        by_shift, domain = (None, None) if cells is None else shift_correction(trained, level, cells)
        return cls(
            name=trained.target,
            encoding=trained.encoding,
            forest=trained.compile(responses=conformal != "spread"),
            facts=facts,
            conformal=conformal_intervals(trained, level, method="spread" if conformal == "spread" else "quantile"),
            space=space.encoding,
            area=space.area,
            measurement=measurement,
            extra=tuple(extra),
            error=error_curve(trained, space) if "expected_error" in extra else None,
            by_class=class_correction(trained, level, conformal[6:]) if conformal.startswith("class:") else None,
            by_shift=by_shift,
            domain=domain,
        )

    def __repr__(self) -> str:
        facts = {
            "target": f"{self.name}, {self.forest.units}",
            "features": ", ".join(self.features),
            "trees": self.forest.trees,
            "interval": None if self.conformal is None else f"{100 * self.conformal.level:g} %",
            "applicability": None if self.area is None else f"dissimilarity up to {self.area.threshold:.3g}",
        }
        return text_summary("MapModel", facts)

    @property
    def features(self) -> tuple[str, ...]:
        """Layers that the maps are computed from."""
        return tuple(feature.name for feature in self.encoding.features)

    @property
    def levels(self) -> Levels | None:
        """Quantiles that bound the interval; None where mean and spread do."""
        if self.conformal is None or self.conformal.method == "spread":
            return None
        return Levels(self.conformal.quantiles, "responses")

    def finish(self, prediction: Prediction, raw: Sequence[Array], selected: Array) -> list[Array]:
        """The layers of a block from the predictions of the trees.

        Parameters
        ----------
        prediction : Prediction
        raw : sequence of ndarray (n,), float32
            One for each feature.
        selected : ndarray (n,), bool
            Pixels that were predicted.

        Returns
        -------
        list of ndarray (n,)
            In the order of `outputs.LAYERS`, then of `extra`; mean and spread alone without intervals.
        """
        mean, sd, quantiles = prediction.mean[0], prediction.sd[0], prediction.quantiles
        if self.conformal is None or self.area is None or self.space is None:
            return [mean, sd]
        correction = self._correction(raw, selected)
        if quantiles is None:
            lower, upper = self.conformal.around_mean(mean, sd)
        else:
            lower, upper = self.conformal.around_quantiles(quantiles[0, :, 0], quantiles[0, :, 1], correction)
        if correction is not None:
            unsupported = ~np.isfinite(correction)
            lower[unsupported], upper[unsupported] = np.nan, np.nan
        if self.measurement is not None:
            lower, upper = self.measurement.widen(mean, lower, upper, self.conformal.level)
        # The area is derived from the index as it is stored, so that the two maps are always consistent.
        index, density = np.full((2, selected.size), np.nan, dtype=np.float32)
        for place, columns in self._batches(self.space, raw, selected):
            rows = np.stack(list(columns.values()), axis=1)
            index[place] = self.area.index(rows)
            if "point_density" in self.extra:
                density[place] = self.area.point_density(rows)
        more: dict[str, Array] = {"point_density": density}
        if self.error is not None:
            more["expected_error"] = self.error.at(index).astype(np.float32)
        return [mean, sd, lower, upper, index, self.area.inside(index), *(more[name] for name in self.extra)]

    def _correction(self, raw: Sequence[Array], selected: Array) -> Array | None:
        """The interval's correction of each pixel; None where all have the same."""
        if self.by_class is not None:
            return self.by_class.at(raw[self.features.index(self.by_class.feature)])
        if self.by_shift is None or self.domain is None:
            return None
        correction = np.full(selected.size, np.nan)
        for place, columns in self._batches(self.encoding, raw, selected):
            correction[place] = self.by_shift.at(chance_of_area(self.domain, columns))
        return correction

    def _batches(
        self, encoding: Encoding, raw: Sequence[Array], selected: Array
    ) -> Iterator[tuple[Array, dict[str, Array]]]:
        """Some of the selected pixels at a time, with their columns of an encoding."""
        pixels = np.flatnonzero(selected)
        for begin in range(0, pixels.size, BATCH):
            place = pixels[begin : begin + BATCH]
            yield place, encoding.columns_of({name: column[place] for name, column in zip(self.features, raw)})

    def outputs(self, label: str) -> list[Variable]:
        """The layers' identities: `label`, `label_sd`, `label_lower` and so on."""
        level = None if self.conformal is None else self.conformal.level
        by_spread = self.conformal is not None and self.conformal.method == "spread"
        limits = SPREAD_LIMITS if by_spread else LIMITS
        return layer_variables(label, level, units=self.forest.units, title=self.name, extra=self.extra, limits=limits)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the maps."""
        attributes: dict[str, Any] = {**dict(self.facts), "features": " ".join(self.features)}
        if self.conformal is not None and self.area is not None:
            attributes["interval_level"] = self.conformal.level
            basis = "mean and spread between trees" if self.conformal.method == "spread" else "quantile forest"
            attributes["interval_method"] = f"{basis}, corrected by conformal scores of out-of-fold residuals"
            attributes["interval_correction"] = self.conformal.correction
            attributes["interval_coverage"] = "nominal on average over places like the samples"
            if self.by_class is not None:
                attributes["interval_method"] += f", by class of {self.by_class.feature} (group-conditional)"
                attributes["interval_correction"] = self.by_class.text
                attributes["interval_coverage"] = f"nominal within classes of {self.by_class.feature}"
            if self.by_shift is not None:
                attributes["interval_method"] += ", weighted by covariate shift (domain classifier)"
                attributes["interval_correction"] = "from the weight of each cell"
                attributes["interval_coverage"] = "nominal over the mapped area"
            attributes["applicability_threshold"] = self.area.threshold
        if self.kriging is not None:
            attributes["model"] += ", with simple kriging of residuals"
            attributes["kriging"] = str(self.kriging)
        if self.conformal is not None and self.measurement is not None:
            attributes["interval_includes"] = f"error of the {self.measurement.source}, in quadrature"
            attributes["measurement_sd"] = round(float(self.measurement.sd(self.measurement.centre)), 4)
        return attributes

    @property
    def digest(self) -> str:
        """Digest of everything the layers depend on."""
        return hashlib.sha256(self.dump()).hexdigest()

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (type(self).__name__, self.digest)

    def dump(self) -> bytes:
        """The model as bytes: arrays and plain values, no code; `load` reads them."""
        plain: dict[str, Any] = {"name": self.name, "facts": dict(self.facts), "extra": list(self.extra)}
        plain |= {"encoding": asdict(self.encoding), "space": None if self.space is None else asdict(self.space)}
        return pack(plain, {**{name: getattr(self, name) for name in PARTS}, "responses": self.forest.responses})

    @classmethod
    def load(cls, data: bytes) -> MapModel:
        """The model that `dump` wrote.

        Raises
        ------
        InputError
            For other bytes.
        CorruptStoreError
            For a forest whose nodes are not trees, whose features are not those of the model, and for parts that are
            missing or of another kind.
        """
        with reading_model():
            model = cls._of(unpack(data))
        check_forests(f"map model '{model.name}'", (model.forest, model.domain), model.encoding.columns)
        return model

    @classmethod
    def _of(cls, stored: Unpacked) -> MapModel:
        plain = stored.plain
        parts = {name: stored.part(name, kind) for name, kind in PARTS.items()}
        parts["forest"] = replace(parts["forest"], responses=stored.part("responses", Responses))
        return cls(
            name=plain["name"],
            encoding=encoding_of(plain["encoding"]),
            facts=plain["facts"],
            space=None if plain["space"] is None else encoding_of(plain["space"]),
            extra=tuple(plain.get("extra", ())),
            **parts,
        )


PARTS: Final[Mapping[str, Any]] = {
    "forest": CompiledForest, "conformal": Conformal, "area": Applicability, "measurement": MeasurementError,
    "error": ErrorCurve, "by_class": ClassCorrection, "by_shift": ShiftCorrection, "domain": CompiledForest,
    "kriging": Kriging,
}  # fmt: skip
"""Parts of a model that are numbers and arrays, and their types."""


def map_models(
    models: Mapping[str, MapModel],
    cube: xr.Dataset,
    layers: Mapping[str, str] | None = None,
    *,
    unseen: Unseen = "nan",
) -> xr.Dataset:
    """All layers of several forests, lazily, in one pass over the cube.

    Parameters
    ----------
    models : mapping of label to MapModel
        The label names the layers: `label`, `label_sd`, `label_lower`, `label_upper`, `label_dissimilarity`,
        `label_applicability`.
    cube : Dataset (y, x)
        Has every feature by name. Cells without soil are missing, see `tpsoil.soil_mask.with_soil_mask`.
    layers : mapping of str to str, optional
        Name in the cube of a feature that has another name there.
    unseen : {"nan", "error"}
        Treatment of a cell with soil and all covariates whose class is not in the training data.

    Returns
    -------
    Dataset (y, x)
        float32 and uint8; lazy where the cube is. A block of covariates is read once for all models.

    Raises
    ------
    MissingInputError
        Where the cube lacks features; all are listed.
    InputError
        For what is not a Dataset, and names in `layers` that are no features; with `unseen="error"` while computing.
    """
    cube = with_soil_mask(require_cube(cube, "map"))
    if not models:
        raise InputError("map: no model, expected one or more")
    coverage = sorted({model.conformal.level for model in models.values() if model.conformal is not None})
    if len(coverage) > 1:
        raise InputError(f"map: models of one map have different nominal coverage, {coverage}; use one level for all")
    attributes: dict[str, Any] = {"unseen_categories": unseen}
    if MASK in cube:
        attributes |= {key: cube[MASK].attrs[key] for key in (RECORD, "masked_classes") if key in cube[MASK].attrs}
    outputs = [spec for label, model in models.items() for spec in model.outputs(label)]
    results = map_members("map", tuple(models.values()), cube, layers, outputs=outputs, unseen=unseen)
    maps = dataset_of(results)
    for label, model in models.items():
        if model.kriging is not None:
            shifted = {str(name): maps[name] for name in (label, f"{label}_lower", f"{label}_upper") if name in maps}
            maps = maps.assign(add_kriged(shifted, model.kriging, cube, str(model.facts["fitted_scale"])))
        for spec in model.outputs(label):
            maps[spec.name].attrs.update({**model.attributes, **attributes})
    return maps
