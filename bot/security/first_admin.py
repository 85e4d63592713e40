"""The first administrator of a new installation."""

from bot.security.passwords import hash_password, new_password
from bot.storage import audit, people
from bot.storage.database import Database

NAME = "admin"


async def ensure_admin(database: Database, password: str | None) -> str | None:
    """Create the user `admin` where there is no staff at all.

    Returns the password made up for it, to be printed once and kept nowhere; None where there are people already or
    the password was given.
    """
    async with database.reading() as session:
        if await people.users(session):
            return None
    chosen = password or new_password()
    password_hash = await hash_password(chosen)
    async with database.session() as session:
        if await people.users(session):  # another process was first
            return None
        await people.add_user(session, NAME, "admin", password_hash)
        await audit.record(session, "system", "users.add", NAME, {"role": "admin"})
    return None if password else chosen
