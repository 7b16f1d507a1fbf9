"""The URLs by which web seeds are asked for the files and pieces of a torrent (BEP 17, 19). Pure.

A web server knows a file by the name that the torrent gives it, not by the one that was made safe for our disk. What is
in a URL already is kept as it is; all that comes behind it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from geventbt.metainfo.files import TorrentFile
from geventbt.metainfo.torrent import Torrent


def fetchable(urls: Iterable[str]) -> tuple[str, ...]:
    """The URLs of web seeds that we can ask, each once: those of http and https."""
    return tuple(dict.fromkeys(url for url in urls if url.lower().startswith(("http://", "https://"))))


def file_url(seed: str, torrent: Torrent, file: TorrentFile) -> str:
    """The URL of a file of a torrent at a web seed (BEP 19).

    In a torrent of several files, or of a folder with one, the seed's URL is that of the folder around the torrent's
    own: "http://a/b" has "http://a/b/NAME/PATH". The URL of a torrent of one file is that of the file, unless it ends
    with a slash: "http://a/b/" has "http://a/b/NAME".

    Args:
        seed: the URL of the web seed.
        torrent: the torrent.
        file: one of its files.
    """
    parts = [part.encode() for part in file.path] if file.raw_parts is None else file.raw_parts
    path = "/".join(quote(part, safe="") for part in parts)
    if not torrent.is_multi_file:
        return seed + path if seed.endswith("/") else seed
    return seed + path if seed.endswith("/") else f"{seed}/{path}"


def piece_url(seed: str, info_hash: bytes, piece: int, start: int, end: int) -> str:
    """The URL of a part of a piece at a script that seeds (BEP 17).

    Args:
        seed: the URL of the script.
        info_hash: of the torrent: 20 bytes.
        piece: the index of the piece.
        start: the first byte within the piece.
        end: the byte behind the last.
    """
    separator = "&" if "?" in seed else "?"
    return f"{seed}{separator}info_hash={quote(info_hash, safe='')}&piece={piece}&ranges={start}-{end - 1}"
