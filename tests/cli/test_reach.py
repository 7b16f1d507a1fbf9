"""--proxy, --interface, --ip-filter and --no-port-mapping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from geventbt.cli.errors import CORRUPT, DONE, NETWORK, NOT_FOUND, UNFINISHED, USAGE
from tests.cli_harness import Call, run_here
from tests.loopback.fake_trackers import FakeHttp, ok
from tests.loopback.proxy_server import ProxyServer


@pytest.fixture
def proxy() -> Iterator[ProxyServer]:
    server = ProxyServer(names={"web.test": "127.0.0.1"}, login=("me", "secret"))
    yield server
    server.close()


def test_the_torrent_and_its_data_come_through_the_proxy(call: Call, proxy, torrent_file: Path, seeder, tmp_path):
    web = FakeHttp({"/shared.torrent": ok(torrent_file.read_bytes())})
    url = web.url("/shared.torrent", "web.test")
    outcome = call("download", url, "-o", tmp_path / "out", "--peer", seeder, "--proxy", proxy.url(), "--json")
    web.close()
    assert outcome.returncode == DONE, outcome.stderr
    assert ("web.test", web.port) in proxy.asked
    host, _, port = seeder.partition(":")
    assert (host, int(port)) in proxy.asked
    assert "secret" not in outcome.stdout + outcome.stderr


def test_a_seed_behind_a_proxy_says_that_nothing_listens(call: Call, proxy, torrent_file, origin):
    outcome = call("seed", torrent_file, origin, "--proxy", proxy.url(), "--seed-time", "0", "--no-dht")
    assert outcome.returncode == DONE, outcome.stderr
    assert "to peers that can be connected to" in outcome.stdout


def test_a_peer_can_be_asked_through_the_proxy(call: Call, proxy, torrent_file, seeder):
    outcome = call("peer", seeder, torrent_file, "--wait", "0", "--proxy", proxy.url("http"))
    assert outcome.returncode == DONE, outcome.stderr
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("text", ["socks4://me:secret@host", "me:secret@host", "http://me:secret@host:0"])
def test_what_is_not_a_proxy_is_a_usage_error_that_does_not_show_it(capsys, monkeypatch, text):
    with pytest.raises(SystemExit) as ended:
        run_here("download", "x", "--proxy", text)
    assert ended.value.code == USAGE
    monkeypatch.setenv("GEVENTBT_PROXY", text)
    with pytest.raises(SystemExit):
        run_here("download", "x")
    first, second = capsys.readouterr().err.splitlines()
    assert "--proxy: not the URL of a proxy" in first
    assert "GEVENTBT_PROXY: not the URL of a proxy" in second
    assert "secret" not in first + second


def test_a_proxy_that_is_gone_is_named(call: Call, torrent_file, seeder, tmp_path):
    proxy = ("--proxy", "socks5://me:secret@127.0.0.1:1")
    outcome = call("download", torrent_file, "-o", tmp_path / "out", "--peer", seeder, *proxy, "--no-dht")
    assert outcome.returncode in (NETWORK, UNFINISHED)
    assert "the proxy socks5://127.0.0.1:1 cannot be reached: Connection refused" in outcome.stderr
    assert "secret" not in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--interface", "nosuch0"), NETWORK, "interface nosuch0: there is no such device or address"),
        (("--interface", "192.0.2.1"), NETWORK, "interface 192.0.2.1: it is not an address of this machine"),
        (("--ip-filter", "nosuch.p2p"), NOT_FOUND, "nosuch.p2p: No such file"),
        (("--ip-filter", __file__), CORRUPT, "has no ranges"),
        (("--proxy", "http://127.0.0.1:1", "-o", "s3://bucket"), USAGE, "s3://bucket would be reached past --proxy"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(call: Call, torrent_file, tmp_path, arguments, code, message):
    outcome = call("download", torrent_file, "-o", tmp_path / "out", *arguments)
    assert outcome.returncode == code
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_peer_that_is_blocked_is_not_connected_to(call: Call, torrent_file, seeder, tmp_path):
    (tmp_path / "ranges").write_text("127.0.0.0/8\n")
    options = ("--ip-filter", tmp_path / "ranges", "--no-dht")
    outcome = call("download", torrent_file, "-o", tmp_path / "out", "--peer", seeder, *options)
    assert outcome.returncode in (NETWORK, UNFINISHED)


def test_a_download_may_be_from_one_interface(call: Call, torrent_file, seeder, tmp_path):
    for number, interface in enumerate(("lo", "127.0.0.2")):
        options = ("-o", tmp_path / str(number), "--peer", seeder, "--no-dht", "--no-lsd", "--no-port-mapping")
        outcome = call("download", torrent_file, *options, "--interface", interface)
        assert outcome.returncode == DONE, outcome.stderr


def test_the_dht_needs_a_proxy_that_carries_udp(call: Call):
    outcome = call("dht", "peers", "0" * 40, "--proxy", "http://127.0.0.1:1")
    assert outcome.returncode == USAGE
    assert "needs UDP" in outcome.stderr
