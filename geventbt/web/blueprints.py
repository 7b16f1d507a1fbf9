"""The parts of the web interface as blueprints, for an app of Flask that has its own logins. Needs Flask."""

from __future__ import annotations

import os
from collections.abc import Callable

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from geventbt.client.client import Client
from geventbt.service.session import Session
from geventbt.web.app import metrics_app
from geventbt.web.control import Control
from geventbt.web.metrics import Metrics
from geventbt.web.page import page_app
from geventbt.web.rpc.endpoint import rpc_app
from geventbt.web.rpc.rpc import Rpc
from geventbt.web.streaming import Streams
from geventbt.web.views import PART, Views
from geventbt.web.wsgi import WSGIApp


def page_blueprint(
    client: Client,
    folder: str | os.PathLike[str] = ".",
    *,
    control: Control | None = None,
    stream_url: str | None = None,
    fetches_private_urls: bool = False,
) -> Blueprint:
    """The page; see `page_app`."""
    app = page_app(client, folder, control=control, stream_url=stream_url, fetches_private_urls=fetches_private_urls)
    return _blueprint_of_views("geventbt_page", app)


def stream_blueprint(streams: Streams) -> Blueprint:
    """``/INFOHASH/INDEX/NAME`` for an app of the caller's, who decides who may read the files."""
    return _blueprint("geventbt_stream", streams, {"/<path:part>": ["GET", "HEAD"]})


def metrics_blueprint(metrics: Metrics) -> Blueprint:
    """``/metrics`` for an app of the caller's."""
    return _blueprint_of_views("geventbt_metrics", metrics_app(metrics))


def rpc_blueprint(client: Client, session: Session | None = None, *, rpc: Rpc | None = None) -> Blueprint:
    """``/transmission/rpc``; see `rpc_app`."""
    return _blueprint_of_views("geventbt_rpc", rpc_app(client, session, rpc=rpc), "/transmission")


def _blueprint_of_views(name: str, views: Views, prefix: str | None = None) -> Blueprint:
    rules = {path.replace(PART, "<part>"): list(by_method) for path, by_method in views.views.items()}
    return _blueprint(name, views, rules, prefix)


def _blueprint(name: str, app: WSGIApp, rules: dict[str, list[str]], prefix: str | None = None) -> Blueprint:
    """A blueprint that has a WSGI app answer the paths of some rules, which may have a part named so."""
    made = Blueprint(name, __name__, url_prefix=prefix)
    for number, (rule, methods) in enumerate(rules.items()):
        made.add_url_rule(rule, f"view{number}", _view_of(app, rule), methods=methods)
    return made


def _view_of(app: WSGIApp, rule: str) -> Callable[..., ResponseReturnValue]:
    def view(part: str = "") -> ResponseReturnValue:
        path = rule.replace("<part>", part).replace("<path:part>", part)
        return Response.from_app(app, {**request.environ, "PATH_INFO": path})

    return view
