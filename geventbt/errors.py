"""The exceptions of geventbt.

::

    GeventBTError
    ├── ProtocolError                 (abstract) a rule of a BEP was broken
    │   ├── LocalProtocolError        by the caller; the wire is unchanged             (also ValueError)
    │   └── RemoteProtocolError       by the peer; the wire closes                     (also ConnectionError)
    │       └── HandshakeError        in its first bytes, or with another torrent
    ├── WireClosed                    the connection is gone; ``__cause__`` says why   (also ConnectionError)
    ├── WireTimeout                   a blocking call or a silent peer took too long   (also TimeoutError)
    │   └── RequestTimeout            for one block                                    (also RequestFailed)
    ├── RequestFailed                 (abstract) a block will not come
    │   ├── PeerChoking               the peer chokes us
    │   ├── RequestRejected           the peer rejected this request (BEP 6)
    │   ├── RequestCancelled          we cancelled it
    │   └── PieceNotAvailable         the peer does not have the piece
    ├── MetadataError                 (abstract) a peer's metadata is not available or is wrong
    │   ├── MetadataNotAvailable      the peer has none, or does not give it
    │   └── MetadataMismatch          its size or hash is wrong
    ├── BencodeError                  not bencode, or over the limits                  (also ValueError)
    ├── MetainfoError                 not a usable torrent                             (also ValueError)
    │   └── MagnetError               not a usable magnet link
    ├── StorageError                  the disk or a file failed                        (also OSError)
    ├── FetchError                    a URL, or the look-up of a name, failed          (also OSError)
    ├── ProxyError                    the proxy cannot be used, or refuses             (also ConnectionError)
    ├── TrackerError                  a tracker refused or failed
    ├── DHTError                      the DHT could not do what it was asked for
    │   ├── DHTTimeout                ... in time                                      (also TimeoutError)
    │   ├── DHTNotFound               it has no such item                              (also LookupError)
    │   └── DHTRejected               its nodes refused to store an item
    └── DownloadError                 a download cannot go on
        ├── NoPeersError              no peer could be reached, or all of them left    (also ConnectionError)
        └── DownloadTimeout           it took too long, or nothing came for too long   (also TimeoutError)
"""

from __future__ import annotations

import builtins


class GeventBTError(Exception):
    """Base of all exceptions that geventbt raises itself."""


class ProtocolError(GeventBTError):
    """A rule of the BEPs was broken. Abstract: always one of its two subclasses."""


class LocalProtocolError(ProtocolError, ValueError):
    """The caller broke a rule, such as a request before the handshake. The wire is unchanged."""


class RemoteProtocolError(ProtocolError, ConnectionError):
    """The peer broke a rule. The wire closes with this as its reason.

    Attributes:
        message_id: the id of the offending message, or None when it was not in a message.
        bep: the number of the BEP that states the rule.
    """

    def __init__(self, text: str, *, message_id: int | None = None, bep: int = 3) -> None:
        super().__init__(text)
        self.message_id = message_id
        self.bep = bep


class HandshakeError(RemoteProtocolError):
    """The peer's first bytes are not a handshake, or one for another torrent, or with our own peer id."""


class WireClosed(GeventBTError, ConnectionError):
    """The connection is gone. Its ``__cause__``, if any, is the reason."""


class WireTimeout(GeventBTError, builtins.TimeoutError):
    """A blocking call took longer than it was given, or a peer stayed silent too long."""


class RequestFailed(GeventBTError):
    """A requested block will not come. Abstract: it is always one of the errors below it."""


class PeerChoking(RequestFailed):
    """The peer chokes us and the piece is not in its allowed-fast set."""


class RequestRejected(RequestFailed):
    """The peer rejected this request (BEP 6)."""


class RequestCancelled(RequestFailed):
    """The request was cancelled on our side."""


class RequestTimeout(RequestFailed, WireTimeout):
    """The block did not arrive in time. The wire goes on."""


class PieceNotAvailable(RequestFailed):
    """The peer does not have the piece."""


class MetadataError(GeventBTError):
    """A peer's metadata cannot be had, or is not what it should be (BEP 9).

    Abstract: it is always one of those below it.
    """


class MetadataNotAvailable(MetadataError):
    """The peer has no metadata, or does not give it (BEP 9)."""


class MetadataMismatch(MetadataError):
    """The metadata's size is not what the peer said, or its hash is not the info hash (BEP 9)."""


class BencodeError(GeventBTError, ValueError):
    """Bytes that are not bencode, or bencode over the limits for untrusted input."""


class MetainfoError(GeventBTError, ValueError):
    """Not a torrent, or one that cannot be used."""


class MagnetError(MetainfoError):
    """Not a magnet link, or one that cannot be used."""


class StorageError(GeventBTError, OSError):
    """The disk failed, or a file is not what it should be."""


class FetchError(GeventBTError, OSError):
    """A URL could not be fetched, or a name not looked up: no such name or server, no answer in time, a refusal, or an
    answer over the limits.

    Attributes:
        status: the status of an HTTP answer that is not a success, such as 404; None for all else.
        retry_after: seconds after which the server wants to be asked again; None if it did not say.
    """

    def __init__(self, text: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after


class ProxyError(GeventBTError, ConnectionError):
    """The proxy cannot be reached, refuses what it was asked for, or answers nonsense. Nothing goes past it."""


class TrackerError(GeventBTError):
    """A tracker refused, failed or answered nonsense.

    Attributes:
        retry_in: seconds after which the tracker wants to be asked again, infinite for never (BEP 31); None if it did
            not say.
        status: the status of an HTTP answer that is not a success, such as 404; None for all else.
    """

    def __init__(self, text: str, *, retry_in: float | None = None, status: int | None = None) -> None:
        super().__init__(text)
        self.retry_in = retry_in
        self.status = status


class DHTError(GeventBTError):
    """The DHT could not do what it was asked for."""


class DHTTimeout(DHTError, builtins.TimeoutError):
    """The DHT did not do in time what it was asked for."""


class DHTNotFound(DHTError, LookupError):
    """No node of the DHT has the item."""


class DHTRejected(DHTError):
    """The nodes of the DHT refused to store an item, or what is there is not what was expected.

    Attributes:
        code: of the error (BEP 5, 44): 301 for another seq than `cas`, 302 for a seq that is too low;
            201 for any other.
    """

    def __init__(self, text: str, *, code: int = 201) -> None:
        super().__init__(text)
        self.code = code


class DownloadError(GeventBTError):
    """A download cannot go on."""


class NoPeersError(DownloadError, ConnectionError):
    """No peer could be reached, or every one of them has left."""


class DownloadTimeout(DownloadError, builtins.TimeoutError):
    """A download was not complete in the given time, or received nothing for the given time."""
