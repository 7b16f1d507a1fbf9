"""The words that plain technical English does without, in the package and its documents."""

from __future__ import annotations

import re

import pytest

from tests.documents import DOCUMENTS, ROOT

WORDS = {
    r"\b(?:nobody|everybody|whoever)\b": "the part that is meant, such as no peer, or the passive",
    r"\bstrangers?\b": "untrusted",
    r"\b(?:is|are) no (?!longer\b|more\b)": "is not a",
    r"\bso many\b": "N, or enough",
    r"\bas of `": "see `",
    r"\bwhat \w+ (?:is|are) told\b": "what is sent or announced to it",
}
"""Patterns of them, each with what says it better."""


def faults(text: str) -> list[str]:
    """Each pattern that is found in a text, with what stands around it and what says it better."""
    # A phrase goes on over the end of a line, also in a comment.
    text = re.sub(r"\s+(?:# )?", " ", text)
    text = re.sub(r"\bthere (?:is|are) no\b", "", text, flags=re.IGNORECASE)
    return [
        f"{text[max(0, found.start() - 30) : found.end() + 30]!r}: better {better}"
        for pattern, better in WORDS.items()
        for found in re.finditer(pattern, text, re.IGNORECASE)
    ]


def test_the_package_and_its_documents_are_in_plain_words() -> None:
    files = [*sorted((ROOT / "geventbt").rglob("*.py")), *(document.path for document in DOCUMENTS.values())]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}
    found = [f"{name}: {fault}" for name, text in texts.items() for fault in faults(text)]
    assert "\n".join(found) == ""


@pytest.mark.parametrize(
    "text", ["for whoever asks", "is\n    # nobody's", "is no limit", "so\nmany", "as of `Wire`", "What each is told."]
)
def test_a_word_that_is_to_be_avoided_is_found(text: str) -> None:
    assert len(faults(text)) == 1


@pytest.mark.parametrize("text", ["where there\n# are no others", "it is no longer there", "of no peer"])
def test_plain_words_are_let_be(text: str) -> None:
    assert faults(text) == []
