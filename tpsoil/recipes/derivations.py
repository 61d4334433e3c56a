"""Groups of derived covariates: what each reads, makes and may be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import xarray as xr

from tpsoil import covariates as cov
from tpsoil.blocks import constant_like
from tpsoil.cube import CubeInfo, add_layers, align, open_cube, write_layers
from tpsoil.errors import InputError, MissingInputError
from tpsoil.ingest import read_raster, read_stack
from tpsoil.variables import Variable, variable

from .dem import derived_at_own_resolution, on_own_grid, open_dem, resolution_of


@dataclass(frozen=True)
class Option:
    """One setting of a derivation.

    Parameters
    ----------
    group : str
    default : object
        None where it must be given, or has no effect until it is.
    kind : type
        str, float, int or bool, as it is read from a command line.
    meaning : str
    """

    group: str
    default: Any
    kind: type
    meaning: str


OPTIONS: Final[Mapping[str, Option]] = {
    "dem_units": Option("terrain, hydrology", None, str, "unit of the DEM, where its file does not say"),
    "ruggedness": Option("terrain", "riley", str, "riley or mean_difference"),
    "position_sd": Option("terrain", None, float, "m; scale of slope position; default: the eight neighbours'"),
    "steepness": Option("hydrology", "rusle", str, "rusle or chinese"),
    "max_length_m": Option("hydrology", 300.0, float, "upslope length at which LS stops growing"),
    "memory_limit_gb": Option("hydrology", 8.0, float, "the routing is refused above"),
    "monthly_temperature": Option("climate, aridity", None, str, "stack of monthly means: PATH:VARIABLE"),
    "monthly_precipitation": Option("climate, erosivity", None, str, "stack of monthly sums: PATH:VARIABLE"),
    "monthly_minimum": Option("aridity", None, str, "stack of monthly means of the daily minimum: PATH:VARIABLE"),
    "monthly_maximum": Option("aridity", None, str, "stack of monthly means of the daily maximum: PATH:VARIABLE"),
    "first_year": Option("climate, aridity, erosivity", None, int, "of the stacks"),
    "last_year": Option("climate, aridity, erosivity", None, int, "of the stacks"),
    "evapotranspiration": Option("aridity", None, str, "hargreaves or thornthwaite"),
    "erosivity": Option("erosivity", None, str, "method of the R factor, such as zhang_fu_annual"),
    "erodibility": Option("erodibility", None, float, "K everywhere, t ha h ha-1 MJ-1 mm-1: an assumption"),
    "cover": Option("cover", "van_der_knijff", str, "van_der_knijff (ndvi) or cai (vegetation cover)"),
    "cover_alpha": Option("cover", 2.0, float, "shape of the van der Knijff curve"),
    "cover_beta": Option("cover", 1.0, float, "shape of the van der Knijff curve"),
    "ndvi_bare": Option("vegetation", 0.05, float, "NDVI of bare ground"),
    "ndvi_full": Option("vegetation", 0.86, float, "NDVI of full cover"),
    "practice": Option("rusle", 1.0, float, "P factor; 1 on natural land"),
    "wind": Option("rweq", None, str, "stack of wind at 10 m: PATH:U,V or PATH:SPEED"),
    "partial_year": Option("rweq", False, bool, "sum the months that the wind stack has, though some are missing"),
    "soil_dryness": Option("rweq", 1.0, float, "SW everywhere: an assumption; 1 is dry soil all year"),
    "snow_free": Option("rweq", 1.0, float, "SD everywhere: an assumption"),
    "roughness": Option("rweq", 1.0, float, "K' everywhere: an assumption; 1 is smooth ground"),
    "calcium_carbonate": Option("rweq", None, float, "% everywhere, where there is no such layer: an assumption"),
    "distance_m": Option("rweq", 50.0, float, "downwind distance"),
}
"""Every option of every group."""


@dataclass
class Work:
    """What a group of derivations works on."""

    store: Any
    info: CubeInfo
    dem: Any
    options: Mapping[str, Any]
    overwrite: bool
    assumed: dict[str, str] = field(default_factory=dict)

    def layer(self, group: str, name: str, mend: str = "") -> xr.DataArray:
        """A layer of the cube, or a clear refusal."""
        cube = open_cube(self.store)
        if name not in cube:
            raise MissingInputError(
                f"derive {group}: the cube has no layer '{name}'; "
                + (mend or f"add it with `tpsoil cube add STORE {name} FILE`")
            )
        return cube[name]

    def has(self, name: str) -> bool:
        """Whether the cube has a layer."""
        return name in open_cube(self.store)

    def stack(self, group: str, option: str, units: str) -> xr.DataArray:
        """The time stack that an option names as PATH:VARIABLE."""
        text = self.options.get(option)
        if text is None:
            raise InputError(f"derive {group}: option {option} is needed: {OPTIONS[option].meaning}")
        path, colon, names = str(text).rpartition(":")
        if not colon or "/" in names or not names:
            raise InputError(f"derive {group}: {option} is '{text}', expected PATH:VARIABLE, such as era.nc:t2m")
        parts = names.split(",")
        return read_stack(path, parts if len(parts) > 1 else parts[0], units)

    @property
    def years(self) -> tuple[int, int] | None:
        """The span of years that the options give."""
        first, last = self.options.get("first_year"), self.options.get("last_year")
        if (first is None) != (last is None):
            raise InputError("derive: first_year and last_year belong together; give both or none")
        return None if first is None or last is None else (int(first), int(last))


def _from_dem(work: Work, kind: str, options: dict[str, Any]) -> list[str]:
    if work.dem is None:
        mend = "give a DEM with --dem, or add elevation"
        layer = work.layer(kind, "elevation", mend)
        result = derived_at_own_resolution(layer, kind, options, resolution=f"the cube's grid, {resolution_of(layer)}")
        return _store(work, dict(result.data_vars))
    how = {"units": work.options["dem_units"]} if work.options["dem_units"] else {}
    raster = open_dem(work.dem, **how)
    result = derived_at_own_resolution(on_own_grid(raster), kind, options, resolution=resolution_of(raster))
    noted = {"dem": raster.origin, "dem_digest": raster.digest}
    add_layers(
        work.store, result, overwrite=work.overwrite, attrs=noted, origin=f"derived from {raster.origin}",
        parents=raster.origin,
    )  # fmt: skip
    return [str(name) for name in result.data_vars]


def _terrain(work: Work) -> list[str]:
    options = {"ruggedness": work.options["ruggedness"], "position_sd": work.options["position_sd"]}
    return _from_dem(work, "terrain", options)


def _hydrology(work: Work) -> list[str]:
    return _from_dem(
        work, "hydrology", {key: work.options[key] for key in ("steepness", "max_length_m", "memory_limit_gb")}
    )


def _climate(work: Work) -> list[str]:
    layers = {}
    if work.options["monthly_temperature"] is not None:
        stack = work.stack("climate", "monthly_temperature", "degC")
        layers["mean_annual_temperature"] = _sourced(cov.mean_annual_temperature(stack, years=work.years), stack)
    if work.options["monthly_precipitation"] is not None:
        stack = work.stack("climate", "monthly_precipitation", "mm")
        layers["annual_precipitation"] = _sourced(cov.annual_precipitation(stack, years=work.years), stack)
    if not layers:
        raise InputError("derive climate: option monthly_temperature or monthly_precipitation is needed")
    add_layers(work.store, layers, overwrite=work.overwrite)
    return list(layers)


def _aridity(work: Work) -> list[str]:
    written = []
    if not work.has("potential_evapotranspiration"):
        method = work.options["evapotranspiration"]
        if method is None:
            raise InputError(
                "derive aridity: the cube has no potential_evapotranspiration; add it, or give option "
                "evapotranspiration (hargreaves or thornthwaite) and its monthly temperatures"
            )
        names = {"temperature": "monthly_temperature"}
        if method == "hargreaves":
            names = {"minimum": "monthly_minimum", "maximum": "monthly_maximum"}
        stacks = {key: work.stack("aridity", option, "degC") for key, option in names.items()}
        months = {key: cov.monthly_means(stack, years=work.years) for key, stack in stacks.items()}
        demand = cov.potential_evapotranspiration(method=method, **months)
        add_layers(work.store, {"potential_evapotranspiration": _sourced(demand, next(iter(stacks.values())))},
                   overwrite=work.overwrite)  # fmt: skip
        written.append("potential_evapotranspiration")
    rain = work.layer("aridity", "annual_precipitation")
    return written + _store(
        work, {"aridity_index": cov.aridity_index(rain, work.layer("aridity", "potential_evapotranspiration"))}
    )


def _vegetation(work: Work) -> list[str]:
    cover = cov.vegetation_cover(
        work.layer("vegetation", "ndvi"), bare=work.options["ndvi_bare"], full=work.options["ndvi_full"]
    )
    return _store(work, {"vegetation_cover": cover})


def _erosivity(work: Work) -> list[str]:
    method = work.options["erosivity"]
    if method is None:
        raise InputError(
            "derive erosivity: option erosivity names the method; there is no default because they differ several "
            f"times: {', '.join(cov.EROSIVITY)}"
        )
    if str(method).endswith("_annual"):
        return _store(
            work,
            {
                "rainfall_erosivity": cov.rainfall_erosivity(
                    work.layer("erosivity", "annual_precipitation"), method=method
                )
            },
        )
    stack = work.stack("erosivity", "monthly_precipitation", "mm")
    series = stack if method == "zhang_daily" else cov.monthly_means(stack, years=work.years)
    layer = _sourced(cov.rainfall_erosivity(series, method=method), stack)
    add_layers(work.store, {"rainfall_erosivity": layer}, overwrite=work.overwrite)
    return ["rainfall_erosivity"]


def _erodibility(work: Work) -> list[str]:
    constant = work.options["erodibility"]
    if constant is not None:
        template = next(iter(open_cube(work.store).data_vars.values()), None)
        if template is None:
            raise InputError("derive erodibility: the cube has no layer yet; add elevation first")
        layer = constant_like(template.drop_attrs(), float(constant), variable("soil_erodibility"))
        layer.attrs["assumptions"] = f"soil_erodibility = {constant:g} everywhere"
        return _store(work, {"soil_erodibility": layer})
    soil = [work.layer("erodibility", name, "add soil grids, or assume one value with option erodibility")
            for name in ("sand", "silt", "clay", "soil_organic_carbon")]  # fmt: skip
    return _store(work, {"soil_erodibility": cov.soil_erodibility(*soil)})


def _cover(work: Work) -> list[str]:
    method = work.options["cover"]
    if method == "cai":
        layer = cov.cover_factor(vegetation_cover=work.layer("cover", "vegetation_cover"), method="cai")
    else:
        layer = cov.cover_factor(
            ndvi=work.layer("cover", "ndvi"),
            method=method,
            alpha=work.options["cover_alpha"],
            beta=work.options["cover_beta"],
        )
    return _store(work, {"cover_factor": layer})


def _rusle(work: Work) -> list[str]:
    names = ("rainfall_erosivity", "soil_erodibility", "ls_factor", "cover_factor")
    r, k, ls, c = factors = [work.layer("rusle", name) for name in names]
    loss = cov.rusle(r, k, ls, c, work.options["practice"])
    loss.attrs["practice_factor"] = float(work.options["practice"])
    carried = [layer.attrs["assumptions"] for layer in factors if layer.attrs.get("assumptions")]
    if carried:
        loss.attrs["assumptions"] = "; ".join(carried)
    return _store(work, {"water_erosion": loss})


def _rweq(work: Work) -> list[str]:
    wind = work.stack("rweq", "wind", "m s-1")
    months = sorted({int(month) for month in wind["time"].dt.month.values})
    if len(months) < 12 and not work.options["partial_year"]:
        missing = sorted(set(range(1, 13)) - set(months))
        raise InputError(
            f"derive rweq: the wind stack lacks months {', '.join(map(str, missing))}; add them, or set partial_year "
            "to sum those that are there"
        )
    sand, silt, clay, carbon = (work.layer("rweq", name) for name in ("sand", "silt", "clay", "soil_organic_carbon"))
    assumed = {key: work.options[key] for key in ("soil_dryness", "snow_free", "roughness")}
    if work.has("calcium_carbonate"):
        carbonate: Any = work.layer("rweq", "calcium_carbonate")
    elif work.options["calcium_carbonate"] is not None:
        carbonate = assumed["calcium_carbonate"] = work.options["calcium_carbonate"]
    else:
        raise MissingInputError(
            "derive rweq: the cube has no layer 'calcium_carbonate'; add it, or assume one value with the option"
        )
    soil = cov.erodible_fraction(sand, silt, clay, carbon, carbonate)
    crust = cov.crust_factor(clay, carbon)
    cover = cov.vegetation_factor(work.layer("rweq", "vegetation_cover"))
    height = work.layer("rweq", "elevation")
    warmth = work.layer("rweq", "mean_annual_temperature")
    distance = work.options["distance_m"]
    loss: Any = None
    status: Any = None
    for month in months:
        days = [31, 28.25, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
        force = cov.wind_factor(wind.isel(time=np.flatnonzero(wind["time"].dt.month.values == month)), days=days)
        placed = _on_cube(force, work)
        weather = cov.weather_factor(placed, height, warmth, assumed["soil_dryness"], assumed["snow_free"])
        blown = cov.rweq(
            weather,
            soil["erodible_fraction"],
            crust,
            assumed["roughness"],
            cover,
            distance_m=distance,
        )
        loss = blown["wind_erosion"] if loss is None else loss + blown["wind_erosion"]
        # 255, missing, is the greatest code
        status = blown["wind_erosion_status"] if status is None else np.maximum(status, blown["wind_erosion_status"])
    spec = variable("wind_erosion")
    noted = {
        "parents": "wind elevation mean_annual_temperature sand silt clay soil_organic_carbon calcium_carbonate "
        "vegetation_cover",
        "formula": "RWEQ, sum of the months",
        "wind_source": wind.attrs["source"],
        "months": months,
        "observations_a_month": round(wind.sizes["time"] / len(months), 2),
        "assumptions": "; ".join(f"{key} = {value:g} everywhere" for key, value in assumed.items()),
        "distance_m": distance,
    }
    loss.attrs = {**spec.attributes(), **noted}
    status.attrs = {**variable("wind_erosion_status").attributes(), "parents": noted["parents"]}
    status.encoding["_FillValue"] = 255
    return _store(
        work, {"wind_erosion": loss, "wind_erosion_status": status, **{str(n): v for n, v in soil.data_vars.items()}}
    )


def _on_cube(layer: xr.DataArray, work: Work) -> xr.DataArray:
    """A layer of a stack's grid, bilinearly on the cube's."""
    spec = Variable("wind_factor", "wind factor, RWEQ Wf", "m3 s-3", low=0.0)
    placed = align(read_raster(layer, spec, units="m3 s-3", nodata="none"), work.info.grid, chunks=work.info.chunks)
    placed.attrs.pop("units", None)
    return placed


def _sourced(layer: xr.DataArray, stack: xr.DataArray) -> xr.DataArray:
    layer.attrs["parents"] = stack.attrs["source"]
    return layer


def _store(work: Work, layers: Mapping[Any, xr.DataArray]) -> list[str]:
    named = {str(name): layer for name, layer in layers.items()}
    write_layers(work.store, named, overwrite=work.overwrite)
    return list(named)


GROUPS: Final[Mapping[str, Callable[[Work], list[str]]]] = {
    "terrain": _terrain,
    "hydrology": _hydrology,
    "climate": _climate,
    "aridity": _aridity,
    "vegetation": _vegetation,
    "erosivity": _erosivity,
    "erodibility": _erodibility,
    "cover": _cover,
    "rusle": _rusle,
    "rweq": _rweq,
}
NEEDS: Final[Mapping[str, Mapping[str, str]]] = {
    "rusle": {"rainfall_erosivity": "erosivity", "soil_erodibility": "erodibility", "ls_factor": "hydrology",
              "cover_factor": "cover"},
    "rweq": {"vegetation_cover": "vegetation"},
}  # fmt: skip
"""What a group reads that another group can make."""
