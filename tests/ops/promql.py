"""Reads which metrics and labels an expression of PromQL names.

No more of the grammar than that takes: names, `{…}` behind them, `[…]`, strings, and the labels of
`by`, `without`, `on`, `ignoring` and `group_…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<range>\[[^\]]*\])
    | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},])
    """,
    re.VERBOSE,
)
_GROUPING: Final = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS: Final = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


@dataclass
class Named:
    """What an expression names."""

    metrics: dict[str, set[str]] = field(default_factory=dict)
    """The labels that are matched on each metric."""
    grouped: set[str] = field(default_factory=set)
    """Labels that results are grouped or joined by."""
    functions: set[str] = field(default_factory=set)


def read(expression: str) -> Named:
    """Everything named in an expression; ValueError where it is none."""
    tokens = list(_tokens(expression))
    named, at, depth = Named(), 0, 0
    while at < len(tokens):
        kind, text = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        depth += {"(": 1, ")": -1}.get(text, 0)
        if depth < 0 or text in {"{", "}"}:
            raise ValueError(f"{text} does not belong there: {expression}")
        at += 1
        if kind != "name" or text in _WORDS:
            continue
        if text in _GROUPING:
            labels, at = _labels(tokens, at + 1, ")")
            named.grouped |= labels
        elif following in {"(", "by", "without"}:
            named.functions.add(text)
        else:
            labels = named.metrics.setdefault(text, set())
            if following == "{":
                found, at = _labels(tokens, at + 1, "}")
                labels |= found
    if depth:
        raise ValueError(f"a bracket is not closed: {expression}")
    return named


def _labels(tokens: list[tuple[str, str]], at: int, end: str) -> tuple[set[str], int]:
    """The names up to a bracket, and where it goes on behind that."""
    labels = set()
    while tokens[at][1] != end:
        if tokens[at][0] == "name":
            labels.add(tokens[at][1])
        at += 1
    return labels, at + 1


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise ValueError(f"{expression[at:]!r} is no PromQL")
        at = match.end()
        if match.lastgroup not in {None, "space"}:
            yield str(match.lastgroup), match.group()
