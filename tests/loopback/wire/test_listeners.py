"""What a server listens on, what runs its handlers, and how it stops."""

from __future__ import annotations

import errno
import functools
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import pytest
from gevent import socket as gevent_socket
from gevent.pool import Pool
from gevent.server import StreamServer

import geventbt
from geventbt import Wire
from geventbt.wire.listeners import listening_socket
from tests.loopback.harness import INFO_HASH, OUR_ID, PEER_ID, eventually


def answer(wire: Wire) -> None:
    wire.handshake(INFO_HASH, PEER_ID)
    wire.serve(lambda *key: b"")


def expect_answer(wire: Wire) -> None:
    assert wire.handshake(INFO_HASH, OUR_ID, timeout=5).peer_id == PEER_ID
    wire.close(0)


class OwnSocket(socket.socket):
    """A subclass, as many libraries have one."""


def listening(make: Callable[[], Any], **options: int) -> Any:
    sock = make()
    for option in options.values():
        sock.setsockopt(socket.SOL_SOCKET, option, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(5)
    return sock


@pytest.mark.parametrize("make", [gevent_socket.socket, socket.socket, OwnSocket], ids=["gevent", "plain", "subclass"])
def test_a_socket_that_listens_is_taken_over_and_closed_at_the_end(make: Any) -> None:
    sock = listening(make)
    port = sock.getsockname()[1]
    with geventbt.listen(sock, answer) as server:
        assert server.server_port == port
        expect_answer(geventbt.connect(("127.0.0.1", port)))
    with pytest.raises(ConnectionError):
        geventbt.connect(("127.0.0.1", port))


def test_an_inherited_descriptor_is_taken() -> None:
    original = listening(socket.socket)
    with geventbt.listen(socket.socket(fileno=original.detach()), answer) as server:
        expect_answer(geventbt.connect(("127.0.0.1", server.server_port)))


needs_shared_ports = pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="this system has no SO_REUSEPORT")


@needs_shared_ports
@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_servers_that_all_want_it_share_a_port_and_its_peers(host: str) -> None:
    taken: set[str] = set()
    with (
        geventbt.listen((host, 0), lambda wire: taken.add("one"), reuse_port=True) as one,
        geventbt.listen((host, one.server_port), lambda wire: taken.add("other"), reuse_port=True),
    ):
        with pytest.raises(OSError, match="in use") as caught:
            geventbt.listen((host, one.server_port))
        assert caught.value.errno == errno.EADDRINUSE

        def both_have_had_a_peer() -> bool:
            geventbt.connect(("127.0.0.1", one.server_port)).close(0)
            return taken == {"one", "other"}

        eventually(both_have_had_a_peer)


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_a_system_that_cannot_share_ports_says_so(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(OSError, match="cannot share a port") as caught:
        geventbt.listen((host, 0), reuse_port=True)
    assert caught.value.errno == errno.ENOTSUP


def test_the_port_of_a_socket_that_is_bound_already_cannot_be_shared() -> None:
    sock = listening(socket.socket)
    with pytest.raises(ValueError, match="SO_REUSEPORT"):
        geventbt.listen(sock, reuse_port=True)
    sock.close()


@needs_shared_ports
def test_two_servers_may_share_a_port() -> None:
    first = listening(socket.socket, reuse=socket.SO_REUSEPORT)
    second = socket.socket()
    second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    second.bind(first.getsockname())
    second.listen()
    with geventbt.listen(first, answer) as one, geventbt.listen(second, answer) as other:
        assert one.server_port == other.server_port
        for _ in range(8):
            expect_answer(geventbt.connect(("127.0.0.1", one.server_port)))


def test_a_unix_socket_is_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "peers")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    with geventbt.listen(sock, answer) as server:
        assert server.server_port is None
        client = gevent_socket.socket(socket.AF_UNIX)
        client.connect(path)
        expect_answer(Wire(client, incoming=False))


@pytest.mark.parametrize(
    "address", ["127.0.0.1:0", ":0", "[::1]:0", ("::1", 0, 0, 0), ("127.0.0.1", 0), ["127.0.0.1", 0], 0], ids=str
)
def test_an_address_may_be_written_as_for_a_stream_server(address: Any) -> None:
    with geventbt.listen(address, answer) as server:
        host = "::1" if "::1" in str(address) else "127.0.0.1"
        expect_answer(geventbt.connect((host, server.server_port)))


@pytest.mark.parametrize("address", [0, ":0", ("", 0)], ids=str)
def test_without_a_host_peers_are_taken_over_both_families(address: Any) -> None:
    seen: list[tuple[str, int]] = []

    def note(wire: Wire) -> None:
        seen.append(wire.remote_address)
        answer(wire)

    with geventbt.listen(address, note) as server:
        assert server.ports == (server.server_port, server.server_port)
        for host in ("127.0.0.1", "::1"):
            with geventbt.connect((host, server.server_port)) as wire:
                wire.handshake(INFO_HASH, OUR_ID, timeout=5)
                assert seen[-1] == wire.local_address, "not mapped into IPv6"


@pytest.mark.parametrize(
    ("host", "open_at", "closed_at"),
    [
        ("0.0.0.0", "127.0.0.1", "::1"),
        ("::", "::1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1", "::1"),
        ("::1", "::1", "127.0.0.1"),
    ],
)
def test_a_host_means_its_own_family_only(host: str, open_at: str, closed_at: str) -> None:
    with geventbt.listen((host, 0), answer) as server:
        expect_answer(geventbt.connect((open_at, server.server_port)))
        with pytest.raises(ConnectionError):
            geventbt.connect((closed_at, server.server_port))
        assert server.ports.over(open_at) == server.server_port
        assert server.ports.over(closed_at) is None


def test_where_there_is_no_ipv6_a_port_is_one_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = gevent_socket.socket

    def only_ipv4(family: int = socket.AF_INET, *args: Any, **options: Any) -> Any:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(gevent_socket, "socket", only_ipv4)
        listener = listening_socket(0)
    with geventbt.listen(listener, answer) as server:
        assert server.ports == (server.server_port, None)
        expect_answer(geventbt.connect(("127.0.0.1", server.server_port)))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_port_that_is_taken_over_one_family_is_not_taken_over_the_other(host: str) -> None:
    with geventbt.listen((host, 0)) as server, pytest.raises(OSError, match="in use"):
        geventbt.listen(server.server_port)


def test_the_ports_of_a_given_socket_are_known(tmp_path: Path) -> None:
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "peers"))
    unix.listen()
    with geventbt.listen(unix) as server:
        assert server.ports == (None, None)
    with geventbt.listen(listening(socket.socket)) as server:
        assert server.ports == (server.server_port, None)


def test_a_name_is_listened_on_at_its_ipv4_address() -> None:
    with geventbt.listen(("localhost", 0), answer) as server:
        expect_answer(geventbt.connect(("127.0.0.1", server.server_port)))


def datagram() -> socket.socket:
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def wrapped_in_tls() -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return context.wrap_socket(listening(socket.socket), server_side=True)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (datagram, TypeError, "listening stream socket"),
        (wrapped_in_tls, TypeError, "TLS"),
        (socket.socket, ValueError, "does not listen"),
        (lambda: "6881x", ValueError, "host:port"),
        (lambda: None, TypeError, "host, port"),
        (lambda: ("127.0.0.1",), TypeError, "host, port"),
        (lambda: (1, 2), TypeError, "host, port"),
        (lambda: ("127.0.0.1", 70000), ValueError, "0 to 65535"),
        (lambda: ("127.0.0.1", -1), ValueError, "0 to 65535"),
        (lambda: ("127.0.0.1", "80"), TypeError, "host, port"),
        (lambda: -1, ValueError, "0 to 65535"),
        (lambda: ":99999", ValueError, "0 to 65535"),
        (lambda: "127.0.0.1:\N{FULLWIDTH DIGIT ONE}", ValueError, "host:port"),
        (lambda: ("localhost\0.example", 0), OSError, "not the name"),
    ],
    ids=[
        "datagrams",
        "TLS",
        "not listening",
        "no port",
        "nothing",
        "no port in a tuple",
        "no host",
        "port over 65535",
        "port below 0",
        "port in text",
        "number below 0",
        "text with a port over 65535",
        "another digit",
        "NUL in a name",
    ],
)
def test_what_cannot_be_listened_on_is_refused_in_plain_words(make: Any, error: type[Exception], text: str) -> None:
    given = make()
    try:
        with pytest.raises(error, match=text):
            geventbt.listen(given, answer)
    finally:
        if hasattr(given, "close"):
            given.close()


# ------------------------------------------------------------------ handlers


@pytest.mark.parametrize("by", ["argument", "size", "set_spawn"])
def test_no_more_handlers_run_than_the_pool_has_places(by: str) -> None:
    running: list[Wire] = []
    go = gevent.event.Event()

    def handler(wire: Wire) -> None:
        running.append(wire)
        go.wait(5)

    options = {"argument": {"spawn": Pool(2)}, "size": {"spawn": 2}}.get(by, {})
    with geventbt.listen(("127.0.0.1", 0), handler, **options) as server:
        if by == "set_spawn":
            server.set_spawn(Pool(2))
        wires = [geventbt.connect(("127.0.0.1", server.server_port)) for _ in range(5)]
        eventually(lambda: len(running) == 2)
        gevent.sleep(0.05)
        assert len(running) == 2
        go.set()
        eventually(lambda: len(running) == 5)
        for wire in wires:
            wire.close(0)


def test_a_stop_leaves_the_rest_of_a_pool_alone() -> None:
    pool = Pool(5)
    other = pool.spawn(gevent.sleep, 30)
    geventbt.listen(("127.0.0.1", 0), answer, spawn=pool).stop(0)
    assert not other.ready()
    other.kill()


def test_a_function_that_spawns_is_used() -> None:
    spawned: list[gevent.Greenlet] = []

    def spawn(function: Any, *args: Any) -> gevent.Greenlet:
        spawned.append(gevent.spawn(function, *args))
        return spawned[-1]

    with geventbt.listen(("127.0.0.1", 0), answer, spawn=spawn) as server:
        expect_answer(geventbt.connect(("127.0.0.1", server.server_port)))
        assert len(spawned) == 1


@pytest.mark.parametrize("spawn", [None, gevent.spawn_raw])
def test_a_way_to_run_handlers_that_cannot_block_is_refused(spawn: Any) -> None:
    with pytest.raises(ValueError, match="spawn="):
        geventbt.listen(("127.0.0.1", 0), answer, spawn=spawn)
    with geventbt.listen(("127.0.0.1", 0), answer) as server, pytest.raises(ValueError, match="spawn="):
        server.set_spawn(spawn)


def test_another_handler_may_be_set_and_a_coroutine_function_not() -> None:
    async def never(wire: Wire) -> None:
        """Never runs."""

    for handler in (never, functools.partial(never)):
        with pytest.raises(TypeError, match="coroutine function"):
            geventbt.listen(("127.0.0.1", 0), handler)
    with geventbt.listen(("127.0.0.1", 0)) as server:
        assert isinstance(server, StreamServer)
        with pytest.raises(TypeError, match="coroutine function"):
            server.set_handle(never)
        server.set_handle(answer)
        expect_answer(geventbt.connect(("127.0.0.1", server.server_port)))


def test_a_handler_has_a_name_and_the_context_of_the_call_of_listen() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen: list[tuple[str, str]] = []
    variable.set("of the program")
    with (
        geventbt.listen(
            ("127.0.0.1", 0), lambda wire: seen.append((gevent.getcurrent().name, variable.get()))
        ) as server,
        geventbt.connect(("127.0.0.1", server.server_port)) as wire,
    ):
        eventually(lambda: seen)
        host, port = wire.local_address
    assert seen == [(f"geventbt handler of {host}:{port}", "of the program")]


# ------------------------------------------------------------------ the end


@pytest.fixture
def stubborn() -> Iterator[Callable[[Wire], None]]:
    """A handler that catches even the kill, until the test is over, but for two seconds at most."""
    is_over = gevent.event.Event()
    timer = gevent.spawn_later(2, is_over.set)

    def handle(wire: Wire) -> None:
        wire.handshake(INFO_HASH, PEER_ID)
        while not is_over.is_set():
            with suppress(BaseException):
                is_over.wait()

    yield handle
    timer.kill()
    is_over.set()


@pytest.mark.parametrize("end", ["stop", "with", "serve_forever"])
def test_a_handler_that_does_not_end_does_not_keep_a_server_from_stopping(
    end: str, stubborn: Callable[[Wire], None], caplog: pytest.LogCaptureFixture
) -> None:
    stopped: list[Any] = []
    server = geventbt.listen(("127.0.0.1", 0), stubborn)
    server.on("stop", stopped.append)
    wire = geventbt.connect(("127.0.0.1", server.server_port))
    wire.handshake(INFO_HASH, OUR_ID)
    if end == "stop":
        server.stop(0.1)
    elif end == "with":
        with server:
            gevent.spawn(server.stop, 0.1)
            gevent.sleep(0)
    else:
        gevent.spawn_later(0.05, server.stop, 0.1)
        server.serve_forever(stop_timeout=0.1)
    eventually(lambda: stopped)
    assert server.closed
    assert "although it was killed" in caplog.text
    wire.close(0)


def test_a_timeout_of_the_caller_passes_through_a_stop_which_is_done_all_the_same(
    stubborn: Callable[[Wire], None],
) -> None:
    stopped: list[Any] = []
    server = geventbt.listen(("127.0.0.1", 0), stubborn)
    server.on("stop", stopped.append)
    wire = geventbt.connect(("127.0.0.1", server.server_port))
    wire.handshake(INFO_HASH, OUR_ID)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        server.stop(30)
    assert server.closed
    eventually(lambda: stopped)
    wire.close(0)
