"""Write tokens."""

from __future__ import annotations

import random

import pytest

from geventbt import limits
from geventbt.discovery.dht.tokens import Tokens

TARGET = b"t" * 20
HOST = "1.2.3.4"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(random.Random(1), 0.0)


@pytest.mark.parametrize("later", [0.0, 1.0, limits.DHT_TOKEN_TIME - 1, limits.DHT_TOKEN_TIME + 1])
def test_a_token_is_good_for_five_minutes_at_least(tokens: Tokens, later: float) -> None:
    assert tokens.is_valid(tokens.make(HOST, TARGET, 0.0), HOST, TARGET, later)


def test_a_token_is_good_while_its_secret_is_the_one_before(tokens: Tokens) -> None:
    token = tokens.make(HOST, TARGET, 0.0)
    tokens.make(HOST, TARGET, limits.DHT_TOKEN_TIME)
    assert tokens.is_valid(token, HOST, TARGET, 2 * limits.DHT_TOKEN_TIME - 1)
    assert not tokens.is_valid(token, HOST, TARGET, 2 * limits.DHT_TOKEN_TIME)


def test_a_token_is_not_good_after_a_long_silence(tokens: Tokens) -> None:
    token = tokens.make(HOST, TARGET, 0.0)
    assert not tokens.is_valid(token, HOST, TARGET, 10 * limits.DHT_TOKEN_TIME)


def test_a_token_is_of_one_host_and_one_target(tokens: Tokens) -> None:
    token = tokens.make(HOST, TARGET, 0.0)
    assert not tokens.is_valid(token, "1.2.3.5", TARGET, 0.0)
    assert not tokens.is_valid(token, HOST, b"u" * 20, 0.0)
    assert not tokens.is_valid(b"", HOST, TARGET, 0.0)
    assert not tokens.is_valid(token + b"x", HOST, TARGET, 0.0)
