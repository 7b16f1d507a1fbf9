"""Where the events of a wire's protocol go: waiting greenlets, the delegate, signals, extensions, `messages()`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from geventbt.errors import LocalProtocolError, RemoteProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol.connection import FAILED, LATE, Event
from geventbt.wire.conditions import Conditions
from geventbt.wire.link import Link
from geventbt.wire.liveness import Liveness
from geventbt.wire.message_queue import MessageQueue
from geventbt.wire.pipeline import RequestPipeline
from geventbt.wire.plug_ins import ExtensionCalls
from geventbt.wire.publisher import Publisher
from geventbt.wire.requests import Wakeups
from geventbt.wire.serving import Serving

if TYPE_CHECKING:
    from geventbt.extensions.extension import Extension

_log = logging.getLogger("geventbt")

# The hot loop compares with these for every block.
_PIECE = c.PIECE
_REQUEST = c.REQUEST


class EventRouter:
    """Runs the protocol over what arrives, and hands each event to those it concerns.

    Args:
        link, liveness, conditions, publisher, pipeline, serving, extension_calls: of the wire.
    """

    __slots__ = (
        "_conditions", "_extension_calls", "_link", "_liveness", "_messages", "_pipeline", "_protocol", "_publisher",
        "_serving",
    )  # fmt: skip

    def __init__(
        self,
        link: Link,
        liveness: Liveness,
        conditions: Conditions,
        publisher: Publisher,
        pipeline: RequestPipeline,
        serving: Serving,
        extension_calls: ExtensionCalls,
    ) -> None:
        self._link = link
        self._protocol = link.protocol
        self._liveness = liveness
        self._conditions = conditions
        self._publisher = publisher
        self._pipeline = pipeline
        self._serving = serving
        self._extension_calls = extension_calls
        self._messages: MessageQueue | None = None

    def process(self, data: memoryview, wakeups: Wakeups) -> Exception | None:
        """Run the protocol over bytes, in the hub.

        Args:
            data: the bytes.
            wakeups: takes the greenlets that are to be woken when all of it has been processed.

        Returns:
            What closes the wire, if anything does.
        """
        try:
            self._process_events(data, wakeups)
        except RemoteProtocolError as broken:
            return broken
        except Exception as bug:
            _log.exception("processing a message from %s failed", self._link)
            return bug
        return None

    def _process_events(self, data: memoryview, wakeups: Wakeups) -> None:
        """The hot loop. Blocks that follow each other go to the delegate together."""
        delegate_wait = self._pipeline.delegate_wait
        has_listeners = self._publisher.has_listeners
        keeps_messages = self.keeps_messages
        publishes_pieces = keeps_messages or has_listeners("piece")
        publishes_requests = keeps_messages or has_listeners("request")
        blocks: list[Event] = []
        try:
            for event in self._protocol.receive(data):
                if event[0] == _PIECE:
                    if event[4] is delegate_wait:
                        blocks.append(event)
                    else:
                        event[4].deliver(event[1], event[2], event[3], wakeups)
                    if publishes_pieces:
                        self._publish_piece(event)
                else:
                    if blocks and delegate_wait is not None:
                        delegate_wait.delegate.on_blocks(blocks)
                        blocks = []
                    if publishes_requests or event[0] != _REQUEST:
                        self._on_event(event, wakeups)
        finally:
            if blocks and delegate_wait is not None:
                delegate_wait.delegate.on_blocks(blocks)

    def _publish_piece(self, event: Event) -> None:
        block = bytes(event[3])
        self._publisher.send("piece", index=event[1], begin=event[2], block=block)
        self._keep_message((c.PIECE, event[1], event[2], block))

    def _on_event(self, event: Event, wakeups: Wakeups) -> None:
        event_id = event[0]
        if event_id == FAILED:
            event[2].fail(event[1], event[3], wakeups)
            return
        delegate_wait = self._pipeline.delegate_wait
        if event_id == LATE:
            if delegate_wait is not None:
                delegate_wait.delegate.on_late_block(event)
            return
        if delegate_wait is not None:
            delegate_wait.delegate.on_message(event)
        if event_id == _REQUEST:
            piece, offset, length = key = event[1:]
            respond = self._serving.respond_to(key)
            self._publisher.send("request", index=piece, begin=offset, length=length, respond=respond)
        elif event_id == c.EXTENDED:
            self._on_extended(event)
        else:
            if event_id == c.HANDSHAKE:
                self._on_handshake()
            self._publisher.send_message(event)
        self._keep_message(event)

    def on_late_extension(self, extension: Extension) -> None:
        """An extension comes into use: tell it of the handshakes that it has missed."""
        protocol = self._protocol
        handshakes = protocol.handshake_received, dict(protocol.peer_extended_handshake)
        self._extension_calls.catch_up(extension, *handshakes)

    def _on_handshake(self) -> None:
        self._liveness.on_handshake()
        handshake = self._protocol.handshake_received
        assert handshake is not None
        self._extension_calls.on_handshake(handshake)

    def _on_extended(self, event: Event) -> None:
        _, extended_id, payload = event
        if extended_id == c.EXTENDED_HANDSHAKE:
            handshake = dict(self._protocol.peer_extended_handshake)
            self._extension_calls.on_extended_handshake(handshake)
            self._publisher.send("extended_handshake", handshake=handshake)
            return
        name = self._protocol.extended_mapping.get(extended_id)
        self._extension_calls.on_message(name, payload)
        if self._publisher.has_listeners("extended"):
            self._publisher.send("extended", name=name, extended_id=extended_id, payload=bytes(payload))

    @property
    def keeps_messages(self) -> bool:
        """Whether messages are kept for an iterator."""
        return self._messages is not None and not self._messages.stopped

    def keep_messages(self) -> MessageQueue:
        """Keep the messages from now on; see `Wire.messages`."""
        self._link.check_thread()
        before = self._messages
        if before is not None and not before.stopped:
            if not before.is_abandoned:
                raise LocalProtocolError("another greenlet iterates over the messages of this wire: close that first")
            before.stop()
        self._messages = MessageQueue(self._link, self._conditions)
        return self._messages

    def _keep_message(self, event: Event) -> None:
        if self._messages is not None:
            self._messages.put(event)
