"""From JSON to a request. A long one is decoded without holding up the event loop."""

from __future__ import annotations

import json
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from math import isfinite
from typing import Any

from geventbt import limits
from geventbt.concurrency.threads import in_thread


def decode_request(body: bytes) -> Any:
    """The value of a request.

    Raises:
        ValueError: it is not JSON, or is made of too many parts.
        RecursionError: it is nested too deeply.
    """
    if len(body) <= limits.RPC_BODY_AT_ONCE:
        return _decoded(body, json.JSONDecoder)
    if body.count(b"[") + body.count(b"{") > limits.RPC_CONTAINERS:
        raise ValueError(f"more than {limits.RPC_CONTAINERS} arrays and objects")
    return in_thread(_decoded, body, _InterruptibleDecoder)


class _InterruptibleDecoder(json.JSONDecoder):
    """A decoder in Python, during which other threads run: the usual one is a single call of C for all of a body."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.scan_once = py_make_scanner(self)


def _decoded(body: bytes, decoder: type[json.JSONDecoder]) -> Any:
    return json.loads(body, cls=decoder, parse_constant=_refuse, parse_float=_finite)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    """A number with a fraction or an exponent. One that is too large would be infinite, and so in the answer."""
    number = float(text)
    return number if isfinite(number) else _refuse(text)
