"""Watch the peers of a torrent without downloading: which peers join and leave, and the pieces that they get.

    python scripts/watch_swarm.py ubuntu.torrent --peer 127.0.0.1:6881 --seconds 60

Peers come from --peer, from the torrent's trackers, and from peer exchange (BEP 11).
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

import gevent
from gevent.pool import Pool

import geventbt


def address(text: str) -> tuple[str, int]:
    """The (host, port) of "host:port", where an IPv6 host has its brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def visit(peer: tuple[str, int]) -> None:
    """Connect to a peer and print its messages, until it disconnects."""
    name = f"{peer[0]}:{peer[1]}"
    try:
        with geventbt.connect(peer, info_hash=torrent.swarm_hash) as wire:
            wire.use(lambda wire: geventbt.UtPex(wire, torrent.private)).on(
                "peers", lambda _, added, dropped: visit_all(added)
            )
            messages = wire.messages()
            handshake = wire.handshake(torrent.swarm_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
            print(f"{name} is {geventbt.client_name(handshake.peer_id)}", flush=True)
            for message in messages:
                print(f"{name} {type(message).__name__}, has {wire.peer_pieces.count()}/{pieces} pieces", flush=True)
            print(f"{name} has left", flush=True)
    except (geventbt.GeventBTError, OSError) as error:
        print(f"{name}: {error}", flush=True)


def visit_all(peers: Iterable[tuple[str, int]]) -> None:
    """Visit the peers that have not been visited yet."""
    for peer in set(peers) - visited:
        visited.add(peer)
        visits.spawn(visit, peer)


parser = argparse.ArgumentParser(description="Watch the peers of a torrent.")
parser.add_argument("torrent", help="a .torrent file")
parser.add_argument("--peer", action="append", default=[], type=address, metavar="host:port")
parser.add_argument("--seconds", type=float, default=60)
arguments = parser.parse_args()
gevent.signal_handler(signal.SIGINT, sys.exit, "interrupted")

try:
    torrent = geventbt.Torrent.from_file(arguments.torrent)
except (geventbt.GeventBTError, OSError) as error:
    sys.exit(str(error))
pieces = torrent.geometry.pieces
visited: set[tuple[str, int]] = set()
visits = Pool()
with gevent.Timeout(arguments.seconds, False):
    visit_all(arguments.peer)
    request = geventbt.AnnounceRequest(torrent.swarm_hash, geventbt.new_peer_id(), port=0, left=torrent.geometry.length)
    for url in [url for tier in torrent.trackers for url in tier]:
        with suppress(geventbt.TrackerError):
            visit_all(geventbt.announce(url, request).peers)
    visits.join()
visits.kill()
