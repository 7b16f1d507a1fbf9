"""Waits that double."""

from __future__ import annotations

import random

import pytest

from geventbt.client.peers.backoff import backoff


@pytest.mark.parametrize(("failures", "wait"), [(1, 5), (2, 10), (3, 20), (8, 600), (10**9, 600)])
def test_waits_double_up_to_the_longest_and_are_shifted_by_a_quarter_at_most(failures, wait):
    waits = [backoff(failures, first=5, maximum=600, rng=random.Random(seed)) for seed in range(100)]
    assert min(waits) >= 0.75 * wait
    assert max(waits) <= min(1.25 * wait, 600)
    assert len(set(waits)) > 10
