"""The state of a peer in a few letters, as other clients show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import geventbt

FLAGS = (
    "D we download",
    "d it chokes us",
    "U it downloads",
    "u we choke it",
    "I it connected",
    "E encrypted",
    "P over uTP",
    "S silent",
    "H by DHT",
    "X by exchange",
    "L local network",
)
"""What the letters mean, in a few words."""


def flags_of(peer: geventbt.PeerStatus) -> str:
    """D: we download from it; d: we would, but it chokes us. U: it downloads from us; u: it would, but we choke it.

    I: it connected to us. E: encrypted. P: over uTP. S: it does not answer our requests. H: found by the DHT. X: by
    peer exchange. L: in the local network.
    """
    letters = [
        (peer.am_interested, "d" if peer.peer_choking else "D"),
        (peer.peer_interested, "u" if peer.am_choking else "U"),
        (not peer.outgoing, "I"),
        (peer.encryption == "rc4", "E"),
        (peer.transport == "utp", "P"),
        (peer.snubbed, "S"),
        ("dht" in peer.sources, "H"),
        ("pex" in peer.sources, "X"),
        ("lsd" in peer.sources, "L"),
    ]
    return "".join(letter for is_so, letter in letters if is_so)
