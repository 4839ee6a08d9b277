"""Encryption at rest: AES-256-GCM under a ring of master keys.

A sealed value is ``v1.<key id>.<base64url of nonce + ciphertext>``. The context (which table, which
column, whose row) is authenticated with it, so that a value copied to another row does not open.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flowkick.core.errors import SettingsError

_VERSION = "v1"
_NONCE_BYTES = 12  # NIST SP 800-38D, 5.2.1.1
_MINIMUM_KEY_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    cipher: AESGCM


class KeyRing:
    """Seals with the first key, opens with any of them."""

    def __init__(self, master_keys: Sequence[str]) -> None:
        if not master_keys:
            raise SettingsError("FLOWKICK_SECRET_KEY is empty: give at least one key.")
        for master in master_keys:
            if len(master) < _MINIMUM_KEY_CHARACTERS:
                raise SettingsError(
                    f"FLOWKICK_SECRET_KEY holds a key shorter than {_MINIMUM_KEY_CHARACTERS}"
                    " characters: make one with `openssl rand -hex 32`."
                )
        self._keys = [_derive(master) for master in master_keys]
        self._by_id = {key.id: key for key in self._keys}

    def seal(self, plaintext: str, context: str) -> str:
        """Encrypt `plaintext`, bound to `context` (for example ``whs_1:secret``)."""
        key = self._keys[0]
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + key.cipher.encrypt(nonce, plaintext.encode(), context.encode())
        return f"{_VERSION}.{key.id}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str, context: str) -> str:
        """Decrypt what `seal` gave for the same context.

        Raises SettingsError where none of the keys fits, or the value was tampered with.
        """
        _, key_id, encoded = sealed.split(".", 2)
        key = self._by_id.get(key_id)
        if key is None:
            raise SettingsError(
                f"A stored secret was encrypted with a key (id {key_id}) that FLOWKICK_SECRET_KEY"
                " does not hold: add the former key behind the new one, separated by a comma."
            )
        data = base64.urlsafe_b64decode(encoded)
        nonce, ciphertext = data[:_NONCE_BYTES], data[_NONCE_BYTES:]
        try:
            return key.cipher.decrypt(nonce, ciphertext, context.encode()).decode()
        except InvalidTag:
            raise SettingsError("A stored secret does not open: it was changed or moved.") from None

    def is_current(self, sealed: str) -> bool:
        """Whether `sealed` was made with the first key."""
        return sealed.split(".", 2)[1] == self._keys[0].id


def _derive(master: str) -> _Key:
    """An AES key from a master key of any form (HKDF, RFC 5869), and a name that tells nothing."""
    raw = HKDF(hashes.SHA256(), length=32, salt=None, info=b"flowkick encryption").derive(
        master.encode()
    )
    return _Key(hashlib.sha256(b"flowkick key id" + raw).hexdigest()[:8], AESGCM(raw))


def read_or_make_key_file(path: Path) -> str:
    """The master key in `path`; made once, readable by its owner alone."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_key_file(path)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return _read_key_file(path)


def _read_key_file(path: Path) -> str:
    key = path.read_text().strip()
    if not key:
        raise SettingsError(f"{path} is empty: restore it, or stored secrets can't be read.")
    return key
