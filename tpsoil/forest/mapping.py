"""Forests over a cube: several share one read and one ranking of the covariates. The block mapper of all forests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError, MissingInputError, UnitsError, nearest_name
from tpsoil.kernels.cache import kernel_digest
from tpsoil.soil_mask import MASK, with_soil_mask
from tpsoil.units import same_unit
from tpsoil.variables import CATALOGUE, Variable, missing_code, variable

from .encoding import Encoding
from .features import require_cube
from .quantiles import Levels, levels_of
from .tables import check_unseen, unseen_classes, unseen_message, usable
from .walking import Prediction, Walker

if TYPE_CHECKING:
    from .compiled import CompiledForest
    from .layers import MapModel

    Member: TypeAlias = "PlainForest | MapModel"
    """A forest as the block mapper needs it."""

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
    """Several forests over one cube, reading and ranking its covariates once.

    Parameters
    ----------
    forests : mapping of str to CompiledForest
        By the name of their layers. They may have different features, and several outputs each.
    cube : Dataset (y, x)
    layers, quantiles, method, unseen
        As for `CompiledForest.predict_cube`; the same for all forests.

    Returns
    -------
    Dataset
        `mean_NAME`, `sd_NAME` and `qNN_NAME` of each forest, float32, lazy where the cube is: equal bit for bit to the
        map of each forest alone.

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
        raise InputError("predict_cube_many: pass at least one forest, each with a name")
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
    """The maps of `predict_cube` and `predict_cube_many`; layers of a forest without a name have no suffix."""
    levels = levels_of(list(forests.values()), quantiles, method)
    check_unseen("predict_cube", unseen)
    cube = require_cube(cube, "predict_cube")
    sources = _sources(forests.values(), cube, layers)
    cube = with_soil_mask(cube)
    for forest in forests.values():
        _check_units(forest, cube, sources)
    outputs = [spec for name, forest in forests.items() for spec in forest_outputs(name, forest, levels)]
    members = tuple(PlainForest(forest, levels) for forest in forests.values())
    results = map_members("predict_cube", members, cube, sources, outputs=outputs, reject_unseen=unseen == "error")
    attrs: dict[str, Any] = {"kernels": kernel_digest(), "unseen_categories": unseen}
    for name, forest in forests.items():
        suffix = f"_{name}" if name else ""
        attrs[f"forest_digest{suffix}"] = forest.digest
        attrs[f"trees{suffix}"] = forest.trees
    if levels is not None:
        attrs["quantiles"] = {"trees": "between trees", "responses": "of training responses"}[levels.method]
    return xr.Dataset({spec.name: result for spec, result in zip(outputs, results)}, attrs=attrs)


@dataclass(frozen=True, eq=False)
class PlainForest:
    """A compiled forest whose features are layers: mean, spread and quantiles of each output."""

    forest: CompiledForest
    levels: Levels | None = None
    encoding: None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Of the forest."""
        return self.forest.features

    @property
    def digest(self) -> str:
        """Of the forest."""
        return self.forest.digest

    def finish(self, prediction: Prediction, raw: Sequence[Array], selected: Array) -> list[Array]:
        """Mean, then spread, then each quantile, of every output."""
        layers = [*prediction.mean, *prediction.sd]
        if prediction.quantiles is not None:
            outputs, _, levels = prediction.quantiles.shape
            layers += [prediction.quantiles[k, :, q] for q in range(levels) for k in range(outputs)]
        return layers


@dataclass(frozen=True, eq=False)
class BlockMapper:
    """What a block of a cube is mapped with; in the graph once.

    Parameters
    ----------
    members : tuple of Member
    features : tuple of str
        Of all members, in the order of the blocks.
    fills : tuple of int or None
        Fill value of each integer layer.
    reject_unseen : bool
        Whether a class that is not in the training data is an error.
    where : str
        For messages.
    """

    members: tuple[Member, ...]
    features: tuple[str, ...]
    fills: tuple[int | None, ...]
    reject_unseen: bool
    where: str

    def groups(self) -> list[tuple[list[int], Levels | None]]:
        """Members whose trees have the same columns and quantiles: they are walked together."""
        groups: dict[tuple[Encoding | None, Levels | None], list[int]] = {}
        for k, member in enumerate(self.members):
            groups.setdefault((member.encoding, member.levels), []).append(k)
        return [(places, levels) for (_, levels), places in groups.items()]

    def __sizeof__(self) -> int:
        return sum(member.forest.nbytes for member in self.members)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        members = tuple((type(member).__name__, member.digest, member.levels) for member in self.members)
        return (type(self).__name__, members, self.features, self.fills, self.reject_unseen, self.where)


def map_members(
    where: str,
    members: Sequence[Member],
    cube: xr.Dataset,
    sources: Mapping[str, str],
    *,
    outputs: Sequence[Variable],
    reject_unseen: bool,
) -> tuple[xr.DataArray | Array, ...]:
    """The layers of several forests, lazily, in one pass over a cube with its soil mask.

    Parameters
    ----------
    where : str
        For messages.
    members : sequence of Member
    cube : Dataset (y, x)
        From `with_soil_mask`.
    sources : mapping of str to str
        Layer of each feature.
    outputs : sequence of Variable
        Of all members, in order.
    reject_unseen : bool
        Whether a cell with soil of a class that is not in the training data is an error; else it is NaN.
    """
    inputs = [cube[source] for source in sources.values()]
    masks = [cube[MASK]] if MASK in cube else []
    fills = tuple(missing_code(layer) for layer in inputs)
    mapper = BlockMapper(tuple(members), tuple(sources), fills, reject_unseen, where)
    return map_pixels(map_block, *inputs, *masks, outputs=outputs, shared=mapper)


def map_block(*arguments: Any) -> list[Array]:
    """One block of a cube: a block of each feature, the mask where there is one, and the mapper."""
    mapper: BlockMapper = arguments[-1]
    inputs, soil = read_block(arguments[:-1], mapper.fills)
    raw = dict(zip(mapper.features, inputs))
    layers: list[list[Array]] = [[] for _ in mapper.members]
    for places, levels in mapper.groups():
        group = [mapper.members[k] for k in places]
        walker = Walker.of([member.forest for member in group], levels)
        encoding = group[0].encoding
        columns = raw if encoding is None else encoding.columns_of(raw)
        selected = [_selected(mapper, member, raw, columns, soil) for member in group]
        predictions = walker.walk([columns[name] for name in walker.features], selected, levels=levels)
        for k, member, cells, prediction in zip(places, group, selected, predictions):
            layers[k] = member.finish(prediction, [raw[name] for name in member.features], cells)
    return [layer.reshape(arguments[0].shape) for member_layers in layers for layer in member_layers]


def read_block(blocks: Sequence[Array], fills: Sequence[int | None]) -> tuple[list[Array], Array]:
    """The cells of a block: a float32 column of each layer, NaN where missing, and whether a cell has soil.

    Parameters
    ----------
    blocks : sequence of ndarray
        One for each of `fills`; then the soil mask, where the cube has one.
    fills : sequence of int or None
        Fill value of each integer layer.
    """
    columns = [_column(np.ascontiguousarray(block).ravel(), fill) for block, fill in zip(blocks, fills)]
    soil = np.ones(columns[0].size, dtype=bool)
    for mask in blocks[len(fills) :]:
        soil &= np.asarray(mask).ravel() == 1
    return columns, soil


def _selected(
    mapper: BlockMapper, member: Member, raw: Mapping[str, Array], columns: Mapping[str, Array], soil: Array
) -> Array:
    """Cells that a member predicts."""
    forest = member.forest
    cells = soil & usable([raw[name] for name in member.features], soil.size, forest.accepts_missing)
    levels: Mapping[str, Sequence[float]] = forest.categories if member.encoding is None else member.encoding.levels
    for name, known in levels.items():
        unseen = unseen_classes(raw[name], known) & cells
        if mapper.reject_unseen and unseen.any():
            raise InputError(unseen_message(mapper.where, name, raw[name][unseen], known))
        cells &= ~unseen
    if member.encoding is None:
        return cells
    return cells & usable([columns[name] for name in forest.features], soil.size, forest.accepts_missing)


def count_unseen(
    forest: CompiledForest, cube: xr.Dataset, layers: Mapping[str, str] | None
) -> dict[str, dict[int, int]]:
    """Number of cells on soil with a class that is not in the training data, by feature and class."""
    sources = _sources([forest], cube, layers)
    cube = with_soil_mask(cube)
    counts: dict[str, dict[int, int]] = {}
    for name, levels in forest.categories.items():
        layer = cube[sources[name]]
        fill = missing_code(layer)
        unseen = ~layer.isin(list(levels)) & layer.notnull()
        if fill is not None:
            unseen &= layer != fill
        if MASK in cube:
            unseen &= cube[MASK] == 1
        both = xr.Dataset({"layer": layer.drop_vars(layer.coords), "unseen": unseen.drop_vars(unseen.coords)}).compute()
        classes, cells = np.unique(both["layer"].values[both["unseen"].values], return_counts=True)
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
                "layers of other names pass layers={feature: layer}"
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
        layer_unit = cube[sources[name]].attrs.get("units")
        period = CATALOGUE[name].period if name in CATALOGUE else ""
        if layer_unit is not None and not same_unit(str(layer_unit), unit, period=period):
            raise UnitsError(
                f"predict_cube: layer '{sources[name]}' is in '{layer_unit}', the forest was trained on '{unit}'; "
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
