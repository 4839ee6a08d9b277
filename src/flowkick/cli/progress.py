"""How far long work has come: a bar on a terminal, plain lines elsewhere; on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import typer

Advance = Callable[[int, str], None]
"""Takes how much is done now, and the same as a line."""
_SECONDS: Final = 1.0


@contextmanager
def progress(label: str, total: int | None, done: int = 0) -> Iterator[Advance]:
    """Show how much of `total` is done; lines come once a second, and at the end."""
    if total is not None and sys.stderr.isatty():
        with typer.progressbar(length=total, file=sys.stderr, label=label) as bar:
            bar.update(done)
            yield lambda now, _line: bar.update(now - bar.pos)
        return
    last, told = time.monotonic(), ""

    def advance(_now: int, line: str) -> None:
        nonlocal last, told
        told = line
        if time.monotonic() - last >= _SECONDS:
            typer.echo(line, err=True)
            last, told = time.monotonic(), ""

    yield advance
    if told:
        typer.echo(told, err=True)
