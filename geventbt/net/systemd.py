"""What systemd passes to a service and wants to know of it, without its library: sd_notify(3) and sd_listen_fds(3)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, MutableMapping

from gevent import socket

_FIRST = 3
"""The descriptor of the first socket that is passed."""


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell the manager of the service something; nothing happens where there is none.

    Args:
        lines: such as "READY=1".
        environment: names the socket.

    Returns:
        Whether it could be sent.
    """
    name = environment.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return False
    path = f"\0{name[1:]}" if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(path)
            sock.send("\n".join(lines).encode())
    except OSError:
        return False
    return True


def notify_reloading(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell it that the configuration is being read again; "READY=1" ends that."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return notify("RELOADING=1", f"MONOTONIC_USEC={now}", environment=environment)


def watchdog_interval(environment: Mapping[str, str] = os.environ) -> float | None:
    """Seconds within which it wants a sign of life, again and again; None if it does not."""
    text, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    is_ours = not process or process == str(os.getpid())
    return int(text) / 1e6 if text.isdecimal() and int(text) and is_ours else None


def passed_sockets(environment: MutableMapping[str, str] = os.environ) -> list[tuple[str, socket.socket]]:
    """The listening sockets that were passed to this process, with their names. They are passed once: the environment
    names none any more.

    Args:
        environment: says how many there are.
    """
    process = environment.pop("LISTEN_PID", "")
    count, names = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_FDNAMES", "").split(":")
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for at in range(int(count)):
        descriptor = _FIRST + at
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        found.append((names[at] if at < len(names) else "", sock))
    return found
