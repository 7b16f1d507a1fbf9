"""``geventbt seed --workers N``: processes that serve the same torrent on the same port, to use more than one core.

The command itself is the first of them: it has checked the data, and announces. The others only serve; they share no
state, and trust what the first has recorded. They are started as new programs, for a process whose hub runs must not be
forked, and are kept in a session of their own: Ctrl-C on the terminal ends the command, and the command ends them.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any

import gevent
from gevent import subprocess

import geventbt
from geventbt.cli.messages import what_happened
from geventbt.cli.seeding import SHARED
from geventbt.cli.text import human_time, say
from geventbt.client.peers.backoff import backoff

_FIRST_RETRY, _MAX_RETRY = 1.0, 60.0
_SETTLED = 60.0
"""Seconds after which a worker that ends counts as one that had worked."""
_STOP_TIMEOUT = 10.0


def job_of(arguments: argparse.Namespace, torrent: geventbt.Torrent, place: str, port: int) -> bytes:
    """What a worker needs to know, as a line.

    Args:
        arguments: of the command, as they hold for one worker; see `geventbt.cli.seeding.share_of`.
        torrent: the torrent.
        place: the folder of its data, or the URL of a store.
        port: the port.
    """
    names = ("host", "interface", "ip_filter", "encryption", "super_seed", *SHARED)
    options = {name: getattr(arguments, name) for name in names}
    # It tells no tracker of itself.
    metainfo = b64encode(replace(torrent, trackers=()).to_bytes()).decode()
    return json.dumps({"torrent": metainfo, "place": place, "port": port, "proxy": None, **options}).encode() + b"\n"


class Workers:
    """Worker processes, each of which is started anew when it ends. A context manager: at its end they are stopped.

    Args:
        count: how many.
        job: what each is to do; see `job_of`.
        torrent: counts what they do as its own.
    """

    def __init__(self, count: int, job: bytes, torrent: geventbt.ActiveTorrent) -> None:
        self._torrent = torrent
        self._slots = [_Slot(number, job, self._count) for number in range(2, count + 2)]

    def _count(self) -> None:
        slots = self._slots
        self._torrent.count_elsewhere(
            uploaded=sum(slot.uploaded for slot in slots),
            upload_speed=sum(slot.upload_speed for slot in slots),
            peers=sum(slot.peers for slot in slots),
        )

    def __enter__(self) -> Workers:
        for slot in self._slots:
            slot.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        gevent.joinall([gevent.spawn(slot.stop) for slot in self._slots])


class _Slot:
    """One worker, and those that take its place.

    Attributes:
        uploaded: bytes that all of them have sent.
        upload_speed, peers: of the one that runs now.
    """

    def __init__(self, number: int, job: bytes, on_report: Callable[[], object]) -> None:
        self.uploaded = self.peers = 0
        self.upload_speed = 0.0
        self._number = number
        self._job = job
        self._on_report = on_report
        self._random = random.Random()
        self._process: Any = None
        self._is_stopping = False
        self._greenlet = gevent.Greenlet(self._run)

    def start(self) -> None:
        """Start it, and keep it running."""
        self._greenlet.start()

    def stop(self) -> None:
        """Let it end, and wait for that; one that does not end in time is killed."""
        self._is_stopping = True
        if self._process is None:
            self._greenlet.kill()
            return
        self._process.terminate()
        self._greenlet.join(_STOP_TIMEOUT)
        if not self._greenlet.ready():
            self._process.kill()
            self._greenlet.join()

    def _run(self) -> None:
        failures = 0
        while True:
            started = monotonic()
            try:
                reason = self._run_once()
            except OSError as error:
                reason = what_happened(error)
            if self._is_stopping:
                return
            failures = 1 if monotonic() - started > _SETTLED else failures + 1
            delay = backoff(failures, first=_FIRST_RETRY, maximum=_MAX_RETRY, rng=self._random)
            say(f"geventbt: worker {self._number} has ended ({reason}); started again in {human_time(delay)}")
            gevent.sleep(delay)

    def _run_once(self) -> str:
        """Start a worker and hear its reports until it ends. Returns why that was."""
        # As multiprocessing does; -m would import modules from the current folder first.
        program = f"import sys; sys.path[:] = {sys.path!r}; from geventbt.cli.worker import main; sys.exit(main())"
        process = self._process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        before = self.uploaded
        with suppress(OSError):
            # It may have ended before it has read all of it.
            process.stdin.write(self._job)
            process.stdin.flush()
        for line in process.stdout:
            figures = json.loads(line)
            self._note(before + figures["uploaded"], figures["upload_speed"], figures["peers"])
        code = process.wait()
        self._process = None
        self._note(self.uploaded, 0.0, 0)
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _note(self, uploaded: int, upload_speed: float, peers: int) -> None:
        self.uploaded, self.upload_speed, self.peers = uploaded, upload_speed, peers
        self._on_report()
