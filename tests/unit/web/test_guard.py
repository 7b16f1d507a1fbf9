"""What is let through to an app."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from geventbt import limits
from geventbt.web.guard import Guard, Token, is_loopback
from geventbt.web.passwords import Login, hash_password

LOGIN = Login("me", hash_password("secret"))
AUTHORIZATION = "Basic " + b64encode(b"me:secret").decode()


def status(guard: Guard, method: str = "GET", address: str | None = "127.0.0.1", **headers: str) -> int:
    """The status of the answer to a request; 200 if it is let through."""
    return answered(guard, method, address, **headers)[0]


def answered(
    guard: Guard, method: str = "GET", address: str | None = "127.0.0.1", **headers: str
) -> tuple[int, dict[str, str]]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": "/", "HTTP_HOST": "localhost:8080"}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items() if value}
    environ |= {} if address is None else {"REMOTE_ADDR": address}
    if headers.get("host") == "":
        del environ["HTTP_HOST"]
    found: list[tuple[int, dict[str, str]]] = []
    list(guard(environ, lambda status, headers: found.append((int(status[:3]), dict(headers)))))
    return found[0]


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"let through"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "localhost.", "127.0.0.1:8080", "[::1]:8080", "192.168.1.2", "media.home:80"]
)
def test_our_own_names_are_answered_to(host: str) -> None:
    assert status(Guard(app, hosts=["Media.Home"]), host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil@x", "[::1", "127.1", "0x7f.1"]
)
def test_other_names_are_not_so_that_no_other_site_can_be_us(host: str) -> None:
    for guard in (Guard(app), Guard(app, login=LOGIN)):
        assert status(guard, host=host, authorization=AUTHORIZATION) == 421


def test_a_request_without_a_host_is_refused() -> None:
    assert status(Guard(app), host="") == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": "http://[localhost]:8080"},
        {"origin": "http://localhost:9090"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_another_site_sends_is_refused(method: str, headers: dict[str, str]) -> None:
    assert status(Guard(app), method, **headers) == 403


def test_our_own_page_and_links_to_it_are_let_through() -> None:
    assert status(Guard(app), "POST", origin="http://localhost:8080", sec_fetch_site="same-origin") == 200
    assert status(Guard(app), sec_fetch_site="none") == 200
    assert status(Guard(app), sec_fetch_site="cross-site", sec_fetch_mode="navigate") == 200
    assert status(Guard(app), "POST", sec_fetch_site="cross-site", sec_fetch_mode="navigate") == 403


@pytest.mark.parametrize(
    ("address", "code"),
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), (None, 200), ("192.168.1.9", 403), ("0.0.0.0", 403)],
)
def test_without_a_login_only_this_machine_is_answered_to(address: str | None, code: int) -> None:
    assert status(Guard(app), address=address) == code


def test_with_a_login_it_must_be_given() -> None:
    guard = Guard(app, login=LOGIN)
    code, headers = answered(guard)
    assert code == 401
    assert headers["WWW-Authenticate"].startswith("Basic ")
    assert status(guard, authorization="Basic " + b64encode(b"me:wrong").decode()) == 401
    assert status(guard, address="192.168.1.9", authorization=AUTHORIZATION) == 200


def test_who_guesses_is_refused_for_a_time_also_with_the_right_login() -> None:
    guard = Guard(app, login=LOGIN)
    for number in range(limits.WEB_LOGIN_FAILURES):
        status(guard, address="192.168.1.9", authorization=f"Basic {number}")
    code, headers = answered(guard, address="192.168.1.9", authorization=AUTHORIZATION)
    assert code == 429
    assert 0 < int(headers["Retry-After"]) <= limits.WEB_LOGIN_PAUSE
    assert status(guard, address="192.168.1.10", authorization=AUTHORIZATION) == 200


def test_a_token_is_only_in_requests_that_have_it() -> None:
    token = Token("X-Our-Token")
    assert token.is_in({"HTTP_X_OUR_TOKEN": token.value})
    for environ in ({}, {"HTTP_X_OUR_TOKEN": ""}, {"HTTP_X_OUR_TOKEN": token.value[:-1]}, {"HTTP_X_OUR_TOKEN": "é"}):
        assert not token.is_in(environ)
    assert Token("X-Our-Token").value != token.value


def test_only_this_machine_is_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "localhost"]))
    assert not any(map(is_loopback, ["", "0.0.0.0", "::", "192.168.0.1", "example.org"]))
