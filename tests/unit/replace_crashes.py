"""Kill `replace_file` at every call that changes the disk, and see what a restart finds.

Run as a program, see `tests.crashes`. Its argument is an empty folder. It prints how many changes there are.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from geventbt.concurrency.replace_file import replace_file
from tests.crashes import Fuse, in_child

OLD, NEW, NEXT = b"old" * 100_000, b"new" * 50_000, b"next"


def kill_everywhere(folder: Path) -> int:
    """Kill it at its first change, at the next one, and so on. Returns how many it has."""
    path = folder / "file"
    count = 0
    while True:
        path.write_bytes(OLD)

        def work(count: int = count) -> None:
            Fuse(count)
            replace_file(path, NEW)

        code = in_child(work)
        assert code in (0, -signal.SIGKILL), f"failed before change {count}"
        assert path.read_bytes() in ((NEW,) if code == 0 else (OLD, NEW)), f"not whole after a kill at change {count}"
        assert len(list(folder.iterdir())) <= 2, f"more than one file left after a kill at change {count}"
        replace_file(path, NEXT)
        assert path.read_bytes() == NEXT
        assert list(folder.iterdir()) == [path], f"left after a kill at change {count}, and a next write"
        if code == 0:
            return count
        count += 1


if __name__ == "__main__":
    print(kill_everywhere(Path(sys.argv[1])))
