"""Local service discovery by multicast on the loopback interface."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

from geventbt import limits
from geventbt.discovery.local import GROUPS, LocalDiscovery, LocalSource
from tests.loopback.harness import eventually

HASH, OTHER_HASH = b"h" * 20, b"o" * 20


@pytest.fixture
def make() -> Iterator[Callable[[int], LocalDiscovery]]:
    """Makes discoveries that share a port of their own."""
    port = random.randrange(20000, 30000)
    made: list[LocalDiscovery] = []

    def one(peer_port: int) -> LocalDiscovery:
        try:
            made.append(LocalDiscovery(peer_port, interfaces=["lo"], port=port))
        except OSError as error:
            pytest.skip(f"no multicast on the loopback interface: {error}")
        return made[-1]

    yield one
    for discovery in made:
        discovery.close()


def source_of(discovery: LocalDiscovery, info_hash: bytes = HASH) -> tuple[LocalSource, list[Any]]:
    heard: list[Any] = []
    source = LocalSource(discovery, info_hash, lambda peers, by: heard.extend((peer, by) for peer in peers))
    source.start()
    return source, heard


def test_two_find_each_other(make: Callable[[int], LocalDiscovery]) -> None:
    listening, heard = source_of(make(1111))
    _, other = source_of(make(2222))
    eventually(lambda: heard)
    ports = {address[1] for address, _ in heard}
    assert ports == {2222}
    assert all(address[0] == by for address, by in heard)
    assert listening.status["lsd"].peers >= 1
    assert 2222 not in {address[1] for address, _ in other}, "nobody hears itself"


def test_only_the_torrents_in_common_count(make: Callable[[int], LocalDiscovery]) -> None:
    _, heard = source_of(make(1111))
    _, other = source_of(make(2222), OTHER_HASH)
    source_of(make(3333))
    source_of(make(4444), OTHER_HASH)
    eventually(lambda: heard and other)
    assert {address[1] for address, _ in heard} == {3333}
    assert {address[1] for address, _ in other} == {4444}


def test_at_most_one_announce_a_minute(make: Callable[[int], LocalDiscovery], monkeypatch: pytest.MonkeyPatch) -> None:
    _, heard = source_of(make(1111))
    _, other = source_of(make(3333), OTHER_HASH)
    discovery = make(2222)
    source_of(discovery)
    eventually(lambda: heard)
    late, _ = source_of(discovery, OTHER_HASH)
    gevent.sleep(0.05)
    assert late.status["lsd"].last_announce is None
    assert not other


def test_a_stopped_torrent_hears_nothing(make: Callable[[int], LocalDiscovery]) -> None:
    stopped, heard = source_of(make(1111))
    _, other = source_of(make(3333))
    stopped.stop(0)
    source_of(make(2222))
    eventually(lambda: 2222 in {address[1] for address, _ in other})
    assert 2222 not in {address[1] for address, _ in heard}


def test_garbage_and_floods_are_dropped(make: Callable[[int], LocalDiscovery], nothing_logged: None) -> None:
    discovery = make(1111)
    _, heard = source_of(discovery)
    rng = random.Random(1)
    for size in range(0, 1500, 7):
        discovery.receive(rng.randbytes(size), ("127.0.0.1", 5))
    packet = b"BT-SEARCH * HTTP/1.1\r\nPort: 7\r\nInfohash: " + HASH.hex().encode() + b"\r\n\r\n\r\n"
    for _ in range(10_000):
        discovery.receive(packet, ("127.0.0.1", 5))
    assert len(heard) < limits.LSD_BYTES_PER_SECOND // len(packet)


def test_without_an_interface_it_says_so() -> None:
    with pytest.raises(OSError, match="multicast"):
        LocalDiscovery(1, interfaces=[])


def test_the_groups_are_those_of_bep_14() -> None:
    assert GROUPS == ("239.192.152.143", "ff15::efc0:988f")
    assert gevent_socket.inet_aton(GROUPS[0])[0] >> 4 == 0xE
