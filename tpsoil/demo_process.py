"""The second process of `tpsoil demo`: it compiles the forest's kernels while this one maps the solum, and draws.

It imports nothing heavy, so that the second process starts before this one loads its libraries.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

PROGRAM: Final = "import sys; from tpsoil.demo_pictures import draw_on_request; draw_on_request(sys.argv[1])"
Part = Literal["cube", "solum", "elements"]


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
