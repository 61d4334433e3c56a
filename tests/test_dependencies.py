"""Declared dependencies are those that the code imports, and the bounds and classifiers are those that CI tests."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {
    "google-crc32c": "google_crc32c",
    "odc-geo": "odc",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
"""Import names that differ from the name of the distribution."""
PARTS = {"mpl_toolkits": "matplotlib"}
"""Import names that a distribution installs beside its own, and that one."""


def names(requirements: Iterable[str]) -> set[str]:
    """Import names of requirements."""
    found = [match[0] for line in requirements if (match := re.match(r"[A-Za-z0-9._-]+", line))]
    return {MODULES.get(name.lower(), name) for name in found}


def imports(folder: Path) -> set[str]:
    """Top-level packages that a folder's modules import, inside functions too."""
    modules: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules.add(node.module.partition(".")[0])
    return {PARTS.get(name, name) for name in modules} - set(sys.stdlib_module_names)


def test_runtime_dependencies_are_exactly_what_the_package_imports() -> None:
    optional = PROJECT["optional-dependencies"]
    extras = names(line for extra in ("cloud", "notebook") for line in optional[extra])
    imported = imports(ROOT / "tpsoil") - {"tpsoil"}
    declared = names(PROJECT["dependencies"])
    assert declared - imported == set(), "declared, but imported by tests only or by nothing"
    assert imported - declared - extras == set(), "imported, but declared nowhere"


def test_the_test_extra_is_what_only_tests_import() -> None:
    declared = names(PROJECT["optional-dependencies"]["test"]) | names(PROJECT["dependencies"])
    own = {path.stem for path in (ROOT / "tests").glob("*.py")} | {"tpsoil", "tests"}
    modules = {"xrspatial", "quantile_forest", "boto3", "botocore", "werkzeug"}  # the last three come with moto
    assert imports(ROOT / "tests") - declared - own - modules == set()


def test_every_dependency_has_a_lower_bound_and_no_upper_one() -> None:
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for requirement in [*PROJECT["dependencies"], *extras]:
        if requirement != "pandas-stubs":
            assert re.fullmatch(r"[A-Za-z0-9._-]+(\[\w+(,\w+)*\])?>=[0-9][0-9.]*", requirement), requirement


def test_classifiers_are_the_pythons_that_the_workflow_installs() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    block = re.search(r"python-version: \|\n((?: +3\.\d+\n)+)", workflow)
    assert block is not None
    prefix = "Programming Language :: Python :: 3."
    classified = sorted(line.removeprefix(prefix) for line in PROJECT["classifiers"] if line.startswith(prefix))
    assert sorted(version.removeprefix("3.") for version in block[1].split()) == classified
    assert PROJECT["requires-python"] == f">=3.{classified[0]}"


def test_the_workflow_runs_the_same_script_on_three_systems() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert re.findall(r"- run: (.*)", workflow) == [".ci/run"]
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in workflow
