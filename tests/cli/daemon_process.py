"""A daemon in a process of its own, and requests to it, for tests and scripts."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from geventbt import Torrent


class Daemon:
    """A daemon of a folder: its state in "state", its downloads in "data".

    Started by systemd, as it believes: it gets its socket, and tells when it is ready.

    Args:
        folder: the folder.
        options: of the command.
    """

    def __init__(self, folder: Path, *options: object) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = folder / "notify"
        path.unlink(missing_ok=True)
        self._manager.bind(str(path))
        self._manager.settimeout(30)
        self._session_id = ""
        words = ["--state", folder / "state", "-o", folder / "data", "--port", 0, "--host", "127.0.0.1", *options]
        # exec keeps the number of the process, which must be in LISTEN_PID.
        shell = 'LISTEN_PID=$$ exec "$@" 3<&"$LISTENER" '
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "bash", sys.executable, "-m", "geventbt", "daemon", *map(str, words)],
            env={
                **os.environ,
                "LISTEN_FDS": "1",
                "LISTENER": str(self._listener.fileno()),
                "NOTIFY_SOCKET": str(path),
            },
            pass_fds=[self._listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        # Or a request after the end of the process would wait in our backlog.
        self._listener.close()
        self.wait_told("READY=1")

    def wait_told(self, line: str) -> None:
        """Block until systemd has been told something."""
        while line not in self._manager.recv(4096).decode().split("\n"):
            pass

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """Call a method of the RPC, by names in snake_case. Returns its result."""
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": arguments, "id": 1}).encode()
        for _ in range(2):
            headers = {"X-Transmission-Session-Id": self._session_id}
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/transmission/rpc", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    found: dict[str, Any] = json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                self._session_id = error.headers["X-Transmission-Session-Id"]
                continue
            assert "result" in found, found
            return dict(found["result"])
        raise AssertionError("the session id was refused")

    def add(self, torrent: Torrent, **options: Any) -> int:
        """Add a torrent. Returns its number."""
        metainfo = base64.b64encode(torrent.to_bytes()).decode()
        return int(self.call("torrent_add", metainfo=metainfo, **options)["torrent_added"]["id"])

    def torrents(self, *fields: str) -> dict[str, dict[str, Any]]:
        """Fields of all torrents, by their info hashes."""
        found = self.call("torrent_get", fields=["hash_string", *fields])["torrents"]
        return {each["hash_string"]: each for each in found}

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it by a signal. Returns its exit code and what it has logged."""
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=30)
        self._manager.close()
        return self.process.returncode, log

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
