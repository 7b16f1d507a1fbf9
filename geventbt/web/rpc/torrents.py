"""The methods that add, list, start, stop, check, move and remove torrents."""

from __future__ import annotations

import base64
from collections import deque
from typing import Any

from geventbt import limits
from geventbt.concurrency.threads import in_thread
from geventbt.concurrency.turns import let_others_run
from geventbt.errors import FetchError, GeventBTError, MetainfoError, StorageError
from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.magnet import link_of_hash
from geventbt.net.http.fetch import fetch
from geventbt.net.text import clean_text
from geventbt.service.session import AlreadyThere
from geventbt.service.torrent import ServiceTorrent
from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.changes import record_changes
from geventbt.web.rpc.context import RECENTLY, Answer, Methods, RpcContext
from geventbt.web.rpc.errors import Code, RpcError
from geventbt.web.rpc.fields import FIELDS
from geventbt.web.rpc.names import snake_name
from geventbt.web.rpc.view import TorrentView

_BATCH = 50
"""Torrents after which other greenlets run: an answer for thousands must not hold peers up."""


def torrent_get(context: RpcContext, arguments: Arguments) -> Answer:
    """List torrents, with those fields that are asked for and known."""
    if "fields" not in arguments:
        raise RpcError(Code.INVALID_PARAMS, "no fields specified")
    names = dict.fromkeys(arguments.items("fields", str))
    known = [(name, FIELDS[snake_name(name)]) for name in names if snake_name(name) in FIELDS]
    rows: list[list[Any]] = []
    for count, torrent in enumerate(context.chosen(arguments), 1):
        view = TorrentView(context.session, torrent)
        rows.append([find(view) for _, find in known])
        if not count % _BATCH:
            let_others_run()
    heads = [name for name, _ in known]
    is_table = arguments.get("format") == "table"
    answer: Answer = {"torrents": [heads, *rows] if is_table else [dict(zip(heads, row, strict=True)) for row in rows]}
    if isinstance(arguments.get("ids"), str):
        answer["removed"] = _removed(context.session.removed, context.session.now() - RECENTLY)
    return answer


def _removed(removed: deque[tuple[int, int]], since: int) -> list[int]:
    return [number for moment, number in removed if moment >= since]


# ---------------------------------------------------------------------- adding


def torrent_add(context: RpcContext, arguments: Arguments) -> Answer:
    """Add a torrent: its file in base64, a magnet link, an info hash, or the URL of its file."""
    session = context.session
    source = _read_source(context, arguments)
    folder = context.folder(arguments, "download_dir") if "download_dir" in arguments else None
    options = record_changes(arguments, source if isinstance(source, Torrent) else None)
    if "paused" in arguments:
        options["is_stopped"] = arguments.boolean("paused")
    try:
        torrent = session.add(source, folder, **options)
    except AlreadyThere as known:
        return {"torrent_duplicate": _named(known.torrent)}
    except MetainfoError as error:
        raise RpcError(Code.BAD_TORRENT, f"invalid or corrupt torrent file: {clean_text(str(error))}") from error
    return {"torrent_added": _named(torrent)}


def _named(torrent: ServiceTorrent) -> dict[str, Any]:
    return {"hash_string": torrent.info_hash.hex(), "id": torrent.record.id, "name": torrent.name}


def _read_source(context: RpcContext, arguments: Arguments) -> Torrent | Magnet:
    try:
        if "metainfo" in arguments:
            return in_thread(Torrent.from_bytes, base64.b64decode(arguments.text("metainfo"), validate=False))
        if "filename" not in arguments:
            raise RpcError(Code.INVALID_PARAMS, "no filename or metainfo specified")
        name = arguments.text("filename").strip()
        link = link_of_hash(name) or name
        if link.lower().startswith("magnet:"):
            return Magnet.from_string(link)
        if name.lower().startswith(("http://", "https://")):
            return in_thread(Torrent.from_bytes, _fetched(context, name, arguments.text("cookies", "")))
    except (MetainfoError, ValueError) as error:
        raise RpcError(Code.BAD_TORRENT, "invalid or corrupt torrent file") from error
    # A path would let a client read what the daemon may, and it need not: clients send the file itself.
    raise RpcError(Code.BAD_TORRENT, "invalid or corrupt torrent file: neither a URL nor a magnet link")


def _fetched(context: RpcContext, url: str, cookies: str) -> bytes:
    if len(cookies) > limits.URL or not cookies.isascii() or not cookies.isprintable():
        raise RpcError(Code.INVALID_PARAMS, "cookies: must be printable ASCII, such as a=b; c=d")
    network = context.session.client.network
    try:
        return fetch(url, max_bytes=limits.TORRENT_FILE, cookies=cookies, policy=context.url_policy, network=network)
    except FetchError as error:
        raise RpcError(Code.HTTP, f"the torrent cannot be fetched: {clean_text(str(error))}") from error


# ---------------------------------------------------------------------- changing


def torrent_set(context: RpcContext, arguments: Arguments) -> Answer:
    """Change the options of torrents."""
    folder = context.folder(arguments, "location") if "location" in arguments else None
    for torrent in context.chosen(arguments):
        changes = record_changes(arguments, torrent.active.metainfo, torrent)
        if changes:
            context.session.change(torrent, **changes)
        if folder is not None:
            context.session.move(torrent, folder, moves_files=False)
        if "queue_position" in arguments:
            context.session.set_position(torrent, arguments.integer("queue_position"))
    return {}


def torrent_set_location(context: RpcContext, arguments: Arguments) -> Answer:
    """Have the data of torrents in another folder: moved there, or found there."""
    if not arguments.get("location"):
        raise RpcError(Code.INVALID_PARAMS, "no location")
    folder = context.folder(arguments, "location")
    for torrent in context.chosen(arguments):
        context.session.move(torrent, folder, moves_files=arguments.boolean("move"))
    return {}


def torrent_rename_path(context: RpcContext, arguments: Arguments) -> Answer:
    """Give a file or folder of one torrent another name."""
    torrents = context.chosen(arguments)
    if len(torrents) != 1:
        raise RpcError(Code.INVALID_PARAMS, "torrent-rename-path requires 1 torrent")
    path, name = arguments.text("path"), arguments.text("name")
    answer = {"id": torrents[0].record.id, "name": name, "path": path}
    try:
        context.session.rename(torrents[0], path, name)
    except LookupError as error:
        raise RpcError(Code.SYSTEM, "No such file or directory", answer) from error
    except ValueError as error:
        raise RpcError(Code.SYSTEM, f"Invalid argument: {clean_text(str(error))}", answer) from error
    return answer


def torrent_remove(context: RpcContext, arguments: Arguments) -> Answer:
    """Remove torrents, and their data if that is said."""
    deletes = arguments.boolean("delete_local_data")
    failure: StorageError | None = None
    for torrent in context.chosen(arguments):
        try:
            context.session.remove(torrent, delete=deletes)
        except StorageError as error:
            failure = error
    if failure is not None:
        raise RpcError(Code.SYSTEM, f"the data cannot be deleted: {clean_text(str(failure))}")
    return {}


# ---------------------------------------------------------------------- running


def torrent_start(context: RpcContext, arguments: Arguments) -> Answer:
    """Let torrents run, in their turn."""
    for torrent in context.chosen(arguments):
        context.session.start(torrent)
    return {}


def torrent_start_now(context: RpcContext, arguments: Arguments) -> Answer:
    """Let torrents run at once."""
    for torrent in context.chosen(arguments):
        context.session.start(torrent, forced=True)
    return {}


def torrent_stop(context: RpcContext, arguments: Arguments) -> Answer:
    """Stop torrents."""
    for torrent in context.chosen(arguments):
        context.session.stop(torrent)
    return {}


def torrent_verify(context: RpcContext, arguments: Arguments) -> Answer:
    """Hash the data of torrents again."""
    for torrent in context.chosen(arguments):
        context.session.verify(torrent)
    return {}


def torrent_reannounce(context: RpcContext, arguments: Arguments) -> Answer:
    """Ask trackers for more peers, as soon as they allow it."""
    for torrent in context.chosen(arguments):
        try:
            torrent.active.announce()
        except GeventBTError as error:
            raise RpcError(Code.SYSTEM, clean_text(str(error))) from error
    return {}


METHODS: Methods = {
    method.__name__: method
    for method in (
        torrent_add,
        torrent_get,
        torrent_reannounce,
        torrent_remove,
        torrent_rename_path,
        torrent_set,
        torrent_set_location,
        torrent_start,
        torrent_start_now,
        torrent_stop,
        torrent_verify,
    )
}
