"""The DHT among nodes of other programs: libtorrent, and npm's bittorrent-dht."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from hashlib import sha512
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import subprocess

import geventbt
from geventbt.discovery.dht.items import public_key_of, target_of

pytestmark = pytest.mark.interop

HASH, OTHER_HASH = b"h" * 20, b"o" * 20
SEED, OTHER_SEED = b"s" * 32, b"t" * 32
SESSIONS = 8


def expanded(seed: bytes) -> bytes:
    """A private ed25519 key as libtorrent takes it (RFC 8032, 5.1.5: the hash of the seed, with three bits fixed)."""
    key = bytearray(sha512(seed).digest())
    key[0] &= 0xF8
    key[31] = key[31] & 0x3F | 0x40
    return bytes(key)


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for something in another thread or process while the hub goes on."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        gevent.sleep(0.01)
    return value


class LibtorrentNodes:
    """Libtorrent sessions on loopback that all know each other."""

    def __init__(self) -> None:
        self.lt = pytest.importorskip("libtorrent", reason="libtorrent is not installed")
        self.sessions = [self._session() for _ in range(SESSIONS)]
        self.ports = [int(eventually(session.listen_port)) for session in self.sessions]
        for session in self.sessions:
            for port in self.ports:
                session.add_dht_node(("127.0.0.1", port))
        eventually(lambda: all(self.known(session) >= SESSIONS - 1 for session in self.sessions))

    def _session(self) -> Any:
        return self.lt.session(
            {
                "listen_interfaces": "127.0.0.1:0",
                "enable_dht": True,
                "dht_bootstrap_nodes": "",
                "enable_lsd": False,
                "enable_upnp": False,
                "enable_natpmp": False,
                "dht_restrict_routing_ips": False,
                "dht_restrict_search_ips": False,
                # All have one address, whose packets would be too many for it.
                "dht_block_ratelimit": 1_000_000,
                "dht_upload_rate_limit": 10_000_000,
                "alert_mask": self.lt.alert.category_t.all_categories,
            }
        )

    def known(self, session: Any) -> int:
        """How many nodes are in the routing table of a session."""
        session.post_dht_stats()
        gevent.sleep(0.05)
        found = [alert for alert in session.pop_alerts() if isinstance(alert, self.lt.dht_stats_alert)]
        return sum(bucket["num_nodes"] for bucket in found[-1].routing_table) if found else 0

    def alert(self, number: int, kind: str) -> Any:
        """The next alert of a kind."""
        session = self.sessions[number]
        kind_of = getattr(self.lt, kind)

        def found() -> Any:
            return next((alert for alert in session.pop_alerts() if isinstance(alert, kind_of)), None)

        return eventually(found)

    def stop(self, count: int) -> None:
        """Stop some without notice."""
        for _ in range(count):
            self.sessions.pop().apply_settings({"enable_dht": False})
            self.ports.pop()


@pytest.fixture
def libtorrents() -> Iterator[LibtorrentNodes]:
    nodes = LibtorrentNodes()
    yield nodes
    nodes.sessions.clear()


def our_dht(ports: list[int], **options: Any) -> geventbt.DHT:
    dht = geventbt.DHT(0, "127.0.0.1", routers=(), nodes=[("127.0.0.1", port) for port in ports], **options)
    dht.wait_ready(20)
    return dht


@pytest.fixture
def dht(libtorrents: LibtorrentNodes) -> Iterator[geventbt.DHT]:
    with our_dht(libtorrents.ports[:2]) as dht:
        yield dht


def test_what_we_announce_libtorrent_finds(libtorrents: LibtorrentNodes, dht: geventbt.DHT) -> None:
    assert dht.announce(HASH, 4242) == SESSIONS
    libtorrents.sessions[3].dht_get_peers(libtorrents.lt.sha1_hash(HASH))
    assert libtorrents.alert(3, "dht_get_peers_reply_alert").peers() == [("127.0.0.1", 4242)]


def test_what_libtorrent_announces_we_find(libtorrents: LibtorrentNodes, dht: geventbt.DHT) -> None:
    libtorrents.sessions[3].dht_announce(libtorrents.lt.sha1_hash(HASH), 4243, 0)
    assert eventually(lambda: list(dht.get_peers(HASH))) == [("127.0.0.1", 4243)]
    assert eventually(lambda: dht.scrape(HASH).leechers == 1)


def test_libtorrent_stores_with_us(libtorrents: LibtorrentNodes, dht: geventbt.DHT) -> None:
    announcing = libtorrents.sessions[0]
    announcing.add_dht_node(("127.0.0.1", dht.port))
    # One that has not answered yet would be passed over.
    eventually(lambda: libtorrents.known(announcing) == SESSIONS)
    # Each is stored on eight of the nine nodes: spread over all ids, one of them on ours, whatever its id is.
    for number in range(0, 256, 32):
        announcing.dht_announce(libtorrents.lt.sha1_hash(bytes([number]) * 20), 4243, 0)
    eventually(lambda: dht.status().torrents)


def test_with_half_of_the_nodes_gone_an_announce_takes_two_seconds_at_the_most(
    libtorrents: LibtorrentNodes, dht: geventbt.DHT
) -> None:
    libtorrents.stop(SESSIONS // 2)
    started = time.monotonic()
    assert dht.announce(HASH, 4242) == SESSIONS - SESSIONS // 2
    assert time.monotonic() - started < 2.0


def test_immutable_items_go_both_ways(libtorrents: LibtorrentNodes, dht: geventbt.DHT) -> None:
    put = dht.put(b"from geventbt")
    assert put.stored == SESSIONS
    libtorrents.sessions[2].dht_get_immutable_item(libtorrents.lt.sha1_hash(put.target))
    assert libtorrents.alert(2, "dht_immutable_item_alert").item == b"from geventbt"
    target = libtorrents.sessions[5].dht_put_immutable_item(b"from libtorrent")
    libtorrents.alert(5, "dht_put_alert")
    assert dht.get(str(target)).value == b"from libtorrent"


def test_mutable_items_with_salt_go_both_ways(libtorrents: LibtorrentNodes, dht: geventbt.DHT) -> None:
    key = public_key_of(SEED)
    assert dht.put(b"ours", SEED, b"salt").seq == 1
    libtorrents.sessions[2].dht_get_mutable_item(key, b"salt")
    assert libtorrents.alert(2, "dht_mutable_item_alert").item == b"ours"
    public = public_key_of(OTHER_SEED)
    libtorrents.sessions[5].dht_put_mutable_item(expanded(OTHER_SEED), public, b"theirs", b"salt")
    libtorrents.alert(5, "dht_put_alert")
    assert dht.get(public, b"salt").value == b"theirs"


def test_another_seq_than_the_expected_one_is_refused(libtorrents: LibtorrentNodes, dht: geventbt.DHT) -> None:
    dht.put(b"first", SEED)
    with pytest.raises(geventbt.DHTRejected) as rejected:
        dht.put(b"second", SEED, cas=7)
    assert rejected.value.code == 301
    assert dht.put(b"second", SEED, cas=1).seq == 2


def test_libtorrent_gives_samples(libtorrents: LibtorrentNodes, dht: geventbt.DHT) -> None:
    dht.announce(HASH, 4242)
    assert dht.sample(("127.0.0.1", libtorrents.ports[0])).info_hashes == (HASH,)


# ---------------------------------------------------------------------- npm's bittorrent-dht


class NpmNode:
    """A node of npm's bittorrent-dht in a process of its own."""

    def __init__(self, ports: list[int]) -> None:
        modules = Path(os.environ.get("GEVENTBT_TEST_NODE_MODULES", Path(__file__).parents[2] / "node_modules"))
        package = modules / "bittorrent-dht"
        if shutil.which("node") is None or not package.is_dir():
            pytest.skip("node with the package bittorrent-dht is not installed (GEVENTBT_TEST_NODE_MODULES says where)")
        script = Path(__file__).with_name("bittorrent_dht.mjs")
        self._process = subprocess.Popen(
            ["node", str(script), str(package), *map(str, ports)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.port = int(self.line()["port"])
        assert self.line() == {"ready": True}

    def line(self) -> dict[str, Any]:
        """The next line that it writes."""
        with gevent.Timeout(20):
            line: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in line, line
        return line

    def do(self, command: str, **fields: Any) -> list[dict[str, Any]]:
        """Have it do something; returns all lines up to the one that ends it."""
        self._process.stdin.write(json.dumps({"command": command, **fields}).encode() + b"\n")
        self._process.stdin.flush()
        lines = [self.line()]
        while "peer" in lines[-1]:
            lines.append(self.line())
        return lines

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()


@pytest.fixture
def pair() -> Iterator[tuple[geventbt.DHT, NpmNode]]:
    """A node of ours and one of npm's that know each other."""
    with geventbt.DHT(0, "127.0.0.1", routers=()) as dht:
        node = NpmNode([dht.port])
        try:
            dht.add_node(("127.0.0.1", node.port))
            dht.wait_ready(20)
            yield dht, node
        finally:
            node.close()


def test_peers_go_both_ways_with_npm(pair: tuple[geventbt.DHT, NpmNode]) -> None:
    dht, node = pair
    assert dht.announce(HASH, 4242) == 1
    assert [line["peer"] for line in node.do("lookup", infoHash=HASH.hex()) if "peer" in line] == ["127.0.0.1:4242"]
    node.do("announce", infoHash=OTHER_HASH.hex(), port=4243)
    assert dht.status().torrents == 1


def test_items_go_both_ways_with_npm(pair: tuple[geventbt.DHT, NpmNode]) -> None:
    dht, node = pair
    put = dht.put(b"from geventbt")
    assert node.do("get", target=put.target.hex())[-1]["value"] == "from geventbt"
    (stored,) = node.do("put", value="from npm")
    assert stored["count"] == 1
    assert dht.status().items == 1


@pytest.mark.parametrize("salt", [b"", b"salt"])
def test_mutable_items_go_both_ways_with_npm(pair: tuple[geventbt.DHT, NpmNode], salt: bytes) -> None:
    dht, node = pair
    target = target_of(public_key_of(SEED), salt)
    assert dht.put(b"ours", SEED, salt).stored == 1
    found = node.do("get", target=target.hex(), salt=salt.decode())[-1]
    assert (found["value"], found["seq"]) == ("ours", 1)
    node.do("put", value="theirs", salt=salt.decode(), seq=2)
    assert dht.status().items == 1
    assert dht.put(b"ours again", SEED, salt).stored == 1
