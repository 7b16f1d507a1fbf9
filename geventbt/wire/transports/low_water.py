"""Reading a message that comes in small parts when the rest of it is there, and not at every packet.

A block of 16 KiB comes in twelve packets. Over a network that is slower than we are, each of them makes the socket
readable, and each read costs as much as a block: *measured*, a leecher over an emulated network took 1.5 s of processor
time for 32 MiB, and takes 0.6. Nothing can be in front of the rest of a message, so that no other one is late where the
system waits for it (socket(7), SO_RCVLOWAT). But each part of it is a sign of life: where the rest takes longer, we
read what there is.
"""

from __future__ import annotations

import socket as stdlib_socket
import sys
from collections.abc import Callable
from itertools import takewhile
from typing import Any
from weakref import WeakKeyDictionary

from geventbt import limits
from geventbt.wire.transports.sockets import is_tcp

LITTLE = 8 * limits.KIB
"""Bytes of a read that is one of many: larger ones cost little enough."""
_WORTH = 2 * limits.KIB
"""Missing bytes that are worth waiting for: fewer come in one packet or two."""
_MOST = 32 * limits.KIB
"""Bytes that may wait for the rest: the system makes room for all of them."""
PATIENCE = 0.1
"""Seconds until what is there is read, after the last read."""
_IS_LINUX = sys.platform.startswith("linux")


class LowWater:
    """How many bytes are to be there before a socket counts as readable.

    Args:
        sock: of TCP over Linux; nothing is changed for others.
        read: reads what there is.
        late: calls it where the rest is late.
    """

    __slots__ = ("_is_supported", "_late", "_mark", "_sock", "read")

    def __init__(self, sock: Any, read: Callable[[], None], late: LateReads) -> None:
        self._sock = sock
        self._late = late
        self._mark = 1
        self._is_supported = _IS_LINUX and is_tcp(sock)
        self.read = read

    def wait_for(self, missing: int) -> None:
        """Note that a little was read.

        Args:
            missing: bytes still to come of the message that is cut off; 0 where that is not known.
        """
        if missing >= _WORTH and self._is_supported:
            self._set(min(missing, _MOST))
            self._late.add(self)
        else:
            self.clear()

    def clear(self) -> None:
        """Read whatever comes."""
        if self._mark > 1:
            self._set(1)
            self._late.discard(self)

    def _set(self, mark: int) -> None:
        if mark != self._mark:
            self._mark = mark
            try:
                self._sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVLOWAT, mark)
            except OSError:
                # The peer may have left already.
                self._is_supported = False


class LateReads:
    """Reads what there is of messages whose rest is late. One for a hub, with one timer for all."""

    __slots__ = ("_loop", "_since", "_timer")

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        # In the order of their last reads.
        self._since: dict[LowWater, float] = {}
        self._timer: Any = None

    def add(self, reader: LowWater) -> None:
        """Have it read what there is in a tenth of a second, counted from now."""
        self._since.pop(reader, None)
        self._since[reader] = self._loop.now()
        if self._timer is None:
            self._start(PATIENCE)

    def discard(self, reader: LowWater) -> None:
        """Its rest has come, or will not."""
        self._since.pop(reader, None)

    def _start(self, seconds: float) -> None:
        self._timer = self._loop.timer(seconds)
        self._timer.start(self._look)

    def _look(self) -> None:
        self._timer.close()
        self._timer = None
        latest = self._loop.now() - PATIENCE
        late = list(takewhile(lambda reader: self._since[reader] <= latest, self._since))
        for reader in late:
            reader.clear()
        if self._since:
            self._start(next(iter(self._since.values())) - latest)
        for reader in late:
            reader.read()


_late_reads: WeakKeyDictionary[Any, LateReads] = WeakKeyDictionary()


def late_reads_of(hub: Any) -> LateReads:
    """Those of a hub."""
    late = _late_reads.get(hub)
    if late is None:
        late = _late_reads[hub] = LateReads(hub.loop)
    return late
