"""Commands on disks that fail, at random: each breaks no rule of `tests/faulty_disk.py`, or is printed.

    python scripts/fuzz_disk.py --cases 300 [--seed 1] [--command download]

It needs gcc and Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.faulty_disk import COMMANDS, Fault, Stage, compiled


def main() -> int:
    """Run the cases. Returns whether any broke a rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--command", choices=COMMANDS, help="only this one")
    options = parser.parse_args()
    os.environ |= {"GEVENTBT_DHT_ROUTERS": "", "GEVENTBT_GATEWAY": "", "GEVENTBT_LSD_INTERFACES": ""}
    choose = random.Random(options.seed)
    tried: Counter[str] = Counter()
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        library = compiled(Path(folder))
        if library is None:
            sys.exit("there is no gcc here, or this is not Linux of 64 bits")
        for number in range(options.cases):
            name, fault = options.command or choose.choice(list(COMMANDS)), Fault.drawn(choose)
            home = Path(folder, str(number))
            home.mkdir()
            stage = Stage(home, library)
            try:
                COMMANDS[name](stage, fault)
            except Exception:
                broken += 1
                print(f"\n{name} {fault}\n{traceback.format_exc()}", flush=True)
            tried[f"{name} {'failed' if stage.has_failed else 'untouched'}"] += 1
    print(f"seed {options.seed}: {broken} of {options.cases} broke a rule; {dict(sorted(tried.items()))}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
