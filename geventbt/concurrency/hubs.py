"""gevent's hubs: one that a call has made in a native thread ends with it, and a forked child begins with a new one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.hub import Hub, set_hub

from geventbt.concurrency.forks import HasDescriptor, call_in_child, drop_in_child
from geventbt.concurrency.greenlets import has_greenlets
from geventbt.concurrency.routine import has_routines
from geventbt.concurrency.threads import dismiss

_P = ParamSpec("_P")
_T = TypeVar("_T")

_sockets: WeakSet[HasDescriptor] = WeakSet()
_of_parent: list[Any] = []
"""The hubs that this process has from its parent. Were they collected, their greenlets would be ended, in order, in
the wrong process."""


def is_current(hub: Any) -> bool:
    """Whether this is the hub of the calling native thread. Makes none in a thread that has none, unlike `get_hub`."""
    return get_hub_if_exists() is hub


def whole_call(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """A function that leaves nothing of gevent behind in a native thread that did not use gevent before.

    Else each such thread would leave a hub for ever, with its descriptors. The main thread keeps its hub.
    """

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        if get_hub_if_exists() is not None:
            return function(*args, **kwargs)
        gevent.get_hub()
        try:
            return function(*args, **kwargs)
        finally:
            end_hub()

    return call


def end_hub() -> None:
    """End the hub of this native thread, if it has one and is not the main thread."""
    hub = get_hub_if_exists()
    if hub is not None and not hub.main_hub:
        dismiss(hub)
        hub.destroy(destroy_loop=True)


def drop_socket_in_child(holder: HasDescriptor) -> None:
    """Have a forked child let go of a socket that a hub watches, and of that hub. The holder is referred to weakly."""
    drop_in_child(holder)
    _sockets.add(holder)


def _after_fork_in_child() -> None:
    """Make the forking thread's hub fit for the child; a new one, where sockets or routines of ours are at work."""
    hub = get_hub_if_exists()
    if hub is None:
        return
    if has_greenlets(hub) or has_routines(hub) or any(holder.fileno() >= 0 for holder in _sockets):
        _replace(hub)
    else:
        gevent.reinit(hub)


def _replace(old: Any) -> None:
    _of_parent.append(old)
    # The default loop is the same for all hubs, with all that is watched in it.
    new = Hub(default=False)
    new.parent = old.parent
    set_hub(new)
    greenlet = gevent.getcurrent()
    while greenlet is not None and greenlet.parent is not old:
        greenlet = greenlet.parent
    if greenlet is not None:
        # When it ends, the child goes on with the new hub.
        greenlet.parent = new


call_in_child(_after_fork_in_child)
