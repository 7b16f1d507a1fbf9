"""The trackers of a torrent, as torrent_get answers them, and as torrent_set changes them."""

from __future__ import annotations

from math import isfinite
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from geventbt import TrackerStatus, limits
from geventbt.metainfo.urls import is_url
from geventbt.service.record import TorrentRecord
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.errors import Code, RpcError
from geventbt.web.rpc.view import TorrentView

_INACTIVE, _WAITING = 0, 1


def trackers(view: TorrentView) -> list[dict[str, Any]]:
    """What each tracker is."""
    return _trackers(view, view.active.tracker_tiers)


def _trackers(view: TorrentView, tiers: list[list[str]]) -> list[dict[str, Any]]:
    return [
        {
            "announce": url,
            "id": number_of(view.record, url),
            "scrape": _scrape_url(url),
            "sitename": _site_of(url),
            "tier": tier,
        }
        for tier, urls in enumerate(tiers)
        for url in urls
    ]


def tracker_list(view: TorrentView) -> str:
    """The announce URLs, one a line, with a blank line between tiers."""
    return text_of(view.active.tracker_tiers)


def text_of(tiers: list[list[str]]) -> str:
    """Announce URLs as the protocol writes them: one a line, with a blank line between tiers."""
    return "\n\n".join("\n".join(tier) for tier in tiers)


def tiers_of(text: str) -> list[list[str]]:
    """The tiers of such a text. Raises RpcError where a URL is not that of a tracker."""
    return _checked(_parse_list(text))


def tracker_stats(view: TorrentView) -> list[dict[str, Any]]:
    """How each tracker does, those of all torrents as well."""
    statuses, now = view.active.trackers, view.session.now()
    is_private = view.metainfo is not None and view.metainfo.private
    common = [] if is_private else view.session.client.default_trackers
    shown = _trackers(view, view.active.tracker_tiers + common)
    return [{**each, **_stats(statuses.get(each["announce"]), each["announce"], now)} for each in shown]


def number_of(record: TorrentRecord, url: str) -> int:
    """The number of a tracker, which is never used again in its torrent."""
    return record.tracker_ids.setdefault(url, max(record.tracker_ids.values(), default=0) + 1)


def changed_tiers(arguments: Arguments, record: TorrentRecord, tiers: list[list[str]]) -> list[list[str]] | None:
    """The tiers as a request wants them; None where it says nothing of them.

    Raises:
        RpcError: a URL is not that of a tracker, or there is no such tracker.
    """
    if "tracker_list" in arguments:
        return tiers_of(arguments.text("tracker_list"))
    if not any(name in arguments for name in ("tracker_add", "tracker_remove", "tracker_replace")):
        return None
    by_id = {number_of(record, url): url for tier in tiers for url in tier}
    removed = {_known(by_id, number) for number in arguments.items("tracker_remove", int)}
    replaced = _replacements(arguments, by_id)
    found = [[replaced.get(url, url) for url in tier if url not in removed] for tier in tiers]
    there = {url for tier in found for url in tier}
    found += [[url] for url in arguments.items("tracker_add", str) if url not in there]
    return _checked([tier for tier in found if tier])


def _replacements(arguments: Arguments, by_id: dict[int, str]) -> dict[str, str]:
    pairs = arguments.get("tracker_replace") or []
    if not isinstance(pairs, list) or len(pairs) % 2 or len(pairs) > 2 * limits.TRACKERS:
        raise RpcError(Code.BAD_TRACKERS, "tracker_replace: must be a list of ids, each with a URL")
    return {_known(by_id, number): str(url) for number, url in zip(pairs[::2], pairs[1::2], strict=True)}


def _known(by_id: dict[int, str], number: Any) -> str:
    if not isinstance(number, int) or number not in by_id:
        raise RpcError(Code.BAD_TRACKERS, f"there is no tracker with the id {str(number)[:50]}")
    return by_id[number]


def _parse_list(text: str) -> list[list[str]]:
    tiers: list[list[str]] = [[]]
    for line in map(str.strip, text.splitlines()):
        if line:
            tiers[-1].append(line)
        elif tiers[-1]:
            tiers.append([])
    return [tier for tier in tiers if tier]


def _checked(tiers: list[list[str]]) -> list[list[str]]:
    urls = [url for tier in tiers for url in tier]
    bad = [url for url in urls if not is_url(url) or urlsplit(url).scheme not in ("http", "https", "udp")]
    if bad or len(urls) > limits.TRACKERS:
        raise RpcError(Code.BAD_TRACKERS, f"not the URL of a tracker: {bad[0][:100]}" if bad else "too many trackers")
    return tiers


def _stats(status: TrackerStatus | None, url: str, now: int) -> dict[str, Any]:
    last = None if status is None else status.last_announce
    due = None if status is None else status.next_announce
    parts = urlsplit(url)
    is_answered = last is not None and status is not None and status.error is None
    return {
        "announce_state": _INACTIVE if status is None else _WAITING,
        "download_count": -1,
        "downloader_count": -1,
        "has_announced": last is not None,
        "has_scraped": False,
        "host": f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        "is_backup": status is None,
        "last_announce_peer_count": status.peers if status else 0,
        "last_announce_result": "Success" if is_answered else (status.error or "") if status else "",
        "last_announce_start_time": _wall_time(last, now),
        "last_announce_succeeded": is_answered,
        "last_announce_time": _wall_time(last, now),
        "last_announce_timed_out": False,
        "last_scrape_result": "",
        "last_scrape_start_time": 0,
        "last_scrape_succeeded": False,
        "last_scrape_time": 0,
        "last_scrape_timed_out": False,
        "leecher_count": _count(status.leechers if status else None),
        "next_announce_time": _wall_time(due, now),
        "next_scrape_time": 0,
        "scrape_state": _INACTIVE,
        "seeder_count": _count(status.seeders if status else None),
    }


def _count(value: int | None) -> int:
    return -1 if value is None else value


def _wall_time(moment: float | None, now: int) -> int:
    """A moment of the monotonic clock in seconds since 1970; 0 for never."""
    return 0 if moment is None or not isfinite(moment) else round(now + moment - monotonic())


def _scrape_url(url: str) -> str:
    head, slash, last = url.rpartition("/")
    return f"{head}/{last.replace('announce', 'scrape', 1)}" if slash and last.startswith("announce") else ""


def _site_of(url: str) -> str:
    """The name of a tracker for people: the part of its host before the last."""
    parts = (urlsplit(url).hostname or "").split(".")
    return parts[-2] if len(parts) > 1 and not parts[-1].isdigit() else parts[0]
