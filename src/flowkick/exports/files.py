"""The files of exports: made in a folder of the process, and put on a shelf when they are complete.

What is on the shelf is complete; what is being written is nowhere but in the folder, under a
temporary name, readable by its owner alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flowkick.core.errors import Unavailable
from flowkick.core.settings import Settings
from flowkick.exports.shelves import FolderShelf, Shelf

PART: Final = ".part"
_SCRATCH: Final = ".scratch"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is complete."""

    name: str
    size: int
    sha256: str
    """Of its bytes, in hex."""


class FileBeingWritten:
    """A file under a temporary name, hashed and counted while it is written.

    `finish` makes it durable, and it waits to be kept; `discard` removes it. Nothing here is for
    the event loop.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self.part = path.with_name(path.name + PART)
        descriptor = os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> Stored:
        """Make it durable."""
        os.fsync(self._file.fileno())
        self._file.close()
        return Stored(self._name, self.size, self._hash.hexdigest())

    def discard(self) -> None:
        """Remove it; once it is kept, this does nothing."""
        self._file.close()
        self.part.unlink(missing_ok=True)


class FileStore:
    """The files of one installation: a folder to make them in, and the shelf for complete ones."""

    def __init__(self, folder: Path, shelf: Shelf | None = None) -> None:
        self._folder = folder
        self.shelf: Shelf = FolderShelf(folder) if shelf is None else shelf

    @classmethod
    def of(cls, settings: Settings) -> FileStore:
        """As the settings say; SettingsError where they name an object store that can't be."""
        folder = settings.data_folder / "exports"
        if settings.exports_url is None:
            return cls(folder)
        from flowkick.exports.objects import ObjectShelf  # noqa: PLC0415  # an extra

        return cls(folder, ObjectShelf(settings.exports_url))

    def begin(self, name: str) -> FileBeingWritten:
        """Begin a file, over whatever was left of one with that name."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileBeingWritten(self._path(name))

    async def keep(self, stored: Stored) -> None:
        """Put a finished file on the shelf; Unavailable where that takes none just now."""
        await self.shelf.put(self._part(stored.name), stored.name)

    def scratch(self, name: str) -> Path:
        """A folder for what a writer keeps until it can write it; whoever uses it makes it."""
        return self._path(name).with_name(name + _SCRATCH)

    async def give_up(self, name: str) -> None:
        """Remove what there is of a file that failed; what is left, tidying removes."""
        self._part(name).unlink(missing_ok=True)
        shutil.rmtree(self.scratch(name), ignore_errors=True)
        with suppress(Unavailable):
            await self.shelf.remove(name)

    async def remove_all(self, export_id: str) -> None:
        """Remove every file of an export, and what killed processes left of them here."""
        for path in self._folder.glob(f"{export_id}[-.]*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.suffix == PART:
                path.unlink(missing_ok=True)
        await self.shelf.remove_all(export_id)

    def _part(self, name: str) -> Path:
        return self._path(name).with_name(name + PART)

    def _path(self, name: str) -> Path:
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"No name of a file: {name!r}.")
        return self._folder / name
