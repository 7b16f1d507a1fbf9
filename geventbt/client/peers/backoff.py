"""Exponential backoff with jitter. Pure."""

from __future__ import annotations

import random


def backoff(failures: int, *, first: float, maximum: float, rng: random.Random) -> float:
    """Seconds to wait after failures in a row: doubled with each, and shifted by up to a quarter either way.

    The shift keeps those that failed together from all coming back together.

    Args:
        failures: at least 1.
        first: seconds after the first failure.
        maximum: seconds, the upper bound.
        rng: where the shift comes from.
    """
    # Beyond this exponent it is the maximum anyway, and no float.
    delay = first * 2.0 ** min(failures - 1, 64)
    return min(min(delay, maximum) * rng.uniform(0.75, 1.25), maximum)
