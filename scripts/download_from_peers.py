"""Download a torrent from given peers with wires only, without a client: one greenlet for each peer.

    python scripts/download_from_peers.py ubuntu.torrent downloads/ 127.0.0.1:6881 '[::1]:6882'

Each greenlet takes a piece that is missing and that its peer has, reads it, and stores it if its hash is right.
"""

from __future__ import annotations

import argparse
import signal
import sys

import gevent

import geventbt


def address(text: str) -> tuple[str, int]:
    """The (host, port) of "host:port", where an IPv6 host has its brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def fetch_from(peer: tuple[str, int], storage: geventbt.Storage, missing: set[int]) -> None:
    """Fetch pieces of `missing` as long as this peer has one of them."""
    torrent = storage.torrent
    try:
        with geventbt.connect(peer, info_hash=torrent.swarm_hash) as wire:
            wire.handshake(torrent.swarm_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
            wire.interested()
            wire.wait_unchoked(timeout=60)
            while (piece := next(filter(wire.peer_has, missing), None)) is not None:
                missing.remove(piece)
                try:
                    if not storage.write_piece(piece, wire.read(piece, 0, torrent.geometry.piece_size(piece))):
                        raise geventbt.DownloadError(f"the hash of piece {piece} is wrong")
                finally:
                    # After any error, a piece that has not been stored is missing.
                    if not storage.have[piece]:
                        missing.add(piece)
    except (geventbt.GeventBTError, OSError) as error:
        print(f"{peer[0]}:{peer[1]}: {error}", file=sys.stderr)


parser = argparse.ArgumentParser(description="Download a torrent from given peers.")
parser.add_argument("torrent", help="a .torrent file")
parser.add_argument("folder", help="the folder for the files")
parser.add_argument("peers", nargs="+", type=address, metavar="host:port")
arguments = parser.parse_args()

try:
    with geventbt.Storage(geventbt.Torrent.from_file(arguments.torrent), arguments.folder) as storage:
        storage.check()
        storage.prepare()
        # A KeyboardInterrupt inside gevent's loop would print a traceback.
        gevent.signal_handler(signal.SIGINT, sys.exit, "interrupted")
        missing = set(storage.have.search(0))
        while missing:
            before = len(missing)
            gevent.joinall([gevent.spawn(fetch_from, peer, storage, missing) for peer in arguments.peers])
            if len(missing) == before:
                sys.exit(f"no peer sent any of the {before} missing pieces")
        print(f"{storage.verified_bytes} bytes are verified, in {arguments.folder}")
except KeyboardInterrupt:
    sys.exit("interrupted")
except (geventbt.GeventBTError, OSError) as error:
    sys.exit(str(error))
