"""Solum thickness at steady state: production, erosion, status (science sheet, sections 2 and 3a)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.constants import SOLUM_STUDY
from tpsoil.errors import InputError, MissingInputError
from tpsoil.kernels import pedogenesis
from tpsoil.labels import dataset_of
from tpsoil.variables import NO_CLASS, SOLUM_STATUS, Variable, variable

from .energy import typed
from .inputs import BALANCE, DEEPEST_M, NEEDED, as_dataset, check_units, float_type, reject_scalar, require_layers
from .options import SolumOptions
from .parameters import SolumParameters

Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int16]

OUTPUTS: Final = (
    "solum_thickness",
    "solum_status",
    "saprolite_thickness",
    "erosion_rate",
    "potential_production",
    "production_status",
    "dominant_process",
    "response_time",
)


def _steady_state(
    *arguments: Any, names: tuple[str, ...], dtype: str, balance: pedogenesis.Balance
) -> list[npt.NDArray[Any]]:
    """The steady state of one chunk: assigns the available blocks to the kernel's arguments."""
    *blocks, (table, lookup) = arguments
    inputs: list[Any] = [*kernel_layers(dict(zip(names, blocks)), dtype, lookup), table, balance]
    return [result.reshape(blocks[0].shape) for result in pedogenesis.steady_state(*inputs)]


def codes_of(block: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Class codes 0..254 as integers, flat; NaN, fractions and anything else become 255."""
    values = block.reshape(-1)
    if values.dtype == np.uint8:
        return values.astype(np.intp)
    with np.errstate(invalid="ignore"):
        valid = (values >= 0) & (values < NO_CLASS) & (values == np.floor(values))
    return np.where(valid, values, NO_CLASS).astype(np.intp)


def zone_rows(blocks: Mapping[str, npt.NDArray[Any]], lookup: Rows | None) -> Rows:
    """Table row of each pixel, -1 where there is no soil or no zone with parameters; empty: row 0 everywhere."""
    rows = np.empty(0, np.int16) if lookup is None else lookup[codes_of(blocks["zone"])]
    if "soil_mask" in blocks:
        soil = codes_of(blocks["soil_mask"]) == 1
        rows = np.where(soil, rows if rows.size else np.int16(0), np.int16(-1)).astype(np.int16, copy=False)
    return rows


@dataclass(frozen=True)
class BalanceLayers:
    """Checked layers of the mass balance.

    Parameters
    ----------
    data : Dataset
    names : tuple of str
        Those that the kernels read: of the balance, `soil_mask` and, for parameters by zone, `zone`.
    lookup : (256,) int16, optional
        Table row of each zone code, -1 for none; None: row 0 everywhere.
    """

    data: xr.Dataset
    names: tuple[str, ...]
    lookup: Rows | None

    @property
    def dtype(self) -> str:
        """float32 where every layer is, else float64."""
        return str(float_type(*(self.data[name] for name in self.names if variable(name).kind == "continuous")))

    def map(
        self, kernel: Any, *more: Any, outputs: Sequence[Variable], shared: tuple[Any, ...], attrs: Mapping[str, Any]
    ) -> xr.Dataset:
        """Apply a kernel to the layers and to `more`; its last argument is `shared` and the lookup."""
        layers = [self.data[name] for name in self.names]
        results = map_pixels(kernel, *layers, *more, outputs=outputs, shared=(*shared, self.lookup))
        return dataset_of(results, attrs)


def balance_layers(layers: xr.Dataset | Mapping[str, Any], parameters: object, where: str) -> BalanceLayers:
    """Layers of the balance in the catalogue's units, their soil mask and, for parameters in a mapping, their zones.

    Raises
    ------
    MissingInputError
        For missing layers, all at once; for parameters by zone without a layer `zone`.
    UnitsError
        As `check_units`.
    """
    data = as_dataset(layers, where)
    require_layers(data, NEEDED, where)
    names = tuple(name for name in (*BALANCE, "soil_mask") if name in data)
    for name in names:
        check_units(data[name], name, where)
    if not isinstance(parameters, Mapping):
        return BalanceLayers(data, names, None)
    if "zone" not in data:
        raise MissingInputError(
            f"{where}: parameters are by zone {sorted(parameters)}, but there is no layer 'zone'; add one with "
            "solum.published_zones or solum.Zones, or pass one SolumParameters"
        )
    lookup = np.full(NO_CLASS + 1, -1, np.int16)
    lookup[[int(zone) for zone in parameters]] = np.arange(len(parameters))
    return BalanceLayers(data, (*names, "zone"), lookup)


def kernel_layers(blocks: Mapping[str, npt.NDArray[Any]], dtype: str, lookup: Rows | None) -> list[Any]:
    """Flat arguments of the kernels: the five layers, depth to bedrock (empty: none) and table rows."""
    flat = {name: blocks[name].reshape(-1).astype(dtype, copy=False) for name in BALANCE if name in blocks}
    return [*(flat.get(name, np.empty(0, dtype)) for name in BALANCE), zone_rows(blocks, lookup)]


def thickness(
    layers: xr.Dataset | Mapping[str, Any],
    parameters: SolumParameters | Mapping[int, SolumParameters],
    options: SolumOptions | None = None,
) -> xr.Dataset:
    """Steady-state solum thickness: production balances erosion by water, wind and gravity.

    Parameters
    ----------
    layers : Dataset
        `mean_annual_temperature` (degC), `annual_precipitation` (mm), `water_erosion`, `wind_erosion` (t ha-1 a-1),
        `general_curvature` (m-1, positive on ridges); optional `depth_to_bedrock` (m), `zone`, `soil_mask`. Numbers,
        numpy or dask; or a mapping of names. Not changed.
    parameters : SolumParameters, or mapping of zone to SolumParameters
        With one set, `zone` is not used.
    options : SolumOptions, optional
        Curvature convention, deposition, dust and so on. For calibrated parameters those of the calibration,
        `Calibration.options`.

    Returns
    -------
    Dataset
        `solum_thickness` (m), `solum_status`, `saprolite_thickness` (m), `erosion_rate` (m a-1),
        `potential_production` (m a-1, thickness of soil on bare bedrock; NaN where it exceeds the number type),
        `production_status` (0 within the literature's rates, up to 1e-3 m a-1; 1 above; 2 above 1 m a-1, unphysical),
        `dominant_process` (0 none, 1 water, 2 wind, 3 gravity: the greatest term of Eq. 6),
        `response_time` (a, NaN where E <= 0).
        float32 where every layer is float32, else float64. Lazy where a layer is lazy.
        Status: 0 steady, 1 bare (E >= R), 2 no steady state, 3 capped at bedrock, 255 nodata. Nodata (NaN in all
        others) is where a needed layer is NaN or out of its domain, `soil_mask` is not 1, or the zone has no
        parameters.

    Raises
    ------
    MissingInputError
        For missing layers, all at once; for parameters by zone without a `zone` layer.
    UnitsError
        For layers in other units than the catalogue's; temperatures in kelvin; depth to bedrock in centimetres.
    InputError
        For parameters of another density ratio than that of the options, and for numbers out of their domain where all
        layers are numbers.
    GridError
        Where layers do not share one grid.

    Notes
    -----
    ``h* = h0 (ln r + ln a + b EEMT - ln E)`` (Eq. 8 solved), ``E = (alpha Ew + beta Ed)/(10 rho_s) + gamma D kappa -
    dust`` (Eq. 6). All in logarithms: exp(b EEMT) overflows at b = 0.1 for EEMT > 7098.

    Readings, where the study contradicts itself (letters of the science sheet, section 2):

    - (a) Eq. 8 is used. Eq. 9 as printed drops 1/(10 rho_s) and adds t ha-1 a-1 to m a-1, which shifts h by
      -h0 ln(10 rho_s).
    - (b) Gravity erodes where the surface is convex, E_g = -D laplacian(z). Eq. 7's literal sign would erode valleys
      and grow ridges, against the study's own text.
    - (c) Curvature is in m-1; ArcGIS's 1/100 m must be declared.
    - (d) Curvature depends on its resolution, so D and gamma do: compute it on the native DEM, then aggregate.
    - (l) Thickness is capped by depth to bedrock, as in section 2.3.4; `cap_to_bedrock=False` gives section 4.3's
      independent thickness.
    - (m, n) Statements of the text on zones 7, 8 and on alpha do not follow from its numbers and are no target here.
    - (q) Chemical erosion is neglected; modern water and wind erosion are used as geomorphic rates; dust is
      `dust_input`, default 0.

    The steady state may be far off: `response_time` of the published zones 1 to 4 is 32 000 to 173 000 years. It has no
    upper limit where erosion is nearly 0; a run notes how many cells exceed the Quaternary (`tpsoil.plausibility`).

    References
    ----------
    Chen et al. 2026, doi:10.5194/essd-18-3779-2026. Pelletier, J. D. and Rasmussen, C. (2009), Water Resources
    Research 45, doi:10.1029/2008WR007319 (exponential production).

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED
    >>> pixel = dict(mean_annual_temperature=13.09, annual_precipitation=832.41, water_erosion=5.0, wind_erosion=0.1,
    ...              general_curvature=0.0)
    >>> round(float(thickness(pixel, PUBLISHED[1]).solum_thickness), 6)
    1.163693
    """
    where = "solum.thickness"
    table = parameter_table(parameters, where)
    inputs = balance_layers(layers, parameters, where)
    options = options or SolumOptions()
    options.require_density_ratio(parameters, where)
    if all(inputs.data[name].ndim == 0 for name in NEEDED):
        _reject_numbers(inputs.data, inputs.names, where)
    attrs = {
        "title": "solum thickness at steady state",
        "references": SOLUM_STUDY,
        "parameters": _parameters_text(parameters),
        **options.attributes(),
        "assumptions": "modern water and wind erosion are used as geomorphic rates; chemical erosion is neglected",
    }
    dtype = inputs.dtype
    return inputs.map(
        partial(_steady_state, names=inputs.names, dtype=dtype, balance=options.balance()),
        outputs=[typed(name, dtype) for name in OUTPUTS],
        shared=(table,),
        attrs=attrs,
    )


def parameter_table(parameters: SolumParameters | Mapping[int, SolumParameters], where: str) -> Doubles:
    """The kernel's table: a row for each zone."""
    if isinstance(parameters, SolumParameters):
        return np.array([parameters.row()])
    if not isinstance(parameters, Mapping) or not parameters:
        raise InputError(f"{where}: parameters are {parameters!r}, expected SolumParameters or a mapping by zone")
    for zone, values in parameters.items():
        if not isinstance(values, SolumParameters) or int(zone) != zone or not 0 <= zone < NO_CLASS:
            raise InputError(f"{where}: parameters[{zone!r}] is {values!r}, expected zones 0..254 with SolumParameters")
    return np.array([values.row() for values in parameters.values()])


def status_counts(result: xr.Dataset) -> pd.Series[int]:
    """Number of cells of each status; computes the status layer.

    Parameters
    ----------
    result : Dataset
        Result of `thickness`.

    Returns
    -------
    Series
        Cells of "steady", "bare", "no steady state", "capped at bedrock", "nodata". The study's minimum thickness of
        0.39 m implies that it has no bare cell, which is implausible on ridges: report this share.

    Raises
    ------
    MissingInputError
        Without a layer `solum_status`.

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED
    >>> pixel = dict(mean_annual_temperature=13.09, annual_precipitation=832.41, water_erosion=5.0, wind_erosion=0.1,
    ...              general_curvature=0.0)
    >>> int(status_counts(thickness(pixel, PUBLISHED[1]))["steady"])
    1
    """
    require_layers(result, ("solum_status",), "solum.status_counts")
    codes = codes_of(np.asarray(result["solum_status"].values))
    counts = np.bincount(codes, minlength=NO_CLASS + 1)
    names = {**SOLUM_STATUS, NO_CLASS: "nodata"}
    return pd.Series({name: int(counts[code]) for code, name in names.items()}, name="cells")


def _reject_numbers(data: xr.Dataset, names: tuple[str, ...], where: str) -> None:
    maximum = float(np.finfo(float).max)
    limits = {
        "mean_annual_temperature": (-100.0, 100.0),
        "general_curvature": (-maximum, maximum),
        "depth_to_bedrock": (0.0, DEEPEST_M),
    }
    for name in names:
        if variable(name).kind == "continuous" and data[name].ndim == 0:
            reject_scalar(name, float(data[name].values), *limits.get(name, (0.0, maximum)), where)


def _parameters_text(parameters: SolumParameters | Mapping[int, SolumParameters]) -> str:
    if isinstance(parameters, SolumParameters):
        return json.dumps(parameters.as_dict())
    return json.dumps({str(zone): values.as_dict() for zone, values in parameters.items()})
