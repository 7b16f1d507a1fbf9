"""Inspection of one peer: its handshake, its extended handshake and its first messages."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from geventbt.arguments import check_seconds
from geventbt.concurrency.hubs import whole_call
from geventbt.errors import GeventBTError, WireTimeout
from geventbt.net.addresses import Address, NamedAddress, read_address
from geventbt.net.network import DIRECT, Network
from geventbt.peer_id import client_name, new_peer_id
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.wire.connect import connect
from geventbt.wire.wire import Wire


@dataclass(slots=True)
class PeerReport:
    """The result of an inspection; a field is None or empty where the peer did not send the message that has it.

    Attributes:
        address: (host, port).
        round_trip: seconds that TCP took to connect, which is one round trip.
        peer_id: its 20 bytes.
        client: the name and version of its program, from the peer id.
        reserved: the names of the reserved bits that it sets.
        extended: its extended handshake (BEP 10).
        has_all: whether it has every piece.
        have_count: the number of pieces that it has announced; with `has_all`, None while their number is unknown.
        chokes: whether it chokes us.
        closed: whether it has closed the connection.
        error: the error that ended the inspection, or the connection; None without one.
    """

    address: Address
    round_trip: float | None = None
    peer_id: bytes | None = None
    client: str | None = None
    reserved: list[str] = field(default_factory=list)
    extended: ExtendedHandshake = field(default_factory=dict)
    has_all: bool = False
    have_count: int | None = None
    chokes: bool | None = None
    closed: bool = False
    error: Exception | None = None


@whole_call
def inspect_peer(
    address: NamedAddress, info_hash: bytes | str, *, wait: float = 2.0, network: Network = DIRECT
) -> PeerReport:
    """Connect to a peer, shake hands, and listen for a moment. A failure is not raised: it is in the report.

    Args:
        address: the peer's (host, port) or "host:port".
        info_hash: of a torrent that it may have, 20 bytes or 40 hex characters.
        wait: seconds to listen after its handshake, unless it disconnects earlier.
        network: opens the socket: through a proxy, or from an interface.

    Raises:
        ValueError: the info hash is not 20 bytes or 40 hex characters, or the address not one.
        TypeError: an option has another type.
    """
    check_seconds(wait=wait)
    if isinstance(address, str):
        address = read_address(address, "connect to")
    report = PeerReport(address)
    started = monotonic()
    try:
        wire = connect(address, info_hash=info_hash, network=network)
    except (OSError, GeventBTError) as error:
        report.error = error
        return report
    report.round_trip = monotonic() - started
    try:
        handshake = wire.handshake(info_hash, new_peer_id())
        report.peer_id = handshake.peer_id
        report.client = client_name(handshake.peer_id)
        bits = handshake.extensions
        flags = {"dht": bits.dht, "fast": bits.fast, "extended": bits.extended, "v2": bits.v2}
        report.reserved = [name for name, on in flags.items() if on]
        with suppress(WireTimeout):
            wire.wait_for("close", timeout=wait)
    except (OSError, GeventBTError) as error:
        report.error = error
    _note_state(report, wire)
    wire.close(0)
    return report


def _note_state(report: PeerReport, wire: Wire) -> None:
    report.extended = wire.peer_extended_handshake
    report.has_all = wire.peer_has_all
    report.have_count = None if report.has_all and wire.number_of_pieces is None else wire.peer_pieces.count()
    report.chokes = wire.peer_choking
    report.closed = wire.closed
    report.error = report.error or wire.close_reason
