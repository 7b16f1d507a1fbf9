"""What a person calls a torrent: a path, a URL, a magnet link, an info hash, or standard input."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection

import geventbt
from geventbt import limits
from geventbt.cli.errors import CORRUPT, NETWORK, NOT_FOUND, USAGE, CommandError
from geventbt.cli.interrupt import interruptible

_INFO_HASH = re.compile(r"[0-9a-fA-F]{40}|[A-Za-z2-7]{32}")
_GONE = (404, 410)
_WHAT = "a source is a .torrent file, an http(s) URL of one, a magnet link, an info hash of 40 hex characters, or -"


def read_source(text: str) -> geventbt.Torrent | geventbt.Magnet:
    """Read or fetch what a person means.

    Raises:
        MetainfoError: it is no torrent, or one of version 2 only.
        CommandError: there is no such thing, or the URL cannot be fetched.
        OSError: the file cannot be read.
    """
    if text == "-":
        return _read_bytes(_standard_input(), "standard input")
    if text.lower().startswith("magnet:"):
        return _with_info_hash(geventbt.Magnet.from_string(text))
    if text.lower().startswith(("http://", "https://")):
        return _read_bytes(_fetch(text), text)
    if _INFO_HASH.fullmatch(text) and not os.path.exists(text):
        return geventbt.Magnet.from_string(f"magnet:?xt=urn:btih:{text}")
    try:
        with open(text, "rb") as file:
            return _read_bytes(file.read(limits.TORRENT_FILE + 1), text)
    except FileNotFoundError:
        raise CommandError(NOT_FOUND, f"{text}: there is no such file; {_WHAT}") from None
    except ValueError as error:
        if isinstance(error, geventbt.GeventBTError):
            raise
        raise CommandError(NOT_FOUND, f"{text}: not the name of a file; {_WHAT}") from error


def read_torrent(text: str, command: str) -> geventbt.Torrent:
    """Read what must be a whole torrent, and not only a link to one. Raises as `read_source`."""
    source = read_source(text)
    if isinstance(source, geventbt.Torrent):
        return source
    raise CommandError(
        USAGE,
        f"{command} needs the .torrent itself, and not a link to it; to get it: "
        "geventbt info --save-torrent FILE.torrent 'magnet:...' --peer HOST:PORT",
    )


def check_reachable(
    source: geventbt.Torrent | geventbt.Magnet, peers: Collection[object], trackers: Collection[object]
) -> None:
    """See that there is somebody to ask for what a link leads to.

    Raises:
        CommandError: there is not; most often the shell has cut the link.
    """
    if isinstance(source, geventbt.Torrent) or is_reachable(source, peers, trackers):
        return
    raise CommandError(
        USAGE,
        "the magnet link has no tracker and no peer in it. If it was longer, put it in quotes ('magnet:?...'): the "
        "shell cuts it at the first &. Else name somebody to ask, with --peer HOST:PORT or --tracker URL",
    )


def is_reachable(source: geventbt.Magnet, peers: Collection[object], trackers: Collection[object]) -> bool:
    """Whether there is somebody to ask for what a link leads to."""
    return bool(source.trackers or source.peers or peers or trackers)


def _with_info_hash(magnet: geventbt.Magnet) -> geventbt.Magnet:
    if magnet.info_hash is None:
        raise geventbt.MagnetError("the magnet link is of version 2 only, which is not supported")
    return magnet


def _read_bytes(data: bytes, name: str) -> geventbt.Torrent:
    try:
        return geventbt.Torrent.from_bytes(data)
    except geventbt.MetainfoError as error:
        hint = "; it is a web page, so look there for the link to the torrent" if _is_page(data) else ""
        raise CommandError(CORRUPT, f"{name}: {error}{hint}") from error


def _is_page(data: bytes) -> bool:
    return data[:100].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise CommandError(USAGE, "- reads a .torrent from standard input: geventbt ... - < FILE.torrent")
    return sys.stdin.buffer.read(limits.TORRENT_FILE + 1)


def _fetch(url: str) -> bytes:
    from geventbt.discovery.http import fetch

    with interruptible():
        try:
            return fetch(url, max_bytes=limits.TORRENT_FILE)
        except geventbt.TrackerError as error:
            code = NOT_FOUND if error.status in _GONE else NETWORK
            raise CommandError(code, f"the .torrent cannot be fetched: {error}; check the URL") from error
