"""Predictions and maps of a fixed forest, bit for bit as they were before the walker owned the packing.

The forest is drawn from numpy's stable streams, not trained, so that the digests depend on no version of scikit-learn.
They were recorded at commit a6a73c5; the quantiles of "rows", "several outputs" and "missing values" again at 8acfdda,
which sums weights in whole numbers: they differ from the earlier ones by 4e-13 at most, means and spreads in no bit.
"""

from __future__ import annotations

import hashlib
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from tpsoil.forest import CompiledForest, predict_cube_many
from tpsoil.forest.dissimilarity import fit_applicability
from tpsoil.forest.encoding import Encoding
from tpsoil.forest.features import Feature
from tpsoil.forest.intervals import Conformal
from tpsoil.forest.layers import MapModel, map_models
from tpsoil.forest.quantiles import Responses

NAMES = ("slope", "ndvi", "land_cover", "wetness")
CLASSES = (1, 2, 5, 9)
ROWS = 60
RECORDED = {
    "forest": "87bdc916af3eae0c",
    "rows": "1b0a937a2a9d0905",
    "several outputs": "831b6408f74b4360",
    "missing values": "683038e413530804",
    "leaves": "2f560f78b5e68be6",
    "cube": "98f9d9fead1bb22e",
    "many": "2bde80c0ea3bd289",
    "map models": "7cd6fca4cfe7b853",
}


def random_forest(seed: int, *, trees: int = 60, outputs: int = 1, missing: bool = False) -> CompiledForest:
    """A forest of valid random trees, with training rows in every leaf."""
    rng = np.random.default_rng(seed)
    left, right, feature, root, value, begin, member = [], [], [], [], [], [0], []
    for _ in range(trees):
        start, count = len(left), int(rng.integers(1, 90))
        root.append(start)
        left.append(-1)
        right.append(-1)
        feature.append(0)
        leaves = [start]
        for _ in range(count):
            parent = leaves.pop(int(rng.integers(len(leaves))))
            left[parent], right[parent], feature[parent] = len(left), len(left) + 1, int(rng.integers(4))
            leaves += [len(left), len(left) + 1]
            left += [-1, -1]
            right += [-1, -1]
            feature += [0, 0]
        for node in range(start, len(left)):
            if left[node] < 0:
                member += rng.integers(ROWS, size=int(rng.integers(1, 9))).tolist()
            begin.append(len(member))
    nodes = len(left)
    split = np.array(left) >= 0
    value = rng.random((nodes, outputs)) * 100
    threshold = np.where(np.array(feature) == 2, rng.integers(1, 9, nodes) + 0.5, rng.random(nodes))
    return CompiledForest(
        root=np.array(root, np.int64),
        left=np.array(left, np.int32),
        right=np.array(right, np.int32),
        feature=np.array(feature, np.int32),
        threshold=np.where(split, threshold, 0).astype(np.float32),
        missing_left=(rng.random(nodes) < 0.5) & split & missing,
        value=value,
        features=NAMES,
        targets=tuple("abc"[:outputs]),
        units="mg kg-1",
        accepts_missing=missing,
        categories={} if missing else {"land_cover": CLASSES},
        responses=Responses(
            rng.integers(0, 50, (ROWS, outputs)).astype(np.float64),
            np.array(begin, np.uint32),
            np.array(member, np.uint32),
        ),
    )


def rows(count: int = 700) -> Any:
    rng = np.random.default_rng(9)
    X = rng.random((count, 4))
    X[:, 2] = rng.choice(CLASSES, count)
    return X


def cube(chunks: Any = ((30, 7), (20, 20, 11))) -> xr.Dataset:
    shape = (37, 51)
    X = rows(shape[0] * shape[1])
    X[5::31, 0] = np.nan
    X[3::47, 2] = 7  # a class that training never saw
    mask = (np.arange(len(X)) % 5 > 0).astype(np.uint8).reshape(shape)
    layers = {name: X[:, k].reshape(shape).astype(np.float32) for k, name in enumerate(NAMES)}
    layers["land_cover"] = layers["land_cover"].astype(np.uint8)
    return xr.Dataset({k: (("y", "x"), da.from_array(v, chunks)) for k, v in {**layers, "soil_mask": mask}.items()})


def map_model(seed: int) -> MapModel:
    features = tuple(
        Feature(name, "categorical", CLASSES, tuple(map(float, CLASSES)), (name,))
        if name == "land_cover"
        else Feature(name, "continuous", (), (), (name,))
        for name in NAMES
    )
    encoding = Encoding(features, "codes")
    weights = np.array([1.0, 0.5, 0.25, 2.0])
    area = fit_applicability(np.asarray(rows(40)), weights, np.arange(40) % 4)
    area = type(area)(NAMES, area.centre, area.scale, area.points, area.mean_distance, area.training_index, 0.15)
    conformal = Conformal(0.9, "quantile", 1.25, "none", 40)
    return MapModel("Fe", encoding, random_forest(seed), {"samples": 40}, conformal, encoding, area)


def digest(*arrays: Any) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def maps(dataset: xr.Dataset) -> str:
    result = dataset.compute(scheduler="threads", num_workers=2)
    return digest(*(result[name].values for name in sorted(map(str, result.data_vars))))


def results(case: str) -> str:
    X = rows()
    if case == "forest":
        return random_forest(1).digest[:16]
    if case == "rows":
        forest = random_forest(1)
        return digest(*forest.predict(X, (0.05, 0.5, 0.9)), *forest.predict(X, (0.1, 0.8), method="trees", threads=3))
    if case == "several outputs":
        return digest(*random_forest(2, outputs=3).predict(X, (0.2, 0.7)))
    if case == "missing values":
        X[::3, 0], X[1::4, 3] = np.nan, np.nan
        return digest(*random_forest(3, missing=True).predict(X, (0.2, 0.7)))
    if case == "leaves":
        return digest(random_forest(1).apply(X))
    if case == "cube":
        return maps(random_forest(1).predict_cube(cube(), quantiles=(0.05, 0.95), unseen="nan"))
    if case == "many":
        forests = {"iron": random_forest(1), "zinc": random_forest(4, trees=33), "lead": random_forest(2, outputs=3)}
        return maps(predict_cube_many(forests, cube(), quantiles=(0.5,), method="trees", unseen="nan"))
    return maps(map_models({"iron": map_model(1), "zinc": map_model(4)}, cube(), unseen="nan"))


@pytest.mark.parametrize("case", RECORDED)
def test_results_are_those_recorded(case: str) -> None:
    assert results(case) == RECORDED[case]
