"""What is said to systemd, and what it passes on."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from geventbt.net.systemd import notify, notify_reloading, passed_sockets, watchdog_interval


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(tmp_path / "notify"))
    made.settimeout(5)
    return made


def test_the_manager_is_told(manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname()}
    assert notify("READY=1", "STATUS=all is well", environment=environment)
    assert manager.recv(1000) == b"READY=1\nSTATUS=all is well"
    assert notify_reloading(environment)
    assert manager.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    manager.close()


def test_the_manager_may_have_an_abstract_name() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0geventbt-test-{os.getpid()}")
        manager.settimeout(5)
        assert notify("READY=1", environment={"NOTIFY_SOCKET": f"@geventbt-test-{os.getpid()}"})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(name: str) -> None:
    assert not notify("READY=1", environment={"NOTIFY_SOCKET": name})


def test_the_watchdog_is_for_its_process() -> None:
    assert watchdog_interval({"WATCHDOG_USEC": "2000000"}) == 2
    assert watchdog_interval({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}) == 2
    assert watchdog_interval({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_interval({"WATCHDOG_USEC": "x"}) is None
    assert watchdog_interval({}) is None


def test_sockets_for_another_process_are_left_alone() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    assert passed_sockets(environment) == []
    assert environment == {}
