"""The state of both sides of a connection, with our requests that are pending or given up."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from geventbt import limits
from geventbt.errors import LocalProtocolError, PieceNotAvailable, RemoteProtocolError, RequestFailed
from geventbt.geometry import Geometry
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.protocol.handshake import Extensions, Handshake
from geventbt.protocol.parser import Parser, bep_of
from geventbt.protocol.pieces import PeerPieces

RequestKey: TypeAlias = tuple[int, int, int]
"""(piece, offset, length)"""
Event: TypeAlias = tuple[Any, ...]

FAILED = -4
"""The id of the event for one of our requests that has failed: ``(FAILED, key, token, error)``."""

LATE = -5
"""The id of the event for a block that we had asked for and given up: ``(LATE, piece, offset, block)``."""

NOT_PENDING = object()
"""In place of a token, where a request is not pending: any other object may be a token."""


class ProtocolState:
    """The state of one connection, which the two sides of `PeerProtocol` share.

    Args:
        is_known_torrent: asked about the info hash of an inbound handshake; None takes any.

    Attributes:
        handshake_sent: our handshake, or None.
        handshake_received: the peer's, or None.
        info_hash_v2: the info hash of version 2 of our torrent, cut to 20 bytes, or None: the peer may answer an info
            hash of version 1 with it (BEP 52).
        am_choking, am_interested, peer_choking, peer_interested: the state of BEP 3.
        peer_pieces: the pieces that the peer has, a `PeerPieces`.
        requests: our pending requests, {(piece, offset, length): token}.
        peer_requests: the peer's pending requests, in order of arrival.
        unanswered_requests: those of them that have not been taken for an answer yet.
        allowed_fast_set, peer_allowed_fast_set: pieces that may be asked for while choked, granted by us and by the
            peer (BEP 6).
        extended_handshake, peer_extended_handshake: of each side (BEP 10).
        extended_mapping: our extensions, {id: name}. peer_extended_mapping: the peer's, {name: id}.
        request_limit: how many requests the peer is ready to queue: its `reqq`, within our own limit.
        takes_late_blocks: whether blocks that arrive after they were given up are used: they are then yielded, and
            count as downloaded.
        downloaded, uploaded: bytes of blocks. wasted: bytes of those that were not requested, or no longer wanted.
        outgoing: buffers to be written.
    """

    def __init__(self, is_known_torrent: Callable[[bytes], bool] | None = None) -> None:
        self.handshake_sent: Handshake | None = None
        self.handshake_received: Handshake | None = None
        self.info_hash_v2: bytes | None = None
        self.am_choking = self.peer_choking = True
        self.am_interested = self.peer_interested = False
        self.peer_pieces = PeerPieces()
        self.geometry: Geometry | None = None
        self.requests: dict[RequestKey, Any] = {}
        self.peer_requests: dict[RequestKey, None] = {}
        self.unanswered_requests: OrderedDict[RequestKey, None] = OrderedDict()
        self.allowed_fast_set: set[int] = set()
        self.peer_allowed_fast_set: set[int] = set()
        self.extended_handshake: ExtendedHandshake = {"reqq": limits.PEER_REQUESTS}
        self.peer_extended_handshake: ExtendedHandshake = {}
        self.extended_mapping: dict[int, str] = {}
        self.peer_extended_mapping: dict[str, int] = {}
        self.request_limit = limits.DEFAULT_REQQ
        self.takes_late_blocks = False
        self.downloaded = self.uploaded = self.wasted = 0
        self.outgoing: list[m.Buffer] = []
        # The extensions that both sides support; all off until both handshakes are known.
        self.agreed = Extensions()
        self._is_known_torrent = is_known_torrent
        self._parser = Parser()
        self._forgotten: OrderedDict[RequestKey, int] = OrderedDict()
        # Those of them that the peer was not told of, the last ones.
        self._given_up: deque[RequestKey] = deque(maxlen=limits.FORGOTTEN_REQUESTS)
        # The answers that may be under way to requests which are forgotten in every detail.
        self._owed_answers = 0
        self._unwanted_answers = 0
        self._state_messages = self._whole_bitfields = 0
        # Messages handled, except for the blocks that we requested, which are counted in bytes.
        self.messages_received = 0

    @property
    def established(self) -> bool:
        """Whether both handshakes are done."""
        return self.handshake_sent is not None and self.handshake_received is not None

    def set_pieces(self, pieces: int) -> None:
        """Set the number of pieces, and check the messages so far against it.

        Raises:
            LocalProtocolError: the number is out of range, or differs from the one set before.
            RemoteProtocolError: a message of the peer named a piece that does not exist.
        """
        if not 1 <= pieces <= limits.PIECES:
            raise LocalProtocolError(f"a torrent of {pieces} pieces: must be 1 to {limits.PIECES}")
        if self.peer_pieces.count not in (None, pieces):
            raise LocalProtocolError(f"the torrent cannot have {pieces} pieces: {self.peer_pieces.count} were set")
        for key in self.peer_requests:
            if key[0] >= pieces:
                raise RemoteProtocolError(f"a request out of range: {key}", message_id=c.REQUEST)
        self.peer_pieces.set_count(pieces)
        self._parser.bitfield_length = (pieces + 7) // 8
        self.peer_allowed_fast_set = {piece for piece in self.peer_allowed_fast_set if piece < pieces}

    def set_geometry(self, geometry: Geometry) -> None:
        """Set the number and sizes of the pieces; ranges are checked against them from now on.

        Raises:
            LocalProtocolError, RemoteProtocolError: see `set_pieces`.
        """
        if self.geometry not in (None, geometry):
            raise LocalProtocolError(f"the geometry cannot be set to {geometry}: it is {self.geometry} already")
        self.set_pieces(geometry.pieces)
        for key in self.peer_requests:
            if not geometry.contains(*key):
                raise RemoteProtocolError(f"a request out of range: {key}", message_id=c.REQUEST)
        self.geometry = geometry

    @property
    def missing(self) -> int:
        """Bytes still to come of the message being received, where that is known: a reader that takes them first
        finds whole messages after them."""
        return self._parser.missing

    @property
    def block_under_way(self) -> RequestKey | None:
        """The block that is being received and has been asked for, given up since or not; None if there is none."""
        key = self._parser.block_under_way
        return key if key in self.requests or key in self._forgotten else None

    @property
    def owed_answers(self) -> int:
        """How many requests were cancelled or given up and may still be answered: with a block or, where both sides
        have the fast extension, with a reject (BEP 6)."""
        return len(self._forgotten)

    def forgive_state_messages(self) -> None:
        """Count the messages that only change the peer's state anew: `limits.STATE_MESSAGES_TIME` has passed."""
        self._state_messages = 0

    def may_request(self, piece: int) -> bool:
        """Whether the peer would answer a request for this piece now."""
        return not self.peer_choking or piece in self.peer_allowed_fast_set

    def lose_piece(self, piece: int) -> list[Event]:
        """Take a donthave (BEP 54): the peer no longer has the piece, and our pending requests for it end."""
        self.peer_pieces.remove(piece)
        keys = [key for key in self.requests if key[0] == piece]
        return list(self._fail(keys, PieceNotAvailable, f"the peer no longer has piece {piece}"))

    def _fail(self, keys: Iterable[RequestKey], error: type[RequestFailed], text: str) -> Iterator[Event]:
        for key in keys:
            token = self.requests.pop(key, NOT_PENDING)
            # A listener to the first failure may have cancelled the others.
            if token is not NOT_PENDING:
                self._forget(key)
                yield (FAILED, key, token, error(text))

    def _forget(self, key: RequestKey) -> None:
        """Note that one more answer to this request may still arrive."""
        self._forgotten[key] = self._forgotten.pop(key, 0) + 1
        if len(self._forgotten) > limits.FORGOTTEN_REQUESTS:
            self._owed_answers += self._forgotten.popitem(last=False)[1]

    def _was_forgotten(self, key: RequestKey) -> bool:
        """Whether an answer was still expected to a request that was given up; one fewer is expected then."""
        count = self._forgotten.get(key, 0)
        if count > 1:
            self._forgotten[key] = count - 1
        elif count:
            del self._forgotten[key]
        return count > 0

    def _note_unwanted(self, key: RequestKey, message_id: int) -> None:
        """Count an answer to a request that is not pending or remembered: it is owed, or an offence."""
        if self._owed_answers:
            self._owed_answers -= 1
            return
        self._unwanted_answers += 1
        if self._unwanted_answers > limits.UNWANTED_ANSWERS:
            raise RemoteProtocolError(
                f"more than {limits.UNWANTED_ANSWERS} answers to requests that were never sent",
                message_id=message_id,
                bep=bep_of(message_id),
            )
