"""`StallWatch`: notices that a download makes no progress. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geventbt.client.status import Progress


class StallWatch:
    """How long a download has made no progress.

    Args:
        timeout: seconds without any after which it stalls; None for never.
        now: the time.
    """

    def __init__(self, timeout: float | None, now: float) -> None:
        self._timeout = math.inf if timeout is None else timeout
        self._since = now
        self._seen: object = None

    def note(self, progress: Progress, now: float) -> None:
        """Compare the progress with the last."""
        known = (progress.state, progress.checked, progress.downloaded, progress.done)
        if known != self._seen:
            self._seen, self._since = known, now

    def is_stalled(self, now: float) -> bool:
        """Whether there has been none for the length of the timeout."""
        return now - self._since >= self._timeout
