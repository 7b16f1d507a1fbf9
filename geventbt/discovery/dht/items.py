"""Items that the DHT stores: values found by their hash, or by the public key of their signer (BEP 44). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from geventbt import bencoding, limits
from geventbt.discovery.dht.contacts import ID_LENGTH
from geventbt.errors import BencodeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_LENGTH, SIGNATURE_LENGTH = 32, 64


@dataclass(frozen=True, slots=True)
class Item:
    """A value of the DHT.

    Attributes:
        raw: the value as it is bencoded, at most 1,000 bytes.
        key: the public key of its signer, 32 bytes; None for an immutable item.
        salt: names one of the items of a key; at most 64 bytes.
        seq: grows with each change of a mutable item; None for an immutable one.
        signature: of salt, seq and value, 64 bytes; None for an immutable item.
    """

    raw: bytes
    key: bytes | None = None
    salt: bytes = b""
    seq: int | None = None
    signature: bytes | None = None

    @property
    def value(self) -> Any:
        """The value: bytes, an int, or lists and dictionaries of them."""
        return bencoding.decode(self.raw, max_depth=limits.DHT_DEPTH)

    @property
    def target(self) -> bytes:
        """What it is found by: 20 bytes."""
        return sha1(self.raw).digest() if self.key is None else target_of(self.key, self.salt)

    def is_authentic(self) -> bool:
        """Whether it is signed with its key; an immutable item is what its target says."""
        if self.key is None:
            return True
        if self.seq is None or self.signature is None:
            return False
        # Only now, as below: 6 MiB, and few nodes are ever asked for a mutable item.
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(
                self.signature, signed_text(self.raw, self.seq, self.salt)
            )
        except (InvalidSignature, ValueError):
            return False
        return True


def target_of(key: bytes, salt: bytes = b"") -> bytes:
    """The target of a mutable item: the SHA-1 of its public key and its salt."""
    return sha1(key + salt).digest()


def public_key_of(seed: bytes) -> bytes:
    """The public key of a private one.

    Raises:
        ValueError: the private key is not 32 bytes.
    """
    return _private_key(seed).public_key().public_bytes_raw()


def encode_value(value: Any) -> bytes:
    """A value as it is stored.

    Raises:
        TypeError: it cannot be bencoded.
        ValueError: it is longer than 1,000 bytes, or nested too deeply.
    """
    raw = bencoding.encode(value)
    if len(raw) > limits.DHT_VALUE:
        raise ValueError(f"a value of {len(raw)} bytes bencoded: nodes store at most {limits.DHT_VALUE}")
    if not is_canonical(raw):
        raise ValueError("a value that is nested too deeply, or has an integer of more than 20 digits")
    return raw


def is_canonical(raw: bytes) -> bool:
    """Whether bytes are bencoded in the one form that every reader gives back: keys sorted, and within our bounds."""
    try:
        decoded = bencoding.decode(raw, max_depth=limits.DHT_DEPTH, max_tokens=limits.DHT_TOKENS)
        return bencoding.encode(decoded) == raw
    except (BencodeError, TypeError):
        # An integer that is too long is read as None, which cannot be written.
        return False


def sign(value: Any, seed: bytes, seq: int, salt: bytes = b"") -> Item:
    """Make a mutable item.

    Args:
        value: of any type that can be bencoded, at most 1,000 bytes then.
        seed: the private key, 32 bytes.
        seq: greater than that of the item in whose place it comes.
        salt: names it among the items of the key.

    Raises:
        TypeError, ValueError: see `encode_value`; or the key, seq or salt is not what it must be.
    """
    check_salt(salt)
    if not 0 <= seq <= limits.DHT_MAX_SEQ:
        raise ValueError(f"seq {seq}: must be from 0 to {limits.DHT_MAX_SEQ}")
    raw = encode_value(value)
    key = _private_key(seed)
    return Item(raw, key.public_key().public_bytes_raw(), salt, seq, key.sign(signed_text(raw, seq, salt)))


def check_salt(salt: bytes) -> None:
    """Refuse a salt that nodes do not take.

    Raises:
        ValueError: it is longer than 64 bytes.
    """
    if len(salt) > limits.DHT_SALT:
        raise ValueError(f"a salt of {len(salt)} bytes: must be at most {limits.DHT_SALT}")


def item_target(named: bytes | str, salt: bytes) -> bytes:
    """The target of an item, by it or by the public key of a mutable one, as bytes or as hex; see `DHT.get`.

    Raises:
        ValueError: it is neither.
    """
    try:
        data = bytes.fromhex(named) if isinstance(named, str) else bytes(named)
    except ValueError:
        raise ValueError(f"{named!r} is neither the target nor the public key of an item: not hex") from None
    if len(data) == KEY_LENGTH:
        return target_of(data, salt)
    if len(data) != ID_LENGTH:
        raise ValueError(f"{len(data)} bytes are neither the target of an item (20) nor a public key (32)")
    return data


def signed_text(raw: bytes, seq: int, salt: bytes = b"") -> bytes:
    """What the signature of a mutable item is of: its salt if there is any, its seq and its value, as in a dictionary.

    ::

        4:salt6:foobar3:seqi4e1:v12:Hello world!
    """
    salted = b"4:salt%d:%b" % (len(salt), salt) if salt else b""
    return b"%b3:seqi%de1:v%b" % (salted, seq, raw)


def _private_key(seed: bytes) -> Ed25519PrivateKey:
    if len(seed) != KEY_LENGTH:
        raise ValueError(f"a private key of {len(seed)} bytes: must be {KEY_LENGTH}")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed)
