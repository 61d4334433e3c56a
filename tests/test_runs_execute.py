"""How tiles are handed out: once each, few at a time, several in a call where a call costs more than a tile."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import dask
import dask.array as da
import distributed
import pytest
from distributed.comm import CommClosedError

from tpsoil.engine import cluster, execute
from tpsoil.engine.execute import MAX_ITEMS_PER_CALL, MAX_TRIES, LostWorkerError, ThreadPool, drive
from tpsoil.engine.pools import open_pool
from tpsoil.errors import WorkError


class Workers:
    """Slots that finish one call at a time; their clock says that an item took `seconds`."""

    def __init__(self, slots: int, seconds: float, killer: Callable[[Any], bool] = lambda item: False) -> None:
        self.slots, self.seconds, self.killer = slots, seconds, killer
        self.processes = self.threads_each = 1
        self.ahead, self.call_seconds, self.lost_workers, self.where = 0, 0.5, False, "here"
        self.calls: list[tuple[Any, ...]] = []
        self.messages: list[int] = []
        self.most = 0
        self.reports: list[str] = []
        self.report = self.reports.append
        self.cancelled: list[Any] = []

    def submit(self, function: Callable[..., Any], shared: Any, groups: Sequence[Any]) -> list[int]:
        self.calls += [(function, shared, group) for group in groups]
        self.messages.append(len(groups))
        return list(range(len(self.calls) - len(groups), len(self.calls)))

    def finished(self, pending: Iterable[int], timeout: float) -> list[int]:
        self.most = max(self.most, len(list(pending)))
        return [min(pending)]

    def result(self, future: int) -> Any:
        function, shared, items = self.calls[future]
        if any(self.killer(item) for item in items):
            raise LostWorkerError("worker 7")
        results, _ = function(shared, items)
        return results, self.seconds * len(items)

    def cancel(self, pending: Iterable[int]) -> None:
        self.cancelled = list(pending)

    @property
    def sizes(self) -> list[int]:
        return [len(call[2]) for call in self.calls]


def computed_in() -> str:
    """The thread in which a lazy array is computed from here."""
    return str(da.from_delayed(dask.delayed(lambda: threading.current_thread().name)(), (), dtype=object).compute())


def test_tiles_leave_no_setting_of_dask_behind_and_compute_in_their_own_thread() -> None:
    """The first thread that begins ends first, which left its settings behind where each thread set and restored."""
    second_is_in, first_is_out = threading.Event(), threading.Event()
    threads: list[str] = []

    def compute(_shared: None, item: int) -> tuple[str, str]:
        if item == 0:
            assert second_is_in.wait(10)
            return threading.current_thread().name, computed_in()
        second_is_in.set()
        assert first_is_out.wait(10)
        return threading.current_thread().name, computed_in()

    def done(result: tuple[str, str]) -> None:
        threads.extend(result)
        first_is_out.set()

    for settings in ({}, {"scheduler": "threads"}):
        for event in (second_is_in, first_is_out):
            event.clear()
        with dask.config.set(settings):
            before = dask.config.get("scheduler", None)
            with open_pool("threads", 2) as pool:
                drive(pool, compute, None, [0, 1], done)
                assert not computed_in().startswith("tpsoil")
            assert dask.config.get("scheduler", None) == before
    assert all(name.startswith("tpsoil") for name in threads)
    assert threads[0::2] == threads[1::2]
    assert len(threads) == 8


class Client:
    """A dask client as far as a pool asks it for its workers."""

    def __init__(self) -> None:
        self.workers = {"tcp://one": 2}
        self.scheduler = SimpleNamespace(address="tcp://head")

    def nthreads(self) -> dict[str, int]:
        return dict(self.workers)


def test_workers_that_join_or_go_away_change_the_slots_and_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cluster, "QUERY_SECONDS", 0.0)
    client = Client()
    pool = cluster.ClusterPool(client)
    with caplog.at_level("INFO", logger="tpsoil.engine"):
        assert (pool.slots, pool.lost_workers, caplog.text) == (2, False, "")
        client.workers["tcp://two"] = 4
        assert (pool.slots, pool.lost_workers) == (6, False)
        assert "worker tcp://two joined" in caplog.text
        del client.workers["tcp://one"]
        assert (pool.slots, pool.lost_workers) == (4, True)
        assert "worker tcp://one was lost; the others compute its tiles" in caplog.text


class Future:
    """A call whose connection breaks `breaks` times before its result arrives."""

    status = "pending"

    def __init__(self, breaks: int) -> None:
        self.breaks, self.released = breaks, False

    def result(self, timeout: float) -> str:
        if self.breaks:
            self.breaks -= 1
            raise CommClosedError("connection reset")
        return "value"

    def release(self) -> None:
        self.released = True


def test_a_connection_that_breaks_at_a_single_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for again while there is a scheduler; without one the run ends and states so."""
    monkeypatch.setattr(cluster, "RETRY_SECONDS", 0.0)
    client: Any = Client()
    client.status = "running"
    pool = cluster.ClusterPool(client)
    broken = Future(2)
    assert pool.result(broken) == "value"
    assert broken.released
    client.status = "connecting"
    broken = Future(1)
    with pytest.raises(WorkError, match=r"tcp://head was lost; stored tiles remain valid: run again") as caught:
        pool.result(broken)
    assert broken.released
    assert caught.value.exit_status == 1
    broken = Future(1)
    broken.status = "error"
    with pytest.raises(CommClosedError):
        pool.result(broken)


def double(shared: int, item: int) -> int:
    return shared * item


def test_every_item_is_done_once_and_short_ones_go_out_together() -> None:
    pool, results = Workers(2, 0.01), []
    drive(pool, double, 2, range(5_000), results.append)
    assert sorted(results) == [2 * item for item in range(5_000)]
    assert max(pool.sizes) == 50  # half a second of items of a hundredth
    assert len(pool.calls) < 200
    assert pool.sizes[0] == pool.sizes[-1] == 1  # before it is known how long they take, and so that all end together
    assert pool.most == 4


def test_a_call_is_bounded_however_short_its_items() -> None:
    pool, results = Workers(1, 0.0), []
    drive(pool, double, 2, range(2_000), results.append)
    assert max(pool.sizes) == MAX_ITEMS_PER_CALL
    assert len(results) == 2_000


def test_long_items_go_out_one_by_one() -> None:
    pool = Workers(2, 3.0)
    drive(pool, double, 2, range(30), lambda result: None)
    assert set(pool.sizes) == {1}


def test_threads_get_single_items() -> None:
    pool, results = ThreadPool(2), []
    try:
        drive(pool, double, 2, range(40), results.append)
    finally:
        pool.close()
    assert sorted(results) == [2 * item for item in range(40)]


def test_memory_holds_calls_back() -> None:
    pool = Workers(8, 3.0)
    drive(pool, double, 2, range(30), lambda result: None, at_once=3)
    assert pool.most == 3


def test_of_a_lost_call_the_item_at_fault_is_found_and_the_others_are_done() -> None:
    results: list[int] = []
    pool = Workers(2, 0.01, killer=lambda item: item == 333)
    text = f"^Slope: tile 333: its worker was lost {MAX_TRIES} times.*worker 7.*more memory"
    with pytest.raises(WorkError, match=text):
        drive(pool, double, 1, range(1_000), results.append, title="Slope")
    losses = Counter(pool.reports)
    assert losses.pop("Slope: the worker of tile 333 was lost; submitting the tile again") == MAX_TRIES - 1
    assert losses  # it was one of several at first
    assert set(losses.values()) == {1}

    pool, results = Workers(2, 0.01), []
    strikes = iter([True])
    pool.killer = lambda item: item == 333 and next(strikes, False)
    drive(pool, double, 1, range(1_000), results.append)
    assert sorted(results) == list(range(1_000))


def test_an_error_of_an_item_stops_the_rest() -> None:
    def stumble(_shared: int, item: int) -> int:
        if item == 5:
            raise WorkError("stumbled")
        return item

    pool, results = Workers(1, 3.0), []
    with pytest.raises(WorkError, match="stumbled"):
        drive(pool, stumble, 0, range(100), results.append)
    assert results == list(range(5))
    assert len(pool.calls) <= 5 + execute.IN_FLIGHT


def test_calls_go_out_several_in_a_message_and_no_slot_is_idle() -> None:
    pool, results = Workers(64, 3.0), []
    idle: list[int] = []
    finished = pool.finished

    def watched(pending: Iterable[int], timeout: float) -> list[int]:
        if len(results) < 800:
            idle.append(max(0, pool.slots - len(list(pending))))
        return finished(pending, timeout)

    pool.finished = watched  # type: ignore[method-assign]
    drive(pool, double, 2, range(1_000), results.append)
    assert sorted(results) == [2 * item for item in range(1_000)]
    assert pool.messages[0] == pool.most == 128
    assert set(pool.messages[1:-1]) == {16}
    assert max(idle) == 0
    assert set(pool.sizes) == {1}


class Shared:
    """What every call needs; counts how often it is pickled."""

    def __init__(self) -> None:
        self.factor, self.pickled = 2, 0

    def __reduce__(self) -> tuple[Any, ...]:
        self.pickled += 1
        return (Factor, (self.factor,))


class Factor:
    def __init__(self, factor: int) -> None:
        self.factor = factor


def multiply(shared: Factor, item: int) -> int:
    return shared.factor * item


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("answers", [True, False])
def test_many_calls_are_a_few_messages_and_queries_of_results(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler gives the results of many calls at once; where it does not, each is asked for."""
    count = 300
    monkeypatch.setattr(cluster.ClusterPool, "call_seconds", 0.0)  # one item in a call
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=8, processes=False, dashboard_address="127.0.0.1:0", protocol="inproc"
        ) as local,
        distributed.Client(local) as client,
    ):
        queries: list[int] = []
        gather = client.gather

        def counted(futures: list[Any]) -> Any:
            queries.append(len(futures))
            if not answers:
                raise OSError("in the middle")
            return gather(futures)

        monkeypatch.setattr(client, "gather", counted)
        pool, shared, results = cluster.ClusterPool(client), Shared(), []
        submit, messages = pool.submit, []

        def recorded(function: Any, shared: Any, groups: Any) -> list[Any]:
            messages.append(len(groups))
            return submit(function, shared, groups)

        monkeypatch.setattr(pool, "submit", recorded)
        drive(pool, multiply, shared, range(count), results.append)
    assert sorted(results) == [2 * item for item in range(count)]
    assert shared.pickled == 1
    assert sum(messages) == count
    assert len(messages) <= count / 4 + 1
    assert sum(queries) <= count
    assert max(queries) > 1
