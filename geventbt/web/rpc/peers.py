"""The peers of a torrent, as torrent_get answers them."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from geventbt.client.status import PeerStatus
from geventbt.web.rpc.view import TorrentView

_SOURCES = {
    "tracker": "from_tracker",
    "dht": "from_dht",
    "pex": "from_pex",
    "holepunch": "from_pex",
    "lsd": "from_lpd",
    "inbound": "from_incoming",
    "user": "from_ltep",
}
"""The names of what has named a peer. Peers that the user or a link names count as told by the extension protocol:
there is no other name for them."""
_ALL_SOURCES = ("from_cache", "from_dht", "from_incoming", "from_lpd", "from_ltep", "from_pex", "from_tracker")


def peers_of(view: TorrentView) -> list[dict[str, Any]]:
    """Each connected peer."""
    pieces = view.progress.pieces
    return [_peer(peer, pieces) for peer in view.peers]


def peers_from(view: TorrentView) -> dict[str, int]:
    """How many of the connected peers were found by what."""
    found = Counter(_source_of(peer) for peer in view.peers)
    return {name: found[name] for name in _ALL_SOURCES}


def web_seeds_of(view: TorrentView) -> list[dict[str, Any]]:
    """Each web seed."""
    return [
        {
            "url": seed.url,
            "is_downloading": seed.state == "downloading",
            "download_bytes_per_second": round(seed.download_speed),
        }
        for seed in view.active.web_seeds
    ]


def _source_of(peer: PeerStatus) -> str:
    if not peer.outgoing:
        return "from_incoming"
    return next((_SOURCES[source] for source in peer.sources if source in _SOURCES), "from_cache")


def _peer(peer: PeerStatus, pieces: int) -> dict[str, Any]:
    return {
        "address": peer.address[0],
        "bytes_to_client": peer.downloaded,
        "bytes_to_peer": peer.uploaded,
        "peer_id": base64.b64encode(peer.peer_id).decode(),
        "port": peer.address[1],
        "client_name": peer.client,
        "client_is_choked": peer.peer_choking,
        "client_is_interested": peer.am_interested,
        "peer_is_choked": peer.am_choking,
        "peer_is_interested": peer.peer_interested,
        "flag_str": flags_of(peer),
        "is_downloading_from": peer.am_interested and not peer.peer_choking,
        "is_uploading_to": peer.peer_interested and not peer.am_choking,
        "is_encrypted": peer.encryption == "rc4",
        "is_incoming": not peer.outgoing,
        "is_utp": peer.transport == "utp",
        "progress": peer.pieces / pieces if pieces else 0,
        "rate_to_client": round(peer.download_speed),
        "rate_to_peer": round(peer.upload_speed),
    }


def flags_of(peer: PeerStatus) -> str:
    """The state of a peer in letters: T by uTP; D we download from it, d we would; U it downloads from us, u it would;
    K it lets us and we need nothing, ? we let it and it needs nothing; E encrypted; H by the DHT, X by exchange; I
    incoming."""
    letters = [
        (peer.transport == "utp", "T"),
        (peer.am_interested, "d" if peer.peer_choking else "D"),
        (peer.peer_interested, "u" if peer.am_choking else "U"),
        (not peer.peer_choking and not peer.am_interested, "K"),
        (not peer.am_choking and not peer.peer_interested, "?"),
        (peer.encryption == "rc4", "E"),
        ("dht" in peer.sources, "H"),
        ("pex" in peer.sources, "X"),
        (not peer.outgoing, "I"),
    ]
    return "".join(letter for is_so, letter in letters if is_so)
