"""How long each side of a wire may be silent: deadlines of the handshake, of the peer's next message and of our next
keep-alive. Pure."""

from __future__ import annotations

from geventbt import limits
from geventbt.errors import WireTimeout

_NEVER = float("inf")


class Liveness:
    """The deadlines of one wire. Times are those of one monotonic clock, in seconds.

    Args:
        now: the time.
        incoming: whether the peer opened the connection: its handshake is then expected at once.

    Attributes:
        keep_alive: whether to send keep-alives.
        last_received: the time of the peer's last sign of life: a message, or a byte of a block that we asked for.
        last_sent: the time when something was last sent.
    """

    __slots__ = (
        "_handshake_deadline", "_handshake_timeout", "_taken_noted", "keep_alive", "last_received", "last_sent",
    )  # fmt: skip

    def __init__(self, now: float, *, incoming: bool) -> None:
        self.keep_alive = True
        self.last_received = now
        self.last_sent = now
        self._taken_noted = 0
        self._handshake_timeout = limits.HANDSHAKE_TIMEOUT
        self._handshake_deadline = now + limits.HANDSHAKE_TIMEOUT if incoming else _NEVER

    def limit_handshake(self, seconds: float, deadline: float) -> None:
        """Expect the peer's handshake by this deadline, or an earlier one.

        Args:
            seconds: that it was given, for the error's text.
            deadline: when they end.
        """
        if deadline < self._handshake_deadline:
            self._handshake_timeout = seconds
            self._handshake_deadline = deadline

    def on_handshake(self) -> None:
        """The peer's handshake has arrived."""
        self._handshake_deadline = _NEVER

    @property
    def next_due(self) -> float:
        """When something is due if nothing happens until then."""
        due = min(self._handshake_deadline, self.last_received + limits.INACTIVITY_TIMEOUT)
        return min(due, self.last_sent + limits.KEEP_ALIVE_INTERVAL) if self.keep_alive else due

    def overdue(self, now: float) -> WireTimeout | None:
        """The error for what the peer has not sent in time; None if nothing is missing."""
        if now >= self._handshake_deadline:
            return WireTimeout(f"no handshake from the peer within {self._handshake_timeout:g} s")
        if now >= self.last_received + limits.INACTIVITY_TIMEOUT:
            return WireTimeout(f"no message from the peer for {limits.INACTIVITY_TIMEOUT:g} s")
        return None

    def take_keep_alive(self, now: float) -> bool:
        """Whether a keep-alive is due; it is noted as sent, as otherwise it would be due again at once."""
        if not self.keep_alive or now < self.last_sent + limits.KEEP_ALIVE_INTERVAL:
            return False
        self.last_sent = now
        return True

    def waits_for_us(self, uploaded: int, queued: int, *, owes_blocks: bool) -> bool:
        """Whether it is our turn: the peer waits for blocks, and has taken all that was sent, or more than at the last
        call.

        Args:
            uploaded: bytes of blocks given to the transport in all.
            queued: bytes that it still holds.
            owes_blocks: whether the peer has requests pending.
        """
        taken = uploaded - queued
        before, self._taken_noted = self._taken_noted, max(taken, self._taken_noted)
        return taken > before if queued else owes_blocks
