"""The web interface of a client: a page, streaming, metrics and remote control, as one WSGI app or in parts.

The blueprints need Flask; the rest needs nothing more. All names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "make_app": "geventbt.web.app",
    "page_app": "geventbt.web.page",
    "page_blueprint": "geventbt.web.blueprints",
    "stream_blueprint": "geventbt.web.blueprints",
    "metrics_blueprint": "geventbt.web.blueprints",
    "rpc_blueprint": "geventbt.web.blueprints",
    "respond": "geventbt.web.answer",
    "Answer": "geventbt.web.answer",
    "Streams": "geventbt.web.streaming",
    "Metrics": "geventbt.web.metrics",
    "Control": "geventbt.web.control",
    "Guard": "geventbt.web.guard",
    "Login": "geventbt.web.passwords",
    "hash_password": "geventbt.web.passwords",
    "serve": "geventbt.web.server",
    "WebServer": "geventbt.web.server",
}

__all__ = [*_EXPORTS]

if TYPE_CHECKING:
    from geventbt.web.answer import Answer as Answer
    from geventbt.web.answer import respond as respond
    from geventbt.web.app import make_app as make_app
    from geventbt.web.blueprints import metrics_blueprint as metrics_blueprint
    from geventbt.web.blueprints import page_blueprint as page_blueprint
    from geventbt.web.blueprints import rpc_blueprint as rpc_blueprint
    from geventbt.web.blueprints import stream_blueprint as stream_blueprint
    from geventbt.web.control import Control as Control
    from geventbt.web.guard import Guard as Guard
    from geventbt.web.metrics import Metrics as Metrics
    from geventbt.web.page import page_app as page_app
    from geventbt.web.passwords import Login as Login
    from geventbt.web.passwords import hash_password as hash_password
    from geventbt.web.server import WebServer as WebServer
    from geventbt.web.server import serve as serve
    from geventbt.web.streaming import Streams as Streams


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
