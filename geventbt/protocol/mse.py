"""Message Stream Encryption (MSE/PE), both sides, without I/O.

Theory. A opens the connection, B accepts it; SKEY is the info hash, which both must know::

    1  A -> B   Ya, PadA
    2  B -> A   Yb, PadB
    3  A -> B   HASH("req1", S), HASH("req2", SKEY) xor HASH("req3", S),
                ENCRYPT(VC, crypto_provide, len(PadC), PadC, len(IA)), ENCRYPT(IA)
    4  B -> A   ENCRYPT(VC, crypto_select, len(PadD), PadD), then the stream by the method selected
    5  A -> B   the stream by the method selected

Ya and Yb are Diffie-Hellman keys of 96 bytes, S the shared secret, VC eight zero bytes, IA the first bytes
of A's stream. The paddings have random lengths of up to 512 bytes; where they end is found by looking for what follows:
B looks for HASH("req1", S), A for the encrypted VC. ENCRYPT is RC4 with the key HASH("keyA", S, SKEY) from A to B and
HASH("keyB", S, SKEY) from B to A; the first 1,024 bytes of each key stream are discarded.

Each side is a generator that reads like the table above: it takes bytes from the buffer, and pauses while there are too
few.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Generator

from geventbt import limits
from geventbt.errors import HandshakeError
from geventbt.protocol.rc4 import Rc4

PLAINTEXT, RC4 = 1, 2
"""The methods: bits of crypto_provide and crypto_select."""

PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
    16,
)
GENERATOR = 2
KEY_LENGTH = 96
_PRIVATE_LENGTH = 20
_HASH_LENGTH = 20
_VC = bytes(8)

_Steps = Generator[None, None, None]
_Bytes = Generator[None, None, bytes]


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha1(b"".join(parts)).digest()


def _padding() -> bytes:
    return secrets.token_bytes(secrets.randbelow(limits.MSE_PADDING + 1))


def req2(info_hash: bytes) -> bytes:
    """The hash that identifies an info hash in an opening; a server keeps a table of these."""
    return _hash(b"req2", info_hash)


class Opening:
    """One side of an encrypted opening. Feed it with `receive` until `done`; send the bytes in `outgoing`.

    Attributes:
        outgoing: bytes to be sent; take them out with `take_outgoing`.
        done: whether the opening is complete, and the stream begins.
        method: `PLAINTEXT` or `RC4`; None until the opening is complete.
        info_hash: of the torrent; None until it is known.
        encryptor, decryptor: for the stream that follows, or None where the method is plaintext.
        payload: bytes of the peer's stream that have arrived already, decrypted.
        key_due: whether the next step is the costly one, which `compute_key` takes instead of `receive`.
    """

    def __init__(self, methods: int) -> None:
        self.outgoing = bytearray()
        self.done = False
        self.method: int | None = None
        self.info_hash: bytes | None = None
        self.encryptor: Rc4 | None = None
        self.decryptor: Rc4 | None = None
        self.payload = b""
        self.key_due = False
        self._methods = methods
        self._private = int.from_bytes(secrets.token_bytes(_PRIVATE_LENGTH), "big")
        self._buffer = bytearray()
        self._steps = self._run()
        self._advance()

    def receive(self, data: bytes | memoryview) -> None:
        """Take the peer's next bytes.

        Raises:
            HandshakeError: the bytes are not an encrypted opening, or the two sides have no method in common.
        """
        self._buffer += data
        if not self.key_due:
            self._advance()
        if not self.done and len(self._buffer) > limits.MSE_BUFFER:
            raise HandshakeError(f"an encrypted opening of more than {limits.MSE_BUFFER} bytes")

    def compute_key(self) -> None:
        """Take the costly step: a Diffie-Hellman exponentiation of about half a millisecond.

        Raises:
            HandshakeError: see `receive`.
        """
        self.key_due = False
        self._advance()

    def take_outgoing(self) -> bytes:
        """The bytes to be sent now."""
        data = bytes(self.outgoing)
        self.outgoing.clear()
        return data

    def _run(self) -> _Steps:
        raise NotImplementedError

    def _advance(self) -> None:
        try:
            next(self._steps)
        except StopIteration:
            self.done = True

    # ------------------------------------------------------------------ steps of both sides

    def _read(self, count: int) -> _Bytes:
        """Take `count` bytes out of the buffer, without decrypting them."""
        while len(self._buffer) < count:
            yield
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _read_decrypted(self, count: int) -> _Bytes:
        assert self.decryptor is not None
        data = yield from self._read(count)
        return self.decryptor.crypt(data)

    def _skip_to(self, mark: bytes) -> _Steps:
        """Discard a padding and the mark that ends it."""
        while (at := self._buffer.find(mark, 0, limits.MSE_PADDING + len(mark))) < 0:
            if len(self._buffer) >= limits.MSE_PADDING + len(mark):
                raise HandshakeError("an encrypted opening without its synchronisation mark")
            yield
        del self._buffer[: at + len(mark)]

    def _skip_padding(self) -> _Steps:
        """Read the length of an encrypted padding, and discard the padding."""
        length = int.from_bytes((yield from self._read_decrypted(2)), "big")
        if length > limits.MSE_PADDING:
            raise HandshakeError(f"an encrypted padding of {length} bytes: must be at most {limits.MSE_PADDING}")
        yield from self._read_decrypted(length)

    def _send_key(self) -> None:
        self.outgoing += pow(GENERATOR, self._private, PRIME).to_bytes(KEY_LENGTH, "big") + _padding()

    def _read_secret(self) -> _Bytes:
        """The shared secret S, from the peer's key; keys that would make S predictable are refused."""
        key = int.from_bytes((yield from self._read(KEY_LENGTH)), "big")
        if not 1 < key < PRIME - 1:
            raise HandshakeError("a Diffie-Hellman key out of range in an encrypted opening")
        self.key_due = True
        yield
        return pow(key, self._private, PRIME).to_bytes(KEY_LENGTH, "big")

    def _begin_stream(self, method: int) -> None:
        """Complete the opening: the rest of the buffer belongs to the stream, encrypted by the method selected."""
        self.method = method
        rest = bytes(self._buffer)
        self._buffer.clear()
        if method == RC4:
            assert self.decryptor is not None
            self.payload += self.decryptor.crypt(rest)
        else:
            self.payload += rest
            self.encryptor = self.decryptor = None


class Initiator(Opening):
    """The side that opens the connection.

    Args:
        info_hash: of the torrent, 20 bytes.
        methods: methods to offer: `PLAINTEXT`, `RC4` or both.
    """

    def __init__(self, info_hash: bytes, methods: int = PLAINTEXT | RC4) -> None:
        self._skey = info_hash
        super().__init__(methods)
        self.info_hash = info_hash

    def _run(self) -> _Steps:
        self._send_key()
        secret = yield from self._read_secret()
        self.encryptor = Rc4(_hash(b"keyA", secret, self._skey))
        self.decryptor = Rc4(_hash(b"keyB", secret, self._skey))
        padding = _padding()
        hidden = int.from_bytes(req2(self._skey), "big") ^ int.from_bytes(_hash(b"req3", secret), "big")
        self.outgoing += _hash(b"req1", secret) + hidden.to_bytes(_HASH_LENGTH, "big")
        offer = _VC + self._methods.to_bytes(4, "big") + len(padding).to_bytes(2, "big") + padding
        self.outgoing += self.encryptor.crypt(offer + bytes(2))
        # The encrypted VC is the key stream itself, which is now eight bytes ahead, where it has to be.
        yield from self._skip_to(self.decryptor.crypt(_VC))
        method = int.from_bytes((yield from self._read_decrypted(4)), "big")
        if method not in (PLAINTEXT, RC4) or not method & self._methods:
            raise HandshakeError(f"the peer selected encryption method {method}: offered were {self._methods}")
        yield from self._skip_padding()
        self._begin_stream(method)


class Responder(Opening):
    """The side that accepts the connection.

    Args:
        find_torrent: called with `req2` of an info hash; returns the info hash, or None for an unknown torrent.
        methods: methods to accept. RC4 is preferred where the peer offers both, as by Transmission and qBittorrent with
            their defaults, and not plaintext, as by a bare libtorrent: after that the stream of messages is as plain
            to see as without an opening. Those who want the speed do not encrypt.
    """

    def __init__(self, find_torrent: Callable[[bytes], bytes | None], methods: int = PLAINTEXT | RC4) -> None:
        self._find_torrent = find_torrent
        super().__init__(methods)

    def _run(self) -> _Steps:
        secret = yield from self._read_secret()
        self._send_key()
        yield from self._skip_to(_hash(b"req1", secret))
        hidden = int.from_bytes((yield from self._read(_HASH_LENGTH)), "big")
        wanted = (hidden ^ int.from_bytes(_hash(b"req3", secret), "big")).to_bytes(_HASH_LENGTH, "big")
        self.info_hash = self._find_torrent(wanted)
        if self.info_hash is None:
            raise HandshakeError("an encrypted opening for an unknown torrent")
        self.decryptor = Rc4(_hash(b"keyA", secret, self.info_hash))
        self.encryptor = Rc4(_hash(b"keyB", secret, self.info_hash))
        if (yield from self._read_decrypted(len(_VC))) != _VC:
            raise HandshakeError("a wrong verification constant in an encrypted opening")
        offered = int.from_bytes((yield from self._read_decrypted(4)), "big")
        yield from self._skip_padding()
        yield from self._read_initial_payload()
        method = next((method for method in (RC4, PLAINTEXT) if method & offered & self._methods), None)
        if method is None:
            raise HandshakeError(f"no common encryption method: offered {offered}, accepted {self._methods}")
        padding = _padding()
        answer = _VC + method.to_bytes(4, "big") + len(padding).to_bytes(2, "big") + padding
        self.outgoing += self.encryptor.crypt(answer)
        self._begin_stream(method)

    def _read_initial_payload(self) -> _Steps:
        """Read IA, which is encrypted with either method."""
        length = int.from_bytes((yield from self._read_decrypted(2)), "big")
        if length > limits.MSE_INITIAL_PAYLOAD:
            raise HandshakeError(f"an initial payload of {length} bytes: must be at most {limits.MSE_INITIAL_PAYLOAD}")
        self.payload = yield from self._read_decrypted(length)
