"""`geventbt.DHT` over real sockets: blocking calls, and what it leaves behind."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

import geventbt
from geventbt import limits
from geventbt.discovery.dht.contacts import IPV4
from geventbt.discovery.dht.items import public_key_of
from geventbt.discovery.dht.state import decode_state
from geventbt.net.addresses import Ports
from geventbt.net.network import DIRECT
from geventbt.net.udp_port import UdpPort
from tests.loopback.harness import eventually

HASH = b"h" * 20
SEED = b"s" * 32


@pytest.fixture
def make() -> Iterator[Callable[..., geventbt.DHT]]:
    """Makes nodes on loopback that begin with the first of them."""
    made: list[geventbt.DHT] = []

    def one(host: str = "127.0.0.1", **options: Any) -> geventbt.DHT:
        options.setdefault("nodes", [(host, made[0].port)] if made else [])
        made.append(geventbt.DHT(0, host, routers=(), **options))
        return made[-1]

    yield one
    for dht in made:
        dht.close()


@pytest.fixture
def network(make: Callable[..., geventbt.DHT], monkeypatch: pytest.MonkeyPatch) -> list[geventbt.DHT]:
    """Five nodes that know each other."""
    monkeypatch.setattr(limits, "DHT_BOOTSTRAP_RETRY", 0.2)
    monkeypatch.setattr(limits, "DHT_PING_INTERVAL", 0.1)
    monkeypatch.setattr(limits, "DHT_ADDRESS_RATE", 100.0)
    monkeypatch.setattr(limits, "DHT_ADDRESS_BURST", 100.0)
    nodes = [make() for _ in range(5)]
    for node in nodes:
        for other in nodes:
            node.add_node(("127.0.0.1", other.port))
    eventually(lambda: all(node.status().nodes >= 4 for node in nodes))
    return nodes


def test_who_announces_is_found(network: list[geventbt.DHT]) -> None:
    assert network[1].announce(HASH, 4242) == 4
    assert list(network[3].get_peers(HASH)) == [("127.0.0.1", 4242)]
    assert list(network[3].get_peers(HASH.hex())) == [("127.0.0.1", 4242)]
    assert list(network[3].get_peers(b"o" * 20)) == []


def test_two_nodes_alone_find_each_others_peers_and_items(make: Callable[..., geventbt.DHT]) -> None:
    one, other = make(), make()
    assert other.announce(HASH, 4242) == 1
    assert list(one.get_peers(HASH)) == [("127.0.0.1", 4242)]
    assert list(other.get_peers(HASH)) == [("127.0.0.1", 4242)]
    assert one.get(other.put(b"kept by one").target).value == b"kept by one"


def test_each_family_has_its_own_port(make: Callable[..., geventbt.DHT]) -> None:
    first = make("")
    hosts = [(host, first.port) for host in ("127.0.0.1", "::1")]
    near, asking = make("", nodes=hosts), make("", nodes=hosts)
    eventually(lambda: all(dht.status().nodes and dht.status().nodes_ipv6 for dht in (near, asking)))
    list(near.find_peers(HASH, announce_port=Ports(1111, 2222)))
    eventually(lambda: set(asking.get_peers(HASH)) == {("127.0.0.1", 1111), ("::1", 2222)})
    list(near.find_peers(SEED[:20], announce_port=Ports(None, 3333)))
    eventually(lambda: set(asking.get_peers(SEED[:20])) == {("::1", 3333)})


def test_a_node_moves_to_another_port_with_all_that_it_knows(network: list[geventbt.DHT]) -> None:
    network[0].announce(HASH, 4242)
    moving, before = network[2], network[2].port
    moving.move(UdpPort.at(DIRECT, "127.0.0.1", 0))
    assert moving.port != before
    assert list(moving.get_peers(HASH)) == [("127.0.0.1", 4242)]
    assert moving.sample(("127.0.0.1", network[1].port)).info_hashes == (HASH,)


def test_a_node_stays_where_it_is_if_a_port_lacks_a_family(make: Callable[..., geventbt.DHT]) -> None:
    dht = make("")
    before = dht.port
    with pytest.raises(OSError, match="no socket of IPv6"):
        dht.move(UdpPort.at(DIRECT, "127.0.0.1", 0))
    assert dht.port == before
    near = make("", nodes=[("127.0.0.1", before), ("::1", before)])
    eventually(lambda: near.status().nodes and near.status().nodes_ipv6)


def test_an_implied_port_is_the_dhts_own(network: list[geventbt.DHT]) -> None:
    network[1].announce(HASH, 1, implied_port=True)
    assert list(network[3].get_peers(HASH)) == [("127.0.0.1", network[1].port)]


def test_seeds_are_counted(network: list[geventbt.DHT]) -> None:
    network[1].announce(HASH, 4242, seed=True)
    assert network[3].scrape(HASH) == geventbt.SwarmEstimate(seeds=1, leechers=0)


def test_items_are_kept(network: list[geventbt.DHT]) -> None:
    put = network[1].put({"a": [1, "x"]})
    assert network[3].get(put.target).value == {b"a": [1, b"x"]}
    first, second = network[1].put(b"one", SEED, b"salt"), network[2].put(b"two", SEED, b"salt")
    assert (first.seq, second.seq) == (1, 2)
    item = network[3].get(public_key_of(SEED), b"salt")
    assert (item.value, item.seq) == (b"two", 2)
    assert network[4].put(item).stored == 4, "an item can be stored again without its private key"


def test_what_no_node_has_is_not_found(network: list[geventbt.DHT]) -> None:
    with pytest.raises(geventbt.DHTNotFound, match=HASH.hex()):
        network[0].get(HASH)


def test_a_sample_of_one_node(network: list[geventbt.DHT]) -> None:
    network[0].announce(HASH, 4242)
    assert network[0].sample(("127.0.0.1", network[1].port)).info_hashes == (HASH,)


def test_a_node_that_is_not_there_gives_no_sample(network: list[geventbt.DHT]) -> None:
    with pytest.raises(geventbt.DHTTimeout):
        network[0].sample(("127.0.0.1", 1), timeout=0.1)


def test_many_greenlets_search_at_a_time(network: list[geventbt.DHT]) -> None:
    network[1].announce(HASH, 4242)
    searching = [gevent.spawn(lambda: list(network[3].get_peers(HASH))) for _ in range(20)]
    assert [greenlet.get(timeout=20) for greenlet in searching] == [[("127.0.0.1", 4242)]] * 20


def test_it_works_over_ipv6(make: Callable[..., geventbt.DHT]) -> None:
    first, second = make("::1"), make("::1")
    second.wait_ready(10)
    assert second.announce(HASH, 4242) == 1
    assert list(second.get_peers(HASH)) == [("::1", 4242)]
    assert first.status().torrents == 1


def test_a_read_only_node_asks_and_does_not_answer(make: Callable[..., geventbt.DHT]) -> None:
    first, reader = make(), make(read_only=True)
    reader.wait_ready(10)
    assert reader.announce(HASH, 4242) == 1
    assert first.status().nodes == 0


def test_nodes_may_have_names(make: Callable[..., geventbt.DHT]) -> None:
    first = make()
    second = make(nodes=[("localhost", first.port)])
    second.wait_ready(10)
    third = make(nodes=[])
    third.add_node(("localhost", first.port))
    third.wait_ready(10)


def test_the_name_of_a_node_cannot_write_into_the_log(
    make: Callable[..., geventbt.DHT], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "geventbt")
    make().add_node(("no\nWARNING such \x1b[31mnode", 6881))
    eventually(lambda: caplog.records)
    assert caplog.records[0].getMessage().isprintable()


def test_the_id_and_the_nodes_are_kept_for_the_next_run(make: Callable[..., geventbt.DHT], tmp_path: Path) -> None:
    first, state = make(), tmp_path / "folder" / "dht.state"
    with make(state=state) as second:
        second.wait_ready(10)
        eventually(lambda: first.status().nodes == 1)
        second.announce(HASH, 4242)
    saved = state.read_bytes()
    assert {path.name for path in state.parent.iterdir()} == {state.name, f"{state.name}.lock"}
    with make(state=state, nodes=[]) as again:
        again.wait_ready(10)
        assert list(again.get_peers(HASH)) == [("127.0.0.1", 4242)]
    assert state.read_bytes() == saved


def test_of_two_nodes_with_one_state_the_first_has_its_id(make: Callable[..., geventbt.DHT], tmp_path: Path) -> None:
    state = tmp_path / "dht.state"

    def saved_id() -> bytes:
        return decode_state(state.read_bytes())[IPV4].node_id

    make()
    with make(state=state) as before:
        before.wait_ready(10)
    kept = saved_id()
    first, second = make(state=state), make(state=state)
    for node in (first, second):
        node.wait_ready(10)
    first.close()
    assert saved_id() == kept
    # The state is free now.
    second.close()
    assert saved_id() != kept


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(100_000)])
def test_a_damaged_state_is_begun_anew(make: Callable[..., geventbt.DHT], tmp_path: Path, content: bytes) -> None:
    state = tmp_path / "dht.state"
    state.write_bytes(content)
    with make(state=state):
        pass
    assert state.read_bytes().startswith(b"d")


def test_a_state_that_cannot_be_written_is_no_reason_to_fail(make: Callable[..., geventbt.DHT], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with make(state=tmp_path / "file" / "dht.state"):
        pass


# ---------------------------------------------------------------------- every call ends


def test_without_nodes_calls_end_at_once(make: Callable[..., geventbt.DHT]) -> None:
    alone = make()
    assert list(alone.get_peers(HASH)) == []
    assert alone.announce(HASH, 1) == 0
    assert alone.put(b"x").stored == 0
    with pytest.raises(geventbt.DHTNotFound):
        alone.get(HASH)


@pytest.fixture
def silent(make: Callable[..., geventbt.DHT]) -> Iterator[geventbt.DHT]:
    """A node whose only known node answers nothing."""
    sock = gevent_socket.socket(gevent_socket.AF_INET, gevent_socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    yield make(nodes=[sock.getsockname()])
    sock.close()


def test_every_call_has_a_timeout(silent: geventbt.DHT) -> None:
    assert list(silent.get_peers(HASH, timeout=0.05)) == []
    calls: list[Callable[[], Any]] = [
        lambda: silent.announce(HASH, 1, timeout=0.05),
        lambda: silent.scrape(HASH, timeout=0.05),
        lambda: silent.get(HASH, timeout=0.05),
        lambda: silent.put(b"x", timeout=0.05),
        lambda: silent.wait_ready(timeout=0.05),
    ]
    for call in calls:
        with pytest.raises(geventbt.DHTTimeout, match=r"0\.05 s"):
            call()
    assert silent.status().searches == 0


def test_a_foreign_timeout_passes_through(silent: geventbt.DHT) -> None:
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        silent.announce(HASH, 1)
    assert silent.status().searches == 0


def test_closing_ends_the_calls(silent: geventbt.DHT) -> None:
    blocked = [
        gevent.spawn(lambda: list(silent.get_peers(HASH))),
        gevent.spawn(silent.announce, HASH, 1),
        gevent.spawn(silent.put, b"x"),
    ]
    gevent.sleep(0)
    silent.close()
    silent.close()
    assert [greenlet.get(timeout=5) for greenlet in blocked][:2] == [[], 0]
    with pytest.raises(geventbt.DHTError, match="closed"):
        silent.announce(HASH, 1)


def test_an_iterator_that_is_given_up_leaves_nothing_behind(silent: geventbt.DHT) -> None:
    peers = silent.get_peers(HASH)
    searching = gevent.spawn(next, peers, None)
    gevent.sleep(0)
    assert silent.status().searches == 1
    searching.kill()
    assert silent.status().searches == 0
    silent.get_peers(HASH)
    eventually(lambda: silent.status().searches == 0)


# ---------------------------------------------------------------------- bad use and bad input


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda dht: dht.announce(HASH, 0), ValueError),
        (lambda dht: dht.announce(b"short", 1), ValueError),
        (lambda dht: dht.get_peers(b"short"), ValueError),
        (lambda dht: dht.get(b"short"), ValueError),
        (lambda dht: dht.get("no hex"), ValueError),
        (lambda dht: dht.get(HASH, bytes(65)), ValueError),
        (lambda dht: dht.put(bytes(1000)), ValueError),
        (lambda dht: dht.put(1.5), TypeError),
        (lambda dht: dht.put(b"x", b"short"), ValueError),
        (lambda dht: dht.put(b"x", seq=1), ValueError),
        (lambda dht: dht.sample(("localhost", 1)), ValueError),
        (lambda dht: dht.sample(("::1", 1)), ValueError),
        (lambda dht: dht.add_node("127.0.0.1"), ValueError),
        (lambda dht: dht.add_node(("127.0.0.1", 0)), ValueError),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_sent(
    make: Callable[..., geventbt.DHT], call: Callable[[geventbt.DHT], Any], error: type[Exception]
) -> None:
    dht = make()
    with pytest.raises(error):
        call(dht)
    assert dht.status().queries == 0


def test_a_port_that_is_taken_is_an_error(make: Callable[..., geventbt.DHT]) -> None:
    with pytest.raises(OSError):
        geventbt.DHT(make().port, "127.0.0.1")


def test_another_thread_is_told_so(make: Callable[..., geventbt.DHT]) -> None:
    dht, caught = make(), []

    def use() -> None:
        try:
            dht.announce(HASH, 1)
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "thread" in str(caught[0])


def test_garbage_is_dropped_and_counted(network: list[geventbt.DHT], nothing_logged: None) -> None:
    rng = random.Random(1)
    sock = gevent_socket.socket(gevent_socket.AF_INET, gevent_socket.SOCK_DGRAM)
    for size in (0, 1, 2, 100, 1500, 1501, 60_000):
        sock.sendto(b"d" + rng.randbytes(size), ("127.0.0.1", network[0].port))
    eventually(lambda: network[0].status().dropped >= 7)
    assert network[0].announce(HASH, 4242) == 4
    sock.close()


def test_a_flood_is_mostly_dropped_and_holds_up_no_other(network: list[geventbt.DHT]) -> None:
    query = geventbt.bencoding.encode({"t": "tt", "y": "q", "q": "ping", "a": {"id": b"f" * 20}})

    def flood(sock: Any) -> None:
        while True:
            for _ in range(20):
                sock.sendto(query, ("127.0.0.1", network[0].port))
            gevent.sleep(0.001)

    with gevent_socket.socket(gevent_socket.AF_INET, gevent_socket.SOCK_DGRAM) as sock:
        flooding = gevent.spawn(flood, sock)
        eventually(lambda: network[0].status().dropped > 1000)
        assert network[0].announce(HASH, 4242) == 4
        flooding.kill()
    assert network[0].status().answered < 1000
