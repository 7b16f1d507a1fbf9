"""Files of torrents over HTTP, while they are fetched."""

from __future__ import annotations

from typing import Any

import pytest
from gevent import socket

import geventbt
from geventbt import limits
from geventbt.web import Guard, Streams, make_app, respond
from geventbt.web.streaming import mounted, stream_path
from tests.loopback.harness import eventually, remains
from tests.loopback.web.conftest import MakeServer, Visitor
from tests.loopback.world import PIECE, OddWire, Read, World, stay_silent

pytestmark = pytest.mark.usefixtures("nothing_logged")


def torrent_of(world: World, files: dict[str, Any]) -> geventbt.Torrent:
    """A torrent of files of these sizes."""
    return world.torrent(**files)


class Stage:
    """A client with one torrent, and a visitor of its streams."""

    def __init__(self, world: World, serving_http: MakeServer, torrent: geventbt.Torrent, peers: Any) -> None:
        self.torrent = torrent
        self.data = world.data(torrent)
        self.client = world.client(port=None)
        self.active = world.download(torrent, peers, client=self.client)
        self.streams = Streams(self.client)
        self.visitor = Visitor(serving_http(Guard(mounted(self.streams, "/stream"))))

    def path(self, index: int, name: str = "x") -> str:
        return f"/stream/{stream_path(self.torrent.swarm_hash, index, name)}"

    def content(self, index: int) -> bytes:
        file = self.torrent.files[index]
        return self.data[file.offset : file.offset + file.length]


@pytest.fixture
def stage(world: World, serving_http: MakeServer) -> Stage:
    torrent = torrent_of(world, {"a.mp4": 400_001, "b.html": 13, "c.bin": 600_000})
    return Stage(world, serving_http, torrent, world.seeds(torrent, 1))


def test_a_file_is_streamed_while_it_is_fetched(stage: Stage) -> None:
    reply = stage.visitor.ask(stage.path(0, "a.mp4"))
    assert (reply.code, reply.body) == (200, stage.content(0))
    assert reply.headers["Content-Type"] == "video/mp4"
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["Content-Length"] == "400001"
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert stage.streams.counters.ended["complete"] == 1


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=300000-", 300_000, 400_001), ("bytes=-5", 399_996, 400_001)],
)
def test_a_range_is_streamed(stage: Stage, header: str, start: int, stop: int) -> None:
    reply = stage.visitor.ask(stage.path(0), Range=header)
    assert (reply.code, reply.body) == (206, stage.content(0)[start:stop])
    assert reply.headers["Content-Range"] == f"bytes {start}-{stop - 1}/400001"
    assert reply.headers["Content-Length"] == str(stop - start)


def test_a_range_behind_the_end_is_told_the_length(stage: Stage) -> None:
    reply = stage.visitor.ask(stage.path(0), Range="bytes=400001-")
    assert (reply.code, reply.body) == (416, b"")
    assert reply.headers["Content-Range"] == "bytes */400001"


def test_head_tells_all_but_sends_nothing(stage: Stage) -> None:
    reply = stage.visitor.ask(stage.path(0), "HEAD", Range="bytes=0-9")
    assert (reply.code, reply.body, reply.headers["Content-Length"]) == (200, b"", "400001")
    assert stage.streams.counters.open == 0


def test_the_tag_of_a_file_says_whether_it_is_the_same(stage: Stage) -> None:
    tag = stage.visitor.ask(stage.path(0), "HEAD").headers["ETag"]
    assert tag != stage.visitor.ask(stage.path(1), "HEAD").headers["ETag"]
    assert stage.visitor.ask(stage.path(0), Range="bytes=0-9", If_Range=tag).code == 206
    assert stage.visitor.ask(stage.path(0), Range="bytes=0-9", If_Range='"other"').code == 200
    unchanged = stage.visitor.ask(stage.path(0), If_None_Match=tag)
    assert (unchanged.code, unchanged.body) == (304, b"")
    assert stage.visitor.ask(stage.path(0), If_Match='"other"').code == 412


def test_what_a_browser_might_run_is_only_to_be_saved(stage: Stage) -> None:
    reply = stage.visitor.ask(stage.path(1, "b.html"))
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Content-Disposition"].startswith('attachment; filename="b.html"')
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_a_film_is_saved_where_that_is_asked_for(stage: Stage) -> None:
    shown, saved = stage.visitor.ask(stage.path(0), "HEAD"), stage.visitor.ask(f"{stage.path(0)}?download=1", "HEAD")
    assert shown.headers["Content-Disposition"].startswith("inline; ")
    assert saved.headers["Content-Disposition"].startswith("attachment; ")


@pytest.mark.parametrize(
    "path",
    ["/", "/stream/", "/stream/xyz/0", "/stream/{hash}", "/stream/{hash}/9", "/stream/{hash}/-1", "/stream/{hash}/0x0",
     "/stream/" + "0" * 40 + "/0", "/stream/{hash}/../../0", "/other/{hash}/0"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(stage: Stage, path: str) -> None:
    assert stage.visitor.ask(path.format(hash=stage.torrent.swarm_hash.hex())).code == 404


def test_a_file_cannot_be_written_to(stage: Stage) -> None:
    assert stage.visitor.ask(stage.path(0), "POST", b"x").code == 405


def test_a_link_without_metadata_asks_to_come_back(stage: Stage) -> None:
    stage.client.add("magnet:?xt=urn:btih:" + "a" * 40)
    reply = stage.visitor.ask(f"/stream/{'a' * 40}/0")
    assert (reply.code, reply.headers["Retry-After"]) == (503, "5")


def test_more_streams_than_allowed_ask_to_come_back(world: World, serving_http: MakeServer) -> None:
    torrent = torrent_of(world, {"a.bin": 10 * PIECE})
    client = world.client(port=None)
    world.download(torrent, [world.odd(torrent, stay_silent)], client=client)
    visitor = Visitor(serving_http(Guard(mounted(streams := Streams(client, max_streams=1), "/stream"))))
    path = f"/stream/{torrent.swarm_hash.hex()}/0"
    held = visitor.connect(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    eventually(lambda: streams.counters.open == 1)
    assert visitor.ask(path).code == 503
    held.close()
    eventually(lambda: streams.counters.open == 0)
    assert visitor.ask(path, "HEAD").code == 200


@pytest.fixture
def stuck(world: World, serving_http: MakeServer) -> Stage:
    """A stage whose only peer never sends a byte."""
    torrent = torrent_of(world, {"a.bin": 10 * PIECE})
    return Stage(world, serving_http, torrent, [world.odd(torrent, stay_silent)])


def test_a_client_that_leaves_ends_a_stream_that_waits_for_a_piece(stuck: Stage) -> None:
    sock = stuck.visitor.connect(f"GET {stuck.path(0)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert sock.recv(15) == b"HTTP/1.1 200 OK"
    assert stuck.streams.counters.open == 1
    sock.close()
    eventually(lambda: stuck.streams.counters.open == 0, 2)
    assert stuck.streams.counters.ended["aborted"] == 1


def test_a_torrent_that_ends_cuts_its_streams_off(stuck: Stage) -> None:
    sock = stuck.visitor.connect(f"GET {stuck.path(0)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    sock.recv(15)
    stuck.active.remove()
    while sock.recv(65536):
        pass
    assert stuck.streams.counters.ended["failed"] == 1
    sock.close()


def test_a_client_that_does_not_read_is_waited_for(world: World, serving_http: MakeServer) -> None:
    torrent = torrent_of(world, {"a.bin": 300 * PIECE})
    stage = Stage(world, serving_http, torrent, world.seeds(torrent, 1))
    sock = stage.visitor.connect()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.sendall(f"GET {stage.path(0)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    eventually(lambda: stage.active.done and stage.streams.counters.sent > 0)
    remains(lambda: stage.streams.counters.sent < len(stage.data))
    received = b""
    while chunk := sock.recv(1 << 20):
        received += chunk
    assert received.endswith(stage.data)
    sock.close()


def test_what_is_asked_for_is_fetched_before_the_rest(world: World, serving_http: MakeServer) -> None:
    torrent = torrent_of(world, {"a.bin": 100 * PIECE})
    asked: list[int] = []

    def serve(wire: OddWire, read: Read) -> None:
        wire.unchoke()
        for request in wire.incoming_requests():
            asked.append(request.piece)
            wire.piece(request.piece, request.offset, read(*request))

    client = world.client(port=None, limit_down=20 * PIECE)
    world.download(torrent, [world.odd(torrent, serve)], client=client)
    visitor = Visitor(serving_http(Guard(mounted(Streams(client), "/stream"))))
    eventually(lambda: asked)
    reply = visitor.ask(f"/stream/{torrent.swarm_hash.hex()}/0", Range=f"bytes={90 * PIECE}-{90 * PIECE + 9}")
    assert reply.body == world.data(torrent)[90 * PIECE : 90 * PIECE + 10]
    assert len(set(asked)) < 60


def test_a_view_of_ones_own_answers_with_a_file(world: World, serving_http: MakeServer) -> None:
    torrent = torrent_of(world, {"a.mp4": 100_000})
    active = world.download(torrent, world.seeds(torrent, 1))

    def view(environ: Any, start_response: Any) -> Any:
        return respond(active.open(0), environ, start_response, etag="v1", attachment=True)

    visitor = Visitor(serving_http(Guard(view)))
    reply = visitor.ask("/whatever", Range="bytes=5-9", If_Range='"v1"')
    assert (reply.code, reply.body) == (206, world.data(torrent)[5:10])
    assert reply.headers["Content-Disposition"].startswith('attachment; filename="a.mp4"')


def test_a_server_that_does_not_say_who_left_gives_up_some_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WEB_STREAM_PATIENCE", 0.05)
    torrent = torrent_of(world, {"a.bin": 10 * PIECE})
    active = world.download(torrent, [world.odd(torrent, stay_silent)])
    body = respond(active.open(0), {"REQUEST_METHOD": "GET"}, lambda *head: None)
    with pytest.raises(BrokenPipeError):
        list(body)
    getattr(body, "close")()  # noqa: B009


def test_the_whole_app_streams_as_well(world: World, serving_http: MakeServer) -> None:
    torrent = torrent_of(world, {"a.mp4": 100_000})
    client = world.client(port=None)
    world.download(torrent, world.seeds(torrent, 1), client=client)
    visitor = Visitor(serving_http(make_app(client, world.folder)))
    path = f"/stream/{torrent.swarm_hash.hex()}/0/a.mp4"
    assert visitor.ask(path).body == world.data(torrent)
    reply = visitor.ask(path, Range="bytes=10-19")
    assert (reply.code, reply.body, reply.headers["Content-Length"]) == (206, world.data(torrent)[10:20], "10")
    head = visitor.ask(path, "HEAD")
    assert (head.code, head.body, head.headers["Content-Length"]) == (200, b"", "100000")
    assert visitor.ask("/stream/nothing").code == 404
