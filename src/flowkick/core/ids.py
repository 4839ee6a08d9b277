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


_CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none looks like another


def new_code() -> str:
    """A new code to print, such as ``7F3K-QX0R-M2VA-9TD8``: 80 bits that nobody guesses."""
    letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(16))
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))
