"""All that a map shows of a forest, from one look at a block: mean, spread, interval, dissimilarity, applicability."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError
from tpsoil.forest.applicability import Applicability, ForestSpace
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.encoding import Encoding, Feature, require_features
from tpsoil.forest.intervals import Conformal, Method, conformal_intervals
from tpsoil.forest.leaves import in_bag_counts, leaves_of
from tpsoil.forest.trained import TrainedForest
from tpsoil.kernels.quantiles import forest_quantiles
from tpsoil.variables import Variable, variable

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

LAYERS: Final = ("mean", "sd", "lower", "upper", "dissimilarity", "applicability")
BATCH: Final = 8192
"""Rows at a time: the columns of one batch stay in the cache, and a block's scratch memory stays small."""


@dataclass(frozen=True, eq=False)
class LeafRows:
    """The training rows in each leaf of a compiled forest, by rank of their target.

    Parameters
    ----------
    start : ndarray (nodes + 1,), int64
    member : ndarray (k,), int32
    share : ndarray (k,), float64
    target : ndarray (n,), float64
        Ascending, in the target's own unit.
    """

    start: Array
    member: Array
    share: Floats
    target: Floats

    @classmethod
    def of(cls, trained: TrainedForest) -> LeafRows:
        """The leaves of a trained forest."""
        forest = trained.forest
        columns = np.ascontiguousarray(trained.design.to_numpy(dtype=np.float32))
        target = trained.observed.to_numpy(dtype=np.float64)
        order = np.argsort(target, kind="stable")
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        sizes = np.array([tree.tree_.node_count for tree in forest.estimators_], dtype=np.int64)
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        bags = in_bag_counts(forest)
        node = (leaves_of(forest, columns) + first).T
        drawn = bags > 0
        node, member = node[drawn], np.broadcast_to(rank, bags.shape)[drawn]
        count = bags[drawn].astype(np.float64)
        total = np.bincount(node, weights=count, minlength=int(sizes.sum()))
        by_node = np.lexsort((member, node))
        start = np.concatenate([[0], np.cumsum(np.bincount(node, minlength=int(sizes.sum())))]).astype(np.int64)
        return cls(
            start=start,
            member=member[by_node].astype(np.int32),
            share=count[by_node] / total[node[by_node]],
            target=np.ascontiguousarray(target[order]),
        )


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
        In the target's own unit.
    leaves : LeafRows
    conformal : Conformal
    area : Applicability
    facts : mapping
        What the attributes of the maps say: scores, folds, settings.
    """

    name: str
    encoding: Encoding
    space: Encoding
    forest: CompiledForest
    leaves: LeafRows
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
            forest=trained.compile(),
            leaves=LeafRows.of(trained),
            conformal=conformal,
            area=space.area,
            facts=facts,
        )

    @property
    def features(self) -> tuple[str, ...]:
        """Layers that the maps are made from."""
        return tuple(feature.name for feature in self.encoding.features)

    def rows(self, raw: Array) -> dict[str, Array]:
        """All layers for rows of features.

        Parameters
        ----------
        raw : ndarray (m, features), float
            In the order of `features`: classes as codes, directions in degrees.

        Returns
        -------
        dict of str to ndarray (m,)
            `mean`, `sd`, `lower`, `upper`, `dissimilarity` in float64; `applicability` as 1, 0, 255. NaN and 255
            where a feature is missing (unless the forest was trained with missing values) or a class was never seen.
        """
        found = {name: np.full(len(raw), np.nan) for name in LAYERS[:-1]}
        found["applicability"] = np.full(len(raw), 255, dtype=np.uint8)
        low_q, high_q = self.conformal.quantiles
        asked = np.array([low_q, high_q])
        for begin in range(0, len(raw), BATCH):
            part = slice(begin, begin + BATCH)
            columns, strange = self.encoding.array(raw[part])
            usable = ~strange if self.forest.accepts_missing else ~np.isnan(columns).any(axis=1)
            if not usable.any():
                continue
            kept = np.ascontiguousarray(columns[usable], dtype=np.float32)
            limits = np.empty((len(kept), 2))
            f = self.forest
            forest_quantiles(
                kept, f.root, f.left, f.right, f.feature, f.threshold, f.missing_left,
                self.leaves.start, self.leaves.member, self.leaves.share, self.leaves.target, asked, limits,
            )  # fmt: skip
            lower, upper = self.conformal.around_quantiles(limits[:, 0], limits[:, 1])
            mean, sd = self.forest.predict(kept)
            # Judged as it is stored, so that the index and the area never contradict each other.
            index = self.area.index(self.space.array(raw[part])[0][usable]).astype(np.float32)
            place = np.flatnonzero(usable) + begin
            for name, values in zip(LAYERS, (mean, sd, lower, upper, index, self.area.inside(index))):
                found[name][place] = values
        return found

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
        for part in ("forest", "leaves", "area"):
            held = getattr(self, part)
            plain[part] = {}
            for item in fields(held):
                value = getattr(held, item.name)
                if isinstance(value, np.ndarray):
                    arrays[f"{part}.{item.name}"] = value
                elif item.init:
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
            forest=CompiledForest(**part("forest")),
            leaves=LeafRows(**part("leaves")),
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
    results = map_pixels(models_block, *inputs, outputs=outputs, shared=(tuple(features), tuple(models.values())))
    maps = xr.Dataset({spec.name: result for spec, result in zip(outputs, results)})
    for label, model in models.items():
        for layer in LAYERS:
            maps[label if layer == "mean" else f"{label}_{layer}"].attrs.update(model.attributes)
    return maps


def models_block(*arguments: Any) -> list[Array]:
    """One block: features, the mask where there is one, then (names of the features, models)."""
    names, models = arguments[-1]
    blocks: Sequence[Array] = arguments[: len(names)]
    shape = blocks[0].shape
    wanted = np.ones(blocks[0].size, dtype=bool)
    for mask in arguments[len(names) : -1]:
        wanted &= mask.ravel() == 1
    raw = {name: block.ravel()[wanted] for name, block in zip(names, blocks)}
    results: list[Array] = []
    for model in models:
        rows = np.stack([raw[name].astype(np.float32) for name in model.features], axis=1)
        for name, values in model.rows(rows).items():
            whole = np.full(wanted.size, 255 if name == "applicability" else np.nan, dtype=values.dtype)
            whole[wanted] = values
            results.append(whole.reshape(shape))
    return results


def _encoding(plain: Mapping[str, Any]) -> Encoding:
    features = tuple(Feature(**{key: _tuples(value) for key, value in item.items()}) for item in plain["features"])
    return Encoding(features, plain["style"])


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value
