"""The tables of defaults and limits in docs/guides, made from the code: ``python tests/docs_tables.py`` writes them."""

from __future__ import annotations

import ast
import inspect
from itertools import zip_longest
from pathlib import Path
from typing import Any

import geventbt
from geventbt import limits

_CALLS: dict[str, Any] = {
    "connect": geventbt.connect,
    "listen": geventbt.listen,
    "Wire.handshake": geventbt.Wire.handshake,
    "Wire.request": geventbt.Wire.request,
    "Wire.read": geventbt.Wire.read,
    "Wire.close": geventbt.Wire.close,
    "UtMetadata.fetch": geventbt.UtMetadata.fetch,
    "download": geventbt.download,
    "seed": geventbt.seed,
    "fetch_metadata": geventbt.fetch_metadata,
    "inspect_peer": geventbt.inspect_peer,
    "Client": geventbt.Client,
    "Client.add": geventbt.Client.add,
    "announce": geventbt.announce,
    "create_torrent": geventbt.create_torrent,
    "Storage": geventbt.Storage,
}

_UNITS = ("KIB", "MIB")
_COUNTS = ("BLAMED_BLOCKS",)
"""Limits that are counts, although they are written with KIB."""


def defaults_table() -> str:
    """A row for each call, with its arguments that have a default."""
    rows = ["| Call | Defaults |", "|---|---|"]
    for name, call in _CALLS.items():
        parameters = inspect.signature(call).parameters.values()
        defaults = [f"`{item.name}={_literal(item.default)}`" for item in parameters if item.default is not item.empty]
        rows.append(f"| `{name}` | {', '.join(defaults)} |")
    return "\n".join(rows)


def limits_table() -> str:
    """A row for each assignment of the module of limits, under the headings of its comments."""
    source = Path(limits.__file__).read_text()
    lines = source.splitlines()
    body = ast.parse(source).body
    rows = ["| Limit | Value | |", "|---|---|---|"]
    last = 0
    for node, following in zip_longest(body, body[1:]):
        if not isinstance(node, ast.Assign):
            continue
        rows += [f"| **{line.strip('# -')}** | | |" for line in lines[last : node.lineno] if line.startswith("# ---")]
        last = node.lineno
        target = node.targets[0]
        names = [item.id for item in ast.walk(target) if isinstance(item, ast.Name)]
        if not isinstance(following, ast.Expr):
            if names[0] in _UNITS:
                continue
            raise ValueError(
                f"{names[0]} in geventbt/limits.py has no text below it: what it bounds, and by which source"
            )
        in_bytes = any(unit in ast.unparse(node.value) for unit in ("KIB", "MIB", "_BYTES"))
        values = [_amount(getattr(limits, name), in_bytes and name not in _COUNTS) for name in names]
        assert isinstance(following.value, ast.Constant)
        meaning = " ".join(str(following.value.value).split())
        rows.append(f"| {', '.join(f'`{name}`' for name in names)} | {', '.join(values)} | {meaning} |")
    return "\n".join(rows)


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else repr(value)


def _amount(value: float | tuple[int, ...], is_size: bool) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(str, value)) + ")"
    if is_size and isinstance(value, int):
        for unit, size in (("MiB", limits.MIB), ("KiB", limits.KIB)):
            if value % size == 0:
                return f"{value // size} {unit}"
    return f"{value:g}" if isinstance(value, float) else f"{value:,}"


def write(page: Path, table: str) -> None:
    """Replace the table of a page, which has one."""
    before, _, rest = page.read_text().partition("\n|")
    after = rest.rpartition("|\n")[2]
    page.write_text(f"{before}\n{table}\n{after}")


if __name__ == "__main__":
    guides = Path(__file__).parent.parent / "docs" / "guides"
    write(guides / "defaults.md", defaults_table())
    write(guides / "limits.md", limits_table())
