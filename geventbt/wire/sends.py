"""Everything that a wire says, and what holds it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bitarray import bitarray

from geventbt import limits
from geventbt.errors import LocalProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol.connection import RequestKey
from geventbt.protocol.fast import allowed_fast_set
from geventbt.protocol.messages import Buffer
from geventbt.wire.waiting import WireWaits


class WireSends(WireWaits):
    """The messages that a wire sends. They return at once, except that `piece` waits while too much is queued."""

    __slots__ = ()

    def choke(self) -> None:
        """Choke the peer: its pending requests are dropped, but for allowed-fast ones (BEP 3, 6)."""
        self._send(self._protocol.send_choke)

    def unchoke(self) -> None:
        """Unchoke the peer: it may send requests (BEP 3)."""
        self._send(self._protocol.send_unchoke)

    def interested(self) -> None:
        """Tell the peer that we want what it has (BEP 3)."""
        self._send(self._protocol.send_interested)

    def uninterested(self) -> None:
        """Tell the peer that we want nothing that it has (BEP 3)."""
        self._send(self._protocol.send_uninterested)

    not_interested = uninterested

    def have(self, piece: int) -> None:
        """Tell the peer that we have one more piece (BEP 3)."""
        self._send(self._protocol.send_have, piece)

    def bitfield(self, pieces: bitarray | bytes) -> None:
        """Tell the peer which pieces we have, right after the handshake (BEP 3).

        Args:
            pieces: a bitarray with a bit for each piece, or the bytes of the bitfield, high bit first.
        """
        self._send(self._protocol.send_bitfield, pieces)

    def have_all(self) -> None:
        """Tell the peer that we have every piece, in place of a bitfield (BEP 6)."""
        self._send(self._protocol.send_have_all)

    def have_none(self) -> None:
        """Tell the peer that we have no piece, in place of a bitfield (BEP 6)."""
        self._send(self._protocol.send_have_none)

    def suggest(self, piece: int) -> None:
        """Suggest that the peer asks for this piece (BEP 6)."""
        self._send(self._protocol.send_suggest, piece)

    def allowed_fast(self, piece: int) -> None:
        """Promise to serve this piece even while we choke the peer (BEP 6)."""
        self._send(self._protocol.send_allowed_fast, piece)

    def grant_allowed_fast(self) -> list[int]:
        """Send the peer its allowed-fast set, computed from its address as in BEP 6.

        The number of pieces must be known.

        Returns:
            The pieces of the set.
        """
        info_hash, pieces = self.info_hash, self.number_of_pieces
        if info_hash is None or pieces is None:
            raise LocalProtocolError("the allowed-fast set needs the info hash and the number of pieces")
        granted = allowed_fast_set(self.remote_address[0], info_hash, pieces)
        for piece in granted:
            self.allowed_fast(piece)
        return granted

    def reject(self, piece: int, offset: int, length: int) -> None:
        """Refuse a pending request of the peer (BEP 6); without the fast extension it is given up silently."""
        self._send(self._protocol.send_reject, piece, offset, length)

    def port(self, port: int) -> None:
        """Tell the peer the UDP port of our DHT node (BEP 5)."""
        self._send(self._protocol.send_port, port)

    def keep_alive(self) -> None:
        """Send a sign of life (BEP 3). It is sent by itself after a long silence; see `set_keep_alive`."""
        self._send(self._protocol.send_keep_alive)

    def extended(self, name: str, payload: bytes) -> None:
        """Send a message of an extension that the peer supports (BEP 10).

        Args:
            name: the extension's name, such as "ut_metadata"; or "handshake", to send our extended handshake again,
                and then `payload` is ignored.
            payload: the bytes of the message.
        """
        if name == "handshake":
            self._send(self._protocol.send_extended_handshake)
        else:
            self._send(self._protocol.send_extended, name, payload)

    def hash_request(self, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int) -> None:
        """Ask for hashes of a file's merkle tree (BEP 52)."""
        self._send(
            self._protocol.send_hash_message, c.HASH_REQUEST, pieces_root, base_layer, index, length, proof_layers
        )

    def hashes(
        self, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int, hashes: bytes
    ) -> None:
        """Answer a hash request (BEP 52)."""
        self._send(
            self._protocol.send_hash_message, c.HASHES, pieces_root, base_layer, index, length, proof_layers, hashes
        )

    def hash_reject(self, pieces_root: bytes, base_layer: int, index: int, length: int, proof_layers: int) -> None:
        """Refuse a hash request (BEP 52)."""
        self._send(
            self._protocol.send_hash_message, c.HASH_REJECT, pieces_root, base_layer, index, length, proof_layers
        )

    def piece(self, piece: int, offset: int, block: Buffer) -> bool:
        """Send a block that the peer has asked for (BEP 3). Waits while more than 1 MiB is queued.

        Args:
            piece, offset: where the block starts.
            block: any bytes-like object. A read-only one is sent without a copy, and must not change before it is sent.

        Returns:
            False if the peer does not want the block (any more): it has cancelled the request, or was choked. Then
            nothing is sent.
        """
        self._check_usable()
        block = frozen(block)
        return self._send_block((piece, offset, len(block)), block)

    def _send_block(self, key: RequestKey, block: Buffer) -> bool:
        """Send a frozen block, and let others have their turn now and then."""
        transport = self._transport
        while transport.queued > limits.HIGH_WATER:
            # All who wait are woken together, and those before this one may have filled the queue again.
            self.wait_drained()
        if not self._protocol.send_block(key, block):
            return False
        if not self._unflushed:
            transport.flush_soon()
        self._unflushed += key[2]
        if self._unflushed >= limits.HIGH_WATER:
            transport.flush()
            self._yield_turn()
        return True

    def _yield_turn(self) -> None:
        """Whoever serves a peer that is as fast as we are still lets the others have their turn.

        By a timer, because the loop looks at the sockets before it: `sleep(0)` and `run_callback` come back up to ten
        times before that. *Measured*: a small request beside a transfer waited for up to 63 ms, now for up to 20.
        """
        with self._hub.loop.timer(0) as turn:
            self._hub.wait(turn)

    def _send(self, send: Callable[..., Any], *args: Any) -> None:
        self._check_usable()
        send(*args)
        if self._protocol.outgoing:
            self._sent()


def frozen(block: Buffer) -> Buffer:
    """The same bytes in a buffer that nobody is going to change, and whose length is its bytes: a read-only one as it
    is, a writable one copied."""
    if type(block) is bytes:
        return block
    view = block if type(block) is memoryview else memoryview(block)
    if not (view.readonly and view.c_contiguous):
        return view.tobytes()
    return view if view.itemsize == 1 else view.cast("B")
