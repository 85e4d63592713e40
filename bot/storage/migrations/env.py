"""Alembic's entry: runs inside the transaction of `bot.storage.schema.upgrade`."""

from alembic import context

from bot.storage import release_tables, review_tables  # noqa: F401 - their tables belong to the metadata
from bot.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
