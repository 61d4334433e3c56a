"""`[[accuracy]]`: accuracy of a map from a probability sample that its model did not see, by design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from pydantic import Field, model_validator

from tpsoil.columns import labelled
from tpsoil.cube import sample_cube
from tpsoil.errors import InputError
from tpsoil.evaluation import SampleDesign, map_accuracy
from tpsoil.grid import cell_sizes_m, grid_of
from tpsoil.ingest import read_table
from tpsoil.ingest.dependencies import behind
from tpsoil.option_names import in_recipe
from tpsoil.points import check_degrees
from tpsoil.stage import Prepared, Stage, Workbench, blocks_of, compute_nothing
from tpsoil.units import conversion
from tpsoil.variables import stored_kind

from .assembly import Assembly, read_quietly
from .section import FilePath, Section

Doubles = npt.NDArray[np.float64]

EQUAL: Final = "equal"
ESTIMATORS: Final = ("mean", "difference", "regression")


class AccuracyTable(Section):
    """`[[accuracy]]`: a probability sample that no model was trained on, and the map that it validates.

    Parameters
    ----------
    name : str
        Letters, digits, `_` and `-`.
    layer : str
        Map of the run or of its cube.
    samples : str
        CSV, one row a unit that was drawn.
    encoding : str
        Of the CSV; "cp1252" of tables that Excel under Windows saved.
    column : str
        Observed values.
    units : str, optional
        Of the column; by default those of the layer. Converted on import.
    longitude, latitude : str
        Columns, degrees.
    probability : str, optional
        Column with the inclusion probability of each unit; `"equal"` for a simple random sample.
    stratum : str, optional
        Column with the stratum of each unit.
    stratum_sizes : table of stratum to number, optional
        Area of each stratum, or its number of units, in place of probabilities: within a stratum they are equal.
    cluster : str, optional
        Column with the primary unit of a sample in two stages.
    primary_units, secondary_units : str, optional
        Columns with the number of primary units in the stratum's population, and of units in the cluster's, for the
        finite population correction.
    level : float
        Of the intervals.
    """

    NEEDS: ClassVar = {
        "stratum_sizes": ("stratum", ()),
        "secondary_units": ("cluster", ()),
    }

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    layer: str = Field(min_length=1)
    samples: FilePath
    encoding: str = "utf-8"
    column: str = Field(min_length=1)
    units: str | None = None
    longitude: str = "longitude"
    latitude: str = "latitude"
    probability: str | None = None
    stratum: str | None = None
    stratum_sizes: dict[str, float] = Field(default_factory=dict)
    cluster: str | None = None
    primary_units: str | None = None
    secondary_units: str | None = None
    level: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _is_probability_sample(self) -> AccuracyTable:
        if (self.probability is None) == (not self.stratum_sizes):
            came = "neither" if self.probability is None else "both"
            raise ValueError(
                f"has {came} probability and stratum_sizes, expected one of them: a sample without inclusion "
                "probabilities is no probability sample. Name their column in probability, write probability = "
                "'equal' for a simple random sample, or give the size of each stratum; without any of these remove "
                "[[accuracy]] and validate by folds"
            )
        if any(not size > 0 for size in self.stratum_sizes.values()):
            raise ValueError("stratum_sizes has a size that is not above 0")
        return self

    @property
    def numbers(self) -> list[str]:
        """Columns of numbers."""
        own = [self.longitude, self.latitude, self.column, self.primary_units, self.secondary_units]
        own += [self.probability] if self.probability != EQUAL else []
        return [name for name in own if name is not None]

    @property
    def needed(self) -> list[str]:
        """All columns that are read."""
        return [*self.numbers, *(name for name in (self.stratum, self.cluster) if name is not None)]

    def read(self) -> tuple[pd.DataFrame, Doubles]:
        """The complete sample, and the inclusion probability of each unit.

        Raises
        ------
        InputError
            For columns that are not there, text, missing values, positions that are no degrees, and strata without a
            size or a unit.
        """
        path = Path(self.samples)
        where = f"accuracy, {path.name}"
        with in_recipe("accuracy"):
            rows = read_table(path, needed=self.needed, numbers=self.numbers, encoding=self.encoding, where=path.name)
        gaps = [name for name in self.needed if rows[name].isna().any()]
        if gaps:
            raise InputError(
                f"{where}: values are missing in {', '.join(gaps)} of {int(rows[gaps].isna().any(axis=1).sum())} rows; "
                "a unit without an observation is a non-response and changes the design: leave it out and correct the "
                "probabilities"
            )
        check_degrees(rows[self.longitude], rows[self.latitude], where=path.name)
        # Probabilities by stratum are those of the complete sample, mapped or not.
        return rows, _probabilities(self, rows, where)


def accuracy_stages(tables: Sequence[AccuracyTable], assembly: Assembly) -> list[Stage]:
    """One stage without maps for each table; a sample that a model is trained on is a fault."""
    stages = []
    for number, table in enumerate(tables, start=1):
        samples = Path(table.samples)
        behind(table.samples, f"accuracy[{number}].samples", assembly.faults)
        assembly.checks.append(("accuracy", partial(read_quietly, table)))
        if table.samples in assembly.trained_on:
            assembly.faults.append(
                f"accuracy[{number}].samples: the models of this recipe are trained on {samples.name}, expected a "
                "sample that they do not see; give the validation sample, or remove [[accuracy]] and validate by folds"
            )
        stages.append(
            Stage(
                name=f"accuracy_{table.name}",
                title=f"accuracy of {table.layer}: {table.name}",
                section="accuracy",
                inputs=(table.layer,),
                outputs=(),
                compute=compute_nothing,
                options={"table": table},
                indifferent=("table.samples",),
                identity={"samples": samples.name},
                files=(samples,),
                prepare=prepare_accuracy,
                prepares="estimating",
            )
        )
    return stages


def prepare_accuracy(cube: xr.Dataset, options: Mapping[str, Any], _bench: Workbench) -> Prepared:
    """The tables of one `[[accuracy]]`.

    Raises
    ------
    InputError
        For a class layer, missing observations or probabilities, and a design that `SampleDesign` rejects.
    """
    table: AccuracyTable = options["table"]
    path = Path(table.samples)
    where = f"accuracy, {path.name}"
    layer = cube[table.layer]
    if stored_kind(table.layer, layer.attrs) != "continuous":
        raise InputError(f"{where}: {table.layer} is a layer of classes or directions, expected a map of a quantity")
    units = str(layer.attrs.get("units", ""))
    rows, probability = table.read()
    factor, offset = conversion(table.units, units, where=where) if table.units is not None else (1.0, 0.0)
    points = pd.DataFrame({"lon": rows[table.longitude], "lat": rows[table.latitude]})
    predicted = sample_cube(cube, points, layers=[table.layer], outside="keep", where=path.name)[table.layer]
    inside = predicted.notna().to_numpy()
    notes = []
    if not inside.all():
        notes.append(
            f"{table.name}: {int((~inside).sum())} of {len(rows)} units of the sample lie where {table.layer} has no "
            "value; estimates are for the mapped area"
        )
    if inside.sum() < 2:
        raise InputError(
            f"{where}: {int(inside.sum())} of {len(rows)} units lie on cells with a value of {table.layer}"
        )
    rows, probability, values = rows[inside], probability[inside], predicted[inside].to_numpy(dtype=np.float64)
    design = SampleDesign(
        probability,
        **{
            name: None if column is None else rows[column].to_numpy()
            for name in ("stratum", "cluster", "primary_units", "secondary_units")
            if (column := getattr(table, name)) is not None or name == "stratum"
        },
    )
    observed = factor * rows[table.column].to_numpy(dtype=np.float64) + offset
    facts = {"sample": table.name, "layer": table.layer, "units": units, "n": len(rows)}
    scores = map_accuracy(design, observed, values, level=table.level)
    accuracy = scores.rename_axis("measure").reset_index().assign(level=table.level)
    average = mean_of_map(cube, table.layer)
    estimates = []
    for method in ESTIMATORS:
        auxiliary = {} if method == "mean" else {"predicted": values, "map_mean": average}
        result = design.estimate(observed, method=method, level=table.level, **auxiliary)  # type: ignore[arg-type]
        estimates.append(
            {
                "estimator": result.method,
                **{name: getattr(result, name) for name in ("value", "lower", "upper", "se", "df")},
                "level": table.level,
                "map_mean": average,
            }
        )
    tables = {
        "map_accuracy": labelled(accuracy[["measure", "value", "lower", "upper", "se", "level"]], **facts),
        "area_estimates": labelled(pd.DataFrame(estimates), **facts),
    }
    rmse = scores.loc["rmse"]
    notes.append(
        f"{table.name}: map accuracy of {table.layer} from a probability sample of {len(rows)}: RMSE "
        f"{rmse['value']:.4g} [{rmse['lower']:.4g}, {rmse['upper']:.4g}] {units}"
    )
    return Prepared(b"", tables, notes=notes)


def mean_of_map(cube: xr.Dataset, name: str) -> float:
    """Mean of a layer over its cells with a value, by area."""
    rows = np.multiply(*cell_sizes_m(grid_of(cube, where="accuracy")))
    height = int(cube.sizes["y"])
    layer = cube[[name]].assign_coords(row=("y", np.arange(height)))
    total, area = 0.0, 0.0
    for part in blocks_of(layer):
        values = np.asarray(part[name].values, dtype=np.float64)
        weight = np.broadcast_to(rows[part["row"].values][:, None], values.shape)
        valid = np.isfinite(values)
        total += float((weight[valid] * values[valid]).sum())
        area += float(weight[valid].sum())
    if not area > 0:
        raise InputError(f"accuracy: {name} has no cell with a value")
    return total / area


def _probabilities(table: AccuracyTable, rows: pd.DataFrame, where: str) -> Doubles:
    if table.probability == EQUAL:
        return np.ones(len(rows))
    if table.probability is not None:
        return rows[table.probability].to_numpy(dtype=np.float64)
    strata = rows[table.stratum].astype(str)
    unknown = sorted(set(strata) - set(table.stratum_sizes))
    if unknown:
        raise InputError(f"{where}: stratum_sizes has no size of {', '.join(unknown)}; give one for every stratum")
    lacking = sorted(set(table.stratum_sizes) - set(strata))
    if lacking:
        raise InputError(
            f"{where}: no unit was drawn in {', '.join(lacking)}, so the sample does not represent all strata; merge "
            "each with a neighbouring stratum, in the table and in stratum_sizes"
        )
    density = (strata.map(strata.value_counts()) / strata.map(table.stratum_sizes)).to_numpy(dtype=np.float64)
    return np.asarray(density / density.max())
