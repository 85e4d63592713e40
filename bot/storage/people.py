"""Staff, their sign-ins, and the keys of programs. Passwords and tokens come in hashed and never leave."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from bot.errors import ConflictError, NotFoundError
from bot.storage.tables import ApiKeyRow, StaffSessionRow, UserRow
from bot.storage.values import new_id, now

KEY_USE_MINUTES = 10


@dataclass(frozen=True, slots=True)
class User:
    """A member of staff."""

    id: str
    name: str
    role: str
    password_hash: str
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A program's key; `prefix` is what it starts with."""

    id: str
    name: str
    role: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def _user(row: UserRow) -> User:
    return User(row.id, row.name, row.role, row.password_hash, row.created_at, row.last_login_at)


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(row.id, row.name, row.role, row.prefix, row.created_at, row.last_used_at, row.revoked_at)


async def _row(session: AsyncSession, name: str) -> UserRow:
    row = await session.scalar(select(UserRow).where(UserRow.name == name))
    if row is None:
        raise NotFoundError("user_not_found", f"没有名为 {name} 的用户", f"There is no user named {name}")
    return row


async def users(session: AsyncSession) -> list[User]:
    """Everyone, by name."""
    return [_user(row) for row in await session.scalars(select(UserRow).order_by(UserRow.name))]


async def find_user(session: AsyncSession, name: str) -> User | None:
    row = await session.scalar(select(UserRow).where(UserRow.name == name))
    return _user(row) if row else None


async def add_user(session: AsyncSession, name: str, role: str, password_hash: str) -> User:
    """Raises ConflictError where the name is taken."""
    if await find_user(session, name):
        raise ConflictError("user_exists", f"用户 {name} 已存在", f"The user {name} exists already")
    row = UserRow(id=new_id(), name=name, role=role, password_hash=password_hash, created_at=now())
    session.add(row)
    await session.flush()
    return _user(row)


async def set_password(session: AsyncSession, name: str, password_hash: str) -> User:
    """Change a password and end every sign-in of that person."""
    row = await _row(session, name)
    row.password_hash = password_hash
    await session.execute(delete(StaffSessionRow).where(StaffSessionRow.user_id == row.id))
    return _user(row)


async def remove_user(session: AsyncSession, name: str) -> None:
    """Raises ConflictError for the last administrator: nobody could sign in to add another."""
    row = await _row(session, name)
    admins = await session.scalar(select(func.count()).where(UserRow.role == "admin"))
    if row.role == "admin" and admins == 1:
        raise ConflictError(
            "last_admin",
            f"{name} 是最后一个管理员，不能删除",
            f"{name} is the last administrator and cannot be removed",
        )
    await session.delete(row)


async def sign_in(session: AsyncSession, user_id: str, token_hash: str, hours: float) -> None:
    """Open a staff session; expired ones are cleared away on the way."""
    moment = now()
    await session.execute(delete(StaffSessionRow).where(StaffSessionRow.expires_at < moment))
    await session.execute(update(UserRow).where(UserRow.id == user_id).values(last_login_at=moment))
    session.add(
        StaffSessionRow(
            token_hash=token_hash, user_id=user_id, created_at=moment, expires_at=moment + timedelta(hours=hours)
        )
    )


async def sign_out(session: AsyncSession, token_hash: str) -> None:
    await session.execute(delete(StaffSessionRow).where(StaffSessionRow.token_hash == token_hash))


async def signed_in(session: AsyncSession, token_hash: str) -> User | None:
    """Who a cookie's token belongs to, while it is valid."""
    row = await session.scalar(
        select(UserRow)
        .join(StaffSessionRow, StaffSessionRow.user_id == UserRow.id)
        .where(StaffSessionRow.token_hash == token_hash, StaffSessionRow.expires_at >= now())
    )
    return _user(row) if row else None


async def keys(session: AsyncSession) -> list[ApiKey]:
    """Every key, revoked ones too, oldest first."""
    return [_key(row) for row in await session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created_at))]


async def add_key(session: AsyncSession, name: str, role: str, prefix: str, key_hash: str) -> ApiKey:
    row = ApiKeyRow(id=new_id(), name=name, role=role, prefix=prefix, key_hash=key_hash, created_at=now())
    session.add(row)
    await session.flush()
    return _key(row)


async def find_key(session: AsyncSession, key_hash: str) -> ApiKey | None:
    """The key that is not revoked."""
    row = await session.scalar(select(ApiKeyRow).where(ApiKeyRow.key_hash == key_hash, ApiKeyRow.revoked_at.is_(None)))
    return _key(row) if row else None


def use_is_stale(key: ApiKey) -> bool:
    """Whether the time of last use is worth writing again."""
    return key.last_used_at is None or now() - key.last_used_at > timedelta(minutes=KEY_USE_MINUTES)


async def touch_key(session: AsyncSession, key_id: str) -> None:
    await session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(last_used_at=now()))


async def revoke_key(session: AsyncSession, wanted: str) -> ApiKey:
    """Revoke by id, name or first characters. Raises NotFoundError, or ConflictError where several fit."""
    rows = list(
        await session.scalars(
            select(ApiKeyRow).where(
                ApiKeyRow.revoked_at.is_(None),
                (ApiKeyRow.id == wanted) | (ApiKeyRow.name == wanted) | (ApiKeyRow.prefix == wanted),
            )
        )
    )
    if not rows:
        raise NotFoundError("key_not_found", f"没有密钥 {wanted}", f"There is no key {wanted}")
    if len(rows) > 1:
        raise ConflictError(
            "key_ambiguous", f"有多个密钥叫 {wanted}，请用编号", f"Several keys are named {wanted}; use the id"
        )
    rows[0].revoked_at = now()
    return _key(rows[0])
