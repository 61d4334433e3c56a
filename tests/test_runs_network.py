"""Runs over a network that delays and loses packets, and one that loses a host: the bytes of a run on threads."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_run
from conftest import absent
from loopback import Cluster
from lossy_hosts import LossyNetwork, UnsupportedError

HERE = Path(__file__).parent
CHUNK = 32
SILENCE = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s"}
"""How long dask waits for a host that does not reply; less is an error of dask."""

pytestmark = [
    pytest.mark.slow,
    # dask's own: tornado and asyncio leave these when a cluster of this process ends.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, full: bool) -> small_run.Complete:
    """Cube, samples, recipe.toml (terrain, thickness and, with --full, a forest), and the files of a run on threads."""
    without = () if full else ("elements",)
    return small_run.complete_run(tmp_path_factory.mktemp("network"), chunk=CHUNK, without=without)


@pytest.fixture
def place(case: small_run.Complete) -> Iterator[Path]:
    """The case's folder without maps."""
    yield case[0]
    small_run.remove_maps(case[0])


@pytest.fixture(scope="module")
def network(full: bool) -> Iterator[LossyNetwork]:
    """A host of the run and the scheduler, and one or with --full three of workers.

    A packet takes 20 ms, and one in fifty is lost.
    """
    try:
        hosts = LossyNetwork(4 if full else 2, delay_seconds=0.02, loss=0.02)
    except UnsupportedError as error:
        absent("namespaces", f"hosts need network namespaces and TUN devices: {error}")
    with hosts:
        yield hosts


@contextlib.contextmanager
def cluster_on(network: LossyNetwork, folder: Path, *, tls: bool, **environment: str) -> Iterator[Cluster]:
    first, *others = network.addresses
    one = Cluster(folder, tls=tls, host=first, within=network.within(first), **environment)
    try:
        for address in others:
            one.worker(within=network.within(address))
        yield one
    finally:
        one.close()


def command_on(network: LossyNetwork, cluster: Cluster, place: Path) -> subprocess.Popen[str]:
    """`tpsoil run` on the first host."""
    return subprocess.Popen(
        [*network.within(network.addresses[0]), sys.executable, "-m", "tpsoil", "run", str(place / "recipe.toml"),
         "--scheduler", cluster.address, "--workers", str(len(network.addresses) - 1), "--no-maps"],
        env={**cluster.environment, **cluster.settings_environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_delayed_and_lost_packets(
    protocol: str, network: LossyNetwork, case: small_run.Complete, place: Path, tmp_path: Path, full: bool
) -> None:
    """Only with certificates by default; without them too with --full."""
    if protocol == "tcp" and not full:
        pytest.skip("over TLS by default; over plain TCP too with --full")
    carried, lost = network.carried, network.lost
    with cluster_on(network, tmp_path, tls=protocol == "tls") as cluster:
        assert cluster.address.startswith(f"{protocol}://10.77.0.1:")
        process = command_on(network, cluster, place)
        printed, _ = process.communicate(timeout=500)
    assert process.returncode == 0, printed
    assert small_run.files_of(place / "maps.zarr") == case[1]
    assert network.carried > carried + 100
    assert network.lost > lost
    assert f"workers of {cluster.address}" in (place / "maps.log").read_text()


@pytest.mark.timeout(600)
def test_a_host_that_the_network_loses(
    network: LossyNetwork, case: small_run.Complete, place: Path, tmp_path: Path, full: bool
) -> None:
    """One of three hosts of workers is cut off for longer than dask waits, and its worker then connects again."""
    if not full:
        pytest.skip("takes half a minute of waiting: with --full")
    manifest = place / "maps.zarr" / "_tpsoil" / "manifest"
    with cluster_on(network, tmp_path, tls=True, **SILENCE) as cluster:
        process = command_on(network, cluster, place)
        printed: list[str] = []
        reader = threading.Thread(target=lambda: printed.append(process.communicate(timeout=500)[0]))
        reader.start()
        while process.poll() is None and not any(path.is_file() for path in manifest.rglob("*")):
            time.sleep(0.01)
        network.cut_off.add(network.addresses[-1])
        reader.join()
    network.cut_off.clear()
    assert process.returncode == 0, printed
    assert small_run.files_of(place / "maps.zarr") == case[1]
    log = (place / "maps.log").read_text()
    assert re.search(rf"WARNING worker tls://{network.addresses[-1]}:\d+ was lost; the others compute its tiles", log)
