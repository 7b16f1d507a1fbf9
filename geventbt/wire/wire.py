"""`Wire`: one peer, as methods that block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import gevent
from bitarray import bitarray
from gevent.hub import Waiter

from geventbt import limits
from geventbt.errors import LocalProtocolError, RemoteProtocolError, RequestCancelled, WireClosed, WireTimeout
from geventbt.geometry import Geometry
from geventbt.peer_id import hash_or_id
from geventbt.protocol import constants as c
from geventbt.protocol.connection import RequestKey
from geventbt.protocol.fast import allowed_fast_set
from geventbt.protocol.handshake import Extensions, Handshake
from geventbt.protocol.messages import Buffer
from geventbt.wire.requests import BlockWait, RangeWait, Wakeups, waits_of
from geventbt.wire.state import Request, WireState

_CLOSE_TIMEOUT = 5.0


class Wire(WireState):
    """A connection to one peer. Made by `geventbt.connect`, or by a server for each inbound peer.

    Every method may be called from any greenlet of the thread that made the wire, at any time. Those that wait for an
    answer block the calling greenlet until it is there, or raise; those that send return at once, except that `piece`
    waits while too much is queued. After the connection is gone all of them raise `WireClosed`, whose ``__cause__`` is
    the reason. Killing a greenlet that is blocked in a call gives up that call and nothing else.

    Args:
        sock: a connected stream socket, gevent's or a plain one; it is taken over.
        incoming: whether the peer opened the connection.
        is_known_torrent: asked about the info hash of an inbound handshake; None takes any.
        opening: tells how an inbound connection begins; None for plaintext. See `geventbt.listen` for the policy.
    """

    @classmethod
    def after_opening(cls, sock: Any, opening: Any) -> Wire:
        """The wire of a connection that has gone through an encrypted opening, a `geventbt.protocol.mse.Initiator`."""
        wire = cls(sock, incoming=False)
        wire._begin_stream(opening)
        return wire

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
        geometry: Geometry | None = None,
        timeout: float = limits.HANDSHAKE_TIMEOUT,
    ) -> Handshake:
        """Send our handshake, unless it has been sent, and block for the peer's (BEP 3).

        Args:
            info_hash: of the torrent, 20 bytes or 40 hex characters.
            peer_id: ours, 20 bytes or 40 hex characters.
            dht, fast, extended, v2: the reserved bits that we set (BEP 5, 6, 10, 52).
            geometry: the sizes of the pieces, if they are known: whatever the peer says is then checked against them.
            timeout: seconds for the whole handshake.

        Returns:
            The peer's handshake.

        Raises:
            HandshakeError: the peer has another torrent, or is ourselves, or does not speak the protocol. The wire
                is closed.
            WireTimeout: no handshake came in time. The wire is closed.
            WireClosed: the peer left.
        """
        self._check_usable()
        ours = Handshake(
            hash_or_id(info_hash, "info hash"), hash_or_id(peer_id, "peer id"), Extensions(dht, fast, extended, v2)
        )
        if geometry:
            self.geometry = geometry
        if self._protocol.handshake_sent is None:
            self._learn(self._protocol.send_handshake, ours)
            self._sent()
        self._limit_handshake(timeout)
        return self.wait_handshake()

    def wait_handshake(self) -> Handshake:
        """Block until the peer's handshake is there, and return it.

        For an inbound peer, to see what it wants before we answer. Raises as `handshake`.
        """
        self._wait_until(lambda: self._protocol.handshake_received is not None, None)
        handshake = self._protocol.handshake_received
        assert handshake is not None
        return handshake

    def _limit_handshake(self, timeout: float) -> None:
        if self._protocol.handshake_received is None:
            self._handshake_deadline = min(self._handshake_deadline, monotonic() + timeout)
            self._arm(min(self._timer_at, self._handshake_deadline))

    # ------------------------------------------------------------------ sending

    def choke(self) -> None:
        """Choke the peer: its pending requests are dropped, but for allowed-fast ones (BEP 3, 6)."""
        self._send(self._protocol.send_choke)

    def unchoke(self) -> None:
        """Unchoke the peer: it may send requests (BEP 3)."""
        self._send(self._protocol.send_unchoke)

    def interested(self) -> None:
        """Tell the peer that we want what it has (BEP 3)."""
        self._send(self._protocol.send_interested)

    def uninterested(self) -> None:
        """Tell the peer that we want nothing that it has (BEP 3)."""
        self._send(self._protocol.send_uninterested)

    not_interested = uninterested

    def have(self, piece: int) -> None:
        """Tell the peer that we have one more piece (BEP 3)."""
        self._send(self._protocol.send_have, piece)

    def bitfield(self, pieces: bitarray | bytes) -> None:
        """Tell the peer which pieces we have, right after the handshake (BEP 3).

        Args:
            pieces: a bitarray with a bit for each piece, or the bytes of the bitfield, high bit first.
        """
        self._send(self._protocol.send_bitfield, pieces)

    def have_all(self) -> None:
        """Tell the peer that we have every piece, in place of a bitfield (BEP 6)."""
        self._send(self._protocol.send_have_all)

    def have_none(self) -> None:
        """Tell the peer that we have no piece, in place of a bitfield (BEP 6)."""
        self._send(self._protocol.send_have_none)

    def suggest(self, piece: int) -> None:
        """Suggest that the peer asks for this piece (BEP 6)."""
        self._send(self._protocol.send_suggest, piece)

    def allowed_fast(self, piece: int) -> None:
        """Promise to serve this piece even while we choke the peer (BEP 6)."""
        self._send(self._protocol.send_allowed_fast, piece)

    def grant_allowed_fast(self) -> list[int]:
        """Send the peer its allowed-fast set, computed from its address as in BEP 6.

        The number of pieces must be known.

        Returns:
            The pieces of the set.
        """
        info_hash, pieces = self.info_hash, self.number_of_pieces
        if info_hash is None or pieces is None:
            raise LocalProtocolError("the allowed-fast set needs the info hash and the number of pieces")
        granted = allowed_fast_set(self.remote_address[0], info_hash, pieces)
        for piece in granted:
            self.allowed_fast(piece)
        return granted

    def reject(self, piece: int, offset: int, length: int) -> None:
        """Refuse a pending request of the peer (BEP 6)."""
        self._send(self._protocol.send_reject, piece, offset, length)

    def port(self, port: int) -> None:
        """Tell the peer the UDP port of our DHT node (BEP 5)."""
        self._send(self._protocol.send_port, port)

    def keep_alive(self) -> None:
        """Send a sign of life (BEP 3). It is sent by itself after a long silence; see `set_keep_alive`."""
        self._send(self._protocol.send_keep_alive)

    def extended(self, name: str, payload: bytes) -> None:
        """Send a message of an extension that the peer supports (BEP 10).

        Args:
            name: the extension's name, such as "ut_metadata"; or "handshake", to send our extended handshake again,
                and then `payload` is ignored.
            payload: the bytes of the message.
        """
        if name == "handshake":
            self._send(self._protocol.send_extended_handshake)
        else:
            self._send(self._protocol.send_extended, name, payload)

    def hash_request(self, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int) -> None:
        """Ask for hashes of a file's merkle tree (BEP 52)."""
        self._send(
            self._protocol.send_hash_message, c.HASH_REQUEST, pieces_root, base_layer, index, length, proof_layers
        )

    def hashes(
        self, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int, hashes: bytes
    ) -> None:
        """Answer a hash request (BEP 52)."""
        self._send(
            self._protocol.send_hash_message, c.HASHES, pieces_root, base_layer, index, length, proof_layers, hashes
        )

    def hash_reject(self, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int) -> None:
        """Refuse a hash request (BEP 52)."""
        self._send(
            self._protocol.send_hash_message, c.HASH_REJECT, pieces_root, base_layer, index, length, proof_layers
        )

    def piece(self, piece: int, offset: int, block: Buffer) -> bool:
        """Send a block that the peer has asked for (BEP 3). Waits while more than 1 MiB is queued.

        Args:
            piece, offset: where the block starts.
            block: any bytes-like object. A read-only one is sent without a copy, and must not change before it is sent.

        Returns:
            False if the peer does not want the block (any more): it has cancelled the request, or was choked. Then
            nothing is sent.
        """
        self._check_usable()
        return self._send_block(piece, offset, block)

    def _send_block(self, piece: int, offset: int, block: Buffer) -> bool:
        if type(block) is not bytes:
            block = _frozen(block)
        transport = self._transport
        if transport.queued > limits.HIGH_WATER:
            self.wait_drained()
        if not self._protocol.send_piece(piece, offset, block):
            return False
        transport.flush_soon()
        if len(self._protocol.outgoing) >= _UPLOAD_BATCH:
            transport.flush()
            # Whoever serves a peer that is as fast as we are still lets the others have their turn.
            self._soon(gevent.getcurrent().switch)
            self._hub.switch()
        return True

    def _send(self, send: Callable[..., Any], *args: Any) -> None:
        self._check_usable()
        send(*args)
        if self._protocol.outgoing:
            self._sent()

    # ------------------------------------------------------------------ waiting

    def wait_unchoked(self, timeout: float | None = None) -> None:
        """Block until the peer does not choke us. Raises WireTimeout after `timeout` seconds."""
        self._wait_until(lambda: not self._protocol.peer_choking, timeout)

    def wait_drained(self, timeout: float | None = None) -> None:
        """Block while more is queued to the peer than the high-water mark of 1 MiB.

        Raises WireTimeout after `timeout`.
        """
        if self._transport.queued > limits.HIGH_WATER:
            self._wait_until(lambda: self._transport.queued <= limits.HIGH_WATER // 2, timeout)

    def wait_for_piece(self, piece: int, timeout: float | None = None) -> None:
        """Block until the peer has told that it has this piece. Raises WireTimeout after `timeout` seconds."""
        self._wait_until(lambda: piece in self._protocol.peer_pieces, timeout)

    def wait_for(self, signal_name: str, timeout: float | None = None) -> dict[str, Any]:
        """Block until the next signal of that name.

        Args:
            signal_name: such as "have"; see `geventbt.signals`.
            timeout: seconds, or None to wait as long as the wire is open.

        Returns:
            The signal's fields.

        Raises:
            WireTimeout: when it did not come in time.
            LookupError: if there is no such signal.
        """
        self._check_usable()
        self._events.own(signal_name)
        waiter: Waiter[Any] = Waiter()
        entry = (signal_name, waiter)
        self._signal_waits.append(entry)
        try:
            fields = self._get(waiter, timeout, f"no {signal_name!r} from the peer")
        finally:
            if entry in self._signal_waits:
                self._signal_waits.remove(entry)
        if fields is None:
            raise WireClosed("the wire was closed") from self._close_reason
        return fields

    def _wait_until(self, condition: Callable[[], bool], timeout: float | None) -> None:
        """Block until a condition that messages or the end of the wire can change is true."""
        if condition() and not self._closed:
            return
        self._check_usable()
        waiter: Waiter[None] = Waiter()
        entry = (condition, waiter)
        self._conditions.append(entry)
        try:
            self._get(waiter, timeout, "the peer did not do in time what was waited for")
        finally:
            if entry in self._conditions:
                self._conditions.remove(entry)
        if self._closed and not condition():
            self._raise_closed()

    def _raise_closed(self) -> None:
        reason = self._close_reason
        if isinstance(reason, (RemoteProtocolError, WireTimeout)) and not self._protocol.established:
            # While shaking hands the reason says more than that the wire is closed.
            raise reason
        raise WireClosed("the wire was closed") from reason

    def _get(self, waiter: Waiter, timeout: float | None, text: str) -> Any:
        if timeout is None:
            return waiter.get()
        timer = gevent.Timeout.start_new(timeout)
        try:
            return waiter.get()
        except gevent.Timeout as raised:
            if raised is timer:
                raise WireTimeout(f"{text} within {timeout:g} seconds") from None
            raise
        finally:
            timer.close()

    # ------------------------------------------------------------------ downloading

    def request(
        self, piece: int, offset: int, length: int, *, timeout: float | None = None, wait_unchoked: bool = False
    ) -> bytes:
        """Ask for a block, and block until it is there (BEP 3). Any number of greenlets may do so at once.

        Args:
            piece, offset, length: the block, at most 16 KiB.
            timeout: seconds for it to arrive; None for what `set_timeout` says.
            wait_unchoked: wait, as long as it takes, while the peer chokes us.

        Returns:
            The block, which is not verified.

        Raises:
            PeerChoking: the peer chokes us, and the piece is not in its allowed-fast set; or it did so before the
                block came.
            RequestRejected: the peer refused (BEP 6).
            RequestTimeout: the block did not come in time. The wire goes on.
            RequestCancelled: another greenlet called `cancel`.
            PieceNotAvailable: the peer does not have the piece.
            LocalProtocolError: there is no such block.
            WireClosed: the wire is closed.
        """
        self._check_usable()
        if wait_unchoked:
            self._wait_until(lambda: self._protocol.may_request(piece), None)
        protocol = self._protocol
        if len(protocol.requests) >= protocol.request_limit and length <= limits.BLOCK:
            # Its turn comes when the peer's queue has room.
            return bytes(self.read(piece, offset, length, timeout=timeout))
        wait = BlockWait(self._hub)
        wait.deadline = monotonic() + (self._request_timeout if timeout is None else timeout)
        self._request(piece, offset, length, wait)
        self._transport.flush_soon()
        try:
            return wait.get()
        except BaseException:
            self._abandon(wait)
            raise

    def read(self, piece: int, offset: int, length: int, *, timeout: float | None = None) -> bytearray:
        """Read any range of a piece: requested in blocks of 16 KiB, as many at once as the peer takes.

        Raises as `request`.

        Returns:
            `length` bytes, which are not verified.
        """
        buffer = bytearray(length)
        self.read_into(piece, offset, buffer, timeout=timeout)
        return buffer

    def read_into(
        self, piece: int, offset: int, buffer: bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        """Read a range of a piece, as long as `buffer`, into it.

        Raises as `request`; then the buffer's content is undefined.

        Args:
            piece, offset: where the range starts.
            buffer: a writable, contiguous buffer. It must not change its size meanwhile.
            timeout: seconds without any block before it gives up; None for what `set_timeout` says.
        """
        self._check_usable()
        view = memoryview(buffer).cast("B")
        if not len(view):
            return
        self._check_range(piece, offset, len(view))
        seconds = self._request_timeout if timeout is None else timeout
        wait = RangeWait(self._hub, piece, offset, view, seconds, monotonic() + seconds)
        self._ranges.append(wait)
        wakeups: Wakeups = []
        self._request_more(wakeups)
        for wake, value in wakeups:
            self._soon(wake, value)
        self._transport.flush_soon()
        try:
            wait.waiter.get()
        except BaseException:
            wait.done = True
            self._abandon(wait)
            raise

    def _check_range(self, piece: int, offset: int, length: int) -> None:
        geometry = self._protocol.geometry
        if geometry and not geometry.contains(piece, offset, length):
            raise LocalProtocolError(f"no such range: piece {piece}, offset {offset}, length {length}")

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """Cancel a pending request: whoever waits for it gets `RequestCancelled` (BEP 3).

        Does nothing if it is not pending.
        """
        self._check_usable()
        token = self._protocol.send_cancel(piece, offset, length)
        if token is None:
            return
        wakeups: Wakeups = []
        for wait in waits_of(token):
            wait.fail(RequestCancelled("the request was cancelled"), wakeups)
        for wake, value in wakeups:
            self._soon(wake, value)
        self._sent()

    def forget_piece(self, piece: int) -> bool:
        """Note that the peer no longer has a piece (BEP 54): our requests for it fail with `PieceNotAvailable`.

        Returns:
            Whether the peer had it.
        """
        had = piece in self._protocol.peer_pieces
        wakeups: Wakeups = []
        for _, _, wait, error in self._protocol.lose_piece(piece):
            wait.fail(error, wakeups)
        for wake, value in wakeups:
            self._soon(wake, value)
        return had

    def set_timeout(self, seconds: float) -> None:
        """Set the default time for a request to be answered, in seconds."""
        if not seconds > 0:
            raise ValueError(f"a timeout of {seconds} seconds: must be more than 0")
        self._request_timeout = seconds

    def set_keep_alive(self, on: bool) -> None:
        """Switch the keep-alive on or off that is sent after 100 seconds of our silence. It is on at first."""
        self._keep_alive = on

    # ------------------------------------------------------------------ seeding

    def incoming_requests(self) -> Iterator[Request]:
        """The peer's requests, in order; blocks between them, and ends when the wire closes.

        Answer each with `piece` or `reject`.

        A request that is cancelled or choked away before it is its turn does not appear.
        """
        unserved = self._protocol.unserved
        while True:
            if not unserved:
                try:
                    self._wait_until(lambda: bool(unserved), None)
                except WireClosed:
                    return
            # Another greenlet may have been quicker.
            if unserved:
                yield Request(*unserved.popitem(last=False)[0])

    def serve(self, read_block: Callable[[int, int, int], Buffer]) -> None:
        """Answer the peer's requests until the wire closes.

        Args:
            read_block: called with piece, offset and length; returns that many bytes, in any bytes-like object (a
                read-only one is sent without a copy), or raises, and then the request is rejected (BEP 6) or, without
                the fast extension, dropped, and the wire goes on.
        """
        unserved = self._protocol.unserved
        try:
            while True:
                if not unserved:
                    self._wait_until(lambda: bool(unserved), None)
                while unserved:
                    piece, offset, length = unserved.popitem(last=False)[0]
                    try:
                        block = read_block(piece, offset, length)
                        if len(block) != length:
                            raise ValueError(f"{len(block)} bytes instead of {length}")
                    except Exception as error:
                        self._refuse((piece, offset, length), error)
                    else:
                        self._send_block(piece, offset, block)
        except WireClosed:
            return

    def _refuse(self, key: RequestKey, error: Exception) -> None:
        """Answer a request with a reject, where the peers have one."""
        self._send_signal("error", error=error)
        if not self._closed:
            self._send(self._protocol.drop_request, *key)

    def _make_respond(self, key: RequestKey) -> Callable[[Any], None]:
        """The one answer that a handler of the signal `request` may give."""
        answered = False

        def respond(answer: Buffer | Exception) -> None:
            """Answer the request with its block, or refuse it with an error. Once only."""
            nonlocal answered
            if answered:
                raise LocalProtocolError("the request has been answered already")
            answered = True
            if isinstance(answer, Exception):
                self._refuse(key, answer)
            else:
                self.piece(key[0], key[1], answer)

        return respond

    # ------------------------------------------------------------------ messages, signals, extensions

    def messages(self) -> Iterator[Any]:
        """The peer's messages from now on, as objects with the BEPs' field names.

        It blocks between them, and ends when the wire closes.

        See `geventbt.protocol.messages` for their classes. Blocks that we asked for appear as well. Whoever falls
        behind makes the peer wait. One iterator a wire.
        """
        if self._messages is not None:
            raise LocalProtocolError("the messages of a wire can be iterated only once")
        self._messages = deque()
        return self._iterate_messages(self._messages)

    def _iterate_messages(self, messages: deque[Any]) -> Iterator[Any]:
        while True:
            if not messages:
                try:
                    self._wait_until(lambda: bool(messages), None)
                except WireClosed:
                    return
            yield messages.popleft()
            if self._messages_full and len(messages) < limits.EVENT_QUEUE // 2:
                self._messages_full = False
                self._transport.resume()

    def on(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call ``handler(wire, **fields)`` at every signal of that name; see `geventbt.signals`.

        The wire keeps the handler.

        Returns:
            The handler, for `off`.
        """
        return self._events.own(name).connect(handler)

    def once(self, name: str, handler: Callable[..., Any]) -> None:
        """Call ``handler(wire, **fields)`` at the next signal of that name only."""
        signal = self._events.own(name)

        def call_once(wire: Any, **fields: Any) -> None:
            signal.disconnect(call_once)
            handler(wire, **fields)

        signal.connect(call_once)

    def off(self, name: str, handler: Callable[..., Any]) -> None:
        """Stop calling a handler that `on` was given."""
        self._events.own(name).disconnect(handler)

    def use(self, factory: Callable[[Wire], Any]) -> Any:
        """Use an extension (BEP 10).

        Args:
            factory: usually a subclass of `geventbt.Extension`: called with the wire, it returns the plug-in, whose
                `name` is the one in the extended handshake.

        Returns:
            The plug-in, which is from now on also ``wire.<name>`` and ``wire.ext[name]``.
        """
        self._check_usable()
        extension = factory(self)
        name = extension.name
        if not name or name in self._extensions:
            raise LocalProtocolError(f"an extension needs a name that is not in use: {name!r}")
        mapping = self._protocol.extended_mapping
        mapping[max(mapping, default=0) + 1] = name
        self._extensions[name] = extension
        if self._protocol.agreed.extended:
            self.extended("handshake", b"")
        return extension

    def __getattr__(self, name: str) -> Any:
        """Extensions by their name, and this wire's own signals as ``on_<name>``."""
        if not name.startswith("_"):
            if name in self._extensions:
                return self._extensions[name]
            if name.startswith("on_"):
                try:
                    return self._events.own(name[3:])
                except LookupError as error:
                    raise AttributeError(str(error)) from None
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ------------------------------------------------------------------ closing

    def close(self, timeout: float = _CLOSE_TIMEOUT) -> None:
        """Close the wire, once what is queued has been sent.

        Everybody who waits on it gets `WireClosed`. Closing twice is no error.

        Args:
            timeout: seconds for the queue to drain, and a second at most of them for the peer to close as well; 0
                closes at once.
        """
        if self._closed:
            return
        self._check_usable()
        self._transport.flush()
        if timeout and self._transport.queued:
            with suppress(WireTimeout, WireClosed):
                self._wait_until(lambda: not self._transport.queued, timeout)
        self._shut(None, linger=timeout > 0)
        self._wait_released(timeout)

    def _wait_released(self, timeout: float) -> None:
        """Give the peer the time to read what has been sent: a program may end right after the wire is closed."""
        if timeout and not self._transport.released:
            self._closer = Waiter()
            with suppress(WireTimeout):
                self._get(self._closer, timeout, "the peer did not close")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _frozen(block: Buffer) -> Buffer:
    """The same bytes in a buffer that nobody is going to change: a read-only one as it is, a writable one copied."""
    view = block if type(block) is memoryview else memoryview(block)
    if not view.readonly:
        return bytes(view)
    return view if view.itemsize == 1 and view.c_contiguous else view.cast("B")


_UPLOAD_BATCH = 128
"""Outgoing buffers that are written without waiting for the end of the turn: 64 blocks."""
