"""What Linux does for UDP beyond single datagrams: many in one call, and news of those that came back.

Elsewhere, and in kernels without it, datagrams are sent and received one by one.
"""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from geventbt.net.addresses import Address

_SOL_UDP, _UDP_SEGMENT, _UDP_GRO = 17, 103, 104
_SOL_IP, _IP_RECVERR = 0, 11
_SOL_IPV6, _IPV6_RECVERR = 41, 25
_MSG_ERRQUEUE = 0x2000
_IS_LINUX = sys.platform.startswith("linux")

ANCILLARY = 64
"""Bytes for what comes beside a datagram: the size of its segments."""
_ERROR_ANCILLARY = 512
_ERRORS_AT_ONCE = 64
_HEAD = 128
"""Bytes of a datagram that came back which are looked at."""

NOT_SUPPORTED = (errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT)
"""The errors of a call that has many datagrams, where the system cannot do that."""


def enable(sock: Any, *, is_ipv6: bool) -> bool:
    """Receive many datagrams of one sender at once, and learn of those that came back.

    Returns:
        Whether the system can send many at once; a device may still refuse.
    """
    if not _IS_LINUX:
        return False
    with suppress(OSError):
        sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)
    with suppress(OSError):
        level, option = (_SOL_IPV6, _IPV6_RECVERR) if is_ipv6 else (_SOL_IP, _IP_RECVERR)
        sock.setsockopt(level, option, 1)
    try:
        # A kernel that does not know it would send what is meant as many datagrams as one.
        sock.setsockopt(_SOL_UDP, _UDP_SEGMENT, 0)
    except OSError:
        return False
    return True


def segments(size: int) -> list[tuple[int, int, bytes]]:
    """What to give to `sendmsg` so that the bytes are sent as datagrams of this size."""
    return [(_SOL_UDP, _UDP_SEGMENT, struct.pack("H", size))]


def segment_size(ancillary: list[tuple[int, int, bytes]], length: int) -> int:
    """The size of the datagrams that have come at once.

    Args:
        ancillary: what has come beside them.
        length: bytes of all of them.
    """
    for level, kind, data in ancillary:
        if level == _SOL_UDP and kind == _UDP_GRO and len(data) >= 2:
            # An int in newer kernels, a short in older ones.
            size = int.from_bytes(data, sys.byteorder)
            return size if 0 < size <= length else length
    return length


def returned(sock: Any) -> Iterator[tuple[bytes, Address]]:
    """The beginnings of the datagrams that have come back since the last call, as no program listens where they were
    sent to, and the addresses that they were sent to."""
    if not _IS_LINUX:
        return
    for _ in range(_ERRORS_AT_ONCE):
        try:
            data, ancillary, _, address = sock.recvmsg(_HEAD, _ERROR_ANCILLARY, _MSG_ERRQUEUE)
        except OSError:
            return
        if any(_is_refusal(level, content) for level, _, content in ancillary):
            yield data, address[:2]


def _is_refusal(level: int, content: bytes) -> bool:
    """Whether it says that a port is closed; other errors, such as those of a route, may pass (`sock_extended_err`)."""
    if level not in (_SOL_IP, _SOL_IPV6) or len(content) < 4:
        return False
    code: int = struct.unpack_from("I", content)[0]
    return code == errno.ECONNREFUSED
