"""`[mask]`: where there is soil, from polygons and from the classes of the recipe's class layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

import numpy as np
from odc.geo.geobox import GeoBox
from pydantic import model_validator

from tpsoil.ingest.dependencies import behind
from tpsoil.ingest.vectors import mask_reader, polygon_bytes
from tpsoil.soil_mask import MASK, NO_SOIL, RECORD, describe_classes, surface_codes, with_soil_mask
from tpsoil.stage import CONTENT, Array, SourceBytes, Stage, Window
from tpsoil.variables import variable

from .assembly import Assembly
from .layer_stage import Readers, WindowReader, shown_source
from .section import FilePath, Section

LAND_COVER: Final = "land_cover"


class MaskTable(Section):
    """`[mask]`: where there is soil.

    Parameters
    ----------
    boundary : str, optional
        Polygons of the study area; outside is no soil.
    glaciers, lakes : str, optional
        Polygons without soil.
    crs : str, optional
        Of files without a CRS, such as a shapefile without its .prj.
    no_soil : list of "water", "ice", "rock", "built_up"
        Surfaces without soil: cells of these classes are masked, in every class layer of the recipe. An
        empty list masks by the polygons only.
    """

    boundary: FilePath | None = None
    glaciers: FilePath | None = None
    lakes: FilePath | None = None
    crs: str | None = None
    no_soil: tuple[Literal["water", "ice", "rock", "built_up"], ...] = NO_SOIL

    @model_validator(mode="after")
    def _something(self) -> MaskTable:
        if not self.files and "no_soil" not in self.model_fields_set:
            raise ValueError("is empty, expected boundary, glaciers, lakes or no_soil")
        if self.crs is not None and not self.files:
            raise ValueError("crs has no effect without polygons; give boundary, glaciers or lakes, or leave crs out")
        return self

    @property
    def files(self) -> dict[str, str]:
        """Path of each kind of polygons."""
        return {key: path for key in ("boundary", "glaciers", "lakes") if (path := getattr(self, key)) is not None}


def mask_stages(table: MaskTable | None, assembly: Assembly) -> list[Stage]:
    """The stage of `soil_mask`.

    Parameters
    ----------
    table : MaskTable or None
        None: water and ice of the class layers, where no `soil_mask` is given and there are such classes.
    assembly : Assembly
        Its class layers count, and `land_cover` of an existing cube.

    Returns
    -------
    list of Stage
        One, or none without polygons or class layers.
    """
    surfaces = NO_SOIL if table is None else table.no_soil
    layers = [spec for stage in assembly.stages for spec in stage.outputs]
    specs = {spec.name: spec for spec in layers if spec.kind == "categorical" and spec.name != MASK}
    if LAND_COVER in assembly.available:
        specs.setdefault(LAND_COVER, variable(LAND_COVER))
    classes = {name: codes for name, spec in specs.items() if (codes := surface_codes(spec.flags, surfaces))}
    if table is None and (MASK in assembly.available or not classes):
        return []
    paths = {} if table is None else table.files
    if not paths and not classes and surfaces:
        assembly.faults.append(
            f"mask.no_soil: no class layer of the recipe has a class of {', '.join(surfaces)}; add land_cover, or give "
            "the classes of your layer names with flags"
        )
    crs = None if table is None else table.crs
    attributes: dict[str, Any] = {RECORD: " ".join(surfaces), "masked_classes": describe_classes(classes)}
    if classes:
        attributes["parents"] = " ".join(classes)
    sides = [behind(path, f"mask.{key}", assembly.faults) for key, path in paths.items()]
    return [
        Stage(
            name=MASK,
            title="soil mask",
            section="mask",
            inputs=tuple(classes),
            outputs=(variable(MASK),),
            compute=compute_mask,
            options={"paths": paths, "crs": crs, "no_soil": surfaces},
            indifferent=("paths",),
            identity={
                "classes": describe_classes(classes),
                **{key: shown_source(path) for key, path in paths.items()},
            },
            files=tuple(file for side in sides for file in side.files),
            urls=tuple(url for side in sides for url in side.urls),
            attributes={"": attributes},
            describe=describe_mask if paths else None,
            bytes_per_cell=16,
            source_bytes=mask_bytes if paths else None,
            needs_values=True,
        )
    ]


def mask_inputs(available: Collection[str]) -> tuple[str, ...]:
    """Layers that a stage reads to know where there is soil.

    Parameters
    ----------
    available : collection of str

    Returns
    -------
    tuple of str
        `soil_mask`, and `land_cover`, whose water and ice are masked beside a mask that the user gives. Empty without a
        mask: `mask_stages` makes one wherever there is a layer to make it from.
    """
    return tuple(name for name in (MASK, LAND_COVER) if name in available) if MASK in available else ()


def compute_mask(window: Window) -> Mapping[str, Array]:
    """The mask on the cells of one window."""
    layers, paths = window.layers, window.options["paths"]
    if paths:
        read, _ = _mask_reader(window.options, window.grid)
        polygons = read(window.rows, window.columns)
        if not layers.data_vars:
            return {MASK: polygons}
        layers = layers.assign({MASK: (("y", "x"), polygons)})
    complete = with_soil_mask(layers, no_soil=window.options["no_soil"])
    if MASK in complete:
        return {MASK: np.asarray(complete[MASK].values, dtype=np.uint8)}
    return {MASK: np.ones(next(iter(layers.data_vars.values())).shape, dtype=np.uint8)}


def describe_mask(options: Mapping[str, Any], grid: GeoBox) -> Mapping[str, Any]:
    """Attributes of the mask's polygons, known when they are read."""
    return _mask_reader(options, grid)[1]


def mask_bytes(options: Mapping[str, Any], grid: GeoBox, _shape: tuple[int, int]) -> SourceBytes:
    """Peak of memory that the mask's polygons take."""
    return polygon_bytes(_mask_reader(options, grid)[0])


_masks: Final = Readers[WindowReader](limit=8)


def _mask_reader(options: Mapping[str, Any], grid: GeoBox) -> WindowReader:
    paths, crs = dict(options["paths"]), options["crs"]
    outside = [paths[key] for key in ("glaciers", "lakes") if key in paths]
    key = (tuple(sorted(paths.items())), crs, grid)
    return _masks.get(
        key, options[CONTENT], lambda: mask_reader(paths.get("boundary"), grid, outside=outside or None, crs=crs)
    )
