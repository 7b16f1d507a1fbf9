"""Make a .torrent file of a magnet link, with the metadata from peers (BEP 9).

    python scripts/fetch_metadata.py 'magnet:?xt=urn:btih:...' ubuntu.torrent --peer 127.0.0.1:6881

Peers come from the link (x.pe), from --peer, and from the link's trackers. Quote the link: `&` is special in
shells.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import gevent

import geventbt


def address(text: str) -> tuple[str, int]:
    """The (host, port) of "host:port", where an IPv6 host has its brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def peers_of_trackers(magnet: geventbt.Magnet) -> list[tuple[str, int]]:
    """The peers that the trackers of a link return; a tracker that fails is reported."""
    peers: list[tuple[str, int]] = []
    assert magnet.info_hash is not None
    request = geventbt.AnnounceRequest(magnet.info_hash, geventbt.new_peer_id(), port=0, left=1)
    for url in magnet.trackers:
        try:
            peers += geventbt.announce(url, request).peers
        except geventbt.TrackerError as error:
            print(f"{url}: {error}", file=sys.stderr)
    return peers


parser = argparse.ArgumentParser(description="Make a .torrent file of a magnet link.")
parser.add_argument("magnet")
parser.add_argument("output", type=Path, help="the .torrent file to write")
parser.add_argument("--peer", action="append", default=[], type=address, metavar="host:port")
parser.add_argument("--timeout", type=float, default=60, help="seconds for the whole fetch")
arguments = parser.parse_args()
gevent.signal_handler(signal.SIGINT, sys.exit, "interrupted")

try:
    magnet = geventbt.Magnet.from_string(arguments.magnet)
    peers = [*arguments.peer, *peers_of_trackers(magnet)]
    torrent = geventbt.fetch_metadata(magnet, peers=peers, timeout=arguments.timeout)
    arguments.output.write_bytes(torrent.to_bytes())
except (geventbt.GeventBTError, OSError) as error:
    sys.exit(str(error))
print(f"{arguments.output}: {len(torrent.files)} files, {torrent.geometry.length} bytes")
