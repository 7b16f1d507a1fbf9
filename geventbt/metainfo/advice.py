"""What a .torrent file says beside ``info``: trackers, web seeds, nodes of the DHT, comment and dates.

All of it is advice, bounded by `geventbt.limits`, and what makes no sense is left out.
"""

from __future__ import annotations

from typing import Any

from geventbt import limits
from geventbt.metainfo.urls import escaped_url, is_url
from geventbt.net.addresses import is_port

_LAST_DATE = 253402300799
"""The end of the year 9999, the last one that `datetime` knows."""


def read_trackers(metainfo: dict[bytes, Any]) -> tuple[tuple[str, ...], ...]:
    """The tiers of ``announce-list``, or else ``announce`` alone (BEP 12): `limits.TRACKERS` URLs at most, each
    once."""
    tiers = metainfo.get(b"announce-list")
    result: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for tier in tiers if isinstance(tiers, list) else []:
        urls = [url for url in _urls(tier) if url not in seen][: limits.TRACKERS - len(seen)]
        seen.update(urls)
        if urls:
            result.append(tuple(dict.fromkeys(urls)))
    if not result:
        result = [(url,) for url in _urls([metainfo.get(b"announce")])]
    return tuple(result)


def read_nodes(metainfo: dict[bytes, Any]) -> tuple[tuple[str, int], ...]:
    """The DHT nodes of ``nodes``, a list of [host, port] (BEP 5): `limits.DHT_TORRENT_NODES` at most, each once."""
    value = metainfo.get(b"nodes")
    found: list[tuple[str, int]] = []
    for node in value if isinstance(value, list) else []:
        host, port = node if isinstance(node, list) and len(node) == 2 else (None, None)
        if isinstance(host, bytes) and host.isascii() and is_port(port):
            found.append((host.decode(), port))
    return tuple(dict.fromkeys(found))[: limits.DHT_TORRENT_NODES]


def read_seed_urls(metainfo: dict[bytes, Any], key: bytes) -> tuple[str, ...]:
    """The URLs of ``url-list``, which is a list or a single string (BEP 19), or of ``httpseeds`` (BEP 17)."""
    value = metainfo.get(key)
    texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, bytes)]
    urls = [escaped_url(text.decode("utf-8", "replace")) for text in texts]
    return tuple(dict.fromkeys(url for url in urls if url is not None))[: limits.WEB_SEEDS]


def read_text(metainfo: dict[bytes, Any], key: bytes) -> str | None:
    """A text; that of ``<key>.utf-8`` comes first, for the other one may be in any encoding."""
    values = (metainfo.get(key + b".utf-8"), metainfo.get(key))
    return next((value.decode("utf-8", "replace") for value in values if isinstance(value, bytes) and value), None)


def read_date(metainfo: dict[bytes, Any]) -> int | None:
    """The ``creation date`` in seconds since 1970."""
    value = metainfo.get(b"creation date")
    return value if isinstance(value, int) and 0 <= value <= _LAST_DATE else None


def _urls(values: Any) -> list[str]:
    """Of a list whatever could be a URL at all: printable ASCII with a scheme."""
    candidates = [value.strip() for value in values if isinstance(value, bytes)] if isinstance(values, list) else []
    urls = [url.decode() for url in candidates if url.isascii() and b"://" in url]
    return [url for url in urls if is_url(url)]
