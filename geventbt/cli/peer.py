"""``geventbt peer``: the handshake with a peer made visible."""

from __future__ import annotations

import argparse
import json
from typing import Any

import geventbt
from geventbt.cli.errors import DONE, NETWORK
from geventbt.cli.text import printable


def run(arguments: argparse.Namespace) -> int:
    """Shake hands with a peer, and print what it tells.

    The exit code is that of a network error if it did not shake hands.
    """
    report = geventbt.inspect_peer(arguments.address, arguments.info_hash, wait=arguments.wait)
    facts = _facts(report)
    if arguments.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' '):<16} {_shown(value)}")
    return DONE if report.peer_id else NETWORK


def _facts(report: geventbt.PeerReport) -> dict[str, Any]:
    extended = report.extended
    host, port = report.address
    return {
        "address": f"{host}:{port}",
        "round_trip_ms": None if report.round_trip is None else round(report.round_trip * 1000, 3),
        "client": report.client,
        "version": extended.get("v"),
        "peer_id": report.peer_id.hex() if report.peer_id else None,
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
        return str(report.error) or type(report.error).__name__
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
