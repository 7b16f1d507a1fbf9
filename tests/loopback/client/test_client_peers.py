"""The peers of a torrent: how many, who comes back, who is given what, and those that are of no use."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gevent
import gevent.event
import pytest
from gevent import socket as gevent_socket
from gevent.event import Event

import geventbt
from geventbt import (
    ActiveTorrent,
    Client,
    Extensions,
    Handshake,
    NoPeersError,
    Request,
    RequestFailed,
    Wire,
    WireClosed,
    limits,
)
from geventbt.client.swarm import refusals
from geventbt.client.swarm.admission import Admission
from geventbt.errors import HandshakeError
from tests.free_port import free_port
from tests.loopback.fake_trackers import FakeHttp, bencoded
from tests.loopback.harness import RawPeer
from tests.loopback.world import Address, OddWire, Read, World, address, eventually, remains, serve_well, stay_silent


@pytest.fixture
def torrent(world: World) -> geventbt.Torrent:
    """31 pieces of two blocks."""
    return world.torrent()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer has snubbed us after half a second."""
    monkeypatch.setattr(limits, "FIRST_SNUB_TIMEOUT", 0.5)
    monkeypatch.setattr(limits, "MIN_SNUB_TIMEOUT", 0.5)


def job_of(client: Client) -> ActiveTorrent:
    """The only torrent of a client."""
    (job,) = client.torrents.values()
    return job


# --- how many ---


def test_no_more_peers_are_connected_than_may_be(world: World, torrent):
    count: Counter[str] = Counter()

    def behave(wire: Wire, read: Read) -> None:
        count["now"] += 1
        count["most"] = max(count["most"], count["now"])
        try:
            serve_well(wire, read)
        finally:
            count["now"] -= 1

    peers = [world.odd(torrent, behave) for _ in range(8)]
    job = world.download(torrent, peers, max_peers=3, limit_down=1_000_000)
    assert job.wait(30)
    assert count["most"] == 3


def test_all_torrents_of_a_client_share_its_connections(world: World):
    torrents = [world.torrent(name) for name in ("one", "two", "three")]
    client = world.client(max_connections=2)
    jobs = [
        world.download(torrent, [world.odd(torrent, stay_silent) for _ in range(3)], client=client)
        for torrent in torrents
    ]
    eventually(lambda: sum(job.progress.peers for job in jobs) == 2)
    for torrent in torrents:
        with pytest.raises((WireClosed, HandshakeError)):
            world.visit(client, torrent)
    assert sum(job.progress.peers for job in jobs) == 2


def test_room_that_one_torrent_leaves_is_used_by_another(world: World):
    one, two = world.torrent("one"), world.torrent("two")
    client = world.client(max_connections=1)
    first = world.download(one, [world.odd(one, stay_silent)], client=client)
    eventually(lambda: first.peers)
    second = world.download(two, world.seeds(two, 1), client=client)
    assert second.wait(0.3) is False
    first.remove()
    assert second.wait(10)


def test_with_room_for_one_the_next_is_tried_after_one_that_is_dead(world: World, torrent):
    dead = [("127.0.0.1", port) for port in (1, 2, 3)]
    job = world.download(torrent, [*dead, *world.seeds(torrent, 1)], max_peers=1)
    assert job.wait(10)


def test_a_peer_that_is_not_there_is_tried_again_later_and_later(world: World, torrent, monkeypatch):
    tries: list[float] = []

    def refuse(wire: Wire) -> None:
        tries.append(gevent.get_hub().loop.now())
        wire.close(0)

    monkeypatch.setattr(limits, "FIRST_RETRY", 0.1)
    client = world.client(encryption="disable")
    world.download(torrent, [world.listen(refuse)], client=client)
    eventually(lambda: len(tries) == 5, 20)
    pauses = [after - before for before, after in pairwise(tries)]
    assert pauses[3] > 2 * pauses[0]
    assert pauses[2] > pauses[0]


def test_a_download_that_begins_is_interested_before_the_peer_has_said_anything(world: World, torrent):
    """A seed with a free slot then unchokes it with its own handshake."""
    first: list[tuple[bytes | None, bool, int]] = []

    def handle(wire: Wire) -> None:
        asked = wire.wait_handshake().info_hash
        eventually(lambda: wire.peer_interested)
        first.append((asked, wire.peer_id is not None, wire.peer_pieces.count()))
        wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        wire.have_all()
        serve_well(wire, world.reader(torrent))

    job = world.download(torrent, [world.listen(handle)])
    assert job.wait(10)
    assert first == [(torrent.info_hash, True, 0)]


def test_a_peer_that_turns_out_to_have_nothing_is_told_that_it_is_of_no_interest(world: World, torrent):
    interest: list[bool] = []

    def behave(wire: Wire, read: Read) -> None:
        wire.have_none()
        eventually(lambda: not wire.peer_interested)
        interest.append(wire.peer_interested)
        wire.have(3)
        eventually(lambda: wire.peer_interested)
        interest.append(wire.peer_interested)
        serve_well(wire, read)

    world.download(torrent, [world.odd(torrent, behave)])
    eventually(lambda: interest == [False, True])


def test_seeds_part_also_when_one_chokes_the_other(world: World, torrent):
    """They have nothing to give to each other, whatever they were about to."""

    def choke_for_ever(wire: Wire, read: Read) -> None:
        wire.wait_for("close")

    job = world.download(torrent, [world.odd(torrent, choke_for_ever)])
    eventually(lambda: job.peers)
    job.add_peers(world.seeds(torrent, 1))
    assert job.wait(20)
    eventually(lambda: not job.peers)


# --- one connection with each ---


def connections_between(one: ActiveTorrent, other: ActiveTorrent) -> tuple[int, int]:
    return len(one.peers), len(other.peers)


@pytest.mark.parametrize("attempt", range(4))
def test_two_that_connect_to_each_other_keep_exactly_one_connection(world: World, torrent, attempt):
    clients = [world.client() for _ in range(2)]
    one, other = (world.download(torrent, [], folder=f"out{side}", client=clients[side]) for side in (0, 1))
    eventually(lambda: one.state == other.state == "downloading")
    one.add_peers([address(clients[1])])
    other.add_peers([address(clients[0])])

    def is_one() -> bool:
        # Until the handshakes are over each may have that of the other.
        return connections_between(one, other) == (1, 1) and one.peers[0].outgoing != other.peers[0].outgoing

    eventually(is_one)
    remains(is_one)


def test_our_own_address_is_no_peer(world: World, torrent):
    client = world.client()
    job = world.download(torrent, [], client=client)
    heard: list[str] = []
    job.on("peer_added", lambda torrent, wire: heard.append("added"))
    job.add_peers([address(client), *world.seeds(torrent, 1)])
    assert job.wait(10)
    assert heard == ["added"]


def test_nobody_takes_the_place_of_a_peer_by_using_its_id(world: World, torrent):
    """The twin of a connection is one from the same host: the world is one here, so a second connection of the same
    kind is refused, and the first goes on."""
    client = world.client(upload_slots=None)
    job = client.add(torrent, world.origin)
    assert job.wait(10)
    name = geventbt.new_peer_id()
    first = world.visit(client, torrent, peer_id=name)
    eventually(lambda: job.peers)
    second = world.visit(client, torrent, peer_id=name)
    eventually(lambda: second.closed)
    assert not first.closed
    assert len(job.peers) == 1
    first.close(0)


def test_a_peer_that_comes_back_replaces_its_own_connection_that_has_been_silent(world: World, torrent, monkeypatch):
    """Its side of the first one may be gone without a trace, such as after a change of its network."""
    monkeypatch.setattr(limits, "TWIN_SILENCE", 0.1)
    client = world.client(upload_slots=None)
    job = client.add(torrent, world.origin)
    assert job.wait(10)
    name = geventbt.new_peer_id()
    first = world.visit(client, torrent, peer_id=name)
    eventually(lambda: job.peers)
    gevent.sleep(0.15)
    second = world.visit(client, torrent, peer_id=name)
    eventually(lambda: first.closed)
    second.interested()
    second.wait_unchoked(timeout=10)
    assert len(job.peers) == 1
    second.close(0)


def test_a_peer_that_leaves_right_after_the_handshake_leaves_nothing(world: World, torrent):
    visited = Event()

    def leave(wire: Wire) -> None:
        wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        wire.close(0)

    def stay(wire: Wire) -> None:
        wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
        visited.wait(30)

    client = world.client()
    peers = [world.listen(stay), *(world.listen(leave) for _ in range(20))]
    job = world.download(torrent, peers, client=client, fail_without_peers=True)
    eventually(lambda: job.state == "downloading")
    for _ in range(20):
        world.visit(client, torrent).close(0)
    visited.set()
    with pytest.raises(NoPeersError):
        job.wait(30)
    eventually(lambda: not job.peers)


def test_a_peer_that_has_left_before_it_is_added_is_none(world: World, torrent, monkeypatch):
    shake_hands = Admission.shake_hands

    def shake_hands_and_lose(self: Admission, wire: Wire, info_hash: bytes) -> None:
        shake_hands(self, wire, info_hash)
        wire.close(0)

    peers = world.seeds(torrent, 2)
    monkeypatch.setattr(Admission, "shake_hands", shake_hands_and_lose)
    job = world.download(torrent, peers, fail_without_peers=True)
    with pytest.raises(NoPeersError):
        job.wait(20)
    assert job.progress.peers == 0


def test_peers_are_told_of_in_the_order_in_which_they_come_and_go(world: World, torrent):
    client = world.client()
    job = world.download(torrent, [], client=client)
    heard: list[str] = []
    job.on("peer_added", lambda torrent, wire: heard.append("added"))
    job.on("peer_removed", lambda torrent, wire: heard.append("removed"))
    eventually(lambda: job.state == "downloading")
    for _ in range(10):
        world.visit(client, torrent).close(0)
    eventually(lambda: len(heard) == 20)
    assert all(heard[: place + 1].count("added") >= heard[: place + 1].count("removed") for place in range(20))


# --- who is given what ---


def take_part_in_a_turn(wire: Wire) -> None:
    """Ask for the metadata: the answer comes after what the other side says to all that was sent before."""
    wire.ext["ut_metadata"].fetch(timeout=5)


def test_no_more_peers_are_unchoked_than_there_are_slots(world: World, torrent):
    client = world.seed(torrent, upload_slots=2)
    wires = [world.visit(client, torrent) for _ in range(5)]
    for wire in wires:
        wire.interested()
    eventually(lambda: sum(not wire.peer_choking for wire in wires) == 2)
    for wire in wires:
        take_part_in_a_turn(wire)
    assert sum(not wire.peer_choking for wire in wires) == 2
    for wire in wires:
        wire.close(0)


@pytest.mark.parametrize("how", ["leaves", "loses interest"])
def test_a_slot_is_given_on_at_once(world: World, torrent, how):
    client = world.seed(torrent, upload_slots=1)
    first, second = (world.visit(client, torrent) for _ in range(2))
    first.interested()
    first.wait_unchoked(timeout=5)
    second.interested()
    take_part_in_a_turn(second)
    assert second.peer_choking
    if how == "leaves":
        first.close(0)
    else:
        first.uninterested()
    # Long before the next round of choking.
    second.wait_unchoked(timeout=limits.CHOKE_INTERVAL / 3)
    if how != "leaves":
        eventually(lambda: first.peer_choking)
    for wire in (first, second):
        wire.close(0)


def test_a_choked_peer_is_given_nothing(world: World, torrent):
    client = world.seed(torrent, upload_slots=0)
    wire = world.visit(client, torrent)
    wire.interested()
    with pytest.raises(RequestFailed):
        wire.request(0, 0, 16384)
    assert job_of(client).progress.uploaded == 0
    wire.close(0)


# --- peers that are of no use beside one that is ---


def drip(wire: Wire, read: Read) -> None:
    """A block every now and then: the pause is what is tested, a little more than that of a snub."""
    wire.unchoke()
    for request in wire.incoming_requests():
        gevent.sleep(1.4 * limits.FIRST_SNUB_TIMEOUT)
        wire.piece(request.piece, request.offset, read(*request))


def flap(wire: Wire, read: Read) -> None:
    """Chokes and unchokes all the time, and gives nothing."""
    while not wire.closed:
        wire.unchoke()
        gevent.sleep(0.002)
        wire.choke()
        gevent.sleep(0.002)


def reject_all(wire: Wire, read: Read) -> None:
    wire.unchoke()
    for request in wire.incoming_requests():
        wire.reject(request.piece, request.offset, request.length)


def give_other_blocks(wire: OddWire, read: Read) -> None:
    """Answers, but never what was asked for."""
    wire.unchoke()
    for request in wire.incoming_requests():
        raw = b"\x07" + (30 - request.piece).to_bytes(4, "big") + bytes(4) + read(30 - request.piece, 0, 1000)
        wire.send_raw(len(raw).to_bytes(4, "big") + raw)


def leave_after_each(wire: Wire, read: Read) -> None:
    wire.unchoke()
    request = next(iter(wire.incoming_requests()))
    wire.piece(request.piece, request.offset, read(*request))
    wire.close()


def take_back(wire: Wire, read: Read) -> None:
    """Says that it has lost each piece that it is asked for, one after the other, and has it again."""
    wire.unchoke()
    for request in wire.incoming_requests():
        wire.ext["lt_donthave"].donthave(request.piece)
        wire.reject(request.piece, request.offset, request.length)
        gevent.sleep(0.002)
        wire.have(request.piece)


USELESS: list[Callable[[Wire, Read], Any]] = [
    stay_silent,
    drip,
    flap,
    reject_all,
    give_other_blocks,
    leave_after_each,
    take_back,
]


@pytest.mark.parametrize("useless", USELESS)
def test_a_peer_that_is_of_no_use_costs_little_beside_one_that_is(world: World, torrent, useless, impatient):
    job = world.download(torrent, [world.odd(torrent, useless) for _ in range(3)])
    # One that leaves at once may not be seen, but what it has sent is.
    eventually(lambda: job.peers or job.progress.downloaded)
    job.add_peers(world.seeds(torrent, 1))
    # Alone the honest peer needs a few tenths of a second.
    assert job.wait(10)
    world.assert_complete(torrent)
    assert not job.banned
    assert job.progress.wasted <= torrent.geometry.length / 4


@pytest.mark.parametrize("useless", [reject_all, flap, take_back])
def test_a_peer_that_never_gives_does_not_keep_us_busy(world: World, torrent, useless):
    """Alone with it there is nothing to do; what we ask it for is bounded by what it says, not by what we can ask."""
    asked: list[int] = []

    def behave(wire: Wire, read: Read) -> None:
        wire.on("request", lambda wire, **fields: asked.append(fields["index"]))
        useless(wire, read)

    job = world.download(torrent, [world.odd(torrent, behave)])
    eventually(lambda: asked)
    remains(lambda: len(asked) < 1250 and job.state == "downloading", 0.5)


def test_a_peer_that_rejected_for_a_while_is_asked_again(world: World, torrent, monkeypatch):
    """It is the only one: else the download would never end."""
    monkeypatch.setattr(refusals, "FIRST_BACKOFF", 0.05)
    rejected: list[int] = []

    def behave(wire: Wire, read: Read) -> None:
        wire.unchoke()
        for request in wire.incoming_requests():
            if len(rejected) < 4:
                rejected.append(request.piece)
                wire.reject(request.piece, request.offset, request.length)
            else:
                wire.piece(request.piece, request.offset, read(*request))

    assert world.download(torrent, [world.odd(torrent, behave)]).wait(20)


def test_a_peer_that_has_lost_all_that_it_was_asked_for_is_asked_for_the_rest(world: World, torrent):
    lost: set[int] = set()

    def behave(wire: Wire, read: Read) -> None:
        wire.unchoke()
        for request in wire.incoming_requests():
            if len(lost) < 2 and request.piece not in lost:
                lost.add(request.piece)
                wire.ext["lt_donthave"].donthave(request.piece)
            if request.piece not in lost:
                wire.piece(request.piece, request.offset, read(*request))

    job = world.download(torrent, [world.odd(torrent, behave)])
    eventually(lambda: job.pieces.count() == torrent.geometry.pieces - len(lost))
    assert len(lost) == 2


def test_a_peer_that_was_silent_for_a_while_is_asked_again(world: World, torrent, monkeypatch):
    monkeypatch.setattr(limits, "FIRST_SNUB_TIMEOUT", 0.1)
    monkeypatch.setattr(limits, "MIN_SNUB_TIMEOUT", 0.1)
    ignored: list[int] = []

    def behave(wire: Wire, read: Read) -> None:
        wire.unchoke()
        for request in wire.incoming_requests():
            if len(ignored) < 2:
                ignored.append(request.piece)
            else:
                wire.piece(request.piece, request.offset, read(*request))

    assert world.download(torrent, [world.odd(torrent, behave)]).wait(20)


def test_blocks_that_come_after_their_timeout_are_used(world: World, torrent, monkeypatch):
    """The peer sends each block once: one that is thrown away never comes again."""
    monkeypatch.setattr(limits, "FIRST_SNUB_TIMEOUT", 0.1)
    monkeypatch.setattr(limits, "MIN_SNUB_TIMEOUT", 0.1)
    held: list[Request] = []
    sent: set[Request] = set()

    def behave(wire: Wire, read: Read) -> None:
        wire.unchoke()
        for request in wire.incoming_requests():
            held.append(request)
            # The next one comes after the timeout.
            for each in set(held) - sent if len(held) > 1 else ():
                sent.add(each)
                wire.piece(each.piece, each.offset, read(*each))

    job = world.download(torrent, [world.odd(torrent, behave)])
    assert job.wait(20)
    world.assert_complete(torrent)
    assert job.progress.wasted == 0


def test_a_silent_peer_holds_no_piece_that_a_snub_has_shown_to_be_stuck(world: World, torrent, impatient):
    job = world.download(torrent, [world.odd(torrent, stay_silent)])
    eventually(lambda: job.peers and job.peers[0].snubbed)
    eventually(lambda: not job.peers[0].requests)


def test_a_block_that_a_peer_sits_on_is_asked_of_another_in_the_endgame(world: World, torrent):
    """Long before the peer counts as snubbing us: it answers everything else."""
    kept: list[int] = []

    def behave(wire: Wire, read: Read) -> None:
        wire.unchoke()
        for request in wire.incoming_requests():
            if kept:
                wire.piece(request.piece, request.offset, read(*request))
            else:
                kept.append(request.piece)

    job = world.download(torrent, [world.odd(torrent, behave)])
    eventually(lambda: kept)
    job.add_peers([world.odd(torrent, serve_well)])
    assert job.wait(limits.FIRST_SNUB_TIMEOUT / 2)
    assert job.progress.wasted == 0


def test_what_several_were_asked_for_is_cancelled_once_it_is_there(world: World, torrent):
    """In the endgame blocks are asked of several peers; each block that comes twice is wasted."""
    job = world.download(torrent, world.seeds(torrent, 5))
    assert job.wait(30)
    assert job.progress.wasted <= torrent.geometry.length / 10
    assert job.progress.downloaded <= torrent.geometry.length * 1.2


def break_off_in_a_message(wire: OddWire, read: Read) -> None:
    wire.send_raw(b"\x00\x00\x40\x09\x07" + bytes(8) + b"some")
    gevent.sleep(0.05)


def send_nonsense(wire: OddWire, read: Read) -> None:
    wire.send_raw(os.urandom(1000))
    wire.wait_for("close")


def ask_for_nonsense(wire: OddWire, read: Read) -> None:
    """Requests, cancels and rejects of what cannot be."""
    for message in (6, 8, 16):
        wire.send_raw(b"\x00\x00\x00\x0d" + bytes([message]) + b"\xff" * 12)
    wire.wait_for("close")


@pytest.mark.parametrize("wrong", [break_off_in_a_message, send_nonsense, ask_for_nonsense])
def test_a_peer_that_breaks_the_rules_harms_nobody_else(world: World, torrent, wrong, caplog):
    client = world.client()
    odd = [world.odd(torrent, wrong) for _ in range(3)]
    job = world.download(torrent, [*odd, address(world.seed(torrent, limit_up=1_000_000))], client=client)
    assert job.wait(20)
    world.assert_complete(torrent)
    assert not job.banned
    assert "Traceback" not in caplog.text


# --- wrong data ---


def corrupting(which: Callable[[int, int], bool]) -> Callable[[Wire, Read], None]:
    """A seed that gives wrong data for some blocks."""

    def behave(wire: Wire, read: Read) -> None:
        wire.unchoke()

        def answer(piece: int, offset: int, length: int) -> bytes:
            return os.urandom(length) if which(piece, offset) else read(piece, offset, length)

        wire.serve(answer)

    return behave


def one_block_of_each(torrent: geventbt.Torrent) -> Callable[[int, int], bool]:
    blocks = torrent.geometry.piece_length // limits.BLOCK
    bad = {piece: random.randrange(blocks) for piece in range(torrent.geometry.pieces)}
    return lambda piece, offset: bad[piece] == offset // limits.BLOCK


@pytest.mark.parametrize("liars", [1, 2])
def test_a_peer_that_corrupts_single_blocks_is_found_and_no_other_one(world: World, liars):
    """Pieces of 16 blocks, which several peers share."""
    torrent = world.torrent("big", piece_length=16 * limits.BLOCK, a=24 * 16 * limits.BLOCK)
    bad = [world.odd(torrent, corrupting(one_block_of_each(torrent))) for _ in range(liars)]
    # Slow enough for everybody to take part.
    good = [address(world.seed(torrent, limit_up=1_500_000)) for _ in range(5 - liars)]
    job = world.download(torrent, [*bad, *good])
    assert job.wait(50)
    world.assert_complete(torrent)
    assert job.banned == set(bad)


@pytest.mark.parametrize("liars", [1, 3])
def test_a_peer_that_sends_garbage_is_found(world: World, torrent, liars):
    bad = [world.odd(torrent, corrupting(lambda piece, offset: True)) for _ in range(liars)]
    job = world.download(torrent, bad)
    eventually(lambda: job.banned)
    good = world.seeds(torrent, 2)
    job.add_peers(good)
    assert job.wait(30)
    world.assert_complete(torrent)
    assert not job.banned & set(good)


def test_a_banned_peer_does_not_come_back(world: World, torrent, monkeypatch):
    monkeypatch.setattr(limits, "FIRST_RETRY", 0.02)
    connected: list[Address] = []
    name = geventbt.new_peer_id()

    def lie(wire: Wire) -> None:
        wire.handshake(torrent.info_hash, name, geometry=torrent.geometry)
        connected.append(wire.remote_address)
        wire.have_all()
        corrupting(lambda piece, offset: True)(wire, world.reader(torrent))

    liar = world.listen(lie)
    client = world.client()
    job = world.download(torrent, [liar], client=client)
    eventually(lambda: job.banned == {liar})
    assert len(connected) == 1
    job.add_peers([liar])
    wire = world.visit(client, torrent, peer_id=name)
    eventually(lambda: wire.closed)
    eventually(lambda: not job.peers)
    remains(lambda: len(connected) == 1 and not job.peers, 0.2)


def test_a_liar_cannot_have_another_banned_by_naming_its_port(world: World, torrent, monkeypatch):
    """An inbound peer says where it listens; here it names the port of an honest one on the same host."""
    monkeypatch.setattr(limits, "FIRST_RETRY", 0.1)
    client = world.client()
    job = world.download(torrent, [], client=client)
    eventually(lambda: job.state == "downloading")
    honest = world.seed(torrent)
    wire = geventbt.connect(address(client), info_hash=torrent.info_hash)
    wire.extended_handshake["p"] = honest.port
    wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
    wire.have_all()
    world.spawn(corrupting(lambda piece, offset: True), wire, world.reader(torrent))
    eventually(lambda: job.banned and wire.closed)
    job.add_peers([address(honest)])
    assert job.wait(20)
    assert address(honest) not in job.banned


def broken(world: World, torrent: geventbt.Torrent, piece: int) -> geventbt.Torrent:
    """The same torrent with the hash of one piece wrong; peers have the data that they always had."""
    start = torrent.info_bytes.index(torrent.piece_hashes) + 20 * piece
    info = torrent.info_bytes[:start] + bytes(20) + torrent.info_bytes[start + 20 :]
    wrong = geventbt.Torrent.from_info(info)
    return world.made(wrong)


def test_a_torrent_that_is_wrong_itself_has_nobody_banned_and_all_else_fetched(world: World, torrent):
    wrong = broken(world, torrent, 7)
    asked: Counter[int] = Counter()

    def behave(wire: Wire, read: Read) -> None:
        wire.unchoke()

        def answer(piece: int, offset: int, length: int) -> bytes:
            asked[piece] += 1
            return read(piece, offset, length)

        wire.serve(answer)

    job = world.download(wrong, [world.odd(wrong, behave) for _ in range(5)])
    eventually(lambda: job.pieces.count() == 30, 30)
    eventually(lambda: job.broken == {7})
    eventually(lambda: not job.banned)
    before = asked[7]
    # Each connection may be asked for it once more, and there are five peers.
    remains(lambda: asked[7] - before <= 2 * 5 and job.state == "downloading", 0.5)
    assert not job.done


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_a_download_of_a_torrent_that_is_wrong_itself_ends_and_says_so(world: World, torrent, seeds):
    """Sequential, and begun by all seeds together, so that each has given something good before."""
    wrong = broken(world, torrent, 17)
    connected: list[Wire] = []
    all_here = gevent.event.Event()

    def serve_with_the_others(wire: Wire, read: Read) -> None:
        connected.append(wire)
        if len(connected) >= seeds:
            all_here.set()
        assert all_here.wait(10)
        serve_well(wire, read)

    peers = [world.odd(wrong, serve_with_the_others) for _ in range(seeds)]
    job = world.download(wrong, peers, fail_without_peers=True, sequential=True)
    with pytest.raises(geventbt.DownloadError, match="pieces 17"):
        job.wait(30)
    assert job.pieces.count() == 30
    assert not job.banned


@pytest.mark.parametrize("pieces", [(0,), (30,), (0, 1, 2), (9, 17, 25)], ids=str)
def test_the_only_seed_of_a_torrent_that_is_wrong_itself_is_not_banned(world: World, torrent, pieces):
    """No other peer shows it to be a liar, whether or not it has given good pieces before."""
    wrong = torrent
    for piece in pieces:
        wrong = broken(world, wrong, piece)
    job = world.download(wrong, [world.odd(wrong, serve_well)], fail_without_peers=True, sequential=True)
    with pytest.raises(geventbt.DownloadError, match=f"pieces {', '.join(map(str, pieces))} are wrong"):
        job.wait(30)
    assert job.pieces.count() == 31 - len(pieces)
    assert not job.banned


def test_liars_on_one_address_do_not_end_a_download_that_another_peer_can_finish(world: World, torrent):
    """The tracker names them, and an honest seed that cannot be reached before they have all lied."""
    liars = [world.odd(torrent, corrupting(lambda piece, offset: True)) for _ in range(6)]
    honest = ("127.0.0.1", free_port())
    peers = b"".join(bytes([127, 0, 0, 1]) + port.to_bytes(2, "big") for _, port in [*liars, honest])
    tracker = FakeHttp({"": bencoded(interval=1800, peers=peers)})
    try:
        job = world.download(torrent, [], trackers=[tracker.url()], fail_without_peers=True)
        eventually(lambda: len(job.banned) >= 5, 20)
        assert job.error is None
        world.seed(torrent, port=honest[1])
        assert job.wait(30)
    finally:
        tracker.close()
    world.assert_complete(torrent)
    assert honest not in job.banned


# --- floods ---


def test_a_flood_of_news_holds_nobody_up(world: World):
    """100,000 pieces, told of one by one; then interest and chokes that change all the time, until it is closed."""
    piece_length, pieces = 16384, 100_000
    info = {b"name": b"huge", b"piece length": piece_length, b"pieces": os.urandom(20 * pieces)}
    info[b"length"] = piece_length * pieces
    torrent = geventbt.Torrent.from_info(geventbt.bencoding.encode(info))
    client = world.client()
    job = client.add(torrent, world.folder / "out", files=[])
    eventually(lambda: job.files)
    job.select([0])
    added: list[Wire] = []
    job.on("peer_added", lambda torrent, wire: added.append(wire))
    peer = RawPeer(gevent_socket.create_connection(address(client)))
    peer.send(Handshake(torrent.info_hash, geventbt.new_peer_id(), Extensions(fast=True)).to_bytes())
    eventually(lambda: added)
    (wire,) = added
    ends: list[int] = []
    wire.on("port", lambda wire, listen_port: ends.append(listen_port))
    flood = b"".join(b"\x00\x00\x00\x05\x04" + piece.to_bytes(4, "big") for piece in range(pieces))
    flood += b"\x00\x00\x00\x01\x01\x00\x00\x00\x01\x00" * 200 + b"\x00\x00\x00\x01\x02\x00\x00\x00\x01\x03" * 200
    pauses: list[float] = []
    watch = world.spawn(note_pauses, pauses)
    peer.send(flood + b"\x00\x00\x00\x03\x09\x1a\xe1")
    eventually(lambda: ends and wire.peer_has_all, 30)
    assert not wire.closed
    peer.send(b"\x00\x00\x00\x01\x01\x00\x00\x00\x01\x00" * 20_000)
    eventually(lambda: wire.closed)
    assert "changes of state" in str(wire.close_reason)
    watch.kill()
    assert max(pauses) < 0.1
    peer.sock.close()


def note_pauses(pauses: list[float]) -> None:
    """Note how long the hub was at work between two turns of this greenlet; what other programs take does not count."""
    last = time.thread_time()
    while True:
        gevent.sleep(0)
        now = time.thread_time()
        pauses.append(now - last)
        last = now
