"""Time hole punching (BEP 55) over an emulated network: two clients behind routers, and a relay, of every kind.

    python scripts/punch_holes.py --repeat 5 --delay 50 --loss 2

For each kind of relay, and each time: seconds from when one client is told of the relay, which the other is connected
to, until both are connected with each other, and which of them says that the relay arranged it. At first the one is
told of the other alone, and cannot connect. Needs root and gcc, and libtorrent for a relay of that kind.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from wan.wan import Host, Wan, missing_requirement

from tests.wan.programs import Program, Swarm

PATIENCE = 180.0
"""Seconds; libtorrent tells peers of each other once a minute."""


def punch(relay_kind: str, delay: float, loss: float) -> str:
    """One connection, as a line of text."""
    line: dict[str, Any] = {"delay": delay, "loss": loss}
    with (
        tempfile.TemporaryDirectory() as folder,
        Wan(Host("relay", **line), Host("near", nat=True, **line), Host("far", nat=True, **line)) as wan,
    ):
        swarm = Swarm(wan, Path(folder), 3_000_000)
        # libtorrent finds only peers of uTP by the address at which they listen.
        options = ("--transport", "utp" if relay_kind == "libtorrent" else "both")
        try:
            relay = swarm.leech("relay", relay_kind, "--rate", "10000")
            # Or it would connect by itself, as soon as it hears of the other one.
            deaf = "--limit", "PEX_PEERS=0"
            near, far = swarm.leech("near", "geventbt", *options), swarm.seed("far", "geventbt", *options, *deaf)
            far.connect(relay)
            far.until(lambda: far.peer(relay), PATIENCE)
            near.connect(far)
            near.until(lambda: "no connection to {}:{}".format(*far.address) in near.log.read_text(), PATIENCE)
            near.connect(relay)
            started = time.monotonic()
            transport, _ = near.until(lambda: near.peer(far), PATIENCE)
            passed = time.monotonic() - started
            time.sleep(1 + 0.01 * delay)
            said = [name for name, one, other in (("near", near, far), ("far", far, near)) if _is_punched(one, other)]
        finally:
            swarm.end()
    return f"{passed:6.1f} s, over {transport}; by the relay say: {', '.join(said) or 'none'}"


def _is_punched(one: Program, other: Program) -> bool:
    _, sources = one.peer(other) or ("", ())
    return "holepunch" in sources


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--delay", type=float, default=20, help="of each host, in ms")
    parser.add_argument("--loss", type=float, default=0, help="of each host, in percent")
    parser.add_argument("--relays", default="geventbt,libtorrent")
    arguments = parser.parse_args()
    reason = missing_requirement()
    if reason is not None:
        sys.exit(reason)
    for kind in arguments.relays.split(","):
        for _ in range(arguments.repeat):
            print(f"{kind}: {punch(kind, arguments.delay, arguments.loss)}", flush=True)


if __name__ == "__main__":
    main()
