"""A magnet link that names URLs of its .torrent file (xs, as), and no peer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import geventbt
from geventbt import Magnet, limits
from tests.loopback.harness import eventually
from tests.loopback.http_server import HTTPServer, answer


@pytest.fixture
def torrent(tmp_path: Path) -> geventbt.Torrent:
    (tmp_path / "data").write_bytes(os.urandom(50_000))
    return geventbt.create_torrent(tmp_path / "data", piece_length=16384)


@pytest.fixture
def other(tmp_path: Path) -> geventbt.Torrent:
    (tmp_path / "other").write_bytes(b"other")
    return geventbt.create_torrent(tmp_path / "other")


@pytest.fixture
def serving() -> Iterator[Callable[..., HTTPServer]]:
    """Makes HTTP servers, and stops them."""
    servers: list[HTTPServer] = []

    def make(reply: Any) -> HTTPServer:
        servers.append(HTTPServer(reply))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def link(torrent: geventbt.Torrent, *urls: str) -> Magnet:
    return replace(Magnet.from_torrent(torrent), sources=urls, web_seeds=("http://127.0.0.1:1/",))


def busy(sock: Any, head: str) -> None:
    sock.sendall(answer(b"", status="503 Busy"))


def test_the_metadata_comes_from_the_first_url_that_has_the_torrent(torrent, other, serving):
    torrent = replace(torrent, trackers=(("http://a/",), ("http://b/",)), web_seeds=("http://127.0.0.1:2/",))
    servers = [serving(reply) for reply in (busy, other.to_bytes(), b"<html>", torrent.to_bytes(), b"not asked")]
    magnet = link(replace(torrent, trackers=(("http://a/",),)), *(server.url("/x.torrent") for server in servers))
    fetched = geventbt.fetch_metadata(magnet, dht=False, timeout=20)
    assert fetched.info_bytes == torrent.info_bytes
    assert fetched.web_seeds == (*magnet.web_seeds, "http://127.0.0.1:2/")
    assert fetched.trackers == (("http://a/",), ("http://b/",))
    assert [len(server.requests) for server in servers] == [1, 1, 1, 1, 0]


def test_a_client_takes_it_too(torrent, serving, tmp_path):
    server = serving(torrent.to_bytes())
    with geventbt.Client(None, dht=False) as client:
        job = client.add(link(torrent, server.url("/")), tmp_path / "out")
        assert job.wait_metadata(timeout=20).info_hash == torrent.info_hash


def test_another_torrent_is_never_taken(torrent, other, serving):
    magnet = link(torrent, serving(other.to_bytes()).url("/"))
    with pytest.raises(geventbt.NoPeersError, match="no peer gave the metadata: it is another torrent"):
        geventbt.fetch_metadata(magnet, dht=False, timeout=20)


def test_a_torrent_of_version_2_comes_with_the_hashes_of_its_pieces(serving, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(100_000))
    torrent = geventbt.create_torrent(tmp_path / "large", version="2", piece_length=16384)
    fetched = geventbt.fetch_metadata(link(torrent, serving(torrent.to_bytes()).url("/")), dht=False, timeout=20)
    assert fetched.info_hash_v2 == torrent.info_hash_v2
    assert fetched.piece_layers == torrent.piece_layers


def test_a_torrent_must_have_every_hash_of_the_link(torrent, serving):
    magnet = replace(link(torrent, serving(torrent.to_bytes()).url("/")), info_hash_v2=bytes(32))
    with pytest.raises(geventbt.NoPeersError, match="another torrent"):
        geventbt.fetch_metadata(magnet, dht=False, timeout=20)


def test_a_url_of_this_machine_is_not_asked_with_a_query(torrent, serving):
    server = serving(torrent.to_bytes())
    with pytest.raises(geventbt.NoPeersError, match="a URL with a query"):
        geventbt.fetch_metadata(link(torrent, server.url("/?shutdown")), dht=False, timeout=20)
    assert not server.requests


def test_a_server_that_fails_is_asked_again(torrent, serving, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "METADATA_URL_RETRY", 0.05)
    server = serving(busy)
    with geventbt.Client(None, dht=False) as client:
        job = client.add(link(torrent, server.url("/")), tmp_path / "out")
        eventually(lambda: len(server.requests) >= 2)
        server.reply = torrent.to_bytes()
        assert job.wait_metadata(timeout=20).info_hash == torrent.info_hash


def test_a_torrent_that_is_paused_asks_again_when_it_goes_on(torrent, serving, tmp_path):
    server = serving(lambda sock, head: None)
    with geventbt.Client(None, dht=False) as client:
        job = client.add(link(torrent, server.url("/")), tmp_path / "out")
        eventually(lambda: server.requests)
        job.pause()
        server.reply = torrent.to_bytes()
        job.resume()
        assert job.wait_metadata(timeout=20).info_hash == torrent.info_hash
