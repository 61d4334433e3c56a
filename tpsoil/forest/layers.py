"""All that a map shows of a forest, from one look at a block: mean, spread, interval, dissimilarity, applicability."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError
from tpsoil.forest.applicability import Applicability, ForestSpace
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.encoding import Encoding, Feature, require_features
from tpsoil.forest.intervals import Conformal, Method, conformal_intervals
from tpsoil.forest.packing import encoding_of
from tpsoil.forest.quantiles import Levels, Responses
from tpsoil.forest.tables import usable
from tpsoil.forest.trained import TrainedForest
from tpsoil.forest.walking import Group, walk_columns
from tpsoil.variables import Variable, variable

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

LAYERS: Final = ("mean", "sd", "lower", "upper", "dissimilarity", "applicability")
BATCH: Final = 1 << 15
"""Pixels whose columns of covariate space are held at a time."""


@dataclass(frozen=True, eq=False)
class MapModel:
    """A trained forest as plain arrays with all that its maps need. Made by `MapModel.of`.

    Parameters
    ----------
    name : str
        Of the target.
    encoding, space : Encoding
        From features to the trees' columns, and to the columns of covariate space.
    forest : CompiledForest
        In the target's own unit, with its training responses.
    conformal : Conformal
    area : Applicability
    facts : mapping
        What the attributes of the maps say: scores, folds, settings.
    """

    name: str
    encoding: Encoding
    space: Encoding
    forest: CompiledForest
    conformal: Conformal
    area: Applicability
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, trained: TrainedForest, *, level: float = 0.9) -> MapModel:
        """Compile a trained forest for mapping.

        Parameters
        ----------
        trained : TrainedForest
        level : float
            Promised coverage of the interval: 0.5, 0.8, 0.9 or 0.95.

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
        method: Method = "quantile"
        space = ForestSpace.of(trained)
        conformal = conformal_intervals(trained, level, method=method)
        facts = {
            "model": f"random forest, {trained.settings['trees']} trees",
            "fitted_scale": str(trained.settings["transform"]),
            "back_transform": str(trained.settings["back_transform"]),
            "deciding_folds": trained.settings["folds"][trained.deciding],
            "samples": int(trained.counts["used"]),
            **{f"r2_{kind}": round(float(trained.scores.loc[kind, "r2"]), 4) for kind in trained.scores.index},
        }
        return cls(
            name=trained.target,
            encoding=trained.encoding,
            space=space.encoding,
            forest=trained.compile(responses=True),
            conformal=conformal,
            area=space.area,
            facts=facts,
        )

    @property
    def features(self) -> tuple[str, ...]:
        """Layers that the maps are made from."""
        return tuple(feature.name for feature in self.encoding.features)

    def dissimilarity(self, raw: Sequence[Array], wanted: Array) -> npt.NDArray[np.float32]:
        """Dissimilarity index of the wanted pixels, as it is stored; NaN elsewhere.

        Parameters
        ----------
        raw : sequence of ndarray (n,), float32
            One a feature.
        wanted : ndarray (n,), bool
        """
        index = np.full(wanted.size, np.nan, dtype=np.float32)
        kept = np.flatnonzero(wanted)
        for begin in range(0, kept.size, BATCH):
            place = kept[begin : begin + BATCH]
            index[place] = self.area.index(self.space.array(np.stack([column[place] for column in raw], axis=1))[0])
        return index

    def outputs(self, label: str) -> list[Variable]:
        """The layers' identities: `label`, `label_sd`, `label_lower` and so on."""
        mean = replace(variable("mean"), name=label, units=self.forest.units)
        title = mean.long_name
        try:
            mean = replace(variable(label), units=self.forest.units)
            title = mean.long_name
        except InputError:
            mean = replace(mean, long_name=f"{self.name}, {title}")
            title = self.name
        percent = f"{100 * self.conformal.level:g} %"
        return [
            mean,
            replace(variable("sd"), name=f"{label}_sd", long_name=f"{title}, spread between trees", units=mean.units),
            replace(mean, name=f"{label}_lower", long_name=f"{title}, lower limit of the {percent} interval",
                    meaning="conformalised quantile forest; see the attributes of the group"),
            replace(mean, name=f"{label}_upper", long_name=f"{title}, upper limit of the {percent} interval",
                    meaning="conformalised quantile forest; see the attributes of the group"),
            replace(variable("dissimilarity_index"), name=f"{label}_dissimilarity",
                    long_name=f"{title}, dissimilarity index"),
            replace(variable("applicability"), name=f"{label}_applicability",
                    long_name=f"{title}, area of applicability"),
        ]  # fmt: skip

    @property
    def attributes(self) -> dict[str, Any]:
        """What a reader of the maps needs to know."""
        return {
            **dict(self.facts),
            "features": " ".join(self.features),
            "interval_level": self.conformal.level,
            "interval_method": "quantile forest, corrected by conformal scores of out-of-fold residuals",
            "interval_correction": self.conformal.correction,
            "applicability_threshold": self.area.threshold,
        }

    @property
    def digest(self) -> str:
        """Digest of everything the layers depend on."""
        return hashlib.sha256(self.dump()).hexdigest()

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (type(self).__name__, self.digest)

    def dump(self) -> bytes:
        """The model as bytes: arrays and plain values, no code; `load` reads them."""
        arrays: dict[str, Array] = {}
        plain: dict[str, Any] = {"name": self.name, "facts": dict(self.facts), "conformal": asdict(self.conformal)}
        plain["encoding"], plain["space"] = asdict(self.encoding), asdict(self.space)
        for part, held in (("forest", self.forest), ("responses", self.forest.responses), ("area", self.area)):
            plain[part] = {}
            for item in fields(held) if held is not None else ():
                value = getattr(held, item.name)
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
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                plain = json.loads(stored["plain_"].tobytes())
                arrays = {name: stored[name] for name in stored.files}
        except (ValueError, KeyError, OSError) as error:
            raise InputError("forest: these bytes are no map model; write them with dump()") from error

        def part(name: str) -> dict[str, Any]:
            held = {key: _tuples(value) for key, value in plain[name].items()}
            return held | {key.split(".", 1)[1]: a for key, a in arrays.items() if key.startswith(f"{name}.")}

        return cls(
            name=plain["name"],
            encoding=_encoding(plain["encoding"]),
            space=_encoding(plain["space"]),
            forest=CompiledForest(**part("forest"), responses=Responses(**part("responses"))),
            conformal=Conformal(**plain["conformal"]),
            area=Applicability(**part("area")),
            facts=plain["facts"],
        )


def map_models(models: Mapping[str, MapModel], cube: xr.Dataset, layers: Mapping[str, str] | None = None) -> xr.Dataset:
    """All layers of several forests, lazily, in one pass over the cube.

    Parameters
    ----------
    models : mapping of label to MapModel
        The label names the layers: `label`, `label_sd`, `label_lower`, `label_upper`, `label_dissimilarity`,
        `label_applicability`.
    cube : Dataset (y, x)
        Holds every feature by name; where it has a `soil_mask`, cells other than 1 are missing.
    layers : mapping of str to str, optional
        Name in the cube of a feature that has another name there.

    Returns
    -------
    Dataset (y, x)
        float32 and uint8; lazy where the cube is. A block of covariates is read once for all models.

    Raises
    ------
    MissingInputError
        Where the cube lacks features; all are listed.
    """
    if not models:
        raise InputError("map: no model was given, expected one or more")
    features = list(dict.fromkeys(name for model in models.values() for name in model.features))
    names = {feature: (layers or {}).get(feature, feature) for feature in features}
    require_features(cube, list(names.values()), where="map", noun="layer")
    inputs = [cube[name] for name in names.values()]
    if "soil_mask" in cube:
        inputs.append(cube["soil_mask"])
    outputs = [spec for label, model in models.items() for spec in model.outputs(label)]
    shared = Maps(tuple(features), tuple(models.values()))
    results = map_pixels(maps_block, *inputs, outputs=outputs, shared=shared)
    maps = xr.Dataset({spec.name: result for spec, result in zip(outputs, results)})
    for label, model in models.items():
        for layer in LAYERS:
            maps[label if layer == "mean" else f"{label}_{layer}"].attrs.update(model.attributes)
    return maps


@dataclass(frozen=True, eq=False)
class Maps:
    """Models that map one block together; rides in the graph once.

    Parameters
    ----------
    features : tuple of str
        In the order of the blocks.
    models : tuple of MapModel
    """

    features: tuple[str, ...]
    models: tuple[MapModel, ...]

    @cached_property
    def groups(self) -> list[tuple[list[int], Group]]:
        """Models whose trees see the same columns, with their common ranking; made once a process."""
        found: dict[Encoding, list[int]] = {}
        for k, model in enumerate(self.models):
            found.setdefault(model.encoding, []).append(k)
        forests = [(places, [self.models[k].forest for k in places]) for places in found.values()]
        return [(places, Group(tuple(held), encoding_of(held))) for places, held in forests]

    def __getstate__(self) -> dict[str, Any]:
        return {"features": self.features, "models": self.models}

    def __sizeof__(self) -> int:
        return sum(model.forest.nbytes + model.area.points.nbytes for model in self.models)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return (type(self).__name__, self.features, tuple(model.digest for model in self.models))


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
        columns = [np.ascontiguousarray(encoded[:, k], dtype=np.float32) for k in range(encoded.shape[1])]
        wanted = [soil & ~strange & usable(columns, soil.size, shared.models[k].forest.accepts_missing) for k in places]
        levels = [Levels(shared.models[k].conformal.quantiles, "responses") for k in places]
        if len(set(levels)) > 1:
            raise InputError("map: models of one map promise different coverage; give all one level")
        for k, kept, found in zip(places, wanted, walk_columns(group, columns, wanted, levels=levels[0])):
            model = shared.models[k]
            quantiles = cast(npt.NDArray[np.float64], found.quantiles)
            lower, upper = model.conformal.around_quantiles(quantiles[0, :, 0], quantiles[0, :, 1])
            index = model.dissimilarity(inputs, kept)
            results[k] = [found.mean[0], found.sd[0], lower, upper, index, model.area.inside(index)]
    return [result.reshape(shape) for model_results in results for result in model_results]


def _encoding(plain: Mapping[str, Any]) -> Encoding:
    features = tuple(Feature(**{key: _tuples(value) for key, value in item.items()}) for item in plain["features"])
    return Encoding(features, plain["style"])


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
