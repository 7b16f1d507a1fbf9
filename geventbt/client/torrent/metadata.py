"""The metadata of a torrent, as peers and web servers give it for a magnet link (BEP 9). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from geventbt import limits
from geventbt.metainfo import Magnet, Torrent


class Metadata(NamedTuple):
    """The metadata of a torrent, verified.

    Attributes:
        info: the bytes of the info dictionary.
        layers: the piece layers of version 2, by the roots of their files (BEP 52).
        trackers: announce URLs in tiers, of a .torrent file; not verified.
        web_seeds: URLs that have the data, of a .torrent file; not verified.
    """

    info: bytes
    layers: Mapping[bytes, bytes] = {}
    trackers: tuple[tuple[str, ...], ...] = ()
    web_seeds: tuple[str, ...] = ()

    @classmethod
    def of(cls, torrent: Torrent) -> Metadata:
        """That of a .torrent file."""
        return cls(torrent.info_bytes, torrent.piece_layers, torrent.trackers, torrent.web_seeds)

    def torrent(self, trackers: Iterable[Sequence[str]], web_seeds: Iterable[str] = ()) -> Torrent:
        """The torrent. For large metadata it takes a moment.

        Args:
            trackers: announce URLs in tiers, before its own.
            web_seeds: URLs that have the data, before its own.

        Raises:
            MetainfoError: not a usable torrent.
        """
        tiers = [tuple(tier) for tier in trackers]
        known = {url for tier in tiers for url in tier}
        own = [tuple(url for url in tier if url not in known) for tier in self.trackers]
        seeds = tuple(dict.fromkeys([*web_seeds, *self.web_seeds]))[: limits.WEB_SEEDS]
        torrent = Torrent.from_info(self.info, trackers=[*tiers, *filter(None, own)], web_seeds=seeds)
        return replace(torrent, piece_layers=self.layers)


def is_of(link: Torrent | Magnet, torrent: Torrent) -> bool:
    """Whether a torrent is the one that a link names, by every info hash that the link has."""
    wanted = link.info_hash, link.info_hash_v2
    found = torrent.info_hash, torrent.info_hash_v2
    return all(mine is None or mine == other for mine, other in zip(wanted, found, strict=True))
