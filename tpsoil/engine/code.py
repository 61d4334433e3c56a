"""Which code and which packages decide a stage's results: the modules that its functions reach, by their imports.

The digest of a module is of its syntax tree without docstrings, so that a comment or a line break makes no tile stale.
Imports inside functions count; a name that a package's `__init__` only re-exports leads to the module that defines it,
and to no other of that package.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import tpsoil
from tpsoil.errors import InputError
from tpsoil.kernels.cache import own_folder
from tpsoil.stage import Stage

from .packages import versions_of

ROOT: Final = Path(tpsoil.__file__).parent
NAME: Final = tpsoil.__name__
DIGITS: Final = 16
EVERY_TILE: Final = (f"{NAME}.stage", f"{NAME}.grid", f"{NAME}.cube.reading", f"{NAME}.cube.regions")
"""Modules that compute every tile of any stage: they read its window and write its chunks."""
INDIFFERENT: Final = frozenset(
    {
        "cloudpickle", "dask", "distributed", "fsspec", "google_crc32c", "joblib", "matplotlib", "numcodecs", "psutil",
        "pydantic", "rich", "threadpoolctl", "tqdm", "typer", "typing_extensions", "xxhash", "zarr",
    }
)  # fmt: skip
"""Packages that carry, check or show results and do not decide a value."""


def _states() -> dict[str, tuple[int, int]]:
    states = {}
    for path in ROOT.rglob("*.py"):
        state = path.stat()
        states[_module_of(path)] = (state.st_mtime_ns, state.st_size)
    return states


def _module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([NAME, *(parts[:-1] if parts[-1] == "__init__" else parts)])


_AT_IMPORT: Final = _states()
"""State of every source file when this process started: code that was edited since is not the code that runs."""


@dataclass(frozen=True)
class Code:
    """What decides the results of some functions.

    Parameters
    ----------
    modules : mapping of str to str
        Digest of each module of tpsoil that they reach.
    packages : mapping of str to str
        Version of each other package that decides values, with the libraries below it (GDAL, PROJ, GEOS).
    """

    modules: Mapping[str, str]
    packages: Mapping[str, str]


def entries_of(stage: Stage) -> tuple[str, ...]:
    """Modules of the functions that a stage consists of, and of the objects among its options: these have methods."""
    functions = (
        stage.compute, stage.together, stage.prepare, stage.load, stage.tally, stage.summary, stage.describe,
    )  # fmt: skip
    homes = {_home(function) for function in functions if function is not None}
    classes = {type(value).__module__ for value in stage.options.values()}
    return tuple(sorted(homes | {home for home in classes if home.split(".")[0] == NAME}))


def report_entries(stage: Stage) -> tuple[str, ...]:
    """Modules of what a stage reports beside its maps; none where it reports nothing."""
    return () if stage.report is None else (_home(stage.report),)


@cache
def code_of(entries: tuple[str, ...]) -> Code:
    """The code that functions of some modules reach.

    Parameters
    ----------
    entries : tuple of str
        Dotted names of modules; of tpsoil, or of a stage defined elsewhere.

    Returns
    -------
    Code

    Raises
    ------
    InputError
        Where a source file was edited since this process imported it.
    """
    reached: dict[str, _Module] = {}
    pending = [*entries, *EVERY_TILE]
    while pending:
        name = pending.pop()
        if name not in reached:
            reached[name] = module = _module(name)
            pending += sorted(module.inner - reached.keys())
    _save_facts()
    packages: dict[str, str] = {}
    for name in sorted({outer for module in reached.values() for outer in module.outer} - INDIFFERENT):
        packages |= versions_of(name)
    return Code({name: reached[name].digest for name in sorted(reached)}, dict(sorted(packages.items())))


@cache
def source_digest() -> str:
    """Digest of the source bytes of all of tpsoil, to compare installations."""
    digest = hashlib.sha256()
    for path in sorted(ROOT.rglob("*.py")):
        name = _module_of(path)
        _require_unedited(name, path)
        digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:DIGITS]


@dataclass(frozen=True)
class _Module:
    """One module: its digest, the modules of tpsoil that it imports, and the other packages."""

    digest: str
    inner: frozenset[str]
    outer: frozenset[str]


@cache
def _module(name: str) -> _Module:
    path = _path(name)
    if path is None:  # without a file: a function defined in a notebook
        return _Module("?", frozenset(), frozenset())
    if name.split(".")[0] == NAME:
        _require_unedited(name, path)
    facts = _facts(path, _package_of(name, path))
    inner: set[str] = set()
    outer: set[str] = set()
    for target, names in facts.imports:
        if target.split(".")[0] != NAME:
            outer.add(target.split(".")[0])
        elif names is None:
            inner |= {target} if _path(target) and target != NAME else set()
        else:
            inner |= {where for one in names for where in _definition(target, one)}
    return _Module(facts.digest, frozenset(inner - {name}), frozenset(outer - set(sys.stdlib_module_names)))


@dataclass(frozen=True)
class _Facts:
    """What a source file contains: the digest of its tree, and (module, names taken from it or None) of each import."""

    digest: str
    imports: tuple[tuple[str, tuple[str, ...] | None], ...]


@cache
def _facts(path: Path, package: str) -> _Facts:
    """Facts of a file, from the user's cache where its bytes are there: parsing all modules takes 2 s."""
    data = path.read_bytes()
    key = hashlib.sha256(data + b"\0" + package.encode()).hexdigest()[: 2 * DIGITS]
    stored = _stored_facts()
    if key not in stored:
        tree = ast.parse(data, str(path))
        imports = [[target, names] for target, names in _imports(tree, package, path.name == "__init__.py")]
        stored[key] = [hashlib.sha256(_shape(tree).encode()).hexdigest()[:DIGITS], imports]
        _new_facts.append(key)
    digest, imports = stored[key]
    return _Facts(str(digest), tuple((target, None if names is None else tuple(names)) for target, names in imports))


_new_facts: Final[list[str]] = []


def _facts_file() -> Path | None:
    """In a folder of the user's own, for one Python, one list of modules and one way of reading them."""
    folder = own_folder("sources")
    if folder is None:
        return None
    listing = "\n".join([sys.version, Path(__file__).read_text(encoding="utf-8"), *sorted(_AT_IMPORT)])
    return folder / f"modules-{hashlib.sha256(listing.encode()).hexdigest()[:DIGITS]}.json"


@cache
def _stored_facts() -> dict[str, Any]:
    path = _facts_file()
    try:
        content = json.loads(path.read_bytes()) if path is not None else {}
    except (OSError, ValueError):
        content = {}
    return dict(content) if isinstance(content, dict) else {}


def _save_facts() -> None:
    """Store what was read for the next process; a folder that cannot be written is not an error."""
    path = _facts_file() if _new_facts else None
    if path is None:
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        partial.write_text(json.dumps(_stored_facts()), encoding="utf-8")
        partial.replace(path)
    _new_facts.clear()


def _package_of(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def _shape(tree: ast.Module) -> str:
    """The tree as text, without docstrings and positions, the same for every version of Python."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    every: dict[str, Any] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    text = ast.dump(tree, **every)
    return text.replace(", type_params=[]", "")


def _imports(tree: ast.Module, package: str, exports: bool) -> Iterator[tuple[str, list[str] | None]]:
    """(module, names taken from it or None for the module itself) of every import but those for type checkers.

    With `exports` those too: a package that imports its public names when they are first used lists them there.
    """
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and not exports and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield ".".join([*above, *([node.module] if node.module else [])]), [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from ((name, None) for name in _imported_by_text(node))


def _imported_by_text(call: ast.Call) -> Iterator[str]:
    """Modules that a computed name may mean: all of the package that its constant beginning names."""
    argument = call.args[0] if call.args else None
    if isinstance(argument, ast.Constant):
        yield str(argument.value)
        return
    first = argument.values[0] if isinstance(argument, ast.JoinedStr) and argument.values else None
    beginning = str(first.value) if isinstance(first, ast.Constant) else f"{NAME}."
    yield from (name for name in _AT_IMPORT if name.startswith(beginning))


def _definition(module: str, name: str) -> set[str]:
    """Modules where a name that is imported from a module is defined."""
    path = _path(module)
    if _path(f"{module}.{name}") is not None:
        return {f"{module}.{name}"}
    if path is None or path.name != "__init__.py":
        return {module} if path else set()
    definitions: set[str] = set()
    for target, names in _facts(path, module).imports:
        if names is not None and target.split(".")[0] == NAME and name in names:
            definitions |= _definition(target, name)
    return definitions or ({module} if module != NAME else set())


def _path(name: str) -> Path | None:
    if name.split(".")[0] == NAME:
        return _own_paths().get(name)
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if file and file.endswith(".py") else None


@cache
def _own_paths() -> Mapping[str, Path]:
    """File of every module of this package, from one walk through its folders."""
    paths: dict[str, Path] = {}
    for folder, _, files in os.walk(ROOT):
        package = ".".join((NAME, *Path(folder).relative_to(ROOT).parts))
        for file in files:
            if file == "__init__.py":
                paths[package] = Path(folder, file)
            elif file.endswith(".py"):
                paths.setdefault(f"{package}.{file.removesuffix('.py')}", Path(folder, file))
    return paths


def _require_unedited(name: str, path: Path) -> None:
    state = path.stat()
    if _AT_IMPORT.get(name) != (state.st_mtime_ns, state.st_size):
        raise InputError(
            f"{path} was edited after this process imported tpsoil, so the code that runs is not the code on disk; "
            "start Python (or the notebook's kernel, or the worker) again"
        )


def _home(function: Callable[..., Any]) -> str:
    """The module of a function, of what a partial calls, or of a method's class."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__module__", None) or type(function).__module__)
