"""Make the notebooks from `source/*.py`, run each in a clean kernel, and store it with its output.

    python notebooks/build.py [NAME ...]

In a source "# %%" starts a code cell and "# %% [markdown]" a text cell, as editors know them. Edit the source, never the
notebook. A test holds each stored notebook to its source and runs it again.
"""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parent


def sources() -> list[Path]:
    """The readable sources, in the order in which the notebooks are read."""
    return sorted((HERE / "source").glob("*.py"))


def cells_of(text: str) -> list[nbformat.NotebookNode]:
    """Cells of a source, with ids that do not change from build to build."""
    cells = []
    for part in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if "[markdown]" in head:
            lines = [line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines()]
            cell = nbformat.v4.new_markdown_cell("\n".join(lines))
        else:
            cell = nbformat.v4.new_code_cell(body.strip())
        cell["id"] = f"cell-{len(cells) + 1:02d}"
        cells.append(cell)
    return cells


def notebook_of(source: Path) -> nbformat.NotebookNode:
    """A source as a notebook that was not run."""
    notebook = nbformat.v4.new_notebook(cells=cells_of(source.read_text(encoding="utf-8")))
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return notebook


def execute(notebook: nbformat.NotebookNode, folder: Path, *, timeout: int = 240) -> float:
    """Run a notebook in a clean kernel in `folder`; seconds it took."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    started = time.perf_counter()
    client = NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, "PYTHONPATH": path})
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = merged_text(cell.outputs)
    return time.perf_counter() - started


def merged_text(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs with consecutive pieces of one stream as one: where a stream is cut depends on timing."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last is not None and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def slim(notebook: nbformat.NotebookNode) -> None:
    """Pictures in full colour without metadata, nothing that differs between two runs of the same code but numbers."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
            data = output.get("data", {})
            if "image/png" in data:
                image = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
                small = io.BytesIO()
                image.save(small, format="PNG", optimize=True)
                data["image/png"] = base64.b64encode(small.getvalue()).decode()
                data.pop("text/plain", None)


def main(names: list[str]) -> None:
    """Build the notebooks whose name starts with one of `names`; all without any."""
    for source in sources():
        if names and not any(source.stem.startswith(name) for name in names):
            continue
        notebook = notebook_of(source)
        with tempfile.TemporaryDirectory() as folder:
            seconds = execute(notebook, Path(folder))
        slim(notebook)
        target = HERE / f"{source.stem}.ipynb"
        nbformat.write(notebook, target)
        print(f"{target.name}: {seconds:.0f} s, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
