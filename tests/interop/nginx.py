"""nginx, the web server, with a folder of files on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.free_port import free_port

_CONFIG = """
daemon off;
master_process off;
pid {state}/pid;
error_log {state}/error.log;
events {{}}
http {{
    access_log {state}/access.log;
    default_type application/octet-stream;
    sendfile on;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    server {{
        listen 127.0.0.1:{port} {options};
        root {folder};
        {directives}
    }}
}}
"""


class Nginx:
    """A running server.

    Attributes:
        port: where it listens.
    """

    def __init__(self, port: int, scheme: str, log: Path) -> None:
        self.port = port
        self._scheme = scheme
        self._log = log

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self.port}{path}"

    @property
    def requests(self) -> list[str]:
        """A line of the log for each request that has been answered."""
        return self._log.read_text().splitlines()


@contextmanager
def nginx(folder: Path, state: Path, directives: str = "", certificate: str | None = None) -> Iterator[Nginx]:
    """Run nginx; the test is skipped where it is not installed.

    Args:
        folder: what it serves.
        state: a folder for its own files.
        directives: more of the configuration of the server, such as ``limit_rate 1m;``.
        certificate: a file with a certificate and its key, for HTTPS.
    """
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.skip("nginx is not installed (Debian: nginx-light)")
    state.mkdir(parents=True)
    port = free_port()
    if certificate:
        directives += f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
    options = "ssl" if certificate else ""
    config = state / "nginx.conf"
    config.write_text(_CONFIG.format(state=state, port=port, folder=folder, directives=directives, options=options))
    process = subprocess.Popen([program, "-p", str(state), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        _wait_until_listening(process, port, state / "error.log")
        yield Nginx(port, "https" if certificate else "http", state / "access.log")
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    pytest.fail(f"nginx does not listen: {log.read_text() if log.exists() else ''}")
