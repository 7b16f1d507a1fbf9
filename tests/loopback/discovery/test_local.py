"""Local service discovery by multicast on the loopback interface."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

import geventbt
from geventbt import limits
from geventbt.discovery.local import GROUPS, LocalDiscovery, LocalSource
from geventbt.net.addresses import Ports
from geventbt.net.udp_socket import UdpSocket
from tests.loopback.harness import eventually, remains

HASH, OTHER_HASH = b"h" * 20, b"o" * 20


@pytest.fixture
def port() -> int:
    """The port of the groups."""
    return random.randrange(20000, 30000)


@pytest.fixture
def make(port: int) -> Iterator[Callable[[int], LocalDiscovery]]:
    """Makes discoveries that share a port of their own."""
    made: list[LocalDiscovery] = []

    def one(peer_port: int) -> LocalDiscovery:
        try:
            made.append(LocalDiscovery(Ports(peer_port, peer_port), interfaces=["lo"], port=port))
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
    assert 2222 not in {address[1] for address, _ in other}, "no client hears itself"


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


@pytest.mark.skipif(sys.platform == "win32", reason="sockets cannot be bound to a group there")
def test_only_what_is_sent_to_the_group_counts(make: Callable[[int], LocalDiscovery], port: int) -> None:
    _, heard = source_of(make(1111))
    sock = gevent_socket.socket(type=gevent_socket.SOCK_DGRAM)
    packet = b"BT-SEARCH * HTTP/1.1\r\nPort: 7\r\nInfohash: " + HASH.hex().encode() + b"\r\n\r\n\r\n"
    sock.sendto(packet, ("127.0.0.1", port))
    sock.close()
    source_of(make(3333))
    eventually(lambda: heard)
    assert {address[1] for address, _ in heard} == {3333}


def test_a_torrent_that_needs_peers_is_announced_earlier(
    make: Callable[[int], LocalDiscovery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LSD_MIN_INTERVAL", 0.05)
    announced, _ = source_of(make(1111))
    _, heard = source_of(make(2222))
    eventually(lambda: announced.status["lsd"].last_announce)
    first = announced.status["lsd"].last_announce
    remains(lambda: announced.status["lsd"].last_announce == first)
    announced.need_more()
    eventually(lambda: announced.status["lsd"].last_announce != first)
    eventually(lambda: len(heard) == 2)


def test_a_download_waits_a_moment_for_the_first_peers(
    make: Callable[[int], LocalDiscovery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LSD_PATIENCE", 0.1)
    source, _ = source_of(make(1111))
    assert source.can_find_more
    eventually(lambda: not source.can_find_more)


def test_two_clients_find_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEVENTBT_LSD_INTERFACES", "lo")
    (tmp_path / "data").write_bytes(b"found in the local network")
    torrent = geventbt.create_torrent(tmp_path / "data")
    with geventbt.seed(torrent, tmp_path, dht=False), geventbt.Client(dht=False) as client:
        job = client.add(torrent, tmp_path / "out", fail_without_peers=True)
        if "lsd" not in job.sources:
            pytest.skip("no multicast on the loopback interface")
        assert job.wait(10)
        assert (tmp_path / "out" / "data").read_bytes() == b"found in the local network"


def test_a_client_that_only_this_machine_can_reach_is_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEVENTBT_LSD_INTERFACES", "lo")
    with geventbt.Client(host="127.0.0.1", dht=False) as client:
        job = client.add(geventbt.Magnet(info_hash=HASH))
        assert "lsd" not in job.sources


@pytest.mark.parametrize(("host", "groups"), [("", {4, 6}), ("127.0.0.1", {4}), ("::1", {6})])
def test_the_families_are_those_that_the_client_listens_on(
    host: str, groups: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: set[int] = set()
    monkeypatch.setattr(UdpSocket, "send", lambda self, data, to: sent.add(6 if ":" in to[0] else 4))
    discovery = LocalDiscovery(Ports(1111, 1111), host, interfaces=["lo"], port=random.randrange(20000, 30000))
    source_of(discovery)
    eventually(lambda: sent)
    discovery.close()
    assert sent <= groups


def test_without_an_interface_it_says_so() -> None:
    with pytest.raises(OSError, match="multicast"):
        LocalDiscovery(Ports(1, 1), interfaces=[])


def test_the_groups_are_those_of_bep_14() -> None:
    assert GROUPS == ("239.192.152.143", "ff15::efc0:988f")
    assert gevent_socket.inet_aton(GROUPS[0])[0] >> 4 == 0xE


@pytest.mark.parametrize(
    ("ports", "are_ipv6"), [(Ports(1, None), [False]), (Ports(None, 1), [True]), (Ports(1, 1), [False, True])]
)
def test_a_family_that_is_not_listened_on_is_not_announced_over(monkeypatch, ports, are_ipv6):
    opened: list[bool] = []

    class Noted(UdpSocket):
        def __init__(self, address: tuple[str, int], *arguments: Any, **options: Any) -> None:
            opened.append(":" in address[0])
            super().__init__(address, *arguments, **options)

    monkeypatch.setattr("geventbt.discovery.local.UdpSocket", Noted)
    LocalDiscovery(ports, interfaces=["lo"], port=random.randrange(20000, 30000)).close()
    assert opened == are_ipv6
