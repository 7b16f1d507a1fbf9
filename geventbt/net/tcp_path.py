"""What the system knows of the path of a TCP connection. Linux alone tells (tcp(7), TCP_INFO)."""

from __future__ import annotations

import struct
import sys
from typing import NamedTuple, Protocol

_IS_LINUX = sys.platform.startswith("linux")
_IPPROTO_TCP, _TCP_INFO = 6, 11
# In struct tcp_info of linux/tcp.h: the size of a segment, those that are not acknowledged, the milliseconds since the
# last acknowledgement, the smoothed round trip in microseconds, the bytes that were acknowledged, those that are not
# sent yet, and the least round trip.
_FIELDS = struct.Struct("=16xI4xI28xI8xI48xQ16xII")


class _Socket(Protocol):
    def getsockopt(self, level: int, option: int, buflen: int, /) -> bytes: ...


class TcpPath(NamedTuple):
    """The path of what is sent over one connection.

    Attributes:
        queue_time: seconds by which a round trip takes longer of late than it did at best, which are spent in queues.
        under_way: bytes that the system was given and the peer has not acknowledged.
        acknowledged: bytes that it has, in all.
        silence: seconds since it last acknowledged any.
    """

    queue_time: float
    under_way: int
    acknowledged: int
    silence: float


def tcp_path(sock: _Socket) -> TcpPath | None:
    """The path of a connection.

    Returns:
        None where the system does not tell, and before anything was sent.
    """
    if not _IS_LINUX:
        return None
    try:
        info = sock.getsockopt(_IPPROTO_TCP, _TCP_INFO, _FIELDS.size)
    except OSError:
        # Not TCP, or closed.
        return None
    if len(info) < _FIELDS.size:
        # An old kernel tells less.
        return None
    segment, segments, silence, round_trip, acknowledged, unsent, least = _FIELDS.unpack(info)
    if not round_trip:
        return None
    return TcpPath(max(0, round_trip - least) / 1e6, segments * segment + unsent, acknowledged, silence / 1e3)
