"""Torrents as files describe them: reading them, and making them from data (BEP 3, 12, 27, 47, 52). No sockets, no
gevent. What makes them, `create`, is imported by those who make one."""

from __future__ import annotations

from geventbt.metainfo.files import TorrentFile
from geventbt.metainfo.magnet import Magnet
from geventbt.metainfo.torrent import Torrent

__all__ = ["Magnet", "Torrent", "TorrentFile"]
