"""What all processes of ``geventbt seed`` do alike: the options of their client, and of the torrent."""

from __future__ import annotations

import argparse
from typing import Any

import geventbt
from geventbt.cli.backends import backend_of

SHARED = ("max_peers", "limit_up", "limit_down")
"""Options for all processes together."""


def share_of(arguments: argparse.Namespace) -> argparse.Namespace:
    """The options as they hold for each of the workers: an equal share of what is for all together."""
    share = argparse.Namespace(**vars(arguments))
    for name in SHARED:
        value = getattr(arguments, name)
        setattr(share, name, None if value is None else -(-value // arguments.workers))
    if arguments.workers > 1:
        # Each is a seed beside others, though it does not see them.
        share.super_seed = bool(arguments.super_seed)
    return share


def seed_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of the client that seeds."""
    return {
        "host": arguments.host,
        "encryption": arguments.encryption,
        "upload_slots": None,
        "max_connections": arguments.max_peers,
        "limit_down": arguments.limit_down,
        "limit_up": arguments.limit_up,
        # All peers may come through a tunnel or proxy of this machine.
        "exempt_loopback": True,
    }


def add_to_seed(
    client: geventbt.Client, torrent: geventbt.Torrent, place: str, arguments: argparse.Namespace, **options: Any
) -> geventbt.ActiveTorrent:
    """Add the torrent to the client that seeds; see `geventbt.Client.add`."""
    return client.add(
        torrent,
        place,
        max_peers=arguments.max_peers,
        super_seeding=arguments.super_seed,
        storage=backend_of(place, arguments),
        seed_only=True,
        **options,
    )
