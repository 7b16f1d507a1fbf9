"""``geventbt peer``: connect to a peer and show its handshake."""

from __future__ import annotations

import argparse
from typing import Any

import geventbt
from geventbt.cli import parsing, shared_options, values
from geventbt.cli.errors import DONE, NETWORK, CommandError
from geventbt.cli.interrupt import interruptible
from geventbt.cli.json_lines import emit
from geventbt.cli.messages import without_numbers
from geventbt.cli.network import network_of
from geventbt.cli.sources import resolve_source
from geventbt.cli.text import human_address, printable

_EXAMPLES = """
geventbt peer 127.0.0.1:6881 0123456789abcdef0123456789abcdef01234567
geventbt peer 127.0.0.1:6881 ubuntu.torrent --wait 10 --json
"""
_MAX_WAIT = 1e6


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(commands, "peer", "connect to a peer and show what it says", _EXAMPLES)
    parser.add_argument("address", type=values.peer_address, metavar="HOST:PORT", help="where it listens")
    shared_options.add_source(parser, f"the torrent to ask it for: {shared_options.SOURCE}")
    parser.add_argument(
        "--wait", type=values.duration, default=2.0, metavar="TIME", help="how long to listen (default: 2)"
    )
    shared_options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exchange handshakes with a peer, and print what it says."""
    info_hash = resolve_source(arguments.source, arguments).swarm_hash
    with interruptible():
        report = geventbt.inspect_peer(
            arguments.address, info_hash, wait=min(arguments.wait, _MAX_WAIT), network=network_of(arguments)
        )
    if report.peer_id is None:
        raise CommandError(NETWORK, f"{human_address(report.address)}: {_why_no_handshake(report)}")
    facts = _facts(report, report.peer_id)
    if arguments.json:
        emit("peer", **facts)
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' '):<16} {_shown(value)}")
    return DONE


def _why_no_handshake(report: geventbt.PeerReport) -> str:
    if report.round_trip is None:
        return f"connection failed: {_closed_by(report)}; check host and port, and whether it runs"
    if isinstance(report.error, TimeoutError):
        return "it accepts connections, but sends no handshake; check the port"
    if isinstance(report.error, geventbt.RemoteProtocolError):
        return f"{_closed_by(report)}; check the port"
    return "it closed the connection without a handshake; usually it does not have the torrent: check the info hash"


def _facts(report: geventbt.PeerReport, peer_id: bytes) -> dict[str, Any]:
    extended = report.extended
    return {
        "address": human_address(report.address),
        "round_trip_ms": None if report.round_trip is None else round(report.round_trip * 1000, 3),
        "client": report.client,
        "version": extended.get("v"),
        "peer_id": peer_id.hex(),
        "reserved_bits": report.reserved,
        "extensions": extended.get("m", {}),
        "reqq": extended.get("reqq"),
        "metadata_size": extended.get("metadata_size"),
        "listens_on": extended.get("p"),
        "upload_only": bool(extended.get("upload_only")),
        "has_all": report.has_all,
        "have_count": report.have_count,
        "chokes_us": report.chokes,
        "closed_by": _closed_by(report),
    }


def _closed_by(report: geventbt.PeerReport) -> str:
    if report.error is not None:
        return without_numbers(str(report.error)) or type(report.error).__name__
    return "the peer" if report.closed else "us"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return printable(", ".join(f"{name} {number}" for name, number in value.items())) or "none"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return printable(str(value))
