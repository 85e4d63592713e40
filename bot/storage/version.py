"""Whether a database needs nothing before it is used, found without Alembic, whose import alone takes longer."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url

MIGRATIONS = Path(__file__).parent / "migrations"
WAIT_SECONDS = 5.0
# A full check reads the whole file: at start only while that takes well under a second; `kefu doctor` does it always.
CHECK_BYTES_MAX = 256 * 1024 * 1024


def is_current(url: str) -> bool:
    """Whether the SQLite file at `url` is there, sound, writable and of this program's version.

    False says only that `bot.storage.schema.upgrade` has to look; that one upgrades, or says what is wrong.
    """
    address = make_url(url)
    path = Path(address.database or "")
    if address.get_backend_name() != "sqlite" or not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]
            checked = path.stat().st_size > CHECK_BYTES_MAX or _sound(connection)
            connection.execute("ROLLBACK")
    except (sqlite3.Error, OSError):
        return False
    return checked and found == [_newest()]


def _sound(connection: sqlite3.Connection) -> bool:
    return [row[0] for row in connection.execute("PRAGMA quick_check(1)")] == ["ok"]


def _newest() -> str:
    """The revision of the last migration: their files are named by it, `0006_releasing.py`."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))
