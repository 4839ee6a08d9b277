"""Shelves: where complete files lie. A folder of this machine; `objects` has the other kind.

A file's name begins with the id of its export, which a ``-`` or a ``.`` ends.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from flowkick.exports.threads import in_thread

CHUNK: Final = 256 * 1024
"""Bytes that are sent at a time."""


class Shelf(Protocol):
    """What every shelf can do; all of it raises Unavailable where it can't be reached."""

    async def put(self, path: Path, name: str) -> None:
        """Take a complete file away from `path`: it is there as a whole, or not at all."""

    async def has(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of a file from `start` up to, and without, `end`."""

    async def remove(self, name: str) -> None:
        """Remove a file; none of this name is none to remove."""

    async def remove_all(self, export_id: str) -> None:
        """Remove all files of an export."""


class FolderShelf:
    """Files in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, path: Path, name: str) -> None:
        """Move it there."""

        def move() -> None:
            path.rename(self._folder / name)
            _sync_folder(self._folder)

        await in_thread(move)

    async def has(self, name: str) -> bool:
        """Whether the file is there."""
        return (self._folder / name).is_file()

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """A range of the file, as it is read."""
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            while start < end:
                part = await in_thread(partial(file.read, min(CHUNK, end - start)))
                if not part:
                    return
                start += len(part)
                yield part

    async def remove(self, name: str) -> None:
        """Remove the file."""
        (self._folder / name).unlink(missing_ok=True)

    async def remove_all(self, export_id: str) -> None:
        """Remove all of an export."""
        for path in self._folder.glob(f"{export_id}[-.]*"):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
