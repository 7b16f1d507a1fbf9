"""`PeerProtocol`: both sides of one connection as a state machine, without a socket or a clock (sans-I/O).

Theory. A connection is two independent streams: what we send and what the peer sends. Each begins with a handshake and
goes on with messages. Four booleans rule the transfer of blocks (BEP 3): each side chokes or unchokes the other, and
each is interested or not. Both start choked and not interested. A request may be sent while the peer does not choke us;
it is *pending* until its block, a reject, a choke, a cancel or the end of the connection settles it. Messages of the
two streams cross on the way, so an answer may arrive to what has just been given up: such requests are remembered as
*forgotten* for a while, their late blocks are yielded to those who can use them, and no late answer is an offence.
With the fast extension a choke settles nothing: the peer answers each pending request with its block or a reject
(BEP 6).

The contract has three calls, as in h11 and the core of websockets:

- ``receive(data)`` takes the peer's bytes and yields *events*: the messages of the parser that mean something new, as
  tuples, ``(FAILED, key, token, error)`` for each of our requests that they end, and ``(LATE, piece, offset, block)``
  for a block that was given up. It raises `RemoteProtocolError` when the peer breaks a rule.
- ``send_...()`` puts our messages into `outgoing`, or raises `LocalProtocolError`, and then nothing has changed.
- ``take_outgoing()`` gives the buffers that are to be written to the socket.

A request is sent with a token, which comes back with the block or the failure; the protocol never looks into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from geventbt import limits
from geventbt.errors import HandshakeError, PeerChoking, RemoteProtocolError, RequestFailed, RequestRejected
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.extended import ExtendedHandshake, read_extended_handshake
from geventbt.protocol.handshake import Extensions, Handshake, check_match
from geventbt.protocol.parser import bep_of
from geventbt.protocol.sending import SendingSide
from geventbt.protocol.state import FAILED, LATE, NOT_PENDING, Event, RequestKey

__all__ = ["FAILED", "LATE", "Event", "PeerProtocol", "RequestKey"]

_EXTENSIONS = 256
"""Extensions, and keys of the extended handshake, that are kept of a peer."""
# The hot loop compares with these for every message.
_PIECE = c.PIECE
_REQUEST = c.REQUEST


class PeerProtocol(SendingSide):
    """One connection to a peer, as bytes in and events out.

    See the module's docstring, and `ProtocolState` for what it holds.
    """

    def receive(self, data: m.Buffer) -> Iterator[Event]:
        """Take the peer's next bytes. The iterator must be run to its end; buffers in the events are valid until the
        next call.

        Yields:
            Messages as ``(id, *fields)``: a piece as ``(PIECE, piece, offset, block, token)``, ``(LATE, piece, offset,
            block)`` and ``(FAILED, key, token, error)``.

        Raises:
            RemoteProtocolError: when the peer breaks a rule; what came before has been yielded, and the connection
                is to be closed.
        """
        requests = self.requests
        for message in self._parser.feed(data):
            if message[0] == _PIECE:
                _, piece, offset, block = message
                length = len(block)
                token = requests.pop((piece, offset, length), NOT_PENDING)
                if token is NOT_PENDING:
                    self.messages_received += 1
                    if self._take_late((piece, offset, length)):
                        yield (LATE, piece, offset, block)
                else:
                    if self._forgotten:
                        # It was asked for more than once.
                        self._cancel_copies((piece, offset, length))
                    self.downloaded += length
                    yield (_PIECE, piece, offset, block, token)
                continue
            self.messages_received += 1
            if message[0] == _REQUEST:
                if self._take_request(message[1:]):
                    yield message
            elif message[0] in _HANDLERS:
                yield from _HANDLERS[message[0]](self, message)
            else:
                yield message

    def _take_late(self, key: RequestKey) -> bool:
        """Account for a block that is not pending; whether it is one that was given up, and of use."""
        if not self._was_forgotten(key):
            self._note_unwanted(key, _PIECE)
        elif self.takes_late_blocks:
            self._cancel_copies(key)
            self.downloaded += key[2]
            return True
        self.wasted += key[2]
        return False

    @property
    def _allowed_to_peer(self) -> Extensions:
        """What the peer may use: what is agreed or, while it cannot know our handshake, all that it promised itself."""
        if self.handshake_sent or not self.handshake_received:
            return self.agreed
        return self.handshake_received.extensions

    def _on_handshake(self, message: Event) -> Iterable[Event]:
        handshake = Handshake(*message[1:])
        if self.handshake_sent:
            check_match(self.handshake_sent, handshake, self.info_hash_v2)
        if self._is_known_torrent and not self._is_known_torrent(handshake.info_hash):
            raise HandshakeError(f"the peer asks for an unknown torrent, {handshake.info_hash.hex()}")
        self.handshake_received = handshake
        self._agree()
        return (message,)

    def _count_state_message(self, message_id: int) -> None:
        """Refuse a flood of messages that only change the peer's state, or not even that."""
        self._state_messages += 1
        if self._state_messages > limits.STATE_MESSAGES:
            raise RemoteProtocolError(
                f"more than {limits.STATE_MESSAGES} changes of state in {limits.STATE_MESSAGES_TIME:g} s",
                message_id=message_id,
            )

    def _count_whole_bitfield(self, message_id: int) -> None:
        self._whole_bitfields += 1
        if self._whole_bitfields > limits.WHOLE_BITFIELDS:
            raise RemoteProtocolError(
                f"more than {limits.WHOLE_BITFIELDS} bitfields", message_id=message_id, bep=bep_of(message_id)
            )

    def _on_choke(self, message: Event) -> Iterator[Event]:
        self._count_state_message(message[0])
        was_choking, self.peer_choking = self.peer_choking, True
        yield message
        if was_choking or self.agreed.fast:
            # Without the fast extension all that is pending is allowed fast, or was ended by the first choke; with it
            # each request is still answered (BEP 6).
            return
        keys = [key for key in self.requests if key[0] not in self.peer_allowed_fast_set]
        yield from self._fail(keys, PeerChoking, "the peer choked us")

    def _on_unchoke(self, message: Event) -> Iterable[Event]:
        self._count_state_message(message[0])
        self.peer_choking = False
        return (message,)

    def _on_interested(self, message: Event) -> Iterable[Event]:
        self._count_state_message(message[0])
        self.peer_interested = True
        return (message,)

    def _on_uninterested(self, message: Event) -> Iterable[Event]:
        self._count_state_message(message[0])
        self.peer_interested = False
        return (message,)

    def _on_have(self, message: Event) -> Iterable[Event]:
        if self.peer_pieces.add(message[1]):
            return (message,)
        self._count_state_message(message[0])
        return ()

    def _on_bitfield(self, message: Event) -> Iterable[Event]:
        self._count_whole_bitfield(message[0])
        self.peer_pieces.set_bitfield(message[1])
        return (message,)

    def _take_request(self, key: RequestKey) -> bool:
        """Hold a request of the peer, or refuse it; whether it is held, and new."""
        piece, offset, length = key
        geometry = self.geometry
        most = limits.PEER_BLOCK
        # A length over the limit is refused below, not an offence by itself.
        if (
            not geometry.contains(piece, offset, length if length < most else most)
            if geometry is not None
            else not length or not self.peer_pieces.is_index(piece)
        ):
            raise RemoteProtocolError(f"a request out of range: {key}", message_id=c.REQUEST)
        held = self.peer_requests
        if key in held:
            return False
        if (
            (self.am_choking and piece not in self.allowed_fast_set)
            or length > most
            or len(held) >= limits.PEER_REQUESTS
        ):
            self._refuse(key)
            return False
        held[key] = self.unanswered_requests[key] = None
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
        self._count_whole_bitfield(message[0])
        self.peer_pieces.set_all()
        return (message,)

    def _on_have_none(self, message: Event) -> Iterable[Event]:
        self._check_fast(message[0])
        self._count_whole_bitfield(message[0])
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
        token = self.requests.pop(key, NOT_PENDING)
        if token is NOT_PENDING:
            self._note_unwanted(key, c.REJECT)
        else:
            yield message
            yield (FAILED, key, token, self._rejection(key))

    def _rejection(self, key: RequestKey) -> RequestFailed:
        if self.peer_choking:
            return PeerChoking(f"the peer choked us, and rejected the request {key}")
        return RequestRejected(f"the peer rejected the request {key}")

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
        if not news:
            return
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
