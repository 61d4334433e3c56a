"""Recipe, notes and tables that a run stores beside its arrays, under `_tpsoil/`. Read as plain JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

import fsspec
import pandas as pd

from tpsoil.columns import stored_table
from tpsoil.errors import CorruptStoreError

MODELS: Final = ("solum", "elements")
"""Sections of a recipe whose outputs are maps; the outputs of all others are covariates."""


@dataclass
class Record:
    """Record of a run.

    Parameters
    ----------
    name : str
    recipe : object
        Nested mappings, or None.
    cube : str
        Path or URL of the cube that the run has read, relative to the store; "" for none.
    results : list of str
        Layers computed by models.
    notes : list of str
    tables : dict of str to DataFrame
        Tables of one name from several stages are concatenated.
    outputs : dict of str to set of str
        Output layers of the stages of each table.
    """

    name: str = ""
    recipe: Any = None
    cube: str = ""
    results: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    outputs: dict[str, set[str]] = field(default_factory=dict)


def read_record(where: str) -> Record:
    """The record of the run that wrote a store.

    Parameters
    ----------
    where : str
        Path or URL of the store; "" for none.

    Returns
    -------
    Record
        Empty if the store is not the output of a run, or cannot be listed.

    Raises
    ------
    CorruptStoreError
        For a record that does not decode.

    Examples
    --------
    >>> read_record("").tables
    {}
    """
    record = Record()
    if not where:
        return record
    try:
        files, root = fsspec.core.url_to_fs(where)
        kinds = ("run.json", "models/*.json", "tables/*.csv")
        listed = {kind: sorted(map(str, files.glob(f"{root}/_tpsoil/{kind}"))) for kind in kinds}
        content = {path: files.cat_file(path) for paths in listed.values() for path in paths}
    except (OSError, ValueError, ImportError, NotImplementedError):
        return record  # layers and attributes are available without the record
    stage_outputs: dict[str, list[str]] = {}
    for path in listed["run.json"]:
        run = _decoded(where, path, content)
        record.name, record.recipe = str(run.get("name") or ""), run.get("recipe")
        record.cube = str(run.get("cube") or "")
        for stage in run.get("stages", []):
            stage_outputs[str(stage.get("name"))] = [str(name) for name in stage.get("outputs", [])]
            if stage.get("section", stage.get("name")) in MODELS:
                record.results += stage_outputs[str(stage.get("name"))]
    for path in listed["models/*.json"]:
        model = _decoded(where, path, content)
        record.notes += [str(note) for note in model.get("notes", [])]
        for name, text in model.get("tables", {}).items():
            _add(record, str(name), stored_table(text), stage_outputs.get(PurePosixPath(path).stem, []))
    for path in listed["tables/*.csv"]:
        name = PurePosixPath(path).stem
        _add(record, name, stored_table(content[path]), stage_outputs.get(name, []))
    return record


def _add(record: Record, name: str, table: pd.DataFrame, outputs: list[str]) -> None:
    earlier = record.tables.get(name)
    record.tables[name] = table if earlier is None else pd.concat([earlier, table], ignore_index=True)
    record.outputs.setdefault(name, set()).update(outputs)


def _decoded(where: str, path: str, content: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        return dict(json.loads(content[path]))
    except (ValueError, TypeError) as error:
        name = path.rpartition("/_tpsoil/")[2]
        raise CorruptStoreError(f"{where}: _tpsoil/{name} is damaged ({error}); run the recipe again") from error
