"""Packets that leave together, in one call of the system (UDP_SEGMENT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from geventbt import limits
from geventbt.protocol.utp.outbox import Sent
from geventbt.protocol.utp.packets import HEADER


class Batch(NamedTuple):
    """Packets to be sent together: all of one size, but for the last, which may be smaller.

    Attributes:
        data: the packets, one behind the other.
        size: bytes of the first.
        packets: those of them that have a number.
    """

    data: bytes
    size: int
    packets: list[Sent]


def fitting(packets: Sequence[Sent], at: int) -> int:
    """How many of the packets can be sent together, from a position on: of one size, but for the last."""
    size = len(packets[at].payload)
    if not size:
        return 1
    most = min(limits.UTP_BATCH_PACKETS, limits.UTP_BATCH_BYTES // (size + HEADER))
    sizes = [len(packet.payload) for packet in packets[at : at + most]]
    same = sizes.count(size)
    if same < len(sizes):
        same = next(index for index, other in enumerate(sizes) if other != size)
        if 0 < sizes[same] < size:
            return same + 1
    return same
