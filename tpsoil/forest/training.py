"""Train one random forest for one target, and score it out of fold: nested, by several kinds of folds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, Final, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from tpsoil.errors import InputError, require_distinct
from tpsoil.evaluation import ELEMENT_MEASURES, FOLD_KINDS, score
from tpsoil.forest.block_sides import correlated_blocks, require_filled
from tpsoil.forest.encoding import learn_encoding
from tpsoil.forest.features import numbers, require_features
from tpsoil.forest.fit_progress import fit_bar, fold_done
from tpsoil.forest.folds import describe_folds, sites_by_position
from tpsoil.forest.growing import choose_engine
from tpsoil.forest.options import SEARCH_FOLDS, SEARCH_TREES, TrainingKeywords, TrainingOptions, with_keywords_of
from tpsoil.forest.out_of_fold import FoldTask, Positions, in_order
from tpsoil.forest.search import ForestSpec, choose_settings, fit_forest, grid_of_settings
from tpsoil.forest.trained import TrainedForest, forward

Floats = npt.NDArray[np.float64]

AUTO_TREES: Final = 100
"""Trees of the first training, whose residuals decide the side of "auto" blocks."""
SMALLEST_VARIANCE: Final = 100 * float(np.finfo(float).eps)
"""Of a target: trees leave nodes whole whose variance is at most a hundredth of it."""
RECORDED: Final = ("trees", "preset", "transform", "back_transform", "missing", "categories", "n_folds", "seed")
"""Options that the settings of a trained forest repeat."""


@with_keywords_of(TrainingOptions)
def train(
    table: pd.DataFrame,
    target: str,
    features: Sequence[str],
    groups: str | npt.ArrayLike | None = None,
    **options: Unpack[TrainingKeywords],
) -> TrainedForest:
    """Train a random forest and score it out of fold.

    Parameters
    ----------
    table : DataFrame
        One row for each sample: target, features and position. Not changed.
    target : str
    features : sequence of str
    groups : str or array_like (rows,), optional
        The site of each row, by column name or as labels. Rows of one site share a pixel, so they share a fold. By
        default rows at one position are one site, with a warning.
    **options
        Each a keyword, see `TrainingOptions`: `folds`, `deciding`, `n_folds`, `block_size`, `coordinates`, `regions`,
        `area`, `trees`, `preset`, `search`, `search_trees`, `search_folds`, `transform`, `back_transform`, `missing`,
        `categories`, `categorical`, `circular`, `units`, `seed`, `workers`, `progress`, and the settings of the forest,
        such as `max_features`.

    Returns
    -------
    TrainedForest

    Raises
    ------
    MissingInputError
        For features, target or groups that the table does not have.
    InputError
        For an element without a valid value, a covariate that is constant, too few rows or groups for the folds, a
        target that is not positive under "log10", an unknown option, or one that has no effect.

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
    how = TrainingOptions.of(options)
    with fit_bar(f"training {target}", show=how.progress):
        return _train(table, target, features, groups, how)


def _train(
    table: pd.DataFrame,
    target: str,
    features: Sequence[str],
    groups: str | npt.ArrayLike | None,
    how: TrainingOptions,
) -> TrainedForest:
    n_folds, seed, workers = how.n_folds, how.seed, how.workers
    _check_names(target, features)
    require_features(table, [target, *features], where="train")
    sites = _groups(table, groups)
    frame, sites, counts = _usable(table, target, features, sites, how.missing, how.transform)
    observed = numbers(frame[target])
    fitted = forward(observed, how.transform)
    _reject_constant(frame, target, features)
    _reject_tiny(fitted, target, how.units)
    if sites is None and how.coordinates is None:
        sites = sites_by_position(frame)
    positions = Positions.of(frame, how, sites, where="train")
    placed, blocks, left_out = positions.east is not None, positions.blocks, {}
    kinds = how.kinds or ("random", *(["group"] if sites is not None else []), *(["block"] if placed else []))
    if "block" in kinds and how.block_size == "auto" and placed:
        kind = "random" if sites is None else "group"
        first = replace(
            how, folds=kind, block_size=3.0, trees=min(how.trees, AUTO_TREES), search=None, search_trees=None,
            search_folds=None, deciding=None, regions=None, area=None,
        )  # fmt: skip
        predicted = _train(frame, target, features, positions.sites, first).predictions[kind]
        residuals = predicted["observed"] - predicted["predicted"]
        blocks = correlated_blocks(blocks, residuals, positions.sites, n_folds)
        positions = replace(positions, blocks=blocks)
    if how.folds is None and placed:
        filled = blocks.count(blocks.side, positions.sites)
        if filled < n_folds:
            kinds = tuple(kind for kind in kinds if kind != "block")
            left_out["block"] = f"{filled} blocks of {blocks.text.split()[0]} cannot fill {n_folds} folds"
    elif "block" in kinds and placed:
        require_filled(blocks, positions.sites, n_folds)
    deciding = how.deciding or max(kinds, key=FOLD_KINDS.index)
    if deciding not in kinds:
        raise InputError(f"train: deciding is '{deciding}', expected one of the folds used, {list(kinds)}")
    grid = grid_of_settings(how.settings, how.search, how.preset)
    learn = partial(learn_encoding, categorical=how.categorical, circular=how.circular, style=how.categories)
    everywhere = np.ones(len(frame), dtype=bool)
    labels = {kind: positions.folds(kind, everywhere, n_folds, seed) for kind in kinds}
    learned: dict[bytes, pd.DataFrame] = {}

    def columns(part: npt.NDArray[np.bool_]) -> pd.DataFrame:
        """All rows' columns, with classes ordered by the targets of `part` alone."""
        key = part.tobytes() if how.categories == "ordered" else b""
        if key not in learned:
            learned[key] = learn(frame, features, fitted, rows=part).table(frame)
        return learned[key]

    def chosen(kind: str, part: npt.NDArray[np.bool_], stream: int, threads: int) -> dict[str, Any]:
        inner = np.full(len(frame), -1, dtype=np.int64)
        if len(grid) > 1:
            inner[part] = positions.folds(kind, part, how.search_folds or SEARCH_FOLDS, seed + 1)
        spec = ForestSpec(how.search_trees or SEARCH_TREES, {}, (seed, stream), how.engine)
        return choose_settings(grid, columns, fitted, inner, spec, workers=threads)

    shared = FoldTask(columns, fitted, observed, chosen, how)
    tasks = [(kind, k) for kind in kinds for k in range(int(labels[kind].max()) + 1)]
    threads = -(-workers // len(tasks))
    with ThreadPoolExecutor(min(workers, len(tasks))) as pool:
        parts = []
        for part in pool.map(lambda task: shared.run(task[0], labels[task[0]] == task[1], task[1], threads), tasks):
            parts.append(part)
            fold_done(len(parts), len(tasks) + 1)
    predictions, scores, by_fold = {}, {}, {}
    for kind in kinds:
        own = [part for task, part in zip(tasks, parts) if task[0] == kind]
        predictions[kind] = in_order([rows for rows, _ in own], labels[kind], frame.index)
        by_fold[kind] = [settings for _, settings in own]
        scores[kind] = pooled_scores(predictions[kind], how.transform)
    best = chosen(deciding, everywhere, 0, workers)
    encoding = learn(frame, features, fitted)
    design = encoding.table(frame)
    spec = ForestSpec(how.trees, best, (seed, 0), how.engine)
    forest = fit_forest(design, fitted, spec, workers=workers)
    fold_done(len(tasks) + 1, len(tasks) + 1)
    record = {
        **best,
        **{name: getattr(how, name) for name in RECORDED},
        "chosen": sorted(best),
        "engine": choose_engine(spec.unfitted(), 1, how.engine),
        "deciding": deciding,
        "block_size": blocks.side,
        "block_units": blocks.units,
        "folds_left_out": left_out,
        "folds": {kind: describe_folds(kind, blocks.text) for kind in kinds},
        "chosen_by_fold": by_fold,
        "searched": [dict(s) for s in grid],
    }
    return TrainedForest(
        forest=forest,
        features=tuple(features),
        target=target,
        units=how.units,
        encoding=encoding,
        scores=pd.DataFrame(scores).T.rename_axis("folds").astype({"n": int}),
        folds=pd.DataFrame(labels, index=frame.index),
        predictions=predictions,
        settings=record,
        counts=counts,
        design=design,
        observed=pd.Series(observed, index=frame.index, name=target),
        rows=frame[list(features)].copy(),
        groups=sites,
    )


def pooled_scores(predictions: pd.DataFrame, transform: str) -> dict[str, float]:
    """Scores of predictions out of fold on the scale of the fit, and with a transform in the target's own unit."""
    scores = score(predictions["observed"], predictions["predicted"], measures=ELEMENT_MEASURES)
    if transform != "none":
        own = score(predictions["observed_original"], predictions["predicted_original"], measures=ELEMENT_MEASURES)
        scores.update({f"{name}_original": value for name, value in own.items() if name != "n"})
    return scores


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
        raise InputError(f"train: '{target}' has no valid value in {len(table)} rows; omit the element")
    bad = int((values[with_target] <= 0).sum())
    if transform == "log10" and bad:
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


def _reject_constant(frame: pd.DataFrame, target: str, features: Sequence[str]) -> None:
    constant = [name for name in features if frame[name].nunique(dropna=True) < 2]
    if constant:
        raise InputError(
            f"train: {', '.join(constant)} {'is' if len(constant) == 1 else 'are'} constant over the "
            f"{len(frame)} used rows of '{target}'; a constant covariate explains nothing, omit it"
        )


def _reject_tiny(fitted: Floats, target: str, units: str) -> None:
    """scikit-learn splits no node whose variance is at most 2.2e-16."""
    variance = float(fitted.var())
    if 0 < variance <= SMALLEST_VARIANCE and float(np.ptp(fitted)) > 1e-12 * float(np.abs(fitted).max()):
        raise InputError(
            f"train: '{target}' has a standard deviation of {np.sqrt(variance):.3g} {units}, too small for trees to "
            f"split; give it in a smaller unit, so that it is above {np.sqrt(SMALLEST_VARIANCE):.2g}"
        )


def _check_names(target: str, features: Sequence[str]) -> None:
    if isinstance(features, str) or not len(features):
        raise InputError(f"train: features are {features!r}, expected a list of one or more column names")
    require_distinct("train", features, "feature")
    if target in features:
        raise InputError(f"train: the target '{target}' is among the features; omit it")
