"""One GET over HTTP or HTTPS, bounded in time and in bytes, for programs that need not be monkey-patched.

The sockets are gevent's; the standard library parses the answer's head and its chunks. The server is untrusted: every
byte received counts against a budget, a compressed body is unpacked up to the limit, and each redirect is checked like
the first URL, and for where it leads: never from the internet to this machine or its network, never from HTTPS to
HTTP. The address that was checked is the one that is connected to.
"""

from __future__ import annotations

import http.client
import io
import zlib
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import gevent
from gevent import socket as gevent_socket
from gevent import ssl

from geventbt import __version__, limits
from geventbt.errors import FetchError
from geventbt.net.addresses import AddressKind, kind_of
from geventbt.net.deadline import deadline
from geventbt.net.resolve import Endpoint, resolve
from geventbt.net.text import clean_text

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"
_READ = 16 * limits.KIB


class Response(NamedTuple):
    """An answer.

    Attributes:
        status: its status code, such as 200.
        reason: its reason phrase; untrusted text.
        location: where a redirect leads, or "".
        body: unpacked; empty unless the status is one of success.
    """

    status: int
    reason: str
    location: str
    body: bytes


def fetch(
    url: str,
    *,
    timeout: float = limits.TRACKER_TIMEOUT,
    max_bytes: int = limits.TRACKER_ANSWER,
    family: int = 0,
    loopback_paths: Sequence[str] | None = None,
) -> bytes:
    """Get what a URL has, following at most `limits.REDIRECTS` redirects. Proxies of the environment are not used.

    Args:
        url: http or https, at most `limits.URL` characters.
        timeout: seconds for everything: the name, the connections, the redirects and the last byte.
        max_bytes: the most that there may be, unpacked.
        family: of the addresses to connect to, such as AF_INET6; 0 for any.
        loopback_paths: for URLs from untrusted sources: on this machine itself, only paths that begin with one of these
            are fetched. None for any path.

    Raises:
        FetchError: there is no such server, it does not answer in time, with success, or within the limits; or its
            certificate is not valid.
    """
    with deadline(timeout, f"no answer within {timeout:g} seconds"):
        return _follow(url, monotonic() + timeout, max_bytes, family, loopback_paths)


def _follow(url: str, ends: float, max_bytes: int, family: int, loopback_paths: Sequence[str] | None) -> bytes:
    kind: AddressKind | None = None
    for _ in range(1 + limits.REDIRECTS):
        parts = split_url(url)
        host = str(parts.hostname)
        endpoints = resolve(host, parts.port or _PORTS[parts.scheme], family=family)
        if kind is not None:
            endpoints = [endpoint for endpoint in endpoints if kind_of(endpoint.host) is kind]
            if not endpoints:
                raise FetchError(f"{host}: a redirect from a {kind.value} address to another kind of address")
        try:
            kind, response = _get(parts, endpoints, ends, max_bytes, loopback_paths)
        except FetchError:
            raise
        except (OSError, ValueError, zlib.error, http.client.HTTPException) as error:
            raise FetchError(f"{host}: {_reason(error)}") from None
        if response.status not in _REDIRECTS:
            return _body(host, response)
        url = redirected(parts, response.location)
    raise FetchError(f"more than {limits.REDIRECTS} redirects")


def _body(host: str, response: Response) -> bytes:
    if not _is_success(response.status):
        raise FetchError(f"{host}: {response.status} {clean_text(response.reason)}".rstrip(), status=response.status)
    return response.body


def _is_success(status: int) -> bool:
    return 200 <= status < 300


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "the answer is cut off"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return clean_text(str(text))


def split_url(url: str) -> SplitResult:
    """Take a URL apart that is good for a request line: http or https, with a host, and no character that could end
    the line.

    Raises:
        FetchError: it is not.
    """
    if len(url) > limits.URL:
        raise FetchError(f"a URL of {len(url)} characters: at most {limits.URL} are allowed")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise FetchError("not a URL: it has spaces, control characters or characters outside ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FetchError(f"not a URL: {clean_text(str(error))}") from None
    if parts.scheme not in _PORTS:
        raise FetchError(f"cannot fetch a URL with the scheme {clean_text(parts.scheme)!r}: only http and https")
    if not parts.hostname or port == 0:
        raise FetchError("not a URL that can be fetched: it has no host, or port 0")
    return parts


def redirected(parts: SplitResult, location: str) -> str:
    """The URL that a redirect leads to, relative to the one it comes from.

    Raises:
        FetchError: it leads nowhere, or from HTTPS to HTTP.
    """
    if not location:
        raise FetchError("a redirect without a location")
    try:
        url = urljoin(parts.geturl(), location)
    except ValueError:
        raise FetchError("a redirect to something that is not a URL") from None
    if parts.scheme == "https" and split_url(url).scheme != "https":
        raise FetchError("a redirect from HTTPS to HTTP")
    return url


def _get(
    parts: SplitResult, endpoints: list[Endpoint], ends: float, max_bytes: int, loopback_paths: Sequence[str] | None
) -> tuple[AddressKind, Response]:
    """Send the request to the first endpoint that accepts a connection. Returns its kind of address, too."""
    sock, kind = _connect(endpoints, ends)
    try:
        if kind is AddressKind.LOOPBACK and not _is_allowed(parts.path, loopback_paths):
            raise FetchError(f"{parts.hostname}: this path is not fetched from this machine itself")
        if parts.scheme == "https":
            sock = tls_context().wrap_socket(sock, server_hostname=parts.hostname, do_handshake_on_connect=False)
            sock.do_handshake()
        sock.sendall(_request(parts))
        return kind, read_response(sock, max_bytes)
    finally:
        sock.close()


def _is_allowed(path: str, loopback_paths: Sequence[str] | None) -> bool:
    return loopback_paths is None or path.startswith(tuple(loopback_paths))


def _connect(endpoints: list[Endpoint], ends: float) -> tuple[Any, AddressKind]:
    """Connect to the first endpoint that can be; each has its share of the time that is left, so that one that is
    silent leaves some to the others."""
    for index, endpoint in enumerate(endpoints):
        sock = gevent_socket.socket(endpoint.family, gevent_socket.SOCK_STREAM)
        try:
            sock.settimeout(max(0.001, (ends - monotonic()) / (len(endpoints) - index)))
            sock.connect(endpoint.sockaddr)
            sock.settimeout(None)
            return sock, kind_of(endpoint.host)
        except OSError:
            sock.close()
            if endpoint is endpoints[-1]:
                raise
        except BaseException:
            sock.close()
            raise
    raise AssertionError("there is always an endpoint")


@cache
def tls_context() -> ssl.SSLContext:
    """The settings of every TLS connection: certificates and names are verified against those that the system trusts,
    or SSL_CERT_FILE says.

    It is made by hand, for `gevent.ssl.create_default_context` gives a context whose sockets block the hub wherever
    the program is not patched.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context


def _request(parts: SplitResult) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {host}:{parts.port}" if parts.port else f"Host: {host}",
        f"User-Agent: geventbt/{__version__}",
        "Accept-Encoding: gzip",
        "Connection: close",
    ]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


def read_response(sock: Any, max_bytes: int) -> Response:
    """Read an answer from a socket.

    Args:
        sock: has `recv_into`.
        max_bytes: of the body, unpacked.

    Raises:
        FetchError: it is over the limit.
        OSError, ValueError, zlib.error, http.client.HTTPException: it is not an answer.
    """
    response = http.client.HTTPResponse(_Readable(sock, max_bytes + limits.HTTP_OVERHEAD), method="GET")  # type: ignore[arg-type]
    try:
        response.begin()
        body = _read_body(response, max_bytes) if _is_success(response.status) else b""
        return Response(response.status, response.reason, response.getheader("Location") or "", body)
    finally:
        response.close()


def _read_body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    is_packed = (response.getheader("Content-Encoding") or "").strip().lower() in ("gzip", "x-gzip")
    unpacker = _Unpacker() if is_packed else None
    body = bytearray()
    while data := response.read(_READ):
        body += unpacker.unpack(data, max_bytes - len(body)) if unpacker else data
        if len(body) > max_bytes:
            raise FetchError(f"the answer is longer than {max_bytes} bytes")
    if response.length or (unpacker and not unpacker.is_whole):
        raise http.client.IncompleteRead(b"")
    return bytes(body)


class _Unpacker:
    """Unpacks gzip: one member after another (RFC 1952); what stands behind the last one is ignored."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._is_over = False
        self._between = b""

    @property
    def is_whole(self) -> bool:
        """Whether no member is cut off."""
        return self._is_over or self._member.eof

    def unpack(self, data: bytes, room: int) -> bytes:
        """Unpack, but no more than one byte over what there is room for; a little at a time, as a bomb keeps one
        busy."""
        unpacked = bytearray()
        while data and len(unpacked) <= room and not self._is_over:
            if self._member.eof:
                data = self._begin_member(data)
                continue
            unpacked += self._member.decompress(data, min(limits.MIB, room + 1 - len(unpacked)))
            data = self._member.unconsumed_tail or self._member.unused_data
            gevent.sleep(0)
        return bytes(unpacked)

    def _begin_member(self, data: bytes) -> bytes:
        """Begin the next member, if there is one. Returns what is to be unpacked of it."""
        data = self._between + data
        start = data[: len(_GZIP_MAGIC)]
        self._between = b""
        if start == _GZIP_MAGIC:
            self._member = zlib.decompressobj(_GZIP)
            return data
        if _GZIP_MAGIC.startswith(start):
            self._between = data
        else:
            self._is_over = True
        return b""


class _Readable(io.RawIOBase):
    """A socket as the standard library reads answers from it, with a budget of bytes.

    A server that sends faster than we read would never let the hub run, not even for our own deadline, as gevent only
    waits where there is nothing to read; so each read lets the others go first.
    """

    def __init__(self, sock: Any, budget: int) -> None:
        self._sock = sock
        self._budget = budget

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self, _READ)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        gevent.sleep(0)
        count: int = self._sock.recv_into(buffer)
        self._budget -= count
        if self._budget < 0:
            raise FetchError("the answer, with its headers, is longer than the limit")
        return count
