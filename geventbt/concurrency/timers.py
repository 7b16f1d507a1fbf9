"""The delays of timers."""

from __future__ import annotations

_LEAST = 0.001


def delay_until(when: float, now: float) -> float:
    """Seconds for a timer that is to fire at a time: 0 if that has come, else a millisecond at the least. libuv knows
    none shorter, and gevent warns of each on standard error."""
    return max(_LEAST, when - now) if when > now else 0.0
