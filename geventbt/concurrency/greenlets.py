"""Greenlets with names, which gevent shows in `gevent.util.print_run_info` and in errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import gevent

_greenlets: WeakSet[gevent.Greenlet] = WeakSet()


def spawn(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> gevent.Greenlet:
    """Call a function on a new greenlet.

    Args:
        name: what the greenlet does, and for whom; "geventbt" is put before it.
    """
    greenlet = gevent.spawn(function, *args, **kwargs)
    greenlet.name = f"geventbt {name}"
    _greenlets.add(greenlet)
    return greenlet


def has_greenlets(hub: Any) -> bool:
    """Whether greenlets of `spawn` have not ended yet in this hub."""
    return any(greenlet.loop is hub.loop and not greenlet.ready() for greenlet in list(_greenlets))
