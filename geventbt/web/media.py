"""The media type of a file of a torrent, and whether a browser may show it. Pure.

The file is untrusted. What a browser would run in the origin of the page, such as HTML, SVG and scripts, is only ever
offered as a download. The table is our own, because those of systems differ and know some extensions by other meanings.
"""

from __future__ import annotations

import re
from urllib.parse import quote

UNKNOWN = "application/octet-stream"

_TYPES = {
    "video/mp4": "mp4 m4v",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
    "video/quicktime": "mov",
    "video/mpeg": "mpg mpeg",
    "video/mp2t": "ts m2ts mts",
    "video/ogg": "ogv",
    "video/x-ms-wmv": "wmv",
    "video/x-flv": "flv",
    "video/3gpp": "3gp",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a m4b",
    "audio/aac": "aac",
    "audio/ogg": "ogg oga opus",
    "audio/flac": "flac",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "image/png": "png",
    "image/jpeg": "jpg jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
    "text/vtt": "vtt",
    "text/plain; charset=utf-8": "txt nfo srt md",
    "application/pdf": "pdf",
}
_TYPE_OF = {extension: kind for kind, extensions in _TYPES.items() for extension in extensions.split()}
_PLAYED = ("video/", "audio/")


def content_type(name: str) -> str:
    """The media type of a file by its name, such as "video/mp4"; `UNKNOWN` if a browser should not show it."""
    _, dot, extension = name.rpartition(".")
    return _TYPE_OF.get(extension.lower(), UNKNOWN) if dot else UNKNOWN


def is_played(name: str) -> bool:
    """Whether a file is video or audio."""
    return content_type(name).startswith(_PLAYED)


def disposition(name: str, *, attachment: bool = False) -> str:
    """The header Content-Disposition (RFC 6266) of a file.

    Args:
        name: its name; untrusted.
        attachment: whether it is to be saved rather than shown; what should not be shown always is.
    """
    kind = "attachment" if attachment or content_type(name) == UNKNOWN else "inline"
    clean = "".join(letter if letter.isprintable() else "_" for letter in name) or "file"
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", clean)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"
