"""Identifiers and tokens: prefixed, sortable by time of creation, made in one place."""

from __future__ import annotations

import secrets

import uuid_utils


def new_id(prefix: str) -> str:
    """A new id such as ``usr_0197…``: the prefix tells the kind, a UUIDv7 (RFC 9562) follows."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def new_token(prefix: str) -> str:
    """A new secret token with 256 bits of entropy, such as ``fk_…``."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"
