"""``python -m geventbt``, and the console script."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line. Ctrl-C while its modules are being loaded leaves no traceback."""
    try:
        from geventbt.cli import run

        return run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    raise SystemExit(main())
