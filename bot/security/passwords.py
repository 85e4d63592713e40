"""Passwords (Argon2id, RFC 9106) and random tokens (only their SHA-256 is stored)."""

import asyncio
import hashlib
import secrets
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from bot.errors import InvalidError

PASSWORD_CHARACTERS_MIN = 8
PASSWORD_CHARACTERS_MAX = 256
KEY_PREFIX = "kefu_"

_hasher = PasswordHasher()


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _hasher.hash(secrets.token_urlsafe(16))


def check_password(password: str) -> None:
    """Raises InvalidError where a new password is too short or too long."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        low, high = PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX
        raise InvalidError(
            "password_length",
            f"密码必须是 {low} 到 {high} 个字，而不是 {len(password)} 个",
            f"A password must have {low} to {high} characters, not {len(password)}",
        )


async def hash_password(password: str) -> str:
    """The Argon2id hash; takes tens of milliseconds, in a thread."""
    check_password(password)
    return await asyncio.to_thread(_hasher.hash, password)


async def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password fits. For an unknown user (None) it takes just as long, and is never true."""

    def verify() -> bool:
        try:
            return _hasher.verify(password_hash or _nobodys_hash(), password)
        except (VerificationError, InvalidHashError):
            return False

    fits = await asyncio.to_thread(verify)
    return fits and password_hash is not None


def new_token() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def new_api_key() -> str:
    """A key for a program; its prefix tells it from a visitor's token."""
    return KEY_PREFIX + new_token()


def token_hash(token: str) -> str:
    """What is stored of a token: it has enough randomness that a plain SHA-256 cannot be reversed."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_password() -> str:
    """A first password that can be read out and typed: four groups without look-alike characters (about 79 bits)."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(4))
