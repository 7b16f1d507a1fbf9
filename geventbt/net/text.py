"""Untrusted text made safe to print (promise 12). Pure."""

from __future__ import annotations

from geventbt import limits


def without_path(url: str) -> str:
    """The scheme, host and port of an untrusted URL: the rest may hold a key of the user's."""
    scheme, _, rest = url.partition("://")
    return clean_text(f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}")


def clean_text(value: bytes | str) -> str:
    """Untrusted text on one line, of at most `limits.TRACKER_TEXT` printable characters."""
    # No character of UTF-8 has more than four bytes.
    text = value[: 4 * limits.TRACKER_TEXT].decode("utf-8", "replace") if isinstance(value, bytes) else value
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text[: limits.TRACKER_TEXT])
