"""Secrets at rest: encrypted with a key that lies in a file of its own, one for each installation.

Whoever gets the database alone (a backup, a copy for support) gets no secret. Format: one byte of version, a nonce of
12 bytes, then AES-256-GCM (NIST SP 800-38D) with the owner's name as associated data.
"""

import json
import secrets
from pathlib import Path
from typing import Any

from bot.errors import ConfigError
from finetune.atomic import key_of

FILE = "secret.key"
KEY_BYTES = 32
NONCE_BYTES = 12
VERSION = b"\x01"


class Vault:
    """Encrypts and decrypts small JSON values. The key file is made at the first use, readable by its owner only."""

    def __init__(self, data: Path) -> None:
        self._file = data / FILE

    def seal(self, value: Any, owner: str) -> bytes:
        """The value, readable only with the key and for that owner. Raises ConfigError where there can be no key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(NONCE_BYTES)
        plain = json.dumps(value, ensure_ascii=False).encode()
        return VERSION + nonce + AESGCM(self._key()).encrypt(nonce, plain, owner.encode())

    def unseal(self, sealed: bytes, owner: str) -> Any:
        """The value back. Raises ConfigError where the key is another one, or the bytes were changed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            if sealed[:1] != VERSION:
                raise InvalidTag
            return json.loads(AESGCM(self._key()).decrypt(nonce, body, owner.encode()))
        except InvalidTag:
            raise ConfigError(
                "wrong_secret_key",
                f"{owner} 的密钥解不开：{self._file} 不是保存时的那一个，请放回原来的文件，或重新填写该渠道",
                f"The secrets of {owner} cannot be opened: {self._file} is not the one they were saved with. "
                "Put the old file back, or enter the channel anew",
            ) from None

    def _key(self) -> bytes:
        try:
            key = key_of(self._file, KEY_BYTES)
        except OSError as error:
            raise ConfigError(
                "secret_key", f"密钥文件 {self._file} 不能读写：{error.strerror}",
                f"The key file {self._file} cannot be used: {error.strerror}",
            ) from error  # fmt: skip
        if len(key) != KEY_BYTES:
            raise ConfigError(
                "secret_key", f"密钥文件 {self._file} 已损坏，请从备份恢复",
                f"The key file {self._file} is damaged: restore it from a backup",
            )  # fmt: skip
        return key
