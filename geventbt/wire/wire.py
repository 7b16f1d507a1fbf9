"""`Wire`: a connection to one peer, as methods that block. The work is done by the engine that it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bitarray import bitarray

import geventbt
from geventbt import limits
from geventbt.arguments import check_flags, check_seconds, given
from geventbt.concurrency.dispatch import OwnSignal
from geventbt.geometry import Geometry
from geventbt.net.addresses import address_text
from geventbt.net.tcp_path import TcpPath
from geventbt.overloads import TypedAs
from geventbt.peer_id import hash_or_id, info_hash_or_v2
from geventbt.protocol import constants as c
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.protocol.handshake import Extensions, Handshake
from geventbt.protocol.messages import Buffer
from geventbt.protocol.state import RequestKey
from geventbt.wire.engine import Engine
from geventbt.wire.message_queue import Messages
from geventbt.wire.plug_ins import PlugIns
from geventbt.wire.requests import Request, WireDelegate
from geventbt.wire.serving import ReadBlock, ReadBlocks
from geventbt.wire.transports.base import Transport
from geventbt.wire.transports.encryption import Encryption, InboundOpening, OpenedStream
from geventbt.wire.transports.sockets import is_socket
from geventbt.wire.transports.tcp import TcpTransport

if TYPE_CHECKING:
    from geventbt.wire.signal_types import On, WaitFor

_Extension = TypeVar("_Extension", bound="geventbt.Extension")

# The overloads of these methods, one a signal, would hide the others.
_typed_as_on: TypedAs[On] = TypedAs()
_typed_as_wait_for: TypedAs[WaitFor] = TypedAs()

_CLOSE_TIMEOUT = 5.0


class Wire:
    """A connection to one peer. Made by `geventbt.connect`, or by a server for each inbound peer.

    Every method may be called from any greenlet of the thread that made the wire, at any time. Those that wait for an
    answer block the calling greenlet until it is there, or raise; those that send return at once, except that `piece`
    waits while too much is queued. Killing a greenlet that is blocked in a call gives up that call and nothing else.

    After the connection is gone all of them raise `WireClosed`, whose ``__cause__`` is the reason; in another native
    thread, RuntimeError. Those that send raise `LocalProtocolError`, and send nothing, before our handshake, for what
    does not exist, such as a piece beyond the last, and for a message of a BEP that the handshakes have not agreed on
    (6, 10, 52).

    A wire that nothing refers to any more is closed when it is collected, as a socket is; greenlets that are blocked in
    its methods, and handlers of its own signals, keep it. `gevent.wait` waits for its end.

    Args:
        sock: a `Transport`, or a connected stream socket, gevent's or a plain one, which is taken over.
        incoming: whether the peer opened the connection.
        is_known_torrent: asked about the info hash of an inbound handshake; None accepts any.
        opening: how the connection begins; None for plaintext. See `geventbt.listen` for the policy.
        on_closed: called with the wire as soon as it is closed, in the hub or in the greenlet that closes it: it must
            not block. The signal `close` is for all other purposes.
    """

    # `__dict__` is for users.
    __slots__ = ("__dict__", "__weakref__", "_engine", "_link", "_pipeline", "_plug_ins", "_protocol", "_serving")

    # Extensions of `use`, by name.
    ut_metadata: geventbt.UtMetadata
    ut_pex: geventbt.UtPex
    lt_donthave: geventbt.LtDonthave
    upload_only: geventbt.UploadOnly
    ut_holepunch: geventbt.UtHolepunch

    # This wire's own signals; see `geventbt.signals`.
    on_handshake: OwnSignal
    on_extended_handshake: OwnSignal
    on_extended: OwnSignal
    on_choke: OwnSignal
    on_unchoke: OwnSignal
    on_interested: OwnSignal
    on_uninterested: OwnSignal
    on_have: OwnSignal
    on_bitfield: OwnSignal
    on_have_all: OwnSignal
    on_have_none: OwnSignal
    on_suggest: OwnSignal
    on_allowed_fast: OwnSignal
    on_reject: OwnSignal
    on_request: OwnSignal
    on_piece: OwnSignal
    on_cancel: OwnSignal
    on_port: OwnSignal
    on_keep_alive: OwnSignal
    on_hash_request: OwnSignal
    on_hashes: OwnSignal
    on_hash_reject: OwnSignal
    on_unknown_message: OwnSignal
    on_timeout: OwnSignal
    on_download: OwnSignal
    on_upload: OwnSignal
    on_close: OwnSignal
    on_error: OwnSignal

    def __init__(
        self,
        sock: Any,
        *,
        incoming: bool,
        is_known_torrent: Callable[[bytes], bool] | None = None,
        opening: InboundOpening | OpenedStream | None = None,
        on_closed: Callable[[Wire], object] | None = None,
    ) -> None:
        transport = TcpTransport(sock) if is_socket(sock) or not isinstance(sock, Transport) else sock
        self._plug_ins = PlugIns()
        self._engine = Engine(
            self, self._plug_ins, transport, incoming=incoming, is_known_torrent=is_known_torrent, on_closed=on_closed
        )
        self._link = self._engine.link
        self._protocol = self._link.protocol
        self._pipeline = self._engine.pipeline
        self._serving = self._engine.serving
        self._engine.start(opening)

    # ------------------------------------------------------------------ state

    @property
    def type(self) -> Literal["incoming", "outgoing"]:
        """The side that opened the connection: "incoming" (the peer) or "outgoing" (we)."""
        return "incoming" if self._engine.incoming else "outgoing"

    @property
    def remote_address(self) -> tuple[str, int]:
        """The peer's (host, port); ("", 0) of a Unix socket."""
        return self._link.transport.remote_address

    @property
    def local_address(self) -> tuple[str, int]:
        """Our (host, port) of this connection."""
        return self._link.transport.local_address

    @property
    def info_hash(self) -> bytes | None:
        """The 20 bytes of the torrent's info hash, as sent or else as received; None before any handshake."""
        handshake = self._protocol.handshake_sent or self._protocol.handshake_received
        return handshake.info_hash if handshake else None

    @property
    def peer_id(self) -> bytes | None:
        """The peer's id, 20 bytes; None before its handshake."""
        handshake = self._protocol.handshake_received
        return handshake.peer_id if handshake else None

    @property
    def extensions(self) -> Extensions:
        """The reserved bits of our handshake."""
        handshake = self._protocol.handshake_sent
        return handshake.extensions if handshake else Extensions()

    @property
    def peer_extensions(self) -> Extensions:
        """The reserved bits of the peer's handshake."""
        handshake = self._protocol.handshake_received
        return handshake.extensions if handshake else Extensions()

    @property
    def am_choking(self) -> bool:
        """Whether we choke the peer (BEP 3)."""
        return self._protocol.am_choking

    @property
    def am_interested(self) -> bool:
        """Whether we have declared interest in the peer's pieces (BEP 3)."""
        return self._protocol.am_interested

    @property
    def peer_choking(self) -> bool:
        """Whether the peer chokes us (BEP 3)."""
        return self._protocol.peer_choking

    @property
    def peer_interested(self) -> bool:
        """Whether the peer has declared interest in our pieces (BEP 3)."""
        return self._protocol.peer_interested

    @property
    def number_of_pieces(self) -> int | None:
        """The number of pieces of the torrent; None while unknown. It may be set once.

        Raises: see `geometry`.
        """
        return self._protocol.peer_pieces.count

    @number_of_pieces.setter
    def number_of_pieces(self, pieces: int) -> None:
        self._link.check_thread()
        self._engine.apply_constraint(self._protocol.set_pieces, pieces)

    @property
    def geometry(self) -> Geometry | None:
        """The number and sizes of the pieces; None while unknown. Once set, the peer's messages are checked against it.

        Raises:
            RemoteProtocolError: set, and the peer has referred to pieces that do not exist. The wire is closed.
            LocalProtocolError: set to another one than before, or to more than `limits.PIECES`.
        """
        return self._protocol.geometry

    @geometry.setter
    def geometry(self, geometry: Geometry) -> None:
        self._link.check_thread()
        self._engine.apply_constraint(self._protocol.set_geometry, geometry)

    @property
    def peer_pieces(self) -> bitarray:
        """A copy of the peer's pieces, big-endian.

        As long as the torrent has pieces or, while that is unknown, as the peer has announced.
        """
        return self._protocol.peer_pieces.bits

    @property
    def peer_has_all(self) -> bool:
        """Whether the peer has every piece: known from a have_all even before the number of pieces is."""
        return self._protocol.peer_pieces.has_all

    @property
    def peer_has_announced(self) -> bool:
        """Whether the peer has announced which pieces it has, even none, or any of them."""
        return self._protocol.peer_pieces.announced

    def peer_has(self, piece: int) -> bool:
        """Whether the peer has announced this piece; False for one that does not exist."""
        return piece in self._protocol.peer_pieces

    @property
    def requests(self) -> list[Request]:
        """Our pending requests, oldest first."""
        return [Request(*key) for key in self._protocol.requests]

    @property
    def owed_answers(self) -> int:
        """How many of our requests were cancelled or given up and may still be answered."""
        return self._protocol.owed_answers

    @property
    def peer_requests(self) -> list[Request]:
        """The peer's pending requests, oldest first."""
        return [Request(*key) for key in self._protocol.peer_requests]

    @property
    def has_unanswered_requests(self) -> bool:
        """Whether the peer has sent requests that no greenlet has begun to answer."""
        return bool(self._protocol.unanswered_requests)

    @property
    def request_limit(self) -> int:
        """The number of requests that we keep pending at most: the peer's `reqq`, within our own limit."""
        return self._protocol.request_limit

    @property
    def has_fast(self) -> bool:
        """Whether both sides support the fast extension (BEP 6)."""
        return self._protocol.agreed.fast

    @property
    def allowed_fast_set(self) -> frozenset[int]:
        """The pieces that the peer may request even while we choke it (BEP 6)."""
        return frozenset(self._protocol.allowed_fast_set)

    @property
    def peer_allowed_fast_set(self) -> frozenset[int]:
        """The pieces that we may request even while the peer chokes us (BEP 6)."""
        return frozenset(self._protocol.peer_allowed_fast_set)

    @property
    def extended_handshake(self) -> ExtendedHandshake:
        """Our extended handshake (BEP 10).

        Change it before the handshake, or send it again afterwards; the key `m` is added automatically.
        """
        return self._protocol.extended_handshake

    @property
    def peer_extended_handshake(self) -> ExtendedHandshake:
        """A copy of the peer's extended handshake (BEP 10), with text keys; empty until it has arrived."""
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
    def ext(self) -> dict[str, geventbt.Extension]:
        """The extensions in use, {name: plug-in}."""
        return dict(self._plug_ins)

    @property
    def encryption(self) -> Encryption | None:
        """How the connection is encrypted: "plaintext", "rc4", or None while that is not settled."""
        return self._engine.encryption

    @property
    def transport(self) -> str:
        """What carries the connection: "tcp" or "utp"."""
        return self._link.transport.name

    @property
    def downloaded(self) -> int:
        """Bytes of requested blocks received from the peer."""
        return self._protocol.downloaded

    @property
    def uploaded(self) -> int:
        """Bytes of blocks sent to the peer."""
        return self._protocol.uploaded

    @property
    def wasted(self) -> int:
        """Bytes of received blocks that were not, or no longer, requested."""
        return self._protocol.wasted

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent, because the peer reads more slowly than we write."""
        return self._link.transport.queued

    @property
    def queue_time(self) -> float | None:
        """Seconds that what we send spends in queues of the network, in front of our uplink or elsewhere.

        Over TCP by how much longer a round trip takes of late than at best, which Linux alone tells; over uTP by the
        delays of its packets (BEP 29). None where it is not known.
        """
        return None if self._link.closed else self._link.transport.queue_time

    @property
    def tcp_path(self) -> TcpPath | None:
        """What Linux knows of the way of what we send over TCP: bytes under way, acknowledged, and in queues.

        None elsewhere, over uTP, and before anything was sent.
        """
        return None if self._link.closed else self._link.transport.tcp_path

    @property
    def paused(self) -> bool:
        """Whether reading is paused, because handlers or `messages` have fallen behind."""
        return self._link.transport.paused

    def download_speed(self) -> float:
        """Bytes of blocks a second from the peer, over the last five seconds."""
        return self._engine.download_meter.speed(monotonic())

    def upload_speed(self) -> float:
        """Bytes of blocks a second to the peer, over the last five seconds."""
        return self._engine.upload_meter.speed(monotonic())

    @property
    def closed(self) -> bool:
        """Whether the wire is closed."""
        return self._link.closed

    @property
    def close_reason(self) -> Exception | None:
        """The error that closed the wire; None while it is open, or when one side just left."""
        return self._link.close_reason

    def __repr__(self) -> str:
        address = address_text(self.remote_address)
        return f"<{type(self).__name__} {self.type} {address}{' closed' if self.closed else ''}>"

    # ------------------------------------------------------------------ handshake

    def handshake(
        self,
        info_hash: bytes | str,
        peer_id: bytes | str,
        *,
        dht: bool = False,
        fast: bool = True,
        extended: bool = True,
        v2: bool = False,
        info_hash_v2: bytes | str | None = None,
        geometry: Geometry | None = None,
        bitfield: bitarray | bytes | None = None,
        interested: bool = False,
        timeout: float | None = limits.HANDSHAKE_TIMEOUT,
    ) -> Handshake:
        """Send our handshake, unless it has been sent, and block until the peer's has arrived (BEP 3).

        Args:
            info_hash: of the torrent, 20 bytes or 40 hex characters; or of version 2, 32 bytes or 64 characters, of
                which peers use the first 20 bytes.
            peer_id: ours, 20 bytes or 40 hex characters.
            dht, fast, extended, v2: the reserved bits that we set (BEP 5, 6, 10, 52).
            info_hash_v2: the info hash of version 2 of a hybrid, in one of these forms: the peer may answer with it
                (BEP 52), and then hash requests can be sent. With `v2` an inbound peer that sets the bit is answered
                with it.
            geometry: the number and sizes of the pieces, if known: the peer's messages are then checked against it.
            bitfield: the pieces that we have, to be sent right behind our handshake.
            interested: whether to send that we are interested right behind it, before we can know. A peer that has a
                free slot then unchokes us a round trip earlier.
            timeout: seconds for the whole handshake; None to wait as long as the wire is open. An inbound peer has
                `limits.HANDSHAKE_TIMEOUT` at most.

        Returns:
            The peer's handshake.

        Raises:
            HandshakeError: the peer has another torrent, is ourselves, or does not speak the protocol. The wire is
                closed.
            WireTimeout: no handshake arrived in time. The wire is closed.
            WireClosed: the peer left.
            LocalProtocolError: a handshake for another torrent has been sent; `extended_handshake` cannot be bencoded;
                or `bitfield` is not one of the torrent's pieces, and then the handshake is sent without it.
            ValueError: an info hash or peer id in none of the forms above.
            TypeError: an option has another type.
        """
        self._link.check_usable()
        check_flags(dht=dht, fast=fast, extended=extended, v2=v2, interested=interested)
        check_seconds(**given(timeout=timeout))
        seconds = float("inf") if timeout is None else timeout
        deadline = monotonic() + seconds
        short_hash, short_v2 = info_hash_or_v2(info_hash)
        if info_hash_v2 is not None:
            short_v2 = info_hash_or_v2(info_hash_v2)[0]
        ours = Handshake(short_hash, hash_or_id(peer_id, "peer id"), Extensions(dht, fast, extended, v2))
        if geometry:
            self.geometry = geometry
        self._engine.send_handshake(ours, short_v2, bitfield, interested)
        self._engine.limit_handshake(seconds, deadline)
        return self.wait_handshake()

    def wait_handshake(self, timeout: float | None = None) -> Handshake:
        """Block until the peer's handshake has arrived, and return it.

        For an inbound peer, to see what it wants before we answer.

        Args:
            timeout: seconds; None to wait as long as the wire is open. The wire stays open after it.

        Raises: see `handshake`.
        """
        protocol = self._protocol
        self._engine.conditions.wait_until(lambda: protocol.handshake_received is not None, timeout, "no handshake")
        handshake = protocol.handshake_received
        assert handshake is not None
        return handshake

    def wait_extended_handshake(self, timeout: float | None = limits.HANDSHAKE_TIMEOUT) -> ExtendedHandshake:
        """Block until the peer's extended handshake has arrived, and return it (BEP 10). It is then known which
        extensions the peer supports.

        Args:
            timeout: seconds; None to wait as long as the wire is open.

        Returns:
            See `peer_extended_handshake`; empty if the peer, or we, do not have the extension protocol.

        Raises:
            WireTimeout: it did not arrive in time.
            WireClosed: the wire is closed.
        """
        protocol = self._protocol

        def has_arrived() -> bool:
            theirs = protocol.handshake_received
            is_expected = theirs is None or (theirs.extensions.extended and self.extensions.extended)
            return bool(protocol.peer_extended_handshake) or not is_expected

        self._engine.conditions.wait_until(has_arrived, timeout, "no extended handshake")
        return self.peer_extended_handshake

    # ------------------------------------------------------------------ messages to the peer

    def choke(self) -> None:
        """Choke the peer: its pending requests are dropped, except for allowed-fast ones (BEP 3, 6)."""
        self._link.send(self._protocol.send_choke)

    def unchoke(self) -> None:
        """Unchoke the peer: it may send requests (BEP 3)."""
        self._link.send(self._protocol.send_unchoke)

    def interested(self) -> None:
        """Declare that we want pieces that the peer has (BEP 3)."""
        self._link.send(self._protocol.send_interested)

    def uninterested(self) -> None:
        """Declare that we want none of the peer's pieces (BEP 3)."""
        self._link.send(self._protocol.send_uninterested)

    not_interested = uninterested

    def have(self, piece: int) -> None:
        """Announce that we have one more piece (BEP 3)."""
        self._link.send(self._protocol.send_have, piece)

    def bitfield(self, pieces: bitarray | bytes) -> None:
        """Announce the pieces that we have, right after the handshake (BEP 3).

        Args:
            pieces: a bitarray with a bit for each piece, or the bytes of the bitfield, high bit first.
        """
        self._link.send(self._protocol.send_bitfield, pieces)

    def have_all(self) -> None:
        """Announce that we have every piece, in place of a bitfield (BEP 6)."""
        self._link.send(self._protocol.send_have_all)

    def have_none(self) -> None:
        """Announce that we have no piece, in place of a bitfield (BEP 6)."""
        self._link.send(self._protocol.send_have_none)

    def suggest(self, piece: int) -> None:
        """Suggest that the peer requests this piece, for example because it is in a cache (BEP 6)."""
        self._link.send(self._protocol.send_suggest, piece)

    def allowed_fast(self, piece: int) -> None:
        """Promise to serve this piece even while we choke the peer (BEP 6)."""
        self._link.send(self._protocol.send_allowed_fast, piece)

    def grant_allowed_fast(self) -> list[int]:
        """Send the peer its allowed-fast set, computed from its address (BEP 6).

        Returns:
            The pieces of the set.

        Raises:
            LocalProtocolError: the info hash or the number of pieces is not known.
        """
        return self._serving.grant_allowed_fast()

    def reject(self, piece: int, offset: int, length: int) -> None:
        """Refuse a pending request of the peer (BEP 6); without the fast extension it is dropped silently."""
        self._link.send(self._protocol.send_reject, piece, offset, length)

    def port(self, port: int) -> None:
        """Announce the UDP port of our DHT node, 0 to 65535 (BEP 5)."""
        self._link.send(self._protocol.send_port, port)

    def keep_alive(self) -> None:
        """Send a keep-alive (BEP 3). One is sent automatically after a long silence; see `set_keep_alive`."""
        self._link.send(self._protocol.send_keep_alive)

    def extended(self, name: str, payload: bytes) -> None:
        """Send a message of an extension that the peer supports (BEP 10).

        Args:
            name: the extension's name, such as "ut_metadata"; or "handshake", to send our extended handshake again,
                and then `payload` is ignored.
            payload: the bytes of the message, at most `limits.MESSAGE` with its header.

        Raises:
            LocalProtocolError: the peer does not support the extension, or has switched it off.
        """
        if name == "handshake":
            self._link.send(self._protocol.send_extended_handshake)
        else:
            self._link.send(self._protocol.send_extended, name, payload)

    def hash_request(self, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int) -> None:
        """Request hashes of a file's merkle tree (BEP 52).

        Args:
            pieces_root: the root of the tree, 32 bytes.
            base_layer: the layer of the hashes; 0 for those of blocks of 16 KiB.
            index: of the first hash in that layer, a multiple of `length`.
            length: the number of hashes, a power of two from 2 on.
            proof_layers: the number of layers from there upwards that the proof is to cover.
        """
        fields = (pieces_root, base_layer, index, length, proof_layers)
        self._link.send(self._protocol.send_hash_message, c.HASH_REQUEST, *fields)

    def hashes(
        self, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int, hashes: bytes
    ) -> None:
        """Answer a hash request (BEP 52).

        Args:
            pieces_root, base_layer, index, length, proof_layers: as in the request.
            hashes: those that were requested, and then the proof, 32 bytes each.
        """
        fields = (pieces_root, base_layer, index, length, proof_layers, hashes)
        self._link.send(self._protocol.send_hash_message, c.HASHES, *fields)

    def hash_reject(self, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int) -> None:
        """Refuse a hash request (BEP 52). Its fields are those of the request; see `hash_request`."""
        fields = (pieces_root, base_layer, index, length, proof_layers)
        self._link.send(self._protocol.send_hash_message, c.HASH_REJECT, *fields)

    def piece(self, piece: int, offset: int, block: Buffer) -> bool:
        """Send a block that the peer has requested (BEP 3). Waits while more than 1 MiB is queued.

        Args:
            piece, offset: where the block starts.
            block: any bytes-like object. A read-only one is sent without a copy, and must not change before it is sent.
                Its length tells, with piece and offset, which request is answered.

        Returns:
            False if the request is not, or no longer, pending: it was cancelled, or we choked the peer. Nothing is
            sent then.
        """
        return self._serving.send_piece(piece, offset, block)

    # ------------------------------------------------------------------ waits

    def wait_unchoked(self, timeout: float | None = None) -> None:
        """Block until the peer does not choke us.

        Raises:
            WireTimeout: after `timeout` seconds.
            WireClosed: the wire is closed.
        """
        protocol = self._protocol
        self._engine.conditions.wait_until(lambda: not protocol.peer_choking, timeout, "not unchoked")

    def wait_for_piece(self, piece: int, timeout: float | None = None) -> None:
        """Block until the peer has announced this piece.

        Raises:
            WireTimeout: after `timeout` seconds.
            WireClosed: the wire is closed.
        """
        pieces = self._protocol.peer_pieces
        self._engine.conditions.wait_until(lambda: piece in pieces, timeout, f"piece {piece} not announced")

    def wait_drained(self, timeout: float | None = None) -> None:
        """Block while more than the high-water mark of 1 MiB is queued for the peer.

        Raises:
            WireTimeout: after `timeout` seconds.
            WireClosed: the wire is closed.
        """
        self._serving.wait_drained(timeout)

    @_typed_as_wait_for
    def wait_for(self, signal_name: str, timeout: float | None = None) -> Any:
        """Block until the next signal of that name.

        Args:
            signal_name: such as "have"; see `geventbt.signals`.
            timeout: seconds, or None to wait as long as the wire is open.

        Returns:
            The signal's fields, a dict; type checkers know those of each signal.

        Raises:
            WireTimeout: it did not come in time.
            WireClosed: the wire is closed.
            LookupError: there is no such signal.
        """
        return self._engine.publisher.wait_for(signal_name, timeout)

    # ------------------------------------------------------------------ downloading

    def request(
        self, piece: int, offset: int, length: int, *, timeout: float | None = None, wait_unchoked: bool = False
    ) -> bytes:
        """Request a block, and block until it has arrived (BEP 3). Any number of greenlets may do so at once.

        Args:
            piece, offset, length: the block, at most 16 KiB.
            timeout: seconds for it to arrive; None for the default of `set_timeout`.
            wait_unchoked: wait without limit while the peer chokes us.

        Returns:
            The block, which is not verified.

        Raises:
            PeerChoking: the peer chokes us, and the piece is not in its allowed-fast set; or it choked us before the
                block arrived.
            RequestRejected: the peer refused (BEP 6).
            RequestTimeout: the block did not arrive in time. The wire stays usable.
            RequestCancelled: another greenlet called `cancel`.
            PieceNotAvailable: the peer does not have the piece.
            LocalProtocolError: there is no such block, or our handshake is not sent.
            WireClosed: the wire is closed.
        """
        return self._pipeline.request(piece, offset, length, timeout, wait_unchoked)

    def read(self, piece: int, offset: int, length: int, *, timeout: float | None = None) -> bytearray:
        """Read any range of a piece: requested in blocks of 16 KiB, as many at once as the peer queues.

        Args:
            piece, offset, length: the range.
            timeout: seconds without any block; None for the default of `set_timeout`.

        Returns:
            `length` bytes, which are not verified.

        Raises: see `request`.
        """
        buffer = bytearray(length)
        self._pipeline.read_into(piece, offset, buffer, timeout)
        return buffer

    def read_into(
        self, piece: int, offset: int, buffer: bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        """Read a range of a piece, as long as `buffer`, into it.

        Args:
            piece, offset: where the range starts.
            buffer: a writable, contiguous buffer, whose size must not change meanwhile.
            timeout: seconds without any block; None for the default of `set_timeout`.

        Raises: see `request`; the buffer's content is then undefined. TypeError if it is not a writable buffer.
        """
        self._pipeline.read_into(piece, offset, buffer, timeout)

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """Cancel a pending request: the greenlets that wait for it get `RequestCancelled` (BEP 3).

        Does nothing if it is not pending.
        """
        self._pipeline.cancel(piece, offset, length)

    def forget_piece(self, piece: int) -> bool:
        """Note that the peer no longer has a piece (BEP 54): our requests for it fail with `PieceNotAvailable`.

        Returns:
            Whether the peer had it.
        """
        return self._pipeline.lose_piece(piece)

    def set_timeout(self, seconds: float) -> None:
        """Set the default time for a request to be answered, in seconds; `limits.REQUEST_TIMEOUT` before.

        Raises:
            ValueError: it is not more than 0.
        """
        check_seconds(seconds=seconds)
        if not seconds > 0:
            raise ValueError(f"a timeout of {seconds} seconds: must be more than 0")
        self._pipeline.timeout = seconds

    # ------------------------------------------------------------------ seeding

    def incoming_requests(self) -> Iterator[Request]:
        """The peer's requests, in order; blocks between them, and ends when the wire closes.

        Answer each with `piece` or `reject`. A request that is cancelled, or dropped because we choke the peer, before
        its turn does not appear.
        """
        yield from self._serving.incoming_requests()

    def serve(self, read_block: ReadBlock) -> None:
        """Answer the peer's requests until the wire closes.

        Args:
            read_block: called with piece, offset and length; returns that many bytes, in any bytes-like object (a
                read-only one is sent without a copy), or raises, and then the request is rejected (BEP 6) or, without
                the fast extension, dropped, and the wire stays open.

        Raises:
            TypeError: `read_block` is a coroutine function.
        """
        self._serving.serve(read_block)

    def serve_pending(self, read_blocks: ReadBlocks) -> None:
        """Answer the peer's requests like `serve`, but many at a time, until none is left.

        For a client that keeps no greenlet for a peer without requests.

        Args:
            read_blocks: called with the oldest requests, as many as the peer takes in half a second, at most 1 MiB of
                them. It returns for the first of them, at least for one, the block in a buffer that nothing changes, or
                the exception for which it is refused.
        """
        self._serving.serve_pending(read_blocks, self.upload_speed)

    # ------------------------------------------------------------------ for a client with many wires

    def attach(self, delegate: WireDelegate) -> None:
        """Have a delegate follow this wire: it is called at once, in the hub, without a greenlet between."""
        self._pipeline.attach(delegate)

    def request_run(self, piece: int, offset: int, length: int) -> None:
        """Request a range in blocks of 16 KiB for the delegate, without waiting. Pending blocks are left out.

        Raises: see `request`, before anything is sent.
        """
        self._pipeline.request_run(piece, offset, length)

    def cancel_all(self) -> None:
        """Cancel all requests of the delegate, which is not notified of it, and all that were given up."""
        self._pipeline.cancel_all()

    def give_up(self, requests: Iterable[RequestKey]) -> None:
        """Give up some requests of the delegate; see `give_up_all`."""
        self._pipeline.give_up(requests)

    def give_up_all(self) -> None:
        """Give up all requests of the delegate, which is not notified of it. The peer is not told: blocks that it is
        about to send are worth having; see `WireDelegate.on_late_block`."""
        self._pipeline.give_up_all()

    @property
    def silence(self) -> float:
        """Seconds since the peer's last sign of life: a message, or a byte of a block that we asked for."""
        return self._engine.silence

    # ------------------------------------------------------------------ messages, signals, extensions

    def messages(self) -> Messages:
        """The peer's messages from now on, as objects with the BEPs' field names; blocks that we requested included.

        An iterator that blocks between them, and ends when the wire closes. See `geventbt.protocol.message_objects` for
        their classes. If iteration falls behind, the peer has to wait. One iterator at a time; it also ends when it is
        closed or dropped, or when the peer would have to wait for a greenlet that is dead.

        Raises:
            LocalProtocolError: there is an iterator already, and the greenlet that iterates is alive.
        """
        # Imported where it is needed: few programs need the classes of messages.
        return Messages(self._engine.router.keep_messages(), self)

    @_typed_as_on
    def on(self, name: str, handler: Callable[..., object]) -> Any:
        """Call ``handler(wire, **fields)`` at every signal of that name; see `geventbt.signals`.

        The wire holds a reference to the handler.

        Returns:
            The handler, for `off`.

        Raises:
            LookupError: there is no such signal.
            TypeError: the handler is a coroutine function.
        """
        return self._engine.publisher.own(name).connect(handler)

    @_typed_as_on
    def once(self, name: str, handler: Callable[..., object]) -> Any:
        """Call ``handler(wire, **fields)`` at the next signal of that name only. Returns and raises: see `on`."""
        self._engine.publisher.own(name).connect_once(handler)
        return handler

    def off(self, name: str, handler: Callable[..., object]) -> None:
        """Stop calling a handler of `on` or `once`.

        Raises:
            LookupError: there is no such signal.
        """
        self._engine.publisher.own(name).disconnect(handler)

    def use(self, factory: Callable[[Wire], _Extension]) -> _Extension:
        """Use an extension (BEP 10). After the handshake, the peer is told of it by another extended handshake, and the
        extension of the handshakes that have come.

        Args:
            factory: usually a subclass of `geventbt.Extension`: called with the wire, it returns the plug-in, whose
                `name` is the one in the extended handshake.

        Returns:
            The plug-in, which is from now on also ``wire.<name>`` and ``wire.ext[name]``.

        Raises:
            LocalProtocolError: the name is empty, or is an attribute of a wire or of another extension.
        """
        self._link.check_usable()
        extension = factory(self)
        self._plug_ins.add(extension, type(self))
        mapping = self._protocol.extended_mapping
        mapping[max(mapping, default=0) + 1] = extension.name
        if self._protocol.agreed.extended:
            self.extended("handshake", b"")
        self._engine.router.on_late_extension(extension)
        return extension

    def __getattr__(self, name: str) -> Any:
        """Extensions by their name, and this wire's own signals as ``on_<name>``."""
        if not name.startswith("_"):
            if name in self._plug_ins:
                return self._plug_ins[name]
            if name.startswith("on_"):
                try:
                    return self._engine.publisher.own(name[3:])
                except LookupError as error:
                    raise AttributeError(str(error)) from None
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ------------------------------------------------------------------ closing

    def set_keep_alive(self, on: bool) -> None:
        """Switch the keep-alive on or off that is sent after 100 seconds of our silence. It is on by default."""
        self._engine.set_keep_alive(on)

    def close(self, timeout: float = _CLOSE_TIMEOUT) -> None:
        """Close the wire when what is queued has been sent.

        All greenlets that wait on it get `WireClosed`. Closing a closed wire does nothing.

        Args:
            timeout: seconds for the queue to drain, and of these a second at most for the peer to close as well; 0
                closes at once.
        """
        self._engine.close(timeout)

    def ready(self) -> bool:
        """Whether the wire is closed; for `gevent.wait`."""
        return self.closed

    def rawlink(self, callback: Callable[[Wire], object]) -> None:
        """Call a function with the wire, in the hub, once it is closed; for `gevent.wait` and `gevent.iwait`."""
        self._link.check_thread()
        self._engine.link_end(callback)

    def unlink(self, callback: Callable[[Wire], object]) -> None:
        """Undo `rawlink`."""
        self._engine.unlink_end(callback)

    def __del__(self) -> None:
        # Any thread may collect it, but only its own may close it. It is there until the call has been made.
        with suppress(Exception):
            if not self._link.closed:
                self._link.hub.loop.run_callback_threadsafe(self._engine.abandon, self, self._plug_ins)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
