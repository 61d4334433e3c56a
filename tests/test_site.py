"""The documentation has every public name with an example; the conda recipe has the dependencies of the project."""

from __future__ import annotations

import importlib.util
import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import tpsoil

ROOT = Path(__file__).parent.parent
SITE = ROOT / "notebooks" / "site"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INTERNAL = {"tpsoil.cli", "tpsoil.kernels", "tpsoil.sample"}
"""Packages without a page: commands, kernels on plain arrays, and the embedded example."""


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_build", SITE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLES_ELSEWHERE = {
    "conformal_intervals": "tests/test_uncertainty.py",
    "coverage_table": "notebooks/source/04_micronutrients.py",
    "load_trained": "tests/test_training.py",
    "permutation_importance": "tpsoil/micronutrients/drivers.py",
    "fetch_file": "tests/test_fetch_drivers.py",
    "plan": "tpsoil/recipes/open_data.py",
    "read": "tpsoil/recipes/open_data.py",
    "state_of": "tests/test_runs.py",
    "status": "notebooks/source/05_rerun_and_scale.py",
    "preview": "notebooks/source/05_rerun_and_scale.py",
    "run": "notebooks/source/05_rerun_and_scale.py",
}
"""Functions that need a trained forest, a network or a complete run, and a file that shows their use."""

BUILD = load_build()
PUBLIC = [(package, name) for package in BUILD.PACKAGES for name in BUILD.public_names(package)]


def test_every_package_has_a_page() -> None:
    packages = {f"tpsoil.{path.parent.name}" for path in (ROOT / "tpsoil").glob("*/__init__.py")}
    assert packages - INTERNAL == set(BUILD.PACKAGES) - {"tpsoil"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    BUILD.write_sources(folder)
    return folder


def test_every_public_name_has_an_entry(sources: Path) -> None:
    places = BUILD.homes()
    for package, name in PUBLIC:
        place = places[id(getattr(import_module(package), name))]
        assert f"`{name} <{place}>`" in (sources / "api" / f"{package}.rst").read_text(encoding="utf-8")
        home = (sources / "api" / f"{place.rpartition('.')[0]}.rst").read_text(encoding="utf-8")
        assert re.search(rf":: {re.escape(place)}$", home, re.MULTILINE), place


def test_every_public_name_is_described_and_every_function_has_an_example() -> None:
    lacking = []
    for package, name in PUBLIC:
        value: Any = getattr(import_module(package), name)
        if isinstance(value, ModuleType) or not (inspect.isroutine(value) or isinstance(value, type)):
            continue
        text = inspect.getdoc(value) or ""
        shown = EXAMPLES_ELSEWHERE.get(name)
        if shown is not None:
            assert f"{name}(" in (ROOT / shown).read_text(encoding="utf-8"), f"{shown} does not use {name}"
        elif not text or (inspect.isroutine(value) and ">>>" not in text):
            lacking.append(f"{package}.{name}")
    assert lacking == []


def test_every_layer_and_key_is_on_its_page(sources: Path) -> None:
    from tpsoil.recipes.reference import recipe_keys

    layers = (sources / "layers.md").read_text(encoding="utf-8")
    assert [name for name in tpsoil.variables.CATALOGUE if f"| `{name}` |" not in layers] == []
    reference = (sources / "recipe.md").read_text(encoding="utf-8")
    assert [key.name for key in recipe_keys() if f"| {key.name} |" not in reference] == []


def test_internal_links_lead_somewhere(sources: Path) -> None:
    for page in sources.rglob("*.md"):
        if page.parent.name == "benchmarks":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_conda_recipe_has_the_dependencies_of_the_project() -> None:
    """Rendered as conda-build renders it: only `version` is substituted."""
    text = (SITE / "conda" / "meta.yaml").read_text(encoding="utf-8")
    version = re.search(r'{% set version = "([^"]+)" %}', text)
    assert version is not None
    rendered = re.sub(r"{%.*?%}\n?", "", text).replace("{{ version }}", version[1])
    recipe = yaml.safe_load(rendered)
    assert recipe["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    assert recipe["about"]["license"] == PROJECT["license"]
    renamed = {"dask": "dask-core", "matplotlib": "matplotlib-base", "netcdf4": "netcdf4"}
    expected = {"python": PROJECT["requires-python"]}
    for requirement in PROJECT["dependencies"]:
        match = re.match(r"([A-Za-z0-9_-]+)(?:\[[^\]]*\])?(.*)", requirement)
        assert match is not None
        expected[renamed.get(match[1].lower(), match[1].lower())] = match[2]
    listed = dict(line.partition(" ")[::2] for line in recipe["requirements"]["run"])
    assert listed == expected
    assert recipe["test"]["commands"] == ["tpsoil --help"]
