"""The shop's order database, as its actions share it: where it lies, how an order number is written, what is booked."""

import os
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rasa_sdk import Tracker

# QS, then the date and a running number; customers leave out the letters, or put spaces and hyphens between the groups.
# Without the letters only digits that begin like a date are one: a telephone number has eleven digits too.
ORDER_NUMBER = re.compile(r"(?<![A-Z0-9])(?:QS[\s-]*(\d(?:[\s-]?\d){10})|(20(?:[\s-]?\d){9}))(?!\d)")
HOTLINE = "400-000-2108（每天 9:00 到 21:00）"
BOOKS = """
CREATE TABLE IF NOT EXISTS address_changes (
  order_number TEXT PRIMARY KEY, address TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS return_requests (
  order_number TEXT PRIMARY KEY, reason TEXT NOT NULL, pickup TEXT NOT NULL
) WITHOUT ROWID;
"""


def plain(text: str) -> str:
    """Narrow capital letters and digits, at most 2000 of them."""
    return unicodedata.normalize("NFKC", text[:2000]).upper()


def order_numbers(text: str) -> list[str]:
    """The distinct order numbers in `text`, in canonical form (`QS20260103001`), in order of appearance."""
    found = (re.sub(r"\D", "", "".join(groups)) for groups in ORDER_NUMBER.findall(plain(text)))
    return list(dict.fromkeys(f"QS{digits}" for digits in found))


def database_path() -> Path:
    """`KEFU_DEMO_SHOP_DB`, else `shop.db` in the service's data folder, else beside the folder of the actions."""
    if named := os.environ.get("KEFU_DEMO_SHOP_DB"):
        return Path(named)
    if data := os.environ.get("KEFU_DATA"):
        return Path(data) / "shop.db"
    return Path(__file__).resolve().parent.parent / "shop.db"


def find_order(path: Path, order_number: str) -> sqlite3.Row | None:
    """The order's status, courier, tracking number and expected date; None where there is no such order.

    Raises sqlite3.Error where the database is missing or unreadable. It is opened read-only.
    """
    address = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=2)) as connection:
        connection.row_factory = sqlite3.Row
        row: sqlite3.Row | None = connection.execute(
            "SELECT status, courier, tracking_number, expected_on FROM orders WHERE order_number = ?", (order_number,)
        ).fetchone()
        return row


@contextmanager
def books() -> Iterator[sqlite3.Connection]:
    """The database to write in, one transaction. Raises sqlite3.Error where it is missing or unreadable."""
    address = f"{database_path().resolve().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=2)) as connection, connection:
        connection.executescript(BOOKS)
        yield connection


def booked(table: str, order_number: str) -> bool:
    """Whether `address_changes` or `return_requests` has the order. Raises sqlite3.Error."""
    query = {
        "address_changes": "SELECT 1 FROM address_changes WHERE order_number = ?",
        "return_requests": "SELECT 1 FROM return_requests WHERE order_number = ?",
    }[table]
    with books() as connection:
        return connection.execute(query, (order_number,)).fetchone() is not None


def say(tracker: Tracker, zh: str, en: str) -> str:
    """The text in the customer's language."""
    language = str((tracker.latest_message.get("metadata") or {}).get("language") or "zh")
    return en if language.lower().startswith("en") else zh


def unavailable(tracker: Tracker) -> str:
    """What is said while the database cannot be used."""
    return say(
        tracker,
        f"抱歉，订单系统暂时用不了，请稍后再试，或拨打 {HOTLINE}。",
        "Sorry, our order system is out of reach just now. Please try again later, or call 400-000-2108.",
    )
