"""Calls that run to their end although the greenlet that waits is killed or times out (as `asyncio.shield`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from geventbt.concurrency.greenlets import spawn

_T = TypeVar("_T")


def shielded(function: Callable[..., _T], *args: Any) -> _T:
    """Call a function in a greenlet of its own, and block until it returns or raises.

    Killing the calling greenlet ends the wait, not the call.
    """
    result, error = spawn(f"shielded: {getattr(function, '__qualname__', function)}", _outcome_of, function, args).get()
    if error is not None:
        raise error
    return cast(_T, result)


def _outcome_of(function: Callable[..., _T], args: tuple[Any, ...]) -> tuple[_T | None, Exception | None]:
    """The result of a call and None, or None and its exception: gevent prints each that leaves a greenlet."""
    try:
        return function(*args), None
    except Exception as error:
        return None, error
