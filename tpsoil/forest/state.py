"""A trained forest without its trees as bytes: scores, folds, predictions and rows, as arrays and plain values.

The trees are grown again from their seeds where they are needed: a forest of 500 trees takes a fraction of a second,
its folds and its search many times that, and are read back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy.typing as npt
import pandas as pd

from tpsoil.forest.model_bytes import encoding_of, stored_bytes, unpack
from tpsoil.forest.search import fit_forest, spec_of
from tpsoil.forest.trained import TrainedForest

Array = npt.NDArray[Any]


def dump_state(trained: TrainedForest) -> bytes:
    """Everything of a trained forest but its trees, as bytes; `load_state` reads them.

    Parameters
    ----------
    trained : TrainedForest

    Returns
    -------
    bytes
        numpy's npz without pickled objects: nothing in it is executed.
    """
    arrays: dict[str, Array] = {}
    tables = {"scores": trained.scores, "folds": trained.folds, "rows": trained.rows}
    tables |= {f"predictions {kind}": table for kind, table in trained.predictions.items()}
    tables["observed"] = trained.observed.to_frame("observed")
    if trained.groups is not None:
        tables["groups"] = trained.groups.rename("groups").to_frame()
    plain = {
        "features": list(trained.features),
        "target": trained.target,
        "units": trained.units,
        "encoding": asdict(trained.encoding),
        "settings": dict(trained.settings),
        "counts": dict(trained.counts),
        "kinds": list(trained.predictions),
        "group_name": None if trained.groups is None else trained.groups.name,
        "tables": {name: _plain_table(name, table, arrays) for name, table in tables.items()},
    }
    return stored_bytes(plain, arrays)


def load_state(data: bytes, *, grow: bool, workers: int = 1) -> TrainedForest:
    """The trained forest that `dump_state` wrote.

    Parameters
    ----------
    data : bytes
    grow : bool
        Grow its trees again, equal to the first; else the forest is not fitted, which scores and predictions out of
        fold do not need.
    workers : int
        Threads.

    Returns
    -------
    TrainedForest

    Raises
    ------
    InputError
        For other bytes.

    Examples
    --------
    >>> import numpy as np
    >>> from tpsoil.forest import train
    >>> table = pd.DataFrame({"slope": np.arange(40.0), "Fe": np.arange(40.0) ** 2})
    >>> trained = train(table, "Fe", ["slope"], trees=5)
    >>> again = load_state(dump_state(trained), grow=True)
    >>> bool((again.predict(table)["mean"] == trained.predict(table)["mean"]).all())
    True
    """
    stored = unpack(data, "the state of a trained forest; train it again")
    plain, arrays = stored.plain, stored.arrays
    tables = {name: _table(name, table, arrays) for name, table in plain["tables"].items()}
    settings = plain["settings"]
    encoding = encoding_of(plain["encoding"])
    rows = tables["rows"]
    spec = spec_of(settings, (int(settings["seed"]), 0))
    trained = TrainedForest(
        forest=spec.unfitted(),
        features=tuple(plain["features"]),
        target=plain["target"],
        units=plain["units"],
        encoding=encoding,
        scores=tables["scores"].rename_axis("folds"),
        folds=tables["folds"],
        predictions={kind: tables[f"predictions {kind}"] for kind in plain["kinds"]},
        settings=settings,
        counts=plain["counts"],
        design=encoding.table(rows),
        observed=tables["observed"]["observed"].rename(plain["target"]),
        rows=rows,
        groups=tables["groups"]["groups"].rename(plain["group_name"]) if "groups" in tables else None,
    )
    if not grow:
        return trained
    return replace(trained, forest=fit_forest(trained.design, trained.fitted_target, spec, workers=workers))


def _plain_table(name: str, table: pd.DataFrame, arrays: dict[str, Array]) -> dict[str, Any]:
    """Names of a table's columns; their values go to `arrays`, text to the plain values."""
    columns: list[Any] = []
    for k, column in enumerate([table.index.to_series(), *(table.iloc[:, j] for j in range(table.shape[1]))]):
        values = column.to_numpy()
        if values.dtype.kind in "biuf":
            arrays[f"{name} {k}"] = values
            columns.append(None)
        else:
            columns.append([None if pd.isna(value) else value for value in column.tolist()])
    return {"names": [str(column) for column in table.columns], "text": columns}


def _table(name: str, plain: Mapping[str, Any], arrays: Mapping[str, Array]) -> pd.DataFrame:
    columns = [arrays[f"{name} {k}"] if text is None else text for k, text in enumerate(plain["text"])]
    return pd.DataFrame(dict(zip(plain["names"], columns[1:])), index=pd.Index(columns[0]))
