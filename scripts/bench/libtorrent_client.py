"""libtorrent at its best, or as its users have it, as a program for `scripts/bench_transfer.py`.

    libtorrent_client.py download TORRENT FOLDER POLICY TRANSPORT TUNING SESSIONS PORT...
    libtorrent_client.py seed     TORRENT FOLDER POLICY TRANSPORT TUNING SESSIONS

Speaks lines of JSON as `geventbt_client.py` does; a seeder also says when the first peer has connected. It waits for
alerts, and asks for no status: that would make its threads wait for each other.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

import libtorrent as lt

MIB = 1 << 20

COMMON = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
}
"""What a transfer over TCP on one machine needs: no peers are looked for, and there is one transport."""


def tuned() -> dict[str, Any]:
    """libtorrent's own preset for speed, with ticks of 100 ms (it connects on a tick), socket buffers left to the
    system, and a disk queue that holds no download back: the preset's 7 MiB is for seeding."""
    changes = {
        "tick_interval": 100,
        "send_socket_buffer_size": 0,
        "recv_socket_buffer_size": 0,
        "max_queued_disk_bytes": 256 * MIB,
        "request_timeout": 60,
    }
    return {**lt.high_performance_seed(), **changes}


def settings(policy: str, tuning: str, transport: str = "tcp") -> dict[str, Any]:
    """Those that differ from libtorrent's defaults."""
    chosen = COMMON | (tuned() if tuning == "best" else {})
    for direction in ("incoming", "outgoing"):
        chosen |= {f"enable_{direction}_{name}": name == transport for name in ("tcp", "utp")}
    if transport == "utp":
        # What uTP needs at speed; 0 would be the system's own, which are smaller.
        chosen |= {"send_socket_buffer_size": 4 * MIB, "recv_socket_buffer_size": 4 * MIB} if tuning == "best" else {}
    if policy != "prefer":
        encrypted = policy == "require"
        level = lt.enc_policy.forced if encrypted else lt.enc_policy.disabled
        chosen |= {
            "in_enc_policy": int(level),
            "out_enc_policy": int(level),
            "allowed_enc_level": int(lt.enc_level.rc4 if encrypted else lt.enc_level.plaintext),
        }
    defaults: dict[str, Any] = {**lt.default_settings()}
    return {name: value for name, value in sorted(chosen.items()) if defaults[name] != value}


def open_session(policy: str, tuning: str, transport: str, alerts: int) -> Any:
    chosen: Any = {**settings(policy, tuning, transport), "alert_mask": alerts}
    return lt.session(chosen)


def add_torrent(session: Any, torrent: str, folder: str, ports: tuple[str, ...], *, seed_mode: bool) -> None:
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if seed_mode:
        parameters.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(parameters)
    for port in ports:
        handle.connect_peer(("127.0.0.1", int(port)))


def wait_for(session: Any, kind: type) -> Any:
    """The first alert of a kind."""
    while True:
        session.wait_for_alert(1000)
        for alert in session.pop_alerts():
            if isinstance(alert, kind):
                return alert


def download(torrent: str, folder: str, policy: str, transport: str, tuning: str, sessions: str, *ports: str) -> None:
    kinds = lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification
    several = [open_session(policy, tuning, transport, kinds) for _ in range(int(sessions))]
    for number, session in enumerate(several):
        add_torrent(session, torrent, os.path.join(folder, str(number) if number else ""), ports, seed_mode=False)
    for session in several:
        wait_for(session, lt.torrent_finished_alert).handle.flush_cache()
        # All is verified; what the disk threads still hold is to be in the file as well.
        wait_for(session, lt.cache_flushed_alert)
    print(json.dumps({"done": time.monotonic()}), flush=True)
    # Taking a session down takes long, and is not measured.
    os._exit(0)


def seed(torrent: str, folder: str, policy: str, transport: str, tuning: str, sessions: str) -> None:
    several = [
        open_session(policy, tuning, transport, lt.alert.category_t.peer_notification) for _ in range(int(sessions))
    ]
    for session in several:
        add_torrent(session, torrent, folder, (), seed_mode=True)
    before = time.process_time()
    print(json.dumps({"ports": [session.listen_port() for session in several]}), flush=True)
    threading.Thread(target=report_first_peer, args=(several[0],), daemon=True).start()
    sys.stdin.readline()
    print(json.dumps({"cpu": time.process_time() - before}), flush=True)
    os._exit(0)


def report_first_peer(session: Any) -> None:
    wait_for(session, lt.incoming_connection_alert)
    print(json.dumps({"connected": time.monotonic()}), flush=True)


if __name__ == "__main__":
    {"download": download, "seed": seed}[sys.argv[1]](*sys.argv[2:])
