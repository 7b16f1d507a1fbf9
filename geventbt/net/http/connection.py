"""One connection to an HTTP server, kept open from request to request, for one greenlet.

::

    connection = HTTPConnection("http://mirror.example")
    response = connection.get("/ubuntu.iso", range=(0, len(piece)))
    view = memoryview(piece)
    while count := response.read_into(view):
        view = view[count:]
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from time import monotonic

from geventbt import __version__, limits
from geventbt.errors import FetchError
from geventbt.net.http.body import Body, body_of
from geventbt.net.http.connector import UNLIMITED, ConnectionLimit, Connector, Link, OpenedAhead
from geventbt.net.http.head import Head, Headers, parse_head, retry_after
from geventbt.net.http.policy import ANY, AddressPolicy
from geventbt.net.http.stream import Stream, Unanswered
from geventbt.net.http.url import URL, Origin, parse_url
from geventbt.net.network import DIRECT, Network
from geventbt.net.text import clean_text

_REDIRECTS = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
_SKIP = 16 * limits.KIB


class Response:
    """An answer whose body is yet to be read.

    Attributes:
        status: its status code, such as 200.
        reason: its reason phrase; untrusted text.
        headers: its headers, by name in any case; untrusted text.
        length: bytes of the body; None where only its end tells.
        url: what was asked for, without a login.
        address: the IP address it comes from; None behind a proxy.
        will_keep_alive: whether the connection can be used again once the body has been read.
        completed_at: by the monotonic clock, when the whole body had been read.
    """

    def __init__(self, head: Head, url: URL, stream: Stream, address: str | None) -> None:
        self.status = head.status
        self.reason = head.reason
        self.headers: Headers = head.headers
        self.length = head.length
        self.url = str(url)
        self.address = address
        self.will_keep_alive = head.keeps_alive
        self._host = url.origin.host
        self._stream = stream
        self._body: Body = body_of(stream, head)
        self.completed_at = 0.0
        self._note_end()

    @property
    def is_success(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def is_redirect(self) -> bool:
        """Whether it leads to another URL."""
        return self.status in _REDIRECTS

    @property
    def is_complete(self) -> bool:
        """Whether the whole body has been read."""
        return self._body.is_complete

    def error(self) -> FetchError:
        """The error for an answer whose status is not the one that was hoped for."""
        text = f"{self._host}: {self.status} {clean_text(self.reason)}".rstrip()
        return FetchError(text, status=self.status, retry_after=retry_after(self.headers, time.time()))

    def read_into(self, buffer: memoryview) -> int:
        """Receive a part of the body straight into a buffer: at least one byte, as soon as there are any.

        Args:
            buffer: of bytes, not empty.

        Returns:
            The number of bytes, 0 at the end of the body.

        Raises:
            FetchError: the body is cut off, nothing comes in time, or its framing is broken. The connection is closed.
        """
        count = self._body.read_into(buffer)
        if self._body.is_complete:
            self._note_end()
        return count

    def read(self, max_bytes: int) -> bytes:
        """Read the rest of the body. Its time has no bound but the timeout of each read.

        Args:
            max_bytes: the most that it may have.

        Raises:
            FetchError: it is longer, and see `read_into`. The connection is closed.
        """
        body = bytearray()
        buffer = memoryview(bytearray(_SKIP))
        while count := self.read_into(buffer[: max_bytes + 1 - len(body)]):
            body += buffer[:count]
            if len(body) > max_bytes:
                raise self.failure(f"the answer is longer than {max_bytes} bytes")
        return bytes(body)

    def discard(self, max_bytes: int) -> bool:
        """Read the rest of the body without keeping it, if it is short enough.

        Returns:
            Whether its end was reached, so that the connection can be used again. Else, or where it fails or takes
            longer than a read may, the connection is closed.
        """
        buffer = memoryview(bytearray(_SKIP))
        try:
            with self._stream.deadline("no end of the answer"):
                while not self.is_complete and max_bytes >= 0:
                    max_bytes -= self.read_into(buffer[: max_bytes + 1])
        except FetchError:
            return False
        if not self.is_complete:
            self._stream.close()
        return self.is_complete

    def failure(self, text: str) -> FetchError:
        """Close the connection, and return the error for what is wrong with the body."""
        return self._stream.failure(text)

    def _note_end(self) -> None:
        if self.is_complete:
            self.completed_at = monotonic()
            if not self.will_keep_alive:
                self._stream.close()


class HTTPConnection:
    """A connection to a server, opened when it is needed, and again where the server has closed it meanwhile.

    Args:
        origin: scheme, host and port, such as "https://mirror.example:8443"; or any URL there.
        policy: which addresses it may lead to.
        connect_timeout: seconds to look up the name, connect, and agree on TLS.
        timeout: seconds for the head of an answer, and without a byte of a body.
        network: opens the socket.
        limit: bounds the connections to the host.

    Raises:
        FetchError: not such a URL.
    """

    def __init__(
        self,
        origin: str | Origin,
        *,
        policy: AddressPolicy = ANY,
        connect_timeout: float = limits.CONNECT_TIMEOUT,
        timeout: float = limits.HTTP_TIMEOUT,
        network: Network = DIRECT,
        limit: ConnectionLimit = UNLIMITED,
    ) -> None:
        self.origin = origin if isinstance(origin, Origin) else parse_url(origin).origin
        self._policy = policy
        self._connector = Connector(self.origin, policy, connect_timeout, timeout, network, limit)
        self._link: Link | None = None
        self._ahead: OpenedAhead | None = None
        self._response: Response | None = None

    @property
    def is_open(self) -> bool:
        """Whether the next request can go over the connection as it is."""
        link, last = self._link, self._response
        if link is None or not link.stream.is_open or link.stream.has_more:
            return False
        return last is not None and last.is_complete and monotonic() - last.completed_at < limits.HTTP_KEEP_ALIVE

    def get(
        self,
        url: str | URL,
        headers: Mapping[str, str] | None = None,
        range: tuple[int, int] | None = None,
    ) -> Response:
        """Ask for a URL, and block until the head of the answer is here.

        The body of the answer before must have been read, or else its connection is given up. A connection that the
        server has closed while it was idle is opened anew.

        Args:
            url: a whole URL of this origin, or a path with a query.
            headers: to be sent beside, or in place of, our own: Host, User-Agent, Accept-Encoding (identity) and, for
                the login in the URL, Authorization.
            range: (first byte, byte behind the last) of the file, if only this part is wanted. The server may send
                another part, or all of it: see the answer's status, and `content_range`.

        Returns:
            The answer, whatever its status.

        Raises:
            FetchError: the server cannot be reached, does not answer in time, or what it answers is not HTTP.
        """
        target = url if isinstance(url, URL) else self._parse(url)
        return self._send(target, _request("GET", target, headers or {}, range))

    def post(self, url: str | URL, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
        """Post a body to a URL, and block until the head of the answer is here; otherwise as `get`.

        It is always on a new connection: over one that the server has closed it might be done twice.
        """
        target = url if isinstance(url, URL) else self._parse(url)
        self.close()
        length = {"Content-Length": str(len(body))}
        return self._send(target, _request("POST", target, length | dict(headers or {}), None) + body)

    def open_ahead(self) -> None:
        """Begin to open the connection of the next request, if this one ends with the answer that is being read."""
        if self._ahead is None and self._response is not None and not self._response.will_keep_alive:
            self._ahead = OpenedAhead(self._connector)

    def close(self) -> None:
        """Close the connection. The next request opens another one."""
        self._close_link()
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def __enter__(self) -> HTTPConnection:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _send(self, target: URL, request: bytes) -> Response:
        may_be_stale = self.is_open or self._take_ahead()
        if not may_be_stale:
            self._open()
        try:
            return self._ask(target, request)
        except Unanswered:
            if not may_be_stale:
                raise
        self._open()
        return self._ask(target, request)

    def _parse(self, url: str) -> URL:
        target = parse_url(f"{self.origin}{url}" if url.startswith("/") else url)
        if target.origin != self.origin:
            raise FetchError(f"{target.origin} is not {self.origin}, which this connection is for")
        return target

    def _open(self) -> None:
        self._close_link()
        self._link = self._connector.open()

    def _take_ahead(self) -> bool:
        """Use the connection that was opened ahead. Returns whether there is one."""
        if self._ahead is None:
            return False
        self._close_link()
        self._link = self._ahead.wait()
        self._ahead = None
        return self._link is not None

    def _close_link(self) -> None:
        if self._link is not None:
            self._link.stream.close()
        self._link = self._response = None

    def _ask(self, url: URL, request: bytes) -> Response:
        assert self._link is not None
        stream, address = self._link
        try:
            if address is not None:
                self._policy.check_request(url, address)
            with stream.deadline("no answer"):
                stream.send(request)
                head = self._read_head(stream)
        except BaseException:
            self._close_link()
            raise
        self._response = Response(head, url, stream, address)
        return self._response

    def _read_head(self, stream: Stream) -> Head:
        for _ in range(1 + limits.HTTP_INTERIM_ANSWERS):
            data = stream.read_head()
            try:
                head = parse_head(data)
            except FetchError as error:
                raise stream.failure(str(error)) from None
            if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise stream.failure("the server changes to a protocol that was not asked for")
            if head.status >= HTTPStatus.OK:
                return head
        raise stream.failure(f"more than {limits.HTTP_INTERIM_ANSWERS} interim answers")


def _request(method: str, url: URL, headers: Mapping[str, str], wanted: tuple[int, int] | None) -> bytes:
    fields = {
        "Host": url.origin.authority,
        "User-Agent": f"geventbt/{__version__}",
        "Accept-Encoding": "identity",
    }
    if url.authorization:
        fields["Authorization"] = url.authorization
    if wanted is not None:
        start, end = wanted
        if not 0 <= start < end:
            raise ValueError(f"not a range of bytes: {start} to {end}")
        fields["Range"] = f"bytes={start}-{end - 1}"
    fields |= {name.title(): value for name, value in headers.items()}
    for name, value in fields.items():
        if "\n" in value or "\r" in value or "\0" in value:
            raise ValueError(f"a header with a line break: {name}")
    lines = [f"{method} {url.target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")
