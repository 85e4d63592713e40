"""Times and ids as every table writes them."""

import secrets
import string
from datetime import UTC, datetime

ALPHABET = string.ascii_letters + string.digits


def now() -> datetime:
    """The time in UTC, naive, as the tables hold it."""
    return datetime.now(UTC).replace(tzinfo=None)


def iso(moment: datetime | None) -> str | None:
    """A table's time as the contract writes it: `2026-01-02T03:04:05.678Z`."""
    return moment.isoformat(timespec="milliseconds") + "Z" if moment else None


def new_id() -> str:
    """A fresh opaque id of 22 letters and digits (131 random bits); it can stand in a URL and on a command line."""
    number, letters = secrets.randbits(192), []  # so many that each letter is as likely as the others
    for _ in range(22):
        number, at = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[at])
    return "".join(letters)
