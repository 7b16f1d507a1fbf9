"""The methods that concern the session as a whole: its counters, its room, its end."""

from __future__ import annotations

import os

import gevent

from geventbt.client.status import TorrentState
from geventbt.errors import FetchError
from geventbt.net.text import clean_text
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.context import Answer, Methods, RpcContext
from geventbt.web.rpc.errors import Code, RpcError
from geventbt.web.rpc.settings import free_of

_RUNNING = (TorrentState.METADATA, TorrentState.DOWNLOADING, TorrentState.SEEDING)


def session_stats(context: RpcContext, arguments: Arguments) -> Answer:
    """What is going on, and what has been transferred in this run and in all."""
    session = context.session
    torrents = session.torrents
    running = [torrent for torrent in torrents if torrent.active.state in _RUNNING]
    speeds = [torrent.active.progress for torrent in running]
    downloaded = sum(torrent.active.downloaded for torrent in torrents)
    uploaded = sum(torrent.active.uploaded for torrent in torrents)
    record = session.record
    return {
        "active_torrent_count": len(running),
        "paused_torrent_count": len(torrents) - len(running),
        "torrent_count": len(torrents),
        "download_speed": round(sum(progress.download_speed for progress in speeds)),
        "upload_speed": round(sum(progress.upload_speed for progress in speeds)),
        "cumulative_stats": {
            "downloaded_bytes": record.downloaded,
            "files_added": record.added,
            "seconds_active": record.seconds,
            "session_count": record.runs,
            "uploaded_bytes": record.uploaded,
        },
        "current_stats": {
            "downloaded_bytes": downloaded,
            "files_added": len(torrents),
            "seconds_active": session.now() - session.started,
            "session_count": 1,
            "uploaded_bytes": uploaded,
        },
    }


def session_close(context: RpcContext, arguments: Arguments) -> Answer:
    """End the daemon, where its owner lets clients do that."""
    if context.shut_down is None:
        raise RpcError(Code.SYSTEM, "the daemon cannot be ended by a client: allow it with --rpc-shutdown")
    # Not before this is answered.
    gevent.spawn_later(0.5, context.shut_down)
    return {}


def free_space(context: RpcContext, arguments: Arguments) -> Answer:
    """How much room a folder has."""
    path = arguments.text("path")
    failed = {"path": path, "size_bytes": -1, "total_size": -1}
    try:
        folder = context.folder(arguments, "path")
        free, total = free_of(folder)
    except RpcError as error:
        raise RpcError(error.code, error.text, failed) from error
    if free < 0:
        raise RpcError(Code.SYSTEM, os.strerror(2), failed)
    return {"path": path, "size_bytes": free, "total_size": total}


def port_test(context: RpcContext, arguments: Arguments) -> Answer:
    """Whether peers can reach us: whether one has, since no third party is asked."""
    inbound = any(not peer.outgoing for torrent in context.session.torrents for peer in torrent.active.peers)
    return {"port_is_open": inbound, "ip_protocol": arguments.text("ip_protocol", "ipv4")}


def blocklist_update(context: RpcContext, arguments: Arguments) -> Answer:
    """Fetch the list of IP addresses that are left alone, or read the one of the configuration again."""
    blocklist, url = context.session.blocklist, context.session.settings.blocklist_url
    if blocklist.configured is None and not url:
        raise RpcError(Code.NO_BLOCKLIST, "no blocklist: there is no blocklist-url")
    try:
        blocklist.update(url, context.url_policy)
    except FetchError as error:
        raise RpcError(Code.HTTP, f"the blocklist cannot be fetched: {clean_text(str(error))}") from error
    except ValueError as error:
        raise RpcError(Code.NO_BLOCKLIST, clean_text(str(error))) from error
    return {"blocklist_size": blocklist.size}


METHODS: Methods = {
    method.__name__: method
    for method in (
        blocklist_update,
        free_space,
        port_test,
        session_close,
        session_stats,
    )
}
