"""Measure lookups in a DHT of real nodes on loopback, ours against libtorrent's, and what an answered query costs.

The nodes are libtorrent sessions, of which a part is stopped after all have met; both sides then look for the peers of
the same torrents, with tables that still know the dead nodes.

    python scripts/bench_dht.py --nodes 50 --dead 0 25 50
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from statistics import median
from typing import Any

import gevent
import libtorrent as lt

import geventbt
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import IPV4, Contact
from geventbt.discovery.dht.node import Node

SETTINGS: Any = {
    "enable_dht": True,
    "dht_bootstrap_nodes": "",
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_block_ratelimit": 1_000_000,
    "dht_upload_rate_limit": 10_000_000,
    "listen_interfaces": "127.0.0.1:0",
    "alert_mask": lt.alert.category_t.dht_notification | lt.alert.category_t.dht_operation_notification,
}


def sessions_of(count: int) -> tuple[list[Any], list[int]]:
    """Libtorrent sessions that all know each other, and their ports."""
    sessions = [lt.session(SETTINGS) for _ in range(count)]
    ports = []
    for session in sessions:
        while not session.listen_port():
            time.sleep(0.01)
        ports.append(session.listen_port())
    for session in sessions:
        for port in ports:
            session.add_dht_node(("127.0.0.1", port))
    time.sleep(4)
    return sessions, ports


def time_of_libtorrent(session: Any, info_hash: bytes) -> float:
    """Seconds to the first peer; it does not say when a lookup ends."""
    session.pop_alerts()
    started = time.monotonic()
    session.dht_get_peers(lt.sha1_hash(info_hash))
    while time.monotonic() - started < 40:
        session.wait_for_alert(5)
        for alert in session.pop_alerts():
            if isinstance(alert, lt.dht_get_peers_reply_alert) and alert.peers():
                return time.monotonic() - started
    return 40.0


def time_of_ours(dht: geventbt.DHT, info_hash: bytes) -> tuple[float, float, int]:
    """Seconds to the first peer, to the end of the lookup, and the queries sent."""
    before = dht.status().queries
    started = time.monotonic()
    first = 0.0
    for _ in dht.get_peers(info_hash):
        first = first or time.monotonic() - started
    return first, time.monotonic() - started, dht.status().queries - before


def cost_of_an_answer() -> float:
    """Microseconds of the processor for an answered `get_peers`, without the system's part."""
    rng = random.Random(1)
    node = Node(IPV4, rng=rng, now=0.0)
    for number in range(250):
        node.table.answered(Contact(rng.randbytes(20), ("127.0.0.1", 1000 + number)), 0.0)
    packets = [m.write_query(b"tt", rng.randbytes(20), m.GetPeers(rng.randbytes(20))) for _ in range(1000)]
    started, now = time.process_time(), 0.0
    for packet in packets:
        now += 0.5
        node.receive(packet, ("127.0.0.1", 5), now)
        assert node.take_outgoing()
    return (time.process_time() - started) / len(packets) * 1e6


def cost_of_a_flood() -> float:
    """The part of a core that 20,000 packets a second from one address take, without the system's part."""
    node = Node(IPV4, rng=random.Random(1), now=0.0)
    packet = m.write_query(b"tt", b"f" * 20, m.Ping())
    started = time.process_time()
    for number in range(20_000):
        node.receive(packet, ("9.9.9.9", 5), number / 20_000)
    node.take_outgoing()
    return time.process_time() - started


def main() -> None:
    """Read the command line, measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure lookups in a DHT on loopback.")
    parser.add_argument("--nodes", type=int, default=50, help="libtorrent sessions (default: 50)")
    parser.add_argument("--dead", type=int, nargs="*", default=[0, 25, 50], help="percent of them that are stopped")
    parser.add_argument("--lookups", type=int, default=5, help="for each (default: 5)")
    arguments = parser.parse_args()
    print(
        f"an answered get_peers: {cost_of_an_answer():.0f} us; a flood of 20,000/s: {cost_of_a_flood():.1%} of a core"
    )
    for dead in arguments.dead:
        sessions, ports = sessions_of(arguments.nodes)
        nodes = [("127.0.0.1", port) for port in ports]
        with geventbt.DHT(0, "127.0.0.1", routers=(), nodes=nodes, query_rate=1000) as dht:
            dht.wait_ready(20)
            gevent.sleep(12)
            hashes = [random.randbytes(20) for _ in range(arguments.lookups)]
            for info_hash in hashes:
                dht.announce(info_hash, 4242)
            stopped = arguments.nodes * dead // 100
            for session in sessions[1 : 1 + stopped]:
                session.apply_settings({"enable_dht": False})
            gevent.sleep(1)
            ours = [time_of_ours(dht, info_hash) for info_hash in hashes]
            theirs = [time_of_libtorrent(sessions[0], info_hash) for info_hash in hashes]
            print(
                f"{dead:3} % dead, table {dht.status().nodes}: geventbt first {median(x[0] for x in ours):.3f} s, "
                f"end {median(x[1] for x in ours):.3f} s, {median(x[2] for x in ours)} queries; "
                f"libtorrent first {median(theirs):.3f} s",
                flush=True,
            )
        sessions.clear()
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main()
