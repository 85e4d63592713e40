"""Whose adapters these are: one Ed25519 key for each installation (RFC 8032), which signs what was measured here.

A signature covers the whole manifest (as canonical JSON, without the signature itself), and through the checksums in
it every file that a model computes with. Whoever alters a weight, a figure or the verdict has to sign anew.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.atomic import key_of
from finetune.errors import FinetuneError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE = "signing.key"
KEY_BYTES = 32
FIELD = "signature"


class Signer:
    """Signs and checks manifests with the key in `folder`, made at the first use, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def sign(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest (plain JSON values) with `signature`: {"algorithm", "key", "value"}.

        `key` names the public key: the first 16 hexadecimal digits of its SHA-256. Raises FinetuneError where there
        can be no key file.
        """
        key = self._key()
        value = base64.b64encode(key.sign(_canonical(manifest))).decode()
        return {**manifest, FIELD: {"algorithm": "Ed25519", "key": _name(key), "value": value}}

    def check(self, manifest: Mapping[str, Any]) -> None:
        """Raises FinetuneError: `adapter_unsigned`, `adapter_stranger` for another installation's signature, or
        `adapter_damaged` where the manifest was altered after it was signed.
        """
        from cryptography.exceptions import InvalidSignature

        name, found = str(manifest.get("name")), manifest.get(FIELD)
        if not found:
            raise FinetuneError(
                "adapter_unsigned",
                f"适配器 {name} 没有签名，来历不明，不能使用；请用 kefu adapters import 导入，通过测试后由本机签名。",
                f"The adapter {name} is not signed and cannot be used: import it with `kefu adapters import`, which "
                "measures it and signs it here.",
            )
        key = self._key()
        if not isinstance(found, Mapping) or found.get("key") != _name(key):
            raise FinetuneError(
                "adapter_stranger",
                f"适配器 {name} 由另一处安装签名，不能直接使用；请用 kefu adapters import 导入，通过测试后由本机签名。"
                f"（若它本是这里的，请放回原来的 {FILE}。）",
                f"The adapter {name} was signed by another installation and cannot be used as it is: import it with "
                f"`kefu adapters import`. (If it is from here, put the old {FILE} back.)",
            )
        try:
            value = base64.b64decode(str(found.get("value")), validate=True)
            key.public_key().verify(value, _canonical(manifest))
        except (InvalidSignature, ValueError):
            raise FinetuneError(
                "adapter_damaged",
                f"适配器 {name} 已损坏：清单在签名之后被改动过。",
                f"The adapter {name} is damaged: its manifest was altered after it was signed.",
            ) from None

    def _key(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        try:
            raw = key_of(self._file, KEY_BYTES)
        except OSError as error:
            raise FinetuneError(
                "signing_key", f"签名密钥 {self._file} 不能读写：{error.strerror}。",
                f"The signing key {self._file} cannot be used: {error.strerror}.",
            ) from error  # fmt: skip
        if len(raw) != KEY_BYTES:
            raise FinetuneError(
                "signing_key", f"签名密钥 {self._file} 已损坏，请从备份恢复。",
                f"The signing key {self._file} is damaged: restore it from a backup.",
            )  # fmt: skip
        return Ed25519PrivateKey.from_private_bytes(raw)


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    kept = {key: value for key, value in manifest.items() if key != FIELD}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _name(key: "Ed25519PrivateKey") -> str:
    return hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()[:16]
