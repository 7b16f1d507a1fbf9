"""The packets of the UDP tracker protocol (BEP 15), packed and read without a socket.

A client first gets a connection id, which proves that it can receive at the address it sends from; then it announces
and scrapes with it. Every request has a transaction id of its own that its answer repeats. All numbers are big-endian.
Packets may be longer than described: what follows is for extensions to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from geventbt import limits
from geventbt.discovery.trackers.announce import (
    EVENTS,
    PAUSED,
    REGULAR,
    AnnounceRequest,
    AnnounceResponse,
    ScrapeResult,
    bounded_interval,
    compact_peers,
)
from geventbt.errors import TrackerError
from geventbt.net.addresses import unique
from geventbt.net.text import clean_text

CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
"""The actions."""

ANSWER_FIRST_BYTES = (0,)
"""What each answer begins with: no other protocol that shares a port has it."""

_PROTOCOL_ID = 0x41727101980
_HEADER = Struct(">II")
_REQUEST = Struct(">QII")
_CONNECT_ANSWER = Struct(">IIQ")
_ANNOUNCE = Struct(">20s20sQQQIIIiH")
_ANNOUNCE_ANSWER = Struct(">IIIII")
_COUNTS = Struct(">III")


def request_id(packet: bytes) -> bytes:
    """The transaction id of a request, as it stands there."""
    return packet[12:16]


def answer_id(packet: bytes) -> bytes:
    """The transaction id of an answer, as it stands there."""
    return packet[4:8]


def pack_connect(transaction_id: int) -> bytes:
    """The request for a connection id.

    ::

        offset  size  name            value
        0       8     protocol_id     0x41727101980
        8       4     action          0
        12      4     transaction_id
    """
    return _REQUEST.pack(_PROTOCOL_ID, CONNECT, transaction_id)


def pack_announce(connection_id: int, transaction_id: int, request: AnnounceRequest) -> bytes:
    """An announce; the same over IPv4 and IPv6.

    ::

        offset  size  name            value
        0       8     connection_id
        8       4     action          1
        12      4     transaction_id
        16      20    info_hash
        36      20    peer_id
        56      8     downloaded
        64      8     left
        72      8     uploaded
        80      4     event           0 none, 1 completed, 2 started, 3 stopped
        84      4     IP address      0, the one that we send from
        88      4     key
        92      4     num_want
        96      2     port
    """
    return _REQUEST.pack(connection_id, ANNOUNCE, transaction_id) + _ANNOUNCE.pack(
        request.info_hash,
        request.peer_id,
        request.downloaded,
        request.left,
        request.uploaded,
        # BEP 15 has no number for that of BEP 21.
        EVENTS.index(REGULAR if request.event == PAUSED else request.event),
        0,
        request.key or 0,
        request.numwant,
        request.port,
    )


def pack_scrape(connection_id: int, transaction_id: int, info_hashes: Sequence[bytes]) -> bytes:
    """A scrape of some torrents, about 74 at most.

    ::

        offset       size  name            value
        0            8     connection_id
        8            4     action          2
        12           4     transaction_id
        16 + 20 * n  20    info_hash
    """
    return _REQUEST.pack(connection_id, SCRAPE, transaction_id) + b"".join(info_hashes)


def read_header(data: bytes) -> tuple[int, int] | None:
    """The (action, transaction_id) that any answer begins with, or None if it is too short to be one.

    ::

        offset  size  name
        0       4     action
        4       4     transaction_id
    """
    if len(data) < _HEADER.size:
        return None
    action, transaction_id = _HEADER.unpack_from(data)
    return action, transaction_id


def parse_connect(data: bytes) -> int:
    """The connection id of an answer.

    ::

        offset  size  name            value
        0       4     action          0
        4       4     transaction_id
        8       8     connection_id

    Raises:
        TrackerError: it is too short.
    """
    _check_size(data, _CONNECT_ANSWER.size)
    connection_id: int = _CONNECT_ANSWER.unpack_from(data)[2]
    return connection_id


def parse_announce(data: bytes, address_size: int) -> AnnounceResponse:
    """Read the answer to an announce; the length of the addresses is that of the family it came over.

    ::

        offset           size  name            value
        0                4     action          1
        4                4     transaction_id
        8                4     interval        in seconds
        12               4     leechers
        16               4     seeders
        20 + 6 * n       4     IP address      over IPv6 16 bytes, at 20 + 18 * n
        24 + 6 * n       2     port

    Args:
        data: the packet.
        address_size: 4 or 16 bytes.

    Raises:
        TrackerError: it is too short.
    """
    _check_size(data, _ANNOUNCE_ANSWER.size)
    _, _, interval, leechers, seeders = _ANNOUNCE_ANSWER.unpack_from(data)
    peers = unique(compact_peers(data[_ANNOUNCE_ANSWER.size :], address_size), limits.TRACKER_PEERS)
    return AnnounceResponse(bounded_interval(interval), seeders=seeders, leechers=leechers, peers=peers)


def parse_scrape(data: bytes, info_hashes: Sequence[bytes]) -> dict[bytes, ScrapeResult]:
    """Read the answer to a scrape of these torrents, in their order.

    ::

        offset       size  name            value
        0            4     action          2
        4            4     transaction_id
        8 + 12 * n   4     seeders
        12 + 12 * n  4     completed
        16 + 12 * n  4     leechers

    Raises:
        TrackerError: it is too short for all of them.
    """
    _check_size(data, _HEADER.size + _COUNTS.size * len(info_hashes))
    results = {}
    for index, info_hash in enumerate(info_hashes):
        seeders, completed, leechers = _COUNTS.unpack_from(data, _HEADER.size + _COUNTS.size * index)
        results[info_hash] = ScrapeResult(seeders, leechers, completed)
    return results


def parse_error(data: bytes) -> TrackerError:
    """The error that a tracker answers with.

    ::

        offset  size  name            value
        0       4     action          3
        4       4     transaction_id
        8             message
    """
    return TrackerError(clean_text(data[_HEADER.size :].rstrip(b"\0")) or "the tracker gives no reason")


def _check_size(data: bytes, size: int) -> None:
    if len(data) < size:
        raise TrackerError(f"the answer is cut short: {len(data)} bytes, at least {size} are needed")
