"""``python -m geventbt``."""

from geventbt.cli import run

raise SystemExit(run())
