"""Many SCE-UA searches at once: zones, folds and starts, in threads, saved as they finish and resumed."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tpsoil.errors import AccessError, CheckpointError, InputError
from tpsoil.kernels import shuffle

from .space import SearchSpace

Doubles = npt.NDArray[np.float64]

REASONS: Final = {
    shuffle.EVALUATIONS: "evaluations spent",
    shuffle.CONVERGED: "no more improvement",
    shuffle.COLLAPSED: "population at a point",
}


@dataclass(frozen=True)
class Effort:
    """Settings of the search (Duan 1993; the defaults of the stopping rules are those of spotpy).

    Parameters
    ----------
    complexes : int
        p; population p (2n + 1).
    evaluations : int
        After which no further shuffle begins.
    still_loops, still_percent : int, float
        Stop when the best improved by less than this share over so many shuffles.
    least_range : float
        Stop when the population's normalised geometric range is below it.

    Raises
    ------
    InputError
        For values that are not positive.
    """

    complexes: int = 8
    evaluations: int = 20_000
    still_loops: int = 100
    still_percent: float = 1e-7
    least_range: float = 1e-7

    def __post_init__(self) -> None:
        for name in ("complexes", "evaluations", "still_loops", "still_percent", "least_range"):
            if not getattr(self, name) > 0:
                raise InputError(f"Effort: {name} is {getattr(self, name)!r}, expected more than 0")


@dataclass(frozen=True)
class Task:
    """One search: its profiles and its start.

    Parameters
    ----------
    zone : int
        -1 for all profiles together.
    scheme : str
        "all", "zones", "blocks" or a validation design: kind of the fold.
    fold : int
        Held-out fold; -1 for none.
    start : int
    """

    zone: int
    scheme: str
    fold: int
    start: int

    def seed(self, seed: int) -> np.random.SeedSequence:
        """Independent random stream of the task."""
        own = ("all", "zones", "blocks")
        scheme = own.index(self.scheme) if self.scheme in own else zlib.crc32(self.scheme.encode())
        return np.random.SeedSequence([seed, self.zone + 1, scheme, self.fold + 1, self.start])


@dataclass(frozen=True)
class SearchResult:
    """Result of a search: values on their natural scale, RMSE in m, evaluations, reason of the end, trace."""

    values: tuple[float, ...]
    rmse: float
    evaluations: int
    reason: str
    trace: tuple[tuple[float, float], ...]


def search(space: SearchSpace, sites: Doubles, seed: np.random.SeedSequence, effort: Effort) -> SearchResult:
    """One SCE-UA search.

    Parameters
    ----------
    space : SearchSpace
    sites : (n, 7) float64
        As in the kernel.
    seed : SeedSequence
    effort : Effort

    Returns
    -------
    SearchResult
    """
    low, high = space.search_box
    rules = (effort.complexes, effort.evaluations, effort.still_loops, effort.still_percent, effort.least_range)
    arguments: Any = (low, high, np.random.default_rng(seed), *rules, space.kernel_problem, np.ascontiguousarray(sites))
    best, rmse, spent, reason, history = shuffle.minimise(*arguments)
    improved = np.r_[True, np.diff(history[:, 1]) < 0]
    improved[-1] = True
    trace = tuple((float(at), float(score)) for at, score in history[improved])
    return SearchResult(tuple(map(float, space.values(best))), float(rmse), int(spent), REASONS[int(reason)], trace)


def search_all(
    space: SearchSpace,
    sites: Mapping[tuple[int, str, int], Doubles],
    starts: int,
    seed: int,
    effort: Effort,
    *,
    workers: int = 1,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Task, SearchResult]:
    """Search for every set of profiles from every start.

    Parameters
    ----------
    space : SearchSpace
    sites : mapping of (zone, scheme, fold) to (n, 7) float64
        The profiles of each calibration.
    starts : int
        Searches of each, with independent random streams.
    seed : int
    effort : Effort
    workers : int
        Threads; the kernels release the GIL. The result does not depend on it.
    checkpoint : path, optional
        A file with a line for each finished search. A search in the file is not run again.
    progress : callable, optional
        `progress(done, total)`, called from this thread.

    Returns
    -------
    dict
        In the order of `sites` and starts.

    Raises
    ------
    InputError
        For fewer than one start or worker.
    CheckpointError
        For a checkpoint of another calibration.
    AccessError
        For a checkpoint that cannot be written.
    """
    if starts < 1 or workers < 1:
        raise InputError(f"starts is {starts} and workers is {workers}, expected at least 1 each")
    tasks = [Task(*key, start) for key in sites for start in range(starts)]
    ledger = Ledger(checkpoint, _digest(space, sites, seed, effort)) if checkpoint is not None else None
    results: dict[Task, SearchResult] = dict(ledger.finished) if ledger else {}
    pending = [task for task in tasks if task not in results]
    done = len(tasks) - len(pending)
    with ThreadPoolExecutor(workers) as pool:
        running = {
            pool.submit(search, space, sites[(task.zone, task.scheme, task.fold)], task.seed(seed), effort): task
            for task in pending
        }
        try:
            for future in as_completed(running):
                results[running[future]] = future.result()
                done += 1
                if ledger:
                    ledger.write(running[future], results[running[future]])
                if progress:
                    progress(done, len(tasks))
        except BaseException:
            for future in running:
                future.cancel()
            raise
    return {task: results[task] for task in tasks}


def best_of(results: Mapping[Task, SearchResult], key: tuple[int, str, int]) -> SearchResult:
    """The best start of one calibration; the first of equals."""
    candidates = [result for task, result in results.items() if (task.zone, task.scheme, task.fold) == key]
    return min(candidates, key=lambda result: result.rmse)


class Ledger:
    """Finished searches in a file of JSON lines; the first line identifies the calibration."""

    def __init__(self, path: str | os.PathLike[str], digest: str) -> None:
        self.path, self.digest = Path(path), digest
        self.finished: dict[Task, SearchResult] = {}
        header = json.dumps({"calibration": digest})
        lines = self._lines()
        if lines and lines[0] != header:
            raise CheckpointError(
                f"checkpoint {self.path} belongs to another calibration (other profiles, bounds, seed or effort); "
                "name another file, or delete it to start again"
            )
        for line in lines[1:]:
            try:
                task, result = _decode(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue  # the line that was being written when the run was killed
            self.finished[task] = result
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Rewritten: appending to an incomplete last line would corrupt the next one too.
            rewritten = self.path.with_name(self.path.name + ".new")
            with rewritten.open("w") as handle:
                handle.write(header + "\n")
                handle.writelines(_encode(task, result) for task, result in self.finished.items())
            rewritten.replace(self.path)
        except OSError as error:
            raise AccessError(f"checkpoint {self.path} cannot be written: {error.strerror or error}") from error

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text().splitlines()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise AccessError(f"checkpoint {self.path} cannot be read: {error}") from error

    def write(self, task: Task, result: SearchResult) -> None:
        """Add one finished search."""
        with self.path.open("a") as handle:
            handle.write(_encode(task, result))


def _encode(task: Task, result: SearchResult) -> str:
    own = [task.zone, task.scheme, task.fold, task.start]
    return json.dumps({"task": own, "found": list(result.__dict__.values())}) + "\n"


def _decode(entry: Mapping[str, Any]) -> tuple[Task, SearchResult]:
    values, rmse, evaluations, reason, trace = entry["found"]
    pairs = tuple((float(at), float(best)) for at, best in trace)
    return Task(*entry["task"]), SearchResult(tuple(values), float(rmse), int(evaluations), str(reason), pairs)


def _digest(space: SearchSpace, sites: Mapping[tuple[int, str, int], Doubles], seed: int, effort: Effort) -> str:
    digest = hashlib.sha256(repr((space, seed, effort)).encode())
    for key, rows in sites.items():
        digest.update(repr(key).encode())
        digest.update(np.ascontiguousarray(rows, dtype=np.float64).tobytes())
    return digest.hexdigest()[:16]


def traces(results: Mapping[Task, SearchResult]) -> Iterable[dict[str, float]]:
    """Rows of the tidy table of best scores against evaluations: zone, start, evaluation, objective."""
    for task, result in results.items():
        if task.scheme == "all":
            for at, best in result.trace:
                yield {"zone": task.zone, "start": task.start, "evaluation": at, "objective": best}
