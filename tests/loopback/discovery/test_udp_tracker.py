"""Announcing over UDP to trackers that answer, lose packets, lie, or are not there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import gevent
import pytest

from geventbt import limits
from geventbt.discovery.trackers import udp
from geventbt.discovery.trackers.announce import AnnounceRequest, ScrapeResult
from geventbt.discovery.trackers.tracker import announce, scrape
from geventbt.errors import TrackerError
from geventbt.net import opener
from tests.free_port import free_port
from tests.loopback.fake_trackers import FakeUdp, count_ticks, udp_answer

CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
REQUEST = AnnounceRequest(b"i" * 20, b"p" * 20, 6881, key=5, event="started")
IPV4_PEER = b"\1\2\3\4\x1a\xe1"
SOON = 0.3
"""The deadline of tests that see it pass."""


@pytest.fixture
def ticks() -> Iterator[list[int]]:
    """Grows while others get to run."""
    counted: list[int] = []
    ticker = gevent.spawn(count_ticks, counted)
    yield counted
    ticker.kill()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection ids from other tests, and packets that are sent again soon."""
    monkeypatch.setattr(udp, "connection_ids", udp.ConnectionIds())
    monkeypatch.setattr(limits, "UDP_RETRANSMIT", 0.05)


@pytest.fixture
def serving_udp() -> Iterator[Callable[..., FakeUdp]]:
    """Makes UDP servers, and stops them."""
    servers: list[FakeUdp] = []

    def make(answer: Any = udp_answer, host: str = "127.0.0.1") -> FakeUdp:
        servers.append(FakeUdp(answer, host))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def losing(count: int, answer: Any = udp_answer) -> Callable[[bytes], list[bytes]]:
    """Loses the first packets."""
    lost: list[bytes] = []

    def lose(packet: bytes) -> list[bytes]:
        if len(lost) < count:
            lost.append(packet)
            return []
        return list(answer(packet))

    return lose


def test_an_announce(serving_udp):
    server = serving_udp(lambda packet: udp_answer(packet, peers=IPV4_PEER))
    response = announce(server.url, REQUEST)
    assert (response.interval, response.leechers, response.seeders) == (1800, 2, 3)
    assert response.peers == (("1.2.3.4", 6881),)
    assert server.actions == [CONNECT, ANNOUNCE]
    assert server.packets[1][16:56] == b"i" * 20 + b"p" * 20


def test_an_announce_over_ipv6(serving_udp):
    server = serving_udp(lambda packet: udp_answer(packet, peers=bytes(15) + b"\1\0\7"), "::1")
    assert announce(server.url, REQUEST).peers == (("::1", 7),)


def test_a_scrape_of_many_torrents_goes_in_steps(serving_udp):
    server = serving_udp()
    hashes = [number.to_bytes(20, "big") for number in range(limits.SCRAPE_HASHES + 1)]
    assert scrape(server.url, hashes) == dict.fromkeys(hashes, ScrapeResult(1, 1, 1))
    assert server.actions == [CONNECT, SCRAPE, SCRAPE]
    assert len(server.packets[1]) == 16 + 20 * limits.SCRAPE_HASHES


def test_a_connection_id_is_used_again(serving_udp):
    server = serving_udp()
    for _ in range(3):
        announce(server.url, REQUEST)
    assert server.actions == [CONNECT, ANNOUNCE, ANNOUNCE, ANNOUNCE]
    assert len({packet[12:16] for packet in server.packets}) == 4


def test_a_connection_id_that_is_too_old_is_not_used_again(serving_udp, monkeypatch):
    monkeypatch.setattr(limits, "UDP_CONNECTION_ID", 0.01)
    server = serving_udp()
    announce(server.url, REQUEST)
    gevent.sleep(0.02)
    announce(server.url, REQUEST)
    assert server.actions == [CONNECT, ANNOUNCE, CONNECT, ANNOUNCE]


def test_an_old_connection_id_that_is_refused_is_replaced(serving_udp):
    server = serving_udp()
    announce(server.url, REQUEST)
    server.answer = lambda packet: udp_answer(packet, connection_id=99)
    announce(server.url, REQUEST)
    assert server.actions == [CONNECT, ANNOUNCE, ANNOUNCE, CONNECT, ANNOUNCE]


def test_an_old_connection_id_that_is_met_with_silence_is_replaced(serving_udp):
    server = serving_udp()
    announce(server.url, REQUEST)
    server.answer = losing(1)
    announce(server.url, REQUEST)
    assert server.actions == [CONNECT, ANNOUNCE, ANNOUNCE, CONNECT, ANNOUNCE]


def test_lost_packets_are_sent_again(serving_udp):
    server = serving_udp(losing(2))
    announce(server.url, REQUEST)
    assert server.actions == [CONNECT, CONNECT, CONNECT, ANNOUNCE]
    assert len({packet[12:16] for packet in server.packets[:3]}) == 1

    first: list[bytes] = []
    server.answer = lambda packet: (
        udp_answer(packet) if packet[8:12] == bytes(4) or first else first.append(packet) or []
    )
    udp.connection_ids.forget(*next(iter(udp.connection_ids._ids)))
    server.packets.clear()
    announce(server.url, REQUEST)
    assert server.actions == [CONNECT, ANNOUNCE, ANNOUNCE]
    assert server.packets[1] == server.packets[2]


def test_the_times_between_packets_double(serving_udp):
    server = serving_udp(lambda packet: [])
    times = []
    server.answer = lambda packet: times.append(gevent.get_hub().loop.now()) or []
    with pytest.raises(TrackerError, match="no answer"):
        announce(server.url, REQUEST, timeout=0.5)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(gaps) >= 2
    assert all(gap > 0.04 * 2**index for index, gap in enumerate(gaps))


def test_the_times_start_anew_when_the_tracker_has_answered(serving_udp):
    times = []
    lose = losing(3)
    lose_announce = losing(1)

    def answer(packet: bytes) -> list[bytes]:
        times.append(gevent.get_hub().loop.now())
        return lose(packet) if packet[8:12] == bytes(4) else lose_announce(packet)

    server = serving_udp(answer)
    announce(server.url, REQUEST)
    assert server.actions == [CONNECT] * 4 + [ANNOUNCE] * 2
    assert times[5] - times[4] < times[3] - times[2]


def test_it_is_not_sent_again_for_ever(serving_udp, monkeypatch):
    monkeypatch.setattr(limits, "UDP_RETRANSMIT", 0.001)
    monkeypatch.setattr(limits, "UDP_RETRANSMISSIONS", 3)
    server = serving_udp(lambda packet: [])
    with pytest.raises(TrackerError, match="no answer in time"):
        announce(server.url, REQUEST)
    assert server.actions == [CONNECT] * 4


def test_an_expired_connection_id_is_asked_for_anew_while_sending_again(serving_udp, monkeypatch):
    monkeypatch.setattr(limits, "UDP_CONNECTION_ID", 0.1)
    server = serving_udp(lambda packet: udp_answer(packet) if packet[8:12] == bytes(4) else [])
    with pytest.raises(TrackerError):
        announce(server.url, REQUEST, timeout=0.6)
    assert server.actions[:2] == [CONNECT, ANNOUNCE]
    assert CONNECT in server.actions[2:]


def test_an_error_of_the_tracker_is_told(serving_udp):
    server = serving_udp(
        lambda packet: (
            udp_answer(packet) if packet[8:12] == bytes(4) else [bytes([0, 0, 0, 3]) + packet[12:16] + b"no\n"]
        )
    )
    with pytest.raises(TrackerError, match="no\ufffd"):
        announce(server.url, REQUEST)
    assert server.actions == [CONNECT, ANNOUNCE]


def test_an_answer_with_the_wrong_action_is_an_error(serving_udp):
    server = serving_udp(lambda packet: [bytes([0, 0, 0, 2]) + packet[12:16] + bytes(20)])
    with pytest.raises(TrackerError, match="action 2"):
        announce(server.url, REQUEST)


@pytest.mark.parametrize("size", [8, 15])
def test_a_truncated_answer_is_an_error(serving_udp, size):
    server = serving_udp(lambda packet: [udp_answer(packet)[0][:size]])
    with pytest.raises(TrackerError, match="bytes"):
        announce(server.url, REQUEST)


def test_answers_to_other_questions_are_ignored(serving_udp):
    def answer(packet: bytes) -> list[bytes]:
        good = udp_answer(packet, peers=IPV4_PEER)[0]
        other = bytes(byte ^ 255 for byte in packet[12:16])
        return [b"", b"\0\0\0", good[:4] + other + good[8:], b"\0\0\0\3" + other + b"a lie", good]

    assert announce(serving_udp(answer).url, REQUEST).peers == (("1.2.3.4", 6881),)


def test_answers_from_another_port_never_arrive(serving_udp):
    server = serving_udp(lambda packet: udp_answer(packet, peers=IPV4_PEER))
    with gevent.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:
        server.sender = another
        with pytest.raises(TrackerError, match=r"no answer|within"):
            announce(server.url, REQUEST, timeout=SOON)
    assert server.packets


def test_a_flood_of_wrong_answers_holds_up_nobody_and_ends_at_the_deadline(monkeypatch, ticks):
    class Flooded(gevent.socket.socket):
        """Always has something to read, so that nothing ever waits."""

        def recv(self, *args: Any) -> bytes:
            return bytes(16)

    monkeypatch.setattr(opener.gevent_socket, "socket", Flooded)
    with pytest.raises(TrackerError):
        announce("udp://127.0.0.1:1", REQUEST, timeout=SOON)
    assert len(ticks) > 1


def test_nobody_there_is_an_error():
    with pytest.raises(TrackerError, match="refused"):
        announce(f"udp://127.0.0.1:{free_port()}", REQUEST)


def test_a_timeout_of_the_caller_passes_through(serving_udp):
    server = serving_udp(lambda packet: [])
    timeout = gevent.Timeout.start_new(0.05)
    with pytest.raises(gevent.Timeout) as caught:
        announce(server.url, REQUEST)
    assert caught.value is timeout


def test_many_announces_at_one_time_share_a_connection_id_or_not_but_all_come(serving_udp):
    server = serving_udp(lambda packet: udp_answer(packet, peers=IPV4_PEER))
    asking = [gevent.spawn(announce, server.url, REQUEST) for _ in range(20)]
    assert all(greenlet.get().peers for greenlet in asking)
