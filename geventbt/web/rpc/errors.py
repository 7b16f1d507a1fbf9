"""The errors of the RPC protocol, with the codes and texts that its clients know. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """The codes of errors: those of JSON-RPC 2.0, and those of Transmission."""

    PARSE = -32700
    INVALID_REQUEST = -32600
    NO_METHOD = -32601
    INVALID_PARAMS = -32602
    INTERNAL = -32603
    BAD_TRACKERS = 2
    NOT_ABSOLUTE = 3
    SYSTEM = 5
    NO_FILE = 6
    HTTP = 8
    BAD_TORRENT = 9
    NO_BLOCKLIST = 10


class RpcError(Exception):
    """A request cannot be done.

    Args:
        code: what kind of error it is.
        text: what happened, for people; older clients show it as it is.
        result: what is answered nevertheless.
    """

    def __init__(self, code: Code, text: str, result: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.result = dict(result or {})
