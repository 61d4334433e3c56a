"""Forests over a cube: several share one read and one ranking of the covariates. The block mapper of all forests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError, UnitsError, nearest_name, require_one_of
from tpsoil.kernels.cache import kernel_digest
from tpsoil.labels import dataset_of
from tpsoil.soil_mask import MASK, with_soil_mask
from tpsoil.units import same_unit
from tpsoil.variables import CATALOGUE, Variable, missing_code, variable

from .encoding import Encoding
from .features import require_cube, require_features
from .quantiles import Levels, levels_of
from .tables import Unseen, known_classes, unseen_classes, usable
from .walking import Prediction, Walker

if TYPE_CHECKING:
    from .compiled import CompiledForest
    from .layers import MapModel

    Member: TypeAlias = "PlainForest | MapModel"
    """A forest as the block mapper needs it."""

Array = npt.NDArray[Any]

WHERE: Final = "predict_cube"


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
    levels = levels_of(list(forests.values()), quantiles, method)
    return map_forests(
        {name: PlainForest(forest, levels) for name, forest in forests.items()}, cube, layers, unseen=unseen
    )


def map_forests(
    members: Mapping[str, PlainForest],
    cube: xr.Dataset,
    layers: Mapping[str, str] | Sequence[str] | None,
    *,
    unseen: str,
) -> xr.Dataset:
    """The maps of `predict_cube` and `predict_cube_many`; layers of a forest without a name have no suffix."""
    cube = with_soil_mask(require_cube(cube, WHERE))
    outputs = [spec for name, member in members.items() for spec in forest_outputs(name, member.forest, member.levels)]
    results = map_members(WHERE, tuple(members.values()), cube, layers, outputs=outputs, unseen=unseen)
    attrs: dict[str, Any] = {"kernels": kernel_digest(), "unseen_categories": unseen}
    for name, member in members.items():
        suffix = f"_{name}" if name else ""
        attrs[f"forest_digest{suffix}"] = member.forest.digest
        attrs[f"trees{suffix}"] = member.forest.trees
        if member.levels is not None:
            attrs["quantiles"] = "between trees" if member.levels.method == "trees" else "of training responses"
    return dataset_of(results, attrs)


@dataclass(frozen=True, eq=False)
class PlainForest:
    """A compiled forest whose features are layers: mean, spread and quantiles of each output.

    Parameters
    ----------
    forest : CompiledForest
    levels : Levels or None
    encoding : Encoding or None
        From layers to the forest's columns; None: its columns are layers.
    """

    forest: CompiledForest
    levels: Levels | None = None
    encoding: Encoding | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """Layers that the map is computed from."""
        return self.forest.features if self.encoding is None else tuple(self.encoding.sources)

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
        members = tuple((type(m).__name__, m.digest, m.levels, m.encoding) for m in self.members)
        return (type(self).__name__, members, self.features, self.fills, self.reject_unseen, self.where)


def map_members(
    where: str,
    members: Sequence[Member],
    cube: xr.Dataset,
    layers: Mapping[str, str] | Sequence[str] | None,
    *,
    outputs: Sequence[Variable],
    unseen: str,
) -> tuple[xr.DataArray | Array, ...]:
    """The layers of several forests, lazily, in one pass over a cube with its soil mask.

    Parameters
    ----------
    where : str
        For messages.
    members : sequence of Member
    cube : Dataset (y, x)
        From `with_soil_mask`.
    layers
        As in `sources_of`.
    outputs : sequence of Variable
        Of all members, in order.
    unseen : {"nan", "error"}
        Treatment of a cell with soil whose class is not in the training data.

    Raises
    ------
    InputError, MissingInputError, UnitsError
        For an unknown treatment, as `sources_of`, and where a layer has another unit than in training.
    """
    require_one_of(where, "unseen", unseen, get_args(Unseen))
    sources = sources_of(where, [name for member in members for name in member.features], cube, layers)
    for member in members:
        _check_units(member.forest, cube, sources)
    blocks, fills = blocks_of_rows(cube, sources.values())
    mapper = BlockMapper(tuple(members), tuple(sources), fills, unseen == "error", where)
    return map_pixels(map_block, *blocks, outputs=outputs, shared=mapper)


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


def blocks_of_rows(cube: xr.Dataset, sources: Iterable[str]) -> tuple[list[xr.DataArray], tuple[int | None, ...]]:
    """What `read_block` reads of a cube with its soil mask: the layers, then the mask; and the layers' fill values."""
    layers = [cube[source] for source in sources]
    return layers + ([cube[MASK]] if MASK in cube else []), tuple(missing_code(layer) for layer in layers)


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
    cells = known_classes(mapper.where, raw, levels, cells, reject=mapper.reject_unseen)
    if member.encoding is None:
        return cells
    return cells & usable([columns[name] for name in forest.features], soil.size, forest.accepts_missing)


def count_unseen(
    forest: CompiledForest, cube: xr.Dataset, layers: Mapping[str, str] | None
) -> dict[str, dict[int, int]]:
    """Number of cells on soil with a class that is not in the training data, by feature and class."""
    sources = sources_of(WHERE, forest.features, cube, layers)
    cube = with_soil_mask(cube)
    counts: dict[str, dict[int, int]] = {}
    for name, levels in forest.categories.items():
        blocks, fills = blocks_of_rows(cube, [sources[name]])
        (column,), soil = read_block([block.transpose(*blocks[0].dims).values for block in blocks], fills)
        classes, cells = np.unique(column[soil & unseen_classes(column, levels)], return_counts=True)
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


def sources_of(
    where: str, features: Iterable[str], cube: xr.Dataset, layers: Mapping[str, str] | Sequence[str] | None
) -> dict[str, str]:
    """Layer of each feature.

    Parameters
    ----------
    where : str
        For messages.
    features : iterable of str
        May repeat.
    cube : Dataset
    layers : mapping of str to str, or sequence of str, optional
        Layer of each feature that has another name in the cube; of a list, names of the features' own layers.

    Raises
    ------
    InputError
        For a list without a feature, and a name that is no feature.
    MissingInputError
        Where the cube lacks features; all are listed.
    """
    names = list(dict.fromkeys(features))
    renamed = layers if isinstance(layers, Mapping) else {}
    if layers is not None and not isinstance(layers, Mapping) and not set(names) <= set(layers):
        raise InputError(
            f"{where}: layers is a list without {', '.join(name for name in names if name not in layers)}; features "
            "are matched by name, so for layers of other names pass layers={feature: layer}"
        )
    for name in renamed:
        if name not in names:
            raise InputError(f"{where}: layers name '{name}', which is no feature{nearest_name(name, names)}")
    sources = {name: renamed.get(name, name) for name in names}
    require_features(cube, list(sources.values()), where=where, noun="layer")
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
    targets = forest.targets or tuple(str(k) for k in range(forest.outputs))
    endings = ["_".join(filter(None, (name, target))) for target in (targets if forest.outputs > 1 else ("",))]
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
        replace(kind, name="_".join(filter(None, (kind.name, ending))), units=forest.units)
        for kind in kinds
        for ending in endings
    ]
