"""A query to a single node that blocks until it is answered."""

from __future__ import annotations

from time import monotonic

import gevent
from gevent.event import Event

from geventbt.arguments import check_seconds
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import Contact
from geventbt.discovery.dht.driver import NodeDriver
from geventbt.errors import DHTError, DHTTimeout
from geventbt.net.addresses import Address

_LOOK = 0.05


def ask(driver: NodeDriver, address: Address, request: m.Request, timeout: float) -> m.Reply:
    """Ask a node, and block until it answers.

    Args:
        driver: the node that asks.
        address: (IP address, port) of the one that is asked.
        request: the query.
        timeout: seconds for the answer.

    Raises:
        DHTTimeout: it does not answer, or could not be asked in that time.
        DHTError: it answers with an error.
    """
    name = f"{address[0]}:{address[1]}"
    question = _Question()
    check_seconds(timeout=timeout)
    ends = monotonic() + timeout
    while not driver.node.ask(address, request, question, monotonic()):
        # One query too many for this node, or for the moment.
        if monotonic() >= ends:
            raise DHTTimeout(f"{name} could not be asked within {timeout:g} s")
        gevent.sleep(_LOOK)
    driver.flush()
    question.done.wait(max(0.0, ends - monotonic()))
    if question.failure is not None:
        raise DHTError(f"{name} answers with an error: {question.failure.text}")
    if question.reply is None:
        raise DHTTimeout(f"{name} gave no answer within {timeout:g} s")
    return question.reply


class _Question:
    """A query to a single node, and the greenlet that waits for its answer."""

    def __init__(self) -> None:
        self.done = Event()
        self.reply: m.Reply | None = None
        self.failure: m.Failure | None = None

    def answered(self, contact: Contact, request: m.Request, reply: m.Reply, now: float, *, was_slow: bool) -> None:
        """See `geventbt.discovery.dht.node.Listener`."""
        self.reply = reply
        self.done.set()

    def failed(
        self, address: Address, request: m.Request, failure: m.Failure | None, now: float, *, was_slow: bool
    ) -> None:
        """See `geventbt.discovery.dht.node.Listener`."""
        self.failure = failure
        self.done.set()

    def slow(self, address: Address, request: m.Request, now: float) -> None:
        """See `geventbt.discovery.dht.node.Listener`."""
