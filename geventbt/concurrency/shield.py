"""Work that is done to its end, even if the greenlet that wants it done is killed or timed out meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import gevent

_T = TypeVar("_T")


def to_the_end(function: Callable[..., _T], *args: Any) -> _T:
    """Call a function in a greenlet of its own, and block until it returns or raises."""
    result, error = gevent.spawn(outcome_of, function, args).get()
    if error is not None:
        raise error
    return cast(_T, result)


def outcome_of(function: Callable[..., _T], args: tuple[Any, ...]) -> tuple[_T | None, Exception | None]:
    """What the function returned, and what it raised: gevent would print an exception that leaves a greenlet or
    a thread of its pool."""
    try:
        return function(*args), None
    except Exception as error:
        return None, error
