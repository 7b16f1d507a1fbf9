"""Run the tests with every installed Python from 3.10 on, each in a fresh virtual environment.

    python scripts/test_matrix.py
    python scripts/test_matrix.py --python /opt/python3.14/bin/python3.14 -- tests/unit

Arguments after ``--`` are passed to pytest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent
MINORS = range(10, 30)


def find_pythons(named: Iterable[str]) -> dict[str, str]:
    """The interpreters that are named, on the PATH or installed by pyenv, by the version that each reports."""
    on_path = (shutil.which(f"python3.{minor}") for minor in MINORS)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    of_pyenv = map(str, sorted(pyenv.glob("versions/*/bin/python3")))
    found: dict[str, str] = {}
    for path in [*named, *on_path, *of_pyenv, sys.executable]:
        version = version_of(path) if path else None
        if path and version:
            found.setdefault(version, path)
    return found


def version_of(path: str) -> str | None:
    """The version of an interpreter, such as "3.12"; None if it does not run, or is older than 3.10."""
    code = "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))"
    done = subprocess.run([path, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def run_tests(python: str, arguments: list[str]) -> str:
    """Install the package with its test requirements, and run pytest. Returns a description of the result."""
    with tempfile.TemporaryDirectory(prefix="geventbt-matrix-") as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        own = Path(folder, "bin", "python")
        if subprocess.run([own, "-m", "pip", "install", "-q", f"{ROOT}[test]"]).returncode:
            return "cannot be installed"
        code = subprocess.run([own, "-m", "pytest", "-q", *arguments], cwd=ROOT).returncode
        return "passed" if code == 0 else f"failed (pytest exited with {code})"


def main() -> int:
    """Run the tests with each Python, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], metavar="PATH", help="another interpreter; repeatable")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="for pytest, after --")
    options = parser.parse_args()
    pythons = find_pythons(options.python)
    results = {version: run_tests(path, options.arguments) for version, path in pythons.items()}
    for version, result in sorted(results.items(), key=lambda item: int(item[0].partition(".")[2])):
        print(f"Python {version} ({pythons[version]}): {result}")
    return 0 if set(results.values()) == {"passed"} else 1


if __name__ == "__main__":
    sys.exit(main())
