"""The schema's versions: brought to the newest by Alembic, in one transaction, whoever comes first."""

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError

from bot.errors import StorageError
from bot.storage.version import CHECK_BYTES_MAX, MIGRATIONS

LOCK_TIMEOUT_SECONDS = 60


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration for the migrations in this package, without any file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str) -> None:
    """Create or upgrade the database at `url` (a SQLAlchemy URL, the async driver is replaced).

    Two processes may call it at once: the write lock is taken before the version is read. A process killed in the
    middle leaves the database as it was.

    Raises:
        StorageError: the folder cannot be written, the file is damaged or no database, or it is of a newer version.
    """
    address = make_url(url)
    backend = address.get_backend_name()
    if backend != "sqlite":
        raise StorageError(
            "database_unsupported", f"尚不支持数据库 {backend}", f"{backend} databases are not supported yet"
        )
    path = Path(address.database or "")
    if address.database and address.database != ":memory:":
        _make_folder(path)
    engine = _engine(address.set(drivername="sqlite"))
    try:
        with engine.begin() as connection:
            _refuse_newer(connection, path)
            if path.is_file() and path.stat().st_size <= CHECK_BYTES_MAX:
                _refuse_damaged(connection, path)
            command.upgrade(configuration(connection), "head")
    except DatabaseError as error:
        raise _explain(error, path) from error
    finally:
        engine.dispose()


def _engine(address: URL) -> Engine:
    engine = create_engine(address, connect_args={"timeout": LOCK_TIMEOUT_SECONDS})

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    def start(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            "data_folder",
            f"不能创建数据目录 {path.parent}：{error.strerror}",
            f"Cannot create the data folder {path.parent}: {error.strerror}",
        ) from error


def _refuse_newer(connection: Connection, path: Path) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    found = set(MigrationContext.configure(connection).get_current_heads())
    if found - known:
        raise StorageError(
            "database_newer",
            f"数据库 {path} 由更新版本的 Kefu 写成（版本 {', '.join(sorted(found - known))}），请升级 Kefu 后再打开",
            f"The database {path} was written by a newer Kefu (version {', '.join(sorted(found - known))}); "
            "upgrade Kefu to open it",
        )


def _refuse_damaged(connection: Connection, path: Path) -> None:
    verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if verdict != "ok":
        raise damaged(path, str(verdict))


def damaged(path: Path, detail: str) -> StorageError:
    """The error for a file that is no sound database."""
    return StorageError(
        "database_damaged",
        f"数据库文件 {path} 已损坏或不是数据库（{detail}）。请从备份恢复，或移走该文件后重新启动",
        f"The database file {path} is damaged or no database ({detail}). "
        "Restore a backup, or move the file away and start again",
    )


def _explain(error: DatabaseError, path: Path) -> StorageError:
    detail = str(error.orig)
    if "locked" in detail:
        return StorageError(
            "database_locked",
            f"数据库 {path} 一直被其他程序占用",
            f"The database {path} stays locked by another program",
        )
    if "unable to open" in detail or "readonly" in detail or "disk I/O" in detail or "full" in detail:
        return StorageError(
            "database_unwritable",
            f"不能读写数据库 {path}：{detail}",
            f"Cannot read and write the database {path}: {detail}",
        )
    return damaged(path, detail)


def newest_version() -> str:
    """The version this program brings a database to."""
    return str(ScriptDirectory.from_config(configuration()).get_current_head())
