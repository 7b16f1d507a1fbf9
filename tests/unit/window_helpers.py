"""A peer that answers requests, for tests of the request window and its parts."""

from __future__ import annotations

from geventbt.client.swarm.request_window import RequestWindow


def deliver(window: RequestWindow, rate: float, seconds: float, start: float = 0.0, reqq: int = 2000) -> float:
    """A peer that always has requests answers them at a rate in blocks a second; returns the time after."""
    now = start
    window.on_requests(now)
    while now < start + seconds:
        step = max(1 / rate, 0.01)
        now += step
        window.on_blocks(max(1, round(step * rate)), window.size(reqq, now), now)
    return now


def delivered(window: RequestWindow, rate: int, seconds: float, start: float = 0.0, delay: float = 0.1) -> float:
    """Deliver blocks one by one at a rate. Returns the time."""
    window.on_requests(start)
    now = start + delay
    for _ in range(int(rate * seconds)):
        window.on_blocks(1, 100, now)
        now += 1 / rate
    return now - 1 / rate
