"""ut_metadata: the info dictionary from peers, and for them (BEP 9)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.errors import (
    LocalProtocolError,
    MetadataError,
    MetadataMismatch,
    MetadataNotAvailable,
    RemoteProtocolError,
    WireClosed,
    WireTimeout,
)
from geventbt.extensions.extension import Extension
from geventbt.protocol import ut_metadata as codec
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.protocol.ut_metadata import MetadataAssembly, MetadataMessage

if TYPE_CHECKING:
    from geventbt.wire.wire import Wire

_REJECT_DELAY = 1.0


class UtMetadata(Extension):
    """Serves and fetches a torrent's metadata, that is the bytes of its info dictionary (BEP 9).

    ``wire.use(UtMetadata)`` to fetch, ``wire.use(lambda wire: UtMetadata(wire, torrent.info_bytes))`` to serve as well.

    Signals: `metadata` (metadata: the verified bytes), `warning` (error: what a peer did wrong).

    Args:
        wire: the wire.
        metadata: what to serve, or None.
    """

    name = "ut_metadata"
    signal_names = ("metadata", "warning")

    def __init__(self, wire: Wire, metadata: bytes | None = None) -> None:
        super().__init__(wire)
        self._metadata: bytes | None = None
        self._served: Counter[int] = Counter()
        self._heard_of_peer = Event()
        self._fetch: _Fetch | None = None
        if metadata is not None:
            self.metadata = metadata

    @property
    def metadata(self) -> bytes | None:
        """What we serve, or have fetched; None as long as there is none."""
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: bytes) -> None:
        self._metadata = metadata
        self.wire.extended_handshake["metadata_size"] = len(metadata)

    def fetch(self, timeout: float = limits.REQUEST_TIMEOUT, *, patience: float = limits.REQUEST_TIMEOUT) -> bytes:
        """Fetch the metadata from this peer; blocks until it is here and verified. After the handshake; one at a time.

        Args:
            timeout: seconds for all of it.
            patience: seconds without any of it.

        Returns:
            The exact bytes of the info dictionary, whose SHA-1 is the wire's info hash.

        Raises:
            MetadataNotAvailable: the peer does not support it, has none, or goes on rejecting.
            MetadataMismatch: the peer lied about the size, or sent other data than the torrent's.
            WireTimeout: it did not come in time.
            WireClosed: the wire is closed.
        """
        if self._metadata is not None:
            return self._metadata
        if self._fetch is not None:
            raise LocalProtocolError("the metadata is being fetched already")
        deadline = monotonic() + timeout
        self._wait(self._heard_of_peer, min(deadline, monotonic() + patience))
        fetch = self._fetch = _Fetch(self._assembly(), self._ask)
        try:
            fetch.start()
            while not fetch.done:
                fetch.news.clear()
                self._wait(fetch.news, min(deadline, monotonic() + patience))
            metadata = fetch.result()
        except MetadataError as error:
            self.emit("warning", error=error)
            raise
        finally:
            self._fetch = None
        self.metadata = metadata
        self.emit("metadata", metadata=metadata)
        return metadata

    def _assembly(self) -> MetadataAssembly:
        size = self.wire.peer_extended_handshake.get("metadata_size")
        if not self.supported or size is None:
            raise MetadataNotAvailable("the peer has no metadata")
        info_hash = self.wire.info_hash
        assert info_hash is not None
        return MetadataAssembly(size, info_hash)

    def _wait(self, event: Event, deadline: float) -> None:
        if not event.wait(max(0.0, deadline - monotonic())):
            raise WireTimeout("the metadata did not come in time")
        if self.wire.closed:
            raise WireClosed("the wire was closed") from self.wire.close_reason

    def _ask(self, piece: int) -> None:
        self.send(MetadataMessage(codec.REQUEST, piece).to_bytes())

    def on_extended_handshake(self, handshake: ExtendedHandshake) -> None:
        """Now it is known whether the peer has metadata."""
        self._heard_of_peer.set()

    def on_close(self, error: Exception | None) -> None:
        """Wake whoever waits."""
        self._heard_of_peer.set()
        if self._fetch:
            self._fetch.news.set()

    def on_message(self, payload: bytes) -> None:
        """Answer a request, or take a piece."""
        try:
            message = MetadataMessage.from_bytes(payload)
        except RemoteProtocolError as error:
            self.emit("warning", error=error)
            return
        if message.type == codec.REQUEST:
            self._serve(message.piece)
        elif self._fetch is not None:
            self._fetch.take(message)

    def _serve(self, piece: int) -> None:
        """Send a piece that we have, or reject: also what a peer asks for again and again."""
        if not self.supported or self.wire.closed:
            return
        metadata = self._metadata
        if (
            metadata is None
            or piece >= codec.piece_count(len(metadata))
            or self._served[piece] >= limits.METADATA_SERVED
        ):
            self.send(MetadataMessage(codec.REJECT, piece).to_bytes())
            return
        self._served[piece] += 1
        data = codec.piece_of(metadata, piece)
        self.wire.wait_drained()
        self.send(MetadataMessage(codec.DATA, piece, len(metadata), data).to_bytes())


class _Fetch:
    """One attempt to fetch all pieces, a window of them at a time."""

    def __init__(self, assembly: MetadataAssembly, ask: Callable[[int], None]) -> None:
        self.done = False
        self.news = Event()
        self._assembly = assembly
        self._ask = ask
        self._to_ask = deque(range(assembly.pieces))
        self._asked: set[int] = set()
        self._rejects: Counter[int] = Counter()
        self._error: MetadataError | None = None

    def start(self) -> None:
        self._ask_more()

    def _ask_more(self) -> None:
        while self._to_ask and len(self._asked) < limits.METADATA_WINDOW:
            piece = self._to_ask.popleft()
            self._asked.add(piece)
            self._ask(piece)

    def take(self, message: MetadataMessage) -> None:
        """Take a piece or a reject; what was not asked for is ignored."""
        if message.piece not in self._asked or message.type not in (codec.DATA, codec.REJECT):
            return
        self._asked.remove(message.piece)
        if message.type == codec.REJECT:
            self._ask_again(message.piece)
            return
        try:
            self._assembly.add(message)
        except MetadataMismatch as error:
            self._fail(error)
            return
        self.done = not self._assembly.missing
        self.news.set()
        self._ask_more()

    def _ask_again(self, piece: int) -> None:
        self._rejects[piece] += 1
        if self._rejects[piece] > limits.METADATA_REJECTS:
            self._fail(MetadataNotAvailable("the peer rejects requests for its metadata"))
            return
        # Those who limit floods reject as well: a moment later they may not.
        gevent.sleep(_REJECT_DELAY)
        self._to_ask.append(piece)
        self._ask_more()

    def _fail(self, error: MetadataError) -> None:
        self._error = error
        self.done = True
        self.news.set()

    def result(self) -> bytes:
        """The metadata, verified. Raises what went wrong."""
        if self._error:
            raise self._error
        return self._assembly.finish()
