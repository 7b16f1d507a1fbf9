"""Names from torrents, made safe to be used as names of files.

Three things are settled here. Each part of a path becomes one plain name, so that no path can lead out of its folder:
characters unsafe in a name become ``_``, as in libtorrent. A name too long for file systems is cut, keeping its
extension. And no two files get the same path, nor a file the path of a folder: the later one is renamed ``name.1.ext``,
also as libtorrent does it.

What only Windows dislikes (``a:b``, ``aux.c``) is mended only there, for elsewhere such files exist and are to be
seeded as they are. For the same reason names that differ only in case are two names, except where the file system takes
them for one.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable

from geventbt import limits

WINDOWS = sys.platform == "win32"
FOLDS_NAMES = WINDOWS or sys.platform == "darwin"
"""Whether the usual file system takes ``A`` and ``a`` for one name."""

# Control characters, both separators, undecodable bytes (as surrogates), and what turns the direction of writing:
# `gpj.exe` shown as `exe.jpg` is an old trick. The marks U+200E and U+200F turn nothing, and are in many real names.
_BAD = re.compile("[\x00-\x1f\x7f-\x9f/\\\\\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_BAD_ON_WINDOWS = re.compile(r'[?<>"|*:]')
_BAD_END_ON_WINDOWS = re.compile(r"[ .]+\Z")
_RESERVED_ON_WINDOWS = re.compile(
    r"(con|prn|aux|nul|clock\$|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|\Z)", re.IGNORECASE
)
_MAX_EXTENSION = 16

STATE_DIR = ".geventbt"
"""Where we keep what we know of the torrents in a folder. No torrent may have this name."""
# Windows finds a folder by its short name, too; and others see no difference of case or no end of dots.
_STATE_DIR_NAMES = re.compile(r"\.geventbt[ .]*|gevent~[0-9]+")


def is_state_dir(name: str) -> bool:
    """Whether a name is, or could be taken by some file system for, that of `STATE_DIR`."""
    seen = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
    return _STATE_DIR_NAMES.fullmatch(seen.casefold()) is not None


def safe_name(raw: bytes, *, windows: bool = WINDOWS) -> str:
    """Make one part of a path into a plain file name.

    Args:
        raw: any bytes, taken as UTF-8.
        windows: whether to mend what Windows cannot take, too.

    Returns:
        A name of 1 to `limits.FILE_NAME` bytes in UTF-8, which is neither ``.`` nor ``..`` and has no separator and no
        control character. A good name is returned as it is.
    """
    name = _BAD.sub("_", raw.decode("utf-8", "surrogateescape")) or "_"
    if name in (".", ".."):
        name = "_" * len(name)
    if windows:
        name = _BAD_ON_WINDOWS.sub("_", name)
        name = f"_{name}" if _RESERVED_ON_WINDOWS.match(name) else name
    name = _join(*_split(name))
    if windows:
        name = _BAD_END_ON_WINDOWS.sub(lambda end: "_" * len(end[0]), name)
    return name


def raw_name(raw: bytes, *, windows: bool = WINDOWS) -> str | None:
    """One part of a path as it is, for a file that is there already: with the characters that `safe_name` replaces, as
    long as they cannot lead anywhere else.

    Args:
        raw: any bytes.
        windows: whether it is for Windows, where a raw name may mean anything.

    Returns:
        A name, with undecodable bytes as surrogates (see `os.fsdecode`), or None if there cannot be such a file.
    """
    if windows or not 0 < len(raw) <= limits.FILE_NAME or b"/" in raw or b"\0" in raw or raw in (b".", b".."):
        return None
    name = raw.decode("utf-8", "surrogateescape")
    return None if is_state_dir(name) else name


class UniquePaths:
    """Hands out paths so that no file has the path of another, or of a folder.

    Folders are numbered, and a name is known by its folder's number: a path costs as much as its parts, however many
    folders it shares.

    Args:
        paths: every path that will be asked for, to know all folders before the first file.
        folds_names: whether names that differ only in case are one.
    """

    def __init__(self, paths: Iterable[tuple[str, ...]], *, folds_names: bool = FOLDS_NAMES) -> None:
        self._folds_names = folds_names
        self._folders: dict[tuple[int, str], int] = {}
        self._files: set[tuple[int, str]] = set()
        self._counters: dict[tuple[int, str], int] = {}
        for path in paths:
            self._folder(path[:-1])

    def take(self, path: tuple[str, ...]) -> tuple[str, ...]:
        """The path itself if it is free, or else the next free one of the kind ``name.1.ext``; it is then taken."""
        folder = self._folder(path[:-1])
        name = path[-1]
        key = first = (folder, self._fold(name))
        while key in self._files or key in self._folders:
            number = self._counters[first] = self._counters.get(first, 0) + 1
            stem, extension = _split(path[-1])
            name = _join(stem, f".{number}{extension}")
            key = (folder, self._fold(name))
        self._files.add(key)
        return (*path[:-1], name)

    def _folder(self, parts: tuple[str, ...]) -> int:
        """The number of a folder; 0 is the outermost."""
        number = 0
        for part in parts:
            number = self._folders.setdefault((number, self._fold(part)), len(self._folders) + 1)
        return number

    def _fold(self, name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold() if self._folds_names else name


def _split(name: str) -> tuple[str, str]:
    """A name as its stem and its extension with the dot; an extension that is too long or leads the name is not one."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > _MAX_EXTENSION:
        return name, ""
    return stem, dot + extension


def _join(stem: str, ending: str) -> str:
    """Stem and ending, the stem cut between characters so that both fit in a name."""
    room = limits.FILE_NAME - len(ending.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + ending
