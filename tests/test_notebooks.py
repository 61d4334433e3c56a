"""The notebooks: stored with output, true to their sources, and running from a clean kernel."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed; pip install 'tpsoil[test]'")

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = ["01_datacube", "02_covariates", "03_solum", "04_micronutrients", "05_rerun_and_scale", "06_open_data"]
TAKEN: dict[str, float] = {}


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_notebooks", FOLDER / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = builder()


def stored(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_there_are_six() -> None:
    assert [path.stem for path in sorted(FOLDER.glob("*.ipynb"))] == NAMES
    assert [path.stem for path in BUILD.sources()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_stored_notebooks_are_their_sources_with_output(name: str) -> None:
    notebook = stored(name)
    nbformat.validate(notebook)
    fresh = BUILD.notebook_of(FOLDER / "source" / f"{name}.py")
    assert [(c.cell_type, c.source) for c in notebook.cells] == [(c.cell_type, c.source) for c in fresh.cells], (
        f"run: python notebooks/build.py {name}"
    )
    assert all(cell.get("execution_count") for cell in notebook.cells if cell.cell_type == "code")
    assert not [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert len(text) < 2_000_000  # pictures in full colour
    assert not [root for root in ("/tmp/", "/home/", "/root/", "/work/", "C:\\\\") if root in text]


@pytest.mark.parametrize("name", NAMES)
def test_stored_pictures_show_something(name: str) -> None:
    from PIL import Image

    pictures = [o.data["image/png"] for o in outputs(stored(name)) if "image/png" in o.get("data", {})]
    assert len(pictures) >= 2
    for text in pictures:
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"), dtype=float)
        assert min(image.shape) > 150
        assert image.std() > 10


@pytest.mark.parametrize("name", NAMES)
def test_no_number_is_rounded_to_nothing_and_the_end_is_a_picture(name: str) -> None:
    texts = [str(o.get("text", "")) + str(o.get("data", {}).get("text/plain", "")) for o in outputs(stored(name))]
    assert not [text for text in texts if re.search(r"(?<![\d.])-?0\.0000+(?!\d)", text)]
    last = [cell for cell in stored(name).cells if cell.cell_type == "code"][-1]
    assert any("image/png" in o.get("data", {}) for o in last.outputs)


def test_a_newcomer_has_a_map_within_ten_cells() -> None:
    first = stored("01_datacube").cells[:10]
    code = "\n".join(cell.source for cell in first if cell.cell_type == "code")
    assert all(step in code for step in ("to_raster", "create_cube", "add_layer", "open_cube", "map_layer"))
    assert any("image/png" in o.get("data", {}) for cell in first for o in cell.get("outputs", []))


def test_what_rests_on_simulated_samples_says_so() -> None:
    for name in ("03_solum", "04_micronutrients", "05_rerun_and_scale", "06_open_data"):
        opening = stored(name).cells[0].source.lower()
        assert "simulated" in opening


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_a_clean_kernel(name: str, tmp_path: Path, full: bool) -> None:
    notebook = BUILD.notebook_of(FOLDER / "source" / f"{name}.py")
    TAKEN[name] = BUILD.execute(notebook, tmp_path)
    assert not [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]
    kinds = [sorted(o.get("data", {"text": 0})) for o in outputs(notebook)]
    before = [sorted({**o.get("data", {"text": 0}), **({"text/plain": 0} if "image/png" in o.get("data", {}) else {})})
              for cell in stored(name).cells for o in BUILD.merged_text(cell.get("outputs", []))]  # fmt: skip
    assert kinds == before


def test_together_they_take_less_than_five_minutes() -> None:
    if set(TAKEN) != set(NAMES):
        pytest.skip("not all notebooks ran in this process")
    assert sum(TAKEN.values()) < 300, TAKEN
