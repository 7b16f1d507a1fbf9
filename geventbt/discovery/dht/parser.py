"""From a datagram to a message of the DHT: every field is checked here, once (BEP 5, 32, 33, 42, 43, 44, 51). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventbt import bencoding, limits
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import ID_LENGTH, IPV4, IPV6, Contact, unpack_address, unpack_contacts
from geventbt.discovery.dht.items import KEY_LENGTH, SIGNATURE_LENGTH, Item, is_canonical
from geventbt.discovery.dht.peer_filter import PeerFilter
from geventbt.errors import BencodeError
from geventbt.net.addresses import Address, is_port
from geventbt.net.text import clean_text

_TRANSACTION_ID = 32
_FAMILIES = {b"n4": IPV4, b"n6": IPV6}


class NotAMessage(ValueError):
    """A datagram that no node of the DHT sends. It is not answered."""


class BadQuery(ValueError):
    """A query that can be answered only with an error.

    Args:
        transaction_id: of the query.
        code: of the error (BEP 5, 44).
        text: of the error.
    """

    def __init__(self, transaction_id: bytes, code: int, text: str) -> None:
        super().__init__(text)
        self.transaction_id = transaction_id
        self.code = code
        self.text = text


class _BadField(ValueError):
    def __init__(self, text: str, code: int = m.PROTOCOL_ERROR) -> None:
        super().__init__(text)
        self.code = code


def parse(data: bytes) -> m.Query | m.Reply | m.Failure:
    """Read a datagram.

    Raises:
        NotAMessage: it is not a message, or its sender cannot be answered.
        BadQuery: it is a query with wrong arguments, or of an unknown method.
    """
    if not 0 < len(data) <= limits.DHT_PACKET or not (data.startswith(b"d") and data.endswith(b"e")):
        raise NotAMessage("not a dictionary of a length that is read")
    try:
        message = bencoding.decode(data, max_tokens=limits.DHT_TOKENS, max_depth=limits.DHT_DEPTH)
    except BencodeError as error:
        raise NotAMessage(str(error)) from None
    transaction_id = message.get(b"t")
    if not isinstance(transaction_id, bytes) or not 0 < len(transaction_id) <= _TRANSACTION_ID:
        raise NotAMessage("no transaction id")
    kind = message.get(b"y")
    if kind == b"q":
        return _query(transaction_id, message, data)
    if kind == b"r":
        return _reply(transaction_id, message, data)
    if kind == b"e":
        return _failure(transaction_id, message)
    raise NotAMessage("neither a query nor an answer")


# ---------------------------------------------------------------------- queries


def _query(transaction_id: bytes, message: dict[bytes, Any], data: bytes) -> m.Query:
    arguments, method = message.get(b"a"), message.get(b"q")
    if not isinstance(arguments, dict) or not isinstance(method, bytes):
        raise NotAMessage("a query without a method or arguments")
    try:
        node_id = _string(arguments, b"id", ID_LENGTH)
        request = _request(method, arguments, data)
    except _BadField as error:
        raise BadQuery(transaction_id, error.code, str(error)) from None
    return m.Query(transaction_id, node_id, request, message.get(b"ro") == 1)


def _request(method: bytes, arguments: dict[bytes, Any], data: bytes) -> m.Request:
    read = _METHODS.get(method)
    if read is not None:
        return read(arguments)
    if method == b"put":
        return _put(arguments, data)
    for key in (b"target", b"info_hash"):
        # So other clients answer what they do not know, which leaves lookups of new methods their way.
        if isinstance(arguments.get(key), bytes) and len(arguments[key]) == ID_LENGTH:
            return m.FindNode(arguments[key], _want(arguments))
    raise _BadField("unknown method", m.UNKNOWN_METHOD)


def _find_node(arguments: dict[bytes, Any]) -> m.Request:
    return m.FindNode(_string(arguments, b"target", ID_LENGTH), _want(arguments))


def _get_peers(arguments: dict[bytes, Any]) -> m.Request:
    info_hash = _string(arguments, b"info_hash", ID_LENGTH)
    no_seeds, scrape = arguments.get(b"noseed") == 1, arguments.get(b"scrape") == 1
    return m.GetPeers(info_hash, _want(arguments), no_seeds, scrape)


def _announce_peer(arguments: dict[bytes, Any]) -> m.Request:
    implied_port = _is_set(arguments.get(b"implied_port"))
    port = arguments.get(b"port")
    if not is_port(port):
        if not implied_port:
            raise _BadField("invalid port")
        port = 0
    return m.AnnouncePeer(
        _string(arguments, b"info_hash", ID_LENGTH),
        port,
        _token(arguments),
        implied_port,
        arguments.get(b"seed") == 1,
    )


def _get(arguments: dict[bytes, Any]) -> m.Request:
    return m.Get(_string(arguments, b"target", ID_LENGTH), _seq(arguments.get(b"seq")), _want(arguments))


def _put(arguments: dict[bytes, Any], data: bytes) -> m.Request:
    raw = _raw_value(data, b"a")
    if raw is None:
        raise _BadField("no value")
    if len(raw) > limits.DHT_VALUE:
        raise _BadField("value too big", m.VALUE_TOO_BIG)
    if not is_canonical(raw):
        raise _BadField("value is not bencoded in the canonical form")
    token = _token(arguments)
    if b"k" not in arguments:
        return m.PutItem(Item(raw), token)
    key, signature = _string(arguments, b"k", KEY_LENGTH), _string(arguments, b"sig", SIGNATURE_LENGTH)
    salt = arguments.get(b"salt", b"")
    if not isinstance(salt, bytes):
        raise _BadField("invalid salt")
    if len(salt) > limits.DHT_SALT:
        raise _BadField("salt too big", m.SALT_TOO_BIG)
    seq = _seq(arguments.get(b"seq"))
    if seq is None:
        raise _BadField("invalid seq")
    return m.PutItem(Item(raw, key, salt, seq, signature), token, _seq(arguments.get(b"cas")))


def _sample(arguments: dict[bytes, Any]) -> m.Request:
    return m.SampleInfoHashes(_string(arguments, b"target", ID_LENGTH), _want(arguments))


def _ping(arguments: dict[bytes, Any]) -> m.Request:
    return m.Ping()


_METHODS: dict[bytes, Callable[[dict[bytes, Any]], m.Request]] = {
    b"ping": _ping,
    b"find_node": _find_node,
    b"get_peers": _get_peers,
    b"announce_peer": _announce_peer,
    b"get": _get,
    b"sample_infohashes": _sample,
}


# ---------------------------------------------------------------------- answers


def _reply(transaction_id: bytes, message: dict[bytes, Any], data: bytes) -> m.Reply:
    values = message.get(b"r")
    if not isinstance(values, dict):
        raise NotAMessage("a reply without values")
    node_id = values.get(b"id")
    if not isinstance(node_id, bytes) or len(node_id) != ID_LENGTH:
        raise NotAMessage("a reply without an id")
    seconds, count = values.get(b"interval"), values.get(b"num")
    return m.Reply(
        transaction_id,
        node_id,
        nodes=_nodes(values),
        peers=_peers(values.get(b"values")),
        token=_reply_token(values.get(b"token")),
        seeds=_filter(values.get(b"BFsd")),
        others=_filter(values.get(b"BFpe")),
        item=_item(values, data) if b"v" in values else None,
        seq=_seq(values.get(b"seq")),
        samples=_samples(values.get(b"samples")),
        sample_count=_bounded(count),
        sample_interval=_bounded(seconds),
        own_address=_own_address(message.get(b"ip")),
    )


def _failure(transaction_id: bytes, message: dict[bytes, Any]) -> m.Failure:
    error = message.get(b"e")
    if isinstance(error, list) and len(error) >= 2:
        code, text = error[:2]
        if isinstance(code, int) and isinstance(text, bytes):
            return m.Failure(transaction_id, min(max(code, 0), 10_000), clean_text(text))
    # Some nodes send the text alone, or nothing; it is an error all the same.
    return m.Failure(transaction_id, m.GENERIC_ERROR, clean_text(error) if isinstance(error, bytes) else "")


def _nodes(values: dict[bytes, Any]) -> list[Contact]:
    found: list[Contact] = []
    for key, family in ((b"nodes", IPV4), (b"nodes6", IPV6)):
        packed = values.get(key)
        if isinstance(packed, bytes):
            found.extend(unpack_contacts(packed, family))
    return found


def _peers(packed: Any) -> list[Address]:
    if not isinstance(packed, list):
        return []
    found = [unpack_address(value) for value in packed[: limits.DHT_PEERS_OF_ANSWER] if isinstance(value, bytes)]
    return [address for address in found if address is not None]


def _item(values: dict[bytes, Any], data: bytes) -> Item | None:
    raw = _raw_value(data, b"r")
    if raw is None or len(raw) > limits.DHT_VALUE:
        return None
    key, signature, seq = values.get(b"k"), values.get(b"sig"), _seq(values.get(b"seq"))
    if key is None:
        return Item(raw)
    is_key = isinstance(key, bytes) and len(key) == KEY_LENGTH
    is_signature = isinstance(signature, bytes) and len(signature) == SIGNATURE_LENGTH
    return Item(raw, key, b"", seq, signature) if is_key and is_signature and seq is not None else None


def _samples(packed: Any) -> tuple[bytes, ...] | None:
    if not isinstance(packed, bytes):
        return None
    end = len(packed) - len(packed) % ID_LENGTH
    return tuple(packed[at : at + ID_LENGTH] for at in range(0, end, ID_LENGTH))


def _filter(packed: Any) -> PeerFilter | None:
    try:
        return PeerFilter(packed) if isinstance(packed, bytes) else None
    except ValueError:
        return None


def _own_address(packed: Any) -> Address | None:
    return unpack_address(packed) if isinstance(packed, bytes) else None


def _reply_token(token: Any) -> bytes | None:
    return token if isinstance(token, bytes) and 0 < len(token) <= limits.DHT_TOKEN else None


# ---------------------------------------------------------------------- fields


def _string(fields: dict[bytes, Any], key: bytes, length: int) -> bytes:
    value = fields.get(key)
    if not isinstance(value, bytes) or len(value) != length:
        raise _BadField(f"invalid {key.decode()}")
    return value


def _token(fields: dict[bytes, Any]) -> bytes:
    value = fields.get(b"token")
    if not isinstance(value, bytes):
        raise _BadField("invalid token")
    return value


def _want(fields: dict[bytes, Any]) -> m.Want:
    names = fields.get(b"want")
    if not isinstance(names, list):
        return frozenset()
    return frozenset(_FAMILIES[name] for name in names[:8] if isinstance(name, bytes) and name in _FAMILIES)


def _seq(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= limits.DHT_MAX_SEQ else None


def _is_set(value: Any) -> bool:
    return isinstance(value, int) and value != 0


def _bounded(value: Any) -> int:
    return min(max(value, 0), 1 << 31) if isinstance(value, int) else 0


def _raw_value(data: bytes, container: bytes) -> bytes | None:
    """The bytes of ``v`` within a dictionary of the message, as they came: hashes and signatures are of those."""
    outer = _range_of(data, container)
    if outer is None:
        return None
    inside = data[outer[0] : outer[1]]
    inner = _range_of(inside, b"v")
    return None if inner is None else inside[inner[0] : inner[1]]


def _range_of(data: bytes, key: bytes) -> tuple[int, int] | None:
    """Where the value of a key of a dictionary starts and ends; None if there is no such key."""
    found = bencoding.decode_dictionary(data, max_tokens=limits.DHT_TOKENS, max_depth=limits.DHT_DEPTH)
    return found.ranges.get(key)
