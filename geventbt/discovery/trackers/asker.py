"""`TrackerAsker`: makes one announce to one tracker, and notes what became of it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any, TypeAlias

from geventbt.concurrency.greenlets import spawn
from geventbt.discovery.trackers.announce import COMPLETED, STOPPED, AnnounceRequest, AnnounceResponse
from geventbt.discovery.trackers.tracker_state import TrackerState
from geventbt.errors import TrackerError
from geventbt.net.addresses import Address

_log = logging.getLogger("geventbt")

MakeRequest: TypeAlias = Callable[[str], AnnounceRequest]
OnPeers: TypeAlias = Callable[[list[Address], str], Any]


class TrackerAsker:
    """Announces to one tracker and notes the outcome. Neither a tracker nor a callback of the user makes it fail.

    Args:
        make_request, on_peers, announce: see `Announcer`.
    """

    def __init__(self, make_request: MakeRequest, on_peers: OnPeers, announce: Callable[..., AnnounceResponse]) -> None:
        self._make_request = make_request
        self._on_peers = on_peers
        self._announce = announce
        self._key = secrets.randbits(32)

    def ask(self, known: TrackerState) -> bool:
        """Announce what is due; returns whether the tracker has answered."""
        event = known.asking = known.next_event()
        known.again.begin()
        try:
            request = self._request(known, event)
            known.may_count_us = True
            response = self._announce(known.url, request)
        except TrackerError as error:
            known.failed(error, monotonic())
            return False
        except Exception as error:
            _log.exception("an announce to %s failed", known.url)
            known.failed(error, monotonic())
            return False
        finally:
            known.asking = None
        known.answered(event, response, monotonic())
        self._hand_on(response, known.url)
        return True

    def _request(self, known: TrackerState, event: str) -> AnnounceRequest:
        request = self._make_request(event)
        key = self._key if request.key is None else request.key
        return replace(request, event=event or request.event, key=key, trackerid=known.trackerid)

    def _hand_on(self, response: AnnounceResponse, url: str) -> None:
        if not response.peers:
            return
        try:
            self._on_peers(list(response.peers), url)
        except Exception:
            _log.exception("on_peers failed")

    def leave(self, known: TrackerState, ends: float) -> None:
        """Announce "stopped", and "completed" before it where that has not been said yet.

        Args:
            known: the tracker.
            ends: when to end at the latest.
        """
        known.status.registered = known.may_count_us = False
        if not known.completed_pending:
            self._leave(known, STOPPED, ends)
            return
        completing = spawn("announcing completed", self._leave, known, COMPLETED, ends)
        try:
            # "stopped" is not to come first; nor is it to be lost where no answer comes.
            completing.join((ends - monotonic()) / 2)
            self._leave(known, STOPPED, ends)
        finally:
            completing.kill(block=False)

    def _leave(self, known: TrackerState, event: str, ends: float) -> None:
        try:
            request = replace(self._request(known, event), numwant=0)
            self._announce(known.url, request, timeout=max(0.001, ends - monotonic()))
        except TrackerError as error:
            known.status.error = str(error)
        except Exception:
            _log.exception("an announce to %s failed", known.url)
