"""Write tokens: a node may store something with us only from an address at which it can receive (BEP 5). Pure."""

from __future__ import annotations

import random
from hashlib import sha1
from hmac import compare_digest

from geventbt import limits
from geventbt.discovery.dht.contacts import host_of

_TOKEN = 8
_SECRET = 16


class Tokens:
    """Makes and checks tokens without keeping any.

    A token is a hash of the host, of what is to be stored, and of a secret that changes every few minutes; those of the
    secret before are still good.

    Args:
        rng: makes the secrets.
        now: the time.
    """

    def __init__(self, rng: random.Random, now: float) -> None:
        self._rng = rng
        self._secrets = [rng.randbytes(_SECRET)] * 2
        self._changed_at = now

    def make(self, host: str, target: bytes, now: float) -> bytes:
        """The token with which a host may store something under a target."""
        self._change(now)
        return _token(self._secrets[0], host, target)

    def is_valid(self, token: bytes, host: str, target: bytes, now: float) -> bool:
        """Whether a token was made for this host and target, at most ten minutes ago."""
        self._change(now)
        return any(compare_digest(token, _token(secret, host, target)) for secret in self._secrets)

    def _change(self, now: float) -> None:
        passed = now - self._changed_at
        if passed >= limits.DHT_TOKEN_TIME:
            newest = self._rng.randbytes(_SECRET)
            is_next = passed < 2 * limits.DHT_TOKEN_TIME
            self._secrets = [newest, self._secrets[0] if is_next else newest]
            self._changed_at = now


def _token(secret: bytes, host: str, target: bytes) -> bytes:
    return sha1(secret + host_of(host).packed + target).digest()[:_TOKEN]
