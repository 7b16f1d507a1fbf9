"""Reads the datagrams of a socket in batches: together what has one sender and one size, as a stream's packets have.

Linux gives many in one call (`geventbt.net.recvmmsg`), one behind the other in one buffer. Elsewhere each is read by
itself.
"""

from __future__ import annotations

import _socket
import sys
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import gevent

from geventbt.net import udp_offload
from geventbt.net.datagrams import Run

_MAX_DATAGRAM = 65536
_AT_ONCE = 256
"""Datagrams that are read before others have their turn."""

_readers: WeakKeyDictionary[Any, BatchReader] = WeakKeyDictionary()


class BatchReader(Protocol):
    """Reads datagrams."""

    def receive(self, sock: _socket.socket) -> list[Run]:
        """What has come, valid until the next call: all of it, or as much as others can wait for.

        Returns:
            Runs, of datagrams that begin with the same byte.

        Raises:
            BlockingIOError: nothing has.
            OSError: the system has an error for the socket.
        """


def batch_reader() -> BatchReader:
    """The reader that all sockets of this hub share."""
    hub = gevent.get_hub()
    if hub not in _readers:
        _readers[hub] = _best_reader()
    return _readers[hub]


def _best_reader() -> BatchReader:
    if sys.platform.startswith("linux"):
        # Only now, and here: it loads ctypes, and what other systems do not have.
        from geventbt.net.recvmmsg import many_reader

        return many_reader() or SingleReader()
    return SingleReader()


class SingleReader:
    """Reads each datagram with a call of its own."""

    def receive(self, sock: _socket.socket) -> list[Run]:
        runs = [self._receive_one(sock)]
        with suppress(OSError):
            while len(runs) < _AT_ONCE:
                runs.append(self._receive_one(sock))
        return runs

    def _receive_one(self, sock: _socket.socket) -> Run:
        data, ancillary, _, address = sock.recvmsg(_MAX_DATAGRAM, udp_offload.ANCILLARY)
        return memoryview(data), udp_offload.segment_size(ancillary, len(data)), address[:2]
