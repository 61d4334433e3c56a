"""`[elements]`: a forest for each element, trained on samples at the cube's cells and carried to every cell."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, field_validator

from tpsoil.cube import sample_cube
from tpsoil.errors import InputError, nearest_name
from tpsoil.forest import CompiledForest, train
from tpsoil.ingest import check_degrees, read_table
from tpsoil.variables import CATALOGUE, ELEMENTS, Variable, variable

from .section import Section
from .stage import Array, Prepared, Stage, Window

NAMES: Final = {symbol: name for name, symbol in ELEMENTS.items()}
FOLDS: Final = re.compile(r"^(random|group|block):?(\d*\.?\d*)(deg|km)?$")
BYTES_PER_CELL: Final = 64.0
"""Beside the inputs: the design rows, mean and spread in float64."""


class ElementsTable(Section):
    """`[elements]`: samples, covariates, and how the forests are grown.

    Parameters
    ----------
    samples : str
        CSV, one row a sample.
    elements : list of str, or table of symbol to column
        Such as `["Fe", "Zn"]`, or `{ Fe = "iron_ppm" }`.
    features : list of str
        Layers that the forests use.
    longitude, latitude : str
        Columns, degrees.
    site : str, optional
        Column that names the site of replicates; they stay in one fold.
    from_samples : table of feature to column
        Features that training takes from the samples instead of the layer, such as station climate.
    trees : int
    folds : list of str
        Of `"random"`, `"group"`, `"block:3deg"`: scored side by side.
    n_folds : int
    log : bool
        Fit the logarithm to base 10.
    unseen_classes : "error" or "nodata"
        For cells whose class no sample has: refuse, or leave them empty and count them.
    settings : table
        For scikit-learn's RandomForestRegressor, such as `max_features`.
    simulated : bool
        The samples are simulated, not measured: every output and figure says so.
    """

    samples: str
    elements: tuple[str, ...] | dict[str, str]
    features: tuple[str, ...] = Field(min_length=1)
    longitude: str = "longitude"
    latitude: str = "latitude"
    site: str | None = None
    from_samples: dict[str, str] = Field(default_factory=dict)
    trees: int = Field(default=500, ge=2, le=10_000)
    folds: tuple[str, ...] = ("random", "block:3deg")
    n_folds: int = Field(default=5, ge=2)
    log: bool = True
    unseen_classes: Literal["error", "nodata"] = "error"
    settings: dict[str, Any] = Field(default_factory=dict)
    simulated: bool = False

    @property
    def columns(self) -> dict[str, str]:
        """Symbol of each element, and its column in the samples."""
        if isinstance(self.elements, Mapping):
            return dict(self.elements)
        return {symbol: symbol for symbol in self.elements}

    @field_validator("elements")
    @classmethod
    def _known_elements(cls, given: Any) -> Any:
        strange = [symbol for symbol in given if symbol not in NAMES]
        if strange or not given or len(set(given)) < len(given):
            raise ValueError(f"is {list(given)}, expected each at most once of {', '.join(NAMES)}")
        return given

    @field_validator("features")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"names a layer twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
        return names

    @field_validator("folds")
    @classmethod
    def _known_folds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        blocks = set()
        for text in kinds:
            match = FOLDS.match(text)
            if match is None or (match[1] == "block") != bool(match[2]) or match[3] == "km":
                raise ValueError(f"has '{text}', expected 'random', 'group' or a block in degrees such as 'block:3deg'")
            blocks |= {match[2]} if match[2] else set()
        if len(blocks) > 1 or not kinds:
            raise ValueError("needs one or more kinds of folds, and one size of blocks")
        return kinds

    @property
    def kinds(self) -> tuple[list[str], float]:
        """Kinds of folds, and the side of a block in degrees."""
        matches = [match for text in self.folds if (match := FOLDS.match(text))]
        sizes = [float(match[2]) for match in matches if match[2]]
        return [match[1] for match in matches], (sizes[0] if sizes else 3.0)


def element_stages(table: ElementsTable, available: set[str], samples: Path, seed: int) -> list[Stage]:
    """One stage for each element."""
    masked = "soil_mask" in available
    inputs = (*table.features, "soil_mask") if masked else table.features
    stages = []
    for symbol, column in table.columns.items():
        own = {"symbol": symbol, "column": column}
        shared = table.model_dump(mode="json", exclude={"samples", "elements"})
        stages.append(
            Stage(
                name=f"element_{symbol}",
                title=f"topsoil {NAMES[symbol]}",
                section="elements",
                inputs=inputs,
                outputs=_outputs(symbol),
                compute=compute_element,
                options={"table": table, "samples": samples, "seed": seed, **own},
                identity={**shared, **own, "seed": seed},
                files=(samples,),
                prepare=prepare_element,
                load=load_forest,
                attributes={
                    "": {
                        "parents": " ".join(inputs),
                        "model": f"random forest, {table.trees} trees" + (", log10 target" if table.log else ""),
                        "samples": samples.name,
                        **({"simulated": "true"} if table.simulated else {}),
                    }
                },
                bytes_per_cell=BYTES_PER_CELL + 4 * len(table.features),
            )
        )
    return stages


def prepare_element(cube: xr.Dataset, options: Mapping[str, Any]) -> Prepared:
    """Read the samples, take the covariates at their cells, train, and compile the forest."""
    table: ElementsTable = options["table"]
    symbol, column, path = options["symbol"], options["column"], Path(options["samples"])
    design, notes = design_table(table, cube, path, column)
    kinds, block = table.kinds
    trained = train(
        design,
        column,
        list(table.features),
        table.site,
        folds=kinds,
        n_folds=table.n_folds,
        block_size=block,
        coordinates=("lon", "lat"),
        trees=table.trees,
        transform="log10" if table.log else "none",
        seed=int(options["seed"]),
        **table.settings,
    )
    forest = trained.compile()
    counts = trained.counts
    if counts["used"] < counts["rows"]:
        notes.append(
            f"{symbol}: {counts['used']} of {counts['rows']} samples used; {counts['without_target']} have no value, "
            f"{counts['without_feature']} lack a covariate"
        )
    attributes: dict[str, dict[str, Any]] = {"": {"samples_used": counts["used"]}}
    unseen = unseen_classes(cube, forest.categories)
    if unseen:
        said = "; ".join(f"{name}: {', '.join(map(str, classes))}" for name, classes in unseen.items())
        if table.unseen_classes == "error":
            raise InputError(
                f"elements: the map has classes that no sample of {symbol} has ({said}); the forest knows nothing of "
                "them: set unseen_classes = 'nodata' to leave their cells empty, or leave the layer out of features"
            )
        notes.append(f"{symbol}: cells of classes that no sample has stay empty ({said})")
        attributes[""]["unseen_classes"] = said
    scores = trained.scores.reset_index()
    scores.insert(0, "element", symbol)
    for _, row in scores.iterrows():
        attributes[""][f"r2_{row['folds']}"] = round(float(row["r2"]), 4)
    return Prepared(dump_forest(forest), {"elements": scores}, attributes, notes)


def design_table(table: ElementsTable, cube: xr.Dataset, path: Path, column: str) -> tuple[pd.DataFrame, list[str]]:
    """Samples with their covariates: one row a sample, columns `lon`, `lat`, the element and the features.

    Raises
    ------
    InputError
        For missing columns, text in number columns, swapped coordinates, and samples that all lie off the grid.
    """
    numbers = [table.longitude, table.latitude, column, *table.from_samples.values()]
    needed = [*numbers, *([table.site] if table.site else [])]
    samples = read_table(path, needed=needed, numbers=numbers, where=path.name)
    for feature in table.from_samples:
        if feature not in table.features:
            raise InputError(f"elements.from_samples: '{feature}' is no feature{nearest_name(feature, table.features)}")
    check_degrees(samples[table.longitude], samples[table.latitude], where=path.name)
    design = pd.DataFrame({"lon": samples[table.longitude], "lat": samples[table.latitude], column: samples[column]})
    if table.site:
        design[table.site] = samples[table.site]
    layers = [name for name in table.features if name not in table.from_samples]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"tpsoil\b")  # said below, with the file's name
        sampled = sample_cube(cube, design[["lon", "lat"]], layers=layers, where=path.name)
    notes = []
    if sampled.attrs["points_outside"]:
        notes.append(f"{path.name}: {sampled.attrs['points_outside']} of {len(design)} samples lie off the grid")
    design = design.loc[sampled.index]
    for name in layers:
        design[name] = sampled[name]
    for feature, source in table.from_samples.items():
        design[feature] = samples.loc[design.index, source]
    return design, notes


def compute_element(window: Window) -> Mapping[str, Array]:
    """Mean and spread between trees of one window."""
    forest: CompiledForest = window.model
    maps = forest.predict_cube(window.layers)
    mean, sd = _outputs(window.options["symbol"])
    return {mean.name: np.asarray(maps["mean"].values), sd.name: np.asarray(maps["sd"].values)}


def unseen_classes(cube: xr.Dataset, levels: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Classes that the layers have on soil and training had not; read row block by row block."""
    found: dict[str, set[int]] = {name: set() for name in levels}
    step = 1024
    for start in range(0, cube.sizes["y"], step):
        names = [*levels, *(["soil_mask"] if "soil_mask" in cube else [])]
        part = cube[names].isel(y=slice(start, start + step)).compute() if names else None
        if part is None:
            break
        for name in levels:
            values = np.asarray(part[name].values, dtype=np.float64)
            keep = np.isfinite(values) & (values != CATALOGUE[name].fill if name in CATALOGUE else True)
            if "soil_mask" in part:
                keep &= np.asarray(part["soil_mask"].values) == 1
            found[name] |= {int(v) for v in np.unique(values[keep])}
    return {name: sorted(seen - set(levels[name])) for name, seen in found.items() if seen - set(levels[name])}


def dump_forest(forest: CompiledForest) -> bytes:
    """A compiled forest as bytes; arrays and plain values, no code."""
    arrays, plain = {}, {}
    for item in dataclasses.fields(forest):
        value = getattr(forest, item.name)
        if isinstance(value, np.ndarray):
            arrays[item.name] = value
        elif item.init:
            plain[item.name] = value
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(plain, sort_keys=True).encode(), dtype=np.uint8)
    np.savez(buffer, allow_pickle=False, plain_=text, **arrays)
    return buffer.getvalue()


def load_forest(data: bytes) -> CompiledForest:
    """The forest that `dump_forest` stored."""
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        plain = json.loads(stored["plain_"].tobytes())
        values: dict[str, Any] = {name: stored[name] for name in stored.files if name != "plain_"}
    for name, value in plain.items():
        values[name] = tuple(value) if isinstance(value, list) else value
        if isinstance(value, dict):
            values[name] = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}
    return CompiledForest(**values)


def _outputs(symbol: str) -> tuple[Variable, Variable]:
    name = NAMES[symbol]
    mean = variable(name)
    spread = replace(
        variable("sd"), name=f"{name}_sd", long_name=f"{mean.long_name}, spread between trees", units=mean.units
    )
    return mean, spread
