"""Train one random forest for one target, and score it honestly: out of fold, nested, by several kinds of folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, nearest_name
from tpsoil.evaluation import ELEMENT_MEASURES, FOLD_KINDS, Labels, block_codes, make_folds, score
from tpsoil.forest.compiled import CompiledForest
from tpsoil.forest.encoding import Style, learn_encoding
from tpsoil.forest.features import numbers, require_features
from tpsoil.forest.folds import choose_position, describe_folds, fold_table, sites_by_position
from tpsoil.forest.search import Preset, choose_settings, fit_forest, grid_of_settings
from tpsoil.forest.trained import LEVELS, BackTransform, TrainedForest, Transform, forward, in_own_unit, tails
from tpsoil.points import positions_of

Floats = npt.NDArray[np.float64]


def train(
    table: pd.DataFrame,
    target: str,
    features: Sequence[str],
    groups: str | npt.ArrayLike | None = None,
    *,
    folds: str | Sequence[str] | None = None,
    deciding: str | None = None,
    n_folds: int = 5,
    block_size: float = 3.0,
    coordinates: Sequence[str] | None = None,
    trees: int = 500,
    preset: Preset = "default",
    search: Mapping[str, Sequence[Any]] | None = None,
    search_trees: int = 100,
    search_folds: int = 3,
    transform: Transform = "none",
    back_transform: BackTransform = "mean",
    missing: Literal["drop", "keep", "error"] = "drop",
    categories: Style = "codes",
    categorical: Sequence[str] | None = None,
    circular: Sequence[str] | None = None,
    units: str = "mg kg-1",
    seed: int = 0,
    workers: int = 1,
    **settings: Any,
) -> TrainedForest:
    """Train a random forest and score it out of fold.

    Parameters
    ----------
    table : DataFrame
        One row a sample: target, features, and where they lie. Not changed.
    target : str
    features : sequence of str
    groups : str or array_like (rows,), optional
        The site of each row, by column name or as labels. Rows of one site share a pixel, so they share a fold. Left
        out, rows at one position are one site, with a warning.
    folds : str or sequence of {"random", "group", "block"}, optional
        Kinds of folds to score by, side by side. By default all that the table allows: "group" with groups, "block"
        with coordinates that fill `n_folds` blocks (`settings["folds_left_out"]` says where they do not).
    deciding : str, optional
        The kind that chooses settings and calibrates intervals; by default the last of random, group, block that is
        used.
    n_folds : int
    block_size : float
        Side of a spatial block, in the unit of the coordinates: degrees for lon/lat, m for x/y.
    coordinates : (east, north), optional
        By default those that `tpsoil.points` knows: `lon`/`lat` in any of its names, else `x`/`y`.
    trees : int
    preset : {"default", "randomForest"}
        Settings of the forest where `settings` and `search` give none. "randomForest": the defaults of R's package,
        with which the spread between trees compares with published maps; see `tpsoil.forest.search.PRESETS`.
    search : mapping of str to sequence, optional
        A grid of forest settings, such as `{"max_features": [0.2, 0.33], "min_samples_leaf": [1, 5]}`. It is searched
        within the training part of every outer fold, by inner folds of the same kind, so that no score knows its
        own test rows; once more on all rows for the model itself.
    search_trees, search_folds : int
        Trees and inner folds of the search.
    transform : {"none", "log10"}
        Scale of the fit. "log10" needs a positive target.
    back_transform : {"mean", "median"}
        What a prediction in the target's own unit is under "log10". "mean": the conditional mean, from leaves that
        hold arithmetic means. "median": 10 to the power of the mean logarithm in each leaf, which lies below the mean
        of a skewed target.
    missing : {"drop", "keep", "error"}
        Rows with a missing feature: left out and counted, kept (trees send missing values to a side), or refused.
        Rows without a target are always left out and counted.
    categories : {"codes", "ordered", "onehot"}
        How classes become columns; see `learn_encoding`.
    categorical, circular : sequence of str, optional
        Features that are classes, or directions in degrees; by default as the catalogue says.
    units : str
        Of the target.
    seed : int
    workers : int
        Threads; the result does not depend on it.
    **settings
        Passed to scikit-learn's RandomForestRegressor. They replace those of `preset`.

    Returns
    -------
    TrainedForest

    Raises
    ------
    MissingInputError
        For features, target or groups that the table does not hold.
    InputError
        For an element without a valid value, a covariate that is constant, too few rows or groups for the folds, a
        target that is not positive under "log10", or a misspelt option.

    Notes
    -----
    Scores are pooled: the predictions of all folds are scored together. `nse` is 1 - SSE/SST against the overall mean.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> table = pd.DataFrame({"slope": rng.random(60), "site": np.arange(60) // 3})
    >>> table["Fe"] = 10 * table["slope"]
    >>> trained = train(table, "Fe", ["slope"], "site", trees=10)
    >>> list(trained.scores.index), trained.deciding
    (['random', 'group'], 'group')
    """
    _check_options(target, features, transform, back_transform, missing, trees, workers)
    require_features(table, [target, *features], where="train")
    sites = _groups(table, groups)
    frame, sites, counts = _usable(table, target, features, sites, missing, transform)
    observed = numbers(frame[target])
    fitted = forward(observed, transform)
    _refuse_constant(frame, target, features, counts)
    pair = choose_position(frame, coordinates)
    east, north = (None, None) if pair is None else positions_of(frame, pair, where="train")
    if sites is None and coordinates is None:
        sites = sites_by_position(frame)
    kinds = _kinds(folds, sites is not None, pair is not None)
    left_out = {}
    if folds is None and pair is not None:
        labels_by_site = None if sites is None else sites.to_numpy()
        blocks = len(np.unique(block_codes(east, north, block_size, groups=labels_by_site)))
        if blocks < n_folds:
            kinds = tuple(kind for kind in kinds if kind != "block")
            left_out["block"] = f"{blocks} blocks of {block_size:g} cannot fill {n_folds} folds"
    decides = deciding or max(kinds, key=FOLD_KINDS.index)
    if decides not in kinds:
        raise InputError(f"train: deciding is '{decides}', expected one of the folds used, {list(kinds)}")
    grid = grid_of_settings(settings, search, preset)

    def dealt(kind: str, part: npt.NDArray[np.bool_], n: int, fold_seed: int) -> Labels:
        return make_folds(
            int(part.sum()),
            kind,
            n_folds=n,
            groups=None if sites is None else sites[part].to_numpy(),
            east=None if east is None else east[part],
            north=None if north is None else north[part],
            block_size=block_size,
            seed=fold_seed,
        )

    everywhere = np.ones(len(frame), dtype=bool)
    learned: dict[bytes, pd.DataFrame] = {}

    def columns(part: npt.NDArray[np.bool_]) -> pd.DataFrame:
        """All rows' columns, with classes ordered by the targets of `part` alone."""
        key = part.tobytes() if categories == "ordered" else b""
        if key not in learned:
            learned[key] = learn_encoding(
                frame, features, fitted, categorical=categorical, circular=circular, style=categories, rows=part
            ).table(frame)
        return learned[key]

    def chosen(kind: str, part: npt.NDArray[np.bool_], stream: int) -> dict[str, Any]:
        inner = dealt(kind, part, search_folds, seed + 1) if len(grid) > 1 else np.empty(0, dtype=np.int64)
        return choose_settings(grid, columns, fitted, part, inner, search_trees, [seed, stream], workers)

    labels = {kind: dealt(kind, everywhere, n_folds, seed) for kind in kinds}
    predictions, scores, by_fold = {}, {}, {}
    for kind in kinds:
        predictions[kind], by_fold[kind] = _out_of_fold(
            kind, labels[kind], columns, fitted, observed, transform, back_transform, trees, seed, workers, chosen
        )
        predictions[kind].index = frame.index
        scores[kind] = _scores(predictions[kind], transform)
    best = chosen(decides, everywhere, 0)
    encoding = learn_encoding(frame, features, fitted, categorical=categorical, circular=circular, style=categories)
    design = encoding.table(frame)
    forest = fit_forest(design, fitted, trees, best, [seed, 0], workers)
    record = {
        **best,
        "chosen": sorted(best),
        "trees": trees,
        "preset": preset,
        "transform": transform,
        "back_transform": back_transform,
        "missing": missing,
        "categories": categories,
        "deciding": decides,
        "n_folds": n_folds,
        "block_size": block_size,
        "folds_left_out": left_out,
        "folds": {kind: describe_folds(kind, block_size, pair) for kind in kinds},
        "chosen_by_fold": by_fold,
        "searched": [dict(s) for s in grid],
        "seed": seed,
    }
    return TrainedForest(
        forest=forest,
        features=tuple(features),
        target=target,
        units=units,
        encoding=encoding,
        scores=pd.DataFrame(scores).T.rename_axis("folds").astype({"n": int}),
        folds=fold_table(frame.index, labels),
        predictions=predictions,
        settings=record,
        counts=counts,
        design=design,
        observed=pd.Series(observed, index=frame.index, name=target),
        rows=frame[list(features)].copy(),
        groups=sites,
    )


def _out_of_fold(
    kind: str,
    fold: Labels,
    columns: Any,
    fitted: Floats,
    observed: Floats,
    transform: str,
    back_transform: str,
    trees: int,
    seed: int,
    workers: int,
    chosen: Any,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Predictions of every row by a forest that never saw its fold."""
    kept = sorted({t for level in LEVELS for t in tails(level)} | {0.5})
    on_fit, spread, own = (np.empty(len(fitted)) for _ in range(3))
    limits = np.empty((len(fitted), len(kept)))
    settings = []
    for k in range(int(fold.max()) + 1):
        test, part = fold == k, fold != k
        best = chosen(kind, part, 1000 * (1 + FOLD_KINDS.index(kind)) + k)
        settings.append(best)
        design = columns(part)
        forest = fit_forest(design[part], fitted[part], trees, best, [seed, 1 + FOLD_KINDS.index(kind), k], workers)
        past = np.ascontiguousarray(design[part].to_numpy(dtype=np.float32))
        rows = np.ascontiguousarray(design[test].to_numpy(dtype=np.float32))
        compiled = CompiledForest.from_sklearn(
            forest, design.columns, accepts_missing=True, responses=(past, observed[part])
        )
        on_fit[test], spread[test], limits[test] = _walk(compiled, rows, kept)
        own[test] = on_fit[test]
        if transform == "log10":
            twin = in_own_unit(forest, past, observed[part], back_transform)
            own[test] = _walk(CompiledForest.from_sklearn(twin, accepts_missing=True), rows)[0]
    frame = pd.DataFrame(
        {
            "observed": fitted,
            "predicted": on_fit,
            "sd": spread,
            "fold": fold,
            "observed_original": observed,
            "predicted_original": own,
        }
    )
    frame[[f"q{t:g}" for t in kept]] = limits
    return frame, settings


def _walk(forest: CompiledForest, rows: npt.NDArray[np.float32], levels: Any = None) -> tuple[Floats, ...]:
    """Predict once, and let the forest go."""
    return forest.predict(rows, levels)


def _scores(predictions: pd.DataFrame, transform: str) -> dict[str, float]:
    scores = score(predictions["observed"], predictions["predicted"], measures=ELEMENT_MEASURES)
    if transform != "none":
        own = score(predictions["observed_original"], predictions["predicted_original"], measures=ELEMENT_MEASURES)
        scores.update({f"{name}_original": value for name, value in own.items() if name != "n"})
    return scores


def _kinds(folds: str | Sequence[str] | None, grouped: bool, placed: bool) -> tuple[str, ...]:
    if folds is None:
        return ("random", *(["group"] if grouped else []), *(["block"] if placed else []))
    kinds = (folds,) if isinstance(folds, str) else tuple(folds)
    for kind in kinds:
        if kind not in FOLD_KINDS:
            raise InputError(f"train: no folds '{kind}'{nearest_name(kind, FOLD_KINDS)}")
    if not kinds or len(set(kinds)) != len(kinds):
        raise InputError(f"train: folds are {list(kinds)}, expected one or more of {list(FOLD_KINDS)}, each once")
    return kinds


def _groups(table: pd.DataFrame, groups: str | npt.ArrayLike | None) -> pd.Series | None:
    if groups is None:
        return None
    if isinstance(groups, str):
        require_features(table, [groups], where="train")
        return table[groups]
    labels = np.asarray(groups)
    if labels.shape != (len(table),):
        raise InputError(f"train: groups have shape {labels.shape}, expected ({len(table)},): one label a row")
    return pd.Series(labels, index=table.index, name="group")


def _usable(
    table: pd.DataFrame,
    target: str,
    features: Sequence[str],
    sites: pd.Series | None,
    missing: str,
    transform: str,
) -> tuple[pd.DataFrame, pd.Series | None, dict[str, int]]:
    values = numbers(table[target])
    with_target = np.isfinite(values)
    if not with_target.any():
        raise InputError(f"train: '{target}' has no valid value in {len(table)} rows; leave the element out")
    if transform == "log10" and (values[with_target] <= 0).any():
        bad = int((values[with_target] <= 0).sum())
        raise InputError(
            f"train: '{target}' is 0 or negative in {bad} rows, log10 needs positive values; "
            "screen them (a value below its detection limit is censored, not 0) or use transform='none'"
        )
    complete = table[list(features)].notna().all(axis=1).to_numpy()
    lacking = int((with_target & ~complete).sum())
    if missing == "error" and lacking:
        gaps = table.loc[with_target, list(features)].isna().sum()
        shown = ", ".join(f"{name} in {n}" for name, n in gaps[gaps > 0].items())
        raise InputError(f"train: features are missing in {lacking} rows ({shown}); use missing='drop' or 'keep'")
    used = with_target & (complete if missing != "keep" else True)
    if sites is not None:
        used &= sites.notna().to_numpy()
    counts = {
        "rows": len(table),
        "used": int(used.sum()),
        "without_target": int((~with_target).sum()),
        "without_feature": lacking if missing != "keep" else 0,
        "without_group": 0 if sites is None else int(sites.isna().sum()),
    }
    if not used.any():
        raise InputError(
            f"train: no row has '{target}' and every feature ({lacking} lack a feature); see the covariates"
        )
    return table[used], None if sites is None else sites[used], counts


def _refuse_constant(frame: pd.DataFrame, target: str, features: Sequence[str], counts: Mapping[str, int]) -> None:
    constant = [name for name in features if frame[name].nunique(dropna=True) < 2]
    if constant:
        raise InputError(
            f"train: {', '.join(constant)} {'is' if len(constant) == 1 else 'are'} constant over the "
            f"{counts['used']} used rows of '{target}'; a constant covariate explains nothing, leave it out"
        )


def _check_options(
    target: str, features: Sequence[str], transform: str, back_transform: str, missing: str, trees: int, workers: int
) -> None:
    for name, value, known in (
        ("transform", transform, ("none", "log10")),
        ("back_transform", back_transform, ("mean", "median")),
        ("missing", missing, ("drop", "keep", "error")),
    ):
        if value not in known:
            raise InputError(f"train: {name} is '{value}', expected one of {list(known)}{nearest_name(value, known)}")
    if isinstance(features, str) or not len(features):
        raise InputError(f"train: features are {features!r}, expected a list of one or more column names")
    twice = sorted({name for name in features if list(features).count(name) > 1})
    if twice:
        raise InputError(f"train: features {', '.join(twice)} are given twice; name each once")
    if target in features:
        raise InputError(f"train: the target '{target}' is among the features; take it out")
    if trees < 1 or workers < 1:
        raise InputError(f"train: trees is {trees} and workers {workers}, expected 1 or more of each")
