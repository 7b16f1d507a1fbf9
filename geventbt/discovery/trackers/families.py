"""One question over IPv4 and IPv6: a tracker counts us in each address family (BEP 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import gevent

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.errors import TrackerError

T = TypeVar("T")


def over_families(families: Sequence[int], ask: Callable[[int], T]) -> list[T]:
    """Ask the same over several address families, side by side (BEP 7).

    Once the first answer is there, the others have `limits.SECOND_FAMILY` seconds more.

    Args:
        families: at least one.
        ask: called with each family, on a greenlet of its own; returns the answer or raises TrackerError.

    Returns:
        The answers, at least one, in the order of the families.

    Raises:
        TrackerError: there is no answer; with the texts of all errors.
    """
    if len(families) == 1:
        return [ask(families[0])]
    outcomes: dict[int, T | TrackerError] = {}
    asking = [spawn("asking a tracker", _ask, ask, family, outcomes) for family in families]
    try:
        with gevent.iwait(asking) as finished:
            for _ in finished:
                if any(not isinstance(outcome, TrackerError) for outcome in outcomes.values()):
                    break
        gevent.joinall(asking, timeout=limits.SECOND_FAMILY)
    finally:
        gevent.killall(asking, block=False)
    ordered = [outcomes[family] for family in families if family in outcomes]
    answers = [outcome for outcome in ordered if not isinstance(outcome, TrackerError)]
    if not answers:
        raise _all_of([outcome for outcome in ordered if isinstance(outcome, TrackerError)])
    return answers


def _ask(ask: Callable[[int], T], family: int, outcomes: dict[int, T | TrackerError]) -> None:
    try:
        outcomes[family] = ask(family)
    except TrackerError as error:
        outcomes[family] = error


def _all_of(errors: Sequence[TrackerError]) -> TrackerError:
    waits = [error.retry_in for error in errors if error.retry_in is not None]
    text = "; ".join(dict.fromkeys(str(error) for error in errors))
    return TrackerError(text or "no answer", retry_in=max(waits) if waits else None)
