"""Ports of the loopback interface for servers that tests start."""

from __future__ import annotations

import secrets
import socket

LOOPBACK = "127.0.0.1"
# Below the range from which systems pick ports for outgoing connections (32768 on Linux, 49152 on
# macOS): a server that is restarted must find its port still free, however many clients are about.
FIRST, LAST = 20_000, 32_000

_handed_out: set[int] = set()


def free_port() -> int:
    """A port nobody listens on, never the same twice in one process."""
    while True:
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if port not in _handed_out and _is_free(port):
            _handed_out.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
