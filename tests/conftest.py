"""How many processes run the tests, and the fixtures of the command line's tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import geventbt
from tests.cli_harness import Call, make_origin, make_torrent_file, run_here
from tests.loopback.harness import gevent_listener, release_children

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # So a shell starts what it puts in the background, and so would be all that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nor has any test, or program that one runs, to do with the public nodes of the DHT.
os.environ["GEVENTBT_DHT_ROUTERS"] = ""
# Nor with a router.
os.environ["GEVENTBT_GATEWAY"] = ""
# Nor with other machines of the local network, and parallel tests nothing with each other.
os.environ["GEVENTBT_LSD_INTERFACES"] = ""

WORKERS = 4
"""Processes for a large run, also on two cores: many tests wait for timeouts and for other processes."""
MAX_FILES_ALONE = 3
"""Test files that are run in one process, since starting the workers would take longer than the tests."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run more than a few files in several processes, where pytest-xdist is installed and no -n is given."""
    is_worker = hasattr(config, "workerinput")
    if is_worker or config.option.collectonly or config.option.usepdb or not config.pluginmanager.hasplugin("xdist"):
        return
    if config.option.numprocesses is None and not config.option.tx and count_files(config.args) > MAX_FILES_ALONE:
        config.option.numprocesses = WORKERS
        config.option.dist = "worksteal"


def count_files(arguments: list[str]) -> int:
    """The number of test files that arguments of pytest name, alone or by their folder."""
    paths = {Path(argument.partition("::")[0]) for argument in arguments}
    return sum(len(list(path.rglob("test_*.py"))) if path.is_dir() else 1 for path in paths)


def pytest_configure(config: pytest.Config) -> None:
    """Let the programs and workers of the tests share their bytecode where none is to be written beside the sources:
    some hundred programs would each compile the whole package, and in every run each worker all tests."""
    if not os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        return
    if config.pluginmanager.hasplugin("cacheprovider"):
        folder = str(config.cache.mkdir("bytecode"))
    else:
        folder = tempfile.mkdtemp(prefix="pycache-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["PYTHONPYCACHEPREFIX"] = folder


@pytest.fixture(autouse=True)
def exit_codes_are_kept() -> Iterator[None]:
    """See `release_children`."""
    yield
    release_children()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path)


@pytest.fixture
def torrent_file(tmp_path: Path, origin: Path) -> Path:
    return make_torrent_file(tmp_path, origin)


@pytest.fixture
def seeder(torrent_file: Path, origin: Path) -> Iterator[str]:
    """The address of a seeder."""
    with geventbt.seed(torrent_file, origin, ("127.0.0.1", 0)) as client:
        yield f"127.0.0.1:{client.port}"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs the command in this process. Returns its exit code and what it wrote."""

    def call(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(cwd or Path())
            code = run_here(*arguments)
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return call


@pytest.fixture
def silent_peer() -> Iterator[str]:
    """The address of a peer that takes connections and says nothing."""
    listener = gevent_listener()
    yield "{}:{}".format(*listener.getsockname())
    listener.close()
