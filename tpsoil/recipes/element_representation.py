"""Representation of the mapped area by the sites: shares of each class, and a map of their ratio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from tpsoil.columns import labelled
from tpsoil.grid import grid_of
from tpsoil.micronutrients import representation
from tpsoil.soil_mask import MASK, with_soil_mask, without_soil
from tpsoil.stage import Array, Prepared, Stage, Window, Workbench
from tpsoil.variables import Variable, class_names

from .element_options import ElementsTable
from .element_places import classes_on_soil, placed_samples
from .element_reading import WITHOUT_CONTENTS, SampleReader, attributes_of, read_element


def representation_stages(table: ElementsTable, samples: SampleReader, masks: Sequence[str]) -> list[Stage]:
    """One stage for each class layer of `representation`."""
    own = table.of_places(())
    return [
        Stage(
            name=f"representation_{layer}",
            title=f"representation of {layer.replace('_', ' ')}",
            section="elements",
            inputs=tuple(dict.fromkeys((layer, *masks))),
            outputs=(
                Variable(
                    f"representation_{layer}",
                    f"share of sites over share of area, by {layer.replace('_', ' ')}",
                    "1",
                    low=0,
                    meaning="1 where the sites represent the class in proportion to its area",
                ),
            ),
            compute=compute_representation,
            options={"table": own, "layer": layer},
            indifferent=WITHOUT_CONTENTS,
            **samples.declared(own, next(iter(own.columns)), values=False),
            prepare=prepare_representation,
            prepares="counting",
            load=ratios_of,
            attributes=attributes_of(table, [layer]),
        )
        for layer in table.representation
    ]


def prepare_representation(cube: xr.Dataset, options: Mapping[str, Any], bench: Workbench) -> Prepared:
    """Count cells with soil and sites of each class."""
    layer = options["layer"]
    table: ElementsTable = options["table"].model_copy(update={"features": (layer,)})
    tidy = read_element(table, next(iter(table.columns)))
    notes: list[str] = []
    placed, _ = placed_samples(table, cube, tidy, notes)
    sites = placed.groupby("site")[layer].first().dropna().astype(int)
    areas = _areas(cube, layer)
    names = dict(class_names(layer, cube[layer].attrs))
    result = representation(sites.to_numpy(), areas, names)
    codes = sorted(set(areas) | set(sites))
    ratios = {str(code): float(ratio) for code, ratio in zip(codes, result["ratio"], strict=True) if np.isfinite(ratio)}
    shown = labelled(result.reset_index(), layer=layer)
    text = f"{layer}: sites against area, chi2 = {result.attrs['chi2']:.1f}, p = {result.attrs['p_value']:.2g}"
    if result.attrs["classes_without_site"]:
        text += f"; classes without a site: {', '.join(result.attrs['classes_without_site'])}"
    return Prepared(json.dumps(ratios, sort_keys=True).encode(), {"representation": shown}, {}, [*notes, text])


def _areas(cube: xr.Dataset, layer: str) -> dict[int, float]:
    """Area of each class on soil, cells weighted by the cosine of the latitude on a geographic grid."""
    crs = grid_of(cube, where="representation").crs
    geographic = crs is not None and crs.geographic
    areas: dict[int, float] = {}
    for _, values, on_soil, y in classes_on_soil(cube, [layer]):
        weight = np.cos(np.radians(y)) if geographic else np.ones(values.shape[0])
        cells = np.broadcast_to(weight[:, None], values.shape)[on_soil]
        kinds, position = np.unique(values[on_soil], return_inverse=True)
        for kind, area in zip(kinds, np.bincount(position, cells, len(kinds)), strict=True):
            areas[int(kind)] = areas.get(int(kind), 0.0) + float(area)
    return areas


def ratios_of(data: bytes) -> dict[int, float]:
    """The ratio of each class code."""
    return {int(code): float(ratio) for code, ratio in json.loads(data).items()}


def compute_representation(window: Window) -> Mapping[str, Array]:
    """The ratio of the class of each cell; NaN without soil."""
    layer = window.options["layer"]
    masked = with_soil_mask(window.layers)
    codes = np.asarray(masked[layer].values)
    ratio = np.full(codes.shape, np.nan, dtype=np.float32)
    for code, value in window.model.items():
        ratio[codes == code] = value
    if MASK in masked:
        ratio[without_soil(masked[MASK].values)] = np.nan
    return {f"representation_{layer}": ratio}
