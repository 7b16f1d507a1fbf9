"""The inside of a wire: turns what arrives into protocol events, and those into woken greenlets, signals and calls of
extensions; owns the timer and the close.

Everything here runs in the hub or in a caller's greenlet, and nothing blocks: greenlets are woken only when the state
is consistent again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import ref

import gevent.event

from geventbt import __version__, limits
from geventbt.concurrency.dispatch import Dispatcher
from geventbt.concurrency.flow import FlowControl
from geventbt.errors import RemoteProtocolError, WireTimeout
from geventbt.protocol import constants as c
from geventbt.protocol.connection import FAILED, LATE, Event, PeerProtocol
from geventbt.protocol.messages import Buffer
from geventbt.rates.speed import SpeedMeter
from geventbt.wire.conditions import Conditions
from geventbt.wire.link import Link
from geventbt.wire.pipeline import RequestPipeline
from geventbt.wire.publisher import Publisher
from geventbt.wire.requests import Wakeups
from geventbt.wire.serving import Serving
from geventbt.wire.timer import CoarseTimer
from geventbt.wire.transports.base import BULK_READ, SMALL_READ, Transport
from geventbt.wire.transports.encryption import Encryption, InboundOpening, OpenedStream, OpeningDelegate

if TYPE_CHECKING:
    from geventbt.wire.message_queue import MessageQueue

_log = logging.getLogger("geventbt")

# The hot loop compares with these for every block.
_PIECE = c.PIECE
_REQUEST = c.REQUEST

_NEVER = float("inf")

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


def _self_description(remote_host: str) -> dict[str, Any]:
    """Our part of the extended handshake: our version, and the peer's address as we see it (BEP 10)."""
    description: dict[str, Any] = {"v": f"geventbt {__version__}"}
    if remote_host:
        description["yourip"] = ip_address(remote_host.partition("%")[0]).packed
    return description


class PlugIns(dict[str, Any]):
    """The extensions in use, by name.

    Held by the wire alone: an extension refers to its wire, and the event loop to the engine, so that a wire that the
    engine kept alive by its extensions would never be collected.
    """

    __slots__ = ("__weakref__",)


class Engine:
    """What a wire does by itself; the delegate of its transport.

    Args:
        wire: the sender of the signals; referred to weakly, so that one without another reference is collected.
        plug_ins: of the wire, which holds them; see `PlugIns`.
        transport: carries the bytes.
        is_known_torrent: asked about the info hash of an inbound handshake; None accepts any.
        on_closed: called with the wire as soon as it is closed; it must not block.

    Attributes:
        link, conditions, publisher, pipeline, serving: the parts of the wire.
        messages: what `Wire.messages` iterates; None until it is called.
        encryption: "plaintext" or "rc4"; None until that is settled.
        keep_alive: whether to send keep-alives.
        download_meter, upload_meter: the speeds.
        incoming: whether the peer opened the connection.
    """

    # *Measured*: a `__dict__` for as many attributes is 1.5 KiB more for each idle peer.
    __slots__ = (
        "_extension_calls", "_forgive_at", "_handshake_deadline", "_handshake_timeout", "_last_received", "_last_sent",
        "_on_closed", "_plug_ins", "_protocol", "_released", "_sent_noted", "_timer", "_transport", "_uploaded_noted",
        "_waiting_for_end", "_wire", "conditions", "download_meter", "encryption", "incoming", "keep_alive", "link",
        "messages", "pipeline", "publisher", "serving", "upload_meter",
    )  # fmt: skip

    def __init__(
        self,
        wire: Any,
        plug_ins: PlugIns,
        transport: Transport,
        *,
        incoming: bool,
        is_known_torrent: Callable[[bytes], bool] | None,
        on_closed: Callable[[Any], object] | None,
    ) -> None:
        hub = gevent.get_hub()
        self._wire = ref(wire)
        self._plug_ins = ref(plug_ins)
        self._transport = transport
        self._protocol = PeerProtocol(is_known_torrent)
        self._protocol.extended_handshake.update(_self_description(transport.remote_address[0]))
        self._timer = CoarseTimer(hub, self._on_timer)
        flow = FlowControl(self)
        self.link = Link(hub, transport, self._protocol, flow, self._timer)
        self.conditions = Conditions(self.link)
        self.publisher = Publisher(self.link, wire)
        self.pipeline = RequestPipeline(self.link, self.conditions, self.publisher)
        self.serving = Serving(self.link, self.conditions, self.publisher)
        # Extensions have a queue of their own, so that a slow handler does not stall them.
        self._extension_calls = Dispatcher(flow)
        self._waiting_for_end: list[Callable[[Any], object]] | None = None
        self.messages: MessageQueue | None = None
        self.incoming = incoming
        self.encryption: Encryption | None = None
        self.keep_alive = True
        self.download_meter = SpeedMeter()
        self.upload_meter = SpeedMeter()
        self._uploaded_noted = 0
        self._on_closed = on_closed
        self._released: gevent.event.Event | None = None
        now = monotonic()
        self._last_received = now
        self._last_sent = now
        self._sent_noted = 0
        self._forgive_at = now + limits.STATE_MESSAGES_TIME
        self._handshake_timeout = limits.HANDSHAKE_TIMEOUT
        self._handshake_deadline = now + limits.HANDSHAKE_TIMEOUT if incoming else _NEVER

    @property
    def extensions(self) -> dict[str, Any]:
        """The plug-ins in use, by name."""
        plug_ins = self._plug_ins()
        return {} if plug_ins is None else plug_ins

    def start(self, opening: InboundOpening | OpenedStream | None) -> None:
        """Begin to read.

        Args:
            opening: how the connection begins: an inbound opening that is not settled, the outcome of ours, or None
                for plaintext.
        """
        self.rearm()
        if isinstance(opening, InboundOpening):
            self._transport.attach(OpeningDelegate(self.link.hub, self._transport, opening, self))
        else:
            self._transport.attach(self)
            if opening is None:
                self.encryption = "plaintext"
            else:
                self.begin_stream(opening)

    def begin_stream(self, stream: OpenedStream) -> None:
        """Take over the stream of messages that follows an opening."""
        if self.link.closed:
            return
        self.encryption = stream.encryption
        if stream.encryptor is not None and stream.decryptor is not None:
            self._transport.encrypt(stream.encryptor, stream.decryptor)
        if stream.payload:
            self.on_data(memoryview(stream.payload))
        if not self.link.closed:
            self._transport.flush()

    # ------------------------------------------------------------------ receiving

    def on_data(self, data: memoryview) -> int:
        """Process the peer's bytes, in the hub. Returns the size of the next read."""
        protocol = self._protocol
        downloaded, received = protocol.downloaded, protocol.messages_received
        wakeups: Wakeups = []
        error = self._process(data, wakeups)
        count = protocol.downloaded - downloaded
        # A block changes no condition, unless it is kept for an iterator.
        is_news = received != protocol.messages_received
        now = 0.0
        if count or is_news:
            self._last_received = now = monotonic()
            if count:
                self.download_meter.add(count, now)
                self.publisher.send("download", count=count)
            elif now >= self._forgive_at:
                self._forgive_at = now + limits.STATE_MESSAGES_TIME
                protocol.forgive_state_messages()
        pipeline = self.pipeline
        if not count and (key := protocol.block_under_way) is not None:
            self._last_received = monotonic()
            pipeline.on_bytes(key, self._last_received)
        if error:
            self.shut(error)
        elif pipeline.ranges:
            pipeline.fill(wakeups)
        if pipeline.delegate_wait is not None and not self.link.closed:
            pipeline.delegate_wait.delegate.on_batch(count, now)
        for wake, value in wakeups:
            wake(value)
        if is_news or self._keeps_messages:
            self.conditions.check()
        return protocol.missing + (BULK_READ if 2 * count >= len(data) else SMALL_READ)

    def _process(self, data: memoryview, wakeups: Wakeups) -> Exception | None:
        """Run the protocol over bytes. Returns what closes the wire, if anything does."""
        try:
            self._process_events(data, wakeups)
        except RemoteProtocolError as broken:
            return broken
        except Exception as bug:
            _log.exception("processing a message failed: %r", self._wire())
            return bug
        return None

    def _process_events(self, data: memoryview, wakeups: Wakeups) -> None:
        """The hot loop. Blocks that follow each other go to the delegate together."""
        delegate_wait = self.pipeline.delegate_wait
        has_listeners = self.publisher.has_listeners
        keeps_messages = self._keeps_messages
        publishes_pieces = keeps_messages or has_listeners("piece")
        publishes_requests = keeps_messages or has_listeners("request")
        blocks: list[Event] = []
        try:
            for event in self._protocol.receive(data):
                if event[0] == _PIECE:
                    if event[4] is delegate_wait:
                        blocks.append(event)
                    else:
                        event[4].deliver(event[1], event[2], event[3], wakeups)
                    if publishes_pieces:
                        self._publish_piece(event)
                else:
                    if blocks and delegate_wait is not None:
                        delegate_wait.delegate.on_blocks(blocks)
                        blocks = []
                    if publishes_requests or event[0] != _REQUEST:
                        self._on_event(event, wakeups)
        finally:
            if blocks and delegate_wait is not None:
                delegate_wait.delegate.on_blocks(blocks)

    def _publish_piece(self, event: Event) -> None:
        block = bytes(event[3])
        self.publisher.send("piece", index=event[1], begin=event[2], block=block)
        self._keep_message((c.PIECE, event[1], event[2], block))

    @property
    def _keeps_messages(self) -> bool:
        return self.messages is not None and not self.messages.stopped

    def _keep_message(self, event: Event) -> None:
        if self.messages is not None:
            self.messages.put(event)

    def _on_event(self, event: Event, wakeups: Wakeups) -> None:
        event_id = event[0]
        if event_id == FAILED:
            event[2].fail(event[1], event[3], wakeups)
            return
        if event_id == LATE:
            if self.pipeline.delegate_wait is not None:
                self.pipeline.delegate_wait.delegate.on_late_block(event)
            return
        if self.pipeline.delegate_wait is not None:
            self.pipeline.delegate_wait.delegate.on_message(event)
        if event_id == c.REQUEST:
            key = event[1:]
            respond = self.serving.respond_to(key)
            self.publisher.send("request", index=key[0], begin=key[1], length=key[2], respond=respond)
        elif event_id == c.EXTENDED:
            self._on_extended(event)
        else:
            if event_id == c.HANDSHAKE:
                self._on_handshake()
            name, fields = _SIGNALS[event_id]
            if self.publisher.has_listeners(name):
                values = (bytes(x) if isinstance(x, memoryview) else x for x in event[1:])
                self.publisher.send(name, **dict(zip(fields, values, strict=True)))
        self._keep_message(event)

    def _on_handshake(self) -> None:
        self._handshake_deadline = _NEVER
        for extension in self.extensions.values():
            self._extension_calls.call(extension.on_handshake, self._protocol.handshake_received)

    def _on_extended(self, event: Event) -> None:
        _, extended_id, payload = event
        if extended_id == c.EXTENDED_HANDSHAKE:
            handshake = dict(self._protocol.peer_extended_handshake)
            for extension in self.extensions.values():
                self._extension_calls.call(extension.on_extended_handshake, handshake)
            self.publisher.send("extended_handshake", handshake=handshake)
            return
        name = self._protocol.extended_mapping.get(extended_id)
        if name is not None and name in self.extensions:
            self._extension_calls.call(self.extensions[name].on_message, bytes(payload))
        if self.publisher.has_listeners("extended"):
            self.publisher.send("extended", name=name, extended_id=extended_id, payload=bytes(payload))

    # ------------------------------------------------------------------ sending, and the transport's other events

    def take_outgoing(self) -> list[Buffer]:
        """The buffers to be written now. Uploads are accounted for here, once for the whole batch."""
        protocol = self._protocol
        buffers = protocol.take_outgoing()
        self.serving.unflushed = 0
        if buffers:
            self._last_sent = now = monotonic()
            count = protocol.uploaded - self._uploaded_noted
            if count:
                self._uploaded_noted = protocol.uploaded
                self.upload_meter.add(count, now)
                self.publisher.send("upload", count=count)
        return buffers

    def on_drained(self) -> None:
        """The send queue has become short: `piece` and `close` may be waiting for that."""
        self.conditions.check_soon()

    def on_end(self, error: Exception | None) -> None:
        """The peer has closed the connection, or the transport has failed."""
        self.shut(error)

    def on_released(self) -> None:
        """The connection is closed for good."""
        if self._released is not None:
            self._released.set()

    def pause_reading(self, paused: bool) -> None:
        """A backlog of handlers has become long, or short again."""
        if paused:
            self._transport.pause()
        else:
            self._transport.resume()

    def on_overflow(self) -> None:
        """Handlers are hopelessly behind."""
        self.shut(WireTimeout("closed because handlers or messages() do not keep up with the peer"))

    def apply_constraint(self, setter: Callable[[Any], None], value: Any) -> None:
        """Set something in the protocol that may prove that the peer has broken a rule; then the wire closes."""
        try:
            setter(value)
        except RemoteProtocolError as error:
            self.shut(error)
            raise

    # ------------------------------------------------------------------ the timer

    @property
    def silence(self) -> float:
        """Seconds since the last sign of life of the peer: a message, or a byte of a block that we asked for."""
        return monotonic() - self._last_received

    def limit_handshake(self, seconds: float, deadline: float) -> None:
        """Close the wire if the peer's handshake does not arrive by this deadline, or an earlier one."""
        if self._protocol.handshake_received is None and deadline < self._handshake_deadline:
            self._handshake_timeout = seconds
            self._handshake_deadline = deadline
            self._timer.arm(min(self._timer.at, deadline))

    def rearm(self) -> None:
        """Set the timer to what is due next if nothing happens until then."""
        due = min(self._handshake_deadline, self._last_received + limits.INACTIVITY_TIMEOUT)
        if self.keep_alive:
            due = min(due, self._last_sent + limits.KEEP_ALIVE_INTERVAL)
        self._timer.arm(min(due, self.pipeline.next_deadline))

    def _on_timer(self) -> None:
        now = monotonic()
        if self._transport.paused or self._takes_what_we_owe():
            self._last_received = now
        if now >= self._handshake_deadline:
            self.shut(WireTimeout(f"no handshake from the peer within {self._handshake_timeout:g} s"))
            return
        if now >= self._last_received + limits.INACTIVITY_TIMEOUT:
            self.shut(WireTimeout(f"no message from the peer for {limits.INACTIVITY_TIMEOUT:g} s"))
            return
        if now >= self._last_sent + limits.KEEP_ALIVE_INTERVAL:
            self._send_keep_alive(now)
        self.pipeline.expire(now)
        if not self.link.closed:
            self.rearm()

    def _takes_what_we_owe(self) -> bool:
        """Whether it is our turn: the peer waits for blocks, and has taken all that was sent, or more than when the
        timer last fired."""
        queued = self._transport.queued
        sent = self._protocol.uploaded - queued
        before, self._sent_noted = self._sent_noted, max(sent, self._sent_noted)
        if queued:
            return sent > before
        return bool(self._protocol.peer_requests)

    def _send_keep_alive(self, now: float) -> None:
        # Also where none may be sent, or the timer would be due again at once.
        self._last_sent = now
        if self.keep_alive and self._protocol.handshake_sent:
            self._protocol.send_keep_alive()
            self._transport.flush_soon()

    # ------------------------------------------------------------------ closing

    def shut(self, reason: Exception | None, linger: bool = False) -> None:
        """Close at once: wake every waiting greenlet, and release everything.

        Args:
            reason: the error, if there was one.
            linger: let the peer read what has been sent; see `Transport.close`.
        """
        link = self.link
        if link.closed:
            return
        link.closed = True
        link.close_reason = reason
        self._timer.disarm()
        self._transport.close(linger)
        self._protocol.peer_requests.clear()
        self._protocol.unanswered_requests.clear()
        self.pipeline.close(link.closed_error())
        wire = self._wire()
        if self._on_closed is not None:
            self._on_closed(wire)
        for callback in self._waiting_for_end or ():
            link.soon(callback, wire)
        self._waiting_for_end = None
        if reason is not None:
            self.publisher.send("error", error=reason)
        self.publisher.send("close", error=reason)
        self.publisher.close()
        self.conditions.check()
        for extension in self.extensions.values():
            self._extension_calls.call(extension.on_close, reason)

    def abandon(self, wire: Any, plug_ins: PlugIns) -> None:
        """Close the wire that is being collected, in the hub. Handlers hear of it once more."""
        if not self.link.closed:
            # The garbage collector has cleared these.
            self._wire = ref(wire)
            self._plug_ins = ref(plug_ins)
            self.publisher.set_sender(wire)
            self.shut(None, linger=True)

    def link_end(self, callback: Callable[[Any], object]) -> None:
        """Call a function with the wire, in the hub, once it is closed."""
        if self.link.closed:
            self.link.soon(callback, self._wire())
        else:
            self._waiting_for_end = [*(self._waiting_for_end or ()), callback]

    def unlink_end(self, callback: Callable[[Any], object]) -> None:
        """Undo `link_end`."""
        if self._waiting_for_end and callback in self._waiting_for_end:
            self._waiting_for_end.remove(callback)

    def wait_released(self, timeout: float) -> None:
        """Block while the peer may still read what has been sent: the program may end right after the close."""
        if timeout and not self._transport.released:
            if self._released is None:
                self._released = gevent.event.Event()
            self._released.wait(timeout)
