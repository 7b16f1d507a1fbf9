"""Measure lookups in a DHT of real nodes on loopback, ours against libtorrent's, an answered query, and a flood.

The nodes are libtorrent sessions that all know each other, of which a part is stopped after torrents were announced.
Each lookup has an asker of its own, whose table still knows the dead nodes and which has not asked before: a second
lookup would profit from what the first has found out. Ours only ask (BEP 43), so that no lookup of libtorrent waits for
them. That of an item that does not exist tells when a lookup of libtorrent ends.

    python scripts/bench_dht.py --nodes 50 --dead 0 25 50
    python scripts/bench_dht.py --flood 20000
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import socket
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

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
    "alert_mask": lt.alert.category_t.dht_notification
    | lt.alert.category_t.dht_operation_notification
    | lt.alert.category_t.stats_notification,
}
TIMEOUT = 60.0
FLOOD_SECONDS = 8.0


class Lookup(NamedTuple):
    """The outcome of one lookup: seconds to the first peer, seconds to its end, and the queries sent."""

    first: float
    end: float
    queries: int


# ---------------------------------------------------------------------- nodes


def sessions_of(count: int) -> list[Any]:
    """Libtorrent sessions that all know each other."""
    sessions = [lt.session(SETTINGS) for _ in range(count)]
    for session in sessions:
        wait(session.listen_port)
    ports = [session.listen_port() for session in sessions]
    for session in sessions:
        for port in ports:
            session.add_dht_node(("127.0.0.1", port))
    wait(lambda: median(map(known, sessions)) >= 0.8 * count)
    return sessions


def wait(condition: Callable[[], Any], seconds: float = TIMEOUT) -> Any:
    """Wait for something in another thread."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {seconds:g} s")
        gevent.sleep(0.001)
    return value


def known(session: Any) -> int:
    """The nodes in the table of a session."""
    session.post_dht_stats()
    return sum(bucket["num_nodes"] for bucket in alert(session, lt.dht_stats_alert).routing_table)


def queries_of(session: Any) -> int:
    """The queries of lookups that a session has sent."""
    session.post_session_stats()
    values = alert(session, lt.session_stats_alert).values
    return int(values["dht.dht_get_peers_out"] + values["dht.dht_get_out"])


def alert(session: Any, kind: Any, is_it: Callable[[Any], Any] = lambda found: True) -> Any:
    """The next alert of a kind."""

    def found() -> Any:
        return next((each for each in session.pop_alerts() if isinstance(each, kind) and is_it(each)), None)

    return wait(found)


# ---------------------------------------------------------------------- lookups


def first_of_libtorrent(session: Any, info_hash: bytes) -> float:
    """Seconds to the first peer."""
    session.pop_alerts()
    started = time.monotonic()
    session.dht_get_peers(lt.sha1_hash(info_hash))
    alert(session, lt.dht_get_peers_reply_alert, lambda found: found.peers())
    return time.monotonic() - started


def end_of_libtorrent(session: Any) -> tuple[float, int]:
    """Seconds to the end of a lookup, and its queries."""
    before = queries_of(session)
    started = time.monotonic()
    session.dht_get_immutable_item(lt.sha1_hash(random.randbytes(20)))
    alert(session, lt.dht_immutable_item_alert)
    return time.monotonic() - started, queries_of(session) - before


def lookups_of_libtorrent(sessions: list[Any], hashes: list[bytes]) -> list[Lookup]:
    """A lookup for each torrent; all at one time, for they take long."""
    firsts = [
        gevent.spawn(first_of_libtorrent, session, info_hash)
        for session, info_hash in zip(sessions, hashes, strict=False)
    ]
    ends = [gevent.spawn(end_of_libtorrent, session) for session in sessions[len(hashes) :]]
    return [Lookup(first.get(), *end.get()) for first, end in zip(firsts, ends, strict=True)]


def lookup_of_ours(dht: geventbt.DHT, info_hash: bytes) -> Lookup:
    """A lookup for a torrent."""
    before = dht.status().queries
    started = time.monotonic()
    first = float("nan")
    for number, _ in enumerate(dht.get_peers(info_hash)):
        first = first if number else time.monotonic() - started
    return Lookup(first, time.monotonic() - started, dht.status().queries - before)


def asker(sessions: list[Any]) -> geventbt.DHT:
    """A node of ours that knows all others and has been idle for a while."""
    nodes = [("127.0.0.1", session.listen_port()) for session in sessions]
    dht = geventbt.DHT(0, "127.0.0.1", routers=(), nodes=nodes, read_only=True, query_rate=1000)
    wait(lambda: dht.status().nodes >= 0.8 * len(nodes))
    return dht


def compare(count: int, dead: int, lookups: int) -> Iterator[str]:
    """The rows of a table: ours, and libtorrent's."""
    sessions = sessions_of(count)
    askers = [asker(sessions) for _ in range(lookups)]
    hashes = [random.randbytes(20) for _ in askers]
    for info_hash in hashes:
        sessions[-1].dht_announce(lt.sha1_hash(info_hash), 4242, 0)
    gevent.sleep(1)
    stopped = count * dead // 100
    for session in sessions[2 * lookups : 2 * lookups + stopped]:
        session.apply_settings({"enable_dht": False})
    gevent.sleep(0.5)
    ours = [lookup_of_ours(dht, info_hash) for dht, info_hash in zip(askers, hashes, strict=True)]
    for dht in askers:
        dht.close()
    for name, found in (("geventbt", ours), ("libtorrent", lookups_of_libtorrent(sessions[: 2 * lookups], hashes))):
        first, end = (median(getattr(lookup, field) for lookup in found) for field in ("first", "end"))
        queries = median(lookup.queries for lookup in found)
        yield f"| {dead} % | {name} | {first * 1e3:.0f} ms | {end * 1e3:.0f} ms | {queries:.0f} |"


# ---------------------------------------------------------------------- queries of others


def cost_of_an_answer() -> float:
    """Microseconds of the processor for an answered `get_peers`, without the system's part: the best of many rounds."""
    rng = random.Random(1)
    node = Node(IPV4, rng=rng, now=0.0)
    for number in range(250):
        node.table.answered(Contact(rng.randbytes(20), ("127.0.0.1", 1000 + number)), 0.0)
    packets = [m.write_query(b"tt", rng.randbytes(20), m.GetPeers(rng.randbytes(20))) for _ in range(100)]
    now, best = 0.0, float("inf")
    for _ in range(100):
        started = time.process_time()
        for packet in packets:
            now += 0.5
            node.receive(packet, ("127.0.0.1", 5), now)
            assert node.take_outgoing()
        best = min(best, time.process_time() - started)
    return best / len(packets) * 1e6


def flood(port: int, rate: int) -> None:
    """Send queries from 50 sockets, evenly: that is what a process of its own does."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
    packets = [m.write_query(b"tt", random.randbytes(20), m.GetPeers(random.randbytes(20))) for _ in sockets]
    started, sent = time.monotonic(), 0
    while (passed := time.monotonic() - started) < FLOOD_SECONDS:
        while sent < passed * rate:
            sockets[sent % 50].sendto(packets[sent % 50], ("127.0.0.1", port))
            sent += 1
        time.sleep(0.001)


def under_flood(rate: int) -> str:
    """The part of a core that a flood takes, and the longest time for which no other greenlet runs."""
    with geventbt.DHT(0, "127.0.0.1", routers=()) as dht:
        process = multiprocessing.get_context("spawn").Process(target=flood, args=(dht.port, rate))
        if rate:
            process.start()
            wait(lambda: dht.status().answered)
        started, cpu, longest, ticks = time.monotonic(), time.process_time(), 0.0, 0
        before = last = time.monotonic()
        while last - before < FLOOD_SECONDS - 2:
            gevent.sleep(0.001)
            now = time.monotonic()
            longest, last, ticks = max(longest, now - last), now, ticks + 1
        share = (time.process_time() - cpu) / (time.monotonic() - started)
        status = dht.status()
        if rate:
            process.join()
    packets = (status.answered + status.dropped) / (time.monotonic() - started)
    waits = f"{ticks} ticks, the longest wait {longest * 1e3:.1f} ms"
    return f"{rate}/s ({packets:.0f}/s read): {share:.1%} of a core, {waits}"


def main() -> None:
    """Read the command line, measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure lookups in a DHT on loopback.")
    parser.add_argument("--nodes", type=int, default=50, help="libtorrent sessions (default: 50)")
    parser.add_argument("--dead", type=int, nargs="*", default=[0, 25, 50], help="percent of them that are stopped")
    parser.add_argument("--lookups", type=int, default=5, help="for each (default: 5)")
    parser.add_argument("--flood", type=int, metavar="RATE", help="measure a flood of queries a second instead")
    arguments = parser.parse_args()
    if arguments.flood:
        print(f"an answered get_peers: {cost_of_an_answer():.0f} us")
        for rate in (0, arguments.flood):
            print(under_flood(rate), flush=True)
        return
    print("| dead | | first peer | end | queries |\n|---|---|---|---|---|")
    for dead in arguments.dead:
        for row in compare(arguments.nodes, dead, arguments.lookups):
            print(row, flush=True)


if __name__ == "__main__":
    main()
