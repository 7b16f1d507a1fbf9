"""The window of requests with any behaviour of a peer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt import limits
from geventbt.client.swarm.request_window import RequestWindow

steps = st.lists(
    st.tuples(st.sampled_from(["requests", "blocks", "idle", "look"]), st.floats(0, 100), st.integers(1, 1000)),
    max_size=60,
)


@given(steps, st.integers(-5, 3000), st.booleans())
def test_the_window_and_the_patience_stay_within_their_bounds(story, reqq, pending):
    window = RequestWindow()
    now = 1e6
    for kind, passed, count in story:
        now += passed
        if kind == "requests":
            window.on_requests(now)
        elif kind == "blocks":
            window.on_blocks(count, count * pending, now)
            assert not window.patience.snubbed(now)
        elif kind == "idle":
            window.on_idle(now)
        size = window.size(reqq, now)
        assert 1 <= size <= max(1, min(reqq, limits.REQUESTS))
        assert size == 1 or not window.patience.snubbed(now)
        assert limits.MIN_SNUB_TIMEOUT <= window.patience.timeout <= limits.MAX_SNUB_TIMEOUT


@given(st.floats(0.0001, 19), st.integers(1, 200), st.floats(0, 1e7))
def test_a_peer_that_answers_regularly_never_snubs_us(pause, answers, start):
    """With any pauses within the first timeout; a pause of twice the usual length is forgiven, too."""
    window = RequestWindow()
    window.on_requests(start)
    for answer in range(1, answers + 1):
        now = start + answer * pause
        assert not window.patience.snubbed(now)
        window.on_blocks(1, 5, now)
    assert not window.patience.snubbed(start + answers * pause + 1.99 * pause)


@given(st.floats(0.0001, 100), st.integers(0, 50))
def test_a_peer_that_stays_silent_has_snubbed_us_after_a_minute_at_the_most(pause, answers):
    window = RequestWindow()
    window.on_requests(0)
    for answer in range(1, answers + 1):
        window.on_blocks(1, 1, answer * pause)
    assert window.patience.snubbed(answers * pause + limits.MAX_SNUB_TIMEOUT + 0.01)
