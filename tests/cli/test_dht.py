"""`geventbt dht`, and what the other commands do with the DHT: its state across runs, and what is shown of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

import geventbt
from tests.cli_harness import assert_one_line, json_lines, of_event, run_here
from tests.loopback.harness import eventually

HASH = "ab" * 20


@pytest.fixture
def nodes() -> Iterator[list[geventbt.DHT]]:
    """Two nodes on loopback that know each other."""
    with geventbt.DHT(0, "127.0.0.1", routers=()) as first, geventbt.DHT(0, "127.0.0.1", routers=()) as second:
        first.add_node(("127.0.0.1", second.port))
        second.add_node(("127.0.0.1", first.port))
        eventually(lambda: first.status().nodes and second.status().nodes)
        yield [first, second]


@pytest.fixture
def node(nodes: list[geventbt.DHT]) -> str:
    """The address of one of them."""
    return f"127.0.0.1:{nodes[0].port}"


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


# ---------------------------------------------------------------------- geventbt dht


def test_what_is_announced_is_found(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("dht", "announce", HASH, "--port", 4242, "--dht-node", node) == 0
    assert shown(capsys).startswith("announced to 2 nodes")
    assert run_here("dht", "peers", HASH, "--dht-node", node) == 0
    assert shown(capsys) == "127.0.0.1:4242\n"
    assert run_here("dht", "peers", HASH, "--dht-node", node, "--json") == 0
    assert json_lines(shown(capsys)) == [{"event": "peer", "address": "127.0.0.1:4242"}, {"event": "done", "peers": 1}]


def test_a_torrent_without_peers_is_an_error(node: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("dht", "peers", HASH, "--dht-node", node) == 5
    assert_one_line(capsys.readouterr().err)


def test_an_item_is_stored_and_read(node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note = tmp_path / "note.txt"
    note.write_bytes(b"a note\n")
    assert run_here("dht", "put", note, "--dht-node", node) == 0
    target = shown(capsys).strip()
    assert run_here("dht", "get", target, "--dht-node", node, "--json") == 0
    (item,) = json_lines(shown(capsys))
    assert item == {"event": "item", "target": target, "value": "a note\n", "seq": None, "key": None}
    assert run_here("dht", "get", HASH, "--dht-node", node) == 3


def test_an_item_of_a_key_is_replaced(node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note, key = tmp_path / "note.txt", tmp_path / "key"
    key.write_text("5a" * 32)
    signed = ["--key", key, "--salt", "notes", "--dht-node", node, "--json"]
    for number, text in enumerate((b"first", b"second"), 1):
        note.write_bytes(text)
        assert run_here("dht", "put", note, *signed) == 0
        (stored,) = json_lines(shown(capsys))
        assert (stored["seq"], stored["nodes"]) == (number, 2)
    assert run_here("dht", "put", note, *signed, "--cas", 1) == 5
    capsys.readouterr()
    assert run_here("dht", "get", stored["target"], "--dht-node", node, "--salt", "notes", "--json") == 0
    (item,) = json_lines(shown(capsys))
    assert (item["value"], item["seq"]) == ("second", 2)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["announce", HASH], 2),
        (["get", "xyz"], 2),
        (["get", "ab"], 2),
        (["put", "missing.txt"], 3),
        (["put", "big", "--salt", "x"], 2),
        (["put", "big"], 2),
        (["put", "small", "--key", "small"], 4),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(
    node: str, tmp_path: Path, arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "big").write_bytes(bytes(1000))
    (tmp_path / "small").write_bytes(b"x")
    action, *rest = (tmp_path / word if word in ("big", "small") else word for word in arguments)
    assert run_here("dht", action, *rest, "--dht-node", node) == code
    assert_one_line(capsys.readouterr().err)


@pytest.mark.parametrize("routers", ["", "nowhere.invalid:6881"], ids=["none", "unknown"])
def test_that_there_are_no_nodes_is_said_without_waiting_for_some(
    routers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GEVENTBT_DHT_ROUTERS", routers)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with gevent.Timeout(15):
        assert run_here("dht", "peers", HASH) == 5
    assert capsys.readouterr().err == (
        "geventbt: no node of the DHT answers; check the network, or name one with --dht-node\n"
    )


def test_a_closed_standard_input_is_one_line(
    node: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert run_here("dht", "put", "-", "--dht-node", node) == 2
    assert_one_line(capsys.readouterr().err)


# ---------------------------------------------------------------------- the state across runs


@pytest.fixture
def public(nodes: list[geventbt.DHT], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for state, where the public routers are a node of ours."""
    monkeypatch.delenv("GEVENTBT_DHT_ROUTERS")
    monkeypatch.setattr("geventbt.discovery.dht.first_nodes.ROUTERS", (("127.0.0.1", nodes[0].port),))
    monkeypatch.setattr("geventbt.limits.DHT_IDLE_START", 0.0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_the_next_run_begins_with_the_nodes_of_the_last(
    nodes: list[geventbt.DHT], public: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes[1].announce(HASH, 4242)
    assert run_here("dht", "peers", HASH) == 0
    saved = public / "geventbt" / "dht.state"
    monkeypatch.setattr("geventbt.discovery.dht.first_nodes.ROUTERS", ())
    capsys.readouterr()
    assert run_here("dht", "peers", HASH) == 0
    assert shown(capsys) == "127.0.0.1:4242\n"
    assert {path.name for path in saved.parent.iterdir()} == {saved.name, f"{saved.name}.lock"}
    before = saved.read_bytes()
    geventbt.DHT(0, "127.0.0.1", routers=(), state=saved).close()
    assert saved.read_bytes() == before, "a run in which no node answers forgets nothing"


def test_a_folder_that_cannot_be_written_is_one_line_of_the_log(
    nodes: list[geventbt.DHT], public: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    nodes[1].announce(HASH, 4242)
    public.write_bytes(b"a file in the place of the folder")
    assert run_here("dht", "peers", HASH) == 0
    assert shown(capsys) == "127.0.0.1:4242\n"
    (record,) = caplog.records
    assert "dht.state" in record.getMessage()


def test_nodes_that_are_named_have_no_state(node: str, public: Path) -> None:
    run_here("dht", "peers", HASH, "--dht-node", node)
    assert not public.exists()


# ---------------------------------------------------------------------- what is shown of it


@pytest.fixture
def seeded(nodes: list[geventbt.DHT], torrent_file: Path, origin: Path) -> Iterator[str]:
    """A bare magnet link whose seeder only the DHT knows."""
    with geventbt.seed(torrent_file, origin, ("127.0.0.1", 0), dht=nodes[1], limit_up=200 << 10) as client:
        (torrent,) = client.torrents.values()
        nodes[1].announce(torrent.info_hash, client.port or 0, seed=True)
        yield f"magnet:?xt=urn:btih:{torrent.info_hash.hex()}"


def test_programs_are_told_of_each_source(
    seeded: str, node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-o", tmp_path / "out", "--dht-node", node, "--tracker", "http://127.0.0.1:1/announce"]
    assert run_here("download", seeded, *options, "--json", "-v") == 0
    lines = of_event(json_lines(shown(capsys)), "progress")
    sources = {source["name"]: source for source in lines[-1]["sources"]}
    assert set(sources) == {"dht", "pex", "http://127.0.0.1:1/announce"}
    assert (sources["dht"]["peers"], sources["dht"]["nodes"], sources["dht"]["stored"]) == (1, 2, 2)
    assert sources["dht"]["error"] is None
    assert 0 <= sources["dht"]["asked_ago"] < 60
    assert 600 < sources["dht"]["next_in"] < 1100
    assert "refused" in sources["http://127.0.0.1:1/announce"]["error"]
    assert any(peer["sources"] == ["dht"] and "H" in peer["flags"] for line in lines for peer in line["connections"])


def test_the_plain_view_has_a_line_for_the_dht(
    seeded: str, node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("geventbt.cli.views.PLAIN_INTERVAL", 0.1)
    monkeypatch.setattr("geventbt.cli.views.FIRST_LINE", 0.1)
    assert run_here("download", seeded, "-o", tmp_path / "out", "--dht-node", node, "-v") == 0
    assert "\n  DHT: 2 nodes, 1 peer, announced to 2 nodes, " in capsys.readouterr().err
