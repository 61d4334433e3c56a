"""The store that a run writes: created completely or not at all, and marked as running until complete."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import zarr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from zarr.abc.store import Store

import tpsoil
from tpsoil.cube.chunks import open_array, open_group, read_objects, update_attributes, write_attributes
from tpsoil.cube.consolidated import consolidate, consolidated, deconsolidate
from tpsoil.cube.conventions import MULTISCALES, REGISTERED
from tpsoil.cube.layout import CREATED_WITH, lay_out_cube
from tpsoil.cube.levels import withdraw_overviews
from tpsoil.cube.location import attribute as plain
from tpsoil.cube.location import local_path, writing
from tpsoil.cube.overviews import update_overviews
from tpsoil.cube.regions import create_layers
from tpsoil.cube.store import cube_info
from tpsoil.errors import InputError, StoreExistsError, TpsoilError
from tpsoil.grid import coordinates, describe, same_grid
from tpsoil.stage import Stage
from tpsoil.variables import Variable

from .durable import digest_of
from .job import Job
from .ledger import RECORDS_FOLDER, Ledger, reaching
from .manifest import FORMAT, RUN_KEY, Manifest, check_format, migration_note
from .origin import Origin, write_origin
from .places import Chunk, LayerPlace, is_url, layer_place, open_store, overlapping
from .plan import Tiling
from .prepare import remove_tables
from .progress import log
from .repair import layout_attributes, layout_keys, restore_layers, restore_layout, sweep

ADDED_KEY: Final = "added.json"
"""Of a cube that no run created and that a run adds layers to: its records do not make it a run's store."""
RETAINED_ATTRIBUTES: Final = ("grid_mapping", "coordinates", "state", "_FillValue")
STATE_ATTRIBUTE: Final = "run_state"
"""Of the root group: "running" until every tile of every stage is stored, then "complete"."""


@dataclass(frozen=True)
class Output:
    """A run's store.

    Parameters
    ----------
    where : str
    ledger : Ledger
    grid : GeoBox
    tiling : Tiling
        Into single chunks.
    exists : bool
        Whether it existed before.
    migration : str
        Note on records of an older format, or empty.
    """

    where: str
    ledger: Ledger
    grid: GeoBox
    tiling: Tiling
    exists: bool
    migration: str = ""


def find_output(job: Job) -> Output:
    """The output store as it is, or as it would be created. Writes nothing.

    Raises
    ------
    StoreExistsError
        For a store that no run created, or a run of another name, grid or chunk size, without `overwrite`.
    InputError
        For a store of a newer tpsoil, and for an output that overlaps with the cube or a source.
    """
    _check_inputs_safe(job)
    grid = job.grid
    ledger = Ledger.at(job.output)
    tiling = Tiling((int(grid.shape[0]), int(grid.shape[1])), job.chunk)
    if job.adds:
        return Output(job.output, ledger, grid, tiling, exists=True)
    with reaching(job.output):
        content = ledger.read_json(RUN_KEY)
    if content is None:
        if not _is_of_a_run(ledger):
            _require_replaceable(job)
            return Output(job.output, ledger, grid, tiling, exists=False)
        content = _content_of_root(job)
    check_format(content, job.output)
    if content.get("state") == "creating":
        return Output(job.output, ledger, grid, tiling, exists=False)
    other = _difference(content, job, tiling)
    if other and not job.overwrite:
        raise StoreExistsError(
            f"{job.output}: contains {other}; give another output, or set overwrite = true in [run] to replace it"
        )
    note = "" if other else migration_note(content, job.output)
    return Output(job.output, ledger, grid, tiling, exists=not other, migration=note)


def begin(output: Output, job: Job, origins: Mapping[str, Origin]) -> Any:
    """Create the store where there is none, and mark it as unfinished; the consolidated metadata that it had."""
    copied = consolidated(output.where) if output.exists else None
    if job.adds:
        deconsolidate(output.where)
        with writing(output.where):
            output.ledger.write_group()
            sweep(output.where, job.outputs)
            for origin in origins.values():
                write_origin(output.ledger, origin)
            if output.ledger.read_json(RUN_KEY) is None:
                output.ledger.write_json(ADDED_KEY, {"format": FORMAT})
        return copied
    content = _content(job, output, origins)
    before = output.ledger.read_json(RUN_KEY) or {} if output.exists else {}
    earlier = {name for stage in before.get("stages", []) for name in stage["outputs"]}
    content["superseded"] = sorted({*earlier, *before.get("superseded", [])} - job.outputs)
    with writing(output.where):
        # Before there is a root group: tools that list it would not know the folder.
        output.ledger.write_group()
        if not output.exists:
            # The mark first: the store of a run that ends between the two is not taken for a cube of the user.
            replaced = _members(output)
            output.ledger.write_json(RUN_KEY, content | {"state": "creating", "replaces": replaced})
            _clear(output, replaced)
            lay_out_cube(open_store(output.where), output.grid, output.tiling.chunk)
        else:
            restore_layers(output.ledger, output.grid, output.tiling.chunk, _recorded(output, job))
            if (output.ledger.read_json(RUN_KEY) or {}).get("state") != "complete":
                sweep(output.where, job.outputs)
            restore_layout(output.ledger, output.grid, output.tiling.chunk)
        for origin in origins.values():
            write_origin(output.ledger, origin)
        output.ledger.write_json(RUN_KEY, content | {"state": "running"})
        deconsolidate(output.where)
        update_attributes(open_store(output.where), "", {STATE_ATTRIBUTE: "running", "run": job.name})
        output.ledger.sync(layout_keys(output.grid, output.tiling.chunk))
    return copied


def finish(
    output: Output,
    job: Job,
    origins: Mapping[str, Origin],
    attributes: Mapping[str, Any],
    changed: Mapping[str, Collection[Chunk]],
) -> list[str]:
    """Mark the store as complete; remove what an earlier recipe left and this one does not compute.

    `changed` has, by layer whose overviews were complete before, the chunks that were computed.

    Returns
    -------
    list of str
        Layers that were removed: no record describes any more what they were computed from.
    """
    names = {stage.name for stage in job.stages}
    output.ledger.check_lock()
    output.ledger.remove_scratch()
    if job.adds:
        consolidate(output.where)
        return []
    for name in {key.removesuffix(".json") for key in output.ledger.names("manifest")} - names:
        Manifest(output.ledger, name).remove()
    for name in set(output.ledger.names("origins")) - names:
        output.ledger.remove_all(f"origins/{name}")
    for key in output.ledger.names("models"):
        if key.partition(".")[0] not in names:
            output.ledger.remove(f"models/{key}")
    for key in output.ledger.names("tables"):
        if key.endswith(".json") and key.removesuffix(".json") not in names:
            remove_tables(output.ledger, key.removesuffix(".json"))
    superseded = [str(name) for name in (output.ledger.read_json(RUN_KEY) or {}).get("superseded", [])]
    for name in superseded:
        output.ledger.remove_node(name)
    with writing(output.where):
        root = open_group(open_store(output.where), "r+")
        # All of them: attributes of an older run, or damaged ones, are replaced.
        layout = layout_attributes(output.grid, output.tiling.chunk)
        state = {STATE_ATTRIBUTE: "complete", "run": job.name}
        levels = {key: root.attrs[key] for key in (REGISTERED, MULTISCALES) if MULTISCALES in root.attrs}
        _put_attributes(output, root, "", plain({**layout, **state, **attributes, **levels}))
        _, keys = update_overviews(output.where, changed=changed)
        if not keys:
            consolidate(output.where)
        output.ledger.sync([*keys, "zarr.json"])
        output.ledger.write_json(RUN_KEY, _content(job, output, origins) | {"state": "complete"})
    return superseded


def ensure_arrays(
    output: Output, stage: Stage, attributes: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[LayerPlace, ...], bool]:
    """The stage's arrays, created where they are missing or of another kind; their attributes are updated.

    Returns their places, and whether all of them are marked as complete.
    """
    store = open_store(output.where)
    layer_attributes = {v.name: {**attributes.get("", {}), **attributes.get(v.name, {})} for v in stage.outputs}
    arrays = {variable.name: _stored_array(store, variable, output.tiling) for variable in stage.outputs}
    if new := [variable for variable in stage.outputs if arrays[variable.name] is None]:
        create_layers(output.where, new, attrs=layer_attributes, overwrite=True)
    places, complete = [], True
    for variable in stage.outputs:
        array = arrays[variable.name] or open_array(store, variable.name)
        # Attributes of another run are removed, so that a run that was resumed leaves the same ones.
        retained = {key: array.attrs[key] for key in RETAINED_ATTRIBUTES if key in array.attrs}
        expected = plain(
            {**variable.attributes(), "created_with": CREATED_WITH, **layer_attributes[variable.name], **retained}
        )
        _put_attributes(output, array, variable.name, expected)
        places.append(layer_place(output.where, variable.name))
        complete = complete and array.attrs.get("state") == "complete"
    return tuple(places), complete


def _stored_array(store: Store, variable: Variable, tiling: Tiling) -> zarr.Array | None:
    """A layer's open array; None where there is none, or one of another shape, chunking or type."""
    try:
        array = open_array(store, variable.name)
    except (FileNotFoundError, TypeError, ValueError):  # nothing, a group, or a description that cannot be read
        return None
    expected = (tiling.shape, (tiling.chunk, tiling.chunk), np.dtype(variable.dtype))
    return array if (array.shape, array.chunks, array.dtype) == expected else None


def _put_attributes(output: Output, node: zarr.Array | zarr.Group, name: str, expected: Mapping[str, Any]) -> None:
    """Store the attributes of an array or of the root where they differ, and log which: some may have been damaged."""
    stored, new = dict(node.attrs), dict(expected)
    if json.dumps(stored) == json.dumps(new):  # in the same order, so that the bytes are the same too
        return
    different = sorted(key for key in {*stored, *new} if stored.get(key) != new.get(key))
    if stored and different != [STATE_ATTRIBUTE]:
        log.info("%s: attributes written again: %s", f"{name}/zarr.json".lstrip("/"), ", ".join(different) or "order")
    with writing(output.where):
        write_attributes(node.store, name, new)


def mark(output: Output, stage: Stage, state: str) -> list[str]:
    """Mark a stage's layers as being written or as complete; readers skip what is being written.

    Returns the layers whose overviews were complete until now.
    """
    output.ledger.check_lock()
    names = [variable.name for variable in stage.outputs]
    withdrawn = list(withdraw_overviews(output.where, names)) if state == "writing" else []
    with writing(output.where):
        for name in names:
            update_attributes(open_store(output.where), name, {"state": state})
        output.ledger.sync(f"{name}/zarr.json" for name in names)
    return withdrawn


def _content(job: Job, output: Output, origins: Mapping[str, Origin]) -> dict[str, Any]:
    here = job.outputs
    return {
        "format": FORMAT,
        "tpsoil": tpsoil.__version__,
        "name": job.name,
        "recipe": job.recipe,
        "recipe_digest": digest_of(job.recipe),
        "cube": _relative(job.cube, output.where),
        "stages": [
            {
                "name": stage.name,
                "title": stage.title,
                "section": stage.section,
                "inputs": [[name, job.cube is not None and name not in here] for name in stage.inputs],
                "outputs": [variable.name for variable in stage.outputs],
                "halo": stage.halo,
                "origin": origins[stage.name].digest,
                "loads": stage.load is not None,
                "tallies": stage.tally is not None,
            }
            for stage in job.stages
        ],
        **_content_of_grid(output.grid, output.tiling.chunk),
    }


def _content_of_grid(grid: GeoBox, chunk: int) -> dict[str, Any]:
    transform = [float(value) for value in tuple(grid.transform)[:6]]
    return {"crs": grid.crs.to_wkt(), "transform": transform, "shape": [int(n) for n in grid.shape], "chunk": chunk}


def _relative(cube: str | None, output: str) -> str | None:
    """A cube's path relative to the output store, so that both can be moved together."""
    return cube if cube is None or is_url(cube) or is_url(output) else os.path.relpath(cube, output)


def _difference(content: Mapping[str, Any], job: Job, tiling: Tiling) -> str:
    if content.get("name") != job.name:
        return f"run '{content.get('name')}', the recipe is run '{job.name}'"
    if content.get("chunk") != tiling.chunk:
        return f"chunks of {content.get('chunk')} cells, the recipe has {tiling.chunk}"
    if "transform" in content:
        stored = GeoBox(tuple(content["shape"]), Affine(*content["transform"]), CRS(content["crs"]))
    else:  # of an older tpsoil
        stored = cube_info(job.output).grid
    if not same_grid(stored, job.grid):
        return f"another grid ({describe(stored)}; the recipe has {describe(job.grid)})"
    return ""


def _is_of_a_run(ledger: Ledger) -> bool:
    """Whether a run created the store although its name is lost: the object is damaged, or only it is missing."""
    if RUN_KEY in ledger.damaged:
        return True
    recorded = any(ledger.names(folder) for folder in ("manifest", "models", "tables"))
    return recorded and ledger.read_json(ADDED_KEY) is None


def _content_of_root(job: Job) -> dict[str, Any]:
    """Description of a run from the root's attributes where its own object is lost; else the job's."""
    content = {"format": FORMAT, "name": job.name, "state": "running"}
    try:
        info = cube_info(job.output)
    except TpsoilError:
        return content | _content_of_grid(job.grid, job.chunk)
    return content | {"name": info.attrs.get("run", job.name)} | _content_of_grid(info.grid, info.chunks)


def _recorded(output: Output, job: Job) -> list[Variable]:
    """Layers that the store must have because their chunks have records, or of which it has some object."""
    variables = []
    manifests = {name.removesuffix(".json") for name in output.ledger.names("manifest")}
    for stage in job.stages:
        stored = read_objects(output.ledger.store, [f"{variable.name}/zarr.json" for variable in stage.outputs])
        variables += [v for v, data in zip(stage.outputs, stored) if data is not None or stage.name in manifests]
    return variables


def _check_inputs_safe(job: Job) -> None:
    """Reject an output that is, contains or is inside something that the run reads: it would be removed or changed."""
    files = (str(path) for stage in job.stages for path in stage.files)
    named = [("[run] cube", job.cube)] if job.cube is not None else []
    for kind, place in [*named, *(("the source", text) for text in dict.fromkeys([*job.sources, *files]))]:
        if overlapping(job.output, place):
            raise InputError(
                f"{job.where}: [run] output {job.output} and {kind} {place} are the same place, or one is inside the "
                "other; the run would overwrite what it reads. Give another output"
            )


def _require_replaceable(job: Job) -> None:
    """Reject what no run created unless it is a Zarr store and overwriting is allowed."""
    path = local_path(job.output)
    if path is not None:
        existing = [] if not path.exists() else [p.name for p in path.iterdir()] if path.is_dir() else [path.name]
        existing = [name for name in existing if name != RECORDS_FOLDER]
        stored = "zarr.json" in existing
    else:
        stored = read_objects(open_store(job.output), ["zarr.json"]) != [None]
        existing = ["zarr.json"] if stored else []
    if existing and not stored:
        raise StoreExistsError(f"{job.output}: is there and is no Zarr store; give another output")
    if existing and not job.overwrite:
        raise StoreExistsError(
            f"{job.output}: there is a store that no run created; give another output, or set overwrite = true in "
            "[run] to replace it"
        )


def _members(output: Output) -> list[str]:
    """Names to remove before a store is laid out: of an older store, and of one whose creation was interrupted."""
    names = set((output.ledger.read_json(RUN_KEY) or {}).get("replaces", ()))
    return sorted({*names, *output.ledger.nodes(), *coordinates(output.grid)} - {RECORDS_FOLDER})


def _clear(output: Output, names: Sequence[str]) -> None:
    """Remove everything of an older store but the lock and the mark."""
    output.ledger.remove_root()
    for name in names:
        output.ledger.remove_node(name)
    for folder in ("manifest", "models", "origins", "tables"):
        output.ledger.remove_all(folder)
    output.ledger.remove_scratch()
    sweep(output.where)
