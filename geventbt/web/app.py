"""`make_app`: all of the web interface of a client as one WSGI app."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from geventbt.client.client import Client
from geventbt.service.plain import plain_session
from geventbt.web.control import Control
from geventbt.web.exposition import CONTENT_TYPE
from geventbt.web.guard import Guard
from geventbt.web.metrics import HTTPCounters, Metrics
from geventbt.web.page import page_app
from geventbt.web.passwords import Login
from geventbt.web.rpc.endpoint import rpc_app
from geventbt.web.rpc.rpc import Rpc
from geventbt.web.session_control import PlainControl
from geventbt.web.streaming import Streams, mounted
from geventbt.web.views import Reply, View, Views
from geventbt.web.wsgi import Environ, StartResponse, WSGIApp

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
    parts: Mapping[str, WSGIApp] = MappingProxyType({}),
) -> Guard:
    """The web interface of a client: the page at "/", ``/transmission/rpc``, ``/stream/INFOHASH/INDEX/NAME``,
    ``/metrics`` and ``/healthz``.

    A WSGI app for `serve`, gevent.pywsgi and gunicorn's gevent worker, or below a path of another app. It is to be used
    in the native thread of the client. Without a login it answers only to this machine.

    Args:
        client: has the torrents.
        folder: where what is added is put, and nowhere else.
        login: the user and password that clients must give.
        hosts: names that it may be called by, beside IP addresses and localhost; those of a proxy in front of it.
        control: does what the user asks for on the page, in place of the client. Remote control is then there only if
            `parts` have it.
        fetches_private_urls: whether URLs of torrents that are given on the page may lead into this machine and its
            network.
        per_torrent_metrics: whether torrents have metrics of their own, up to `limits.WEB_METRICS_TORRENTS`.
        parts: more WSGI apps, by what their paths begin with: with "/transmission" for the `geventbt.web.rpc.rpc_app`
            of a session, that has the torrents.
    """
    http = HTTPCounters(Counter())
    streams = Streams(client)
    metrics = Metrics(client, folder=folder, streams=streams.counters, http=http, per_torrent=per_torrent_metrics)
    own: dict[str, WSGIApp] = {"/stream": streams}
    if control is None and "/transmission" not in parts:
        session = plain_session(client, folder)
        control = PlainControl(session, folder)
        answers = Rpc(client, session, fetches_private_urls=fetches_private_urls)
        own["/transmission"] = rpc_app(client, session, rpc=answers)
    views = page_app(client, folder, control=control, stream_url="stream/", fetches_private_urls=fetches_private_urls)
    views.add("/metrics", _metrics_view(metrics))
    views.add("/healthz", lambda request: Reply(b"ok\n"))
    app: WSGIApp = views
    for prefix, part in {**own, **parts}.items():
        app = mounted(part, prefix, app)
    guard = Guard(_Counted(app, http), login=login, hosts=hosts)
    if guard.check is not None:
        check = guard.check
        http.failed_logins = lambda: check.failures
    return guard


def metrics_app(metrics: Metrics) -> Views:
    """``/metrics`` alone, as a WSGI app."""
    views = Views()
    views.add("/metrics", _metrics_view(metrics))
    return views


def _metrics_view(metrics: Metrics) -> View:
    return lambda request: Reply(metrics.text().encode(), content_type=CONTENT_TYPE)


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
