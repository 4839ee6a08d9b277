"""Where export files lie: complete or not there, readable by their owner alone."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PART: Final = ".part"
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

    Either `finish` gives it its name, or `discard` removes it. Nothing here is for the event loop.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + _PART)
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
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
        """Make it durable, and give it its name."""
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)
        _sync_folder(self._path.parent)
        return Stored(self._path.name, self.size, self._hash.hexdigest())

    def discard(self) -> None:
        """Remove it; after `finish`, this does nothing."""
        self._file.close()
        self._part.unlink(missing_ok=True)


class FileStore:
    """The files of one installation, in a folder of their own."""

    def __init__(self, data_folder: Path) -> None:
        self._folder = data_folder / "exports"

    def begin(self, name: str) -> FileBeingWritten:
        """Begin a file, over whatever was left of one with that name."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileBeingWritten(self.path(name))

    def path(self, name: str) -> Path:
        """Where the file of this name is, or would be."""
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"No name of a file: {name!r}.")
        return self._folder / name

    def exists(self, name: str) -> bool:
        """Whether there is a complete file of this name."""
        return self.path(name).is_file()

    def scratch(self, name: str) -> Path:
        """A folder for what a writer keeps until it can write it; whoever uses it makes it."""
        path = self.path(name)
        return path.with_name(name + _SCRATCH)

    def remove(self, name: str) -> None:
        """Remove a file, or what there is of it."""
        path = self.path(name)
        path.unlink(missing_ok=True)
        path.with_name(name + _PART).unlink(missing_ok=True)
        shutil.rmtree(self.scratch(name), ignore_errors=True)

    def remove_all(self, export_id: str) -> None:
        """Remove every file of an export, and what killed processes left of them."""
        for path in self._folder.glob(f"{export_id}[-.]*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def unfinished(self) -> Iterator[str]:
        """The names of files that are being written, or were when a process died."""
        if self._folder.is_dir():
            for part in self._folder.glob(f"*{_PART}"):
                yield part.name.removesuffix(_PART)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
