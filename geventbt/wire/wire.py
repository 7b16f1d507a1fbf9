"""`Wire`: one peer, as methods that block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, TypeAlias

from gevent import getcurrent
from gevent.event import Event

from geventbt import limits
from geventbt.concurrency.dispatch import Backlog
from geventbt.errors import LocalProtocolError, WireClosed, WireTimeout
from geventbt.geometry import Geometry
from geventbt.peer_id import hash_or_id
from geventbt.protocol.connection import RequestKey
from geventbt.protocol.handshake import Extensions, Handshake
from geventbt.protocol.messages import Buffer
from geventbt.wire.downloads import WireDownloads
from geventbt.wire.sends import frozen
from geventbt.wire.state import Request

ReadBlocks: TypeAlias = Callable[[Sequence[RequestKey]], Sequence["Buffer | Exception"]]

_CLOSE_TIMEOUT = 5.0


class Wire(WireDownloads):
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
        on_closed: called with the wire as soon as it is closed, in the hub or in whatever greenlet closes it: it must
            not block. The signal `close` is for all other purposes.
    """

    __slots__ = ()

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
        timeout: float | None = limits.HANDSHAKE_TIMEOUT,
    ) -> Handshake:
        """Send our handshake, unless it has been sent, and block for the peer's (BEP 3).

        Args:
            info_hash: of the torrent, 20 bytes or 40 hex characters.
            peer_id: ours, 20 bytes or 40 hex characters.
            dht, fast, extended, v2: the reserved bits that we set (BEP 5, 6, 10, 52).
            geometry: the sizes of the pieces, if they are known: whatever the peer says is then checked against them.
            timeout: seconds for the whole handshake; None to wait as long as the wire is open. An inbound peer has
                `limits.HANDSHAKE_TIMEOUT` at most.

        Returns:
            The peer's handshake.

        Raises:
            HandshakeError: the peer has another torrent, or is ourselves, or does not speak the protocol. The wire
                is closed.
            WireTimeout: no handshake came in time. The wire is closed.
            WireClosed: the peer left.
            LocalProtocolError: one for another torrent has been sent, or `extended_handshake` cannot be bencoded.
        """
        self._check_usable()
        seconds = float("inf") if timeout is None else timeout
        deadline = monotonic() + seconds
        ours = Handshake(
            hash_or_id(info_hash, "info hash"), hash_or_id(peer_id, "peer id"), Extensions(dht, fast, extended, v2)
        )
        if geometry:
            self.geometry = geometry
        sent = self._protocol.handshake_sent
        if sent is None:
            self._learn(self._protocol.send_handshake, ours)
            self._sent()
        elif sent.info_hash != ours.info_hash:
            raise LocalProtocolError("a handshake for another torrent has been sent already")
        self._limit_handshake(seconds, deadline)
        return self.wait_handshake()

    def wait_handshake(self) -> Handshake:
        """Block until the peer's handshake is there, and return it.

        For an inbound peer, to see what it wants before we answer. Raises as `handshake`.
        """
        self._wait_until(lambda: self._protocol.handshake_received is not None, None)
        handshake = self._protocol.handshake_received
        assert handshake is not None
        return handshake

    def _limit_handshake(self, seconds: float, deadline: float) -> None:
        if self._protocol.handshake_received is None and deadline < self._handshake_deadline:
            self._handshake_timeout = seconds
            self._handshake_deadline = deadline
            self._arm(min(self._timer_at, deadline))

    # ------------------------------------------------------------------ seeding

    def incoming_requests(self) -> Iterator[Request]:
        """The peer's requests, in order; blocks between them, and ends when the wire closes.

        Answer each with `piece` or `reject`.

        A request that is cancelled or choked away before it is its turn does not appear.
        """
        unanswered_requests = self._protocol.unanswered_requests
        while True:
            if not unanswered_requests:
                try:
                    self._wait_until(lambda: bool(unanswered_requests), None)
                except WireClosed:
                    return
            # Another greenlet may have been quicker.
            if unanswered_requests:
                yield Request(*unanswered_requests.popitem(last=False)[0])

    def serve(self, read_block: Callable[[int, int, int], Buffer]) -> None:
        """Answer the peer's requests until the wire closes.

        Args:
            read_block: called with piece, offset and length; returns that many bytes, in any bytes-like object (a
                read-only one is sent without a copy), or raises, and then the request is rejected (BEP 6) or, without
                the fast extension, dropped, and the wire goes on.
        """
        unanswered_requests = self._protocol.unanswered_requests
        try:
            while True:
                if not unanswered_requests:
                    self._wait_until(lambda: bool(unanswered_requests), None)
                while unanswered_requests:
                    self._answer(unanswered_requests.popitem(last=False)[0], read_block)
        except WireClosed:
            return

    def serve_pending(self, read_blocks: ReadBlocks) -> None:
        """Answer the peer's requests as `serve` does, but many at a time, until none is left.

        For a client that keeps no greenlet for a peer which asks for nothing.

        Args:
            read_blocks: called with the oldest requests, a MiB of them. It returns for the first of them, at least for
                one, the block in a buffer that nobody is going to change, or the exception for which it is refused.
        """
        unanswered_requests = self._protocol.unanswered_requests
        send = self._protocol.send_block
        with suppress(WireClosed):
            while unanswered_requests and not self._closed:
                self.wait_drained()
                batch = self._oldest_requests()
                for key, block in zip(batch, read_blocks(batch), strict=False):
                    if self._closed:
                        return
                    if isinstance(block, Exception):
                        self._refuse(key, block)
                    else:
                        send(key, block)
                self._transport.flush()
                self._yield_turn()

    def _oldest_requests(self) -> list[RequestKey]:
        """The oldest requests that nobody serves yet, as many as may be queued."""
        batch: list[RequestKey] = []
        size = 0
        for key in self._protocol.unanswered_requests:
            batch.append(key)
            size += key[2]
            if size >= limits.HIGH_WATER:
                break
        return batch

    def _answer(self, key: RequestKey, read_block: Callable[[int, int, int], Buffer]) -> None:
        """Answer a request with what is read for it, or refuse it when that fails."""
        try:
            block = frozen(read_block(*key))
            if len(block) != key[2]:
                raise ValueError(f"{len(block)} bytes instead of {key[2]}")
        except Exception as error:
            self._refuse(key, error)
        else:
            self._send_block(key, block)

    def _refuse(self, key: RequestKey, error: Exception) -> None:
        """Answer a request with a reject, where the peers have one."""
        self._send_signal("error", error=error)
        if not self._closed:
            self._send(self._protocol.drop_request, *key)

    def _make_respond(self, key: RequestKey) -> Callable[[Any], None]:
        """The one answer that a handler of the signal `request` may give."""
        answered = False

        def respond(answer: Buffer | Exception) -> None:
            """Answer the request with its block, or refuse it with an error. Once only.

            What is no block of the right length is an error too, as in `serve`.
            """
            nonlocal answered
            if answered:
                raise LocalProtocolError("the request has been answered already")
            answered = True
            if isinstance(answer, Exception):
                self._refuse(key, answer)
            else:
                self._check_usable()
                self._answer(key, lambda piece, offset, length: answer)

        return respond

    # ------------------------------------------------------------------ messages, signals, extensions

    def messages(self) -> Messages:
        """The peer's messages from now on, as objects with the BEPs' field names.

        An iterator that blocks between them, and ends when the wire closes. See `geventbt.protocol.messages` for their
        classes. Blocks that we asked for appear as well. Whoever falls behind makes the peer wait. One iterator at a
        time; it ends as well when it is closed or forgotten, or when the peer would have to wait for a greenlet that
        is dead.

        Raises:
            LocalProtocolError: there is one already, and the greenlet that iterates is alive.
        """
        self._check_thread()
        if self._messages is not None:
            if not self._messages.is_abandoned:
                raise LocalProtocolError("the messages of a wire can be iterated only once")
            self._stop_messages(self._messages)
        self._messages = Backlog(self._flow, self._stop_messages)
        return Messages(self, self._messages)

    def _take_message(self, messages: Backlog) -> Any:
        """The oldest message, as soon as there is one.

        Raises:
            WireClosed: there will be none.
            StopIteration: nobody is to take them any more.
        """
        while self._messages is messages:
            messages.set_taker(getcurrent())
            if messages:
                return messages.take()
            # Once woken, look again: another greenlet may have been quicker.
            self._wait_until(lambda: len(messages) > 0 or self._messages is not messages, None)
        raise StopIteration

    def _stop_messages(self, messages: Backlog) -> None:
        """Nobody takes the messages any more: they must not make the peer wait."""
        if self._messages is messages:
            self._messages = None
            messages.clear()
            self._check_soon()

    def on(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        """Call ``handler(wire, **fields)`` at every signal of that name; see `geventbt.signals`.

        The wire keeps the handler.

        Returns:
            The handler, for `off`.
        """
        return self._events.own(name).connect(handler)

    def once(self, name: str, handler: Callable[..., Any]) -> None:
        """Call ``handler(wire, **fields)`` at the next signal of that name only."""
        self._events.own(name).connect_once(handler)

    def off(self, name: str, handler: Callable[..., Any]) -> None:
        """Stop calling a handler that `on` or `once` was given."""
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
        if not name or name in self._extensions or name.startswith(("_", "on_")) or hasattr(type(self), name):
            raise LocalProtocolError(f"an extension needs a name that a wire has not in use: {name!r}")
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
            if self._released is None:
                self._released = Event()
            self._released.wait(timeout)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Messages:
    """The messages of a wire, one after the other; see `Wire.messages`."""

    def __init__(self, wire: Wire, backlog: Backlog) -> None:
        self._wire = wire
        self._backlog = backlog

    def __iter__(self) -> Messages:
        return self

    def __next__(self) -> Any:
        try:
            return self._wire._take_message(self._backlog)
        except WireClosed:
            raise StopIteration from None

    def close(self) -> None:
        """Take no more of them: the iteration ends, also for whoever waits in it."""
        self._wire._stop_messages(self._backlog)

    def __del__(self) -> None:
        self.close()
