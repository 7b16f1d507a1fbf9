"""Searches that are in no hurry."""

from __future__ import annotations

from collections.abc import Callable

from geventbt.discovery.dht.search_queue import SearchQueue


class Searchers:
    """Those who search, by their names: each tries again when it is woken."""

    def __init__(self, places: int, names: str) -> None:
        self.queue = SearchQueue(places)
        self.searching: list[str] = []
        self.wakes: dict[str, Callable[[], None]] = {name: self._make(name) for name in names}

    def _make(self, name: str) -> Callable[[], None]:
        def enter() -> None:
            if self.queue.enter(self.wakes[name]):
                self.searching.append(name)

        return enter

    def end(self, name: str) -> None:
        self.searching.remove(name)
        self.queue.leave()


def test_a_few_search_at_one_time_and_the_others_in_their_order() -> None:
    searchers = Searchers(2, "abcde")
    for enter in searchers.wakes.values():
        enter()
    assert searchers.searching == ["a", "b"]
    searchers.end("b")
    assert searchers.searching == ["a", "c"]
    searchers.end("a")
    searchers.end("c")
    assert searchers.searching == ["d", "e"]


def test_one_that_gives_up_lets_the_next_one_in() -> None:
    searchers = Searchers(1, "abc")
    for enter in searchers.wakes.values():
        enter()
    searchers.queue.give_up(searchers.wakes["b"])
    searchers.end("a")
    assert searchers.searching == ["c"]
    searchers.queue.give_up(searchers.wakes["b"])
    assert searchers.searching == ["c"]


def test_nobody_comes_in_before_those_that_wait() -> None:
    searchers = Searchers(1, "ab")
    searchers.wakes["a"]()
    searchers.queue.enter(lambda: None)
    searchers.searching.remove("a")
    searchers.queue.leave()
    searchers.wakes["b"]()
    assert searchers.searching == []
