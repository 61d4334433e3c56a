"""The bundled extract of Natural Earth: land, borders, lakes, rivers and cities in degrees."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FILE: Final = Path(__file__).with_name("natural_earth.json.gz")


@dataclass(frozen=True)
class City:
    """A place to label.

    Parameters
    ----------
    name : str
    longitude, latitude : float
        Degrees, WGS84.
    rank : int
        1: of world importance, 2: a town of the plateau.
    """

    name: str
    longitude: float
    latitude: float
    rank: int


@dataclass(frozen=True)
class Geography:
    """Natural Earth at one scale; every line is an array (n, 2) of longitude, latitude in degrees.

    Parameters
    ----------
    land, lakes : tuple of ndarray
        Outer rings of land, and of the water inside it (lakes and the Caspian Sea).
    borders, rivers : tuple of ndarray
        Open lines. Borders are de facto, as Natural Earth draws them, and state nothing on claims.
    """

    land: tuple[Floats, ...]
    lakes: tuple[Floats, ...]
    borders: tuple[Floats, ...]
    rivers: tuple[Floats, ...]


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes()))
    return content


@lru_cache(maxsize=2)
def geography(scale: str = "50m") -> Geography:
    """The world at a scale.

    Parameters
    ----------
    scale : {"50m", "110m"}
        1 : 50 million or 1 : 110 million.

    Returns
    -------
    Geography

    Examples
    --------
    >>> len(geography("110m").rivers)
    13
    """
    layers = _content()[scale]
    unit = 10.0 ** -layers["digits"]

    def lines(name: str) -> tuple[Floats, ...]:
        return tuple(np.cumsum(np.asarray(line, float).reshape(-1, 2), axis=0) * unit for line in layers[name])

    return Geography(lines("land"), lines("lakes"), lines("borders"), lines("rivers"))


@lru_cache(maxsize=1)
def cities() -> tuple[City, ...]:
    """All places that a map may label.

    Examples
    --------
    >>> cities()[0].name
    'Lhasa'
    """
    return tuple(City(*entry) for entry in _content()["cities"])
