"""Logins: their hashes, and the pauses of who guesses."""

from __future__ import annotations

from base64 import b64encode

import pytest

from geventbt import limits
from geventbt.web.login_check import LoginCheck
from geventbt.web.passwords import Login, hash_password

LOGIN = Login("me", hash_password("a secret: ünïcode"))
HOME, AWAY = "192.168.0.7", "198.51.100.1"


def header(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


RIGHT, WRONG = header("me", "a secret: ünïcode"), header("me", "another")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_only_the_right_user_and_password_match() -> None:
    assert LOGIN.matches("me", "a secret: ünïcode")
    assert not LOGIN.matches("me", "a secret")
    assert not LOGIN.matches("you", "a secret: ünïcode")


def test_two_hashes_of_a_password_differ() -> None:
    assert hash_password("a") != hash_password("a")


def test_a_login_is_read_with_a_password_or_its_hash() -> None:
    assert Login.from_text("me:a:b\n").matches("me", "a:b")
    assert Login.from_text(f"me:{LOGIN.password_hash}").matches("me", "a secret: ünïcode")


@pytest.mark.parametrize("text", ["", "me", "me:", ":secret", "me:scrypt$1", "me:scrypt$99999999$8$1$YQ==$YQ=="])
def test_what_is_no_login_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Login.from_text(text)


@pytest.mark.parametrize(
    "text",
    ["", "Basic", "Basic !", "Bearer abc", "Basic " + b64encode(b"me").decode(), "Basic " + "A" * 9999, "Bäsic é"],
)
def test_a_broken_header_is_a_wrong_login(text: str) -> None:
    assert not LoginCheck(LOGIN).is_right(text, HOME)


def test_a_right_login_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    check = LoginCheck(LOGIN, now=clock)
    assert check.is_right(RIGHT, HOME)
    monkeypatch.setattr(Login, "matches", lambda self, user, password: False)
    assert check.is_right(RIGHT, AWAY)
    clock.now += limits.WEB_LOGIN_TIME + 1
    assert not check.is_right(RIGHT, HOME)


def test_who_guesses_has_to_pause_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Login, "matches", lambda self, user, password: False)
    clock = Clock()
    check = LoginCheck(LOGIN, now=clock)
    for _ in range(limits.WEB_LOGIN_FAILURES - 1):
        check.is_right(WRONG, AWAY)
        assert not check.refused_for(AWAY)
    check.is_right(WRONG, AWAY)
    first = check.refused_for(AWAY)
    clock.now += first
    assert not check.refused_for(AWAY)
    check.is_right(WRONG, AWAY)
    assert check.refused_for(AWAY) == 2 * first
    assert not check.refused_for(HOME)
    assert check.failures == limits.WEB_LOGIN_FAILURES + 1


def test_addresses_of_one_network_pause_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Login, "matches", lambda self, user, password: False)
    check = LoginCheck(LOGIN, now=Clock())
    for number in range(limits.WEB_LOGIN_FAILURES):
        check.is_right(WRONG, f"2001:db8::{number + 1}")
    assert check.refused_for("2001:db8::ffff")
    assert not check.refused_for("2001:db8:1::1")
