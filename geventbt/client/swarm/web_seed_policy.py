"""How much a web seed is asked for at a time, over how many connections, and when again after a failure. Pure.

All times are seconds of one monotonic clock.
"""

from __future__ import annotations

from http import HTTPStatus

from geventbt import limits

_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_ABSENT = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def refuses(status: int | None) -> bool:
    """Whether a status says that the server gives us nothing."""
    return status in _REFUSED


def is_absent(status: int | None) -> bool:
    """Whether a status says that the server does not have the file, or not all of it."""
    return status in _ABSENT


class RunLength:
    """The length of the runs that are reserved for one web seed.

    It is doubled with each run that was received to its end, so that a fast seed is sent few requests; but a run is not
    to take longer than `limits.WEB_SEED_RUN_TIME`, for a slow seed must not hold many pieces back.
    """

    def __init__(self) -> None:
        self._bytes = limits.WEB_SEED_FIRST_RUN

    def size(self, speed: float) -> int:
        """The bytes of the next run.

        Args:
            speed: bytes a second of the seed; 0 if it is not known.
        """
        most = speed * limits.WEB_SEED_RUN_TIME if speed else limits.WEB_SEED_FIRST_RUN
        return max(limits.BLOCK, min(self._bytes, int(most)))

    def on_received(self) -> None:
        """A run was received to its end."""
        self._bytes = min(2 * self._bytes, limits.WEB_SEED_MAX_RUN)

    def on_failure(self) -> None:
        """A run failed: the next one is a small one, to see whether the seed is well again."""
        self._bytes = limits.WEB_SEED_TRIAL_RUN


class Backoff:
    """The pauses after the failures of one web seed.

    Attributes:
        until: when it may be asked again.
        failures: those in a row that came without a byte of data before them.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self.failures = 0

    def on_data(self) -> None:
        """Data has come."""
        self.failures = 0

    def on_failure(self, now: float, status: int | None, retry_after: float | None, *, had_data: bool) -> float:
        """Note a failure.

        Args:
            now: the time.
            status: of the answer; None if there was none.
            retry_after: seconds after which the server wants to be asked again, if it said so.
            had_data: whether data had come since the failure before: then there is hope that the next request goes on
                where the connection broke off.

        Returns:
            The seconds until the next request.
        """
        if had_data:
            self.failures = 0
        pause = self._pause(status, retry_after, had_data=had_data)
        self.failures += 1
        self.until = now + pause
        return pause

    def postpone(self, now: float) -> None:
        """Leave it alone for a while although it has not failed."""
        self.until = now + limits.HOST_BUSY_RETRY

    def _pause(self, status: int | None, retry_after: float | None, *, had_data: bool) -> float:
        if retry_after is not None:
            return min(max(retry_after, limits.MIN_RETRY_AFTER), limits.MAX_RETRY_AFTER)
        if status in _BUSY:
            return _doubled(limits.BUSY_RETRY, self.failures, limits.MAX_BUSY_RETRY)
        if had_data and status is None:
            return limits.WEB_SEED_RESUME
        return _doubled(limits.WEB_SEED_RETRY, self.failures, limits.MAX_WEB_SEED_RETRY)


def _doubled(first: float, times: int, most: float) -> float:
    return min(first * 2.0 ** min(times, 30), most)


class ConnectionCount:
    """How many connections to one web seed are worth having: one more is kept if it makes all of them together faster.

    Attributes:
        count: of the connections that there should be.
    """

    def __init__(self) -> None:
        self.count = 1
        self._speed_before = 0.0
        self._is_settled = False

    def on_sample(self, speed: float) -> None:
        """Note the speed of all connections together, over the time since the last call.

        Args:
            speed: bytes a second, neither held back by rate limits nor by the disk.
        """
        if self._is_settled:
            return
        if speed <= self._speed_before * limits.WEB_SEED_GAIN:
            self._is_settled = True
            self.count = max(1, self.count - 1)
        elif self.count == limits.WEB_SEED_CONNECTIONS:
            self._is_settled = True
        else:
            self._speed_before = speed
            self.count += 1

    def on_failure(self) -> None:
        """A request failed: begin again with one connection."""
        self.count, self._speed_before, self._is_settled = 1, 0.0, False
