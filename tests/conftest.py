"""Shared by all tests: the real inputs, and the switch for full-size proofs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the slow proofs at full size")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A proof at full size may take two hours."""
    if config.getoption("--full"):
        for item in items:
            item.add_marker(pytest.mark.timeout(7200), append=False)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether slow proofs run at full size."""
    return bool(request.config.getoption("--full"))


def absent(need: str, reason: str) -> None:
    """Skip a test whose need is not met; fail it where `TPSOIL_REQUIRE` names that need, as CI does."""
    if need in os.environ.get("TPSOIL_REQUIRE", "").split():
        pytest.fail(f"{reason} (TPSOIL_REQUIRE names '{need}')")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real inputs; the test is skipped, with the reason, where they are absent."""
    folder = Path(os.environ.get("TPSOIL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "tibet").is_dir():
        absent("data", f"real inputs are not at {folder}; set TPSOIL_DATA")
    return folder


@dataclass(frozen=True)
class Outcome:
    """What one command line left behind."""

    status: int
    out: str
    err: str


@pytest.fixture
def tpsoil_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `tpsoil ARGUMENTS` in this process and returns its status, standard output and standard error."""
    from tpsoil.cli import main

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), said.out, said.err)

    return run
