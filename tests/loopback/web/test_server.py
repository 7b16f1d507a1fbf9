"""The HTTP server against clients that are slow, broken, or many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from geventbt import limits
from geventbt.web import Guard, Login, hash_password, serve
from tests.loopback.harness import eventually, remains
from tests.loopback.web.conftest import MakeServer, Visitor, read_all

pytestmark = pytest.mark.usefixtures("nothing_logged")

ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def echo(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def visiting(serving_http: MakeServer) -> Callable[..., Visitor]:
    return lambda app=app, **options: Visitor(serving_http(app, **options))


def test_it_answers_on_loopback_without_a_password(visiting: Callable[..., Visitor]) -> None:
    visitor = visiting()
    assert visitor.ask("/").body == b"ok"
    assert visitor.server.url == f"http://127.0.0.1:{visitor.server.server_port}/"


@pytest.mark.parametrize("address", [("0.0.0.0", 0), "0.0.0.0:0", ("", 0), ("::", 0)])
def test_every_other_address_needs_a_password(address: Any) -> None:
    for given in (app, Guard(app)):
        with pytest.raises(ValueError, match="needs a password"):
            serve(given, address)
    with serve(Guard(app, login=Login("me", hash_password("secret"))), address) as server:
        assert Visitor(server).ask("/").code == 401


def test_a_listening_socket_is_taken_over(serving_http: MakeServer) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    assert Visitor(serving_http(app, listener)).ask("/").code == 200


def test_one_network_of_ipv6_is_one_address(serving_http: MakeServer) -> None:
    server = serving_http(app, max_per_address=2)
    ours: list[Any] = []
    for host in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"):
        mine, theirs = socket.socketpair()
        ours.append(mine)
        gevent.spawn(server.handle, theirs, (host, 4242, 0, 0))
    eventually(lambda: server.connections == 3)
    assert ours[2].recv(100).startswith(b"HTTP/1.1 503 ")
    for mine in ours:
        mine.close()
    eventually(lambda: not server.connections)


def test_a_taken_port_is_an_error(serving_http: MakeServer) -> None:
    server = serving_http(app)
    with pytest.raises(OSError, match="in use"):
        serve(app, ("127.0.0.1", server.server_port))


def test_a_connection_is_used_again(visiting: Callable[..., Visitor]) -> None:
    visitor = visiting()
    sock = visitor.connect((ASK + b"\r\n") * 2 + ASK + b"Connection: close\r\n\r\n")
    assert read_all(sock).count(b"200 OK") == 3


@pytest.mark.parametrize("sent", [b"", b"GET / HT", ASK, ASK + b"X-A: 1\r\n"], ids=["nothing", "line", "head", "half"])
def test_a_head_that_does_not_end_is_waited_for_a_time(
    visiting: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(limits, "WEB_HEAD_TIMEOUT", 0.05)
    visitor = visiting()
    read_all(visitor.connect(sent))
    eventually(lambda: not visitor.server.connections)


def test_drips_do_not_extend_the_time_of_a_head(
    visiting: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WEB_HEAD_TIMEOUT", 0.2)
    sock = visiting().connect(ASK)

    def drip() -> None:
        while True:
            sock.sendall(b"X-A: 1\r\n")
            gevent.sleep(0.02)

    with pytest.raises(OSError), closing(sock):
        drip()


def test_an_idle_connection_is_closed_after_a_time(
    visiting: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WEB_IDLE", 0.05)
    assert read_all(visiting().connect(ASK + b"\r\n")).endswith(b"ok")


@pytest.mark.parametrize(
    "head",
    [b"X-A: " + b"a" * 9000 + b"\r\n", b"X-A: " + b"a" * 70000 + b"\r\n", b"X-A: aaaaaaaa\r\n" * 90],
    ids=["long", "very long", "many"],
)
def test_a_head_that_is_too_long_is_refused(
    visiting: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(limits, "WEB_HEAD", 1024)
    answer = read_all(visiting().connect(ASK + head + b"\r\n"))
    # What was sent and not read lets the system break off, perhaps before the answer is read.
    assert answer.startswith(b"HTTP/1.1 431 ") or (answer == b"" and len(head) > 60_000)


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\xff\xfe\x00\r\n\r\n",
        ASK + b"Content-Length: -1\r\n\r\n",
        ASK + b"Content-Length: x\r\n\r\n",
        ASK + b"Content-Length: +3\r\n\r\nabc",
        ASK + b"Content-Length: 0_3\r\n\r\nabc",
        ASK + b"X-A: 1\r\n" * 200 + b"\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        # Where a proxy and a server see different ends of a body, a part of it becomes a request (smuggling).
        ASK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        ASK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ASK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        ASK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ASK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ASK + b"Content-Length : 3\r\n\r\nabc",
        ASK + b"X-A: 1\r\n Content-Length: 3\r\n\r\nabc",
    ],
)
def test_what_is_no_request_is_refused_without_a_traceback(visiting: Callable[..., Visitor], request_: bytes) -> None:
    answer = read_all(visiting().connect(request_))
    assert answer == b"" or answer.split(b" ")[1].startswith(b"4")


@pytest.mark.parametrize("request_", [b"", b"\n GET\r\n\r\n", ASK + b"Content-Length: x\r\n\r\n", ASK + b"\r\n"])
def test_a_client_that_has_left_is_no_fault(serving_http: MakeServer, request_: bytes) -> None:
    server = serving_http(app)
    mine, theirs = socket.socketpair()
    mine.sendall(request_)
    mine.close()
    server.handle(theirs, ("127.0.0.1", 4242))
    theirs.close()


def test_a_body_that_does_not_come_is_waited_for_a_time(
    visiting: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WEB_BODY_TIMEOUT", 0.05)
    visitor = visiting(echo)
    read_all(visitor.connect(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nbeginning"))
    eventually(lambda: not visitor.server.connections)


@pytest.mark.parametrize(
    "chunk", [b"ZZ\r\nabc", b"-5\r\nabc", b"ffffffffffffffffff\r\nabc", b"1;" + b"a" * 100_000 + b"\r\n", b"1\r\nabc"]
)
def test_a_broken_chunk_ends_the_connection(visiting: Callable[..., Visitor], chunk: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = read_all(visiting(echo).connect(head + chunk + b"\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_drips_do_not_extend_the_time_of_a_body(
    visiting: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WEB_BODY_TIMEOUT", 0.2)
    sock = visiting(echo).connect(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")

    def drip() -> None:
        while True:
            sock.sendall(b"x")
            gevent.sleep(0.02)

    with pytest.raises(OSError), closing(sock):
        drip()


def test_many_requests_at_once_are_answered_one_after_the_other(visiting: Callable[..., Visitor]) -> None:
    sock = visiting().connect((ASK + b"\r\n") * 300 + ASK + b"Connection: close\r\n\r\n")
    assert read_all(sock).count(b"HTTP/1.1 200 OK") == 301


@pytest.fixture
def turns() -> Iterator[list[int]]:
    """How often another greenlet has had its turn."""
    counted = [0]

    def count() -> None:
        while True:
            counted[0] += 1
            gevent.sleep(0)

    counter = gevent.spawn(count)
    yield counted
    counter.kill()


def test_others_have_their_turns_between_requests_that_come_together(
    visiting: Callable[..., Visitor], turns: list[int]
) -> None:
    seen: list[int] = []

    def looks(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(turns[0])
        return app(environ, start_response)

    read_all(visiting(looks).connect((ASK + b"\r\n") * 50 + ASK + b"Connection: close\r\n\r\n"))
    assert len(set(seen)) == len(seen) == 51


def test_others_have_their_turns_while_a_body_of_many_chunks_is_read(
    visiting: Callable[..., Visitor], turns: list[int]
) -> None:
    chunk, count = b"1;" + b"x" * 990 + b"\r\na\r\n", 100
    seen: list[int] = []

    def reads(environ: Any, start_response: Any) -> list[bytes]:
        gevent.sleep(0.05)
        seen.append(turns[0])
        body = echo(environ, start_response)
        seen.append(turns[0])
        return body

    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = read_all(visiting(reads).connect(head + chunk * count + b"0\r\n\r\n"))
    assert answer.endswith(b"a" * count)
    assert seen[1] - seen[0] > 5


def test_a_header_with_an_underscore_does_not_pass_for_one_with_a_hyphen(visiting: Callable[..., Visitor]) -> None:
    seen: list[Any] = []

    def looks(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ.get("HTTP_X_TOKEN"))
        return app(environ, start_response)

    visitor = visiting(looks)
    read_all(visitor.connect(ASK + b"X_Token: a\r\nConnection: close\r\n\r\n"))
    read_all(visitor.connect(ASK + b"X-Token: b\r\nX_Token: a\r\nConnection: close\r\n\r\n"))
    assert seen == [None, "b"]


def test_a_body_that_is_not_read_is_not_taken_for_a_request(visiting: Callable[..., Visitor]) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    last = ASK + b"Connection: close\r\n\r\n"
    assert read_all(visiting().connect(head + smuggled + last)).count(b"HTTP/1.1 200") == 2


def test_a_large_body_that_is_not_read_ends_the_connection(visiting: Callable[..., Visitor]) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    assert read_all(visiting().connect(head)).count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_whole_body_is_read(visiting: Callable[..., Visitor], chunked: bool) -> None:
    body = b"c\r\nall of it...\r\n0\r\n\r\n" if chunked else b"all of it..."
    how = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 12"
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    assert read_all(visiting(echo).connect(head + how + b"\r\n\r\n" + body)).endswith(b"\r\n\r\nall of it...")


def test_an_endless_body_is_not_kept(visiting: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WEB_BODY", 1000)
    reply = visiting(echo).ask("/", "POST", b"x" * 100_000)
    assert len(reply.body) <= 1001


def test_more_connections_than_allowed_are_told_to_come_back(visiting: Callable[..., Visitor]) -> None:
    visitor = visiting(max_connections=2)
    held = [visitor.connect(), visitor.connect()]
    eventually(lambda: visitor.server.connections == 2)
    assert read_all(visitor.connect()).startswith(b"HTTP/1.1 503 ")
    held.pop().close()
    eventually(lambda: visitor.server.connections == 1)
    assert visitor.ask("/").code == 200
    held.pop().close()


def test_a_fault_of_the_app_is_a_500_and_logged(serving_http: MakeServer, caplog: pytest.LogCaptureFixture) -> None:
    def broken(environ: Any, start_response: Any) -> list[bytes]:
        raise RuntimeError("a fault")

    assert Visitor(serving_http(broken)).ask("/").code == 500
    assert [record.getMessage() for record in caplog.records] == ["an HTTP request failed"]
    caplog.clear()


def test_the_head_goes_out_before_the_rest_is_there(visiting: Callable[..., Visitor]) -> None:
    def slow(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "2")])
        yield b""
        gevent.sleep(30)

    sock = visiting(slow).connect(ASK + b"\r\n")
    assert sock.recv(15) == b"HTTP/1.1 200 OK"
    sock.close()


def test_a_stop_waits_for_answers_but_not_for_idle_connections(serving_http: MakeServer) -> None:
    go_on = Event()

    def waiting(environ: Any, start_response: Any) -> list[bytes]:
        go_on.wait()
        return app(environ, start_response)

    visitor = Visitor(server := serving_http(waiting))
    idle, asking = visitor.connect(), visitor.connect(ASK + b"Connection: close\r\n\r\n")
    eventually(lambda: server.connections == 2 and len(server.answering) == 1)
    stopping = gevent.spawn(server.stop, 10)
    assert read_all(idle) == b""
    go_on.set()
    assert read_all(asking).endswith(b"ok")
    stopping.get(timeout=5)


def test_many_idle_browsers_hold_up_no_request(visiting: Callable[..., Visitor]) -> None:
    visitor = visiting()
    held = [visitor.connect(ASK) for _ in range(200)]
    eventually(lambda: visitor.server.connections == 200)
    started = time.monotonic()
    assert visitor.ask("/").code == 200
    assert time.monotonic() - started < 5
    remains(lambda: visitor.server.connections >= 200, 0.02)
    for sock in held:
        sock.close()
