"""The tables of releasing: candidates that answer in the shadow, what is watched after a switch, the schedule."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, DateTime, Float, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from bot.storage.review_tables import SEQ
from bot.storage.tables import Base


class ShadowRow(Base):
    """A candidate that answers a share of the questions beside `against` (NULL: the base model); at most one goes on.

    `outcome` is NULL while it does, then released, dropped, replaced (another model was activated), removed or failed.
    """

    __tablename__ = "shadows"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    adapter: Mapped[str] = mapped_column(String(128))
    against: Mapped[str | None] = mapped_column(String(128))
    share: Mapped[float] = mapped_column(Float)
    questions_max: Mapped[int] = mapped_column(Integer)
    missed: Mapped[int] = mapped_column(Integer, default=0)
    outcome: Mapped[str | None] = mapped_column(String(16))
    error: Mapped[dict[str, Any] | None]
    started_by: Mapped[str] = mapped_column(String(160))
    started_at: Mapped[datetime]
    ended_by: Mapped[str | None] = mapped_column(String(160))
    ended_at: Mapped[datetime | None]


class ShadowAnswerRow(Base):
    """One question that both answered. Its words, without personal data, are kept only where the two differ; all of it
    goes when the message goes. `active` and `candidate` are {decision, entry, title}; times are of encoding alone."""

    __tablename__ = "shadow_answers"
    seq: Mapped[int] = mapped_column(SEQ, primary_key=True, autoincrement=True)
    shadow_id: Mapped[str] = mapped_column(ForeignKey("shadows.id", ondelete="CASCADE"))
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), index=True)
    question: Mapped[str]
    same: Mapped[bool] = mapped_column(Boolean)
    error: Mapped[str | None]
    active: Mapped[dict[str, Any]]
    candidate: Mapped[dict[str, Any]]
    active_ms: Mapped[float | None] = mapped_column(Float)
    candidate_ms: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[datetime] = mapped_column(DateTime)
    __table_args__ = (Index("ix_shadow_answers_shadow", "shadow_id", "same", "seq"),)


class WatchRow(Base):
    """An adapter as it is watched after a switch. `before` and `after` are figures of `bot.learning.health`.

    `outcome` is NULL while it is watched, then passed, rolled_back or replaced.
    """

    __tablename__ = "watches"
    id: Mapped[int] = mapped_column(SEQ, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16), index=True)
    adapter: Mapped[str] = mapped_column(String(128))
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    outcome: Mapped[str | None] = mapped_column(String(16))
    cause: Mapped[str | None] = mapped_column(String(16))
    returned_to: Mapped[str | None] = mapped_column(String(128))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ScheduledRunRow(Base):
    """What came of one night's (or week's) turn to train. The slot's name is what two services cannot both take.

    `state` is skipped, training, released, kept (trained, not released), failed or cancelled; `reason` says why.
    """

    __tablename__ = "scheduled_runs"
    slot: Mapped[str] = mapped_column(String(16), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(32))
    examples: Mapped[int] = mapped_column(Integer)
    job_id: Mapped[str | None] = mapped_column(String(40))
    adapter: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
