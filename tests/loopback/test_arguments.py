"""What users pass in place of what is meant, and what they are told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import geventbt
from tests.free_port import free_port
from tests.loopback.world import World, address


@pytest.fixture
def torrent(world: World) -> geventbt.Torrent:
    return world.torrent()


@pytest.mark.parametrize(
    "arguments", [{"files": "a"}, {"trackers": "http://127.0.0.1:1/announce"}, {"web_seeds": "http://127.0.0.1:1/"}]
)
def test_one_text_in_place_of_several_is_refused(world: World, torrent: geventbt.Torrent, arguments: dict[str, Any]):
    ((name, value),) = arguments.items()
    with pytest.raises(TypeError, match=rf"^{name}='{value}': several are expected, such as \['{value}'\]$"):
        world.download(torrent, [], **arguments)


@pytest.mark.parametrize("name", ["trackers", "web_seeds"])
def test_one_url_in_place_of_several_makes_no_torrent(world: World, torrent: geventbt.Torrent, name: str):
    url: Any = "http://127.0.0.1:1/"
    with pytest.raises(TypeError, match=f"{name}="):
        geventbt.create_torrent(world.origin / "data", **{name: url})


def test_one_file_in_place_of_several_is_not_selected(world: World, torrent: geventbt.Torrent):
    job = world.download(torrent, [])
    with pytest.raises(TypeError, match="files='a'"):
        job.select("a")


def test_one_info_hash_in_place_of_several_is_refused(torrent: geventbt.Torrent):
    for one in (torrent.swarm_hash, torrent.swarm_hash.hex()):
        with pytest.raises(TypeError, match="info_hashes="):
            geventbt.listen(("127.0.0.1", 0), info_hashes=one)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="info_hashes="):
            geventbt.scrape("http://127.0.0.1:1/announce", one)  # type: ignore[arg-type]


def test_what_is_not_an_info_hash_is_said_to_the_server_and_not_to_its_peers():
    with pytest.raises(ValueError, match="not 3 bytes"):
        geventbt.listen(("127.0.0.1", 0), info_hashes=[b"abc"])


def test_one_address_in_place_of_several_is_refused(world: World, torrent: geventbt.Torrent):
    peers: Any = "127.0.0.1:1"
    with pytest.raises(TypeError, match=r"peers='127\.0\.0\.1:1'"):
        world.download(torrent, peers)


def test_an_info_hash_is_enough(world: World, torrent: geventbt.Torrent):
    job = world.client(port=None).add(torrent.info_hash.hex(), world.folder / "out", peers=world.seeds(torrent, 1))
    assert job.wait(20)
    world.assert_complete(torrent)
    fetched = geventbt.fetch_metadata(torrent.info_hash.hex(), peers=[address(world.seed(torrent))], dht=False)
    assert fetched.info_bytes == torrent.info_bytes


def test_a_file_whose_name_is_an_info_hash_is_read(
    world: World, torrent: geventbt.Torrent, tmp_path: Path, monkeypatch
):
    name = "ab" * 20
    (tmp_path / name).write_bytes(torrent.to_bytes())
    monkeypatch.chdir(tmp_path)
    assert world.client(port=None).add(name).info_hash == torrent.info_hash


def test_a_url_is_refused_with_what_to_do(world: World):
    with pytest.raises(geventbt.MetainfoError, match=r"^http://example\.org/a\.torrent: .*Torrent\.from_bytes$"):
        world.client(port=None).add("http://me:secret@example.org/a.torrent")


def test_the_file_that_is_not_a_torrent_is_named(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(geventbt.MetainfoError, match=r"notes\.txt: not a torrent file"):
        geventbt.Torrent.from_file(tmp_path / "notes.txt")


def test_a_number_is_not_taken_for_an_open_file(tmp_path: Path):
    descriptor: Any = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(TypeError):
        geventbt.Torrent.from_file(descriptor)
    os.close(descriptor)  # It is still open.


def test_what_cannot_be_connected_to_or_listened_on_is_named():
    port = free_port()
    with pytest.raises(ConnectionRefusedError, match=f"cannot connect to 127.0.0.1:{port}: "):
        geventbt.connect(("127.0.0.1", port))
    with (
        geventbt.listen(("127.0.0.1", 0)) as server,
        pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.server_port}: "),
    ):
        geventbt.listen(("127.0.0.1", server.server_port))


def test_a_misspelt_name_carries_what_suggestions_are_made_from():
    with pytest.raises(AttributeError) as caught:
        geventbt.conect  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("conect", geventbt)
