"""Which files are fetched, in which order, and how fast."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import ActiveTorrent, Wire, limits
from tests.loopback.world import PIECE, Read, World, address, eventually, hear, serve_well

SIZES = {"a": 10 * PIECE + 7, "b": 100, "c": 10 * PIECE, "d": 10 * PIECE}


@pytest.fixture
def torrent(world: World) -> geventbt.Torrent:
    """31 pieces: a 0-10, b 10, c 10-20, d 20-30."""
    return world.torrent(**SIZES)


class Recorder:
    """A seed that notes what it is asked for, and gives it when it may.

    Attributes:
        asked: the pieces, in the order of the requests.
        gate: nothing is given while it is closed.
    """

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.gate = gevent.event.Event()
        self.gate.set()

    def __call__(self, wire: Wire, read: Read) -> None:
        wire.unchoke()

        def answer(piece: int, offset: int, length: int) -> bytes:
            self.asked.append(piece)
            self.gate.wait()
            return read(piece, offset, length)

        wire.serve(answer)

    @property
    def order(self) -> list[int]:
        """The pieces in the order in which they were first asked for."""
        return list(dict.fromkeys(self.asked))


def names_in(world: World, folder: str = "out") -> set[str]:
    """The files that are there."""
    return {path.name for path in (world.folder / folder / "data").glob("*")}


def whole(job: ActiveTorrent) -> set[str]:
    """The files that are complete."""
    return {file.name.removeprefix("data/") for file in job.files if file.complete}


# --- which files ---


def test_only_what_is_selected_is_fetched_and_made(world: World, torrent):
    recorder = Recorder()
    job = world.download(torrent, [world.odd(torrent, recorder)], files=["b", 3])
    assert job.wait(30)
    assert names_in(world) == {"b", "d"}
    assert set(recorder.asked) == {10, *range(20, 31)}
    assert whole(job) == {"b", "d"}
    assert (world.folder / "out/data/d").read_bytes() == (world.origin / "data/d").read_bytes()


def test_nothing_selected_is_done_at_once(world: World, torrent):
    job = world.download(torrent, [], files=[])
    heard = hear(job, "complete")
    assert job.wait(10)
    eventually(lambda: heard)
    assert not names_in(world)


def test_a_selection_can_be_changed_while_it_runs(world: World, torrent):
    recorder = Recorder()
    recorder.gate.clear()
    job = world.download(torrent, [world.odd(torrent, recorder)], files=["a"])
    eventually(lambda: recorder.asked)
    job.select(["c"])
    recorder.gate.set()
    assert job.wait(30)
    assert "c" in whole(job)
    assert names_in(world) >= {"c"}
    assert "d" not in names_in(world)


def test_more_can_be_selected_after_it_is_complete_and_it_completes_again(world: World, torrent, no_retries):
    job = world.download(torrent, world.seeds(torrent, 2), files=["a"])
    heard = hear(job, "complete")
    assert job.wait(30)
    eventually(lambda: not job.peers)
    job.select(["a", "c"])
    assert job.state == "downloading"
    assert not job.done
    assert job.wait(20)
    assert whole(job) >= {"a", "c"}
    eventually(lambda: len(heard) == 2)
    job.select(range(4))
    assert job.wait(20)
    world.assert_complete(torrent)
    eventually(lambda: len(heard) == 3)


def test_deselecting_what_is_missing_completes_it(world: World, torrent):
    recorder = Recorder()
    job = world.download(torrent, [], files=["a", "d"])
    heard = hear(job, "complete")
    assert job.wait(0.1) is False
    job.add_peers([world.odd(torrent, recorder)])
    eventually(lambda: "a" in whole(job) or "d" in whole(job))
    job.select(whole(job))
    assert job.wait(10)
    eventually(lambda: len(heard) == 1)


def test_a_selection_that_goes_back_and_forth_ends_as_the_last_one(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1), limit_down=400_000)
    eventually(lambda: job.files)
    for _ in range(5):
        for selection in (["a"], ["b", "c"], [], ["d"], ["a", "d"]):
            job.select(selection)
            gevent.sleep(0.01)
    job.set_limits()
    assert job.wait(30)
    assert whole(job) >= {"a", "d"}
    assert {file.name for file in job.files if file.priority} == {"data/a", "data/d"}
    for name in ("a", "d"):
        assert (world.folder / "out/data" / name).read_bytes() == (world.origin / "data" / name).read_bytes()


def test_selections_from_several_greenlets_end_in_one_of_them(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1))
    selections = [["a"], ["c"], ["d"], ["b"]]
    turns = [world.spawn(job.select, selection) for selection in selections * 5]
    gevent.joinall(turns, timeout=20)
    assert all(turn.successful() for turn in turns)
    assert job.wait(30)
    chosen = {file.name.removeprefix("data/") for file in job.files if file.priority}
    assert len(chosen) == 1
    assert chosen <= whole(job)
    assert chosen <= names_in(world)


def test_what_was_fetched_of_an_unselected_file_is_used_when_it_is_selected(world: World, torrent):
    """Piece 10 has the end of a, all of b and the beginning of c."""
    job = world.download(torrent, world.seeds(torrent, 1), files=["b"])
    assert job.wait(30)
    assert names_in(world) == {"b"}
    downloaded = job.progress.downloaded
    job.select(["a", "b"])
    assert job.wait(10)
    assert job.progress.downloaded == downloaded + 10 * PIECE
    assert (world.folder / "out/data/a").read_bytes() == (world.origin / "data/a").read_bytes()


def test_a_wrong_selection_changes_nothing(world: World, torrent):
    job = world.download(torrent, [], files=["a"])
    with pytest.raises(LookupError):
        job.select(["b", "nothing"])
    with pytest.raises(ValueError):
        job.set_priorities({"a": 0, "c": 9})
    assert [file.priority for file in job.files] == [4, 0, 0, 0]


def test_a_selection_survives_a_pause(world: World, torrent, monkeypatch):
    monkeypatch.setattr(limits, "FIRST_RETRY", 0.1)
    job = world.download(torrent, world.seeds(torrent, 1), files=["a"])
    assert job.wait(30)
    job.pause()
    job.select(["d"])
    assert job.wait(0.2) is False
    job.resume()
    assert job.wait(10)
    assert names_in(world) == {"a", "d"}


# --- in which order ---


def test_files_of_higher_priority_come_first(world: World, torrent):
    recorder = Recorder()
    job = world.download(torrent, [])
    job.set_priorities({"a": 1, "b": 1, "c": 4, "d": 7})
    job.add_peers([world.odd(torrent, recorder)])
    assert job.wait(30)
    order = recorder.order
    assert set(order[:11]) == set(range(20, 31))
    assert set(order[11:21]) == set(range(10, 20))


def test_priorities_can_be_changed_while_it_runs(world: World, torrent):
    recorder = Recorder()
    recorder.gate.clear()
    job = world.download(torrent, [world.odd(torrent, recorder)])
    eventually(lambda: recorder.asked)
    job.set_priorities({"d": 7})
    recorder.gate.set()
    assert job.wait(30)
    # What had been asked for by then is four blocks at the most.
    last_of_d = max(place for place, piece in enumerate(recorder.order) if piece >= 20)
    assert last_of_d <= 11 + 4


def test_sequential_means_in_order(world: World, torrent):
    recorder = Recorder()
    job = world.download(torrent, [world.odd(torrent, recorder)], sequential=True)
    assert job.sequential
    assert job.wait(30)
    assert recorder.order == list(range(31))


def test_sequential_can_be_switched_on_while_it_runs(world: World, torrent):
    recorder = Recorder()
    job = world.download(torrent, [world.odd(torrent, recorder)], limit_down=300_000)
    eventually(lambda: len(recorder.order) > 3)
    job.sequential = True
    begun = len(recorder.order) + 1
    job.set_limits()
    assert job.wait(30)
    assert recorder.order[begun:] == sorted(recorder.order[begun:])


# --- how fast ---


@pytest.fixture
def small_burst(monkeypatch: pytest.MonkeyPatch) -> int:
    """A rate limit takes effect at once. Bytes by which a transfer may be ahead of it, those of a queue included."""
    monkeypatch.setattr(limits, "RATE_BURST", 0.0)
    return 4 * limits.BLOCK


@pytest.mark.parametrize("whose", ["client", "torrent", "seed"])
def test_a_rate_limit_slows_down_and_its_removal_speeds_up(world: World, torrent, whose):
    """Half a megabyte takes more than half a second at 900 kB/s, but for the first burst."""
    options: dict[str, Any] = {"client": {"limit_down": 900_000}}.get(whose, {})
    client = world.client(**options)
    seed = world.seed(torrent, **({"limit_up": 900_000} if whose == "seed" else {}))
    started = time.monotonic()
    own = {"limit_down": 900_000} if whose == "torrent" else {}
    job = world.download(torrent, [address(seed)], client=client, **own)
    eventually(lambda: job.progress.downloaded > 500_000)
    half = time.monotonic() - started
    assert half > 0.5 - limits.RATE_BURST
    {"client": client, "torrent": job, "seed": seed}[whose].set_limits()
    assert job.wait(20)
    world.assert_complete(torrent)


def test_torrents_of_one_client_share_its_limit(world: World, small_burst):
    torrents = [world.torrent(name) for name in ("one", "two")]
    client = world.client(limit_down=500_000)
    peers = [world.seeds(torrent, 1) for torrent in torrents]
    started = time.monotonic()
    jobs = [world.download(torrent, there, client=client) for torrent, there in zip(torrents, peers, strict=True)]
    eventually(lambda: sum(job.progress.downloaded for job in jobs) > 400_000)
    downloaded = [job.progress.downloaded for job in jobs]
    passed = time.monotonic() - started
    assert sum(downloaded) <= 500_000 * passed + small_burst
    assert min(downloaded) > max(downloaded) / 20
    client.set_limits()
    assert all(job.wait(30) for job in jobs)


def test_one_slow_torrent_does_not_use_up_the_limit_of_another(world: World):
    """What a torrent may not take for its own limit is left in that of the client."""
    torrents = [world.torrent(name) for name in ("one", "two")]
    client = world.client(limit_down=2_000_000)
    slow = world.download(torrents[0], world.seeds(torrents[0], 1), client=client, limit_down=40_000)
    fast = world.download(torrents[1], world.seeds(torrents[1], 1), client=client)
    assert fast.wait(20)
    assert not slow.done


def test_uploads_of_a_torrent_keep_its_limit(world: World, torrent, small_burst):
    seed = world.client()
    assert seed.add(torrent, world.origin, limit_up=400_000).wait(10)
    jobs = [world.download(torrent, [address(seed)], folder=f"out{number}") for number in range(3)]
    eventually(lambda: seed.torrents[torrent.info_hash].progress.uploaded > 0)
    of_seed = seed.torrents[torrent.info_hash]
    started, before = time.monotonic(), of_seed.progress.uploaded
    eventually(lambda: of_seed.progress.uploaded > before + 300_000)
    uploaded = of_seed.progress.uploaded - before
    assert uploaded <= 400_000 * (time.monotonic() - started) + small_burst
    of_seed.set_limits()
    assert all(job.wait(30) for job in jobs)


# --- what a change must not do ---


def test_priorities_set_on_a_removed_torrent_say_what_is_wrong(world: World, torrent):
    client = world.client()
    job = world.download(torrent, [], client=client)
    eventually(lambda: job.files)
    job.remove()
    with pytest.raises(geventbt.DownloadError):
        job.select(["a"])


def test_leechers_get_from_each_other_what_one_alone_has_selected(world: World, torrent):
    one, other = world.client(), world.client()
    seeds = world.seeds(torrent, 1)
    first = world.download(torrent, seeds, folder="one", client=one, files=["a"])
    assert first.wait(30)
    second = world.download(torrent, [address(one)], folder="two", client=other, files=["a"])
    assert second.wait(30)
    assert (world.folder / "two/data/a").read_bytes() == (world.origin / "data/a").read_bytes()


def test_a_seed_serves_well_enough_for_the_tests_here(world: World, torrent):
    """The peer that other tests rely on: a whole download from it alone."""
    job = world.download(torrent, [world.odd(torrent, serve_well)])
    assert job.wait(30)
    world.assert_complete(torrent)


def test_the_next_run_makes_the_files_that_it_wants_even_if_nothing_is_to_be_fetched(world: World):
    torrent = world.torrent(a=PIECE + 100, b=13, c=0, d=PIECE)
    peers = world.seeds(torrent, 1)
    geventbt.download(torrent, world.folder / "out", peers=peers, files=["a", "d"])
    assert names_in(world) == {"a", "d"}
    geventbt.download(torrent, world.folder / "out")
    world.assert_complete(torrent)


def test_an_empty_file_is_made_when_it_is_selected(world: World):
    torrent = world.torrent(a=PIECE, b=0, c=0)
    job = world.download(torrent, world.seeds(torrent, 1), files=["a"])
    assert job.wait(30)
    assert names_in(world) == {"a"}
    job.select(["a", "b"])
    assert job.wait(30)
    assert names_in(world) == {"a", "b"}


def test_a_selection_that_fails_changes_nothing(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1), files=["a"])
    assert job.wait(30)
    (world.folder / "out/data/c").write_bytes(b"mine")
    with pytest.raises(geventbt.StorageError, match="another file was put there"):
        job.select(["a", "b", "c", "d"])
    assert [file.priority > 0 for file in job.files] == [True, False, False, False]
    assert job.wait(30)
    assert (world.folder / "out/data/c").read_bytes() == b"mine"
    # At the next start it is refused again, unless it may be overwritten.
    job.remove()
    geventbt.download(torrent, world.folder / "out", peers=world.seeds(torrent, 1), overwrite=True)
    world.assert_complete(torrent)


def test_a_selection_whose_caller_is_killed_is_made_all_the_same(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1), files=["a"])
    assert job.wait(30)
    selecting = world.spawn(job.select, ["a", "d"])
    gevent.sleep(0)
    selecting.kill()
    eventually(lambda: whole(job) >= {"a", "d"})
    assert job.wait(30)
    assert job.progress.fraction == 1.0


def test_a_selection_that_finds_its_data_gone_fails_the_torrent(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1), files=["a"])
    assert job.wait(30)
    for path in (world.folder / "out/.geventbt").glob("*.parts"):
        path.unlink()
    with pytest.raises(geventbt.StorageError):
        job.select(["a", "b"])
    with pytest.raises(geventbt.StorageError):
        job.wait(30)
