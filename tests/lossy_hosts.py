"""Hosts of a network that delays and loses packets: network namespaces of this machine.

Linux's own `tc netem` is a module that many kernels lack. Here each host has a TUN device, whose packets a thread of
this process passes on to the other hosts, later or not at all; TCP of the kernel does the rest.
"""

from __future__ import annotations

import heapq
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
NETWORK = "10.77.0"

# The first process of a host: it makes the device, passes it on, and lives as long as its standard input is open.
HOST = """
import fcntl, os, socket, struct, subprocess, sys
device = os.open("/dev/net/tun", os.O_RDWR)
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"lossy", IFF_TUN | IFF_NO_PI))
for command in ("link set lo up", f"addr add {sys.argv[1]}/24 dev lossy", "link set lossy mtu 1400 up"):
    subprocess.run(["ip", *command.split()], check=True)
socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b"device"], [device])
os.close(device)
sys.stdin.read()
"""


class UnsupportedError(Exception):
    """This machine does not permit namespaces or TUN devices."""


class LossyNetwork:
    """Hosts 10.77.0.1, 10.77.0.2, ... and the packets between them.

    Parameters
    ----------
    hosts : int
    delay_seconds : float
        Of every packet; a round trip takes twice as long.
    loss : float
        Share of packets that do not arrive.

    Raises
    ------
    UnsupportedError
        Where a host cannot be created, with the reason.
    """

    def __init__(self, hosts: int, *, delay_seconds: float, loss: float) -> None:
        self.addresses = [f"{NETWORK}.{number + 1}" for number in range(hosts)]
        self.delay_seconds, self.loss = delay_seconds, loss
        self.carried = self.lost = 0
        self.cut_off: set[str] = set()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._devices: dict[bytes, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="lossy network", daemon=True)
        try:
            for address in self.addresses:
                self._start(address)
        except BaseException:
            self.close()
            raise
        self._thread.start()

    def _start(self, address: str) -> None:
        here, there = socket.socketpair()
        with here, there:
            command = ["unshare", "--map-root-user", "--net", sys.executable, "-c", HOST, address, str(there.fileno())]
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[there.fileno()]
                )
            except FileNotFoundError as error:
                raise UnsupportedError(str(error)) from error
            self._processes[address] = process
            there.close()
            message, devices, _, _ = socket.recv_fds(here, 16, 1)
        if not message:
            assert process.stderr is not None
            process.wait(30)
            raise UnsupportedError(process.stderr.read().decode().strip().splitlines()[-1])
        self._devices[socket.inet_aton(address)] = devices[0]

    def within(self, address: str) -> list[str]:
        """The command that starts another one on a host."""
        target = str(self._processes[address].pid)
        return ["nsenter", "--target", target, "--user", "--net", "--preserve-credentials"]

    def _carry(self) -> None:
        dice = random.Random(7)
        due: list[tuple[float, int, bytes]] = []
        while not self._ended.is_set():
            wait = min(0.1, max(0.0, due[0][0] - time.monotonic())) if due else 0.1
            for device in select.select([*self._devices.values()], [], [], wait)[0]:
                packet = os.read(device, 1 << 16)
                if packet[0] >> 4 == 4 and packet[16:20] in self._devices:
                    if dice.random() < self.loss or self._is_cut_off(packet):
                        self.lost += 1
                    else:
                        self.carried += 1
                        heapq.heappush(due, (time.monotonic() + self.delay_seconds, self.carried, packet))
            while due and due[0][0] <= time.monotonic():
                packet = heapq.heappop(due)[2]
                os.write(self._devices[packet[16:20]], packet)

    def _is_cut_off(self, packet: bytes) -> bool:
        return not self.cut_off.isdisjoint(socket.inet_ntoa(part) for part in (packet[12:16], packet[16:20]))

    def close(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(30)
        for process in self._processes.values():
            process.communicate(timeout=30)
        for device in self._devices.values():
            os.close(device)

    def __enter__(self) -> LossyNetwork:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
