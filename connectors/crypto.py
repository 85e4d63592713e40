"""Encrypted callbacks of WeChat, WeCom and DingTalk: one scheme, three names.

Source: developers.weixin.qq.com, "消息加解密说明"; developer.work.weixin.qq.com/document/path/90968; DingTalk's
"回调事件消息体加解密". AES-256-CBC with the key's first half as IV; PKCS#7 to a block of 32 bytes, not 16.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable

from connectors.errors import ConnectorError, refused

BLOCK_BYTES = 32
RANDOM_BYTES = 16


def signature(*parts: str) -> str:
    """SHA-1 in hex over the sorted parts: token, timestamp, nonce, and the ciphertext where there is one."""
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def is_signed(given: str | None, *parts: str) -> bool:
    """Whether the signature is right, in constant time."""
    return hmac.compare_digest((given or "").encode(), signature(*parts).encode())


class MessageCrypt:
    """Opens and makes encrypted bodies of one account. `receive_id` is its app id or corp id; empty for 智能机器人."""

    def __init__(self, token: str, encoding_aes_key: str, receive_id: str) -> None:
        self._token = token
        self._receive_id = receive_id.encode()
        self._key = base64.b64decode(encoding_aes_key + "=")

    def open(self, encrypted: str, given_signature: str | None, timestamp: str, nonce: str) -> bytes:
        """The plaintext. Raises ConnectorError where the signature, the padding or the receiver is not right."""
        encrypted = encrypted.replace(" ", "+")  # a plus sign in a query arrives as a space
        if not is_signed(given_signature, self._token, timestamp, nonce, encrypted):
            raise refused()
        return self.decrypt(encrypted)

    def decrypt(self, encrypted: str) -> bytes:
        """The plaintext of a ciphertext whose signature was checked. Raises ConnectorError."""
        try:
            raw = base64.b64decode(encrypted, validate=True)
        except (binascii.Error, ValueError):
            raise refused() from None
        if not raw or len(raw) % 16:
            raise refused()
        plain = self._cipher(raw, encrypt=False)
        pad = plain[-1]
        if not 1 <= pad <= BLOCK_BYTES or plain[-pad:] != bytes([pad]) * pad:
            raise refused()
        plain = plain[RANDOM_BYTES:-pad]
        length = int.from_bytes(plain[:4], "big")
        content, receiver = plain[4 : 4 + length], plain[4 + length :]
        if len(content) != length or not hmac.compare_digest(receiver, self._receive_id):
            raise refused()
        return content

    def encrypt(self, content: bytes, random16: bytes | None = None) -> str:
        """Content as the platform wants it back. `random16` is for comparing with published samples."""
        head = random16 or secrets.token_bytes(RANDOM_BYTES)
        plain = head + len(content).to_bytes(4, "big") + content + self._receive_id
        pad = BLOCK_BYTES - len(plain) % BLOCK_BYTES
        return base64.b64encode(self._cipher(plain + bytes([pad]) * pad, encrypt=True)).decode()

    def sign(self, encrypted: str, timestamp: str, nonce: str) -> str:
        """The `msg_signature` of a ciphertext."""
        return signature(self._token, timestamp, nonce, encrypted)

    def _cipher(self, data: bytes, *, encrypt: bool) -> bytes:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        cipher = Cipher(algorithms.AES(self._key), modes.CBC(self._key[:16]))
        context = cipher.encryptor() if encrypt else cipher.decryptor()
        return context.update(data) + context.finalize()


def parse_xml(body: bytes) -> dict[str, str]:
    """The direct children of an XML document's root, as text. Nested ones are left out.

    Raises:
        ConnectorError: it is no XML, or declares a document type: entities in it could read files or fill the memory.
    """
    from xml.parsers import expat

    fields: dict[str, str] = {}
    path: list[str] = []
    text: list[str] = []

    def begin(name: str, _attributes: object) -> None:
        path.append(name)
        text.clear()

    def end(name: str) -> None:
        if len(path) == 2:
            fields[name] = "".join(text)
        path.pop()
        text.clear()

    def refuse(*_: object) -> None:
        raise ValueError

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(body, True)  # noqa: FBT003 - expat takes it by position
    except (expat.ExpatError, ValueError, UnicodeError, LookupError):
        raise ConnectorError("invalid_xml", "请求体应是 XML", "The body must be XML") from None
    return fields


def make_xml(fields: Iterable[tuple[str, str | int]]) -> str:
    """A flat document as WeChat writes them: numbers plain, text in CDATA."""
    return "<xml>" + "".join(f"<{name}>{_cdata(value)}</{name}>" for name, value in fields) + "</xml>"


def _cdata(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    legal = "".join(c for c in value if c in "\t\n\r" or (c >= " " and not 0xD800 <= ord(c) <= 0xDFFF))
    return "<![CDATA[" + legal.replace("]]>", "]]]]><![CDATA[>") + "]]>"
