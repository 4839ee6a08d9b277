"""Fails when a source file is too long to keep in mind: ``python -m scripts.file_lengths``."""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT = 400
ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("src", "tests", "bench", "scripts")


def too_long() -> list[str]:
    """Every Python file of more than LIMIT lines, as a line to print."""
    files = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    lengths = ((path, len(path.read_text(encoding="utf-8").splitlines())) for path in files)
    return [
        f"{path.relative_to(ROOT)}: {length} lines, more than {LIMIT}: split it"
        for path, length in lengths
        if length > LIMIT
    ]


if __name__ == "__main__":
    complaints = too_long()
    sys.stdout.writelines(f"{complaint}\n" for complaint in complaints)
    sys.exit(bool(complaints))
