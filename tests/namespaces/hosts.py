"""Two hosts as network namespaces of Linux, joined by two cables; and every packet that the first one sends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
NEAR, FAR = f"gbt-near-{os.getpid()}", f"gbt-far-{os.getpid()}"
CABLES = (("cable0", "10.99.0"), ("cable1", "10.98.0"))
"""The devices, of the same name on both hosts, and the networks: the near host is .1, and the far one .2 and .3."""
PROXY, OTHER = "10.99.0.2", "10.99.0.3"

_SNIFFER = """
import socket
sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
print("ready", flush=True)
while True:
    data, (device, protocol, kind, _, _) = sock.recvfrom(65536)
    if kind != 4:
        continue
    # Without what the system says by itself: IGMP, and the discovery of neighbours.
    if protocol == 0x0800 and data[9] != 2:
        print(device, *map(socket.inet_ntoa, (data[12:16], data[16:20])), flush=True)
    elif protocol == 0x86DD and data[6] not in (0, 58):
        print(device, *(socket.inet_ntop(socket.AF_INET6, data[at : at + 16]) for at in (8, 24)), flush=True)
"""


class Packet(NamedTuple):
    """A packet that left: by which device, from where and to where."""

    device: str
    source: str
    destination: str


def command(host: str, *arguments: object) -> list[str]:
    """The command that runs another one on a host."""
    return ["ip", "netns", "exec", host, *map(str, arguments)]


def start(host: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Run a program on a host, in the background."""
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen(command(host, *arguments), text=True, cwd=ROOT, **options)


def run_near(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the near host, with nothing switched off that the tests switch off elsewhere.

    Args:
        arguments: of Python.
        variables: more of the environment.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GEVENTBT_")}
    return subprocess.run(
        command(NEAR, sys.executable, *arguments),
        text=True,
        cwd=ROOT,
        env=kept | variables,
        capture_output=True,
        timeout=60,
    )


@contextmanager
def two_hosts() -> Iterator[None]:
    """Make both hosts. The near one has its gateway at the far one, by either cable."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("needs root, and iproute2")
    try:
        _ip("netns", "add", NEAR)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"there are no network namespaces here: {error.stderr}")
    try:
        _ip("netns", "add", FAR)
        for host in (NEAR, FAR):
            _ip("-n", host, "link", "set", "lo", "up")
        for number, (device, network) in enumerate(CABLES):
            _ip("link", "add", device, "netns", NEAR, "type", "veth", "peer", "name", device, "netns", FAR)
            for host, last in ((NEAR, 1), (FAR, 2)):
                _ip("-n", host, "addr", "add", f"{network}.{last}/24", "dev", device)
                _ip("-n", host, "addr", "add", f"fd99:{number}::{last}/64", "dev", device, "nodad")
                _ip("-n", host, "link", "set", device, "up")
            metric = str(100 + number)
            _ip("-n", NEAR, "route", "add", "default", "via", f"{network}.2", "dev", device, "metric", metric)
            _ip("-n", NEAR, "route", "add", "default", "via", f"fd99:{number}::2", "dev", device, "metric", metric)
        _ip("-n", FAR, "addr", "add", f"{OTHER}/24", "dev", CABLES[0][0])
        yield
    finally:
        for host in (NEAR, FAR):
            subprocess.run(["ip", "netns", "del", host], capture_output=True)


@contextmanager
def sniffed(packets: list[Packet]) -> Iterator[None]:
    """Note each packet that leaves the near host meanwhile."""
    sniffer = start(NEAR, sys.executable, "-c", _SNIFFER)
    assert sniffer.stdout is not None
    try:
        assert sniffer.stdout.readline() == "ready\n"
        yield
    finally:
        sniffer.terminate()
        packets += [Packet(*line.split()) for line in sniffer.stdout.read().splitlines()]
        sniffer.wait()
        sniffer.stdout.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
