"""Annotated recipes to start from, adapted to the layers of a cube."""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib import resources
from typing import Final

from tpsoil.cube.store import complete_layers
from tpsoil.errors import InputError, nearest_name

from .solum_stage import ZONE_LAYERS

KINDS: Final = ("solum", "elements", "both")
STUDIES: Final = ("chen2026", "huo2026")
"""Complete recipes of published studies for their own data; they build their cube themselves."""
SOLUM_NEEDS: Final = ("elevation", "mean_annual_temperature", "annual_precipitation")
FEATURES: Final = (
    "elevation", "slope", "general_curvature", "topographic_wetness", "mean_annual_temperature", "annual_precipitation",
    "aridity_index", "ndvi", "ndvi_min", "land_cover", "lithology", "clay", "sand", "silt", "soil_organic_carbon",
    "soil_ph", "bulk_density",
)  # fmt: skip
DERIVABLE: Final = ("slope", "general_curvature")

_PUBLISHED = """\
[solum]
parameters = "published"        # Table 4 of Chen et al. 2026, by zone
zones = "published"             # the nearest published zone of each cell
"""

_ILLUSTRATIVE = """\
[solum]
zones = "none"                  # the published zones need {missing}, which the cube lacks
# One illustrative set of physically plausible parameters; not fitted to any profile.
parameters = {{ h0 = 0.3, rho_s = 1300.0, a = 2e-4, b = 3e-5, alpha = 0.1, beta = 0.02, gamma = 1.0, D = 5e-3 }}
"""

_EROSION = {
    "water_erosion": (2.76, "plateau mean of Teng et al. 2018; give a grid, or derive it with [derive.rusle]"),
    "wind_erosion": (10.0, "assumed; give a grid, or derive it with [derive.rweq]"),
}

_ELEMENTS = """\
[elements]
samples = "samples.csv"         # one row a sample: longitude, latitude, and one column an element
elements = ["Fe", "Mn", "Zn", "V"]  # any element, pH, SOC and others; [elements.properties.NAME] declares more
# site = "site"                 # the column that names the site of replicates: they stay in one fold
features = [{features}]
trees = 500
folds = ["random", "block"]     # the last one decides; blocks as wide as residuals are correlated, or "block:50km"
interval = 0.9                  # a mapped prediction interval, conformal on the deciding folds
drivers = true                  # rank the covariates at held-out rows
"""


def new_recipe(kind: str, cube: str | None = None) -> str:
    """An annotated recipe.

    Parameters
    ----------
    kind : {"solum", "elements", "both", "chen2026", "huo2026"}
        Of `tpsoil recipe new`; "chen2026" and "huo2026" are the complete studies of
        solum and micronutrients from their raw data.
    cube : str, optional
        A cube; the recipe uses its layers, and has an assumption with a reason for each that is missing.

    Returns
    -------
    str
        TOML.

    Raises
    ------
    InputError
        For another kind, for a cube without the layers that the model needs, and for a cube with a study's recipe.

    Examples
    --------
    >>> new_recipe("solum").splitlines()[3]
    '[run]'
    """
    if kind in STUDIES:
        if cube is not None:
            raise InputError(f"recipe new: {kind} builds its cube from raw files; leave --cube out")
        return resources.files("tpsoil.recipes").joinpath(f"{kind}.toml").read_text(encoding="utf-8")
    if kind not in KINDS:
        raise InputError(f"recipe new: no template '{kind}'{nearest_name(kind, (*KINDS, *STUDIES))}")
    layers = set(FEATURES) | set(ZONE_LAYERS) if cube is None else set(complete_layers(cube))
    parts = [_head(kind, cube)]
    if "elevation" in layers and (derived := [name for name in DERIVABLE if cube is None or name not in layers]):
        parts.append(
            f"[derive]\nlayers = [{_quoted(derived)}]   # `tpsoil recipe show derive` lists what can be derived\n"
        )
    if kind in {"solum", "both"}:
        parts.append(_solum(layers, cube))
    if kind in {"elements", "both"}:
        features = [name for name in FEATURES if name in layers | (set(DERIVABLE) if "elevation" in layers else set())]
        if not features:
            raise InputError(f"recipe new: {cube} has none of the layers that forests use; add some with add_layer")
        parts.append(_ELEMENTS.format(features=_quoted(features)))
    return "\n".join(parts)


def _head(kind: str, cube: str | None) -> str:
    name = {"solum": "solum", "elements": "elements", "both": "soil"}[kind]
    return (
        "# A recipe of tpsoil: `tpsoil run RECIPE.toml --dry-run` shows what it would compute.\n"
        "# Paths are relative to this file; `tpsoil recipe show TABLE` explains every key.\n\n"
        f'[run]\nname = "{name}"\ncube = {json.dumps(cube or "cube.zarr", ensure_ascii=False)}\n'
        f'output = "{name}_maps.zarr"\n'
    )


def _solum(layers: Collection[str], cube: str | None) -> str:
    lacking = [name for name in SOLUM_NEEDS if name not in layers]
    if lacking:
        raise InputError(
            f"recipe new: {cube} lacks {', '.join(lacking)}, which solum thickness needs; add them with "
            "`tpsoil fetch` or `tpsoil cube add`"
        )
    missing = [name for name in ZONE_LAYERS if name not in layers]
    text = _ILLUSTRATIVE.format(missing=", ".join(missing)) if missing else _PUBLISHED
    for name, (value, reason) in _EROSION.items():
        if cube is None or name not in layers:
            text += f'\n[solum.assumptions.{name}]\nvalue = {value}\nunits = "t ha-1 a-1"\nreason = "{reason}"\n'
    return text


def _quoted(names: Collection[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
