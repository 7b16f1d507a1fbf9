"""Chromium without a screen, driven over the protocol of WebDriver (W3C) by its own chromedriver.

The requests are made in gevent's native threads: the server that the browser asks may be one of this process.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element in JSON, as the specification has it."""
_KEYS = {
    "enter": "\ue007",
    "escape": "\ue00c",
    "delete": "\ue017",
    "down": "\ue015",
    "end": "\ue010",
    "tab": "\ue004",
    "space": " ",
}


class Browser:
    """A browser with one page.

    Args:
        driver: the URL of chromedriver.
        folder: for its profile, and for pictures.
    """

    def __init__(self, driver: str, folder: Path) -> None:
        self._folder = folder
        options = {"args": [*_FLAGS, f"--user-data-dir={folder / 'profile'}"]}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._url = f"{driver}/session"
        session = self._call("POST", "", capabilities={"alwaysMatch": capabilities})
        self._url = f"{self._url}/{session['sessionId']}"

    def open(self, url: str) -> None:
        """Go to a page."""
        self._call("POST", "/url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page, and return what it returns."""
        return self._call("POST", "/execute/sync", script=script, args=list(arguments))

    def until(self, script: str, *arguments: Any, seconds: float = 20) -> Any:
        """Wait until an expression is true in the page; returns its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(f"return {script}", *arguments)):
            assert time.monotonic() < deadline, f"{script} did not become true: see {self.picture('failure')}"
            gevent.sleep(0.03)
        return value

    def click(self, selector: str) -> None:
        """Click on an element, as a person does: it must be visible."""
        self._call("POST", f"/element/{self._find(selector)}/click")

    def write(self, selector: str, text: str) -> None:
        """Write text into an element."""
        self._call("POST", f"/element/{self._find(selector)}/value", text=text)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        codes = [_KEYS.get(key, key) for key in keys]
        actions = [{"type": kind, "value": code} for code in codes for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", actions=[{"type": "key", "id": "keys", "actions": actions}])

    def resize(self, width: int, height: int) -> None:
        """Give the page a size, in CSS pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def command(self, name: str, **params: Any) -> Any:
        """Send a command of Chromium's own protocol."""
        return self._call("POST", "/goog/cdp/execute", cmd=name, params=params)

    def picture(self, name: str) -> Path:
        """Keep a picture of the page, and return where."""
        path = self._folder / f"{name}.png"
        path.write_bytes(b64decode(self._call("GET", "/screenshot")))
        return path

    def errors(self) -> list[str]:
        """What the console says since the last call, among it what the page's policy has forbidden."""
        entries = self._call("POST", "/se/log", type="browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def close(self) -> None:
        """End it."""
        self._call("DELETE", "")

    def _find(self, selector: str) -> str:
        found = self._call("POST", "/element", using="css selector", value=selector)
        return str(found[_ELEMENT])

    def _call(self, method: str, path: str, **body: Any) -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self._url + path, data, method=method)

        def ask() -> tuple[int, bytes]:
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return response.status, response.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()

        code, text = gevent.get_hub().threadpool.apply(ask)
        value = json.loads(text)["value"]
        assert code == 200, value
        return value


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser; skips the test where there is none."""
    driver = shutil.which("chromedriver")
    if driver is None or not shutil.which("chromium"):
        pytest.skip("Chromium and its driver are not installed (apt-get install chromium chromium-driver)")
    with subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = next(line.split()[-1].strip(".") for line in process.stdout if "started successfully" in line)
            browser = Browser(f"http://127.0.0.1:{port}", folder)
            yield browser
            browser.close()
        finally:
            process.kill()
