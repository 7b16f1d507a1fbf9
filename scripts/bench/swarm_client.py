"""A client of a swarm, as a program for `scripts/bench_swarm.py`.

    swarm_client.py geventbt|libtorrent TORRENT FOLDER HOST PORT

It listens, prints a line of JSON, and reads one: the peers to connect to, as [host, port]. It prints the time at which
everything is verified, at once if it is a seed, and after another line of input what it has sent.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

MIB = 1 << 20


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def run_geventbt(torrent: str, folder: str, host: str, port: int) -> None:
    from gevent.fileobject import FileObject

    import geventbt

    lines = FileObject(sys.stdin, "rb", close=False)
    with geventbt.Client(port, host=host, encryption="disable", transport="tcp", dht=False, lsd=False) as client:
        active = client.add(torrent, folder)
        while active.state == geventbt.TorrentState.CHECKING:
            active.wait(0.02)
        say(ready=True)
        active.add_peers([tuple(peer) for peer in json.loads(lines.readline())])
        active.wait()
        say(done=time.monotonic())
        lines.readline()
        say(uploaded=active.progress.uploaded)


def run_libtorrent(torrent: str, folder: str, host: str, port: int) -> None:
    import libtorrent as lt

    from bench.libtorrent_client import COMMON

    kinds = lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification
    settings: Any = {
        **COMMON,
        "listen_interfaces": f"{host}:{port}",
        "alert_mask": kinds,
        "in_enc_policy": int(lt.enc_policy.disabled),
        "out_enc_policy": int(lt.enc_policy.disabled),
    }
    session: Any = lt.session(settings)
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if os.listdir(folder):
        parameters.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(parameters)
    say(ready=True)
    for peer_host, peer_port in json.loads(sys.stdin.readline()):
        handle.connect_peer((peer_host, peer_port))
    while not handle.status().is_seeding:
        session.wait_for_alert(20)
        session.pop_alerts()
    say(done=time.monotonic())
    sys.stdin.readline()
    say(uploaded=handle.status().total_payload_upload)
    os._exit(0)


if __name__ == "__main__":
    client, torrent, folder, host, port = sys.argv[1:]
    {"geventbt": run_geventbt, "libtorrent": run_libtorrent}[client](torrent, folder, host, int(port))
