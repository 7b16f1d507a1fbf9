"""Make a torrent of a file or folder, and seed it until Ctrl-C.

    python scripts/seed_folder.py photos/ --port 6881 --tracker http://tracker.example/announce

The torrent is written next to the data, as photos.torrent. Its magnet link is printed as well: with the link and our
address, a client can fetch the torrent from us.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import gevent

import geventbt


def show(torrent: geventbt.ActiveTorrent, wire: geventbt.Wire) -> None:
    """Print the address and the client of a new peer."""
    host, port = wire.remote_address
    print(f"{host}:{port} connected: {geventbt.client_name(wire.peer_id or b'')}", flush=True)


parser = argparse.ArgumentParser(description="Make a torrent of a file or folder, and seed it.")
parser.add_argument("data", type=Path, help="a file or a folder")
parser.add_argument("--host", default="", help="the address to listen on; every interface by default")
parser.add_argument("--port", type=int, default=6881)
parser.add_argument("--tracker", action="append", default=[], metavar="URL")
arguments = parser.parse_args()

data = arguments.data.resolve()
torrent_file = data.with_name(data.name + ".torrent")
try:
    torrent = geventbt.create_torrent(data, trackers=[[url] for url in arguments.tracker])
    torrent_file.write_bytes(torrent.to_bytes())
    # A KeyboardInterrupt inside gevent's loop would print a traceback.
    gevent.signal_handler(signal.SIGINT, sys.exit)
    with geventbt.seed(torrent, data, (arguments.host, arguments.port)) as client:
        client.torrents[torrent.swarm_hash].on("peer_added", show)
        print(torrent_file)
        print(geventbt.Magnet.from_torrent(torrent))
        print(f"seeding on port {client.port}", flush=True)
        client.serve_forever()
except KeyboardInterrupt:
    sys.exit("interrupted")
except (geventbt.GeventBTError, OSError, ValueError) as error:
    sys.exit(str(error))
