"""``python -m geventbt``."""

from geventbt.cli import main

raise SystemExit(main())
