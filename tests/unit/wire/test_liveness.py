"""How long each side of a wire may be silent."""

from __future__ import annotations

from geventbt import limits
from geventbt.wire.liveness import Liveness

NOW = 1000.0


def test_an_inbound_peer_is_given_a_time_for_its_handshake() -> None:
    liveness = Liveness(NOW, incoming=True)
    end = NOW + limits.HANDSHAKE_TIMEOUT
    assert liveness.next_due == end
    assert liveness.overdue(end - 0.1) is None
    assert str(liveness.overdue(end)) == f"no handshake from the peer within {limits.HANDSHAKE_TIMEOUT:g} s"


def test_a_handshake_is_expected_of_others_only_once_it_is_limited() -> None:
    liveness = Liveness(NOW, incoming=False)
    assert liveness.overdue(NOW + limits.HANDSHAKE_TIMEOUT) is None
    liveness.limit_handshake(3, NOW + 3)
    assert str(liveness.overdue(NOW + 3)) == "no handshake from the peer within 3 s"


def test_a_later_limit_does_not_extend_an_earlier_one() -> None:
    liveness = Liveness(NOW, incoming=True)
    liveness.limit_handshake(1000, NOW + 1000)
    assert liveness.next_due == NOW + limits.HANDSHAKE_TIMEOUT


def test_after_the_handshake_the_peer_may_be_silent_for_a_while() -> None:
    liveness = Liveness(NOW, incoming=True)
    liveness.on_handshake()
    liveness.last_received = NOW + 5
    end = NOW + 5 + limits.INACTIVITY_TIMEOUT
    assert liveness.overdue(end - 0.1) is None
    assert str(liveness.overdue(end)) == f"no message from the peer for {limits.INACTIVITY_TIMEOUT:g} s"


def test_a_keep_alive_is_due_after_our_own_silence_and_once() -> None:
    liveness = Liveness(NOW, incoming=False)
    due = NOW + limits.KEEP_ALIVE_INTERVAL
    assert liveness.next_due == due
    assert not liveness.take_keep_alive(due - 0.1)
    assert liveness.take_keep_alive(due)
    assert not liveness.take_keep_alive(due)


def test_without_keep_alives_only_the_peers_silence_counts() -> None:
    liveness = Liveness(NOW, incoming=False)
    liveness.keep_alive = False
    assert liveness.next_due == NOW + limits.INACTIVITY_TIMEOUT
    assert not liveness.take_keep_alive(NOW + limits.KEEP_ALIVE_INTERVAL)


def test_a_peer_that_waits_for_blocks_and_has_taken_all_waits_for_us() -> None:
    liveness = Liveness(NOW, incoming=False)
    assert liveness.waits_for_us(1000, 0, owes_blocks=True)
    assert not liveness.waits_for_us(1000, 0, owes_blocks=False)


def test_a_peer_that_does_not_read_does_not_wait_for_us() -> None:
    liveness = Liveness(NOW, incoming=False)
    assert liveness.waits_for_us(1000, 400, owes_blocks=True)
    assert not liveness.waits_for_us(1000, 400, owes_blocks=True)
    assert liveness.waits_for_us(1000, 300, owes_blocks=True)
