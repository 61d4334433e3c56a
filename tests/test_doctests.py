"""Every public function has an example, and every example gives its printed result."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "tpsoil").rglob("*.py"))
    if path.stem != "__main__"
]
PACKAGES = ("covariates", "cube", "ingest", "micronutrients", "recipes", "reports", "solum")
FOUNDATION = ("grid", "tiles", "blocks", "variables", "errors")


@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if ">>>" not in inspect.getsource(module := importlib.import_module(name)):
        return
    monkeypatch.chdir(tmp_path)  # whatever an example writes goes with the test
    results = doctest.testmod(module)
    assert results.failed == 0, f"{results.failed} of {results.attempted} examples of {name} failed; see the output"


def public(module: ModuleType) -> list[str]:
    names = getattr(module, "__all__", None)
    if names is None:
        names = [n for n, f in vars(module).items() if getattr(f, "__module__", "") == module.__name__ and n[0] != "_"]
    functions = {name: getattr(module, name) for name in names if inspect.isfunction(getattr(module, name))}
    return [name for name, function in functions.items() if function.__module__.startswith(module.__name__)]


@pytest.mark.parametrize("name", [*PACKAGES, *FOUNDATION])
def test_every_public_function_has_an_example(name: str) -> None:
    module = importlib.import_module(f"tpsoil.{name}")
    assert [one for one in public(module) if ">>>" not in (inspect.getdoc(getattr(module, one)) or "")] == []


@pytest.mark.parametrize("name", ["cube", "covariates", "solum", "micronutrients", "recipes", "reports"])
def test_public_signatures_are_exact(name: str) -> None:
    """Completion shows every option, and a type checker knows every result."""
    module = importlib.import_module(f"tpsoil.{name}")
    signatures = {one: inspect.signature(getattr(module, one)) for one in public(module)}
    assert [one for one, its in signatures.items() if its.return_annotation in ("Any", Any, its.empty)] == []
    assert [one for one, its in signatures.items() for p in its.parameters.values() if p.kind is p.VAR_KEYWORD] == []
