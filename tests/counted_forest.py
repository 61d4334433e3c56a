"""A forest that writes a line to a file each time it is pickled or loaded, in whatever process."""

from __future__ import annotations

import os
from typing import Any

from tpsoil.forest import CompiledForest

COUNTER = "TPSOIL_TEST_PICKLES"


class CountedForest(CompiledForest):
    """Counts in the file that the environment names."""

    def __getstate__(self) -> Any:
        count("pickled")
        return super().__getstate__()

    def __setstate__(self, state: Any) -> None:
        count("loaded")
        super().__setstate__(state)


def count(what: str) -> None:
    with open(os.environ[COUNTER], "a") as stream:
        stream.write(f"{what} in {os.getpid()}\n")
