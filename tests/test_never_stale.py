"""After any edit a run makes again what depends on it, and the store is what a run from scratch gives, byte for byte.

Edits of bytes, attributes, side files, options, URLs, code and packages, in random order from a seed: in one process
that keeps its readers, across processes, and on a cluster whose workers live on. `--full` makes 200 of them, each
compared with a run from scratch; otherwise every third one and the last are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_run
import web
from edited_world import NewProcess, World, new_processes, tiles_computed

from tpsoil.engine.code import ROOT, code_of, entries_of
from tpsoil.recipes import result_tables, run, status
from tpsoil.recipes.jobs import job_of

TILES = 4
EDITS = {False: 4, True: 67}
"""In each of three places, one kind after another; `--full` makes 201 edits."""
PLACES = ("one process", "processes", "cluster")
CODE_EDITS = {False: 2, True: 20}

pytestmark = [
    # dask's own: tornado and asyncio leave these when a cluster of this process ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # Of a raster whose place is in its world file, while that is written.
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


@pytest.fixture(scope="module")
def new_process() -> Iterator[NewProcess]:
    with new_processes() as one:
        yield one


def descendants(recipe: dict[str, Any], output: Path, edited: set[str]) -> dict[str, str]:
    """Titles of the stages that may change by an edit, by name: the edited ones and all that read from them."""
    reached: dict[str, str] = {}
    layers: set[str] = set()
    for stage in job_of(recipe, output=str(output)).stages:
        if stage.name in edited or layers & set(stage.inputs):
            reached[stage.name] = stage.title
            layers |= {variable.name for variable in stage.outputs}
    return reached


def differing(store: Path, other: Path) -> list[str]:
    """Files that differ between two stores."""
    a, b = small_run.files_of(store), small_run.files_of(other)
    return sorted(name for name in {*a, *b} if a.get(name) != b.get(name))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("where", PLACES)
def test_edits_of_every_kind(where: str, tmp_path: Path, new_process: NewProcess, full: bool) -> None:
    seed = 20
    rng = np.random.default_rng(seed)
    maps, scratch, log = tmp_path / "maps.zarr", tmp_path / "scratch.zarr", tmp_path / "maps.log"
    with web.serving(tmp_path) as address, _runner(where, new_process) as go:
        world = World(tmp_path, address, seed)
        go(world.recipe, maps)
        edits = world.edits()
        # The same order in every place; each begins where the one before it would end.
        names = [str(name) for _ in range(20) for name in rng.permutation(list(edits))]
        first = EDITS[full] * PLACES.index(where)
        for step, name in enumerate(names[first : first + EDITS[full]], start=1):
            edited = edits[name]()
            start = log.stat().st_size
            go(world.recipe, maps)
            computed = tiles_computed(log, start)
            allowed = descendants(world.recipe, maps, edited)
            shown = f"edit {step}, {name}: {computed}"
            assert all(computed.get(allowed[stage]) == TILES for stage in edited), shown
            assert set(computed) <= set(allowed.values()), shown
            if full or step % 2 == 0:
                shutil.rmtree(scratch, ignore_errors=True)
                new_process.run(world.recipe, scratch)
                assert differing(maps, scratch) == [], shown


class _runner:
    """How the edited world is run: each gives a function of recipe and output."""

    def __init__(self, where: str, new_process: NewProcess) -> None:
        self.where, self.new_process = where, new_process
        self.cluster: Any = None

    def __enter__(self) -> Any:
        if self.where == "processes":
            return self.new_process.run
        if self.where == "one process":
            return lambda recipe, output: run(recipe, output=str(output), workers=2, progress=False)
        import distributed

        self.cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", memory_limit=0
        )
        address = self.cluster.scheduler_address
        return lambda recipe, output: run(recipe, output=str(output), scheduler=address, workers=2, progress=False)

    def __exit__(self, *_error: object) -> None:
        if self.cluster is not None:
            self.cluster.close()


SCRIPT = """
import json, sys
from tpsoil.recipes import run
run(json.loads(open(sys.argv[1]).read()), output=sys.argv[2], workers=2, progress=False)
"""


def run_tree(tree: Path, recipe: dict[str, Any], output: Path) -> None:
    """Run a recipe by a copied source tree, in a process of its own."""
    order = tree / "recipe.json"
    order.write_text(json.dumps(recipe))
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(order), str(output)],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        check=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_edits_of_code_and_packages(tmp_path: Path, full: bool) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree / "tpsoil", ignore=shutil.ignore_patterns("__pycache__"))
    recipe = small_run.make_small(tmp_path, chunk=64)
    stages = job_of(recipe).stages
    modules = {stage.title: set(code_of(entries_of(stage)).modules) for stage in stages}
    packages = {stage.title: set(code_of(entries_of(stage)).packages) for stage in stages}
    rng = np.random.default_rng(7)
    chosen = ["tpsoil.solum.parameters", "tpsoil.covariates.terrain"]
    chosen += [str(name) for name in rng.permutation(sorted(set().union(*modules.values())))]
    maps, scratch, log = tmp_path / "maps.zarr", tmp_path / "scratch.zarr", tmp_path / "maps.log"
    run_tree(tree, recipe, maps)
    for step, name in enumerate([*chosen[: CODE_EDITS[full]], "scikit-learn"]):
        start = log.stat().st_size
        if name == "scikit-learn":
            folder = tree / "scikit_learn-99.0.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: scikit-learn\nVersion: 99.0\n")
            expected = {title for title, used in packages.items() if name in used}
        else:
            path = tree.joinpath(*name.split("."))
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            path.write_text(path.read_text() + f"\nEDITED_{step} = {step}\n")
            expected = {title for title, reached in modules.items() if name in reached}
        run_tree(tree, recipe, maps)
        assert set(tiles_computed(log, start)) == expected, name
        if full or name == "scikit-learn":
            shutil.rmtree(scratch, ignore_errors=True)
            run_tree(tree, recipe, scratch)
            assert differing(maps, scratch) == [], name
    packages_of = json.loads(json.loads((maps / "zarr.json").read_text())["attributes"]["packages"])
    assert packages_of["element_Fe"]["scikit-learn"] == "99.0"
    assert "scikit-learn" not in packages_of["terrain"]


def test_a_table_is_of_the_maps_or_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the last tile of a stage and its table, no old table stays to be printed."""
    from tpsoil.engine import session

    recipe = small_run.make_small(tmp_path, chunk=64)
    del recipe["elements"]
    store = recipe["run"]["output"]
    run(recipe, workers=2, progress=False)
    title = "Solum thickness by zone"
    before = result_tables(store)[title]
    recipe["solum"]["dust_input"] = 5e-5

    class Killed(BaseException):
        pass

    def kill(work: Any, *_arguments: Any) -> None:
        if work.stage.summary is not None:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(session, "_summarise", kill)
        with pytest.raises(Killed):
            run(recipe, workers=2, progress=False)
    assert title not in result_tables(store)
    run(recipe, workers=2, progress=False)
    after = result_tables(store)[title]
    assert not after.equals(before)
    shutil.rmtree(store)
    run(recipe, workers=2, progress=False)
    assert result_tables(store)[title].equals(after)


def test_layers_that_the_recipe_no_longer_makes_are_removed_and_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No record describes any more what they were computed from, so they cannot be called complete."""
    recipe = small_run.make_small(tmp_path, chunk=64)
    run(recipe, workers=2, progress=False)
    store = Path(recipe["run"]["output"])
    del recipe["elements"]
    run(recipe, workers=2, progress=True)
    assert "layers that the recipe does not compute any more were removed: iron, iron_sd" in capfd.readouterr().err
    assert not (store / "iron").exists()
    assert all(not item.plan.to_compute for item in status(str(store)))
