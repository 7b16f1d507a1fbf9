"""Our HTTP client and nginx: ranges, kept connections, TLS, redirects, logins, compression and what goes wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from geventbt.errors import FetchError
from geventbt.net.http.client import HTTPClient
from geventbt.net.http.connection import HTTPConnection
from geventbt.net.http.connector import tls_context
from geventbt.net.http.fetch import fetch
from geventbt.net.http.head import content_range
from tests.certificates import make_certificate
from tests.interop.nginx import Nginx, nginx

pytestmark = pytest.mark.interop

NAME = "a b%20#?é.bin"
ESCAPED = "/a%20b%2520%23%3F%C3%A9.bin"
DATA = bytes(range(256)) * 4096


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "www"
    made.mkdir()
    (made / NAME).write_bytes(DATA)
    (made / "plain").write_bytes(b"hello" * 100)
    return made


@pytest.fixture
def serving(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Runs nginx with directives of the test's own."""
    with ExitStack() as stack:
        counter = iter(range(100))
        yield lambda directives="", **options: stack.enter_context(
            nginx(folder, tmp_path / f"nginx{next(counter)}", directives, **options)
        )


def test_ranges_come_over_one_kept_connection(serving):
    server = serving()
    with HTTPConnection(server.url()) as connection:
        for start, end in ((0, 1), (1000, 500_000), (len(DATA) - 5, len(DATA))):
            response = connection.get(ESCAPED, range=(start, end))
            assert content_range(response.headers) == (start, end, len(DATA))
            buffer = memoryview(bytearray(end - start))
            left = buffer
            while count := response.read_into(left or memoryview(bytearray(1))):
                left = left[count:]
            assert buffer == DATA[start:end]
            assert connection.is_open


def test_another_version_is_noticed_by_its_tag(serving, folder):
    with HTTPConnection(serving().url()) as connection:
        first = connection.get(ESCAPED, range=(0, 5))
        first.read(5)
        same = connection.get(ESCAPED, {"If-Range": first.headers["ETag"]}, (0, 5))
        assert (same.status, same.read(5)) == (206, DATA[:5])
        (folder / NAME).write_bytes(b"another version")
        other = connection.get(ESCAPED, {"If-Range": first.headers["ETag"]}, (0, 5))
        assert (other.status, other.read(100)) == (200, b"another version")


def test_a_server_without_ranges_sends_all_of_it(serving):
    with HTTPConnection(serving("max_ranges 0;").url()) as connection:
        response = connection.get(ESCAPED, range=(5, 10))
        assert (response.status, response.length) == (200, len(DATA))
        assert response.read(len(DATA)) == DATA


def test_what_is_missing_or_out_of_range_is_said_and_keeps_the_connection(serving):
    with HTTPConnection(serving().url()) as connection:
        for path, wanted, status in (("/missing", None, 404), (ESCAPED, (len(DATA), len(DATA) + 5), 416)):
            response = connection.get(path, range=wanted)
            assert response.status == status
            assert response.discard(10_000)
            assert connection.is_open


def test_a_server_that_is_busy_says_when_to_ask_again(serving):
    directives = "add_header Retry-After 7 always; location /f { return 503; }"
    with HTTPConnection(serving(directives).url()) as connection:
        error = connection.get("/f").error()
    assert (error.status, error.retry_after) == (503, 7.0)


def test_redirects_and_logins(serving, folder, tmp_path):
    (tmp_path / "users").write_text("me:{PLAIN}se cret\n")
    target = serving(f'auth_basic "x"; auth_basic_user_file {tmp_path}/users;')
    server = serving(f"location /go {{ return 302 {target.url('/plain')}; }} location /stay {{ return 307 /plain; }}")
    with HTTPClient() as client:
        assert client.get(server.url("/stay")).read(1000) == b"hello" * 100
        assert client.get(server.url("/go").replace("//", "//me:se%20cret@")).status == 401
        assert client.get(target.url("/plain").replace("//", "//me:se%20cret@")).read(1000) == b"hello" * 100


def test_a_compressed_answer_is_unpacked(serving, folder):
    server = serving("gzip on; gzip_types *;")
    assert fetch(server.url("/plain")) == b"hello" * 100
    (folder / "big").write_bytes(bytes(5_000_000))
    with pytest.raises(FetchError, match="longer than 1000 bytes"):
        fetch(server.url("/big"), max_bytes=1000)
    assert len(gzip.compress(bytes(5_000_000))) < 10_000


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
def test_tls_is_verified_and_kept(serving, tmp_path, monkeypatch, protocol):
    certificate = make_certificate(tmp_path)
    server = serving(f"ssl_protocols {protocol};", certificate=certificate)
    with pytest.raises(FetchError, match="certificate verify failed"):
        fetch(server.url("/plain"))
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    tls_context.cache_clear()
    try:
        with HTTPConnection(server.url(host="localhost")) as connection:
            for start in (0, 500_000):
                assert connection.get(ESCAPED, range=(start, start + 500_000)).read(500_000) == DATA[start:][:500_000]
                assert connection.is_open
    finally:
        tls_context.cache_clear()


def test_a_server_that_closes_each_connection_is_asked_on_new_ones(serving):
    with HTTPConnection(serving("keepalive_timeout 0;").url()) as connection:
        for _ in range(3):
            response: Any = connection.get(ESCAPED, range=(0, 5))
            assert not response.will_keep_alive
            assert response.read(5) == DATA[:5]
            assert not connection.is_open
