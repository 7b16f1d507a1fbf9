"""The Transmission RPC protocol over values of JSON, and over HTTP."""

from __future__ import annotations

import base64
import errno
import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from geventbt import Client, Magnet, MemoryBackend, StorageError, Torrent, bencoding, limits
from geventbt.service.session import Session
from geventbt.web import make_app
from geventbt.web.rpc import Rpc, rpc_app
from geventbt.web.rpc.fields import FIELDS
from geventbt.web.rpc.names import legacy_answer
from geventbt.web.rpc.rpc import METHODS
from geventbt.web.rpc.settings import SETTINGS
from geventbt.web.session_control import SessionControl
from tests.free_port import free_port
from tests.loopback.harness import turns_of_others
from tests.loopback.web.conftest import MakeServer, Visitor
from tests.loopback.web_server import WebServer
from tests.loopback.world import World, eventually

LINK = f"magnet:?xt=urn:btih:{'ab' * 20}&dn=linked"


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    folder = world.folder / "out"
    folder.mkdir()
    made = Session(world.client(), settings={"download_dir": str(folder)}, roots=[world.folder])
    yield made
    made.close()


@pytest.fixture
def rpc(session: Session) -> Rpc:
    return Rpc(session.client, session)


@pytest.fixture
def torrent(world: World) -> Torrent:
    return world.torrent()


def call(rpc: Rpc, method: str, **arguments: Any) -> Any:
    """Call a method in the older form. Returns its arguments; fails unless it succeeds."""
    answer = rpc.handle({"method": method, "arguments": arguments})
    assert answer is not None
    assert answer["result"] == "success", answer
    return answer["arguments"]


def failure(rpc: Rpc, method: str, **arguments: Any) -> str:
    """What is wrong with a call."""
    answer = rpc.handle({"method": method, "arguments": arguments})
    assert answer is not None
    return str(answer["result"])


def add(rpc: Rpc, torrent: Torrent, **options: Any) -> int:
    metainfo = base64.b64encode(torrent.to_bytes()).decode()
    return int(call(rpc, "torrent-add", metainfo=metainfo, **options)["torrent-added"]["id"])


def get(rpc: Rpc, *fields: str, ids: Any = None) -> dict[str, Any]:
    """Fields of the first torrent."""
    found: dict[str, Any] = call(rpc, "torrent-get", fields=list(fields), ids=ids)["torrents"][0]
    return found


# ------------------------------------------------------------------ messages


def test_both_forms_of_a_message_are_answered(rpc: Rpc) -> None:
    old = rpc.handle({"method": "session-get", "arguments": {"fields": ["version", "rpc-version"]}, "tag": 7})
    assert old is not None
    assert (old["tag"], old["result"], old["arguments"]["rpc-version"]) == (7, "success", 17)
    request = {"jsonrpc": "2.0", "method": "session_get", "params": {"fields": ["rpc_version"]}, "id": "x"}
    assert rpc.handle(request) == {"jsonrpc": "2.0", "result": {"rpc_version": 18}, "id": "x"}


def test_a_notification_is_not_answered(rpc: Rpc) -> None:
    assert rpc.handle({"jsonrpc": "2.0", "method": "session_stats"}) is None
    assert rpc.answer(b'[{"jsonrpc": "2.0", "method": "session_stats"}]') is None


def test_a_batch_is_answered_together(rpc: Rpc) -> None:
    good = {"jsonrpc": "2.0", "method": "session_get", "params": {"fields": []}, "id": 1}
    answers = json.loads(rpc.answer(json.dumps([good, {"method": "x"}, 5]).encode()) or b"")
    assert answers[0] == {"jsonrpc": "2.0", "result": {}, "id": 1}
    assert [answer["error"]["code"] for answer in answers[1:]] == [-32600, -32600]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"jsonrpc": "2.0", ', -32700),
        (b'{"jsonrpc": "2.0", "method": "x", "params": NaN, "id": 1}', -32700),
        (b"[]", -32600),
        (b'{"jsonrpc": "1.0", "method": "session_get", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "method": 5, "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "method": "session_get", "id": [1]}', -32600),
        (b'{"jsonrpc": "2.0", "method": "session_get", "params": [1], "id": 1}', -32602),
        (b'{"jsonrpc": "2.0", "method": "session-get", "id": 1}', -32601),
        (b'{"jsonrpc": "2.0", "method": "torrent_get", "id": 1}', -32602),
        (b'{"jsonrpc": "2.0", "method": "blocklist_update", "id": 1}', 10),
    ],
)
def test_a_wrong_request_has_its_code(rpc: Rpc, body: bytes, code: int) -> None:
    assert json.loads(rpc.answer(body) or b"")["error"]["code"] == code


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"what?", "no method name"),
        (b"[" * 100_000, "no method name"),
        (b"{}", "no method name"),
        (b"5", "no method name"),
        (b'{"method": 5}', "no method name"),
        (b'{"method": "what"}', "method name not recognized"),
        (b'{"method": "torrent-get", "arguments": false}', "no fields specified"),
        (b'{"method": "torrent-add"}', "no filename or metainfo specified"),
        (b'{"method": "torrent-add", "arguments": {"metainfo": "zzzz"}}', "invalid or corrupt torrent file"),
        (b'{"method": "torrent-add", "arguments": {"metainfo": 5}}', "metainfo: must be a string, not '5'"),
        (b'{"method": "torrent-set-location"}', "no location"),
        (b'{"method": "torrent-set-location", "arguments": {"location": "a"}}', "directory path is not absolute"),
        (b'{"method": "torrent-rename-path"}', "torrent-rename-path requires 1 torrent"),
        (b'{"method": "torrent-get", "arguments": {"fields": ["id"], "ids": {}}}', "ids: must be a number, a list of"),
        (
            b'{"method": "torrent-add", "arguments": {"filename": "%s", "sequential_download_from_piece": 5}}'
            % LINK.encode(),
            "sequential_download_from_piece: ",
        ),
        (b'{"method": "group-set"}', "No group name given"),
        (b'{"method": "blocklist-update"}', "no blocklist"),
        (
            b'{"method": "session-set", "arguments": {"script-torrent-done-enabled": true}}',
            "script_torrent_done_enabled: ",
        ),
        (b'{"method": "session-set", "arguments": {"blocklist-url": "file:///etc/passwd"}}', "blocklist_url: must be"),
        (b'{"method": "session-close"}', "the daemon cannot be ended by a client"),
    ],
)
def test_a_wrong_request_of_an_older_client_has_its_text(rpc: Rpc, body: bytes, text: str) -> None:
    assert json.loads(rpc.answer(body) or b"")["result"].startswith(text)


DEEP: list[Any] = []
for _ in range(400):
    DEEP = [DEEP]
WRONG_VALUES = [
    None, True, 5, -1, 10**400, 1.5, 1e308, "", "x", "\u0661", "1_0", "\0", "a\n\x1b[31m", "\ud800", "x" * 100_000,
    "/\ud800",
    "http://[bad/announce", "magnet:?xt=urn:btih:\u0661", [], [None], [[1]], [-1], ["x", "\ud800"], ["http://[::1/"],
    [1, "http://[bad/"], [[1], "http://a/"], {}, {"a": [1]}, DEEP,
]  # fmt: skip
NAMES = (
    "ids", "fields", "format", "location", "move", "path", "name", "delete_local_data", "ip_protocol", "filename",
    "metainfo", "cookies", "download_dir", "paused", "speed_limit_up", "honors_session_limits",
)  # fmt: skip
MORE_NAMES = {
    "session_set": (*SETTINGS, "incomplete_dir"),
    "torrent_set": (
        *FIELDS, "files_wanted", "files_unwanted", "priority_high", "priority_low", "tracker_add", "tracker_remove",
        "tracker_replace",
    ),
}  # fmt: skip
MORE_NAMES["torrent_add"] = MORE_NAMES["torrent_set"]
NEEDED = {
    "torrent_get": {"fields": ["id"]},
    "torrent_rename_path": {"path": "data", "name": "other"},
    "torrent_set_location": {"location": "/"},
}


@pytest.mark.parametrize("method", METHODS)
def test_no_argument_of_a_wrong_type_breaks_a_method(
    rpc: Rpc, torrent: Torrent, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (*NAMES, *MORE_NAMES.get(method, ())):
        for value in WRONG_VALUES:
            if not rpc.session.torrents:
                add(rpc, torrent, paused=True)
            arguments = {**NEEDED.get(method, {}), name: value}
            answer = rpc.answer(json.dumps({"method": method, "arguments": arguments}).encode())
            json.loads(answer or b"", parse_constant=pytest.fail)
    for method, names in (("torrent-get", list(FIELDS)), ("session-get", [*SETTINGS])):
        call(rpc, method, fields=names)
    assert not [record for record in caplog.records if record.exc_info]


def test_no_number_is_too_large_to_reckon_with(rpc: Rpc, torrent: Torrent) -> None:
    add(rpc, torrent, paused=True)
    for large in (10**400, 1e308):
        call(rpc, "session-set", seedRatioLimit=large, **{"seed-queue-size": large})
        call(rpc, "torrent-set", seedRatioLimit=large)
        assert call(rpc, "session-get", fields=["seedRatioLimit"]) == {"seedRatioLimit": 1 << 53}
        assert get(rpc, "seedRatioLimit", "eta")["seedRatioLimit"] == 1 << 53


@pytest.mark.parametrize("body", [b'{"method": "session-stats", "tag": 1e999}', b'{"jsonrpc": "2.0", "id": -1e999}'])
def test_a_number_that_is_infinite_is_no_json(rpc: Rpc, body: bytes) -> None:
    assert "session-count" not in str(json.loads(rpc.answer(body) or b"", parse_constant=pytest.fail))


def test_what_cannot_be_read_is_no_torrent(rpc: Rpc) -> None:
    assert failure(rpc, "torrent-add", metainfo="\u0661").startswith("invalid or corrupt torrent file")
    url = "http://127.0.0.1/a.torrent"
    assert failure(rpc, "torrent-add", filename=url, cookies="a=\u0661").startswith("cookies: must be printable ASCII")


def test_others_go_on_while_a_torrent_is_read(
    session: Session, lists: WebServer, torrent: Torrent, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_run, read = threading.Event(), Torrent.from_bytes

    def wait_and_read(data: bytes) -> Torrent:
        assert has_run.wait(5)
        return read(data)

    (lists.folder / "a.torrent").write_bytes(torrent.to_bytes())
    rpc = Rpc(session.client, session, fetches_private_urls=True)
    metainfo = base64.b64encode(torrent.to_bytes()).decode()
    with monkeypatch.context() as patches:
        patches.setattr(Torrent, "from_bytes", wait_and_read)
        for arguments in ({"metainfo": metainfo}, {"filename": f"{lists.url}a.torrent"}):
            has_run.clear()
            gevent.spawn_later(0.01, has_run.set)
            call(rpc, "torrent-add", **arguments)


@pytest.mark.parametrize("form", ["objects", "table"])
def test_others_go_on_while_very_many_files_are_listed(rpc: Rpc, form: str) -> None:
    files = [{"length": 10, "path": [f"folder {number % 9}", f'"{number}"']} for number in range(6000)]
    info = {"name": "many", "piece length": 1 << 15, "pieces": bytes(40), "files": files}
    add(rpc, Torrent.from_info(bencoding.encode(info)), paused=True)
    names = ["id", "files", "priorities", "labels", "wanted"]
    request = {"method": "torrent-get", "arguments": {"fields": names, "format": form}}
    with turns_of_others() as turns:
        answer = json.loads(rpc.answer(json.dumps(request).encode()) or b"")["arguments"]["torrents"]
    assert len(turns) >= 2
    found = dict(zip(names, answer[1], strict=True)) if form == "table" else answer[0]
    shown = {"name": 'many/folder 2/"2999"', "length": 10, "bytesCompleted": 0, "beginPiece": 0, "endPiece": 1}
    assert found["files"][2999] == shown
    assert [len(found[name]) for name in names[1:]] == [6000, 6000, 0, 6000]


def test_a_long_request_is_read_like_a_short_one_while_others_go_on(rpc: Rpc) -> None:
    request = {"method": "torrent-set", "tag": 1.5, "arguments": {"ids": [], "files-wanted": list(range(100_000))}}
    with turns_of_others() as turns:
        assert json.loads(rpc.answer(json.dumps(request).encode()) or b"")["tag"] == 1.5
    assert len(turns) >= 2
    blanks = " " * limits.RPC_BODY_AT_ONCE
    for text in ('{"jsonrpc": "2.0", "id": 1e999}', '{"jsonrpc": "2.0", "id": NaN}', '{"jsonrpc": "2.0", "id":'):
        assert json.loads(rpc.answer(f"{blanks}{text}".encode()) or b"")["error"]["code"] == -32700


def test_a_request_of_very_many_parts_is_refused_before_it_is_read(rpc: Rpc) -> None:
    lists = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "session_get", "params": {"fields": [[]] * 100_000}})
    error = json.loads(rpc.answer(lists.encode()) or b"")["error"]
    assert (error["code"], error["data"]["error_string"]) == (-32700, "not JSON: more than 100000 arrays and objects")


def test_a_tracker_that_is_no_url_spoils_no_list(rpc: Rpc, torrent: Torrent) -> None:
    urls = ["http://[bad/announce", "udp://[::1]:1/announce", "http://127.0.0.1:1/announce"]
    raw = bencoding.encode({**bencoding.decode(torrent.to_bytes()), "announce-list": [urls]})
    call(rpc, "torrent-add", metainfo=base64.b64encode(raw).decode(), paused=True)
    stats = get(rpc, "trackerStats", "trackers")["trackerStats"]
    assert [tracker["announce"] for tracker in stats] == urls[1:]


# ------------------------------------------------------------------ torrents


def test_a_torrent_is_added_listed_and_removed(rpc: Rpc, world: World, torrent: Torrent) -> None:
    number = add(rpc, torrent, labels=["a", "b"], **{"download-dir": str(world.folder / "elsewhere")})
    found = get(rpc, "id", "name", "hashString", "totalSize", "labels", "downloadDir", "pieceCount", ids=number)
    assert found == {
        "id": number,
        "name": "data",
        "hashString": torrent.swarm_hash.hex(),
        "totalSize": 1_000_014,
        "labels": ["a", "b"],
        "downloadDir": str(world.folder / "elsewhere"),
        "pieceCount": 31,
    }
    call(rpc, "torrent-remove", ids=[torrent.swarm_hash.hex().upper()])
    assert call(rpc, "torrent-get", fields=["id"])["torrents"] == []
    assert call(rpc, "torrent-get", fields=["id"], ids="recently-active")["removed"] == [number]


def test_a_torrent_that_is_there_is_told_of_as_a_duplicate(rpc: Rpc, torrent: Torrent) -> None:
    number = add(rpc, torrent)
    again = call(rpc, "torrent-add", filename=str(Magnet.from_torrent(torrent)))
    assert again["torrent-duplicate"] == {"id": number, "name": "data", "hashString": torrent.swarm_hash.hex()}


def test_a_link_has_no_size_before_its_metadata(rpc: Rpc) -> None:
    call(rpc, "torrent-add", filename=LINK, paused=True)
    found = get(
        rpc, "name", "totalSize", "leftUntilDone", "files", "pieces", "status", "metadataPercentComplete", "eta"
    )
    assert found == {
        "name": "linked",
        "totalSize": 0,
        "leftUntilDone": 0,
        "files": [],
        "pieces": "",
        "status": 0,
        "metadataPercentComplete": 0,
        "eta": -1,
    }


def test_all_fields_have_the_types_that_clients_expect(rpc: Rpc, world: World, torrent: Torrent) -> None:
    add(rpc, torrent)
    call(rpc, "torrent-add", filename=LINK)
    eventually(lambda: get(rpc, "status")["status"] == 4)
    for found in call(rpc, "torrent-get", fields=list(FIELDS))["torrents"]:
        floats = {name for name, value in found.items() if isinstance(value, float)}
        assert floats <= {"percent_done", "percent_complete", "upload_ratio", "recheck_progress", "seed_ratio_limit"}
        assert found["error_string"] == ""
        json.dumps(found)


def test_a_table_has_a_row_for_each_torrent(rpc: Rpc, torrent: Torrent) -> None:
    number = add(rpc, torrent)
    table = call(rpc, "torrent-get", fields=["name", "id", "what", "wanted"], format="table")["torrents"]
    assert table == [["name", "id", "wanted"], ["data", number, [1, 1, 1]]]


def test_no_ids_are_none_and_missing_ids_are_all(rpc: Rpc, torrent: Torrent) -> None:
    add(rpc, torrent)
    call(rpc, "torrent-remove", ids=[])
    call(rpc, "torrent-remove", ids=[99, "ff" * 20])
    assert len(call(rpc, "torrent-get", fields=["id"])["torrents"]) == 1


def test_files_are_chosen_and_counted_without_padding(rpc: Rpc, world: World) -> None:
    world.torrent()
    import geventbt

    hybrid = geventbt.create_torrent(world.origin / "data", version="hybrid")
    assert any(file.padding for file in hybrid.files)
    add(rpc, hybrid, **{"files-unwanted": [1]})
    found = get(rpc, "files", "fileStats", "wanted", "priorities", "file-count")
    assert [file["name"] for file in found["files"]] == ["data/a", "data/b", "data/c"]
    assert found["wanted"] == [1, 0, 1]
    call(rpc, "torrent-set", **{"priority-high": [2], "priority-low": [0], "files-wanted": []})
    found = get(rpc, "fileStats", "wanted", "priorities")
    assert (found["wanted"], found["priorities"]) == ([1, 1, 1], [-1, 0, 1])
    assert [stat["wanted"] for stat in found["fileStats"]] == [True, True, True]
    assert failure(rpc, "torrent-set", **{"files-wanted": [3]}) == "file index out of range"


def test_trackers_are_added_replaced_and_removed(rpc: Rpc, torrent: Torrent) -> None:
    add(rpc, torrent, paused=True)

    def urls() -> list[str]:
        return [tracker["announce"] for tracker in get(rpc, "trackers")["trackers"]]

    call(rpc, "torrent-set", trackerAdd=["http://127.0.0.1:1/announce", "udp://127.0.0.1:2"])
    eventually(lambda: urls() == ["http://127.0.0.1:1/announce", "udp://127.0.0.1:2"])
    first = get(rpc, "trackers")["trackers"][0]
    assert (first["scrape"], first["tier"]) == ("http://127.0.0.1:1/scrape", 0)
    call(rpc, "torrent-set", trackerReplace=[first["id"], "http://127.0.0.1:3/a"])
    eventually(lambda: urls() == ["http://127.0.0.1:3/a", "udp://127.0.0.1:2"])
    call(rpc, "torrent-set", trackerRemove=[get(rpc, "trackers")["trackers"][1]["id"]])
    eventually(lambda: urls() == ["http://127.0.0.1:3/a"])
    call(rpc, "torrent-set", trackerList="http://127.0.0.1:4/a\nhttp://127.0.0.1:5/a\n\nudp://127.0.0.1:6\n")
    eventually(lambda: [tracker["tier"] for tracker in get(rpc, "trackers")["trackers"]] == [0, 0, 1])
    assert get(rpc, "trackerStats")["trackerStats"][0]["host"] == "http://127.0.0.1:4"
    assert failure(rpc, "torrent-set", trackerAdd=["ftp://x/"]) == "not the URL of a tracker: ftp://x/"
    assert failure(rpc, "torrent-set", trackerRemove=[99]) == "there is no tracker with the id 99"


def test_options_of_a_torrent_are_set_and_read_back(rpc: Rpc, torrent: Torrent) -> None:
    add(rpc, torrent)
    options = {
        "bandwidthPriority": 1,
        "downloadLimit": 5,
        "downloadLimited": True,
        "group": "some",
        "honorsSessionLimits": False,
        "uploadLimit": 7,
        "uploadLimited": True,
        "labels": ["x"],
        "peer-limit": 9,
        "seedIdleLimit": 11,
        "seedIdleMode": 1,
        "seedRatioLimit": 1.5,
        "seedRatioMode": 2,
        "sequential_download": True,
        "queuePosition": 0,
    }
    call(rpc, "torrent-set", **options)
    assert get(rpc, *options) == options
    assert failure(rpc, "torrent-set", labels=["a,b"]) == "labels cannot contain comma (,) character"


def test_paths_stay_inside_the_folders_of_the_session(rpc: Rpc, torrent: Torrent, world: World) -> None:
    outside = {"download-dir": "/etc"}
    metainfo = base64.b64encode(torrent.to_bytes()).decode()
    assert "outside" in failure(rpc, "torrent-add", metainfo=metainfo, **outside)
    add(rpc, torrent)
    assert "outside" in failure(rpc, "torrent-set-location", location="/etc", move=True)
    (world.folder / "out" / "link").symlink_to("/etc")
    for path in (str(world.folder / "out" / "link"), f"{world.folder}/../..", f"{world.folder}\0/x"):
        assert re.search("outside|not an absolute path", failure(rpc, "torrent-set-location", location=path))
    assert "outside" in failure(rpc, "session-set", **outside)
    assert "outside" in failure(rpc, "free-space", path="/etc")
    assert "neither a URL" in failure(rpc, "torrent-add", filename="/etc/passwd")
    assert "Invalid argument" in failure(rpc, "torrent-rename-path", ids=[1], path="data/a", name="../x")
    assert failure(rpc, "torrent-rename-path", ids=[1], path="data/x", name="y") == "No such file or directory"


def test_urls_lead_nowhere_into_this_machine_unless_that_is_allowed(rpc: Rpc, session: Session) -> None:
    assert "cannot be fetched" in failure(rpc, "torrent-add", filename="http://127.0.0.1:1/x.torrent")
    trusting = Rpc(session.client, session, fetches_private_urls=True)
    assert "refused" in failure(trusting, "torrent-add", filename="http://127.0.0.1:1/x.torrent").lower()


# ------------------------------------------------------------------ the session


def test_settings_are_changed_and_read_back(rpc: Rpc, session: Session) -> None:
    settings = {
        "alt-speed-down": 3,
        "alt-speed-enabled": True,
        "alt-speed-time-begin": 60,
        "alt-speed-time-day": 65,
        "alt-speed-time-end": 90,
        "blocklist-url": "http://127.0.0.1:1/x",
        "download-queue-size": 2,
        "idle-seeding-limit-enabled": True,
        "peer-limit-global": 77,
        "peer-limit-per-torrent": 11,
        "seedRatioLimit": 1.5,
        "seedRatioLimited": True,
        "sequential_download": True,
        "speed-limit-up": 100,
        "start-added-torrents": False,
    }
    call(rpc, "session-set", **settings, **{"script-torrent-done-enabled": False, "what": 5})
    assert call(rpc, "session-get", fields=list(settings)) == settings
    assert "cannot be changed" in failure(rpc, "session-set", **{"alt-speed-down": 9, "pex-enabled": False})
    assert (session.client.limit_down, session.client.max_connections) == (3000, 77)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("spelling", ["old", "new"])
def test_every_setting_can_be_changed_in_both_spellings(rpc: Rpc, name: str, spelling: str) -> None:
    def ask(method: str, **arguments: Any) -> Any:
        if spelling == "new":
            return rpc.handle({"jsonrpc": "2.0", "method": method, "params": arguments, "id": 1})["result"]  # type: ignore[index]
        (old_name,) = legacy_answer("session_get", {name: None})
        renamed = {old_name if key == name else key: value for key, value in arguments.items()}
        answer = call(rpc, method.replace("_", "-"), **renamed)
        return {name: answer[old_name]} if old_name in answer else answer

    before = ask("session_get")[name]
    other = {"encryption": "required", "peer_port": free_port()}
    usual = {bool: lambda: not before, str: lambda: "http://127.0.0.1:1/list"}.get(type(before), lambda: before - 1)()
    wanted = other.get(name, usual)
    ask("session_set", **{name: wanted})
    after = ask("session_get")[name]
    assert (after, type(after)) == (wanted, type(before))


def test_the_folder_for_what_is_not_complete_is_one_that_data_may_be_in(
    rpc: Rpc, session: Session, world: World
) -> None:
    folder = str(world.folder / "incomplete")
    call(rpc, "session-set", **{"incomplete-dir": folder, "incomplete-dir-enabled": True})
    shown = call(rpc, "session-get", fields=["incomplete-dir", "incomplete-dir-enabled"])
    assert shown == {"incomplete-dir": folder, "incomplete-dir-enabled": True}
    assert "outside" in failure(rpc, "session-set", **{"incomplete-dir": "/etc"})
    assert "not absolute" in failure(rpc, "session-set", **{"incomplete-dir": "x"})
    assert session.settings.incomplete_dir == folder


def test_trackers_of_all_torrents_are_shown_with_those_of_each(rpc: Rpc, session: Session, torrent: Torrent) -> None:
    text = "http://127.0.0.1:1/a\nhttp://127.0.0.1:2/a\n\nudp://127.0.0.1:3"
    call(rpc, "session-set", **{"default-trackers": text})
    assert call(rpc, "session-get")["default-trackers"] == text
    assert session.client.default_trackers[1] == ["udp://127.0.0.1:3"]
    assert "not the URL of a tracker" in failure(rpc, "session-set", **{"default-trackers": "ftp://x/"})
    add(rpc, torrent)
    assert get(rpc, "trackers", "trackerList") == {"trackers": [], "trackerList": ""}
    eventually(lambda: session.torrents[0].active.trackers)
    stats = get(rpc, "trackerStats")["trackerStats"]
    assert [(each["announce"], each["tier"]) for each in stats][2] == ("udp://127.0.0.1:3", 1)
    call(rpc, "session-set", **{"default-trackers": ""})
    eventually(lambda: not get(rpc, "trackerStats")["trackerStats"])


def test_a_port_that_is_taken_and_an_unknown_encryption_change_nothing(rpc: Rpc, session: Session) -> None:
    before = session.client.port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = {"peer-port": taken.getsockname()[1], "speed-limit-up": 1234}
        assert "in use" in failure(rpc, "session-set", **wanted)
    assert "must be one of" in failure(rpc, "session-set", encryption="sometimes")
    assert (session.client.port, session.client.encryption) == (before, "prefer")
    assert session.settings.limit_up != 1_234_000


def test_a_client_that_does_not_listen_is_given_no_port() -> None:
    with Client(port=None, dht=False, lsd=False) as client:
        session = Session(client)
        assert "does not listen" in failure(Rpc(client, session), "session-set", **{"peer-port": 9999})
        session.close()


def test_free_space_and_counters(rpc: Rpc, world: World, torrent: Torrent) -> None:
    free = call(rpc, "free-space", path=str(world.folder))
    assert 0 < free["size-bytes"] <= free["total_size"]
    add(rpc, torrent)
    stats = call(rpc, "session-stats")
    assert (stats["torrentCount"], stats["cumulative-stats"]["sessionCount"]) == (1, 1)
    assert call(rpc, "port-test")["port-is-open"] is False


def test_limits_of_zero_stop_all_traffic(rpc: Rpc, session: Session, torrent: Torrent) -> None:
    add(rpc, torrent, paused=True)
    limits_of_zero = {"speed-limit-down": 0, "speed-limit-down-enabled": True, "speed-limit-up": 0}
    call(rpc, "session-set", **limits_of_zero, **{"speed-limit-up-enabled": True})
    assert (session.client.limit_down, session.client.limit_up) == (0, 0)
    call(rpc, "torrent-set", downloadLimit=0, downloadLimited=True)
    assert session.torrents[0].record.rate_down == 0


def test_torrents_of_a_group_share_its_limits(rpc: Rpc, session: Session, world: World, torrent: Torrent) -> None:
    add(rpc, torrent)
    (added,) = session.torrents
    group = {"speed-limit-down": 0, "speed-limit-down-enabled": True, "honorsSessionLimits": False}
    call(rpc, "group-set", name="slow", **group)
    call(rpc, "torrent-set", group="slow")
    call(rpc, "group-set", name="other")
    assert get(rpc, "group", "honorsSessionLimits") == {"group": "slow", "honorsSessionLimits": True}
    shown = call(rpc, "group-get", name=["slow"])["group"]
    assert shown == [{**group, "name": "slow", "speed-limit-up": 100, "speed-limit-up-enabled": False}]
    assert len(call(rpc, "group-get")["group"]) == 2
    added.active.add_peers(world.seeds(torrent, 1))
    eventually(lambda: added.active.peers)
    assert added.active.wait(0.2) is False
    assert added.active.progress.downloaded == 0
    call(rpc, "torrent-set", honorsSessionLimits=False)
    eventually(lambda: added.active.state == "seeding")
    call(rpc, "torrent-set", group="", honorsSessionLimits=True)
    assert added.active.rate_group is None


def test_slow_rates_hold_at_the_times_of_the_schedule(world: World) -> None:
    now = [time.mktime((2026, 11, 28, 12, 0, 0, 0, 0, -1))]
    client = world.client(port=None)
    session = Session(client, roots=[world.folder], now=lambda: now[0])
    rpc = Rpc(client, session)
    times = {"alt-speed-time-begin": 600, "alt-speed-time-end": 800, "alt-speed-time-day": 64}
    call(rpc, "session-set", **times, **{"alt-speed-time-enabled": True, "alt-speed-down": 7})
    assert call(rpc, "session-get")["alt-speed-enabled"] is True
    assert client.limit_down == 7000
    # What the user says holds until the schedule says something else.
    call(rpc, "session-set", **{"alt-speed-enabled": False})
    assert client.limit_down is None
    now[0] += 3600 * 24
    call(rpc, "session-set", **{"alt-speed-down": 8})
    assert call(rpc, "session-get")["alt-speed-enabled"] is False
    session.close()


@pytest.fixture
def lists(world: World) -> Iterator[WebServer]:
    (world.folder / "lists").mkdir()
    server = WebServer(world.folder / "lists")
    yield server
    server.stop()


def test_a_blocklist_is_fetched_kept_and_switched_off(session: Session, lists: WebServer) -> None:
    client = session.client
    (lists.folder / "list.gz").write_bytes(gzip.compress(b"a:192.0.2.0-192.0.2.255\nb:198.51.100.1-198.51.100.1\n"))
    (lists.folder / "wrong").write_bytes(b"<html>")
    rpc = Rpc(client, session, fetches_private_urls=True)
    call(rpc, "session-set", **{"blocklist-url": f"{lists.url}list.gz", "blocklist-enabled": True})
    assert call(rpc, "blocklist-update") == {"blocklist-size": 2}
    assert client.network.blocks("192.0.2.7")
    assert call(rpc, "session-get", fields=["blocklist-size", "blocklist-enabled"]) == {
        "blocklist-size": 2,
        "blocklist-enabled": True,
    }
    for name, text in (("nothing", "cannot be fetched"), ("wrong", "has no ranges")):
        call(rpc, "session-set", **{"blocklist-url": f"{lists.url}{name}"})
        assert text in failure(rpc, "blocklist-update")
    assert client.network.blocks("192.0.2.7")
    call(rpc, "session-set", **{"blocklist-enabled": False})
    assert not client.network.blocks("192.0.2.7")
    assert "cannot be fetched" in failure(Rpc(client, session), "blocklist-update")


def test_cookies_go_along_with_the_request_for_a_torrent(session: Session, lists: WebServer, torrent: Torrent) -> None:
    (lists.folder / "a.torrent").write_bytes(torrent.to_bytes())
    rpc = Rpc(session.client, session, fetches_private_urls=True)
    call(rpc, "torrent-add", filename=f"{lists.url}a.torrent", cookies="a=b; c=d")
    assert lists.asked[0].headers["cookie"] == "a=b; c=d"
    assert "printable" in failure(rpc, "torrent-add", filename=lists.url, cookies="a=b\r\nX: y")


# ------------------------------------------------------------------ over HTTP


@pytest.fixture
def visitor(session: Session, rpc: Rpc, serving_http: MakeServer) -> Visitor:
    parts = {"/transmission": rpc_app(session.client, session, rpc=rpc)}
    return Visitor(serving_http(make_app(session.client, session.settings.download_dir, parts=parts)))


@pytest.mark.parametrize("path", ["/transmission/rpc", "/transmission/rpc/", "/transmission/rpc?x=1"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_request_without_the_session_id_is_told_it(visitor: Visitor, rpc: Rpc, path: str, method: str) -> None:
    reply = visitor.ask(path, method)
    assert (reply.code, reply.headers["X-Transmission-Session-Id"]) == (409, rpc.session_id)
    assert len(rpc.session_id) == 48


def test_a_request_with_the_session_id_is_answered(visitor: Visitor, rpc: Rpc) -> None:
    known = {"X_Transmission_Session_Id": rpc.session_id}
    body = b'{"method": "torrent-get", "arguments": {"fields": ["id"], "ids": []}}\n'
    reply = visitor.ask("/transmission/rpc/", "POST", body, **known)
    assert (reply.code, reply.json["result"]) == (200, "success")
    body = b'{"method": "session-get"}'
    packed = visitor.ask("/transmission/rpc", "POST", body, Accept_Encoding="gzip", **known)
    assert json.loads(gzip.decompress(packed.body))["result"] == "success"
    assert visitor.ask("/transmission/rpc", **known).code == 405
    notification = b'{"jsonrpc": "2.0", "method": "session_get"}'
    assert visitor.ask("/transmission/rpc", "POST", notification, **known).code == 204


def test_a_request_that_is_too_long_is_refused(visitor: Visitor, rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RPC_BODY", 100)
    assert visitor.ask("/transmission/rpc", "POST", b"x" * 101, X_Transmission_Session_Id=rpc.session_id).code == 413


def test_another_site_and_another_name_are_refused(visitor: Visitor, rpc: Rpc) -> None:
    known = {"X_Transmission_Session_Id": rpc.session_id}
    assert visitor.ask("/transmission/rpc", "POST", b"{}", Origin="http://evil.example", **known).code == 403
    assert visitor.ask("/transmission/rpc", "POST", b"{}", Host="evil.example", **known).code == 421


# ------------------------------------------------------------------ without a session of the program's


class Remote:
    """Remote control over HTTP."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.session_id = visitor.ask("/transmission/rpc").headers["X-Transmission-Session-Id"]

    def call(self, method: str, **arguments: Any) -> Any:
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        reply = self.visitor.ask("/transmission/rpc", "POST", body, X_Transmission_Session_Id=self.session_id).json
        assert reply["result"] == "success", reply
        return reply["arguments"]

    def statuses(self) -> list[int]:
        torrents = self.call("torrent-get", fields=["name", "status"])["torrents"]
        return [torrent["status"] for torrent in sorted(torrents, key=lambda torrent: torrent["name"])]


def test_a_client_alone_is_controlled_as_its_program_has_made_it(world: World, serving_http: MakeServer) -> None:
    client = world.client(limit_down=5000, limit_up=0, max_connections=7)
    torrents = [world.torrent(f"number {number}") for number in range(7)]
    added = [world.download(each, [], client=client) for each in torrents]
    added[0].pause()
    folder = world.folder / "added"
    remote = Remote(Visitor(serving_http(make_app(client, folder))))
    settings = remote.call("session-get")
    assert (client.limit_down, client.limit_up, client.max_connections) == (5000, 0, 7)
    assert (settings["speed-limit-down"], settings["speed-limit-up"], settings["peer-limit-global"]) == (5, 0, 7)
    assert settings["download-dir"] == str(folder)
    eventually(lambda: remote.statuses() == [0, 4, 4, 4, 4, 4, 4])  # stopped, downloading
    remote.call("torrent-start")
    eventually(lambda: [each.state for each in added] == ["downloading"] * 7)
    added[0].pause()
    remote.call("torrent-start")
    eventually(lambda: added[0].state == "downloading")
    remote.call("torrent-stop")
    eventually(lambda: [each.state for each in added] == ["paused"] * 7)
    added[0].resume()
    remote.call("torrent-stop")
    eventually(lambda: added[0].state == "paused")


def test_what_the_page_does_is_seen_by_remote_control(world: World, torrent: Torrent, serving_http: MakeServer) -> None:
    client = world.client()
    visitor = Visitor(serving_http(make_app(client, world.folder / "added")))
    remote = Remote(visitor)
    active = world.download(torrent, [], client=client)
    token = visitor.ask("/api/torrents", "POST").headers["X-Geventbt-Token"]
    for action, status in (("pause", 0), ("resume", 4)):
        path = f"/api/torrents/{active.info_hash.hex()}/{action}"
        assert visitor.ask(path, "POST", b"{}", X_Geventbt_Token=token).code < 300
        eventually(lambda status=status: remote.statuses() == [status])


class FullBackend(MemoryBackend):
    """Has no room until it is given some."""

    room = False

    def write(self, file: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        if not self.room:
            raise StorageError(errno.EROFS, "no room")
        super().write(file, offset, data)


def test_a_torrent_that_has_failed_goes_on_in_the_storage_that_its_program_chose(
    world: World, torrent: Torrent, serving_http: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client(port=None)
    remote = Remote(Visitor(serving_http(make_app(client, world.folder / "added"))))
    active = world.download(torrent, world.seeds(torrent, 1), client=client, storage=FullBackend)
    eventually(lambda: active.state == "failed")
    monkeypatch.setattr(FullBackend, "room", True)
    remote.call("torrent-start")
    eventually(lambda: active.state == "seeding")
    assert client.torrents[active.info_hash] is active


def test_remote_control_of_the_programs_own_takes_the_place(
    session: Session, rpc: Rpc, visitor: Visitor, serving_http: MakeServer
) -> None:
    assert Remote(visitor).session_id == rpc.session_id
    without = make_app(session.client, control=SessionControl(session))
    assert Visitor(serving_http(without)).ask("/transmission/rpc").code == 404
