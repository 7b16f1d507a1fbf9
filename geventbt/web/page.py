"""The page at "/", and the small interface in JSON that it uses: a WSGI app."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from geventbt.client.client import Client
from geventbt.web.control import ClientControl, Control
from geventbt.web.page_api import PageAPI
from geventbt.web.views import Reply, Request, Views

_STATIC = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "media-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
"""All that the page needs comes from here, and nothing that a torrent's name might smuggle in runs."""

_HEADERS = [
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
]


def page_app(
    client: Client,
    folder: str | os.PathLike[str] = ".",
    *,
    control: Control | None = None,
    stream_url: str | None = None,
    fetches_private_urls: bool = False,
) -> Views:
    """The page, to be mounted under any path. It is not guarded: any client that reaches it may do all that it can do.

    Args:
        client: has the torrents.
        folder: where what is added on the page is put.
        control: does what the user asks for; by default the client does.
        stream_url: where `Streams` is mounted, seen from the page, with a slash at the end; None if it is not.
        fetches_private_urls: whether URLs of torrents may lead into this machine and its network.
    """
    views = Views()
    _add_files(views)
    PageAPI(
        client,
        os.fspath(folder),
        control or ClientControl(client, folder),
        stream_url,
        fetches_private_urls=fetches_private_urls,
    ).add_to(views)
    return views


def _add_files(views: Views) -> None:
    """Serve the files of the page, from memory: no path of a request comes near the disk."""
    for path in sorted(_STATIC.iterdir()):
        body = path.read_bytes()
        route = "/" if path.name == "index.html" else f"/{path.name}"
        views.add(route, _FileView(body, _TYPES[path.suffix]))


class _FileView:
    """A view that answers with a file, unless the browser has it."""

    def __init__(self, body: bytes, mimetype: str) -> None:
        self._body = body
        self._content_type = f"{mimetype}; charset=utf-8"
        self._etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        self._headers = [*_HEADERS, ("ETag", self._etag)]

    def __call__(self, request: Request) -> Reply:
        known = {tag.strip().removeprefix("W/") for tag in request.header("If-None-Match").split(",")}
        if self._etag in known:
            return Reply(b"", 304, self._content_type, self._headers)
        return Reply(self._body, 200, self._content_type, self._headers)
