"""Three entries of a small shop, and how they come into its database."""

from bot.storage import knowledge
from bot.storage.database import Database
from knowledge.types import Entry

RETURN = Entry("return", "怎么退货", "七天内可以无理由退货。", ("我想退掉买的东西",))
POT = Entry("pot", "PPR-9087 炖锅能放洗碗机吗", "可以。")
INVOICE = Entry("invoice", "怎么开发票", "下单时选择开具发票。")


async def add(database: Database, *entries: Entry) -> int:
    """Returns the revision."""
    async with database.session() as session:
        for entry in entries:
            stored = await knowledge.add_entry(session, entry)
    return stored.revision
