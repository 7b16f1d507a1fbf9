"""`make_app`: all of the web interface of a client as one WSGI app; and its parts as Flask blueprints."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from flask import Blueprint, Flask, Response, request
from flask.typing import ResponseReturnValue

from geventbt.client.client import Client
from geventbt.web.control import Control
from geventbt.web.exposition import CONTENT_TYPE
from geventbt.web.guard import Guard
from geventbt.web.metrics import HTTPCounters, Metrics
from geventbt.web.page import page_blueprint
from geventbt.web.passwords import Login
from geventbt.web.streaming import NotStreamed, Streams
from geventbt.web.wsgi import Environ, StartResponse, WSGIApp, text_headers

_ROUTES = ("api", "metrics", "stream", "transmission")
"""The first parts of paths that are counted apart; all others are the page."""


def make_app(
    client: Client,
    folder: str | os.PathLike[str] = ".",
    *,
    login: Login | None = None,
    hosts: Collection[str] = (),
    control: Control | None = None,
    fetches_private_urls: bool = False,
    per_torrent_metrics: bool = False,
    blueprints: Iterable[Blueprint] = (),
) -> Guard:
    """The web interface of a client: the page at "/", ``/stream/INFOHASH/INDEX/NAME``, ``/metrics`` and ``/healthz``.

    A WSGI app for `serve`, gevent.pywsgi and gunicorn's gevent worker, or below a path of another app. It is to be used
    in the native thread of the client. Without a login it answers only to this machine.

    Args:
        client: has the torrents.
        folder: where what is added on the page is put, and nowhere else.
        login: the user and password that clients must give.
        hosts: names that it may be called by, beside IP addresses and localhost; those of a proxy in front of it.
        control: does what the user asks for on the page; by default the client does.
        fetches_private_urls: whether URLs of torrents that are given on the page may lead into this machine and its
            network.
        per_torrent_metrics: whether torrents have metrics of their own, up to `limits.WEB_METRICS_TORRENTS`.
        blueprints: more parts, with a URL prefix of their own.
    """
    http = HTTPCounters(Counter())
    streams = Streams(client)
    metrics = Metrics(client, folder=folder, streams=streams.counters, http=http, per_torrent=per_torrent_metrics)
    app = Flask(__name__, static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.register_blueprint(
        page_blueprint(client, folder, control=control, stream_url="stream/", fetches_private_urls=fetches_private_urls)
    )
    app.register_blueprint(stream_blueprint(streams), url_prefix="/stream")
    app.register_blueprint(metrics_blueprint(metrics))
    app.add_url_rule("/healthz", "healthz", _is_healthy)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    guard = Guard(_Counted(app.wsgi_app, http), login=login, hosts=hosts)
    if guard.check is not None:
        check = guard.check
        http.failed_logins = lambda: check.failures
    return guard


def stream_blueprint(streams: Streams) -> Blueprint:
    """``/INFOHASH/INDEX/NAME`` for an app of the caller's, who decides who may read the files."""
    blueprint = Blueprint("geventbt_stream", __name__)

    def stream(path: str) -> ResponseReturnValue:
        try:
            answer = streams.answer(f"/{path}", request.environ)
        except NotStreamed as refused:
            body = f"{refused}\n".encode()
            return Response(body, refused.code, text_headers(body, *refused.headers))
        return Response(answer.body, answer.code, answer.headers, direct_passthrough=True)

    blueprint.add_url_rule("/<path:path>", "stream", stream)
    return blueprint


def metrics_blueprint(metrics: Metrics) -> Blueprint:
    """``/metrics`` for an app of the caller's."""
    blueprint = Blueprint("geventbt_metrics", __name__)
    blueprint.add_url_rule("/metrics", "metrics", lambda: Response(metrics.text(), content_type=CONTENT_TYPE))
    return blueprint


def _is_healthy() -> ResponseReturnValue:
    return Response("ok\n", mimetype="text/plain")


class _Counted:
    """A WSGI app whose answers are counted."""

    def __init__(self, app: WSGIApp, counters: HTTPCounters) -> None:
        self._app = app
        self._counters = counters

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        first = environ.get("PATH_INFO", "").split("/", 2)[1:2]
        route = first[0] if first and first[0] in _ROUTES else "page"

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            self._counters.answers[route, f"{status[:1]}xx"] += 1
            return start_response(status, headers, *more)

        return self._app(environ, start)
