"""Checks the Authorization header of requests: remembers what was right, and slows down who guesses."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from gevent.lock import BoundedSemaphore

from geventbt import limits
from geventbt.concurrency.threads import in_thread
from geventbt.net.addresses import network_of
from geventbt.net.text import clean_text
from geventbt.web.passwords import Login

_log = logging.getLogger("geventbt")

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(slots=True)
class _Failures:
    """What a network has got wrong."""

    count: int = 0
    last: float = 0.0
    refused_until: float = 0.0


class LoginCheck:
    """Whether requests have the right user and password (HTTP Basic, RFC 7617).

    A page asks each second, and a check takes 33 ms: a right header is remembered for a while, as a keyed hash. After
    some failures an address is refused for a time that doubles; others, and the owner, are not.

    Args:
        login: what is right.
        now: the monotonic clock, in seconds.

    Attributes:
        failures: wrong logins so far.
    """

    def __init__(self, login: Login, *, now: Callable[[], float] = monotonic) -> None:
        self._login = login
        self._now = now
        self._key = os.urandom(32)
        self._right: dict[bytes, float] = {}
        self._wrong: dict[str, _Failures] = {}
        self._one = BoundedSemaphore(1)
        self.failures = 0

    def is_right(self, header: str, address: str) -> bool:
        """Whether an Authorization header is right; blocks for the check in a native thread."""
        digest = hmac.digest(self._key, header.encode("utf-8", "replace"), hashlib.sha256)
        if self._right.get(digest, 0.0) > self._now():
            return True
        user, password = _parse(header)
        # One at a time: each takes 16 MiB, and a thread that the disk may need.
        with self._one:
            found = in_thread(self._login.matches, user, password)
        if found:
            self._wrong.pop(network_of(address), None)
            _remember(self._right, digest, self._now() + limits.WEB_LOGIN_TIME)
        else:
            self._note_failure(user, address)
        return found

    def refused_for(self, address: str) -> float:
        """Seconds for which an address may not try again; 0 if it may."""
        known = self._wrong.get(network_of(address))
        return max(0.0, known.refused_until - self._now()) if known else 0.0

    def _note_failure(self, user: str, address: str) -> None:
        self.failures += 1
        now, network = self._now(), network_of(address)
        known = self._wrong.pop(network, None)
        if known is None or now - known.last > limits.WEB_MAX_LOGIN_PAUSE:
            known = _Failures()
        known.count, known.last = known.count + 1, now
        over = known.count - limits.WEB_LOGIN_FAILURES
        if over >= 0:
            pause = min(limits.WEB_LOGIN_PAUSE * 2 ** min(over, 30), limits.WEB_MAX_LOGIN_PAUSE)
            known.refused_until = now + pause
        _remember(self._wrong, network, known)
        _log.warning("a wrong login of %r from %s", clean_text(user), address)


def _parse(header: str) -> tuple[str, str]:
    """The user and password of an Authorization header; both empty if it has none."""
    scheme, _, text = header.partition(" ")
    try:
        user, colon, password = b64decode(text.strip(), validate=True).decode().partition(":")
    except (ValueError, Base64Error):
        return "", ""
    return (user, password) if scheme.lower() == "basic" and colon else ("", "")


def _remember(kept: dict[_K, _V], key: _K, value: _V) -> None:
    kept[key] = value
    if len(kept) > limits.WEB_LOGINS_KEPT:
        del kept[next(iter(kept))]
