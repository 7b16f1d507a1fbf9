"""The colours of the page can be told apart, by day and by night (WCAG 2.2, 1.4.3: 4.5 to 1 for text)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import geventbt

CSS = (Path(geventbt.__file__).parent / "web" / "static" / "app.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
)
ON = {
    "text": ["ground", "raised", "chosen", "warn"],
    "quiet": ["ground", "raised", "chosen"],
    "accent": ["ground"],
    "danger": ["ground", "raised", "chosen"],
    "on-accent": ["accent"],
}


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(digit * 2 for digit in color[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_is_21_to_1() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), [(text, ground) for text, grounds in ON.items() for ground in grounds])
def test_text_can_be_read_on_its_ground(colors: dict[str, str], text: str, ground: str) -> None:
    assert contrast(colors[text], colors[ground]) >= 4.5
