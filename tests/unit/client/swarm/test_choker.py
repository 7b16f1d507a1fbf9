"""Who is unchoked (BEP 3)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from geventbt import limits
from geventbt.client.swarm.choker import Choker, PeerView

MIB = limits.MIB


def peers(count, **fields):
    return [PeerView(number, True, **fields) for number in range(count)]


def choker(slots: int | None = 4, seed: int = 1, **options) -> Choker:
    return Choker(slots, rng=random.Random(seed), **options)


def test_everyone_interested_is_unchoked_while_there_are_slots():
    assert choker(4).rechoke(peers(4), 0, seeding=False) == {0, 1, 2, 3}


def test_there_are_never_more_than_the_slots():
    assert len(choker(4).rechoke(peers(100), 0, seeding=False)) == 4


def test_two_hundred_slots_serve_two_hundred_peers():
    assert len(choker(200).rechoke(peers(200), 0, seeding=True)) == 200


def test_without_a_bound_everyone_interested_is_unchoked():
    assert len(choker(None).rechoke(peers(1000), 0, seeding=True)) == 1000


def test_no_slots_are_for_nobody():
    nobody = choker(0)
    assert nobody.rechoke(peers(3), 0, seeding=False) == set()
    assert nobody.on_interest(PeerView("new", True), 0, seeding=False) is False


def test_a_negative_number_of_slots_is_an_error():
    with pytest.raises(ValueError, match="slots"):
        Choker(-1)


def test_slots_may_be_changed_while_it_runs():
    few = choker(2)
    few.rechoke(peers(10), 0, seeding=False)
    few.slots = 6
    assert len(few.rechoke(peers(10), 10, seeding=False)) == 6
    few.slots = 1
    assert len(few.rechoke(peers(10), 20, seeding=False)) == 1


def test_uninterested_peers_take_no_slot():
    idle = [PeerView(f"idle {number}", False, down_rate=1e6) for number in range(10)]
    assert choker(4).rechoke([*idle, *peers(4)], 0, seeding=False) == {0, 1, 2, 3}


def test_those_that_give_most_are_unchoked_while_downloading():
    givers = [PeerView(number, True, down_rate=number * 1000.0) for number in range(20)]
    assert choker(8).rechoke(givers, 0, seeding=False) >= {16, 17, 18, 19}


def uneven(count: int = 20) -> list[PeerView[int]]:
    """Peers of which each gives more and has more than those before."""
    return [PeerView(number, True, down_rate=number * 1000.0, held=number * MIB) for number in range(count)]


def test_two_slots_of_five_go_to_those_that_have_least_while_downloading():
    assert choker(8).rechoke(uneven(), 0, seeding=False) >= {0, 1, 2, 16, 17, 18, 19}
    assert not choker(2).rechoke(uneven(), 0, seeding=False) >= {0, 1}


def test_a_seed_does_not_look_at_what_peers_have():
    takers = [replace(peer, down_rate=0.0, up_rate=peer.down_rate) for peer in uneven()]
    fair = choker(8)
    first = fair.rechoke(takers, 0, seeding=True)
    assert fair.rechoke([replace(peer, held=0) for peer in takers], 10, seeding=True) == first


def test_a_needy_peer_that_took_nothing_in_its_turn_makes_room_for_others():
    helpful = choker(8)
    assert helpful.rechoke(uneven(), 0, seeding=False) >= {0, 1, 2}
    took = [replace(peer, uploaded=MIB * (peer.key != 1)) for peer in uneven()]
    assert helpful.rechoke(took, 10, seeding=False) >= {0, 2, 3}


def test_a_needy_peer_that_snubs_us_gets_no_slot_for_it():
    snubbed = [replace(peer, snubbed=peer.key == 0) for peer in uneven()]
    assert choker(8).rechoke(snubbed, 0, seeding=False) >= {1, 2, 3}


def test_what_peers_give_does_not_count_while_seeding():
    takers = choker(2, quota=10 * MIB)
    takers.rechoke([PeerView("first", True), PeerView("second", True)], 0, seeding=True)
    now_there = [
        PeerView("first", True, up_rate=5.0),
        PeerView("second", True, up_rate=9.0),
        PeerView("generous", True, down_rate=1e6),
    ]
    assert "second" in takers.rechoke(now_there, 10, seeding=True)
    assert takers.rechoke(now_there, 10, seeding=False) & {"generous"}


def test_a_snubbing_peer_gets_only_the_optimistic_slot():
    snubbing = [PeerView(f"snubs {number}", True, snubbed=True, down_rate=1e6) for number in range(5)]
    chosen = choker(4).rechoke([*snubbing, *peers(2)], 0, seeding=False)
    assert {0, 1} <= chosen
    assert len(chosen) == 3


def test_snubbing_means_nothing_to_a_seed():
    assert len(choker(4).rechoke(peers(4, snubbed=True), 0, seeding=True)) == 4


def test_the_optimistic_slot_stays_for_thirty_seconds_and_then_rotates():
    rates = [PeerView(number, True, down_rate=1000.0 if number < 1 else 0.0) for number in range(8)]
    optimist = choker(2)
    lucky = [optimist.rechoke(rates, now, seeding=False) - {0} for now in range(0, 210, 10)]
    assert all(len(one) == 1 for one in lucky)
    assert lucky[0] == lucky[1] == lucky[2] != lucky[3]
    assert set().union(*lucky) == {1, 2, 3, 4, 5, 6, 7}


def test_when_the_optimistic_peer_leaves_another_has_the_slot_at_once():
    optimist = choker(1)
    (first,) = optimist.rechoke(peers(3), 0, seeding=False)
    rest = [peer for peer in peers(3) if peer.key != first]
    (second,) = optimist.rechoke(rest, 10, seeding=False)
    bored = [replace(peer, interested=peer.key != second) for peer in rest]
    (third,) = optimist.rechoke(bored, 20, seeding=False)
    assert {first, second, third} == {0, 1, 2}


def test_a_snubbing_peer_keeps_the_optimistic_slot_while_nobody_else_waits():
    optimist = choker(4)
    views = [*peers(2), PeerView("snubs", True, snubbed=True)]
    assert all(optimist.rechoke(views, now, seeding=False) == {0, 1, "snubs"} for now in range(0, 200, 10))


def test_a_new_peer_is_three_times_as_likely_to_be_the_next_as_at_any_other_place():
    """With 7 others there are 8 places, so ten ways, three of them the front."""
    lucky = 0
    for seed in range(1000):
        optimist = choker(1, seed)
        optimist.rechoke(peers(7), 0, seeding=False)
        lucky += optimist.rechoke([*peers(7), PeerView("new", True)], 30, seeding=False) == {"new"}
    assert 250 < lucky < 350


def test_a_seed_keeps_who_it_serves_until_it_had_its_quota_and_its_minute():
    fair = choker(2, quota=10 * MIB)
    old = PeerView("old", True, up_rate=1e6)
    fair.rechoke([old], 0, seeding=True)
    waiting = [PeerView("waiting", True), PeerView("waiting too", True)]
    early = replace(old, uploaded=11 * MIB)
    assert "old" in fair.rechoke([early, *waiting], 50, seeding=True)
    slow = replace(old, uploaded=9 * MIB)
    assert "old" in fair.rechoke([slow, *waiting], 70, seeding=True)
    assert "old" not in fair.rechoke([early, *waiting], 80, seeding=True)


def test_a_quota_is_what_was_taken_in_this_turn():
    fair = choker(2, quota=10 * MIB)
    old = PeerView("old", True, uploaded=100 * MIB, up_rate=1e6)
    fair.rechoke([old], 0, seeding=True)
    waiting = [PeerView("waiting", True), PeerView("waiting too", True)]
    assert "old" in fair.rechoke([old, *waiting], 100, seeding=True)


def test_the_rest_of_an_earlier_turn_counts_for_nothing():
    fair = choker(1)
    assert fair.on_interest(PeerView("early", True), 0, seeding=True)
    fair.release("early")
    waiting = [PeerView("early", True, up_rate=1e6), PeerView("patient", True)]
    assert fair.fill(waiting, 10, seeding=True) == {"patient"}


def test_a_seed_serves_everyone_in_turn():
    """Fifty that take equally much, four slots: after 50 turns of a minute everyone had at least two."""
    fair = choker(4, quota=MIB)
    taken = dict.fromkeys(range(50), 0)
    turns = dict.fromkeys(range(50), 0)
    served: set[int] = set()
    for now in range(0, 3000, 10):
        views = [PeerView(key, True, up_rate=1e5 * (key in served), uploaded=taken[key]) for key in taken]
        chosen = fair.rechoke(views, now, seeding=True)
        for key in chosen:
            taken[key] += MIB
            turns[key] += key not in served
        served = chosen
    assert min(turns.values()) >= 2
    assert max(taken.values()) < 4 * min(taken.values())


def test_an_interested_peer_is_unchoked_at_once_when_a_slot_is_free():
    free = choker(2)
    free.rechoke(peers(1), 0, seeding=False)
    assert free.on_interest(PeerView("second", True), 1, seeding=False) is True
    assert free.on_interest(PeerView("third", True), 1, seeding=False) is False
    assert free.on_interest(PeerView("second", True), 2, seeding=False) is True
    assert free.unchoked_count == 2


def test_a_slot_that_became_free_is_given_to_who_gives_most():
    full = choker(2)
    full.rechoke(peers(2), 0, seeding=False)
    assert full.release(0) is True
    assert full.release(0) is False
    assert full.release("an unknown peer") is False
    waiting = [PeerView("little", True, down_rate=1.0), PeerView("much", True, down_rate=2.0)]
    assert full.fill(waiting, 1, seeding=False) == {"much"}
    assert full.fill(waiting, 1, seeding=False) == set()
    assert full.unchoked_count == 2


def test_filling_slots_passes_over_who_is_not_interested_or_snubs_us():
    unfair = [PeerView("snubs", True, snubbed=True), PeerView("idle", False)]
    assert choker(None).fill(unfair, 0, seeding=False) == set()


def test_who_left_is_forgotten():
    brief = choker(4)
    brief.rechoke(peers(100), 0, seeding=False)
    assert brief.rechoke([], 10, seeding=False) == set()
    assert brief.unchoked_count == 0
    assert brief.rechoke(peers(3), 20, seeding=False) == {0, 1, 2}
