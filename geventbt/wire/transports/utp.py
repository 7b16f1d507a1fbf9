"""A uTP stream as a `Transport`: one of many on a UDP socket, without a greenlet."""

from __future__ import annotations

import errno
from time import monotonic
from typing import Any, Protocol

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.concurrency.timers import delay_until
from geventbt.errors import WireTimeout
from geventbt.net.addresses import Address
from geventbt.protocol.messages import Buffer
from geventbt.protocol.utp.batches import Batch
from geventbt.protocol.utp.stream import Failure, StreamState, UtpStream
from geventbt.wire.transports.base import SMALL_READ, Cipher, TransportDelegate
from geventbt.wire.transports.turn import turn_of

_NEVER = float("inf")


class PacketSender(Protocol):
    """The socket of a transport."""

    address: Address

    def send(self, batch: Batch, address: Address) -> bool:
        """Send packets. Returns whether there was room; else `UtpTransport.on_room` is called when there is."""

    def forget(self, transport: UtpTransport) -> None:
        """The transport is closed for good."""


class UtpTransport:
    """A `Transport` over a uTP stream. Made by a `UtpEndpoint`.

    Args:
        endpoint: its socket.
        stream: what it drives.
        address: of the peer.

    Attributes:
        name: "utp".
        stream: see above.
        queued: bytes that wait to be sent.
        remote_address: see above.
        local_address: our (host, port).
        closed: whether `close` has been called.
    """

    __slots__ = (
        "__weakref__", "_connected", "_decryptor", "_delegate", "_encryptor", "_endpoint", "_fires_at", "_flush_due",
        "_hub", "_pauses", "_read_size", "_released", "_timer", "_turn", "_until", "closed", "local_address", "name",
        "queued", "remote_address", "stream",
    )  # fmt: skip

    def __init__(self, endpoint: PacketSender, stream: UtpStream, address: Address) -> None:
        self.name = "utp"
        self.stream = stream
        self.remote_address = address
        self.local_address = endpoint.address
        self.queued = 0
        self.closed = False
        self._endpoint = endpoint
        self._hub = gevent.get_hub()
        self._turn = turn_of(self._hub)
        self._delegate: TransportDelegate | None = None
        self._encryptor: Cipher | None = None
        self._decryptor: Cipher | None = None
        self._flush_due = False
        self._pauses = 0
        self._read_size = SMALL_READ
        self._timer: Any = None
        self._fires_at = _NEVER
        self._until = _NEVER
        self._released = False
        self._connected: Event | None = None

    # ------------------------------------------------------------------ connecting

    def connect(self, timeout: float) -> None:
        """Block until the peer has answered.

        Raises:
            ConnectionRefusedError: the peer or its machine refuses.
            WireTimeout: no answer in time.
        """
        self._connected = Event()
        self._pump()
        try:
            self._connected.wait(timeout)
        except BaseException:
            self.close()
            raise
        self._connected = None
        if self.stream.state is not StreamState.OPEN:
            error = self._error() or WireTimeout("no answer from {}:{} over uTP".format(*self.remote_address))
            self.close()
            raise error

    def _error(self) -> Exception | None:
        """The failure of the stream as an exception."""
        peer = "{}:{}".format(*self.remote_address)
        failure = self.stream.failure
        if failure is Failure.REFUSED:
            return ConnectionRefusedError(f"{peer} does not take uTP connections")
        if failure is Failure.RESET:
            return ConnectionResetError(errno.ECONNRESET, f"{peer} has reset the uTP connection")
        if failure is Failure.SILENT:
            return WireTimeout(f"{peer} does not acknowledge what was sent over uTP")
        if failure is Failure.TOO_LARGE:
            return WireTimeout(f"large packets do not get through to {peer} over uTP; smaller ones will be used")
        return None

    # ------------------------------------------------------------------ the transport

    def attach(self, delegate: TransportDelegate) -> None:
        """Call this delegate from now on. Reading begins with the first one."""
        is_first = self._delegate is None
        self._delegate = delegate
        if is_first:
            self._hub.loop.run_callback(self.on_packets)

    @property
    def queue_time(self) -> float | None:
        """Seconds that what is sent spends in queues on its way (BEP 29)."""
        return self.stream.queued

    @property
    def tcp_path(self) -> None:
        """It is not TCP."""

    @property
    def paused(self) -> bool:
        """Whether reading is paused."""
        return self._pauses > 0

    @property
    def released(self) -> bool:
        """Whether the connection is closed for good, after any lingering."""
        return self._released

    def pause(self) -> None:
        """Stop reading until `resume` has been called as often: the window then makes the peer wait."""
        self._pauses += 1

    def resume(self) -> None:
        """Undo one `pause`."""
        self._pauses -= 1
        if not self._pauses and not self.closed:
            self._hub.loop.run_callback(self.on_packets)

    def encrypt(self, encryptor: Cipher, decryptor: Cipher) -> None:
        """From now on encrypt what is flushed, a whole batch at a time, and decrypt what is read."""
        self._encryptor = encryptor
        self._decryptor = decryptor

    def write(self, data: bytes) -> None:
        """Send bytes as they are, ahead of what the delegate has outgoing."""
        if data and not self.closed:
            self.stream.write(data)
            self._pump()

    def flush_soon(self) -> None:
        """Flush once at the end of this turn of the loop, in one batch with what else is outgoing by then."""
        if not self._flush_due:
            self._flush_due = True
            self._hub.loop.run_callback(self._flush_callback)

    def _flush_callback(self) -> None:
        self._flush_due = False
        self.flush()

    def flush(self) -> None:
        """Send as much as the window allows; the rest follows by itself."""
        if self.closed or self._delegate is None:
            return
        fresh: list[Buffer] = self._delegate.take_outgoing()
        if fresh:
            # One buffer, from which packets are cut; and the caller's buffers are never changed.
            batch = bytearray().join(fresh)
            if self._encryptor is not None:
                self._encryptor.crypt_in_place(batch)
            self.stream.write(batch)
        self._pump()
        if self.queued > limits.HIGH_WATER + limits.CONTROL_QUEUE:
            self._delegate.on_end(WireTimeout(f"the peer does not read: {self.queued} bytes are queued for it"))

    def close(self, linger: bool = False) -> None:
        """Close the connection and drop what is queued.

        Args:
            linger: first let the peer acknowledge what has been sent, for some seconds at most.
        """
        if self.closed:
            return
        self.closed = True
        self._turn.forget(self._deliver)
        stream = self.stream
        stream.drop_unsent()
        self.queued = 0
        if stream.state is StreamState.OPEN and (linger or stream.inbox.end is not None):
            stream.finish()
            self._until = monotonic() + limits.UTP_LINGER
            self._pump()
        else:
            self.abort()

    def abort(self) -> None:
        """Close the connection at once, with whatever was sent."""
        self.closed = True
        stream = self.stream
        if stream.state is StreamState.OPEN:
            packet = stream.reset_packet(monotonic())
            self._endpoint.send(Batch(packet, len(packet), []), self.remote_address)
        stream.abort()
        self._release()

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._endpoint.forget(self)
        if self._delegate is not None:
            self._delegate.on_released()

    # ------------------------------------------------------------------ driven by the endpoint

    def on_packets(self) -> None:
        """Packets have come: hand over what is in order, and send what has become due."""
        if self._released:
            return
        if self._connected is not None and self.stream.state is not StreamState.CONNECTING:
            self._connected.set()
        if self.closed:
            self.stream.take(limits.UTP_ROOM)
        elif self._delegate is not None and not self._pauses and self.stream.inbox.ready:
            self._turn.run(self._hub.loop, self._deliver)
        self._pump()

    def on_room(self) -> None:
        """The socket has room again."""
        self._pump()

    def _deliver(self) -> None:
        """Hand over what is in order, as much at a time as the delegate asks for."""
        stream = self.stream
        while self._delegate is not None and not self.closed and not self._pauses and stream.inbox.ready:
            data = bytearray().join(stream.take(self._read_size))
            # What the woken greenlets send goes out in one batch below.
            self._flush_due = True
            if self._decryptor is not None:
                self._decryptor.crypt_in_place(data)
            self._read_size = self._delegate.on_data(memoryview(data))
            self._flush_due = False
            self.flush()
            if stream.inbox.ready and not self._turn.has_time(self._hub.loop):
                self._turn.run(self._hub.loop, self._deliver)
                return

    def _pump(self) -> None:
        """Send what is due, and see what has become of the stream."""
        if self._released:
            return
        now = monotonic()
        stream = self.stream
        for batch in stream.transmit(now):
            if not self._endpoint.send(batch, self.remote_address):
                stream.take_back(batch)
        self._note_queue()
        if stream.is_over:
            self._end()
        elif stream.inbox.at_end and not self.closed and self._delegate is not None:
            self._delegate.on_end(None)
        else:
            self._arm(now)

    def _note_queue(self) -> None:
        before, self.queued = self.queued, self.stream.unsent
        has_room = self.queued <= limits.HIGH_WATER // 2 < before or (before and not self.queued)
        if has_room and not self.closed and self._delegate is not None:
            self._delegate.on_drained()

    def _end(self) -> None:
        """The stream is over."""
        if self._connected is not None:
            self._connected.set()
        elif not self.closed and self._delegate is not None:
            self._delegate.on_end(self._error())
        if self.closed:
            self._release()

    def _arm(self, now: float) -> None:
        """Set the timer, unless it fires early enough already: to set it again would cost more than to fire."""
        due = min(self.stream.next_wake(), self._until)
        if due >= self._fires_at:
            return
        if self._timer is not None:
            self._timer.close()
        self._timer = self._hub.loop.timer(delay_until(due, now))
        self._fires_at = due
        self._timer.start(self._on_timer)

    def _on_timer(self) -> None:
        self._fires_at = _NEVER
        now = monotonic()
        if now >= self._until:
            self.abort()
            return
        self.stream.wake(now)
        self._pump()
