"""Build the documentation: `python notebooks/site/build.py [FOLDER]`; every warning is an error.

The sources are the pages beside this file, the notebooks as stored, and three parts that are generated from the package:
the API from the docstrings of every public name, the recipe reference, and the catalogue of layers.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from importlib import import_module
from inspect import isclass, isroutine
from math import isnan
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "benchmarks" / "results"

PACKAGES = {
    "tpsoil": "The names most scripts need",
    "tpsoil.cube": "The datacube: create, add, read, check, export",
    "tpsoil.covariates": "Covariates: terrain, hydrology, erosion, climate, weathering",
    "tpsoil.solum": "Solum thickness: production, erosion, zones, calibration",
    "tpsoil.forest": "Random forests: train, predict, intervals, applicability",
    "tpsoil.micronutrients": "Topsoil micronutrients: screening, calibration, drivers, maps",
    "tpsoil.evaluation": "Scores, folds and probability samples",
    "tpsoil.ingest": "Files to checked arrays and tables",
    "tpsoil.sources": "The catalogue of open data",
    "tpsoil.recipes": "Recipes and runs",
    "tpsoil.engine": "The engine that runs stages",
    "tpsoil.reports": "Figures, tables, page and viewer",
}
"""Packages whose public names are listed, in the order of the reference."""


def public_names(package: str) -> dict[str, Any]:
    """The public names of a package, by name."""
    module = import_module(package)
    return {name: getattr(module, name) for name in sorted(module.__all__, key=str.lower)}


def homes() -> dict[int, str]:
    """Full name under which each public object is documented, by its identity: in the package that defines it."""
    found: dict[int, str] = {}
    for package in sorted(PACKAGES, key=lambda name: -name.count(".")):
        for name, value in public_names(package).items():
            own = str(getattr(value, "__module__", package)).startswith(f"{package}.")
            if own or id(value) not in found:
                found[id(value)] = f"{package}.{name}"
    return found


def api_page(package: str, title: str, places: dict[int, str]) -> str:
    """The page of one package in reStructuredText: a table of its names, then those that it defines."""
    entries, rows = [], []
    for name, value in public_names(package).items():
        place = places[id(value)]
        rows.append(f"   * - :py:obj:`{name} <{place}>`\n     - {summary_of(value)}")
        if place == f"{package}.{name}":
            entries.append(f".. {directive_of(value)}\n".replace("NAME", place))
    table = ".. list-table::\n   :widths: 30 70\n\n" + "\n".join(rows)
    heading = f"{package}\n{'=' * len(package)}"
    return f"{heading}\n\n{title}.\n\n.. currentmodule:: {package}\n\n{table}\n\n" + "\n".join(entries)


def directive_of(value: Any) -> str:
    """How Sphinx documents an object."""
    if isinstance(value, ModuleType):
        return "automodule:: NAME"
    if isinstance(value, GenericAlias):
        return "py:data:: NAME"
    if isclass(value):
        return "autoclass:: NAME\n   :members:"
    return "autofunction:: NAME" if isroutine(value) else "autodata:: NAME\n   :no-value:"


def summary_of(value: Any) -> str:
    """The first line of a docstring, for a table."""
    text = (getattr(value, "__doc__", None) or "").strip().partition("\n\n")[0]
    line = " ".join(text.split())
    line = re.sub(r"`([^`]*)`", r"``\1``", line).replace("|", "\\|")
    return line if isroutine(value) or isclass(value) or isinstance(value, ModuleType) else ""


def layers_page() -> str:
    """The catalogue of layers; how they are derived stands in the recipe reference."""
    from tpsoil.variables import CATALOGUE

    rows = ["| layer | quantity | units | kind | range |", "|---|---|---|---|---|"]
    for name, entry in sorted(CATALOGUE.items()):
        limits = " to ".join("" if isnan(side) else f"{side:g}" for side in (entry.low, entry.high)).strip()
        rows.append(
            f"| `{name}` | {entry.long_name} | {entry.units} | {entry.kind} | {'' if limits == 'to' else limits} |"
        )
    note = "Names, units and ranges of the layers that the package knows. How each derived one is made: [recipes](recipe.md)."
    return "\n".join(["# Catalogue of layers", "", note, "", *rows, ""])


def write_sources(folder: Path) -> None:
    """Collect all sources of the site in one folder."""
    from tpsoil.recipes.reference import reference_text

    for path in HERE.rglob("*.md"):
        target = folder / path.relative_to(HERE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copy(HERE / "conf.py", folder / "conf.py")
    for name in ("tutorials", "api", "benchmarks"):
        (folder / name).mkdir(exist_ok=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, folder / "tutorials" / notebook.name)
    shutil.copytree(ROOT / "notebooks" / "pictures", folder / "pictures", dirs_exist_ok=True)
    for result in RESULTS.glob("*.md"):
        text = result.read_text(encoding="utf-8")
        text = text if text.startswith("# ") else f"# {result.stem}\n\n{text}".replace("\n### ", "\n## ")
        (folder / "benchmarks" / result.name).write_text(text, encoding="utf-8")
    places = homes()
    for package, title in PACKAGES.items():
        (folder / "api" / f"{package}.rst").write_text(api_page(package, title, places), encoding="utf-8")
    reference = re.sub(r"^#", "##", reference_text(), flags=re.MULTILINE)
    (folder / "recipe.md").write_text(f"# Recipe reference\n\n{reference}", encoding="utf-8")
    (folder / "layers.md").write_text(layers_page(), encoding="utf-8")


def build(out: Path) -> int:
    """Build the pages into a folder; the exit status of Sphinx, 0 where there was no warning."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory(prefix="tpsoil-site-") as folder:
        write_sources(Path(folder))
        return build_main(["-W", "--keep-going", "-n", "-q", "-j", "2", "-b", "html", folder, str(out)])


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "_build")))
