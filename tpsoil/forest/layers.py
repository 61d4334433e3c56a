"""All that a map shows of a forest, from one look at a block: mean, spread, interval, dissimilarity, applicability."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.display import text_summary
from tpsoil.errors import InputError
from tpsoil.forest.applicability import ForestSpace
from tpsoil.forest.checks import check_forest
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.dissimilarity import Applicability
from tpsoil.forest.encoding import Encoding
from tpsoil.forest.features import Feature, float_layer, require_cube, require_features
from tpsoil.forest.intervals import Conformal, conformal_intervals
from tpsoil.forest.measurement import MeasurementError
from tpsoil.forest.outputs import layer_variables
from tpsoil.forest.packing import encoding_of
from tpsoil.forest.quantiles import Levels, Responses
from tpsoil.forest.tables import Unseen, check_unseen, unseen_message, usable
from tpsoil.forest.trained import TrainedForest
from tpsoil.forest.walking import Group, Prediction, walk_columns
from tpsoil.soil_mask import MASK, RECORD, with_soil_mask
from tpsoil.variables import Variable

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

BATCH: Final = 1 << 15
"""Pixels whose columns of covariate space are held at a time."""


@dataclass(frozen=True, eq=False)
class MapModel:
    """A trained forest as plain arrays with all that its maps need. Made by `MapModel.of`.

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
        What the attributes of the maps say: scores, folds, settings.
    measurement : MeasurementError or None
        Error of the training values, which widens the interval.
    """

    name: str
    encoding: Encoding
    forest: CompiledForest
    facts: Mapping[str, Any]
    conformal: Conformal | None = None
    space: Encoding | None = None
    area: Applicability | None = None
    measurement: MeasurementError | None = None

    @classmethod
    def of(
        cls, trained: TrainedForest, *, level: float | None = 0.9, measurement: MeasurementError | None = None
    ) -> MapModel:
        """Compile a trained forest for mapping.

        Parameters
        ----------
        trained : TrainedForest
        level : float or None
            Promised coverage of the interval: 0.5, 0.8, 0.9 or 0.95. None leaves out interval and applicability.
        measurement : MeasurementError, optional
            Error of the training values, in the target's unit; it is added to the interval in quadrature.

        Returns
        -------
        MapModel

        Raises
        ------
        InputError
            For classes that are text: a raster has codes.
        """
        for name, levels in trained.encoding.levels.items():
            if any(isinstance(value, str) for value in levels):
                raise InputError(
                    f"map: classes of '{name}' are text ({levels[0]!r}) in the training table and codes in the cube; "
                    "give the table the layer's codes"
                )
        facts = {
            "model": f"random forest, {trained.settings['trees']} trees",
            "preset": str(trained.settings.get("preset", "default")),
            "fitted_scale": str(trained.settings["transform"]),
            "back_transform": str(trained.settings["back_transform"]),
            "deciding_folds": trained.settings["folds"][trained.deciding],
            "samples": int(trained.counts["used"]),
            **{f"nse_{kind}": round(float(trained.scores.loc[kind, "nse"]), 4) for kind in trained.scores.index},
        }
        if level is None:
            return cls(trained.target, trained.encoding, trained.compile(), facts)
        space = ForestSpace.of(trained)
        return cls(
            name=trained.target,
            encoding=trained.encoding,
            forest=trained.compile(responses=True),
            facts=facts,
            conformal=conformal_intervals(trained, level),
            space=space.encoding,
            area=space.area,
            measurement=measurement,
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
        """Layers that the maps are made from."""
        return tuple(feature.name for feature in self.encoding.features)

    def finish(self, found: Prediction, raw: Sequence[Array], wanted: Array) -> list[Array]:
        """The layers of a block from what the trees gave.

        Parameters
        ----------
        found : Prediction
        raw : sequence of ndarray (n,), float32
            One a feature.
        wanted : ndarray (n,), bool
            Pixels that were predicted.

        Returns
        -------
        list of ndarray (n,)
            In the order of `outputs.LAYERS`; mean and spread alone without intervals.
        """
        if self.conformal is None or self.area is None or self.space is None or found.quantiles is None:
            return [found.mean[0], found.sd[0]]
        lower, upper = self.conformal.around_quantiles(found.quantiles[0, :, 0], found.quantiles[0, :, 1])
        if self.measurement is not None:
            lower, upper = self.measurement.widen(found.mean[0], lower, upper, self.conformal.level)
        # The area is judged from the index as it is stored, so that the two maps never contradict each other.
        index = np.full(wanted.size, np.nan, dtype=np.float32)
        kept = np.flatnonzero(wanted)
        for begin in range(0, kept.size, BATCH):
            place = kept[begin : begin + BATCH]
            columns = self.space.array(np.stack([column[place] for column in raw], axis=1))[0]
            # float32 as a layer of these columns is stored, so that area_of_applicability gives the same bits.
            index[place] = self.area.index(columns.astype(np.float32))
        return [found.mean[0], found.sd[0], lower, upper, index, self.area.inside(index)]

    def outputs(self, label: str) -> list[Variable]:
        """The layers' identities: `label`, `label_sd`, `label_lower` and so on."""
        level = None if self.conformal is None else self.conformal.level
        return layer_variables(label, level, units=self.forest.units, title=self.name)

    @property
    def attributes(self) -> dict[str, Any]:
        """What a reader of the maps needs to know."""
        said: dict[str, Any] = {**dict(self.facts), "features": " ".join(self.features)}
        if self.conformal is not None and self.area is not None:
            said["interval_level"] = self.conformal.level
            said["interval_method"] = "quantile forest, corrected by conformal scores of out-of-fold residuals"
            said["interval_correction"] = self.conformal.correction
            said["applicability_threshold"] = self.area.threshold
        if self.conformal is not None and self.measurement is not None:
            said["interval_includes"] = f"error of the {self.measurement.source}, in quadrature"
            said["measurement_sd"] = round(float(self.measurement.sd(self.measurement.centre)), 4)
        return said

    @property
    def digest(self) -> str:
        """Digest of everything the layers depend on."""
        return hashlib.sha256(self.dump()).hexdigest()

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (type(self).__name__, self.digest)

    def dump(self) -> bytes:
        """The model as bytes: arrays and plain values, no code; `load` reads them."""
        arrays: dict[str, Array] = {}
        plain: dict[str, Any] = {"name": self.name, "facts": dict(self.facts)}
        for part, held in (
            ("encoding", self.encoding), ("space", self.space), ("conformal", self.conformal),
            ("measurement", self.measurement),
        ):  # fmt: skip
            plain[part] = None if held is None else asdict(held)
        for part, stored in (("forest", self.forest), ("responses", self.forest.responses), ("area", self.area)):
            plain[part] = None if stored is None else {}
            for item in fields(stored) if stored is not None else ():
                value = getattr(stored, item.name)
                if isinstance(value, np.ndarray):
                    arrays[f"{part}.{item.name}"] = value
                elif item.name != "responses":
                    plain[part][item.name] = value
        text = np.frombuffer(json.dumps(plain, sort_keys=True).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, plain_=text, **arrays)
        return buffer.getvalue()

    @classmethod
    def load(cls, data: bytes) -> MapModel:
        """The model that `dump` wrote.

        Raises
        ------
        InputError
            For bytes of something else.
        CorruptStoreError
            For a forest whose nodes are no trees.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                plain = json.loads(stored["plain_"].tobytes())
                arrays = {name: stored[name] for name in stored.files}
        except (ValueError, KeyError, OSError) as error:
            raise InputError("forest: these bytes are no map model; write them with dump()") from error

        def part(name: str, kind: Any) -> Any:
            if plain.get(name) is None:
                return None
            held = {key: _tuples(value) for key, value in plain[name].items()}
            own = {key.split(".", 1)[1]: array for key, array in arrays.items() if key.startswith(f"{name}.")}
            return kind(**held, **own)

        forest = replace(part("forest", CompiledForest), responses=part("responses", Responses))
        check_forest(forest, f"map model '{plain['name']}'")
        return cls(
            name=plain["name"],
            encoding=_encoding(plain["encoding"]),
            forest=forest,
            facts=plain["facts"],
            conformal=part("conformal", Conformal),
            space=None if plain["space"] is None else _encoding(plain["space"]),
            area=part("area", Applicability),
            measurement=part("measurement", MeasurementError),
        )


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
        Holds every feature by name. Cells without soil are missing, see `tpsoil.soil_mask.with_soil_mask`.
    layers : mapping of str to str, optional
        Name in the cube of a feature that has another name there.
    unseen : {"nan", "error"}
        What a cell with soil is whose class training never saw.

    Returns
    -------
    Dataset (y, x)
        float32 and uint8; lazy where the cube is. A block of covariates is read once for all models.

    Raises
    ------
    MissingInputError
        Where the cube lacks features; all are listed.
    InputError
        For what is no Dataset; with `unseen="error"` while computing.
    """
    check_unseen("map", unseen)
    cube = require_cube(cube, "map")
    if not models:
        raise InputError("map: no model was given, expected one or more")
    features = list(dict.fromkeys(name for model in models.values() for name in model.features))
    names = {feature: (layers or {}).get(feature, feature) for feature in features}
    require_features(cube, list(names.values()), where="map", noun="layer")
    cube = with_soil_mask(cube)
    inputs = [float_layer(cube[name]) for name in names.values()]
    masked: dict[str, Any] = {"unseen_categories": unseen}
    if MASK in cube:
        inputs.append(cube[MASK])
        masked |= {key: cube[MASK].attrs[key] for key in (RECORD, "masked_classes") if key in cube[MASK].attrs}
    outputs = [spec for label, model in models.items() for spec in model.outputs(label)]
    shared = Maps(tuple(features), tuple(models.values()), unseen == "error")
    results = map_pixels(maps_block, *inputs, outputs=outputs, shared=shared)
    maps = xr.Dataset({spec.name: result for spec, result in zip(outputs, results)})
    for label, model in models.items():
        for spec in model.outputs(label):
            maps[spec.name].attrs.update({**model.attributes, **masked})
    return maps


@dataclass(frozen=True, eq=False)
class Maps:
    """Models that map one block together; rides in the graph once.

    Parameters
    ----------
    features : tuple of str
        In the order of the blocks.
    models : tuple of MapModel
    reject_unseen : bool
        Whether a class that training never saw is an error.
    """

    features: tuple[str, ...]
    models: tuple[MapModel, ...]
    reject_unseen: bool = False

    @cached_property
    def groups(self) -> list[tuple[list[int], Group]]:
        """Models whose trees see the same columns, with their common ranking; made once a process."""
        found: dict[Encoding, list[int]] = {}
        for k, model in enumerate(self.models):
            found.setdefault(model.encoding, []).append(k)
        forests = [(places, [self.models[k].forest for k in places]) for places in found.values()]
        return [(places, Group(tuple(held), encoding_of(held))) for places, held in forests]

    def __getstate__(self) -> dict[str, Any]:
        return {"features": self.features, "models": self.models, "reject_unseen": self.reject_unseen}

    def __sizeof__(self) -> int:
        return sum(model.forest.nbytes for model in self.models)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, self.features, tuple(m.digest for m in self.models), self.reject_unseen)


def maps_block(*arguments: Any) -> list[Array]:
    """One block: features, the mask where there is one, then the models."""
    shared: Maps = arguments[-1]
    blocks: Sequence[Array] = arguments[: len(shared.features)]
    shape = blocks[0].shape
    soil = np.ones(blocks[0].size, dtype=bool)
    for mask in arguments[len(shared.features) : -1]:
        soil &= mask.ravel() == 1
    raw = {name: block.ravel().astype(np.float32) for name, block in zip(shared.features, blocks)}
    results: list[list[Array]] = [[] for _ in shared.models]
    for places, group in shared.groups:
        first = shared.models[places[0]]
        inputs = [raw[name] for name in first.features]
        encoded, strange = first.encoding.array(np.stack(inputs, axis=1))
        if shared.reject_unseen and (strange & soil).any():
            _reject_unseen(first.encoding, inputs, soil)
        columns = [np.ascontiguousarray(encoded[:, k], dtype=np.float32) for k in range(encoded.shape[1])]
        wanted = [soil & ~strange & usable(columns, soil.size, shared.models[k].forest.accepts_missing) for k in places]
        levels = {m.conformal.quantiles for k in places if (m := shared.models[k]).conformal is not None}
        if len(levels) > 1:
            raise InputError("map: models of one map promise different coverage; give all one level")
        asked = Levels(levels.pop(), "responses") if levels else None
        for k, kept, found in zip(places, wanted, walk_columns(group, columns, wanted, levels=asked)):
            results[k] = shared.models[k].finish(found, inputs, kept)
    return [result.reshape(shape) for model_results in results for result in model_results]


def _reject_unseen(encoding: Encoding, columns: Sequence[Array], soil: Array) -> None:
    for feature, column in zip(encoding.features, columns):
        if feature.kind == "categorical":
            strange = soil & ~np.isnan(column) & ~np.isin(column, np.asarray(feature.levels))
            if strange.any():
                raise InputError(unseen_message("map", feature.name, column[strange], feature.levels))


def _encoding(plain: Mapping[str, Any]) -> Encoding:
    features = tuple(Feature(**{key: _tuples(value) for key, value in item.items()}) for item in plain["features"])
    return Encoding(features, plain["style"])


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
