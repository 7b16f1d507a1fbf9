"""Prometheus' text format (version 0.0.4). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample: TypeAlias = tuple[Mapping[str, str], float]
"""The labels of a value, and the value."""


@dataclass(frozen=True)
class Family:
    """A metric with its values.

    Attributes:
        name: with its unit; of a counter with "_total" at its end.
        kind: its type.
        help: what it is, on one line.
        samples: its values.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Sequence[Sample]


def single(name: str, kind: Literal["counter", "gauge"], text: str, value: float) -> Family:
    """A metric with one value."""
    return Family(name, kind, text, [({}, value)])


def by_label(
    name: str, kind: Literal["counter", "gauge"], text: str, label: str, values: Mapping[str, float]
) -> Family:
    """A metric with a value for each value of one label."""
    return Family(name, kind, text, [({label: key}, value) for key, value in values.items()])


def render(families: Iterable[Family]) -> str:
    """The text of metrics."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {_escaped_help(family.help)}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{text}}}" if text else ""


def _escaped_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escaped(text: str) -> str:
    return _escaped_help(text).replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) else repr(value)
