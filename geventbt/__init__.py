"""BitTorrent for people who write straight-line Python: blocking peers on gevent.

Every public name of the package is listed here, and loaded when it is first used (PEP 562): importing `geventbt` is
quick, and importing `geventbt.protocol` brings in no gevent.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from geventbt import errors
from geventbt._version import __version__ as __version__

_EXPORTS = {
    "connect": "geventbt.wire.connect",
    "listen": "geventbt.wire.server",
    "download": "geventbt.client.download",
    "seed": "geventbt.client.seed",
    "fetch_metadata": "geventbt.client.torrent.metadata_search",
    "inspect_peer": "geventbt.client.inspect",
    "PeerReport": "geventbt.client.inspect",
    "Client": "geventbt.client.client",
    "ActiveTorrent": "geventbt.client.torrent.active_torrent",
    "TorrentReader": "geventbt.client.torrent.file_reader",
    "RateGroup": "geventbt.client.rate_group",
    "Progress": "geventbt.client.status",
    "PeerStatus": "geventbt.client.status",
    "WebSeedState": "geventbt.client.status",
    "WebSeedStatus": "geventbt.client.status",
    "FileStatus": "geventbt.client.status",
    "TorrentState": "geventbt.client.status",
    "announce": "geventbt.discovery.trackers.tracker",
    "scrape": "geventbt.discovery.trackers.tracker",
    "AnnounceRequest": "geventbt.discovery.trackers.announce",
    "AnnounceResponse": "geventbt.discovery.trackers.announce",
    "ScrapeResult": "geventbt.discovery.trackers.announce",
    "Announcer": "geventbt.discovery.trackers.announcer",
    "TrackerStatus": "geventbt.discovery.trackers.tracker_state",
    "DHT": "geventbt.discovery.dht.dht",
    "DHTSourceStatus": "geventbt.discovery.dht.source",
    "DHTStatus": "geventbt.discovery.dht.results",
    "SourceStatus": "geventbt.discovery.source",
    "Network": "geventbt.net.network",
    "PortMapping": "geventbt.net.mapping.base",
    "TcpPath": "geventbt.net.tcp_path",
    "Put": "geventbt.discovery.dht.results",
    "Sample": "geventbt.discovery.dht.results",
    "SwarmEstimate": "geventbt.discovery.dht.results",
    "Item": "geventbt.discovery.dht.items",
    "Wire": "geventbt.wire.wire",
    "Request": "geventbt.wire.requests",
    "PeerServer": "geventbt.wire.server",
    "EncryptionPolicy": "geventbt.wire.transports.encryption",
    "TransportChoice": "geventbt.wire.transports.base",
    "Extension": "geventbt.extensions.extension",
    "UtMetadata": "geventbt.extensions.ut_metadata",
    "UtPex": "geventbt.extensions.ut_pex",
    "LtDonthave": "geventbt.extensions.lt_donthave",
    "UploadOnly": "geventbt.extensions.upload_only",
    "UtHolepunch": "geventbt.extensions.ut_holepunch",
    "Handshake": "geventbt.protocol.handshake",
    "Extensions": "geventbt.protocol.handshake",
    "Geometry": "geventbt.geometry",
    "Magnet": "geventbt.metainfo",
    "Torrent": "geventbt.metainfo",
    "create_torrent": "geventbt.metainfo.create",
    "FsspecBackend": "geventbt.storage.objects.backend",
    "MemoryBackend": "geventbt.storage",
    "Storage": "geventbt.storage",
    "StorageBackend": "geventbt.storage",
    "new_peer_id": "geventbt.peer_id",
    "client_name": "geventbt.peer_id",
    "allowed_fast_set": "geventbt.protocol.fast",
    **{name: "geventbt.errors" for name, error in vars(errors).items() if isinstance(error, type)},
}

__all__ = ["__version__", "bencoding", "protocol", "signals", *_EXPORTS]

if TYPE_CHECKING:
    from geventbt import bencoding as bencoding
    from geventbt import protocol as protocol
    from geventbt import signals as signals
    from geventbt.client.client import Client as Client
    from geventbt.client.download import download as download
    from geventbt.client.inspect import PeerReport as PeerReport
    from geventbt.client.inspect import inspect_peer as inspect_peer
    from geventbt.client.rate_group import RateGroup as RateGroup
    from geventbt.client.seed import seed as seed
    from geventbt.client.status import FileStatus as FileStatus
    from geventbt.client.status import PeerStatus as PeerStatus
    from geventbt.client.status import Progress as Progress
    from geventbt.client.status import TorrentState as TorrentState
    from geventbt.client.status import WebSeedState as WebSeedState
    from geventbt.client.status import WebSeedStatus as WebSeedStatus
    from geventbt.client.torrent.active_torrent import ActiveTorrent as ActiveTorrent
    from geventbt.client.torrent.file_reader import TorrentReader as TorrentReader
    from geventbt.client.torrent.metadata_search import fetch_metadata as fetch_metadata
    from geventbt.discovery.dht.dht import DHT as DHT
    from geventbt.discovery.dht.items import Item as Item
    from geventbt.discovery.dht.results import DHTStatus as DHTStatus
    from geventbt.discovery.dht.results import Put as Put
    from geventbt.discovery.dht.results import Sample as Sample
    from geventbt.discovery.dht.results import SwarmEstimate as SwarmEstimate
    from geventbt.discovery.dht.source import DHTSourceStatus as DHTSourceStatus
    from geventbt.discovery.source import SourceStatus as SourceStatus
    from geventbt.discovery.trackers.announce import AnnounceRequest as AnnounceRequest
    from geventbt.discovery.trackers.announce import AnnounceResponse as AnnounceResponse
    from geventbt.discovery.trackers.announce import ScrapeResult as ScrapeResult
    from geventbt.discovery.trackers.announcer import Announcer as Announcer
    from geventbt.discovery.trackers.tracker import announce as announce
    from geventbt.discovery.trackers.tracker import scrape as scrape
    from geventbt.discovery.trackers.tracker_state import TrackerStatus as TrackerStatus
    from geventbt.errors import BencodeError as BencodeError
    from geventbt.errors import DHTError as DHTError
    from geventbt.errors import DHTNotFound as DHTNotFound
    from geventbt.errors import DHTRejected as DHTRejected
    from geventbt.errors import DHTTimeout as DHTTimeout
    from geventbt.errors import DownloadError as DownloadError
    from geventbt.errors import DownloadTimeout as DownloadTimeout
    from geventbt.errors import FetchError as FetchError
    from geventbt.errors import GeventBTError as GeventBTError
    from geventbt.errors import HandshakeError as HandshakeError
    from geventbt.errors import LocalProtocolError as LocalProtocolError
    from geventbt.errors import MagnetError as MagnetError
    from geventbt.errors import MetadataError as MetadataError
    from geventbt.errors import MetadataMismatch as MetadataMismatch
    from geventbt.errors import MetadataNotAvailable as MetadataNotAvailable
    from geventbt.errors import MetainfoError as MetainfoError
    from geventbt.errors import NoPeersError as NoPeersError
    from geventbt.errors import PeerChoking as PeerChoking
    from geventbt.errors import PieceNotAvailable as PieceNotAvailable
    from geventbt.errors import ProtocolError as ProtocolError
    from geventbt.errors import ProxyError as ProxyError
    from geventbt.errors import RemoteProtocolError as RemoteProtocolError
    from geventbt.errors import RequestCancelled as RequestCancelled
    from geventbt.errors import RequestFailed as RequestFailed
    from geventbt.errors import RequestRejected as RequestRejected
    from geventbt.errors import RequestTimeout as RequestTimeout
    from geventbt.errors import StorageError as StorageError
    from geventbt.errors import TrackerError as TrackerError
    from geventbt.errors import WireClosed as WireClosed
    from geventbt.errors import WireTimeout as WireTimeout
    from geventbt.extensions.extension import Extension as Extension
    from geventbt.extensions.lt_donthave import LtDonthave as LtDonthave
    from geventbt.extensions.upload_only import UploadOnly as UploadOnly
    from geventbt.extensions.ut_holepunch import UtHolepunch as UtHolepunch
    from geventbt.extensions.ut_metadata import UtMetadata as UtMetadata
    from geventbt.extensions.ut_pex import UtPex as UtPex
    from geventbt.geometry import Geometry as Geometry
    from geventbt.metainfo import Magnet as Magnet
    from geventbt.metainfo import Torrent as Torrent
    from geventbt.metainfo.create import create_torrent as create_torrent
    from geventbt.net.mapping.base import PortMapping as PortMapping
    from geventbt.net.network import Network as Network
    from geventbt.net.tcp_path import TcpPath as TcpPath
    from geventbt.peer_id import client_name as client_name
    from geventbt.peer_id import new_peer_id as new_peer_id
    from geventbt.protocol.fast import allowed_fast_set as allowed_fast_set
    from geventbt.protocol.handshake import Extensions as Extensions
    from geventbt.protocol.handshake import Handshake as Handshake
    from geventbt.storage import MemoryBackend as MemoryBackend
    from geventbt.storage import Storage as Storage
    from geventbt.storage import StorageBackend as StorageBackend
    from geventbt.storage.objects.backend import FsspecBackend as FsspecBackend
    from geventbt.wire.connect import connect as connect
    from geventbt.wire.requests import Request as Request
    from geventbt.wire.server import PeerServer as PeerServer
    from geventbt.wire.server import listen as listen
    from geventbt.wire.transports.base import TransportChoice as TransportChoice
    from geventbt.wire.transports.encryption import EncryptionPolicy as EncryptionPolicy
    from geventbt.wire.wire import Wire as Wire


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(import_module(_EXPORTS[name]), name)
    elif name in ("bencoding", "protocol", "signals"):
        value = import_module(f"geventbt.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
