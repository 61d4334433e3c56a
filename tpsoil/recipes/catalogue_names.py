"""`catalogue:PROVIDER/NAME` in a recipe: fetched for its grid, and replaced by local files and their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tpsoil.errors import InputError, RecipeError, TpsoilError
from tpsoil.sources import Choice
from tpsoil.sources.catalogue import GRIDDED, PREFIX, choose
from tpsoil.variables import CATALOGUE

from .derive_settings import DeriveSettings, source_kind
from .fetching import box_of, cell_metres
from .layer_stage import READING, LayerTable
from .open_data import Network, OpenData, read_options
from .recipe import Recipe, grid_of_recipe

Progress = Callable[[str], None]


def with_open_data(recipe: Recipe, progress: Progress | None = None) -> Recipe:
    """A recipe whose names of the catalogue are local files; the recipe itself where it has none.

    Parameters
    ----------
    recipe : Recipe
    progress : callable, optional
        `progress(line)` before each entry is read.

    Returns
    -------
    Recipe
        Windows of the recipe's grid lie in the cache, and are read by the digest of their bytes like any file. Files,
        versions and digests are in `sources.lock` beside a local output.

    Raises
    ------
    RecipeError
        For names that the catalogue does not have, and options that an entry gives already; all at once.
    GridError, MissingInputError, AccessError, WorkError
        Where a source has nothing for the grid, does not answer, or has changed.
    """
    names = _Names(recipe, progress)
    layers = [names.layer(table, number) for number, table in enumerate(recipe.layers, start=1)]
    mask = None if recipe.mask is None else names.replaced(recipe.mask, "mask", ("boundary", "glaciers", "lakes"))
    derive = None if recipe.derive is None else names.derive(recipe.derive)
    solum, elements = recipe.solum, recipe.elements
    for key in ("calibration", "validation"):
        if solum is not None and (own := getattr(solum, key)) is not None:
            solum = solum.model_copy(update={key: names.replaced(own, f"solum.{key}", ("profiles",))})
    if elements is not None:
        elements = names.replaced(elements, "elements", ("samples",))
    if names.faults:
        raise RecipeError(recipe.where, names.faults)
    if names.data is None:
        return recipe
    names.data.write_lock()
    return replace(
        recipe,
        layers=tuple(layers),
        mask=mask,
        derive=derive,
        solum=solum,
        elements=elements,
        fetched=names.fetched,
        fetched_files=names.files,
    )


@dataclass
class _Names:
    """Entries that one recipe names, each fetched once."""

    recipe: Recipe
    progress: Progress | None
    faults: list[str] = field(default_factory=list)
    fetched: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    data: OpenData | None = None

    def layer(self, table: LayerTable, number: int) -> LayerTable:
        """A table of `[[layers]]` with files for sources."""
        at = f"layers[{number}]"
        if not any(source.startswith(PREFIX) for source in table.sources):
            return table
        if len(table.sources) > 1:
            self.faults.append(f"{at}.source: an entry of the catalogue stands alone; give one layer for each")
            return table
        taken = [key for key in READING if getattr(table, key) is not None]
        if taken:
            self.faults.append(f"{at}.{taken[0]}: the entry of the catalogue gives it; leave {', '.join(taken)} out")
        choice = self.choice(table.sources[0], f"{at}.source")
        if choice is None or taken:
            return table
        entry = choice.entry
        if entry.driver not in GRIDDED:
            self.faults.append(f"{at}.source: {entry.name} is a {entry.driver} file, expected a raster")
            return table
        if table.name != entry.layer and table.name in CATALOGUE and entry.kind != CATALOGUE[table.name].kind:
            self.faults.append(f"{at}.source: {entry.name} is {entry.kind}, '{table.name}' is not")
            return table
        files, options = self.raster(choice)
        self.fetched[table.name] = options.pop("attributes")
        if table.units is not None:
            options["units"] = table.units if table.name not in CATALOGUE else options["units"]
        options.pop("kind", None)
        if table.flags is not None:
            options.pop("flags", None)
        citation = table.citation or f"{entry.citation} ({entry.licence})"
        return table.model_copy(update={"source": files, "citation": citation, **options})

    def replaced(self, table: Any, at: str, keys: tuple[str, ...]) -> Any:
        """A table of the recipe with local files for the entries that these keys name."""
        changes = {}
        for key in keys:
            value = getattr(table, key)
            if isinstance(value, str) and value.startswith(PREFIX):
                changes[key] = self.file(value, f"{at}.{key}")
        return table.model_copy(update=changes) if changes else table

    def derive(self, settings: DeriveSettings) -> DeriveSettings:
        """`[derive]` with files for the entries that its options name."""
        tables = {
            group: {key: self.option(key, value, f"derive.{group}.{key}") for key, value in table.items()}
            for group, table in settings.tables.items()
        }
        shared = {key: self.option(key, value, f"derive.{key}") for key, value in settings.shared.items()}
        return replace(settings, tables=tables, shared=shared)

    def option(self, key: str, value: Any, at: str) -> Any:
        """An option of a group: the DEM, a stack of months, or polygons."""
        path = value.get("path") if isinstance(value, Mapping) else value
        if not isinstance(path, str) or not path.startswith(PREFIX):
            return value
        kind, choice = source_kind(key), self.choice(path, at)
        if choice is None:
            return value
        if kind == "file":
            return self.file(path, at)
        files, options = self.raster(choice)
        if kind == "stack" and choice.entry.driver == "netcdf":
            stack = {
                "path": files[0],
                "variable": choice.entry.variable,
                "units": choice.entry.unit,
                "crs": choice.entry.crs,
            }
            return stack if not isinstance(value, Mapping) else {**stack, **value, "path": files[0]}
        if kind != "dem" or choice.entry.unit != "m" or options.get("scale", 1.0) != 1.0:
            self.faults.append(f"{at}: {choice.entry.name} does not fit there; expected a DEM in metres, or months")
        replacement: Any = list(files) if len(files) > 1 else files[0]
        return replacement if not isinstance(value, Mapping) else {**value, "path": replacement}

    def choice(self, text: str, at: str) -> Choice | None:
        """The one entry that a name stands for."""
        try:
            return choose(text, self.recipe.network.catalogue)
        except TpsoilError as error:
            self.faults.append(f"{at}: {error}")
            return None

    def raster(self, choice: Choice) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Windows of an entry for the recipe's grid, and how they are read."""
        grid = grid_of_recipe(self.recipe)
        data = self._data()
        one = data.plan(choice, box_of(grid), cell_metres(grid))
        if self.progress is not None:
            self.progress(f"{choice.entry.name}: {len(one.pieces)} files, {one.expected_bytes / 1e6:.1f} MB")
        files = tuple(str(path) for path in data.read(one))
        self.files |= {file: _origin(choice) for file in files}
        return files, {**read_options(one), "attributes": data.attributes(one, cell_metres(grid))}

    def file(self, text: str, at: str) -> str:
        """Polygons or rows of an entry for the recipe's grid."""
        choice = self.choice(text, at)
        if choice is None:
            return text
        try:
            path = str(self._data().file(choice, box_of(grid_of_recipe(self.recipe))))
        except InputError as error:
            self.faults.append(f"{at}: {error}")
            return text
        self.files[path] = _origin(choice)
        return path

    def _data(self) -> OpenData:
        if self.data is None:
            how = self.recipe.network
            network = Network(catalogue=how.catalogue, offline=how.offline, locked=how.locked)
            self.data = OpenData.of(network, self.recipe.output)
        return self.data


def _origin(choice: Choice) -> dict[str, str]:
    entry = choice.entry
    return {"entry": entry.name, "licence": entry.licence, "citation": entry.citation}
