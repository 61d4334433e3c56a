"""`[solum.forcing]`: thickness under uncertain forcing, and the share of its variance that each source explains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, model_validator

from tpsoil.solum import (
    ForcedCalibration,
    ForcedEnsembles,
    ForcingSource,
    SolumOptions,
    calibrate_forced,
    forced_ensembles,
    forced_thickness,
    forcing_variance,
)
from tpsoil.solum.ensembles import Ensemble
from tpsoil.solum.forced import forced_outputs
from tpsoil.solum.forcing import Draws
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench

from .section import Ascending, Section
from .solum_layers import attributes_after, indifferent_after, model_layers, model_parameters

SAMPLE_CELLS = 1000
"""Side of the decimated map from which the cells of the variance are drawn."""


Probability = Annotated[float, Field(ge=0, le=1)]


class SourceTable(Section):
    """`[solum.forcing.sources.LAYER]`: the stated distribution of one layer.

    Parameters
    ----------
    distribution : str
        "normal", "lognormal" (a factor) or "uniform".
    spread : float
        Standard deviation, that of the logarithm, or half the width.
    units : str
        "relative" for a factor of median 1, or a unit of the layer.
    range_m : float, optional
        Distance at which the correlation of a smooth random field has fallen to 0.05, m. Without it one number for all
        cells, under which the parameters are calibrated again.
    reason : str, optional
        Where the distribution comes from; recorded in the table.
    """

    distribution: Literal["normal", "lognormal", "uniform"]
    spread: float
    units: str = ""
    range_m: float | None = None
    reason: str = ""


class ForcingTable(Section):
    """`[solum.forcing]`: uncertain erosion, climate, curvature and depth to bedrock, from calibration to maps.

    Parameters
    ----------
    sources : table of layer to its distribution
        Of water_erosion, wind_erosion, mean_annual_temperature, annual_precipitation, general_curvature,
        depth_to_bedrock.
    draws : int
        Of the forcing.
    members : int
        Sets of parameters for each draw of a constant, where the parameters are calibrated.
    quantiles : list of float
        Maps of these quantiles of thickness.
    residuals : bool
        Whether the maps are of a profile's thickness: with the residuals of the calibration.
    cells : int
        On which the shares of the variance are computed.
    """

    sources: dict[str, SourceTable] = Field(min_length=1)
    draws: int = Field(default=100, ge=2)
    members: int = Field(default=2, ge=1)
    quantiles: Annotated[tuple[Probability, ...], Field(min_length=1), Ascending] = (0.05, 0.5, 0.95)
    residuals: bool = False
    cells: int = Field(default=500, ge=1)

    @property
    def distributions(self) -> list[ForcingSource]:
        """The sources, checked."""
        return [ForcingSource(name, **one.model_dump(exclude={"reason"})) for name, one in self.sources.items()]

    @model_validator(mode="after")
    def _usable_sources(self) -> ForcingTable:
        _ = self.distributions
        return self


def forcing_stage(table: Any, steady: Stage, seed: int) -> Stage:
    """The stage of the quantiles and of the table of variances.

    Parameters
    ----------
    table : SolumTable
    steady : Stage
        Of the steady state: its inputs, profiles and attributes.
    seed : int
    """
    forcing: ForcingTable = table.forcing
    return Stage(
        name="solum_forcing",
        title="solum thickness under uncertain forcing",
        section="solum",
        inputs=steady.inputs,
        outputs=tuple(forced_outputs(forcing.quantiles, _spread(forcing))),
        compute=compute_forced,
        options={"table": table, "seed": seed},
        indifferent=indifferent_after("forcing"),
        identity=steady.identity,
        files=steady.files,
        prepare=prepare_forced,
        prepares="drawing the forcing",
        load=load_forced,
        attributes=attributes_after(steady, **{f"forcing_{one.layer}": one.text for one in forcing.distributions}),
        bytes_per_cell=300.0,
    )


def _spread(forcing: ForcingTable) -> str:
    return "forcing and parameters" + (" and residuals" if forcing.residuals else "")


def prepare_forced(cube: xr.Dataset, options: Mapping[str, Any], _bench: Workbench) -> Prepared:
    """Parameters and draws, and the table of variances."""
    study, seed = options["table"], int(options["seed"])
    forcing: ForcingTable = study.forcing
    layers, calibration = model_layers(cube, study), study.calibration
    notes = []
    if calibration is None:
        ensembles = forced_ensembles(
            model_parameters(study, None), forcing.distributions, study.options, draws=forcing.draws, seed=seed
        )
    else:
        how = ForcedCalibration(
            calibration.preset, calibration.problem, forcing.members, calibration.effort, calibration.objective
        )
        ensembles = calibrate_forced(
            calibration.usable(),
            layers,
            forcing.distributions,
            study.options,
            draws=forcing.draws,
            seed=seed,
            settings=how,
        )
        if ensembles.recalibrated:
            notes.append(f"parameters calibrated again under each of {forcing.draws} draws of the constants")
    table = forcing_variance(_decimated(layers), ensembles, cells=forcing.cells, seed=seed)
    reasons = {name: one.reason for name, one in forcing.sources.items()}
    table["reason"] = [reasons.get(str(name), "") for name in table["source"]]
    return Prepared(_archive(ensembles), {"solum_forcing": _rounded(table)}, {"": {"draws": forcing.draws}}, notes)


def _decimated(layers: xr.Dataset) -> xr.Dataset:
    steps = {name: max(1, -(-layers.sizes[name] // SAMPLE_CELLS)) for name in ("y", "x") if name in layers.sizes}
    return layers.isel({name: slice(step // 2, None, step) for name, step in steps.items()})


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.round({"sd_alone_m": 4, "share_alone": 4, "first_order": 4, "total_order": 4})


def compute_forced(window: Window) -> Mapping[str, Array]:
    """The quantiles of one window."""
    study = window.options["table"]
    forcing: ForcingTable = study.forcing
    maps = forced_thickness(
        model_layers(window.layers, study),
        window.model,
        probabilities=forcing.quantiles,
        residual=forcing.residuals,
    )
    return {str(name): np.asarray(layer.values) for name, layer in maps.items()}


def _archive(ensembles: ForcedEnsembles) -> bytes:
    content = {
        "sources": [vars(source) for source in ensembles.draws.sources],
        "count": ensembles.draws.count,
        "seed": ensembles.draws.seed,
        "draw": ensembles.draw.tolist(),
        "options": ensembles.options.as_dict(),
        "recalibrated": ensembles.recalibrated,
        "ensembles": {
            str(zone): {name: getattr(one, name).tolist() for name in ("members", "sd", "low", "high")}
            for zone, one in ensembles.ensembles.items()
        },
    }
    return json.dumps(content, sort_keys=True).encode()


def load_forced(data: bytes) -> ForcedEnsembles:
    """What `prepare_forced` stored."""
    content = json.loads(data)
    sources = tuple(ForcingSource(**source) for source in content["sources"])
    ensembles = {
        int(zone): Ensemble(**{name: np.array(values) for name, values in one.items()})
        for zone, one in content["ensembles"].items()
    }
    return ForcedEnsembles(
        Draws(sources, content["count"], content["seed"]),
        ensembles,
        np.array(content["draw"], np.int64),
        SolumOptions(**content["options"]),
        recalibrated=bool(content["recalibrated"]),
    )
