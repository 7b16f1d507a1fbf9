"""The Transmission RPC protocol, for the programs that people control their torrents with already.

`Rpc` answers requests as values of JSON, and `rpc_app` does over HTTP.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {"Rpc": "geventbt.web.rpc.rpc", "rpc_app": "geventbt.web.rpc.endpoint"}

__all__ = ["Rpc", "rpc_app"]

if TYPE_CHECKING:
    from geventbt.web.rpc.endpoint import rpc_app as rpc_app
    from geventbt.web.rpc.rpc import Rpc as Rpc


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
