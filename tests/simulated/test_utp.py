"""uTP over lines in virtual time: losses, delays, queues, clocks, and what it leaves to others.

`scripts/simulate_utp.py` runs the same for longer, and prints figures.
"""

from __future__ import annotations

import random

import pytest

from tests.simulated.utp_network import BulkFlow, Pair

MBIT = 1e6 / 8


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": 0.05},
        {"jitter": 0.03},
        {"copies": 0.2},
        {"delay": 0.4, "loss": 0.02, "jitter": 0.1, "copies": 0.1},
        {"rate": 1 * MBIT, "queue": 4000.0},
        {"rate": 1 * MBIT, "queue": 1e6},
    ],
    ids=["clean", "loss", "reordering", "duplication", "all", "short queue", "long queue"],
)
def test_what_is_sent_arrives_over_any_line(options):
    pair = Pair(there=options, back={key: value for key, value in options.items() if key != "rate"})
    assert pair.send(random.Random(1).randbytes(300_000), 120)


class HighNumbers(random.Random):
    """Chooses the last number that there is, which the next one wraps."""

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return start - 1 if stop is None else stop - 1


@pytest.mark.parametrize("late", [0.0, 0.1, 0.2])
def test_numbers_and_clocks_wrap(late):
    # Each clock wraps after 4,295 s: here while the stream is at work.
    pair = Pair(
        rng=HighNumbers(1), there={"loss": 0.01}, back={}, near={"offset": 4294.9}, far={"offset": 2 * 4294.9 + late}
    )
    assert pair.send(random.Random(1).randbytes(200_000), 60)


def test_a_fat_line_with_losses_is_used_and_its_queue_stays_short():
    rate = 50 * MBIT
    pair = Pair(there={"rate": rate, "delay": 0.05, "loss": 0.01, "queue": 2e6}, back={"delay": 0.05, "loss": 0.01})
    pair.stream.write(bytes(int(6 * rate)))
    pair.near.pump(pair.stream)
    pair.clock.run_until(lambda: False, 6)
    assert len(pair.far.received) >= 0.7 * 6 * rate
    assert max(wait for _, wait in pair.there.waits) <= 0.12


def test_a_line_without_losses_is_filled_to_the_target_and_no_further():
    rate = 5 * MBIT
    pair = Pair(there={"rate": rate, "delay": 0.02, "queue": 1e6}, back={"delay": 0.02})
    pair.stream.write(bytes(int(30 * rate)))
    pair.near.pump(pair.stream)
    pair.clock.run_until(lambda: False, 30)
    assert len(pair.far.received) >= 0.85 * 30 * rate
    assert max(wait for at, wait in pair.there.waits if at > 3) <= 0.13


@pytest.mark.parametrize("drift", [-1e-3, 1e-3], ids=["fast", "slow"])
def test_clocks_that_drift_apart_neither_stop_a_stream_nor_fill_queues(drift):
    rate = 2 * MBIT
    pair = Pair(there={"rate": rate, "delay": 0.02, "queue": 1e6}, back={"delay": 0.02}, far={"drift": drift})
    pair.stream.write(bytes(int(60 * rate)))
    pair.near.pump(pair.stream)
    pair.clock.run_until(lambda: False, 60)
    assert len(pair.far.received) >= 0.8 * 60 * rate
    assert max(wait for _, wait in pair.there.waits) <= 0.2


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_a_flow_of_tcp_gets_the_line(is_first):
    rate = 5 * MBIT
    pair = Pair(there={"rate": rate, "delay": 0.025, "queue": 125_000.0}, back={"delay": 0.025})
    flow = BulkFlow(pair.clock, pair.there, 0.025)
    pair.stream.write(bytes(int(60 * rate)))
    starts = [lambda: pair.near.pump(pair.stream), flow.start]
    for start in starts if is_first else reversed(starts):
        start()
        pair.clock.run_until(lambda: False, pair.clock.now + 5)
    pair.clock.run_until(lambda: False, 15)
    ours, theirs = len(pair.far.received), flow.delivered
    pair.clock.run_until(lambda: False, 45)
    ours, theirs = len(pair.far.received) - ours, flow.delivered - theirs
    assert ours <= 0.2 * (ours + theirs)
    assert ours + theirs >= 0.9 * 30 * rate
    # When it has ended, the line is ours again.
    assert ours > 0


def test_a_reader_that_pauses_stops_the_sender_and_loses_nothing():
    pair = Pair(there={"rate": 50 * MBIT, "delay": 0.005}, back={"delay": 0.005})
    data = random.Random(1).randbytes(6_000_000)
    pair.far.paused = True
    assert not pair.send(data, 20)
    (stream,) = pair.far.streams
    assert stream.inbox.ready <= stream.inbox.room
    assert pair.stream.unsent > 0
    pair.far.paused = False
    pair.far.pump(stream)
    assert pair.clock.run_until(lambda: len(pair.far.received) == len(data), 60)
    assert pair.far.received == data
