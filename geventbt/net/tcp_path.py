"""What the system knows of the path of a TCP connection. Linux alone tells (tcp(7), TCP_INFO)."""

from __future__ import annotations

import struct
import sys
from socket import IPPROTO_TCP
from typing import Protocol

_IS_LINUX = sys.platform.startswith("linux")
_TCP_INFO = 11
# In struct tcp_info of linux/tcp.h: the smoothed and the least round trip, in microseconds.
_FIELDS = struct.Struct("=68xI76xI")


class _Socket(Protocol):
    def getsockopt(self, level: int, option: int, buflen: int, /) -> bytes: ...


def queue_time(sock: _Socket) -> float | None:
    """Seconds by which a round trip takes longer of late than it did at best, which are spent in queues.

    Returns:
        None where the system does not tell, and before anything was sent.
    """
    if not _IS_LINUX:
        return None
    try:
        info = sock.getsockopt(IPPROTO_TCP, _TCP_INFO, _FIELDS.size)
    except OSError:
        # Not TCP, or closed.
        return None
    if len(info) < _FIELDS.size:
        # An old kernel tells less.
        return None
    round_trip, least = _FIELDS.unpack(info)
    return max(0, round_trip - least) / 1e6 if round_trip else None
