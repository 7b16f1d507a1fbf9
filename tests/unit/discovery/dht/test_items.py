"""Items, their targets and signatures (BEP 44)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from geventbt.discovery.dht.items import Item, encode_value, is_canonical, public_key_of, sign, signed_text, target_of

KEY = bytes.fromhex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548")
VECTORS = [
    (
        b"",
        "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
        "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
        "4a533d47ec9c7d95b1ad75f576cffc641853b750",
    ),
    (
        b"foobar",
        "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
        "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
        "411eba73b6f087ca51a3795d9c8c938d365e32c1",
    ),
]
"""Of BEP 44: of the value "Hello World!" with seq 1."""


@pytest.mark.parametrize(("salt", "signature", "target"), VECTORS)
def test_the_vectors_of_bep_44_are_authentic(salt: bytes, signature: str, target: str) -> None:
    item = Item(b"12:Hello World!", KEY, salt, 1, bytes.fromhex(signature))
    assert item.target.hex() == target
    assert item.is_authentic()


@pytest.mark.parametrize(
    "change",
    [{"seq": 2}, {"raw": b"12:Hello world!"}, {"salt": b"foobaz"}, {"signature": bytes(64)}, {"key": bytes(32)}],
)
def test_a_changed_item_is_not_authentic(change: dict[str, object]) -> None:
    item = Item(b"12:Hello World!", KEY, b"foobar", 1, bytes.fromhex(VECTORS[1][1]))
    assert not replace(item, **change).is_authentic()  # type: ignore[arg-type]


def test_the_target_of_an_immutable_item_is_its_hash() -> None:
    assert Item(b"12:Hello World!").target.hex() == "e5f96f6f38320f0f33959cb4d3d656452117aadb"


def test_what_is_signed_is_what_the_dictionary_has() -> None:
    assert signed_text(b"12:Hello world!", 4, b"foobar") == b"4:salt6:foobar3:seqi4e1:v12:Hello world!"
    assert signed_text(b"12:Hello world!", 4) == b"3:seqi4e1:v12:Hello world!"


def test_a_signed_item_is_authentic_and_found_by_its_key() -> None:
    item = sign({"a": [1, b"x"]}, b"s" * 32, 7, b"salt")
    assert item.is_authentic()
    assert item.target == target_of(public_key_of(b"s" * 32), b"salt")
    assert item.value == {b"a": [1, b"x"]}


def test_the_longest_value_and_one_more_byte() -> None:
    assert len(encode_value(bytes(996))) == 1000
    with pytest.raises(ValueError, match="1001 bytes"):
        encode_value(bytes(997))


@pytest.mark.parametrize(
    "raw",
    [
        b"i" + b"3" * 30 + b"e",
        b"d1:bl" + b"i-" + b"3" * 30 + b"eee",
        b"d1:bi1e1:ai1ee",
        b"i01e",
        b"01:a",
        b"i1ei2e",
        b"",
        b"i-0e",
        b"l" * 30 + b"e" * 30,
        b"5:abc",
    ],
)
def test_what_is_not_in_the_canonical_form_is_found_out(raw: bytes) -> None:
    assert not is_canonical(raw)


@pytest.mark.parametrize("raw", [b"i1e", b"0:", b"d1:ai1e1:bi2ee", b"le", b"i-5e"])
def test_the_canonical_form(raw: bytes) -> None:
    assert is_canonical(raw)


def test_signing_checks_what_it_is_given() -> None:
    with pytest.raises(ValueError, match="private key of 3 bytes"):
        sign(b"x", b"key", 1)
    with pytest.raises(ValueError, match="salt of 65 bytes"):
        sign(b"x", b"s" * 32, 1, bytes(65))
    with pytest.raises(ValueError, match="seq -1"):
        sign(b"x", b"s" * 32, -1)
    with pytest.raises(TypeError):
        sign(1.5, b"s" * 32, 1)
