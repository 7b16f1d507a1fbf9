"""Files that are read while they are being fetched."""

from __future__ import annotations

import gc
import io
import os
import random
import shutil
import subprocess
import sys
import zipfile
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import ActiveTorrent, DownloadError, NoPeersError, TorrentReader, Wire, limits
from tests.loopback.world import PIECE, Read, World, address, eventually, remains, stay_silent

PIECES = 26

SIZES = {"a": 5 * PIECE + 100, "b": 300, "c": 20 * PIECE + 5, "empty": 0}


@pytest.fixture
def torrent(world: World) -> geventbt.Torrent:
    """26 pieces: a 0-5, b 5, c 5-25, and a file of nothing."""
    return world.torrent(**SIZES)


class Gate:
    """A seed that gives a piece only when it may, and notes the order in which it was asked.

    Attributes:
        asked: the pieces, each once.
        withheld: those that are not given yet.
        unanswered: how many requests it was sent and has not answered.
    """

    def __init__(self, *withheld: int) -> None:
        self.asked: list[int] = []
        self.unanswered = 0
        self.withheld = set(withheld)

    def __call__(self, wire: Wire, read: Read) -> None:
        wire.unchoke()
        for request in wire.incoming_requests():
            if request.piece not in self.asked:
                self.asked.append(request.piece)
            self.unanswered += 1
            gevent.spawn(self._answer, wire, request, read)

    def _answer(self, wire: Wire, request: Any, read: Read) -> None:
        while request.piece in self.withheld and not wire.closed:
            gevent.sleep(0.005)
        self.unanswered -= 1
        if not wire.closed:
            wire.piece(request.piece, request.offset, read(*request))


def whole(world: World, name: str) -> bytes:
    return (world.origin / "data" / name).read_bytes()


# --- as any other file ---


def test_a_file_can_be_read_while_it_is_fetched(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1))
    with job.open("c") as file:
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        assert file.name == "data/c"
        assert file.read() == whole(world, "c")
        assert file.read(10) == b""
        assert file.tell() == SIZES["c"]
    assert file.closed


def test_every_place_can_be_sought_and_read(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1))
    data = whole(world, "c")
    source = random.Random(1)
    with job.open("c") as raw, io.BufferedReader(raw, 5000) as file:
        for _ in range(100):
            at, count = source.randrange(len(data) + 100), source.randrange(3 * PIECE)
            assert file.seek(at) == at
            assert file.read(count) == data[at : at + count]
        assert file.seek(-7, os.SEEK_END) == len(data) - 7
        assert file.read() == data[-7:]
        file.seek(-3, os.SEEK_CUR)
        assert file.read(1) == data[-3:-2]


def test_what_no_file_can_do_a_reader_cannot_either(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1))
    with job.open("a") as file:
        for wrong in ((-1, os.SEEK_SET), (-1, os.SEEK_CUR), (-SIZES["a"] - 1, os.SEEK_END), (0, 7)):
            with pytest.raises(ValueError):
                file.seek(*wrong)
        for refused in (lambda: file.truncate(0), lambda: file.write(b"x"), file.fileno):
            with pytest.raises(io.UnsupportedOperation):
                refused()
        with pytest.raises(TypeError):
            file.seek(1.5)  # type: ignore[arg-type]
        assert file.seek(10**9) == 10**9
        assert file.read(1) == b""
        assert file.readinto(bytearray()) == 0
    for action in (file.read, file.tell, lambda: file.seek(0), lambda: file.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            action()
    file.close()


def test_an_empty_file_ends_at_once_and_needs_no_peer(world: World, torrent):
    job = world.download(torrent, [])
    with job.open("empty") as file:
        assert file.read() == b""
        assert file.seek(0, os.SEEK_END) == 0


def test_a_small_file_inside_a_piece_is_read_exactly(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1))
    with job.open("data/b") as file:
        assert file.read(1000) == whole(world, "b")
        assert file.read(1000) == b""


def test_a_read_gives_all_that_was_asked_for_and_read1_what_one_piece_has(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1))
    with job.open("a") as file:
        assert file.size == SIZES["a"]
        assert file.read(3 * PIECE + 1) == whole(world, "a")[: 3 * PIECE + 1]
        assert file.read1(10 * PIECE) == whole(world, "a")[3 * PIECE + 1 : 4 * PIECE]
        assert file.peek(1)[:1] == whole(world, "a")[4 * PIECE : 4 * PIECE + 1]
        assert file.readline() == (whole(world, "a")[4 * PIECE :].partition(b"\n")[0] + b"\n")
        file.seek(2)
        buffer = bytearray(2 * PIECE)
        assert file.readinto(buffer) == len(buffer)
        assert buffer == whole(world, "a")[2 : 2 + 2 * PIECE]


def test_a_zip_can_be_listed_and_unpacked_from_a_torrent_that_is_downloading(world: World):
    folder = world.origin / "archive"
    folder.mkdir(parents=True)
    content = {f"{number}.bin": random.Random(number).randbytes(60_000) for number in range(20)}
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    torrent = world.made(geventbt.create_torrent(folder, piece_length=PIECE))
    gate = Gate()
    job = world.download(torrent, [world.odd(torrent, gate)], limit_down=400_000)
    with zipfile.ZipFile(job.open("x.zip")) as archive:
        assert archive.namelist() == list(content)
        assert not job.done
        assert archive.read("17.bin") == content["17.bin"]
        job.set_limits()
        assert {name: archive.read(name) for name in archive.namelist()} == content


def test_a_copy_of_it_is_the_file(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 2))
    with job.open(2) as file, open(world.folder / "copy", "wb") as copy:
        shutil.copyfileobj(file, copy)
    assert (world.folder / "copy").read_bytes() == whole(world, "c")


def test_the_file_of_a_magnet_link_is_opened_once_its_metadata_is_there(world: World, torrent):
    (seed,) = world.seeds(torrent, 1)
    link = f"magnet:?xt=urn:btih:{torrent.info_hash.hex()}&x.pe={seed[0]}:{seed[1]}"
    with world.client().add(link, world.folder / "out").open("data/b") as file:
        assert file.read(1000) == whole(world, "b")


def test_a_file_that_is_not_in_the_torrent_is_a_lookup_error(world: World, torrent):
    with pytest.raises(LookupError):
        world.download(torrent, []).open("nothing")


# --- what is fetched for it ---


def test_what_a_reader_needs_comes_before_all_else(world: World, torrent):
    gate = Gate(*range(PIECES))
    job = world.download(torrent, [world.odd(torrent, gate)], sequential=True)
    eventually(lambda: gate.asked)
    begun = len(gate.asked)
    with job.open("c") as file:
        file.seek(15 * PIECE)
        reading = world.spawn(file.read, 10)
        gate.withheld.clear()
        assert reading.get(timeout=10) == whole(world, "c")[15 * PIECE : 15 * PIECE + 10]
        # Piece 5 ends at 167 bytes short of the beginning of c.
        first = (5 * PIECE + 400 + 15 * PIECE) // PIECE
        # Four requests were under way: two pieces. Then it is the reader's turn.
        assert first in gate.asked[: begun + 3]
    assert job.wait(30)


def test_what_a_reader_needs_is_fetched_although_slow_peers_are_there(world: World, torrent):
    """They hold whatever they were asked for first."""

    def slow(wire: Wire, read: Read) -> None:
        wire.unchoke()
        for request in wire.incoming_requests():
            gevent.sleep(0.5)  # the pause is what is tested
            wire.piece(request.piece, request.offset, read(*request))

    job = world.download(torrent, [world.odd(torrent, slow) for _ in range(2)])
    eventually(lambda: len(job.peers) == 2)
    job.add_peers([address(world.seed(torrent, limit_up=3_000_000))])
    with job.open("c") as raw:
        file = io.BufferedReader(raw)
        timer = gevent.Timeout.start_new(20)
        for at in (18, 3, 11):
            file.seek(at * PIECE)
            assert file.read(100) == whole(world, "c")[at * PIECE : at * PIECE + 100]
        timer.close()


def test_reading_a_file_that_is_not_selected_fetches_it_and_only_what_is_read(world: World, no_retries):
    sizes = {"wanted": 2 * PIECE, "film": 100 * PIECE}
    torrent = world.torrent("films", **sizes)
    job = world.download(torrent, world.seeds(torrent, 1), files=["wanted"])
    assert job.wait(30)
    eventually(lambda: not job.peers)
    data = (world.origin / "films" / "film").read_bytes()
    with job.open("film") as file:
        file.seek(50 * PIECE)
        with gevent.Timeout(20):
            assert file.read(100) == data[50 * PIECE : 50 * PIECE + 100]
    assert job.done
    # What was on its way when the reader was closed still comes, and nothing after it.
    remains(lambda: job.pieces.count() <= 2 + limits.FIRST_READAHEAD // PIECE, 0.2)
    assert {path.name for path in (world.folder / "out" / "films").iterdir()} == {"wanted"}


def test_what_was_ahead_of_a_reader_is_not_fetched_once_it_is_closed(world: World, torrent):
    gate = Gate(*range(PIECES))
    job = world.download(torrent, [world.odd(torrent, gate)], files=["b"])
    with job.open("c") as file:
        reading = world.spawn(file.read, 10)
        eventually(lambda: gate.unanswered == limits.FIRST_REQUESTS)
    with pytest.raises(ValueError, match="closed"):
        reading.get(timeout=5)
    begun = set(gate.asked)
    assert len(begun) <= limits.FIRST_REQUESTS
    gate.withheld.clear()
    assert job.wait(10)
    remains(lambda: set(gate.asked) == begun | {5})


def test_reading_an_unselected_file_does_not_complete_the_torrent_again(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1), files=["b"])
    heard: list[str] = []
    job.on("complete", lambda torrent: heard.append("complete"))
    assert job.wait(30)
    with job.open("c") as file:
        assert io.BufferedReader(file).read() == whole(world, "c")
    assert job.done
    eventually(lambda: heard)
    remains(lambda: heard == ["complete"])


def test_a_selection_does_not_take_a_readers_pieces_away(world: World, torrent):
    gate = Gate(*range(PIECES))
    job = world.download(torrent, [world.odd(torrent, gate)], files=["a"])
    with job.open("c") as file:
        file.seek(12 * PIECE)
        reading = world.spawn(file.read, 10)
        eventually(lambda: gate.asked)
        job.select(["b"])
        job.select(["a"])
        gate.withheld.clear()
        assert reading.get(timeout=20) == whole(world, "c")[12 * PIECE : 12 * PIECE + 10]


def test_reading_goes_on_after_a_pause(world: World, torrent):
    gate = Gate(*range(PIECES))
    job = world.download(torrent, [world.odd(torrent, gate)], files=["b"])
    with job.open("c") as file:
        file.seek(12 * PIECE)
        reading = world.spawn(file.read, 10)
        eventually(lambda: gate.asked)
        job.pause()
        gate.withheld.clear()
        assert not reading.ready()
        job.resume()
        assert reading.get(timeout=20) == whole(world, "c")[12 * PIECE : 12 * PIECE + 10]


class Pieces:
    """Pieces of zeros that are there at once; notes what is read ahead."""

    def __init__(self) -> None:
        self.ahead: list[range] = []

    def read(self, piece: int, offset: int, length: int, *, gives_up: Any) -> bytes:
        return bytes(length)

    def read_ahead(self, reader: Any, pieces: range, rate: float = 0.0) -> None:
        self.ahead.append(pieces)


def test_the_readahead_grows_as_long_as_one_reads_on(world: World):
    torrent = world.torrent("film", film=400 * PIECE)
    pieces = Pieces()
    ahead = pieces.ahead
    with TorrentReader(pieces, torrent.geometry, torrent.files[0]) as file:
        for _ in range(4):
            file.read(PIECE)
        file.seek(200 * PIECE)
        file.read(PIECE)
        file.read(PIECE)
        for _ in range(20):
            file.read(PIECE)
    first = limits.FIRST_READAHEAD // PIECE
    assert [len(pieces) for pieces in ahead[:3]] == [first, 2 * first, 4 * first]
    assert ahead[4] == range(200, 200 + first)
    assert len(ahead[5]) == 2 * first
    assert max(map(len, ahead)) <= limits.MAX_READAHEAD // PIECE
    assert ahead[-1] == range(0)


# --- several at once, and the end ---


def test_several_read_at_once_each_its_own(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 2))
    names = ["a", "b", "c", "c", "c"]

    def copy(name: str) -> bytes:
        with job.open(name) as file:
            return io.BufferedReader(file).read()

    copies = [world.spawn(copy, name) for name in names]
    assert [greenlet.get(timeout=30) for greenlet in copies] == [whole(world, name) for name in names]


def test_one_that_is_closed_takes_nothing_from_another_at_the_same_place(world: World, torrent):
    gate = Gate(*range(PIECES))
    job = world.download(torrent, [world.odd(torrent, gate)], files=["a"])
    one, other = job.open("c"), job.open("c")
    reading = [world.spawn(file.read, 10) for file in (one, other)]
    eventually(lambda: gate.asked)
    one.close()
    gate.withheld.clear()
    assert reading[1].get(timeout=20) == whole(world, "c")[:10]
    with pytest.raises(ValueError, match="closed"):
        reading[0].get(timeout=5)
    other.close()


def test_closing_a_file_ends_a_read_that_waits(world: World, torrent):
    job = world.download(torrent, [world.odd(torrent, stay_silent)])
    file = job.open("c")
    reading = world.spawn(file.read, 10)
    eventually(lambda: job.peers)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        reading.get(timeout=5)
    assert not job.done


def test_a_reader_that_is_killed_or_times_out_can_go_on(world: World, torrent):
    gate = Gate(*range(PIECES))
    job = world.download(torrent, [world.odd(torrent, gate)])
    with job.open("c") as file:
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.2):
            file.read(10)
        reading = world.spawn(file.read, 10)
        gevent.sleep(0.05)
        reading.kill()
        gate.withheld.clear()
        assert file.read(10) == whole(world, "c")[:10]


def test_a_reader_that_is_forgotten_wants_nothing_more(world: World, torrent):
    gate = Gate(*range(6, PIECES))
    job = world.download(torrent, [world.odd(torrent, gate)], files=["b"])
    file = job.open("c")
    assert file.read(10) == whole(world, "c")[:10]
    del file
    gc.collect()
    # Requests may still be on their way.
    eventually(lambda: gate.unanswered == sum(peer.requests for peer in job.peers))
    begun = set(gate.asked)
    assert len(begun) < PIECES
    gate.withheld.clear()
    eventually(lambda: not any(peer.requests for peer in job.peers))
    remains(lambda: set(gate.asked) == begun)


@pytest.mark.parametrize("end", ["remove", "close"])
def test_a_reader_of_a_torrent_that_is_removed_gets_its_error(world: World, torrent, end):
    client = world.client()
    job = world.download(torrent, [world.odd(torrent, stay_silent)], client=client)
    file = job.open("c")
    reading = world.spawn(file.read, 10)
    eventually(lambda: job.peers)
    (job.remove if end == "remove" else client.close)()
    with pytest.raises(DownloadError, match="removed"):
        reading.get(timeout=5)
    with pytest.raises(DownloadError, match="removed"):
        file.read(10)
    file.close()


def test_a_file_of_a_removed_torrent_cannot_be_read_even_if_it_was_complete(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1))
    assert job.wait(30)
    file = job.open("c")
    job.remove()
    with pytest.raises(DownloadError, match="removed"):
        file.read(10)
    with pytest.raises(DownloadError, match="removed"):
        job.open("c")


def test_a_reader_of_a_torrent_that_fails_gets_its_error(world: World, torrent):
    def leave(wire: Wire, read: Read) -> None:
        wire.unchoke()
        next(iter(wire.incoming_requests()))

    job = world.download(torrent, [world.odd(torrent, leave)], fail_without_peers=True)
    with pytest.raises(NoPeersError), job.open("c") as file:
        file.read()


def test_a_reader_of_an_unselected_file_is_told_when_no_peer_is_left(world: World, torrent):
    seed = world.seed(torrent)
    job = world.download(torrent, [address(seed)], fail_without_peers=True, files=["b"])
    assert job.wait(30)
    seed.close(1)
    with pytest.raises(NoPeersError), gevent.Timeout(20), job.open("c") as file:
        file.read()


def test_no_byte_that_was_not_verified_is_read(world: World, torrent):
    def lie(wire: Wire, read: Read) -> None:
        wire.unchoke()
        wire.serve(lambda piece, offset, length: bytes(length))

    job = world.download(torrent, [world.odd(torrent, lie) for _ in range(2)])
    with job.open("c") as file:
        reading = world.spawn(io.BufferedReader(file).read)
        eventually(lambda: job.banned)
        job.add_peers(world.seeds(torrent, 1))
        assert reading.get(timeout=30) == whole(world, "c")


def test_a_file_can_be_read_by_many_greenlets_with_files_of_their_own_and_nothing_is_left(world: World, torrent):
    job: ActiveTorrent = world.download(torrent, world.seeds(torrent, 1))

    def look(at: int) -> bytes:
        with job.open("c") as file:
            file.seek(at)
            return file.read(1)

    places = range(0, SIZES["c"], SIZES["c"] // 50)
    looks = [world.spawn(look, at) for at in places]
    data = whole(world, "c")
    assert [greenlet.get(timeout=30) for greenlet in looks] == [data[at : at + 1] for at in places]


def test_a_program_may_end_with_a_reader_open(world: World, torrent, tmp_path):
    path = tmp_path / "a.torrent"
    path.write_bytes(torrent.to_bytes())
    code = """
import sys, geventbt
client = geventbt.Client(None, dht=False, lsd=False, port_mapping=False)
torrent = client.add(sys.argv[1], sys.argv[2])
file = torrent.open(0)
file.read(1)
"""
    command = [sys.executable, "-X", "dev", "-c", code, path, world.origin]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
