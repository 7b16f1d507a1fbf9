"""The page's own interface: what it shows, what it may do, and who may ask for it."""

from __future__ import annotations

import gc
import json
import logging
from pathlib import Path
from typing import Any

import pytest

import geventbt
from geventbt import limits
from geventbt.service.session import Session
from geventbt.service.store import StateStore
from geventbt.web import (
    Guard,
    Login,
    Metrics,
    Streams,
    hash_password,
    make_app,
    metrics_blueprint,
    page_blueprint,
    rpc_blueprint,
    stream_blueprint,
)
from geventbt.web.feed import Feed
from geventbt.web.journal import Journal
from geventbt.web.session_control import SessionControl
from tests.loopback.harness import eventually
from tests.loopback.web.conftest import MakeServer, Reply, Visitor
from tests.loopback.web_server import WebServer
from tests.loopback.world import World

HOSTILE = "<script>alert(1)<-script>"


class Page:
    """A client with its web interface, as the page uses it."""

    def __init__(self, client: geventbt.Client, folder: Path, app: Guard, serving_http: MakeServer) -> None:
        self.client = client
        self.folder = folder
        self.visitor = Visitor(serving_http(app))
        self.token = ""

    @classmethod
    def made(cls, world: World, serving_http: MakeServer, **options: Any) -> Page:
        client, folder = world.client(port=None), world.folder / "out"
        return cls(client, folder, make_app(client, folder, **options), serving_http)

    def get(self, path: str) -> Any:
        return self.visitor.ask(f"/api/{path}").json

    def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        """Send what the page sends; it takes the token from the first answer."""
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        reply = self.visitor.ask(f"/api/{path}", "POST", data, X_Geventbt_Token=self.token, **headers)
        if reply.code == 409:
            self.token = reply.headers["X-Geventbt-Token"]
            return self.post(path, body, **headers)
        return reply

    def events(self) -> Events:
        return Events(self.visitor)


class Events:
    """What a page hears."""

    def __init__(self, visitor: Visitor) -> None:
        self._sock = visitor.connect(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self._data = b""

    def next(self) -> tuple[str, Any]:
        """The next event: its name and data."""
        while True:
            *lines, rest = self._data.split(b"\n\n")
            for line in lines:
                if b"event: " in line:
                    self._data = self._data.partition(line + b"\n\n")[2]
                    name, _, data = line.rpartition(b"event: ")[2].partition(b"\ndata: ")
                    return name.decode(), json.loads(data)
            chunk = self._sock.recv(65536)
            assert chunk, rest
            self._data += chunk

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def page(world: World, serving_http: MakeServer, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setattr(limits, "WEB_EVENT_INTERVAL", 0.02)
    monkeypatch.setattr(limits, "WEB_EVENT_HEARTBEAT", 0.05)
    return Page.made(world, serving_http)


def add(page: Page, world: World, torrent: geventbt.Torrent) -> geventbt.ActiveTorrent:
    return world.download(torrent, world.seeds(torrent, 1), client=page.client)


def add_to(client: geventbt.Client, world: World, torrent: geventbt.Torrent) -> geventbt.ActiveTorrent:
    """A torrent that has been downloaded."""
    active = world.download(torrent, world.seeds(torrent, 1), client=client)
    assert active.wait(10)
    return active


# ------------------------------------------------------------------ what it shows


def test_the_page_and_its_files_are_served_with_a_policy(page: Page) -> None:
    for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/app.css", "text/css")):
        reply = page.visitor.ask(path)
        assert reply.code == 200
        assert reply.headers["Content-Type"].startswith(kind)
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert page.visitor.ask(path, If_None_Match=reply.headers["ETag"]).code == 304


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/static/app.js", "/..%2f..%2fetc/passwd", "/%2e%2e/app.py", "/app.py", "//etc/passwd"],
)
def test_no_other_file_is(page: Page, path: str) -> None:
    assert page.visitor.ask(path).code == 404


def test_a_page_hears_of_everything_first_and_of_changes_then(page: Page, world: World) -> None:
    events = page.events()
    name, whole = events.next()
    assert (name, whole["torrents"]) == ("whole", {})
    assert whole["totals"]["stream"] == "stream/"
    torrent = world.torrent()
    add(page, world, torrent)
    key = torrent.swarm_hash.hex()
    seen: dict[str, Any] = {}
    while seen.get("state") != "seeding":
        name, delta = events.next()
        assert name == "delta"
        seen |= delta["torrents"].get(key, {})
    assert (seen["fraction"], seen["size"], seen["name"]) == (1.0, torrent.geometry.size, "data")
    page.client.torrents[torrent.swarm_hash].remove()
    while key not in delta["gone"]:
        name, delta = events.next()
    events.close()


def test_a_page_hears_the_log(page: Page) -> None:
    logging.getLogger("geventbt").warning("something happened to %s\u202e", HOSTILE)
    events = page.events()
    _, whole = events.next()
    (line,) = whole["log"]
    assert line[2:] == ["warning", f"something happened to {HOSTILE}\N{REPLACEMENT CHARACTER}"]
    events.close()


def test_nothing_is_compared_while_no_page_listens(page: Page) -> None:
    events = page.events()
    events.next()
    other = page.events()
    other.next()
    events.close()
    other.close()
    # The server notices with the next sign of life; `leaks_nothing` sees that the greenlet is gone then.
    eventually(lambda: not page.visitor.server.connections)


def test_the_details_of_a_torrent(page: Page, world: World) -> None:
    torrent = world.torrent(name=HOSTILE)
    active = add(page, world, torrent)
    assert active.wait(10)
    details = page.get(f"torrents/{torrent.swarm_hash.hex()}")
    assert [file["length"] for file in details["files"]] == [400_001, 13, 600_000]
    assert [file["fraction"] for file in details["files"]] == [1.0, 1.0, 1.0]
    assert details["map"] == "9" * torrent.geometry.pieces
    assert details["name"] == HOSTILE
    assert details["magnet"].startswith("magnet:?xt=urn:btih:")
    assert page.visitor.ask(f"/stream/{details['files'][1]['path']}").body == world.data(torrent)[400_001:400_014]


@pytest.mark.parametrize("info_hash", ["0" * 40, "x", "0" * 41, "..", "%00"])
def test_a_torrent_that_is_not_there_is_not_found(page: Page, info_hash: str) -> None:
    assert page.visitor.ask(f"/api/torrents/{info_hash}").code == 404


# ------------------------------------------------------------------ what it may do


def test_a_magnet_link_is_added_to_the_folder(page: Page) -> None:
    reply = page.post("torrents", {"link": f"  magnet:?xt=urn:btih:{'a' * 40}&dn=a%E2%80%AEname\n"})
    assert (reply.code, reply.json) == (201, {"hash": "a" * 40, "name": "a\N{REPLACEMENT CHARACTER}name"})
    assert page.client.torrents[bytes.fromhex("a" * 40)].folder == page.folder


def test_an_info_hash_is_added(page: Page) -> None:
    assert page.post("torrents", {"link": "b" * 40}).code == 201


def test_a_torrent_file_is_added(page: Page, world: World) -> None:
    torrent = world.torrent()
    reply = page.post("torrents", torrent.to_bytes(), Content_Type="application/x-bittorrent")
    assert reply.json["hash"] == torrent.swarm_hash.hex()
    again = page.post("torrents", torrent.to_bytes(), Content_Type="application/x-bittorrent")
    assert again.code == 400
    assert "already" in again.json["error"]


@pytest.mark.parametrize(
    "link", ["", "nonsense", "magnet:?x=1", "file:///etc/passwd", "/etc/passwd", "http://127.0.0.1:1/x", "x" * 70_000]
)
def test_what_is_no_torrent_is_refused_in_words(page: Page, link: str) -> None:
    reply = page.post("torrents", {"link": link})
    assert reply.code == 400
    assert reply.json["error"]
    assert not page.client.torrents


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"links": 1}', b"[" * 100_000, b"\xff"])
def test_a_broken_body_is_refused(page: Page, body: bytes) -> None:
    assert page.post("torrents", body or b" ").code == 400
    assert page.post("torrents", body or b"x", Content_Type="application/x-bittorrent").code == 400


def test_a_body_that_is_too_large_is_refused(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WEB_BODY", 100)
    assert page.post("torrents", b"d" * 101, Content_Type="application/x-bittorrent").code == 413


def test_a_torrent_is_paused_resumed_and_removed(page: Page, world: World) -> None:
    torrent = world.torrent()
    active = add(page, world, torrent)
    assert active.wait(10)
    key = torrent.swarm_hash.hex()
    assert page.post(f"torrents/{key}/pause").code == 200
    assert active.state == "paused"
    assert page.post(f"torrents/{key}/resume").code == 200
    assert active.state == "seeding"
    assert page.post(f"torrents/{key}/check").code == 200
    eventually(lambda: active.state == "seeding")
    assert page.post(f"torrents/{key}/remove").code == 200
    assert not page.client.torrents
    assert (world.folder / "out" / "data" / "a").exists()
    assert page.post(f"torrents/{key}/pause").code == 404


def test_a_torrent_is_removed_with_its_files_where_that_is_said(page: Page, world: World) -> None:
    torrent = world.torrent()
    assert add(page, world, torrent).wait(10)
    (world.folder / "out" / "other").write_text("not of the torrent")
    path = f"torrents/{torrent.swarm_hash.hex()}/remove"
    for wrong in ("yes", 1, None):
        assert page.post(path, {"delete": wrong}).code == 400
    assert page.client.torrents
    assert page.post(path, {"delete": True}).code == 200
    assert not page.client.torrents
    assert not (world.folder / "out" / "data").exists()
    assert (world.folder / "out" / "other").exists()


def test_priorities_of_files_are_set(page: Page, world: World) -> None:
    torrent = world.torrent()
    active = add(page, world, torrent)
    path = f"torrents/{torrent.swarm_hash.hex()}/files"
    assert page.post(path, {"priorities": {"0": 0, "2": 7}}).code == 200
    assert [file.priority for file in active.files] == [0, 4, 7]
    wrong: list[Any] = [{"9": 4}, {"0": 8}, {"0": "4"}, {"0": True}, {"x": 4}, {"\u0661": 4}, {"+1": 4}, []]
    assert [page.post(path, {"priorities": each}).code for each in wrong] == [400] * len(wrong)


def test_limits_are_set_and_lifted(page: Page) -> None:
    assert page.post("limits", {"down": 50_000, "up": 10_000}).code == 200
    assert (page.client.limit_down, page.client.limit_up) == (50_000, 10_000)
    assert page.post("limits", {"down": None, "up": None}).code == 200
    assert (page.client.limit_down, page.client.limit_up) == (None, None)
    assert page.post("limits", {"down": 0}).code == 200
    assert page.client.limit_down == 0
    for wrong in (-1, 1.5, True, "1", 1 << 60):
        assert page.post("limits", {"down": wrong}).code == 400


def test_a_url_of_this_machine_is_fetched_only_where_that_is_allowed(world: World, serving_http: MakeServer) -> None:
    torrent = world.torrent()
    (world.folder / "a.torrent").write_bytes(torrent.to_bytes())
    files = WebServer(world.folder)
    link = {"link": f"{files.url}a.torrent"}
    refused = Page.made(world, serving_http).post("torrents", link)
    assert refused.code == 400
    assert "only addresses of the internet" in refused.json["error"]
    assert not files.asked
    assert Page.made(world, serving_http, fetches_private_urls=True).post("torrents", link).code == 201
    files.stop()


# ------------------------------------------------------------------ what a session keeps of it


class Service:
    """A session that keeps its state, with the page."""

    def __init__(self, world: World, serving_http: MakeServer) -> None:
        self.client = world.client(port=None)
        settings = {"download_dir": str(world.folder), "downloads": 1}
        self.session = Session(self.client, store=StateStore(world.folder / "state"), settings=settings)
        app = make_app(self.client, world.folder, control=SessionControl(self.session))
        self.page = Page(self.client, world.folder, app, serving_http)

    def close(self) -> None:
        self.session.close()
        self.client.close()


def test_what_is_chosen_on_the_page_holds_after_a_restart(world: World, serving_http: MakeServer) -> None:
    torrent = world.torrent()
    path = f"torrents/{torrent.swarm_hash.hex()}"
    service = Service(world, serving_http)
    page = service.page
    assert page.post("torrents", torrent.to_bytes(), Content_Type="application/x-bittorrent").code == 201
    assert page.post(f"{path}/files", {"priorities": {"0": 7, "1": 7}}).code == 200
    assert page.post(f"{path}/files", {"priorities": {"0": 0, "2": 1}}).code == 200
    for wrong in ({"9": 4}, {"-1": 4}, {"0": 8}, {"0": -1}):
        assert page.post(f"{path}/files", {"priorities": wrong}).code == 400
    assert page.post(f"{path}/pause").code == 200
    service.close()
    again = Service(world, serving_http)
    (active,) = again.client.torrents.values()
    eventually(lambda: [file.priority for file in active.files] == [0, 7, 1])
    eventually(lambda: active.state == "paused")
    assert again.page.post(f"{path}/files", {"priorities": {"0": 4}}).code == 200
    eventually(lambda: [file.priority for file in active.files] == [4, 7, 1])
    assert again.page.post(f"{path}/check").code == 200
    assert again.page.post(f"{path}/remove", {"delete": True}).code == 200
    assert not again.session.torrents
    again.close()


def test_a_page_hears_that_a_torrent_waits_for_its_turn(world: World, serving_http: MakeServer) -> None:
    service = Service(world, serving_http)
    for letter in "ab":
        service.page.post("torrents", {"link": letter * 40})
    eventually(lambda: [torrent.runs for torrent in service.session.torrents] == [True, False])
    events = service.page.events()
    _, whole = events.next()
    assert whole["torrents"]["b" * 40]["waiting"] == "waits for its turn in the queue"
    assert whole["torrents"]["a" * 40]["waiting"] != "waits for its turn in the queue"
    events.close()
    service.close()


# ------------------------------------------------------------------ who may ask


@pytest.mark.parametrize("path", ["torrents", "limits", f"torrents/{'0' * 40}/remove"])
def test_nothing_is_changed_without_the_token(page: Page, path: str) -> None:
    tries: list[dict[str, Any]] = [{}, {"X_Geventbt_Token": "wrong"}, {"Content_Type": "text/plain"}]
    for headers in tries:
        reply = page.visitor.ask(f"/api/{path}", "POST", b'{"link": "%s"}' % (b"a" * 40), **headers)
        assert reply.code == 409
    assert not page.client.torrents


def test_nothing_is_changed_by_a_get(page: Page) -> None:
    assert page.visitor.ask(f"/api/torrents/{'0' * 40}/remove").code == 405


def test_another_site_hears_and_changes_nothing(page: Page) -> None:
    evil: dict[str, Any] = {"Origin": "http://evil.example", "X_Geventbt_Token": page.token}
    assert page.visitor.ask("/api/events", **evil).code == 403
    assert page.visitor.ask("/api/limits", "POST", b"{}", **evil).code == 403
    assert page.visitor.ask("/api/events", Host="evil.example").code == 421


def test_with_a_login_every_part_needs_it(world: World, serving_http: MakeServer) -> None:
    page = Page.made(world, serving_http, login=Login("me", hash_password("secret")))
    for path in ("/", "/api/events", "/metrics", f"/stream/{'0' * 40}/0", "/healthz", "/app.js"):
        assert page.visitor.ask(path).code == 401, path


def test_it_works_below_a_path_of_another_app(world: World, serving_http: MakeServer) -> None:
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    client = world.client(port=None)

    def other(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "5")])
        return [b"other"]

    visitor = Visitor(serving_http(Guard(DispatcherMiddleware(other, {"/torrents": make_app(client, world.folder)}))))
    assert visitor.ask("/").body == b"other"
    assert b"<title>geventbt" in visitor.ask("/torrents/").body
    assert visitor.ask("/torrents/metrics").code == 200
    moved = visitor.ask("/torrents")
    assert (moved.code, moved.headers["Location"]) == (308, f"{visitor.server.url}torrents/")


@pytest.mark.parametrize("prefix", ["", "/torrents"])
def test_the_parts_are_blueprints_of_flask(world: World, serving_http: MakeServer, prefix: str) -> None:
    flask = pytest.importorskip("flask", reason="Flask is not installed")
    torrent = world.torrent()
    client = world.client(port=None)
    active = add_to(client, world, torrent)
    session = Session(client)
    app = flask.Flask("theirs")
    app.register_blueprint(page_blueprint(client, world.folder, stream_url="/files/"), url_prefix=prefix or None)
    app.register_blueprint(stream_blueprint(Streams(client)), url_prefix="/files")
    app.register_blueprint(metrics_blueprint(Metrics(client)))
    app.register_blueprint(rpc_blueprint(client, session))
    visitor = Visitor(serving_http(Guard(app)))
    key = torrent.swarm_hash.hex()
    assert b"<title>geventbt" in visitor.ask(f"{prefix}/").body
    assert visitor.ask(f"{prefix}/app.js").headers["Content-Type"].startswith("text/javascript")
    assert visitor.ask(f"{prefix}/api/torrents/{key}").json["name"] == "data"
    refused = visitor.ask(f"{prefix}/api/torrents/{key}/pause", "POST", b"{}")
    assert refused.code == 409
    token = {"X_Geventbt_Token": refused.headers["X-Geventbt-Token"]}
    assert visitor.ask(f"{prefix}/api/torrents/{key}/pause", "POST", b"{}", **token).code == 200
    assert active.state == "paused"
    part = visitor.ask(f"/files/{key}/0/a", Range="bytes=5-9")
    assert (part.code, part.body) == (206, world.data(torrent)[5:10])
    assert b"geventbt_torrents" in visitor.ask("/metrics").body
    assert visitor.ask("/transmission/rpc").code == 409
    assert visitor.ask(f"{prefix}/nothing").code == 404
    session.close()


# ------------------------------------------------------------------ what becomes of listeners


def test_a_slow_page_gets_the_whole_in_place_of_what_it_has_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WEB_EVENT_INTERVAL", 0.01)
    client = world.client(port=None)
    feed = Feed(client, Journal(), dict)
    quick, slow = feed.events(), feed.events()
    assert b"event: whole" in next(quick)
    assert b"event: whole" in next(slow)
    for letter in "ab":
        client.add(f"magnet:?xt=urn:btih:{letter * 40}")
        news = next(quick)
        assert b"event: delta" in news
        assert letter.encode() * 40 in news
    late = next(slow)
    assert b"event: whole" in late
    assert b"a" * 40 in late
    assert b"b" * 40 in late
    quick.close()
    slow.close()


def test_a_journal_ends_with_its_page() -> None:
    # Those of other tests may be waiting to be collected.
    gc.collect()
    handlers = list(logging.getLogger("geventbt").handlers)
    journal = Journal()
    assert len(logging.getLogger("geventbt").handlers) == len(handlers) + 1
    del journal
    gc.collect()
    assert logging.getLogger("geventbt").handlers == handlers
