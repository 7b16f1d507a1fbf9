"""The chart of the README, from the figures of `bench_transfer.py`.

    python scripts/bench_transfer.py --json > figures.json
    python scripts/bench_chart.py figures.json scripts/bench.svg

One bar for each row: how many times as good as the other side (libtorrent, or what the row says) ours is; a line marks
the other side itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

LEFT, WIDTH, BAR, GAP, TOP = 290, 360, 18, 12, 46
MOST = 3.0
"""Bars are cut here."""

LESS_IS_BETTER = ("CPU",)


def advantage(row: dict[str, Any]) -> float:
    """How many times as good ours is."""
    ratio = float(row["ratio"])
    return 1 / ratio if any(word in row["row"] for word in LESS_IS_BETTER) else ratio


def bar(number: int, row: dict[str, Any]) -> str:
    """One row of the chart."""
    top = TOP + number * (BAR + GAP)
    value = advantage(row)
    width = WIDTH * min(value, MOST) / MOST
    middle = top + BAR - 5
    figures = f"{value:.2f}   ({row['ours']:.4g} : {row['theirs']:.4g})"
    return (
        f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(row["row"])}</text>'
        f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" fill="#3a7d44"/>'
        f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{figures}</text>'
    )


def chart(rows: list[dict[str, Any]]) -> str:
    """The whole SVG."""
    height = TOP + len(rows) * (BAR + GAP) + 10
    one = LEFT + WIDTH / MOST
    bars = "\n".join(bar(number, row) for number, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 190}" height="{height}"'
        ' font-family="sans-serif" font-size="13">\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="{LEFT}" y="18">How many times as good as the other side (ours : theirs)</text>\n'
        f"{bars}\n"
        f'<line x1="{one}" y1="{TOP - 12}" x2="{one}" y2="{height - 6}" stroke="#b03030" stroke-dasharray="4 3"/>\n'
        f'<text x="{one}" y="{TOP - 16}" text-anchor="middle" fill="#b03030">1</text>\n'
        "</svg>\n"
    )


def main() -> None:
    figures, output = sys.argv[1:3]
    Path(output).write_text(chart(json.loads(Path(figures).read_text())))


if __name__ == "__main__":
    main()
