"""The argument SOURCE: a path, a URL, a magnet link, an info hash, or standard input."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Collection
from typing import TypeAlias

import geventbt
from geventbt import limits
from geventbt.cli.errors import CORRUPT, NETWORK, NOT_FOUND, USAGE, CommandError
from geventbt.cli.interrupt import interruptible
from geventbt.cli.network import network_of

Source: TypeAlias = "geventbt.Torrent | geventbt.Magnet"
"""What a person calls a torrent, read."""

_KINDS = (
    (32769, b"CD001", "the image of a disc (ISO 9660)"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "compressed by gzip"),
    (0, b"\xfd7zXZ", "compressed by xz"),
    (0, b"BZh", "compressed by bzip2"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
    (4, b"ftyp", "a video (MP4)"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program"),
)
"""What people mistake for a torrent: where the kind is written in the file, and how."""
_GONE = (404, 410)
_MAX_LINK = 65536
_QUOTE_IT = "put it in quotes ('magnet:?...'): the shell cuts it at the first &"
_WHAT = (
    "a source is a .torrent file, an http(s) URL of one, a magnet link, an info hash of 40 or 64 hex characters, or -"
)


def resolve_source(text: str, arguments: argparse.Namespace) -> Source:
    """Read or fetch the torrent, or the link to one, that SOURCE names.

    Args:
        text: SOURCE.
        arguments: of a command with `add_network`.

    Raises:
        MetainfoError: it is not a torrent.
        CommandError: there is no such file, or the URL cannot be fetched.
        OSError: the file cannot be read.
    """
    if text == "-":
        data = _standard_input()
        link = _read_link(data[:_MAX_LINK].decode(errors="replace").strip(), arguments)
        return link or _read_bytes(data, "standard input")
    link = None if os.path.exists(text) else _read_link(text, arguments)
    return link or _read_file(text)


def _read_link(text: str, arguments: argparse.Namespace) -> Source | None:
    """The torrent of a URL, or the link of a magnet link or an info hash; None for other text."""
    if text.lower().startswith("magnet:"):
        return _read_magnet(text)
    if text.lower().startswith(("http://", "https://")):
        return _read_bytes(_fetch(text, arguments), text)
    from geventbt.metainfo.magnet import link_of_hash

    link = link_of_hash(text)
    return None if link is None else geventbt.Magnet.from_string(link)


def _read_magnet(text: str) -> geventbt.Magnet:
    try:
        return geventbt.Magnet.from_string(text)
    except geventbt.MagnetError as error:
        raise CommandError(CORRUPT, f"{error}{cut_hint(text)}") from error


def _read_file(text: str) -> geventbt.Torrent:
    try:
        with open(text, "rb") as file:
            return _read_bytes(file.read(limits.TORRENT_FILE + 1), text)
    except FileNotFoundError:
        raise CommandError(NOT_FOUND, f"{text}: there is no such file; {_WHAT}") from None
    except ValueError as error:
        if isinstance(error, geventbt.GeventBTError):
            raise
        raise CommandError(NOT_FOUND, f"{text}: not the name of a file; {_WHAT}") from error


def read_torrent(text: str, command: str, arguments: argparse.Namespace) -> geventbt.Torrent:
    """Read a source that must be a torrent, and not a link to one. Raises: see `resolve_source`."""
    source = resolve_source(text, arguments)
    if isinstance(source, geventbt.Torrent):
        return source
    raise CommandError(
        USAGE,
        f"{command} needs a .torrent file, not a link; to get one: "
        "geventbt info --save-torrent FILE.torrent 'magnet:...' --peer HOST:PORT",
    )


def folder_of(source: str) -> str:
    """Where the data of a source is if nothing else is said: beside its .torrent file, else in the current folder."""
    return (os.path.dirname(source) if os.path.isfile(source) else "") or "."


def check_reachable(source: Source, peers: Collection[object], trackers: Collection[object], *, dht: bool) -> None:
    """Check that there is a peer, a tracker, a URL or the DHT to fetch a link's metadata from.

    Raises:
        CommandError: there is none; most often because the shell has cut the link.
    """
    if dht or isinstance(source, geventbt.Torrent) or is_reachable(source, peers, trackers):
        return
    raise CommandError(
        USAGE,
        f"the magnet link names no tracker and no peer. If it was longer, {_QUOTE_IT}. Otherwise add --peer HOST:PORT "
        "or --tracker URL",
    )


def is_reachable(source: geventbt.Magnet, peers: Collection[object], trackers: Collection[object]) -> bool:
    """Whether there is a peer, a tracker or a URL to fetch a link's metadata from."""
    return bool(source.trackers or source.peers or source.sources or peers or trackers)


def cut_hint(text: str) -> str:
    """A hint for a magnet link without an &, which is what the shell leaves of one without quotes."""
    is_cut = text.lower().startswith("magnet:") and "&" not in text
    return f"; if the link was longer, {_QUOTE_IT}" if is_cut else ""


def _read_bytes(data: bytes, name: str) -> geventbt.Torrent:
    if not data.startswith(b"d"):
        raise CommandError(CORRUPT, f"{name}: not a .torrent file{_what_it_is(data, name)}")
    try:
        return geventbt.Torrent.from_bytes(data)
    except geventbt.MetainfoError as error:
        raise CommandError(CORRUPT, f"{name}: {error}") from error


def _what_it_is(data: bytes, name: str) -> str:
    """What the data seems to be in place of a torrent, and what may have been meant."""
    if not data.strip():
        return ": it is empty"
    if data[:100].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return ": it is a web page; find the link to the torrent on it"
    kind = next((kind for at, magic, kind in _KINDS if data[at:].startswith(magic)), "something else")
    is_here = os.path.isfile(name)
    return f": it is {kind}" + (f"; to share it: geventbt seed {shlex.quote(name)}" if is_here else "")


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise CommandError(USAGE, "- reads a .torrent, or a link, from standard input: geventbt ... - < FILE.torrent")
    return sys.stdin.buffer.read(limits.TORRENT_FILE + 1)


def _fetch(url: str, arguments: argparse.Namespace) -> bytes:
    from geventbt.net.http.fetch import fetch

    with interruptible():
        try:
            return fetch(url, max_bytes=limits.TORRENT_FILE, network=network_of(arguments))
        except geventbt.FetchError as error:
            code = NOT_FOUND if error.status in _GONE else NETWORK
            raise CommandError(code, f"the .torrent cannot be fetched: {error}; check the URL") from error
