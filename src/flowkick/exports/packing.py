"""Compression of what a writer gives."""

from __future__ import annotations

import zlib

from flowkick.exports.writers import Sink


class Gzip:
    """Compresses what it passes on; the header names neither a file nor a moment."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._compress = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)

    def write(self, data: bytes, /) -> None:
        """Take them all."""
        if packed := self._compress.compress(data):
            self._sink.write(packed)

    def finish(self) -> None:
        """Pass on what is left."""
        self._sink.write(self._compress.flush())
