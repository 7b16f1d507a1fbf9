"""Converters of option values, for argparse: each raises ArgumentTypeError."""

from __future__ import annotations

import argparse
import math
import re

from geventbt import limits
from geventbt.cli.text import human_size

_SIZES = {
    "": 1,
    "b": 1,
    **{f"{letter}{ending}": 1 << 10 * (power + 1) for power, letter in enumerate("kmgt") for ending in ("", "b", "ib")},
}
"""K, KB and KiB are all 1024 bytes, as in aria2 and as sizes are shown; in letters of either case."""
_TIMES = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MAX_TIME = 86400 * 36500


def peer_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, or [IPv6]:PORT."""
    address = _host_and_port(text)
    if address is None or not all(address):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:6881 or [::1]:6881")
    return address


def listen_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, or [IPv6]:PORT, to listen on; port 0 takes a free one."""
    address = _host_and_port(text)
    if address is None or not address[0]:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8000 or [::1]:8000")
    return address


def size(text: str) -> int:
    """Read a number of bytes from 1 on, such as 1000, 256K, 1.5M or 2 GiB."""
    value = _number(text, _SIZES, _suffix(text).lower())
    if value is None or value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, such as 256K, 1.5M or 2GiB")
    return int(value)


def rate(text: str) -> int | None:
    """Read bytes a second, as `size` does, with or without "/s" behind; 0 is None, no limit."""
    if text == "0":
        return None
    try:
        return size(re.sub(r"/s\Z", "", text, flags=re.IGNORECASE))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate, such as 500K or 2MiB/s, or 0 for no limit") from None


def piece_length(text: str) -> int:
    """Read a piece length that other clients accept."""
    value = size(text)
    if value > limits.PIECE_LENGTH:
        raise argparse.ArgumentTypeError(
            f"{text!r} is too large: a piece has at most {human_size(limits.PIECE_LENGTH)}"
        )
    if value % (16 * limits.KIB) and value & (value - 1):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a power of two nor a multiple of 16K")
    return value


def duration(text: str) -> float:
    """Read a time in seconds, or with one of the suffixes s, m, h and d; "forever" is infinite."""
    if text == "forever":
        return math.inf
    value = _number(text, _TIMES, _suffix(text))
    if value is None or value > _MAX_TIME:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, such as 90, 30m or 2h")
    return value


def positive_duration(text: str) -> float:
    """Read a finite time above 0."""
    value = duration(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time above 0, such as 90, 30m or 2h")
    return value


def ratio(text: str) -> float:
    """Read a ratio of bytes sent to bytes there, such as 1.5."""
    value = _number(text, {"": 1}, "")
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a ratio, such as 1.5")
    return value


def url(text: str) -> str:
    """Read a URL that may stand in a torrent."""
    from geventbt.metainfo.urls import is_url

    if not is_url(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL")
    return text


def web_seed(text: str) -> str:
    """Read the URL of a web seed; blanks and letters outside ASCII are escaped."""
    from geventbt.metainfo.urls import escaped_url

    found = escaped_url(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL")
    return found


def http_url(text: str) -> str:
    """Read the URL of a web seed to fetch from."""
    found = web_seed(text)
    if not found.lower().startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the URL of a web server, which begins with http:// or https://"
        )
    return found


def tracker(text: str) -> str:
    """Read the URL of a tracker with a supported scheme."""
    if not url(text).startswith(("http://", "https://", "udp://")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the URL of a tracker, which begins with http://, https:// or udp://"
        )
    return text


def proxy(text: str) -> str:
    """Read the URL of a proxy; it is never shown, as it may have a password."""
    from geventbt.net.proxy.url import parse_proxy

    try:
        parse_proxy(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def port(text: str) -> int:
    """Read a port to listen on."""
    from geventbt.net.addresses import is_port

    if not re.fullmatch(r"[0-9]{1,5}", text) or not is_port(int(text), least=0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, from 0 to 65535")
    return int(text)


def at_least_one(text: str) -> int:
    """Read a number from 1 on."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _host_and_port(text: str) -> tuple[str, int] | None:
    from geventbt.net.addresses import parse_address

    return parse_address(text)


def _suffix(text: str) -> str:
    """The letters at the end."""
    found = re.search(r"[A-Za-z]*\Z", text)
    return found[0] if found else ""


def _number(text: str, units: dict[str, int], suffix: str) -> float | None:
    """A number with one of the units behind it, a blank between them or not; None if it is none. Whole numbers stay
    exact."""
    match = re.fullmatch(r"([0-9]{1,15}(\.[0-9]{1,9})?)( ?)", text[: len(text) - len(suffix)])
    if not match or suffix not in units or (match[3] and not suffix):
        return None
    return (float(match[1]) if match[2] else int(match[1])) * units[suffix]
