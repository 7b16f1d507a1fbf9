"""Downloads from web seeds: whole ones, beside peers, and from servers that do not do as they should."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

import geventbt
from geventbt import limits
from geventbt.errors import NoPeersError
from tests.loopback.harness import eventually
from tests.loopback.web_server import Answer, WebServer
from tests.loopback.world import World, done_soon, serve_well, stay_silent

PIECE = 32 * limits.KIB


@pytest.fixture
def serve(world: World) -> Callable[..., WebServer]:
    """Starts web servers that have the data of the torrents."""

    def start(behave=lambda asked, answer: None, **options) -> WebServer:
        server = WebServer(world.origin, behave, **options)
        world.servers.append(server)
        return server

    return start


@pytest.fixture
def fast_retries(monkeypatch) -> Iterator[None]:
    """Pauses after failures take hundredths of a second, not seconds."""
    for name in ("WEB_SEED_RESUME", "WEB_SEED_RETRY", "BUSY_RETRY", "MIN_RETRY_AFTER"):
        monkeypatch.setattr(limits, name, 0.01)
    return


def one_file(world: World, size: int = 1_000_000, name: str = "file.bin"):
    """A torrent of one file, not in a folder."""
    world.origin.mkdir(exist_ok=True)
    (world.origin / name).write_bytes(random.Random(name).randbytes(size))
    return world.made(geventbt.create_torrent(world.origin / name, piece_length=PIECE))


def fetch(world: World, torrent, *seeds: str, peers=(), seconds: float = 15, **options):
    """Download a torrent from web seeds, and check every byte."""
    job = world.download(torrent, list(peers), web_seeds=seeds, fail_without_peers=True, **options)
    assert done_soon(job, seconds), job.web_seeds
    world.assert_complete(torrent)
    return job


def ranges_of(server: WebServer) -> list[tuple[int, int]]:
    return [asked.range for asked in server.asked if asked.range]


# ------------------------------------------------------------------ whole downloads


def test_a_torrent_of_several_files_comes_from_a_web_seed_alone(world, serve):
    torrent, server = world.torrent(), serve()
    job = fetch(world, torrent, server.url)
    (seed,) = job.web_seeds
    assert (seed.url, seed.downloaded, seed.error, seed.wrong_pieces) == (server.url, torrent.geometry.length, None, 0)
    assert job.progress.downloaded == torrent.geometry.length
    assert job.progress.wasted == 0
    assert [asked.path for asked in server.asked] == ["/data/a", "/data/b", "/data/c"]


def test_a_file_comes_in_one_request_where_it_is_short(world, serve):
    torrent, server = one_file(world), serve()
    fetch(world, torrent, f"{server.url}file.bin")
    assert ranges_of(server) == [(0, 1_000_000)]


def test_the_url_of_a_folder_has_the_name_of_the_file_added(world, serve):
    torrent, server = one_file(world), serve()
    fetch(world, torrent, server.url)
    assert {asked.path for asked in server.asked} == {"/file.bin"}


def test_a_folder_of_one_file_is_asked_for_with_its_folder(world, serve):
    torrent, server = world.torrent("folder", only=100_000), serve()
    fetch(world, torrent, server.url.rstrip("/"))
    assert {asked.path for asked in server.asked} == {"/folder/only"}


def test_odd_names_are_escaped(world, serve):
    names = ["with blank", "100%", "a#b", "what?", "ä 文", "a%20b", "semi;colon&amp"]
    torrent, server = world.torrent("odd ü #?%", **dict.fromkeys(names, 50_000)), serve()
    fetch(world, torrent, server.url)
    assert {asked.path for asked in server.asked} == {f"/odd ü #?%/{name}" for name in names}


def test_the_seeds_of_the_torrent_itself_are_used_unless_the_user_wants_none(world, serve):
    server = serve()
    world.torrent()
    torrent = world.made(geventbt.create_torrent(world.origin / "data", piece_length=PIECE, web_seeds=[server.url]))
    with pytest.raises(NoPeersError):
        world.download(torrent, [], web_seeds=False, fail_without_peers=True, folder="none").wait(10)
    assert not server.asked
    fetch(world, torrent)


def test_padding_is_not_asked_for(world, serve):
    world.torrent("padded", a=50_000, b=40_000)
    torrent = geventbt.create_torrent(world.origin / "padded", piece_length=PIECE, version="hybrid")
    assert any(file.padding for file in torrent.files)
    server = serve()
    fetch(world, torrent, server.url)
    assert {asked.path for asked in server.asked} == {"/padded/a", "/padded/b"}


def test_only_the_files_that_are_wanted_are_asked_for(world, serve):
    torrent, server = world.torrent(piece_length=PIECE, a=5 * PIECE, b=5 * PIECE), serve()
    job = world.download(torrent, [], web_seeds=[server.url], files=[1])
    assert done_soon(job)
    assert {asked.path for asked in server.asked} == {"/data/b"}


def test_a_reader_is_served_first_in_one_small_range(world, serve):
    torrent, server = one_file(world, 8_000_000), serve(rate=2_000_000)
    job = world.download(torrent, [], web_seeds=[server.url])
    eventually(lambda: server.asked)
    with job.open(0) as file:
        file.seek(6_000_000)
        assert file.read(100) == world.data(torrent)[6_000_000:6_000_100]
    first, urgent = ranges_of(server)[:2]
    assert first[0] == 0
    assert urgent[0] // PIECE == 6_000_000 // PIECE
    assert urgent[1] - urgent[0] <= limits.WEB_SEED_URGENT_RUN


# ------------------------------------------------------------------ beside others


def test_mirrors_share_the_work(world, serve):
    torrent = one_file(world, 12_000_000)
    servers = [serve(rate=8_000_000), serve(rate=8_000_000)]
    job = fetch(world, torrent, *(server.url for server in servers))
    assert all(seed.downloaded > 2_000_000 for seed in job.web_seeds)
    assert sum(seed.downloaded for seed in job.web_seeds) < 1.1 * torrent.geometry.length


@pytest.mark.parametrize("slow", [1, 2])
def test_the_slowest_connection_to_a_web_seed_holds_up_nothing(world, serve, monkeypatch, slow):
    monkeypatch.setattr(limits, "WEB_SEED_SAMPLE", 0.2)
    torrent = one_file(world, 12_000_000)
    # One before the slow one is worth it by far, also on a busy machine: so the slow one is opened.
    server = serve(rate=lambda connection: {slow: 50_000, slow - 1: 6_000_000}.get(connection, 1_000_000))
    fetch(world, torrent, server.url)
    assert server.most > slow


def test_peers_and_a_web_seed_share_the_work(world, serve, monkeypatch):
    monkeypatch.setattr(limits, "WEB_SEED_DELAY", 0.0)
    torrent, server = one_file(world, 6_000_000), serve(rate=4_000_000)
    peer = ("127.0.0.1", world.seed(torrent, limit_up=4_000_000).port)
    job = fetch(world, torrent, server.url, peers=[peer])
    (seed,) = job.web_seeds
    assert 500_000 < seed.downloaded < 5_500_000
    assert job.progress.wasted < 500_000


def test_a_peer_takes_over_what_a_slow_web_seed_has_reserved(world, serve, monkeypatch):
    monkeypatch.setattr(limits, "WEB_SEED_DELAY", 0.0)
    torrent, server = one_file(world, 3_000_000), serve(rate=100_000)
    job = world.download(torrent, [], web_seeds=[server.url])
    eventually(lambda: server.asked)
    job.add_peers(world.seeds(torrent, 1))
    assert done_soon(job, 10)
    world.assert_complete(torrent)


def test_what_a_silent_peer_was_asked_for_comes_from_the_web_seed(world, serve, monkeypatch):
    monkeypatch.setattr(limits, "WEB_SEED_DELAY", 0.0)
    torrent, server = one_file(world), serve()
    fetch(world, torrent, server.url, peers=[world.odd(torrent, stay_silent)])


def test_what_a_silent_web_seed_was_asked_for_comes_from_peers(world, serve, monkeypatch):
    monkeypatch.setattr(limits, "WEB_SEED_DELAY", 0.0)
    monkeypatch.setattr(limits, "WEB_SEED_PATIENCE", 0.3)
    torrent = one_file(world)

    def hang(asked, answer):
        return answer._replace(body=answer.body[:40_000], length=len(answer.body))

    server = serve(hang)
    job = world.download(torrent, [], web_seeds=[server.url])
    eventually(lambda: job.web_seeds and job.web_seeds[0].downloaded)
    job.add_peers([world.odd(torrent, serve_well)])
    assert done_soon(job)
    world.assert_complete(torrent)


def test_a_web_seed_is_not_asked_while_faster_peers_are_there(world, serve, monkeypatch):
    torrent, server = one_file(world), serve()
    job = world.download(torrent, world.seeds(torrent, 1), web_seeds=[server.url])
    assert done_soon(job)
    assert not server.asked
    assert job.web_seeds[0].state == "idle"


def test_one_host_has_at_most_six_connections_of_all_torrents(world, serve, monkeypatch):
    server = serve(rate=300_000)
    client = world.client(port=None)
    jobs = []
    for number in range(9):
        torrent = one_file(world, 300_000, f"file{number}")
        jobs.append(client.add(torrent, world.folder / "out", web_seeds=[server.url]))
    for job in jobs:
        assert done_soon(job)
    assert server.most <= limits.HOST_CONNECTIONS


def test_redirects_lead_at_most_six_connections_to_one_host(world, serve, monkeypatch):
    monkeypatch.setattr(limits, "HOST_BUSY_RETRY", 1.1)
    mirror = serve(rate=300_000, host="127.0.0.2")

    def lead_there(asked, answer):
        return Answer("302 Found", {"Location": f"{mirror.url}{asked.path[1:]}", "Connection": "close"}, closes=True)

    server = serve(lead_there)
    client = world.client(port=None)
    jobs = []
    for number in range(9):
        torrent = one_file(world, 150_000, f"file{number}")
        jobs.append(client.add(torrent, world.folder / "out", web_seeds=[server.url]))
    for job in jobs:
        assert done_soon(job)
        assert job.web_seeds[0].downloaded == 150_000
    assert mirror.most <= limits.HOST_CONNECTIONS


def test_a_server_that_closes_each_connection_is_connected_to_ahead(world, serve):
    names = [f"file{number}" for number in range(9)]
    torrent = world.torrent(piece_length=PIECE, **dict.fromkeys(names, 40_000))

    def once(asked, answer):
        return answer._replace(headers={**answer.headers, "Connection": "close"}, closes=True)

    server = serve(once, rate=1_000_000)
    fetch(world, torrent, server.url)
    assert len(server.asked) == len(names)
    assert server.most >= 2


def test_a_rate_limit_holds_for_web_seeds(world, serve):
    torrent, server = one_file(world), serve()
    job = world.download(torrent, [], web_seeds=[server.url], limit_down=600_000)
    eventually(lambda: job.progress.done > 300_000)
    assert job.progress.downloaded < torrent.geometry.length
    assert done_soon(job)


def test_pausing_closes_the_connections_and_going_on_opens_them(world, serve):
    torrent, server = one_file(world), serve(rate=2_000_000)
    job = world.download(torrent, [], web_seeds=[server.url])
    eventually(lambda: job.progress.done)
    job.pause()
    eventually(lambda: not server.connections)
    job.resume()
    assert done_soon(job)
    world.assert_complete(torrent)
    assert job.progress.downloaded < 1.2 * torrent.geometry.length


# ------------------------------------------------------------------ servers as they are


def test_a_server_without_ranges_sends_the_file_once(world, serve):
    torrent = one_file(world, 10_000_000)
    whole = world.data(torrent)
    server = serve(lambda asked, answer: Answer("200 OK", {}, whole))
    fetch(world, torrent, server.url)
    assert len(server.asked) == 1


def test_a_server_that_cuts_its_answers_is_resumed_at_the_missing_byte(world, serve, fast_retries):
    torrent = one_file(world, 200_000)

    def cut(asked, answer):
        return answer._replace(body=answer.body[:10_000], length=len(answer.body), closes=True)

    server = serve(cut)
    job = fetch(world, torrent, server.url)
    assert [start for start, _ in ranges_of(server)][:4] == [0, 10_000, 20_000, 30_000]
    assert job.web_seeds[0].downloaded == torrent.geometry.length, ranges_of(server)


@pytest.mark.parametrize("status", ["503 Busy", "429 Too Many Requests", "500 Oops", "502 Bad Gateway"])
def test_a_server_that_is_busy_is_asked_again(world, serve, fast_retries, status):
    torrent = one_file(world)

    def busy_at_first(asked, answer):
        return Answer(status, {}) if len(server.asked) <= 2 else None

    server = serve(busy_at_first)
    fetch(world, torrent, server.url)


def test_the_status_says_when_a_busy_server_is_asked_again(world, serve):
    torrent, server = one_file(world), serve(lambda asked, answer: Answer("503 Busy", {"Retry-After": "77"}))
    job = world.download(torrent, [], web_seeds=[server.url])
    eventually(lambda: job.web_seeds and job.web_seeds[0].state == "waiting")
    (seed,) = job.web_seeds
    assert 70 < seed.next_try <= 77
    assert "503 Busy" in seed.error


@pytest.mark.parametrize(
    "status", ["401 Who", "403 Forbidden", "404 Not Found", "410 Gone", "416 Range Not Satisfiable"]
)
def test_a_server_that_refuses_is_off_and_the_download_says_why(world, serve, status):
    torrent, server = one_file(world), serve(lambda asked, answer: Answer(status, {}))
    job = world.download(torrent, [], web_seeds=[server.url], fail_without_peers=True)
    with pytest.raises(NoPeersError, match=status):
        job.wait(10)
    assert job.web_seeds[0].state == "off"
    assert len(server.asked) == 1


def test_a_dead_server_is_the_end_of_a_download_without_peers(world, fast_retries):
    torrent = one_file(world)
    job = world.download(torrent, [], web_seeds=["http://127.0.0.1:1/"], fail_without_peers=True)
    with pytest.raises(NoPeersError, match="refused"):
        job.wait(10)


def test_a_missing_file_costs_only_itself(world, serve):
    torrent = world.torrent(a=3 * PIECE, b=2 * PIECE, c=3 * PIECE)
    server = serve(lambda asked, answer: Answer("404 Not Found", {}) if asked.path.endswith("b") else None)
    job = world.download(torrent, [], web_seeds=[server.url], files=[0, 2])
    assert done_soon(job)
    job.select([0, 1, 2])
    other = serve()
    world.download(torrent, [], web_seeds=[server.url, other.url], folder="both")
    assert done_soon(world.clients[-1].torrents[torrent.info_hash])
    world.assert_complete(torrent, "both")


@pytest.mark.parametrize("size", [999_999, 1_000_001, 10])
def test_another_version_of_a_file_is_not_used(world, serve, size):
    torrent = one_file(world)
    server = serve()
    server.folder = world.folder / "other"
    server.folder.mkdir()
    (server.folder / "file.bin").write_bytes(bytes(size))
    job = world.download(torrent, [], web_seeds=[server.url], fail_without_peers=True)
    with pytest.raises(NoPeersError):
        job.wait(10)
    assert job.web_seeds[0].downloaded == 0


ODD_ANSWERS = {
    "another range": lambda asked, answer: answer._replace(headers={"Content-Range": "bytes 1-9/1000000"}),
    "no range": lambda asked, answer: answer._replace(headers={}),
    "several ranges": lambda asked, answer: answer._replace(
        headers={"Content-Type": "multipart/byteranges; boundary=x"}
    ),
    "an encoding": lambda asked, answer: answer._replace(headers={**answer.headers, "Content-Encoding": "gzip"}),
    "a longer body": lambda asked, answer: answer._replace(body=answer.body + b"x"),
    "a status that is none of this": lambda asked, answer: answer._replace(status="299 Odd"),
}


@pytest.mark.parametrize("odd", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_an_answer_that_was_not_asked_for_is_refused(world, serve, fast_retries, odd):
    torrent, server = one_file(world), serve(odd)
    job = world.download(torrent, [], web_seeds=[server.url], fail_without_peers=True)
    with pytest.raises(NoPeersError):
        job.wait(10)
    assert job.web_seeds[0].downloaded == 0
    assert limits.WEB_SEED_FAILURES <= len(server.asked) < 5 * limits.WEB_SEED_FAILURES


def test_a_chunked_answer_is_taken_if_it_has_the_right_length(world, serve):
    torrent = one_file(world, 100_000)

    def chunked(asked, answer):
        body = b"".join(
            b"%x\r\n%s\r\n" % (len(part), part)
            for part in (answer.body[start : start + 7_000] for start in range(0, len(answer.body), 7_000))
        )
        headers = {**answer.headers, "Transfer-Encoding": "chunked"}
        return answer._replace(headers=headers, body=body + b"0\r\n\r\n", length=-1)

    fetch(world, torrent, serve(chunked).url)


def test_a_redirect_is_followed_and_remembered(world, serve):
    torrent, mirror = one_file(world, 9_000_000), serve()
    server = serve(lambda asked, answer: Answer("302 Found", {"Location": f"{mirror.url}{asked.path[1:]}"}))
    fetch(world, torrent, server.url)
    assert len(server.asked) == 1
    assert len(mirror.asked) == 2


def test_a_login_is_sent_and_never_shown(world, serve, caplog):
    caplog.set_level("DEBUG")
    torrent = one_file(world)

    def check(asked, answer):
        return None if asked.headers.get("authorization") == "Basic YW5uOnNlY3JldA==" else Answer("401 Who", {})

    server = serve(check)
    job = fetch(world, torrent, server.url.replace("http://", "http://ann:secret@"))
    refused = world.download(torrent, [], web_seeds=[server.url.replace("http://", "http://ann:wrong@")], folder="x")
    eventually(lambda: refused.web_seeds and refused.web_seeds[0].state == "off")
    shown = f"{job.web_seeds} {refused.web_seeds} {caplog.text}"
    assert "401" in shown
    assert not [word for word in ("secret", "wrong@", "YW5u") if word in shown]


# ------------------------------------------------------------------ bad data


def corrupt(every: int):
    """One wrong byte in every so many."""

    def behave(asked, answer):
        if not asked.range:
            return None
        body = bytearray(answer.body)
        first = -asked.range[0] % every
        for place in range(first, len(body), every):
            body[place] ^= 1
        return answer._replace(body=bytes(body))

    return behave


def test_a_seed_with_wrong_data_completes_no_wrong_piece_and_is_off_after_five(world, serve):
    torrent = one_file(world, 4_000_000)
    server = serve(corrupt(300_000), rate=4_000_000)
    job = world.download(torrent, [], web_seeds=[server.url], fail_without_peers=True)
    with pytest.raises(NoPeersError, match="wrong"):
        job.wait(15)
    (seed,) = job.web_seeds
    assert (seed.state, seed.wrong_pieces) == ("off", limits.WEB_SEED_BAD_PIECES)
    data, have = world.data(torrent), job.pieces
    there = (world.folder / "out" / "file.bin").read_bytes()
    assert 0 < have.count() < len(have)
    for piece in have.search(1):
        assert there[piece * PIECE : (piece + 1) * PIECE] == data[piece * PIECE : (piece + 1) * PIECE]


def test_a_mirror_gives_what_was_wrong(world, serve):
    torrent = one_file(world, 2_000_000)
    bad, good = serve(corrupt(700_000)), serve()
    job = fetch(world, torrent, bad.url, good.url)
    assert job.web_seeds[1].wrong_pieces == 0


def test_a_peer_gives_what_was_wrong(world, serve, monkeypatch):
    monkeypatch.setattr(limits, "WEB_SEED_DELAY", 0.0)
    torrent, server = one_file(world, 2_000_000), serve(corrupt(700_000))
    job = fetch(world, torrent, server.url, peers=world.seeds(torrent, 1))
    assert not job.banned


def test_a_wrong_piece_inside_one_of_several_files_turns_that_file_off(world, serve):
    torrent = world.torrent(a=4 * PIECE, b=4 * PIECE, c=4 * PIECE)

    def behave(asked, answer):
        return answer._replace(body=bytes(len(answer.body))) if asked.path.endswith("b") else None

    bad, good = serve(behave), serve(rate=200_000)
    job = fetch(world, torrent, bad.url, good.url)
    assert job.web_seeds[0].state != "off"
    assert [urlsplit(asked.target).path for asked in good.asked]


# ------------------------------------------------------------------ scripts (BEP 17)


def test_a_script_of_an_untrusted_torrent_is_not_asked_on_this_machine(world, serve, fast_retries):
    torrent, server = one_file(world), serve()
    torrent = replace(torrent, http_seeds=(f"{server.url}seed",))
    with pytest.raises(NoPeersError, match="query"):
        world.download(torrent, [], fail_without_peers=True).wait(10)
    assert not server.asked


def test_a_script_is_asked_by_piece_and_range(world):
    torrent = one_file(world, 200_000)
    data = world.data(torrent)

    def script(asked, answer):
        if len(server.asked) == 1:
            return Answer("503 Busy", {}, b"1")
        query = parse_qs(urlsplit(asked.target).query, encoding="latin-1")
        assert query["info_hash"] == [torrent.info_hash.decode("latin-1")]
        assert query["x"] == ["1"]
        start, end = map(int, query["ranges"][0].split("-"))
        piece = int(query["piece"][0]) * PIECE
        return Answer("200 OK", {}, data[piece + start : piece + end + 1])

    server = WebServer(world.origin, script)
    world.servers.append(server)
    url = f"{server.url}seed?x=1"
    job = world.download(replace(torrent, http_seeds=(url,)), [], web_seeds=[url])
    assert done_soon(job, 5), job.web_seeds
    world.assert_complete(torrent)
    assert len(server.asked) == 1 + torrent.geometry.pieces
