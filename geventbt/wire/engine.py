"""The inside of a wire: puts its parts together, and drives them by what its transport, its timer and its users do.

Everything here runs in the hub or in a caller's greenlet, and nothing blocks but `close`: greenlets are woken only when
the state is consistent again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from time import monotonic
from typing import Any
from weakref import ref

import gevent.event
from bitarray import bitarray

from geventbt import __version__, limits
from geventbt.concurrency.flow import FlowControl
from geventbt.errors import LocalProtocolError, RemoteProtocolError, WireClosed, WireTimeout
from geventbt.protocol.connection import PeerProtocol
from geventbt.protocol.handshake import Handshake
from geventbt.protocol.messages import Buffer
from geventbt.rates.speed import SpeedMeter
from geventbt.wire.conditions import Conditions
from geventbt.wire.link import Link
from geventbt.wire.liveness import Liveness
from geventbt.wire.pipeline import RequestPipeline
from geventbt.wire.plug_ins import ExtensionCalls, PlugIns
from geventbt.wire.publisher import Publisher
from geventbt.wire.requests import Wakeups
from geventbt.wire.router import EventRouter
from geventbt.wire.serving import Serving
from geventbt.wire.timer import CoarseTimer
from geventbt.wire.transports.base import BULK_READ, SMALL_READ, Transport
from geventbt.wire.transports.encryption import Encryption, InboundOpening, OpenedStream, OpeningDelegate


def _self_description(remote_host: str) -> dict[str, Any]:
    """Our part of the extended handshake: our version, and the peer's address as we see it (BEP 10)."""
    description: dict[str, Any] = {"v": f"geventbt {__version__}"}
    if remote_host:
        description["yourip"] = ip_address(remote_host.partition("%")[0]).packed
    return description


class Engine:
    """What a wire does by itself; the delegate of its transport.

    Args:
        wire: the sender of the signals; referred to weakly, so that one without another reference is collected.
        plug_ins: of the wire, which holds them; see `PlugIns`.
        transport: carries the bytes.
        is_known_torrent: asked about the info hash of an inbound handshake; None accepts any.
        on_closed: called with the wire as soon as it is closed; it must not block.

    Attributes:
        link, conditions, publisher, pipeline, serving, router: the parts of the wire.
        encryption: "plaintext" or "rc4"; None until that is settled.
        download_meter, upload_meter: the speeds.
        incoming: whether the peer opened the connection.
    """

    # *Measured*: a `__dict__` for as many attributes is 1.5 KiB more for each idle peer.
    __slots__ = (
        "_extension_calls", "_forgive_at", "_liveness", "_on_closed", "_protocol", "_released", "_timer", "_transport",
        "_uploaded_noted", "_waiting_for_end", "_wire", "conditions", "download_meter", "encryption", "incoming",
        "link", "pipeline", "publisher", "router", "serving", "upload_meter",
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
        now = monotonic()
        self._wire = ref(wire)
        self._transport = transport
        self._protocol = PeerProtocol(is_known_torrent)
        self._protocol.extended_handshake.update(_self_description(transport.remote_address[0]))
        self._timer = CoarseTimer(hub, self._on_timer)
        self._liveness = Liveness(now, incoming=incoming)
        flow = FlowControl(self)
        self.link = Link(hub, transport, self._protocol, flow, self._timer)
        self.conditions = Conditions(self.link)
        self.publisher = Publisher(self.link, wire)
        self.pipeline = RequestPipeline(self.link, self.conditions, self.publisher)
        self.serving = Serving(self.link, self.conditions, self.publisher)
        self._extension_calls = ExtensionCalls(plug_ins, flow)
        self.router = EventRouter(
            self.link,
            self._liveness,
            self.conditions,
            self.publisher,
            self.pipeline,
            self.serving,
            self._extension_calls,
        )
        self.incoming = incoming
        self.encryption: Encryption | None = None
        self.download_meter = SpeedMeter()
        self.upload_meter = SpeedMeter()
        self._uploaded_noted = 0
        self._forgive_at = now + limits.STATE_MESSAGES_TIME
        self._on_closed = on_closed
        self._waiting_for_end: list[Callable[[Any], object]] | None = None
        self._released: gevent.event.Event | None = None

    def start(self, opening: InboundOpening | OpenedStream | None) -> None:
        """Begin to read.

        Args:
            opening: how the connection begins: an inbound opening that is not settled, the outcome of ours, or None
                for plaintext.
        """
        self._rearm()
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

    # ------------------------------------------------------------------ the transport's events

    @property
    def missing(self) -> int:
        """See `TransportDelegate`."""
        return self._protocol.missing

    def on_data(self, data: memoryview) -> int:
        """Process the peer's bytes, in the hub. Returns the size of the next read."""
        protocol, liveness = self._protocol, self._liveness
        downloaded, received = protocol.downloaded, protocol.messages_received
        wakeups: Wakeups = []
        error = self.router.process(data, wakeups)
        count = protocol.downloaded - downloaded
        # A block changes no condition, unless it is kept for an iterator.
        is_news = received != protocol.messages_received
        now = 0.0
        if count or is_news:
            liveness.last_received = now = monotonic()
            if count:
                self.download_meter.add(count, now)
                self.publisher.send("download", count=count)
            elif now >= self._forgive_at:
                self._forgive_at = now + limits.STATE_MESSAGES_TIME
                protocol.forgive_state_messages()
        pipeline = self.pipeline
        if not count and (key := protocol.block_under_way) is not None:
            liveness.last_received = monotonic()
            pipeline.on_bytes(key, liveness.last_received)
        if error:
            self.shut(error)
        elif pipeline.ranges:
            pipeline.fill(wakeups)
        if pipeline.delegate_wait is not None and not self.link.closed:
            pipeline.delegate_wait.delegate.on_batch(count, now)
        for wake, value in wakeups:
            wake(value)
        if is_news or self.router.keeps_messages:
            self.conditions.check()
        return protocol.missing + (BULK_READ if 2 * count >= len(data) else SMALL_READ)

    def take_outgoing(self) -> list[Buffer]:
        """The buffers to be written now. Uploads are accounted for here, once for the whole batch."""
        protocol = self._protocol
        buffers = protocol.take_outgoing()
        self.serving.unflushed = 0
        if buffers:
            self._liveness.last_sent = now = monotonic()
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
        is_refusal = not self.incoming and self.link.protocol.handshake_received is None
        if is_refusal and (error is None or isinstance(error, ConnectionResetError)):
            refusal = WireClosed(f"{self.link} closed the connection without a handshake; it may not have the torrent")
            refusal.__cause__ = error
            error = refusal
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

    # ------------------------------------------------------------------ the handshake, and what is known of the torrent

    def send_handshake(
        self, ours: Handshake, info_hash_v2: bytes | None, bitfield: bitarray | bytes | None, interested: bool
    ) -> None:
        """Send our handshake, and what is to follow at once, unless one has been sent; see `Wire.handshake`.

        Args:
            ours: the handshake.
            info_hash_v2: the 20 bytes that stand for the torrent's version 2; None without one.
            bitfield, interested: see there.
        """
        protocol = self._protocol
        sent = protocol.handshake_sent
        if sent is not None:
            if sent.info_hash not in (ours.info_hash, info_hash_v2):
                raise LocalProtocolError(
                    f"a handshake for torrent {sent.info_hash.hex()} has been sent already, not {ours.info_hash.hex()}"
                )
            return
        self.apply_constraint(protocol.send_handshake, ours, info_hash_v2)
        # At the end of this turn, with what follows.
        self._transport.flush_soon()
        if bitfield is not None:
            protocol.send_bitfield(bitfield)
        if interested:
            protocol.send_interested()

    def limit_handshake(self, seconds: float, deadline: float) -> None:
        """Close the wire if the peer's handshake does not arrive by this deadline, or an earlier one."""
        if self._protocol.handshake_received is None:
            self._liveness.limit_handshake(seconds, deadline)
            self._rearm()

    def apply_constraint(self, setter: Callable[..., None], *values: Any) -> None:
        """Set something in the protocol that may prove that the peer has broken a rule; then the wire closes."""
        try:
            setter(*values)
        except RemoteProtocolError as error:
            self.shut(error)
            raise

    # ------------------------------------------------------------------ the timer

    @property
    def silence(self) -> float:
        """Seconds since the last sign of life of the peer: a message, or a byte of a block that we asked for."""
        return monotonic() - self._liveness.last_received

    def set_keep_alive(self, on: bool) -> None:
        """See `Wire.set_keep_alive`."""
        self.link.check_usable()
        self._liveness.keep_alive = on
        self._rearm()

    def _rearm(self) -> None:
        """Set the timer to what is due next if nothing happens until then."""
        self._timer.arm(min(self._liveness.next_due, self.pipeline.next_deadline))

    def _on_timer(self) -> None:
        now = monotonic()
        if self._transport.paused or self._is_our_turn():
            self._liveness.last_received = now
        overdue = self._liveness.overdue(now)
        if overdue is not None:
            self.shut(overdue)
            return
        if self._liveness.take_keep_alive(now) and self._protocol.handshake_sent:
            self._protocol.send_keep_alive()
            self._transport.flush_soon()
        self.pipeline.expire(now)
        if not self.link.closed:
            self._rearm()

    def _is_our_turn(self) -> bool:
        protocol = self._protocol
        return self._liveness.waits_for_us(
            protocol.uploaded, self._transport.queued, owes_blocks=bool(protocol.peer_requests)
        )

    # ------------------------------------------------------------------ closing

    def close(self, timeout: float) -> None:
        """Close when what is queued has been sent; see `Wire.close`."""
        if self.link.closed:
            return
        self.link.check_usable()
        transport = self._transport
        transport.flush()
        if timeout and transport.queued:
            with suppress(WireTimeout, WireClosed):
                self.conditions.wait_until(lambda: not transport.queued, timeout, "the send queue not empty")
        self.shut(None, linger=timeout > 0)
        self._wait_released(timeout)

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
        self._extension_calls.on_close(reason)

    def abandon(self, wire: Any, plug_ins: PlugIns) -> None:
        """Close the wire that is being collected, in the hub. Handlers hear of it once more."""
        if not self.link.closed:
            # The garbage collector has cleared these.
            self._wire = ref(wire)
            self._extension_calls.set_plug_ins(plug_ins)
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

    def _wait_released(self, timeout: float) -> None:
        """Block while the peer may still read what has been sent: the program may end right after the close."""
        if timeout and not self._transport.released:
            if self._released is None:
                self._released = gevent.event.Event()
            self._released.wait(timeout)
