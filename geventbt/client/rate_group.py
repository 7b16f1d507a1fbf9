"""`RateGroup`: rates that some torrents of a client share."""

from __future__ import annotations

from geventbt.arguments import check_flags, check_rates
from geventbt.client.context import ClientContext
from geventbt.rates.fair_rate import FairRate
from geventbt.rates.throttle import Throttle


class RateGroup:
    """Rates that the torrents of a group share, fairly as those of the client are. Made by `Client.rate_group`.

    Attributes:
        down, up: the rates themselves, of which those of the torrents are parts.
    """

    def __init__(
        self, context: ClientContext, limit_down: int | None, limit_up: int | None, *, keeps_client_limits: bool
    ) -> None:
        check_rates(limit_down=limit_down, limit_up=limit_up)
        check_flags(keeps_client_limits=keeps_client_limits)
        self._context = context
        self._keeps_client_limits = keeps_client_limits
        self.down = FairRate(limit_down, context.now(), context.down if keeps_client_limits else None)
        self.up = Throttle(limit_up, context.up if keeps_client_limits else None)

    @property
    def limit_down(self) -> int | None:
        """The rate at which the torrents together receive, in bytes a second; None for no limit."""
        return self.down.rate

    @property
    def limit_up(self) -> int | None:
        """The rate at which the torrents together send, in bytes a second; None for no limit."""
        return self.up.rate

    def set_limits(self, *, down: int | None = None, up: int | None = None) -> None:
        """Set both rates, in bytes a second: None, or left out, for no limit, 0 for nothing at all."""
        self._context.check_thread()
        check_rates(down=down, up=up)
        self.down.set_rate(down, self._context.now())
        self.up.rate = up

    @property
    def keeps_client_limits(self) -> bool:
        """Whether the limits of the client hold as well; may be set at any time."""
        return self._keeps_client_limits

    @keeps_client_limits.setter
    def keeps_client_limits(self, value: bool) -> None:
        self._context.check_thread()
        self._keeps_client_limits = value
        self.down.set_parent(self._context.down if value else None)
        self.up.set_parent(self._context.up if value else None)
