"""What can be read of a wire at any time."""

from __future__ import annotations

from time import monotonic
from typing import Any, NamedTuple

from bitarray import bitarray

from geventbt.geometry import Geometry
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.protocol.handshake import Extensions
from geventbt.wire.engine import WireCore


class Request(NamedTuple):
    """A request for a block: unpacks as piece, offset, length (the BEPs' index, begin, length)."""

    piece: int
    offset: int
    length: int


class WireState(WireCore):
    """The readable state of a wire."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """Who opened the connection: "incoming" (the peer) or "outgoing" (we)."""
        return "incoming" if self._incoming else "outgoing"

    @property
    def remote_address(self) -> tuple[str, int]:
        """The peer's (host, port); ("", 0) of a Unix socket."""
        return self._remote_address

    @property
    def local_address(self) -> tuple[str, int]:
        """Our (host, port) of this connection."""
        return self._local_address

    @property
    def info_hash(self) -> bytes | None:
        """The 20 bytes of the torrent's info hash, as sent or else as received; None before any handshake."""
        handshake = self._protocol.handshake_sent or self._protocol.handshake_received
        return handshake.info_hash if handshake else None

    @property
    def peer_id(self) -> bytes | None:
        """The peer's 20 byte id; None before its handshake."""
        handshake = self._protocol.handshake_received
        return handshake.peer_id if handshake else None

    @property
    def extensions(self) -> Extensions:
        """What our handshake promised."""
        handshake = self._protocol.handshake_sent
        return handshake.extensions if handshake else Extensions()

    @property
    def peer_extensions(self) -> Extensions:
        """What the peer's handshake promised."""
        handshake = self._protocol.handshake_received
        return handshake.extensions if handshake else Extensions()

    @property
    def am_choking(self) -> bool:
        """Whether we choke the peer (BEP 3)."""
        return self._protocol.am_choking

    @property
    def am_interested(self) -> bool:
        """Whether we have told the peer that we are interested (BEP 3)."""
        return self._protocol.am_interested

    @property
    def peer_choking(self) -> bool:
        """Whether the peer chokes us (BEP 3)."""
        return self._protocol.peer_choking

    @property
    def peer_interested(self) -> bool:
        """Whether the peer is interested in what we have (BEP 3)."""
        return self._protocol.peer_interested

    @property
    def number_of_pieces(self) -> int | None:
        """How many pieces the torrent has; None while unknown. It may be set once; see `geometry`."""
        return self._protocol.peer_pieces.count

    @number_of_pieces.setter
    def number_of_pieces(self, pieces: int) -> None:
        self._check_thread()
        self._learn(self._protocol.set_pieces, pieces)

    @property
    def geometry(self) -> Geometry | None:
        """The number and sizes of the pieces; None while unknown. Once set, whatever the peer says is checked against
        it.

        Setting it closes the wire, and raises RemoteProtocolError, when the peer has spoken of pieces that do not
        exist.
        """
        return self._protocol.geometry

    @geometry.setter
    def geometry(self, geometry: Geometry) -> None:
        self._check_thread()
        self._learn(self._protocol.set_geometry, geometry)

    @property
    def peer_pieces(self) -> bitarray:
        """A copy of what the peer has, big-endian.

        As long as there are pieces or, while that is unknown, as the peer has told of.
        """
        return self._protocol.peer_pieces.bits

    @property
    def peer_has_all(self) -> bool:
        """Whether the peer has every piece: known from a have_all even before the number of pieces is."""
        return self._protocol.peer_pieces.has_all

    def peer_has(self, piece: int) -> bool:
        """Whether the peer has told that it has this piece."""
        return piece in self._protocol.peer_pieces

    @property
    def requests(self) -> list[Request]:
        """Our pending requests, oldest first."""
        return [Request(*key) for key in self._protocol.requests]

    @property
    def peer_requests(self) -> list[Request]:
        """The peer's pending requests, oldest first."""
        return [Request(*key) for key in self._protocol.peer_requests]

    @property
    def has_unanswered_requests(self) -> bool:
        """Whether the peer has asked for something that nobody has begun to answer."""
        return bool(self._protocol.unanswered_requests)

    @property
    def request_limit(self) -> int:
        """How many requests we keep pending at most: the peer's `reqq`, within our own limit."""
        return self._protocol.request_limit

    @property
    def has_fast(self) -> bool:
        """Whether both sides support the fast extension (BEP 6)."""
        return self._protocol.agreed.fast

    @property
    def allowed_fast_set(self) -> frozenset[int]:
        """The pieces that the peer may ask for even while we choke it (BEP 6)."""
        return frozenset(self._protocol.allowed_fast_set)

    @property
    def peer_allowed_fast_set(self) -> frozenset[int]:
        """The pieces that we may ask for even while the peer chokes us (BEP 6)."""
        return frozenset(self._protocol.peer_allowed_fast_set)

    @property
    def extended_handshake(self) -> ExtendedHandshake:
        """What we say of ourselves (BEP 10).

        Change it before the handshake, or send it again afterwards; `m` is filled in by itself.
        """
        return self._protocol.extended_handshake

    @property
    def peer_extended_handshake(self) -> ExtendedHandshake:
        """What the peer says of itself (BEP 10); empty until it has."""
        return dict(self._protocol.peer_extended_handshake)

    @property
    def extended_mapping(self) -> dict[int, str]:
        """The ids by which the peer is to send messages of our extensions, {id: name} (BEP 10)."""
        return dict(self._protocol.extended_mapping)

    @property
    def peer_extended_mapping(self) -> dict[str, int]:
        """The ids by which we send messages of the peer's extensions, {name: id} (BEP 10)."""
        return dict(self._protocol.peer_extended_mapping)

    @property
    def ext(self) -> dict[str, Any]:
        """The extensions in use, {name: object}."""
        return dict(self._extensions)

    @property
    def encryption(self) -> str | None:
        """How the connection is encrypted: "plaintext", "rc4", or None while that is not settled."""
        return self._encryption

    @property
    def downloaded(self) -> int:
        """Bytes of blocks that have come from the peer."""
        return self._protocol.downloaded

    @property
    def uploaded(self) -> int:
        """Bytes of blocks that have been sent to the peer."""
        return self._protocol.uploaded

    @property
    def wasted(self) -> int:
        """Bytes of blocks that came from the peer although nobody waited for them, or no longer."""
        return self._protocol.wasted

    def download_speed(self) -> float:
        """Bytes of blocks a second from the peer, over the last five seconds."""
        return self._download_meter.speed(monotonic())

    def upload_speed(self) -> float:
        """Bytes of blocks a second to the peer, over the last five seconds."""
        return self._upload_meter.speed(monotonic())

    @property
    def closed(self) -> bool:
        """Whether the wire is closed."""
        return self._closed

    @property
    def close_reason(self) -> Exception | None:
        """The error that closed the wire; None while it is open, or when one side just left."""
        return self._close_reason

    def __repr__(self) -> str:
        host, port = self._remote_address
        return f"<{type(self).__name__} {self.type} {host}:{port}{' closed' if self._closed else ''}>"
