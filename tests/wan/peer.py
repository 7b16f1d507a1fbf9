"""A client on a host of the emulated network, as a program.

    python -m tests.wan.peer geventbt TORRENT FOLDER --transport utp --limit PEX_INTERVAL=1

It prints a line of JSON at every change: its state, its peers as [host, port, transport, sources], and how many bytes
it has downloaded. Each line of its input is an address to connect to, as [host, port]. It listens on port 6881, and
logs to standard error what the client does; with --verbose all that it does.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from typing import Any

from geventbt import limits

PORT = 6881
_UTP_SOCKET = 1 << 13
"""libtorrent's flag of a peer, which has no name in Python."""


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def run_geventbt(torrent: str, folder: str, transport: Any, rate: int | None) -> None:
    import gevent
    from gevent.fileobject import FileObject

    import geventbt

    options: dict[str, Any] = {"dht": False, "lsd": False, "port_mapping": False}
    with geventbt.Client(PORT, transport=transport, limit_down=rate, **options) as client:
        active = client.add(torrent, folder)

        def add_peers() -> None:
            for line in FileObject(sys.stdin, "rb", close=False):
                active.add_peers([tuple(json.loads(line))])

        gevent.spawn(add_peers)
        last: dict[str, Any] = {}
        while True:
            peers = [[*peer.address, peer.transport, peer.sources] for peer in active.peers]
            now = {"state": str(active.state), "peers": sorted(peers), "done": active.progress.downloaded}
            if now != last:
                last = now
                say(**now)
            gevent.sleep(0.02)


def run_libtorrent(torrent: str, folder: str, transport: str, rate: int | None) -> None:
    import os
    import threading

    import libtorrent as lt

    settings: Any = {
        "listen_interfaces": f"0.0.0.0:{PORT}",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "download_rate_limit": rate or 0,
        "alert_mask": lt.alert.category_t.all_categories if logging.root.isEnabledFor(logging.DEBUG) else 0,
        **{f"enable_{way}_tcp": transport != "utp" for way in ("incoming", "outgoing")},
        **{f"enable_{way}_utp": transport != "tcp" for way in ("incoming", "outgoing")},
    }
    session: Any = lt.session(settings)
    # By default peers of private addresses have no limits.
    everywhere: Any = lt.ip_filter()
    everywhere.add_rule("0.0.0.0", "255.255.255.255", 1 << lt.session.global_peer_class_id)
    session.set_peer_class_filter(everywhere)
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if os.listdir(folder):
        parameters.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(parameters)

    def add_peers() -> None:
        for line in sys.stdin:
            handle.connect_peer(tuple(json.loads(line)))

    threading.Thread(target=add_peers, daemon=True).start()
    last: dict[str, Any] = {}
    while True:
        for alert in session.pop_alerts():
            logging.debug("%s", alert.message())
        peers = [
            [*peer.ip, "utp" if peer.flags & _UTP_SOCKET else "tcp", []]
            for peer in handle.get_peer_info()
            if not peer.flags & (lt.peer_info.connecting | lt.peer_info.handshake)
        ]
        status = handle.status()
        state = "seeding" if status.is_seeding else "downloading"
        now = {"state": state, "peers": sorted(peers), "done": status.total_payload_download}
        if now != last:
            last = now
            say(**now)
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("client", choices=["geventbt", "libtorrent"])
    parser.add_argument("torrent")
    parser.add_argument("folder")
    parser.add_argument("--transport", default="both")
    parser.add_argument("--rate", type=int, help="of its download, in bytes a second")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    # Before what has them as the defaults of its arguments is imported.
    for name, _, value in (limit.partition("=") for limit in arguments.limit):
        setattr(limits, name, type(getattr(limits, name))(value))
    level = logging.DEBUG if arguments.verbose else logging.INFO
    logging.basicConfig(level=level, format="%(relativeCreated)6d %(message)s")
    run = {"geventbt": run_geventbt, "libtorrent": run_libtorrent}[arguments.client]
    run(arguments.torrent, arguments.folder, arguments.transport, arguments.rate)


if __name__ == "__main__":
    main()
