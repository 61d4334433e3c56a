"""Dependency rules: every import, those inside functions too, is one that the design allows."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent / "tpsoil"
FOUNDATION = {
    "variables", "units", "unit_text", "columns", "points", "soil_mask", "mapped_area", "evaluation", "plausibility",
    "stage", "grid", "blocks", "labels", "tiles", "errors", "constants", "display", "kernels",
    "redaction", "waiting", "depths", "sampling_depths", "soil_properties", "class_colours", "table_titles",
    "column_titles", "covariate_themes", "option_names",
}  # fmt: skip
STAGES = {"ingest", "sources", "cube", "covariates", "solum", "forest", "micronutrients"}
# Dependencies between packages of one level that the design allows.
NEIGHBOURS = {
    "cube": {"ingest"},  # add_layer passes sources to ingest
    "micronutrients": {"forest", "covariates"},  # the domain steps use the forest, and the index of alteration
}
ALLOWED = {
    **{stage: FOUNDATION | NEIGHBOURS.get(stage, set()) for stage in STAGES},
    "kernels": set(),
    "errors": {"redaction", "display"},
    "redaction": set(),
    "waiting": {"errors"},
    "constants": set(),
    "table_titles": set(),
    "column_titles": {"variables"},
    "covariate_themes": set(),
    "option_names": set(),
    "display": set(),
    "variables": {"errors", "option_names", "units"},
    "grid": {"errors", "constants"},
    "columns": {"errors"},
    "blocks": {"errors", "variables", "constants", "grid", "labels"},
    "labels": {"variables"},
    "tiles": {"errors", "option_names"},
    "unit_text": {"errors", "constants"},
    "units": {"errors", "constants", "unit_text"},
    "stage": {"errors", "variables"},
    "points": {"errors", "columns", "grid"},
    "soil_properties": {"errors", "constants", "units", "variables"},
    "depths": {"errors"},
    "sampling_depths": {"depths", "errors"},
    "soil_mask": {"errors", "variables", "blocks", "grid", "labels", "tiles"},
    "mapped_area": {"errors", "grid", "points", "soil_mask", "variables"},
    "evaluation": {"errors", "constants", "kernels"},
    "plausibility": {"errors", "variables", "units", "constants"},
    "engine": FOUNDATION | {"cube"},
    "recipes": FOUNDATION | STAGES | {"engine"},
    "reports": FOUNDATION | {"cube"},
    "cli": FOUNDATION | STAGES | {"engine", "recipes", "reports", "demo", "demo_process", "sample"},
    "demo": FOUNDATION | STAGES | {"engine", "recipes", "reports", "sample", "demo_process"},
    "demo_process": {"demo_pictures", "kernels"},
    "demo_pictures": FOUNDATION | STAGES | {"reports"},
    "sample": FOUNDATION | {"cube", "covariates"},
    "accessor": FOUNDATION | {"cube", "covariates", "solum", "forest", "reports"},
    "__main__": {"cli"},
    "__init__": FOUNDATION | STAGES | {"engine", "recipes", "reports", "sample", "accessor"},
}
DASK_USERS = {"blocks.py", "tiles.py", "engine/execute.py", "engine/cluster.py"}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def package_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path, tree: ast.AST) -> list[tuple[int, str]]:
    """(line, dotted name) of everything imported, relative names resolved."""
    package = ["tpsoil", *path.relative_to(ROOT).parts[:-1]]
    names: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names += [(node.lineno, f"{stem}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {
            "import_module",
            "__import__",
        }:
            names += [(node.lineno, arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
    return names


def forbidden_imports(path: Path, source: str) -> list[str]:
    here, relative = package_of(path), path.relative_to(ROOT).as_posix()
    faults = []
    for line, name in imports_of(path, ast.parse(source)):
        parts = name.split(".")
        if parts[0] in {"dask", "distributed"} and relative not in DASK_USERS:
            faults.append(f"{relative}:{line} imports {name}; only {sorted(DASK_USERS)} may import dask")
        if parts[0] != "tpsoil" or len(parts) < 2 or parts[1] in {here, "__version__"}:
            continue
        if parts[1] not in ALLOWED[here]:
            faults.append(f"{relative}:{line} imports tpsoil.{parts[1]}; {here} may import {sorted(ALLOWED[here])}")
    return faults


def dotted(path: Path) -> str:
    """The module's name; of a package's `__init__.py` the package's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["tpsoil", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def without_type_checking(tree: ast.Module) -> ast.Module:
    """A module without the imports under TYPE_CHECKING."""

    class Without(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> Any:
            if "TYPE_CHECKING" in {getattr(node.test, "id", ""), getattr(node.test, "attr", "")}:
                return node.orelse or None
            return self.generic_visit(node)

    return Without().visit(tree)  # type: ignore[no-any-return]


def import_circles(sources: Mapping[Path, str]) -> list[list[str]]:
    """Modules of one package that import each other, directly or through others, in functions too."""
    names = {dotted(path) for path in sources}
    dependencies: dict[str, set[str]] = {}
    for path, source in sources.items():
        here = dotted(path)
        targets = {
            name if name in names else name.rpartition(".")[0]
            for _, name in imports_of(path, without_type_checking(ast.parse(source)))
        }
        dependencies[here] = {one for one in targets & names if package_of_name(one) == package_of_name(here)} - {here}
    reachable: dict[str, set[str]] = {}
    for start in dependencies:
        targets, front = set[str](), [start]
        while front:
            for one in dependencies[front.pop()] - targets:
                targets.add(one)
                front.append(one)
        reachable[start] = targets
    circles = {
        tuple(sorted({one} | {o for o in reachable[one] if one in reachable[o]}))
        for one in dependencies
        if one in reachable[one]
    }
    return [list(circle) for circle in sorted(circles)]


def package_of_name(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_no_import_circle_within_a_package() -> None:
    assert import_circles({path: path.read_text() for path in modules()}) == []


@pytest.mark.parametrize(
    "line", ["from .execute import drive", "from . import execute", "import tpsoil.engine.execute"]
)
def test_a_circle_of_imports_is_detected_inside_functions_too(line: str) -> None:
    execute, cluster, pools = (ROOT / "engine" / f"{name}.py" for name in ("execute", "cluster", "pools"))
    sources = {
        execute: "def f():\n    from .pools import open_pool\n",
        pools: "from .cluster import open_cluster\n",
        cluster: f"def f():\n    {line}\n",
    }
    assert import_circles(sources) == [[f"tpsoil.engine.{name}" for name in ("cluster", "execute", "pools")]]
    assert import_circles(sources | {cluster: f"if TYPE_CHECKING:\n    {line}\n"}) == []
    assert import_circles(sources | {cluster: ""}) == []


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_follow_the_dependency_rules(path: Path) -> None:
    assert forbidden_imports(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("solum/thickness.py", "from ..forest import training"),
        ("kernels/surface.py", "from .. import errors"),
        ("covariates/terrain.py", "import dask.array as da"),
        ("reports/page.py", "from tpsoil.recipes import execute"),
        ("forest/compiled.py", "import tpsoil.solum.thickness"),
    ],
)
def test_a_forbidden_import_is_detected_inside_functions_too(module: str, line: str) -> None:
    assert forbidden_imports(ROOT / module, line)
    assert forbidden_imports(ROOT / module, f"def f():\n    if True:\n        {line}\n")


def test_no_module_with_an_unspecific_name() -> None:
    banned = {"utils", "helpers", "core", "misc", "common"}
    assert not [p for p in modules() if p.stem in banned or banned & set(p.relative_to(ROOT).parts)]


def test_modules_stay_small() -> None:
    assert [f"{p.relative_to(ROOT)}: {n}" for p in modules() if (n := len(p.read_text().splitlines())) > 400] == []
