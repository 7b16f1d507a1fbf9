"""A TCP (or Unix stream) socket driven by the event loop, without a greenlet.

The loop calls `_on_readable` in the hub when there is something to read. One call is one `recv_into` of a scratch
buffer that all transports of a hub share: a peer whose data never ends still gives the others their turn, and an idle
connection holds no buffer. Data goes out in batches, once a turn of the loop.
"""

from __future__ import annotations

import socket as stdlib_socket
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import gevent
from gevent import socket as gevent_socket

from geventbt import limits
from geventbt.concurrency.hubs import drop_socket_in_child
from geventbt.errors import WireTimeout
from geventbt.net.addresses import plain_host
from geventbt.net.tcp_path import TcpPath, tcp_path
from geventbt.protocol.messages import Buffer
from geventbt.wire.transports.base import BULK_READ, MAX_MESSAGE, SMALL_READ, Cipher, TransportDelegate
from geventbt.wire.transports.low_water import LITTLE, LowWater, late_reads_of
from geventbt.wire.transports.sockets import adopt, is_tcp
from geventbt.wire.transports.turn import turn_of

_READ, _WRITE = 1, 2
_SCRATCH = BULK_READ + MAX_MESSAGE
_BATCH = 128
"""Buffers in one `sendmsg`: 64 blocks with their headers.

*Measured*: 3600 MB/s or more from 16 on, against 1900 with one.
"""
_LINGER = 1.0
"""Seconds for the peer to read what has been sent, and to close as well."""

_MIN_UNSENT, _MAX_UNSENT = 16 * 1024, 1 << 20
"""Bytes that wait in the kernel before the socket counts as full, without those that are on their way."""
_SHORT_WAIT, _LONG_WAIT = 0.01, 0.1
"""Seconds for which a full socket is to keep the link busy. A choke, a have or a cancel waits as long, and what waits
there is not seen as queued: *measured*, an uplink of 1 Mbit/s took eight peers for four, and was 2 s behind."""
_UNSENT_OPTION = getattr(stdlib_socket, "TCP_NOTSENT_LOWAT", None)

_CLOSE_TIME = 0.002
"""Seconds of the turn for the close of a socket, which gevent defers. *Measured* with megabytes that are not read, of
which there are none once the end of the stream has been read."""

_scratches: WeakKeyDictionary[Any, memoryview] = WeakKeyDictionary()


def _send_at_once(sock: gevent_socket.socket) -> None:
    """Disable Nagle's algorithm: what is flushed is a batch already.

    *Measured*: a small batch had to wait for the delayed acknowledgement of the one before, and every download began
    45 ms later.
    """
    if is_tcp(sock):
        # The peer may have left already: some systems then refuse.
        with suppress(OSError):
            sock.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)


class _Unsent:
    """How much may wait unsent in the kernel for a socket: as the peer takes it in some hundredths of a second."""

    __slots__ = ("_limit", "_sock", "_waits_since")

    def __init__(self, sock: gevent_socket.socket) -> None:
        self._sock = sock
        self._limit = _MAX_UNSENT
        self._waits_since = 0.0
        if _UNSENT_OPTION is not None and is_tcp(sock):
            self._set(_MIN_UNSENT)

    def on_full(self, now: float) -> None:
        """Note that the socket is full."""
        self._waits_since = now

    def on_writable(self, now: float) -> None:
        """Note that it no longer is."""
        waited = now - self._waits_since
        if waited < _SHORT_WAIT and self._limit < _MAX_UNSENT:
            self._set(2 * self._limit)
        elif waited > _LONG_WAIT and self._limit > _MIN_UNSENT:
            self._set(self._limit // 2)

    def _set(self, limit: int) -> None:
        self._limit = limit
        assert _UNSENT_OPTION is not None
        with suppress(OSError):
            self._sock.setsockopt(stdlib_socket.IPPROTO_TCP, _UNSENT_OPTION, limit)


def _shared_scratch(hub: Any) -> memoryview:
    scratch = _scratches.get(hub)
    if scratch is None:
        scratch = _scratches[hub] = memoryview(bytearray(_SCRATCH))
    return scratch


def _host_and_port(address: Any) -> tuple[str, int]:
    """The beginning of a socket's address; a Unix socket has a path or nothing."""
    return (plain_host(address[0]), address[1]) if isinstance(address, tuple) else ("", 0)


class _NoDelegate(TransportDelegate):
    """The delegate of a transport to which none has been attached."""

    def on_data(self, data: memoryview) -> int:
        return SMALL_READ

    def on_end(self, error: Exception | None) -> None:
        """Nothing to do."""


_NO_DELEGATE = _NoDelegate()


class TcpTransport:
    """A `Transport` over a connected stream socket.

    Args:
        sock: gevent's or a plain one; it is taken over.
        remote_address: the peer's (host, port) where the socket leads to a proxy; None for the socket's own.

    Attributes:
        name: "tcp", for any stream socket.
        queued: bytes that wait for the socket.
        remote_address: the peer's (host, port); ("", 0) of a Unix socket.
        local_address: our (host, port).
        closed: whether `close` has been called.

    Raises:
        TypeError: it is not a stream socket.
        OSError: it is not connected.
    """

    __slots__ = (
        "__weakref__", "_at_end", "_buffers", "_decryptor", "_delegate", "_encryptor", "_flush_due", "_hub",
        "_lingering", "_low_water", "_pauses", "_read_size", "_reader", "_scratch", "_sock", "_turn", "_unsent",
        "_writer", "closed", "local_address", "name", "queued", "remote_address",
    )  # fmt: skip

    def __init__(self, sock: Any, *, remote_address: tuple[str, int] | None = None) -> None:
        sock = adopt(sock)
        self.remote_address = _host_and_port(sock.getpeername()) if remote_address is None else remote_address
        self.local_address = _host_and_port(sock.getsockname())
        sock.settimeout(0.0)
        _send_at_once(sock)
        self._sock = sock
        self._unsent = _Unsent(sock)
        self._delegate: TransportDelegate = _NO_DELEGATE
        self._lingering: Any = None
        self._encryptor: Cipher | None = None
        self._decryptor: Cipher | None = None
        self._hub = gevent.get_hub()
        self._scratch = _shared_scratch(self._hub)
        self._turn = turn_of(self._hub)
        self._low_water = LowWater(sock, self._read_in_turn, late_reads_of(self._hub))
        self._buffers: list[Buffer] = []
        self._at_end = False
        self._flush_due = False
        self._read_size = SMALL_READ
        self._pauses = 0
        self._writer: Any = None
        self.name = "tcp"
        self.queued = 0
        self.closed = False
        self._reader = self._hub.loop.io(sock.fileno(), _READ)
        drop_socket_in_child(self)

    def attach(self, delegate: TransportDelegate) -> None:
        """Call this delegate from now on. Reading begins with the first one."""
        if self._delegate is _NO_DELEGATE:
            self._reader.start(self._on_readable, pass_events=True)
        self._delegate = delegate

    def fileno(self) -> int:
        """The descriptor of the socket; -1 when it is closed for good."""
        return self._sock.fileno()

    @property
    def queue_time(self) -> float | None:
        """Seconds that what is sent spends in queues on its way; None where that is not known."""
        path = self.tcp_path
        return None if path is None else path.queue_time

    @property
    def tcp_path(self) -> TcpPath | None:
        """What the system knows of the way of what is sent; None where it does not tell."""
        return tcp_path(self._sock)

    @property
    def paused(self) -> bool:
        """Whether reading is paused."""
        return self._pauses > 0

    def pause(self) -> None:
        """Stop reading until `resume` has been called as often: TCP then makes the peer wait."""
        self._pauses += 1
        if not self.closed:
            self._reader.stop()

    def resume(self) -> None:
        """Undo one `pause`."""
        self._pauses -= 1
        if not self._pauses and not self.closed:
            self._reader.start(self._on_readable, pass_events=True)

    def encrypt(self, encryptor: Cipher, decryptor: Cipher) -> None:
        """From now on encrypt what is flushed, a whole batch at a time, and decrypt what is read, in place."""
        self._encryptor = encryptor
        self._decryptor = decryptor

    def write(self, data: bytes) -> None:
        """Send bytes as they are, ahead of what the delegate has outgoing."""
        if data and not self.closed:
            self.queued += len(data)
            self._buffers.append(data)
            if self._writer is None or not self._writer.active:
                self._write()

    def flush_soon(self) -> None:
        """Flush once at the end of this turn of the loop, in one batch with what else is outgoing by then."""
        if not self._flush_due:
            self._flush_due = True
            self._hub.loop.run_callback(self._flush_callback)

    def flush(self) -> None:
        """Write as much as the socket takes now; the rest follows by itself."""
        if self.closed:
            return
        fresh = self._delegate.take_outgoing()
        if fresh and self._encryptor is not None:
            # A copy: the caller's buffers are never changed.
            batch = bytearray().join(fresh)
            self._encryptor.crypt_in_place(batch)
            fresh = [batch]
        if fresh:
            self.queued += sum(map(len, fresh))
            self._buffers += fresh
        if self._writer is None or not self._writer.active:
            self._write()
        if self.queued > limits.HIGH_WATER + limits.CONTROL_QUEUE:
            self._delegate.on_end(WireTimeout(f"the peer does not read: {self.queued} bytes are queued for it"))

    def close(self, linger: bool = False) -> None:
        """Close the connection and drop what is queued.

        Args:
            linger: first let the peer read what has been sent, until it closes as well or a second has passed. Closing
                a socket that has unread bytes resets the connection, and the peer loses what is on its way.
        """
        if self.closed:
            return
        self.closed = True
        self._turn.forget(self._read)
        self._low_water.clear()
        self._reader.stop()
        if self._writer is not None:
            self._writer.stop()
            self._writer.close()
        self._buffers.clear()
        self.queued = 0
        if linger and self._shut_down():
            self._reader.start(self._discard)
            self._lingering = self._hub.loop.timer(_LINGER)
            self._lingering.start(self._release)
        else:
            self._release()

    @property
    def released(self) -> bool:
        """Whether the socket is closed for good, after any lingering."""
        return self.closed and self._sock.fileno() < 0

    def _shut_down(self) -> bool:
        """Close our direction of the stream. Returns whether the connection still stands."""
        try:
            self._sock.shutdown(stdlib_socket.SHUT_WR)
        except OSError:
            return False
        return True

    def _discard(self) -> None:
        """Discard what still arrives; release the socket when the peer has closed as well."""
        try:
            if self._sock.recv_into(self._scratch):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._at_end = True
        self._release()

    def _release(self) -> None:
        if self._lingering is not None:
            self._lingering.stop()
            self._lingering.close()
        self._reader.stop()
        self._reader.close()
        self._sock.close()
        if not self._at_end:
            self._turn.charge(_CLOSE_TIME)
        self._delegate.on_released()

    def _on_readable(self, events: int) -> None:
        if events < 0:
            # libuv stops watching at an error, such as a reset, although there may be bytes before it.
            self._reader.stop()
            self._reader.start(self._on_readable, pass_events=True)
        self._read_in_turn()

    def _read_in_turn(self) -> None:
        self._turn.run(self._hub.loop, self._read)

    def _read(self) -> None:
        if self.closed or self._pauses:
            # Since it became readable.
            return
        try:
            count = self._sock.recv_into(self._scratch, self._read_size)
        except BlockingIOError:
            return
        except OSError as error:
            self._at_end = True
            self._delegate.on_end(error)
            return
        if count:
            # What the woken greenlets send goes out in one batch below.
            self._flush_due = True
            if self._decryptor is not None:
                self._decryptor.crypt_in_place(self._scratch[:count])
            self._read_size = min(self._delegate.on_data(self._scratch[:count]), _SCRATCH)
            self._flush_due = False
            self.flush()
            if not self.closed:
                self._low_water.wait_for(self._delegate.missing if count <= LITTLE else 0)
        else:
            self._at_end = True
            self._delegate.on_end(None)

    def _flush_callback(self) -> None:
        self._flush_due = False
        self.flush()

    def _on_writable(self) -> None:
        self._writer.stop()
        self._unsent.on_writable(self._hub.loop.now())
        self._write()
        if not self.queued:
            self._delegate.on_drained()

    def _write(self) -> None:
        """Write one batch; the rest is left to later turns of the loop, for the sake of other connections."""
        if not self._buffers:
            return
        try:
            sent = self._sock.sendmsg(self._buffers[:_BATCH])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._delegate.on_end(error)
            return
        self._drop_sent(sent)
        if self._buffers:
            self._wait_writable()

    def _drop_sent(self, sent: int) -> None:
        before = self.queued
        self.queued -= sent
        if not self.queued:
            self._buffers.clear()
        else:
            whole = 0
            for buffer in self._buffers:
                if len(buffer) > sent:
                    break
                sent -= len(buffer)
                whole += 1
            del self._buffers[:whole]
            if sent:
                self._buffers[0] = memoryview(self._buffers[0])[sent:]
        if self.queued <= limits.HIGH_WATER // 2 < before:
            self._delegate.on_drained()

    def _wait_writable(self) -> None:
        if self._writer is None:
            self._writer = self._hub.loop.io(self._sock.fileno(), _WRITE)
        self._writer.start(self._on_writable)
        self._unsent.on_full(self._hub.loop.now())
