"""Numbers and untrusted text in a form that is safe on a terminal."""

from __future__ import annotations

import math
import sys
from contextlib import suppress

import geventbt


def say(text: str) -> None:
    """Print on standard error. If it is closed, the text is lost and the work goes on."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text on one line, with control characters replaced."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def human_size(count: float) -> str:
    """A number of bytes in readable form, such as "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def human_time(seconds: float) -> str:
    """A time for people, in its two largest units, such as "24 s", "1 min 5 s" and "2 h 3 min"."""
    minutes, second = divmod(int(min(seconds, 1e9)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    parts = [f"{days} d" * bool(days), f"{hour} h" * bool(hour), f"{minute} min" * bool(minute), f"{second} s"]
    while not parts[0] and len(parts) > 1:
        parts = parts[1:]
    return " ".join(part for part in parts[:2] if part)


def human_ratio(ratio: float) -> str:
    """A ratio in readable form, such as "1.50"."""
    return f"{ratio:.2f}" if math.isfinite(ratio) else "-"


def human_address(address: tuple[str, int]) -> str:
    """HOST:PORT, or [IPv6]:PORT."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def info_hashes(torrent: geventbt.Torrent | geventbt.Magnet) -> list[str]:
    """The info hashes of a torrent or link in hex, that of version 1 first."""
    return [value.hex() for value in (torrent.info_hash, torrent.info_hash_v2) if value is not None]


def counted(count: int, word: str) -> str:
    """A number of things, such as "1 peer" and "2 peers"."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
