"""The page at "/", and the small interface in JSON that it uses: a Flask blueprint."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from geventbt.client.client import Client
from geventbt.web.control import ClientControl, Control
from geventbt.web.page_api import PageAPI

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


def page_blueprint(
    client: Client,
    folder: str | os.PathLike[str] = ".",
    *,
    control: Control | None = None,
    stream_url: str | None = None,
    fetches_private_urls: bool = False,
) -> Blueprint:
    """The page, for an app of the caller's. It is not guarded: any client that reaches it may do all that it can do.

    Args:
        client: has the torrents.
        folder: where what is added on the page is put.
        control: does what the user asks for; by default the client does.
        stream_url: where `Streams` is mounted, seen from the page, with a slash at the end; None if it is not.
        fetches_private_urls: whether URLs of torrents may lead into this machine and its network.
    """
    blueprint = Blueprint("geventbt_page", __name__)
    _add_files(blueprint)
    PageAPI(
        client,
        os.fspath(folder),
        control or ClientControl(client, folder),
        stream_url,
        fetches_private_urls=fetches_private_urls,
    ).add_to(blueprint)
    return blueprint


def _add_files(blueprint: Blueprint) -> None:
    """Serve the files of the page, from memory: no path of a request comes near the disk."""
    for path in sorted(_STATIC.iterdir()):
        body = path.read_bytes()
        route = "/" if path.name == "index.html" else f"/{path.name}"
        blueprint.add_url_rule(route, path.name.replace(".", "_"), _FileView(body, _TYPES[path.suffix]))


class _FileView:
    """A view that answers with a file, unless the browser has it."""

    def __init__(self, body: bytes, mimetype: str) -> None:
        self._body = body
        self._mimetype = mimetype
        self._etag = hashlib.sha256(body).hexdigest()[:20]

    def __call__(self) -> ResponseReturnValue:
        response = Response(self._body, mimetype=self._mimetype)
        response.headers.update(
            {
                "Content-Security-Policy": _POLICY,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cache-Control": "no-cache",
            }
        )
        response.set_etag(self._etag)
        return response.make_conditional(request)
