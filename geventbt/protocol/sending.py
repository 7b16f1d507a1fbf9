"""What we say: each of our messages, and the rules that a caller may break."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bitarray import bitarray

from geventbt import limits
from geventbt.errors import LocalProtocolError, PeerChoking, PieceNotAvailable, RemoteProtocolError
from geventbt.net.addresses import is_port
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.extended import write_extended_handshake
from geventbt.protocol.handshake import Extensions, Handshake, check_match
from geventbt.protocol.state import NOT_PENDING, ProtocolState, RequestKey

_END_OF_OFFSETS = 1 << 32
_pack_range = m.RANGE.pack


class SendingSide(ProtocolState):
    """Every message of ours, put into `outgoing`; or `LocalProtocolError`, and then nothing has changed."""

    def take_outgoing(self) -> list[m.Buffer]:
        """The buffers to write, in order; they are ours no longer."""
        buffers, self.outgoing = self.outgoing, []
        return buffers

    def send_handshake(self, handshake: Handshake, info_hash_v2: bytes | None = None) -> None:
        """Send ours. Once; and for an inbound peer with the info hash that it asked for.

        A peer that has begun with the info hash of version 1 of a hybrid, and says that it knows version 2, is answered
        with the other info hash, if we say so too: the connection is one of version 2 then (BEP 52).

        Args:
            handshake: ours.
            info_hash_v2: that of version 2 of the torrent, 32 bytes or the first 20 of them, if there is one.

        Raises:
            LocalProtocolError: when it was sent before, or the extended handshake that follows cannot be bencoded.
            HandshakeError: when the peer's handshake, known already, is for another torrent, or has our peer id.
        """
        if self.handshake_sent:
            raise LocalProtocolError("the handshake has been sent already")
        if len(handshake.info_hash) != c.HASH_LENGTH or len(handshake.peer_id) != c.HASH_LENGTH:
            raise LocalProtocolError("info hash and peer id have 20 bytes each")
        info_hash_v2 = info_hash_v2 and info_hash_v2[: c.HASH_LENGTH]
        if self.handshake_received:
            check_match(handshake, self.handshake_received, info_hash_v2)
            if info_hash_v2 and handshake.extensions.v2 and self.handshake_received.extensions.v2:
                handshake = replace(handshake, info_hash=info_hash_v2)
        if handshake.extensions.extended:
            # It follows when the peer's is there. Whether it can be sent at all is the caller's to know now.
            self._extended_handshake_payload()
        self.handshake_sent = handshake
        self.info_hash_v2 = info_hash_v2
        self.outgoing.append(handshake.to_bytes())
        self._agree()

    def send_choke(self) -> None:
        """``<len=0001><id=0>`` (BEP 3).

        Drops the peer's pending requests; with the fast extension each is rejected (BEP 6).
        """
        self._require_handshake()
        if self.am_choking:
            return
        self.am_choking = True
        self.outgoing.append(m.pack_bare(c.CHOKE))
        for key in [key for key in self.peer_requests if key[0] not in self.allowed_fast_set]:
            self._drop_peer_request(key)

    def send_unchoke(self) -> None:
        """``<len=0001><id=1>`` (BEP 3)."""
        self._require_handshake()
        if self.am_choking:
            self.am_choking = False
            self.outgoing.append(m.pack_bare(c.UNCHOKE))

    def send_interested(self) -> None:
        """``<len=0001><id=2>`` (BEP 3)."""
        self._require_handshake()
        if not self.am_interested:
            self.am_interested = True
            self.outgoing.append(m.pack_bare(c.INTERESTED))

    def send_uninterested(self) -> None:
        """``<len=0001><id=3>`` (BEP 3)."""
        self._require_handshake()
        if self.am_interested:
            self.am_interested = False
            self.outgoing.append(m.pack_bare(c.UNINTERESTED))

    def send_have(self, piece: int) -> None:
        """``<len=0005><id=4><index>`` (BEP 3)."""
        self._require_piece(piece)
        self.outgoing.append(m.pack_index(c.HAVE, piece))

    def send_bitfield(self, pieces: bitarray | bytes) -> None:
        """``<len=0001+X><id=5><bitfield>`` (BEP 3).

        The length of a `bitarray` is taken as the number of pieces, where that is not known yet.
        """
        self._require_handshake()
        count = self.peer_pieces.count
        if isinstance(pieces, bitarray):
            if count is None:
                self._set_pieces_from_bitfield(len(pieces))
            elif len(pieces) != count:
                raise LocalProtocolError(f"a bitfield of {len(pieces)} pieces: there are {count}")
            pieces = bitarray(pieces, endian="big").tobytes()
        elif count is None:
            if not 1 <= len(pieces) <= limits.MESSAGE:
                raise LocalProtocolError(f"a bitfield of {len(pieces)} bytes: must be 1 to {limits.MESSAGE}")
        elif len(pieces) != (count + 7) // 8 or pieces[-1] & (0xFF >> (count % 8 or 8)):
            raise LocalProtocolError(
                f"a bitfield of {len(pieces)} bytes: for {count} pieces it has {(count + 7) // 8}, and spare bits of 0"
            )
        self.outgoing.append(m.pack_bitfield(bytes(pieces)))

    def _set_pieces_from_bitfield(self, pieces: int) -> None:
        """Take the number of pieces from a bitfield of ours; if the peer's messages imply another one, the
        caller must find out which is wrong."""
        try:
            self.set_pieces(pieces)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"a bitfield of {pieces} pieces, but {error}") from error

    def send_request(self, piece: int, offset: int, length: int, token: Any) -> None:
        """``<len=0013><id=6><index><begin><length>`` (BEP 3). The caller has seen to it that the same request is not
        pending.

        Raises:
            LocalProtocolError: before the handshake, or for a range outside the piece or over 16 KiB.
            PeerChoking: when the peer would not answer.
            PieceNotAvailable: when the pieces of the peer are known, and this one is not among them.
        """
        if length > limits.BLOCK:
            raise LocalProtocolError(f"a request for {length} bytes: at most {limits.BLOCK}")
        if len(self.requests) >= limits.REQUESTS:
            raise LocalProtocolError(f"{limits.REQUESTS} requests are pending: wait for some of them")
        self.check_request(piece, offset, length)
        self.requests[piece, offset, length] = token
        self.outgoing.append(_pack_range(13, c.REQUEST, piece, offset, length))

    def check_request(self, piece: int, offset: int, length: int) -> None:
        """Refuse to ask for a range that does not exist or that the peer would not send. Raises as `send_request`."""
        if self.handshake_sent is None:
            raise LocalProtocolError("cannot send before our handshake: call handshake() first")
        if self.peer_choking and piece not in self.peer_allowed_fast_set:
            raise PeerChoking(f"the peer chokes us: piece {piece} cannot be requested now")
        geometry = self.geometry
        if (
            not geometry.contains(piece, offset, length)
            if geometry is not None
            else offset < 0 or length < 1 or offset + length > _END_OF_OFFSETS or not self.peer_pieces.is_index(piece)
        ):
            raise LocalProtocolError(f"no such range: piece {piece}, offset {offset}, length {length}")
        if not self.peer_pieces.may_have(piece):
            raise PieceNotAvailable(f"the peer does not have piece {piece}")

    def send_requests(self, piece: int, offset: int, end: int, count: int, token: Any) -> int:
        """Request up to `count` blocks of a range, which start at `offset` and end at `end`, as `send_request` does
        one.

        Same as one call of `send_request` for each, at a third of the cost. It stops before a block that is pending
        already.

        Returns:
            Where the next block starts.
        """
        requests = self.requests
        pack = m.RANGE.pack
        packed = []
        size = limits.BLOCK
        count = min(count, limits.REQUESTS - len(requests))
        if count > 0 and offset < end:
            self.check_request(piece, offset, end - offset)
        while count > 0 and offset < end:
            if end - offset < size:
                size = end - offset
            key = (piece, offset, size)
            if key in requests:
                break
            requests[key] = token
            packed.append(pack(13, c.REQUEST, piece, offset, size))
            offset += size
            count -= 1
        if packed:
            self.outgoing.append(b"".join(packed))
        return offset

    def send_cancel(self, piece: int, offset: int, length: int) -> Any:
        """``<len=0013><id=8><index><begin><length>`` (BEP 3), for a pending request.

        Returns:
            Its token, or None if it is not pending: then nothing is sent.
        """
        key = (piece, offset, length)
        token = self.requests.pop(key, NOT_PENDING)
        if token is NOT_PENDING:
            return None
        self._forget(key)
        self.outgoing.append(m.pack_range(c.CANCEL, piece, offset, length))
        return token

    def send_cancels_of_given_up(self) -> None:
        """Cancel what `give_up_request` has ended and what has not come since."""
        for key in self._given_up:
            self._cancel_copies(key)
        self._given_up.clear()

    def _cancel_copies(self, key: RequestKey) -> None:
        """Cancel a request that is not pending, and whose answer may still come."""
        if key not in self.requests and key in self._forgotten:
            self.outgoing.append(m.pack_range(c.CANCEL, *key))

    def give_up_request(self, piece: int, offset: int, length: int) -> Any:
        """End a pending request without telling the peer, which may answer it later: a block that is late may be half
        way here, and a cancel would throw that away.

        Returns:
            Its token, or None if it is not pending.
        """
        token = self.requests.pop((piece, offset, length), NOT_PENDING)
        if token is NOT_PENDING:
            return None
        self._forget((piece, offset, length))
        self._given_up.append((piece, offset, length))
        return token

    def send_piece(self, piece: int, offset: int, block: m.Buffer) -> bool:
        """``<len=0009+X><id=7><index><begin><block>`` (BEP 3), the answer to a pending request of the peer.

        Returns:
            False if the peer does not want it (any more): then nothing is sent.
        """
        size = block.nbytes if type(block) is memoryview else len(block)
        return self.send_block((piece, offset, size), block)

    def send_block(self, key: RequestKey, block: m.Buffer) -> bool:
        """`send_piece`, for a request whose key is at hand; the block is as long as it says."""
        if self.peer_requests.pop(key, NOT_PENDING) is NOT_PENDING:
            return False
        self.unanswered_requests.pop(key, None)
        piece, offset, size = key
        self.outgoing += (m.PIECE_HEADER.pack(9 + size, c.PIECE, piece, offset), block)
        self.uploaded += size
        return True

    def send_port(self, port: int) -> None:
        """``<len=0003><id=9><listen-port>`` (BEP 5)."""
        self._require_handshake()
        if not is_port(port, least=0):
            raise LocalProtocolError(f"port {port}: must be 0 to 65535")
        self.outgoing.append(m.pack_port(port))

    def send_keep_alive(self) -> None:
        """``<len=0000>`` (BEP 3)."""
        self._require_handshake()
        self.outgoing.append(m.KEEP_ALIVE_BYTES)

    def send_suggest(self, piece: int) -> None:
        """``<len=0005><id=13><index>`` (BEP 6)."""
        self._require_fast()
        self._require_piece(piece)
        self.outgoing.append(m.pack_index(c.SUGGEST, piece))

    def send_have_all(self) -> None:
        """``<len=0001><id=14>`` (BEP 6)."""
        self._require_fast()
        self.outgoing.append(m.pack_bare(c.HAVE_ALL))

    def send_have_none(self) -> None:
        """``<len=0001><id=15>`` (BEP 6)."""
        self._require_fast()
        self.outgoing.append(m.pack_bare(c.HAVE_NONE))

    def send_reject(self, piece: int, offset: int, length: int) -> None:
        """``<len=0013><id=16><index><begin><length>`` (BEP 6), for a pending request of the peer; one no longer pending
        is left alone.

        Without the fast extension it is given up silently, as BEP 3 has no word for it.

        Raises:
            LocalProtocolError: without the fast extension, when it is not pending.
        """
        if (piece, offset, length) not in self.peer_requests:
            self._require_fast()
        self.drop_request(piece, offset, length)

    def drop_request(self, piece: int, offset: int, length: int) -> None:
        """Give a pending request of the peer up: rejected with the fast extension, without it silently, as BEP 3 has no
        word for it."""
        if (piece, offset, length) in self.peer_requests:
            self._drop_peer_request((piece, offset, length))

    def send_allowed_fast(self, piece: int) -> None:
        """``<len=0005><id=17><index>`` (BEP 6). The piece's requests are answered even while we choke."""
        self._require_fast()
        self._require_piece(piece)
        self.allowed_fast_set.add(piece)
        self.outgoing.append(m.pack_index(c.ALLOWED_FAST, piece))

    def send_extended_handshake(self) -> None:
        """``<len=0002+X><id=20><0><bencoded dictionary>`` (BEP 10).

        It goes out by itself after the handshake; again when something has changed.
        """
        self._require_extended()
        self.outgoing.append(m.pack_extended(c.EXTENDED_HANDSHAKE, self._extended_handshake_payload()))

    def _extended_handshake_payload(self) -> bytes:
        mapping = {name: number for number, name in self.extended_mapping.items()}
        return write_extended_handshake({**self.extended_handshake, "m": mapping})

    def send_extended(self, name: str, payload: bytes) -> None:
        """``<len=0002+X><id=20><the peer's id for the extension><payload>`` (BEP 10).

        Raises:
            LocalProtocolError: when the peer has not offered, or has switched off, the extension.
        """
        self._require_extended()
        if len(payload) >= limits.MESSAGE:
            raise LocalProtocolError(f"a message of {len(payload)} bytes: at most {limits.MESSAGE - 1}")
        if name not in self.peer_extended_mapping:
            raise LocalProtocolError(f"the peer does not support the extension {name!r}")
        self.outgoing.append(m.pack_extended(self.peer_extended_mapping[name], payload))

    def send_hash_message(self, message_id: int, *fields: Any) -> None:
        """A hash request, hashes or hash reject (BEP 52); see `messages.pack_hash_range` for the fields."""
        self._require_handshake()
        if not self.agreed.v2:
            raise LocalProtocolError("the peers have not agreed on BitTorrent v2")
        _check_hash_message(message_id, *fields)
        self.outgoing.append(m.pack_hash_range(message_id, *fields))

    def _require_handshake(self) -> None:
        if not self.handshake_sent:
            raise LocalProtocolError("cannot send before our handshake: call handshake() first")

    def _require_fast(self) -> None:
        if not self.agreed.fast:
            raise LocalProtocolError("the peers have not agreed on the fast extension (BEP 6)")

    def _require_extended(self) -> None:
        if not self.agreed.extended:
            raise LocalProtocolError("the peers have not agreed on the extension protocol (BEP 10)")

    def _require_piece(self, piece: int) -> None:
        self._require_handshake()
        if not self.peer_pieces.is_index(piece):
            count = self.peer_pieces.count or limits.PIECES
            raise LocalProtocolError(f"piece {piece} does not exist: must be 0 to {count - 1}")

    def _drop_peer_request(self, key: RequestKey) -> None:
        del self.peer_requests[key]
        self.unanswered_requests.pop(key, None)
        self._refuse(key)

    def _refuse(self, key: RequestKey) -> None:
        if self.agreed.fast:
            self.outgoing.append(m.pack_range(c.REJECT, *key))

    def _agree(self) -> None:
        """Once both handshakes are known: find what both sides support, and send the extended handshake."""
        ours, theirs = self.handshake_sent, self.handshake_received
        if not ours or not theirs:
            return
        self.agreed = Extensions(
            dht=ours.extensions.dht and theirs.extensions.dht,
            fast=ours.extensions.fast and theirs.extensions.fast,
            extended=ours.extensions.extended and theirs.extensions.extended,
            # libtorrent does not set the bit where the connection begins with the hash of version 2.
            v2=(ours.extensions.v2 and theirs.extensions.v2) or self.info_hash_v2 in (ours.info_hash, theirs.info_hash),
        )
        if self.agreed.extended:
            self.send_extended_handshake()


def _check_hash_message(message_id: int, pieces_root: bytes, *fields: Any) -> None:
    numbers, hashes = fields[:4], fields[4] if len(fields) > 4 else b""
    good = (
        message_id in (c.HASH_REQUEST, c.HASHES, c.HASH_REJECT)
        and len(pieces_root) == 32
        and all(0 <= number < 1 << 32 for number in numbers)
        and (message_id == c.HASHES or not hashes)
        and len(hashes) % 32 == 0
        and len(hashes) < limits.MESSAGE - 48
    )
    if not good:
        raise LocalProtocolError(
            f"not a hash message of BEP 52: a root of {len(pieces_root)} bytes (must be 32), {numbers} (must be 0 to "
            f"2^32 - 1 each), {len(hashes)} bytes of hashes (must be 32 each, in an answer alone)"
        )
