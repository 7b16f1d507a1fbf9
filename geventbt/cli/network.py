"""The network that the options --proxy, --interface and --ip-filter mean."""

from __future__ import annotations

import argparse

import geventbt
from geventbt.cli.errors import CORRUPT, NETWORK, CommandError


def network_of(arguments: argparse.Namespace) -> geventbt.Network:
    """The network of a command with `add_network`; made when it is first needed.

    Raises:
        CommandError: there is no such interface, or the file of ranges is not one.
        OSError: the file of ranges cannot be read.
    """
    made: geventbt.Network | None = getattr(arguments, "network", None)
    if made is None:
        try:
            made = geventbt.Network(proxy=arguments.proxy, interface=arguments.interface, ip_filter=arguments.ip_filter)
        except ValueError as error:
            raise CommandError(CORRUPT, str(error)) from error
        except OSError as error:
            if error.filename is not None:
                raise
            raise CommandError(NETWORK, error.strerror or str(error)) from error
        arguments.network = made
    return made
