"""Attributes of a finished store: how it was computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tpsoil

from .job import Job
from .origin import Origin, unchecked
from .output import Output


def root_attributes(job: Job, output: Output, origins: Mapping[str, Origin]) -> dict[str, Any]:
    """Attributes of the root group: recipe, versions, digests of inputs, CRS, citation, assumptions.

    Parameters
    ----------
    job : Job
    output : Output
    origins : mapping of str to Origin
        By stage; what its maps were computed from.

    Notes
    -----
    No time, host or path: the same recipe on the same inputs gives the same bytes. `packages` has the versions by
    stage.
    """
    attributes: dict[str, Any] = {
        "title": job.description or job.name,
        "run": job.name,
        "recipe": json.dumps(job.recipe, sort_keys=True, default=str),
        "software": f"tpsoil {tpsoil.__version__}",
        "packages": json.dumps({name: dict(origin.packages) for name, origin in origins.items()}),
        "input_digests": json.dumps({name: dict(origin.files) for name, origin in origins.items() if origin.files}),
        "crs": str(output.grid.crs),
        "citation": f"tpsoil {tpsoil.__version__}",
    }
    if not_checked := sorted({name for origin in origins.values() for name in unchecked(origin.files)}):
        attributes["not_checked"] = f"changes of these sources are not recognised: {'; '.join(not_checked)}"
    if job.references:
        attributes["references"] = ". ".join(job.references)
    texts = dict.fromkeys(str(stage.attributes.get("", {}).get("assumptions") or "") for stage in job.stages)
    # A stage repeats the assumptions of the layers that it reads.
    assumptions = [text for text in texts if not any(text in other for other in texts if other != text)]
    if any(assumptions):
        attributes["assumptions"] = "; ".join(assumptions)
    return attributes
