"""What a finished store says of its own making."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import tpsoil
from tpsoil.constants import MICRONUTRIENT_DATASET, MICRONUTRIENT_STUDY, SOLUM_DATASET, SOLUM_STUDY

from .output import Output
from .prepare import files_digest
from .recipe import Recipe
from .stage import Stage
from .tiles import software

PACKAGES: Final = ("numpy", "numba", "xarray", "zarr", "scikit-learn", "rasterio", "odc-geo", "pyproj", "dask")


def root_attributes(recipe: Recipe, stages: Sequence[Stage], output: Output) -> dict[str, Any]:
    """Attributes of the root group: recipe, versions, digests of inputs, CRS, citation, assumptions.

    Notes
    -----
    No time, host or path: the same recipe on the same inputs gives the same bytes.
    """
    attributes: dict[str, Any] = {
        "title": recipe.run.description or recipe.run.name,
        "run": recipe.run.name,
        "recipe": json.dumps(recipe.raw, sort_keys=True, default=str),
        "software": f"tpsoil {software()}",
        "packages": json.dumps({name: _version(name) for name in PACKAGES}),
        "input_digests": json.dumps({stage.name: files_digest(stage.files) for stage in stages if stage.files}),
        "crs": str(output.grid.crs),
        "citation": f"tpsoil {tpsoil.__version__}",
    }
    studies = []
    if recipe.solum is not None:
        studies.append(f"{SOLUM_STUDY}; data: {SOLUM_DATASET}")
    if recipe.elements is not None:
        studies.append(f"{MICRONUTRIENT_STUDY}; data: {MICRONUTRIENT_DATASET}")
    if studies:
        attributes["references"] = ". ".join(studies)
    said = [text for stage in stages for text in [stage.attributes.get("", {}).get("assumptions")] if text]
    if said:
        attributes["assumptions"] = "; ".join(said)
    return attributes


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"
