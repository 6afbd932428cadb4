"""The vault: secrets at rest, such as the PIN of a bank account or the key of a shop.

Sealed with Fernet (AES-128-CBC and HMAC-SHA256, github.com/fernet/spec) under the keys of
KONTOR_ENCRYPTION_KEYS, newest first. The first key seals; every key opens, so a key is
changed by putting the new one in front, resealing what is stored, and taking the old one away.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from server import config

SETTING = "KONTOR_ENCRYPTION_KEYS"
MAX_SECRET_BYTES = 64 * 1024 * 1024


class VaultLocked(ValueError):
    """What was sealed cannot be opened: its key is gone, or it was changed since."""

    def __init__(self) -> None:
        super().__init__(
            f"No key in {SETTING} opens what is stored; add the key it was sealed with"
        )


class Vault:
    """Seals and opens. ``keys`` are 32 bytes in url-safe base64 each, the newest first."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError(f"{SETTING} holds no key")
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, text: str) -> bytes:
        """What is safe to store; another one each time. Raises ValueError above 64 MB."""
        return self.seal_bytes(text.encode())

    def open(self, sealed: bytes) -> str:
        """The text that was sealed. Raises VaultLocked."""
        return self.open_bytes(sealed).decode()

    def seal_bytes(self, content: bytes) -> bytes:
        """As ``seal``, for what is no text: the state of a bank dialog."""
        if len(content) > MAX_SECRET_BYTES:
            raise ValueError(f"a secret has at most {MAX_SECRET_BYTES} bytes")
        return self._fernet.encrypt(content)

    def open_bytes(self, sealed: bytes) -> bytes:
        """As ``open``, for what is no text. Raises VaultLocked."""
        try:
            return self._fernet.decrypt(bytes(sealed))
        except InvalidToken:
            raise VaultLocked from None

    def reseal(self, sealed: bytes) -> bytes:
        """The same secret under the newest key. Raises VaultLocked."""
        try:
            return self._fernet.rotate(bytes(sealed))
        except InvalidToken:
            raise VaultLocked from None


def installed() -> Vault:
    """The vault of this process, with the keys of its settings."""
    return Vault(config.installed().encryption_keys)
