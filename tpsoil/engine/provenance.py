"""What a finished store says of its own making."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import tpsoil

from .job import Job
from .output import Output
from .prepare import files_digest
from .tiles import software

PACKAGES: Final = ("numpy", "numba", "xarray", "zarr", "scikit-learn", "rasterio", "odc-geo", "pyproj", "dask")


def root_attributes(job: Job, output: Output) -> dict[str, Any]:
    """Attributes of the root group: recipe, versions, digests of inputs, CRS, citation, assumptions.

    Notes
    -----
    No time, host or path: the same recipe on the same inputs gives the same bytes.
    """
    attributes: dict[str, Any] = {
        "title": job.description or job.name,
        "run": job.name,
        "recipe": json.dumps(job.recipe, sort_keys=True, default=str),
        "software": f"tpsoil {software()}",
        "packages": json.dumps({name: _version(name) for name in PACKAGES}),
        "input_digests": json.dumps({stage.name: files_digest(stage.files) for stage in job.stages if stage.files}),
        "crs": str(output.grid.crs),
        "citation": f"tpsoil {tpsoil.__version__}",
    }
    if job.references:
        attributes["references"] = ". ".join(job.references)
    assumptions = [text for stage in job.stages for text in [stage.attributes.get("", {}).get("assumptions")] if text]
    if assumptions:
        attributes["assumptions"] = "; ".join(assumptions)
    return attributes


@cache
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "?"
