"""A socket driven by the event loop: bytes come in by a callback, and go out in batches, once a turn of the loop.

No greenlet stands behind it. The loop calls `_on_readable` in the hub whenever there is something to read; one call is
one `recv_into` of a scratch buffer that all transports of a hub share, so a peer that never runs dry still lets
everybody else have their turn, and an idle connection holds no buffer. Nothing that is called from here may block.
"""

from __future__ import annotations

import socket as stdlib_socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gevent
from gevent import socket as gevent_socket

from geventbt import limits
from geventbt.errors import WireTimeout
from geventbt.protocol.messages import Buffer

if TYPE_CHECKING:
    from geventbt.protocol.rc4 import Rc4

_READ, _WRITE = 1, 2
_MESSAGE = 13 + limits.BLOCK
BULK_READ = 32 * _MESSAGE
"""One read, while blocks come, takes the rest of the block that the last one cut off and, behind it, so many whole
ones: none is cut off while the socket is full, and nothing has to be put together."""
SMALL_READ = 16 * limits.KIB
"""One read of anything else. *Measured*: half a megabyte of the smallest messages would hold the hub up for 0.2 s."""
_SCRATCH = BULK_READ + _MESSAGE
_BATCH = 128
"""Buffers in one `sendmsg`: 64 blocks with their headers.

*Measured*: 3600 MB/s or more from 16 on, against 1900 with one.
"""
_LINGER = 1.0

_scratches: WeakKeyDictionary[Any, memoryview] = WeakKeyDictionary()


def adopt(sock: Any) -> gevent_socket.socket:
    """A gevent socket for a connected stream socket of any kind; a plain one is taken over, so that it can never block
    the hub.

    Raises:
        TypeError: for anything but a gevent or plain stream socket, such as one wrapped in TLS.
        OSError: if it is not connected; it is then left as it is.
    """
    if type(sock) not in (gevent_socket.socket, stdlib_socket.socket) or sock.type != stdlib_socket.SOCK_STREAM:
        raise TypeError(f"a connected stream socket is needed, not {sock!r}")
    sock.getpeername()
    if type(sock) is gevent_socket.socket:
        return sock
    return gevent_socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())


def _send_at_once(sock: gevent_socket.socket) -> None:
    """Have TCP hold nothing back: what is flushed is a batch already. *Measured*: a small one had to wait until the
    peer, in no hurry, had acknowledged the one before, and every download began 45 ms later."""
    if sock.family in (stdlib_socket.AF_INET, stdlib_socket.AF_INET6):
        # The peer may have left already: some systems then refuse.
        with suppress(OSError):
            sock.setsockopt(stdlib_socket.IPPROTO_TCP, stdlib_socket.TCP_NODELAY, 1)


def _shared_scratch(hub: Any) -> memoryview:
    scratch = _scratches.get(hub)
    if scratch is None:
        scratch = _scratches[hub] = memoryview(bytearray(_SCRATCH))
    return scratch


class Transport:
    """Reads and writes one connected socket without ever blocking.

    Args:
        sock: a gevent stream socket; it is ours from now on.
        take_outgoing: gives the buffers to be written, in order; it is called once a turn at most.
        on_data: called in the hub with bytes that are valid during the call; returns how many to read next.
        on_end: called when the peer has closed (None) or the socket has failed (the error).
        on_drained: called when the queue has fallen below half of the high-water mark, and when nothing of it is left.
        on_released: called when the socket is closed for good.

    Attributes:
        queued: bytes that wait for the socket.
    """

    __slots__ = (
        "_buffers", "_decryptor", "_encryptor", "_flush_due", "_hub", "_lingering", "_on_data", "_on_drained",
        "_on_end", "_on_released", "_pauses", "_read_size", "_reader", "_scratch", "_sock", "_take_outgoing",
        "_writer", "closed", "queued",
    )  # fmt: skip

    def __init__(
        self,
        sock: gevent_socket.socket,
        take_outgoing: Callable[[], list[Buffer]],
        on_data: Callable[[memoryview], int],
        on_end: Callable[[Exception | None], None],
        on_drained: Callable[[], None],
        on_released: Callable[[], None],
    ) -> None:
        sock.settimeout(0.0)
        _send_at_once(sock)
        self._sock = sock
        self._take_outgoing = take_outgoing
        self._on_data = on_data
        self._on_end = on_end
        self._on_drained = on_drained
        self._on_released = on_released
        self._lingering: Any = None
        self._encryptor: Rc4 | None = None
        self._decryptor: Rc4 | None = None
        self._hub = gevent.get_hub()
        self._scratch = _shared_scratch(self._hub)
        self._buffers: list[Buffer] = []
        self._flush_due = False
        self._read_size = SMALL_READ
        self._pauses = 0
        self._writer: Any = None
        self.queued = 0
        self.closed = False
        self._reader = self._hub.loop.io(sock.fileno(), _READ)
        self._reader.start(self._on_readable)

    @property
    def paused(self) -> bool:
        """Whether the peer is not being read at the moment."""
        return self._pauses > 0

    def pause(self) -> None:
        """Read no further until `resume` has been called as often: TCP then makes the peer wait."""
        self._pauses += 1
        if not self.closed:
            self._reader.stop()

    def resume(self) -> None:
        """Undo one `pause`."""
        self._pauses -= 1
        if not self._pauses and not self.closed:
            self._reader.start(self._on_readable)

    def encrypt(self, encryptor: Rc4, decryptor: Rc4) -> None:
        """From now on encrypt what is flushed, a whole batch at a time, and decrypt what is read, in place."""
        self._encryptor = encryptor
        self._decryptor = decryptor

    def write(self, data: bytes) -> None:
        """Write bytes as they are, ahead of all that is outgoing."""
        if data and not self.closed:
            self.queued += len(data)
            self._buffers.append(data)
            if self._writer is None or not self._writer.active:
                self._write()

    def flush_soon(self) -> None:
        """Write what is outgoing at the end of this turn of the loop, in one batch with what else comes until then."""
        if not self._flush_due:
            self._flush_due = True
            self._hub.loop.run_callback(self._flush_callback)

    def flush(self) -> None:
        """Write as much as the socket takes now; the rest follows by itself."""
        if self.closed:
            return
        fresh = self._take_outgoing()
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
            self._on_end(WireTimeout("the peer does not read what is sent to it"))

    def close(self, linger: bool = False) -> None:
        """Close the connection and let go of everything; what is queued is lost.

        Args:
            linger: let the peer read what has been sent, until it closes as well or a second has passed. Closing a
                socket with unread bytes makes TCP break the connection off, and the peer lose what is on its way.
        """
        if self.closed:
            return
        self.closed = True
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
        """Whether the socket is closed for good."""
        return self.closed and self._sock.fileno() < 0

    def _shut_down(self) -> bool:
        """Tell the peer that no more will come; whether it can still be told."""
        try:
            self._sock.shutdown(stdlib_socket.SHUT_WR)
        except OSError:
            return False
        return True

    def _discard(self) -> None:
        """Throw away what still comes in; when the peer has closed as well, it is over."""
        try:
            if self._sock.recv_into(self._scratch):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._release()

    def _release(self) -> None:
        if self._lingering is not None:
            self._lingering.stop()
            self._lingering.close()
        self._reader.stop()
        self._reader.close()
        self._sock.close()
        self._on_released()

    def _on_readable(self) -> None:
        try:
            count = self._sock.recv_into(self._scratch, self._read_size)
        except BlockingIOError:
            return
        except OSError as error:
            self._on_end(error)
            return
        if count:
            # Whatever those who are woken by these bytes send goes out in one batch below.
            self._flush_due = True
            if self._decryptor is not None:
                self._decryptor.crypt_in_place(self._scratch[:count])
            self._read_size = min(self._on_data(self._scratch[:count]), _SCRATCH)
            self._flush_due = False
            self.flush()
        else:
            self._on_end(None)

    def _flush_callback(self) -> None:
        self._flush_due = False
        self.flush()

    def _on_writable(self) -> None:
        self._writer.stop()
        self._write()
        if not self.queued:
            self._on_drained()

    def _write(self) -> None:
        """Write one batch; go on in a later turn of the loop when there is more, so that others have theirs."""
        if not self._buffers:
            return
        try:
            sent = self._sock.sendmsg(self._buffers[:_BATCH])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._on_end(error)
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
            self._on_drained()

    def _wait_writable(self) -> None:
        if self._writer is None:
            self._writer = self._hub.loop.io(self._sock.fileno(), _WRITE)
        self._writer.start(self._on_writable)
