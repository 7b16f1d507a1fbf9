"""Run the client of a command, from its port to Ctrl-C; shared by several commands."""

from __future__ import annotations

import argparse
import errno
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import geventbt
from geventbt.cli.errors import NETWORK, CommandError, Interrupted, Stopped
from geventbt.cli.interrupt import interruptible
from geventbt.cli.network import network_of
from geventbt.cli.state import dht_state
from geventbt.cli.text import human_address, human_size

_ORDER = ("downloading", "paused", "failed", "removed", "checking", "metadata", "seeding")
"""The states of torrents, the one first that says most of how to go on."""
_BUSY = {
    errno.EADDRINUSE: "is in use; choose another one with --port, or --port 0 for any free one",
    errno.EADDRNOTAVAIL: "is not an address of this machine; choose another one with --host",
    errno.EACCES: "needs administrator rights; choose one above 1023 with --port",
}


def discovery_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of `running_client` for finding peers, of a command with `add_sources_of_peers`."""
    return {
        "dht": not arguments.no_dht,
        "dht_nodes": arguments.dht_node,
        "lsd": not arguments.no_lsd,
        "port_mapping": not arguments.no_port_mapping,
        "network": network_of(arguments),
        "transport": arguments.transport,
    }


def shared_limits(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of a client for all torrents of the command together, of a command with `add_traffic`."""
    return {
        "limit_down": arguments.limit_down,
        "limit_up": arguments.limit_up,
        "max_connections": arguments.max_peers,
    }


@contextmanager
def running_client(
    port: int | None = None,
    *,
    host: str = "",
    is_kept: bool = True,
    dht: bool = True,
    dht_nodes: Sequence[tuple[str, int]] = (),
    network: geventbt.Network | None = None,
    **options: object,
) -> Iterator[geventbt.Client]:
    """A client, which a signal leaves cleanly: once with what is verified on disk and recorded, twice at once.

    Args:
        port: to listen on; 0 takes a free one, None does not listen.
        host: the address to listen on.
        is_kept: whether the downloaded data is kept after the command.
        dht: whether to use the DHT.
        dht_nodes: nodes of the DHT to begin with, in place of the public ones.
        network: opens all sockets; None for the network as it is.
        options: see `geventbt.Client`.

    Raises:
        CommandError: the port cannot be listened on.
        Interrupted: by Ctrl-C, SIGTERM or SIGHUP.
    """
    with interruptible(), ExitStack() as stack:
        try:
            network = network or geventbt.Network()
            has_dht = dht and network.carries_udp
            node = stack.enter_context(open_dht(port, host, dht_nodes, network)) if has_dht else False
            client = geventbt.Client(port, host=host, dht=node, network=network, **options)  # type: ignore[arg-type]
        except OSError as error:
            raise busy_port(error, host, port) from error
        with client:
            try:
                yield client
            except Stopped as stopped:
                raise _interrupted(client, is_kept, stopped.code) from None


def busy_port(error: OSError, host: str, port: int | None) -> CommandError:
    """The error of a command that cannot listen on its port."""
    what = _BUSY.get(error.errno or 0, f"cannot be listened on: {error.strerror or error}")
    where = f"port {port}" if not host else human_address((host, port or 0))
    return CommandError(NETWORK, f"{where} {what}")


def open_dht(
    port: int | None,
    host: str,
    nodes: Sequence[tuple[str, int]],
    network: geventbt.Network,
    state: Path | None = None,
) -> geventbt.DHT:
    """A node of the DHT: on the UDP port with the number of the TCP port, if that is free.

    Args:
        port: the TCP port; None if there is none.
        host: the address to listen on.
        nodes: to begin with, in place of the public ones.
        state: the file for its id and nodes; None for that of the user.

    Raises:
        OSError: the host is not an address of this machine.
    """
    options: dict[str, Any] = {"read_only": port is None, "network": network, **dht_start(nodes)}
    if state is not None and options.get("state") is not None:
        options["state"] = state
    try:
        return geventbt.DHT(port or 0, host, **options)
    except OSError:
        return geventbt.DHT(0, host, **options)


def dht_start(nodes: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """The options of a `geventbt.DHT` for its first nodes: those that are given, or the public ones and those of the
    last run."""
    return {"nodes": nodes, "routers": ()} if nodes else {"state": dht_state()}


def _interrupted(client: geventbt.Client, is_kept: bool, code: int) -> Interrupted:
    """What is known, and how to go on, before all of it is left, which takes a moment."""
    found = [torrent.progress for torrent in client.torrents.values()]
    if not found:
        return Interrupted(code=code)
    done, wanted = sum(progress.done for progress in found), sum(progress.wanted for progress in found)
    # The one that is least far tells how to go on.
    behind = min(found, key=lambda progress: (_ORDER.index(progress.state), -progress.wanted))
    text = _how_to_resume(behind, done, wanted) if is_kept else ""
    return Interrupted(text, done if wanted else None, wanted if wanted else None, code=code)


def _how_to_resume(progress: geventbt.Progress, done: int, wanted: int) -> str:
    if progress.state == "metadata":
        return "nothing has been received yet; run the same command to start again"
    if progress.state == "checking":
        return "what is there is kept; run the same command again to resume"
    if progress.state == "seeding":
        return "run the same command to seed again"
    return f"{human_size(done)} of {human_size(wanted)} are kept; run the same command again to resume"
