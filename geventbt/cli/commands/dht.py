"""``geventbt dht``: peers and items of the DHT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import geventbt
from geventbt.cli import parsing, shared_options, values
from geventbt.cli.errors import CORRUPT, DONE, NETWORK, NOT_FOUND, USAGE, CommandError
from geventbt.cli.interrupt import interruptible
from geventbt.cli.json_lines import emit
from geventbt.cli.network import network_of
from geventbt.cli.running import dht_start
from geventbt.cli.sources import resolve_source
from geventbt.cli.text import counted, human_address, printable

if TYPE_CHECKING:
    from geventbt import DHT

_EXAMPLES = """
geventbt dht peers 0123456789abcdef0123456789abcdef01234567
geventbt dht announce ubuntu.torrent --port 6881
geventbt dht put note.txt
geventbt dht put note.txt --key secret.key --salt notes
geventbt dht get 0123456789abcdef0123456789abcdef01234567
"""
_KEY = 32
_READY_TIMEOUT = 30.0
_LOOK = 0.2
"""Seconds between two looks whether a node may still be found."""


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(commands, "dht", "find peers and keep small items in the DHT", _EXAMPLES)
    parser.add_argument(
        "action",
        choices=tuple(_ACTIONS),
        help="peers: print those of a torrent; announce: be one; get: print an item; put: store one",
    )
    parser.add_argument(
        "what",
        metavar="WHAT",
        help=f"peers, announce: {shared_options.SOURCE}; get: the target of an item, or the public key of a mutable "
        "one; put: a file of at most 996 bytes, or -",
    )
    shared_options.add_dht_nodes(parser)
    shared_options.add_network(parser)
    parser.add_argument("--port", type=values.port, default=0, metavar="N", help="announce: where we take connections")
    parser.add_argument("--seed", action="store_true", help="announce: we have all of the torrent")
    parser.add_argument(
        "--key", metavar="FILE", help="put: the private ed25519 key of a mutable item, 32 bytes or 64 hex characters"
    )
    parser.add_argument("--salt", default="", metavar="TEXT", help="get, put: names one of the items of a key")
    parser.add_argument("--seq", type=values.at_least_one, metavar="N", help="put: of the item (default: the next)")
    parser.add_argument("--cas", type=values.at_least_one, metavar="N", help="put: only in the place of this seq")
    parser.add_argument(
        "--timeout",
        type=values.positive_duration,
        default=30.0,
        metavar="TIME",
        help="how long to search (default: 30)",
    )
    shared_options.add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do one of the actions."""
    prepare, act = _ACTIONS[arguments.action]
    prepared = prepare(arguments)
    with interruptible(), open_dht(arguments) as dht:
        _wait_ready(dht)
        act(dht, prepared, arguments)
    return DONE


def _wait_ready(dht: DHT) -> None:
    """Wait for nodes to ask, as long as any may be found.

    Raises:
        CommandError: there are none.
    """
    ends = monotonic() + _READY_TIMEOUT
    while True:
        try:
            return dht.wait_ready(_LOOK)
        except geventbt.DHTTimeout:
            if not dht.has_prospects or monotonic() >= ends:
                raise CommandError(
                    NETWORK, "no node of the DHT answers; check the network, or name one with --dht-node"
                ) from None


def open_dht(arguments: argparse.Namespace) -> DHT:
    """A node that only asks.

    Raises:
        CommandError: the proxy carries no UDP.
    """
    network = network_of(arguments)
    if not network.carries_udp:
        raise CommandError(USAGE, "the DHT needs UDP, which a proxy of HTTP does not carry; use one of SOCKS5")
    return geventbt.DHT(read_only=True, network=network, **dht_start(arguments.dht_node))


# ---------------------------------------------------------------------- what is needed before the network is


def _read_info_hash(arguments: argparse.Namespace) -> bytes:
    return resolve_source(arguments.what, arguments).swarm_hash


def _read_announce(arguments: argparse.Namespace) -> bytes:
    if not arguments.port:
        raise CommandError(USAGE, "the port on which peers can connect to you is needed; give it with --port")
    return _read_info_hash(arguments)


def _read_target(arguments: argparse.Namespace) -> bytes:
    try:
        target = bytes.fromhex(arguments.what)
    except ValueError:
        target = b""
    if len(target) not in (20, _KEY):
        raise CommandError(
            USAGE, f"{arguments.what!r} is neither a target (40 hex characters) nor a public key (64 hex characters)"
        )
    return target


def _read_value(arguments: argparse.Namespace) -> tuple[bytes, bytes | None]:
    if not arguments.key and (arguments.salt or arguments.seq or arguments.cas):
        raise CommandError(USAGE, "--salt, --seq and --cas are for mutable items, which need a --key")
    value = _read_file(arguments.what)
    key = _read_key(arguments.key) if arguments.key else None
    return value, key


def _read_file(name: str) -> bytes:
    if name == "-":
        if sys.stdin is None:
            raise CommandError(USAGE, "- reads standard input, which is closed: geventbt dht put - < FILE")
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        raise CommandError(NOT_FOUND, f"{name}: there is no such file") from None


def _read_key(name: str) -> bytes:
    data = _read_file(name)
    if len(data) == _KEY:
        return data
    try:
        key = bytes.fromhex(data.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != _KEY:
        raise CommandError(CORRUPT, f"{name}: not a private key of {_KEY} bytes, or {2 * _KEY} hex characters")
    return key


# ---------------------------------------------------------------------- the actions


def _peers(dht: DHT, info_hash: bytes, arguments: argparse.Namespace) -> None:
    found = 0
    for address in dht.get_peers(info_hash, arguments.timeout):
        found += 1
        if arguments.json:
            emit("peer", address=human_address(address))
        else:
            print(human_address(address), flush=True)
    if arguments.json:
        emit("done", peers=found)
    elif not found:
        raise CommandError(NETWORK, f"no node of the DHT knows a peer of {info_hash.hex()}; try again later")


def _announce(dht: DHT, info_hash: bytes, arguments: argparse.Namespace) -> None:
    stored = dht.announce(info_hash, arguments.port, seed=arguments.seed, timeout=arguments.timeout)
    if not stored:
        raise CommandError(NETWORK, f"no node of the DHT has taken the announce of {info_hash.hex()}; try again later")
    if arguments.json:
        emit("announced", info_hash=info_hash.hex(), port=arguments.port, nodes=stored)
    else:
        print(f"announced to {counted(stored, 'node')}; they forget it after about half an hour")


def _get(dht: DHT, target: bytes, arguments: argparse.Namespace) -> None:
    item = dht.get(target, arguments.salt.encode(), arguments.timeout)
    if arguments.json:
        key = None if item.key is None else item.key.hex()
        emit("item", target=item.target.hex(), value=_as_json(item.value), seq=item.seq, key=key)
    elif isinstance(item.value, bytes):
        sys.stdout.buffer.write(item.value)
        sys.stdout.buffer.flush()
    else:
        print(printable(str(_as_json(item.value))))


def _put(dht: DHT, prepared: tuple[bytes, bytes | None], arguments: argparse.Namespace) -> None:
    value, key = prepared
    try:
        put = dht.put(value, key, arguments.salt.encode(), arguments.seq, arguments.cas, arguments.timeout)
    except ValueError as error:
        raise CommandError(USAGE, f"{arguments.what}: {error}") from None
    if not put.stored:
        raise CommandError(NETWORK, "no node of the DHT has taken the item; try again later")
    if arguments.json:
        emit("stored", target=put.target.hex(), nodes=put.stored, seq=put.seq)
    else:
        print(put.target.hex())


_ACTIONS: dict[str, tuple[Any, Any]] = {
    "peers": (_read_info_hash, _peers),
    "announce": (_read_announce, _announce),
    "get": (_read_target, _get),
    "put": (_read_value, _put),
}
"""For each action what it needs to know, and what it does."""


def _as_json(value: Any) -> Any:
    """A value of the DHT in the types of JSON: bytes that are not text as their hex characters behind ``hex:``."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return f"hex:{value.hex()}"
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {_as_json(key): _as_json(item) for key, item in value.items()}
    return value
