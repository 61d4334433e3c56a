"""Forests over a cube: several at once share one read and one encoding of the covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError, MissingInputError, UnitsError, nearest_name
from tpsoil.kernels.cache import kernel_digest
from tpsoil.soil_mask import MASK, with_soil_mask
from tpsoil.units import same_unit
from tpsoil.variables import CATALOGUE, Variable, missing_code, variable

from .features import require_cube
from .packing import encoding_of
from .quantiles import Levels, levels_of
from .tables import check_unseen, strange_classes, unseen_message, usable
from .walking import Group, walk_columns

if TYPE_CHECKING:
    from .compiled import CompiledForest

Array = npt.NDArray[Any]


def predict_cube_many(
    forests: Mapping[str, CompiledForest],
    cube: xr.Dataset,
    layers: Mapping[str, str] | Sequence[str] | None = None,
    *,
    quantiles: Sequence[float] | None = None,
    method: str | None = None,
    unseen: str = "error",
) -> xr.Dataset:
    """Several forests over one cube, reading and encoding its covariates once.

    Parameters
    ----------
    forests : mapping of str to CompiledForest
        By the name that their layers get. They may have different features, and several outputs each.
    cube : Dataset (y, x)
    layers, quantiles, method, unseen
        As for `CompiledForest.predict_cube`; the same for all forests.

    Returns
    -------
    Dataset
        `mean_NAME`, `sd_NAME` and `qNN_NAME` of each forest, float32, lazy where the cube is: each equal bit for bit to
        what the forest gives alone.

    Raises
    ------
    InputError, MissingInputError, UnitsError
        As for `CompiledForest.predict_cube`.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from tpsoil.forest import CompiledForest
    >>> X, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    >>> forest = CompiledForest.from_sklearn(RandomForestRegressor(3, random_state=0).fit(X, y), ["slope", "ndvi"])
    >>> cube = xr.Dataset({"slope": (("y", "x"), X), "ndvi": (("y", "x"), X)})
    >>> sorted(predict_cube_many({"iron": forest, "zinc": forest}, cube))
    ['mean_iron', 'mean_zinc', 'sd_iron', 'sd_zinc']
    """
    if not forests or not all(forests):
        raise InputError("predict_cube_many: give at least one forest, each under a name")
    return map_forests(forests, cube, layers, quantiles=quantiles, method=method, unseen=unseen)


def map_forests(
    forests: Mapping[str, CompiledForest],
    cube: xr.Dataset,
    layers: Mapping[str, str] | Sequence[str] | None,
    *,
    quantiles: Sequence[float] | None,
    method: str | None,
    unseen: str,
) -> xr.Dataset:
    """What `predict_cube` and `predict_cube_many` share; a nameless forest's layers have no suffix."""
    levels = levels_of(list(forests.values()), quantiles, method)
    check_unseen("predict_cube", unseen)
    cube = require_cube(cube, "predict_cube")
    sources = _sources(forests.values(), cube, layers)
    cube = with_soil_mask(cube)
    inputs = [cube[source] for source in sources.values()]
    for forest in forests.values():
        _check_units(forest, cube, sources)
    model = CubeModel(
        forests=tuple(forests.values()),
        sources=tuple(sources.values()),
        fills=tuple(missing_code(layer) for layer in inputs),
        masked=MASK in cube,
        levels=levels,
        refuse_unseen=unseen == "error",
    )
    masks = [cube[MASK]] if MASK in cube else []
    outputs = [spec for name, forest in forests.items() for spec in forest_outputs(name, forest, levels)]
    results = map_pixels(predict_block, *inputs, *masks, outputs=outputs, shared=model)
    attrs: dict[str, Any] = {"kernels": kernel_digest(), "unseen_categories": unseen}
    for name, forest in forests.items():
        suffix = f"_{name}" if name else ""
        attrs[f"forest_digest{suffix}"] = forest.digest
        attrs[f"trees{suffix}"] = forest.trees
    if levels is not None:
        attrs["quantiles"] = {"trees": "between trees", "responses": "of training responses"}[levels.method]
    return xr.Dataset({spec.name: result for spec, result in zip(outputs, results)}, attrs=attrs)


@dataclass(frozen=True, eq=False)
class CubeModel:
    """What a block of a cube is predicted with; rides in the graph once.

    Parameters
    ----------
    forests : tuple of CompiledForest
    sources : tuple of str
        Layer of each feature of the group.
    fills : tuple of int or None
        Fill value of each integer layer.
    masked : bool
        Whether the last block is the soil mask.
    levels : Levels, optional
    refuse_unseen : bool
    """

    forests: tuple[CompiledForest, ...]
    sources: tuple[str, ...]
    fills: tuple[int | None, ...]
    masked: bool
    levels: Levels | None
    refuse_unseen: bool

    @cached_property
    def group(self) -> Group:
        """The forests with their common encoding; made once a process."""
        return self.forests[0].group if len(self.forests) == 1 else Group(self.forests, encoding_of(self.forests))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "group"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __sizeof__(self) -> int:
        return sum(forest.nbytes for forest in self.forests)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        digests = tuple(forest.digest for forest in self.forests)
        return (type(self).__name__, digests, self.sources, self.fills, self.masked, self.levels, self.refuse_unseen)


def predict_block(*arguments: Any) -> list[Array]:
    """One block of a cube: a block of each feature, the mask where there is one, and the model."""
    model: CubeModel = arguments[-1]
    features = model.group.encoding.features
    shape = arguments[0].shape
    raw = [np.ascontiguousarray(block).ravel() for block in arguments[: len(features)]]
    soil = np.asarray(arguments[len(features)]).ravel() == 1 if model.masked else np.ones(raw[0].size, dtype=bool)
    columns = [_column(block, fill) for block, fill in zip(raw, model.fills)]
    present = dict(zip(features, columns))
    wanted = []
    for forest in model.forests:
        kept = usable([present[name] for name in forest.features], soil.size, forest.accepts_missing) & soil
        for name, levels in forest.categories.items():
            strange = strange_classes(present[name], levels) & kept
            if model.refuse_unseen and strange.any():
                raise InputError(unseen_message("predict_cube", name, present[name][strange], levels))
            kept &= ~strange
        wanted.append(kept)
    results: list[Array] = []
    for found in walk_columns(model.group, columns, wanted, levels=model.levels):
        results += [*found.mean, *found.sd]
        if found.quantiles is not None:
            results += [
                found.quantiles[k, :, q] for q in range(found.quantiles.shape[2]) for k in range(len(found.mean))
            ]
    return [result.reshape(shape) for result in results]


def count_unseen(
    forest: CompiledForest, cube: xr.Dataset, layers: Mapping[str, str] | None
) -> dict[str, dict[int, int]]:
    """Cells of a cube, within its soil mask, with a class that training never saw."""
    sources = _sources([forest], cube, layers)
    cube = with_soil_mask(cube)
    counts: dict[str, dict[int, int]] = {}
    for name, levels in forest.categories.items():
        layer = cube[sources[name]]
        fill = missing_code(layer)
        strange = ~layer.isin(list(levels)) & layer.notnull()
        if fill is not None:
            strange &= layer != fill
        if MASK in cube:
            strange &= cube[MASK] == 1
        both = xr.Dataset(
            {"layer": layer.drop_vars(layer.coords), "strange": strange.drop_vars(strange.coords)}
        ).compute()
        classes, cells = np.unique(both["layer"].values[both["strange"].values], return_counts=True)
        if classes.size:
            counts[name] = {int(c): int(n) for c, n in zip(classes, cells)}
    return counts


def _column(block: Array, fill: int | None) -> Array:
    with np.errstate(over="ignore"):
        column = block.astype(np.float32, copy=False)
    if fill is not None:
        missing = block == fill
        if missing.any():
            column = np.where(missing, np.float32(np.nan), column)
    return column


def _sources(forests: Any, cube: xr.Dataset, layers: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    features = list(dict.fromkeys(name for forest in forests for name in forest.features))
    if layers is not None and not isinstance(layers, Mapping):
        if not set(features) <= set(layers):
            raise InputError(
                "predict_cube: layers is a list without "
                f"{', '.join(name for name in features if name not in layers)}; features are matched by name, so for "
                "layers of other names give layers={feature: layer}"
            )
        layers = None
    for name in layers or {}:
        if name not in features:
            raise InputError(f"predict_cube: layers name '{name}', which is no feature{nearest_name(name, features)}")
    sources = {name: (layers or {}).get(name, name) for name in features}
    lacking = [source for source in sources.values() if source not in cube]
    if lacking:
        hints = "; ".join(f"'{name}'{nearest_name(name, map(str, cube.data_vars))}" for name in lacking)
        raise MissingInputError(f"predict_cube: the cube lacks {len(lacking)} of the forest's features: {hints}")
    return sources


def _check_units(forest: CompiledForest, cube: xr.Dataset, sources: Mapping[str, str]) -> None:
    for name, unit in forest.feature_units.items():
        stated = cube[sources[name]].attrs.get("units")
        period = CATALOGUE[name].period if name in CATALOGUE else ""
        if stated is not None and not same_unit(str(stated), unit, period=period):
            raise UnitsError(
                f"predict_cube: layer '{sources[name]}' is in '{stated}', the forest was trained on '{unit}'; "
                "convert the layer, or add it again with tpsoil.add_layer(..., units=...)"
            )


def forest_outputs(name: str, forest: CompiledForest, levels: Levels | None) -> list[Variable]:
    """Identities of the layers of a forest: mean and spread of each output, then its quantiles."""
    suffixes = [name] if name else [""]
    if forest.outputs > 1:
        targets = forest.targets or tuple(str(k) for k in range(forest.outputs))
        suffixes = [f"{name}_{target}" if name else target for target in targets]
    kinds = [variable("mean"), variable("sd")]
    if levels is not None:
        meaning = {
            "trees": "quantile between the trees' predictions; not of the soil's values",
            "responses": "quantile of the training responses in the pixel's leaves, Meinshausen 2006",
        }[levels.method]
        kinds += [
            Variable(label, f"quantile {level:g}", "1", meaning=meaning)
            for label, level in zip(levels.names(), levels.levels)
        ]
    return [
        replace(kind, name=f"{kind.name}_{suffix}" if suffix else kind.name, units=forest.units)
        for kind in kinds
        for suffix in suffixes
    ]
