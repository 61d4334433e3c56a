"""Environmental zones by k-prototypes over continuous and categorical covariates, at raster scale."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import validate_data

from tpsoil.blocks import map_pixels
from tpsoil.display import bar_chart, html_summary, html_table
from tpsoil.errors import CorruptStoreError, InputError, MissingInputError
from tpsoil.kernels import prototypes
from tpsoil.variables import NO_CLASS, variable

from .covariates import Columns, columns_of, fill_of
from .inputs import require_layers
from .thickness import codes_of
from .zone_cells import array_layers, chosen_layers, decimated_cells, encode, is_array, kmodes_start, layers_of

Doubles = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int32]


COMPARED_CELLS = 20_000
"""Cells on which the starts are compared."""

MAX_PASSES = 500
"""Maximum number of passes over the cells of one fit; at this number a few labels in a million still change."""


class NotFittedZonesError(InputError, NotFittedError):  # type: ignore[misc]
    """Zones that are used before they are fitted."""


def _complete(
    columns: Columns, cells: Mapping[str, npt.NDArray[Any]], fills: Mapping[str, float], keep: Any = slice(None)
) -> tuple[Doubles, Doubles, npt.NDArray[np.bool_]]:
    """Number columns (those to keep) and classes of the complete cells of soil, and which cells these are."""
    numbers, classes = columns.numbers(cells)[:, keep], columns.classes(cells, fills)
    valid = np.asarray(np.isfinite(numbers).all(axis=1) & np.isfinite(classes).all(axis=1))
    if "soil_mask" in cells:
        valid &= codes_of(cells["soil_mask"]) == 1
    return numbers[valid], classes[valid], valid


def _assigned(
    *arguments: Any, names: tuple[str, ...], columns: Columns, fills: Mapping[str, float], keep: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    """The zones of a chunk, from a fitted model as plain values."""
    *blocks, (mean, scale, levels, centres, modes, gamma) = arguments
    cells = {name: block.reshape(-1) for name, block in zip(names, blocks)}
    numbers, classes, valid = _complete(columns, cells, fills, list(keep))
    labels = np.full(len(numbers), -1, np.int32)
    standard = np.ascontiguousarray((numbers - mean) / scale)
    prototypes.assign(standard, encode(classes, levels), centres, modes, gamma, labels)
    zone = np.full(valid.size, NO_CLASS, np.uint8)
    zone[valid] = labels + 1
    return zone.reshape(blocks[0].shape)


class Zones(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Zones of similar environment by k-prototypes (Huang 1998).

    Parameters
    ----------
    k : int
        Number of zones, 2 to 254; the study has 8.
    gamma : float, optional
        Cost of a mismatch of a class, relative to standardised squared distances; default: half the mean standard
        deviation of the numeric columns, which is 0.5.
    n_init : int
        Starts. kmodes runs each on `start_cells` cells, the kernel continues on 20 000; the start with the lowest cost
        is continued on all cells of the fit.
    seed : int
    max_cells : int
        Cells to fit on. A larger raster is decimated evenly, every n-th row and column, for any chunks.
    start_cells : int
        Cells for kmodes.

    Attributes
    ----------
    columns_ : Columns
        Covariates by kind.
    dropped_ : tuple of str
        Number columns without variance, which are not used.
    mean_, scale_ : (f,) float64
        Of the number columns in use; population standard deviation, sine and cosine of a direction together.
    levels_ : list of (m,) float64
        Class codes of each categorical covariate.
    centres_, modes_ : (k, f) float64, (k, c) int32
        Prototypes in order of mean elevation: standardised means, positions in `levels_`.
    cost_ : float
    counts_ : (k,) int64
        Cells of the fit.
    summary_ : DataFrame
        A row a zone: cells, means in their units, most frequent classes.
    labels_ : (n,) int
        Zone of each row of the fit, where it was an array (n, f).
    n_features_in_ : int

    Notes
    -----
    ``d = sum_num (x - c)^2 + gamma sum_cat [x != mode]``. Labels are 1..k in order of mean elevation, so they are
    stable from run to run. Cells with a NaN have no zone; a class that is not in the fit is a mismatch everywhere.
    Zones from covariates that were ranked on the profiles contain information on the target: rank inside the
    cross-validation for an unbiased score.

    References
    ----------
    Huang, Z. (1998), Data Mining and Knowledge Discovery 2. doi:10.1023/A:1009769707641

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> height = np.where(np.arange(400) < 150, 1000.0, 5000.0) + rng.normal(0, 50, 400)
    >>> layers = xr.Dataset({"elevation": (("y", "x"), height.reshape(20, 20))})
    >>> zone = Zones(k=2, n_init=2).fit(layers).predict(layers)
    >>> np.bincount(zone.values.ravel())[1:].tolist()
    [150, 250]
    """

    def __init__(
        self,
        k: int = 8,
        *,
        gamma: float | None = None,
        n_init: int = 10,
        seed: int = 0,
        max_cells: int = 1_000_000,
        start_cells: int = 1000,
    ) -> None:
        self.k = k
        self.gamma = gamma
        self.n_init = n_init
        self.seed = seed
        self.max_cells = max_cells
        self.start_cells = start_cells

    def fit(
        self,
        layers: xr.Dataset | Mapping[str, Any] | pd.DataFrame | npt.NDArray[Any],
        y: None = None,
        *,
        names: Iterable[str] | None = None,
        categorical: Iterable[str] = (),
    ) -> Zones:
        """Fit the zones.

        Parameters
        ----------
        layers : Dataset (y, x), DataFrame of cells, or array (n, f)
            Numpy or dask; only the cells of the fit are read. `soil_mask` is applied if present. Columns of an
            array are numbers.
        y : None
            Not used; for scikit-learn.
        names : iterable of str, optional
            Covariates; default: the available ones of the study's eleven. Other class layers are then listed in a
            warning of the log.
        categorical : iterable of str
            Classes that are not declared by the catalogue or by the layer's `kind` or `flag_values`.

        Returns
        -------
        Zones
            Itself.

        Raises
        ------
        MissingInputError
            For missing covariates.
        InputError
            For a layer of text, a wrong k, gamma or n_init, for fewer complete cells than zones, when no column varies.
        """
        where = "Zones.fit"
        if not 2 <= self.k < NO_CLASS or self.n_init < 1:
            raise InputError(f"{where}: k is {self.k} and n_init is {self.n_init}, expected 2 to 254 and at least 1")
        if self.gamma is not None and not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise InputError(f"{where}: gamma is {self.gamma!r}, expected a number that is not negative, or None")
        as_array = is_array(layers)
        if as_array:
            layers = array_layers(validate_data(self, layers, dtype=np.float64))
            names = tuple(layers) if names is None else names
        data = layers_of(layers, where)
        selected = chosen_layers(data, names, where)
        self.n_features_in_ = len(selected)
        self.columns_ = columns_of(selected, tuple(categorical), {str(n): data[n].attrs for n in data.data_vars})
        self.fills_ = {name: fill_of(data[name]) for name in self.columns_.categorical}
        cells = decimated_cells(data, self.columns_.names, self.max_cells)
        numbers, classes, valid = _complete(self.columns_, cells, self.fills_)
        if len(numbers) < self.k:
            raise InputError(
                f"{where}: {len(numbers)} complete cells of soil (n_samples = {len(numbers)}), "
                f"expected at least k = {self.k}"
            )
        spread = self.columns_.scales(numbers)
        varies = spread > 1e-12 * np.maximum(np.abs(numbers).max(axis=0), 1e-300) if len(spread) else spread > 0
        self.keep_ = tuple(int(j) for j in np.flatnonzero(varies))
        self.dropped_ = tuple(label for label, is_used in zip(self.columns_.labels, varies) if not is_used)
        self.levels_ = [np.unique(column) for column in classes.T]
        if not self.keep_ and all(len(codes) < 2 for codes in self.levels_):
            raise InputError(f"{where}: no covariate varies over {len(numbers)} cells; zones are not defined")
        self.mean_, self.scale_ = numbers[:, varies].mean(axis=0), spread[varies]
        standard = np.ascontiguousarray((numbers[:, varies] - self.mean_) / self.scale_)
        self._search(standard, encode(classes, self.levels_))
        height = cells["elevation"][valid].astype(float) if "elevation" in cells else numbers[:, 0]
        self._order(height)
        labels = self._describe(numbers, classes)
        if as_array and len(labels) == data.sizes["cell"]:
            self.labels_ = labels
        return self

    def fit_predict(self, X: Any, y: None = None, **options: Any) -> Any:
        """Fit, and the zone of every cell; see `fit` and `predict`."""
        return self.fit(X, y, **options).predict(X)

    def _search(self, numbers: Doubles, classes: Codes) -> None:
        gamma = 0.5 * float(numbers.std(axis=0).mean()) if numbers.shape[1] else 1.0
        self.gamma_ = gamma if self.gamma is None else float(self.gamma)
        deepest = max((len(codes) for codes in self.levels_), default=1)
        rng = np.random.default_rng([self.seed, 17])
        shuffled = rng.permutation(len(numbers))
        few, some = (np.sort(shuffled[:number]) for number in (max(self.start_cells, 10 * self.k), COMPARED_CELLS))
        lowest = math.inf
        for start in range(self.n_init):
            centres, modes = kmodes_start(numbers[few], classes[few], self.k, self.gamma_, self.seed + start)
            labels = np.full(len(some), -1, np.int32)
            cost, _ = prototypes.fit(
                numbers[some], classes[some], deepest, self.gamma_, centres, modes, labels, MAX_PASSES
            )
            if cost < lowest:
                lowest, self.centres_, self.modes_ = cost, centres, modes
        self._labels = np.full(len(numbers), -1, np.int32)
        self.cost_, self.passes_ = prototypes.fit(
            numbers, classes, deepest, self.gamma_, self.centres_, self.modes_, self._labels, MAX_PASSES
        )

    def _order(self, height: Doubles) -> None:
        counts = np.bincount(self._labels, minlength=self.k)
        known = np.isfinite(height)
        used = np.bincount(self._labels[known], minlength=self.k)
        mean = np.bincount(self._labels[known], weights=height[known], minlength=self.k) / np.maximum(used, 1)
        order = np.argsort(np.where(used > 0, mean, np.inf), kind="stable")
        self.centres_, self.modes_, self.counts_ = self.centres_[order], self.modes_[order], counts[order]
        self._labels = np.argsort(order).astype(np.int32)[self._labels]

    def _describe(self, numbers: Doubles, classes: Doubles) -> npt.NDArray[np.int64]:
        table = pd.DataFrame({"zone": np.arange(1, self.k + 1), "cells": self.counts_})
        for label, column in zip(self.columns_.labels, numbers.T):
            total = np.bincount(self._labels, weights=column, minlength=self.k)
            table[label] = total / np.maximum(self.counts_, 1)
        for j, name in enumerate(self.columns_.categorical):
            table[name] = self.levels_[j][self.modes_[:, j]]
        self.summary_ = table
        labels = self._labels.astype(np.int64) + 1
        del self._labels
        return labels

    def predict(self, layers: Any) -> Any:
        """The zone of every cell.

        Parameters
        ----------
        layers : Dataset, DataFrame of cells, or array (n, f)
            With the covariates of the fit; numbers, numpy or dask. `soil_mask` is applied if present.

        Returns
        -------
        DataArray, or array (n,) int64 for an array
            `zone`, uint8: 1..k, 255 for nodata. Lazy where a layer is lazy; the same for every chunking.

        Raises
        ------
        InputError
            Before `fit`.
        MissingInputError
            For missing covariates.
        """
        if not hasattr(self, "centres_"):
            raise NotFittedZonesError(
                "Zones.predict: the zones are not fitted; call fit(layers) or Zones.load(path) first"
            )
        as_array = is_array(layers)
        if as_array:
            layers = array_layers(validate_data(self, layers, dtype=np.float64, reset=False))
        data = layers_of(layers, "Zones.predict")
        require_layers(data, self.columns_.names, "Zones.predict")
        names = (*self.columns_.names, *(("soil_mask",) if "soil_mask" in data else ()))
        fills = {name: fill_of(data[name]) for name in self.columns_.categorical}
        model = (self.mean_, self.scale_, self.levels_, self.centres_, self.modes_, self.gamma_)
        (zone,) = map_pixels(
            partial(_assigned, names=names, columns=self.columns_, fills=fills, keep=self.keep_),
            *(data[name] for name in names),
            outputs=[variable("zone")],
            shared=model,
            attrs={
                "flag_values": list(range(1, self.k + 1)),
                "flag_meanings": " ".join(f"zone_{zone}" for zone in range(1, self.k + 1)),
                "covariates": " ".join(self.columns_.names),
            },
        )
        layer = xr.DataArray(zone)
        return layer.values.astype(np.int64) if as_array else layer

    def _repr_html_(self) -> str:
        if not hasattr(self, "summary_"):
            return html_summary("Zones, not fitted", self.get_params())
        table = self.summary_
        shares = {f"zone {zone}": 100 * n / table["cells"].sum() for zone, n in zip(table["zone"], table["cells"])}
        chart = bar_chart(shares, caption="Share of the cells of the fit", unit="%")
        return html_summary("Zones", {"k": self.k}, chart, html_table(list(table.columns), table.to_numpy(object)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted zones to a JSON file."""
        Path(path).write_text(self.dumps())

    def dumps(self) -> str:
        """The fitted zones as JSON."""
        content = {
            "format": "tpsoil zones 1",
            "options": {name: getattr(self, name) for name in _OPTIONS},
            "columns": self.columns_.__dict__,
            "keep": self.keep_,
            "dropped": self.dropped_,
            "mean": self.mean_.tolist(),
            "scale": self.scale_.tolist(),
            "levels": [codes.tolist() for codes in self.levels_],
            "centres": self.centres_.tolist(),
            "modes": self.modes_.tolist(),
            "gamma": self.gamma_,
            "cost": self.cost_,
            "counts": self.counts_.tolist(),
            "summary": self.summary_.to_dict("list"),
        }
        return json.dumps(content, indent=1)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Zones:
        """Read zones written by `save`.

        Raises
        ------
        MissingInputError
            For a missing file.
        CorruptStoreError
            For a file without zones.
        """
        try:
            text = Path(path).read_text()
        except FileNotFoundError:
            raise MissingInputError(f"zones {path} do not exist") from None
        return cls.loads(text, str(path))

    @classmethod
    def loads(cls, text: str, where: str = "zones") -> Zones:
        """Zones from the JSON of `dumps`.

        Raises
        ------
        CorruptStoreError
            For text without zones.
        """
        try:
            content = json.loads(text)
            zones = cls(**content["options"])
            zones.columns_ = Columns(**{kind: tuple(names) for kind, names in content["columns"].items()})
            zones.keep_, zones.dropped_ = tuple(content["keep"]), tuple(content["dropped"])
            zones.mean_, zones.scale_ = np.array(content["mean"]), np.array(content["scale"])
            zones.levels_ = [np.array(codes, dtype=float) for codes in content["levels"]]
            zones.centres_ = np.array(content["centres"], dtype=float).reshape(zones.k, -1)
            zones.modes_ = np.array(content["modes"], dtype=np.int32).reshape(zones.k, -1)
            zones.gamma_, zones.cost_ = float(content["gamma"]), float(content["cost"])
            zones.n_features_in_ = len(zones.columns_.names)
            zones.counts_, zones.summary_ = np.array(content["counts"]), pd.DataFrame(content["summary"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptStoreError(f"{where} contains no tpsoil zones: {error}; fit them again") from error
        return zones


_OPTIONS = ("k", "gamma", "n_init", "seed", "max_cells", "start_cells")
