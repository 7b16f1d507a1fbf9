"""The arguments of a request, each checked as it is read. Pure.

Clients differ in how they spell names, and in what they take for a boolean: all spellings are one here, and 0 and 1 are
booleans too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from geventbt import limits
from geventbt.web.rpc.errors import Code, RpcError
from geventbt.web.rpc.names import snake_name

_LARGEST = 1 << 53
"""Beyond it not every integer is a number of JavaScript."""
_KINDS = {type(None): "nothing", list: "a list like this", dict: "an object"}


class Arguments:
    """Reads the arguments of a request by their names in snake_case.

    Args:
        values: the arguments, in any spelling.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {snake_name(key): value for key, value in values.items()}

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, name: str) -> Any:
        """An argument as it is; None where it is missing."""
        return self._values.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """A text. Raises RpcError where it is something else, or is missing without a default."""
        value = self._values.get(name, default)
        if not isinstance(value, str):
            raise _wrong(name, "a string", value)
        return value

    def boolean(self, name: str, default: bool = False) -> bool:
        """A boolean."""
        value = self._values.get(name)
        if value is None:
            return default
        if value in (0, 1) and isinstance(value, int):
            return bool(value)
        raise _wrong(name, "a boolean", value)

    def integer(self, name: str, least: int = 0, most: int = _LARGEST) -> int:
        """An integer within bounds; one outside becomes the bound."""
        return int(min(max(self.number(name), least), most))

    def number(self, name: str) -> float:
        """A finite number; one that could not be reckoned with becomes the largest that can."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < float("inf"):
            raise _wrong(name, "a number", value)
        return min(max(value, -_LARGEST), _LARGEST)

    def items(self, name: str, kind: type, most: int = limits.RPC_ITEMS) -> list[Any]:
        """A list whose items are of one type."""
        value = self._values.get(name, [])
        if not isinstance(value, list) or len(value) > most or not all(type(item) is kind for item in value):
            raise _wrong(name, f"a list of at most {most} items of type {kind.__name__}", value)
        return value


def _wrong(name: str, what: str, value: Any) -> RpcError:
    # What is in a list or an object may be long, or nested as deeply as can be read.
    found = _KINDS.get(type(value)) or f"{str(value)[:50]!r}"
    return RpcError(Code.INVALID_PARAMS, f"{name}: must be {what}, not {found}")
