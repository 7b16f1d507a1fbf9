"""Fetching over HTTP from servers that behave, and from those that do not."""

from __future__ import annotations

import gzip
import socket
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket
from gevent import ssl, subprocess

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.addresses import AddressKind
from geventbt.net.http import policy as policies
from geventbt.net.http.body import body_of
from geventbt.net.http.connector import tls_context
from geventbt.net.http.fetch import fetch
from geventbt.net.http.head import parse_head
from geventbt.net.http.policy import AddressPolicy
from geventbt.net.http.stream import Stream
from tests.certificates import make_certificate
from tests.loopback.fake_trackers import FakeHttp, count_ticks, ok, redirect
from tests.loopback.harness import turns_of_others

SOON = 0.3
"""The deadline of tests that see it pass."""


@pytest.fixture
def ticks() -> Iterator[list[int]]:
    """Grows while others get to run."""
    counted: list[int] = []
    ticker = gevent.spawn(count_ticks, counted)
    yield counted
    ticker.kill()


@pytest.fixture
def serving_http() -> Iterator[Callable[..., FakeHttp]]:
    """Makes HTTP servers, and stops them."""
    servers: list[FakeHttp] = []

    def make(reply: Any = b"", host: str = "127.0.0.1", **options: Any) -> FakeHttp:
        servers.append(FakeHttp(reply if isinstance(reply, dict) else {"": reply}, host, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def forever(data: bytes, pause: float = 0.0) -> Callable[[Any], None]:
    """Sends the same again and again, until the client leaves."""

    def send(sock: Any) -> None:
        while True:
            sock.sendall(data)
            gevent.sleep(pause)

    return send


def silent(sock: Any) -> None:
    """Reads until the client leaves, and says nothing."""
    while sock.recv(4096):
        pass


def drip_a_head(sock: Any) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nA: " + b"a" * 10_000:
        sock.sendall(bytes([byte]))
        gevent.sleep(0.01)


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_body_is_fetched_over_both_families(serving_http, host):
    server = serving_http(ok(b"hello"), host)
    assert fetch(server.url("/a?b=c#d")) == b"hello"
    request = server.requests[0]
    shown = f"[{host}]" if ":" in host else host
    assert request.startswith(f"GET /a?b=c HTTP/1.1\r\nHost: {shown}:{server.port}\r\nUser-Agent: geventbt/")


def test_a_name_is_looked_up_and_each_address_tried(serving_http):
    assert fetch(serving_http(ok(b"hello")).url(host="localhost")) == b"hello"


def test_only_one_family_may_be_wanted(serving_http):
    server = serving_http(ok(b"hello"))
    assert fetch(server.url(host="localhost"), policy=AddressPolicy(family=socket.AF_INET)) == b"hello"
    with pytest.raises(FetchError):
        fetch(server.url(), policy=AddressPolicy(family=socket.AF_INET6))


@pytest.mark.parametrize(
    "reply",
    [
        ok(b"hello"),
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        chunked(b"hel", b"lo"),
        ok(gzip.compress(b"hello", mtime=0), "Content-Encoding: gzip"),
        ok(gzip.compress(b"hello", mtime=0), "content-encoding: X-GZIP"),
        ok(gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0), "Content-Encoding: gzip"),
        ok(b"".join(gzip.compress(bytes([sign]), mtime=0) for sign in b"hello"), "Content-Encoding: gzip"),
        ok(gzip.compress(b"hello", mtime=0) + bytes(20), "Content-Encoding: gzip"),
        ok(gzip.compress(b"hello", mtime=0) + b"\x1f", "Content-Encoding: gzip"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"hello"),
    ],
)
def test_a_body_comes_in_many_forms(serving_http, reply):
    assert fetch(serving_http(reply).url()) == b"hello"


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"HTTP/1.1 404 Not\x1b[2J Found\r\n\r\nbody", "404 Not\ufffd"),
        (b"HTTP/1.1 500\r\n\r\n", "500$"),
        (b"", "without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", "SSH-2.0"),
        (b"HTTP/1.1 abc\r\n\r\n", "abc"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nhello", "127.0.0.1: "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-7\r\nhello", "127.0.0.1: "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nhello", "127.0.0.1: "),
        (ok(b"not gzip", "Content-Encoding: gzip"), "incorrect header"),
        (ok(gzip.compress(b"hello", mtime=0)[:-9], "Content-Encoding: gzip"), "cut off"),
        (ok(gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0)[:-1], "Content-Encoding: gzip"), "cut off"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", "head of the answer is longer"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n", "more than 100 headers"),
    ],
)
def test_what_is_no_good_answer_is_an_error(serving_http, reply, text):
    with pytest.raises(FetchError, match=text) as caught:
        fetch(serving_http(reply).url())
    assert str(caught.value).isprintable()


def test_nobody_there_is_an_error():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError, match=r"127\.0\.0\.1: Connection refused"):
            fetch(f"http://127.0.0.1:{sock.getsockname()[1]}/")


def test_a_name_that_is_none_is_an_error():
    with pytest.raises(FetchError, match="not the name of a host"):
        fetch(f"http://{'a' * 70}.example/")


@pytest.mark.parametrize(
    "reply",
    [
        silent,
        drip_a_head,
        forever(b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
        forever(b"HTTP/1.1 200 OK\r\n", 0.01),
        lambda sock: (sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), forever(b"d", 0.01)(sock)),
        lambda sock: (sock.sendall(chunked(b"a")[:-2]), forever(b"a: b\r\n", 0.01)(sock)),
    ],
)
def test_a_server_that_is_silent_or_drips_is_left_at_the_deadline(serving_http, reply):
    with pytest.raises(FetchError, match=r"within 0\.3 seconds"):
        fetch(serving_http(reply).url(), timeout=SOON)


def test_the_deadline_is_for_all_redirects_together(serving_http):
    def slow(sock: Any) -> None:
        gevent.sleep(SOON / 2)
        sock.sendall(redirect("/again"))

    with pytest.raises(FetchError, match="within"):
        fetch(serving_http(slow).url(), timeout=SOON)


@pytest.mark.parametrize(
    "reply",
    [
        ok(b"a" * 2000),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n" + b"a" * 2000,
        forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        lambda sock: (sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), forever(b"d" * 65536)(sock)),
        lambda sock: (sock.sendall(chunked(b"a")[:-2]), forever(b"a: b\r\n" * 1000)(sock)),
        lambda sock: (sock.sendall(chunked(b"a")[:-5]), forever(b"1\r\na\r\n" * 1000)(sock)),
        ok(gzip.compress(bytes(100_000_000), 9, mtime=0), "Content-Encoding: gzip"),
        ok(gzip.compress(bytes(1001), mtime=0), "Content-Encoding: gzip"),
        ok(gzip.compress(bytes(501), mtime=0) * 2, "Content-Encoding: gzip"),
        ok(gzip.compress(b"", mtime=0) * 10_000, "Content-Encoding: gzip"),
    ],
)
def test_an_answer_over_the_limit_is_an_error(serving_http, reply):
    with pytest.raises(FetchError, match=r"longer than 1000 bytes|more lines than data|interim answers"):
        fetch(serving_http(reply).url(), max_bytes=1000)


def test_a_server_that_sends_faster_than_we_read_lets_others_run(ticks):
    class Fast:
        """Always has more to read, so that nothing ever waits."""

        def recv_into(self, buffer: Any) -> int:
            buffer[:] = b"\n" * len(buffer)
            return len(buffer)

        def settimeout(self, seconds: float) -> None:
            pass

        def close(self) -> None:
            pass

    stream = Stream(Fast(), "host", 10)
    buffer = memoryview(bytearray(65536))
    ends = monotonic() + 10
    while len(ticks) < 10:
        assert stream.read_into(buffer) == len(buffer)
        assert monotonic() < ends


def test_timers_fire_while_many_small_chunks_are_read():
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    theirs.sendall(chunked(*[b"12345678"] * 12_000))
    with theirs, turns_of_others() as fired:
        stream = Stream(gevent_socket.socket(fileno=ours.detach()), "host", 10)
        body = body_of(stream, parse_head(stream.read_head()))
        buffer = memoryview(bytearray(8))
        while body.read_into(buffer):
            pass
        stream.close()
    assert len(fired) >= 3


def test_a_bomb_is_unpacked_no_further_than_the_limit(serving_http):
    server = serving_http(ok(gzip.compress(bytes(100_000_000), 9, mtime=0), "Content-Encoding: gzip"))
    tracemalloc.start()
    with pytest.raises(FetchError):
        fetch(server.url(), max_bytes=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limits.MIB


def test_members_of_gzip_that_come_in_small_packets_are_unpacked(serving_http):
    def drip(sock: Any) -> None:
        for byte in ok(gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0), "Content-Encoding: gzip"):
            sock.sendall(bytes([byte]))
            gevent.sleep(0.001)

    assert fetch(serving_http(drip).url()) == b"hello"


def test_an_answer_at_the_limit_is_taken(serving_http):
    packed = ok(gzip.compress(b"a" * 1000, mtime=0), "Content-Encoding: gzip")
    assert fetch(serving_http(packed).url(), max_bytes=1000) == b"a" * 1000
    assert fetch(serving_http(ok(b"a" * 1000)).url(), max_bytes=1000) == b"a" * 1000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(serving_http, status):
    server = serving_http({"/a": redirect("b?x=1", status), "/b": ok(b"hello")})
    assert fetch(server.url("/a")) == b"hello"
    assert server.requests[1].startswith("GET /b?x=1 ")


def test_redirects_are_followed_so_often_and_no_more(serving_http):
    replies = {f"/{number}": redirect(f"/{number + 1}") for number in range(9)}
    server = serving_http({**replies, f"/{limits.REDIRECTS + 1}": ok(b"hello")})
    assert fetch(server.url("/1")) == b"hello"
    with pytest.raises(FetchError, match="more than 5 redirects"):
        fetch(server.url("/0"))


def test_redirects_in_a_circle_end(serving_http):
    server = serving_http(redirect("/announce"))
    with pytest.raises(FetchError, match="redirects"):
        fetch(server.url())
    assert len(server.requests) == 1 + limits.REDIRECTS


@pytest.mark.parametrize(
    "location", ["", "ftp://127.0.0.1/", "file:///etc/passwd", "http://[::1", "http://", "http://h/\x01"]
)
def test_a_redirect_to_what_is_no_url_of_ours_is_an_error(serving_http, location):
    with pytest.raises(FetchError):
        fetch(serving_http(redirect(location)).url())


@pytest.mark.parametrize("kind", [AddressKind.PUBLIC, AddressKind.PRIVATE, AddressKind.LINK_LOCAL])
def test_a_redirect_to_this_machine_from_elsewhere_is_not_followed(serving_http, monkeypatch, kind):
    """127.0.0.2 plays an address that is not on this machine."""
    monkeypatch.setattr(policies, "kind_of", lambda ip: kind if ip == "127.0.0.2" else AddressKind.LOOPBACK)
    inside = serving_http(ok(b"secret"))
    for target in (inside.url(), inside.url(host="localhost")):
        with pytest.raises(FetchError, match=f"a redirect from a {kind.value} address"):
            fetch(serving_http(redirect(target), "127.0.0.2").url())
    assert not inside.requests


def test_a_redirect_stays_within_the_kind_of_address_it_came_from(serving_http, monkeypatch):
    monkeypatch.setattr(policies, "kind_of", lambda ip: AddressKind.PUBLIC)
    other = serving_http(ok(b"hello"), "127.0.0.3")
    assert fetch(serving_http(redirect(other.url()), "127.0.0.2").url()) == b"hello"


def test_on_this_machine_only_some_paths_are_asked_for_if_so_wanted(serving_http):
    server = serving_http(
        {"/announce": ok(b"hello"), "/sneaky": redirect("/announce"), "/announce2": redirect("/admin")}
    )
    assert fetch(server.url("/announce"), policy=AddressPolicy(loopback_paths=("/announce",))) == b"hello"
    for path in ("/sneaky", "/announce2"):
        with pytest.raises(FetchError, match="this machine"):
            fetch(server.url(path), policy=AddressPolicy(loopback_paths=("/announce",)))
    assert len(server.requests) == 2


def test_a_timeout_of_the_caller_passes_through(serving_http):
    server = serving_http(silent)
    timeout = gevent.Timeout.start_new(0.1)
    with pytest.raises(gevent.Timeout) as caught:
        fetch(server.url())
    assert caught.value is timeout


def test_a_fetch_can_be_killed(serving_http):
    server = serving_http(silent)
    fetching = gevent.spawn(fetch, server.url())
    while not server.requests:
        gevent.sleep(0.01)
    fetching.kill()
    assert isinstance(fetching.value, gevent.GreenletExit)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate, with its key, in one file."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def serving_https(serving_http: Any, certificate: str) -> Callable[..., FakeHttp]:
    """Makes HTTPS servers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return lambda reply, host="127.0.0.1": serving_http(reply, host, tls=context)


@pytest.fixture
def trusted(certificate: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trust the certificate, as a user would who has an authority of their own."""
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


def test_https_with_a_good_certificate(serving_https, trusted):
    server = serving_https(ok(b"hello"))
    assert fetch(server.url()) == b"hello"
    assert fetch(server.url(host="localhost")) == b"hello"


def test_https_with_a_certificate_that_nobody_trusts(serving_https):
    with pytest.raises(FetchError, match="certificate verify failed"):
        fetch(serving_https(ok(b"hello")).url())


def test_https_with_a_certificate_for_another_name(serving_https, trusted):
    with pytest.raises(FetchError, match="certificate"):
        fetch(serving_https(ok(b"hello"), "127.0.0.2").url())


def test_a_redirect_from_https_to_http_is_not_followed(serving_http, serving_https, trusted):
    plain = serving_http(ok(b"hello"))
    with pytest.raises(FetchError, match="from HTTPS to HTTP"):
        fetch(serving_https(redirect(plain.url())).url())
    secure = serving_https(ok(b"hello"))
    assert fetch(serving_http(redirect(secure.url())).url()) == b"hello"


def test_a_tls_handshake_that_never_ends_is_left_at_the_deadline(serving_http):
    with gevent.socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(FetchError, match="within"):
            fetch(f"https://127.0.0.1:{listener.getsockname()[1]}/", timeout=SOON)


@pytest.mark.parametrize("patched", ["", "from gevent import monkey; monkey.patch_all()"])
def test_fetching_lets_others_run_whether_the_program_is_patched_or_not(serving_https, certificate, patched):
    # The time for which the answer is waited for is what is tested.
    server = serving_https(lambda sock: (gevent.sleep(0.3), sock.sendall(ok(b"hello"))))
    code = f"""{patched}
import gevent
from geventbt.net.http.fetch import fetch
ticks = []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.01)
gevent.spawn(tick)
assert fetch({server.url()!r}) == b"hello"
assert len(ticks) > 5, ticks
"""
    client = subprocess.run(
        [sys.executable, "-c", code], env={"SSL_CERT_FILE": certificate, "PYTHONPATH": ":".join(sys.path)}
    )
    assert client.returncode == 0
