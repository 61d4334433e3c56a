"""Solum thickness in named years under a changing climate, and the cells that are not in equilibrium with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.constants import SOLUM_STUDY
from tpsoil.errors import InputError, MissingInputError, nearest_name, require_named
from tpsoil.kernels import transient
from tpsoil.variables import Variable, variable

from .climate_series import ClimateSeries
from .inputs import NEEDED, check_units
from .options import SolumOptions
from .parameters import SolumParameters
from .thickness import balance_layers, parameter_table, zone_rows

Doubles = npt.NDArray[np.float64]
CHANGING: Final = NEEDED[:4]
EQUILIBRIUM: Final[Mapping[int, str]] = {
    transient.IN_EQUILIBRIUM: "in equilibrium",
    transient.THINNER: "thinner than its steady state",
    transient.THICKER: "thicker than its steady state",
    transient.WITHOUT_STEADY_STATE: "no steady state",
}
MAX_STEPS: Final = 100_000


@dataclass(frozen=True)
class TransientSettings:
    """How the thickness is followed.

    Parameters
    ----------
    start : {"steady"} or float
        Thickness in the first year of the series: its steady state (of a cell without one, as `deposition`), or metres
        everywhere, 0 for bare rock.
    step_years : float
        Maximum length of a step, a; production and erosion are those of its middle.
    tolerance : float
        Relative distance from the steady state of a year's climate that counts as equilibrium; at least 1 cm.
    stack : mapping of year to mapping of layer to layer
        Layers that stand for `mean_annual_temperature`, `annual_precipitation`, `water_erosion` or `wind_erosion` in a
        year; linear between these years. In a year that is not named in it, such as before the first, the nearest one
        applies. The changes of the series are added to them.

    Raises
    ------
    InputError
    """

    start: Literal["steady"] | float = "steady"
    step_years: float = 100.0
    tolerance: float = 0.1
    stack: Mapping[float, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.start != "steady" and not (isinstance(self.start, (int, float)) and 0 <= self.start < math.inf):
            raise InputError(f"transient: start is {self.start!r}, expected 'steady' or metres of at least 0")
        for name in ("step_years", "tolerance"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"transient: {name} is {getattr(self, name)!r}, expected more than 0")
        for year, names in self.stack.items():
            require_named(f"transient: stack of year {year}", names, CHANGING, "changing layer")


def year_name(year: float) -> str:
    """Part of a layer's name: "year_2100"; "year_m6000" before the common era.

    Examples
    --------
    >>> year_name(2100), year_name(-6000)
    ('year_2100', 'year_m6000')
    """
    text = f"{abs(year):g}".replace(".", "_")
    return f"year_{'m' if year < 0 else ''}{text}"


def transient_outputs(years: Sequence[float], dtype: str = "float32") -> list[Variable]:
    """Variables of the maps of `transient_thickness`: thickness, then equilibrium."""
    thickness = [
        replace(variable("solum_thickness"), name=f"solum_thickness_{year_name(year)}", dtype=dtype,
                long_name=f"solum thickness in {year:g}", meaning="under a changing climate")
        for year in years
    ]  # fmt: skip
    flags = [
        Variable(f"solum_equilibrium_{year_name(year)}", f"equilibrium of solum thickness in {year:g}", "1",
                 dtype="uint8", kind="categorical", flags=dict(EQUILIBRIUM),
                 meaning="distance from the steady state of the year's climate and erosion")
        for year in years
    ]  # fmt: skip
    return [*thickness, *flags]


def transient_thickness(
    layers: xr.Dataset | Mapping[str, Any],
    parameters: SolumParameters | Mapping[int, SolumParameters],
    series: ClimateSeries,
    options: SolumOptions | None = None,
    *,
    years: Sequence[float],
    settings: TransientSettings | None = None,
) -> xr.Dataset:
    """Solum thickness in named years under a changing climate and erosion.

    Parameters
    ----------
    layers : Dataset
        As in `thickness`, of the present; and the layers that `settings.stack` names.
    parameters : SolumParameters or mapping of zone to SolumParameters
    series : ClimateSeries
        Changes relative to the layers.
    options : SolumOptions, optional
    years : sequence of float
        Within the series, ascending.
    settings : TransientSettings, optional

    Returns
    -------
    Dataset
        For each year `solum_thickness_year_...` (m) and `solum_equilibrium_year_...` (0 in equilibrium, 1 thinner, 2
        thicker than the steady state, 3 no steady state, 255 nodata); lazy where a layer is lazy. NaN as in
        `thickness`.

    Raises
    ------
    InputError
        For years out of order or outside the series, more than 100 000 steps, and as `thickness`.
    MissingInputError
        For layers that are not there, those of the stack too.
    UnitsError, GridError
        As `thickness`.

    Notes
    -----
    Each step is the closed form of `evolve` for the climate in its middle: exact where nothing changes, of second order
    in the step where it does. Thickness is bounded by the depth to bedrock at each step, if the options say so; a cell
    that erodes all soil is bare and can form soil again. Creep changes with neither climate nor time, as in the steady
    state. Memory: four layers a year of the stack.

    Examples
    --------
    >>> from tpsoil.solum import PUBLISHED
    >>> pixel = dict(mean_annual_temperature=3.0, annual_precipitation=600.0, water_erosion=2.0, wind_erosion=1.0,
    ...              general_curvature=0.0)
    >>> series = ClimateSeries((-19050, 2000), ((-5.0, 0.6, 1.0, 2.0), (0.0, 1.0, 1.0, 1.0)))
    >>> maps = transient_thickness(pixel, PUBLISHED[1], series, years=[-6000, 2000])
    >>> int(maps.solum_equilibrium_year_2000)
    0
    """
    where = "solum.transient_thickness"
    table = parameter_table(parameters, where)
    inputs = balance_layers(layers, parameters, where)
    chosen, how = options or SolumOptions(), settings or TransientSettings()
    chosen.require_density_ratio(parameters, where)
    named = require_years(years, series, where)
    anchors, stacked = _stack(inputs.data, how.stack, where)
    extra = tuple(dict.fromkeys(name for of_year in stacked for name in of_year if name not in inputs.names))
    schedule = _schedule(series, anchors, named, how)
    kernel = _Transient((*inputs.names, *extra), anchors, stacked, inputs.dtype, schedule, how, chosen)
    attrs = {
        "title": "solum thickness under a changing climate",
        "references": SOLUM_STUDY,
        "start": str(how.start),
        "step_years": how.step_years,
        "equilibrium_tolerance": how.tolerance,
        **chosen.attributes(),
    }
    outputs = transient_outputs(named, inputs.dtype)
    return inputs.map(kernel, *(inputs.data[name] for name in extra), outputs=outputs, shared=(table,), attrs=attrs)


def require_years(years: Sequence[float], series: ClimateSeries, where: str) -> list[float]:
    """Named years, checked.

    Raises
    ------
    InputError
        Without years, out of order, and outside the series.
    """
    named = [float(year) for year in years]
    if not named or sorted(set(named)) != named:
        raise InputError(f"{where}: years are {list(years)}, expected them ascending, each once")
    outside = [year for year in named if not series.years[0] <= year <= series.years[-1]]
    if outside:
        raise InputError(
            f"{where}: years {', '.join(f'{year:g}' for year in outside)} are outside the series, which runs from "
            f"{series.years[0]:g} to {series.years[-1]:g}"
        )
    return named


@dataclass(frozen=True)
class _Schedule:
    """Steps and stops for the kernel."""

    middles: Doubles
    lengths: Doubles
    changes: Doubles
    stops: npt.NDArray[np.int64]
    stop_years: Doubles
    stop_changes: Doubles


def _schedule(series: ClimateSeries, anchors: Doubles, years: Sequence[float], how: TransientSettings) -> _Schedule:
    first, last = series.years[0], years[-1]
    edges = sorted({first, *(year for year in (*series.years, *anchors, *years) if first < year <= last)})
    starts: list[float] = []
    lengths: list[float] = []
    stops = [0] if first in years else []
    for begin, end in pairwise(edges):
        count = max(1, math.ceil((end - begin) / how.step_years - 1e-9))
        if len(starts) + count > MAX_STEPS:
            raise InputError(f"transient: more than {MAX_STEPS} steps of {how.step_years:g} years; give longer steps")
        length = (end - begin) / count
        starts += [begin + k * length for k in range(count)]
        lengths += [length] * count
        if end in years:
            stops.append(len(starts))
    middles = np.array(starts) + 0.5 * np.array(lengths)
    stop_years = np.array([first, *years])
    return _Schedule(
        middles, np.array(lengths), series.at(middles).reshape(-1, 4), np.array(stops, np.int64), stop_years,
        series.at(stop_years),
    )  # fmt: skip


def _stack(
    data: xr.Dataset, stack: Mapping[float, Mapping[str, str]], where: str
) -> tuple[Doubles, list[tuple[str, ...]]]:
    """Years of the stack, and the names of the four layers in each of them."""
    missing = [name for names in stack.values() for name in names.values() if name not in data]
    if missing:
        raise MissingInputError(
            f"{where}: no layer '{missing[0]}' of the stack{nearest_name(missing[0], map(str, data.data_vars))}"
        )
    for names in stack.values():
        for layer, name in names.items():
            check_units(data[name], layer, where)
    if not stack:
        return np.zeros(1), [CHANGING]
    years = sorted(stack)
    names_by_year = [tuple(stack[year].get(layer, layer) for layer in CHANGING) for year in years]
    return np.array(years, dtype=np.float64), names_by_year


@dataclass(frozen=True)
class _Transient:
    """Thickness and flags of one chunk."""

    names: tuple[str, ...]
    anchors: Doubles
    stacked: list[tuple[str, ...]]
    dtype: str
    schedule: _Schedule
    how: TransientSettings
    options: SolumOptions

    def __call__(self, *arguments: Any) -> list[npt.NDArray[Any]]:
        *blocks, (table, lookup) = arguments
        shape = np.shape(blocks[0])
        by_name = dict(zip(self.names, blocks))
        flat = {name: np.asarray(block).reshape(-1) for name, block in by_name.items()}
        rows = zone_rows(by_name, lookup)
        layers = np.array([[flat[of_year[k]] for of_year in self.stacked] for k in range(4)], dtype=np.float64)
        curvature = flat["general_curvature"].astype(np.float64)
        bedrock = flat["depth_to_bedrock"].astype(np.float64) if "depth_to_bedrock" in flat else curvature * np.nan
        s = self.schedule
        start = math.nan if self.how.start == "steady" else float(self.how.start)
        thickness, flags = transient.thickness_through(
            self.anchors, layers, curvature, bedrock, rows, table, s.middles, s.lengths, s.changes, s.stops,
            s.stop_years, s.stop_changes, start, self.how.tolerance, self.options.balance(),
        )  # fmt: skip
        maps = [one.reshape(shape).astype(self.dtype) for one in thickness]
        return [*maps, *(one.reshape(shape) for one in flags)]
