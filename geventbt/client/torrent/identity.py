"""What a torrent is: its source, and its metadata once that is known. Pure."""

from __future__ import annotations

from geventbt.metainfo import Magnet, Torrent
from geventbt.net.addresses import Address


class TorrentIdentity:
    """The info hash and name of a torrent, and where its metadata is to be had.

    Args:
        source: the torrent or magnet link.

    Attributes:
        source: see above.
        info_hash: what it is known by, 20 bytes; see `Torrent.swarm_hash`.
        metainfo: the torrent; None while the metadata of a magnet link is unknown.
        name: of the torrent or of the link, or the info hash in hex digits.
    """

    def __init__(self, source: Torrent | Magnet) -> None:
        self.source = source
        self.info_hash = source.swarm_hash
        self.metainfo = source if isinstance(source, Torrent) else None
        self.name = source.name or source.swarm_hash.hex()

    def set_metainfo(self, metainfo: Torrent) -> None:
        """Note the metadata of a magnet link."""
        self.metainfo = metainfo
        self.name = metainfo.name

    @property
    def swarm_hashes(self) -> tuple[bytes, ...]:
        """All that peers may know it by, 20 bytes each: two of a hybrid (BEP 52)."""
        return (self.metainfo or self.source).swarm_hashes

    @property
    def trackers(self) -> list[list[str]]:
        """The tiers of announce URLs: the torrent's own, or those of the link."""
        if self.metainfo is not None and self.metainfo.trackers:
            return [list(tier) for tier in self.metainfo.trackers]
        return [[url] for url in self.source.trackers] if isinstance(self.source, Magnet) else []

    @property
    def web_seeds(self) -> tuple[str, ...]:
        """URLs that have the data: the torrent's own, or those of the link (`ws`)."""
        return (self.metainfo or self.source).web_seeds

    @property
    def peers(self) -> tuple[Address, ...]:
        """The peers that a magnet link names (BEP 9, `x.pe`)."""
        return tuple(self.source.peers) if isinstance(self.source, Magnet) else ()
