"""The files of a client's torrents over HTTP, while they are fetched: ``/INFOHASH/INDEX/NAME``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qs, quote

from geventbt import limits
from geventbt.client.client import Client
from geventbt.errors import GeventBTError
from geventbt.web.answer import Answer, StreamCounters
from geventbt.web.views import Refused
from geventbt.web.wsgi import Environ, StartResponse, WSGIApp, answer_text, status_line

_PATH = re.compile(r"/([0-9a-fA-F]{40})/([0-9]{1,7})(?:/.*)?", re.DOTALL)


class Streams:
    """Answers requests for files of a client's torrents. A WSGI app, to be mounted under any path.

    A path is the info hash in hex, the position of the file in the torrent, and its name, which is for players and not
    looked at. What is asked for is fetched before all else. The query ``download=1`` has a browser save it.

    Args:
        client: has the torrents.
        max_streams: answers at one time; with more, players are asked to come back.

    Attributes:
        counters: what was sent.
    """

    def __init__(self, client: Client, *, max_streams: int = limits.WEB_STREAMS) -> None:
        self._client = client
        self._max_streams = max_streams
        self.counters = StreamCounters()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        try:
            answer = self.answer(environ.get("PATH_INFO", ""), environ)
        except Refused as refused:
            return answer_text(environ, start_response, refused.code, str(refused), *refused.headers)
        start_response(status_line(answer.code), answer.headers)
        return answer.body

    def answer(self, path: str, environ: Environ) -> Answer:
        """The answer to a request for a path, for a framework of the caller's.

        Raises:
            Refused: there is no such file, or not now.
        """
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise Refused(405, "a file can only be read: GET or HEAD", ("Allow", "GET, HEAD"))
        match = _PATH.fullmatch(path)
        torrent = self._client.torrents.get(bytes.fromhex(match[1])) if match else None
        if match is None or torrent is None:
            raise Refused(404, "there is no such torrent; the path is /INFOHASH/INDEX/NAME")
        if torrent.metainfo is None:
            raise Refused(503, "the metadata of the torrent is being fetched", ("Retry-After", "5"))
        if self.counters.open >= self._max_streams:
            raise Refused(503, "too many files are being streamed", ("Retry-After", "2"))
        index = int(match[2])
        try:
            reader = torrent.open(index)
        except LookupError:
            raise Refused(404, f"the torrent has no file {index}") from None
        except GeventBTError as error:
            raise Refused(503, f"the torrent has failed: {error}", ("Retry-After", "30")) from error
        return Answer(
            reader,
            environ,
            etag=f"{torrent.info_hash.hex()}-{index}",
            attachment=parse_qs(environ.get("QUERY_STRING", "")).get("download") == ["1"],
            counters=self.counters,
        )


def stream_path(info_hash: bytes, index: int, name: str) -> str:
    """The path of a file below where `Streams` is mounted, escaped, without a slash in front.

    Args:
        info_hash: of the torrent.
        index: the position of the file in it.
        name: its name, for players; of a path the last part counts.
    """
    return f"{info_hash.hex()}/{index}/{quote(name.rpartition('/')[2], safe='')}"


def mounted(app: WSGIApp, prefix: str, rest: WSGIApp | None = None) -> WSGIApp:
    """A WSGI app for the paths below a prefix, such as "/stream".

    Args:
        app: it.
        prefix: see above.
        rest: for all other paths; None if they are not found.
    """

    def dispatch(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(f"{prefix}/"):
            if rest is not None:
                return rest(environ, start_response)
            return answer_text(environ, start_response, 404, f"there is nothing here; see {prefix}/")
        below = {**environ, "SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + prefix, "PATH_INFO": path[len(prefix) :]}
        return app(below, start_response)

    return dispatch
