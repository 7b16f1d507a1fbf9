"""`PeerProtocol`: both sides of one connection as a state machine, without a socket or a clock (sans-I/O).

Theory. A connection is two independent streams: what we send and what the peer sends. Each begins with a handshake and
goes on with messages. Four booleans rule the transfer of blocks (BEP 3): each side chokes or unchokes the other, and
each is interested or not. Both start choked and not interested. A request may be sent while the peer does not choke us;
it is *pending* until its block, a reject, a choke, a cancel or the end of the connection settles it. Messages of the
two streams cross on the way, so an answer may arrive to what has just been given up: such requests are remembered as
*forgotten* for a while, and their late answers are dropped without blame.

The contract has three calls, as in h11 and the core of websockets:

- ``receive(data)`` takes the peer's bytes and yields *events*: the messages of the parser that mean something new, as
tuples, and
  ``(FAILED, key, token, error)`` for each of our requests that they end. It raises `RemoteProtocolError` when the peer
  breaks a rule.
- ``send_...()`` puts our messages into `outgoing`, or raises `LocalProtocolError`, and then nothing has changed.
- ``take_outgoing()`` gives the buffers that are to be written to the socket.

Whoever sends a request gives a token with it, which comes back with the block or the failure; the protocol never looks
into it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from bitarray import bitarray

from geventbt import limits
from geventbt.errors import (
    HandshakeError,
    LocalProtocolError,
    PeerChoking,
    PieceNotAvailable,
    RemoteProtocolError,
    RequestFailed,
    RequestRejected,
)
from geventbt.geometry import Geometry
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.extended import ExtendedHandshake, read_extended_handshake, write_extended_handshake
from geventbt.protocol.handshake import Extensions, Handshake
from geventbt.protocol.parser import Parser, bep_of
from geventbt.protocol.pieces import PeerPieces

RequestKey: TypeAlias = tuple[int, int, int]
"""(piece, offset, length)"""
Event: TypeAlias = tuple[Any, ...]

_EXTENSIONS = 256
"""Extensions, and keys of the extended handshake, that are kept of a peer."""
_END_OF_OFFSETS = 1 << 32
_NOT_PENDING = object()
_PIECE = c.PIECE
_REQUEST = c.REQUEST

FAILED = -4
"""The id of the event for one of our requests that has failed: ``(FAILED, key, token, error)``."""


class PeerProtocol:
    """One connection to a peer, as bytes in and events out. See the module's docstring.

    Args:
        is_known_torrent: asked about the info hash of an inbound handshake; None takes any.

    Attributes:
        handshake_sent: our handshake, or None.
        handshake_received: the peer's, or None.
        am_choking, am_interested, peer_choking, peer_interested: the state of BEP 3.
        peer_pieces: what the peer has, a `PeerPieces`.
        requests: our pending requests, {(piece, offset, length): token}.
        peer_requests: the peer's pending requests, in order of arrival.
        unserved: those of them that nobody has taken to serve yet.
        allowed_fast_set, peer_allowed_fast_set: pieces that may be asked for while choked, granted by us and by the
            peer (BEP 6).
        extended_handshake, peer_extended_handshake: what each side says of itself (BEP 10).
        extended_mapping: our extensions, {id: name}. peer_extended_mapping: the peer's, {name: id}.
        request_limit: how many requests the peer is ready to queue: its `reqq`, within our own limit.
        downloaded, uploaded: bytes of blocks.
        outgoing: buffers to be written.
    """

    def __init__(self, is_known_torrent: Callable[[bytes], bool] | None = None) -> None:
        self.handshake_sent: Handshake | None = None
        self.handshake_received: Handshake | None = None
        self.am_choking = self.peer_choking = True
        self.am_interested = self.peer_interested = False
        self.peer_pieces = PeerPieces()
        self.geometry: Geometry | None = None
        self.requests: dict[RequestKey, Any] = {}
        self.peer_requests: dict[RequestKey, None] = {}
        self.unserved: OrderedDict[RequestKey, None] = OrderedDict()
        self.allowed_fast_set: set[int] = set()
        self.peer_allowed_fast_set: set[int] = set()
        self.extended_handshake: ExtendedHandshake = {"reqq": limits.PEER_REQUESTS}
        self.peer_extended_handshake: ExtendedHandshake = {}
        self.extended_mapping: dict[int, str] = {}
        self.peer_extended_mapping: dict[str, int] = {}
        self.request_limit = limits.DEFAULT_REQQ
        self.downloaded = self.uploaded = 0
        self.outgoing: list[m.Buffer] = []
        # What both sides' reserved bits agree on; all off until both handshakes are known.
        self.agreed = Extensions()
        self._is_known_torrent = is_known_torrent
        self._parser = Parser()
        self._forgotten: OrderedDict[RequestKey, int] = OrderedDict()
        self._unwanted_answers = 0

    # ------------------------------------------------------------------ state

    @property
    def established(self) -> bool:
        """Whether both handshakes are done."""
        return self.handshake_sent is not None and self.handshake_received is not None

    def set_pieces(self, pieces: int) -> None:
        """Make the number of pieces known, and check what the peer has said so far against it.

        Raises:
            LocalProtocolError: for an impossible number, or another one than before.
            RemoteProtocolError: when the peer spoke of pieces that do not exist.
        """
        if not 1 <= pieces <= limits.PIECES:
            raise LocalProtocolError(f"a torrent of {pieces} pieces: must be 1 to {limits.PIECES}")
        if self.peer_pieces.count not in (None, pieces):
            raise LocalProtocolError(f"the number of pieces is {self.peer_pieces.count} already, not {pieces}")
        for key in self.peer_requests:
            if key[0] >= pieces:
                raise RemoteProtocolError(f"a request out of range: {key}", message_id=c.REQUEST)
        self.peer_pieces.set_count(pieces)
        self._parser.bitfield_length = (pieces + 7) // 8
        self.peer_allowed_fast_set = {piece for piece in self.peer_allowed_fast_set if piece < pieces}

    def set_geometry(self, geometry: Geometry) -> None:
        """Make the pieces' number and sizes known; ranges are checked against them from now on.

        Raises as `set_pieces`.
        """
        self.set_pieces(geometry.pieces)
        for key in self.peer_requests:
            if not geometry.contains(*key):
                raise RemoteProtocolError(f"a request out of range: {key}", message_id=c.REQUEST)
        self.geometry = geometry

    @property
    def missing(self) -> int:
        """The bytes that the message being received still lacks, where that is known: a reader that takes them first
        finds whole messages behind."""
        return self._parser.missing

    def may_request(self, piece: int) -> bool:
        """Whether the peer would answer a request for this piece now."""
        return not self.peer_choking or piece in self.peer_allowed_fast_set

    # ------------------------------------------------------------------ sending

    def take_outgoing(self) -> list[m.Buffer]:
        """The buffers to write, in order; they are ours no longer."""
        buffers, self.outgoing = self.outgoing, []
        return buffers

    def send_handshake(self, handshake: Handshake) -> None:
        """Send ours. Once; and for an inbound peer with the info hash that it asked for.

        Raises:
            LocalProtocolError: when it was sent before.
            HandshakeError: when the peer's handshake, known already, is for another torrent, or has our peer id.
        """
        if self.handshake_sent:
            raise LocalProtocolError("the handshake has been sent already")
        if len(handshake.info_hash) != c.HASH_LENGTH or len(handshake.peer_id) != c.HASH_LENGTH:
            raise LocalProtocolError("info hash and peer id have 20 bytes each")
        if self.handshake_received:
            _check_match(handshake, self.handshake_received)
        self.handshake_sent = handshake
        self.outgoing.append(handshake.to_bytes())
        self._agree()

    def send_choke(self) -> None:
        """``<len=0001><id=0>`` (BEP 3).

        Drops the peer's pending requests; with the fast extension it is told so for each (BEP 6).
        """
        self._require_handshake()
        if self.am_choking:
            return
        self.am_choking = True
        self.outgoing.append(m.pack_bare(c.CHOKE))
        for key in [key for key in self.peer_requests if key[0] not in self.allowed_fast_set]:
            self._drop_peer_request(key)

    def send_unchoke(self) -> None:
        """``<len=0001><id=1>`` (BEP 3)."""
        self._require_handshake()
        if self.am_choking:
            self.am_choking = False
            self.outgoing.append(m.pack_bare(c.UNCHOKE))

    def send_interested(self) -> None:
        """``<len=0001><id=2>`` (BEP 3)."""
        self._require_handshake()
        if not self.am_interested:
            self.am_interested = True
            self.outgoing.append(m.pack_bare(c.INTERESTED))

    def send_uninterested(self) -> None:
        """``<len=0001><id=3>`` (BEP 3)."""
        self._require_handshake()
        if self.am_interested:
            self.am_interested = False
            self.outgoing.append(m.pack_bare(c.UNINTERESTED))

    def send_have(self, piece: int) -> None:
        """``<len=0005><id=4><index>`` (BEP 3)."""
        self._require_piece(piece)
        self.outgoing.append(m.pack_index(c.HAVE, piece))

    def send_bitfield(self, pieces: bitarray | bytes) -> None:
        """``<len=0001+X><id=5><bitfield>`` (BEP 3).

        A `bitarray` also tells the number of pieces, where it is not known yet.
        """
        self._require_handshake()
        count = self.peer_pieces.count
        if isinstance(pieces, bitarray):
            if count is None:
                self._learn_pieces(len(pieces))
            elif len(pieces) != count:
                raise LocalProtocolError(f"a bitfield of {len(pieces)} pieces: there are {count}")
            pieces = bitarray(pieces, endian="big").tobytes()
        elif count is None:
            if not 1 <= len(pieces) <= limits.MESSAGE:
                raise LocalProtocolError(f"a bitfield of {len(pieces)} bytes: must be 1 to {limits.MESSAGE}")
        elif len(pieces) != (count + 7) // 8 or pieces[-1] & (0xFF >> (count % 8 or 8)):
            raise LocalProtocolError(
                f"a bitfield of {len(pieces)} bytes is none of {count} pieces, or has spare bits set"
            )
        self.outgoing.append(m.pack_bitfield(bytes(pieces)))

    def _learn_pieces(self, pieces: int) -> None:
        """Take the number of pieces from a bitfield of ours; if the peer has told of others, who is wrong is for the
        caller to find out."""
        try:
            self.set_pieces(pieces)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"a bitfield of {pieces} pieces, but {error}") from error

    def send_request(self, piece: int, offset: int, length: int, token: Any) -> None:
        """``<len=0013><id=6><index><begin><length>`` (BEP 3). The caller has seen to it that the same request is not
        pending.

        Raises:
            LocalProtocolError: before the handshake, or for a range outside the piece or over 16 KiB.
            PeerChoking: when the peer would not answer.
            PieceNotAvailable: when the peer has told what it has, and this piece is not among it.
        """
        if length > limits.BLOCK:
            raise LocalProtocolError(f"a request for {length} bytes: at most {limits.BLOCK}")
        if len(self.requests) >= limits.REQUESTS:
            raise LocalProtocolError(f"{limits.REQUESTS} requests are pending: at most so many at a time")
        self._check_request(piece, offset, length)
        self.requests[piece, offset, length] = token
        self.outgoing.append(m.pack_range(c.REQUEST, piece, offset, length))

    def _check_request(self, piece: int, offset: int, length: int) -> None:
        """Refuse to ask for a range that does not exist or that the peer would not send."""
        if self.handshake_sent is None:
            raise LocalProtocolError("the handshake comes first")
        if self.peer_choking and piece not in self.peer_allowed_fast_set:
            raise PeerChoking("the peer chokes us")
        geometry = self.geometry
        if (
            not geometry.contains(piece, offset, length)
            if geometry is not None
            else offset < 0 or length < 1 or offset + length > _END_OF_OFFSETS or not self.peer_pieces.is_index(piece)
        ):
            raise LocalProtocolError(f"no such range: piece {piece}, offset {offset}, length {length}")
        if not self.peer_pieces.may_have(piece):
            raise PieceNotAvailable(f"the peer does not have piece {piece}")

    def send_requests(self, piece: int, offset: int, end: int, count: int, token: Any) -> int:
        """Request up to `count` blocks of a range, which start at `offset` and end at `end`, as `send_request` does
        one.

        It is the same as so many calls of `send_request`, at a third of their cost. It stops before a block that is
        pending already.

        Returns:
            Where the next block starts.
        """
        requests = self.requests
        pack = m.RANGE.pack
        packed = []
        size = limits.BLOCK
        count = min(count, limits.REQUESTS - len(requests))
        if count > 0 and offset < end:
            self._check_request(piece, offset, end - offset)
        while count > 0 and offset < end:
            if end - offset < size:
                size = end - offset
            key = (piece, offset, size)
            if key in requests:
                break
            requests[key] = token
            packed.append(pack(13, c.REQUEST, piece, offset, size))
            offset += size
            count -= 1
        if packed:
            self.outgoing.append(b"".join(packed))
        return offset

    def send_cancel(self, piece: int, offset: int, length: int) -> Any:
        """``<len=0013><id=8><index><begin><length>`` (BEP 3), for a pending request.

        Returns:
            Its token, or None if it is not pending: then nothing is sent.
        """
        key = (piece, offset, length)
        token = self.requests.pop(key, _NOT_PENDING)
        if token is _NOT_PENDING:
            return None
        self._forget(key)
        self.outgoing.append(m.pack_range(c.CANCEL, piece, offset, length))
        return token

    def send_piece(self, piece: int, offset: int, block: m.Buffer) -> bool:
        """``<len=0009+X><id=7><index><begin><block>`` (BEP 3), the answer to a pending request of the peer.

        Returns:
            False if the peer does not want it (any more): then nothing is sent.
        """
        size = block.nbytes if type(block) is memoryview else len(block)
        key = (piece, offset, size)
        if key not in self.peer_requests:
            return False
        del self.peer_requests[key]
        if key in self.unserved:
            del self.unserved[key]
        self.outgoing += (m.PIECE_HEADER.pack(9 + size, _PIECE, piece, offset), block)
        self.uploaded += size
        return True

    def send_port(self, port: int) -> None:
        """``<len=0003><id=9><listen-port>`` (BEP 5)."""
        self._require_handshake()
        if not 0 <= port <= 65535:
            raise LocalProtocolError(f"port {port}: must be 0 to 65535")
        self.outgoing.append(m.pack_port(port))

    def send_keep_alive(self) -> None:
        """``<len=0000>`` (BEP 3)."""
        self._require_handshake()
        self.outgoing.append(m.KEEP_ALIVE_BYTES)

    def send_suggest(self, piece: int) -> None:
        """``<len=0005><id=13><index>`` (BEP 6)."""
        self._require_fast()
        self._require_piece(piece)
        self.outgoing.append(m.pack_index(c.SUGGEST, piece))

    def send_have_all(self) -> None:
        """``<len=0001><id=14>`` (BEP 6)."""
        self._require_fast()
        self.outgoing.append(m.pack_bare(c.HAVE_ALL))

    def send_have_none(self) -> None:
        """``<len=0001><id=15>`` (BEP 6)."""
        self._require_fast()
        self.outgoing.append(m.pack_bare(c.HAVE_NONE))

    def send_reject(self, piece: int, offset: int, length: int) -> None:
        """``<len=0013><id=16><index><begin><length>`` (BEP 6), for a pending request of the peer; one no longer pending
        is left alone."""
        self._require_fast()
        if (piece, offset, length) in self.peer_requests:
            self._drop_peer_request((piece, offset, length))

    def drop_request(self, piece: int, offset: int, length: int) -> None:
        """Give a pending request of the peer up: rejected with the fast extension, without it silently, as BEP 3 has no
        word for it."""
        if (piece, offset, length) in self.peer_requests:
            self._drop_peer_request((piece, offset, length))

    def send_allowed_fast(self, piece: int) -> None:
        """``<len=0005><id=17><index>`` (BEP 6). The piece's requests are answered even while we choke."""
        self._require_fast()
        self._require_piece(piece)
        self.allowed_fast_set.add(piece)
        self.outgoing.append(m.pack_index(c.ALLOWED_FAST, piece))

    def send_extended_handshake(self) -> None:
        """``<len=0002+X><id=20><0><bencoded dictionary>`` (BEP 10).

        It goes out by itself after the handshake; again when something has changed.
        """
        self._require_extended()
        mapping = {name: number for number, name in self.extended_mapping.items()}
        payload = write_extended_handshake({**self.extended_handshake, "m": mapping})
        self.outgoing.append(m.pack_extended(c.EXTENDED_HANDSHAKE, payload))

    def send_extended(self, name: str, payload: bytes) -> None:
        """``<len=0002+X><id=20><the peer's id for the extension><payload>`` (BEP 10).

        Raises:
            LocalProtocolError: when the peer has not offered, or has switched off, the extension.
        """
        self._require_extended()
        if name not in self.peer_extended_mapping:
            raise LocalProtocolError(f"the peer does not support the extension {name!r}")
        self.outgoing.append(m.pack_extended(self.peer_extended_mapping[name], payload))

    def send_hash_message(self, message_id: int, *fields: Any) -> None:
        """A hash request, hashes or hash reject (BEP 52); see `messages.pack_hash_range` for the fields."""
        self._require_handshake()
        if not self.agreed.v2:
            raise LocalProtocolError("the peers have not agreed on BitTorrent v2")
        self.outgoing.append(m.pack_hash_range(message_id, *fields))

    def _require_handshake(self) -> None:
        if not self.handshake_sent:
            raise LocalProtocolError("the handshake comes first")

    def _require_fast(self) -> None:
        if not self.agreed.fast:
            raise LocalProtocolError("the peers have not agreed on the fast extension (BEP 6)")

    def _require_extended(self) -> None:
        if not self.agreed.extended:
            raise LocalProtocolError("the peers have not agreed on the extension protocol (BEP 10)")

    def _require_piece(self, piece: int) -> None:
        self._require_handshake()
        if not self.peer_pieces.is_index(piece):
            raise LocalProtocolError(f"there is no piece {piece}")

    def _drop_peer_request(self, key: RequestKey) -> None:
        del self.peer_requests[key]
        self.unserved.pop(key, None)
        self._refuse(key)

    def _refuse(self, key: RequestKey) -> None:
        if self.agreed.fast:
            self.outgoing.append(m.pack_range(c.REJECT, *key))

    # ------------------------------------------------------------------ our pending requests

    def lose_piece(self, piece: int) -> list[Event]:
        """Take a donthave (BEP 54): the peer has the piece no longer, and our pending requests for it end."""
        self.peer_pieces.remove(piece)
        keys = [key for key in self.requests if key[0] == piece]
        return list(self._fail(keys, PieceNotAvailable, f"the peer no longer has piece {piece}"))

    def _fail(self, keys: Iterable[RequestKey], error: type[RequestFailed], text: str) -> Iterator[Event]:
        for key in keys:
            token = self.requests.pop(key, _NOT_PENDING)
            # Whoever heard of the first failure may have cancelled the others.
            if token is not _NOT_PENDING:
                self._forget(key)
                yield (FAILED, key, token, error(text))

    def _forget(self, key: RequestKey) -> None:
        """One more answer to this request may still be on its way."""
        self._forgotten[key] = self._forgotten.pop(key, 0) + 1
        if len(self._forgotten) > limits.FORGOTTEN_REQUESTS:
            self._forgotten.popitem(last=False)

    def _was_forgotten(self, key: RequestKey) -> bool:
        """Whether an answer to this request is one that a race explains; it then explains one fewer."""
        count = self._forgotten.get(key, 0)
        if count > 1:
            self._forgotten[key] = count - 1
        elif count:
            del self._forgotten[key]
        return count > 0

    def _note_unwanted(self, key: RequestKey, message_id: int) -> None:
        """Drop an answer that nobody waits for: a race explains it, or the peer may not do it for ever."""
        if self._was_forgotten(key):
            return
        self._unwanted_answers += 1
        if self._unwanted_answers > limits.UNWANTED_ANSWERS:
            raise RemoteProtocolError(
                "too many answers that were never asked for", message_id=message_id, bep=bep_of(message_id)
            )

    # ------------------------------------------------------------------ receiving

    def receive(self, data: m.Buffer) -> Iterator[Event]:
        """Take the peer's next bytes. The iterator must be run to its end; buffers in the events are valid until the
        next call.

        Yields:
            Messages as ``(id, *fields)``: a piece as ``(PIECE, piece, offset, block, token)``, and ``(FAILED, key,
            token, error)``.

        Raises:
            RemoteProtocolError: when the peer breaks a rule; what came before has been yielded, and the connection
                is to be closed.
        """
        requests = self.requests
        for message in self._parser.feed(data):
            if message[0] == _PIECE:
                _, piece, offset, block = message
                length = len(block)
                token = requests.pop((piece, offset, length), _NOT_PENDING)
                if token is _NOT_PENDING:
                    self._note_unwanted((piece, offset, length), _PIECE)
                else:
                    self.downloaded += length
                    yield (_PIECE, piece, offset, block, token)
            elif message[0] == _REQUEST:
                if self._take_request(message[1:]):
                    yield message
            elif message[0] in _HANDLERS:
                yield from _HANDLERS[message[0]](self, message)
            else:
                yield message

    @property
    def _allowed_to_peer(self) -> Extensions:
        """What the peer may use: what is agreed or, while it cannot know our handshake, all that it promised itself."""
        if self.handshake_sent or not self.handshake_received:
            return self.agreed
        return self.handshake_received.extensions

    def _agree(self) -> None:
        """Once both handshakes are known: find what both sides support, and send the extended handshake."""
        ours, theirs = self.handshake_sent, self.handshake_received
        if not ours or not theirs:
            return
        self.agreed = Extensions(
            dht=ours.extensions.dht and theirs.extensions.dht,
            fast=ours.extensions.fast and theirs.extensions.fast,
            extended=ours.extensions.extended and theirs.extensions.extended,
            v2=ours.extensions.v2 and theirs.extensions.v2,
        )
        if self.agreed.extended:
            self.send_extended_handshake()

    def _on_handshake(self, message: Event) -> Iterable[Event]:
        handshake = Handshake(*message[1:])
        if self.handshake_sent:
            _check_match(self.handshake_sent, handshake)
        if self._is_known_torrent and not self._is_known_torrent(handshake.info_hash):
            raise HandshakeError(f"the peer asks for an unknown torrent, {handshake.info_hash.hex()}")
        self.handshake_received = handshake
        self._agree()
        return (message,)

    def _on_choke(self, message: Event) -> Iterator[Event]:
        self.peer_choking = True
        yield message
        keys = [key for key in self.requests if key[0] not in self.peer_allowed_fast_set]
        yield from self._fail(keys, PeerChoking, "the peer choked us")

    def _on_unchoke(self, message: Event) -> Iterable[Event]:
        self.peer_choking = False
        return (message,)

    def _on_interested(self, message: Event) -> Iterable[Event]:
        self.peer_interested = True
        return (message,)

    def _on_uninterested(self, message: Event) -> Iterable[Event]:
        self.peer_interested = False
        return (message,)

    def _on_have(self, message: Event) -> Iterable[Event]:
        return (message,) if self.peer_pieces.add(message[1]) else ()

    def _on_bitfield(self, message: Event) -> Iterable[Event]:
        self.peer_pieces.set_bitfield(message[1])
        return (message,)

    def _take_request(self, key: RequestKey) -> bool:
        """Hold a request of the peer, or refuse it; whether it is held, and new."""
        piece, offset, length = key
        geometry = self.geometry
        # A length over the limit is refused below, not an offence by itself.
        if (
            not geometry.contains(piece, offset, min(length, limits.PEER_BLOCK))
            if geometry is not None
            else not length or not self.peer_pieces.is_index(piece)
        ):
            raise RemoteProtocolError(f"a request out of range: {key}", message_id=c.REQUEST)
        held = self.peer_requests
        if key in held:
            return False
        if (
            (self.am_choking and piece not in self.allowed_fast_set)
            or length > limits.PEER_BLOCK
            or len(held) >= limits.PEER_REQUESTS
        ):
            self._refuse(key)
            return False
        held[key] = self.unserved[key] = None
        return True

    def _on_cancel(self, message: Event) -> Iterable[Event]:
        key: RequestKey = message[1:]
        if key not in self.peer_requests:
            return ()
        self._drop_peer_request(key)
        return (message,)

    def _on_suggest(self, message: Event) -> Iterable[Event]:
        self._check_fast(message[0])
        return (message,) if self.peer_pieces.is_index(message[1]) else ()

    def _on_have_all(self, message: Event) -> Iterable[Event]:
        self._check_fast(message[0])
        self.peer_pieces.set_all()
        return (message,)

    def _on_have_none(self, message: Event) -> Iterable[Event]:
        self._check_fast(message[0])
        self.peer_pieces.set_none()
        return (message,)

    def _on_reject(self, message: Event) -> Iterator[Event]:
        self._check_fast(message[0])
        key: RequestKey = message[1:]
        if self.peer_choking:
            # It was allowed, and is refused all the same: believe the answer (as libtorrent does).
            self.peer_allowed_fast_set.discard(key[0])
        if self._was_forgotten(key):
            # Each request has one answer (BEP 6): this is the older one's, even if the same is pending again.
            return
        token = self.requests.pop(key, _NOT_PENDING)
        if token is _NOT_PENDING:
            self._note_unwanted(key, c.REJECT)
        else:
            yield message
            yield (FAILED, key, token, RequestRejected(f"the peer rejected the request {key}"))

    def _on_allowed_fast(self, message: Event) -> Iterable[Event]:
        self._check_fast(message[0])
        piece = message[1]
        known = self.peer_allowed_fast_set
        if not self.peer_pieces.is_index(piece) or piece in known or len(known) >= limits.ALLOWED_FAST_KEPT:
            return ()
        known.add(piece)
        return (message,)

    def _on_extended(self, message: Event) -> Iterable[Event]:
        if not self._allowed_to_peer.extended:
            return ((c.UNKNOWN, c.EXTENDED, bytes([message[1]]) + message[2]),)
        if message[1] == c.EXTENDED_HANDSHAKE:
            self._merge_extended_handshake(read_extended_handshake(message[2]))
        return (message,)

    def _merge_extended_handshake(self, news: ExtendedHandshake) -> None:
        """A later extended handshake adds to the earlier ones; an id of 0 switches an extension off (BEP 10)."""
        mapping = {**self.peer_extended_mapping, **news.pop("m", {})}
        mapping = {name: number for name, number in mapping.items() if number}
        if len(mapping) <= _EXTENSIONS:
            self.peer_extended_mapping = mapping
        told = {**self.peer_extended_handshake, **news}
        if len(told) <= _EXTENSIONS:
            self.peer_extended_handshake = told
            self.request_limit = min(told.get("reqq", limits.DEFAULT_REQQ), limits.REQUESTS)
        self.peer_extended_handshake["m"] = dict(self.peer_extended_mapping)

    def _on_hash_message(self, message: Event) -> Iterable[Event]:
        return (message,) if self._allowed_to_peer.v2 else ((c.UNKNOWN, message[0], m.pack_hash_range(*message)[5:]),)

    def _check_fast(self, message_id: int) -> None:
        if not self._allowed_to_peer.fast:
            raise RemoteProtocolError(
                "a message of the fast extension, which is not agreed upon", message_id=message_id, bep=6
            )


def _check_match(ours: Handshake, theirs: Handshake) -> None:
    if theirs.info_hash != ours.info_hash:
        raise HandshakeError(f"the peer's torrent is {theirs.info_hash.hex()}, ours {ours.info_hash.hex()}")
    if theirs.peer_id == ours.peer_id:
        raise HandshakeError("connected to ourselves: the peer has our peer id")


_HANDLERS: dict[int, Callable[[PeerProtocol, Event], Iterable[Event]]] = {
    c.HANDSHAKE: PeerProtocol._on_handshake,
    c.CHOKE: PeerProtocol._on_choke,
    c.UNCHOKE: PeerProtocol._on_unchoke,
    c.INTERESTED: PeerProtocol._on_interested,
    c.UNINTERESTED: PeerProtocol._on_uninterested,
    c.HAVE: PeerProtocol._on_have,
    c.BITFIELD: PeerProtocol._on_bitfield,
    c.CANCEL: PeerProtocol._on_cancel,
    c.SUGGEST: PeerProtocol._on_suggest,
    c.HAVE_ALL: PeerProtocol._on_have_all,
    c.HAVE_NONE: PeerProtocol._on_have_none,
    c.REJECT: PeerProtocol._on_reject,
    c.ALLOWED_FAST: PeerProtocol._on_allowed_fast,
    c.EXTENDED: PeerProtocol._on_extended,
    c.HASH_REQUEST: PeerProtocol._on_hash_message,
    c.HASHES: PeerProtocol._on_hash_message,
    c.HASH_REJECT: PeerProtocol._on_hash_message,
}
