"""ut_metadata: fetching the info dictionary from a peer, and serving it (BEP 9)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.concurrency.threads import in_thread
from geventbt.errors import (
    GeventBTError,
    LocalProtocolError,
    MetadataError,
    MetadataMismatch,
    MetadataNotAvailable,
    RemoteProtocolError,
    WireClosed,
    WireTimeout,
)
from geventbt.extensions.extension import Extension, ExtensionWire
from geventbt.protocol import ut_metadata as codec
from geventbt.protocol.extended import ExtendedHandshake
from geventbt.protocol.ut_metadata import MetadataAssembly, MetadataMessage

if TYPE_CHECKING:
    from geventbt.extensions.signal_types import UtMetadataOn
    from geventbt.overloads import Overloaded

_REJECT_DELAY = 1.0


class UtMetadata(Extension):
    """Serves and fetches a torrent's metadata: the bytes of its info dictionary (BEP 9).

    ``wire.use(UtMetadata)`` to fetch, ``wire.use(lambda wire: UtMetadata(wire, torrent.info_bytes))`` to serve as well.

    Signals: `metadata` (metadata: the verified bytes), `warning` (error: the peer's violation of the protocol).

    Args:
        wire: the wire.
        metadata: the bytes to serve, or None.
    """

    name = "ut_metadata"
    signal_names = ("metadata", "warning")
    if TYPE_CHECKING:
        on: Overloaded[UtMetadataOn]

    def __init__(self, wire: ExtensionWire, metadata: bytes | None = None) -> None:
        super().__init__(wire)
        self._metadata: bytes | None = None
        self._served: Counter[int] = Counter()
        self._handshake_received = Event()
        self._fetch: _Fetch | None = None
        if metadata is not None:
            self.metadata = metadata

    @property
    def received(self) -> int:
        """The pieces that the fetch which is under way has received."""
        return self._fetch.received if self._fetch is not None else 0

    @property
    def metadata(self) -> bytes | None:
        """The metadata that we serve or have fetched; None before."""
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: bytes) -> None:
        self._metadata = metadata
        self.wire.extended_handshake["metadata_size"] = len(metadata)

    def fetch(self, timeout: float = limits.REQUEST_TIMEOUT, *, patience: float = limits.REQUEST_TIMEOUT) -> bytes:
        """Fetch the metadata from this peer, after the handshake; blocks until it is complete and verified.

        One fetch at a time.

        Args:
            timeout: seconds for the whole fetch.
            patience: seconds without progress.

        Returns:
            The exact bytes of the info dictionary, whose SHA-1 is the wire's info hash.

        Raises:
            MetadataNotAvailable: the peer does not support the extension, has no metadata, or keeps rejecting.
            MetadataMismatch: the peer announced a wrong size, or sent data that is not the torrent's.
            WireTimeout: it did not arrive in time.
            LocalProtocolError: another fetch is running on this wire.
            WireClosed: the wire is closed.
        """
        if self._metadata is not None:
            return self._metadata
        if self._fetch is not None:
            raise LocalProtocolError("cannot fetch the metadata: another greenlet fetches it from this peer already")
        deadline = monotonic() + timeout
        self._wait(self._handshake_received, min(deadline, monotonic() + patience), "no extended handshake")
        fetch = self._fetch = _Fetch(self._assembly(), self._request)
        try:
            fetch.start()
            while not fetch.done:
                fetch.progressed.clear()
                self._wait(fetch.progressed, min(deadline, monotonic() + patience), "no piece of the metadata")
            metadata = fetch.result()
        except MetadataError as error:
            self.emit("warning", error=error)
            raise
        finally:
            self._fetch = None
            fetch.end()
        self.metadata = metadata
        self.emit("metadata", metadata=metadata)
        return metadata

    def _assembly(self) -> MetadataAssembly:
        size = self.wire.peer_extended_handshake.get("metadata_size")
        if not self.supported or size is None:
            raise MetadataNotAvailable("the peer does not offer metadata (no ut_metadata, or no metadata_size)")
        info_hash = self.wire.info_hash
        assert info_hash is not None
        return MetadataAssembly(size, info_hash)

    def _wait(self, event: Event, deadline: float, expired: str) -> None:
        seconds = max(0.0, deadline - monotonic())
        if not event.wait(seconds):
            raise WireTimeout(f"{expired} from the peer within {seconds:.3g} s")
        if self.wire.closed:
            raise WireClosed("the wire was closed while its metadata was fetched") from self.wire.close_reason

    def _request(self, piece: int) -> None:
        self.send(MetadataMessage(codec.REQUEST, piece).to_bytes())

    def on_extended_handshake(self, handshake: ExtendedHandshake) -> None:
        """Wake the greenlet in `fetch`: it is known now whether the peer has metadata."""
        self._handshake_received.set()

    def on_close(self, error: Exception | None) -> None:
        """Wake the greenlet in `fetch`."""
        self._handshake_received.set()
        if self._fetch:
            self._fetch.progressed.set()

    def on_message(self, payload: bytes) -> None:
        """Answer a request, or take a piece or a reject."""
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
        """Send a piece, or reject if we do not have it or have sent it to this peer too often."""
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
    """One attempt to fetch all pieces, a window of requests at a time."""

    def __init__(self, assembly: MetadataAssembly, request: Callable[[int], None]) -> None:
        self.done = False
        self.progressed = Event()
        self._assembly = assembly
        self._request = request
        self._to_request = deque(range(assembly.pieces))
        self._requested: set[int] = set()
        self._rejects: Counter[int] = Counter()
        self._error: MetadataError | None = None
        self._retries: set[gevent.Greenlet] = set()

    def end(self) -> None:
        """Request no more."""
        gevent.killall(list(self._retries), block=False)

    @property
    def received(self) -> int:
        return self._assembly.pieces - self._assembly.missing

    def start(self) -> None:
        self._request_more()

    def _request_more(self) -> None:
        while self._to_request and len(self._requested) < limits.METADATA_WINDOW:
            piece = self._to_request.popleft()
            self._requested.add(piece)
            self._request(piece)

    def take(self, message: MetadataMessage) -> None:
        """Take a piece or a reject; what was not requested is ignored."""
        if message.piece not in self._requested or message.type not in (codec.DATA, codec.REJECT):
            return
        self._requested.remove(message.piece)
        if message.type == codec.REJECT:
            self._request_again(message.piece)
            return
        try:
            self._assembly.add(message)
        except MetadataMismatch as error:
            self._fail(error)
            return
        self.done = not self._assembly.missing
        self.progressed.set()
        self._request_more()

    def _request_again(self, piece: int) -> None:
        self._rejects[piece] += 1
        if self._rejects[piece] > limits.METADATA_REJECTS:
            self._fail(
                MetadataNotAvailable(f"the peer rejected piece {piece} of its metadata {self._rejects[piece]} times")
            )
            return
        # Peers that limit the rate of requests reject too: after a pause they may answer. The others go on.
        retry = gevent.spawn_later(_REJECT_DELAY, self._retry, piece)
        self._retries.add(retry)
        retry.rawlink(self._retries.discard)
        self._request_more()

    def _retry(self, piece: int) -> None:
        self._to_request.append(piece)
        # The wire may have closed meanwhile, which the fetch notices by itself.
        with suppress(GeventBTError):
            self._request_more()

    def _fail(self, error: MetadataError) -> None:
        self._error = error
        self.done = True
        self.progressed.set()

    def result(self) -> bytes:
        """The verified metadata. Raises MetadataError if the fetch has failed."""
        if self._error:
            raise self._error
        # In a native thread: the hashes of the longest take more than the 50 ms that a peer may hold the hub up.
        return in_thread(self._assembly.finish)
