"""What a torrent is, before and after its metadata is known."""

from __future__ import annotations

from geventbt import Magnet, Torrent
from geventbt.bencoding import encode
from geventbt.client.torrent.identity import TorrentIdentity

INFO = encode({"name": "data", "length": 1, "piece length": 16384, "pieces": bytes(20)})
LINK = "magnet:?xt=urn:btih:{}&tr=http%3A%2F%2Fa&tr=http%3A%2F%2Fb&x.pe=10.0.0.1:6881"


def test_a_link_without_a_name_is_called_by_its_info_hash() -> None:
    identity = TorrentIdentity(Magnet.from_string(LINK.format("c1" * 20)))
    assert (identity.metainfo, identity.name, identity.info_hash) == (None, "c1" * 20, b"\xc1" * 20)


def test_a_link_names_trackers_and_peers() -> None:
    identity = TorrentIdentity(Magnet.from_string(LINK.format("c1" * 20)))
    assert identity.trackers == [["http://a"], ["http://b"]]
    assert identity.peers == (("10.0.0.1", 6881),)


def test_the_trackers_of_a_link_stay_with_its_metadata() -> None:
    torrent = Torrent.from_info(INFO)
    identity = TorrentIdentity(Magnet.from_string(LINK.format(torrent.info_hash.hex())))
    identity.set_metainfo(torrent)
    assert (identity.name, identity.metainfo) == ("data", torrent)
    assert identity.trackers == [["http://a"], ["http://b"]]


def test_a_torrent_has_its_own_tiers() -> None:
    identity = TorrentIdentity(Torrent.from_info(INFO, trackers=[["http://a", "http://b"], ["udp://c"]]))
    assert identity.trackers == [["http://a", "http://b"], ["udp://c"]]
    assert identity.peers == ()
