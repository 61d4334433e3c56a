"""`[solum]`: zones and steady-state thickness of a tile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

import numpy as np
import xarray as xr
from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from tpsoil.constants import SOLUM_DATASET, SOLUM_STUDY
from tpsoil.ingest.dependencies import behind
from tpsoil.solum import (
    PUBLISHED,
    PUBLISHED_ZONES,
    Calibration,
    SolumOptions,
    one_at_a_time,
    thickness,
)
from tpsoil.solum.options import GREATEST_PUBLISHED_M, Curvature, Deposition
from tpsoil.stage import Array, Prepared, Report, Stage, Window, Workbench
from tpsoil.units import same_unit
from tpsoil.variables import CATALOGUE, variable

from .assembly import Assembly, read_quietly
from .mask_stage import mask_inputs
from .section import Section
from .solum_calibration import load_calibration, prepare_calibration, quantile_maps, quantile_outputs
from .solum_comparison import comparison_stage
from .solum_forcing import ForcingTable, forcing_stage
from .solum_layers import PAIRING, Assumption, ErosionNormalisation, model_layers, model_parameters, pairing_notes
from .solum_options import (
    OF_PROFILES,
    CalibrationTable,
    ComparisonTable,
    SensitivityTable,
    ZonesTable,
    named_profiles,
    solum_parameters,
)
from .solum_study import sensitivity_table, summarise_zones, tally_zones
from .solum_transient import TransientTable, read_series, transient_stage
from .solum_validation import ValidationTable, require_independent, validation_stage
from .solum_zones import zones_stage

FORCING: Final = (
    "mean_annual_temperature",
    "annual_precipitation",
    "water_erosion",
    "wind_erosion",
    "general_curvature",
)
ZONE_LAYERS: Final = ("elevation", "mean_annual_temperature", "annual_precipitation", "ndvi")
MapName = Literal[
    "solum_thickness", "solum_status", "saprolite_thickness", "erosion_rate", "potential_production",
    "production_status", "dominant_process", "response_time",
]  # fmt: skip
BYTES_PER_CELL: Final = 260.0
"""Measured: eight layers in float64 and six results while the kernel runs."""


MAPPED: Final = ("table.maps", "table.calibration.quantiles", "table.calibration.quantiles_of")
"""Options that decide the maps and not the calibration."""


# The tags are kinds of value, which messages leave out of a key's name.
Zoning = Annotated[
    Annotated[Literal["published", "layer", "none"], Tag("str")] | Annotated[ZonesTable, Tag("dict")],
    Discriminator(lambda value: "str" if isinstance(value, str) else "dict"),
]


class SolumTable(Section):
    """`[solum]`: the mass-balance model.

    Parameters
    ----------
    parameters : "published", or a table
        The study's Table 4 by zone; one table of h0, rho_s, a, b, alpha, beta, gamma, D; or such tables by zone.
    zones : "published", "layer", "none", or a table
        Nearest published cluster; a layer `zone` of the cube; one zone for all; or zones to be fitted.
    calibration : table, optional
        Parameters from profiles, in place of `parameters`.
    validation : table, optional
        Profiles that the parameters were not fitted to; the map is scored at them.
    comparison : table, optional
        Other maps, windows, transects, correlations.
    sensitivity : table, optional
        Change of thickness when one parameter or one layer changes.
    forcing : table, optional
        Distributions of uncertain layers: maps of quantiles, and the share of the variance that each source explains.
    transient : table, optional
        Climate and erosion by year: maps of thickness in named years.
    assumptions : table of layer to `value`, `reason`
        Constants for missing layers.
    erosion_normalisation : table of `mean`, `reference_mean`, optional
        Water erosion times reference_mean / mean, for the published parameters; recorded in the maps.
    maps : list of str
        Which results are stored; all of them by default.
    curvature_convention, deposition, greatest_thickness_m, cap_to_bedrock, dust_input, least_erosion, keep_negative,
    density_ratio
        The physical options, as in `tpsoil.solum.SolumOptions`; calibration, ensembles and maps use all of them.
    """

    STUDY: ClassVar = f"{SOLUM_STUDY}; data: {SOLUM_DATASET}"

    parameters: Literal["published"] | dict[str, Any] = "published"
    zones: Zoning = "published"
    calibration: CalibrationTable | None = None
    validation: ValidationTable | None = None
    comparison: ComparisonTable | None = None
    sensitivity: SensitivityTable | None = None
    forcing: ForcingTable | None = None
    transient: TransientTable | None = None
    assumptions: dict[str, Assumption] = Field(default_factory=dict)
    erosion_normalisation: ErosionNormalisation | None = None
    maps: tuple[MapName, ...] = Field(default=get_args(MapName), min_length=1)
    curvature_convention: Curvature = "convex_positive"
    deposition: Deposition = "cap"
    greatest_thickness_m: float = Field(default=GREATEST_PUBLISHED_M, ge=0, allow_inf_nan=False)
    cap_to_bedrock: bool = True
    dust_input: float = Field(default=0.0, allow_inf_nan=False)
    least_erosion: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    keep_negative: bool = False
    density_ratio: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @property
    def options(self) -> SolumOptions:
        """The physical options, as one object."""
        return SolumOptions(**{item.name: getattr(self, item.name) for item in fields(SolumOptions)})

    @property
    def cited(self) -> tuple[str | None, ...]:
        """References of the profiles."""
        return tuple(own.citation for own in (self.calibration, self.validation) if own is not None)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """The profiles that the parameters are fitted to."""
        return () if self.calibration is None else (self.calibration.profiles,)

    @property
    def published(self) -> bool:
        """Whether the maps use the study's Table 4."""
        return self.parameters == "published" and self.calibration is None

    @field_validator("assumptions")
    @classmethod
    def _check_assumptions(cls, assumptions: dict[str, Assumption]) -> dict[str, Assumption]:
        allowed = {*FORCING, *ZONE_LAYERS, "depth_to_bedrock"}
        for name, assumption in assumptions.items():
            if name not in allowed:
                raise ValueError(f"has '{name}', expected layers the model reads: {', '.join(sorted(allowed))}")
            spec = variable(name)
            if assumption.units is not None and not same_unit(assumption.units, spec.units, period=spec.period):
                raise ValueError(f"{name} is given in '{assumption.units}', expected '{spec.units}'")
            if spec.outside(assumption.value):
                raise ValueError(f"{name} is {assumption.value:g} {spec.units}, expected {spec.range_text}")
        return assumptions

    @model_validator(mode="after")
    def _usable_parameters(self) -> SolumTable:
        options = self.options  # which rejects those without effect
        if isinstance(self.zones, ZonesTable):
            if self.calibration is None and self.parameters == "published":
                raise ValueError(
                    "zones are fitted here, so the published parameters do not apply; give [solum.calibration]"
                )
            if self.zones.rank and self.calibration is None:
                raise ValueError("zones.rank needs the profiles of [solum.calibration]")
        if self.erosion_normalisation is not None and not self.published:
            raise ValueError("erosion_normalisation belongs to the published parameters; leave it out")
        if self.erosion_normalisation is not None and "water_erosion" in self.assumptions:
            raise ValueError("erosion_normalisation has no effect on an assumed water_erosion; assume the mean itself")
        read = {*FORCING, "depth_to_bedrock", *(ZONE_LAYERS if self.zones == "published" else ())}
        read |= set(self.calibration.baseline_features) if self.calibration is not None else set()
        if idle := sorted(set(self.assumptions) - read):
            raise ValueError(
                f"assumptions of {', '.join(idle)} have no effect: only published zones read these; leave them out, or "
                "give the cube the layers"
            )
        for name in ("comparison", "validation"):
            if getattr(self, name) is not None and "solum_thickness" not in self.maps:
                raise ValueError(f"{name} needs 'solum_thickness' among maps")
        if self.calibration is not None:
            if self.parameters != "published":
                raise ValueError("parameters and calibration both define the parameters; give one")
            return self
        parameters = solum_parameters(self.parameters)
        options.require_density_ratio(parameters, "parameters")
        if isinstance(parameters, Mapping) and self.zones == "none":
            raise ValueError("zones is 'none', but parameters are given by zone; give one table of parameters")
        return self


def solum_stages(table: SolumTable, assembly: Assembly) -> list[Stage]:
    """The stages of `[solum]`: zones if they are fitted, thickness, and what is requested beside it."""
    for name in table.assumptions:
        if name in assembly.available:
            assembly.faults.append(f"solum.assumptions.{name}: the cube has this layer; leave the assumption out")
    _check_profiles(table, assembly)
    available, seed = assembly.available, assembly.seed
    stages = []
    if isinstance(table.zones, ZonesTable):
        stages.append(zones_stage(table.zones, table.calibration, available, seed))
    steady = solum_stage(table, available, seed)
    stages.append(steady)
    if table.forcing is not None:
        stages.append(forcing_stage(table, steady, seed))
    if table.transient is not None and (series := read_series(table.transient, assembly.faults)) is not None:
        stages.append(transient_stage(table, series, steady, seed))
    if table.comparison is not None:
        stages.append(comparison_stage(table.comparison, table.calibration, available))
    if table.validation is not None:
        stages.append(validation_stage(table, available, seed))
    return stages


def _check_profiles(table: SolumTable, assembly: Assembly) -> None:
    """Add a fault for each file of profiles that is not there, and for a validation by profiles of the calibration."""
    for own in (table.calibration, table.validation):
        if own is None:
            continue
        for key in ("profiles", "sites"):
            if (path := getattr(own, key)) is not None:
                behind(path, f"{own.TABLE}.{key}", assembly.faults)
        assembly.checks.append(("solum", partial(read_quietly, own)))
    if table.validation is not None and table.validation.profiles in assembly.trained_on:
        assembly.faults.append(
            f"solum.validation.profiles: the parameters are fitted to {table.validation.files[0].name}, expected "
            "profiles that they do not see; give others, or use the folds of [solum.calibration] and remove "
            "[solum.validation]"
        )


def solum_stage(table: SolumTable, available: set[str], seed: int) -> Stage:
    """The stage of thickness: reads the available layers and uses the recipe's assumptions for the others."""
    needed = [*FORCING, *(ZONE_LAYERS if table.zones == "published" else ())]
    inputs = [name for name in dict.fromkeys(needed) if name not in table.assumptions]
    if table.zones == "layer" or isinstance(table.zones, ZonesTable):
        inputs.append("zone")
    if "depth_to_bedrock" in available and "depth_to_bedrock" not in table.assumptions:
        inputs.append("depth_to_bedrock")
    inputs += [name for name in mask_inputs(available) if name not in inputs]
    outputs = [variable(name) for name in table.maps]
    if table.zones == "published":
        flags = {zone: f"published cluster {zone}" for zone in sorted(PUBLISHED)}
        outputs.append(replace(CATALOGUE["zone"], flags=flags))
    calibration = table.calibration
    if calibration is not None:
        outputs += quantile_outputs(calibration)
        inputs += [n for n in calibration.baseline_features if n not in inputs and n not in table.assumptions]
    assumed = [
        f"{name} = {a.value:g} {variable(name).units} everywhere: {a.reason}" for name, a in table.assumptions.items()
    ]
    common: dict[str, Any] = {
        "references": SOLUM_STUDY,
        "parents": " ".join(inputs),
        "parameters": "the study's Table 4" if table.parameters == "published" else "as in the recipe",
        **table.options.attributes(),
        "assumptions": "; ".join(
            [*assumed, "modern water and wind erosion are used as geomorphic rates; chemical erosion is neglected"]
        ),
    }
    if table.published:
        common["pairing"] = PAIRING
    if table.erosion_normalisation is not None:
        common["erosion_normalisation"] = table.erosion_normalisation.text
    return Stage(
        name="solum",
        title="solum thickness",
        section="solum",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        compute=compute_solum,
        options={
            "table": table,
            "seed": seed if calibration is not None else None,
            "sensitivity": table.sensitivity,
        },
        indifferent=(
            "table.comparison",
            "table.validation",
            "table.forcing",
            "table.transient",
            "table.sensitivity",
            *(f"table.{key}" for key in OF_PROFILES),
        ),
        identity=named_profiles(calibration),
        files=() if calibration is None else calibration.files,
        prepare=prepare_solum if calibration is not None or table.sensitivity is not None else None,
        mapped=MAPPED,
        prepares="calibrating" if calibration is not None else "preparing",
        report=report_sensitivity if table.sensitivity is not None else None,
        reported=("sensitivity",),
        load=load_calibration if calibration is not None else None,
        attributes={"": common},
        bytes_per_cell=BYTES_PER_CELL,
        tally=tally_zones if "solum_thickness" in table.maps else None,
        summary=summarise_zones if "solum_thickness" in table.maps else None,
        fitted=_fitted_climate() if table.zones == "published" else {},
        notes=partial(pairing_notes, table.erosion_normalisation) if table.published else None,
    )


def _fitted_climate() -> dict[int, dict[str, float]]:
    """Mean climate of the study's zones (Table 3)."""
    return {zone: {name: getattr(means, name) for name in FORCING[:2]} for zone, means in PUBLISHED_ZONES.items()}


def prepare_solum(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Calibrate where that is asked for; the state is the calibration, for the sensitivity of the map."""
    table: SolumTable = options["table"]
    if table.validation is not None:  # before hours of calibration
        require_independent(table.validation, table.calibration)
    if table.calibration is None:
        return Prepared(b"")
    prepared = prepare_calibration(cube, options, bench)
    return replace(prepared, state=prepared.model)


def report_sensitivity(cube: xr.Dataset, options: Mapping[str, Any], state: bytes, _bench: Workbench) -> Report:
    """The sensitivity of the map, from the calibration where there is one."""
    table: SolumTable = options["table"]
    asked: SensitivityTable = options["sensitivity"]
    step = max(1, math.ceil(math.sqrt(cube.sizes["y"] * cube.sizes["x"] / asked.max_cells)))
    decimated = cube.isel(y=slice(step // 2, None, step), x=slice(step // 2, None, step)).load()
    calibrated = load_calibration(state) if table.calibration is not None else None
    rows = one_at_a_time(
        *_model_of(decimated, table, calibrated), change=asked.change, temperature_change=asked.temperature_change
    )
    return Report({"solum_sensitivity": sensitivity_table(rows), "sensitivity_solum": rows.round(5)})


def _model_of(layers: xr.Dataset, table: SolumTable, calibrated: Calibration | None) -> tuple[xr.Dataset, Any, Any]:
    """Layers, parameters and options of the map."""
    parameters = model_parameters(table, None if calibrated is None else calibrated.parameters)
    return model_layers(layers, table), parameters, table.options if calibrated is None else calibrated.options


def compute_solum(window: Window) -> Mapping[str, Array]:
    """Zones and thickness of one window."""
    table: SolumTable = window.options["table"]
    calibrated = window.model if table.calibration is not None else None
    layers, parameters, options = _model_of(window.layers, table, calibrated)
    results: dict[str, Any] = {"zone": layers["zone"]} if table.zones == "published" else {}
    maps = thickness(layers, parameters, options)
    results |= {name: maps[name] for name in table.maps}
    if calibrated is not None and table.calibration is not None:
        results |= quantile_maps(layers, calibrated, table.calibration)
    shape = (window.rows.stop - window.rows.start, window.columns.stop - window.columns.start)
    # Without any layer every result is a single number.
    return {name: np.broadcast_to(np.asarray(layer), shape) for name, layer in results.items()}
