"""What code decides a stage's results: every module that its functions reach, and no other; packages with versions."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from typing import Any

import pyproj
import pytest
import rasterio
import shapely
import small_run
import zarr

from tpsoil.engine.code import ROOT, code_of, entries_of
from tpsoil.engine.origin import origin_of
from tpsoil.engine.packages import top_level_names
from tpsoil.engine.places import layer_place, place_of
from tpsoil.errors import MissingInputError
from tpsoil.recipes import run, state_of, status
from tpsoil.recipes.jobs import job_of
from tpsoil.stage import CONTENT, Stage, decisive_options

DIGESTS = """
import json, sys
from tpsoil.engine.code import code_of, source_digest
print(json.dumps([dict(code_of((name,)).modules) for name in sys.argv[1:]]))
"""


def digests_of(tree: Path, *entries: str) -> list[dict[str, str]]:
    """Digests of the modules behind some entries, in a process of its own that imports a copied tree."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS, *entries], env=environment, cwd=tree, capture_output=True, text=True, check=True
    )
    result: list[dict[str, str]] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stage]:
    recipe = small_run.make_small(tmp_path_factory.mktemp("stages"), chunk=32)
    return {stage.name: stage for stage in job_of(recipe).stages}


def test_a_stage_reaches_the_modules_that_compute_it_and_no_others(stages: dict[str, Stage]) -> None:
    modules = {name: code_of(entries_of(stage)).modules.keys() for name, stage in stages.items()}
    assert {"tpsoil.covariates.terrain", "tpsoil.kernels.surface", "tpsoil.grid"} <= modules["terrain"]
    assert {"tpsoil.solum.parameters", "tpsoil.solum.thickness", "tpsoil.kernels.pedogenesis"} <= modules["solum"]
    assert {"tpsoil.forest.training", "tpsoil.micronutrients.mapping"} <= modules["element_Fe"]
    assert all({"tpsoil.cube.reading", "tpsoil.cube.regions", "tpsoil.stage"} <= names for names in modules.values())
    assert not any(name.startswith("tpsoil.forest") for name in modules["terrain"] | modules["solum"])
    assert not any(name.startswith("tpsoil.solum") for name in modules["terrain"] | modules["element_Fe"])
    shown = ("tpsoil.reports", "tpsoil.cli", "tpsoil.demo")
    assert not any(name.startswith(shown) for names in modules.values() for name in names)


def test_packages_of_a_stage_are_those_that_decide_values(stages: dict[str, Stage]) -> None:
    packages = {name: code_of(entries_of(stage)).packages for name, stage in stages.items()}
    assert {"numpy", "numba", "scikit-learn"} <= packages["element_Fe"].keys()
    assert {"numpy", "numba", "pyproj", "PROJ"} <= packages["terrain"].keys()
    assert not {"matplotlib", "dask", "rich", "typer"} & set().union(*packages.values())


def test_a_comment_costs_nothing_and_a_number_or_a_branch_does(tmp_path: Path) -> None:
    shutil.copytree(ROOT, tmp_path / "tpsoil", ignore=shutil.ignore_patterns("__pycache__"))
    entries = ("tpsoil.recipes.solum_stage", "tpsoil.recipes.element_stage")
    before = digests_of(tmp_path, *entries)
    path = tmp_path / "tpsoil" / "solum" / "parameters.py"
    source = path.read_text()
    docstring = ast.get_docstring(ast.parse(source), clean=False)
    assert docstring is not None
    path.write_text("# a comment\n" + source.replace(docstring, "Another summary.", 1))
    assert digests_of(tmp_path, *entries) == before
    path.write_text(source + "\nEDITED = 1\n")
    solum, element = digests_of(tmp_path, *entries)
    assert {name for name in solum if solum[name] != before[0].get(name)} == {"tpsoil.solum.parameters"}
    assert element == before[1]


def test_code_that_was_edited_while_it_runs_is_rejected(tmp_path: Path) -> None:
    """A notebook whose tpsoil was edited runs the old code: its maps must not be recorded as of the new."""
    shutil.copytree(ROOT, tmp_path / "tpsoil", ignore=shutil.ignore_patterns("__pycache__"))
    script = """
import pathlib, tpsoil.engine.code as code
from tpsoil.errors import InputError
path = pathlib.Path(code.ROOT, "solum", "parameters.py")
path.write_text(path.read_text() + "\\nEDITED = 1\\n")
try:
    code.code_of(("tpsoil.recipes.solum_stage",))
except InputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "parameters.py was edited after this process imported tpsoil" in done.stdout


def test_an_option_that_changes_is_named_with_both_values(stages: dict[str, Stage]) -> None:
    from dataclasses import replace

    stage = Stage("s", "s", "s", (), lambda window: {}, options={"trees": 10, "layers": ("a", "b"), CONTENT: "x"})
    before = origin_of(stage, (10, 10), 5)
    after = origin_of(replace(stage, options={"trees": 20, "layers": ("a", "c")}), (10, 10), 5)
    assert after.digest != before.digest
    assert after.reasons(before.description()) == [
        "option layers gained 'c' and lost 'b'",
        "option trees changed from 10 to 20",
    ]
    assert after.reasons(None) == ["options, files or code changed"]
    upgraded = replace(before, packages={**before.packages, "numpy": "9.9"})
    assert upgraded.reasons(before.description()) == [f"numpy changed from {before.packages['numpy']} to 9.9"]


def test_an_option_without_a_form_that_can_be_compared_is_rejected() -> None:
    stage = Stage("s", "s", "s", (), lambda window: {}, options={"handle": object()})
    with pytest.raises(TypeError, match="option handle: a object cannot be compared; declare it indifferent"):
        decisive_options(stage)


def test_the_packages_of_a_name_are_those_of_the_standard_library() -> None:
    """`packages_distributions` builds a path for every installed file; ours reads the same lists of files as text."""
    expected: dict[str, set[str]] = {}
    for name, projects in packages_distributions().items():
        if name.isidentifier():
            expected[name] = set(projects)
    computed: dict[str, set[str]] = {}
    for one in distributions():
        for name in filter(str.isidentifier, top_level_names(one)):
            computed.setdefault(name, set()).add(one.metadata["Name"])
    computed.pop("__pycache__", None)
    expected.pop("__pycache__", None)
    assert computed == expected


def test_a_name_that_is_exported_when_first_used_leads_to_its_module() -> None:
    """`tpsoil.cube` imports its public names lazily: a stage that takes one of them depends on its definition."""
    modules = code_of(("tpsoil.recipes.element_samples",)).modules
    assert {"tpsoil.cube.sampling", "tpsoil.cube.store"} & modules.keys()


def test_versions_of_the_libraries_below_are_those_that_the_packages_state() -> None:
    """They are read from an extension module alone where the package is not imported yet."""
    alone = (
        "import sys; from tpsoil.engine.packages import versions_of\n"
        "print(versions_of('rasterio')['GDAL'], versions_of('pyproj')['PROJ'], versions_of('shapely')['GEOS'])"
    )
    done = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, check=True)
    expected = [rasterio.__gdal_version__, pyproj.proj_version_str, shapely.geos_version_string]
    assert done.stdout.split() == expected


def test_status_imports_no_library_that_it_does_not_need(tmp_path: Path) -> None:
    """They take 2 s, and zarr half of the rest; records, versions and digests of a store in a folder need numpy."""
    recipe = small_run.make_small(tmp_path, chunk=32)
    del recipe["elements"]
    run(recipe, progress=False)
    heavy = ("xarray", "pandas", "numba", "sklearn", "scipy", "dask.array", "rasterio", "odc.geo", "matplotlib",
             "typer", "click", "rich", "pydantic", "shapely", "urllib.request", "zarr", "numcodecs", "fsspec",
             "asyncio", "yaml")  # fmt: skip
    source = (
        "import atexit, sys; from tpsoil.cli import main\n"
        f"atexit.register(lambda: print(*[name for name in {heavy} if name in sys.modules], file=sys.stderr))\n"
        f"main(['status', {recipe['run']['output']!r}])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert "0 of " in done.stdout


@pytest.mark.parametrize("change", [{}, {"dimension_names": ["x", "y"]}, {"storage_transformers": None}])
def test_the_place_of_a_layer_is_the_one_that_zarr_describes(tmp_path: Path, change: dict[str, Any]) -> None:
    """Also of a description that tpsoil does not write, which zarr reads or rejects."""
    store = small_run.make_cube(str(tmp_path / "cube.zarr"), side=32)
    for name in ("elevation", "climate_zone", "soil_mask"):
        path = tmp_path / "cube.zarr" / name / "zarr.json"
        document = {**json.loads(path.read_bytes()), **change}
        path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))
        assert layer_place(store, name) == place_of(zarr.open_array(store, path=name, mode="r"), store, name)


def test_a_layer_with_an_invalid_description_is_no_layer(tmp_path: Path) -> None:
    store = small_run.make_cube(str(tmp_path / "cube.zarr"), side=32)
    path = tmp_path / "cube.zarr" / "elevation" / "zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "dimension_names": ["y"]}))
    with pytest.raises(MissingInputError, match="'elevation' is no layer"):
        layer_place(store, "elevation")


def test_status_of_a_folder_named_by_a_url_is_that_of_its_path(tmp_path: Path) -> None:
    """Its cube is recorded by a path relative to the maps."""
    small_run.make_small(tmp_path, chunk=64)
    run(small_run.write_recipe(tmp_path / "recipe.toml", without=("elements", "solum")), progress=False)
    url = f"file://{tmp_path}/maps.zarr"
    assert [one.plan.current for one in status(url)] == [4]
    assert state_of(url) == ("complete", None)
