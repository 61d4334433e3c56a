"""Classes of a layer for other software: names and colours as a GDAL colour map and as GDAL's side file `.aux.xml`.

References
----------
GDAL Persistent Auxiliary Metadata and raster attribute tables: https://gdal.org/user/raster_data_model.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as Xml

import numpy as np

from tpsoil.class_colours import class_colours
from tpsoil.variables import CATALOGUE, flags_of

INTEGER, TEXT = 0, 2
COLUMNS: Final = (
    ("Value", INTEGER, 5), ("Class", TEXT, 2), ("Red", INTEGER, 6), ("Green", INTEGER, 7), ("Blue", INTEGER, 8),
)  # fmt: skip
"""Name, type and usage of the attribute table's columns, as GDAL numbers them."""


@dataclass(frozen=True)
class LayerClass:
    """One class of a layer.

    Parameters
    ----------
    code : int
    name : str
    colour : (int, int, int)
        Red, green, blue, 0 to 255.
    """

    code: int
    name: str
    colour: tuple[int, int, int]


def layer_classes(layer: str, attrs: Mapping[str, Any]) -> list[LayerClass]:
    """Classes of a layer by code, from its flags or the catalogue; none of a continuous layer.

    Parameters
    ----------
    layer : str
        Its name.
    attrs : mapping
        Its attributes.

    Examples
    --------
    >>> layer_classes("soil_mask", {"flag_values": [0, 1], "flag_meanings": "no_soil soil"})[1]
    LayerClass(code=1, name='soil', colour=(148, 118, 47))
    """
    entry = CATALOGUE.get(layer)
    names = {**(entry.flags if entry is not None else {}), **flags_of(attrs)}
    colours = class_colours(layer, sorted(names))
    return [LayerClass(code, names[code], _parts(colours[code])) for code in sorted(names)]


def _parts(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def auxiliary_document(bands: Sequence[Sequence[LayerClass]]) -> bytes:
    """GDAL's side file with category names, colours and an attribute table of every band that has classes.

    Parameters
    ----------
    bands : sequence of sequence of LayerClass
        By band.

    Returns
    -------
    bytes
        Empty where no band has classes.
    """
    if not any(bands):
        return b""
    root = Xml.Element("PAMDataset")
    for number, classes in enumerate(bands, start=1):
        if classes:
            band = Xml.SubElement(root, "PAMRasterBand", band=str(number))
            if classes[0].code >= 0 and classes[-1].code <= np.iinfo(np.uint8).max:
                by_code = {one.code: one for one in classes}
                names, colours = Xml.SubElement(band, "CategoryNames"), Xml.SubElement(band, "ColorTable")
                for code in range(classes[-1].code + 1):
                    one = by_code.get(code)
                    Xml.SubElement(names, "Category").text = one.name if one else ""
                    red, green, blue = one.colour if one else (0, 0, 0)
                    parts = {"c1": red, "c2": green, "c3": blue, "c4": 255 if one else 0}
                    Xml.SubElement(colours, "Entry", {key: str(value) for key, value in parts.items()})
            _attribute_table(band, classes)
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8"))


def _attribute_table(band: Xml.Element, classes: Sequence[LayerClass]) -> None:
    table = Xml.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(COLUMNS):
        column = Xml.SubElement(table, "FieldDefn", index=str(index))
        for key, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            Xml.SubElement(column, key).text = str(value)
    for index, one in enumerate(classes):
        row = Xml.SubElement(table, "Row", index=str(index))
        for value in (one.code, one.name, *one.colour):
            Xml.SubElement(row, "F").text = str(value)
