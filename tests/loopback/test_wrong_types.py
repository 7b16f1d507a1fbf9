"""Every option of every public function refuses what has another type, by its name and at the call."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import nan
from typing import Any

import gevent
import pytest

import geventbt
from tests.loopback.world import World

QUIET: dict[str, Any] = {"dht": False, "lsd": False, "port_mapping": False}
HASH = "ab" * 20
ADDRESS = ("127.0.0.1", 0)
FREE = {
    ("Geometry", "short_pieces"),  # of the package's own making
    ("MemoryBackend", "folder"),  # is there for other backends
    ("Storage", "backend"),  # any object
    ("add", "ends_alone"),  # deprecated names
    ("add", "must_be_complete"),
}
"""What is not checked."""


class Wrong:
    """Something of a type that no option takes."""

    def __repr__(self) -> str:
        return "Wrong()"


@pytest.fixture
def calls(world: World) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """The public functions, and arguments with which each can be called."""
    torrent = world.torrent()
    client = world.client(port=None)
    request = geventbt.AnnounceRequest(b"x" * 20, geventbt.new_peer_id(), 1)
    folder = world.folder / "out"
    unreachable = {"url": "http://127.0.0.1:1/announce"}
    return {
        "connect": (geventbt.connect, {"address": ("127.0.0.1", 1)}),
        "listen": (geventbt.listen, {"address": ADDRESS}),
        "PeerServer": (geventbt.PeerServer, {"address": ADDRESS}),
        "download": (geventbt.download, {"torrent": torrent, "folder": folder, "port": None, **QUIET}),
        "seed": (geventbt.seed, {"torrent": torrent, "data": world.origin, "address": ADDRESS, **QUIET}),
        "fetch_metadata": (geventbt.fetch_metadata, {"magnet": HASH, "dht": False}),
        "inspect_peer": (geventbt.inspect_peer, {"address": ("127.0.0.1", 1), "info_hash": HASH}),
        "Client": (geventbt.Client, {"port": None, **QUIET}),
        "add": (client.add, {"torrent": torrent, "folder": folder}),
        "set_limits": (client.set_limits, {}),
        "rate_group": (client.rate_group, {}),
        "close": (client.close, {}),
        "announce": (geventbt.announce, {**unreachable, "request": request}),
        "scrape": (geventbt.scrape, {**unreachable, "info_hashes": [HASH]}),
        "DHT": (geventbt.DHT, {"host": "127.0.0.1", "routers": ()}),
        "Network": (geventbt.Network, {}),
        "create_torrent": (geventbt.create_torrent, {"path": world.origin / "data"}),
        "Storage": (geventbt.Storage, {"torrent": torrent, "folder": folder}),
        "MemoryBackend": (geventbt.MemoryBackend, {"torrent": torrent}),
        "from_file": (geventbt.Torrent.from_file, {}),
        "from_bytes": (geventbt.Torrent.from_bytes, {}),
        "from_info": (geventbt.Torrent.from_info, {"info_bytes": torrent.info_bytes}),
        "from_string": (geventbt.Magnet.from_string, {}),
        "from_torrent": (geventbt.Magnet.from_torrent, {}),
        "Geometry": (geventbt.Geometry, {"length": 5, "piece_length": 16384}),
        "allowed_fast_set": (
            geventbt.allowed_fast_set,
            {"address": "127.0.0.1", "info_hash": b"x" * 20, "pieces": 100},
        ),
        "client_name": (geventbt.client_name, {}),
    }


def options_of(function: Callable[..., Any]) -> Iterator[str]:
    """The names of all arguments, those that are handed on to a client among them."""
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            yield from ("encryption", "proxy", "interface", "ip_filter", "transport", *QUIET)
        else:
            yield name


def unclear(function: Callable[..., Any], arguments: dict[str, Any], option: str) -> str | None:
    """How a call fails if not by naming the option or its value; None if it does."""
    with ExitStack() as stack, gevent.Timeout(5):
        try:
            made = function(**arguments)
        except (TypeError, ValueError) as error:
            name = option.replace("_", " ?")
            return None if re.search(rf"\b{name}|{re.escape(repr(arguments[option]))}", str(error)) else repr(error)
        except Exception as error:
            return repr(error)
        if hasattr(made, "close"):
            stack.callback(made.close)
        return f"no error, but {made!r}"


@pytest.mark.parametrize("wrong", [Wrong(), nan], ids=["object", "nan"])
def test_what_has_a_wrong_type_is_refused_by_name(calls: dict[str, Any], wrong: Any):
    failures = {}
    for name, (function, arguments) in calls.items():
        for option in options_of(function):
            if (name, option) not in FREE and (error := unclear(function, {**arguments, option: wrong}, option)):
                failures[name, option] = error
    assert failures == {}


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("Client", {"port": "6881"}),
        ("Client", {"limit_down": "1M"}),
        ("Client", {"limit_up": -1}),
        ("Client", {"max_connections": "100"}),
        ("Client", {"upload_slots": 2.5}),
        ("Client", {"dht": "no"}),
        ("Client", {"lsd": "no"}),
        ("add", {"check": "false"}),
        ("add", {"folder": b"out"}),
        ("add", {"max_peers": True}),
        ("download", {"timeout": "5"}),
        ("download", {"stall_timeout": "1m"}),
        ("connect", {"timeout": "5"}),
        ("connect", {"source_address": "127.0.0.1"}),
        ("listen", {"max_per_address": -1}),
        ("seed", {"progress": True}),
        ("create_torrent", {"private": "yes"}),
        ("create_torrent", {"piece_length": "256K"}),
        ("DHT", {"state": 3}),
    ],
    ids=str,
)
def test_what_users_pass_in_place_of_what_is_meant_is_refused_by_name(
    calls: dict[str, Any], function: str, options: dict[str, Any]
):
    call, arguments = calls[function]
    (option,) = options
    assert unclear(call, {**arguments, **options}, option) is None


@pytest.mark.parametrize("wrong", ["5", nan, Wrong()], ids=["text", "nan", "object"])
def test_a_wire_refuses_what_is_not_a_time(wires: Callable[..., Any], wrong: Any):
    wire, peer = wires()
    peer.have_all()
    peer.unchoke()
    wire.wait_unchoked()
    for wait in (
        lambda: wire.request(0, 0, 16384, timeout=wrong),
        lambda: wire.read(0, 0, 16384, timeout=wrong),
        lambda: wire.wait_for("choke", timeout=wrong),
        lambda: wire.set_timeout(wrong),
    ):
        with pytest.raises((TypeError, ValueError), match="a number of seconds is expected"):
            wait()
    assert not wire.requests


@pytest.mark.parametrize("wrong", ["5", nan], ids=["text", "nan"])
def test_what_waits_refuses_what_is_not_a_time(world: World, wrong: Any):
    job = world.client(port=None).add(world.torrent(), world.folder / "out")
    with geventbt.DHT(host="127.0.0.1", routers=()) as dht, geventbt.listen(ADDRESS) as server:
        for wait in (
            lambda: job.wait(wrong),
            lambda: job.wait_metadata(wrong),
            lambda: dht.wait_ready(wrong),
            lambda: dht.get_peers(HASH, wrong),
            lambda: dht.get(HASH, timeout=wrong),
            lambda: dht.put(b"x", timeout=wrong),
            lambda: dht.announce(HASH, 1, timeout=wrong),
            lambda: dht.sample(("127.0.0.1", dht.port), timeout=wrong),
            lambda: server.stop(wrong),
        ):
            with pytest.raises((TypeError, ValueError), match=r"^timeout=.*: a number of seconds is expected"):
                wait()


def test_limits_and_trackers_that_are_set_later_are_checked_as_well(world: World):
    client = world.client(port=None)
    job = client.add(world.torrent(), world.folder / "out")
    changes: list[tuple[str, Callable[[Any], object]]] = [
        ("down", lambda value: client.set_limits(down=value)),
        ("up", lambda value: job.set_limits(up=value)),
        ("max_connections", lambda value: setattr(client, "max_connections", value)),
        ("max_peers", lambda value: setattr(job, "max_peers", value)),
        ("sequential", lambda value: setattr(job, "sequential", value)),
        ("tiers", lambda value: job.set_trackers([value])),
        ("default_trackers", lambda value: setattr(client, "default_trackers", value)),
    ]
    for name, change in changes:
        with pytest.raises(TypeError, match=f"^{name}='1M': "):
            change("1M")


def test_an_address_may_be_a_text(world: World):
    torrent = world.torrent()
    with geventbt.seed(torrent, world.origin, "127.0.0.1:0", **QUIET) as seed:
        address = f"127.0.0.1:{seed.port}"
        with geventbt.connect(address) as wire:
            assert wire.remote_address == ("127.0.0.1", seed.port)
        assert geventbt.inspect_peer(address, torrent.swarm_hash, wait=0).error is None
        job = world.client(port=None).add(torrent, world.folder / "out", peers=[address])
        assert job.wait(20)
    for function in (geventbt.connect, geventbt.listen):
        for wrong in ("localhost", "127.0.0.1:", "::1:6881", "127.0.0.1:65536"):
            with pytest.raises(ValueError, match=f"{wrong}': not host:port, such as"):
                function(wrong)
