"""`Views`: a WSGI app of functions that are called with a request, and return the answer. Pure."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias
from wsgiref.util import application_uri

from geventbt.web.wsgi import Environ, Headers, StartResponse, answer_text, status_line

_log = logging.getLogger("geventbt")

_DIGITS = 19
PART = "{}"
"""In the path of a view: any text without a slash, with which the view is called."""


class Refused(Exception):
    """A request that is answered with a line of text.

    Args:
        code: the HTTP status.
        text: why.
        headers: beside those of the text.
    """

    def __init__(self, code: int, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.code = code
        self.headers: Headers = list(headers)


class Request:
    """A request, as a view sees it.

    Args:
        environ: of WSGI.
    """

    def __init__(self, environ: Environ) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]

    def header(self, name: str) -> str:
        """A header; "" where it is missing."""
        key = name.upper().replace("-", "_")
        return str(self.environ.get(key if key == "CONTENT_TYPE" else f"HTTP_{key}", ""))

    @property
    def mimetype(self) -> str:
        """The type of the body, without its parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    def body(self, most: int) -> bytes:
        """The body.

        Raises:
            Refused: it has more than `most` bytes, or fewer than it says.
        """
        length = self.environ.get("CONTENT_LENGTH") or ""
        if length.isascii() and length.isdecimal():
            # Of thousands of digits Python makes no number.
            size = int(length[:_DIGITS])
        else:
            # A body without a length ends where the server says so, or is none.
            size = most + 1 if self.environ.get("wsgi.input_terminated") else 0
        try:
            data: bytes = self.environ["wsgi.input"].read(min(size, most + 1))
        except OSError as error:
            raise Refused(400, f"the body ended early: {error}") from error
        if len(data) > most:
            raise Refused(413, f"the body has more than {most} bytes")
        return data

    def json(self, most: int) -> Any:
        """The body, as JSON. Raises ValueError where it is not; else see `body`."""
        try:
            return json.loads(self.body(most))
        except RecursionError:
            raise ValueError("the body is nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request.

    Attributes:
        body: it, or parts of it that are sent as they come.
        code: the HTTP status.
        content_type: of the body.
        headers: more of them.
    """

    body: bytes | Iterable[bytes] = b""
    code: int = 200
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers | tuple[()] = ()


View: TypeAlias = Callable[..., Reply]


def json_reply(value: Any, code: int = 200, headers: Headers | tuple[()] = ()) -> Reply:
    """An answer in JSON."""
    return Reply(json.dumps(value).encode(), code, "application/json", headers)


class Views:
    """A WSGI app: calls the view of a path with the request, and with what stands in the place of `PART`.

    Without a slash behind the path that it is mounted at, a browser is sent there. What a view raises is `Refused`, or
    a fault that is logged.
    """

    def __init__(self) -> None:
        self.views: dict[str, dict[str, View]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, View]]] = []

    def add(self, path: str, view: View, *methods: str) -> None:
        """Add a view.

        Args:
            path: begins with a slash.
            view: the function.
            methods: those that it is called for: GET, which has HEAD with it, where none are given.
        """
        if path not in self.views:
            self.views[path] = {}
            pattern = "([^/]+)".join(map(re.escape, path.split(PART)))
            self._patterns.append((re.compile(pattern, re.DOTALL), self.views[path]))
        self.views[path].update(dict.fromkeys(methods or ("GET", "HEAD"), view))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        try:
            reply = self._reply(environ)
        except Refused as refused:
            return answer_text(environ, start_response, refused.code, str(refused), *refused.headers)
        except Exception:
            _log.exception("a request could not be answered")
            return answer_text(environ, start_response, 500, "it could not be answered, for a fault of this program")
        return _send(reply, environ, start_response)

    def _reply(self, environ: Environ) -> Reply:
        path = environ.get("PATH_INFO", "")
        if not path:
            raise Refused(308, "with a slash", ("Location", f"{application_uri(environ).rstrip('/')}/"))
        for pattern, by_method in self._patterns:
            match = pattern.fullmatch(path)
            if match:
                view = by_method.get(environ["REQUEST_METHOD"])
                if view is None:
                    raise Refused(405, "that cannot be done here", ("Allow", ", ".join(by_method)))
                return view(Request(environ), *match.groups())
        raise Refused(404, "there is nothing here")


def _send(reply: Reply, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    headers = [("Content-Type", reply.content_type), *reply.headers]
    if isinstance(reply.body, bytes):
        headers.append(("Content-Length", str(len(reply.body))))
    start_response(status_line(reply.code), headers)
    if environ["REQUEST_METHOD"] == "HEAD":
        return []
    return [reply.body] if isinstance(reply.body, bytes) else reply.body
