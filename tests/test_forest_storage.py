"""A forest's file: plain arrays, whole or not at all, checked when read; and its pickle."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forests import FEATURES, training_rows
from sklearn.ensemble import RandomForestRegressor

from tpsoil.errors import AccessError, CorruptStoreError, MissingInputError
from tpsoil.forest import CompiledForest


def compiled_forest(**options: Any) -> tuple[CompiledForest, Any]:
    X, y = training_rows(120)
    forest = RandomForestRegressor(12, random_state=0).fit(X, y)
    return CompiledForest.from_sklearn(forest, FEATURES, **{"responses": (X, y), **options}), X


def test_a_file_gives_back_the_forest(tmp_path: Path) -> None:
    compiled, X = compiled_forest(
        targets="zinc", units="mg kg-1", categories={"classes": range(9)}, feature_units={"plain": "m"}, weighted=False
    )
    path = tmp_path / "zinc.forest"
    compiled.save(path)
    compiled.save(path)
    read = CompiledForest.load(str(path))
    assert read.digest == compiled.digest
    assert (read.features, read.targets, read.units) == (FEATURES, ("zinc",), "mg kg-1")
    assert (read.categories, read.feature_units) == ({"classes": tuple(range(9))}, {"plain": "m"})
    for a, b in zip(compiled.predict(X, (0.1, 0.9)), read.predict(X, (0.1, 0.9))):
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["zinc.forest"]
    with zipfile.ZipFile(path) as stored:
        assert all(name.endswith(".npy") for name in stored.namelist())
    with np.load(path, allow_pickle=False) as stored:
        assert all(stored[name].dtype.kind in "uifb" for name in stored.files)


def test_every_fact_is_in_the_digest() -> None:
    base = compiled_forest()[0]
    others = [
        compiled_forest(responses=None)[0],
        compiled_forest(weighted=False)[0],
        compiled_forest(units="m")[0],
        compiled_forest(targets="iron")[0],
        compiled_forest(categories={"classes": range(9)})[0],
        compiled_forest(accepts_missing=True)[0],
        compiled_forest(feature_units={"plain": "m"})[0],
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 8
    assert compiled_forest()[0].digest == base.digest


def test_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        CompiledForest.load(tmp_path / "none")
    text = tmp_path / "text"
    text.write_text("not a forest")
    with pytest.raises(CorruptStoreError, match="not a forest that can be read"):
        CompiledForest.load(text)
    pickled = tmp_path / "pickled"
    pickled.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CorruptStoreError, match="not a forest"):
        CompiledForest.load(pickled)
    compiled, _ = compiled_forest()
    path = tmp_path / "forest"
    compiled.save(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["value"] = arrays["value"] + 1
    with (tmp_path / "changed").open("wb") as stream:
        np.savez(stream, **arrays)
    with pytest.raises(CorruptStoreError, match="does not match its digest"):
        CompiledForest.load(tmp_path / "changed")
    del arrays["left"]
    with (tmp_path / "less").open("wb") as stream:
        np.savez(stream, **arrays)
    with pytest.raises(CorruptStoreError, match="left"):
        CompiledForest.load(tmp_path / "less")
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-400])
    with pytest.raises(CorruptStoreError, match="not a forest"):
        CompiledForest.load(tmp_path / "cut")
    with pytest.raises(AccessError, match="cannot be written"):
        compiled.save(tmp_path / "absent" / "forest")


def test_a_pickle_holds_no_layout_made_for_walking() -> None:
    compiled, X = compiled_forest()
    fresh = len(pickle.dumps(compiled))
    expected = compiled.predict(X)
    assert len(pickle.dumps(compiled)) == pytest.approx(fresh, abs=300)
    read = pickle.loads(pickle.dumps(compiled))
    np.testing.assert_array_equal(read.predict(X)[0], expected[0])
    assert compiled.__sizeof__() == compiled.nbytes > 20 * compiled.left.size


def planted(forest: CompiledForest, **arrays: Any) -> CompiledForest:
    """The forest with some values of its arrays replaced: name=(index, value)."""
    changed = {}
    for name, (index, value) in arrays.items():
        changed[name] = getattr(forest, name).copy()
        changed[name][index] = value
    return replace(forest, **changed)


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"left": (1, 0)}, "before it or in another tree"),  # a cycle: the walk, and the packing, would not end
        ({"right": (0, 10**6)}, "before it or in another tree"),
        ({"left": (0, 2)}, "two parents or none"),
        ({"left": (0, -1)}, "one child"),
        ({"feature": (0, 10**6)}, "feature that is not one of its"),
        ({"feature": (0, -2)}, "feature that is not one of its"),
        ({"threshold": (0, np.nan)}, "not a finite number"),
        ({"value": (0, np.inf)}, "not a finite number"),
        ({"root": (1, 0)}, "one after the other"),
    ],
)
def test_planted_nodes_are_rejected_when_a_forest_is_read(tmp_path: Path, arrays: dict[str, Any], fault: str) -> None:
    """`1` stands for the second node of the first tree that has children."""
    compiled, _ = compiled_forest()
    split = int(np.flatnonzero(compiled.left[: compiled.root[1]] != -1)[1])
    at = {name: (split if name == "left" and index else index, value) for name, (index, value) in arrays.items()}
    planted(compiled, **at).save(tmp_path / "planted.forest")
    with pytest.raises(CorruptStoreError, match=rf"planted.forest: is no valid forest \(.*{fault}"):
        CompiledForest.load(tmp_path / "planted.forest")


def test_planted_rows_of_leaves_are_rejected(tmp_path: Path) -> None:
    compiled, _ = compiled_forest()
    assert compiled.responses is not None
    member = compiled.responses.member.copy()
    member[5] = 10**6
    replace(compiled, responses=replace(compiled.responses, member=member)).save(tmp_path / "planted.forest")
    with pytest.raises(CorruptStoreError, match="a leaf names a row that is not there"):
        CompiledForest.load(tmp_path / "planted.forest")


def test_arrays_of_other_lengths_are_rejected(tmp_path: Path) -> None:
    compiled, _ = compiled_forest(responses=None)
    replace(compiled, threshold=compiled.threshold[:-1]).save(tmp_path / "planted.forest")
    with pytest.raises(CorruptStoreError, match="different lengths"):
        CompiledForest.load(tmp_path / "planted.forest")
