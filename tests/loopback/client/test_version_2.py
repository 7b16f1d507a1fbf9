"""Torrents of version 2 and hybrids between clients of ours, and peers that lie about hashes (BEP 52)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote_to_bytes

import gevent
import pytest

import geventbt
from geventbt import Magnet, Torrent, Wire, bencoding, limits
from geventbt.errors import GeventBTError, MetadataMismatch, StorageError, WireClosed
from geventbt.metainfo import merkle
from geventbt.protocol.message_objects import HashRequest
from tests.loopback.fake_trackers import FakeHttp, bencoded
from tests.loopback.harness import eventually
from tests.loopback.world import World

PIECE = 32768
LARGE = 5 * PIECE + 777


def make(world: World, version: Any, piece_length: int = PIECE) -> Torrent:
    """A torrent with files of every kind of length."""
    sizes = {"large": LARGE, "sub/exact": 2 * PIECE, "empty": 0, "small": 5, "sub/one piece": PIECE}
    for name, size in sizes.items():
        path = world.origin / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Random(name).randbytes(size))
    return geventbt.create_torrent(world.origin / "data", version=version, piece_length=piece_length)


def seed_of(world: World, torrent: Torrent) -> tuple[str, int]:
    client = world.client()
    assert client.add(torrent, world.origin, seed_only=True, check=True).wait(10)
    return "127.0.0.1", client.port


def assert_is_whole(world: World, folder: Path) -> None:
    for path in (world.origin / "data").rglob("*"):
        if path.is_file():
            assert (folder / "data" / path.relative_to(world.origin / "data")).read_bytes() == path.read_bytes()
    assert not (folder / "data" / ".pad").exists()


@pytest.mark.parametrize("version", ["2", "hybrid"])
@pytest.mark.parametrize("form", [lambda torrent: torrent, Magnet.from_torrent], ids=["torrent", "link"])
def test_a_torrent_is_downloaded_and_seeded(world: World, version: str, form: Callable[[Torrent], Any]):
    torrent = make(world, version)
    download = world.client().add(form(torrent), world.folder / "out", peers=[seed_of(world, torrent)])
    assert download.wait(20)
    assert download.metainfo.version == version
    assert_is_whole(world, world.folder / "out")


def test_a_hybrid_is_found_by_either_hash(world: World):
    torrent = make(world, "hybrid")
    address = seed_of(world, torrent)
    for magnet in (Magnet(info_hash=torrent.info_hash), Magnet(info_hash_v2=torrent.info_hash_v2)):
        folder = world.folder / str(magnet)[-20:]
        assert world.client().add(magnet, folder, peers=[address]).wait(20)
        assert_is_whole(world, folder)


def test_a_file_can_be_chosen_and_takes_no_piece_of_another(world: World):
    torrent = make(world, "2")
    download = world.client().add(torrent, world.folder / "out", peers=[seed_of(world, torrent)], files=["small"])
    assert download.wait(20)
    assert (world.folder / "out" / "data" / "small").stat().st_size == 5
    assert download.progress.downloaded == 5
    assert not (world.folder / "out" / "data" / "large").exists()


def test_what_is_there_is_checked_and_kept(world: World):
    torrent = make(world, "2")
    whole = world.origin / "data"
    path = world.folder / "out" / "data"
    (path / "sub").mkdir(parents=True)
    damaged = bytearray((whole / "large").read_bytes())
    damaged[2 * PIECE + 3] ^= 1
    (path / "large").write_bytes(damaged)
    (path / "small").write_bytes((whole / "small").read_bytes())
    download = world.client().add(torrent, world.folder / "out", peers=[seed_of(world, torrent)])
    assert download.wait(20)
    assert download.progress.downloaded == PIECE + 2 * PIECE + PIECE
    assert_is_whole(world, world.folder / "out")


@pytest.mark.parametrize("version", ["2", "hybrid"])
def test_what_was_verified_is_not_hashed_again_at_the_next_start(world: World, version: str):
    torrent = make(world, version)
    assert world.client().add(torrent, world.folder / "out", peers=[seed_of(world, torrent)]).wait(20)
    world.clients[0].close()
    again = world.client().add(torrent, world.folder / "out")
    assert again.wait(10)
    assert again.progress.checked == 0
    assert again.progress.downloaded == 0


def test_a_hybrid_that_contradicts_itself_ends_with_that_error_and_no_ban(world: World):
    torrent = make(world, "hybrid")
    info = bencoding.decode(torrent.info_bytes)
    assert isinstance(info, dict)
    pieces = bytearray(info[b"pieces"])
    pieces[25] ^= 1
    info[b"pieces"] = bytes(pieces)
    wrong = replace(Torrent.from_info(bencoding.encode(info)), piece_layers=torrent.piece_layers)
    seed = world.listen(lambda wire: serve_as(world, wire, wrong), info_hashes=[wrong.info_hash])
    download = world.client().add(wrong, world.folder / "out", peers=[seed])
    with pytest.raises(StorageError, match="one of the torrent's two hashes"):
        download.wait(20)
    assert not download.banned


def shake_hands(wire: Wire, torrent: Torrent) -> None:
    info_hash = torrent.swarm_hash if wire.type == "outgoing" else wire.wait_handshake().info_hash
    v2 = torrent.info_hash_v2
    wire.handshake(info_hash, geventbt.new_peer_id(), info_hash_v2=v2, geometry=torrent.geometry)


def serve_as(world: World, wire: Wire, torrent: Torrent) -> None:
    """Serve the good data under the name of a torrent."""
    stream = stream_of(world, torrent)
    shake_hands(wire, torrent)
    wire.have_all()
    wire.unchoke()
    start = torrent.geometry.start_of
    wire.serve(lambda piece, offset, length: stream[start(piece) + offset : start(piece) + offset + length])


def announced_hash(request: str) -> bytes:
    """The info hash of an announce."""
    return unquote_to_bytes(request.partition("info_hash=")[2].partition("&")[0])


@pytest.mark.parametrize("form", ["torrent", "link"])
def test_a_hybrid_is_announced_under_both_hashes(world: World, form: str):
    torrent = make(world, "hybrid")
    tracker = FakeHttp({"": bencoded(interval=1800, peers=b"")})
    source = torrent if form == "torrent" else Magnet.from_torrent(torrent)
    active = world.client().add(source, world.folder / "out", trackers=[tracker.url("/announce")])
    eventually(lambda: len(tracker.requests) >= 2)
    assert set(map(announced_hash, tracker.requests)) == set(torrent.swarm_hashes)
    if form == "torrent":
        # Without padding.
        length = sum(file.length for file in torrent.files if file.stored)
        assert all(f"&left={length}&" in request for request in tracker.requests)
    assert {name for name in active.sources if name.startswith("http")} == {
        tracker.url("/announce"),
        tracker.url("/announce") + " (version 2)",
    }
    tracker.close()


# ------------------------------------------------------------------ wrong blocks

BLOCK = limits.BLOCK


class Liar:
    """A peer that has a single piece, and sends the first block that it is asked for wrong, but not before it may.

    Args:
        piece: which one.
        at: the byte of the block that is wrong.
    """

    def __init__(self, world: World, torrent: Torrent, piece: int, at: int = 0) -> None:
        self._torrent = torrent
        self._piece = piece
        self._wrong = at
        self._data = stream_of(world, torrent)
        self.asked, self.may_answer = gevent.event.Event(), gevent.event.Event()
        self.address = world.listen(self._serve, info_hashes=torrent.swarm_hashes)

    def _serve(self, wire: Wire) -> None:
        geometry = self._torrent.geometry
        wire.on_hash_request.connect(lambda wire, **fields: wire.hash_reject(**fields))
        shake_hands(wire, self._torrent)
        wire.have(self._piece)
        wire.unchoke()
        for number, request in enumerate(wire.incoming_requests()):
            self.asked.set()
            self.may_answer.wait()
            start = geometry.start_of(request.piece) + request.offset
            block = bytearray(self._data[start : start + request.length])
            block[self._wrong] ^= not number
            wire.piece(request.piece, request.offset, block)


def download_with(world: World, torrent: Torrent, liar: Liar, honest: Callable[[tuple[str, int]], Any]) -> Any:
    """A download for which the liar is asked first, and honest peers come before it answers."""
    client = world.client()
    download = client.add(torrent, world.folder / "out", peers=[liar.address])
    assert liar.asked.wait(10)
    for _ in range(2):
        honest(("127.0.0.1", client.port))
    eventually(lambda: download.progress.seeds >= 2)
    liar.may_answer.set()
    assert download.wait(20)
    assert_is_whole(world, world.folder / "out")
    return download


def honest_seed(world: World, torrent: Torrent) -> Callable[[tuple[str, int]], Any]:
    return lambda address: world.client().add(torrent, world.origin, seed_only=True, peers=[address])


def stream_of(world: World, torrent: Torrent) -> bytearray:
    """The data of a torrent as one stream, with the padding."""
    stream = bytearray(torrent.geometry.length)
    for file in torrent.files:
        if file.stored:
            stream[file.offset : file.offset + file.length] = world.origin.joinpath(*file.path).read_bytes()
    return stream


@pytest.mark.parametrize("version", ["2", "hybrid"])
@pytest.mark.parametrize("at", [0, 300])
def test_one_wrong_block_costs_one_block_and_its_sender_alone(world: World, version: str, at: int):
    torrent = make(world, version, 4 * PIECE)
    liar = Liar(world, torrent, piece=0, at=at)
    download = download_with(world, torrent, liar, honest_seed(world, torrent))
    assert download.banned == {liar.address}
    assert download.progress.wasted == BLOCK


@pytest.mark.parametrize(("piece", "at", "wasted"), [(5, 800, BLOCK), (6, 5, PIECE)])
def test_wrong_padding_of_a_hybrid_is_the_fault_of_its_sender(world: World, piece: int, at: int, wasted: int):
    torrent = make(world, "hybrid")
    liar = Liar(world, torrent, piece, at)
    download = download_with(world, torrent, liar, honest_seed(world, torrent))
    assert download.banned == {liar.address}
    assert download.progress.wasted == wasted


def test_a_wrong_block_is_asked_of_one_peer_also_where_its_hashes_come_late(world: World):
    torrent = make(world, "2", 4 * PIECE)
    liar = Liar(world, torrent, piece=0)
    large = next(file for file in torrent.files if file.length == LARGE)
    leaves = merkle.leaves((world.origin / "data" / "large").read_bytes())
    tree = merkle.Tree(b"".join([*leaves, *[merkle.NO_LEAF] * (16 - len(leaves))]), 0)
    assert tree.root == large.pieces_root

    def answer(wire: Wire, **fields: Any) -> None:
        # Longer than the others are idle before they are asked for what one was asked for.
        gevent.sleep(limits.ENDGAME_PATIENCE + 0.1)
        found = tree.prove(fields["index"], fields["length"], fields["proof_layers"])
        wire.hashes(**fields, hashes=b"".join(found or ()))

    def serve(address: tuple[str, int]) -> None:
        wire = geventbt.connect(address, info_hash=torrent.info_hash_v2)
        wire.on_hash_request.connect(answer)
        world.spawn(serve_as, world, wire, torrent)

    download = download_with(world, torrent, liar, serve)
    assert download.banned == {liar.address}
    assert download.progress.wasted == BLOCK


def test_a_block_that_is_a_whole_piece_is_judged_as_in_version_1(world: World):
    torrent = make(world, "2", BLOCK)
    liar = Liar(world, torrent, piece=3)
    download = download_with(world, torrent, liar, honest_seed(world, torrent))
    assert download.banned == {liar.address}
    assert download.progress.wasted == BLOCK


@pytest.mark.parametrize("answer", ["reject", "lie"])
def test_where_no_peer_gives_hashes_of_blocks_the_whole_piece_is_fetched_again(world: World, answer: str):
    torrent = make(world, "2", 4 * PIECE)
    liar = Liar(world, torrent, piece=0)

    def refuse(wire: Wire, **fields: Any) -> None:
        if answer == "reject":
            wire.hash_reject(**fields)
        else:
            wire.hashes(**fields, hashes=bytes(merkle.HASH * fields["length"]))

    def serve(address: tuple[str, int]) -> None:
        wire = geventbt.connect(address, info_hash=torrent.info_hash_v2)
        wire.on_hash_request.connect(refuse)
        world.spawn(serve_as, world, wire, torrent)

    download = download_with(world, torrent, liar, serve)
    assert download.banned == {liar.address}
    assert download.progress.wasted == 4 * PIECE


# ------------------------------------------------------------------ both swarms


def test_a_peer_that_was_found_by_the_second_hash_is_connected_to_with_it(world: World):
    torrent = make(world, "hybrid")
    _, second = torrent.swarm_hashes
    asked: list[bytes] = []

    def serve(wire: Wire) -> None:
        asked.append(wire.wait_handshake().info_hash)
        serve_as(world, wire, torrent)

    host, port = world.listen(serve, info_hashes=[second])
    compact = bytes(map(int, host.split("."))) + port.to_bytes(2, "big")
    tracker = FakeHttp({})

    def reply(sock: Any) -> None:
        peers = compact if announced_hash(tracker.requests[-1]) == second else b""
        sock.sendall(bencoded(interval=1800, peers=peers))

    tracker.replies[""] = reply
    download = world.client().add(torrent, world.folder / "out", trackers=[tracker.url("/announce")])
    assert download.wait(20)
    assert asked == [second]
    tracker.close()


def test_a_peer_has_one_connection_whichever_hash_it_asks_for(world: World):
    torrent = make(world, "hybrid")
    address, peer_id = seed_of(world, torrent), geventbt.new_peer_id()
    first, second = [geventbt.connect(address, info_hash=info_hash) for info_hash in torrent.swarm_hashes]
    first.handshake(torrent.swarm_hashes[0], peer_id)
    eventually(lambda: first.peer_extended_handshake)
    second.handshake(torrent.swarm_hashes[1], peer_id)
    eventually(lambda: second.closed)
    assert not first.closed


def test_every_kind_of_source_is_asked_for_both_hashes(world: World):
    with geventbt.DHT(host="127.0.0.1", routers=()) as dht:
        active = world.client(dht=dht).add(make(world, "hybrid"), world.folder / "out")
        eventually(lambda: active.state == "downloading")
        assert {"dht", "dht (version 2)"} <= set(active.sources)


@pytest.mark.parametrize("v2", [True, False])
def test_a_peer_of_version_1_that_knows_both_is_answered_with_the_second_hash(world: World, v2: bool):
    torrent = make(world, "hybrid")
    wire = geventbt.connect(seed_of(world, torrent), info_hash=torrent.info_hash)
    answer = wire.handshake(torrent.info_hash, geventbt.new_peer_id(), v2=v2, info_hash_v2=torrent.info_hash_v2)
    assert answer.info_hash == torrent.swarm_hashes[v2]


# ------------------------------------------------------------------ hashes


def connect(address: tuple[str, int], torrent: Torrent) -> Wire:
    assert torrent.info_hash_v2 is not None
    wire = geventbt.connect(address, info_hash=torrent.info_hash_v2)
    wire.handshake(torrent.info_hash_v2, geventbt.new_peer_id())
    return wire


def ask(wire: Wire, request: HashRequest) -> bytes | None:
    """The hashes, or None for a reject."""
    answers: list[bytes | None] = []
    with gevent.Timeout(10):
        done = gevent.event.Event()

        def take(wire: Wire, hashes: bytes | None = None, **fields: Any) -> None:
            answers.append(None if hashes is None else bytes(hashes))
            done.set()

        wire.once("hashes", take)
        wire.once("hash_reject", take)
        wire.hash_request(**asdict(request))
        done.wait()
    return answers[0]


def root_of_large(torrent: Torrent) -> bytes:
    """The pieces root of the large file."""
    root = next(file.pieces_root for file in torrent.files if file.length == LARGE)
    assert root is not None
    return root


def test_hashes_are_served_with_a_proof(world: World):
    torrent = make(world, "2")
    wire = connect(seed_of(world, torrent), torrent)
    root = root_of_large(torrent)
    whole = ask(wire, HashRequest(root, 1, 0, 8, 0))
    assert whole is not None
    assert whole.startswith(torrent.piece_layers[root])
    part = ask(wire, HashRequest(root, 1, 2, 2, 2))
    assert part is not None
    hashes = merkle.split(part)
    assert merkle.fold(hashes[:2], 2, hashes[2:]) == root


@pytest.mark.parametrize(("piece_length", "length"), [(PIECE, 2), (4 * PIECE, 2), (4 * PIECE, 8), (16384, 4)])
def test_hashes_of_blocks_are_served_with_a_proof(world: World, piece_length: int, length: int):
    torrent = make(world, "2", piece_length)
    wire = connect(seed_of(world, torrent), torrent)
    large = next(file for file in torrent.files if file.length == LARGE)
    assert large.pieces_root is not None
    leaves = merkle.leaves((world.origin / "data" / "large").read_bytes())
    assert wire.peer_choking
    for first in range(0, len(leaves), length):
        answer = ask(wire, HashRequest(large.pieces_root, 0, first, length, 3))
        assert answer is not None
        hashes = merkle.split(answer)
        expected = (leaves[first:] + [merkle.NO_LEAF] * length)[:length]
        assert hashes[:length] == expected
        assert merkle.fold(hashes[:length], first, hashes[length:]) == large.pieces_root


def test_hashes_of_blocks_of_a_file_of_one_piece_are_served(world: World):
    torrent = make(world, "2")
    wire = connect(seed_of(world, torrent), torrent)
    file = next(file for file in torrent.files if file.length == PIECE)
    assert file.pieces_root is not None
    answer = ask(wire, HashRequest(file.pieces_root, 0, 0, 2, 0))
    assert answer == b"".join(merkle.leaves(world.origin.joinpath(*file.path).read_bytes()))


def test_a_flood_of_hash_requests_is_rejected_and_every_one_answered(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "HASHES_RATE", 1)
    torrent = make(world, "2")
    wire = connect(seed_of(world, torrent), torrent)
    root = root_of_large(torrent)
    answers: list[str] = []
    wire.on_hashes.connect(lambda wire, **fields: answers.append("hashes"))
    wire.on_hash_reject.connect(lambda wire, **fields: answers.append("reject"))
    for _ in range(500):
        wire.hash_request(root, 1, 0, 8, 0)
    eventually(lambda: len(answers) == 500)
    assert answers.count("hashes") == 2 * limits.BLOCK // (8 * merkle.HASH)
    assert not wire.closed


def test_a_request_for_more_hashes_than_are_served_is_rejected(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "HASHES_SERVED", 4)
    torrent = make(world, "2")
    wire = connect(seed_of(world, torrent), torrent)
    root = root_of_large(torrent)
    assert ask(wire, HashRequest(root, 1, 0, 4, 0)) is not None
    assert ask(wire, HashRequest(root, 1, 0, 8, 0)) is None


def test_no_more_than_a_rate_is_read_for_the_hashes_of_blocks(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "LEAVES_RATE", 1)
    torrent = make(world, "2")
    wire = connect(seed_of(world, torrent), torrent)
    root = root_of_large(torrent)
    assert ask(wire, HashRequest(root, 0, 0, 2, 3)) is not None
    assert ask(wire, HashRequest(root, 0, 2, 2, 3)) is None
    # Those of the first piece are still known.
    assert ask(wire, HashRequest(root, 0, 0, 2, 3)) is not None


def test_hashes_of_blocks_that_are_not_here_are_rejected(world: World):
    torrent = make(world, "2")
    client = world.client()
    download = client.add(torrent, world.folder / "empty")
    eventually(lambda: download.state == "downloading")
    wire = connect(("127.0.0.1", client.port), torrent)
    root = root_of_large(torrent)
    assert ask(wire, HashRequest(root, 0, 0, 2, 3)) is None
    assert ask(wire, HashRequest(root, 1, 0, 8, 0)) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"pieces_root": b"?" * 32},
        {"base_layer": 0, "length": 4},
        {"base_layer": 0, "index": 16},
        {"base_layer": 0, "index": 1},
        {"base_layer": 0, "proof_layers": 4},
        {"base_layer": 7},
        {"base_layer": 1 << 31},
        {"index": 8},
        {"index": 1},
        {"index": 1 << 31},
        {"length": 0},
        {"length": 3},
        {"length": 1 << 31},
        {"proof_layers": 3},
        {"proof_layers": 1 << 31},
    ],
)
def test_a_request_for_hashes_that_are_not_there_is_rejected(world: World, change: dict[str, Any]):
    torrent = make(world, "2")
    wire = connect(seed_of(world, torrent), torrent)
    root = root_of_large(torrent)
    assert ask(wire, replace(HashRequest(root, 1, 0, 2, 2), **change)) is None
    assert not wire.closed


def lying_seed(world: World, torrent: Torrent, answer: Callable[[Wire, dict[str, Any]], Any]) -> tuple[str, int]:
    """A peer that gives the metadata, and answers requests for hashes as the function does."""

    def handle(wire: Wire) -> None:
        wire.use(lambda wire: geventbt.UtMetadata(wire, torrent.info_bytes))
        wire.on_hash_request.connect(lambda wire, **fields: answer(wire, fields))
        assert torrent.info_hash_v2 is not None
        wire.handshake(torrent.info_hash_v2, geventbt.new_peer_id())
        list(wire.incoming_requests())

    return world.listen(handle)


LIES: dict[str, tuple[Callable[[Wire, dict[str, Any]], Any], type[GeventBTError]]] = {
    "wrong": (lambda wire, asked: wire.hashes(**asked, hashes=bytes(32 * asked["length"])), MetadataMismatch),
    "short": (lambda wire, asked: wire.hashes(**asked, hashes=bytes(32)), MetadataMismatch),
    "long": (lambda wire, asked: wire.hashes(**asked, hashes=bytes(32 * 5000)), MetadataMismatch),
    "none": (lambda wire, asked: wire.hashes(**asked, hashes=b""), MetadataMismatch),
    "unasked": (lambda wire, asked: wire.hashes(**{**asked, "index": 512}, hashes=b""), WireClosed),
    "leaves": (lambda wire, asked: wire.close(0), WireClosed),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_peer_that_lies_about_hashes_is_left_and_another_asked(world: World, lie: str):
    torrent = make(world, "2")
    answer, _ = LIES[lie]
    liar = lying_seed(world, torrent, answer)
    with pytest.raises(GeventBTError):
        geventbt.fetch_metadata(Magnet.from_torrent(torrent), peers=[liar], dht=False, timeout=10)
    good = seed_of(world, torrent)
    found = geventbt.fetch_metadata(Magnet.from_torrent(torrent), peers=[liar, good], dht=False, timeout=20)
    assert found.piece_layers == torrent.piece_layers
    assert found.missing_layers == ()


def test_layers_of_wanted_files_come_first_and_each_is_asked_for_until_it_is_here(world: World):
    torrent = make(world, "2")
    files = {file.path[-1]: file for file in torrent.files}
    chosen = torrent.files.index(files["exact"])
    roots = [files["exact"].pieces_root, files["large"].pieces_root]
    asked: list[list[bytes]] = [[], []]

    def peer(number: int) -> Callable[[Wire, dict[str, Any]], Any]:
        """The first one leaves after it has given one layer."""

        def answer(wire: Wire, fields: dict[str, Any]) -> None:
            asked[number].append(fields["pieces_root"])
            if number == 0 and len(asked[0]) > 1:
                wire.close(0)
            else:
                tree = merkle.Tree(torrent.piece_layers[fields["pieces_root"]], fields["base_layer"])
                wire.hashes(**fields, hashes=b"".join(tree.prove(fields["index"], fields["length"], 0) or ()))

        return answer

    link = replace(Magnet.from_torrent(torrent), select=((chosen, chosen),))
    first = lying_seed(world, torrent, peer(0))
    download = world.client().add(link, world.folder / "out", peers=[first])
    eventually(lambda: len(asked[0]) > 1)
    wire = geventbt.connect(("127.0.0.1", world.clients[-1].port), info_hash=torrent.info_hash_v2)
    second = peer(1)
    wire.use(lambda wire: geventbt.UtMetadata(wire, torrent.info_bytes))
    wire.on_hash_request.connect(lambda wire, **fields: second(wire, fields))
    wire.handshake(torrent.info_hash_v2, geventbt.new_peer_id())
    assert download.wait_metadata(10).missing_layers == ()
    assert asked[0][:2] == roots
    assert asked[1] == roots[1:]


def test_metadata_of_another_torrent_with_the_same_beginning_of_its_hash_is_refused(world: World):
    torrent = make(world, "2")
    assert torrent.info_hash_v2 is not None
    link = Magnet(info_hash_v2=torrent.info_hash_v2[:20] + bytes(12))
    with pytest.raises(GeventBTError, match="not that of"):
        geventbt.fetch_metadata(link, peers=[seed_of(world, torrent)], dht=False, timeout=10)
