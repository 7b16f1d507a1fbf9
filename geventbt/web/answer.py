"""A file as the answer to an HTTP request: the whole of it or a range, read as the client reads.

`respond` is for WSGI. `Answer` has what every other framework needs::

    answer = Answer(reader, environ)
    flask.Response(answer.body, answer.code, answer.headers, direct_passthrough=True)
    django.http.StreamingHttpResponse(answer.body, status=answer.code, headers=dict(answer.headers))
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import gevent

from geventbt import limits
from geventbt.errors import GeventBTError
from geventbt.web.departure import socket_of, watch_departure
from geventbt.web.media import content_type, disposition
from geventbt.web.ranges import Conditions, choose_part
from geventbt.web.wsgi import Environ, Headers, StartResponse, status_line

_log = logging.getLogger("geventbt")

_FIRST_BYTES, _FIRST_CHUNK, _CHUNK = limits.MIB, 64 * limits.KIB, 256 * limits.KIB
"""The beginning goes out in small chunks, for players abort most of their requests soon. *Measured*: 64 KiB cost 1.1 s
of CPU time a GB, 256 KiB 0.5 s."""
_SANDBOX = "sandbox; default-src 'none'"
"""Whatever the file is, it acts on nothing of the origin that it comes from."""


class Readable(Protocol):
    """A file to answer with; `geventbt.TorrentReader` is one."""

    @property
    def size(self) -> int:
        """Its length in bytes."""

    def seek(self, offset: int, /) -> object:
        """Set the position of the next read."""

    def read1(self, size: int, /) -> bytes:
        """Read up to `size` bytes, at least one before the end."""

    def close(self) -> None:
        """End a read that is blocked, with a ValueError."""


class StreamCounters:
    """What answers have sent, for the metrics.

    Attributes:
        open: answers being sent.
        sent: bytes sent by all of them.
        ended: how many have ended, by the reason: "complete", "aborted" by the client, "failed".
    """

    def __init__(self) -> None:
        self.open = 0
        self.sent = 0
        self.ended = {"complete": 0, "aborted": 0, "failed": 0}


class Answer:
    """The answer to a request for a file: Range, If-Range, If-Match, If-None-Match and HEAD (RFC 9110).

    Args:
        reader: the file. It belongs to the answer, which closes it.
        environ: the WSGI environ of the request.
        name: its name, for its type and for saving it; by default that of the reader. Untrusted.
        etag: its strong entity tag without quotes; None if it has none, and then a player that seeks may get the whole
            file. It must change with the content.
        attachment: whether it is to be saved rather than shown.
        counters: what is counted.

    Attributes:
        code: the HTTP status.
        headers: names and values.
        body: its chunks; `close` must be called on it, as every WSGI server does.
    """

    def __init__(
        self,
        reader: Readable,
        environ: Environ,
        *,
        name: str | None = None,
        etag: str | None = None,
        attachment: bool = False,
        counters: StreamCounters | None = None,
    ) -> None:
        name = str(name or getattr(reader, "name", "file")).rpartition("/")[2]
        size, quoted = reader.size, None if etag is None else f'"{etag}"'
        part = choose_part(size, quoted, Conditions.from_environ(environ))
        self.code = part.status
        self.headers: Headers = [
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "private, no-cache"),
            ("Content-Security-Policy", _SANDBOX),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        if quoted is not None:
            self.headers.append(("ETag", quoted))
        if part.status in (200, 206):
            self.headers += [
                ("Content-Type", content_type(name)),
                ("Content-Disposition", disposition(name, attachment=attachment)),
            ]
        if part.status != 304:
            self.headers.append(("Content-Length", str(part.length)))
        if part.status in (206, 416):
            sent = f"{part.start}-{part.stop - 1}" if part.length else "*"
            self.headers.append(("Content-Range", f"bytes {sent}/{size}"))
        self.body: Iterable[bytes] = ()
        if environ["REQUEST_METHOD"] == "GET" and part.length:
            self.body = _Body(reader, part.start, part.length, environ, counters or StreamCounters())
        else:
            reader.close()


def respond(
    reader: Readable,
    environ: Environ,
    start_response: StartResponse,
    *,
    name: str | None = None,
    etag: str | None = None,
    attachment: bool = False,
) -> Iterable[bytes]:
    """Answer a WSGI request with a file, such as one of `ActiveTorrent.open`. Arguments: see `Answer`.

    The file is read as the client reads; a client that leaves ends a read that is blocked.
    """
    answer = Answer(reader, environ, name=name, etag=etag, attachment=attachment)
    start_response(status_line(answer.code), answer.headers)
    return answer.body


class _Body:
    """The chunks of a range of a file. What cannot be sent to its end is cut off, and the connection closed: players
    ask for the rest again."""

    def __init__(self, reader: Readable, start: int, length: int, environ: Environ, counters: StreamCounters) -> None:
        self._reader = reader
        self._start = start
        self._length = length
        self._counters = counters
        self._sent = 0
        self._is_left = False
        self._reason = "aborted"
        sock = socket_of(environ)
        # Another server may not say when its client has left: then a read gives up some time.
        self._patience = limits.WEB_STREAM_PATIENCE if sock is None else None
        self._watcher = None if sock is None else watch_departure(sock, self._leave)
        counters.open += 1
        self._close: Callable[[], None] | None = self._end

    def __iter__(self) -> Iterator[bytes]:
        # Our server sends the head now: the first piece may take a while.
        yield b""
        self._reader.seek(self._start)
        while self._sent < self._length:
            chunk = self._read()
            yield chunk
            self._sent += len(chunk)
            self._counters.sent += len(chunk)
        self._reason = "complete"

    def _read(self) -> bytes:
        wanted = min(_FIRST_CHUNK if self._sent < _FIRST_BYTES else _CHUNK, self._length - self._sent)
        try:
            with gevent.Timeout(self._patience, TimeoutError("no data in time")):
                chunk = self._reader.read1(wanted)
        except (GeventBTError, OSError, ValueError) as error:
            raise self._cut(error) from error
        if not chunk:
            raise self._cut(OSError("the file has become shorter"))
        return chunk

    def _cut(self, error: Exception) -> Exception:
        """What ends the answer before its end; servers take it for a client that has left, and close."""
        if not self._is_left:
            self._reason = "failed"
            _log.info("an HTTP answer is cut off after %d of %d bytes: %s", self._sent, self._length, error)
        return BrokenPipeError(errno.EPIPE, "the answer is cut off")

    def _leave(self) -> None:
        self._is_left = True
        self._reader.close()

    def close(self) -> None:
        """End it, wherever it is. Idempotent."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def _end(self) -> None:
        if self._watcher is not None:
            self._watcher.kill(block=False)
        self._reader.close()
        self._counters.open -= 1
        self._counters.ended[self._reason] += 1
