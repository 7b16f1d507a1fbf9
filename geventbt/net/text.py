"""Untrusted text made safe to print (promise 12). Pure."""

from __future__ import annotations

from geventbt import limits


def clean_text(value: bytes | str) -> str:
    """Untrusted text on one line, of at most `limits.TRACKER_TEXT` printable characters."""
    # No character of UTF-8 has more than four bytes.
    text = value[: 4 * limits.TRACKER_TEXT].decode("utf-8", "replace") if isinstance(value, bytes) else value
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text[: limits.TRACKER_TEXT])
