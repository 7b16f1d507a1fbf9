"""The two spellings of the RPC protocol: snake_case since Transmission 4.1, and before it a mix of kebab-case and
camelCase. Inside, all names are in snake_case. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

Each: TypeAlias = Callable[[Iterable[Any]], Iterator[Any]]
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONGEST = 64
"""Characters of a name: what is kept of names must not grow with what clients send."""
_TO_SNAKE = {"cache-size-mb": "cache_size_mib", "isUTP": "is_utp"}
_TO_LEGACY = {
    "cache_size_mib": "cache-size-mb",
    "file_count": "file-count",
    "honors_session_limits": "honorsSessionLimits",
    "ip_protocol": "ip_protocol",
    "is_utp": "isUTP",
    "peer_limit": "peer-limit",
    "primary_mime_type": "primary-mime-type",
    "seed_ratio_limit": "seedRatioLimit",
    "seed_ratio_limited": "seedRatioLimited",
    "sequential_download": "sequential_download",
    "sequential_download_from_piece": "sequential_download_from_piece",
    "total_size": "total_size",
}
"""Those of which the older spelling follows no rule. Answers of torrent_get have their names as they were asked for."""
_CAMEL_METHODS = {"session_stats"}
"""Methods whose answers are in camelCase; those of others are in kebab-case."""
_KEBAB_IN_STATS = {"cumulative_stats": "cumulative-stats", "current_stats": "current-stats"}


def snake_name(name: str) -> str:
    """A name in snake_case, from any spelling; as it is if it is too long for one."""
    return name if len(name) > _LONGEST else _snake_name(name)


@lru_cache(1024)
def _snake_name(name: str) -> str:
    return _TO_SNAKE.get(name) or _HUMP.sub("_", name).replace("-", "_").lower()


@lru_cache(1024)
@lru_cache(1024)
def camel_name(name: str) -> str:
    """A name of snake_case in camelCase."""
    first, *rest = name.split("_")
    return "isUTP" if name == "is_utp" else first + "".join(part.capitalize() for part in rest)


def legacy_answer(method: str, answer: dict[str, Any], each: Each = iter) -> dict[str, Any]:
    """The answer of a method in the older spelling.

    Args:
        method: the method.
        answer: in snake_case.
        each: gives the items of a long list, one after another.
    """
    if method == "torrent_get":
        return {**answer, "torrents": [_torrent(row, each) for row in answer["torrents"]]}
    if method in _CAMEL_METHODS:
        return {_KEBAB_IN_STATS.get(key) or camel_name(key): _in_camel_case(value) for key, value in answer.items()}
    return {_legacy_name(key): _inner(key, value) for key, value in answer.items()}


def _legacy_name(name: str) -> str:
    return _TO_LEGACY.get(name) or name.replace("_", "-")


def _inner(key: str, value: Any) -> Any:
    """What a key holds: units and groups are in kebab-case, a torrent that was added in camelCase."""
    if isinstance(value, list):
        return [_inner(key, each) for each in value]
    rename: Callable[[str], str] = camel_name if key.startswith("torrent_") else _legacy_name
    return {rename(name): inner for name, inner in value.items()} if isinstance(value, dict) else value


def _torrent(row: dict[str, Any] | list[Any], each: Each) -> dict[str, Any] | list[Any]:
    """A torrent, or a row of a table. Its own fields are named as they were asked for."""
    if isinstance(row, dict):
        return {name: _in_camel_case(value, each) for name, value in row.items()}
    return [_in_camel_case(value, each) for value in row]


def _in_camel_case(value: Any, each: Each = iter) -> Any:
    """An object, or the objects of a list, with names in camelCase."""
    if isinstance(value, dict):
        return {camel_name(name): inner for name, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_in_camel_case(inner) for inner in each(value)]
    return value
