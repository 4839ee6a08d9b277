"""A shelf in an object store, which processes on many machines share: S3 and what speaks like it.

A store shows an object as a whole or not at all, so there is nothing half-done to be seen. What a
killed process had uploaded in parts stays hidden there until the store's own rule removes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from flowkick.core.errors import SettingsError, Unavailable
from flowkick.core.logs import get_logger
from flowkick.exports.threads import in_thread

try:
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import from_url
except ImportError:
    raise SettingsError(
        "FLOWKICK_EXPORTS_URL needs another package: pip install 'flowkick[objectstore]'."
    ) from None

_log = get_logger(__name__)
_PART_BYTES: Final = 8 * 1024 * 1024
_PARTS_AT_ONCE: Final = 2
_READ_BYTES: Final = 4 * 1024 * 1024
_RETRIES: Final[Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
_AWAY: Final = "The store of export files can't be reached just now: try again in a moment."
_EXPORT_ID: Final = re.compile(r"[^.-]+")


class ObjectShelf:
    """Files under a URL such as ``s3://bucket/prefix``, each in a folder of its export."""

    def __init__(self, url: str) -> None:
        try:
            self._store = from_url(url, client_options=_client(), retry_config=_RETRIES)
        except (BaseError, ValueError) as error:
            raise SettingsError(f"FLOWKICK_EXPORTS_URL names no store: {error}") from None

    async def put(self, path: Path, name: str) -> None:
        """Upload it, a large one in parts, and remove it here."""
        with _reaching("put"):
            await obstore.put_async(
                self._store,
                _key(name),
                path,
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )
        await in_thread(path.unlink)

    async def has(self, name: str) -> bool:
        """Whether there is an object of this name."""
        with _reaching("head"):
            try:
                await obstore.head_async(self._store, _key(name))
            except FileNotFoundError:
                return False
        return True

    async def read(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """A range of an object, by short requests: a slow reader keeps none of them open."""
        while start < end:
            stop = min(start + _READ_BYTES, end)
            with _reaching("get"):
                part = await obstore.get_range_async(self._store, _key(name), start=start, end=stop)
            yield bytes(part)
            start = stop

    async def remove(self, name: str) -> None:
        """Remove an object."""
        with _reaching("delete"):
            await self._remove(_key(name))

    async def remove_all(self, export_id: str) -> None:
        """Remove all objects of an export."""
        with _reaching("delete"):
            async for batch in obstore.list(self._store, prefix=export_id):
                for item in batch:
                    await self._remove(item["path"])

    async def _remove(self, key: str) -> None:
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return


def _client() -> Any:
    """How to speak to it: without TLS only where its endpoint is set to that."""
    endpoints = (value for name, value in os.environ.items() if name.startswith("AWS_ENDPOINT"))
    plain = any(endpoint.startswith("http://") for endpoint in endpoints)
    return {"connect_timeout": "5s", "timeout": "30s", "allow_http": plain}


def _key(name: str) -> str:
    found = _EXPORT_ID.match(name)
    if found is None:
        raise ValueError(f"No name of a file: {name!r}.")
    return f"{found[0]}/{name}"


@contextmanager
def _reaching(operation: str) -> Iterator[None]:
    """Say in one sentence that the store failed; what it said goes to the log."""
    try:
        yield
    except BaseError as error:
        _log.error("object_store_failed", operation=operation, error=str(error)[:500])
        raise Unavailable(_AWAY) from None
