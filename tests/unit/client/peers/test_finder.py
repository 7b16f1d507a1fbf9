"""Sources of peers, and what a private torrent may use."""

from __future__ import annotations

from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.net.resolve import Endpoint
from tests.loopback.harness import eventually

PEER = ("93.184.216.1", 6881)


class Some:
    """A source that notes its calls."""

    def __init__(self, allowed_for_private: bool = True, can_find_more: bool = True) -> None:
        self.allowed_for_private = allowed_for_private
        self.can_find_more = can_find_more
        self.status: dict[str, str] = {}
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def moved(self) -> None:
        self.calls.append("moved")

    def need_more(self) -> None:
        self.calls.append("need_more")

    def completed(self) -> None:
        self.calls.append("completed")

    def stop(self, timeout: float) -> None:
        self.calls.append("stop")


class Listener:
    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def finder(*sources: Some) -> Finder:
    made = Finder(KnownPeers())
    for source in sources:
        made.use(source)
    return made


def test_all_sources_are_used():
    sources = Some(), Some(allowed_for_private=False)
    found = finder(*sources)
    found.start()
    found.need_more()
    found.completed()
    found.moved()
    found.stop(1)
    assert [source.calls for source in sources] == [["start", "need_more", "completed", "moved", "stop"]] * 2


def test_a_private_torrent_uses_only_what_it_may():
    trackers, dht = Some(), Some(allowed_for_private=False)
    found = finder(trackers, dht)
    found.set_private(True)
    found.start()
    found.need_more()
    assert trackers.calls == ["start", "need_more"]
    assert dht.calls == ["stop"]
    assert not found.allows_exchange


def test_a_torrent_that_turns_out_to_be_private_stops_what_it_may_not_use():
    dht = Some(allowed_for_private=False)
    found = finder(dht)
    found.start()
    assert found.can_find_more
    found.set_private(True)
    assert dht.calls == ["start", "stop"]
    assert not found.can_find_more


def test_a_source_that_is_added_later_is_started_with_the_others():
    found, late = finder(), Some()
    found.start()
    found.use(late)
    assert late.calls == ["start"]


def test_nothing_more_can_be_found_without_a_source_that_can():
    assert not finder(Some(can_find_more=False)).can_find_more
    assert finder(Some(can_find_more=False), Some()).can_find_more


def test_new_addresses_wake_the_greenlet_that_connects_to_them():
    known, listener = KnownPeers(), Listener()
    found = Finder(known)
    found.add([PEER], Source.TRACKER, "203.0.112.1")
    found.listener = listener
    found.add([PEER], Source.TRACKER, "203.0.112.1")
    assert listener.woken == 1
    assert PEER in known


def test_every_address_of_a_name_is_a_candidate(monkeypatch):
    endpoints = [Endpoint(10, ("::1", 7, 0, 0)), Endpoint(2, ("127.0.0.1", 7))]
    monkeypatch.setattr("geventbt.net.opener.resolve", lambda host, port, **options: endpoints)
    known = KnownPeers()
    Finder(known).add_by_user([("dual.example", 7)])
    assert ("::1", 7) in known
    assert ("127.0.0.1", 7) in known


def test_a_name_from_a_tracker_is_resolved_and_judged_as_its_addresses_are(monkeypatch):
    hosts = {"peer.example": "93.184.216.1", "inside.example": "10.0.0.1"}

    def resolve(host: str, port: int, **options: object) -> list[Endpoint]:
        return [Endpoint(2, (hosts[host], port))]

    monkeypatch.setattr("geventbt.net.opener.resolve", resolve)
    known = KnownPeers()
    finder = Finder(known)
    finder.add([("inside.example", 7), ("peer.example", 7)], Source.TRACKER, "203.0.112.1")
    eventually(lambda: ("93.184.216.1", 7) in known)
    assert len(known) == 1
    finder.stop(0)
