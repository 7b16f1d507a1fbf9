"""What is cut off is left to the system until the rest is there, with a loop and sockets that are under our control."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from geventbt.wire.transports.low_water import PATIENCE, LateReads, LowWater

BLOCK = 16 * 1024


class Loop:
    """A loop whose clock stands still between its timers."""

    def __init__(self) -> None:
        self.time = 1.0
        self.timers: list[tuple[float, Any]] = []

    def now(self) -> float:
        return self.time

    def timer(self, seconds: float) -> Timer:
        return Timer(self, seconds)

    def go_on(self, seconds: float) -> None:
        until = self.time + seconds
        while self.timers and min(self.timers)[0] <= until:
            due = min(self.timers)
            self.timers.remove(due)
            self.time = due[0]
            due[1]()
        self.time = until


class Timer:
    def __init__(self, loop: Loop, seconds: float) -> None:
        self._loop, self._due = loop, loop.time + seconds

    def start(self, function: Any) -> None:
        self._loop.timers.append((self._due, function))

    def close(self) -> None:
        """A timer is closed when it has fired."""


class Reader:
    """A socket that notes when it is readable, and what reads from it."""

    def __init__(self, loop: Loop, late: LateReads, family: int = socket.AF_INET) -> None:
        self.family = family
        self.mark = 1
        self.reads: list[tuple[float, int]] = []
        self.is_closed = False
        self._loop = loop
        self.low_water = LowWater(self, self.read, late)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        if self.is_closed:
            raise OSError
        self.mark = value

    def read(self) -> None:
        self.reads.append((self._loop.time, self.mark))


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geventbt.wire.transports.low_water._IS_LINUX", True)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def late(loop: Loop) -> LateReads:
    return LateReads(loop)


def test_the_rest_of_a_message_is_waited_for_and_nothing_beyond_it(loop, late):
    reader = Reader(loop, late)
    reader.low_water.wait_for(BLOCK)
    assert reader.mark == BLOCK
    reader.low_water.wait_for(BLOCK // 2)
    assert reader.mark == BLOCK // 2
    reader.low_water.wait_for(0)
    assert reader.mark == 1
    loop.go_on(10)
    assert not reader.reads


@pytest.mark.parametrize("missing", [0, 1, 1448])
def test_what_one_packet_may_bring_is_not_waited_for(loop, late, missing):
    reader = Reader(loop, late)
    reader.low_water.wait_for(missing)
    assert reader.mark == 1


def test_a_long_message_does_not_make_the_system_keep_all_of_it(loop, late):
    reader = Reader(loop, late)
    reader.low_water.wait_for(1 << 24)
    assert reader.mark <= 1 << 16


def test_a_socket_that_is_not_of_tcp_is_left_alone(loop, late):
    reader = Reader(loop, late, socket.AF_UNIX)
    reader.low_water.wait_for(BLOCK)
    assert reader.mark == 1


def test_a_socket_whose_peer_has_left_is_left_alone(loop, late):
    reader = Reader(loop, late)
    reader.is_closed = True
    reader.low_water.wait_for(BLOCK)
    reader.low_water.wait_for(BLOCK // 2)
    reader.low_water.clear()


def test_what_is_there_is_read_once_the_rest_is_late_whatever_it_is(loop, late):
    reader = Reader(loop, late)
    reader.low_water.wait_for(BLOCK)
    loop.go_on(10)
    ((time, mark),) = reader.reads
    assert time == pytest.approx(1 + PATIENCE)
    assert mark == 1


def test_a_read_begins_the_wait_anew(loop, late):
    reader = Reader(loop, late)
    for missing in (BLOCK, BLOCK // 2):
        reader.low_water.wait_for(missing)
        loop.go_on(0.8 * PATIENCE)
    assert not reader.reads
    loop.go_on(0.4 * PATIENCE)
    assert len(reader.reads) == 1


def test_each_socket_is_waited_for_as_long_with_one_timer(loop, late):
    readers = [Reader(loop, late) for _ in range(20)]
    for reader in readers:
        reader.low_water.wait_for(BLOCK)
        loop.go_on(PATIENCE / 25)
    readers[7].low_water.clear()
    assert len(loop.timers) == 1
    loop.go_on(10)
    for number, reader in enumerate(readers):
        assert [time for time, _ in reader.reads] == pytest.approx(
            [] if number == 7 else [1 + PATIENCE * (1 + number / 25)]
        )


def test_a_reader_that_waits_on_is_read_again(loop, late):
    reader = Reader(loop, late)
    reader.low_water.read = lambda: (reader.read(), reader.low_water.wait_for(BLOCK))
    reader.low_water.wait_for(BLOCK)
    loop.go_on(4.5 * PATIENCE)
    assert len(reader.reads) == 4
    assert len(loop.timers) == 1
