"""Pieces that are read as they are verified."""

from __future__ import annotations

import gevent
import pytest

import geventbt
from geventbt import DownloadError
from tests.loopback.world import PIECE, World, address, eventually, stay_silent


@pytest.fixture
def torrent(world: World) -> geventbt.Torrent:
    return world.torrent(a=5 * PIECE + 100, b=3 * PIECE)


def piece_of(world: World, torrent: geventbt.Torrent, index: int) -> bytes:
    return world.data(torrent)[index * PIECE : (index + 1) * PIECE]


def test_a_piece_is_read_once_it_is_verified(world: World, torrent):
    job = world.download(torrent, [])
    reading = world.spawn(job.read_piece, 8)
    eventually(lambda: job.state == "downloading")
    assert not reading.ready()
    job.add_peers(world.seeds(torrent, 1))
    assert reading.get(timeout=20) == piece_of(world, torrent, 8)


def test_a_piece_that_is_not_wanted_is_fetched_when_it_is_read(world: World, torrent):
    seed = world.seed(torrent)
    job = world.download(torrent, [address(seed)], files=["a"])
    with gevent.Timeout(20):
        assert job.read_piece(7) == piece_of(world, torrent, 7)


@pytest.mark.parametrize("index", [-1, 9])
def test_there_is_no_piece_outside_the_torrent(world: World, torrent, index):
    with pytest.raises(IndexError, match="the torrent has 9"):
        world.download(torrent, []).read_piece(index)


def test_all_pieces_come_once_in_the_order_in_which_they_are_verified(world: World, torrent):
    job = world.download(torrent, [])
    order: list[int] = []
    job.on("piece_verified", lambda torrent, index: order.append(index))
    iterating = world.spawn(lambda: list(job.iter_pieces()))
    job.add_peers(world.seeds(torrent, 1))
    pieces = iterating.get(timeout=20)
    assert job.wait(10)
    assert [index for index, _ in pieces] == order
    assert sorted(order) == list(range(9))
    assert all(data == piece_of(world, torrent, index) for index, data in pieces)


def test_pieces_that_are_there_come_first(world: World, torrent):
    job = world.download(torrent, world.seeds(torrent, 1), files=["a"])
    assert job.wait(20)
    assert [index for index, _ in job.iter_pieces()] != []
    iterator = job.iter_pieces()
    assert {next(iterator)[0] for _ in range(6)} == set(range(6))
    job.set_priorities({1: 4})
    with gevent.Timeout(20):
        assert {index for index, _ in iterator} == {6, 7, 8}


def test_iterating_ends_with_the_error_of_the_torrent(world: World, torrent):
    job = world.download(torrent, [world.odd(torrent, stay_silent)])
    iterating = world.spawn(lambda: list(job.iter_pieces()))
    eventually(lambda: job.peers)
    job.remove()
    with pytest.raises(DownloadError, match="removed"):
        iterating.get(timeout=10)
