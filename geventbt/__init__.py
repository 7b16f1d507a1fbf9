"""BitTorrent for people who write straight-line Python: blocking peers on gevent.

Every public name of the package is listed here, and loaded when it is first used (PEP 562): importing `geventbt` is
quick, and importing `geventbt.protocol` brings in no gevent.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "connect": "geventbt.wire.connect",
    "listen": "geventbt.server",
    "download": "geventbt.client.download",
    "seed": "geventbt.client.seed",
    "fetch_metadata": "geventbt.client.metadata",
    "inspect_peer": "geventbt.client.inspect",
    "PeerReport": "geventbt.client.inspect",
    "Download": "geventbt.client.download",
    "Wire": "geventbt.wire.wire",
    "Request": "geventbt.wire.state",
    "PeerServer": "geventbt.server",
    "Extension": "geventbt.extensions.extension",
    "UtMetadata": "geventbt.extensions.ut_metadata",
    "UtPex": "geventbt.extensions.ut_pex",
    "LtDonthave": "geventbt.extensions.lt_donthave",
    "UploadOnly": "geventbt.extensions.upload_only",
    "Handshake": "geventbt.protocol.handshake",
    "Extensions": "geventbt.protocol.handshake",
    "Geometry": "geventbt.geometry",
    "Magnet": "geventbt.metainfo",
    "Torrent": "geventbt.metainfo",
    "create_torrent": "geventbt.metainfo",
    "Storage": "geventbt.storage",
    "new_peer_id": "geventbt.peer_id",
    "client_name": "geventbt.peer_id",
    "allowed_fast_set": "geventbt.protocol.fast",
    **dict.fromkeys(
        (
            "GeventBTError",
            "ProtocolError",
            "LocalProtocolError",
            "RemoteProtocolError",
            "HandshakeError",
            "WireClosed",
            "WireTimeout",
            "RequestFailed",
            "RequestTimeout",
            "PeerChoking",
            "RequestRejected",
            "RequestCancelled",
            "PieceNotAvailable",
            "MetadataError",
            "MetadataNotAvailable",
            "MetadataMismatch",
            "BencodeError",
            "MetainfoError",
            "MagnetError",
            "StorageError",
            "TrackerError",
            "DownloadError",
            "NoPeersError",
        ),
        "geventbt.errors",
    ),
}

__all__ = ["__version__", "bencoding", "protocol", "signals", *_EXPORTS]

if TYPE_CHECKING:
    from geventbt import bencoding, protocol, signals


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(import_module(_EXPORTS[name]), name)
    elif name in ("bencoding", "protocol", "signals"):
        value = import_module(f"geventbt.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
