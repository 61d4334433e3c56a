"""Which files a reader opens to follow a recipe through the code, and how many lines of code each package has.

    python benchmarks/walk.py                     # the walk of the working tree
    python benchmarks/walk.py --commit 90b691d    # the walk of a commit, measured alike
    python benchmarks/walk.py --lines 90b691d     # lines of code by package: that commit and the working tree

**The walk.** One recipe (terrain, solum thickness by the published parameters, one forest; a cube of 32 x 32 cells in
one chunk) runs on one thread under `sys.setprofile`, without machine code, so that kernels are visible. From the call
of `tpsoil.run` until the first chunk of a map exists in the output (the recipe is parsed, its stages are built and
planned, a tile is read, computed and written), each file of `tpsoil/` in which a function is called is a file of the
walk: listed once, at its first call, with the function called first. What the same recipe enters after that, for
training, tables and the remaining stages, is listed below a line. All modules are imported before, so that what an
import runs does not count; the run is the first of its process, so that no cache hides a file.

**Returns upward.** A call from file A to file B is upward where B depends on A by its imports (directly or through
other files, names that a package re-exports counted as imports of the file that defines them): the reader has come
down from B, or from its neighbours, and must go back. In a circle of imports the file opened first is the upper one.
Each pair of files counts once; items of a generator expression are no calls. Calls through a library (a validator, a
pool) count as calls of the file that called the library.

**Lines of code** are lines that have a token other than a comment or docstring. Modules added since the commit are
counted apart: they are new capability, or parts split from a module of then; git decides which one was renamed.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOUNDATION = "tpsoil/*.py"


# ---- lines


def code_lines(source: str) -> int:
    """Lines with code: without blank lines, comments and docstrings."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    ignored = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in ignored:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def files_of(tree: Path) -> dict[str, int]:
    """Code lines of every module below `tpsoil/`."""
    return {
        path.relative_to(tree).as_posix(): code_lines(path.read_text(encoding="utf-8"))
        for path in sorted((tree / "tpsoil").rglob("*.py"))
    }


def package_of(name: str) -> str:
    """`tpsoil/forest`, or `tpsoil/*.py` for the modules beside the packages."""
    parts = name.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else FOUNDATION


def added_files(commit: str) -> set[str]:
    """Modules of the working tree that the commit has neither under their name nor, by git, under another."""
    command = ["git", "diff", "--find-renames=20%", "--diff-filter=A", "--name-only", commit, "--", "tpsoil"]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


def print_lines(before: dict[str, int], after: dict[str, int], commit: str) -> None:
    """A table: package, lines before, lines after in modules that the commit has too, and in modules added since."""
    added = added_files(commit)
    counts = {"before": Counter[str](), "kept": Counter[str](), "added": Counter[str]()}
    for name, count in before.items():
        counts["before"][package_of(name)] += count
    for name, count in after.items():
        counts["added" if name in added else "kept"][package_of(name)] += count
    print(f"| package | {commit} | now, modules of then | now, modules added | now |\n|---|---:|---:|---:|---:|")
    for package in [*sorted(counts["before"] | counts["kept"] | counts["added"]), "all"]:
        old, kept, new = (sum(one.values()) if package == "all" else one[package] for one in counts.values())
        print(f"| {package} | {old} | {kept} | {new} | {kept + new} |")


# ---- walk


def imports_of_files(tree: Path) -> dict[str, set[str]]:
    """Files that each file imports, names resolved to the files that define them."""
    paths = {path.relative_to(tree).as_posix(): path for path in (tree / "tpsoil").rglob("*.py")}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}
    exported = {name: dict(_imported_names(name, trees[name])) for name in trees if name.endswith("__init__.py")}

    def defining(dotted: str, name: str, depth: int = 0) -> str | None:
        base = dotted.replace(".", "/")
        if f"{base}/{name}.py" in paths:
            return f"{base}/{name}.py"
        if f"{base}.py" in paths:
            return f"{base}.py"
        package = f"{base}/__init__.py"
        if package not in paths:
            return None
        if depth < 5 and name in exported[package]:
            return defining(exported[package][name], name, depth + 1)
        return package

    return {
        name: {file for imported, dotted in _imported_names(name, tree) if (file := defining(dotted, imported))}
        - {name}
        for name, tree in trees.items()
    }


def _imported_names(name: str, tree: ast.Module) -> list[tuple[str, str]]:
    """(name, dotted module) of every import from the package, those under TYPE_CHECKING left out."""
    package = name.split("/")[:-1]
    names = []
    typed = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for child in block.body
        for node in ast.walk(child)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typed:
            base = package[: len(package) - node.level + 1] if node.level else []
            dotted = ".".join([*base, *([node.module] if node.module else [])])
            if dotted.split(".")[0] == "tpsoil":
                names += [(alias.name, dotted) for alias in node.names]
    return names


def reachable(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Files that each file depends on, directly or through others."""
    everything = {}
    for start in imports:
        seen, front = set[str](), [start]
        while front:
            for one in imports[front.pop()] - seen:
                seen.add(one)
                front.append(one)
        everything[start] = seen
    return everything


def trace(tree: Path) -> dict[str, Any]:
    """Run the recipe in this process; files in order of first call and the calls between files."""
    import importlib
    import pkgutil
    import threading

    import tpsoil

    for module in pkgutil.walk_packages(tpsoil.__path__, "tpsoil."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    prefix = str(tree / "tpsoil") + os.sep
    order: dict[str, str] = {}
    calls: dict[tuple[str, str], str] = {}
    written: list[tuple[int, int]] = []  # files and calls until the first chunk exists

    def relative(code: Any) -> str | None:
        name = code.co_filename
        return name[len(str(tree)) + 1 :].replace(os.sep, "/") if name.startswith(prefix) else None

    def profile(frame: Any, event: str, _arg: Any) -> None:
        if event not in {"call", "return"}:
            return
        here = relative(frame.f_code)
        if here is None or frame.f_code.co_name.startswith("<module"):
            return
        if event == "return":
            if not written and any(os.path.exists(chunk) for chunk in chunks):
                written.append((len(order), len(calls)))
            return
        if frame.f_code.co_name == "<genexpr>":  # runs in whoever consumes it, which is no call
            return
        order.setdefault(here, frame.f_code.co_qualname)
        caller = frame.f_back
        while caller is not None and (upper := relative(caller.f_code)) is None:
            caller = caller.f_back
        if caller is not None and upper != here:
            calls.setdefault((upper, here), f"{caller.f_code.co_qualname} -> {frame.f_code.co_qualname}")

    with tempfile.TemporaryDirectory() as folder:
        recipe = small_recipe(Path(folder))
        chunks = [f"{recipe['run']['output']}/{layer}/c/0/0" for layer in recipe["derive"]["terrain"]]
        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            tpsoil.run(recipe, workers=1, scheduler="threads", progress=False)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    return {
        "written": written[0],
        "order": list(order.items()),
        "calls": [[*pair, names] for pair, names in calls.items()],
    }


def small_recipe(folder: Path, *, side: int = 32, chunk: int = 32, samples: int = 40) -> dict[str, Any]:
    """A cube, samples, and a recipe that derives, maps thickness and maps one element."""
    import numpy as np
    import pandas as pd
    import xarray as xr
    from pyproj import Transformer

    from tpsoil.cube import add_layer, create_cube
    from tpsoil.grid import coordinates, plateau_grid

    grid = plateau_grid(1000)[600 : 600 + side, 1200 : 1200 + side]
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(np.arange(side) / side, np.arange(side) / side, indexing="ij")
    elevation = 4200 + 900 * np.sin(5 * x + 1) * np.cos(3 * y) + 300 * x + rng.normal(0, 20, (side, side))
    layers = {
        "elevation": elevation,
        "mean_annual_temperature": 18 - 0.0055 * elevation + 3 * y,
        "annual_precipitation": 300 + 600 * y,
        "ndvi": np.clip(0.2 + 0.6 * y, 0, 1),
        "water_erosion": 1 + 4 * x,
        "wind_erosion": 10 - 8 * y,
        "climate_zone": np.where(y > 0.5, 4, 5).astype("uint8"),
        "soil_mask": (rng.random((side, side)) > 0.1).astype("uint8"),
    }
    store = str(folder / "cube.zarr")
    create_cube(store, grid, chunks=chunk)
    for name, values in layers.items():
        typed = values if values.dtype == "uint8" else values.astype("float32")
        add_layer(store, name, xr.DataArray(typed, dims=("y", "x"), coords=coordinates(grid)))
    row, column = rng.uniform(1, side - 1, (2, samples))
    east, north = grid.transform * (column, row)
    longitude, latitude = Transformer.from_crs(grid.crs.proj, "EPSG:4326", always_xy=True).transform(east, north)
    iron = 20000 + 8000 * np.sin(6 * column / side)
    table = folder / "samples.csv"
    pd.DataFrame({"longitude": longitude, "latitude": latitude, "Fe": iron}).to_csv(table, index=False)
    return {
        "run": {"name": "walk", "output": str(folder / "maps.zarr"), "cube": store},
        "derive": {"terrain": ["slope", "general_curvature"]},
        "solum": {"parameters": "published", "zones": "published"},
        "elements": {
            "samples": str(table),
            "elements": ["Fe"],
            "features": ["elevation", "slope", "annual_precipitation", "climate_zone"],
            "trees": 10,
            "folds": ["random"],
        },
    }


@dataclass(frozen=True)
class Walk:
    """Files (name, function called first) in order, how many until the first chunk, and upward calls."""

    order: list[tuple[str, str]]
    until_written: int
    upward: list[tuple[bool, str, str, str]]

    def print(self) -> None:
        """The call list."""
        for number, (name, first) in enumerate(self.order, start=1):
            print(f"{number:3d} {name:45s} {first}")
            if number == self.until_written:
                print("    ---- the first chunk of a map is written")
        for early, caller, called, names in self.upward:
            print(f"  upward{'' if early else ', later'}: {caller} -> {called}: {names}")
        packages = Counter(package_of(name) for name, _ in self.order[: self.until_written])
        print("files by package:", ", ".join(f"{package} {count}" for package, count in sorted(packages.items())))
        early = sum(early for early, *_ in self.upward)
        print(f"until the first chunk: {self.until_written} files, {early} returns upward")
        print(f"the complete run: {len(self.order)} files, {len(self.upward)} returns upward")


def walk(tree: Path) -> Walk:
    """Run the recipe in a process of its own; the files it enters in order, and the calls that go upward."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--trace", str(tree)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    result = json.loads(done.stdout.splitlines()[-1])
    order = [(name, first) for name, first in result["order"]]
    position = {name: number for number, (name, _) in enumerate(order)}
    below = reachable(imports_of_files(tree))
    files, calls = result["written"]

    def is_upward(caller: str, called: str) -> bool:
        return caller in below[called] and (called not in below[caller] or position[called] < position[caller])

    upward = [(number < calls, *one) for number, one in enumerate(result["calls"]) if is_upward(*one[:2])]
    return Walk(order, files, upward)


def tree_of(commit: str | None, folder: str) -> Path:
    """The working tree, or a commit's package in a folder."""
    if commit is None:
        return ROOT
    packed = subprocess.run(["git", "archive", commit, "tpsoil"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commit", help="measure this commit, not the working tree")
    parser.add_argument("--lines", metavar="COMMIT", help="lines of code of this commit and of the working tree")
    parser.add_argument("--trace", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trace:
        print(json.dumps(trace(Path(options.trace))))
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.lines:
            print_lines(files_of(tree_of(options.lines, folder)), files_of(ROOT), options.lines)
            return
        result = walk(tree_of(options.commit, folder))
    result.print()


if __name__ == "__main__":
    main()
