"""The README, its neighbours and the pages of docs/, as the tests see them: sections, and blocks of code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Document:
    """A file in Markdown.

    Attributes:
        path: the file.
        text: what is in it.
        sections: the text under each heading, to the next heading of any level.
        blocks: the blocks of Python, by heading and number.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()
        # A comment in code looks like a heading, but has no blank line after it.
        parts = re.split(r"^#+ (.*)$(?=\n\n)", self.text, flags=re.MULTILINE)
        self.sections = dict(zip(parts[1::2], parts[2::2], strict=True))
        self.blocks = {
            (heading, number): code
            for heading, text in self.sections.items()
            for number, code in enumerate(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
        }


def find_documents() -> dict[str, Document]:
    """The pages of docs/ by their paths without the suffix, such as "guides/wire", and those at the top, such as
    "README"."""
    pages = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
    at_top = {page.stem: Document(page) for page in sorted(ROOT.glob("*.md"))}
    return at_top | {page.relative_to(ROOT / "docs").with_suffix("").as_posix(): Document(page) for page in pages}


DOCUMENTS = find_documents()
