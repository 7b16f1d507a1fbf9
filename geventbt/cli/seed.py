"""``geventbt seed``."""

from __future__ import annotations

import argparse

import geventbt
from geventbt.cli.errors import DONE
from geventbt.cli.interrupt import interruptible
from geventbt.cli.text import human_size, printable


def run(arguments: argparse.Namespace) -> int:
    """Check the data, say where it is served, and serve it until interrupted."""
    torrent = geventbt.Torrent.from_file(arguments.torrent)
    with interruptible():
        _serve(torrent, arguments)
    return DONE


def _serve(torrent: geventbt.Torrent, arguments: argparse.Namespace) -> None:
    client = geventbt.seed(
        torrent,
        arguments.data,
        (arguments.host, arguments.port),
        trackers=arguments.tracker,
        encryption=arguments.encryption,
    )
    host = arguments.host or "0.0.0.0"
    shown = f"[{host}]" if ":" in host else host
    print(
        f"seeding {printable(torrent.name)} ({human_size(torrent.geometry.length)}) on {shown}:{client.port}",
        flush=True,
    )
    try:
        client.serve_forever()
    finally:
        client.close(timeout=1)
