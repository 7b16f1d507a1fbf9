"""One deadline for several steps that wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gevent

from geventbt.errors import FetchError


@contextmanager
def deadline(seconds: float, text: str) -> Iterator[None]:
    """Limit the time that a block takes, everything it waits for together.

    Args:
        seconds: the limit.
        text: the message of the error.

    Raises:
        FetchError: it takes longer. A `gevent.Timeout` of the caller's passes through.
    """
    timer = gevent.Timeout.start_new(seconds)
    try:
        yield
    except gevent.Timeout as fired:
        if fired is not timer:
            raise
        raise FetchError(text) from None
    finally:
        timer.close()
