"""An emulated wide area network on one machine: namespaces as hosts, packets delayed, lost and limited by `wan.c`.

Needs root, gcc, iproute2 (`ip netns`) and /dev/net/tun. Nothing leaves the machine.

    with Wan(Host("seed", up=100, delay=25), Host("leech", down=50, delay=25, loss=0.1)) as wan:
        process = wan.popen("seed", ["geventbt", "seed", ...])       # subprocess.Popen's other arguments as well
        wan.address("seed")                                          # "10.77.0.2"

A packet costs the emulator about 5 us of one core: it is good for some 100 MB/s, so limit the rates below that. TCP is
the kernel's own, with the congestion control that the machine has, or another one that its kernel has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SOURCE = Path(__file__).resolve().with_name("wan.c")
_STATISTICS = re.compile(r"\S+?-(\S+): (\d+) packets, (\d+) bytes sent, (\d+) lost, (\d+) dropped")


@dataclass(frozen=True)
class Host:
    """A host of the network.

    Attributes:
        name: its name, at most 12 characters.
        up, down: the rate of its link in Mbit/s; 0 for no limit.
        delay, jitter: ms that a packet takes between the host and the middle of the network, one way.
        loss: percent of the packets that it sends.
        queue: KiB that wait in each direction of its link.
        nat: whether it gets only packets from where it has sent to before.
    """

    name: str
    up: float = 0.0
    down: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    queue: float = 1024.0
    nat: bool = False


@dataclass(frozen=True)
class Traffic:
    """What a host has sent: packets, their bytes, and how many were lost or dropped by a full queue."""

    packets: int
    bytes: int
    lost: int
    dropped: int


def missing_requirement() -> str | None:
    """What this machine lacks to run the emulator, or None."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "root is needed for network namespaces"
    for program in ("gcc", "ip", "sysctl"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    return None


def congestion_control() -> str:
    """The kernel's algorithm."""
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def congestion_controls() -> list[str]:
    """Those that the kernel has."""
    return Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()


class Wan:
    """The network; a context manager.

    Args:
        hosts: its hosts.
        seed: of the random numbers that losses and jitter are drawn from.
        congestion: the hosts' congestion control, of `congestion_controls`; None for the machine's.

    Attributes:
        traffic: of each host by its name, at the end.
    """

    def __init__(self, *hosts: Host, seed: int = 1, congestion: str | None = None) -> None:
        self.hosts = hosts
        self.traffic: dict[str, Traffic] = {}
        self._seed = seed
        self._congestion = congestion
        self._prefix = f"wan{os.getpid()}-"
        self._index = {host.name: number for number, host in enumerate(hosts, 1)}
        self._emulator: subprocess.Popen[str] | None = None

    def address(self, name: str) -> str:
        """The address of a host."""
        number = self._index[name]
        return f"10.77.{number // 250}.{number % 250 + 1}"

    def __enter__(self) -> Wan:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        specs = []
        for host in self.hosts:
            subprocess.run(["ip", "netns", "add", self._prefix + host.name], check=True)
            numbers = (host.up, host.down, host.delay, host.jitter, host.loss, host.queue)
            specs.append(",".join([self._prefix + host.name, self.address(host.name), *map(str, numbers)]))
            specs[-1] += ",nat" * host.nat
        environment = {**os.environ, "WAN_SEED": str(self._seed)}
        pipe = subprocess.PIPE
        self._emulator = subprocess.Popen([_build(), *specs], stdout=pipe, stderr=pipe, text=True, env=environment)
        assert self._emulator.stdout is not None
        if self._emulator.stdout.readline() != "ready\n":
            raise RuntimeError(f"the emulator did not start: {self._emulator.communicate()[1]}")
        for host in self.hosts:
            for command in (
                f"addr add {self.address(host.name)}/16 dev wan0",
                "link set wan0 up txqueuelen 5000",
                "link set lo up",
            ):
                subprocess.run(["ip", "-n", self._prefix + host.name, *command.split()], check=True)
            if self._congestion is not None:
                setting = f"net.ipv4.tcp_congestion_control={self._congestion}"
                if self.popen(host.name, ["sysctl", "-q", "-w", setting]).wait():
                    raise RuntimeError(f"cannot set {setting} on {host.name}")

    def popen(self, name: str, command: list[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command on a host."""
        return subprocess.Popen(["ip", "netns", "exec", self._prefix + name, *command], **options)

    def __exit__(self, *_: object) -> None:
        if self._emulator is not None:
            self._emulator.terminate()
            for match in _STATISTICS.finditer(self._emulator.communicate()[1]):
                self.traffic[match[1]] = Traffic(*map(int, match.groups()[1:]))
        for host in self.hosts:
            subprocess.run(["ip", "netns", "del", self._prefix + host.name], check=False)


def _build() -> str:
    """Compile the emulator, if there is no program of this very source: it is moved into place whole."""
    program = Path(tempfile.gettempdir()) / f"wan-{os.getuid()}-{_SOURCE.stat().st_mtime_ns}"
    if not program.exists():
        part = program.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-o", str(part), str(_SOURCE)], check=True)
        part.rename(program)
    return str(program)
