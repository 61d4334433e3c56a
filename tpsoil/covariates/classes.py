"""Classes: land use, vegetation, parent material and lithology recoded by a table."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from tpsoil.blocks import map_pixels
from tpsoil.errors import InputError, MissingInputError, require_one_of
from tpsoil.labels import stated_fills
from tpsoil.variables import NO_CLASS, Variable, describe_layer, stored_kind

Array = npt.NDArray[Any]
Code = TypeVar("Code", int, str)
SHOWN: Final = 12


@dataclass(frozen=True)
class ClassTable:
    """Source codes and the classes they become.

    Parameters
    ----------
    codes : mapping of int to int
        Source code to class.
    names : mapping of int to str
        Class to its name.
    """

    codes: Mapping[int, int]
    names: Mapping[int, str]


def read_class_table(path: str | Path) -> ClassTable:
    """Read a recoding table.

    Parameters
    ----------
    path : str or Path
        CSV with a header and the columns `code` (integer in the source), `class` (integer, 0 to 254) and `name` (of
        the class; the same for every code of one class).

    Returns
    -------
    ClassTable

    Raises
    ------
    MissingInputError
        Without the file.
    InputError
        For missing columns, codes that are not integers, a code twice, a class with two names.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = path.write_text("code,class,name\\n10,1,meadow\\n11,1,meadow\\n20,2,steppe\\n")
    >>> read_class_table(path).names
    {1: 'meadow', 2: 'steppe'}
    """
    return ClassTable(*_read_table(Path(path), int))


def read_name_table(path: str | Path) -> tuple[dict[str, int], dict[int, str]]:
    """Read a recoding table whose codes may be text, such as the map units of polygons.

    Parameters
    ----------
    path : str or Path
        As in `read_class_table`, with any text in `code`.

    Returns
    -------
    codes : dict of str to int
    names : dict of int to str

    Raises
    ------
    MissingInputError, InputError
        As `read_class_table`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = path.write_text("code,class,name\\nQ,1,loose sediment\\nJ,2,limestone\\n")
    >>> read_name_table(path)[0]
    {'Q': 1, 'J': 2}
    """
    return _read_table(Path(path), str)


def _read_table(path: Path, code_type: type[Code]) -> tuple[dict[Code, int], dict[int, str]]:
    """Class of every code, and the classes' names."""
    codes: dict[Code, int] = {}
    names: dict[int, str] = {}
    for line, row in csv_rows(path, {"code", "class", "name"}):
        try:
            code, value = code_type((row["code"] or "").strip()), int(row["class"])
        except (TypeError, ValueError):
            expected = "two integers" if code_type is int else "a class that is an integer"
            raise InputError(
                f"{path}, line {line}: code '{row['code']}' and class '{row['class']}', expected {expected}"
            ) from None
        if code in codes:
            raise InputError(f"{path}, line {line}: code {code} is listed twice; a code has one class")
        name = (row["name"] or "").strip()
        if names.setdefault(value, name) != name:
            raise InputError(f"{path}, line {line}: class {value} is '{names[value]}' and '{name}'; give it one name")
        codes[code] = value
    return codes, names


def csv_rows(path: Path, columns: Set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells of every row of a CSV file that has these columns.

    Raises
    ------
    MissingInputError, InputError
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such file")
    with path.open(newline="", encoding="utf-8-sig") as handle:
        table = csv.DictReader(handle)
        if missing := columns - set(table.fieldnames or ()):
            raise InputError(f"{path}: columns {', '.join(sorted(missing))} are missing, there are {table.fieldnames}")
        yield from enumerate(table, start=2)


def reclassify(
    layer: xr.DataArray,
    table: ClassTable | Mapping[int, int],
    *,
    name: str,
    names: Mapping[int, str] | None = None,
    unknown: Literal["refuse", "nodata"] = "refuse",
    nodata: int | None = None,
) -> xr.DataArray:
    """Recode a layer of classes.

    Parameters
    ----------
    layer : DataArray
        Integer codes, or floats that are integers or NaN.
    table : ClassTable or mapping of int to int
        Source code to class, 0 to 254.
    name : str
        The new layer's; of the catalogue, or your own.
    names : mapping of int to str, optional
        Class names, where `table` is a plain mapping.
    unknown : {"refuse", "nodata"}
        What to do with a code that the table lacks.
    nodata : int, optional
        Source code of missing cells; by default those that the layer's attributes and encoding state.

    Returns
    -------
    DataArray, uint8
        255 where missing, flags in the attributes. Lazy where `layer` is.

    Raises
    ------
    InputError
        For an empty table, classes outside 0 to 254, codes that are not integers; with "refuse" for codes that the
        table lacks, each listed with its number of cells: at once in memory, while computing where lazy.

    Examples
    --------
    >>> cover = xr.DataArray(np.array([[10, 11], [20, 10]]), dims=("y", "x"))
    >>> reclassify(cover, {10: 1, 11: 1, 20: 2}, name="biome", names={1: "meadow", 2: "steppe"}).values.tolist()
    [[1, 1], [2, 1]]
    """
    where = f"reclassify to {name}"
    codes, labels = (table.codes, table.names) if isinstance(table, ClassTable) else (table, names or {})
    if not codes:
        raise InputError(f"{where}: the table is empty")
    outside = sorted({value for value in codes.values() if not 0 <= value < NO_CLASS})
    if outside:
        raise InputError(f"{where}: classes {outside} are outside 0 to {NO_CLASS - 1}; 255 means missing")
    require_one_of(where, "unknown", unknown, ("refuse", "nodata"))
    fills = stated_fills(layer) if nodata is None else (float(nodata),)
    missing = tuple(int(fill) for fill in fills if float(fill).is_integer())
    kernel = partial(_recode, where=where, codes=dict(codes), fills=missing, refuse=unknown == "refuse")
    (result,) = map_pixels(
        kernel,
        layer,
        outputs=[_class_layer(name, {value: labels.get(value, f"class {value}") for value in set(codes.values())})],
        attrs={"parents": str(layer.name), "formula": f"recoded by a table of {len(codes)} codes", "unknown": unknown},
    )
    return cast(xr.DataArray, result)


def _class_layer(name: str, flags: Mapping[int, str]) -> Variable:
    kind = stored_kind(name, {})
    if kind not in (None, "categorical"):
        raise InputError(f"reclassify to {name}: '{name}' is {kind} in the catalogue, expected a categorical layer")
    entry = describe_layer(name, units="1", kind="categorical")
    return replace(entry, dtype="uint8", flags=dict(sorted(flags.items())))


def _recode(block: Array, *, where: str, codes: Mapping[int, int], fills: tuple[int, ...], refuse: bool) -> Array:
    listed = np.array(sorted(codes), dtype=np.int64)
    if block.dtype.kind == "f":
        missing = ~np.isfinite(block)
        integers = np.where(missing, listed[0], block).astype(np.int64)
        if (fractions := block[(integers != block) & ~missing]).size:
            raise InputError(
                f"{where}: {fractions[0]:g} is not a class code; classes are resampled by mode or nearest, not averaged"
            )
    else:
        missing, integers = np.zeros(block.shape, dtype=bool), block.astype(np.int64)
    missing |= np.isin(integers, fills)
    place = np.minimum(np.searchsorted(listed, integers), len(listed) - 1)
    unlisted = (listed[place] != integers) & ~missing
    if refuse and unlisted.any():
        missing_codes, counts = np.unique(integers[unlisted], return_counts=True)
        shown = ", ".join(f"{code} ({count} cells)" for code, count in zip(missing_codes[:SHOWN], counts))
        more = f" and {len(missing_codes) - SHOWN} more" if len(missing_codes) > SHOWN else ""
        raise InputError(
            f"{where}: the table lacks code{'s' if len(missing_codes) > 1 else ''} {shown}{more}; "
            "add them, or pass unknown='nodata'"
        )
    out = np.array([codes[code] for code in sorted(codes)], dtype=np.uint8)[place]
    out[unlisted | missing] = NO_CLASS
    return cast(Array, out)
