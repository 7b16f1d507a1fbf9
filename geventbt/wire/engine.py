"""The inside of a wire: the protocol's events turned into woken greenlets, signals and extension calls, and the one
timer.

Everything here runs in the hub or in a caller's greenlet, and nothing blocks: greenlets that wait are woken only when
the state is whole again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from ipaddress import ip_address
from time import monotonic
from typing import Any

import gevent.event
from gevent.hub import Waiter

from geventbt import __version__, limits
from geventbt.concurrency.dispatch import Backlog, Dispatcher, Events, FlowControl
from geventbt.errors import GeventBTError, HandshakeError, RemoteProtocolError, RequestTimeout, WireClosed, WireTimeout
from geventbt.protocol import constants as c
from geventbt.protocol.connection import FAILED, Event, PeerProtocol, RequestKey
from geventbt.protocol.messages import Buffer, as_object
from geventbt.rates.speed import SpeedMeter
from geventbt.wire.requests import RangeWait, SharedWait, Token, Wait, Wakeups, WireDelegate, waits_of
from geventbt.wire.transports.encryption import InboundOpening, compute_soon
from geventbt.wire.transports.tcp import BULK_READ, SMALL_READ, Transport, adopt

_log = logging.getLogger("geventbt")

# The hot loop compares with these for every block.
_PIECE = c.PIECE
_REQUEST = c.REQUEST

_NEVER = float("inf")
_LATE = 0.5
"""Seconds by which the timer may be late before the hub counts as having been held up."""

_SIGNALS: dict[int, tuple[str, tuple[str, ...]]] = {
    c.HANDSHAKE: ("handshake", ("info_hash", "peer_id", "extensions")),
    c.KEEP_ALIVE: ("keep_alive", ()),
    c.CHOKE: ("choke", ()),
    c.UNCHOKE: ("unchoke", ()),
    c.INTERESTED: ("interested", ()),
    c.UNINTERESTED: ("uninterested", ()),
    c.HAVE: ("have", ("index",)),
    c.BITFIELD: ("bitfield", ("bitfield",)),
    c.CANCEL: ("cancel", ("index", "begin", "length")),
    c.PORT: ("port", ("listen_port",)),
    c.SUGGEST: ("suggest", ("index",)),
    c.HAVE_ALL: ("have_all", ()),
    c.HAVE_NONE: ("have_none", ()),
    c.REJECT: ("reject", ("index", "begin", "length")),
    c.ALLOWED_FAST: ("allowed_fast", ("index",)),
    c.HASH_REQUEST: ("hash_request", ("pieces_root", "base_layer", "index", "length", "proof_layers")),
    c.HASHES: ("hashes", ("pieces_root", "base_layer", "index", "length", "proof_layers", "hashes")),
    c.HASH_REJECT: ("hash_reject", ("pieces_root", "base_layer", "index", "length", "proof_layers")),
    c.UNKNOWN: ("unknown_message", ("id", "payload")),
}
"""The signal of each message, and the names of its fields."""


def _host_and_port(address: Any) -> tuple[str, int]:
    """The beginning of a socket's address; a Unix socket has none, or a path."""
    return (address[0], address[1]) if isinstance(address, tuple) else ("", 0)


def _self_description(remote_host: str) -> dict[str, Any]:
    """What every peer is told in the extended handshake: our version, and its own address as we see it (BEP 10)."""
    description: dict[str, Any] = {"v": f"geventbt {__version__}"}
    if remote_host:
        description["yourip"] = ip_address(remote_host.partition("%")[0]).packed
    return description


class WireCore:
    """What a wire does by itself. `geventbt.Wire` adds what a caller does with it."""

    # *Measured*: a dictionary for so many is 1.5 KiB more for each idle peer. `__dict__` is for users.
    __slots__ = (
        "__dict__", "__weakref__", "_close_reason", "_closed", "_conditions", "_dispatcher", "_download_meter",
        "_encryption", "_events", "_extension_calls", "_extensions", "_feed", "_flow", "_handshake_deadline",
        "_handshake_timeout", "_hub", "_incoming", "_keep_alive", "_last_received", "_last_sent",
        "_local_address", "_messages", "_on_closed", "_opening", "_protocol", "_ranges", "_released",
        "_remote_address", "_request_timeout", "_signal_waits", "_timer", "_timer_at", "_transport",
        "_unflushed", "_upload_meter", "_uploaded_noted",
    )  # fmt: skip

    def __init__(
        self,
        sock: Any,
        *,
        incoming: bool,
        is_known_torrent: Callable[[bytes], bool] | None = None,
        opening: InboundOpening | None = None,
        on_closed: Callable[[Any], None] | None = None,
    ) -> None:
        sock = adopt(sock)
        self._hub = gevent.get_hub()
        self._incoming = incoming
        self._protocol = PeerProtocol(is_known_torrent)
        self._remote_address = _host_and_port(sock.getpeername())
        self._local_address = _host_and_port(sock.getsockname())
        self._protocol.extended_handshake.update(_self_description(self._remote_address[0]))
        self._on_closed = on_closed
        self._closed = False
        self._close_reason: Exception | None = None
        self._download_meter = SpeedMeter()
        self._upload_meter = SpeedMeter()
        self._uploaded_noted = 0
        # Bytes of blocks in the protocol's `outgoing`.
        self._unflushed = 0
        self._flow = FlowControl(self._pause_if, self._give_up_on_handlers)
        self._dispatcher = Dispatcher(self._flow)
        self._events = Events(self, self._dispatcher)
        # Extensions have a queue of their own, so that a slow handler does not stall them.
        self._extension_calls = Dispatcher(self._flow)
        self._extensions: dict[str, Any] = {}
        self._ranges: list[RangeWait] = []
        self._feed: WireDelegate | None = None
        self._conditions: list[tuple[Callable[[], bool], Waiter]] = []
        self._signal_waits: list[tuple[str, Waiter]] = []
        self._messages: Backlog | None = None
        self._keep_alive = True
        self._opening = opening
        self._encryption = None if opening else "plaintext"
        self._request_timeout = limits.REQUEST_TIMEOUT
        now = monotonic()
        self._last_received = now
        self._last_sent = now
        self._handshake_timeout = limits.HANDSHAKE_TIMEOUT
        self._handshake_deadline = now + limits.HANDSHAKE_TIMEOUT if incoming else _NEVER
        self._timer: Any = None
        self._timer_at = _NEVER
        self._released: gevent.event.Event | None = None
        self._transport = Transport(
            sock, self._take_outgoing, self._on_data, self._shut, self._check_soon, self._on_released
        )
        self._arm(self._next_due())

    # ------------------------------------------------------------------ receiving

    def _on_data(self, data: memoryview) -> int:
        """Deal with the peer's bytes, in the hub. Returns how many to read next."""
        if self._opening is not None:
            self._continue_opening(lambda opening: opening.receive(bytes(data)))
            return SMALL_READ
        wakeups: Wakeups = []
        protocol = self._protocol
        before = protocol.downloaded
        heard = protocol.messages_received
        # A block changes nothing that anybody waits for, unless it is kept for an iterator.
        changed = keeps_messages = self._messages is not None
        error: Exception | None = None
        hears_piece = keeps_messages or self._is_heard("piece")
        hears_request = keeps_messages or self._is_heard("request")
        feed = self._feed
        for_feed: list[Event] = []
        try:
            try:
                for event in protocol.receive(data):
                    if event[0] == _PIECE:
                        if event[4] is feed:
                            for_feed.append(event)
                        else:
                            event[4].deliver(event[1], event[2], event[3], wakeups)
                        if hears_piece:
                            self._publish_piece(event)
                    else:
                        if feed is not None and for_feed:
                            feed.on_blocks(for_feed)
                            for_feed = []
                        changed = True
                        if hears_request or event[0] != _REQUEST:
                            self._on_event(event, wakeups)
            finally:
                if feed is not None and for_feed:
                    feed.on_blocks(for_feed)
        except RemoteProtocolError as broken:
            error = broken
        except Exception as bug:
            _log.exception("a message could not be dealt with: %r", self)
            error = bug
        count = protocol.downloaded - before
        now = 0.0
        if count or heard != protocol.messages_received:
            now = monotonic()
            self._last_received = now
            if count:
                self._note_download(count, now)
        if error:
            self._shut(error)
        elif self._ranges:
            self._request_more(wakeups)
        if self._feed is not None and not self._closed:
            self._feed.on_batch(count, now)
        for wake, value in wakeups:
            wake(value)
        if changed and self._conditions:
            self._check_conditions()
        return protocol.missing + (BULK_READ if 2 * count >= len(data) else SMALL_READ)

    def _continue_opening(self, take_step: Callable[[InboundOpening], None]) -> None:
        """Take a step of an inbound peer's opening, and see what is to be done next."""
        opening = self._opening
        if opening is None or self._closed:
            return
        try:
            take_step(opening)
        except Exception as error:
            if not isinstance(error, HandshakeError):
                _log.exception("an opening could not be dealt with: %r", self)
            self._shut(error)
            return
        self._transport.write(opening.take_outgoing())
        if opening.key_due:
            self._transport.pause()
            compute_soon(self._hub, self._compute_key)
        elif opening.settled:
            self._begin_stream(opening)

    def _compute_key(self) -> None:
        self._transport.resume()
        self._continue_opening(lambda opening: opening.compute_key())

    def _begin_stream(self, opening: Any) -> None:
        """The opening, ours or an inbound peer's, is over: from now on there are messages."""
        self._opening = None
        self._encryption = "plaintext" if opening.encryptor is None else "rc4"
        if opening.encryptor is not None:
            self._transport.encrypt(opening.encryptor, opening.decryptor)
        if opening.payload:
            self._on_data(memoryview(opening.payload))
        if not self._closed:
            self._transport.flush()

    def _note_download(self, count: int, now: float) -> None:
        self._download_meter.add(count, now)
        self._send_signal("download", count=count)

    def _publish_piece(self, event: Event) -> None:
        block = bytes(event[3])
        self._send_signal("piece", index=event[1], begin=event[2], block=block)
        self._keep_message((c.PIECE, event[1], event[2], block))

    def _on_event(self, event: Event, wakeups: Wakeups) -> None:
        event_id = event[0]
        if event_id == FAILED:
            event[2].fail(event[1], event[3], wakeups)
            return
        if self._feed is not None:
            self._feed.on_message(event)
        if event_id == c.REQUEST:
            self._on_request(event)
        elif event_id == c.EXTENDED:
            self._on_extended(event)
        else:
            name, fields = _SIGNALS[event_id]
            if event_id == c.HANDSHAKE:
                self._on_handshake()
            if self._is_heard(name):
                values = (bytes(x) if isinstance(x, memoryview) else x for x in event[1:])
                self._send_signal(name, **dict(zip(fields, values, strict=True)))
        self._keep_message(event)

    def _on_handshake(self) -> None:
        self._handshake_deadline = _NEVER
        for extension in self._extensions.values():
            self._extension_calls.call(extension.on_handshake, self._protocol.handshake_received)

    def _on_request(self, event: Event) -> None:
        key: RequestKey = event[1:]
        self._send_signal("request", index=key[0], begin=key[1], length=key[2], respond=self._make_respond(key))

    def _make_respond(self, key: RequestKey) -> Callable[[Any], None]:
        raise NotImplementedError

    def _on_extended(self, event: Event) -> None:
        _, extended_id, payload = event
        if extended_id == c.EXTENDED_HANDSHAKE:
            handshake = dict(self._protocol.peer_extended_handshake)
            for extension in self._extensions.values():
                self._extension_calls.call(extension.on_extended_handshake, handshake)
            self._send_signal("extended_handshake", handshake=handshake)
            return
        name = self._protocol.extended_mapping.get(extended_id)
        if name is not None and name in self._extensions:
            self._extension_calls.call(self._extensions[name].on_message, bytes(payload))
        if self._is_heard("extended"):
            self._send_signal("extended", name=name, extended_id=extended_id, payload=bytes(payload))

    # ------------------------------------------------------------------ sending

    def _check_thread(self) -> None:
        if gevent.get_hub() is not self._hub:
            raise RuntimeError("a wire can only be used in the native thread that made it")

    def _check_usable(self) -> None:
        self._check_thread()
        if self._closed:
            raise WireClosed("the wire is closed") from self._close_reason

    def _take_outgoing(self) -> list[Buffer]:
        """What is to be written now: nothing before it is settled how the connection begins.

        Uploads are accounted for here, once for the whole batch.
        """
        if self._opening is not None:
            return []
        protocol = self._protocol
        buffers = protocol.take_outgoing()
        self._unflushed = 0
        if buffers:
            self._last_sent = now = monotonic()
            count = protocol.uploaded - self._uploaded_noted
            if count:
                self._uploaded_noted = protocol.uploaded
                self._upload_meter.add(count, now)
                self._send_signal("upload", count=count)
        return buffers

    def _sent(self) -> None:
        """Something has been put into the protocol's `outgoing`."""
        self._transport.flush_soon()

    def _request_more(self, wakeups: Wakeups) -> None:
        """Keep the peer's queue full with requests of the ranges that greenlets wait for, in the order in which they
        came."""
        protocol = self._protocol
        limit = protocol.request_limit
        if limit - len(protocol.requests) < limit >> 2:
            # Three quarters keep the peer busy; a quarter at a time costs an eighth of the system calls.
            return
        finished = False
        for wait in self._ranges:
            if wait.next < wait.end and not wait.done:
                try:
                    self._request_range(wait, limit)
                except GeventBTError as error:
                    wait.fail(None, error, wakeups)
            finished = finished or wait.next >= wait.end or wait.done
        if finished:
            self._ranges = [wait for wait in self._ranges if wait.next < wait.end and not wait.done]

    def _request_range(self, wait: RangeWait, limit: int) -> None:
        """Send the next requests of a range, up to the peer's limit; where somebody else waits for the same block,
        share it."""
        protocol = self._protocol
        requests = protocol.requests
        while wait.next < wait.end and len(requests) < limit:
            room = limit - len(requests)
            wait.next = protocol.send_requests(wait.piece, wait.next, wait.end, room, wait)
            length = min(limits.BLOCK, wait.end - wait.next)
            if (wait.piece, wait.next, length) in requests:
                self._request(wait.piece, wait.next, length, wait)
                wait.next += length
        if wait.deadline < self._timer_at:
            self._arm(wait.deadline)

    def _request(self, piece: int, offset: int, length: int, wait: Wait) -> None:
        """Send a request, or share the one that is pending already."""
        requests = self._protocol.requests
        key = (piece, offset, length)
        if key not in requests:
            self._protocol.send_request(piece, offset, length, wait)
        else:
            pending = requests[key]
            if isinstance(pending, SharedWait):
                pending.waits.append(wait)
            else:
                requests[key] = SharedWait(pending, wait)
        if wait.deadline < self._timer_at:
            self._arm(wait.deadline)

    def _abandon(self, wait: Wait) -> list[RequestKey]:
        """Forget somebody who waits no longer, and cancel the requests that nobody else waits for.

        Returns those that it waited for.
        """
        protocol = self._protocol
        keys = [key for key, token in protocol.requests.items() if wait in waits_of(token)]
        for key in keys:
            token = protocol.requests[key]
            if isinstance(token, SharedWait):
                token.waits.remove(wait)
            if token is wait or not waits_of(token):
                protocol.send_cancel(*key)
        if wait in self._ranges:
            self._ranges.remove(wait)
        if not self._closed:
            self._ask_soon()
        return keys

    def _ask_soon(self) -> None:
        """There may be room for more requests: have them sent, with whatever else is outgoing."""
        wakeups: Wakeups = []
        if self._ranges:
            self._request_more(wakeups)
        for wake, value in wakeups:
            self._soon(wake, value)
        if self._protocol.outgoing:
            self._sent()

    def _learn(self, learn: Callable[[Any], None], what: Any) -> None:
        """Tell the protocol something by which the peer may turn out to have broken a rule already."""
        try:
            learn(what)
        except RemoteProtocolError as error:
            self._shut(error)
            raise

    # ------------------------------------------------------------------ who waits, who listens

    def _is_heard(self, name: str) -> bool:
        return bool(self._signal_waits) or self._events.wants(name)

    def _send_signal(self, signal: str, /, **fields: Any) -> None:
        if self._signal_waits:
            for entry in [entry for entry in self._signal_waits if entry[0] == signal]:
                self._signal_waits.remove(entry)
                self._soon(entry[1].switch, fields)
        self._events.send(signal, fields)

    def _keep_message(self, event: Event) -> None:
        # Held, because an iterator that is forgotten may be collected at any moment.
        messages = self._messages
        if messages is not None:
            message = as_object(event)
            messages.put(message, sum(len(part) for part in event[1:] if isinstance(part, (bytes, memoryview))))

    def _pause_if(self, full: bool) -> None:
        if full:
            self._transport.pause()
        else:
            self._transport.resume()

    def _give_up_on_handlers(self) -> None:
        self._shut(WireTimeout("the handlers do not keep up with the peer"))

    def _check_conditions(self) -> None:
        """Wake those whose condition has come true, or who wait in vain because the wire is closed."""
        for entry in list(self._conditions):
            condition, waiter = entry
            if self._closed or condition():
                self._conditions.remove(entry)
                self._soon(waiter.switch, None)

    def _check_soon(self) -> None:
        if self._conditions:
            self._soon(self._check_conditions)

    def _soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the hub: the only place from which a Waiter may be switched to."""
        self._hub.loop.run_callback(function, *args)

    # ------------------------------------------------------------------ the timer

    def _arm(self, at: float) -> None:
        self._disarm()
        self._timer_at = at
        self._timer = self._hub.loop.timer(max(0.0, at - monotonic()))
        self._timer.start(self._on_timer)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _next_due(self) -> float:
        """When something is to be done next if nothing happens until then."""
        due = min(self._handshake_deadline, self._last_received + limits.INACTIVITY_TIMEOUT)
        if self._keep_alive:
            due = min(due, self._last_sent + limits.KEEP_ALIVE_INTERVAL)
        return min(due, *(wait.deadline for wait in self._waits()), _NEVER)

    def _on_timer(self) -> None:
        now = monotonic()
        if now > self._timer_at + _LATE:
            # The hub was held up. What the peer sent meanwhile is to be read before anything is called late.
            self._arm(now)
            return
        if self._transport.paused:
            self._last_received = now
        if now >= self._handshake_deadline:
            self._shut(WireTimeout(f"no handshake from the peer within {self._handshake_timeout:g} seconds"))
            return
        if now >= self._last_received + limits.INACTIVITY_TIMEOUT:
            self._shut(WireTimeout(f"no message from the peer for {limits.INACTIVITY_TIMEOUT:g} seconds"))
            return
        if now >= self._last_sent + limits.KEEP_ALIVE_INTERVAL:
            self._send_keep_alive(now)
        self._expire_requests(now)
        if not self._closed:
            self._arm(self._next_due())

    def _send_keep_alive(self, now: float) -> None:
        # Also where none may be sent, or the timer would be due at once again.
        self._last_sent = now
        if self._keep_alive and self._protocol.handshake_sent:
            self._protocol.send_keep_alive()
            self._transport.flush_soon()

    def _waits(self) -> list[Wait]:
        """Everyone who waits for a block, once each."""
        waits: dict[Wait, None] = dict.fromkeys(self._ranges)
        for token in self._protocol.requests.values():
            waits.update(dict.fromkeys(waits_of(token)))
        return list(waits)

    def _expire_requests(self, now: float) -> None:
        wakeups: Wakeups = []
        late: dict[RequestKey, None] = {}
        for wait in self._waits():
            if wait.is_late(now):
                keys = self._abandon(wait)
                wait.fail(None, RequestTimeout("the peer did not answer a request in time"), wakeups)
                late.update(dict.fromkeys(keys))
        for key in late:
            self._send_signal("timeout", index=key[0], begin=key[1], length=key[2])
        for wake, value in wakeups:
            wake(value)

    # ------------------------------------------------------------------ the end

    def _on_released(self) -> None:
        """The socket is closed for good."""
        if self._released is not None:
            self._released.set()

    def _shut(self, reason: Exception | None, linger: bool = False) -> None:
        """Close at once: everyone who waits is woken, everything that is held is let go.

        Args:
            reason: the error, if there was one.
            linger: let the peer read what has been sent; see `Transport.close`.
        """
        if self._closed:
            return
        self._closed = True
        self._close_reason = reason
        self._disarm()
        self._transport.close(linger)
        wakeups: Wakeups = []
        pending: list[tuple[RequestKey | None, Token]] = [(None, wait) for wait in self._ranges]
        for key, token in [*self._protocol.requests.items(), *pending]:
            closed = WireClosed("the wire was closed")
            closed.__cause__ = reason
            token.fail(key, closed, wakeups)
        self._protocol.requests.clear()
        self._ranges.clear()
        self._protocol.peer_requests.clear()
        self._protocol.unanswered_requests.clear()
        for wake, value in wakeups:
            self._soon(wake, value)
        if self._feed is not None:
            self._feed.on_closed()
        if self._on_closed is not None:
            self._on_closed(self)
        if reason is not None:
            self._send_signal("error", error=reason)
        self._send_signal("close", error=reason)
        for _, waiter in self._signal_waits:
            self._soon(waiter.switch, None)
        self._signal_waits.clear()
        self._check_conditions()
        for extension in self._extensions.values():
            self._extension_calls.call(extension.on_close, reason)
