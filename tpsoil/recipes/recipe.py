"""TOML -> a validated, frozen recipe; every fault of it listed at once.

A path in a recipe is relative to the recipe's own folder. `${NAME}` in any text is replaced by the environment
variable. One variable has a default: `TPSOIL_DATA` is `../shared/data` beside the project, the nearest folder above
the recipe that contains a `pyproject.toml` (without one: the recipe's own folder).
"""

from __future__ import annotations

import os
import re
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from odc.geo.geobox import GeoBox
from pydantic import Field

from tpsoil.cube import cube_info
from tpsoil.display import text_summary
from tpsoil.engine.places import has_secret, is_url
from tpsoil.errors import MissingInputError, RecipeError, nearest_name
from tpsoil.ingest.vectors import LAYER
from tpsoil.redaction import hide
from tpsoil.sources.catalogue import PREFIX

from .accuracy_stage import AccuracyTable
from .derive_settings import DeriveSettings, settings_of_recipe
from .element_options import ElementsTable
from .grids import GridTable, grid_from_table
from .layer_stage import LayerTable
from .mask_stage import MaskTable
from .section import FilePath, Section, named_tables, read_table, text_faults, unknown_keys
from .solum_stage import SolumTable
from .zonal_stage import ZonalTable

DATA_VARIABLE: Final = "TPSOIL_DATA"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class RunTable(Section):
    """`[run]`: name, output and settings of the run.

    Parameters
    ----------
    name : str
        Letters, digits, `_` and `-`.
    output : str
        The store of the maps: a folder ending in `.zarr`, or a URL such as `s3://bucket/maps.zarr`.
    description : str
        Title of the store and of its page.
    cube : str, optional
        An existing datacube to read layers from; without it the layers of `[[layers]]` are written to the output store.
    overwrite : bool
        Replace a store of another run or grid.
    seed : int
        Seed of all random numbers.
    tile : int, optional
        Chunks along a tile's side; by default as many as make 256 cells. Memory may make tiles smaller.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    output: FilePath
    description: str = ""
    cube: FilePath | None = None
    overwrite: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)
    tile: int | None = Field(default=None, ge=1)


class SourcesTable(Section):
    """`[sources]`: how the open data that the recipe names as `catalogue:PROVIDER/NAME` are reached.

    Parameters
    ----------
    catalogue : str, optional
        A catalogue of your own, which goes before the package's.
    offline : bool
        Use the cache only.
    locked : bool
        Accept only the files that the lock file beside the output names.
    """

    catalogue: FilePath | None = None
    offline: bool = False
    locked: bool = False


@dataclass(frozen=True)
class Recipe:
    """A complete, checked recipe.

    Parameters
    ----------
    where : str
        The recipe's path, or `"recipe"` for a mapping.
    raw : mapping
        As written, before variables were replaced; stores record this.
    run, grid, layers, mask, derive, solum, elements, zonal, accuracy, network
        The tables; None or empty where the recipe has none. `network` is `[sources]`.
    names_entries : bool
        Whether anything is named `catalogue:PROVIDER/NAME`.
    sources : tuple of str
        Every absolute path or URL that the recipe reads, except the cube, globs and entries of the catalogue.
    fetched : mapping of str to mapping
        Licence, citation and origin of each layer of open data, by its name; filled by `with_open_data`.
    fetched_files : mapping of str to mapping
        Entry, licence and citation of each local file of open data, by its path.
    """

    where: str
    raw: Mapping[str, Any]
    run: RunTable
    grid: GridTable | None = None
    layers: tuple[LayerTable, ...] = ()
    mask: MaskTable | None = None
    derive: DeriveSettings | None = None
    solum: SolumTable | None = None
    elements: ElementsTable | None = None
    zonal: tuple[ZonalTable, ...] = ()
    accuracy: tuple[AccuracyTable, ...] = ()
    network: SourcesTable = field(default_factory=SourcesTable)
    names_entries: bool = False
    sources: tuple[str, ...] = ()
    fetched: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fetched_files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return text_summary(f"Recipe '{self.run.name}'", {"file": self.where, "tables": ", ".join(self.raw)})

    @property
    def output(self) -> str:
        """Absolute path or URL of the store of the maps."""
        return self.run.output

    @property
    def cube(self) -> str | None:
        """Absolute path or URL of the cube from which layers are read; None where it is the output."""
        return self.run.cube

    @property
    def _tables(self) -> list[Section]:
        return [*self.layers, *(table for table in (self.solum, self.elements) if table is not None)]

    @property
    def references(self) -> tuple[str, ...]:
        """The studies whose method runs, then the sources of layers, profiles and samples that the recipe cites."""
        cited = [text.rstrip(". ") for table in self._tables for text in table.cited if text]
        return tuple(dict.fromkeys([*(table.STUDY for table in self._tables if table.STUDY), *cited]))

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Tables that models of the recipe are trained on."""
        return tuple(name for table in self._tables for name in table.trained_on)


SECRET_FAULT: Final = "contains a user or password; give keys by the environment or profile files only"
TABLES: Final[Mapping[str, type[Section]]] = {
    "run": RunTable, "grid": GridTable, "layers": LayerTable, "mask": MaskTable, "solum": SolumTable,
    "elements": ElementsTable, "zonal": ZonalTable, "accuracy": AccuracyTable, "sources": SourcesTable,
}  # fmt: skip
"""Tables of a recipe, beside `[derive]`, whose groups declare themselves."""
LISTS: Final = ("layers", "zonal", "accuracy")
"""Those that a recipe may have several of."""


def read_recipe(recipe: str | os.PathLike[str] | Mapping[str, Any], *, output: str | None = None) -> Recipe:
    """Read a recipe and check all of it, before anything is computed.

    Parameters
    ----------
    recipe : path or mapping
        A TOML file, or the same as nested mappings (paths are then relative to the working folder).
    output : str, optional
        Replaces `run.output`; relative to the working folder.

    Returns
    -------
    Recipe

    Raises
    ------
    MissingInputError
        For a missing file.
    RecipeError
        For a file that is not TOML, and for any fault: unknown keys with the nearest name, values of a wrong kind,
        a layer given twice, layers that no stage provides, missing files. All faults are listed at once.

    Examples
    --------
    >>> read_recipe({"run": {"name": "a", "outptu": "a.zarr"}})  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    tpsoil.errors.RecipeError: recipe: 3 faults
      - run.output: is missing
      - run.outptu: unknown key; did you mean 'output'?
      - recipe: has nothing to compute; give [[layers]], [derive], [solum], [elements] or [[zonal]]
    """
    if isinstance(recipe, Mapping):
        where, folder, raw = "recipe", Path.cwd(), dict(recipe)
    else:
        where, folder, raw = str(recipe), Path(recipe).resolve().parent, _parse(Path(recipe))
    if faults := text_faults(raw):
        raise RecipeError(where, faults)
    faults = unknown_keys(raw, (*TABLES, "derive"), "")
    text = _with_variables(raw, folder, "", faults)
    if output is not None and isinstance(text.get("run"), Mapping):
        if has_secret(output):
            raise RecipeError(where, [f"output: {SECRET_FAULT}"])
        text["run"] = {**text["run"], "output": _absolute(Path.cwd(), output)}
    sources: list[str] = []

    def source(path: str) -> str:
        sources.append(_absolute(folder, path))
        return sources[-1]

    tables: dict[str, Any] = {}
    for key, model in TABLES.items():
        path: Callable[[str], str] = partial(_absolute, folder) if key in ("run", "sources") else source
        if key in LISTS:
            tables[key] = named_tables(model, key, text.get(key, []), faults, path)
        elif key in text or key == "run":
            tables[key] = read_table(model, text.get(key, {}), key, faults, path)
    if "derive" in text:
        tables["derive"] = settings_of_recipe(text["derive"], source, faults)
    run, network = tables["run"], tables.pop("sources", None) or SourcesTable()
    names_entries = PREFIX in repr({key: value for key, value in text.items() if key != "sources"})
    if "sources" in text and not names_entries:
        faults.append(f"sources: has no effect, because nothing is named '{PREFIX}PROVIDER/NAME'; remove the table")
    if run is not None and run.cube is None and "grid" not in raw:
        faults.append("grid: is missing; give [grid], or [run] cube with an existing datacube")
    if not any(key in raw for key in ("layers", "derive", "solum", "elements", "zonal", "accuracy")):
        faults.append(f"{where}: has nothing to compute; give [[layers]], [derive], [solum], [elements] or [[zonal]]")
    if run is None or faults:
        raise RecipeError(where, faults)
    named = (name.partition(LAYER)[0] for name in sources if not name.startswith(PREFIX))
    files = tuple(name for name in named if not any(mark in name for mark in "*?["))
    return Recipe(where, raw, **tables, network=network, names_entries=names_entries, sources=files)


def grid_of_recipe(recipe: Recipe) -> GeoBox:
    """The grid of a recipe's maps: of `[grid]`, or of the cube that it reads."""
    return cube_info(recipe.cube or "").grid if recipe.grid is None else target_grid(recipe, recipe.grid)


def target_grid(recipe: Recipe, table: GridTable) -> GeoBox:
    """The grid that `[grid]` describes; reads the raster that `like` or `cover` names."""
    return grid_from_table(table, where=f"{recipe.where}: grid")


def _absolute(folder: Path, text: str) -> str:
    """A path or URL as an absolute one; `~` is the user's folder, a `file://` URL a path."""
    if text.startswith(PREFIX):
        return text
    if text.startswith("file://"):
        text = urllib.request.url2pathname(urllib.parse.urlsplit(text).path)
    text = os.path.expanduser(text)
    if is_url(text) or os.path.isabs(text):
        return text
    return os.path.realpath(folder / text)  # of symbolic links in a circle too, where resolve() raises


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = nearest_name(path.name, sorted(p.name for p in path.parent.glob("*.toml")))
        raise MissingInputError(f"{path}: no such recipe{near}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(str(path), [f"is not TOML: {error}"]) from error
    except OSError as error:
        raise RecipeError(str(path), [f"cannot be read: {error.strerror}"]) from error


def _with_variables(value: Any, folder: Path, at: str, faults: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {k: _with_variables(v, folder, f"{at}.{k}" if at else str(k), faults) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_variables(v, folder, f"{at}[{n}]", faults) for n, v in enumerate(value, start=1)]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        name = match.group(1)
        value_of = os.environ.get(name) or (str(_default_data(folder)) if name == DATA_VARIABLE else None)
        if value_of is None:
            faults.append(f"{at}: the environment variable {name} is not set")
            return match.group(0)
        return value_of

    text = _VARIABLE.sub(replaced, value)
    if is_url(text):
        for name in set(_VARIABLE.findall(value)) & set(os.environ):
            hide(os.environ[name], name)
    if has_secret(text):
        faults.append(f"{at}: {SECRET_FAULT}")
    return text


def _default_data(folder: Path) -> Path:
    project = next((up for up in (folder, *folder.parents) if (up / "pyproject.toml").is_file()), folder)
    return project.parent / "shared" / "data"
