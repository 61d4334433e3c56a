"""The second process of `tpsoil demo`: it compiles the forest's kernels while this one maps the solum, and draws.

It imports nothing heavy, so that the second process starts before this one loads its libraries, and compiles before it
loads those that draw.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

PROGRAM: Final = "import sys; from tpsoil.demo_process import draw_on_request; draw_on_request(sys.argv[1])"
Part = Literal["cube", "solum", "elements"]


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Import libraries and compile without looking for garbage; what exists at the end is not searched later either.

    A search visits every object of the libraries: 6 % of the processor time of a demo with compiled kernels.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def draw_on_request(folder: str) -> None:
    """Compile the forest's kernels, draw each part that a line on standard input names, and print the files' names.

    Parameters
    ----------
    folder : str
        As of `PictureProcess`.
    """
    atexit.register(gc.freeze)  # as for the first process, see `tpsoil.cli.entry`
    with without_collection():
        compile_forest()
        from tpsoil.demo_pictures import draw_parts
    draw_parts(Path(folder), sys.stdin)


def compile_forest() -> None:
    """Compile the kernels that train and apply the demo's forests, in the order in which the demo needs them.

    Notes
    -----
    Types are those of at most 65535 samples and of trees of at most 65535 nodes with leaves of several samples. They
    are stated, since a forest that is trained to compile them needs libraries whose import takes 3 s.
    """
    from tpsoil.kernels.compile import compile_ahead
    from tpsoil.kernels.growing import grow_trees
    from tpsoil.kernels.trees import apply_rows
    from tpsoil.kernels.trees_encode import encode_words, fill_buckets, order_pixels, rank_column
    from tpsoil.kernels.trees_quantiles import summed_quantiles
    from tpsoil.kernels.trees_responses import code_leaves, response_quantiles
    from tpsoil.kernels.trees_walk import mean_and_spread, walk_block

    codes, ranks, leaves, members = "uint16[:, ::1]", "uint16[::1]", "uint16[:, :, ::1]", "uint32[::1]"
    counts, floats, table = "int64[::1]", "float64[::1]", "float64[:, ::1]"
    features, words, children = "float32[::1]", "uint64[::1]", "int32[::1]"
    kernels: tuple[tuple[Callable[..., Any], Sequence[str]], ...] = (
        (grow_trees, (codes, codes, counts, table, codes, floats, floats, table, floats, words, "int32[:, ::1]", table,
                      "int64[:, ::1]")),
        (apply_rows, ("float32[:, ::1]", counts, children, children, children, features, "boolean[::1]")),
        (fill_buckets, (features, "float64", "float64", children)),
        (code_leaves, (members, members, members, "int64", words, ranks, counts)),
        (rank_column, (f"const {features}", members, features, "float64", "float64", children, codes, "int64")),
        (order_pixels, (codes, "uint64[:, ::1]", members, floats, counts)),
        (encode_words, (codes, "int64", "int64", "int64", counts, ranks, counts, ranks)),
        (walk_block, (ranks, "int64", "int64", words, ranks, counts, table, "int64", "float64[:, :, ::1]", leaves)),
        (mean_and_spread, ("int64", table, members, floats, floats)),
        (response_quantiles, (leaves, counts, words, ranks, counts, "int64", floats, floats, members, table, counts)),
        (summed_quantiles, (leaves, counts, members, members, members, floats, "boolean", floats, members, counts,
                            table)),
    )  # fmt: skip
    for kernel, types in kernels:
        compile_ahead(kernel, types)


class PictureProcess:
    """The second process, where it can be started.

    Parameters
    ----------
    folder : Path
        Of the demo; it may not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._pictures: tuple[Path, ...] | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(self.folder.absolute())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        return self

    def complete(self, part: Part) -> None:
        """A part of the demo is in its folder, and what needs it can be drawn."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(f"{part}\n")
                self._process.stdin.flush()

    def pictures(self) -> tuple[Path, ...]:
        """The pictures, when all are drawn; where the process could not start, or failed, they are drawn here."""
        if self._pictures is None:
            printed = ""
            if self._process is not None:
                printed, _ = self._process.communicate()
            if self._process is None or self._process.returncode != 0:
                from tpsoil.demo_pictures import draw

                self._pictures = tuple(path for part in ("solum", "elements") for path in draw(self.folder, part))
            else:
                self._pictures = tuple(self.folder / name for name in printed.splitlines())
        return self._pictures

    def picture(self, layer: str) -> Path | None:
        """The picture of a layer."""
        return next((path for path in self.pictures() if path.stem == layer), None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
