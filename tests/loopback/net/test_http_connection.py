"""A kept connection to an HTTP server, asked for ranges: of servers that behave, and of those that do not."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from geventbt import limits
from geventbt.client.peers.host_connections import HostConnections
from geventbt.errors import FetchError
from geventbt.net.addresses import AddressKind
from geventbt.net.http import policy as policies
from geventbt.net.http.client import HTTPClient
from geventbt.net.http.connection import HTTPConnection, Response
from geventbt.net.http.connector import TooManyConnections
from geventbt.net.http.head import content_range
from geventbt.net.http.policy import UNTRUSTED
from tests.loopback.fake_trackers import redirect
from tests.loopback.harness import eventually
from tests.loopback.http_server import HTTPServer, answer, partial

DATA = bytes(range(256)) * 1000
SOON = 0.3


@pytest.fixture
def serving() -> Iterator[Callable[..., HTTPServer]]:
    """Makes HTTP servers that keep connections open, and stops them."""
    servers: list[HTTPServer] = []

    def make(reply: Any = DATA, host: str = "127.0.0.1") -> HTTPServer:
        servers.append(HTTPServer(reply, host))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def body_of(response: Response, size: int = 10_000) -> bytes:
    """What a body has, read into a buffer of some size again and again."""
    body = bytearray()
    buffer = memoryview(bytearray(size))
    while count := response.read_into(buffer):
        body += buffer[:count]
    return bytes(body)


def test_ranges_of_a_file_come_over_one_connection(serving):
    server = serving()
    with HTTPConnection(server.url("/f")) as connection:
        for start, end in ((0, 1), (5, 100_000), (len(DATA) - 1, len(DATA))):
            response = connection.get("/f", range=(start, end))
            assert (response.status, response.length) == (206, end - start)
            assert content_range(response.headers) == (start, end, len(DATA))
            assert body_of(response) == DATA[start:end]
            assert connection.is_open
    assert not connection.is_open
    assert len(server.requests) == 3
    assert server.connections == 1
    assert "\r\nRange: bytes=5-99999\r\n" in server.requests[1]
    assert "\r\nAccept-Encoding: identity\r\n" in server.requests[1]


def test_the_answer_says_what_it_is_of(serving):
    server = serving()
    with HTTPConnection(server.url("/")) as connection:
        response = connection.get(server.url("/a?b").replace("//", "//me:secret@", 1))
        assert response.url == server.url("/a?b")
        assert (response.address, response.reason) == ("127.0.0.1", "OK")
        assert response.headers["CONTENT-length"] == str(len(DATA))
        assert response.read(len(DATA)) == DATA
        assert response.read_into(memoryview(bytearray(1))) == 0


def test_a_url_of_another_server_is_not_asked_for(serving):
    server = serving()
    with HTTPConnection(server.url("/")) as connection, pytest.raises(FetchError, match="is not http://127"):
        connection.get("http://127.0.0.1:1/")
    assert not server.connections


def test_headers_of_the_caller_stand_in_place_of_ours(serving):
    server = serving()
    with HTTPConnection(server.url("/")) as connection:
        body_of(connection.get("/", {"user-agent": "me", "If-Range": '"caf\xe9"'}, (0, 5)))
        assert "\r\nUser-Agent: me\r\n" in server.requests[0]
        assert '\r\nIf-Range: "caf\xe9"\r\n' in server.requests[0]
        for value in ("a\r\nb", "a\nb", "a\0b"):
            with pytest.raises(ValueError, match="line break"):
                connection.get("/", {"If-Range": value})
        for wanted in ((5, 5), (-1, 5)):
            with pytest.raises(ValueError, match="range"):
                connection.get("/", range=wanted)


def test_a_login_in_the_url_becomes_a_header_and_is_shown_nowhere(serving):
    server = serving(lambda sock, head: sock.sendall(answer(b"", status="401 No")))
    with HTTPClient() as client:
        response = client.get(server.url("/").replace("//", "//m%40e:p%3Aw:x@", 1))
        text = f"{response.url} {response.error()}"
    assert "p%3Aw" not in text
    assert "p:w" not in text
    login = base64.b64encode(b"m@e:p:w:x").decode()
    assert f"\r\nAuthorization: Basic {login}\r\n" in server.requests[0]
    assert f"Host: 127.0.0.1:{server.port}\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more than that",
    ],
)
def test_a_connection_that_is_not_to_be_used_again_is_closed(serving, reply):
    server = serving(lambda sock, head: sock.sendall(reply))
    with HTTPConnection(server.url("/")) as connection:
        for _ in range(2):
            assert connection.get("/").read(5) == b"hello"
            assert not connection.is_open
    assert server.connections == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\nhello",
        b"HTTP/1.1 200\nContent-Length:5\nX: a\n b\n\nhello",
    ],
)
def test_a_connection_is_kept_however_the_answer_is_framed(serving, reply):
    server = serving(lambda sock, head: sock.sendall(reply))
    with HTTPConnection(server.url("/")) as connection:
        for _ in range(2):
            assert connection.get("/").read(5) == b"hello"
            assert connection.is_open
    assert server.connections == 1


def test_a_body_without_a_length_ends_with_the_connection(serving):
    def reply(sock: Any, head: str) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")
        sock.close()

    with HTTPConnection(serving(reply).url("/")) as connection:
        response = connection.get("/")
        assert response.length is None
        assert response.read(5) == b"hello"
        assert not connection.is_open


def test_answers_without_a_body_keep_the_connection(serving):
    server = serving(lambda sock, head: sock.sendall(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"))
    with HTTPConnection(server.url("/")) as connection:
        for _ in range(2):
            assert connection.get("/").read(0) == b""
    assert server.connections == 1


def test_a_connection_that_was_closed_while_idle_is_opened_anew(serving):
    def reply(sock: Any, head: str) -> None:
        sock.sendall(answer(b"hello"))
        sock.close()

    server = serving(reply)
    with HTTPConnection(server.url("/")) as connection:
        for _ in range(3):
            assert connection.get("/").read(5) == b"hello"
    assert server.connections == 3


def test_a_server_that_closes_without_an_answer_is_asked_once(serving):
    server = serving(lambda sock, head: sock.close())
    with HTTPConnection(server.url("/")) as connection, pytest.raises(FetchError, match="without an answer"):
        connection.get("/")
    assert len(server.requests) == 1


def test_a_connection_that_was_idle_too_long_is_not_used(serving, monkeypatch):
    server = serving()
    monkeypatch.setattr(limits, "HTTP_KEEP_ALIVE", 0.0)
    with HTTPConnection(server.url("/")) as connection:
        for _ in range(2):
            body_of(connection.get("/", range=(0, 5)))
    assert server.connections == 2


def test_the_rest_of_a_body_is_discarded_if_it_is_short(serving):
    server = serving()
    with HTTPConnection(server.url("/")) as connection:
        response = connection.get("/")
        assert response.read_into(memoryview(bytearray(10))) == 10
        assert response.discard(len(DATA) - 10)
        assert connection.is_open
        assert not connection.get("/").discard(1000)
        assert not connection.is_open
        assert body_of(connection.get("/", range=(0, 3))) == DATA[:3]
    assert server.connections == 2


def test_a_body_that_was_not_read_costs_the_connection(serving):
    server = serving()
    with HTTPConnection(server.url("/")) as connection:
        connection.get("/")
        assert body_of(connection.get("/", range=(0, 3))) == DATA[:3]
    assert server.connections == 2


def once(sock: Any, head: str) -> None:
    """Answers one request a connection."""
    sock.sendall(answer(b"hello", "Connection: close"))
    sock.close()


def test_a_connection_is_opened_ahead_where_the_one_in_use_will_be_closed(serving):
    server = serving(once)
    with HTTPConnection(server.url("/")) as connection:
        response = connection.get("/")
        assert server.connections == 1
        connection.open_ahead()
        connection.open_ahead()
        eventually(lambda: server.connections == 2)
        assert body_of(response) == b"hello"
        assert body_of(connection.get("/")) == b"hello"
        assert server.connections == 2


def test_no_connection_is_opened_ahead_of_one_that_is_kept(serving):
    server = serving()
    with HTTPConnection(server.url("/")) as connection:
        response = connection.get("/")
        connection.open_ahead()
        assert body_of(response) == body_of(connection.get("/")) == DATA
    assert server.connections == 1


def test_a_connection_that_was_opened_ahead_and_closed_again_is_opened_anew(serving):
    server = serving(once)
    with HTTPConnection(server.url("/")) as connection:
        response = connection.get("/")
        connection.open_ahead()
        eventually(lambda: server.connections == 2)
        server.drop_all()
        assert body_of(response) == b"hello"
        assert body_of(connection.get("/")) == b"hello"
    assert server.connections == 3


def test_a_connection_that_could_not_be_opened_ahead_is_opened_when_it_is_needed(serving):
    server, limit = serving(once), HostConnections(1)
    with HTTPConnection(server.url("/"), limit=limit) as connection:
        response = connection.get("/")
        connection.open_ahead()
        assert body_of(response) == b"hello"
        assert body_of(connection.get("/")) == b"hello"
    assert limit.has_room("127.0.0.1")


def test_what_was_opened_ahead_is_closed_with_the_connection(serving):
    server, limit = serving(once), HostConnections(2)
    with HTTPConnection(server.url("/"), limit=limit) as connection:
        connection.get("/")
        connection.open_ahead()
        eventually(lambda: server.connections == 2)
        assert not limit.has_room("127.0.0.1")
    assert limit.take("127.0.0.1")
    assert limit.take("127.0.0.1")


def test_a_limit_counts_each_connection_until_it_is_closed(serving):
    server, limit = serving(), HostConnections(1)
    with HTTPConnection(server.url("/"), limit=limit) as first:
        first.get("/")
        with HTTPConnection(server.url("/"), limit=limit) as second:
            with pytest.raises(TooManyConnections, match="as many connections are open as may be"):
                second.get("/")
            first.close()
            second.get("/")
    with HTTPConnection("http://127.0.0.1:1/", limit=limit) as dead:
        for _ in range(3):
            with pytest.raises(FetchError, match="refused"):
                dead.get("/")
    assert limit.has_room("127.0.0.1")


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "cut off after 5 of 9"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", "cut off within a chunk"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", "cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello, world\r\n", "longer than it says"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 5000 + b"\r\n", "a line is longer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", "length of a chunk"),
    ],
)
def test_a_body_that_is_cut_off_or_wrong_is_an_error_and_closes(serving, reply, text):
    def send(sock: Any, head: str) -> None:
        sock.sendall(reply)
        sock.close()

    with HTTPConnection(serving(send).url("/")) as connection:
        response = connection.get("/")
        with pytest.raises(FetchError, match=text):
            body_of(response)
        assert not connection.is_open


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "changes to a protocol"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "interim"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "not a length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "not a length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "not a length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "not supported"),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", "not a header"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "not a header"),
        (b"HTTP/2 200 OK\r\n\r\n", "not an answer"),
        (b"<html>", "not an answer"),
    ],
)
def test_a_head_that_makes_no_sense_is_an_error_and_closes(serving, reply, text):
    with HTTPConnection(serving(lambda sock, head: sock.sendall(reply)).url("/")) as connection:
        with pytest.raises(FetchError, match=text):
            connection.get("/")
        assert not connection.is_open


def test_a_body_that_stops_coming_is_an_error(serving):
    def reply(sock: Any, head: str) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")

    with HTTPConnection(serving(reply).url("/"), timeout=SOON) as connection:
        response = connection.get("/")
        with pytest.raises(FetchError, match=r"nothing received for 0\.3 seconds"):
            body_of(response)


@pytest.mark.parametrize("rest", [b"0" * 500, b"0\r\n" + b"A: b\r\n" * 50, b"5;" + b"x" * 500])
def test_a_chunk_whose_line_drips_in_is_not_waited_for_without_end(serving, rest):
    def reply(sock: Any, head: str) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in rest:
            sock.sendall(bytes([byte]))
            gevent.sleep(0.02)

    with HTTPConnection(serving(reply).url("/"), timeout=SOON) as connection:
        response = connection.get("/")
        with pytest.raises(FetchError, match=r"no next chunk within 0\.3 seconds"):
            body_of(response)
        assert not connection.is_open


def test_a_rest_that_drips_in_is_not_discarded_without_end(serving):
    def reply(sock: Any, head: str) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        for _ in range(500):
            sock.sendall(b"x")
            gevent.sleep(0.02)

    with HTTPConnection(serving(reply).url("/"), timeout=SOON) as connection:
        assert not connection.get("/").discard(1000)
        assert not connection.is_open


def test_an_error_says_when_to_ask_again(serving):
    server = serving(lambda sock, head: sock.sendall(answer(b"", "Retry-After: 120", status="503 Busy")))
    with HTTPConnection(server.url("/")) as connection:
        error = connection.get("/").error()
    assert (error.status, error.retry_after, str(error)) == (503, 120.0, "127.0.0.1: 503 Busy")


def test_two_answers_come_to_two_greenlets(serving):
    server = serving()

    def download() -> bytes:
        with HTTPConnection(server.url("/")) as connection:
            return body_of(connection.get("/"))

    assert [job.get() for job in [gevent.spawn(download) for _ in range(2)]] == [DATA] * 2


# ------------------------------------------------------------------ redirects


def leading_to(targets: dict[str, str], status: int = 302) -> Callable[[Any, str], None]:
    """Redirects some paths, and has the data at all others."""

    def reply(sock: Any, head: str) -> None:
        path = head.split(" ")[1]
        sock.sendall(redirect(targets[path], status) if path in targets else partial(DATA, head))

    return reply


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_remembered_for_the_next_range(serving, status):
    mirror = serving()
    server = serving(leading_to({"/f": mirror.url("/g")}, status), "127.0.0.2")
    with HTTPClient() as client:
        for start in (0, 5):
            response = client.get(server.url("/f"), range=(start, start + 5))
            assert body_of(response) == DATA[start : start + 5]
            assert response.url == mirror.url("/g")
    assert (len(server.requests), len(mirror.requests), mirror.connections) == (1, 2, 1)


def test_each_file_has_its_own_redirect(serving):
    mirror = serving()
    server = serving(leading_to({"/a": mirror.url("/x")}))
    with HTTPClient() as client:
        for path in ("/a", "/b", "/a"):
            body_of(client.get(server.url(path), range=(0, 5)))
    assert [head.split(" ")[1] for head in mirror.requests] == ["/x", "/x"]
    assert [head.split(" ")[1] for head in server.requests] == ["/a", "/b"]


@pytest.mark.parametrize(("status", "asked_again"), [(302, True), (301, False)])
def test_a_temporary_redirect_that_fails_is_asked_for_again(serving, status, asked_again):
    gone = serving(lambda sock, head: sock.sendall(answer(b"gone", status="404 Gone")))
    mirror = serving()
    targets = {"/f": mirror.url("/g")}
    server = serving(leading_to(targets, status))
    with HTTPClient() as client:
        body_of(client.get(server.url("/f"), range=(0, 5)))
        mirror.reply = gone.reply
        targets["/f"] = serving().url("/other")
        assert client.get(server.url("/f"), range=(0, 5)).status == (206 if asked_again else 404)


def test_a_temporary_redirect_to_a_server_that_is_gone_is_asked_for_again(serving):
    mirror = serving()
    targets = {"/f": mirror.url("/g")}
    server = serving(leading_to(targets))
    with HTTPClient() as client:
        body_of(client.get(server.url("/f"), range=(0, 5)))
        mirror.close()
        targets["/f"] = serving().url("/other")
        assert client.get(server.url("/f"), range=(0, 5)).status == 206


@pytest.mark.parametrize("same_origin", [True, False])
def test_a_login_goes_along_to_the_same_origin_only(serving, same_origin):
    other = serving()
    targets: dict[str, str] = {}
    server = serving(leading_to(targets))
    targets["/f"] = (server if same_origin else other).url("/g")
    with HTTPClient() as client:
        body_of(client.get(server.url("/f").replace("//", "//me:secret@", 1)))
    last = (server if same_origin else other).requests[-1]
    assert ("Authorization" in last) is same_origin


def test_a_location_is_escaped_where_a_server_does_not(serving):
    server = serving(leading_to({"/f": "/caf\xe9 x?a b"}))
    with HTTPClient() as client:
        body_of(client.get(server.url("/f")))
    assert server.requests[-1].startswith("GET /caf%C3%A9%20x?a%20b HTTP/1.1\r\n")


@pytest.mark.parametrize("kind", [AddressKind.PUBLIC, AddressKind.PRIVATE, AddressKind.LINK_LOCAL])
def test_a_redirect_never_leads_to_an_address_nearer_to_us_not_even_one_remembered(serving, monkeypatch, kind):
    """127.0.0.2 plays an address that is not on this machine."""
    inside = serving()
    mirror = serving(host="127.0.0.2")
    targets = {"/f": mirror.url("/g")}
    server = serving(leading_to(targets), "127.0.0.2")
    monkeypatch.setattr(policies, "kind_of", lambda ip: kind if ip == "127.0.0.2" else AddressKind.LOOPBACK)
    with HTTPClient() as client:
        body_of(client.get(server.url("/f")))
        mirror.reply = leading_to({"/g": inside.url("/secret")})
        targets["/f"] = inside.url("/secret")
        with pytest.raises(FetchError, match=f"a redirect from a {kind.value} address"):
            client.get(server.url("/f"))
    assert not inside.requests


def test_an_untrusted_url_with_a_query_does_not_lead_to_this_machine(serving):
    server = serving()
    with HTTPClient(policy=UNTRUSTED) as client:
        assert body_of(client.get(server.url("/f"))) == DATA
        with pytest.raises(FetchError, match="a URL with a query is not fetched from a loopback address"):
            client.get(server.url("/f?shutdown=1"))
    assert len(server.requests) == 1


def test_a_client_keeps_few_connections(serving):
    servers = [serving() for _ in range(limits.HTTP_CONNECTIONS + 2)]
    with HTTPClient() as client:
        for server in servers:
            body_of(client.get(server.url("/")))
        body_of(client.get(servers[0].url("/")))
        body_of(client.get(servers[-1].url("/")))
    assert [server.connections for server in servers] == [2, *[1] * (len(servers) - 1)]
